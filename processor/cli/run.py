"""`axle-processor run`: one processor, from settings to exit code."""

import asyncio
import signal
import sys

import structlog
from pyreqwest.client import ClientBuilder
from pyreqwest.compatibility.httpx import HttpxTransport

from processor import __version__
from processor.cli.wiring import service_config, set_up_log
from processor.settings import SettingsWrong, load
from processor.shell.http import PortTaken
from processor.shell.records import KafkaRefused, RestoreFailed, TransactionLost
from processor.shell.service import ConnectionWrong, KafkaUnreachable, Service, ServiceConfig, TopicsUnfit

EXIT_FAILURE, EXIT_CONFIGURATION, EXIT_UNREACHABLE = 1, 3, 4
log = structlog.get_logger(__name__)


def run_verb() -> int:
    """Run until a signal. Returns the exit code."""
    try:
        settings = load()
        config = service_config(settings)
    except SettingsWrong as wrong:
        print(f"configuration: {wrong}", file=sys.stderr)
        return EXIT_CONFIGURATION
    set_up_log(settings.log.level, settings.log.format)
    if settings.privacy.key.get_secret_value() == "axle-processor":
        log.warning("AXLE_PROCESSOR_PRIVACY__KEY is not set; the fingerprints of MPANs can be guessed")
    try:
        _with_loop(config)
    except (ConnectionWrong, TopicsUnfit, PortTaken, RestoreFailed) as wrong:
        print(f"configuration: {wrong}", file=sys.stderr)
        return EXIT_CONFIGURATION
    except (KafkaUnreachable, KafkaRefused, TransactionLost) as failure:
        print(f"kafka: {failure}", file=sys.stderr)
        return EXIT_UNREACHABLE
    return 0


def http_transport() -> HttpxTransport:
    """The transport for calls to Axle: no proxy or redirect that was not asked for, nothing inflated."""
    builder = ClientBuilder().no_proxy().follow_redirects(False).gzip(False).deflate(False).brotli(False).zstd(False)
    return HttpxTransport(builder.build())


def _with_loop(config: ServiceConfig) -> None:
    try:
        import uvloop
    except ImportError:
        asyncio.run(_run(config))
    else:
        uvloop.run(_run(config))


async def _run(config: ServiceConfig) -> None:
    service = Service(config, http_transport())
    loop = asyncio.get_running_loop()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signal_number, service.stop)
    log.info(
        "starting",
        version=__version__,
        kafka=config.bootstrap_servers,
        group=config.group_id,
        axle=config.axle.base_url,
        page=service.url,
    )
    await service.run()

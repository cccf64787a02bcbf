"""`axle-processor run`: one processor, from settings to exit code."""

import asyncio
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable

import structlog

from processor import __version__
from processor.cli.wiring import service_config, set_up_log
from processor.settings import SettingsWrong, load
from processor.shell.axle_transport import http_transport
from processor.shell.contract import ConnectionWrong, KafkaUnreachable, RightsMissing, TopicsUnfit
from processor.shell.exits import EXIT_CONFIGURATION, EXIT_FAILURE, EXIT_UNREACHABLE
from processor.shell.http import PortTaken
from processor.shell.records import KafkaRefused, RestoreFailed, TransactionLost
from processor.shell.schema_registry import RegistryFailed, RegistryWrong
from processor.shell.service import Service, ServiceConfig

LEAVE_SECONDS = 12.0
"""An orderly end takes 5 s for the last calls and a moment more. Orchestrators kill after 30 s, some after 10."""
REGISTRY_AGAIN_SECONDS = 5.0
log = structlog.get_logger(__name__)


def whole_service(config: ServiceConfig) -> Service:
    """The processor as it is in production."""
    return Service(config, http_transport(config.axle.ca_pem, config.axle.proxy))


def run_verb(build: Callable[[ServiceConfig], Service] = whole_service, worker: int | None = None) -> int:
    """Run until a signal. Returns the exit code. `build` is called inside the event loop.

    `worker`: this process is that worker of a supervisor, as `shell/worker.py` has it.
    """
    if worker is not None:
        threading.Thread(target=_end_with_supervisor, daemon=True).start()
    try:
        settings = load()
        config = service_config(settings)
    except SettingsWrong as wrong:
        print(f"configuration: {wrong}", file=sys.stderr)
        return EXIT_CONFIGURATION
    set_up_log(settings.log.level, settings.log.format, worker)
    if settings.privacy.key.get_secret_value() == "axle-processor":
        log.warning("AXLE_PROCESSOR_PRIVACY__KEY is not set; the fingerprints of MPANs can be guessed")
    leaving = threading.Timer(LEAVE_SECONDS, _leave)
    leaving.daemon = True
    try:
        _with_loop(config, build, leaving, worker is not None)
    except (ConnectionWrong, TopicsUnfit, RightsMissing, PortTaken, RestoreFailed, RegistryWrong) as wrong:
        print(f"configuration: {wrong}", file=sys.stderr)
        return EXIT_CONFIGURATION
    except (KafkaUnreachable, KafkaRefused, TransactionLost) as failure:
        print(f"kafka: {failure}", file=sys.stderr)
        return EXIT_UNREACHABLE
    finally:
        leaving.cancel()
    return 0


def _with_loop(
    config: ServiceConfig, build: Callable[[ServiceConfig], Service], leaving: threading.Timer, tell: bool
) -> None:
    try:
        import uvloop
    except ImportError:
        asyncio.run(_run(config, build, leaving, tell))
    else:
        uvloop.run(_run(config, build, leaving, tell))


async def _run(
    config: ServiceConfig, build: Callable[[ServiceConfig], Service], leaving: threading.Timer, tell: bool
) -> None:
    loop = asyncio.get_running_loop()
    service = await _built(config, build, loop)
    if service is None:
        return

    def end() -> None:
        _begin(leaving)
        service.stop()

    for signal_number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signal_number, end)
    log.info(
        "starting",
        version=__version__,
        kafka=config.bootstrap_servers,
        group=config.group_id,
        axle=config.axle.base_url,
        page=service.url,
    )
    if tell:
        print(service.url, flush=True)
    try:
        await service.run()
    finally:
        _begin(leaving)


async def _built(
    config: ServiceConfig, build: Callable[[ServiceConfig], Service], loop: asyncio.AbstractEventLoop
) -> Service | None:
    """The processor, once the schema registry tells by which ids it shall write; None when the end came first."""
    ended = asyncio.Event()
    while not ended.is_set():
        try:
            return build(config)
        except RegistryFailed as failure:
            for signal_number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(signal_number, ended.set)
            log.warning("nothing can be written yet, waiting for the schema registry", why=str(failure))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(REGISTRY_AGAIN_SECONDS):
                await ended.wait()
    return None


def _begin(leaving: threading.Timer) -> None:
    """From now on the end is bounded, whatever librdkafka waits for: it knows no way to give a commit up."""
    if leaving.ident is None:
        leaving.start()


def _end_with_supervisor() -> None:
    """Stdin ends when the supervisor is gone. Then end as in a crash: our successor may have been started already."""
    # Not through sys.stdin, whose lock this thread would still hold when the interpreter ends.
    with contextlib.suppress(OSError):
        while os.read(0, 1024):
            pass
    os._exit(EXIT_FAILURE)


def _leave() -> None:
    """End as in a crash: nothing is lost, and the successor waits for calls that may be under way."""
    log.warning("the end took too long, as it does while brokers are away; leaving", seconds=LEAVE_SECONDS)
    sys.stderr.flush()
    os._exit(EXIT_UNREACHABLE)

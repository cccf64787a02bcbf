"""`axle-processor run --workers N`: from settings to N workers and one exit code.

Here lives what each worker is told that differs from its siblings; how they are kept is in `shell/supervisor.py`. The
one idea: a worker is `axle-processor run` with the same environment, a name, a page and a breadcrumb of its own.
"""

import asyncio
import os
import signal
import socket
import sys

import structlog

from processor import __version__
from processor.cli.run import LEAVE_SECONDS
from processor.cli.wiring import service_config, set_up_log
from processor.settings import PREFIX, Settings, SettingsWrong, load
from processor.shell.clock import SystemClock
from processor.shell.exits import EXIT_CONFIGURATION
from processor.shell.http import PortTaken
from processor.shell.supervisor import Supervisor
from processor.shell.worker import Worker

KILL_AFTER_SECONDS = LEAVE_SECONDS + 1.5
"""A worker ends by itself within `LEAVE_SECONDS`, unless it is frozen."""
log = structlog.get_logger(__name__)


def supervise_verb(workers: int) -> int:
    """Run so many workers until a signal. Returns the exit code."""
    try:
        settings = load()
        service_config(settings)
    except SettingsWrong as wrong:
        print(f"configuration: {wrong}", file=sys.stderr)
        return EXIT_CONFIGURATION
    set_up_log(settings.log.level, settings.log.format)
    try:
        return asyncio.run(_supervise(settings, workers))
    except PortTaken as wrong:
        print(f"configuration: {wrong}", file=sys.stderr)
        return EXIT_CONFIGURATION


def worker_environ(settings: Settings, number: int) -> dict[str, str]:
    """The settings in which a worker differs from its siblings.

    Its page is for the supervisor alone. It has no instance id where the protocol is `consumer`, which allows none.
    """
    differing = {"HTTP__HOST": "127.0.0.1", "HTTP__PORT": "0"}
    if settings.kafka.protocol != "consumer":
        differing["KAFKA__INSTANCE_ID"] = f"{settings.kafka.instance_id or socket.gethostname()}-{number}"
    if settings.inputs.breadcrumb_file is not None:
        differing["INPUTS__BREADCRUMB_FILE"] = f"{settings.inputs.breadcrumb_file}-{number}"
    return {PREFIX + name: value for name, value in differing.items()}


def _worker(settings: Settings, number: int, clock: SystemClock) -> Worker:
    differing = worker_environ(settings, number)
    command = [sys.executable, "-m", "processor", "run", "--as-worker", str(number)]
    instance_id = differing.get(f"{PREFIX}KAFKA__INSTANCE_ID")
    return Worker(str(number), command, {**os.environ, **differing}, instance_id, clock)


async def _supervise(settings: Settings, workers: int) -> int:
    clock = SystemClock()
    supervisor = Supervisor(
        [_worker(settings, number, clock) for number in range(workers)],
        clock,
        settings.kafka.group_id,
        settings.http.host,
        settings.http.port,
        KILL_AFTER_SECONDS,
    )
    loop = asyncio.get_running_loop()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signal_number, supervisor.stop)
    log.info("starting workers", version=__version__, workers=workers, page=supervisor.url)
    if settings.kafka.protocol == "consumer":
        log.warning(
            "kafka.protocol=consumer allows no instance ids: a worker that was killed is back at once, but its tasks "
            "are free only when the brokers notice its death"
        )
    return await supervisor.run()

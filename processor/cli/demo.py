"""`axle-processor demo`: from options to exit code. What is run is in `processor/demo/demo.py`.

The idea: the processor's imports and the broker's start take about a second or two each, so they go side by side, and
whatever comes between (a failure, Ctrl-C) unwinds through the same two `with` blocks.
"""

import asyncio
import json
import os
import re
import secrets
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rich.console import Console

from processor.demo.audience import Audience, Lines, Picture, summary
from processor.demo.axle_faults import FaultsError, read_rules
from processor.demo.child import ProcessorChild, ProcessorDied
from processor.demo.demo import Demo, DemoFailed, DemoPlan, fault_rules
from processor.demo.kafka import Broker, BrokerFailed, start_broker
from processor.demo.reader import ReaderFailed

EXIT_BROKEN, EXIT_USAGE, EXIT_UNREACHABLE, EXIT_INTERRUPTED = 1, 2, 4, 130
_BROKER = re.compile(r"embedded|mock|[^\s,]+:\d{1,5}(,[^\s,]+:\d{1,5})*")


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """The command line of `demo`."""

    headless: bool
    duration: float | None
    chargers: int
    rate: float
    broker: str
    fault: str | None
    report: Path | None
    port: int
    json: bool


def demo_verb(options: DemoOptions) -> int:
    """Run the demo. Returns the exit code: 0 when every promise was kept."""
    began_seconds = _command_began()
    wrong = _wrong_use(options)
    if wrong:
        print(f"usage: {wrong}", file=sys.stderr)
        return EXIT_USAGE
    audience = _audience(options)
    plan = DemoPlan(options.chargers, options.rate, options.duration, options.fault, options.port)
    try:
        with _Interrupts() as interrupts, ProcessorChild() as child, _broker(options.broker, audience) as broker:
            demo = Demo(plan, broker, child, audience, began_seconds, secrets.token_hex(4))
            with interrupts.heard_by(demo.stop):
                told = asyncio.run(demo.run())
    except BrokerFailed as failed:
        print(f"kafka: {failed}", file=sys.stderr)
        return EXIT_UNREACHABLE
    except (ProcessorDied, DemoFailed, ReaderFailed, OSError) as failed:
        print(f"demo: {failed}", file=sys.stderr)
        return EXIT_BROKEN
    except KeyboardInterrupt:
        print("stopped before the demo began; nothing is left behind", file=sys.stderr)
        return EXIT_INTERRUPTED
    return _tell(told, options)


class _Interrupts:
    """Ctrl-C and SIGTERM throughout the command, so that none of them can tear the cleaning up.

    Before the demo runs they end the command, while it runs they end its story, and afterwards they are not heard.
    """

    def __init__(self) -> None:
        self._stop: Callable[[], None] | None = None
        self._is_over = False

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._hear) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextmanager
    def heard_by(self, stop: Callable[[], None]) -> Iterator[None]:
        """While the demo runs."""
        self._stop = stop
        try:
            yield
        finally:
            self._is_over = True

    def _hear(self, _number: int, _frame: object) -> None:
        if self._is_over:
            return
        if self._stop is not None:
            self._stop()
            return
        self._is_over = True
        raise KeyboardInterrupt


def _wrong_use(options: DemoOptions) -> str | None:
    """What is wrong with the options, as a sentence."""
    if not _BROKER.fullmatch(options.broker):
        return f"--broker {options.broker!r} names no broker: give embedded, mock or HOST:PORT"
    if options.duration is not None and not 1 <= options.duration <= 86_400:
        return "--duration must be between 1 and 86400 seconds"
    if options.report is not None and not options.report.parent.is_dir():
        return f"--report: there is no folder {options.report.parent}"
    try:
        read_rules(list(fault_rules(options.fault)))
    except FaultsError as error:
        return f"--fault: {error}"
    return None


def _audience(options: DemoOptions) -> Audience:
    """A picture where a person watches; else lines, on stderr when stdout is for JSON."""
    if sys.stdout.isatty() and not options.headless and not options.json:
        return Picture(Console())
    return Lines(sys.stderr, each_event=not options.headless)


@contextmanager
def _broker(choice: str, audience: Audience) -> Iterator[Broker]:
    started = time.monotonic()
    broker = start_broker(choice, lambda sentence: audience.say(f"  {sentence}"))
    try:
        audience.say(f"  kafka      {broker.bootstrap_servers} is up after {time.monotonic() - started:.1f} s")
        if broker.kind == "mock":
            audience.say("  notice     a mock cluster cannot keep the fourth promise, so it is not checked")
        yield broker
    finally:
        broker.stop()


def _tell(told: dict[str, Any], options: DemoOptions) -> int:
    text = json.dumps(told, indent=2)
    if options.report is not None:
        try:
            options.report.write_text(text + "\n")
        except OSError as error:
            print(f"--report: {error.strerror}: {options.report}", file=sys.stderr)
            return EXIT_USAGE
    print(text if options.json else "\n" + summary(told, str(options.report) if options.report else None))
    is_kept = not any(told["violations"].values()) and not told["lost"] and not told["duplicates"]
    return 0 if is_kept else EXIT_BROKEN


def _command_began() -> float:
    """When this process was started, on `time.time`'s clock; where the system does not tell, now."""
    now = time.time()
    try:
        ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
        up_seconds = float(Path("/proc/uptime").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return now
    return now - (up_seconds - ticks / os.sysconf("SC_CLK_TCK"))

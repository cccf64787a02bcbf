"""`axle-processor traffic`: invented households that plug in, boost and withdraw, for an installation on trial.

The story is the demo's (`demo/traffic.py`); here it is told to topics that exist, until somebody stops it. The idea:
these households are at no Axle, so it is refused wherever the settings do not name a simulated one.
"""

import signal
import sys
import time
from dataclasses import dataclass, replace
from threading import Event as Flag
from urllib.parse import urlsplit

import msgspec

from processor.cli.cluster import exit_code, reached
from processor.cli.schema_registry import codec_of
from processor.demo.sender import Sender
from processor.demo.traffic import Planned, Story
from processor.settings import Settings, SettingsWrong, load
from processor.shell.exits import EXIT_UNREACHABLE
from processor.wire.avro import INPUT_RECORDS

LOOPBACK = ("127.0.0.1", "localhost", "::1")
TURN_SECONDS = 0.05
BURST_MAX = 200
LAST_WORDS_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class TrafficOptions:
    """The command line of `traffic`. `duration_seconds` None: until it is stopped."""

    chargers: int
    rate: float
    duration_seconds: float | None


def traffic_verb(options: TrafficOptions) -> int:
    """Tell the story. Returns the exit code."""

    def work() -> int:
        settings = load()
        _check(settings)
        names = reached(settings).names
        inputs = INPUT_RECORDS.values()
        sender = Sender(settings.kafka.bootstrap_servers, names, codec_of(settings, inputs, writes=inputs))
        stopped = Flag()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stopped.set())
        told = _tell(sender, options, stopped)
        if sender.refused:
            print(f"kafka: an event was not taken: {sender.refused[0]}", file=sys.stderr)
            return EXIT_UNREACHABLE
        print(f"{told} events")
        return 0

    return exit_code(work, "stopped before anything was sent")


def _check(settings: Settings) -> None:
    """Raises SettingsWrong where the households could reach a real Axle, or the brokers want a password."""
    url = settings.axle.base_url
    if urlsplit(url).hostname not in LOOPBACK:
        raise SettingsWrong(
            f"AXLE_PROCESSOR_AXLE__BASE_URL is {url}: traffic invents households, so it only runs beside an axle-sim "
            "on loopback, as http://127.0.0.1:8090"
        )
    if settings.kafka.security_protocol != "plaintext":
        raise SettingsWrong("AXLE_PROCESSOR_KAFKA__SECURITY_PROTOCOL must be plaintext: traffic knows no password")


def _tell(sender: Sender, options: TrafficOptions, stopped: Flag) -> int:
    """Send at the rate that is wanted until it is over, stopped or refused. Returns how many events there were."""
    began = time.time()
    # Another start tells other events of the same chargers: with the same ids they would all be duplicates.
    token = f"{round(began):x}"
    story, told = Story(options.chargers, seed=round(began)), 0
    while not stopped.wait(TURN_SECONDS) and not sender.refused:
        elapsed = time.time() - began
        if options.duration_seconds is not None and elapsed >= options.duration_seconds:
            break
        due = min(int(elapsed * options.rate) + 1 - told, BURST_MAX)
        for _ in range(due):
            sender.send(_named(story.next(round(time.time() * 1000)), token))
        told += max(due, 0)
        sender.poll()
    deadline = time.time() + LAST_WORDS_SECONDS
    while sender.waiting and time.time() < deadline:
        sender.poll()
        time.sleep(TURN_SECONDS)
    return told


def _named(planned: Planned, token: str) -> Planned:
    event = planned.event
    return replace(planned, event=msgspec.structs.replace(event, event_id=f"{token}-{event.event_id}"))

"""The example of a charger-control service, run as it stands: what it sends, what it leaves, and what it remembers."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from msgspec.structs import replace
from ocpp.messages import MessageType, get_validator

from processor.core.events import Input
from processor.core.outputs import Cause, ModifiedSchedule, Status
from processor.core.schedule import HOUR_MS, Schedule, subtract
from processor.demo.kafka import Broker
from processor.shell.topics import TopicNames
from processor.wire.ocpp import schedule_of
from tests.broker import produce
from tests.kafka.rig import CODEC, Running, now_ms, wait_until

EXAMPLE = Path(__file__).resolve().parents[2] / "deploy/examples/charger_control.py"
LINES_MAX = 60
NOW = now_ms() // 1000 * 1000
NIGHT: Schedule = ((NOW, NOW + 8 * HOUR_MS),)
PAUSE: Schedule = ((NOW + HOUR_MS, NOW + 2 * HOUR_MS),)


def planned(
    revision: int, charger: str = "c-1", pauses: Schedule = (), requested: Schedule = NIGHT
) -> ModifiedSchedule:
    """What the processor would publish, of this revision."""
    effective = subtract(requested, pauses)
    cause = Cause("e1", Input.PLUG_IN, NOW)
    until = requested[-1][1] if requested else NOW
    status = Status.MODIFIED if pauses else Status.REQUESTED
    return ModifiedSchedule(
        site_id="home-1",
        charger_id=charger,
        revision=revision,
        replaces=None,
        decided_at_ms=NOW,
        caused_by=cause,
        status=status,
        reason="Because.",
        final=True,
        requested=requested,
        effective=effective,
        pauses=pauses,
        valid_until_ms=until,
    )


class Service:
    """A running example: what it did with each record, and what it sent."""

    def __init__(self, running: Running, broker: Broker, topics: TopicNames) -> None:
        self._running, self._broker, self._topics = running, broker, topics

    def done(self) -> list[str]:
        """Each record with what became of it, in order."""
        return self._running.said().splitlines()

    def hear(self, *records: ModifiedSchedule) -> list[str]:
        """Publish these, and wait for what becomes of them."""
        before = len(self.done())
        rows = [(record.charger_id, CODEC.encode(record), None) for record in records]
        produce(self._broker.bootstrap_servers, self._topics.modified_schedule, rows)
        last = f"{records[-1].charger_id}.{records[-1].revision} "
        wait_until(
            lambda: len(self.done()) >= before + len(records) and self.done()[-1].startswith(last),
            40,
            "the service dealt with them",
        )
        return [line.split()[-1] for line in self.done()[before:]]

    def sent(self) -> tuple[str, Any]:
        """The next message that it sent, and to whom."""
        assert self._running.process.stdout is not None
        charger, _, message = self._running.process.stdout.readline().decode().partition(" ")
        return charger, json.loads(message)

    def end(self) -> str:
        """Stop it without a goodbye; what it sent that was not read yet."""
        self._running.kill()
        assert self._running.process.stdout is not None
        return self._running.process.stdout.read().decode()


@contextmanager
def service(broker: Broker, topics: TopicNames, database: Path, version: str) -> Iterator[Service]:
    """The example in a process of its own."""
    arguments = [broker.bootstrap_servers, str(database), version, topics.modified_schedule]
    running = Running([sys.executable, str(EXAMPLE), *arguments], dict(os.environ))
    try:
        yield Service(running, broker, topics)
    finally:
        running.end()


def test_the_example_applies_what_is_new_and_nothing_else(broker: Broker, topics: TopicNames, tmp_path: Path) -> None:
    """A wish and its pause are sent; copies, old revisions and what changes nothing are not; nor after a crash."""
    with service(broker, topics, tmp_path / "applied.db", "1.6") as running:
        assert running.hear(planned(10), planned(20, pauses=PAUSE)) == ["sent", "sent"]
        assert running.hear(planned(20, pauses=PAUSE), planned(15), planned(30, pauses=PAUSE)) == ["old", "old", "same"]
        messages = [running.sent(), running.sent()]
        assert running.end() == ""
    with service(broker, topics, tmp_path / "applied.db", "1.6") as running:
        # A record whose offset was not committed any more comes again, before those that are new.
        *again, last = running.hear(planned(30), planned(40))
        assert (set(again), last) == ({"old"}, "sent")
        messages.append(running.sent())
        assert running.end() == ""
    assert [(charger, message[1]) for charger, message in messages] == [("c-1", "10"), ("c-1", "20"), ("c-1", "40")]
    paused = (subtract(NIGHT, PAUSE), NIGHT[-1][1])
    assert [schedule_of(message[3]) for _, message in messages] == [
        (NIGHT, NIGHT[-1][1]),
        paused,
        (NIGHT, NIGHT[-1][1]),
    ]


def test_the_example_frees_a_charger_and_leaves_one_that_is_free(
    broker: Broker, topics: TopicNames, tmp_path: Path
) -> None:
    """A plan that is over is sent where one was in force, and where none was it is not; foreign bytes stop nothing."""
    over = ((NOW - 2 * HOUR_MS, NOW - HOUR_MS),)
    with service(broker, topics, tmp_path / "applied.db", "2.0.1") as running:
        assert running.hear(planned(10, "c-2", requested=over)) == ["free"]
        assert running.hear(planned(10, pauses=PAUSE), planned(20, requested=())) == ["sent", "sent"]
        assert running.hear(replace(planned(30, requested=()), status=Status.EXPIRED)) == ["free"]
        produce(broker.bootstrap_servers, topics.modified_schedule, [("c-1", b"\xff", None), ("c-1", None, None)])
        wait_until(lambda: running.done()[-1].startswith("passed over at offset "), 20, "foreign bytes are named")
        assert running.hear(planned(40)) == ["sent"]
        messages = [running.sent()[1] for _ in range(3)]
        assert running.end() == ""
    for message in messages:
        get_validator(MessageType.Call, "SetChargingProfile", "2.0.1").validate(message[3])
    assert [schedule_of(message[3]) for message in messages][1] == ((), NOW)


def test_the_example_is_short() -> None:
    """It can be read in one go."""
    assert len(EXAMPLE.read_text().splitlines()) <= LINES_MAX

"""`tail` as a charger-control team meets it: what is shown, from where on, and how it ends."""

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest
from typer.testing import CliRunner
from typer.testing import Result as Ended

from processor.cli import app
from processor.cli.tail import LISTED_MAX, line_of
from processor.core.outputs import ModifiedSchedule
from processor.core.schedule import HOUR_MS, MINUTE_MS, subtract
from processor.core.site import Site
from processor.demo.kafka import Broker
from processor.shell.topics import TopicNames
from processor.wire.ocpp import schedule_of
from tests.broker import prefixed, produce
from tests.cli.parts import NOBODY, environment, paused_tonight, publish
from tests.core.world import GUIDE_PAUSE, NIGHT, World
from tests.kafka.rig import CODEC, Running, now_ms, wait_until

GUIDE_LINES = """\
2025-06-27T21:00:00Z  c-1  site home-1  REQUESTED  charge 22:00 to 28 Jun 06:00; valid until 28 Jun 06:00.
2025-06-27T21:00:00Z  c-1  site home-1  MODIFIED  charge 22:00 to 28 Jun 01:00, 28 Jun 02:00 to 28 Jun 06:00; \
pause 28 Jun 01:00 to 28 Jun 02:00; valid until 28 Jun 06:00."""


def two_households() -> list[World]:
    """One that Axle pauses, and one without a consent."""
    stranger = World(Site("home-2"))
    stranger.plug_in(charger="c-2")
    return [World().settled(GUIDE_PAUSE), stranger]


def shown(broker: Broker, topics: TopicNames, *arguments: str) -> Ended:
    """What the verb says; it ends by itself where `--count` does not ask for more than there is."""
    return CliRunner().invoke(app, ["tail", *arguments], env=environment(broker.bootstrap_servers, topics))


@contextmanager
def following(broker: Broker, topics: TopicNames, *arguments: str) -> Iterator[Running]:
    """The verb in a process of its own, from when on it misses nothing."""
    environ = {**os.environ, **environment(broker.bootstrap_servers, topics)}
    running = Running([sys.executable, "-m", "processor", "tail", *arguments], environ)
    try:
        wait_until(lambda: "following" in running.said() or running.process.poll() is not None, 30, "it follows")
        yield running
    finally:
        running.end()


def test_each_record_is_one_line_that_can_be_read(broker: Broker, topics: TopicNames) -> None:
    """When it was decided, for whom, in which blocks to charge, what is paused, why, and the revision."""
    world, _ = two_households()
    publish(broker, topics, world)
    ended = shown(broker, topics, "--from", "earliest", "--count", "2")
    wanted = [
        f"{line}  {record.reason}  [revision {record.revision}]"
        for line, record in zip(GUIDE_LINES.splitlines(), world.records, strict=True)
    ]
    assert ended.exit_code == 0, ended.stderr
    assert ended.stdout.splitlines() == wanted


def test_a_program_reads_the_contract_s_own_names(broker: Broker, topics: TopicNames) -> None:
    """With `--json` each line is the record by its schema's names, times as text, and where it stands."""
    world, _ = two_households()
    publish(broker, topics, world)
    ended = shown(broker, topics, "--from", "earliest", "--count", "2", "--json")
    assert ended.exit_code == 0, ended.stderr
    told = [json.loads(line) for line in ended.stdout.splitlines()]
    assert [each["offset"] for each in told] == [0, 1]
    assert told[1]["pauses"] == [{"start": "2025-06-28T01:00:00Z", "end": "2025-06-28T02:00:00Z"}]
    assert told[1]["caused_by"] == {"event_id": "e1", "type": "PLUG_IN", "occurred_at": "2025-06-27T21:00:00Z"}
    written = CODEC.output_fields(ModifiedSchedule, CODEC.encode(world.last))
    assert told[1].keys() == {*written, "partition", "offset"}
    same = [name for name in written if name in {"site_id", "charger_id", "revision", "replaces", "status", "final"}]
    assert [told[1][name] for name in same] == [written[name] for name in same]


@pytest.mark.parametrize(("version", "connector"), [("1.6", "connectorId"), ("2.0.1", "evseId")])
def test_the_message_for_the_charger_is_shown_instead(
    broker: Broker, topics: TopicNames, version: str, connector: str
) -> None:
    """With `--ocpp` each line is the message, as chargers differ; with `--json` too it stands beside the record."""
    world, _ = two_households()
    publish(broker, topics, world)
    asked = ["--from", "earliest", "--count", "2", "--ocpp", version, "--ocpp-option", "unit=A"]
    lines = [json.loads(line) for line in shown(broker, topics, *asked).stdout.splitlines()]
    beside = [json.loads(line) for line in shown(broker, topics, *asked, "--json").stdout.splitlines()]
    assert [each["ocpp"] for each in beside] == lines
    assert [each["charger_id"] for each in beside] == ["c-1", "c-1"]
    assert [line[:3] for line in lines] == [[2, str(each["revision"]), "SetChargingProfile"] for each in beside]
    night = ((NIGHT, NIGHT + 8 * HOUR_MS),)
    told = [schedule_of(line[3]) for line in lines]
    assert told == [(night, NIGHT + 8 * HOUR_MS), (subtract(night, GUIDE_PAUSE), NIGHT + 8 * HOUR_MS)]
    assert (lines[0][3][connector], '"chargingRateUnit": "A"' in json.dumps(lines[0])) == (1, True)


def test_what_a_charger_cannot_be_told_is_passed_over(broker: Broker, topics: TopicNames) -> None:
    """A record that needs more periods than the charger takes is named with its place, and the others are shown."""
    world, _ = two_households()
    publish(broker, topics, world)
    option = ["--ocpp", "1.6", "--ocpp-option", "periods_max=4"]
    with following(broker, topics, "--from", "earliest", *option) as running:
        wait_until(lambda: "passed over" in running.said(), 20, "the second record is named")
        assert running.process.stdout is not None
        assert running.process.stdout.readline().startswith(b"[2,")
        assert "the schedule needs 5 periods, and the charger takes 4 (periods_max)" in running.said()


@pytest.mark.parametrize(
    ("filters", "wanted"),
    [
        ("--charger c-2", ["c-2 NOT_ENROLLED"]),
        ("--site home-1", ["c-1 REQUESTED", "c-1 MODIFIED"]),
        ("--status MODIFIED --status NOT_ENROLLED", ["c-1 MODIFIED", "c-2 NOT_ENROLLED"]),
        ("--charger c-1 --charger c-2 --status MODIFIED", ["c-1 MODIFIED"]),
    ],
)
def test_what_does_not_fit_the_filters_is_left_out(
    broker: Broker, topics: TopicNames, filters: str, wanted: list[str]
) -> None:
    """Of each filter one word must fit, and each filter must."""
    for world in two_households():
        publish(broker, topics, world)
    ended = shown(broker, topics, "--from", "earliest", "--count", str(len(wanted)), "--json", *filters.split())
    assert ended.exit_code == 0, ended.stderr
    told = [json.loads(line) for line in ended.stdout.splitlines()]
    assert sorted(f"{each['charger_id']} {each['status']}" for each in told) == sorted(wanted)


def test_it_begins_where_it_is_told_to(broker: Broker, topics: TopicNames) -> None:
    """From a time on: what was published before it is left out."""
    publish(broker, topics, two_households()[0])
    seen = now_ms()
    wait_until(lambda: now_ms() > seen + 1000, 5, "a second is over")
    publish(broker, topics, two_households()[1])
    start = datetime.fromtimestamp((seen + 500) / 1000, UTC).isoformat(timespec="milliseconds")
    ended = shown(broker, topics, "--from", start, "--count", "1", "--json")
    assert ended.exit_code == 0, ended.stderr
    assert json.loads(ended.stdout)["charger_id"] == "c-2"


def test_it_follows_until_ctrl_c(broker: Broker, topics: TopicNames) -> None:
    """From the end on what comes is shown as it comes, and Ctrl-C ends it with exit code 0 and no complaint."""
    publish(broker, topics, two_households()[0])
    with following(broker, topics, "--json") as running:
        publish(broker, topics, two_households()[1])
        assert running.process.stdout is not None
        line = running.process.stdout.readline()
        running.process.send_signal(signal.SIGINT)
        assert running.process.wait(20) == 0
        assert json.loads(line)["charger_id"] == "c-2"
        assert running.process.stdout.read() == b""
        assert running.said().splitlines() == [f"following {topics.modified_schedule} from latest; Ctrl-C ends it"]


def test_it_ends_when_nobody_reads_on(broker: Broker, topics: TopicNames) -> None:
    """A reader that goes away ends it, though nothing more is published, with exit code 0 and no complaint."""
    publish(broker, topics, paused_tonight())
    with following(broker, topics, "--from", "earliest") as running:
        assert running.process.stdout is not None
        assert running.process.stdout.readline().startswith(b"20")
        running.process.stdout.close()
        assert running.process.wait(20) == 0
        assert len(running.said().splitlines()) == 1


def test_a_record_that_is_none_is_passed_over(broker: Broker, topics: TopicNames) -> None:
    """Foreign bytes are named with their place, and what comes after them is shown."""
    produce(broker.bootstrap_servers, topics.modified_schedule, [("c-1", b"\xff", None), ("c-1", None, None)])
    publish(broker, topics, two_households()[0])
    ended = shown(broker, topics, "--from", "earliest", "--count", "2")
    assert (ended.exit_code, len(ended.stdout.splitlines())) == (0, 2)
    assert f"a record is passed over ({topics.modified_schedule} [" in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("--from yesterday", "usage: --from: 'yesterday' is no time; give "),
        ("--from 2026-11-23T22:00:00", "usage: --from: '2026-11-23T22:00:00' is no time; give "),
        ("--status PAUSED", "usage: --status: 'PAUSED' is none of REQUESTED, MODIFIED, "),
        ("--ocpp 2.1", "usage: --ocpp: '2.1' is none of 1.6, 2.0.1"),
        ("--ocpp 1.6 --ocpp-option help", "usage: 'help' sets no option: give NAME=VALUE with unit, full_kw, "),
        ("--ocpp-option unit=A", "usage: --ocpp-option says how a charger differs; give --ocpp too"),
    ],
)
def test_a_wrong_word_is_refused_with_those_that_there_are(arguments: str, says: str) -> None:
    """Exit code 2 and one line, without a look at any broker."""
    ended = CliRunner().invoke(app, ["tail", *arguments.split()], env=environment(NOBODY))
    (line,) = ended.stderr.splitlines()
    assert (ended.exit_code, ended.stdout) == (2, "")
    assert line.startswith(says)


def test_what_is_in_the_way_is_one_line(broker: Broker) -> None:
    """A broker that is away: exit code 4; a missing topic: exit code 3 and its name, whatever else is missing."""
    began = time.monotonic()
    away = CliRunner().invoke(app, ["tail"], env=environment(NOBODY))
    missing = shown(broker, prefixed(TopicNames(), "nowhere."))
    assert (away.exit_code, missing.exit_code) == (4, 3)
    assert "nowhere.ev.modified-schedule.v1" in missing.stderr
    assert "nowhere.ev.outcomes.v1" not in missing.stderr
    assert [len(each.stderr.splitlines()) for each in (away, missing)] == [1, 1]
    assert time.monotonic() - began < 10


def test_a_long_schedule_is_cut_short_in_a_line() -> None:
    """Of many blocks the first are listed, and how many more there are; without any the car charges freely."""
    world = World()
    blocks = tuple((NIGHT + n * HOUR_MS, NIGHT + n * HOUR_MS + MINUTE_MS) for n in range(LISTED_MAX + 3))
    world.plug_in(schedule=blocks)
    fields = CODEC.output_fields(ModifiedSchedule, CODEC.encode(world.last))
    assert ", 3 more; valid until" in line_of(fields)
    assert "charge freely; valid until" in line_of(fields | {"effective": []})

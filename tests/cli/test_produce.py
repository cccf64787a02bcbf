"""`produce` as a platform's team meets it: what is refused and why, what is shown, and what is on the topic."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner
from typer.testing import Result as Ended

from processor.cli import app
from processor.core.events import BoostAction, ConsentWithdrawn, Input, PlugIn, Source, UserBoost, WithdrawalReason
from processor.core.schedule import HOUR_MS, MINUTE_MS
from processor.demo.kafka import Broker
from processor.shell.partition import task_of
from processor.shell.topics import TopicNames
from processor.wire.inputs import InputLimits, Rejected, read_input
from tests.broker import prefixed, read_committed
from tests.cli.parts import NOBODY, environment
from tests.kafka.rig import CODEC, now_ms

IDS = ("--site", "home-1", "--charger", "c-1")
PLUG_IN: dict[str, Any] = {
    "event_id": "pi-1",
    "occurred_at": "2026-11-23T22:00:00Z",
    "site_id": "home-1",
    "charger_id": "c-1",
    "schedule": [{"start": "2026-11-23T22:00:00+00:00", "end": 1795500000000}],
    "power_kw": 7,
}


def told(*arguments: str, event: object = None) -> Ended:
    """The verb, with nothing behind it that could be asked; `event` comes by stdin."""
    given = None if event is None else event if isinstance(event, str | bytes) else json.dumps(event)
    return CliRunner().invoke(app, ["produce", *arguments], env=environment(NOBODY), input=given)


def recent(**more: object) -> dict[str, Any]:
    """A plug-in of a minute ago, with some fields otherwise."""
    at_ms = now_ms() - MINUTE_MS
    schedule = [{"start": at_ms, "end": at_ms + 8 * HOUR_MS}]
    return PLUG_IN | {"occurred_at": at_ms, "schedule": schedule} | more


def read(broker: Broker, topic: str, kind: Input) -> tuple[object, bytes | str | None, int | None]:
    """What the intake makes of the one record of a topic, its key, and its partition."""
    (message,) = read_committed(broker.bootstrap_servers, topic, 1)
    said = read_input(kind, message.value(), Source("", 0, 0), now_ms(), CODEC, InputLimits())
    assert not isinstance(said, Rejected), said
    return said, message.key(), message.partition()


def sent(broker: Broker, topics: TopicNames, *arguments: str, event: object = None) -> Mapping[str, Any]:
    """Where the verb says that the event landed."""
    env = environment(broker.bootstrap_servers, topics)
    given = None if event is None else json.dumps(event)
    ended = CliRunner().invoke(app, ["produce", *arguments, "--json"], env=env, input=given)
    assert ended.exit_code == 0, ended.stderr
    place: Mapping[str, Any] = json.loads(ended.stdout)
    return place


def test_a_plug_in_out_of_a_file_is_on_its_topic(broker: Broker, topics: TopicNames, tmp_path: Path) -> None:
    """The intake takes what was sent, its key is the site, and it is where the verb says, in its site's partition."""
    file = tmp_path / "event.json"
    consent = {"mpan": "1" * 13, "postcode": "AB1 2CD", "street_address": "1 Example Street"}
    times = dict.fromkeys(("boundary_meter_consent_at", "consented_at"), "2026-11-01T12:00:00Z")
    file.write_text(json.dumps(recent(enrolment=consent | times)))
    place = sent(broker, topics, "plug-in", str(file))
    said, key, partition = read(broker, topics.plug_in, Input.PLUG_IN)
    assert isinstance(said, PlugIn)
    assert (said.event_id, said.site_id, said.charger_id, said.power_kw) == ("pi-1", "home-1", "c-1", 7.0)
    assert said.enrolment is not None
    assert (said.enrolment.mpan, said.enrolment.email) == ("1" * 13, None)
    assert (key, partition) == (b"home-1", task_of("home-1", 2))
    wanted = {"topic": topics.plug_in, "partition": partition, "offset": 0, "key": "home-1", "event_id": "pi-1"}
    assert place == wanted


def test_a_boost_out_of_options_is_on_its_topic(broker: Broker, topics: TopicNames) -> None:
    """Without a file the id is drawn, the time is now, and times may be told as distances from it."""
    place = sent(broker, topics, "user-boost", *IDS, "--action", "BOOST", "--boost-until", "+2h")
    said, _, _ = read(broker, topics.user_boost, Input.USER_BOOST)
    assert isinstance(said, UserBoost)
    assert (said.event_id, said.action) == (place["event_id"], BoostAction.BOOST)
    assert said.boost_until_ms == said.occurred_at_ms + 2 * HOUR_MS
    assert 0 <= now_ms() - said.occurred_at_ms < MINUTE_MS


def test_options_take_the_place_of_a_file_s_fields(broker: Broker, topics: TopicNames) -> None:
    """A file by stdin is a pattern: what options tell counts."""
    event = {"event_id": "w-1", "occurred_at": "2020-01-01T00:00:00Z", "site_id": "home-1", "reason": "UNKNOWN"}
    reason = ("--reason", "CHARGER_DISCONNECTED", "--charger", "c-2")
    sent(broker, topics, "consent-withdrawn", *reason, "-", event=event)
    said, _, _ = read(broker, topics.consent_withdrawn, Input.CONSENT_WITHDRAWN)
    assert isinstance(said, ConsentWithdrawn)
    assert (said.event_id, said.charger_id, said.reason) == ("w-1", "c-2", WithdrawalReason.CHARGER_DISCONNECTED)


def test_a_person_hears_where_it_landed(broker: Broker, topics: TopicNames) -> None:
    """One line: topic, partition, offset, event and key."""
    env = environment(broker.bootstrap_servers, topics)
    arguments = ["produce", "plug-in", *IDS, "--schedule", "now/+8h", "--event-id", "pi-7"]
    ended = CliRunner().invoke(app, arguments, env=env)
    assert ended.exit_code == 0, ended.stderr
    partition = task_of("home-1", 2)
    assert ended.stdout == f"{topics.plug_in} [{partition}] at offset 0: event pi-7, key home-1\n"


def test_a_dry_run_shows_the_bytes_and_what_they_say() -> None:
    """Nothing is asked of any broker: the bytes are those that the codec reads, and so is the event."""
    event = recent()
    as_json = json.loads(told("plug-in", "--dry-run", "--json", "-", event=event).stdout)
    text = told("plug-in", "--dry-run", "-", event=event)
    heading, *lines = text.stdout.splitlines()
    value = bytes.fromhex(as_json["hex"])
    fields = CODEC.decode(Input.PLUG_IN, value)
    assert text.exit_code == 0
    assert (as_json["topic"], as_json["key"]) == ("ev.plug-in.v1", "home-1")
    assert (fields["occurred_at"], fields["power_kw"]) == (event["occurred_at"], 7.0)
    assert heading == f"not sent: PlugIn for ev.plug-in.v1, key home-1, {len(value)} bytes"
    cut = lines.index("they say:")
    assert "".join(line.strip() for line in lines[:cut]) == value.hex()
    assert json.loads("\n".join(lines[cut + 1 :])) == as_json["event"]


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"site_id": "home 1"}, "site_id is not 1 to 64 of "),
        ({"occurred_at": 1_795_500_000}, "occurred_at is no plausible UTC time in milliseconds; give 2026-"),
        ({"occurred_at": "2020-01-01T00:00:00Z"}, "occurred_at is more than 30 days before "),
        ({"schedule": []}, "schedule has no block; give blocks that each end after they start"),
        ({"power_kw": 7400}, "power_kw is not between 0 and 1000; give kilowatts, not watts"),
        ({"occurred_at": "2026-11-23T22:00:00"}, "occurred_at: it is no time with a zone; give 2026-11-23T22:00:00Z"),
        ({"charger": "c-1"}, "charger: PlugIn has no such field; did you mean charger_id?"),
        ({"schedule": [{"start": 1}]}, "schedule[0].end: it is missing; give it. The first instant after the block"),
        ({"enrolment": {"mpan": 1}}, "enrolment.mpan: it is a number, not a text; "),
    ],
)
def test_a_wrong_field_is_named_with_what_to_try(more: dict[str, object], says: str) -> None:
    """Exit code 2, the field first, then why, then what helps; and nothing is sent, or any broker asked."""
    ended = told("plug-in", "-", event=recent(**more))
    assert (ended.exit_code, ended.stdout) == (2, "")
    assert any(line.startswith(f"usage: {says}") for line in ended.stderr.splitlines()), ended.stderr


@pytest.mark.parametrize(
    ("event", "says"),
    [
        ("{", "FILE: it is no JSON ("),
        ("[]", "the event: it is a list, not an object; give one PlugIn: { ... }"),
        ("{}" + " " * 2_000_000, "FILE: it is longer than "),
        (b"\xff", "FILE: it is no JSON ("),
    ],
)
def test_a_file_that_holds_no_event_is_refused(event: str | bytes, says: str) -> None:
    """Exit code 2 and one line."""
    ended = told("plug-in", "-", event=event)
    (line,) = ended.stderr.splitlines()
    assert (ended.exit_code, ended.stdout) == (2, "")
    assert line.startswith(f"usage: {says}")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("plug-in --site home-1 --charger c-1", ["schedule: it is missing; give --schedule, or a FILE"]),
        (
            "user-boost",
            [
                f"{field}: it is missing; give {option}, or a FILE"
                for field, option in (("site_id", "--site"), ("charger_id", "--charger"), ("action", "--action"))
            ],
        ),
        ("user-boost --boost-until soon", ["--boost-until: 'soon' is no time; give 2026-11-23T22:00:00Z (with its "]),
        ("plug-in --schedule 22:00-06:00", ["--schedule: '22:00-06:00' is no block; give START/END, "]),
        ("plug-in --schedule now/later", ["--schedule: 'later' is no time; give "]),
        ("plug-in nowhere.json", ["FILE: No such file or directory: nowhere.json"]),
        (
            "user-boost --site h --charger c --action PAUSE",
            ["action: it is no word that is known here; give BOOST or "],
        ),
    ],
)
def test_wrong_options_are_named(arguments: str, says: list[str]) -> None:
    """Exit code 2, and a line for each thing that is wrong or missing, with the option that mends it."""
    ended = told(*arguments.split())
    assert ended.exit_code == 2
    for line, start in zip(ended.stderr.splitlines(), says, strict=True):
        assert line.startswith(f"usage: {start}")


def test_what_is_in_the_way_is_one_line(broker: Broker) -> None:
    """A broker that is away: exit code 4; a missing topic: exit code 3 and its name; nothing is created."""
    arguments = ("plug-in", *IDS, "--schedule", "now/+8h")
    away = told(*arguments)
    env = environment(broker.bootstrap_servers, prefixed(TopicNames(), "nowhere."))
    missing = CliRunner().invoke(app, ["produce", *arguments], env=env)
    assert (away.exit_code, missing.exit_code) == (4, 3)
    assert NOBODY in away.stderr
    assert "nowhere.ev.plug-in.v1" in missing.stderr
    assert [len(each.stderr.splitlines()) for each in (away, missing)] == [1, 1]

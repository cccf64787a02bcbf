"""`dlt` as an operator meets it: what is listed, what one letter says, what is refused and why."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner
from typer.testing import Result as Ended

from processor import __version__
from processor.cli import app
from processor.cli.dlt_letters import TO_DO
from processor.core.events import Input
from processor.demo.kafka import Broker
from processor.shell.topics import TopicNames
from processor.wire.inputs import RejectCode
from tests.broker import produce
from tests.cli.parts import NOBODY, environment, paused_tonight, publish
from tests.kafka.rig import CODEC, now_ms, plug_in, read_all

PLUG_IN = plug_in("home-1", "c-1", "pi-1")


def dlt(broker: Broker, topics: TopicNames, *arguments: str, given: str | None = None) -> Ended:
    """The verb, on these topics."""
    return CliRunner().invoke(app, ["dlt", *arguments], env=environment(broker.bootstrap_servers, topics), input=given)


def dlt_json(broker: Broker, topics: TopicNames, *arguments: str, given: str | None = None) -> Any:
    """What it says, as a program reads it."""
    ended = dlt(broker, topics, *arguments, "--json", given=given)
    assert ended.stdout, ended.stderr
    return json.loads(ended.stdout)


def refuse(
    broker: Broker, topics: TopicNames, value: bytes, reason: str, topic: str | None = None, **more: str
) -> None:
    """A letter as the processor writes it, on the household's partition."""
    headers = {
        "trace": "t-7",
        "dlt-original-topic": topic or topics.plug_in,
        "dlt-original-partition": "1",
        "dlt-original-offset": "17",
        "dlt-original-timestamp": str(now_ms()),
        "dlt-error-class": reason,
        "dlt-error-reason": "a rule was broken",
        "dlt-processor-version": __version__,
        **{name.replace("_", "-"): text for name, text in more.items()},
    }
    record = (b"home-1", value, [(name, text.encode()) for name, text in headers.items()])
    produce(broker.bootstrap_servers, topics.dead_letter, [record])


def fixed(**more: object) -> str:
    """The event, corrected, as a person gives it."""
    fields = CODEC.decode(Input.PLUG_IN, PLUG_IN) | {"power_kw": 7.4} | more
    return json.dumps(fields)


def test_every_reason_has_something_to_do() -> None:
    """A person hears what to try, whatever the reason is."""
    assert set(TO_DO) == set(RejectCode)


def test_letters_are_counted_listed_and_filtered(broker: Broker, topics: TopicNames) -> None:
    """Counts by reason, then a line each; of each filter one word must fit."""
    refuse(broker, topics, PLUG_IN, "bad_power")
    refuse(broker, topics, b"\x1b[2J", "framing", topics.user_boost)
    refuse(broker, topics, b"?", "framing")
    everything = dlt(broker, topics, "list").stdout.splitlines()
    assert everything[0] == "3 dead letters: framing 2, bad_power 1"
    assert len(everything) == 4
    assert f"  bad_power  from {topics.plug_in}-1@17  key home-1  letter " in everything[1]
    for filters, count in {
        ("--reason", "framing"): 2,
        ("--reason", "framing", "--topic", topics.user_boost): 1,
        ("--site", "home-1"): 3,
        ("--site", "c-1"): 1,
        ("--site", "c-2"): 0,
        ("--since", "-1h"): 3,
        ("--since", "+1h"): 0,
    }.items():
        assert len(dlt_json(broker, topics, "list", *filters)) == count, filters


def test_one_letter_says_why_and_what_to_do(broker: Broker, topics: TopicNames) -> None:
    """What can be decoded is told as the event, all else as hex; the platform's headers are there."""
    refuse(broker, topics, PLUG_IN, "bad_power")
    refuse(broker, topics, b"\xff\x00", "framing")
    first, second = (letter["letter"] for letter in dlt_json(broker, topics, "list"))
    page, shown = dlt(broker, topics, "show", first).stdout, dlt_json(broker, topics, "show", first)
    assert page.startswith(f"letter {first}: a rule was broken (bad_power)\nWhat to do: Give kilowatts")
    assert "\n  trace: t-7\nIt says, as PLUG_IN:\n{" in page
    assert (shown["event"]["event_id"], bytes.fromhex(shown["hex"])) == ("pi-1", PLUG_IN)
    assert dlt(broker, topics, "show", second).stdout.endswith("its 2 bytes:\n  ff00\n")
    assert dlt(broker, topics, "show", f"{topics.dead_letter}-{first}").stdout == page


def test_what_may_not_go_stays_and_says_why(broker: Broker, topics: TopicNames) -> None:
    """Orders, foreign topics, cut and crashing records, what came back too often, and what would come back."""
    reasons = {
        "order": ("bad_id", topics.reroute, {}, "give the order again"),
        "foreign": ("bad_id", "elsewhere", {}, "elsewhere, which is no input"),
        "cut": ("oversize", None, {"dlt_cut_from_bytes": "9000000"}, "only its beginning"),
        "crash": ("crashed", None, {}, "ended the process"),
        "often": ("too_old", None, {"dlt_replays": "3"}, "replayed 3 times"),
        "nonsense": ("framing", None, {"trace": "x"}, "would be refused again"),
    }
    for name, (reason, topic, more, _) in reasons.items():
        refuse(broker, topics, b"?" if name == "nonsense" else PLUG_IN, reason, topic, **more)
    answer = dlt_json(broker, topics, "replay", "--apply")
    assert answer["going"] == []
    whys = [each["why"] for each in answer["staying"]]
    assert len(whys) == len(reasons)
    for why, (_, _, _, word) in zip(whys, reasons.values(), strict=True):
        assert word in why
    assert read_all(broker.bootstrap_servers, topics.reroute) == []


@pytest.mark.parametrize(
    ("fix", "says"),
    [
        ("{", "usage: --fix: it is no JSON"),
        (fixed(power_kw="a lot"), "power_kw: it is a text, not a number"),
        (fixed(event_id="pi-2"), "event_id: the letter's is 'pi-1'"),
        (fixed(power_kw=7400), "it would be refused again: power_kw"),
    ],
)
def test_a_fix_that_is_none_is_refused(broker: Broker, topics: TopicNames, fix: str, says: str) -> None:
    """It must be JSON of the schema, the same event, and true to the rules; exit code 1 or 2, and nothing is sent."""
    refuse(broker, topics, PLUG_IN, "bad_power")
    (letter,) = dlt_json(broker, topics, "list")
    ended = dlt(broker, topics, "replay", letter["letter"], "--fix", "-", "--apply", given=fix)
    assert ended.exit_code in {1, 2}
    assert says in ended.stdout + ended.stderr
    assert read_all(broker.bootstrap_servers, topics.reroute) == []


def test_a_plan_is_none_until_it_is_applied(broker: Broker, topics: TopicNames) -> None:
    """Without `--apply` it says what would go; with it the record and the marker are there, and never twice."""
    refuse(broker, topics, PLUG_IN, "schema")
    plan = dlt(broker, topics, "replay").stdout
    assert "would go: event pi-1 of site home-1, replay 1 of at most 3" in plan
    assert plan.endswith("nothing was sent; --apply would replay 1, 0 stay\n")
    assert read_all(broker.bootstrap_servers, topics.reroute) == []
    assert dlt(broker, topics, "replay", "--apply").stdout.splitlines()[-1].startswith("1 replayed, 0 stayed")
    assert dlt(broker, topics, "replay", "--apply").stdout.splitlines()[-1].startswith("0 replayed, 1 stayed")
    assert [message.value() for message in read_all(broker.bootstrap_servers, topics.reroute)] == [PLUG_IN]
    assert "[replayed]" in dlt(broker, topics, "list").stdout


def test_what_cannot_be_meant_is_a_usage_error(broker: Broker, topics: TopicNames, tmp_path: Path) -> None:
    """Exit code 2 and one sentence; a letter that is not there is exit code 1, a broker that is away 4."""
    for arguments, says in {
        ("list", "--reason", "ugly"): "--reason: 'ugly' is none of ",
        ("list", "--since", "noon"): "--since: 'noon' is no time",
        ("show", "ev.plug-in.v1-0@1"): "names no dead letter",
        ("show", "99@1"): "has no partition 99",
        ("replay", "--fix", str(tmp_path / "none.json")): "name that letter",
        ("replay", "0@0", "--fix", str(tmp_path / "none.json")): "--fix: No such file",
    }.items():
        ended = dlt(broker, topics, *arguments)
        assert (ended.exit_code, says in ended.stderr) == (2, True), (arguments, ended.stderr)
    assert dlt(broker, topics, "show", "0@5").exit_code == 1
    assert dlt(broker, topics, "replay", "0@5").exit_code == 1
    assert CliRunner().invoke(app, ["dlt", "list"], env=environment(NOBODY)).exit_code == 4


def test_the_story_of_a_charger_names_what_was_refused(broker: Broker, topics: TopicNames) -> None:
    """`explain` ends with the dead letters of the household, each with the place that `dlt show` takes."""
    publish(broker, topics, paused_tonight())
    refuse(broker, topics, PLUG_IN, "bad_power")
    (letter,) = dlt_json(broker, topics, "list")
    ended = CliRunner().invoke(app, ["explain", "c-1"], env=environment(broker.bootstrap_servers, topics))
    *_, heading, line = ended.stdout.splitlines()
    assert heading.startswith("What was refused of its household")
    assert line.endswith(f"bad_power  from {topics.plug_in}-1@17  key home-1  letter {letter['letter']}")

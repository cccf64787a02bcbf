"""`explain` as an operator meets it: what is read, whose story is told, and what is said where nothing is known."""

import json
import time
from typing import Any

import pytest
from typer.testing import CliRunner
from typer.testing import Result as Ended

from processor.cli import app
from processor.core.explain import explain
from processor.core.site import Site
from processor.demo.kafka import Broker
from processor.shell.topics import TopicNames
from tests.broker import prefixed, produce
from tests.cli.parts import NOBODY, environment, paused_tonight, publish
from tests.core.world import World

CHARGER, SITE = "c-1", "home-1"


def told(broker: Broker, topics: TopicNames, *arguments: str) -> Ended:
    """The verb, on these topics."""
    return CliRunner().invoke(app, ["explain", *arguments], env=environment(broker.bootstrap_servers, topics))


def told_json(broker: Broker, topics: TopicNames, *arguments: str) -> dict[str, Any]:
    """The story, as a program reads it."""
    ended = told(broker, topics, *arguments, "--json")
    assert ended.exit_code == 0, ended.stderr
    story: dict[str, Any] = json.loads(ended.stdout)
    return story


def test_the_story_is_that_of_the_topics(broker: Broker, topics: TopicNames) -> None:
    """What is told from the topics is what the core tells of the same household, and other chargers are left out."""
    world = paused_tonight()
    others = World(Site("home-2"), world.now_ms)
    others.plug_in(charger="c-2")
    publish(broker, topics, world)
    publish(broker, topics, world)  # each record comes twice
    publish(broker, topics, others)
    story = told_json(broker, topics, CHARGER)
    wanted = explain(world.site, CHARGER, world.records, world.now_ms, world.rules)
    assert (story["charger_id"], story["site_id"], story["now"]) == (CHARGER, SITE, wanted.now)
    assert [each["sentence"] for each in story["past"]] == [each.sentence for each in wanted.past]
    assert [each["event_id"] for each in story["past"]] == ["pi-1"]
    assert (story["known"], story["owed"]) == (list(wanted.known), list(wanted.owed))


def test_a_person_reads_four_parts(broker: Broker, topics: TopicNames) -> None:
    """Without `--json` the charger, its site and what it does now come first, then what is known, was and is owed."""
    publish(broker, topics, paused_tonight())
    ended = told(broker, topics, CHARGER)
    first, *more = ended.stdout.splitlines()
    assert ended.exit_code == 0, ended.stderr
    assert first.startswith(f"{CHARGER} at site {SITE} (times are UTC): The car may charge until ")
    assert [line for line in more if not line.startswith("  ")] == [
        "What is known:",
        "What happened:",
        "What is owed:",
    ]
    assert more[-1] == "  Nothing is owed to Axle."


@pytest.mark.parametrize("left", ["enrolment_status", "outcomes"])
def test_a_quiet_charger_is_found_by_what_else_was_said(broker: Broker, topics: TopicNames, left: str) -> None:
    """Its records are not kept any more: its household is found in either of the other topics, and its state told."""
    hidden = {"enrolment_status": topics.outcomes, "outcomes": topics.enrolment_status}[left]
    publish(broker, topics, paused_tonight(), leaving_out=(topics.modified_schedule, hidden))
    story = told_json(broker, topics, CHARGER)
    assert (story["site_id"], story["past"]) == (SITE, [])
    assert "This is told from the state: its newest record is not here." in story["now"]


def test_a_household_that_is_named_is_not_looked_for(broker: Broker, topics: TopicNames) -> None:
    """With `--site` the state alone is enough."""
    others = (topics.modified_schedule, topics.outcomes, topics.enrolment_status)
    publish(broker, topics, paused_tonight(), leaving_out=others)
    assert told(broker, topics, CHARGER).exit_code == 1
    assert told_json(broker, topics, CHARGER, "--site", SITE)["site_id"] == SITE


def test_a_story_without_a_state_says_so(broker: Broker, topics: TopicNames) -> None:
    """A state that is not there, or cannot be read, is told of, and the records are told all the same."""
    publish(broker, topics, paused_tonight(), leaving_out=(topics.state,))
    without = told(broker, topics, CHARGER)
    assert without.exit_code == 0, without.stderr
    assert "No state was found; this is told from the records alone." in without.stdout
    produce(broker.bootstrap_servers, topics.state, [(SITE, b"no state at all", None)])
    damaged = told(broker, topics, CHARGER)
    assert (damaged.exit_code, damaged.stdout) == (0, without.stdout)
    assert damaged.stderr.startswith(f"the state of site {SITE} cannot be read: ")


def test_an_unknown_charger_is_an_error_that_says_where_was_looked(broker: Broker, topics: TopicNames) -> None:
    """Exit code 1 and one line: the topics that were read, or the chargers that the named household has."""
    publish(broker, topics, paused_tonight())
    nowhere, elsewhere = told(broker, topics, "c-9"), told(broker, topics, "c-9", "--site", SITE)
    nobody = told(broker, topics, "c-9", "--site", "home-9")
    assert [each.exit_code for each in (nowhere, elsewhere, nobody)] == [1, 1, 1]
    assert [each.stdout for each in (nowhere, elsewhere, nobody)] == ["", "", ""]
    assert nowhere.stderr.startswith(f"unknown charger c-9: nothing in {topics.modified_schedule}, ")
    assert "--site" in nowhere.stderr
    assert f"Site {SITE} holds nothing of this charger; it knows c-1." in elsewhere.stderr
    assert "there is no state of site home-9" in nobody.stderr


def test_a_record_that_is_none_is_passed_over(broker: Broker, topics: TopicNames) -> None:
    """Foreign bytes under the charger's key are named with their place, and the story goes on without them."""
    publish(broker, topics, paused_tonight())
    produce(broker.bootstrap_servers, topics.modified_schedule, [(CHARGER, b"\xff", None), (CHARGER, None, None)])
    ended = told(broker, topics, CHARGER)
    assert ended.exit_code == 0, ended.stderr
    assert ended.stderr.startswith(f"a record is passed over ({topics.modified_schedule} [")


def test_what_is_in_the_way_is_one_line(broker: Broker) -> None:
    """A broker that is away: exit code 4; missing topics: exit code 3 and their names; each within 5 s."""
    began = time.monotonic()
    away = CliRunner().invoke(app, ["explain", CHARGER], env=environment(NOBODY))
    missing = told(broker, prefixed(TopicNames(), "nowhere."), CHARGER)
    assert (away.exit_code, missing.exit_code) == (4, 3)
    assert NOBODY in away.stderr
    assert "nowhere.ev.modified-schedule.v1" in missing.stderr
    assert "nowhere.ev.plug-in.v1" not in missing.stderr
    assert [len(each.stderr.splitlines()) for each in (away, missing)] == [1, 1]
    assert time.monotonic() - began < 10

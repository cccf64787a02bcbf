"""Half an hour without Axle, in small: what waits is called once, in order, and never all at once."""

import copy
from typing import Any

import pytest

from tests.simulation.__main__ import SHORT_EVENING, SHORT_LEAVING, lines
from tests.simulation.outage import Plan, run
from tests.simulation.tally import Figures, shortcomings


def silent(_: str) -> None:
    """Nobody listens."""


@pytest.fixture(scope="module")
def leaving() -> Figures:
    """What came of an evening on which many leave."""
    return run(SHORT_LEAVING, silent)


def test_after_an_outage_only_the_newest_wishes_are_asked_about() -> None:
    """5,000 events at 1,000 chargers while Axle is away: at most a call for each wish, farewells first, at ease."""
    figures = run(SHORT_EVENING, silent)
    assert shortcomings(figures) == []
    assert figures["at_healing"]["chargers_with_a_live_wish"] <= 1_000
    assert figures["after"]["coalesced"] > figures["after"]["calls"]
    assert figures["order"]["boost"]["waiting"] > 0


def test_when_many_leave_during_an_outage_their_farewells_go_first(leaving: Figures) -> None:
    """No plug-in and no boost is asked about before the last withdrawal that waited was told, and nothing is lost."""
    assert shortcomings(leaving) == []
    farewells = leaving["order"]["withdrawal"]
    assert (farewells["first_position"], farewells["last_position"]) == (1, farewells["waiting"])


def test_equal_seeds_tell_equal_evenings() -> None:
    """A run can be repeated to the last call; another seed is another evening."""

    def told(seed: int) -> Figures:
        figures = run(Plan(60, 300, outage_seconds=300, seed=seed), silent)
        for moment in ("at_healing", "end"):
            del figures[moment]["memory_mib"]
        return figures

    first = told(1)
    assert told(1) == first
    assert told(2) != first


WRONG: dict[str, tuple[tuple[str, str], Any]] = {
    "calls were made while": (("during", "calls"), 1_000),
    "with a live wish": (("at_healing", "chargers_with_a_live_wish"), 1),
    "questions were put": (("at_healing", "questions_open"), 1),
    "twice for the same": (("after", "repeated"), 1),
    "to notice": (("after", "noticed_s"), 31.0),
    "withdrawals were overtaken": (("order", "withdrawal"), {"called": 9, "overtaken": 1}),
    "no withdrawal waited": (("order", "withdrawal"), {"called": 0, "overtaken": 0}),
    "not a gentle one": (("pace", "first_limits"), [8, 8]),
    "beyond the limit": (("pace", "begun_over_the_limit"), 1),
    "in one second": (("pace", "calls_in_any_second_allowed"), 1),
    "owed is 1": (("end", "owed"), 1),
    "axle_differs is 1": (("end", "axle_differs"), 1),
    "outcomes_wrong is 1": (("end", "outcomes_wrong"), 1),
}


@pytest.mark.parametrize("sentence", WRONG)
def test_what_is_not_as_it_must_be_is_said(leaving: Figures, sentence: str) -> None:
    """Each figure that must hold makes a run fail when it does not, with a sentence of its own."""
    figures = copy.deepcopy(leaving)
    figures["calls_at_most_wishes"] = sentence == "with a live wish"
    figures["pace"]["calls_per_second_set"] = 1.0
    figures["pace"]["calls_in_any_second_allowed"] = 1_000
    (group, name), figure = WRONG[sentence]
    figures[group][name] = figure
    assert len(said := shortcomings(figures)) == 1
    assert sentence in said[0]


def test_the_report_can_be_read(leaving: Figures) -> None:
    """People get a few lines, with the figures that matter."""
    text = "\n".join(lines("leaving", leaving))
    assert "200 chargers, 1000 events in 1800 s" in text
    assert "0 calls owed" in text

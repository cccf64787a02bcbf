"""The edge cases that the product was designed for: one test each, named by its number.

Time is in `test_edge_cases_time.py`, precedence in `..._precedence.py`, consent in `..._consent.py`, Axle's answers in
`..._answers.py`, and what shows in bytes in `tests/wire/test_edge_cases.py`. Here are the stream's own case, and the
proof that none of the numbers is missing.
"""

import ast
from pathlib import Path

import pytest

from processor.core.events import BoostAction, ConsentWithdrawn, WithdrawalReason
from processor.core.intents import Offboard
from processor.core.outputs import Result, Status
from processor.core.schedule import union, window
from processor.core.site import withdrawn
from tests.core.world import GUIDE_PAUSE, GUIDE_SCHEDULE, World, at, results_of, two_chargers


@pytest.mark.parametrize("answered", [False, True], ids=["while Axle is asked", "in a pause"])
def test_s2_a_word_that_we_do_not_know_is_taken_for_the_safe_side(*, answered: bool) -> None:
    """An unknown action means no pauses until the driver acts again; an unknown reason to leave, that all leave."""
    world = World().enrolled()
    if answered:
        world.answer(GUIDE_PAUSE)
    told = world.boost(
        at(0.5), action=BoostAction.UNKNOWN, schedule=window(at(2), at(3)), until_ms=at(4), event_id="unknown"
    )
    dropped = [] if answered else [Result.COALESCED]
    assert results_of(told) == [*dropped, Result.UNKNOWN_ACTION]
    assert (world.last.status, world.last.final) == (Status.FALLBACK, True)
    assert world.last.effective == world.last.requested == GUIDE_SCHEDULE
    assert world.owed == []
    # Read again it says nothing new, and an action that is older than it does not bring the pauses back.
    assert results_of(world.boost(at(0.5), action=BoostAction.UNKNOWN, event_id="unknown")) == [Result.UNKNOWN_ACTION]
    world.boost(at(0.4), at(1.5))
    assert (world.last.status, world.last.pauses, world.owed) == (Status.FALLBACK, (), [])
    world.boost(at(0.6), at(2))
    assert world.is_asking()
    assert world.last.effective == union(window(at(0.6), at(2)), GUIDE_SCHEDULE)

    world = two_chargers()
    event = ConsentWithdrawn("leaves", at(0.5), world.source(), "home-1", "c-2", WithdrawalReason.UNKNOWN)
    world.tell(event, at(0.5))
    assert withdrawn(world.site)
    assert [charger.pauses for charger in world.site.chargers] == [(), ()]
    assert world.owed == [Offboard("home-1", "axle-site")]


FAMILIES = {"t": 6, "p": 7, "c": 9, "a": 8}
NUMBERS = {f"{family}{number}" for family, last in FAMILIES.items() for number in range(1, last + 1)} | {"s2"}


def numbers_told(folder: str) -> list[str]:
    """The numbers of the cases that are told in that folder of tests, one for each test."""
    modules = (Path(__file__).resolve().parents[1] / folder).glob("test_edge_cases*.py")
    functions = (node for path in modules for node in ast.parse(path.read_text()).body)
    names = [node.name for node in functions if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")]
    return [number for _, number, *_ in (name.split("_") for name in names) if number in NUMBERS]


def test_every_edge_case_is_told() -> None:
    """All 31 numbers have their test, and none has two in the same folder."""
    core, wire = numbers_told("core"), numbers_told("wire")
    assert len(NUMBERS) == 31
    assert set(core) | set(wire) == NUMBERS
    assert (len(set(core)), len(set(wire))) == (len(core), len(wire))

"""Runs of the real core, watched: every event in every condition that the tests know, and what became of it.

Here live what `docs/table.py` writes about, the runs, and the changes of state that they made; nothing is written
here. The one idea: what a row says stands in the code, what it does was watched.
"""

from collections.abc import Callable, Iterator
from enum import StrEnum
from functools import cache
from itertools import product
from typing import NamedTuple, get_args

from processor.core import enrolment, leaving
from processor.core.decide import TABLE, Pair, Row, decide, row_for
from processor.core.enrolment import is_ours
from processor.core.events import (
    Action,
    ConsentWithdrawn,
    Erase,
    Event,
    LookedUp,
    Offboarded,
    Onboarded,
    OnboardingRefused,
    Removed,
    ScheduleAnswered,
    ScheduleRefused,
)
from processor.core.intents import AskSchedule, Intent, LookUp, Offboard, Onboard, Remove, owed
from processor.core.outputs import Outcome, Output
from processor.core.registers import concerns_one_charger, take
from processor.core.rules import Rules
from processor.core.site import Charger, Site
from processor.core.standing import asking_of, standing_of
from processor.core.turn import Turn
from tests.core.table import PAIRS, TIMES

ACTIONS = frozenset(kind.__name__ for kind in get_args(Action))
DETAILS_MAX = 2
"""A cause with more kinds of refusals than this tells only that there was one."""
CALLS: dict[type[Event], type[Intent]] = {
    Onboarded: Onboard,
    OnboardingRefused: Onboard,
    LookedUp: LookUp,
    ScheduleAnswered: AskSchedule,
    ScheduleRefused: AskSchedule,
    Removed: Remove,
    Offboarded: Offboard,
}
"""Which call each answer is an answer to."""
Edge = tuple[str, str]
StateOf = Callable[[Site, Charger], str]


class Run(NamedTuple):
    """One event in one household at one time, as the real core decided it."""

    before: Site
    event: Event
    now_ms: int
    rules: Rules
    pair: Pair
    row: Row
    refused: bool
    """The row changed nothing and told nothing but the event's outcome."""
    after: Site
    outputs: tuple[Output, ...]


class Step(NamedTuple):
    """A charger that stood otherwise after an event than before it."""

    edge: Edge
    cause: str
    row: str
    elsewhere: bool
    """It was made where others may onboard chargers as well."""


@cache
def runs() -> tuple[Run, ...]:
    """Every event in every condition at every time."""
    return tuple(_run(site, event, now_ms, rules) for (_, site, rules, event), now_ms in product(PAIRS, TIMES))


@cache
def runs_by_row() -> dict[tuple[type[Event], str], list[Run]]:
    """The runs in which each row applied, by the kind of event and by what the row says."""
    found: dict[tuple[type[Event], str], list[Run]] = {(kind, row.says): [] for kind in TABLE for row in TABLE[kind]}
    for run in runs():
        found[type(run.event), run.row.says].append(run)
    return found


def is_refusal(kind: type[Event], row: Row) -> bool:
    """Whether a row never did anything in any run, beyond telling the event's outcome."""
    return all(run.refused for run in runs_by_row()[kind, row.says])


def standings(site: Site, charger: Charger) -> str:
    """How a charger stands with Axle."""
    return standing_of(site, charger).value


def askings(_: Site, charger: Charger) -> str:
    """How a charger's question stands."""
    return asking_of(charger).value


@cache
def steps(state_of: StateOf, states: type[StrEnum]) -> dict[Edge, list[Step]]:
    """Every change of state of any charger in any run, by where it led from and to, in the order of the states."""
    made = sorted({step for run in runs() for step in _steps(run, state_of)})
    edges = ((before.value, after.value) for before, after in product(states, states))
    found = {edge: [step for step in made if step.edge == edge] for edge in edges}
    return {edge: made_by for edge, made_by in found.items() if made_by}


def causes(made_by: list[Step]) -> tuple[str, ...]:
    """What makes these steps, in few words; nothing where only answers do that cannot come."""
    found = {step.cause for step in made_by if step.cause}
    if found >= ACTIONS:
        found = found - ACTIONS | {"Action"}
    details: dict[str, list[str]] = {}
    for name, _, detail in sorted(cause.partition(" (") for cause in found):
        details.setdefault(name, []).append(detail.rstrip(")"))
    said = [
        f"{name} ({', '.join(which)})" if any(which) and len(which) <= DETAILS_MAX else name
        for name, which in details.items()
    ]
    return (*said, "if elsewhere") if said and all(step.elsewhere for step in made_by) else tuple(said)


def _run(site: Site, event: Event, now_ms: int, rules: Rules) -> Run:
    turn = Turn(site, event, now_ms, rules)
    take(turn)
    enrolment.begin(turn)
    leaving.begin(turn)
    charger = turn.charger_or_none
    pair = standing_of(turn.site, charger), asking_of(charger), type(event)
    row = row_for(turn)
    met, told = turn.site, len(turn.outputs)
    row.then(turn)
    refused = turn.site == met and all(isinstance(output, Outcome) for output in turn.outputs[told:])
    decision = decide(site, event, now_ms, rules)
    return Run(site, event, now_ms, rules, pair, row, refused, decision.site, decision.outputs)


def _steps(run: Run, state_of: StateOf) -> Iterator[Step]:
    for charger_id in {charger.charger_id for site in (run.before, run.after) for charger in site.chargers}:
        here, there = (
            state_of(site, site.charger(charger_id) or Charger(charger_id)) for site in (run.before, run.after)
        )
        if here != there:
            row = f"{type(run.event).__name__}: {run.row.says}"
            yield Step((here, there), _cause(run), row, run.rules.onboarding_elsewhere)


def _cause(run: Run) -> str:
    """The event in a word or two; none for an answer that cannot come in that state."""
    event = run.event
    if type(event) in CALLS and not _is_owed(run):
        return f"late {type(event).__name__}" if _may_be_late(run) else ""
    if isinstance(event, ConsentWithdrawn | Erase):
        one_leaves = isinstance(event, ConsentWithdrawn) and concerns_one_charger(event)
        return "Disconnected" if one_leaves else "Withdrawn"
    if isinstance(event, OnboardingRefused | ScheduleRefused):
        return f"{type(event).__name__} ({event.why.lower().replace('_', ' ')})"
    if isinstance(event, LookedUp):
        turn = Turn(run.before, event, run.now_ms, run.rules)
        return f"LookedUp ({'ours' if event.found and is_ours(turn, event.found) else 'not ours'})"
    return type(event).__name__


def _is_owed(run: Run) -> bool:
    """Whether the household owes the call that the event is an answer to."""
    call, charger_id = CALLS[type(run.event)], getattr(run.event, "charger_id", None)
    return any(
        isinstance(intent, call) and getattr(intent, "charger_id", None) == charger_id
        for intent in owed(run.before, run.now_ms, run.rules)
    )


def _may_be_late(run: Run) -> bool:
    """Whether the call may have been under way when it ceased to be owed. Only these two answers count even then."""
    return isinstance(run.event, Removed) or (isinstance(run.event, Onboarded) and run.before.mpan_mark is not None)

"""What a simulated outage is judged by: what was owed at a moment, what was called afterwards, and what must hold.

What is owed is read from the changelog, as a restart would read it, and never asked of the desk. Calls are counted as
Axle's side saw them over HTTP; who was called in which order, and how many at once, is in the ledger.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from resource import getpagesize
from typing import Any

from processor.core.events import Source
from processor.core.intents import LookUp, owed
from processor.core.outputs import Enrolled
from processor.core.rules import Rules
from processor.core.site import Site, has_left, is_live
from processor.demo.axle_world import World
from processor.shell.desk import Lane, lane_of
from processor.shell.governor import RATE_AT_ONCE_SECONDS
from processor.wire.state import ERASED_PREFIX, decode_site
from tests.simulation.axle import Call
from tests.simulation.ledger import Kind, Made, kind_of

Figures = dict[str, Any]
NOTICED_SECONDS_MAX = 30.0
"""The breaker's longest wait for its next probe."""


@dataclass(frozen=True, slots=True)
class Moment:
    """What is known and owed at a moment of a run."""

    at: float
    sites: int
    live_wishes: int
    """Chargers whose driver wants something that lies ahead."""
    questions: int
    """Chargers with a question that has no answer yet."""
    owed: Mapping[Lane, Kind]
    assets: Mapping[str, str]
    """Axle's ids of the chargers that we hold to be enrolled."""
    memory_mib: float


def look(states: Mapping[bytes, bytes], at: float, now_ms: int, rules: Rules) -> Moment:
    """Read the changelog as a restart would."""
    sites = [decode_site(state) for key, state in states.items() if not key.startswith(ERASED_PREFIX.encode())]
    chargers = [(site, charger) for site in sites for charger in site.chargers]
    return Moment(
        at=at,
        sites=len(sites),
        live_wishes=sum(is_live(charger, now_ms, rules) for _, charger in chargers),
        questions=sum(charger.question is not None for _, charger in chargers),
        owed={lane_of(intent): kind_of(intent) for site in sites for intent in owed(site, now_ms, rules)},
        assets=dict(_enrolled(sites)),
        memory_mib=memory_mib(),
    )


def _enrolled(sites: Iterable[Site]) -> Iterable[tuple[str, str]]:
    for site in sites:
        for charger in site.chargers:
            if charger.enrolled is Enrolled.ENROLLED and charger.axle_asset_id and not has_left(site, charger):
                yield charger.charger_id, charger.axle_asset_id


def memory_mib() -> float:
    """What this process takes just now; 0 where the system does not tell."""
    statm = Path("/proc/self/statm")
    pages = int(statm.read_text().split()[1]) if statm.exists() else 0
    return round(pages * getpagesize() / 2**20, 1)


def differences(assets: Mapping[str, str], world: World) -> int:
    """Chargers of which Axle's model and ours say different things."""
    theirs = {asset.external_id: asset.id for asset in world.assets.values()}
    return len(dict(assets).items() ^ theirs.items())


def outcomes_wrong(sent: Iterable[Source], settled: Iterable[Source]) -> int:
    """Records without an outcome, with more than one, or with one that nobody sent."""
    outcomes = Counter(settled)
    outcomes.subtract(Counter(sent))
    return sum(map(abs, outcomes.values()))


def by_endpoint(calls: Iterable[Call]) -> dict[str, int]:
    """How often each was called, the most called first."""
    return dict(Counter(call.endpoint for call in calls).most_common())


def pace(calls: Sequence[Call], made: Sequence[Made], rate: float | None) -> Figures:
    """How fast calls began once Axle answered again, second by second, beside how many were allowed at once."""
    answered_at = next((call.at for call in calls if call.status == 200), 0.0)
    per_second = Counter(int(call.at - answered_at) for call in calls if call.at >= answered_at)
    limits: dict[int, int] = {}
    for one in made:
        second = int(one.at - answered_at)
        limits[second] = max(limits.get(second, 0), one.limit)
    # Look-ups come for an hour more, one now and then.
    shown = range(next(second for second in count() if not per_second[second]))
    return {
        "calls_per_second_set": rate,
        "peak_calls_in_any_second": _peak([call.at for call in calls]),
        # The governor's word: what a second earns, and a tenth of a second's worth that was saved before.
        "calls_in_any_second_allowed": None if rate is None else rate + max(rate * RATE_AT_ONCE_SECONDS, 1),
        "under_way_peak": max((one.under_way for one in made), default=0),
        "begun_over_the_limit": sum(one.under_way > one.limit for one in made),
        "first_limits": [one.limit for one in made if not one.is_probe][:10],
        "calls_by_second": [per_second[second] for second in shown],
        "limit_by_second": [limits.get(second, 0) for second in shown],
    }


def _peak(times: Sequence[float]) -> int:
    """The most in any stretch of one second."""
    most = first = 0
    for last, at in enumerate(times):
        while times[first] <= at - 1:
            first += 1
        most = max(most, last - first + 1)
    return most


def order(made: Sequence[Made], waiting: Mapping[Lane, Kind]) -> Figures:
    """In which order the lanes that waited at the healing had their first call afterwards; positions begin at 1."""
    firsts = dict.fromkeys(one.lane for one in made if one.lane in waiting)
    position = {lane: place for place, lane in enumerate(firsts, 1)}
    places = {
        kind: sorted(position[lane] for lane, its in waiting.items() if its is kind and lane in position)
        for kind in Kind
    }
    figures: Figures = {}
    for kind in Kind:
        mine, later = places[kind], sorted(place for other in Kind if other > kind for place in places[other])
        figures[kind.name.lower()] = {
            "waiting": sum(its is kind for its in waiting.values()),
            "called": len(mine),
            "first_position": mine[0] if mine else None,
            "last_position": mine[-1] if mine else None,
            "overtaken": sum(place > later[0] for place in mine) if later else 0,
            "overtaken_by": sum(place < mine[-1] for place in later) if mine else 0,
        }
    return figures


def called_at(made: Sequence[Made], waiting: Mapping[Lane, Kind], otherwise: float) -> float:
    """When the last of the lanes that waited at the healing had its first call."""
    firsts: dict[Lane, float] = {}
    for one in made:
        if one.lane in waiting:
            firsts.setdefault(one.lane, one.at)
    return max(firsts.values(), default=otherwise)


def repeated(made: Iterable[Made]) -> int:
    """Calls that were made a second time for the same matter, look-ups apart."""
    counts = Counter(one.matter for one in made if one.matter[0] != LookUp.__name__)
    return sum(calls - 1 for calls in counts.values())


def shortcomings(figures: Figures) -> list[str]:
    """What is not as it must be, in sentences."""
    during, healing, after = figures["during"], figures["at_healing"], figures["after"]
    speed, end = figures["pace"], figures["end"]
    withdrawals, boosts = figures["order"]["withdrawal"], figures["order"]["boost"]
    put = after["calls_by_endpoint"].get("schedule", 0)
    checks = (
        (during["calls"] <= during["calls_allowed"], f"{during['calls']} calls were made while Axle was away"),
        (
            not figures["calls_at_most_wishes"] or after["calls"] <= healing["chargers_with_a_live_wish"],
            f"{after['calls']} calls for {healing['chargers_with_a_live_wish']} chargers with a live wish",
        ),
        (
            put <= healing["questions_open"],
            f"{put} questions were put, and {healing['questions_open']} were open",
        ),
        (after["repeated"] == 0, f"{after['repeated']} calls were made twice for the same matter"),
        (after["noticed_s"] <= NOTICED_SECONDS_MAX, f"it took {after['noticed_s']} s to notice that Axle is well"),
        (withdrawals["called"] > 0, "no withdrawal waited for Axle, so nothing shows that they go first"),
        (withdrawals["overtaken"] == 0, f"{withdrawals['overtaken']} withdrawals were overtaken"),
        (boosts["overtaken_by"] == 0, f"{boosts['overtaken_by']} calls without haste went before the last boost"),
        (speed["first_limits"][0] == 1, f"the start was not a gentle one: {speed['first_limits']} calls at once"),
        (speed["begun_over_the_limit"] == 0, f"{speed['begun_over_the_limit']} calls began beyond the limit"),
        (
            speed["calls_per_second_set"] is None
            or speed["peak_calls_in_any_second"] <= speed["calls_in_any_second_allowed"],
            f"{speed['peak_calls_in_any_second']} calls began in one second",
        ),
    )
    wrong = [sentence for holds, sentence in checks if not holds]
    names = ("owed", "questions_open", "axle_differs", "outcomes_wrong")
    return wrong + [f"at the end {name} is {end[name]}" for name in names if end[name]]

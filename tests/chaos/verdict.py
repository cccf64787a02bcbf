"""The verdict over a chaos run: what a read_committed reader and Axle's own log saw, held against what went in.

Here lives what the parts report of every run, in the demo's words where they mean the same. The idea: nothing that a
worker says about itself counts; a record of an aborted transaction that were visible would show here as a duplicate, as
a revision that came twice, or as a broken chain.
"""

import pickle
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from processor.core.events import ConsentWithdrawn
from processor.core.outputs import Result
from processor.demo.history import Facts, History, leaving_charger
from processor.demo.promises import Finding, Promise
from processor.demo.verifier import verify
from tests.chaos.arena import Arena
from tests.chaos.flow import enrolled
from tests.kafka.rig import Seen, broken_chains

NAMED_MAX = 20
_WAITED = "s for a first word"
"""A driver who waited for a first word while a task moved: time is what a crash may cost. Counted apart."""
_UNTOLD = "Axle was never told"
"""The demo asks for a call between a withdrawal and its outcome. Here a worker may have died after the call and before
its commit, and a second withdrawal taken over: what counts is that Axle had nothing any more. See `still_there`."""


def differences(arena: Arena) -> list[str]:
    """Chargers that Axle has and we do not count as enrolled, and the other way round."""
    world: dict[str, Any] = arena.axle.get("/_sim/world")
    at_axle = {asset["external_id"] for asset in world["assets"]}
    ours = {charger for charger, _ in enrolled(list(arena.statuses.values()))}
    return [
        *(f"{charger}: Axle has it, and its home's status does not say so" for charger in sorted(at_axle - ours)),
        *(f"{charger}: its home's status says that Axle has it" for charger in sorted(ours - at_axle)),
    ]


def still_there(history: History) -> Iterator[str]:
    """Withdrawals that are said to be offboarded while Axle still had what it had before them, or never had it."""
    facts, stays = Facts(history), _stays(history)
    for settled in history.settled:
        put = facts.by_id.get(settled.outcome.event_id or "")
        if put is None or settled.outcome.result is not Result.OFFBOARDED:
            continue
        event = put.planned.event
        names = facts.mpans(event.site_id)
        if isinstance(event, ConsentWithdrawn) and (charger_id := leaving_charger(event)):
            names = {charger_id}
        known = [stay for name in names for stay in stays[name]]
        if not any(began <= settled.appended_ms for began, _ in known):
            yield f"{event.event_id} is said to be offboarded, and Axle never had it"
        if any(began < put.appended_ms and settled.appended_ms < ended for began, ended in known):
            yield f"{event.event_id} is said to be offboarded, and Axle still had it then"


def _stays(history: History) -> defaultdict[str, list[tuple[int, float]]]:
    """From when until when Axle had each site (by its meter) and each charger (by our name), as its log tells."""
    stays: defaultdict[str, list[tuple[int, float]]] = defaultdict(list)
    here: dict[str, int] = {}
    homes: defaultdict[str, set[str]] = defaultdict(set)
    """What is at each of Axle's sites."""
    for call in history.calls:
        if not call["effect"]:
            continue
        came, gone = _moves(call, homes)
        for name in gone:
            if name in here:
                stays[name].append((here.pop(name), call["at_ms"]))
        for name in came:
            here.setdefault(name, call["at_ms"])
    for name, began in here.items():
        stays[name].append((began, float("inf")))
    return stays


def _moves(call: Mapping[str, Any], homes: defaultdict[str, set[str]]) -> tuple[set[str], set[str]]:
    """Which names a call with an effect brought to Axle, and which it took away; `homes` is kept up to date."""
    site = call["axle_site_id"]
    if call["method"] == "DELETE":
        return set(), {call["external_id"]}
    if call["endpoint"] in {"offboard", "unenrol"}:
        return set(), homes.pop(site, set())
    if call["endpoint"] not in {"onboard", "asset"}:
        return set(), set()
    came = {call["external_id"]}
    if call["endpoint"] == "onboard":
        came.add(call["body"]["site"]["mpan"])
    homes[site] |= came
    return came, set()


def judge(arena: Arena) -> dict[str, Any]:
    """The figures of a run that has come to rest. Counts; `findings` and `differences` name the first few."""
    history = arena.history
    history.calls = [orjson.loads(line) for line in arena.calls.read_bytes().splitlines()]
    history.axle = arena.axle.get("/_sim/world")
    verdict = verify(history)
    seen = Seen()
    for published in history.published:
        seen.schedules[published.record.charger_id].append(published.record)
    chains = broken_chains(seen)
    differ = differences(arena)
    findings = [finding for finding in verdict.findings if not finding.sentence.endswith((_WAITED, _UNTOLD))]
    findings += [Finding(Promise.WITHDRAWN, sentence) for sentence in still_there(history)]
    waited = sum(finding.sentence.endswith(_WAITED) for finding in verdict.findings)
    return {
        "events": sum(put.place is not None for put in history.puts),
        "by_topic": dict(Counter(put.planned.kind.value for put in history.puts)),
        "outcomes": dict(Counter(one.outcome.result.value for one in history.settled)),
        "published": len(history.published),
        "axle_calls": len(history.calls),
        "lost": verdict.lost,
        "duplicates": verdict.duplicates,
        "order_violations": len(chains),
        "axle_differs": len(differ),
        "violations": {promise.value: sum(one.promise is promise for one in findings) for promise in Promise},
        "waited_over_10_s": waited,
        "findings": [f"{finding.promise}: {finding.sentence}" for finding in findings[:NAMED_MAX]],
        "differences": differ[:NAMED_MAX],
    }


def keep(arena: Arena) -> None:
    """Have the run's logs kept, and beside them everything that was seen, for whoever looks for the cause."""
    arena.keep = True
    with (arena.folder / "history.pickle").open("wb") as file:
        pickle.dump((arena.history, arena.statuses), file)


def is_clean(figures: dict[str, Any]) -> bool:
    """Whether nothing was lost, repeated, out of order or against a promise."""
    counts = [figures[name] for name in ("lost", "duplicates", "order_violations", "axle_differs")]
    return not any(counts) and not any(figures["violations"].values())

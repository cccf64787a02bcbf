"""The verdict: were the promises kept? And the report that says so, in the same words as those of the other tools.

Here live the fourth promise (every event gets exactly one outcome) and what is counted; promises one to three are
`promises.py`'s, the facts `history.py`'s. The idea: the verifier stands outside. It holds what was put in against what
a read_committed reader saw and what the simulated Axle logged, and it believes no figure of the processor's own.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from processor.core.events import ConsentWithdrawn, Input, Source
from processor.core.outputs import Outcome, Result
from processor.demo.history import Facts, History, counts, latencies, leaving_charger
from processor.demo.promises import Finding, Promise, Wish, driver_wins, silence_means_charge, withdrawn_is_withdrawn
from processor.demo.sender import Put
from processor.demo.traffic import Event, Twist

FINDINGS_MAX = 50
READING_MS = 3_000
"""By now what was appended so long ago has been read, whatever its topic and partition."""
_TOLD_BY_TWIST = {Twist.INVALID: Result.INVALID, Twist.GARBAGE: Result.INVALID, Twist.UNKNOWN: Result.UNKNOWN_ACTION}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found. `lost`: inputs without an outcome; `unsettled`: those among them of which a record speaks.

    `lost` and `duplicates` are None where the broker cannot keep the fourth promise (a mock).
    """

    findings: tuple[Finding, ...]
    lost: int | None
    duplicates: int | None
    unsettled: int

    @property
    def is_kept(self) -> bool:
        """Whether every promise that was checked was kept."""
        return not self.findings and not self.lost and not self.duplicates

    def broken(self, promise: Promise) -> int:
        """How often a promise was broken."""
        return sum(finding.promise is promise for finding in self.findings)


def verify(history: History, *, exactly_once: bool = True, slack_ms: int = 0) -> Verdict:
    """Judge a run that has ended. `slack_ms`: how far the broker's clock may be from the simulator's."""
    facts = Facts(history, slack_ms)
    findings = [*_first_three(facts)]
    lost = [put.planned.event.event_id for put in _without_outcome(history)]
    duplicates = _duplicates(facts)
    unsettled = sum(event_id in facts.traces for event_id in lost)
    if not exactly_once:
        return Verdict(tuple(findings), None, None, unsettled)
    findings += [Finding(Promise.ONE_OUTCOME, sentence) for sentence in (*_one_outcome(facts), *duplicates)]
    findings += [Finding(Promise.ONE_OUTCOME, f"{event_id} got no outcome") for event_id in lost]
    return Verdict(tuple(findings), len(lost), len(duplicates), unsettled)


def verify_so_far(history: History, now_ms: int) -> Verdict:
    """Judge a run that goes on: what may still come, or is still on its way to the reader, is not held against it."""
    until_ms = now_ms - READING_MS
    facts = Facts(
        History(
            history.puts,
            [published for published in history.published if published.appended_ms <= until_ms],
            [settled for settled in history.settled if settled.appended_ms <= until_ms],
            history.dead_letters,
            [call for call in history.calls if call["at_ms"] <= until_ms],
        )
    )
    findings = [*_first_three(facts)]
    duplicates = _duplicates(facts)
    findings += [Finding(Promise.ONE_OUTCOME, sentence) for sentence in duplicates]
    return Verdict(tuple(findings), 0, len(duplicates), len(_without_outcome(history)))


def open_inputs(history: History, until_ms: float = math.inf) -> int:
    """How many acknowledged inputs have no outcome yet, of those that were appended until then."""
    return sum(put.appended_ms <= until_ms for put in _without_outcome(history))


def report(
    history: History, verdict: Verdict, broker: str, first_schedule_seconds: float | None, duration_seconds: float
) -> dict[str, Any]:
    """The report as plain JSON values; times in milliseconds and seconds, as their names say."""
    facts = Facts(history)
    counted = counts(facts)
    topics = ("plug-in", "user-boost", "consent-withdrawn")
    violations: dict[str, int | None] = {promise.value: verdict.broken(promise) for promise in Promise}
    if verdict.lost is None:
        violations[Promise.ONE_OUTCOME.value] = None
    return {
        "broker": broker,
        "events": {topic: counted["events"].get(topic, 0) for topic in topics},
        "published": counted["published"],
        "violations": violations,
        "lost": verdict.lost,
        "duplicates": verdict.duplicates,
        "latency_ms": {
            "user-boost": _percentiles(latencies(facts, Input.USER_BOOST)),
            "plug-in": _percentiles(latencies(facts, Input.PLUG_IN)),
        },
        "first_schedule_s": None if first_schedule_seconds is None else round(first_schedule_seconds, 2),
        "outcomes": counted["outcomes"],
        "dead_letters": len(history.dead_letters),
        "unsettled": verdict.unsettled,
        "offboarded_at_axle": sum(call["endpoint"] == "offboard" and call["effect"] for call in history.calls),
        "axle_calls": len(history.calls),
        "duration_s": round(duration_seconds, 1),
        "findings": [f"{finding.promise}: {finding.sentence}" for finding in verdict.findings[:FINDINGS_MAX]],
    }


def _first_three(facts: Facts) -> Iterator[Finding]:
    for charger_id in facts.by_charger:
        yield from driver_wins(facts, charger_id)
    yield from withdrawn_is_withdrawn(facts)
    yield from silence_means_charge(facts)


def _without_outcome(history: History) -> list[Put]:
    settled = {one.outcome.source for one in history.settled}
    return [put for put in history.puts if put.place is not None and put.place not in settled]


def _duplicates(facts: Facts) -> list[str]:
    """Second outcomes, second dead letters, and revisions that came twice."""
    outcomes = Counter(one.outcome.source for one in facts.history.settled)
    letters = Counter(facts.history.dead_letters)
    revisions = Counter((one.record.charger_id, one.record.revision) for one in facts.history.published)
    return [
        *(f"{_place(source)} got {times} outcomes" for source, times in outcomes.items() if times > 1),
        *(f"{_place(source)} got {times} dead letters" for source, times in letters.items() if times > 1),
        *(
            f"{name} was told revision {number} {times} times"
            for (name, number), times in revisions.items()
            if times > 1
        ),
    ]


def _one_outcome(facts: Facts) -> Iterator[str]:
    """Outcomes that belong to nothing, say the wrong thing, or speak of a record that nobody saw; and broken chains."""
    puts = {put.place: put for put in facts.inputs}
    excuses = Excuses(facts)
    revisions = {(one.record.charger_id, one.record.revision) for one in facts.history.published}
    invalid: set[Source] = set()
    for settled in facts.history.settled:
        outcome = settled.outcome
        put = puts.get(outcome.source)
        if put is None:
            yield f"an outcome was given for {_place(outcome.source)}, where no event was put"
            continue
        if outcome.result is Result.INVALID:
            invalid.add(outcome.source)
        if outcome.event_id not in {None, put.planned.event.event_id}:
            yield f"the outcome of {put.planned.event.event_id} names {outcome.event_id}"
        yield from _wrong_outcome(put.planned.twist, outcome, put.planned.event.event_id)
        if outcome.revision is not None and (outcome.charger_id, outcome.revision) not in revisions:
            yield f"the outcome of {outcome.event_id} names revision {outcome.revision}, which nobody was told"
        if outcome.result in {Result.DUPLICATE, Result.STALE} and not excuses.excuse(put.planned.event, outcome.result):
            yield f"{outcome.event_id} was left aside as {outcome.result}, and nothing else was said that explains it"
    for source in invalid ^ set(facts.history.dead_letters):
        kind = "was refused and has no dead letter" if source in invalid else "has a dead letter and was not refused"
        yield f"{_place(source)} {kind}"
    for published in facts.history.published:
        if published.record.caused_by.event_id not in facts.by_id:
            yield f"{published.record.charger_id}: a record is said to be caused by an event that nobody sent"
    yield from _broken_chains(facts)


class Excuses:
    """Whether an event may be left aside: it came twice, or something newer was said on the same matter."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._times = Counter(put.planned.event.event_id for put in facts.history.puts)
        self._wishes: defaultdict[str, Wish] = defaultdict(Wish)
        self._left: defaultdict[tuple[str, str | None], tuple[int, str]] = defaultdict(lambda: (0, ""))
        for put in facts.by_id.values():
            event = put.planned.event
            if isinstance(event, ConsentWithdrawn):
                who = (event.site_id, leaving_charger(event))
                self._left[who] = max(self._left[who], (event.occurred_at_ms, event.event_id))
            elif put.planned.readable:
                self._wishes[event.charger_id].take(event)

    def excuse(self, event: Event, result: Result) -> bool:
        """Whether what was put in explains this result."""
        if self._times[event.event_id] > 1:
            return True
        if result is Result.DUPLICATE:
            return False
        if not isinstance(event, ConsentWithdrawn):
            return self._wishes[event.charger_id].outlives(event)
        consented_ms = max(self._facts.consents(event.site_id), default=0)
        _, newest_id = self._left[event.site_id, leaving_charger(event)]
        return consented_ms > event.occurred_at_ms or newest_id != event.event_id


def _wrong_outcome(twist: Twist, outcome: Outcome, event_id: str) -> Iterator[str]:
    expected = _TOLD_BY_TWIST.get(twist)
    if expected is None and outcome.result in _TOLD_BY_TWIST.values():
        yield f"{event_id} is a proper event, and its outcome is {outcome.result}"
    elif expected is not None and outcome.result is not expected:
        yield f"{event_id} should be {expected}, and its outcome is {outcome.result}"


def _broken_chains(facts: Facts) -> Iterator[str]:
    for charger_id, told in facts.by_charger.items():
        last: int | None = None
        for published in told:
            record = published.record
            if record.replaces != last:
                yield f"{charger_id}: revision {record.revision} replaces {record.replaces}, after revision {last}"
            if last is not None and record.revision <= last:
                yield f"{charger_id}: revision {record.revision} came after revision {last}"
            last = record.revision


def _place(source: Source) -> str:
    return f"{source.topic}-{source.partition}@{source.offset}"


def _percentiles(samples: Sequence[int]) -> dict[str, int | None]:
    """The nearest-rank median and 99th percentile, and how many there were."""
    ordered = sorted(samples)

    def rank(share: float) -> int | None:
        return ordered[math.ceil(share * len(ordered)) - 1] if ordered else None

    return {"p50": rank(0.5), "p99": rank(0.99), "count": len(ordered)}

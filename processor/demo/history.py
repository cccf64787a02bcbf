"""What was seen from outside during a run: what was put in, what was published, what Axle was asked.

Here live the facts and the few questions that all promises ask of them (`Facts`). What is right or wrong about them is
`verifier.py`'s. The idea: everything is keyed by the broker's own places and times; nothing is taken from what the
processor says about itself.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

from processor.core.events import ConsentWithdrawn, Input, PlugIn, Source, WithdrawalReason
from processor.core.outputs import ModifiedSchedule, Outcome
from processor.core.schedule import Schedule, normalise
from processor.demo.sender import Put
from processor.demo.traffic import Twist


@dataclass(frozen=True, slots=True)
class Published:
    """A schedule on the output topic, and when the broker appended it."""

    record: ModifiedSchedule
    appended_ms: int


@dataclass(frozen=True, slots=True)
class Settled:
    """An outcome on its topic, and when the broker appended it."""

    outcome: Outcome
    appended_ms: int


@dataclass(frozen=True, slots=True)
class Asked:
    """A question about a schedule as Axle received it; `answered` is None where no schedule went back."""

    at_ms: int
    charger_id: str
    sent: Schedule
    answered: Schedule | None


@dataclass(slots=True)
class History:
    """Everything that was seen, in the order in which it was seen.

    `calls` are lines of the simulator's log; `axle` is its world at the end of the run (`World.snapshot`), else None.
    """

    puts: list[Put] = field(default_factory=list)
    published: list[Published] = field(default_factory=list)
    settled: list[Settled] = field(default_factory=list)
    dead_letters: list[Source] = field(default_factory=list)
    calls: list[dict[str, Any]] = field(default_factory=list)
    axle: Mapping[str, Any] | None = None


@dataclass(slots=True)
class Trace:
    """What came out for one event: its records and outcomes, oldest first."""

    published: list[Published] = field(default_factory=list)
    settled: list[Settled] = field(default_factory=list)

    @property
    def first_ms(self) -> int | None:
        """When the first word about it was appended."""
        times = [self.published[0].appended_ms] if self.published else []
        times += [self.settled[0].appended_ms] if self.settled else []
        return min(times, default=None)


class Facts:
    """A history with its threads pulled out: by event, by charger, by site. Made afresh for each look."""

    def __init__(self, history: History, slack_ms: int = 0) -> None:
        """`slack_ms`: how far the broker's clock may be from Axle's."""
        self.history = history
        self.slack_ms = slack_ms
        self.inputs = [put for put in history.puts if put.place is not None]
        self.by_id: dict[str, Put] = {}
        for put in history.puts:
            self.by_id.setdefault(put.planned.event.event_id, put)

    @cached_property
    def traces(self) -> Mapping[str, Trace]:
        """What came out, by the id of the event that caused it."""
        traces: defaultdict[str, Trace] = defaultdict(Trace)
        for published in self.history.published:
            traces[published.record.caused_by.event_id].published.append(published)
        for settled in self.history.settled:
            if settled.outcome.event_id is not None:
                traces[settled.outcome.event_id].settled.append(settled)
        return traces

    @cached_property
    def by_charger(self) -> Mapping[str, list[Published]]:
        """Each charger's schedules in the order of its partition, which is the order in which chargers hear them."""
        found: defaultdict[str, list[Published]] = defaultdict(list)
        for published in self.history.published:
            found[published.record.charger_id].append(published)
        return found

    @cached_property
    def chargers(self) -> Mapping[str, set[str]]:
        """The chargers of each home, as its records name them."""
        found: defaultdict[str, set[str]] = defaultdict(set)
        for charger_id, told in self.by_charger.items():
            found[told[0].record.site_id].add(charger_id)
        return found

    @cached_property
    def asked(self) -> Mapping[str, list[Asked]]:
        """Each charger's questions to Axle, in the order of their arrival there (the log has that of their effects)."""
        found: defaultdict[str, list[Asked]] = defaultdict(list)
        for call in self.history.calls:
            question = read_question(call)
            if question is not None:
                found[question.charger_id].append(question)
        for questions in found.values():
            questions.sort(key=lambda question: question.at_ms)
        return found

    @cached_property
    def by_site(self) -> Mapping[str, list[Put]]:
        """Everything readable that was said about each site, each event once."""
        found: defaultdict[str, list[Put]] = defaultdict(list)
        for put in self.by_id.values():
            if put.planned.readable:
                found[put.planned.event.site_id].append(put)
        return found

    @cached_property
    def misread(self) -> Mapping[str, list[tuple[str, Put]]]:
        """Each charger's actions that cannot be understood, with their ids."""
        found: defaultdict[str, list[tuple[str, Put]]] = defaultdict(list)
        for event_id, put in self.by_id.items():
            charger_id = put.planned.event.charger_id
            if charger_id and put.place and put.planned.twist in {Twist.INVALID, Twist.UNKNOWN}:
                found[charger_id].append((event_id, put))
        return found

    def first_word_ms(self, event_id: str) -> int | None:
        """When the first record or outcome of an event was appended."""
        return self.traces[event_id].first_ms if event_id in self.traces else None

    def consents(self, site_id: str, told_by_ms: int | None = None) -> Iterator[int]:
        """When the household consented, by what was told so far: the earlier of the two times that an event has.

        Source: design 4, order by registers.
        """
        for put, consented_ms in self._consents.get(site_id, ()):
            if told_by_ms is None or put.appended_ms <= told_by_ms:
                yield consented_ms

    @cached_property
    def _consents(self) -> Mapping[str, list[tuple[Put, int]]]:
        found: defaultdict[str, list[tuple[Put, int]]] = defaultdict(list)
        for site_id, puts in self.by_site.items():
            for put in puts:
                event = put.planned.event
                if isinstance(event, PlugIn) and event.enrolment is not None and put.place is not None:
                    found[site_id].append((put, min(event.enrolment.consented_at_ms, event.occurred_at_ms)))
        return found

    def withdrawals(self, site_id: str, charger_id: str | None) -> Iterator[Put]:
        """Withdrawals of the site, and those of this one charger."""
        for put, leaving in self._withdrawals.get(site_id, ()):
            if leaving in {None, charger_id}:
                yield put

    @cached_property
    def _withdrawals(self) -> Mapping[str, list[tuple[Put, str | None]]]:
        found: defaultdict[str, list[tuple[Put, str | None]]] = defaultdict(list)
        for site_id, puts in self.by_site.items():
            for put in puts:
                event = put.planned.event
                if isinstance(event, ConsentWithdrawn) and put.place is not None:
                    found[site_id].append((put, leaving_charger(event)))
        return found

    def mpans(self, site_id: str) -> set[str]:
        """The meters that the household was enrolled with."""
        events = (put.planned.event for put in self.by_site.get(site_id, ()))
        return {event.enrolment.mpan for event in events if isinstance(event, PlugIn) and event.enrolment}


def leaving_charger(event: ConsentWithdrawn) -> str | None:
    """The charger that leaves alone; None when the household does."""
    return event.charger_id if event.reason is WithdrawalReason.CHARGER_DISCONNECTED else None


def read_question(call: Mapping[str, Any]) -> Asked | None:
    """A line of the simulator's log as a question about a schedule, or None when it is about something else."""
    if call["endpoint"] != "schedule" or not call["body"] or not call["external_id"]:
        return None
    sent = read_blocks(call["body"].get("charging_schedule"))
    if sent is None:
        return None
    answered = None
    if call["status"] == 200 and isinstance(call["answer"], Mapping):
        answered = read_blocks(call["answer"].get("modified_charging_schedule"))
    return Asked(call["at_ms"], call["external_id"], sent, answered)


def read_blocks(blocks: object) -> Schedule | None:
    """Axle's JSON blocks as a schedule; None when they are none, or have no time zone."""
    try:
        return normalise(
            (_milliseconds(block["start_timestamp"]), _milliseconds(block["end_timestamp"]))
            for block in blocks  # type: ignore[attr-defined]
        )
    except (TypeError, KeyError, ValueError):
        return None


def latencies(facts: Facts, kind: Input) -> list[int]:
    """Milliseconds from an event's append to that of the first record it caused, for each event that caused one."""
    found = []
    for event_id, put in facts.by_id.items():
        published = facts.traces[event_id].published if event_id in facts.traces else []
        if put.planned.kind is kind and put.place is not None and published:
            found.append(max(published[0].appended_ms - put.appended_ms, 0))
    return found


def counts(facts: Facts) -> dict[str, dict[str, int]]:
    """How many events went in, by topic; how many schedules came out, by status; and outcomes."""
    events = Counter(put.planned.kind.value.lower().replace("_", "-") for put in facts.inputs)
    published = Counter(published.record.status.value for published in facts.history.published)
    outcomes = Counter(settled.outcome.result.value for settled in facts.history.settled)
    return {"events": dict(events), "published": dict(published), "outcomes": dict(outcomes)}


def _milliseconds(text: str) -> int:
    instant = datetime.fromisoformat(text)
    if instant.tzinfo is None:
        raise ValueError(f"{text} has no time zone")
    return round(instant.timestamp() * 1000)

"""The first three promises, each checked against what was seen: the driver wins, withdrawn is withdrawn, silence
means charge.

Here lives what would be wrong; the facts are `history.py`'s, the fourth promise and the verdict `verifier.py`'s. The
idea: a charger's records are read in the order in which the charger hears them, and what its driver wants is worked out
anew from the events that went in. Each finding is a sentence that names what was seen.
"""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from itertools import zip_longest

from processor.core.events import BoostAction, ConsentWithdrawn, Input, PlugIn, UserBoost
from processor.core.outputs import ModifiedSchedule, Result, Status
from processor.core.schedule import EMPTY, HOUR_MS, MINUTE_MS, Schedule, intersect, is_subset, since, subtract, union
from processor.demo.history import Asked, Facts, Published, leaving_charger

PATIENCE_MS = 10_000
"""A driver who waits this long for a first word was not heard. Far more than it takes, so that a busy machine is not
taken for a broken promise."""
_BOOST_OPEN_END_MS = 12 * HOUR_MS
_BOOST_BEFORE_PLUG_IN_MS = 5 * MINUTE_MS

Stamp = tuple[int, str]


class Promise(StrEnum):
    """What is promised (design 1), by the name that reports use."""

    DRIVER_WINS = "driver_wins"
    WITHDRAWN = "withdrawn_is_withdrawn"
    SILENCE = "silence_means_charge"
    ONE_OUTCOME = "one_outcome"


@dataclass(frozen=True, slots=True)
class Finding:
    """A promise that was broken, and how one can see it."""

    promise: Promise
    sentence: str


@dataclass(slots=True)
class Wish:
    """What a driver wants, from the newest words on each matter (design 4: order comes from when things happened)."""

    plugged: Stamp = (0, "")
    base: tuple[Stamp, Schedule] = ((0, ""), EMPTY)
    boost: tuple[Stamp, int] = ((0, ""), 0)
    heard: set[str] = field(default_factory=set)

    def take(self, event: PlugIn | UserBoost) -> None:
        """Hear an event; where it is older than what was heard before, that stands."""
        stamp = (event.occurred_at_ms, event.event_id)
        if isinstance(event, PlugIn):
            self.plugged = max(self.plugged, stamp)
            self.base = max(self.base, (stamp, event.schedule))
        elif event.action is BoostAction.SCHEDULE_CHANGED:
            self.base = max(self.base, (stamp, event.schedule or EMPTY))
        else:
            until_ms = 0
            if event.action is BoostAction.BOOST:
                until_ms = event.boost_until_ms or event.occurred_at_ms + _BOOST_OPEN_END_MS
            self.boost = max(self.boost, (stamp, until_ms))

    def outlives(self, event: PlugIn | UserBoost) -> bool:
        """Whether newer words than the event's stand on all it speaks of, so that it may be left aside as too old."""
        stamp = (event.occurred_at_ms, event.event_id)
        if isinstance(event, PlugIn):
            return self.plugged > stamp
        if event.action is BoostAction.SCHEDULE_CHANGED:
            return self.base[0] > stamp
        of_earlier_session = event.occurred_at_ms < self.plugged[0] - _BOOST_BEFORE_PLUG_IN_MS
        # A cancel may find no boost to cancel, and is then too old as well.
        return event.action is BoostAction.BOOST_CANCELLED or self.boost[0] > stamp or of_earlier_session

    @property
    def newest_ms(self) -> int:
        """When the newest of it was said."""
        return max(self.plugged, self.base[0], self.boost[0])[0]

    def boosted(self, now_ms: int) -> Schedule:
        """The window of a boost in force."""
        (at_ms, _), until_ms = self.boost
        in_session = at_ms >= self.plugged[0] - _BOOST_BEFORE_PLUG_IN_MS
        return ((at_ms, until_ms),) if in_session and now_ms < until_ms else EMPTY

    def ahead(self, now_ms: int) -> Schedule:
        """When the driver wants to charge from now on."""
        return since(union(self.base[1], self.boosted(now_ms)), now_ms)


def driver_wins(facts: Facts, charger_id: str) -> Iterator[Finding]:
    """Walks through a charger's records: whose word is each, what does it ask for, and what does it take away?"""
    wish, newest = Wish(), ""
    told = facts.by_charger[charger_id]
    for published, following in zip_longest(told, told[1:]):
        record = published.record
        cause = record.caused_by.event_id
        put = facts.by_id.get(cause)
        is_first = cause not in wish.heard
        if is_first:
            wish.heard.add(cause)
            newest = cause
            if put and put.planned.readable and isinstance(put.planned.event, PlugIn | UserBoost):
                wish.take(put.planned.event)
        for sentence in (
            *_wrong_wish(record, wish),
            *_wrong_pauses(facts, published, wish, newest, is_first=is_first),
        ):
            yield Finding(Promise.DRIVER_WINS, f"{_name(record)}: {sentence}")
        if record.pauses:
            yield from _not_lifted(facts, published, following, wish)


def _wrong_wish(record: ModifiedSchedule, wish: Wish) -> Iterator[str]:
    now_ms = record.decided_at_ms
    asked, told = wish.ahead(now_ms), since(record.requested, now_ms)
    if asked != told:
        yield f"the driver asked for {_say(asked)}, the record says {_say(told)}"
    if record.effective != subtract(record.requested, record.pauses):
        yield f"effective is {_say(record.effective)}, which is not what was requested without the pauses"


def _wrong_pauses(facts: Facts, published: Published, wish: Wish, newest: str, *, is_first: bool) -> Iterator[str]:
    record = published.record
    if not record.pauses:
        return
    cause = record.caused_by.event_id
    if is_first:
        yield "the first record of an action pauses charging before Axle was asked about it"
    elif cause != newest:
        yield f"it pauses charging for an action although {newest} came after it"
    if paused := intersect(record.pauses, wish.boosted(record.decided_at_ms)):
        yield f"the boost is paused in {_say(paused)}"
    if misread := _newer_and_not_understood(facts, published, wish):
        yield f"it pauses charging although the driver's newer action {misread} was not understood"
    if not is_first and not _answered(facts, published):
        yield f"Axle never answered {_say(record.pauses)} as a pause to this action"


def _newer_and_not_understood(facts: Facts, published: Published, wish: Wish) -> str | None:
    """An action of the charger's driver that could not be understood, was known by then, and is the newest."""
    record = published.record
    for event_id, put in facts.misread.get(record.charger_id, ()):
        first_word_ms = facts.first_word_ms(event_id)
        is_known = first_word_ms is not None and first_word_ms < published.appended_ms
        if is_known and put.planned.event.occurred_at_ms > wish.newest_ms:
            return event_id
    return None


def _not_lifted(facts: Facts, published: Published, following: Published | None, wish: Wish) -> Iterator[Finding]:
    """Actions that were not understood while this record was in force, and left its pauses standing.

    One that caused a record has lifted them with it, even where the outcome beside it was appended a moment sooner. So
    has a record of the same round, whoever caused it: a transaction's records are appended in no order across topics.
    """
    record = published.record
    for event_id, put in facts.misread.get(record.charger_id, ()):
        first_word_ms = facts.first_word_ms(event_id)
        if first_word_ms is None or put.planned.event.occurred_at_ms <= wish.newest_ms:
            continue
        trace = facts.traces[event_id]
        if trace.published:
            continue
        in_force = published.appended_ms < first_word_ms and (not following or first_word_ms < following.appended_ms)
        if following and any(one.outcome.settled_at_ms == following.record.decided_at_ms for one in trace.settled):
            continue
        if in_force and (left := since(record.pauses, first_word_ms)):
            sentence = f"{_name(record)}: {event_id} was not understood, and the pause in {_say(left)} stayed"
            yield Finding(Promise.DRIVER_WINS, sentence)


def _answered(facts: Facts, published: Published) -> bool:
    """Whether Axle took these pauses out of a schedule that it was asked about after the action was known."""
    record = published.record
    questions = facts.asked.get(record.charger_id, [])
    since_ms = facts.first_word_ms(record.caused_by.event_id) or 0
    first = bisect_left(questions, since_ms - facts.slack_ms, key=_asked_at)
    last = bisect_right(questions, published.appended_ms + facts.slack_ms, key=_asked_at)
    return any(
        asked.answered is not None and is_subset(record.pauses, subtract(asked.sent, asked.answered))
        for asked in questions[first:last]
    )


def _asked_at(asked: Asked) -> int:
    return asked.at_ms


def withdrawn_is_withdrawn(facts: Facts) -> Iterator[Finding]:
    """No pause after a withdrawal was processed and before a newer consent; and nothing stays at Axle."""
    for published in facts.history.published:
        record = published.record
        if not record.pauses:
            continue
        left = _newest_left(facts, record.site_id, record.charger_id, published.appended_ms)
        consent_ms = max(facts.consents(record.site_id, published.appended_ms), default=0)
        if left is not None and left[0] >= consent_ms:
            yield Finding(Promise.WITHDRAWN, f"{_name(record)}: it pauses charging after the withdrawal {left[1]}")
    yield from _left_paused(facts)
    if facts.history.axle is not None:
        yield from _still_at_axle(facts)
        yield from _not_told(facts)


def _left_paused(facts: Facts) -> Iterator[Finding]:
    """Chargers with a pause ahead of them when the withdrawal of their home was said to be done."""
    for settled in facts.history.settled:
        put = facts.by_id.get(settled.outcome.event_id or "")
        event = put.planned.event if put else None
        if not isinstance(event, ConsentWithdrawn) or settled.outcome.result is Result.STALE:
            continue
        if event.occurred_at_ms < max(facts.consents(event.site_id, settled.appended_ms), default=0):
            continue
        lifted = {published.record.charger_id for published in facts.traces[event.event_id].published}
        for charger_id in facts.chargers[event.site_id]:
            if leaving_charger(event) not in {None, charger_id} or charger_id in lifted:
                continue
            told = facts.by_charger[charger_id]
            told_by_then = bisect_right(told, settled.appended_ms, key=_appended_at)
            last = told[told_by_then - 1].record if told_by_then else None
            if last and (left := since(last.pauses, settled.appended_ms)):
                sentence = f"{_name(last)}: {event.event_id} was settled, and the pause in {_say(left)} stayed"
                yield Finding(Promise.WITHDRAWN, sentence)


def _newest_left(facts: Facts, site_id: str, charger_id: str | None, before_ms: int | None = None) -> Stamp | None:
    """The newest withdrawal of a site or a charger that was processed (strictly) before an instant."""
    stamps = []
    for put in facts.withdrawals(site_id, charger_id):
        event = put.planned.event
        first_word_ms = facts.first_word_ms(event.event_id)
        if before_ms is None or (first_word_ms is not None and first_word_ms < before_ms):
            stamps.append((event.occurred_at_ms, event.event_id))
    return max(stamps, default=None)


def _still_at_axle(facts: Facts) -> Iterator[Finding]:
    axle = facts.history.axle or {"sites": [], "assets": []}
    mpans = {site["mpan"] for site in axle["sites"]}
    assets = {asset["external_id"] for asset in axle["assets"]}
    for site_id, puts in facts.by_site.items():
        consent_ms = max(facts.consents(site_id), default=0)
        events = [put.planned.event for put in puts]
        left = _newest_left(facts, site_id, None)
        if left is not None and left[0] >= consent_ms and facts.mpans(site_id) & mpans:
            yield Finding(Promise.WITHDRAWN, f"{site_id} withdrew ({left[1]}), and Axle still has it at the end")
        for charger_id in {event.charger_id for event in events if event.charger_id} & assets:
            left = _newest_left(facts, site_id, charger_id)
            if left is not None and left[0] >= consent_ms:
                yield Finding(Promise.WITHDRAWN, f"{charger_id} left ({left[1]}), and Axle still has it at the end")


def _not_told(facts: Facts) -> Iterator[Finding]:
    """Withdrawals of which it was said that Axle confirmed them, and no such call had an effect at Axle."""
    sites, gone = _homes_at_axle(facts), _gone_at_axle(facts)
    for settled in facts.history.settled:
        put = facts.by_id.get(settled.outcome.event_id or "")
        if put is None or settled.outcome.result is not Result.OFFBOARDED:
            continue
        event = put.planned.event
        names = {site for mpan in facts.mpans(event.site_id) for site in sites[mpan]}
        if isinstance(event, ConsentWithdrawn) and (charger_id := leaving_charger(event)):
            names.add(charger_id)
        earliest, latest = put.appended_ms - facts.slack_ms, settled.appended_ms + facts.slack_ms
        if not any(earliest <= at_ms <= latest for name in names for at_ms in gone[name]):
            yield Finding(Promise.WITHDRAWN, f"{event.event_id} is said to be offboarded, and Axle was never told")


def _homes_at_axle(facts: Facts) -> defaultdict[str, set[str]]:
    """Axle's sites by their meters, as its onboardings were logged."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for call in facts.history.calls:
        if call["endpoint"] == "onboard" and call["effect"]:
            found[call["body"]["site"]["mpan"]].add(call["axle_site_id"])
    return found


def _gone_at_axle(facts: Facts) -> defaultdict[str, list[int]]:
    """When Axle deleted sites (by its ids) and single chargers (by ours)."""
    found: defaultdict[str, list[int]] = defaultdict(list)
    for call in facts.history.calls:
        if call["effect"] and call["endpoint"] == "offboard":
            found[call["axle_site_id"]].append(call["at_ms"])
        if call["effect"] and call["method"] == "DELETE":
            found[call["external_id"]].append(call["at_ms"])
    return found


def silence_means_charge(facts: Facts) -> Iterator[Finding]:
    """The wish is out before Axle is asked, soon after the driver acted, and whole while nothing was answered."""
    for published in facts.history.published:
        record = published.record
        if record.pauses and record.status is not Status.MODIFIED:
            yield Finding(Promise.SILENCE, f"{_name(record)}: it pauses charging, and no answer of Axle's is behind it")
    for charger_id, questions in facts.asked.items():
        told = facts.by_charger.get(charger_id, [])
        for asked in questions:
            told_by_then = bisect_right(told, asked.at_ms + facts.slack_ms, key=_appended_at)
            if not any(
                is_subset(asked.sent, told[number].record.requested) for number in reversed(range(told_by_then))
            ):
                sentence = f"{charger_id}: Axle was asked about {_say(asked.sent)} before the charger was told of it"
                yield Finding(Promise.SILENCE, sentence)
    yield from _left_waiting(facts)


def _appended_at(published: Published) -> int:
    return published.appended_ms


def _left_waiting(facts: Facts) -> Iterator[Finding]:
    for event_id, put in facts.by_id.items():
        first_word_ms = facts.first_word_ms(event_id)
        if not put.planned.readable or put.planned.kind is Input.CONSENT_WITHDRAWN or first_word_ms is None:
            continue
        waited_ms = first_word_ms - put.appended_ms
        if put.place is not None and waited_ms > PATIENCE_MS:
            yield Finding(Promise.SILENCE, f"{event_id}: its driver waited {waited_ms / 1000:.1f} s for a first word")


def _name(record: ModifiedSchedule) -> str:
    return f"{record.charger_id} revision {record.revision} ({record.status}, caused by {record.caused_by.event_id})"


def _say(schedule: Schedule) -> str:
    return " ".join(f"{_clock(start)}-{_clock(end)}" for start, end in schedule) or "nothing"


def _clock(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%H:%M:%S.%f}"[:-3] + "Z"

"""The scene: what an onlooker of the demo gets to see, kept up to date record by record.

Here lives what is going on and how it is put into words; how it looks is `timeline.py`'s. The idea: one line of news
for each event, once it is known what became of it, in the words of a person who stands next to the charger.
"""

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from processor.core.events import BoostAction, ConsentWithdrawn, Input, PlugIn
from processor.core.outputs import ModifiedSchedule, Result
from processor.core.schedule import Schedule, since
from processor.demo.charger import ChargerService, Doing
from processor.demo.history import Published, Settled, leaving_charger
from processor.demo.promises import Wish
from processor.demo.sender import Put
from processor.demo.traffic import Event, Planned, Twist

NEWS_MAX = 200
_RATE_SECONDS = 5.0
_RECORDS_MAX = 8

THEN: Mapping[Result, str] = MappingProxyType(
    {
        Result.UNCHANGED: "charges as asked",
        Result.FALLBACK: "charges as asked, Axle was silent",
        Result.REJECTED: "charges as asked, answer refused",
        Result.NOT_ENROLLED: "charges as asked, not with Axle",
        Result.WITHDRAWN: "charges as asked, no consent",
        Result.EXPIRED: "nothing is left to charge",
        Result.COALESCED: "a newer wish took over",
        Result.STALE: "too old, left aside",
        Result.DUPLICATE: "known already, left aside",
        Result.INVALID: "refused, kept as a dead letter",
        Result.OFFBOARDED: "charges as asked, gone at Axle",
        Result.NOTHING_TO_OFFBOARD: "nothing was left at Axle",
        Result.UNKNOWN_ACTION: "not understood, pauses lifted",
    }
)


@dataclass(frozen=True, slots=True)
class News:
    """One line: when it was settled, whom it is about, what happened, what followed, and in which pauses."""

    at_ms: int
    who: str
    what: str
    result: Result
    pauses: Schedule = ()


@dataclass(frozen=True, slots=True)
class Row:
    """One charger at this moment: what it does, what is asked of it from now on, and when it is boosted."""

    charger_id: str
    doing: Doing
    effective: Schedule
    pauses: Schedule
    boosted: Schedule
    result: Result | None


class Scene:
    """Hears what went in and came out; answers what is to be seen. Used on one thread."""

    def __init__(self) -> None:
        self.chargers = ChargerService()
        self.events: Counter[Input] = Counter()
        self.outcomes: Counter[Result] = Counter()
        self.news: deque[News] = deque(maxlen=NEWS_MAX)
        self.told = 0
        """How many news there were, those that were forgotten included."""
        self.published = 0
        self._puts: dict[str, Put] = {}
        self._wishes: dict[str, Wish] = {}
        self._records: dict[str, deque[ModifiedSchedule]] = {}
        self._early: dict[tuple[str, int], Settled] = {}
        self._results: dict[str, Result] = {}
        self._waited_ms: deque[int] = deque(maxlen=NEWS_MAX)
        self._put_at: deque[float] = deque(maxlen=100_000)
        self._published_at: deque[float] = deque(maxlen=100_000)

    def hear_put(self, put: Put, at_seconds: float) -> None:
        """An event went in."""
        self._puts.setdefault(put.planned.event.event_id, put)
        self.events[put.planned.kind] += 1
        self._put_at.append(at_seconds)

    def hear_published(self, published: Published, at_seconds: float) -> None:
        """A schedule came out."""
        record = published.record
        self.chargers.hear(record)
        self.published += 1
        self._published_at.append(at_seconds)
        self._records.setdefault(record.charger_id, deque(maxlen=_RECORDS_MAX)).append(record)
        self._hear_cause(published)
        early = self._early.pop((record.charger_id, record.revision), None)
        if early is not None:
            self._tell(early, record)

    def _hear_cause(self, published: Published) -> None:
        record = published.record
        wish = self._wishes.setdefault(record.charger_id, Wish())
        put = self._puts.get(record.caused_by.event_id)
        if put is None or record.caused_by.event_id in wish.heard:
            return
        wish.heard.add(record.caused_by.event_id)
        if put.place is not None and put.planned.kind is not Input.CONSENT_WITHDRAWN:
            self._waited_ms.append(max(published.appended_ms - put.appended_ms, 0))
        event = put.planned.event
        if put.planned.readable and not isinstance(event, ConsentWithdrawn):
            wish.take(event)

    def hear_settled(self, settled: Settled) -> None:
        """An event got its outcome. Where a record settled it, the news waits until that was heard too."""
        outcome = settled.outcome
        self.outcomes[outcome.result] += 1
        if outcome.charger_id is None or outcome.revision is None:
            self._tell(settled, None)
            return
        for record in self._records.get(outcome.charger_id, ()):
            if record.revision == outcome.revision:
                self._tell(settled, record)
                return
        if len(self._early) < NEWS_MAX:
            self._early[outcome.charger_id, outcome.revision] = settled

    def _tell(self, settled: Settled, record: ModifiedSchedule | None) -> None:
        outcome, at_ms = settled.outcome, settled.appended_ms
        if outcome.charger_id is not None:
            self._results[outcome.charger_id] = outcome.result
        put = self._puts.get(outcome.event_id or "")
        if put is None:
            self._add(News(at_ms, "somebody", "sent what is no event", outcome.result))
            return
        what = "said the same again" if outcome.result is Result.DUPLICATE else _what(put.planned)
        pauses = record.pauses if record and outcome.result is Result.MODIFIED else ()
        self._add(News(at_ms, _who(put.planned.event), what, outcome.result, pauses))

    def _add(self, news: News) -> None:
        self.told += 1
        self.news.append(news)

    def rows(self, now_ms: int) -> list[Row]:
        """All chargers that were heard of, by name."""
        rows = []
        for record in self.chargers:
            charger_id = record.charger_id
            is_over = self.chargers.in_force(charger_id, now_ms) is None
            rows.append(
                Row(
                    charger_id,
                    self.chargers.doing(charger_id, now_ms),
                    () if is_over else since(record.effective, now_ms),
                    () if is_over else since(record.pauses, now_ms),
                    since(self._wishes[charger_id].boosted(now_ms), now_ms),
                    self._results.get(charger_id),
                )
            )
        return rows

    def rate(self, now_seconds: float) -> tuple[float, float]:
        """Events in and schedules out, a second, over the last few seconds."""
        for times in (self._put_at, self._published_at):
            while times and times[0] < now_seconds - _RATE_SECONDS:
                times.popleft()
        return len(self._put_at) / _RATE_SECONDS, len(self._published_at) / _RATE_SECONDS

    @property
    def typical_wait_ms(self) -> int | None:
        """The median time from an event to the first schedule that it caused, of the last ones."""
        ordered = sorted(self._waited_ms)
        return ordered[len(ordered) // 2] if ordered else None


def _who(event: Event) -> str:
    if isinstance(event, ConsentWithdrawn):
        return leaving_charger(event) or event.site_id
    return event.charger_id


def _what(planned: Planned) -> str:
    if planned.twist is Twist.INVALID:
        return "sent an impossible event"
    event = planned.event
    if isinstance(event, ConsentWithdrawn):
        return "was disconnected" if leaving_charger(event) else "withdrew"
    if isinstance(event, PlugIn):
        if planned.twist is Twist.LATE:
            return "plugged in a while ago"
        return "plugged in, joining Axle" if event.enrolment else "plugged in"
    words = {
        BoostAction.BOOST: "boosted",
        BoostAction.BOOST_CANCELLED: "cancelled a boost",
        BoostAction.SCHEDULE_CHANGED: "changed its schedule",
        BoostAction.UNKNOWN: "sent an unknown action",
    }
    return words[event.action]

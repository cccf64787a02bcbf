"""Traffic: households and drivers that plug in, boost, change their minds and withdraw, from a seed.

Here lives the story (`Story`), which opens nothing and knows only the time it is told. Sending it is `sender.py`'s,
judging what came of it `verifier.py`'s. The idea: a story is a deck of beats that is shuffled and dealt again and
again, so every stretch of some forty events holds a bit of everything, whatever its length; a beat that makes no sense
yet (a withdrawal before anybody has consented) waits for its turn.
"""

import random
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

from processor.core.events import (
    BoostAction,
    ConsentWithdrawn,
    Input,
    PlugIn,
    Source,
    UserBoost,
    WithdrawalReason,
)
from processor.core.schedule import HOUR_MS, MINUTE_MS, Schedule
from processor.demo.homes import Charger, enrolment_of, has_company, left_at_ms, may_withdraw, settle, stays
from processor.wire.avro import Codec

ONBOARDING_MS = 3_000
"""A household withdraws this long after its consent at the earliest.

One that withdraws before Axle has answered its onboarding is looked for at Axle for up to an hour (design 4, rule 5),
and the demo ends sooner than that.
"""
LATE_MS = (10 * MINUTE_MS, 40 * MINUTE_MS)
_SLOT_MS = 5 * MINUTE_MS
_HESITATION_MS = 400
_POSTPONED_MAX = 8
_RECENT = 24
_LOOKED_AT_MAX = 200
_NOWHERE = Source("", 0, 0)

Event = PlugIn | UserBoost | ConsentWithdrawn


class Twist(StrEnum):
    """What is odd about an event."""

    NONE = "NONE"
    LATE = "LATE"
    """Older than what its charger has said before."""
    INVALID = "INVALID"
    """It breaks the input contract, at a charger that can be read."""
    UNKNOWN = "UNKNOWN"
    """A driver's action that the processor does not know."""
    GARBAGE = "GARBAGE"
    """Bytes that are no record at all."""


@dataclass(frozen=True, slots=True)
class Planned:
    """An event as it shall be sent: its key, what is odd about it, and whether it was sent before."""

    event: Event
    kind: Input
    key: str
    twist: Twist = Twist.NONE
    again: bool = False

    @property
    def readable(self) -> bool:
        """Whether the processor can take the event into account."""
        return self.twist in {Twist.NONE, Twist.LATE}


class Beat(StrEnum):
    """What happens next in the story."""

    PLUG_IN = "PLUG_IN"
    PLUG_IN_AND_BOOST = "PLUG_IN_AND_BOOST"
    BOOST = "BOOST"
    CANCEL = "CANCEL"
    CHANGE = "CHANGE"
    WITHDRAW = "WITHDRAW"
    RETURN = "RETURN"
    DISCONNECT = "DISCONNECT"
    AGAIN = "AGAIN"
    LATE = "LATE"
    INVALID = "INVALID"
    UNKNOWN = "UNKNOWN"
    GARBAGE = "GARBAGE"


DECK = (
    *(Beat.PLUG_IN,) * 18,
    *(Beat.PLUG_IN_AND_BOOST,) * 2,
    *(Beat.BOOST,) * 5,
    *(Beat.CANCEL,) * 2,
    *(Beat.CHANGE,) * 3,
    *(Beat.AGAIN,) * 2,
    *(Beat.LATE,) * 2,
    Beat.WITHDRAW,
    Beat.RETURN,
    Beat.DISCONNECT,
    Beat.INVALID,
    Beat.UNKNOWN,
    Beat.GARBAGE,
)


class Story:
    """What happens at `chargers` chargers. Equal seeds and equal times tell equal stories.

    `keyed_by_charger`: the share of events whose key is the charger, so that they take a hop to their task.
    """

    def __init__(self, chargers: int, seed: int = 1, keyed_by_charger: float = 0.15) -> None:
        self._random = random.Random(seed)
        self._keyed_by_charger = keyed_by_charger
        self.chargers = list(settle(chargers))
        self._seen = 0
        self._deck: list[Beat] = []
        self._postponed: deque[Beat] = deque()
        self._boost_next: Charger | None = None
        self._recent: deque[Planned] = deque(maxlen=_RECENT)
        self._told = 0
        self._axle_is_well = True
        self._beats: dict[Beat, Callable[[int], Planned | None]] = {
            Beat.PLUG_IN: self._plug_in,
            Beat.PLUG_IN_AND_BOOST: self._plug_in_and_boost,
            Beat.BOOST: self._boost,
            Beat.CANCEL: self._cancel,
            Beat.CHANGE: self._change,
            Beat.WITHDRAW: self._withdraw,
            Beat.RETURN: self._return,
            Beat.DISCONNECT: self._disconnect,
            Beat.AGAIN: self._again,
            Beat.LATE: self._late,
            Beat.INVALID: self._invalid,
            Beat.UNKNOWN: self._unknown,
            Beat.GARBAGE: self._garbage,
        }

    def next(self, now_ms: int, *, axle_is_well: bool = True) -> Planned:
        """What happens at `now_ms`. `axle_is_well`: whether an onboarding that begins now will be answered soon."""
        self._notice(now_ms, axle_is_well=axle_is_well)
        planned = self._plan(now_ms)
        if planned.twist is not Twist.GARBAGE and not planned.again:
            self._recent.append(planned)
        return planned

    def _plan(self, now_ms: int) -> Planned:
        if self._boost_next is not None:
            charger, self._boost_next = self._boost_next, None
            return self._boost_at(charger, now_ms)
        for _ in range(len(self._postponed)):
            beat = self._postponed.popleft()
            if planned := self._beats[beat](now_ms):
                return planned
            self._postponed.append(beat)
        beat = self._draw()
        if planned := self._beats[beat](now_ms):
            return planned
        if len(self._postponed) < _POSTPONED_MAX:
            self._postponed.append(beat)
        return self._plug_in(now_ms)

    def _draw(self) -> Beat:
        if not self._deck:
            self._deck = list(DECK)
            self._random.shuffle(self._deck)
        return self._deck.pop()

    def _notice(self, now_ms: int, *, axle_is_well: bool) -> None:
        if self._axle_is_well and not axle_is_well:
            for charger in self.chargers:
                if (charger.home.fair_from_ms or 0) > now_ms:
                    charger.home.fair_from_ms = None
        self._axle_is_well = axle_is_well

    def _plug_in(self, now_ms: int) -> Planned:
        return self._plug_in_at(self._new_or_any(), now_ms)

    def _plug_in_and_boost(self, now_ms: int) -> Planned:
        charger = self._boost_next = self._new_or_any()
        return self._plug_in_at(charger, now_ms)

    def _new_or_any(self) -> Charger:
        if self._seen == len(self.chargers):
            return self._random.choice(self.chargers)
        self._seen += 1
        return self.chargers[self._seen - 1]

    def _plug_in_at(self, charger: Charger, now_ms: int) -> Planned:
        home = charger.home
        at_ms = self._a_moment_before(now_ms)
        schedule = self._night(now_ms)
        charger.plugged_at_ms, charger.live_until_ms, charger.boosted_until_ms = at_ms, schedule[-1][1], 0
        enrolment = None
        gone = left_at_ms(charger) >= home.consented_at_ms > 0
        if home.takes_part and not gone and charger.consent_told_ms != home.consented_at_ms:
            home.consented_at_ms = home.consented_at_ms or at_ms
            charger.consent_told_ms = home.consented_at_ms
            home.fair_from_ms = now_ms + ONBOARDING_MS if self._axle_is_well else None
            enrolment = enrolment_of(home)
        power_kw = 7.4 if self._random.random() < 0.8 else 11.0
        event = PlugIn(
            self._event_id("plug"), at_ms, _NOWHERE, home.site_id, charger.charger_id, schedule, power_kw, enrolment
        )
        return Planned(event, Input.PLUG_IN, self._key(event))

    def _boost(self, now_ms: int) -> Planned | None:
        charger = self._pick(lambda one: one.live_until_ms > now_ms + HOUR_MS)
        return None if charger is None else self._boost_at(charger, now_ms)

    def _boost_at(self, charger: Charger, now_ms: int) -> Planned:
        until_ms: int | None = _slot(now_ms) + _SLOT_MS * self._random.randrange(7, 25)
        charger.boosted_until_ms = until_ms or 0
        if self._random.random() < 0.1:
            until_ms = None
        return self._action(charger, now_ms, BoostAction.BOOST, until_ms)

    def _cancel(self, now_ms: int) -> Planned | None:
        charger = self._pick(lambda one: one.boosted_until_ms > now_ms and one.live_until_ms > now_ms)
        if charger is None:
            return None
        charger.boosted_until_ms = 0
        return self._action(charger, now_ms, BoostAction.BOOST_CANCELLED)

    def _change(self, now_ms: int) -> Planned | None:
        charger = self._pick(lambda one: one.live_until_ms > now_ms)
        if charger is None:
            return None
        schedule = self._night(now_ms)
        charger.live_until_ms = schedule[-1][1]
        return self._action(charger, now_ms, BoostAction.SCHEDULE_CHANGED, schedule=schedule)

    def _unknown(self, now_ms: int) -> Planned | None:
        charger = self._pick(lambda one: one.live_until_ms > now_ms)
        if charger is None:
            return None
        return replace(self._action(charger, now_ms, BoostAction.UNKNOWN), twist=Twist.UNKNOWN)

    def _action(
        self,
        charger: Charger,
        now_ms: int,
        action: BoostAction,
        until_ms: int | None = None,
        schedule: Schedule | None = None,
    ) -> Planned:
        # An action follows the plug-in that it belongs to, however quick the driver is.
        at_ms = max(self._a_moment_before(now_ms), charger.plugged_at_ms + 1)
        site_id, charger_id = charger.home.site_id, charger.charger_id
        event = UserBoost(self._event_id("boost"), at_ms, _NOWHERE, site_id, charger_id, action, until_ms, schedule)
        return Planned(event, Input.USER_BOOST, self._key(event))

    def _withdraw(self, now_ms: int) -> Planned | None:
        charger = self._pick(lambda one: may_withdraw(one, now_ms) and one.live_until_ms > now_ms)
        if charger is None:
            return None
        home = charger.home
        home.withdrawn_at_ms = self._a_moment_before(now_ms)
        event = ConsentWithdrawn(self._event_id("withdrawal"), home.withdrawn_at_ms, _NOWHERE, home.site_id)
        return Planned(event, Input.CONSENT_WITHDRAWN, self._key(event))

    def _disconnect(self, now_ms: int) -> Planned | None:
        """One of a home's two chargers goes."""
        charger = self._pick(lambda one: may_withdraw(one, now_ms) and has_company(one))
        if charger is None:
            return None
        home, reason = charger.home, WithdrawalReason.CHARGER_DISCONNECTED
        charger.removed_at_ms = self._a_moment_before(now_ms)
        event = ConsentWithdrawn(
            self._event_id("withdrawal"), charger.removed_at_ms, _NOWHERE, home.site_id, charger.charger_id, reason
        )
        return Planned(event, Input.CONSENT_WITHDRAWN, self._key(event))

    def _return(self, now_ms: int) -> Planned | None:
        """A household that withdrew changes its mind: a plug-in with a new consent."""
        charger = self._pick(lambda one: 0 < left_at_ms(one) < now_ms - ONBOARDING_MS and not stays(one))
        if charger is None:
            return None
        charger.home.consented_at_ms = 0
        return self._plug_in_at(charger, now_ms)

    def _again(self, _: int) -> Planned | None:
        """The same event a second time, as a producer without idempotence would send it."""
        return replace(self._random.choice(self._recent), again=True) if self._recent else None

    def _late(self, now_ms: int) -> Planned | None:
        """A plug-in that a phone without reception has kept for itself."""
        charger = self._pick(lambda one: one.plugged_at_ms > 0)
        if charger is None:
            return None
        at_ms = now_ms - self._random.randrange(*LATE_MS)
        site_id, charger_id = charger.home.site_id, charger.charger_id
        event = PlugIn(self._event_id("plug"), at_ms, _NOWHERE, site_id, charger_id, self._night(at_ms), 7.4)
        return Planned(event, Input.PLUG_IN, self._key(event), Twist.LATE)

    def _invalid(self, now_ms: int) -> Planned | None:
        charger = self._pick(lambda one: one.plugged_at_ms > 0)
        if charger is None:
            return None
        at_ms = self._a_moment_before(now_ms)
        if self._random.random() < 0.5:
            planned = self._action(charger, now_ms, BoostAction.BOOST, at_ms - HOUR_MS)
            return replace(planned, twist=Twist.INVALID)
        backwards = ((at_ms + HOUR_MS, at_ms),)
        site_id, charger_id = charger.home.site_id, charger.charger_id
        event = PlugIn(self._event_id("plug"), at_ms, _NOWHERE, site_id, charger_id, backwards, 7.4)
        return Planned(event, Input.PLUG_IN, self._key(event), Twist.INVALID)

    def _garbage(self, now_ms: int) -> Planned:
        event = ConsentWithdrawn(self._event_id("garbage"), now_ms, _NOWHERE, "nobody")
        kind = self._random.choice((Input.PLUG_IN, Input.USER_BOOST))
        return Planned(event, kind, "nobody", Twist.GARBAGE)

    def _pick(self, fits: Callable[[Charger], bool]) -> Charger | None:
        """One of the chargers that have plugged in before; of very many, only some are looked at."""
        looked_at: Iterable[int] = range(self._seen)
        if self._seen > _LOOKED_AT_MAX:
            looked_at = self._random.sample(range(self._seen), _LOOKED_AT_MAX)
        fitting = [self.chargers[index] for index in looked_at if fits(self.chargers[index])]
        return self._random.choice(fitting) if fitting else None

    def _night(self, now_ms: int) -> Schedule:
        """A schedule such as drivers set it in the evening: from about now until the early morning, or in two parts."""
        start = _slot(now_ms) + _SLOT_MS * self._random.choice((0, 0, 0, 0, 1, 6, 12, 18))
        end = start + _SLOT_MS * self._random.randrange(60, 105)
        if self._random.random() < 0.75:
            return ((start, end),)
        pause_at = start + _SLOT_MS * self._random.randrange(18, 36)
        return ((start, pause_at), (pause_at + _SLOT_MS * self._random.randrange(6, 18), end))

    def _a_moment_before(self, now_ms: int) -> int:
        return now_ms - self._random.randrange(_HESITATION_MS)

    def _event_id(self, prefix: str) -> str:
        self._told += 1
        return f"{prefix}-{self._told:06d}"

    def _key(self, event: Event) -> str:
        return (event.charger_id if self._random.random() < self._keyed_by_charger else None) or event.site_id


def encode(planned: Planned, codec: Codec) -> bytes:
    """The value to send."""
    if planned.twist is Twist.GARBAGE:
        return b"this is no Avro record"
    return codec.encode_input(planned.event)


def _slot(at_ms: int) -> int:
    return at_ms // _SLOT_MS * _SLOT_MS

"""What was said to the processor, and what follows from it: promises are held against this, never against a state.

Here the driver's wish, a boost, a withdrawal are computed afresh from the list of all that was said and is not
forgotten. Slow and plain on purpose: no registers, no order of arrival, only the newest word on each matter.
"""

from processor.core.events import (
    BoostAction,
    ConsentWithdrawn,
    Erase,
    InputEvent,
    PlugIn,
    StillListed,
    Unreadable,
    UserBoost,
    WithdrawalReason,
)
from processor.core.schedule import MINUTE_MS, Schedule, union, window

BOOSTING = {BoostAction.BOOST, BoostAction.BOOST_CANCELLED}
WITHOUT_SCHEDULE = {BoostAction.BOOST_CANCELLED, BoostAction.UNKNOWN}


class Said:
    """All inputs of one household since it was last forgotten."""

    def __init__(self) -> None:
        self._events: dict[str, InputEvent] = {}
        self._mark_ms: int | None = None

    def add(self, event: InputEvent) -> None:
        """It was said, perhaps once more. An order to look for a charger says nothing of the household."""
        if not isinstance(event, StillListed):
            self._events[event.event_id] = event

    def forget(self) -> None:
        """The household is forgotten; that it withdrew, and when, stays."""
        self._mark_ms = self.withdrawn_at_ms
        self._events.clear()

    @property
    def chargers(self) -> list[str]:
        """Every charger that something was said about."""
        return sorted({e.charger_id for e in self._events.values() if not isinstance(e, Erase) and e.charger_id})

    def plugged_at_ms(self, charger_id: str) -> int | None:
        """When the newest session began."""
        return max((e.occurred_at_ms for e in self._taps(charger_id) if isinstance(e, PlugIn)), default=None)

    def boosted(self, charger_id: str, now_ms: int) -> Schedule:
        """The window of the boost in force."""
        taps = [e for e in self._taps(charger_id) if isinstance(e, UserBoost) and e.action in BOOSTING]
        if not taps or taps[-1].boost_until_ms is None or taps[-1].boost_until_ms <= now_ms:
            return ()
        plugged_at_ms = self.plugged_at_ms(charger_id)
        if plugged_at_ms is not None and taps[-1].occurred_at_ms < plugged_at_ms - 5 * MINUTE_MS:
            return ()
        return window(taps[-1].occurred_at_ms, taps[-1].boost_until_ms)

    def wanted(self, charger_id: str, now_ms: int) -> Schedule:
        """What the driver wants: the newest schedule, and the boost in force."""
        schedules = [
            e.schedule
            for e in self._taps(charger_id)
            if e.schedule is not None and not (isinstance(e, UserBoost) and e.action in WITHOUT_SCHEDULE)
        ]
        return union(schedules[-1] if schedules else (), self.boosted(charger_id, now_ms))

    def halted(self, charger_id: str) -> bool:
        """Whether the driver's newest word is one that nobody understands."""
        words = self._of(charger_id, PlugIn | UserBoost | Unreadable)
        return bool(words) and not _is_understood(words[-1])

    @property
    def consented_at_ms(self) -> int | None:
        """The newest consent; nobody consents ahead of time."""
        plug_ins = [e for e in self._events.values() if isinstance(e, PlugIn)]
        times = [min(e.enrolment.consented_at_ms, e.occurred_at_ms) for e in plug_ins if e.enrolment]
        return max(times, default=None)

    @property
    def withdrawn_at_ms(self) -> int | None:
        """The newest withdrawal; an order to erase is one."""
        said = [e for e in self._events.values() if isinstance(e, ConsentWithdrawn | Erase)]
        times = [e.occurred_at_ms for e in said if concerns(e) is None]
        return max([*times, *([self._mark_ms] if self._mark_ms is not None else [])], default=None)

    @property
    def withdrawn(self) -> bool:
        """Whether no consent is newer than the newest withdrawal."""
        return _stands(self.withdrawn_at_ms, self.consented_at_ms)

    def removed_at_ms(self, charger_id: str) -> int | None:
        """When the charger was last disconnected."""
        said = self._of(charger_id, ConsentWithdrawn)
        return max((e.occurred_at_ms for e in said if concerns(e)), default=None)

    def must_leave(self, charger_id: str) -> bool:
        """Whether no consent is newer than the withdrawal, or than the charger's disconnection."""
        return self.withdrawn or _stands(self.removed_at_ms(charger_id), self.consented_at_ms)

    def _taps(self, charger_id: str) -> list[PlugIn | UserBoost]:
        return [e for e in self._of(charger_id, PlugIn | UserBoost) if isinstance(e, PlugIn | UserBoost)]

    def _of(self, charger_id: str, kinds: type | object) -> list[InputEvent]:
        known = [e for e in self._events.values() if isinstance(e, kinds)]  # type: ignore[arg-type]
        mine = [e for e in known if not isinstance(e, Erase) and e.charger_id == charger_id]
        return sorted(mine, key=lambda event: (event.occurred_at_ms, event.event_id))


def _stands(leaving_at_ms: int | None, consented_at_ms: int | None) -> bool:
    return leaving_at_ms is not None and (consented_at_ms is None or leaving_at_ms >= consented_at_ms)


def _is_understood(event: InputEvent) -> bool:
    return not isinstance(event, Unreadable) and not (
        isinstance(event, UserBoost) and event.action is BoostAction.UNKNOWN
    )


def concerns(event: InputEvent) -> str | None:
    """The one charger that the event is about; None where it is about the household."""
    if isinstance(event, Erase):
        return None
    if isinstance(event, ConsentWithdrawn) and event.reason is not WithdrawalReason.CHARGER_DISCONNECTED:
        return None
    return event.charger_id

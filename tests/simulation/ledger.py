"""Every call that the desk begins, written down between the desk and the real client.

Here lives who was called for what, and when; what is made of it is in `tally.py`. Nothing here takes part: the calls
are handed on as they are.
"""

from dataclasses import dataclass
from enum import IntEnum

from processor.core.events import Answer
from processor.core.intents import AskSchedule, Intent, Offboard, Remove
from processor.shell.axle_client import Retry
from processor.shell.clock import Clock
from processor.shell.desk import Caller, Lane, lane_of
from processor.shell.governor import BreakerState, Governor

Matter = tuple[str, str, str | None]
"""The kind of an intent, its site and its charger."""


class Kind(IntEnum):
    """Whom a call is for, in the order in which calls are to go."""

    WITHDRAWAL = 0
    """A household or a charger leaves, and Axle has to be told."""
    BOOST = 1
    PLUG_IN = 2
    """A driver's wish without a boost; joining Axle; looking for what an unanswered onboarding has left behind."""


def kind_of(intent: Intent) -> Kind:
    """Whom the call is for. Not the desk's own word: that one is what is looked at here."""
    if isinstance(intent, Offboard | Remove):
        return Kind.WITHDRAWAL
    return Kind.BOOST if isinstance(intent, AskSchedule) and intent.boosted else Kind.PLUG_IN


def matter_of(intent: Intent) -> Matter:
    """What it is about. A look-up may be made several times for one matter, and nothing else may."""
    charger_id = None if isinstance(intent, Offboard) else intent.charger_id
    return type(intent).__name__, intent.site_id, charger_id


@dataclass(frozen=True, slots=True)
class Made:
    """A call as it began: how many were under way with it, and how many the governor allowed."""

    at: float
    kind: Kind
    lane: Lane
    matter: Matter
    under_way: int
    limit: int
    is_probe: bool


class Ledger:
    """A caller that writes each call down, and has another one make it."""

    def __init__(self, caller: Caller, clock: Clock, governor: Governor) -> None:
        self.made: list[Made] = []
        self._caller = caller
        self._clock = clock
        self._governor = governor
        self._under_way = 0

    async def perform(self, intent: Intent) -> Answer | Retry:
        """Make the call that the intent owes."""
        self._under_way += 1
        made = Made(
            self._clock.monotonic(),
            kind_of(intent),
            lane_of(intent),
            matter_of(intent),
            self._under_way,
            self._governor.limit,
            self._governor.state is BreakerState.PROBING,
        )
        self.made.append(made)
        try:
            return await self._caller.perform(intent)
        finally:
            self._under_way -= 1

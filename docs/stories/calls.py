"""Which calls to Axle are owed from which step of a story to which, and how each of them ends.

Here the lists of what is owed after each step become calls with a beginning and an end; how they look is in `draw.py`.
The one idea: a call that is owed no more although Axle did not answer it was dropped, and its answer may still come.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from docs.stories.telling import Step, spell_call
from processor.core.events import (
    Event,
    LookedUp,
    Offboarded,
    Onboarded,
    OnboardingRefused,
    Removed,
    ScheduleAnswered,
)
from processor.core.intents import AskSchedule, Intent, LookUp, Offboard, Onboard, Remove

Key = tuple[str | int | type[Intent], ...]


@dataclass
class Call:
    """A call in words, and the steps at which it begins, ends, and is answered when that is too late."""

    words: str
    begin: int
    end: int
    slot: int
    is_answered: bool = False
    late: int | None = None

    @property
    def last(self) -> int:
        """The last step that it shows at."""
        return self.end if self.late is None else self.late


def calls_of(steps: Sequence[Step]) -> list[Call]:
    """All calls of a story, in the order in which they begin."""
    calls: list[Call] = []
    owed: dict[Key, Call] = {}
    dropped: dict[Key, Call] = {}
    for number, step in enumerate(steps):
        answered, late = _answered(step.event, owed), _answered(step.event, dropped)
        if late:
            dropped.pop(late).late = number
        now_owed = {_key(call): call for call in step.owed}
        for key in [key for key in owed if key not in now_owed]:
            call = owed.pop(key)
            call.end, call.is_answered = number, key == answered
            if not call.is_answered:
                dropped[key] = call
        for key, intent in now_owed.items():
            if key not in owed:
                owed[key] = Call(spell_call(intent), number, len(steps), 0)
                calls.append(owed[key])
    for number, call in enumerate(calls):
        taken = {other.slot for other in calls[:number] if other.last >= call.begin}
        call.slot = next(slot for slot in range(len(calls)) if slot not in taken)
    return calls


def _key(call: Intent) -> Key:
    """What a call and its answer have in common."""
    if isinstance(call, AskSchedule):
        return AskSchedule, call.charger_id, call.number
    if isinstance(call, LookUp):
        # A look-up that finds nothing is owed again, for later: that is another call.
        return LookUp, call.site_id, call.charger_id, call.attempt
    if isinstance(call, Onboard):
        return Onboard, call.site_id, call.charger_id
    return (Remove, call.charger_id) if isinstance(call, Remove) else (Offboard, call.site_id)


def _answered(event: Event | None, calls: Iterable[Key]) -> Key | None:
    """Which of the calls an event answers, if any. The answer to a look-up does not tell which attempt it was."""
    told: Key | None = None
    if isinstance(event, ScheduleAnswered):
        told = (AskSchedule, event.charger_id, event.number)
    elif isinstance(event, LookedUp):
        told = (LookUp, event.site_id, event.charger_id)
    elif isinstance(event, Onboarded | OnboardingRefused):
        told = (Onboard, event.site_id, event.charger_id)
    elif isinstance(event, Removed):
        told = (Remove, event.charger_id)
    elif isinstance(event, Offboarded):
        told = (Offboard, event.site_id)
    return next((key for key in calls if told and key[: len(told)] == told), None)

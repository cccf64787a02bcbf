"""Axle, as small as a test of the core needs it: it holds homes and chargers, and answers as its document says.

Nothing of ours is looked at but the call itself. The one idea: a mood decides only where what Axle holds leaves it a
choice, so that its answers never contradict each other.
"""

from dataclasses import dataclass, field

from msgspec.structs import replace

from processor.core.events import (
    Answer,
    Found,
    LookedUp,
    Offboarded,
    Onboarded,
    OnboardingRefused,
    Refusal,
    Removed,
    ScheduleAnswered,
    ScheduleRefused,
)
from processor.core.intents import AskSchedule, Intent, LookUp, Offboard, Onboard, Remove
from processor.core.reconcile import Listed
from processor.core.rules import OnboardingForm
from processor.core.schedule import HOUR_MS, MINUTE_MS, Schedule, normalise, subtract, window
from tests.core.world import STRANGER

ENROLMENT_MOODS = ("not eligible", "invalid")
PAUSE_MOODS = ("half an hour", "an hour at once", "bits", "two hours")
STRANGE_MOODS = ("unreadable", "more", "empty", "forbidden")
MOODS = ("kind", "half an hour", *PAUSE_MOODS, *STRANGE_MOODS, *ENROLMENT_MOODS)
"""How a call is answered, where what Axle holds leaves it a choice; half an hour, its usual pause, more often."""
NEIGHBOUR = "stranger"
"""The id of a site that is none of our business."""


@dataclass
class Home:
    """A site as Axle has it: its meter, whether it is enrolled (or was unenrolled), and who made it."""

    meter: str
    enrolled: bool = True
    by_others: bool = False


@dataclass
class Axle:
    """What Axle holds: homes by its own ids, and which charger is which asset at which home."""

    homes: dict[str, Home] = field(default_factory=lambda: {NEIGHBOUR: Home(STRANGER)})
    chargers: dict[str, tuple[str, str]] = field(default_factory=dict)
    made: int = 0

    def perform(self, call: Intent, mood: str) -> Answer:
        """Do what is asked, or refuse it in that mood, and answer."""
        match call:
            case Onboard():
                return self._onboard(call, mood)
            case LookUp():
                home, asset = self.chargers.get(call.charger_id, ("", ""))
                found = Found(home, asset, self.homes[home].meter) if home else None
                return LookedUp(call.site_id, call.charger_id, found, call.for_question)
            case AskSchedule():
                return self._answer(call, mood)
            case Remove():
                assert (NEIGHBOUR, call.axle_asset_id) not in self.chargers.values()
                self.chargers = {c: ids for c, ids in self.chargers.items() if ids[1] != call.axle_asset_id}
                return Removed(call.site_id, call.charger_id, call.axle_asset_id)
            case Offboard():
                return self._offboard(call)

    def forget(self, home: str) -> None:
        """The home and all that is at it are gone."""
        self.homes.pop(home, None)
        self.chargers = {c: ids for c, ids in self.chargers.items() if ids[0] != home}

    def take_from_others(self, charger_id: str, meter: str) -> None:
        """Somebody else onboards the charger, at the home with that meter."""
        if charger_id not in self.chargers:
            self._add(self._home_at(meter) or self._make(meter, by_others=True), charger_id)

    def land_late(self, charger_id: str, meter: str) -> None:
        """An onboarding of ours that everybody had given up makes the charger after all, and its home."""
        if charger_id not in self.chargers:
            self._add(self._home_at(meter) or self._make(meter), charger_id)

    def listing(self) -> list[Listed]:
        """All chargers, page by page or not."""
        return [Listed(charger_id, *ids) for charger_id, ids in self.chargers.items()]

    def _onboard(self, call: Onboard, mood: str) -> Answer:
        upsert = call.form is OnboardingForm.UPSERT
        why = self._refusal_of_upsert(call) if upsert else self._refusal(call)
        home = self._home_at(call.enrolment.mpan) if upsert else call.axle_site_id
        is_there = home is not None and self.chargers.get(call.charger_id, ("", ""))[0] == home
        if why is None and mood in ENROLMENT_MOODS and not is_there:
            why = Refusal.NOT_ELIGIBLE if mood == "not eligible" else Refusal.INVALID
        if why:
            return OnboardingRefused(call.site_id, call.charger_id, why, call.enrolment.consented_at_ms)
        home = home or self._make(call.enrolment.mpan)
        self.homes[home].enrolled = True
        if not is_there:
            self._add(home, call.charger_id)
        return Onboarded(call.site_id, call.charger_id, *self.chargers[call.charger_id])

    def _refusal(self, call: Onboard) -> Refusal | None:
        """The guide's form makes a home with its first charger, or adds a charger to a home; neither may exist."""
        if call.axle_site_id is not None and call.axle_site_id not in self.homes:
            return Refusal.UNKNOWN_CHARGER
        known = call.charger_id in self.chargers
        if known or (call.axle_site_id is None and self._home_at(call.enrolment.mpan)):
            return Refusal.EXISTS
        return None

    def _refusal_of_upsert(self, call: Onboard) -> Refusal | None:
        """The newer form finds the home by its meter; who was unenrolled comes back with an override alone."""
        home = self._home_at(call.enrolment.mpan)
        if call.charger_id in self.chargers and self.chargers[call.charger_id][0] != home:
            return Refusal.EXISTS
        if home and not self.homes[home].enrolled and not call.override_withdrawal:
            return Refusal.NOT_ELIGIBLE
        return None

    def _home_at(self, meter: str) -> str | None:
        return next((id_ for id_, home in self.homes.items() if home.meter == meter), None)

    def _make(self, meter: str, *, by_others: bool = False) -> str:
        self.made += 1
        self.homes[f"site-{self.made}"] = Home(meter, by_others=by_others)
        return f"site-{self.made}"

    def _add(self, home: str, charger_id: str) -> None:
        self.made += 1
        self.chargers[charger_id] = (home, f"asset-{self.made}")

    def _offboard(self, call: Offboard) -> Offboarded:
        assert call.axle_site_id != NEIGHBOUR
        kept = call.unenrol and call.axle_site_id in self.homes
        if kept:
            self.homes[call.axle_site_id].enrolled = False
        else:
            self.forget(call.axle_site_id)
        return Offboarded(call.site_id, call.axle_site_id, kept)

    def _answer(self, call: AskSchedule, mood: str) -> Answer:
        home, asset = self.chargers.get(call.charger_id, ("", ""))
        refused = ScheduleRefused(call.site_id, call.charger_id, call.number, Refusal.UNKNOWN_CHARGER)
        if asset != call.axle_asset_id:
            return refused
        if mood == "forbidden" or not self.homes[home].enrolled:
            return replace(refused, why=Refusal.FORBIDDEN)
        if mood == "invalid":
            return replace(refused, why=Refusal.INVALID)
        start, end = call.schedule[-1]
        pauses = {
            "half an hour": window(end - 2 * HOUR_MS, end - 90 * MINUTE_MS),
            "an hour at once": window(start, start + HOUR_MS),
            "bits": normalise((start + n * 20 * MINUTE_MS, start + (n * 20 + 8) * MINUTE_MS) for n in (1, 2, 3)),
            "two hours": window(start, start + 2 * HOUR_MS),
        }.get(mood, ())
        answered: Schedule | None = subtract(call.schedule, pauses)
        answered = {"unreadable": None, "more": window(start - HOUR_MS, end), "empty": ()}.get(mood, answered)
        return ScheduleAnswered(call.site_id, call.charger_id, call.number, call.schedule, answered)

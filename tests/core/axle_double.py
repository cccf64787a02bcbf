"""Axle, as small as a test of the core needs it: it holds sites and chargers, and answers as its document says."""

from dataclasses import dataclass, field

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
from processor.core.schedule import HOUR_MS, MINUTE_MS, Schedule, normalise, subtract, window
from tests.core.world import STRANGER

ENROLMENT_MOODS = ("not eligible", "invalid")
PAUSE_MOODS = ("half an hour", "an hour at once", "bits", "two hours")
STRANGE_MOODS = ("unreadable", "more", "empty", "forbidden")
MOODS = ("kind", "half an hour", *PAUSE_MOODS, *STRANGE_MOODS, *ENROLMENT_MOODS)
"""How a call is answered, where what Axle holds leaves it a choice; half an hour, its usual pause, more often."""


@dataclass
class Axle:
    """What Axle holds: meters of sites, and which charger is which asset at which site."""

    sites: dict[str, str] = field(default_factory=lambda: {"stranger": STRANGER})
    assets: dict[str, tuple[str, str]] = field(default_factory=dict)
    made: int = 0

    def perform(self, call: Intent, mood: str) -> Answer:
        """Do what is asked, or refuse it in that mood, and answer."""
        match call:
            case Onboard():
                return self._onboard(call, mood)
            case LookUp():
                site, asset = self.assets.get(call.charger_id, ("", ""))
                return LookedUp("home-1", call.charger_id, Found(site, asset, self.sites[site]) if site else None)
            case AskSchedule():
                return self._answer(call, mood)
            case Remove():
                assert ("stranger", call.axle_asset_id) not in self.assets.values()
                self.assets = {c: ids for c, ids in self.assets.items() if ids[1] != call.axle_asset_id}
                return Removed("home-1", call.charger_id)
            case Offboard():
                assert call.axle_site_id != "stranger"
                self.forget(call.axle_site_id)
                return Offboarded("home-1", call.axle_site_id)

    def forget(self, site: str) -> None:
        """The site and all that is at it are gone."""
        self.sites.pop(site, None)
        self.assets = {c: ids for c, ids in self.assets.items() if ids[0] != site}

    def _onboard(self, call: Onboard, mood: str) -> Answer:
        site = call.axle_site_id
        if call.charger_id in self.assets or (site is None and call.enrolment.mpan in self.sites.values()):
            return OnboardingRefused("home-1", call.charger_id, Refusal.EXISTS)
        if site is not None and site not in self.sites:
            return OnboardingRefused("home-1", call.charger_id, Refusal.UNKNOWN_CHARGER)
        if mood in {"not eligible", "invalid"}:
            why = Refusal.NOT_ELIGIBLE if mood == "not eligible" else Refusal.INVALID
            return OnboardingRefused("home-1", call.charger_id, why)
        self.made += 1
        site = site or f"site-{self.made}"
        self.sites[site] = call.enrolment.mpan
        self.assets[call.charger_id] = (site, f"asset-{self.made}")
        return Onboarded("home-1", call.charger_id, site, f"asset-{self.made}")

    def _answer(self, call: AskSchedule, mood: str) -> Answer:
        if self.assets.get(call.charger_id, ("", ""))[1] != call.axle_asset_id:
            return ScheduleRefused("home-1", call.charger_id, call.number, Refusal.UNKNOWN_CHARGER)
        if mood in {"forbidden", "invalid"}:
            why = Refusal.FORBIDDEN if mood == "forbidden" else Refusal.INVALID
            return ScheduleRefused("home-1", call.charger_id, call.number, why)
        start, end = call.schedule[-1]
        pauses = {
            "half an hour": window(end - 2 * HOUR_MS, end - 90 * MINUTE_MS),
            "an hour at once": window(start, start + HOUR_MS),
            "bits": normalise((start + n * 20 * MINUTE_MS, start + (n * 20 + 8) * MINUTE_MS) for n in (1, 2, 3)),
            "two hours": window(start, start + 2 * HOUR_MS),
        }.get(mood, ())
        answered: Schedule | None = subtract(call.schedule, pauses)
        answered = {"unreadable": None, "more": window(start - HOUR_MS, end), "empty": ()}.get(mood, answered)
        return ScheduleAnswered("home-1", call.charger_id, call.number, call.schedule, answered)

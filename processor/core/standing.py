"""Where a charger stands: the states of the table in `decide.py`, and how they are read off a site.

Two small machines run side by side. *Standing* is how a charger stands with Axle, *Asking* how its open question does.
Nothing here is stored: both are functions of the site, so there is no state that could disagree with the facts. The
order of the lines in `standing_of` is the order of rank: whatever leaves goes before whatever joins.
"""

from enum import StrEnum

from processor.core.outputs import Enrolled
from processor.core.site import Charger, Site, has_left, withdrawn


class Standing(StrEnum):
    """How a charger stands with Axle; or the whole site, for an event that names no charger."""

    UNKNOWN = "UNKNOWN"
    """Axle is not known to have it."""
    JOINING = "JOINING"
    """Its onboarding is owed."""
    ADOPTING = "ADOPTING"
    """Axle has it already: it is being looked up whose it is."""
    ENROLLED = "ENROLLED"
    """Axle has it, with a consent that stands."""
    DENIED = "DENIED"
    """Axle, or a rule of ours, said no to it: not eligible, conflict, forbidden, our request at fault."""
    LEAVING = "LEAVING"
    """Its removal is owed."""
    SEARCHING = "SEARCHING"
    """It left, and what an unanswered onboarding may have left behind is being looked for."""
    OFFBOARDING = "OFFBOARDING"
    """Its whole site is to be gone at Axle."""
    GONE = "GONE"
    """The household withdrew, or the charger was disconnected; nothing is owed any more."""


class Asking(StrEnum):
    """How a charger's open question stands."""

    QUIET = "QUIET"
    """There is none."""
    ASKED = "ASKED"
    """A question is owed, or under way."""
    LOOKING_UP = "LOOKING_UP"
    """The question waits for a look-up of Axle's ids."""


_CONCLUDED = {
    Enrolled.ENROLLED: Standing.ENROLLED,
    Enrolled.NOT_ELIGIBLE: Standing.DENIED,
    Enrolled.CONFLICT: Standing.DENIED,
    Enrolled.FORBIDDEN: Standing.DENIED,
    Enrolled.REFUSED: Standing.DENIED,
}


def standing_of(site: Site, charger: Charger | None) -> Standing:
    """How the charger stands with Axle; without one, how the site does."""
    if charger is None:
        return _standing_of_site(site)
    if charger.leaving:
        return Standing.LEAVING if charger.axle_asset_id else Standing.SEARCHING
    if site.offboarding:
        return Standing.OFFBOARDING
    if has_left(site, charger):
        return Standing.GONE
    if charger.enrolling:
        return Standing.ADOPTING if charger.enrolling.adopting else Standing.JOINING
    return _CONCLUDED.get(charger.enrolled, Standing.UNKNOWN)


def asking_of(charger: Charger | None) -> Asking:
    """How the charger's question stands."""
    if charger is None or charger.question is None:
        return Asking.QUIET
    return Asking.LOOKING_UP if charger.question.looking_up else Asking.ASKED


def _standing_of_site(site: Site) -> Standing:
    if site.offboarding:
        return Standing.OFFBOARDING
    if withdrawn(site):
        return Standing.GONE
    return Standing.ENROLLED if site.axle_site_id else Standing.UNKNOWN

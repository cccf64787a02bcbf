"""Axle's list of chargers held against what is known here: who is there and should not be, and the other way round.

A function of values: how the list and the states are read, and what is done about a difference, is the shell's
business. The one idea: both sides are old when they are compared, so a difference proves nothing by itself. The one
that is acted on (`LEFT`) becomes an order that names what it goes by (`events.StillListed`), and even that only leads
to a look-up. Nobody is ever onboarded by it, and nothing is done to whoever has a consent that stands.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum

from processor.core.outputs import Enrolled
from processor.core.site import Charger, Site, left_at_ms
from processor.core.standing import Standing, standing_of
from processor.core.value import Value


class Kind(StrEnum):
    """How the two sides differ about a charger."""

    LEFT = "left_here"
    """It left here, nothing about it is owed, and Axle lists it."""
    NOT_ENROLLED = "not_enrolled_here"
    """It has not left, Axle lists it, and here it does not count as enrolled. A newer consent settles it."""
    UNKNOWN = "unknown_here"
    """Axle lists it, and no household here knows it."""
    MISSING = "missing_there"
    """Enrolled here, and Axle does not list it. The next question about it is answered 404, and looks it up then."""
    OTHER_IDS = "other_ids_there"
    """Enrolled here, and Axle lists it under other ids. The next question about it finds that out as well."""


class Listed(Value, frozen=True):
    """A charger as Axle lists it."""

    charger_id: str
    axle_site_id: str
    axle_asset_id: str


Listing = Mapping[str, tuple[Listed, ...]]
"""What Axle lists, by our id of the charger."""


class Drift(Value, frozen=True):
    """One difference. `site_id` is None for `UNKNOWN`, Axle's ids for `MISSING`; `left_at_ms` is told for `LEFT`."""

    kind: Kind
    charger_id: str
    site_id: str | None = None
    axle_site_id: str | None = None
    axle_asset_id: str | None = None
    left_at_ms: int | None = None


class View(Value, frozen=True):
    """What some of the households say of Axle's list. `held`: chargers that belong to a household, or are under way."""

    drifts: tuple[Drift, ...]
    known: frozenset[str]
    held: frozenset[str]
    chargers: int = 0
    """How many the households have in all."""


_UNDER_WAY = frozenset(
    {Standing.JOINING, Standing.ADOPTING, Standing.LEAVING, Standing.SEARCHING, Standing.OFFBOARDING}
)


def by_charger(
    chargers: Iterable[Listed], found: dict[str, tuple[Listed, ...]] | None = None
) -> dict[str, tuple[Listed, ...]]:
    """The list by our ids, added to what was `found` on earlier pages; what is listed twice is there once."""
    found = {} if found is None else found
    for each in chargers:
        others = found.get(each.charger_id, ())
        if each not in others:
            found[each.charger_id] = (*others, each)
    return found


def view(sites: Iterable[Site], listing: Listing) -> View:
    """What these households say of the list."""
    drifts: list[Drift] = []
    known: set[str] = set()
    held: set[str] = set()
    chargers = 0
    for site in sites:
        chargers += len(site.chargers)
        for charger in site.chargers:
            listed = listing.get(charger.charger_id, ())
            if listed:
                known.add(charger.charger_id)
            standing = standing_of(site, charger)
            if standing is Standing.ENROLLED or standing in _UNDER_WAY:
                held.add(charger.charger_id)
            drift = _drift(site, charger, standing, listed)
            if drift:
                drifts.append(drift)
    return View(tuple(drifts), frozenset(known), frozenset(held), chargers)


def unknown(views: Iterable[View], listing: Listing) -> tuple[Drift, ...]:
    """What is listed and none of the households knows. Ask only with the views of all of them."""
    known = frozenset[str]().union(*(each.known for each in views))
    return tuple(_told(Kind.UNKNOWN, each) for who in listing if who not in known for each in listing[who])


def drifts(views: Iterable[View]) -> tuple[Drift, ...]:
    """All differences that the households told, but for those about a charger that belongs to another one by now."""
    every = tuple(views)
    held = frozenset[str]().union(*(each.held for each in every))
    moved = {Kind.LEFT, Kind.NOT_ENROLLED}
    return tuple(d for each in every for d in each.drifts if d.kind not in moved or d.charger_id not in held)


def _drift(site: Site, charger: Charger, standing: Standing, listed: tuple[Listed, ...]) -> Drift | None:
    if standing is Standing.ENROLLED:
        return _drift_of_enrolled(site, charger, listed)
    # In a conflict Axle has it at another household, and a person was told.
    if standing in _UNDER_WAY or charger.enrolled is Enrolled.CONFLICT:
        return None
    # What was only unenrolled is there for good, with its payments.
    there = [each for each in listed if each.axle_site_id not in site.kept_axle_site_ids]
    if there and standing is Standing.GONE:
        return _told(Kind.LEFT, there[0], site.site_id, left_at_ms(site, charger))
    if there and charger.enrolled is not Enrolled.FORBIDDEN:
        return _told(Kind.NOT_ENROLLED, there[0], site.site_id)
    return None


def _drift_of_enrolled(site: Site, charger: Charger, listed: tuple[Listed, ...]) -> Drift | None:
    if not listed:
        return Drift(Kind.MISSING, charger.charger_id, site.site_id)
    if any(each.axle_asset_id == charger.axle_asset_id for each in listed):
        return None
    return _told(Kind.OTHER_IDS, listed[0], site.site_id)


def _told(kind: Kind, listed: Listed, site_id: str | None = None, left_ms: int | None = None) -> Drift:
    return Drift(kind, listed.charger_id, site_id, listed.axle_site_id, listed.axle_asset_id, left_ms)

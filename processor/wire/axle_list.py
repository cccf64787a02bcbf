"""Axle's list of chargers: one page as a request, and what its reply tells.

All other calls are in `axle.py`; how the pages are put together is in `shell/listing.py`. The one idea: a page that
cannot be read whole tells nothing, because who is missing in it would look gone.
"""

from dataclasses import dataclass

from processor.core.reconcile import Listed
from processor.wire.axle import MEANINGS, Again, Endpoint, Meaning, Reply, Request, try_later
from processor.wire.axle_bodies import UnreadableBody
from processor.wire.axle_bodies import page_of as read_page

PAGE_MAX = 200
"""Things on one page. Axle gives up to 5,000, but an answer is cut at 256 KiB: this leaves 1.3 KiB for each."""
CHARGER = "charger"
"""The type of what we onboard; Axle lists meters and batteries of a site as well."""


@dataclass(frozen=True, slots=True)
class Page:
    """The chargers of a page; how many things of all types were on it, and how many the whole list has."""

    chargers: tuple[Listed, ...]
    count: int
    total: int


def page_request(offset: int) -> Request:
    """The page that begins with the thing of that number, counted from 0."""
    return Request(Endpoint.LIST, "GET", f"/entities/asset?limit={PAGE_MAX}&offset={offset}")


def page_of(reply: Reply) -> Page | Again:
    """What the reply tells, or that it tells nothing. Never raises."""
    if MEANINGS[Endpoint.LIST].get(reply.status) is not Meaning.DONE:
        return Again(try_later(Endpoint.LIST, reply.status))
    try:
        listed, total = read_page(reply.body)
    except UnreadableBody:
        return Again("Axle answered list with 200 and a body that tells nothing; asking again later.")
    chargers = (Listed(each.external_id, each.site_id, each.id) for each, kind in listed if kind == CHARGER)
    return Page(tuple(chargers), len(listed), total)

"""Who withdrew and who has a pause ahead, without decoding a state."""

from msgspec.structs import replace

from processor.core.site import Charger, Site, Stamp
from processor.shell.census import Census, paused_until_ms
from processor.wire.state import StateMarks
from tests.shell.parts import NOW_MS

TASK, OTHER = 1, 2
PAUSED = Site("s-1", chargers=(Charger("c-1", pauses=((NOW_MS, NOW_MS + 1000),)), Charger("c-2")))
WITHDRAWN = Site("s-2", withdrawal=Stamp(NOW_MS, "w-1"))


def test_a_restore_counts_by_the_headers_alone() -> None:
    """What the changelog's headers say is counted, and goes with its task."""
    census = Census()
    census.take_over(TASK, {"a": StateMarks(withdrawn_since_ms=1), "b": StateMarks(paused_until_ms=NOW_MS + 1)})
    census.take_over(OTHER, {"c": StateMarks(withdrawn_since_ms=1), "d": StateMarks()})
    assert (census.withdrawn_sites, census.paused_sites(NOW_MS)) == (2, 1)
    census.drop(TASK)
    assert (census.withdrawn_sites, census.paused_sites(NOW_MS)) == (1, 0)


def test_each_commit_is_followed() -> None:
    """A site that changed counts as it is now, once, however often it is seen."""
    census = Census()
    for _ in range(2):
        census.see(TASK, [PAUSED, WITHDRAWN])
    assert (census.withdrawn_sites, census.paused_sites(NOW_MS)) == (1, 1)
    census.see(TASK, [Site("s-1"), replace(WITHDRAWN, consent=Stamp(NOW_MS + 1, "p-1"))])
    assert (census.withdrawn_sites, census.paused_sites(NOW_MS)) == (0, 0)


def test_a_pause_that_is_over_does_not_count() -> None:
    """Nobody has to touch the site for that."""
    census = Census()
    census.see(TASK, [PAUSED])
    assert census.paused_sites(NOW_MS + 999) == 1
    assert census.paused_sites(NOW_MS + 1000) == 0


def test_an_erased_site_counts_no_more() -> None:
    """Nothing of it is kept, and an unknown task is no trouble."""
    census = Census()
    census.see(TASK, [PAUSED, WITHDRAWN])
    for site_id in ("s-1", "s-2"):
        census.forget(TASK, site_id)
        census.forget(OTHER, site_id)
    assert (census.withdrawn_sites, census.paused_sites(NOW_MS)) == (0, 0)


def test_the_last_pause_of_all_chargers_counts() -> None:
    """Without a pause there is no such moment."""
    assert paused_until_ms(PAUSED) == NOW_MS + 1000
    assert paused_until_ms(WITHDRAWN) is None

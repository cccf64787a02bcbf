"""Events carry personal data, and never print it."""

from processor.core.events import Found, LookedUp, PlugIn, Source
from tests.core.world import ENROLMENT, GUIDE_SCHEDULE, MPAN, T0


def test_an_enrolment_is_not_printed() -> None:
    """Neither by itself nor inside the plug-in that brings it."""
    assert repr(ENROLMENT) == "Enrolment(...)"
    event = PlugIn("e", T0, Source("in", 0, 1), "home-1", "c-1", GUIDE_SCHEDULE, None, ENROLMENT)
    printed = repr(event)
    assert "Enrolment(...)" in printed
    assert MPAN not in printed
    assert ENROLMENT.street_address not in printed


def test_a_meter_that_was_looked_up_is_not_printed() -> None:
    """Axle's ids are."""
    found = Found("axle-site", "axle-asset", MPAN)
    assert repr(found) == "Found('axle-site', 'axle-asset', ...)"
    assert MPAN not in repr(LookedUp("home-1", "c-1", found))

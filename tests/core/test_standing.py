"""How a charger stands is read off the site's facts, whatever leaves ranking before whatever joins."""

import pytest
from msgspec.structs import replace

from processor.core.outputs import Enrolled
from processor.core.site import Charger, Enrolling, Leaving, Offboarding, Question, Site, Stamp
from processor.core.standing import Asking, Standing, asking_of, standing_of
from tests.core.world import T0, World

CONSENT, LATER = Stamp(T0, "consent"), Stamp(T0 + 1, "later")
HOME = Site("home-1", consent=CONSENT)
FRESH = Charger("c-1")


@pytest.mark.parametrize(
    ("standing", "site", "charger"),
    [
        (Standing.UNKNOWN, HOME, FRESH),
        (Standing.UNKNOWN, HOME, replace(FRESH, enrolled=Enrolled.REMOVED)),
        (Standing.JOINING, HOME, replace(FRESH, enrolling=Enrolling(T0))),
        (Standing.JOINING, HOME, replace(FRESH, enrolled=Enrolled.NOT_ELIGIBLE, enrolling=Enrolling(T0))),
        (Standing.ADOPTING, HOME, replace(FRESH, enrolling=Enrolling(T0, adopting=True))),
        (Standing.ENROLLED, HOME, replace(FRESH, enrolled=Enrolled.ENROLLED)),
        (Standing.DENIED, HOME, replace(FRESH, enrolled=Enrolled.NOT_ELIGIBLE)),
        (Standing.DENIED, HOME, replace(FRESH, enrolled=Enrolled.CONFLICT)),
        (Standing.DENIED, HOME, replace(FRESH, enrolled=Enrolled.FORBIDDEN)),
        (Standing.DENIED, HOME, replace(FRESH, enrolled=Enrolled.REFUSED)),
        (Standing.GONE, HOME, replace(FRESH, removed=LATER, enrolled=Enrolled.ENROLLED)),
        (Standing.GONE, replace(HOME, withdrawal=CONSENT), replace(FRESH, enrolling=Enrolling(T0))),
        (Standing.OFFBOARDING, replace(HOME, offboarding=Offboarding(T0, None)), replace(FRESH, removed=LATER)),
        (Standing.SEARCHING, replace(HOME, withdrawal=LATER), replace(FRESH, leaving=Leaving(T0))),
        (
            Standing.LEAVING,
            replace(HOME, offboarding=Offboarding(T0, None)),
            replace(FRESH, leaving=Leaving(T0), axle_asset_id="a"),
        ),
        (Standing.UNKNOWN, HOME, None),
        (Standing.ENROLLED, replace(HOME, axle_site_id="s"), None),
        (Standing.GONE, replace(HOME, axle_site_id="s", withdrawal=LATER), None),
        (Standing.OFFBOARDING, replace(HOME, offboarding=Offboarding(T0, None)), None),
    ],
)
def test_a_standing_is_a_function_of_the_facts(standing: Standing, site: Site, charger: Charger | None) -> None:
    """Each combination of facts has one name, the strongest that fits."""
    assert standing_of(site, charger) is standing


def test_a_question_is_quiet_asked_or_waits_for_a_look_up() -> None:
    """And an event about the site alone meets no question."""
    question = Question(World().enrolled().charger.question.asker, 1, T0)  # type: ignore[union-attr]
    assert asking_of(None) is Asking.QUIET
    assert asking_of(FRESH) is Asking.QUIET
    assert asking_of(replace(FRESH, question=question)) is Asking.ASKED
    assert asking_of(replace(FRESH, question=replace(question, looking_up=True))) is Asking.LOOKING_UP


def test_two_chargers_of_a_home_stand_each_for_themselves() -> None:
    """What Axle has of one says nothing of the other."""
    world = World().settled()
    world.plug_in(charger="c-2")
    assert standing_of(world.site, world.site.charger("c-1")) is Standing.ENROLLED
    assert standing_of(world.site, world.site.charger("c-2")) is Standing.UNKNOWN

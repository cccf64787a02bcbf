"""The story of the demo: what it promises to hold, and that a seed tells it again."""

from collections import Counter

import pytest

from processor.core.events import BoostAction, ConsentWithdrawn, Input, PlugIn, Source, UserBoost, WithdrawalReason
from processor.core.schedule import HOUR_MS
from processor.demo.homes import POSTCODE, mpan_of, settle
from processor.demo.traffic import DECK, ONBOARDING_MS, Planned, Story, Twist, encode
from processor.shell.schema_files import schema_texts
from processor.wire.avro import Codec
from processor.wire.inputs import InputLimits, Rejected, read_input

T0 = 1_795_365_600_000
CODEC = Codec(schema_texts())


def told(events: int, every_ms: int = 100, chargers: int = 40, seed: int = 1) -> list[tuple[int, Planned]]:
    """So many events of a story, each with its time."""
    story = Story(chargers, seed)
    times = [T0 + number * every_ms for number in range(events)]
    return [(at_ms, story.next(at_ms)) for at_ms in times]


def test_a_seed_tells_the_same_story() -> None:
    """Equal seeds and times give equal events, byte for byte, and another seed gives others."""
    first, again, other = (told(300, seed=seed) for seed in (3, 3, 4))
    assert first == again
    assert [encode(planned, CODEC) for _, planned in first] == [encode(planned, CODEC) for _, planned in again]
    assert first != other


@pytest.mark.parametrize("seed", range(5))
def test_half_a_minute_holds_a_bit_of_everything(seed: int) -> None:
    """300 events at 40 chargers hold 100 plug-ins, 10 boosts, 3 withdrawals, and every kind of oddity."""
    events = [planned for _, planned in told(300, seed=seed)]
    kinds = Counter(planned.kind for planned in events)
    assert kinds[Input.PLUG_IN] >= 100
    assert sum(isinstance(one.event, UserBoost) and one.event.action is BoostAction.BOOST for one in events) >= 10
    withdrawals = [one.event for one in events if isinstance(one.event, ConsentWithdrawn) and one.readable]
    assert sum(event.reason is WithdrawalReason.CONSENT_WITHDRAWN for event in withdrawals) >= 3
    assert {one.twist for one in events} == set(Twist)
    actions = {one.event.action for one in events if isinstance(one.event, UserBoost)}
    assert actions == set(BoostAction)
    assert any(one.again for one in events)
    assert any(isinstance(one.event, PlugIn) and one.event.enrolment is None for one in events)


def test_what_is_said_again_is_the_same() -> None:
    """A repeated event has the id and the bytes of one that was told before."""
    before: dict[str, bytes] = {}
    repeats = 0
    for _, planned in told(300):
        value = encode(planned, CODEC)
        if planned.again:
            repeats += 1
            assert before[planned.event.event_id] == value
        else:
            assert planned.event.event_id not in before
            before[planned.event.event_id] = value
    assert repeats > 5


def test_the_contract_is_kept_but_where_it_shall_be_broken() -> None:
    """The real reader takes every event that is meant to be proper, and refuses exactly the others."""
    for at_ms, planned in told(400):
        read = read_input(planned.kind, encode(planned, CODEC), Source("t", 0, 0), at_ms, CODEC, InputLimits())
        is_refused = isinstance(read, Rejected)
        assert is_refused == (planned.twist in {Twist.INVALID, Twist.GARBAGE}), (planned, read)


def test_schedules_are_such_that_axle_may_pause() -> None:
    """Nights begin about now, last for hours and are no longer than a night."""
    for at_ms, planned in told(300):
        if isinstance(planned.event, PlugIn) and planned.twist is Twist.NONE and not planned.again:
            first, last = planned.event.schedule[0], planned.event.schedule[-1]
            assert -HOUR_MS < first[0] - at_ms <= 2 * HOUR_MS
            assert 3 * HOUR_MS < last[1] - first[0] < 10 * HOUR_MS


def test_a_household_withdraws_from_a_live_session_after_its_onboarding() -> None:
    """Nobody withdraws before Axle could take them in, and somebody always charges at that home."""
    consented: dict[str, int] = {}
    live: dict[str, int] = {}
    withdrawals = 0
    for at_ms, planned in told(600):
        event = planned.event
        if planned.again or not planned.readable:
            continue
        if isinstance(event, PlugIn) and planned.twist is Twist.NONE:
            live[event.site_id] = max(live.get(event.site_id, 0), event.schedule[-1][1])
            if event.enrolment:
                consented[event.site_id] = at_ms
        if isinstance(event, ConsentWithdrawn):
            withdrawals += 1
            assert at_ms - consented[event.site_id] >= ONBOARDING_MS
            assert live[event.site_id] > at_ms
    assert withdrawals >= 6


def test_a_household_comes_back_with_a_newer_consent() -> None:
    """Some homes that withdrew consent again, later than they withdrew, and none tells a consent in between."""
    withdrawn: dict[str, int] = {}
    returned = 0
    for _, planned in told(900):
        event = planned.event
        if planned.again:
            continue
        if isinstance(event, ConsentWithdrawn) and event.reason is WithdrawalReason.CONSENT_WITHDRAWN:
            withdrawn[event.site_id] = event.occurred_at_ms
        if isinstance(event, PlugIn) and event.enrolment and event.site_id in withdrawn:
            assert event.enrolment.consented_at_ms > withdrawn.pop(event.site_id)
            returned += 1
    assert returned >= 3


def test_nobody_withdraws_whose_onboarding_met_a_fault() -> None:
    """Homes that consented while Axle had a fault, or just before it, stay: their withdrawal could not be followed."""
    story = Story(40, seed=2)
    doubtful: set[str] = set()
    left: set[str] = set()
    for number in range(600):
        at_ms, is_well = T0 + number * 100, not 100 <= number < 200
        planned = story.next(at_ms, axle_is_well=is_well)
        event = planned.event
        if isinstance(event, PlugIn) and event.enrolment and not planned.again:
            near = 100 - ONBOARDING_MS // 100 < number < 200
            (doubtful.add if near else doubtful.discard)(event.site_id)
        if isinstance(event, ConsentWithdrawn) and planned.readable and not planned.again:
            assert event.site_id not in doubtful
            left.add(event.site_id)
    assert doubtful
    assert left


def test_the_homes_are_made_up() -> None:
    """MPANs have 13 digits, a right check digit and no distributor; addresses and postcode are nobody's."""
    enrolments = [one.event.enrolment for _, one in told(200) if isinstance(one.event, PlugIn) and one.event.enrolment]
    assert enrolments
    for enrolment in enrolments:
        assert len(enrolment.mpan) == 13
        assert enrolment.mpan.startswith("99")
        assert enrolment.street_address.endswith(" Example Street")
        assert enrolment.postcode == POSTCODE
    # Worked by hand: 9*3 + 9*5 + 1*43 = 115, 115 mod 11 = 5.
    assert mpan_of(1) == "9900000000015"


@pytest.mark.parametrize("chargers", [1, 2, 7, 40])
def test_there_are_as_many_chargers_as_asked_for(chargers: int) -> None:
    """Homes have one charger or two, and together as many as were asked for."""
    settled = list(settle(chargers))
    assert len({charger.charger_id for charger in settled}) == chargers
    assert max(Counter(charger.home.site_id for charger in settled).values()) <= 2


def test_most_keys_are_sites_and_some_are_chargers() -> None:
    """Records are keyed by site, some by charger, and by site alone where hops are not wanted."""
    keys = Counter(planned.key.partition("-")[0] for _, planned in told(400))
    assert keys["home"] > 4 * keys["c"] > 0
    story = Story(10, keyed_by_charger=0.0)
    assert all(not story.next(T0 + number).key.startswith("c-") for number in range(100))


@pytest.mark.parametrize("chargers", [1, 5_000])
def test_any_number_of_chargers_has_a_story(chargers: int) -> None:
    """One charger and thousands of them are told about, with the same proportions."""
    kinds = Counter(planned.kind for _, planned in told(len(DECK) * 5, chargers=chargers))
    assert kinds[Input.PLUG_IN] >= len(DECK) * 5 // 3
    assert kinds[Input.USER_BOOST] >= len(DECK)

"""The table of validity: what makes an event, and what is refused and how."""

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from processor.core.events import (
    BoostAction,
    ConsentWithdrawn,
    Enrolment,
    Input,
    PlugIn,
    Source,
    Unreadable,
    UserBoost,
    WithdrawalReason,
)
from processor.core.schedule import HOUR_MS, MINUTE_MS, normalise
from processor.shell.schema_files import schema_texts
from processor.wire.avro import Codec
from processor.wire.inputs import InputLimits, RejectCode, Rejected, read_input

CODEC = Codec(schema_texts())
LIMITS = InputLimits()
NOW_MS = 1_763_800_000_000
DAY_MS = 24 * HOUR_MS
SOURCE = Source("ev.plug-in.v1", 3, 1_234)
ENROLMENT = Enrolment("1234567890123", "SW1A 1AA", "10 Some Street", NOW_MS - DAY_MS, NOW_MS - DAY_MS, "a@example.com")
PLUG_IN = PlugIn("e-1", NOW_MS, SOURCE, "s-1", "c-1", ((NOW_MS, NOW_MS + HOUR_MS),), 7.4, ENROLMENT)
BOOST = UserBoost("e-2", NOW_MS, SOURCE, "s-1", "c-1", BoostAction.BOOST, NOW_MS + HOUR_MS)
CHANGE = replace(BOOST, action=BoostAction.SCHEDULE_CHANGED, boost_until_ms=None, schedule=PLUG_IN.schedule)
WITHDRAWAL = ConsentWithdrawn("e-3", NOW_MS, SOURCE, "s-1")

Event = PlugIn | UserBoost | ConsentWithdrawn


def read(event: Event, first_read_ms: int = NOW_MS, limits: InputLimits = LIMITS) -> Event | Rejected:
    """What the processor makes of this event when a platform sends it."""
    if isinstance(event, PlugIn):
        kind = Input.PLUG_IN
    else:
        kind = Input.USER_BOOST if isinstance(event, UserBoost) else Input.CONSENT_WITHDRAWN
    return read_input(kind, CODEC.encode_input(event), SOURCE, first_read_ms, CODEC, limits)


def refused(event: Event) -> Rejected:
    """The refusal of an event that breaks a rule."""
    verdict = read(event)
    assert isinstance(verdict, Rejected)
    assert verdict.dead_letter
    return verdict


ids = st.from_regex(r"[A-Za-z0-9._:-]{1,64}", fullmatch=True).filter(lambda text: text not in {".", ".."})
recent = st.integers(NOW_MS - 30 * DAY_MS, NOW_MS + 5 * MINUTE_MS)
starts = st.integers(NOW_MS, NOW_MS + 24 * HOUR_MS)
blocks = st.tuples(starts, st.integers(1, 24 * HOUR_MS)).map(lambda pair: (pair[0], pair[0] + pair[1]))
schedules = st.lists(blocks, min_size=1, max_size=5).map(normalise)
enrolments = st.builds(
    Enrolment,
    st.from_regex(r"[0-9]{13}", fullmatch=True),
    st.text(min_size=1, max_size=16).filter(str.strip),
    st.text(min_size=1, max_size=256).filter(str.strip),
    recent,
    recent,
    st.none() | st.text(min_size=1, max_size=254).filter(str.strip),
)
plug_ins = st.builds(
    PlugIn, ids, recent, st.just(SOURCE), ids, ids, schedules, st.none() | st.floats(0, 1000), st.none() | enrolments
)
boosting = (st.just(BoostAction.BOOST), st.integers(1, 48 * HOUR_MS), st.none() | schedules)
boosts = st.builds(UserBoost, ids, recent, st.just(SOURCE), ids, ids, *boosting).map(
    lambda boost: replace(boost, boost_until_ms=boost.occurred_at_ms + (boost.boost_until_ms or 0))
)
changes = st.builds(
    UserBoost, ids, recent, st.just(SOURCE), ids, ids, st.just(BoostAction.SCHEDULE_CHANGED), st.none(), schedules
)
withdrawals = st.builds(ConsentWithdrawn, ids, recent, st.just(SOURCE), ids, st.none())


@settings(max_examples=100, deadline=None)
@given(st.one_of(plug_ins, boosts, changes, withdrawals))
def test_what_keeps_the_contract_is_read_as_it_was_sent(event: Event) -> None:
    """Every event that keeps the rules arrives as it was sent."""
    assert read(event) == event


@pytest.mark.parametrize("kind", Input)
def test_a_record_without_a_value_is_no_dead_letter(kind: Input) -> None:
    """A null value is refused, and there is nothing to keep of it."""
    verdict = read_input(kind, None, SOURCE, NOW_MS, CODEC, LIMITS)
    assert verdict == Rejected(RejectCode.NO_VALUE, "the record has no value", dead_letter=False)


@pytest.mark.parametrize("bad", ["", "x" * 65, "a b", "a/b", "é", "a\n", "٣", ".", ".."])
@pytest.mark.parametrize("field", ["event_id", "site_id", "charger_id"])
@pytest.mark.parametrize("event", [PLUG_IN, BOOST])
def test_ids_are_short_and_plain(event: PlugIn | UserBoost, field: str, bad: str) -> None:
    """An id outside 1 to 64 plain characters, or that no URL carries, is refused, named, and not handed on."""
    change: dict[str, Any] = {field: bad}
    verdict = refused(replace(event, **change))
    assert (verdict.code, verdict.reason.split()[0]) == (RejectCode.BAD_ID, field)
    assert getattr(verdict, field) is None


@pytest.mark.parametrize("good", ["...", ".a", "a..", "-", "_:"])
def test_dots_among_other_characters_are_fine(good: str) -> None:
    """Only the ids "." and ".." are refused for their dots."""
    event = replace(PLUG_IN, charger_id=good)
    assert read(event) == event


def test_a_charger_is_halted_only_where_it_can_be_read() -> None:
    """Without a readable site or charger there is no charger to halt."""
    assert refused(replace(PLUG_IN, site_id="")).unreadable is None
    assert refused(replace(PLUG_IN, charger_id="")).unreadable is None


def test_a_broken_event_id_does_not_keep_a_charger_from_being_halted() -> None:
    """With site and charger readable the charger is halted, under an id made of the record's place."""
    verdict = refused(replace(BOOST, event_id=""))
    stand_in = Unreadable("USER_BOOST.3.1234", NOW_MS, SOURCE, "s-1", "c-1", Input.USER_BOOST)
    assert (verdict.event_id, verdict.unreadable) == (None, stand_in)


def test_an_action_is_recent() -> None:
    """An action may be 30 days old to the millisecond; an older one is refused, and is no reason to halt."""
    oldest = NOW_MS - 30 * DAY_MS
    assert read(replace(PLUG_IN, occurred_at_ms=oldest)) == replace(PLUG_IN, occurred_at_ms=oldest)
    verdict = refused(replace(PLUG_IN, occurred_at_ms=oldest - 1))
    assert (verdict.code, verdict.unreadable) == (RejectCode.TOO_OLD, None)


def test_a_withdrawal_is_never_too_old() -> None:
    """A withdrawal counts however long ago it was."""
    ancient = replace(WITHDRAWAL, occurred_at_ms=NOW_MS - 10_000 * DAY_MS)
    assert read(ancient) == ancient


@pytest.mark.parametrize("event", [PLUG_IN, BOOST, WITHDRAWAL])
def test_a_time_that_runs_ahead_counts_as_the_first_reading(event: Event) -> None:
    """Up to 5 minutes ahead is kept; beyond that the time of the first reading counts."""
    ahead_ms = NOW_MS - 5 * MINUTE_MS
    kept = read(event, ahead_ms)
    assert not isinstance(kept, Rejected)
    assert kept.occurred_at_ms == NOW_MS
    counted = read(event, ahead_ms - 1)
    assert not isinstance(counted, Rejected)
    assert counted.occurred_at_ms == ahead_ms - 1


def test_a_halt_carries_the_counted_time() -> None:
    """The time of a halt is counted like any other, or one skewed clock would halt a charger for years."""
    verdict = refused(replace(PLUG_IN, occurred_at_ms=NOW_MS + 365 * DAY_MS, power_kw=-1.0))
    assert verdict.unreadable == Unreadable("e-1", NOW_MS, SOURCE, "s-1", "c-1", Input.PLUG_IN)


@pytest.mark.parametrize("at_ms", [-1, 0, NOW_MS // 1000, NOW_MS * 1000, 2**63 - 1])
@pytest.mark.parametrize("event", [PLUG_IN, BOOST, WITHDRAWAL])
def test_other_units_of_time_are_refused(event: Event, at_ms: int) -> None:
    """Seconds, microseconds and nonsense are told from milliseconds: else a withdrawal would silently be too old."""
    verdict = refused(replace(event, occurred_at_ms=at_ms))
    assert (verdict.code, verdict.unreadable) == (RejectCode.BAD_TIME, None)
    assert verdict.site_id == "s-1"


BROKEN_SCHEDULES = [
    ((), "schedule has no block"),
    (((NOW_MS, NOW_MS),), "block 1 of schedule does not end after its start"),
    (((NOW_MS, NOW_MS + 1), (NOW_MS + 9, NOW_MS + 8)), "block 2 of schedule does not end after its start"),
    (((NOW_MS // 1000, NOW_MS // 1000 + 9),), "start of block 1 of schedule is no plausible UTC time in milliseconds"),
    (((NOW_MS, NOW_MS * 1000),), "end of block 1 of schedule is no plausible UTC time in milliseconds"),
    (((NOW_MS, NOW_MS + 48 * HOUR_MS + 1),), "schedule is longer than 48 hours in all"),
    (((NOW_MS, NOW_MS + 1), (NOW_MS + 48 * HOUR_MS, NOW_MS + 48 * HOUR_MS + 1)), "schedule is longer than 48 hours"),
    (tuple((NOW_MS + 2 * n, NOW_MS + 2 * n + 1) for n in range(301)), "schedule has more than 300 blocks once merged"),
]


@pytest.mark.parametrize(("schedule", "reason"), BROKEN_SCHEDULES)
@pytest.mark.parametrize("event", [PLUG_IN, CHANGE, BOOST])
def test_a_broken_schedule_halts_the_charger(
    event: PlugIn | UserBoost, schedule: tuple[tuple[int, int], ...], reason: str
) -> None:
    """A schedule that breaks a rule refuses the event, wherever it comes with one, and halts the charger."""
    verdict = refused(replace(event, schedule=schedule))
    assert verdict.reason.startswith(reason)
    kind = Input.PLUG_IN if isinstance(event, PlugIn) else Input.USER_BOOST
    assert verdict.unreadable == Unreadable(event.event_id, NOW_MS, SOURCE, "s-1", "c-1", kind)


def test_overlapping_blocks_are_merged() -> None:
    """Blocks may overlap and come in any order; 48 hours in all are fine."""
    start, middle, end = NOW_MS, NOW_MS + 24 * HOUR_MS, NOW_MS + 48 * HOUR_MS
    merged = read(replace(PLUG_IN, schedule=((middle, end), (start, middle + 1))))
    assert merged == replace(PLUG_IN, schedule=((start, end),))


def test_a_changed_schedule_needs_one() -> None:
    """SCHEDULE_CHANGED without a schedule is refused, and halts the charger."""
    verdict = refused(replace(CHANGE, schedule=None))
    assert verdict.code is RejectCode.BAD_SCHEDULE
    assert verdict.unreadable is not None


@pytest.mark.parametrize("until_ms", [NOW_MS, NOW_MS - 1, NOW_MS // 1000, NOW_MS * 1000])
def test_a_boost_ends_after_it_began(until_ms: int) -> None:
    """A boost that ends at or before its counted time, or in another unit, is refused and halts the charger."""
    verdict = refused(replace(BOOST, boost_until_ms=until_ms))
    assert verdict.code in {RejectCode.BAD_BOOST, RejectCode.BAD_TIME}
    assert verdict.unreadable is not None


def test_a_boost_is_measured_by_the_counted_time() -> None:
    """A clock that runs ahead does not make a boost end before it began."""
    ahead = replace(BOOST, occurred_at_ms=NOW_MS + 2 * HOUR_MS)
    assert read(ahead) == BOOST


def test_a_boost_without_an_end_gets_one() -> None:
    """An open boost lasts 12 hours from its counted time, or as long as is set."""
    endless = replace(BOOST, boost_until_ms=None)
    assert read(endless) == replace(BOOST, boost_until_ms=NOW_MS + 12 * HOUR_MS)
    assert read(endless, limits=InputLimits(boost_open_end_ms=5)) == replace(BOOST, boost_until_ms=NOW_MS + 5)


@pytest.mark.parametrize("told_at_ms", [NOW_MS, NOW_MS + 365 * DAY_MS])
def test_a_boost_is_cut_to_the_longest_there_is(told_at_ms: int) -> None:
    """A boost of years, slip or spite, is kept for 48 hours from its counted time, or as long as is set."""
    for hours, kept_hours in ((47, 47), (48, 48), (49, 48), (24 * 365 * 90, 48)):
        sent = replace(BOOST, occurred_at_ms=told_at_ms, boost_until_ms=NOW_MS + hours * HOUR_MS)
        assert read(sent) == replace(BOOST, boost_until_ms=NOW_MS + kept_hours * HOUR_MS)
    limits = InputLimits(boost_open_end_ms=HOUR_MS, boost_max_ms=HOUR_MS)
    assert read(replace(BOOST, boost_until_ms=NOW_MS + HOUR_MS + 1), limits=limits) == BOOST


def test_every_limit_can_be_set() -> None:
    """Age, clocks that run ahead, length and fragments of a schedule are refused by the numbers that are handed in."""
    limits = InputLimits(DAY_MS, MINUTE_MS, 2 * HOUR_MS, 2)

    def reason(event: Event) -> str:
        verdict = read(event, limits=limits)
        assert isinstance(verdict, Rejected)
        return verdict.reason

    three = tuple((NOW_MS + 2 * n, NOW_MS + 2 * n + 1) for n in range(3))
    assert "more than 1 days" in reason(replace(PLUG_IN, occurred_at_ms=NOW_MS - DAY_MS - 1))
    assert "longer than 2 hours" in reason(replace(PLUG_IN, schedule=((NOW_MS, NOW_MS + 2 * HOUR_MS + 1),)))
    assert "more than 2 blocks" in reason(replace(PLUG_IN, schedule=three))
    ahead = replace(ENROLMENT, consented_at_ms=NOW_MS + MINUTE_MS + 1)
    assert "more than 1 minutes ahead" in reason(replace(PLUG_IN, enrolment=ahead))


@pytest.mark.parametrize(
    "wrong",
    [
        {"age_max_ms": 0},
        {"ahead_max_ms": -1},
        {"schedule_span_max_ms": 0},
        {"schedule_blocks_max": 0},
        {"boost_open_end_ms": 0},
        {"boost_max_ms": 12 * HOUR_MS - 1},
    ],
)
def test_limits_that_contradict_each_other_are_refused(wrong: dict[str, int]) -> None:
    """No limits are made that would refuse everything, or cut what they have just filled in."""
    with pytest.raises(ValueError, match=next(iter(wrong)).removesuffix("_ms").partition("_max")[0]):
        InputLimits(**wrong)


@pytest.mark.parametrize("action", [BoostAction.BOOST_CANCELLED, BoostAction.UNKNOWN])
def test_a_cancel_or_an_unknown_action_ignores_the_rest(action: BoostAction) -> None:
    """What comes with a cancel or an unknown action is not looked at, broken or not."""
    sent = replace(BOOST, action=action, boost_until_ms=-5, schedule=((9, 3),))
    assert read(sent) == replace(BOOST, action=action, boost_until_ms=None, schedule=None)


def test_a_changed_schedule_ignores_a_boost_end() -> None:
    """`boost_until` belongs to BOOST alone."""
    assert read(replace(CHANGE, boost_until_ms=-5)) == CHANGE


@pytest.mark.parametrize("power_kw", [-0.1, 1000.1, math.nan, math.inf])
def test_power_is_a_plausible_number(power_kw: float) -> None:
    """A power below 0, above 1000 kW or not a number is refused."""
    assert refused(replace(PLUG_IN, power_kw=power_kw)).code is RejectCode.BAD_POWER


BROKEN_ENROLMENTS: list[tuple[dict[str, Any], str]] = [
    ({"mpan": "123456789012"}, "enrolment.mpan does not have 13 digits"),
    ({"mpan": "12345678901234"}, "enrolment.mpan does not have 13 digits"),
    ({"mpan": "١٢٣٤٥٦٧٨٩٠١٢٣"}, "enrolment.mpan does not have 13 digits"),
    ({"postcode": ""}, "enrolment.postcode is not 1 to 16 characters"),
    ({"postcode": "x" * 17}, "enrolment.postcode is not 1 to 16 characters"),
    ({"street_address": "  "}, "enrolment.street_address is not 1 to 256 characters"),
    ({"street_address": "x" * 257}, "enrolment.street_address is not 1 to 256 characters"),
    ({"email": ""}, "enrolment.email is not 1 to 254 characters"),
    ({"consented_at_ms": 0}, "enrolment.consented_at is no plausible UTC time in milliseconds"),
    ({"boundary_meter_consent_at_ms": -1}, "enrolment.boundary_meter_consent_at is no plausible UTC time in millis"),
]


@pytest.mark.parametrize(("change", "reason"), BROKEN_ENROLMENTS)
def test_a_broken_enrolment_is_refused_without_quoting_it(change: dict[str, Any], reason: str) -> None:
    """An enrolment that breaks a rule is refused; the reason names the field and never what stood in it."""
    verdict = refused(replace(PLUG_IN, enrolment=replace(ENROLMENT, **change)))
    assert verdict.reason.startswith(reason)
    assert not any(text and str(text) in verdict.reason for text in change.values() if isinstance(text, str))


def test_a_meter_consent_that_runs_ahead_counts_as_the_first_reading() -> None:
    """The time of the meter consent is counted like the time of the event."""
    late = NOW_MS + 5 * MINUTE_MS + 1
    sent = replace(ENROLMENT, boundary_meter_consent_at_ms=late)
    counted = replace(ENROLMENT, boundary_meter_consent_at_ms=NOW_MS)
    assert read(replace(PLUG_IN, enrolment=sent)) == replace(PLUG_IN, enrolment=counted)


def test_a_consent_from_the_future_is_refused() -> None:
    """Counted anew at each reading it would look newer than a withdrawal in between, and undo it."""
    kept = replace(PLUG_IN, enrolment=replace(ENROLMENT, consented_at_ms=NOW_MS + 5 * MINUTE_MS))
    assert read(kept) == kept
    late = replace(PLUG_IN, enrolment=replace(ENROLMENT, consented_at_ms=NOW_MS + 5 * MINUTE_MS + 1))
    verdict = refused(late)
    assert verdict.code is RejectCode.BAD_ENROLMENT
    assert "5 minutes ahead" in verdict.reason


def test_a_disconnected_charger_is_named() -> None:
    """Only CHARGER_DISCONNECTED is about a charger, and its id must be one."""
    disconnected = replace(WITHDRAWAL, charger_id="c-1", reason=WithdrawalReason.CHARGER_DISCONNECTED)
    assert read(disconnected) == disconnected
    whole_site = replace(disconnected, charger_id=None)
    assert read(whole_site) == whole_site
    verdict = refused(replace(disconnected, charger_id="a b"))
    assert (verdict.code, verdict.site_id, verdict.unreadable) == (RejectCode.BAD_ID, "s-1", None)


@pytest.mark.parametrize("reason", [WithdrawalReason.CONSENT_WITHDRAWN, WithdrawalReason.UNKNOWN])
@pytest.mark.parametrize(("charger_id", "kept"), [("c-1", "c-1"), ("a b", None)])
def test_every_other_withdrawal_is_about_the_site(reason: WithdrawalReason, charger_id: str, kept: str | None) -> None:
    """A charger's id beside another reason may help to find the site; a broken one does not hold up the withdrawal."""
    sent = replace(WITHDRAWAL, charger_id=charger_id, reason=reason)
    assert read(sent) == replace(WITHDRAWAL, reason=reason, charger_id=kept)


def test_undecodable_bytes_are_a_dead_letter() -> None:
    """Bytes that are no record are refused with the codec's own code and reason."""
    verdict = read_input(Input.PLUG_IN, b"{}", SOURCE, NOW_MS, CODEC, LIMITS)
    assert isinstance(verdict, Rejected)
    assert (verdict.code, verdict.dead_letter, verdict.unreadable) == (RejectCode.FRAMING, True, None)


hostile = st.sampled_from([PLUG_IN, BOOST, CHANGE, WITHDRAWAL])


@settings(max_examples=200, deadline=None)
@given(hostile, st.data())
def test_reading_is_total(event: Event, data: st.DataObject) -> None:
    """Flipped bits, cuts and additions make an event of the contract or a refusal, and never raise."""
    value = bytearray(CODEC.encode_input(event))
    for at in data.draw(st.lists(st.integers(80, len(value) * 8 - 1), max_size=6)):
        value[at // 8] ^= 1 << at % 8
    cut = data.draw(st.integers(0, 3))
    sent = bytes(value[: len(value) - cut]) + data.draw(st.binary(max_size=2))
    for kind in Input:
        verdict = read_input(kind, sent, SOURCE, NOW_MS, CODEC, LIMITS)
        if isinstance(verdict, PlugIn):
            assert verdict.schedule == normalise(verdict.schedule) != ()
        if not isinstance(verdict, Rejected):
            assert verdict.occurred_at_ms <= NOW_MS + LIMITS.ahead_max_ms


numbers = st.integers(-(2**63), 2**63 - 1)


@settings(max_examples=100, deadline=None)
@given(numbers, numbers, st.lists(st.tuples(numbers, numbers), max_size=3), st.text(max_size=3))
def test_any_values_of_the_schema_are_survived(
    occurred_at: int, until: int, told: list[tuple[int, int]], text: str
) -> None:
    """A record of the right schema with any values at all is an event or a refusal."""
    event = UserBoost(text or "e", occurred_at, SOURCE, "s", "c", BoostAction.BOOST, until, tuple(told))
    verdict = read(event)
    if isinstance(verdict, UserBoost):
        assert verdict.boost_until_ms is not None
        assert 0 < verdict.boost_until_ms - verdict.occurred_at_ms <= LIMITS.boost_max_ms


def test_the_largest_hostile_schedule_is_refused() -> None:
    """A value that is one long schedule is refused by the count of its blocks."""
    schedule = tuple((NOW_MS + 2 * number, NOW_MS + 2 * number + 1) for number in range(20_000))
    assert refused(replace(PLUG_IN, schedule=schedule)).code is RejectCode.BAD_SCHEDULE

"""Stories as they are told: read these to see what a person hears at 3 in the morning, and judge the words."""

from collections.abc import Callable, Sequence
from inspect import cleandoc
from textwrap import fill

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.json import decode, encode
from msgspec.structs import replace

from processor.core.events import BoostAction, Refusal
from processor.core.explain import Story, explain, utc_clock
from processor.core.outputs import Enrolled, ModifiedSchedule
from processor.core.rules import OnboardingForm, Rules, WithdrawalAction
from processor.core.schedule import HOUR_MS, MINUTE_MS, Schedule
from processor.core.site import Charger, Site
from tests.core.axle_double import MOODS, Axle
from tests.core.world import ENROLMENT, GUIDE_PAUSE, MPAN, NIGHT, RULES, STRANGER, T0, World, at, consented, onboarding

CANCEL, CHANGE = BoostAction.BOOST_CANCELLED, BoostAction.SCHEDULE_CHANGED
EVENING: Schedule = ((at(-1), at(2)),)


def tell(world: World, charger: str = "c-1", records: Sequence[ModifiedSchedule] | None = None) -> Story:
    """The story of a charger, from all that was published."""
    return explain(world.site, charger, world.records if records is None else records, world.now_ms, world.rules)


def page(story: Story, parts: str = "now known past owed") -> str:
    """A story as somebody may print it, or some parts of it."""
    past = [f"{told.at} {told.sentence}" for told in story.past]
    said = {"now": [story.now], "known": [" ".join(story.known)], "past": past, "owed": story.owed}
    return "\n".join(fill(sentence, 116) for part in parts.split() for sentence in said[part])


def evening(pauses: Schedule = (), rules: Rules = RULES) -> World:
    """A charger that was plugged in, was enrolled, and whose question Axle answered with these pauses."""
    world = World(rules=rules)
    world.plug_in(schedule=EVENING, enrolment=ENROLMENT)
    world.onboard()
    world.answer(pauses)
    return world


def test_a_pause_is_in_force() -> None:
    """Until when, what comes then, and what it goes back to is said first."""
    world = World().settled(GUIDE_PAUSE)
    world.now_ms = NIGHT + 3 * HOUR_MS + MINUTE_MS
    assert page(tell(world)) == cleandoc("""
    Axle pauses the car until 02:00; then it may charge until 06:00. This goes back to the plug-in at 27 Jun 21:00.
    The driver's own schedule is 27 Jun 22:00-06:00, set by the plug-in at 27 Jun 21:00. The household's consent of 27
    Jun 20:00 stands. Axle manages this charger.
    27 Jun 21:00 The driver plugged in; the wish is 27 Jun 22:00-06:00. Axle answered with a pause 01:00-02:00.
    Nothing is owed to Axle.
    """)


def test_a_boost_that_axle_answered() -> None:
    """The boost with its end, the pause that it lifted, and Axle's answer are one entry."""
    world = evening(((at(1.5), at(1.75)),))
    world.boost(at(1), at(1.5))
    world.answer(((at(1.5), at(2)),), now_ms=at(1, 0.2))
    assert page(tell(world)) == cleandoc("""
    The car may charge until 22:30; then Axle pauses it until 23:00. This goes back to the boost at 22:00.
    The driver's own schedule is 20:00-23:00, set by the plug-in at 21:00. The boost at 22:00 is in force until 22:30;
    no pause may touch it. The household's consent of 20:00 stands. Axle manages this charger.
    21:00 The driver plugged in; the wish is 20:00-23:00. Axle answered with a pause 22:30-22:45.
    22:00 The driver boosted until 22:30; that lifted a pause 22:30-22:45. Axle answered after 12 s with a pause
    22:30-23:00.
    Nothing is owed to Axle.
    """)


def test_a_cancel_that_axle_is_being_asked_about() -> None:
    """The question is told with its end; of the older boost a record alone does not tell what it was."""
    world = evening()
    world.boost(at(1), at(2.5))
    world.boost(at(1.25), action=CANCEL)
    world.now_ms = at(1.5)
    assert page(tell(world), "now past owed") == cleandoc("""
    The car may charge until 23:00; then its schedule ends and it is free to charge. No pause is ahead. This goes back
    to the boost cancel at 22:15. Axle is being asked.
    21:00 The driver plugged in; the wish is 20:00-23:00. Axle answered; no pause came of it.
    22:00 The driver boosted, cancelled a boost or changed the schedule; the wish is 20:00-23:30. Something newer came
    before Axle answered.
    22:15 The driver cancelled the boost; the wish is 20:00-23:00. Axle is being asked.
    Owed to Axle since 22:15: a question about its schedule, given up at 22:54.
    """)


def test_a_changed_schedule_with_a_gap_and_two_pauses() -> None:
    """The driver's own gap is told apart from Axle's pauses."""
    world = evening()
    world.boost(at(0.75), action=CHANGE, schedule=((at(0), at(1)), (at(1.25), at(2.9))))
    world.answer(((at(1.5), at(1.75)), (at(2.25), at(2.5))))
    assert page(tell(world), "now past") == cleandoc("""
    The car may charge until 22:00; then the driver's own schedule has a gap until 22:15. Later: pauses 22:30-22:45 and
    23:15-23:30. This goes back to the schedule change at 21:45.
    21:00 The driver plugged in; the wish is 20:00-23:00. Axle answered; no pause came of it.
    21:45 The driver changed the schedule; the wish is 21:00-22:00 and 22:15-23:54. Axle answered with pauses
    22:30-22:45 and 23:15-23:30.
    """)
    world.now_ms = at(1.1)
    assert "waits for the driver's own schedule until 22:15; then it may charge until 22:30. Later:" in tell(world).now


def test_axle_never_answers() -> None:
    """That we gave up is told with how long it took; the session is over and the car is free."""
    world = World().enrolled()
    world.wake(world.due_ms or 0)
    world.now_ms = at(10)
    assert page(tell(world), "now past") == cleandoc("""
    Nothing holds the car back: it has been free to charge since 06:00, when its last schedule ended. This goes back to
    the plug-in at 27 Jun 21:00.
    27 Jun 21:00 The driver plugged in; the wish is 27 Jun 22:00-06:00. After 8 h 54 min: Axle did not answer in time;
    the driver's wish stays in force.
    """)


def test_an_onboarding_is_owed() -> None:
    """The question waits for the onboarding; when Axle has the charger already, a look-up tells whose it is."""
    world = onboarding()
    assert page(tell(world), "known past owed") == cleandoc("""
    The driver's own schedule is 22:00 to 28 Jun 06:00, set by the plug-in at 21:00. The household's consent of 20:00
    stands. Axle is being told of this charger; until it has it, no pause can come.
    21:00 The driver plugged in; the wish is 22:00 to 28 Jun 06:00. Axle is being asked.
    Owed to Axle since 21:00: onboarding this charger.
    Owed to Axle since 21:00: a question about its schedule, given up at 28 Jun 05:54; something else goes first.
    """)
    world.refuse_onboarding(Refusal.EXISTS)
    assert tell(world).owed[0] == "Owed to Axle since 21:00: a look-up of whose charger this is."
    world.look_up(STRANGER)
    assert tell(world).known[-1].startswith("Axle has this charger in another household, so it is left alone:")
    assert page(tell(world), "past") == cleandoc("""
    21:00 The driver plugged in; the wish is 22:00 to 28 Jun 06:00. Axle does not manage this charger; the driver's wish
    is in force.
    """)


def test_the_household_withdraws_during_a_pause() -> None:
    """The pause is lifted and the offboarding owed; that there is no pause later is told, and what waits behind it."""
    world = evening(((at(1), at(1.5)),))
    world.withdraw(at(1.25))
    assert page(tell(world), "now known owed") == cleandoc("""
    The car may charge until 23:00; then its schedule ends and it is free to charge. No pause is ahead. This goes back
    to the withdrawal at 22:15.
    The driver's own schedule is 20:00-23:00, set by the plug-in at 21:00. The household withdrew at 22:15: no pauses
    until it consents anew. The whole site is leaving Axle, which has not confirmed it yet.
    Owed to Axle since 22:15: offboarding the whole site.
    """)
    world.plug_in(at(1.3), EVENING)
    assert "There is no consent for pauses; the driver's wish is in force." in tell(world).past[-1].sentence
    world.plug_in(at(1.4), EVENING, consented(at(1.4)))
    assert page(tell(world), "owed") == cleandoc("""
    Owed to Axle since 22:15: offboarding the whole site.
    Owed to Axle since 22:24: onboarding this charger; something else goes first.
    Owed to Axle since 22:24: a question about its schedule, given up at 22:54; something else goes first.
    """)


def test_an_action_that_could_not_be_understood() -> None:
    """All pauses are lifted until the driver acts again, also when an older boost comes late."""
    world = evening(((at(1.5), at(1.75)),))
    world.unreadable(at(1))
    world.now_ms = at(1.2)
    world.boost(at(0.9), at(1.5))
    assert page(tell(world), "known past") == cleandoc("""
    The driver's own schedule is 20:00-23:00, set by the plug-in at 21:00. The boost at 21:54 is in force until 22:30;
    no pause may touch it. What the driver did at 22:00 could not be understood: no pauses until the next action. The
    household's consent of 20:00 stands. Axle manages this charger.
    21:00 The driver plugged in; the wish is 20:00-23:00. Axle answered with a pause 22:30-22:45.
    22:00 The driver's newest action could not be understood; all pauses are lifted.
    22:12 The driver boosted until 22:30. A newer action of the driver could not be understood; no pauses. The event is
    of 21:54 and was read 18 min later.
    """)


def test_a_charger_is_disconnected() -> None:
    """Its removal is owed, and is no part of the other charger's story."""
    world = evening()
    world.plug_in(enrolment=ENROLMENT, charger="c-2")
    world.onboard("c-2")
    world.withdraw(at(0.5), charger="c-1")
    assert page(tell(world), "known owed") == cleandoc("""
    The driver's own schedule is 20:00-23:00, set by the plug-in at 21:00. The charger was disconnected at 21:30: no
    pauses until the household consents anew. The charger left, and Axle has not confirmed its removal yet.
    Owed to Axle since 21:30: removing this charger.
    """)
    assert "removing" not in page(tell(world, "c-2"))


def test_an_onboarding_that_was_never_answered_is_looked_for() -> None:
    """The look-up is told with its time; the offboarding waits for it, and so does another charger's look-up."""
    world = onboarding()
    world.plug_in(enrolment=ENROLMENT, charger="c-2")
    world.withdraw(at(0.01))
    world.look_up()
    assert page(tell(world), "known owed") == cleandoc("""
    The driver's own schedule is 22:00 to 28 Jun 06:00, set by the plug-in at 21:00. The household withdrew at 21:00: no
    pauses until it consents anew. The charger left; whether Axle still has something of it is being looked up.
    Owed to Axle since 21:00: offboarding the whole site; something else goes first.
    Owed to Axle since 21:00: a look-up of what this charger left behind; something else goes first.
    """)
    world.look_up(charger="c-2")
    assert tell(world).owed[1].endswith("a look-up of what this charger left behind; not before 21:01.")


def test_records_are_missing() -> None:
    """Each break of the chain is told, and an answer alone names what it answers, whatever the order they come in."""
    world = World().settled(GUIDE_PAUSE)
    for hours in (0.5, 1, 1.5):
        world.boost(at(hours), at(2))
        world.answer()
    records = [world.records[number] for number in (7, 3, 1, 4)]
    assert page(tell(world, records=records), "past") == cleandoc("""
    21:00 What came before this is not in the records any more.
    21:00 About the plug-in at 21:00: Axle answered with a pause 28 Jun 01:00-02:00.
    21:30 Records between 21:00 and 21:30 are missing here: not kept any more, or not read.
    21:30 About the action in the app at 21:30: Axle answered; no pause came of it.
    22:00 The driver wanted to charge at once; the wish is 22:00 to 28 Jun 06:00. What came of it is not here.
    22:30 Records between 22:00 and 22:30 are missing here: not kept any more, or not read.
    22:30 About the boost at 22:30: Axle answered; no pause came of it.
    """)


def test_the_newest_record_is_missing() -> None:
    """The state tells what is in force, and of the wish before it that its answer is not here."""
    world = evening(((at(1.5), at(1.75)),))
    assert page(tell(world, records=world.records[:1]), "now past") == cleandoc("""
    The car may charge until 22:30; then Axle pauses it until 22:45. This is told from the state: its newest record is
    not here.
    21:00 The driver plugged in; the wish is 20:00-23:00. What came of it is not here.
    """)
    world.now_ms = at(3)
    assert tell(world, records=[]).now.startswith("Nothing holds the car back: it is free to charge. This is told")


def test_no_state_was_found() -> None:
    """The records alone tell the rest."""
    world = evening()
    world.boost(at(2.5), at(3))
    assert page(explain(None, "c-1", world.records, at(2.6), RULES), "known past owed") == cleandoc("""
    No state was found; this is told from the records alone.
    21:00 The driver plugged in; the wish is 20:00-23:00. Axle answered; no pause came of it.
    23:30 The driver wanted to charge at once; the wish is 20:00-23:00 and 23:30 to 28 Jun 00:00. Axle is being asked.
    What is owed to Axle cannot be told without the state.
    """)


def test_nothing_is_known() -> None:
    """Neither an unknown charger nor a lack of everything is an error."""
    assert page(explain(None, "c-9", [], T0, RULES)) == cleandoc("""
    Nothing holds the car back: no schedule of this charger is known here.
    No state was found, and no records.
    What is owed to Axle cannot be told without the state.
    """)
    assert page(tell(evening(), "c-9"), "known owed") == cleandoc("""
    The household's consent of 20:00 stands. Site home-1 holds nothing of this charger; it knows c-1.
    Nothing is owed to Axle.
    """)
    assert tell(World(), "c-9").known[-1].endswith("it knows none.")
    full = evening(rules=Rules(chargers_max=1))
    full.plug_in(charger="c-2")
    assert tell(full, "c-2").known[-1].endswith("has as many chargers as are kept (1); this one is not among them.")
    halted = World()
    halted.unreadable()
    assert page(tell(halted), "known") == cleandoc("""
    The driver has set no schedule. What the driver did at 21:00 could not be understood: no pauses until the next
    action. No consent of the household is recorded. Axle does not manage this charger.
    """)


def test_a_household_is_forgotten_or_unenrolled() -> None:
    """While it leaves and afterwards: all that stays of the one is that it withdrew; the other one is unenrolled."""
    world = evening()
    world.erase(at(1))
    assert tell(world).known[-2].endswith("It is forgotten once Axle has nothing of it any more.")
    world.offboard()
    assert tell(world).known[0] == "The household was forgotten; all that is kept is that it withdrew at 22:00."
    world = evening(rules=Rules(onboarding_form=OnboardingForm.UPSERT, withdrawal_action=WithdrawalAction.UNENROL))
    world.withdraw(at(0.5))
    assert tell(world).owed == ("Owed to Axle since 21:30: unenrolling the whole site.",)


def test_a_question_that_waits_or_is_dropped() -> None:
    """It waits for the charger's budget, or for a look-up; one that the state does not hold any more was dropped."""
    world = evening(rules=Rules(questions_at_once_max=1, question_every_ms=10 * MINUTE_MS))
    world.boost(at(0.1), at(1))
    assert tell(world).owed[0].endswith("a question about its schedule, given up at 22:54; not before 21:10.")
    world.now_ms = at(0.2)
    world.refuse(Refusal.UNKNOWN_CHARGER)
    assert tell(world).owed[0].endswith("a look-up for the question about its schedule, given up at 22:54.")
    world.site = world.site.having(replace(world.charger, question=None))
    assert tell(world).now.endswith("Its question was dropped before Axle answered.")


def test_boosts_that_do_not_count() -> None:
    """One that ended, one of an earlier session and a cancelled one are told apart; so is a wish for nothing."""
    world = evening()
    world.boost(at(0.5), at(1))
    world.now_ms = at(1)
    assert tell(world).known[1] == "No boost is in force: the newest ended at 22:00."
    world.boost(at(1), at(2.5))
    world.plug_in(at(1.25), EVENING)
    assert tell(world).known[1] == "No boost is in force: the newest, at 22:00, belongs to an earlier session."
    world.boost(at(1.5), action=CANCEL)
    assert tell(world).known[1] == "No boost is in force: the driver cancelled at 22:30."
    world = World()
    world.boost(at(0.5), at(2))
    world.boost(at(1), action=CANCEL)
    assert "cancelled the boost; nothing is wished for. Nothing of the schedule lies ahead." in page(tell(world))


def test_a_charger_moves() -> None:
    """Records of two sites are one story; a state that is not the newest record's says so."""
    here, there = evening(), World(Site("home-2"), now_ms=at(1))
    there.plug_in(schedule=EVENING)
    moved = explain(here.site, "c-1", [*there.records, *here.records], at(1), RULES)
    assert moved.past[1].sentence == "From here on the charger is at site home-2."
    assert moved.known[-1] == "The newest record is of site home-2, not of this one (home-1)."
    anew = explain(here.site, "c-1", [*here.records, replace(there.last, site_id="home-1")], at(1), RULES)
    assert anew.past[1].sentence == "The charger was new to its site here: nothing was known of it any more."
    assert anew.known[-1] == "The state is older than the newest record."


@pytest.mark.parametrize("enrolled", [Enrolled.NOT_ELIGIBLE, Enrolled.CONFLICT, Enrolled.FORBIDDEN, Enrolled.REFUSED])
def test_every_denial_is_told(enrolled: Enrolled) -> None:
    """Whatever Axle said no for, a sentence says it."""
    site = Site("home-1", chargers=(Charger("c-1", enrolled=enrolled),))
    assert explain(site, "c-1", [], T0, RULES).known[-1].startswith("Axle ")


def test_times_are_told_as_the_reader_wants_them() -> None:
    """Any clock will do; the one of our own tells the day, and the year, where they are not today's."""
    world = evening(((at(1.5), at(1.75)),))
    story = explain(world.site, "c-1", world.records, at(1), RULES, lambda at_ms: f"+{(at_ms - T0) // MINUTE_MS}")
    assert story.now.startswith("The car may charge until +90; then Axle pauses it until +105.")
    told = [utc_clock(T0)(at_ms) for at_ms in (T0, T0 + 4 * HOUR_MS, -1, 10**18)]
    assert told == ["21:00", "28 Jun 01:00", "1 Jan 1970 00:00", "31 Dec 9999 23:59"]


def test_a_story_is_json_as_it_is() -> None:
    """It names event and revision for whoever looks further, and lists no more blocks than can be read."""
    world = World()
    world.plug_in(schedule=tuple((at(hours), at(hours + 0.5)) for hours in range(8)), event_id="plug-in")
    told = decode(encode(tell(world)), type=Story).past[0]
    assert (told.event_id, told.revision, told.at_ms, told.at) == ("plug-in", world.last.revision, T0, "21:00")
    assert "21:00-21:30, 22:00-22:30, 23:00-23:30, 28 Jun 00:00-00:30 and 4 more" in told.sentence


MINUTES = st.sampled_from([0, 1, 10, 45, 120])
CHARGERS = st.sampled_from(["c-1", "c-2"])
HAPPENINGS: dict[str, Callable[[World, str, Schedule], object]] = {
    "plug in": lambda world, charger, night: world.plug_in(None, night, None, charger),
    "consent": lambda world, charger, night: world.plug_in(None, night, consented(world.now_ms), charger),
    "boost": lambda world, charger, night: world.boost(world.now_ms - MINUTE_MS, night[0][1], charger=charger),
    "cancel": lambda world, charger, _: world.boost(action=CANCEL, charger=charger),
    "change": lambda world, charger, night: world.boost(action=CHANGE, schedule=night, charger=charger),
    "withdraw": lambda world, *_: world.withdraw(),
    "leave": lambda world, charger, _: world.withdraw(charger=charger),
    "unclear": lambda world, charger, _: world.unreadable(charger=charger),
}
DUSK = [("consent", "c-1", 0, "kind"), ("axle", "c-1", 0, "kind"), ("axle", "c-1", 0, "half an hour")]
WHAT = st.sampled_from(["axle", "axle", *HAPPENINGS])
NIGHTS = st.lists(st.tuples(WHAT, CHARGERS, MINUTES, st.sampled_from(MOODS)), max_size=25)


def check_pauses(world: World, charger: str) -> None:
    """Now and at each edge of a pause to come: it is told when there is one, and only then."""
    pauses = next((record.pauses for record in reversed(world.records) if record.charger_id == charger), ())
    for now_ms in (world.now_ms, *(edge for pause in pauses for edge in pause if edge > world.now_ms)):
        story = explain(world.site, charger, world.records, now_ms, RULES)
        ends = [utc_clock(now_ms)(end) for start, end in pauses if start <= now_ms < end]
        assert story.now.startswith("Axle pauses the car") is bool(ends)
        assert story.now.startswith(f"Axle pauses the car until {ends[0]}; then " if ends else "")
        assert MPAN not in repr(story)
        assert all(said.endswith(".") for said in (story.now, *story.known, *story.owed))
        assert all(told.sentence.endswith(".") for told in story.past)


@settings(max_examples=50, deadline=None)
@given(NIGHTS, st.data())
def test_no_story_fails_and_pauses_are_told(night: list[tuple[str, str, int, str]], data: st.DataObject) -> None:
    """Whatever happened, and whichever records are there in whatever order: it is told."""
    world, axle = World(), Axle()
    for what, charger, minutes, mood in [*DUSK, *night]:
        world.now_ms += minutes * MINUTE_MS
        if what in HAPPENINGS:
            HAPPENINGS[what](world, charger, ((world.now_ms + HOUR_MS, world.now_ms + 7 * HOUR_MS),))
        for call in world.owed if what == "axle" else ():
            world.tell(axle.perform(call, mood))
        world.wake(world.now_ms)
        check_pauses(world, charger)
    mixed = data.draw(st.permutations(world.records))
    for charger in ("c-1", "c-2", "c-3"):
        assert tell(world, charger, [*mixed, *mixed]) == tell(world, charger)
        assert page(tell(world, charger, mixed[::2]))
        assert page(explain(None, charger, mixed[::2], world.now_ms, RULES))

"""Twelve evenings at a charger, each told by a function that says what happens, and when.

Here live the stories and the words around them, nothing else: `telling.py` writes down what follows, `draw.py` draws
it, and `tests/core/test_stories_told.py` says by hand what has to follow. Read one beside its picture.
"""

from collections.abc import Callable
from dataclasses import dataclass

from msgspec.structs import replace

from docs.stories.telling import Telling, clock, span
from processor.core.events import BoostAction, Enrolment, Refusal
from tests.core.world import ENROLMENT, consented

NIGHT = span("22:00-06:00")
NEW_METER = "2000000000042"
"""The meter of the home that a charger moves to."""


@dataclass(frozen=True)
class Story:
    """A story: its file name, what happens, what it proves, the words beside its picture, and how it goes."""

    name: str
    title: str
    proves: str
    words: str
    play: Callable[[Telling], None]

    def told(self) -> Telling:
        """The story from its beginning to its end."""
        telling = Telling()
        self.play(telling)
        return telling


def boost_during_a_call(w: Telling) -> None:
    """Axle's answer to the plug-in is under way when the driver boosts."""
    w.regular("c-1")
    w.at("21:00").plug_in(schedule=NIGHT, event_id="plug-in")
    call = w.question()
    w.at("21:00:04").boost(until_ms=clock("23:00"), event_id="boost")
    w.at("21:00:06").answer_late(call, span("22:00-22:30"))
    w.at("21:00:08").answer(span("22:30-23:30"))


def two_boosts(w: Telling) -> None:
    """The driver thinks again while Axle is down."""
    w.regular("c-1")
    w.at("20:00").plug_in(schedule=span("00:00-06:00"), event_id="plug-in")
    w.at("20:00:02").answer(span("02:00-02:30"))
    w.at("20:30").boost(until_ms=clock("23:00"), event_id="boost-1")
    w.at("20:30:10").note("Axle is down", "no answer; the call is made again and again")
    w.at("20:40").boost(until_ms=clock("22:00"), event_id="boost-2")
    w.at("20:45").answer(span("21:30-22:00 03:00-03:30"))


def cancel_before_its_boost(w: Telling) -> None:
    """Kafka hands over the cancel first."""
    w.regular("c-1")
    w.at("21:00").plug_in(schedule=NIGHT, event_id="plug-in")
    w.at("21:00:02").answer(span("01:00-01:30"))
    w.at("21:40").boost(clock("21:35"), action=BoostAction.BOOST_CANCELLED, event_id="cancel")
    w.at("21:40:01").boost(clock("21:30"), clock("23:30"), event_id="boost")


def change_during_a_running_pause(w: Telling) -> None:
    """The driver moves the schedule while Axle holds the charging."""
    w.regular("c-1")
    w.at("21:00").plug_in(schedule=NIGHT, event_id="plug-in")
    w.at("21:00:02").answer(span("01:00-02:00"))
    w.at("01:20").boost(action=BoostAction.SCHEDULE_CHANGED, schedule=span("22:00-08:00"), event_id="change-1")
    w.at("01:20:03").answer(span("03:00-04:00 05:00-05:45"))
    w.at("01:50").boost(action=BoostAction.SCHEDULE_CHANGED, schedule=span("22:00-07:00"), event_id="change-2")
    w.at("01:50:02").answer(span("03:00-04:00"))


def withdrawal_while_an_answer_is_lost(w: Telling) -> None:
    """The household withdraws before we know whether Axle has it."""
    w.at("21:00").plug_in(schedule=NIGHT, enrolment=consented(clock("20:55")), event_id="plug-in")
    w.at("21:00:02").note("answer lost", "Axle takes c-1, its answer never arrives")
    w.at("21:00:05").withdraw(event_id="withdrawal")
    w.at("21:00:06").look_up()
    w.at("21:01:05").look_up(ENROLMENT.mpan)
    w.at("21:01:06").offboard()


def late_withdrawal(w: Telling) -> None:
    """The withdrawal was stuck somewhere and is read after a newer plug-in."""
    w.regular("c-1")
    w.at("21:00").plug_in(schedule=NIGHT, event_id="plug-in-1")
    w.at("21:00:02").answer(span("01:00-01:30"))
    w.at("21:10").withdraw(clock("20:30"), event_id="withdrawal")
    w.at("21:10:02").offboard()
    old_consent = consented(clock("20:00", day=-1))
    w.at("23:00").plug_in(schedule=span("23:00-06:00"), enrolment=old_consent, event_id="plug-in-2")


def consent_during_an_offboarding(w: Telling) -> None:
    """The household changes its mind while Axle is down."""
    w.regular("c-1")
    w.at("20:00").plug_in(schedule=NIGHT, event_id="plug-in-1")
    w.at("20:00:02").answer(span("01:00-01:30"))
    w.at("21:00").withdraw(event_id="withdrawal")
    w.at("21:00:10").note("Axle is down", "no answer; the call is made again and again")
    w.at("21:20").plug_in(schedule=NIGHT, enrolment=consented(clock("21:15")), event_id="plug-in-2")
    w.at("21:30").offboard()
    w.at("21:30:02").onboard(axle_site="new-site")
    w.at("21:30:04").answer(span("02:00-02:30"))


def two_chargers_at_once(w: Telling) -> None:
    """A new home plugs in two cars within a second."""
    consent = consented(clock("20:55"))
    w.at("21:00").plug_in(schedule=NIGHT, enrolment=consent, charger="c-1", event_id="plug-in-1")
    w.at("21:00:01").plug_in(schedule=span("23:00-05:00"), enrolment=consent, charger="c-2", event_id="plug-in-2")
    w.at("21:00:03").onboard("c-1")
    w.at("21:00:04").answer(span("01:00-01:30"), "c-1")
    w.at("21:00:05").onboard("c-2")
    w.at("21:00:07").answer((), "c-2")


def one_of_two_removed_twice(w: Telling) -> None:
    """One of two chargers is disconnected, and the platform says so three times."""
    w.regular("c-1", "c-2")
    w.at("21:00").plug_in(schedule=NIGHT, charger="c-1", event_id="plug-in-1")
    w.at("21:00:02").answer(span("01:00-01:30"), "c-1")
    w.at("21:10").plug_in(schedule=span("23:00-05:00"), charger="c-2", event_id="plug-in-2")
    w.at("21:10:02").answer(span("02:00-02:30"), "c-2")
    w.at("21:30").withdraw(charger="c-1", event_id="removal-1")
    w.at("21:30:02").withdraw(charger="c-1", event_id="removal-2")
    w.at("21:30:05").remove("c-1")
    w.at("21:45").withdraw(clock("21:30:02"), charger="c-1", event_id="removal-2")


def late_answer(w: Telling) -> None:
    """Axle is down all night and answers when nothing can be paused any more."""
    w.regular("c-1")
    w.at("21:00").plug_in(schedule=NIGHT, event_id="plug-in")
    w.at("21:00:10").note("Axle is down", "no answer; the call is made again and again")
    call = w.at("05:53:58").question()
    w.wake(w.due_ms or 0)
    w.at("05:54:03").answer_late(call, span("05:55-06:00"))


def replay_after_ten_days(w: Telling) -> None:
    """Somebody sets the platform's topics back by ten days."""
    consent = consented(clock("20:55"))
    w.at("21:00").plug_in(schedule=NIGHT, enrolment=consent, event_id="plug-in")
    w.at("21:00:02").onboard()
    w.at("21:00:04").answer(span("01:00-01:30"))
    w.at("21:30").boost(until_ms=clock("23:00"), event_id="boost")
    w.at("21:30:02").answer(span("02:00-02:30"))
    w.at("02:10").withdraw(event_id="withdrawal")
    w.at("02:10:02").offboard()
    w.at("09:00", day=9).plug_in(clock("21:00"), schedule=NIGHT, enrolment=consent, event_id="plug-in")
    w.at("09:00:01", day=9).boost(clock("21:30"), until_ms=clock("23:00"), event_id="boost")
    w.at("09:00:02", day=9).withdraw(clock("02:10"), event_id="withdrawal")


def charger_moves(w: Telling) -> None:
    """A charger is sold to another household while Axle still has it at the old one."""
    w.regular("c-1")
    w.at("20:00").withdraw(charger="c-1", event_id="removal")
    w.at("20:00:10").note("Axle is down", "no answer; the call is made again and again")
    w.home("home-2").at("20:30").plug_in(schedule=NIGHT, enrolment=_new_home("20:25"), event_id="plug-in-1")
    w.at("20:30:02").refuse_onboarding(Refusal.EXISTS)
    w.at("20:30:03").look_up(ENROLMENT.mpan)
    w.home("home-1").at("20:50").offboard()
    w.home("home-2").at("21:20").plug_in(schedule=NIGHT, enrolment=_new_home("21:15"), event_id="plug-in-2")
    w.at("21:20:02").onboard(axle_site="new-site")
    w.at("21:20:04").answer(span("01:00-01:30"))


def _new_home(consented_at: str) -> Enrolment:
    return replace(consented(clock(consented_at)), mpan=NEW_METER)


STORIES = (
    Story(
        "boost-during-a-call",
        "The driver boosts while Axle is being asked about the plug-in",
        "The driver wins: the boost is in force before Axle hears of it, and no pause falls into it.",
        "Four seconds after the plug-in the driver boosts, while the question about the plug-in is with Axle. "
        "That question is closed at once, and its answer, two seconds later, changes nothing. The answer to the "
        "boost wants a pause from 22:30 to 23:30: the half hour inside the boost is cut off, the half hour after "
        "it is kept.",
        boost_during_a_call,
    ),
    Story(
        "two-boosts",
        "Two boosts in a row while Axle is down",
        "The newest wish counts alone. Both boosts are in force at once, though Axle says nothing.",
        "The driver boosts until 23:00, which lifts the pause that was agreed before, and ten minutes later "
        "thinks better of it: until 22:00. Axle is down all the while, and nobody waits for it. When it is back "
        "it is asked about the newest wish only; of its two pauses the one inside the boost is dropped.",
        two_boosts,
    ),
    Story(
        "cancel-before-its-boost",
        "A boost is cancelled, and the cancel is read first",
        "Order comes from when a driver acted, not from when it was read: the boost stays cancelled.",
        "The driver boosts at 21:30 and cancels at 21:35, but the two events are read the other way round. The "
        "cancel finds nothing to cancel; the boost, read after it, is the older word of the two. Both are stale, "
        "and the schedule with its agreed pause stays as it is.",
        cancel_before_its_boost,
    ),
    Story(
        "change-during-a-running-pause",
        "The driver changes the schedule in the middle of a pause",
        "The driver wins: charging resumes at once. Pauses of a session never exceed two hours in all.",
        "At 01:20 a pause is running when the driver asks for two hours more: it ends there and then. Twenty "
        "minutes of it were served, so Axle's next answer would make 125 minutes of pauses since the plug-in. "
        "More than 120 are never taken: the answer is rejected whole, and a person is told. The answer to the "
        "next change fits.",
        change_during_a_running_pause,
    ),
    Story(
        "withdrawal-while-an-answer-is-lost",
        "A household withdraws while Axle's answer to its onboarding is lost",
        "Withdrawn is withdrawn: what Axle may have is looked for until it is found, and is gone.",
        "Five seconds after its first plug-in the household withdraws. Nobody knows whether Axle has it by then, "
        "because the answer never came. So the charger is looked up by the platform's own id, at once and again "
        "later, and is offboarded when it turns up at the household's own meter. Its personal data went with the "
        "withdrawal; the meter is recognised by a keyed hash.",
        withdrawal_while_an_answer_is_lost,
    ),
    Story(
        "late-withdrawal",
        "A withdrawal is read after a newer plug-in",
        "Withdrawn is withdrawn: a plug-in is no consent, so it does not matter which came first.",
        "The household withdrew at 20:30, but the event is read at 21:10, after a plug-in of 21:00. The pause is "
        "lifted at once, and Axle is told until it confirms. A later plug-in brings the consent of the day before "
        "and changes nothing: only a consent that is newer than the withdrawal would.",
        late_withdrawal,
    ),
    Story(
        "consent-during-an-offboarding",
        "A household consents anew while its offboarding is still owed",
        "Leaving goes before joining: Axle confirms the withdrawal first, then the home joins anew.",
        "The household withdraws while Axle is down, and changes its mind twenty minutes later. The new consent "
        "waits until Axle has confirmed the offboarding; only then is the home onboarded again, as a new site. "
        "Its driver charges as asked all the while.",
        consent_during_an_offboarding,
    ),
    Story(
        "two-chargers-at-once",
        "Two chargers of a new home are plugged in within a second",
        "One onboarding after the other, one site at Axle; neither driver waits for it.",
        "Both schedules are in force before Axle is called. The second charger is onboarded only when the first "
        "is, because it joins the site that Axle made for the first. Each charger has questions and pauses of its "
        "own.",
        two_chargers_at_once,
    ),
    Story(
        "one-of-two-removed-twice",
        "One of two chargers is disconnected, and the platform says so three times",
        "Every event gets one outcome, Axle is told once, and the other charger notices nothing.",
        "The second removal is another event about the same charger: it takes over the call that is owed for the "
        "first, whose outcome is `COALESCED`. The third is the second one, delivered again: a `DUPLICATE`. The "
        "pause of the other charger stays as agreed.",
        one_of_two_removed_twice,
    ),
    Story(
        "late-answer",
        "Axle is down all night and answers in the morning",
        "Silence means charge: the driver's schedule was in force all along.",
        "The schedule is published before Axle is asked, so nothing has to be done when Axle stays silent. It is "
        "asked until what is left of the session is too short for a pause and a minute before it. Then the record "
        "becomes final, and an answer after that changes nothing.",
        late_answer,
    ),
    Story(
        "replay-after-ten-days",
        "All events are replayed ten days later",
        "Nothing is applied twice, and no replay brings a withdrawn home back.",
        "Somebody sets the platform's topics back. Each event gets an outcome again, because each is read as a "
        "record of its own, but all of them are known: nothing is published, and Axle is not called. The plug-in "
        "still carries its consent, which is older than the withdrawal and stays so.",
        replay_after_ten_days,
    ),
    Story(
        "charger-moves",
        "A charger moves to another home before Axle has let go of it",
        "Nothing is taken over: the meter tells whose a charger is, and its driver charges meanwhile.",
        "The old home's offboarding is still owed when the new home plugs in. Axle refuses the charger, because "
        "it has it; the look-up shows the old home's meter, so it is not adopted, and a person is told. Each "
        "consent is used for one conclusive onboarding only: the next one comes with a newer consent, after Axle "
        "has let go.",
        charger_moves,
    ),
)

"""The twelve stories of `docs/stories`, walked by hand: all that is published and owed after each step.

A step is its time, who did what, and below it what is said, which events get their outcome, and what is owed then. A
line that is missing is nothing.
"""

from inspect import cleandoc

import pytest

from docs.stories.stories import STORIES, Story
from processor.core.events import InputEvent
from processor.core.outputs import ModifiedSchedule, Status
from processor.core.schedule import intersect, subtract

BY_NAME = {story.name: story for story in STORIES}


def assert_told(name: str, steps: str) -> None:
    """The story goes exactly like that."""
    assert str(BY_NAME[name].told()) == cleandoc(steps)


def test_boost_during_a_call() -> None:
    """The boost is published at once, the answer to the plug-in is ignored, no pause falls into the boost."""
    assert_told(
        "boost-during-a-call",
        """
        21:00 plug-in | c-1: 22:00-06:00
            says c-1 REQUESTED 22:00-06:00
            owes schedule c-1 22:00-06:00
        21:00:04 boost | charge now, until 23:00
            says c-1 REQUESTED 21:00:04-06:00
            settles plug-in as COALESCED
            owes schedule c-1 21:01-06:00
        21:00:06 Axle answers late | pause 22:00-22:30, to a question that is closed
            owes schedule c-1 21:01-06:00
        21:00:08 Axle answers | pause 22:30-23:30
            says c-1 MODIFIED 21:00:04-06:00 less 23:00-23:30
            settles boost as MODIFIED
        """,
    )


def test_two_boosts() -> None:
    """The first boost lifts the agreed pause, the second replaces it, and only the second is answered."""
    assert_told(
        "two-boosts",
        """
        20:00 plug-in | c-1: 00:00-06:00
            says c-1 REQUESTED 00:00-06:00
            owes schedule c-1 00:00-06:00
        20:00:02 Axle answers | pause 02:00-02:30
            says c-1 MODIFIED 00:00-06:00 less 02:00-02:30
            settles plug-in as MODIFIED
        20:30 boost-1 | charge now, until 23:00
            says c-1 REQUESTED 20:30-23:00 00:00-06:00
            owes schedule c-1 20:30-23:00 00:00-06:00
        20:30:10 Axle is down | no answer; the call is made again and again
            owes schedule c-1 20:31-23:00 00:00-06:00
        20:40 boost-2 | charge now, until 22:00
            says c-1 REQUESTED 20:40-22:00 00:00-06:00
            settles boost-1 as COALESCED
            owes schedule c-1 20:40-22:00 00:00-06:00
        20:45 Axle answers | pause 21:30-22:00, 03:00-03:30
            says c-1 MODIFIED 20:40-22:00 00:00-06:00 less 03:00-03:30
            settles boost-2 as MODIFIED
        """,
    )


def test_cancel_before_its_boost() -> None:
    """A cancel without a boost is stale, and so is a boost that is older than it; nothing is asked."""
    assert_told(
        "cancel-before-its-boost",
        """
        21:00 plug-in | c-1: 22:00-06:00
            says c-1 REQUESTED 22:00-06:00
            owes schedule c-1 22:00-06:00
        21:00:02 Axle answers | pause 01:00-01:30
            says c-1 MODIFIED 22:00-06:00 less 01:00-01:30
            settles plug-in as MODIFIED
        21:40 cancel | no boost any more (happened at 21:35)
            settles cancel as STALE
        21:40:01 boost | charge now, until 23:30 (happened at 21:30)
            settles boost as STALE
        """,
    )


def test_change_during_a_running_pause() -> None:
    """The pause ends at once, and its 20 minutes count when 105 more are answered: rejected."""
    assert_told(
        "change-during-a-running-pause",
        """
        21:00 plug-in | c-1: 22:00-06:00
            says c-1 REQUESTED 22:00-06:00
            owes schedule c-1 22:00-06:00
        21:00:02 Axle answers | pause 01:00-02:00
            says c-1 MODIFIED 22:00-06:00 less 01:00-02:00
            settles plug-in as MODIFIED
        01:20 change-1 | charge 22:00-08:00
            says c-1 REQUESTED 22:00-08:00
            owes schedule c-1 01:20-08:00
        01:20:03 Axle answers | pause 03:00-04:00, 05:00-05:45
            says alarm answer_rejected, c-1 REJECTED 22:00-08:00
            settles change-1 as REJECTED
        01:50 change-2 | charge 22:00-07:00
            says c-1 REQUESTED 22:00-07:00
            owes schedule c-1 01:50-07:00
        01:50:02 Axle answers | pause 03:00-04:00
            says c-1 MODIFIED 22:00-07:00 less 03:00-04:00
            settles change-2 as MODIFIED
        """,
    )


def test_withdrawal_while_an_answer_is_lost() -> None:
    """The charger is looked up until it is found at its own meter, and then its site is offboarded."""
    assert_told(
        "withdrawal-while-an-answer-is-lost",
        """
        21:00 plug-in | c-1: 22:00-06:00, with a consent of 20:55
            says c-1 REQUESTED 22:00-06:00
            owes onboard c-1
        21:00:02 answer lost | Axle takes c-1, its answer never arrives
            owes onboard c-1
        21:00:05 withdrawal | of the whole home
            says c-1 WITHDRAWN 22:00-06:00, home-1 WITHDRAWN (c-1 LEAVING)
            settles plug-in as WITHDRAWN
            owes look up c-1 at 21:00:05
        21:00:06 Axle finds nothing | no c-1 is there
            owes look up c-1 at 21:01:05
        21:01:05 Axle finds it | c-1, at meter ...0123
            says home-1 WITHDRAWN (c-1 LEAVING)
            owes offboard home-1
        21:01:06 Axle offboards | home-1 is gone
            says home-1 WITHDRAWN (c-1 REMOVED)
            settles withdrawal as OFFBOARDED
        """,
    )


def test_late_withdrawal() -> None:
    """A withdrawal counts although a plug-in is newer, and a plug-in with an old consent changes nothing."""
    assert_told(
        "late-withdrawal",
        """
        21:00 plug-in-1 | c-1: 22:00-06:00
            says c-1 REQUESTED 22:00-06:00
            owes schedule c-1 22:00-06:00
        21:00:02 Axle answers | pause 01:00-01:30
            says c-1 MODIFIED 22:00-06:00 less 01:00-01:30
            settles plug-in-1 as MODIFIED
        21:10 withdrawal | of the whole home (happened at 20:30)
            says c-1 WITHDRAWN 22:00-06:00, home-1 WITHDRAWN (c-1 LEAVING)
            owes offboard home-1
        21:10:02 Axle offboards | home-1 is gone
            says home-1 WITHDRAWN (c-1 REMOVED)
            settles withdrawal as OFFBOARDED
        23:00 plug-in-2 | c-1: 23:00-06:00, with an old consent of 20:00
            says c-1 WITHDRAWN 23:00-06:00
            settles plug-in-2 as WITHDRAWN
        """,
    )


def test_consent_during_an_offboarding() -> None:
    """The new consent waits for the offboarding, and is then onboarded as a new site."""
    assert_told(
        "consent-during-an-offboarding",
        """
        20:00 plug-in-1 | c-1: 22:00-06:00
            says c-1 REQUESTED 22:00-06:00
            owes schedule c-1 22:00-06:00
        20:00:02 Axle answers | pause 01:00-01:30
            says c-1 MODIFIED 22:00-06:00 less 01:00-01:30
            settles plug-in-1 as MODIFIED
        21:00 withdrawal | of the whole home
            says c-1 WITHDRAWN 22:00-06:00, home-1 WITHDRAWN (c-1 LEAVING)
            owes offboard home-1
        21:00:10 Axle is down | no answer; the call is made again and again
            owes offboard home-1
        21:20 plug-in-2 | c-1: 22:00-06:00, with a consent of 21:15
            says c-1 REQUESTED 22:00-06:00
            owes offboard home-1
        21:30 Axle offboards | home-1 is gone
            says home-1 GIVEN (c-1 REMOVED)
            settles withdrawal as OFFBOARDED
            owes onboard c-1
        21:30:02 Axle onboards | c-1 is taken
            says home-1 GIVEN (c-1 ENROLLED)
            owes schedule c-1 22:00-06:00
        21:30:04 Axle answers | pause 02:00-02:30
            says c-1 MODIFIED 22:00-06:00 less 02:00-02:30
            settles plug-in-2 as MODIFIED
        """,
    )


def test_two_chargers_at_once() -> None:
    """Onboardings go one by one, the second joins the first one's site, questions go side by side."""
    assert_told(
        "two-chargers-at-once",
        """
        21:00 plug-in-1 | c-1: 22:00-06:00, with a consent of 20:55
            says c-1 REQUESTED 22:00-06:00
            owes onboard c-1
        21:00:01 plug-in-2 | c-2: 23:00-05:00, with a consent of 20:55
            says c-2 REQUESTED 23:00-05:00
            owes onboard c-1
        21:00:03 Axle onboards | c-1 is taken
            says home-1 GIVEN (c-1 ENROLLED c-2 UNKNOWN)
            owes onboard c-2 at its site, schedule c-1 22:00-06:00
        21:00:04 Axle answers | pause 01:00-01:30
            says c-1 MODIFIED 22:00-06:00 less 01:00-01:30
            settles plug-in-1 as MODIFIED
            owes onboard c-2 at its site
        21:00:05 Axle onboards | c-2 is taken
            says home-1 GIVEN (c-1 ENROLLED c-2 ENROLLED)
            owes schedule c-2 23:00-05:00
        21:00:07 Axle answers | no pause
            says c-2 UNCHANGED 23:00-05:00
            settles plug-in-2 as UNCHANGED
        """,
    )


def test_one_of_two_removed_twice() -> None:
    """The newer removal takes over the call, the repeated one is a duplicate, the other charger stays."""
    assert_told(
        "one-of-two-removed-twice",
        """
        21:00 plug-in-1 | c-1: 22:00-06:00
            says c-1 REQUESTED 22:00-06:00
            owes schedule c-1 22:00-06:00
        21:00:02 Axle answers | pause 01:00-01:30
            says c-1 MODIFIED 22:00-06:00 less 01:00-01:30
            settles plug-in-1 as MODIFIED
        21:10 plug-in-2 | c-2: 23:00-05:00
            says c-2 REQUESTED 23:00-05:00
            owes schedule c-2 23:00-05:00
        21:10:02 Axle answers | pause 02:00-02:30
            says c-2 MODIFIED 23:00-05:00 less 02:00-02:30
            settles plug-in-2 as MODIFIED
        21:30 removal-1 | c-1 is disconnected
            says c-1 WITHDRAWN 22:00-06:00, home-1 GIVEN (c-1 LEAVING c-2 ENROLLED)
            owes remove c-1
        21:30:02 removal-2 | c-1 is disconnected
            says c-1 WITHDRAWN 22:00-06:00, home-1 GIVEN (c-1 LEAVING c-2 ENROLLED)
            settles removal-1 as COALESCED
            owes remove c-1
        21:30:05 Axle removes | c-1 is gone
            says home-1 GIVEN (c-1 REMOVED c-2 ENROLLED)
            settles removal-2 as OFFBOARDED
        21:45 removal-2 | the same event again
            settles removal-2 as DUPLICATE
        """,
    )


def test_late_answer() -> None:
    """What was requested at first is final when no pause fits in any more; the answer after that is ignored."""
    assert_told(
        "late-answer",
        """
        21:00 plug-in | c-1: 22:00-06:00
            says c-1 REQUESTED 22:00-06:00
            owes schedule c-1 22:00-06:00
        21:00:10 Axle is down | no answer; the call is made again and again
            owes schedule c-1 22:00-06:00
        05:54 the clock | no pause fits in any more
            says c-1 FALLBACK 22:00-06:00
            settles plug-in as FALLBACK
        05:54:03 Axle answers late | pause 05:55-06:00, to a question that is closed
        """,
    )


def test_replay_after_ten_days() -> None:
    """Each event gets an outcome again, and nothing else follows."""
    assert_told(
        "replay-after-ten-days",
        """
        21:00 plug-in | c-1: 22:00-06:00, with a consent of 20:55
            says c-1 REQUESTED 22:00-06:00
            owes onboard c-1
        21:00:02 Axle onboards | c-1 is taken
            says home-1 GIVEN (c-1 ENROLLED)
            owes schedule c-1 22:00-06:00
        21:00:04 Axle answers | pause 01:00-01:30
            says c-1 MODIFIED 22:00-06:00 less 01:00-01:30
            settles plug-in as MODIFIED
        21:30 boost | charge now, until 23:00
            says c-1 REQUESTED 21:30-06:00
            owes schedule c-1 21:30-06:00
        21:30:02 Axle answers | pause 02:00-02:30
            says c-1 MODIFIED 21:30-06:00 less 02:00-02:30
            settles boost as MODIFIED
        02:10 withdrawal | of the whole home
            says c-1 WITHDRAWN 22:00-06:00, home-1 WITHDRAWN (c-1 LEAVING)
            owes offboard home-1
        02:10:02 Axle offboards | home-1 is gone
            says home-1 WITHDRAWN (c-1 REMOVED)
            settles withdrawal as OFFBOARDED
        09:00 plug-in | the same event again
            settles plug-in as DUPLICATE
        09:00:01 boost | the same event again
            settles boost as DUPLICATE
        09:00:02 withdrawal | the same event again
            settles withdrawal as DUPLICATE
        """,
    )


def test_charger_moves() -> None:
    """A charger that Axle has at another home's meter is not adopted; the next consent onboards it."""
    assert_told(
        "charger-moves",
        """
        20:00 removal | c-1 is disconnected
            says home-1 GIVEN (c-1 LEAVING)
            owes offboard home-1
        20:00:10 Axle is down | no answer; the call is made again and again
            owes offboard home-1
        20:30 plug-in-1 | c-1: 22:00-06:00, with a consent of 20:25
            says c-1 REQUESTED 22:00-06:00
            owes offboard home-1, onboard c-1
        20:30:02 Axle refuses | 409: it has c-1 already
            owes offboard home-1, look up c-1
        20:30:03 Axle finds it | c-1, at meter ...0123
            says alarm charger_conflict, home-2 GIVEN (c-1 CONFLICT), c-1 NOT_ENROLLED 22:00-06:00
            settles plug-in-1 as NOT_ENROLLED
            owes offboard home-1
        20:50 Axle offboards | home-1 is gone
            says home-1 GIVEN (c-1 REMOVED)
            settles removal as OFFBOARDED
        21:20 plug-in-2 | c-1: 22:00-06:00, with a consent of 21:15
            says c-1 REQUESTED 22:00-06:00
            owes onboard c-1
        21:20:02 Axle onboards | c-1 is taken
            says home-2 GIVEN (c-1 ENROLLED)
            owes schedule c-1 22:00-06:00
        21:20:04 Axle answers | pause 01:00-01:30
            says c-1 MODIFIED 22:00-06:00 less 01:00-01:30
            settles plug-in-2 as MODIFIED
        """,
    )


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)
def test_every_story_comes_to_its_end(story: Story) -> None:
    """Each event of the platform has one outcome by then, and nothing is owed to Axle."""
    telling = story.told()
    read = [step.event.source for step in telling.steps if isinstance(step.event, InputEvent)]
    settled = [outcome.source for outcome in telling.outcomes]

    assert sorted(settled, key=lambda source: source.offset) == read
    assert telling.steps[-1].owed == ()


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)
def test_every_story_keeps_the_promises(story: Story) -> None:
    """Only an answer pauses, never a boost; all else is as requested, and revisions rise from home to home."""
    told: dict[str, ModifiedSchedule] = {}
    for step in story.told().steps:
        for record, boost in zip(step.records, step.boosts, strict=True):
            last = told.get(record.charger_id)
            told[record.charger_id] = record

            assert record.effective == subtract(record.requested, record.pauses)
            assert not record.pauses or record.status is Status.MODIFIED
            assert not intersect(record.pauses, boost)
            assert last is None or record.revision > last.revision

"""The verifier: a right run passes, and each kind of wrong one is found and named."""

import json
from collections.abc import Callable
from dataclasses import replace

import pytest
from msgspec.structs import replace as replaced

from processor.core.events import BoostAction, Source
from processor.core.outputs import Result, Status
from processor.core.schedule import HOUR_MS, MINUTE_MS
from processor.demo.history import History
from processor.demo.promises import PATIENCE_MS, Promise
from processor.demo.rehearsal import Rehearsal
from processor.demo.traffic import Twist
from processor.demo.verifier import READING_MS, open_inputs, report, verify, verify_so_far
from tests.demo.tale import AXLE_SITE, BOOST_UNTIL, CHARGER, MPAN, NIGHT, PAUSE, T0, Tale, right_tale

EARLY = ((T0 + HOUR_MS, T0 + HOUR_MS + 30 * MINUTE_MS),)


def test_a_right_run_is_found_right() -> None:
    """The tale that the others are made from breaks no promise."""
    verdict = verify(right_tale().history)
    assert verdict.findings == ()
    assert (verdict.lost, verdict.duplicates, verdict.unsettled) == (0, 0, 0)
    assert verdict.is_kept


@pytest.mark.parametrize("seed", range(1, 7))
def test_whatever_the_core_does_is_found_right(seed: int) -> None:
    """A seeded story of 400 events through the real core breaks no promise, at its end and on its way."""
    rehearsal = Rehearsal(25, T0, seed)
    for _ in range(4):
        rehearsal.play(100, every_ms=250)
        assert verify_so_far(rehearsal.history, rehearsal.now_ms).findings == ()
    verdict = verify(rehearsal.history)
    assert verdict.findings == ()
    assert (verdict.lost, verdict.duplicates) == (0, 0)
    assert open_inputs(rehearsal.history) == 0


def first_record_pauses(tale: Tale) -> None:
    tale.change(0, status=Status.MODIFIED, pauses=PAUSE, effective=((T0, PAUSE[0][0]), (PAUSE[0][1], NIGHT[0][1])))


def older_action_pauses(tale: Tale) -> None:
    tale.history.published[3:] = []
    tale.publish("plug", Status.MODIFIED, 1030, PAUSE)


def wish_is_cut(tale: Tale) -> None:
    short = ((T0, T0 + HOUR_MS),)
    tale.change(2, requested=short, effective=short)


def cancelled_boost_goes_on(tale: Tale) -> None:
    evening = ((T0 + 4 * HOUR_MS, T0 + 8 * HOUR_MS),)
    tale.history.published.clear()
    tale.boost("change", 1500, BoostAction.SCHEDULE_CHANGED, None, evening)
    tale.boost("cancel", 1600, BoostAction.BOOST_CANCELLED, None)
    tale.publish("plug", Status.REQUESTED, 10)
    tale.publish("boost", Status.REQUESTED, 1010)
    tale.publish("change", Status.REQUESTED, 1510, requested=((T0 + 1000, BOOST_UNTIL), *evening))
    tale.publish("cancel", Status.REQUESTED, 1610, requested=((T0 + 1000, BOOST_UNTIL), *evening))


def effective_hides_a_pause(tale: Tale) -> None:
    tale.change(2, effective=((T0, T0 + HOUR_MS),))


def boost_is_paused(tale: Tale) -> None:
    tale.ask(1025, EARLY)
    tale.change(3, status=Status.MODIFIED, pauses=EARLY, effective=((T0, EARLY[0][0]), (EARLY[0][1], NIGHT[0][1])))


def axle_never_answered(tale: Tale) -> None:
    for call in tale.history.calls:
        call["answer"] = None


def answer_was_to_an_older_action(tale: Tale) -> None:
    tale.change(3, status=Status.MODIFIED, pauses=PAUSE, effective=((T0, PAUSE[0][0]), (PAUSE[0][1], NIGHT[0][1])))


def misread_action_is_paused(tale: Tale) -> None:
    strange = tale.boost("strange", 20, BoostAction.UNKNOWN, None, twist=Twist.UNKNOWN)
    tale.settle(strange, Result.UNKNOWN_ACTION, 30)


def misread_action_lifts_nothing(tale: Tale) -> None:
    strange = tale.boost("strange", 100, BoostAction.UNKNOWN, None, twist=Twist.UNKNOWN)
    tale.settle(strange, Result.UNKNOWN_ACTION, 110)


def withdrawal_lifts_nothing(tale: Tale) -> None:
    tale.history.published[2:] = []


def boost_is_called_stale(tale: Tale) -> None:
    settled = tale.history.settled[1]
    tale.history.settled[1] = replace(settled, outcome=replaced(settled.outcome, result=Result.STALE, revision=None))


def plug_in_is_called_a_duplicate(tale: Tale) -> None:
    settled = tale.history.settled[0]
    tale.history.settled[0] = replace(
        settled, outcome=replaced(settled.outcome, result=Result.DUPLICATE, revision=None)
    )


def withdrawal_is_called_stale(tale: Tale) -> None:
    settled = tale.history.settled[2]
    tale.history.settled[2] = replace(settled, outcome=replaced(settled.outcome, result=Result.STALE))


def pause_after_withdrawal(tale: Tale) -> None:
    again = tale.plug_in("again", 3000)
    tale.publish("again", Status.REQUESTED, 3010)
    tale.ask(3020, PAUSE)
    tale.publish("again", Status.MODIFIED, 3030, PAUSE)
    tale.settle(again, Result.MODIFIED, 3030, T0 + 3030)


def axle_keeps_the_home(tale: Tale) -> None:
    tale.history.axle = {"sites": [{"mpan": MPAN}], "assets": []}


def axle_keeps_the_charger(tale: Tale) -> None:
    tale.history.axle = {"sites": [], "assets": [{"external_id": CHARGER}]}


def axle_was_never_told(tale: Tale) -> None:
    tale.history.calls.pop()


def another_home_was_offboarded(tale: Tale) -> None:
    tale.history.calls[-1]["axle_site_id"] = f"not-{AXLE_SITE}"


def offboarding_had_no_effect(tale: Tale) -> None:
    tale.history.calls[-1]["effect"] = False


def silence_pauses(tale: Tale) -> None:
    tale.change(3, status=Status.FALLBACK, pauses=PAUSE, effective=((T0, PAUSE[0][0]), (PAUSE[0][1], NIGHT[0][1])))


def asked_before_told(tale: Tale) -> None:
    tale.history.calls[1]["at_ms"] = T0 + 9


def asked_for_more_than_was_told(tale: Tale) -> None:
    tale.ask(1025, sent=((T0, T0 + 9 * HOUR_MS),))


def driver_waited(tale: Tale) -> None:
    tale.history.puts[0].appended_ms -= PATIENCE_MS + 1


def event_is_lost(tale: Tale) -> None:
    tale.history.settled.pop(0)


def second_outcome(tale: Tale) -> None:
    tale.history.settled.append(tale.history.settled[0])


def outcome_of_nothing(tale: Tale) -> None:
    settled = tale.history.settled[0]
    strange = replaced(settled.outcome, source=Source("plug-in", 0, 99))
    tale.history.settled.append(replace(settled, outcome=strange))


def outcome_of_another(tale: Tale) -> None:
    settled = tale.history.settled[0]
    tale.history.settled[0] = replace(settled, outcome=replaced(settled.outcome, event_id="boost"))


def outcome_of_a_record_that_nobody_saw(tale: Tale) -> None:
    settled = tale.history.settled[0]
    tale.history.settled[0] = replace(settled, outcome=replaced(settled.outcome, revision=7))


def proper_event_is_refused(tale: Tale) -> None:
    put = tale.plug_in("late", 3000, twist=Twist.LATE)
    tale.settle(put, Result.INVALID, 3010)
    assert put.place is not None
    tale.history.dead_letters.append(put.place)


def wrong_event_is_taken(tale: Tale) -> None:
    tale.settle(tale.boost("wrong", 900, twist=Twist.INVALID), Result.COALESCED, 910)


def refused_without_a_letter(tale: Tale) -> None:
    tale.settle(tale.boost("wrong", 900, twist=Twist.INVALID), Result.INVALID, 910)


def letter_without_a_refusal(tale: Tale) -> None:
    tale.history.dead_letters.append(Source("plug-in", 0, 1))


def revision_told_twice(tale: Tale) -> None:
    tale.history.published.append(tale.history.published[-1])


def revision_goes_back(tale: Tale) -> None:
    tale.change(4, revision=T0 + 1, replaces=T0 + 1030)


def chain_is_broken(tale: Tale) -> None:
    tale.history.published.pop(2)


def record_of_nobody(tale: Tale) -> None:
    tale.history.puts[1].planned = replace(
        tale.history.puts[1].planned, event=replaced(tale.history.puts[1].planned.event, event_id="somebody")
    )


WRONGS: list[tuple[Callable[[Tale], None], Promise, str]] = [
    (first_record_pauses, Promise.DRIVER_WINS, "the first record of an action pauses"),
    (older_action_pauses, Promise.DRIVER_WINS, "although boost came after it"),
    (wish_is_cut, Promise.DRIVER_WINS, "the driver asked for"),
    (cancelled_boost_goes_on, Promise.DRIVER_WINS, "caused by cancel): the driver asked for"),
    (effective_hides_a_pause, Promise.DRIVER_WINS, "effective is"),
    (boost_is_paused, Promise.DRIVER_WINS, "the boost is paused"),
    (axle_never_answered, Promise.DRIVER_WINS, "Axle never answered"),
    (answer_was_to_an_older_action, Promise.DRIVER_WINS, "Axle never answered"),
    (misread_action_is_paused, Promise.DRIVER_WINS, "newer action strange was not understood"),
    (misread_action_lifts_nothing, Promise.DRIVER_WINS, "strange was not understood, and the pause"),
    (withdrawal_lifts_nothing, Promise.WITHDRAWN, "leave was settled, and the pause"),
    (pause_after_withdrawal, Promise.WITHDRAWN, "after the withdrawal leave"),
    (axle_keeps_the_home, Promise.WITHDRAWN, "home-1 withdrew"),
    (axle_keeps_the_charger, Promise.WITHDRAWN, "c-1 left"),
    (axle_was_never_told, Promise.WITHDRAWN, "Axle was never told"),
    (another_home_was_offboarded, Promise.WITHDRAWN, "Axle was never told"),
    (offboarding_had_no_effect, Promise.WITHDRAWN, "Axle was never told"),
    (silence_pauses, Promise.SILENCE, "no answer of Axle's is behind it"),
    (asked_before_told, Promise.SILENCE, "before the charger was told"),
    (asked_for_more_than_was_told, Promise.SILENCE, "before the charger was told"),
    (driver_waited, Promise.SILENCE, "its driver waited 10.0 s"),
    (event_is_lost, Promise.ONE_OUTCOME, "plug got no outcome"),
    (second_outcome, Promise.ONE_OUTCOME, "got 2 outcomes"),
    (outcome_of_nothing, Promise.ONE_OUTCOME, "plug-in-0@99, where no event was put"),
    (outcome_of_another, Promise.ONE_OUTCOME, "the outcome of plug names boost"),
    (outcome_of_a_record_that_nobody_saw, Promise.ONE_OUTCOME, "names revision 7"),
    (proper_event_is_refused, Promise.ONE_OUTCOME, "late is a proper event"),
    (wrong_event_is_taken, Promise.ONE_OUTCOME, "wrong should be INVALID"),
    (refused_without_a_letter, Promise.ONE_OUTCOME, "has no dead letter"),
    (letter_without_a_refusal, Promise.ONE_OUTCOME, "has a dead letter"),
    (boost_is_called_stale, Promise.ONE_OUTCOME, "boost was left aside as STALE"),
    (plug_in_is_called_a_duplicate, Promise.ONE_OUTCOME, "plug was left aside as DUPLICATE"),
    (withdrawal_is_called_stale, Promise.ONE_OUTCOME, "leave was left aside as STALE"),
    (revision_told_twice, Promise.ONE_OUTCOME, "2 times"),
    (revision_goes_back, Promise.ONE_OUTCOME, "came after revision"),
    (chain_is_broken, Promise.ONE_OUTCOME, "replaces"),
    (record_of_nobody, Promise.ONE_OUTCOME, "caused by an event that nobody sent"),
]


@pytest.mark.parametrize(("spoil", "promise", "words"), WRONGS, ids=[spoil.__name__ for spoil, _, _ in WRONGS])
def test_each_wrong_is_found(spoil: Callable[[Tale], None], promise: Promise, words: str) -> None:
    """A run in which one thing goes wrong is found out, under its promise and in words that name what was seen."""
    tale = right_tale()
    spoil(tale)
    verdict = verify(tale.history)
    assert not verdict.is_kept
    assert verdict.broken(promise) > 0
    assert any(finding.promise is promise and words in finding.sentence for finding in verdict.findings), [
        finding.sentence for finding in verdict.findings
    ]


def test_a_new_consent_allows_pauses_again() -> None:
    """A home that withdrew and consents anew may be paused, and may be at Axle at the end."""
    tale = right_tale()
    again = tale.plug_in("again", 3000, consents=True)
    tale.publish("again", Status.REQUESTED, 3010)
    tale.ask(3020, PAUSE)
    modified = tale.publish("again", Status.MODIFIED, 3030, PAUSE)
    tale.settle(again, Result.MODIFIED, 3030, modified.record.revision)
    tale.history.axle = {"sites": [{"mpan": MPAN}], "assets": [{"external_id": CHARGER}]}
    assert verify(tale.history).findings == ()


def test_a_pause_may_be_lifted_by_another_record_of_the_round() -> None:
    """An action that was not understood may be told of a moment before the record of its round that lifts the pause."""
    tale = right_tale()
    strange = tale.boost("strange", 900, BoostAction.UNKNOWN, None, twist=Twist.UNKNOWN)
    tale.settle(strange, Result.UNKNOWN_ACTION, 1010)
    tale.history.settled[-1] = replace(tale.history.settled[-1], appended_ms=T0 + 1006)
    assert verify(tale.history).findings == ()


def test_a_disconnected_charger_must_be_gone() -> None:
    """A charger that left alone is proved by its own removal, and found where Axle still has it."""
    tale = right_tale()
    tale.history.puts.pop()
    tale.history.published.pop()
    tale.history.settled.pop()
    tale.history.calls.pop()
    leave = tale.withdraw("part", 2000, CHARGER)
    tale.publish("part", Status.WITHDRAWN, 2010)
    tale.call("asset", 2020, method="DELETE")
    tale.settle(leave, Result.OFFBOARDED, 2030)
    tale.history.axle = {"sites": [{"mpan": MPAN}], "assets": []}
    assert verify(tale.history).findings == ()
    tale.history.axle = {"sites": [{"mpan": MPAN}], "assets": [{"external_id": CHARGER}]}
    assert [finding.sentence for finding in verify(tale.history).findings] == [
        "c-1 left (part), and Axle still has it at the end"
    ]


def test_clocks_may_differ_by_the_slack() -> None:
    """On somebody else's broker a question may seem to be a little older than the record that it goes back to."""
    tale = right_tale()
    asked_before_told(tale)
    assert verify(tale.history, slack_ms=2000).findings == ()


def test_what_is_under_way_is_not_held_against_a_run() -> None:
    """While a run goes on, an open event is no lost one, and a fresh question may be ahead of what was read."""
    tale = right_tale()
    event_is_lost(tale)
    tale.ask(9000, sent=((T0, T0 + 9 * HOUR_MS),))
    assert verify_so_far(tale.history, T0 + 9500).findings == ()
    assert open_inputs(tale.history) == 1


def test_topics_that_are_read_one_after_the_other_raise_no_alarm() -> None:
    """A fresh outcome whose record was not read yet is waited for; once it should have been, it is a finding."""
    tale = right_tale()
    withdrawal_lifts_nothing(tale)
    assert verify_so_far(tale.history, T0 + 2030 + READING_MS - 1).findings == ()
    assert verify_so_far(tale.history, T0 + 2030 + READING_MS).broken(Promise.WITHDRAWN) == 1


def test_a_mock_is_not_held_to_the_fourth_promise() -> None:
    """Without a real broker nothing is said about lost and double events, and the other promises still count."""
    tale = right_tale()
    event_is_lost(tale)
    verdict = verify(tale.history, exactly_once=False)
    assert (verdict.lost, verdict.duplicates, verdict.is_kept) == (None, None, True)
    told = report(tale.history, verdict, "mock", 1.0, 2.0)
    assert told["violations"]["one_outcome"] is None
    assert told["unsettled"] == 1


def test_the_report_says_what_was_seen() -> None:
    """The report has the agreed keys, counts what went in and came out, and is plain JSON."""
    history = right_tale().history
    told = json.loads(json.dumps(report(history, verify(history), "kafka", 3.456, 7.0)))
    assert told["broker"] == "kafka"
    assert told["events"] == {"plug-in": 1, "user-boost": 1, "consent-withdrawn": 1}
    assert told["published"] == {"REQUESTED": 2, "MODIFIED": 1, "UNCHANGED": 1, "WITHDRAWN": 1}
    assert told["violations"] == dict.fromkeys(
        ("driver_wins", "withdrawn_is_withdrawn", "silence_means_charge", "one_outcome"), 0
    )
    assert (told["lost"], told["duplicates"], told["first_schedule_s"]) == (0, 0, 3.46)
    assert told["latency_ms"]["plug-in"] == {"p50": 10, "p99": 10, "count": 1}
    assert told["offboarded_at_axle"] == 1


def test_a_report_of_nothing_is_a_report() -> None:
    """A run that was stopped before its first event has figures without samples."""
    told = report(History(), verify(History()), "kafka", None, 0.0)
    assert told["latency_ms"]["user-boost"] == {"p50": None, "p99": None, "count": 0}
    assert told["first_schedule_s"] is None

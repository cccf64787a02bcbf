"""The rehearsal: the same story each time, with the demo's own seams."""

from processor.core.outputs import Result, Status
from processor.demo.rehearsal import Rehearsal

T0 = 1_795_365_600_000


def test_a_rehearsal_is_the_same_each_time() -> None:
    """Equal seeds give equal histories, to the last millisecond."""
    first, again, other = (Rehearsal(20, T0, seed) for seed in (1, 1, 2))
    for rehearsal in (first, again, other):
        rehearsal.play(120, every_ms=250)
    assert first.history == again.history
    assert first.history.published != other.history.published


def test_a_rehearsal_meets_everything_that_the_demo_does() -> None:
    """Every status and every outcome of a run with a healthy Axle comes up, and homes are offboarded."""
    rehearsal = Rehearsal(40, T0)
    rehearsal.play(400, every_ms=250)
    statuses = {one.record.status for one in rehearsal.history.published}
    wanted = {Status.REQUESTED, Status.MODIFIED, Status.UNCHANGED, Status.NOT_ENROLLED, Status.WITHDRAWN}
    assert statuses >= wanted
    results = {one.outcome.result for one in rehearsal.history.settled}
    assert results >= {Result.OFFBOARDED, Result.STALE, Result.DUPLICATE, Result.INVALID, Result.UNKNOWN_ACTION}
    assert len(rehearsal.history.settled) == len(rehearsal.history.puts) == 400
    assert any(call["endpoint"] == "offboard" and call["effect"] for call in rehearsal.history.calls)


def test_the_scene_hears_what_the_history_holds() -> None:
    """What an onlooker sees and what the verifier judges are the same run."""
    rehearsal = Rehearsal(20, T0)
    rehearsal.play(120, every_ms=250)
    scene, history = rehearsal.scene, rehearsal.history
    assert scene.events.total() == len(history.puts)
    assert scene.outcomes.total() == len(history.settled) == scene.told
    assert scene.published == len(history.published)

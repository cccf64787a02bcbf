"""One round: what is folded together, and what it leaves alone until it is committed."""

import pytest
from msgspec.structs import replace

from processor.core.decide import decide
from processor.core.events import Erase, Offboarded, Onboarded, ScheduleAnswered, Source
from processor.core.intents import owed
from processor.core.outputs import ModifiedSchedule, Outcome, Result, Status
from processor.core.rules import Rules
from processor.core.schedule import HOUR_MS
from processor.core.site import Site, Stamp
from processor.core.turn import NEWCOMER_AHEAD_MS
from processor.shell.intake import Intake
from processor.shell.leases import Lease
from processor.shell.outbox import Outbox
from processor.shell.partition import task_of
from processor.shell.records import Part, Partition, Produce
from processor.shell.round import Round
from processor.shell.store import Store
from processor.wire.state import CHECKPOINT_KEY, decode_checkpoint, decode_site, encode_site, erased_key
from tests.shell.parts import CODEC, NAMES, NOW_MS, NOWHERE, TASKS, boost, intake, plug_in, record, withdrawal
from tests.wire.state_samples import IMAGINED, imagined_bytes, rows_of, surplus

TASK = task_of("s-1", TASKS)
REROUTE = (NAMES.reroute, TASK)
PLUGS = (NAMES.plug_in, TASK)
BOOSTS = (NAMES.user_boost, TASK)


class Bench:
    """A round's surroundings: one task that is ours, read up to offset 100 of each input."""

    def __init__(self, part: Intake | None = None) -> None:
        self.rules = Rules()
        self.store = Store(self.rules)
        self.store.take_over(TASK, {}, {})
        self.lease = Lease(*REROUTE)
        self.positions: dict[Partition, int] = {REROUTE: 100, PLUGS: 100, BOOSTS: 100}
        self.intake = part or intake()
        self.round = self.new_round()

    def new_round(self, now_ms: int = NOW_MS) -> Round:
        outbox = Outbox(NAMES, CODEC, self.rules, "/test")
        return Round(now_ms, self.store, self.intake, outbox, self.rules, self._anchor)

    def finish(self) -> list[Part]:
        return self.round.finish(lambda _: self.positions)

    def commit(self) -> Part:
        """Finish the round, take its only part into the store as after a commit, and begin another."""
        (part,) = self.finish()
        self.store.merge(TASK, part.sites, part.changed, NOW_MS)
        self.round = self.new_round()
        return part

    def begin_erasing(self) -> None:
        """An enrolled charger's site gets the order to erase, which waits for Axle now."""
        self.round.take_records([record(plug_in(), *PLUGS)])
        self.round.take_answer(TASK, ("s-1", None), Onboarded("s-1", "c-1", "axle-site", "axle-asset"))
        self.commit()
        order = Erase("x-1", NOW_MS + 1, NOWHERE, "s-1")
        site = decide(self.store.get(TASK, "s-1"), order, NOW_MS + 1, self.rules).site
        self.store.merge(TASK, {"s-1": site}, {"s-1": encode_site(site)}, NOW_MS)

    def _anchor(self, task: int) -> tuple[Partition, int, Lease] | None:
        return (REROUTE, self.positions[REROUTE], self.lease) if task == TASK else None


def results(part: Part) -> list[Result]:
    return [said.result for said in part.said if isinstance(said, Outcome)]


def test_nothing_of_a_round_shows_before_it_is_committed() -> None:
    """A round decides on what it decided before, while the store still knows nothing of it."""
    bench = Bench()
    assert bench.round.take_records([record(plug_in(), *PLUGS), record(boost(), *BOOSTS)]) == []
    (part,) = bench.finish()
    revisions = [said.revision for said in part.said if isinstance(said, ModifiedSchedule)]
    first = NOW_MS + NEWCOMER_AHEAD_MS
    assert revisions == [first, first + 1]
    assert results(part) == [Result.COALESCED]
    assert bench.store.get(TASK, "s-1") == Site("s-1")


def test_a_site_is_written_once_however_often_it_changed() -> None:
    """Several events of one site make one state record, the last one, beside one checkpoint."""
    bench = Bench()
    events = [plug_in(event_id=f"p-{i}", at_ms=NOW_MS - 10 + i) for i in range(5)]
    bench.round.take_records([record(event, *PLUGS, 100 + i) for i, event in enumerate(events)])
    (part,) = bench.finish()
    written = [produce for produce in part.produces if produce.topic == NAMES.state]
    assert [(produce.key, produce.partition) for produce in written] == [(b"s-1", TASK), (CHECKPOINT_KEY, TASK)]
    assert decode_site(written[0].value or b"") == part.sites["s-1"]
    assert part.changed == {"s-1": written[0].value}


def test_a_record_that_is_sent_goes_with_its_task_alone() -> None:
    """It is in the task's part, beside a checkpoint; for a task that is not ours nothing is written."""
    bench = Bench()
    sent = Produce(NAMES.reroute, b"s-1", b"value", [], TASK)
    bench.round.send(TASK, sent)
    bench.round.send((TASK + 1) % TASKS, sent)
    (part,) = bench.finish()
    assert [produce for produce in part.produces if produce.topic == NAMES.reroute] == [sent]
    assert part.produces[-1].key == CHECKPOINT_KEY


def test_what_changes_nothing_is_not_written() -> None:
    """A duplicate has an outcome, but no state of its site is written again."""
    bench = Bench()
    bench.round.take_records([record(plug_in(), *PLUGS)])
    (part,) = bench.finish()
    bench.store.merge(TASK, part.sites, part.changed, NOW_MS)
    bench.round = bench.new_round()
    bench.round.take_records([record(plug_in(), *PLUGS, 101)])
    (again,) = bench.finish()
    assert results(again) == [Result.DUPLICATE]
    assert again.changed == {}


def test_a_part_carries_the_offsets_of_what_it_read_and_always_the_anchor() -> None:
    """Offsets are one past what was read; the reroute partition is there even when nothing was read of it."""
    bench = Bench()
    one, other = Lease(*PLUGS), Lease(*BOOSTS)
    bench.round.take_records([record(plug_in(), *PLUGS, 107, lease=one)])
    bench.round.take_records([record(boost(), *BOOSTS, 103, lease=other)])
    (part,) = bench.finish()
    assert part.offsets == {REROUTE: 100, PLUGS: 108, BOOSTS: 104}
    assert part.leases == {bench.lease, one, other}
    checkpoint = decode_checkpoint(part.produces[-1].value or b"")
    assert (checkpoint.offsets, checkpoint.released) == (part.offsets, False)


def test_an_answer_alone_is_fenced_too() -> None:
    """A part made of Axle's answers carries the reroute partition's offset and lease (pitfall P3)."""
    bench = Bench()
    lane = ("s-1", None)
    assert bench.round.take_answer(TASK, lane, Onboarded("s-1", "c-1", "as", "aa"))
    (part,) = bench.finish()
    assert (part.offsets, part.leases, part.answered) == ({REROUTE: 100}, {bench.lease}, [lane])


def test_a_task_that_is_not_ours_takes_nothing() -> None:
    """Answers and wakes of a task that went are dropped, and so are its rerouted records; there is no part of it."""
    bench = Bench()
    other = (TASK + 1) % TASKS
    assert not bench.round.take_answer(other, ("s-1", "c-1"), ScheduleAnswered("s-1", "c-1", 1, (), ()))
    assert not bench.round.take_due(other, "s-1")
    stranger = record(plug_in(), NAMES.reroute, other)
    assert bench.round.take_records([stranger]) == [stranger]
    assert bench.finish() == []


def test_time_alone_can_settle_a_question() -> None:
    """A site that is woken after its session gives its event the last outcome."""
    bench = Bench()
    bench.round.take_records([record(plug_in(), *PLUGS)])
    (part,) = bench.finish()
    bench.store.merge(TASK, part.sites, part.changed, NOW_MS)
    bench.round = bench.new_round(NOW_MS + 9 * HOUR_MS)
    assert bench.round.take_due(TASK, "s-1")
    (woken,) = bench.finish()
    assert results(woken) == [Result.EXPIRED]


def test_a_record_of_another_task_hops_in_the_part_that_read_it() -> None:
    """A record of our task's partition whose site belongs elsewhere is sent on, and its offset moves here."""
    bench = Bench()
    stray = next(f"s-{i}" for i in range(99) if task_of(f"s-{i}", TASKS) != TASK)
    bench.round.take_records([record(plug_in(site=stray), *PLUGS, 100)])
    (part,) = bench.finish()
    hop = part.produces[0]
    assert (part.task, part.hops, part.said) == (TASK, 1, [])
    assert (hop.topic, hop.partition) == (NAMES.reroute, task_of(stray, TASKS))
    assert part.offsets == {REROUTE: 100, PLUGS: 101}


def test_foreign_partitions_have_parts_of_their_own() -> None:
    """Where an input has other partitions than there are tasks, each of them is a part without a checkpoint."""
    bench = Bench(intake(plug_in=TASKS + 1))
    for partition in (1, 1, TASKS):
        bench.round.take_records([record(plug_in(), NAMES.plug_in, partition, 50 + partition)])
    parts = bench.finish()
    assert [part.task for part in parts] == [None, None]
    assert [part.offsets for part in parts] == [{(NAMES.plug_in, 1): 52}, {(NAMES.plug_in, TASKS): 51 + TASKS}]
    assert [[produce.topic for produce in part.produces] for part in parts] == [[NAMES.reroute] * 2, [NAMES.reroute]]


@pytest.mark.parametrize("partitions", [TASKS, TASKS + 1])
def test_bytes_that_tell_no_site_are_settled_where_they_are(partitions: int) -> None:
    """Junk is dead-lettered and has its one outcome, at a task's partition and at a foreign one alike."""
    bench = Bench(intake(plug_in=partitions))
    bench.round.take_records([record(b"junk", *PLUGS, 107)])
    (part,) = bench.finish()
    assert part.said == [Outcome(None, Source(*PLUGS, 107), None, None, Result.INVALID, NOW_MS)]
    assert [produce.topic for produce in part.produces][:2] == [NAMES.dead_letter, NAMES.outcomes]
    assert part.rejected == ["framing"]


def test_a_null_value_is_settled_without_a_dead_letter() -> None:
    """A record without a value has its outcome, and there is nothing to keep."""
    bench = Bench()
    bench.round.take_records([record(None, *PLUGS, 107)])
    (part,) = bench.finish()
    assert results(part) == [Result.INVALID]
    assert NAMES.dead_letter not in [produce.topic for produce in part.produces]


def test_a_refused_wish_halts_its_charger_in_the_same_part() -> None:
    """A driver's action that broke a rule is dead-lettered, and its charger's pauses go, in one transaction."""
    bench = Bench()
    bench.round.take_records([record(plug_in(), *PLUGS, 100)])
    bad = boost(event_id="b-9", at_ms=NOW_MS + 1)
    no_end = replace(bad, boost_until_ms=NOW_MS - 1)
    bench.round.take_records([record(no_end, *BOOSTS, 100)])
    (part,) = bench.finish()
    assert part.rejected == ["bad_boost"]
    assert Result.INVALID in results(part)
    last = [said for said in part.said if isinstance(said, ModifiedSchedule)][-1]
    assert (last.status, last.final, last.pauses) == (Status.FALLBACK, True, ())


def test_a_withdrawal_after_a_plug_in_wins_within_the_round() -> None:
    """What is withdrawn in the round in which it was asked leaves no question open."""
    bench = Bench()
    bench.round.take_records([record(plug_in(), *PLUGS)])
    bench.round.take_records([record(withdrawal(at_ms=NOW_MS + 1), NAMES.consent_withdrawn, TASK)])
    (part,) = bench.finish()
    assert all(charger.question is None for charger in part.sites["s-1"].chargers)
    assert Result.WITHDRAWN in results(part)


def test_an_erased_site_leaves_only_a_hash_and_its_withdrawal() -> None:
    """When Axle has confirmed, the state and the standing get tombstones, and the mark is written, all in one part."""
    bench = Bench()
    bench.begin_erasing()
    bench.round.take_answer(TASK, ("s-1", None), Offboarded("s-1", "axle-site"))
    part = bench.commit()
    key = erased_key("s-1", bench.rules.secret)
    written = {produce.key: produce.value for produce in part.produces if produce.topic == NAMES.state}
    assert list(written) == [b"s-1", key.encode(), CHECKPOINT_KEY]
    assert written[b"s-1"] is None
    assert written[key.encode()] == encode_site(Site(key.split("/")[1], withdrawal=Stamp(NOW_MS + 1, "")))
    standings = [produce for produce in part.produces if produce.topic == NAMES.enrolment_status]
    assert (standings[-1].key, standings[-1].value, standings[-1].headers) == (b"s-1", None, [])
    assert bench.store.get(TASK, "s-1") == Site("s-1", withdrawal=Stamp(NOW_MS + 1, ""))
    assert bench.store.site_count(TASK) == 0
    assert list(bench.store.take_due(NOW_MS + 99 * HOUR_MS, 10)) == []


def test_old_events_of_an_erased_site_do_not_bring_it_back() -> None:
    """A plug-in from before the erasure, with its consent, is answered as withdrawn, and nothing is owed to Axle."""
    bench = Bench()
    bench.begin_erasing()
    bench.round.take_answer(TASK, ("s-1", None), Offboarded("s-1", "axle-site"))
    bench.commit()
    bench.round.take_records([record(plug_in(), *PLUGS)])
    part = bench.commit()
    assert results(part) == [Result.WITHDRAWN]
    site = bench.store.get(TASK, "s-1")
    assert (site.enrolment, owed(site, NOW_MS, bench.rules)) == (None, ())
    assert part.changed == {"s-1": encode_site(site)}
    assert bench.store.site_count(TASK) == 1


def test_a_late_word_about_an_erased_site_writes_nothing() -> None:
    """An answer that was under way has nobody to be about, and time has nobody to wake."""
    bench = Bench()
    bench.begin_erasing()
    bench.round.take_answer(TASK, ("s-1", None), Offboarded("s-1", "axle-site"))
    bench.commit()
    bench.round.take_answer(TASK, ("s-1", "c-1"), ScheduleAnswered("s-1", "c-1", NOW_MS, (), ()))
    bench.round.take_due(TASK, "s-1")
    assert bench.commit().changed == {}


def test_what_a_newer_program_wrote_stays_in_the_state_that_replaces_it() -> None:
    """A site that came from a newer program is written in its version, with what we do not know of it."""
    bench = Bench()
    bench.round.take_records([record(plug_in(), *PLUGS)])
    site = bench.commit().sites["s-1"]
    bench.store.take_over(TASK, {"s-1": imagined_bytes(site)}, {})
    bench.round.take_records([record(boost(), *BOOSTS)])
    part = bench.commit()
    value = part.changed["s-1"]
    assert (value[0], decode_site(value)) == (IMAGINED, part.sites["s-1"])
    assert rows_of(value)[-2:] == surplus(site)
    assert rows_of(value)[7][0][-2:] == surplus(site.chargers[0])

"""Taking a task over: all of its state, never a part of it, and the right offsets."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Literal

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from processor.core.decide import decide
from processor.core.events import Erase, Offboarded, Onboarded
from processor.core.intents import owed
from processor.core.outputs import ModifiedSchedule, Status
from processor.core.rules import Rules
from processor.core.site import Site, Stamp
from processor.demo.kafka import Broker
from processor.shell.leases import Lease
from processor.shell.outbox import Outbox
from processor.shell.partition import task_of
from processor.shell.records import Part, Partition, RestoreCancelled, RestoreFailed
from processor.shell.restore import Restored, Restorer, input_offsets, start_offsets
from processor.shell.round import Round
from processor.shell.store import Store
from processor.shell.topics import TopicNames
from processor.wire.state import CHECKPOINT_KEY, Checkpoint, decode_site, erased_key, state_headers
from tests.broker import produce
from tests.shell.changelog import DUE_MS, Writer, few_topics, home, set_offsets
from tests.shell.parts import CODEC, NOW_MS, NOWHERE, intake, plug_in, record

MARKS = state_headers(None, False, None, None)  # noqa: FBT003 - what a state record needs at least


class Wanted:
    """An `is_wanted` that counts how often it was asked: a restore that waits asks again and again."""

    def __init__(self) -> None:
        self.asked = 0
        self.answer = True

    def __call__(self) -> bool:
        self.asked += 1
        return self.answer

    def wait_for_more(self, times: int) -> None:
        """Return when it was asked so many times more."""
        goal, deadline = self.asked + times, time.monotonic() + 20
        while self.asked < goal:
            assert time.monotonic() < deadline, "nobody asks any more"
            threading.Event().wait(0.01)


def resting(site_id: str) -> Site:
    """A site of which nothing is owed."""
    return Site(site_id, Stamp(NOW_MS, "e"))


class Bench:
    def __init__(self, broker: Broker, topics: TopicNames) -> None:
        self.bootstrap = broker.bootstrap_servers
        self.topics = topics
        self.group = f"{topics.state}.group"
        self.sources: list[Partition] = [(topics.plug_in, 0), (topics.reroute, 0)]
        self.restorer = self.new_restorer()
        self.wanted = Wanted()
        self.writer = Writer(broker, topics)
        self.thread = ThreadPoolExecutor(1)

    def new_restorer(self, start_from: Literal["earliest", "latest"] = "earliest", tasks: int = 1) -> Restorer:
        """For one task, so that every site is its own."""
        return Restorer({"bootstrap.servers": self.bootstrap}, self.group, self.topics.state, tasks, start_from)

    def restore(self) -> Restored:
        return self.restorer.restore(0, self.sources, self.wanted)

    def restore_meanwhile(self) -> "Future[Restored]":
        return self.thread.submit(self.restore)


@pytest.fixture
def topics(broker: Broker) -> TopicNames:
    """The topics that a restore reads."""
    return few_topics(broker, "plug_in", "reroute", "state")


@pytest.fixture
def bench(broker: Broker, topics: TopicNames) -> Iterator[Bench]:
    bench = Bench(broker, topics)
    yield bench
    bench.wanted.answer = False
    bench.thread.shutdown(wait=True)


def test_a_first_start_begins_at_the_inputs_first_records(bench: Bench) -> None:
    """Where nothing was ever written, everything that the inputs hold is still to be read."""
    produce(bench.bootstrap, bench.topics.plug_in, [(b"k", b"v", None)] * 4)
    restored = bench.restore()
    assert (restored.states, restored.checkpoint, restored.was_written, restored.committed) == ({}, None, False, {})
    assert start_offsets(restored) == dict.fromkeys(bench.sources, 0)


def test_a_first_start_may_begin_at_the_end(bench: Bench) -> None:
    """With `latest` a group that never read begins behind what is there."""
    produce(bench.bootstrap, bench.topics.plug_in, [(b"same", b"v", None)] * 4)
    restored = bench.new_restorer("latest").restore(0, [(bench.topics.plug_in, p) for p in (0, 1)], bench.wanted)
    assert sorted(start_offsets(restored).values()) == [0, 4]


def test_what_was_committed_is_restored_with_its_marks(bench: Bench) -> None:
    """The newest state of each site counts, with its due time, and the newest checkpoint."""
    bench.writer.commit(0, home("s-1", 5), home("s-2"), checkpoint={(bench.topics.plug_in, 0): 3})
    bench.writer.commit(0, home("s-1"), checkpoint={(bench.topics.plug_in, 0): 4})
    restored = bench.restore()
    assert {site: decode_site(value) for site, value in restored.states.items()} == {
        "s-1": home("s-1"),
        "s-2": home("s-2"),
    }
    assert {marks.due_at_ms for marks in restored.marks.values()} == {DUE_MS}
    assert restored.checkpoint == Checkpoint({(bench.topics.plug_in, 0): 4})
    assert start_offsets(restored) == {(bench.topics.plug_in, 0): 4, (bench.topics.reroute, 0): 0}


def test_of_sites_that_rest_nothing_is_kept_but_their_state(bench: Bench) -> None:
    """Only those that owe a call or want to be woken have marks, by what their newest record says."""
    bench.writer.commit(0, home("s-1"), resting("s-2"), resting("s-3"), checkpoint={})
    bench.writer.commit(0, resting("s-1"), home("s-3"))
    restored = bench.restore()
    assert sorted(restored.states) == ["s-1", "s-2", "s-3"]
    assert {site_id: marks.due_at_ms for site_id, marks in restored.marks.items()} == {"s-3": DUE_MS}


def test_an_erased_site_stays_erased(bench: Bench) -> None:
    """A site whose newest record has no value is not there."""
    bench.writer.commit(0, home("s-1"), home("s-2"), checkpoint={})
    bench.writer.raw(0, b"s-1", None)
    restored = bench.restore()
    assert (list(restored.states), list(restored.marks)) == (["s-2"], ["s-2"])


class Owner:
    """A task's owner: rounds over a store, whose changelog records go to the broker as they are."""

    def __init__(self, bench: Bench) -> None:
        self.rules = Rules()
        self.topics = bench.topics
        self.writer = bench.writer
        self.outbox = Outbox(bench.topics, CODEC, self.rules, "/test")
        self.store = Store(self.rules)
        self.round = self.new_round()

    def new_round(self) -> Round:
        reroute = (self.topics.reroute, 0)
        anchor = (reroute, 0, Lease(*reroute))
        return Round(NOW_MS, self.store, intake(self.topics, 1), self.outbox, self.rules, lambda _: anchor)

    def commit(self) -> Part:
        """Commit the round and begin another."""
        (part,) = self.round.finish(lambda _: {})
        self.writer.producer.begin_transaction()
        for state in part.produces:
            if state.topic == self.topics.state:
                self.writer.send(state)
        self.writer.producer.commit_transaction(10)
        self.store.merge(0, part.sites, part.changed, NOW_MS)
        self.round = self.new_round()
        return part


def test_a_household_stays_erased_through_a_restart_and_a_replay(bench: Bench) -> None:
    """From the records of its erasure a successor knows that it withdrew, and none of its ids; old events stay dead."""
    owner = Owner(bench)
    owner.store.take_over(0, {}, {})
    lane = ("s-1", None)
    owner.round.take_records([record(plug_in(), bench.topics.plug_in)])
    owner.round.take_answer(0, lane, Onboarded("s-1", "c-1", "axle-site", "axle-asset"))
    owner.commit()
    assert list(bench.restore().states) == ["s-1"]
    erasing = decide(owner.store.get(0, "s-1"), Erase("x-1", NOW_MS + 1, NOWHERE, "s-1"), NOW_MS + 1, owner.rules).site
    owner.store.merge(0, {"s-1": erasing}, {"s-1": owner.outbox.state(0, erasing, NOW_MS).value or b""}, NOW_MS)
    owner.round.take_answer(0, lane, Offboarded("s-1", "axle-site"))
    owner.commit()

    restored = bench.restore()
    key = erased_key("s-1", owner.rules.secret)
    assert (list(restored.states), restored.marks) == ([key], {})
    assert not any(trace in restored.states[key] for trace in (b"s-1", b"c-1", b"axle", b"p-1", b"x-1"))

    successor = Owner(bench)
    successor.store.take_over(0, restored.states, {})
    assert successor.store.get(0, "s-1") == Site("s-1", withdrawal=Stamp(NOW_MS + 1, ""))
    successor.round.take_records([record(plug_in(), bench.topics.plug_in)])
    said = [output for output in successor.commit().said if isinstance(output, ModifiedSchedule)]
    assert [(output.status, output.pauses, output.final) for output in said] == [(Status.WITHDRAWN, (), True)]
    site = successor.store.get(0, "s-1")
    assert (site.enrolment, owed(site, NOW_MS, owner.rules)) == (None, ())
    assert set(bench.restore().states) == {key, "s-1"}


def test_the_hash_of_an_erased_site_may_stand_in_any_partition(bench: Bench) -> None:
    """It stands where its site belongs, which the hash does not tell: such a task is not refused."""
    keys = ((f"s-{i}", erased_key(f"s-{i}", Rules().secret)) for i in range(99))
    site_id, key = next((s, key) for s, key in keys if task_of(s, 3) == 0 and task_of(key, 3) != 0)
    states = Outbox(bench.topics, CODEC, Rules(), "/test").states(
        0, Site(site_id, withdrawal=Stamp(1, "")), NOW_MS, None, owes=False
    )
    bench.writer.begin(0, checkpoint={})
    for state in states:
        bench.writer.send(state)
    bench.writer.producer.commit_transaction(10)
    bench.restorer = bench.new_restorer(tasks=3)
    assert list(bench.restore().states) == [key]


def test_an_aborted_transaction_is_not_restored(bench: Bench) -> None:
    """States that were aborted are passed over, also when they are the last thing in the changelog."""
    bench.writer.commit(0, home("s-1"), checkpoint={(bench.topics.plug_in, 0): 1})
    bench.writer.begin(0, home("s-1", 9), home("s-2"), checkpoint={(bench.topics.plug_in, 0): 2})
    bench.writer.producer.abort_transaction(10)
    restored = bench.restore()
    assert {site: decode_site(value) for site, value in restored.states.items()} == {"s-1": home("s-1")}
    assert restored.checkpoint == Checkpoint({(bench.topics.plug_in, 0): 1})


def test_an_aborted_first_transaction_is_still_a_first_start(bench: Bench) -> None:
    """A crash in the middle of the very first transaction leaves nothing, so the next start is a first one too."""
    bench.writer.begin(0, home("s-1"), checkpoint={(bench.topics.plug_in, 0): 1})
    bench.writer.producer.abort_transaction(10)
    restored = bench.restore()
    assert (restored.states, restored.was_written) == ({}, False)
    assert start_offsets(restored) == dict.fromkeys(bench.sources, 0)


@pytest.mark.parametrize("end", ["abort", "commit"])
def test_a_restore_waits_for_a_foreign_transaction(bench: Bench, broker: Broker, end: str) -> None:
    """Committed records above an open transaction are waited for: a restore never completes short of them."""
    bench.writer.commit(0, home("s-1", 1), checkpoint={(bench.topics.plug_in, 0): 1})
    foreign = Writer(broker, bench.topics, "foreign")
    foreign.begin(0, home("s-9"))
    bench.writer.commit(0, home("s-1", 2), checkpoint={(bench.topics.plug_in, 0): 2})
    restoring = bench.restore_meanwhile()
    bench.wanted.wait_for_more(8)
    assert not restoring.done()
    getattr(foreign.producer, f"{end}_transaction")(10)
    restored = restoring.result(20)
    assert decode_site(restored.states["s-1"]) == home("s-1", 2)
    assert restored.checkpoint == Checkpoint({(bench.topics.plug_in, 0): 2})
    assert ("s-9" in restored.states) == (end == "commit")


@pytest.mark.parametrize("end", ["abort", "commit"])
def test_offsets_that_may_still_move_are_waited_for(bench: Bench, end: str) -> None:
    """While a predecessor's transaction is about to move the group's offsets, nobody starts from the old ones."""
    source = bench.sources[0]
    bench.writer.begin(0, home("s-1", 1), checkpoint={source: 1})
    bench.writer.send_offsets(bench.group, {source: 1}, bench.bootstrap)
    bench.writer.producer.commit_transaction(10)
    bench.writer.begin(0, home("s-1", 2), checkpoint={source: 2})
    bench.writer.send_offsets(bench.group, {source: 2}, bench.bootstrap)
    restoring = bench.restore_meanwhile()
    bench.wanted.wait_for_more(2)
    assert not restoring.done()
    getattr(bench.writer.producer, f"{end}_transaction")(10)
    restored = restoring.result(20)
    expected = 2 if end == "commit" else 1
    assert restored.committed == {source: expected}
    assert restored.checkpoint == Checkpoint({source: expected})
    assert decode_site(restored.states["s-1"]) == home("s-1", expected)


def test_a_restore_ends_when_its_task_goes(bench: Bench, broker: Broker) -> None:
    """A restore that waits gives up as soon as it is not wanted any more."""
    foreign = Writer(broker, bench.topics, "foreign")
    foreign.begin(0, home("s-9"))
    restoring = bench.restore_meanwhile()
    bench.wanted.wait_for_more(5)
    bench.wanted.answer = False
    with pytest.raises(RestoreCancelled):
        restoring.result(5)


def test_a_broker_that_is_away_is_waited_for() -> None:
    """A question that nobody answers is asked again, until the task is not wanted any more."""
    restorer = Restorer({"bootstrap.servers": "127.0.0.1:1"}, "g", "state", 1, "earliest")
    answers = iter([True, False])
    with pytest.raises(RestoreCancelled):
        restorer.restore(0, [("topic", 0)], lambda: next(answers))


@pytest.mark.parametrize(
    ("key", "value", "marks", "sentence"),
    [
        (b"s-1", b"\x01damaged", MARKS, r"task 0: the state of site s-1 cannot be used: .*damaged"),
        (b"s-1", b"\x09\x00\x00\x00\x00from the future", MARKS, r"site s-1 cannot be used: .*state version 9"),
        (b"s-1", b"\x01damaged", (), r"offset 0 .*does not say whether a call is owed"),
        (CHECKPOINT_KEY, b"\x01damaged", (), r"offset 0 .*checkpoint.*damaged"),
        (b"\xff\xfe", b"x", MARKS, r"offset 0 that is not ours"),
    ],
)
def test_what_cannot_be_decoded_refuses_the_task(
    bench: Bench, key: bytes, value: bytes, marks: tuple[tuple[str, bytes], ...], sentence: str
) -> None:
    """No record is skipped: one that cannot be read is a sentence that says where it is and what is wrong."""
    bench.writer.raw(0, key, value, marks)
    with pytest.raises(RestoreFailed, match=sentence):
        bench.restore()


def test_another_number_of_tasks_is_refused(bench: Bench) -> None:
    """When the state topic got more partitions, sites would be looked for elsewhere and forgotten: nobody starts."""
    bench.writer.commit(0, *(home(f"s-{i}") for i in range(20)), checkpoint={})
    bench.restorer = bench.new_restorer(tasks=3)
    with pytest.raises(RestoreFailed, match=r"task 0: site s-\d+ belongs to task [12] of 3; .* got more partitions"):
        bench.restore()


def test_a_damaged_state_that_was_replaced_is_no_harm(bench: Bench) -> None:
    """Only what counts must be readable."""
    bench.writer.raw(0, b"s-1", b"\x01damaged", MARKS)
    bench.writer.commit(0, home("s-1"), checkpoint={})
    assert list(bench.restore().states) == ["s-1"]


def test_inputs_that_were_deleted_unread_begin_at_what_is_left(bench: Bench) -> None:
    """An offset whose records are deleted is not started from; the first that is left is."""
    source = (bench.topics.plug_in, 0)
    produce(bench.bootstrap, bench.topics.plug_in, [(f"k-{i}", b"v", None) for i in range(40)])
    admin = AdminClient({"bootstrap.servers": bench.bootstrap})
    for future in admin.delete_records([TopicPartition(*source, 6)]).values():
        future.result(10)
    bench.writer.commit(0, checkpoint={source: 2})
    set_offsets(bench.bootstrap, bench.group, {source: 2})
    restored = bench.restore()
    assert restored.lows[source] == 6
    assert start_offsets(restored)[source] == 6
    assert input_offsets(bench.restorer.look(-1, [source], bench.wanted)) == {source: 6}


def test_a_large_changelog_is_read_whole(bench: Bench) -> None:
    """Thousands of states come back, whatever the size of a fetch."""
    sites = [home(f"s-{i}") for i in range(6_000)]
    bench.writer.commit(0, *sites, checkpoint={})
    began = time.monotonic()
    restored = bench.restore()
    assert len(restored.states) == len(restored.marks) == len(sites)
    assert time.monotonic() - began < 10


A: Partition = ("a", 0)
B: Partition = ("b", 0)


@pytest.mark.parametrize(
    ("committed", "checkpoint", "starts"),
    [
        pytest.param({A: 5, B: 7}, {A: 5, B: 7}, {A: 5, B: 7}, id="equal: go"),
        pytest.param({}, {A: 5, B: 7}, {A: 5, B: 7}, id="expired: the checkpoint counts"),
        pytest.param({A: 4, B: 9}, {A: 5, B: 7}, {A: 5, B: 7}, id="different: the checkpoint counts"),
        pytest.param({}, None, {A: 1, B: 0}, id="never read: the beginning"),
        pytest.param({A: 5}, {A: 5}, {A: 5, B: 0}, id="an input that is new"),
        pytest.param({A: 5, B: 8}, {A: 5}, {A: 5, B: 8}, id="an input that was read before it became a task's own"),
        pytest.param({A: 5}, {A: 5, ("gone", 3): 9}, {A: 5, B: 0}, id="an input that is gone"),
        pytest.param({A: 0}, {A: 0}, {A: 1, B: 0}, id="deleted before it was read"),
    ],
)
def test_where_inputs_go_on(
    committed: dict[Partition, int], checkpoint: dict[Partition, int] | None, starts: dict[Partition, int]
) -> None:
    """The table of take-over: the checkpoint counts, then the group's offset, then the beginning."""
    restored = Restored(
        0,
        checkpoint=None if checkpoint is None else Checkpoint(checkpoint),
        was_written=checkpoint is not None,
        committed=committed,
        beginnings={A: 1, B: 0},
        lows={A: 1, B: 0},
    )
    assert start_offsets(restored) == starts


@pytest.mark.parametrize(
    ("restored", "sentence"),
    [
        (Restored(3, committed={A: 5}), "task 3: the group has offsets but the changelog is empty"),
        (Restored(3, was_written=True), "task 3: its changelog has records but no checkpoint"),
        (Restored(3, was_written=True, committed={A: 5}), "task 3: its changelog has records but no checkpoint"),
    ],
)
def test_a_state_that_is_gone_refuses_the_task(restored: Restored, sentence: str) -> None:
    """Where going on would lose or repeat events the task does not run, and the sentence says what to try."""
    with pytest.raises(RestoreFailed, match=sentence):
        start_offsets(restored)

"""The poll thread on a real broker: who gets what, from where, under which lease, and how it ends."""

import threading
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future
from typing import Any

import pytest
from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions  # type: ignore[attr-defined] # not in its stubs

from processor.demo.kafka import Broker
from processor.shell.consumer import BACKLOG_RECORDS_MAX, TAKE_MAX
from processor.shell.log_ends import LogEnds
from processor.shell.partition import murmur2
from processor.shell.protocol import Spoken
from processor.shell.records import KafkaRefused, Partition
from processor.shell.topics import TopicNames
from tests.broker import produce
from tests.shell.changelog import few_topics
from tests.shell.poll_bench import SECONDS, Poller, wait_for

LIVES = 30
Made = Callable[..., Poller]
BOTH = pytest.mark.parametrize("protocol", ["classic", "consumer"])


@pytest.fixture
def topics(broker: Broker) -> TopicNames:
    """The topics that these poll threads read."""
    return few_topics(broker, "plug_in", "reroute")


@pytest.fixture
def protocol() -> Spoken:
    """The group protocol; a test that holds for both asks for each."""
    return "classic"


@pytest.fixture
def poller(broker: Broker, topics: TopicNames, protocol: Spoken) -> Iterator[Made]:
    """Makes poll threads, and ends them."""
    made: list[Poller] = []

    def make(**config: Any) -> Poller:
        made.append(Poller(broker, topics, protocol, **config))
        return made[-1]

    yield make
    for one in made:
        assert one.poll.stop(SECONDS)


@pytest.fixture
def write(broker: Broker, topics: TopicNames) -> Callable[[int], None]:
    """Writes so many records into partition 0 of the plug-ins, by a key that falls there."""
    return lambda count: produce(
        broker.bootstrap_servers, topics.plug_in, [(b"k", f"{i}".encode(), [("h", b"x")]) for i in range(count)]
    )


@pytest.fixture
def source(broker: Broker, topics: TopicNames, write: Callable[[int], None]) -> Partition:
    """The partition that `write` writes to, with one record in it."""
    write(1)
    return (topics.plug_in, (murmur2(b"k") & 0x7FFFFFFF) % 2)


@BOTH
def test_nothing_is_delivered_before_it_is_asked_for(poller: Made, source: Partition) -> None:
    """Partitions come with a lease and a membership, and stay still until their start is named."""
    one = poller().join(4)
    turns = one.poll.turns
    wait_for(lambda: one.poll.turns > turns + 20)
    assert one.ears.records == []
    assert len(set(one.ears.assigned)) == 4
    assert all(one.lease(partition).is_open for partition in one.ears.assigned)
    assert one.poll.has_joined
    assert one.poll.group_metadata is not None
    assert one.begin({source: 0})
    assert [record.value for record in one.read(1)] == [b"0"]


def test_records_come_in_order_from_the_named_offset_with_all_they_have(
    poller: Made, source: Partition, write: Callable[[int], None]
) -> None:
    """What is delivered begins at the offset, keeps its order, and carries key, headers, broker time and lease."""
    write(9)
    one = poller().join(4)
    assert one.begin({source: 4})
    records = one.read(6)
    assert [record.offset for record in records] == [4, 5, 6, 7, 8, 9]
    first = records[0]
    assert ((first.topic, first.partition), first.key, first.headers) == (source, b"k", [("h", b"x")])
    assert first.lease is one.lease(source)
    assert first.appended_ms is not None


def test_a_topic_that_lost_its_first_records_is_read_as_any_other(
    poller: Made, broker: Broker, source: Partition, write: Callable[[int], None]
) -> None:
    """After retention has deleted the beginning of an input, every take-over still finds its place."""
    write(9)
    admin = AdminClient({"bootstrap.servers": broker.bootstrap_servers})
    for future in admin.delete_records([TopicPartition(*source, 6)]).values():
        future.result(10)
    for _ in range(4):
        one = poller().join(4)
        assert one.begin({source: 8})
        assert [record.offset for record in one.read(2)] == [8, 9]
        assert one.poll.stop(SECONDS)


@BOTH
def test_a_start_that_comes_too_late_is_not_taken(poller: Made, source: Partition) -> None:
    """A take-over that began under a lease that is closed by now starts nothing, even where a new lease is open."""
    one = poller().join(4)
    stale = one.lease(source)
    kept = one.poll.renew([source]).result(SECONDS)
    assert kept == [source]
    assert not one.poll.begin({source: 0}, [stale]).result(SECONDS)
    assert one.ears.records == []
    assert one.begin({source: 0})
    assert one.read(1)[0].lease is one.lease(source) is not stale


def test_renewed_partitions_are_held_back_under_new_leases(
    poller: Made, source: Partition, write: Callable[[int], None]
) -> None:
    """What arrives between a renewal and the next start is not delivered, and afterwards nothing is missing."""
    one = poller().join(4)
    assert one.begin({source: 0})
    one.read(1)
    assert one.poll.renew([source, ("elsewhere", 9)]).result(SECONDS) == [source]
    write(5)
    turns = one.poll.turns
    wait_for(lambda: one.poll.turns > turns + 5)
    assert len(one.ears.records) == 1
    assert one.begin({source: 1})
    assert [record.offset for record in one.read(6)] == [0, 1, 2, 3, 4, 5]


def test_members_share_by_task_and_what_goes_is_closed(poller: Made, topics: TopicNames) -> None:
    """When a second member joins, each has the same partitions of every topic, and the old leases are closed."""
    one = poller().join(4)
    before = [one.lease(partition) for partition in one.ears.assigned]
    other = poller().join(2)
    wait_for(lambda: len(one.ears.assigned) == 6)
    assert not any(lease.is_open for lease in before)
    assert len(set(one.ears.gone)) == 4
    mine = {partition for topic, partition in one.ears.assigned[4:]}
    others = {partition for topic, partition in other.ears.assigned}
    assert (len(mine), len(others), mine & others) == (1, 1, set())
    assert {topic for topic, _ in other.ears.assigned} == {topics.plug_in, topics.reroute}


@pytest.mark.parametrize("protocol", ["consumer"])
def test_what_stays_is_not_touched(poller: Made, topics: TopicNames) -> None:
    """Under the newer protocol a member that joins takes its share, and the rest keeps its leases and its reading."""
    one = poller().join(4)
    before = {partition: one.lease(partition) for partition in one.ears.assigned}
    assert one.begin(dict.fromkeys(before, 0))
    other = poller().join(2)
    stays = [partition for partition in before if partition not in other.ears.assigned]
    assert (len(stays), sorted(one.ears.gone)) == (2, sorted(other.ears.assigned))
    assert all(one.lease(partition) is before[partition] for partition in stays)
    assert not any(before[partition].is_open for partition in one.ears.gone)
    assert len(one.ears.assigned) == 4
    assert other.poll.stop(SECONDS)
    wait_for(lambda: len(one.ears.assigned) == 6)
    assert all(one.lease(partition) is before[partition] for partition in stays)


@pytest.mark.parametrize("protocol", ["consumer"])
def test_what_belongs_to_one_task_comes_and_goes_together(poller: Made, broker: Broker, topics: TopicNames) -> None:
    """When a topic grows and only one of a task's partitions moves, the other one goes and comes back, newly leased."""
    members = [poller().join(4), poller().join(2)]
    wait_for(lambda: len(members[0].ears.gone) == 2)
    leases = {p: one.lease(p) for one in members for p in one.ears.assigned if p not in one.ears.gone}
    admin = AdminClient({"bootstrap.servers": broker.bootstrap_servers})
    admin.create_partitions([NewPartitions(topics.plug_in, 3)])[topics.plug_in].result(10)
    moved, stayed = (topics.plug_in, 1), (topics.reroute, 1)
    wait_for(lambda: not leases[moved].is_open)
    wait_for(lambda: any(one.ears.assigned.count(stayed) == 2 for one in members))
    owner = next(one for one in members if one.ears.assigned.count(stayed) == 2)
    assert owner.ears.gone[-2:] == [moved, stayed]
    assert not leases[stayed].is_open
    assert owner.lease(stayed).is_open
    untouched = [leases[topics.plug_in, 0], leases[topics.reroute, 0]]
    wait_for(lambda: any((topics.plug_in, 2) in one.ears.assigned for one in members))
    assert any(lease.is_open for lease in untouched)


@BOTH
def test_a_start_a_stop_and_a_record_at_the_same_moment_skip_nothing(
    poller: Made, source: Partition, write: Callable[[int], None]
) -> None:
    """Over 30 short lives of a reader, with records written at any moment, each is handed over once, in order."""
    read: list[int] = []
    ended = threading.Event()
    written = [1]

    def keep_writing() -> None:
        while not ended.wait(0.02):
            write(3)
            written[0] += 3

    writer = threading.Thread(target=keep_writing)
    writer.start()
    try:
        for life in range(LIVES):
            one = poller().join(4)
            assert one.begin({source: len(read)})
            if life % 3:
                one.read(1)
            assert one.poll.stop(SECONDS)
            read += [record.offset for record in one.ears.records]
            assert read == list(range(len(read)))
    finally:
        ended.set()
        writer.join(SECONDS)
    last = poller().join(4)
    assert last.begin({source: len(read)})
    last.read(written[0] - len(read))
    assert read + [record.offset for record in last.ears.records] == list(range(written[0]))


def test_an_assignment_that_cannot_be_placed_is_a_sentence(poller: Made, broker: Broker, topics: TopicNames) -> None:
    """When nobody tells where the partitions begin, the thread ends in time, says so, and holds no lease."""
    nobody = LogEnds({"bootstrap.servers": "127.0.0.1:1"}, topics.state, first_seconds=0.5)
    one = poller(ends=nobody)
    one.poll.start()
    wait_for(lambda: one.ears.failures)
    assert isinstance(one.ears.failures[0], KafkaRefused)
    assert "the brokers did not tell within 0.5 s where" in str(one.ears.failures[0])
    assert "and 3 more partitions" in str(one.ears.failures[0])
    assert one.leases.current(topics.plug_in, 0) is None
    assert one.ears.assigned == []


class Waiting(LogEnds):
    """Asks a broker that is not there, and tells when it began."""

    def __init__(self) -> None:
        super().__init__({"bootstrap.servers": "127.0.0.1:1"}, "state")
        self.began = threading.Event()

    def first(self, partitions: Collection[Partition], stopping: threading.Event) -> dict[Partition, int]:
        """As `LogEnds.first`."""
        self.began.set()
        return super().first(partitions, stopping)


def test_a_stop_while_partitions_come_is_no_failure(poller: Made) -> None:
    """Who is told to leave while it asks where its new partitions begin leaves at once, and blames nobody."""
    ends = Waiting()
    one = poller(ends=ends)
    one.poll.start()
    assert ends.began.wait(SECONDS)
    assert one.poll.stop(SECONDS)
    assert one.ears.failures == []


def test_what_may_come_back_is_told_with_the_end_of_its_changelog(broker: Broker, poller: Made) -> None:
    """A rebalance of the classic protocol says where the changelogs ended; an orderly end does not."""
    topics = few_topics(broker, "plug_in", "reroute", "state")
    one = Poller(broker, topics)
    try:
        one.join(4)
        other = Poller(broker, topics)
        try:
            other.join(2)
            assert one.ears.ends == [{0: 0, 1: 0}]
        finally:
            assert other.poll.stop(SECONDS)
        assert other.ears.ends == [{}]
    finally:
        assert one.poll.stop(SECONDS)


@BOTH
def test_a_partition_does_not_go_while_its_transaction_runs(poller: Made, topics: TopicNames) -> None:
    """A rebalance waits for the transaction that holds a lease, and takes the partition when it has ended."""
    one = poller().join(4)
    # Which of them goes is the group's choice.
    leases = {one.lease((topics.plug_in, number)) for number in (0, 1)}
    with one.leases.hold(leases) as is_open:
        assert is_open
        other = poller()
        other.poll.start()
        wait_for(lambda: not all(lease.is_open for lease in leases))
        turns = one.poll.turns
        assert not threading.Event().wait(0.2)
        assert (one.poll.turns, one.ears.gone, other.ears.assigned) == (turns, [], [])
    wait_for(lambda: other.ears.assigned)
    assert set(other.ears.assigned) <= set(one.ears.gone)


def test_too_much_that_is_not_settled_stops_the_reading(
    poller: Made, source: Partition, write: Callable[[int], None]
) -> None:
    """Reading pauses while a few thousand records wait to be settled, and goes on where it was when they are."""
    count = BACKLOG_RECORDS_MAX + 6 * TAKE_MAX
    write(count - 1)
    one = poller().join(4)
    assert one.begin({source: 0})
    one.read(BACKLOG_RECORDS_MAX)
    turns = one.poll.turns
    wait_for(lambda: one.poll.turns > turns + 10)
    held = len(one.ears.records)
    assert held <= BACKLOG_RECORDS_MAX + 2 * TAKE_MAX
    settled = 0
    while settled < count:
        wait_for(lambda: len(one.ears.records) > settled)  # noqa: B023 - used at once
        ready = len(one.ears.records)
        size = sum(record.size_bytes for record in one.ears.records[settled:ready])
        one.poll.settled(ready - settled, size)
        settled = ready
    assert [record.offset for record in one.ears.records] == list(range(count))


def test_a_command_that_nobody_wants_any_more_is_not_run(poller: Made) -> None:
    """A cancelled command is passed over; the poll thread goes on and serves the next one."""
    one = poller()
    ran: list[str] = []
    unwanted: Future[None] = one.poll.call(lambda _: ran.append("unwanted"))
    assert unwanted.cancel()
    one.poll.start()
    assert one.poll.call(lambda _: "served").result(SECONDS) == "served"
    assert (ran, one.ears.failures) == ([], [])


def test_a_command_that_fails_tells_its_asker(poller: Made) -> None:
    """What a command raises goes to whoever asked, not to the thread."""
    one = poller()
    one.poll.start()

    def broken(_: object) -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        one.poll.call(broken).result(SECONDS)
    assert one.poll.call(lambda _: 1).result(SECONDS) == 1


def test_who_waits_for_a_thread_that_ended_hears_of_it(poller: Made) -> None:
    """Commands to a thread that has ended fail at once; nobody waits for ever."""
    one = poller().join(4)
    assert one.poll.stop(SECONDS)
    with pytest.raises(KafkaRefused, match="has left its group"):
        one.poll.call(lambda _: None).result(SECONDS)


@BOTH
def test_stopping_closes_all_leases(poller: Made) -> None:
    """An orderly end gives everything back."""
    one = poller().join(4)
    leases = [one.lease(partition) for partition in one.ears.assigned]
    assert one.poll.stop(SECONDS)
    assert not any(lease.is_open for lease in leases)
    assert sorted(one.ears.gone) == sorted(one.ears.assigned)


def test_a_thread_that_never_began_can_be_stopped(poller: Made) -> None:
    """Stopping before the start is no error: the start may have failed elsewhere."""
    assert poller().poll.stop(0)


def test_a_position_that_is_not_there_is_a_sentence(poller: Made, source: Partition) -> None:
    """An offset that the topic does not have ends the thread with the topic's name and what to try."""
    one = poller().join(4)
    assert one.begin({source: 1000})
    wait_for(lambda: one.ears.failures)
    failure = one.ears.failures[0]
    assert isinstance(failure, KafkaRefused)
    assert f"{source[0]} [{source[1]}] has no record where we are" in str(failure)


def test_a_session_that_the_brokers_refuse_is_a_sentence(poller: Made) -> None:
    """A session timeout below the broker's least ends the thread instead of a warning for ever."""
    one = poller(**{"session.timeout.ms": 500, "heartbeat.interval.ms": 100})
    one.poll.start()
    wait_for(lambda: one.ears.failures)
    assert isinstance(one.ears.failures[0], KafkaRefused)
    assert "session timeout" in str(one.ears.failures[0])


def test_settings_that_librdkafka_refuses_are_a_failure(poller: Made) -> None:
    """A consumer that cannot even be built is told to the listener, and commands to it fail."""
    one = poller(**{"no.such.setting": "1"})
    one.poll.start()
    wait_for(lambda: one.ears.failures)
    assert isinstance(one.ears.failures[0], KafkaException)
    with pytest.raises(KafkaException):
        one.poll.call(lambda _: None).result(SECONDS)

"""Transactions on a real broker: all or nothing, only for those who may, and never torn."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from confluent_kafka import Consumer

from processor.demo.kafka import Broker
from processor.shell.clock import SystemClock
from processor.shell.leases import Lease
from processor.shell.producer_config import producer_config
from processor.shell.records import KafkaRefused, Part, Produce, TransactionLost
from processor.shell.topics import TopicNames
from processor.shell.transaction import Transactions
from processor.wire.inputs import Rejected
from tests.broker import produce, read_committed
from tests.shell.changelog import Writer, few_topics
from tests.shell.parts import intake, record
from tests.shell.transactions_bench import Bench, Member, left_behind


@pytest.fixture
def topics(broker: Broker) -> TopicNames:
    """The topics that these transactions write to."""
    return few_topics(broker, "plug_in", "reroute", "state", "outcomes", "dead_letter")


@pytest.fixture
def bench(broker: Broker, topics: TopicNames) -> Iterator[Bench]:
    bench = Bench(broker.bootstrap_servers, topics)
    yield bench
    bench.end()


def test_a_part_is_committed_with_its_offsets(bench: Bench) -> None:
    """Records and offsets of all parts become visible together."""
    parts = [bench.part(0, b"a", b"b", offset=5), bench.part(1, b"c", offset=7)]
    assert bench.transactions.commit(parts) == {0, 1}
    assert sorted(bench.values(3)) == [b"a", b"b", b"c"]
    assert bench.offsets() == {(bench.topics.reroute, 0): 5, (bench.topics.reroute, 1): 7}
    assert bench.count("committed") == 1


def test_what_lost_its_lease_is_left_out(bench: Bench) -> None:
    """A part whose partition was taken away is dropped; the others are committed without it."""
    parts = [bench.part(0, b"gone"), bench.part(1, b"here")]
    bench.close(0)
    assert bench.transactions.commit(parts) == {1}
    assert bench.values(1) == [b"here"]
    assert bench.offsets() == {(bench.topics.reroute, 1): 1}


def test_a_part_with_one_closed_lease_of_several_is_left_out(bench: Bench) -> None:
    """A part stands or falls whole."""
    part = bench.part(0, b"gone")
    closed = Lease(bench.topics.plug_in, 0)
    closed.is_open = False
    part.leases.add(closed)
    assert bench.transactions.commit([part]) == set()
    assert bench.values(0) == []
    assert bench.offsets() == {}


def test_nothing_is_begun_when_nobody_may(bench: Bench) -> None:
    """Without an open lease there is no transaction at all."""
    parts = [bench.part(0, b"gone")]
    bench.close(0)
    assert bench.transactions.commit(parts) == set()
    assert (bench.count("committed"), bench.count("aborted")) == (0, 0)


def test_the_membership_is_read_before_the_leases_are_looked_at(bench: Bench) -> None:
    """A lease that closes right after the membership was read stops the commit: newer metadata is never used for it."""
    bench.before_metadata = lambda _: bench.close(0)
    assert bench.transactions.commit([bench.part(0, b"gone")]) == set()
    assert bench.values(0) == []


def test_a_transaction_without_offsets_is_refused(bench: Bench) -> None:
    """Offsets are what the group fences by, so a part without any is a broken promise of ours."""
    part = bench.part(0, b"unfenced")
    part.offsets.clear()
    with pytest.raises(ValueError, match="would not be fenced"):
        bench.transactions.commit([part])


def test_without_a_membership_nothing_is_committed(bench: Bench) -> None:
    """Before the group has been joined there is nothing to fence with, so nothing may be written."""
    bench.metadata = None
    with pytest.raises(TransactionLost, match="no group membership"):
        bench.transactions.commit([bench.part(0, b"early")])
    assert bench.values(0) == []


def test_a_membership_that_names_nobody_fences_nothing(bench: Bench) -> None:
    """A member that fell out of its group has, for a moment, no name and no generation: brokers would let it commit."""
    stranger = Consumer({"bootstrap.servers": bench.bootstrap, "group.id": bench.group, "log_level": 0})
    nobody, good = stranger.consumer_group_metadata(), bench.metadata
    stranger.close()
    bench.metadata = nobody
    bench.before_metadata = lambda asked: setattr(bench, "metadata", good) if asked == 3 else None
    assert bench.transactions.commit([bench.part(0, b"a", offset=4)]) == {0}
    assert bench.asked == 3
    assert bench.values(1) == [b"a"]
    assert bench.offsets() == {(bench.topics.reroute, 0): 4}
    assert (bench.count("aborted"), bench.count("committed")) == (0, 1)


def test_a_membership_that_names_nobody_ends_with_its_leases(bench: Bench) -> None:
    """What waited for a membership is dropped when its partitions go."""
    stranger = Consumer({"bootstrap.servers": bench.bootstrap, "group.id": bench.group, "log_level": 0})
    bench.metadata = stranger.consumer_group_metadata()
    stranger.close()
    bench.before_metadata = lambda asked: bench.close(0) if asked == 2 else None
    assert bench.transactions.commit([bench.part(0, b"zombie")]) == set()
    assert bench.values(0) == []


def test_group_metadata_of_another_form_is_refused(bench: Bench) -> None:
    """A librdkafka that writes its metadata differently is noticed at the first commit, not when it fences nothing."""
    bench.metadata = b"CGMDv9:whatever"
    with pytest.raises(ValueError, match="cannot be read"):
        bench.transactions.commit([bench.part(0, b"a")])


def test_an_abort_that_a_broker_asked_for_is_no_reason_to_rebuild(bench: Bench) -> None:
    """A rebalance costs an abort and nothing else: what the broker answered is not under way any more."""
    good = bench.metadata
    bench.metadata = left_behind(good)
    bench.before_metadata = lambda asked: setattr(bench, "metadata", good) if asked == 2 else None
    assert bench.transactions.commit([bench.part(0, b"a")]) == {0}
    assert bench.count("aborted") == 1
    assert bench.rebuilds() == {}


def test_a_stale_generation_is_sent_again_with_the_new_one(bench: Bench) -> None:
    """A rebalance that took nothing from us costs an abort, not an event: the same parts are sent again."""
    other = Member(bench.bootstrap, bench.group, bench.topics.reroute)
    other.join((bench.member,))
    fresh = bench.member.metadata()

    def refresh(asked: int) -> None:
        if asked == 3:
            bench.metadata = fresh

    bench.before_metadata = refresh
    assert bench.transactions.commit([bench.part(0, b"a", offset=4)]) == {0}
    other.leave()
    assert bench.values(1) == [b"a"]
    assert bench.offsets() == {(bench.topics.reroute, 0): 4}
    assert (bench.count("aborted"), bench.count("committed")) == (2, 1)


def test_a_zombie_with_nothing_but_an_answer_is_fenced(bench: Bench) -> None:
    """A member that was left behind commits nothing, not even a part that read no record (pitfall P3)."""
    other = Member(bench.bootstrap, bench.group, bench.topics.reroute)
    other.join((bench.member,))
    bench.before_metadata = lambda asked: bench.close(0) if asked == 3 else None
    assert bench.transactions.commit([bench.part(0, b"zombie")]) == set()
    other.leave()
    assert bench.values(0) == []
    assert bench.offsets() == {}
    assert bench.count("aborted") == 2


def test_a_fenced_producer_is_lost_and_a_new_one_goes_on(bench: Bench) -> None:
    """When somebody took our id the outcome is not guessed; after a rebuild the next transaction works."""
    assert bench.transactions.commit([bench.part(0, b"before")]) == {0}
    rival = bench.new_transactions()
    rival.open()
    with pytest.raises(TransactionLost, match="the producer is finished"):
        bench.transactions.commit([bench.part(0, b"fenced", offset=2)])
    with pytest.raises(TransactionLost, match="there is no producer"):
        bench.transactions.commit([bench.part(0, b"still fenced", offset=2)])
    bench.transactions.open()
    assert bench.transactions.commit([bench.part(0, b"after", offset=2)]) == {0}
    rival.thread.shutdown()
    assert bench.values(2) == [b"before", b"after"]
    assert (bench.count("lost"), bench.count("committed")) == (1, 2)
    assert bench.rebuilds() == {"fenced": 1}


def test_an_id_that_is_taken_again_and_again_is_given_up(bench: Bench) -> None:
    """Three times the id is taken back from a rival; the fourth time the operator hears which setting to look at."""
    rival = bench.new_transactions()
    for offset in range(3):
        rival.open()
        with pytest.raises(TransactionLost, match="the producer is finished"):
            bench.transactions.commit([bench.part(0, b"fenced", offset=offset)])
        bench.transactions.open()
        assert bench.transactions.commit([bench.part(0, b"ours", offset=offset)]) == {0}
    rival.open()
    with pytest.raises(KafkaRefused, match="AXLE_PROCESSOR_KAFKA__INSTANCE_ID"):
        bench.transactions.commit([bench.part(0, b"fenced", offset=4)])
    rival.close()
    rival.thread.shutdown()
    assert bench.values(3) == [b"ours"] * 3
    assert bench.rebuilds() == {"fenced": 3}


class Sleepy(SystemClock):
    """A clock that another day has come on whenever it is looked at."""

    days = 0

    def monotonic(self) -> float:
        """As `SystemClock.monotonic`."""
        self.days += 1
        return super().monotonic() + self.days * 86_400


def test_a_machine_that_stands_still_again_and_again_is_no_rival(bench: Bench) -> None:
    """Who is fenced because a transaction outlasted its time-out takes the id back as often as it has to."""
    rival = bench.new_transactions()
    slept = bench.new_transactions(clock=Sleepy())
    for offset in range(5):
        slept.open()
        rival.open()
        with pytest.raises(TransactionLost, match="the producer is finished"):
            slept.commit([bench.part(0, b"fenced", offset=offset)])
    slept.open()
    assert slept.commit([bench.part(0, b"awake")]) == {0}
    for one in (rival, slept):
        one.close()
        one.thread.shutdown()
    assert bench.values(1) == [b"awake"]


def test_who_was_fenced_and_owns_nothing_leaves_the_id_alone(bench: Bench) -> None:
    """An old owner that wakes up does not fence its successor; only something to commit makes it take the id again."""
    successor = bench.new_transactions()
    successor.open()
    with pytest.raises(TransactionLost, match="the producer is finished"):
        bench.transactions.commit([bench.part(0, b"zombie")])
    bench.close(0)
    bench.transactions.open()
    assert bench.transactions.commit([]) == set()
    assert successor.commit([bench.part(1, b"successor")]) == {0}
    successor.close()
    successor.thread.shutdown()
    assert bench.transactions.commit([bench.part(0, b"back", offset=2)]) == {0}
    assert sorted(bench.values(2)) == [b"back", b"successor"]
    assert bench.rebuilds() == {"fenced": 1}


def test_a_new_owner_of_the_id_ends_what_was_open(bench: Bench, broker: Broker) -> None:
    """Opening aborts the open transaction of whoever had the id before, at once."""
    writer = Writer(broker, bench.topics)
    writer.begin(0, checkpoint={})
    config = {"bootstrap.servers": bench.bootstrap, **producer_config(f"{bench.topics.state}.predecessor", 8000)}
    heir = Transactions(config, bench.leases, lambda: bench.metadata, SystemClock(), bench.metrics, uniform=max)
    heir.open()
    heir.close()
    heir.thread.shutdown()
    produce(bench.bootstrap, bench.topics.state, [(b"#checkpoint", b"mark", None)] * 2)
    seen = read_committed(bench.bootstrap, bench.topics.state, 2, 5)
    assert [message.value() for message in seen] == [b"mark", b"mark"]


def test_a_timeout_that_the_brokers_forbid_is_a_sentence(bench: Bench) -> None:
    """A setting that the brokers do not take is told when the producer is built."""
    with pytest.raises(KafkaRefused, match=r"does not let us begin transactions .*TRANSACTION_TIMEOUT_SECONDS"):
        bench.new_transactions(2_000_000_000).open()


def test_the_largest_record_that_came_in_can_be_dead_lettered(bench: Bench) -> None:
    """A record as large as the input topic takes ends in the dead letters, instead of being tried for ever."""
    huge = b"x" * 1_048_400
    part_of = intake(bench.topics, 2)
    came = record(huge, bench.topics.plug_in)
    arrival = part_of.read(came, 0)
    assert isinstance(arrival.said, Rejected)
    part = bench.part(0)
    part.produces.append(part_of.dead_letter(came, arrival, arrival.said))
    assert bench.transactions.commit([part]) == {0}
    (letter,) = read_committed(bench.bootstrap, bench.topics.dead_letter, 1)
    assert letter.key() == b"k"


def test_a_time_out_that_hides_a_lost_end_is_refused(bench: Bench) -> None:
    """An end without an answer must be sent again while its transaction still lives."""
    bench.settings = {"socket.timeout.ms": 8000}
    with pytest.raises(ValueError, match=r"socket.timeout.ms \(8000\) must be below transaction.timeout.ms \(8000\)"):
        bench.new_transactions(8000)


def test_closing_waits_for_a_transaction_under_way(bench: Bench) -> None:
    """A revocation in the middle lets the commit end; what comes after it finds the lease closed."""
    part = bench.part(0, b"a")
    with ThreadPoolExecutor(1) as poll_thread:
        revoking = InTheMiddle(part, lambda: poll_thread.submit(bench.leases.close, list(part.offsets), 10))
        assert bench.transactions.commit([part]) == {0}
        assert [future.result(10) for future in revoking.futures] == [True]
    assert bench.transactions.commit([part]) == set()
    assert bench.values(1) == [b"a"]


class InTheMiddle(list[Produce]):
    """The records of a part, at whose reading something begins: in the middle of the part's transaction."""

    def __init__(self, part: Part, begin: "Callable[[], Future[bool]]") -> None:
        super().__init__(part.produces)
        part.produces = self
        self._begin = begin
        self.futures: list[Future[bool]] = []

    def __iter__(self) -> Iterator[Produce]:
        self.futures.append(self._begin())
        return super().__iter__()

"""A partition that is held back on a real broker: nothing of it comes, and then all of it, from where it is begun."""

import pytest

from processor.demo.kafka import Broker
from processor.shell.partition import murmur2
from processor.shell.protocol import Spoken
from processor.shell.topics import TopicNames
from tests.broker import produce
from tests.shell.changelog import few_topics
from tests.shell.poll_bench import SECONDS, Poller, wait_for


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_a_partition_that_is_held_stands_still_and_comes_again(broker: Broker, protocol: Spoken) -> None:
    """Nothing of it comes until it is begun, then all from there on; under a lease that closed nothing is held."""
    topics: TopicNames = few_topics(broker, "plug_in", "reroute")
    source = (topics.plug_in, (murmur2(b"k") & 0x7FFFFFFF) % 2)
    one = Poller(broker, topics, protocol).join(4)

    def write(*values: bytes) -> None:
        produce(broker.bootstrap_servers, topics.plug_in, [(b"k", value, None) for value in values])

    try:
        write(b"0")
        assert one.begin({source: 0})
        one.read(1)
        lease = one.lease(source)
        one.poll.hold(source, lease).result(SECONDS)
        write(b"1", b"2")
        turns = one.poll.turns
        wait_for(lambda: one.poll.turns > turns + 30)
        assert [record.offset for record in one.ears.records] == [0]
        assert one.begin({source: 0})
        assert [record.offset for record in one.read(4)] == [0, 0, 1, 2]
        one.leases.open(*source)
        one.poll.hold(source, lease).result(SECONDS)
        write(b"3")
        assert [record.value for record in one.read(5)][-1] == b"3"
    finally:
        assert one.poll.stop(SECONDS)

"""Brokers die: what no smaller rig can show of it. The long form is `tests/chaos/brokers.py`."""

import time
from itertools import count
from typing import Any

import pytest
from confluent_kafka import Producer

from processor.demo.kafka import make_topics
from processor.demo.kafka_cluster import EmbeddedCluster
from processor.shell.kafka_errors import Rebuilt
from processor.shell.topics import TopicNames
from processor.shell.transaction import OFFSETS_SECONDS
from tests.kafka.rig import wait_until
from tests.shell.transactions_bench import Bench

SECONDS = 30.0


class Producers:
    """Makes producers, and keeps them."""

    def __init__(self) -> None:
        self.made: list[Producer] = []

    def __call__(self, config: dict[str, Any]) -> Producer:
        self.made.append(Producer(config))
        return self.made[-1]


@pytest.mark.kafka
def test_a_coordinator_that_librdkafka_waits_for_in_vain_holds_nobody_up() -> None:
    """With the group's coordinator gone, offsets that are never sent cost seconds, and nothing else is lost.

    librdkafka waits for a broker that left the cluster without an end, whatever time-out it was given
    (confluentinc/librdkafka#5456 and #5511).
    """
    with EmbeddedCluster() as cluster:
        topics = TopicNames()
        make_topics(cluster, topics, 2)
        bench = Bench(cluster.bootstrap_servers, topics)
        producers = Producers()
        gone = cluster.group_coordinator(bench.group)
        bench.settings = {
            "transactional.id": next(
                name for n in count() if cluster.transaction_coordinator(name := f"{bench.group}.{n}") != gone
            )
        }
        # Without the rule, because with it the producer that saw its broker go would not be used any more.
        bench.transactions = bench.new_transactions(producer=producers, heeds_suspicion=False)
        bench.transactions.open()
        try:
            assert bench.transactions.commit([bench.part(0, b"before")]) == {0}
            cluster.kill(gone)
            cluster.wait_led()
            (only,) = producers.made
            wait_until(lambda: gone not in only.list_topics(timeout=5).brokers, SECONDS, "the node is forgotten")
            began = time.monotonic()
            assert bench.transactions.commit([bench.part(0, b"after", offset=2)]) == {0}
            assert time.monotonic() - began < OFFSETS_SECONDS + 10
            assert bench.values(2) == [b"before", b"after"]
            assert bench.offsets()[topics.reroute, 0] == 2
            assert (bench.count("aborted"), bench.rebuilds()) == (1, {Rebuilt.BROKER_CONNECTION.value: 1})
        finally:
            bench.end()

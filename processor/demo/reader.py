"""A reader of the product's own topics, for those who stand outside: it sees what was committed, and nothing else.

What the records mean is the callers' business. The idea: it belongs to no group and remembers nothing; it reads every
partition from its beginning, on a thread of its own, and hands over whole batches.
"""

import threading
from collections.abc import Callable, Sequence

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

_BATCH_MAX = 500
_WAIT_SECONDS = 0.05
_METADATA_SECONDS = 10.0
_STOP_SECONDS = 5.0


class ReaderFailed(Exception):
    """The topics cannot be read. One sentence for a person."""


class Reader:
    """Reads `topics` until `stop`; `hear` gets each batch, in the order of each partition, on the reader's thread."""

    def __init__(self, bootstrap_servers: str, topics: Sequence[str], hear: Callable[[list[Message]], None]) -> None:
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap_servers,
                "group.id": "axle-demo-reader",
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "fetch.wait.max.ms": 50,
                "log_level": 0,
            }
        )
        self._topics = topics
        self._hear = hear
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._read, name="demo-reader", daemon=True)

    def start(self) -> None:
        """Begin. Raises ReaderFailed when the topics are not there."""
        try:
            known = self._consumer.list_topics(timeout=_METADATA_SECONDS).topics
        except KafkaException as failure:
            raise ReaderFailed(f"the topics cannot be read: {failure.args[0].str()}") from failure
        missing = [topic for topic in self._topics if topic not in known]
        if missing:
            raise ReaderFailed(f"the topics are not there: {', '.join(missing)}")
        self._consumer.assign(
            [TopicPartition(topic, number, 0) for topic in self._topics for number in known[topic].partitions]
        )
        self._thread.start()

    def stop(self) -> None:
        """End, and wait for the thread."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(_STOP_SECONDS)
        self._consumer.close()

    def _read(self) -> None:
        while not self._stopping.is_set():
            first = self._consumer.poll(_WAIT_SECONDS)
            if first is None:
                continue
            # consume() with a wait would wait it out whole; what is there already comes at once.
            messages = [first, *self._consumer.consume(_BATCH_MAX, 0)]
            self._hear([message for message in messages if message.error() is None])

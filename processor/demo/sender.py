"""The sender: planned events as records on the input topics, and where the broker put them.

What is sent is `traffic.py`'s. The idea: an event counts as told only with the broker's own word for it (partition,
offset and append time), because that word is what outcomes and latencies are held against later.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from processor.core.events import Input, Source
from processor.demo.traffic import Planned, encode
from processor.shell.topics import TopicNames
from processor.wire.avro import Codec

_QUEUE_MAX = 20_000


@dataclass(slots=True)
class Put:
    """An event on its way. `place` and `appended_ms` are the broker's, once it has acknowledged it."""

    planned: Planned
    place: Source | None = None
    appended_ms: int = 0


class Sender:
    """An idempotent producer that places records as Java clients do. Used on one thread.

    `stamps`: whether the broker stamps records with its own time; a mock does not, and the time of sending must do.
    """

    def __init__(self, bootstrap_servers: str, names: TopicNames, codec: Codec, *, stamps: bool = True) -> None:
        self._codec = codec
        self._stamps = stamps
        self._topics: Mapping[Input, str] = {
            Input.PLUG_IN: names.plug_in,
            Input.USER_BOOST: names.user_boost,
            Input.CONSENT_WITHDRAWN: names.consent_withdrawn,
        }
        self.refused: list[str] = []
        """What the broker did not take, in its own words."""
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap_servers,
                "enable.idempotence": True,
                "partitioner": "murmur2_random",
                "linger.ms": 0,
                "queue.buffering.max.messages": _QUEUE_MAX,
                "log_level": 0,
            }
        )

    def send(self, planned: Planned) -> Put:
        """Send it; what the broker says is written onto the `Put` during a later `poll`."""
        put = Put(planned)
        sent_ms = time.time_ns() // 1_000_000

        def delivered(error: KafkaError | None, message: Message) -> None:
            if error is not None:
                self.refused.append(f"{planned.event.event_id}: {error.str()}")
                return
            topic, partition, offset = message.topic(), message.partition(), message.offset()
            if topic is not None and partition is not None and offset is not None:
                put.place = Source(topic, partition, offset)
                put.appended_ms = message.timestamp()[1] if self._stamps else sent_ms

        value = encode(planned, self._codec)
        try:
            self._producer.produce(self._topics[planned.kind], value, planned.key.encode(), on_delivery=delivered)
        except BufferError:
            self.refused.append(f"{planned.event.event_id}: {_QUEUE_MAX} events wait for the broker already")
        except KafkaException as failure:
            self.refused.append(f"{planned.event.event_id}: {failure.args[0].str()}")
        return put

    def poll(self) -> None:
        """Hear what was delivered."""
        self._producer.poll(0)

    @property
    def waiting(self) -> int:
        """How many events the broker has not acknowledged yet."""
        return len(self._producer)

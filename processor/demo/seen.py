"""The processor's records, as somebody outside reads them: what is published, what is settled, what was rejected.

What is right or wrong about them is `verifier.py`'s. The idea: three topics, three kinds of fact, and nothing else.
"""

from confluent_kafka import Message

from processor.core.events import Source
from processor.core.outputs import ModifiedSchedule, Outcome
from processor.demo.history import History, Published, Settled
from processor.shell.topics import TopicNames
from processor.wire.avro import Codec

Seen = Published | Settled | Source
"""A schedule, an outcome, or the place that a dead letter had before."""


def read_seen(message: Message, names: TopicNames, codec: Codec) -> Seen:
    """What a record of the schedules, the outcomes or the dead letters says. Raises wire.avro.Undecodable."""
    value, appended_ms = message.value() or b"", message.timestamp()[1]
    if message.topic() == names.modified_schedule:
        return Published(codec.decode_output(ModifiedSchedule, value), appended_ms)
    if message.topic() == names.outcomes:
        return Settled(codec.decode_output(Outcome, value), appended_ms)
    return _origin(message)


def note(history: History, seen: Seen) -> None:
    """Add it to what was seen."""
    if isinstance(seen, Published):
        history.published.append(seen)
    elif isinstance(seen, Settled):
        history.settled.append(seen)
    else:
        history.dead_letters.append(seen)


def _origin(message: Message) -> Source:
    told = dict(message.headers() or ())

    def text(name: str) -> str:
        value = told[f"dlt-original-{name}"]
        return value.decode() if isinstance(value, bytes) else str(value)

    return Source(text("topic"), int(text("partition")), int(text("offset")))

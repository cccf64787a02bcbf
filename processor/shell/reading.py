"""Messages of librdkafka's as records, and what becomes of those that it cannot unpack.

Polling, seeking and leases are the poll thread's (`consumer.py`). The one idea: a batch that is damaged, or that would
be far larger than anything we take once it is unpacked, is told as the same error for ever, and its partition would
stand still. So after `TRIES` times each record of it is given up: it goes on as one of which nothing is known but its
place, becomes a dead letter, and the next one is fetched.
"""

from contextlib import suppress
from operator import methodcaller
from typing import cast

from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, KafkaError, Message

from processor.shell.leases import Lease
from processor.shell.records import Headers, Partition, Record

TRIES = 3
"""So often a batch is fetched before a record of it is given up: what a network or a memory did may be over by then."""
_HEADERS = methodcaller("headers")


def record_of(message: Message, offset: int, lease: Lease) -> Record:
    """A message that came without an error, read under that lease."""
    kind, at_ms = message.timestamp()
    return Record(
        topic=cast("str", message.topic()),
        partition=cast("int", message.partition()),
        offset=offset,
        key=message.key(),
        value=message.value(),
        headers=_headers_of(message),
        appended_ms=at_ms if kind == TIMESTAMP_LOG_APPEND_TIME else None,
        lease=lease,
    )


class Unpackable:
    """Which places were tried, and how often. Used by the poll thread alone."""

    def __init__(self) -> None:
        self._tried: dict[Partition, tuple[int, int]] = {}

    def gives_up(self, message: Message, place: Partition, position: int) -> int | None:
        """The offset of the record to give up, where the error says that it cannot be unpacked, and did so before.

        `position` is the next offset that we want; the error tells where its batch begins.
        """
        error = message.error()
        if error is None or error.code() != KafkaError._BAD_COMPRESSION:
            return None
        offset = max(position, message.offset() or 0)
        before, times = self._tried.get(place, (offset, 0))
        times = times + 1 if before == offset else 1
        if times < TRIES:
            self._tried[place] = offset, times
            return None
        self._tried.pop(place, None)
        return offset


def given_up(place: Partition, offset: int, lease: Lease) -> Record:
    """A record of which nothing is known but its place."""
    return Record(*place, offset, None, None, [], None, lease, is_unpackable=True)


def _headers_of(message: Message) -> Headers:
    """None where a name is no UTF-8. The client raises then; called plainly, Python 3.11 lets that pass until later."""
    with suppress(SystemError, UnicodeDecodeError):
        return cast("Headers", _HEADERS(message) or [])
    return []

"""The gate before a round: a record whose writer's schema is not known yet holds its partition back.

Here lives which partitions wait and how they go on; what is known is `known_schemas.py`'s business. The one idea: a
held partition is not buffered, it is read again. Its offset stays where it is, what was read behind it is dropped, and
when the registry has answered the poll thread goes back to the record that asked. So nothing is overtaken, nothing
piles up however long the registry is away, and other partitions go on.
"""

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Any

import structlog

from processor.core.events import Input
from processor.shell.consumer import PollThread
from processor.shell.known_schemas import KnownSchemas
from processor.shell.leases import Lease
from processor.shell.records import Partition, Record
from processor.wire.registered import Named

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Held:
    """A partition that waits at this offset for what the record there names."""

    lease: Lease
    offset: int
    named: Named
    is_going_on: bool = False
    """Whether it was told to go on; until the record comes again, what comes is from before."""


class Gate:
    """Which records may be read. Lives in the event loop."""

    def __init__(
        self,
        kind_of: Callable[[Record], Input | None],
        schemas: KnownSchemas,
        poll: PollThread,
        on_failure: Callable[[Exception], None],
    ) -> None:
        """`kind_of`: what a record is read as; None for one that is not Avro. `on_failure` ends the process."""
        self._kind_of = kind_of
        self._schemas = schemas
        self._poll = poll
        self._on_failure = on_failure
        self._held: dict[Partition, _Held] = {}
        schemas.on_answer = self._look_again

    @property
    def held(self) -> list[Partition]:
        """The partitions that are ours and wait."""
        return sorted(place for place, held in self._held.items() if held.lease.is_open and not held.is_going_on)

    @property
    def trouble(self) -> str | None:
        """Who waits for a registry that does not answer, in a sentence; None where nobody does."""
        held, why = self.held, self._schemas.trouble
        if not held or why is None:
            return None
        topic, partition = held[0]
        more = f" and {len(held) - 1} more" if len(held) > 1 else ""
        return f"{topic} [{partition}]{more} stands still until the schema registry can be asked: {why}"

    def admits(self, record: Record) -> bool:
        """Whether the record may be read now. One that may not comes again, and so does all behind it."""
        place = (record.topic, record.partition)
        held = self._held.get(place)
        if held is not None and held.lease is record.lease:
            if not (held.is_going_on and record.offset == held.offset):
                self._ask_for(record)
                return False
            del self._held[place]
        named = self._ask_for(record)
        if named is None:
            return True
        self._held[place] = _Held(record.lease, record.offset, named)
        self._poll.hold(place, record.lease).add_done_callback(partial(self._done, record.lease))
        subject, number = named
        log.info("a partition waits for a schema", place=place, offset=record.offset, subject=subject, schema_id=number)
        return False

    def _ask_for(self, record: Record) -> Named | None:
        """What has to be known before the record can be read; it is asked for. None when nothing is missing."""
        kind, value = self._kind_of(record), record.value
        named = None if kind is None or value is None else self._schemas.codec.unknown(kind, value)
        if named is None or self._schemas.is_settled(named):
            return None
        self._schemas.want(named)
        return named

    def _look_again(self) -> None:
        """The registry has answered: those whose question is settled go on at their record, the others ask again."""
        for place, held in list(self._held.items()):
            if not held.lease.is_open:
                del self._held[place]
            elif not self._schemas.is_settled(held.named):
                self._schemas.want(held.named)
            elif not held.is_going_on:
                held.is_going_on = True
                self._poll.begin({place: held.offset}, [held.lease]).add_done_callback(partial(self._done, held.lease))

    def _done(self, lease: Lease, command: "Future[Any]") -> None:
        """On the poll thread: a partition of ours that cannot go on must not stand still in silence."""
        error = command.exception()
        if isinstance(error, Exception) and lease.is_open:
            self._on_failure(error)

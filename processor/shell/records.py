"""The shell's nouns: what comes from Kafka, what goes back, and what stands or falls together.

Values only. A round makes `Part`s, one per task or foreign source partition, and `transaction.py` commits all parts
whose leases are open as one transaction.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Protocol

from msgspec import Struct

from processor.core.intents import Intent
from processor.core.outputs import Output
from processor.core.site import Site
from processor.shell.leases import Lease

Headers = list[tuple[str, str | bytes | None]]
Partition = tuple[str, int]
"""Topic and partition number."""
HEADER_BYTES = 8
"""What a header takes on the wire beside its name and value, at the most."""
HOPPED = "hopped"
"""Goes with the offset of an input whose records were only sent on to their tasks."""


class Record(Struct, frozen=True):
    """One record as read. `appended_ms` is the broker's time where the topic has it, else None."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    appended_ms: int | None
    lease: Lease
    is_unpackable: bool = False
    """Whether librdkafka could not unpack its batch: nothing is known of it but its place."""

    @property
    def size_bytes(self) -> int:
        """What it takes on the wire, and in memory: see `size_of`."""
        return size_of(self.key, self.value, self.headers)


def size_of(key: bytes | None, value: bytes | None, headers: Headers) -> int:
    """How many bytes a record takes, rather too many than too few; a value may be small and its headers huge."""
    size = len(key or b"") + len(value or b"")
    for name, text in headers:
        size += HEADER_BYTES + len(name.encode()) + len(text or b"")
    return size


class Produce(Struct, frozen=True):
    """One record to write. Without a partition the key decides (murmur2, as Java clients do)."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers = []
    partition: int | None = None


@dataclass(slots=True)
class Part:
    """What one round does for one task, or for one source partition that only feeds other tasks.

    A part stands or falls whole: it is committed only while all its leases are open. `offsets` is never empty: a
    transaction without offsets would not be fenced by the group (pitfall P3).
    """

    task: int | None
    leases: set[Lease] = field(default_factory=set)
    offsets: dict[Partition, int] = field(default_factory=dict)
    produces: list[Produce] = field(default_factory=list)
    sites: dict[str, Site] = field(default_factory=dict)
    """Sites that were looked at, as they are after the round."""
    changed: dict[str, bytes] = field(default_factory=dict)
    """Encoded states of those that changed; empty bytes for one that was forgotten."""
    owed: dict[str, tuple[Intent, ...]] = field(default_factory=dict)
    """Calls to Axle that those owe which changed, as of the round's time."""
    answered: list[object] = field(default_factory=list)
    """Lanes whose answer this part settles."""
    records: list[Record] = field(default_factory=list)
    """Input records that it settles or sends on."""
    said: list[Output] = field(default_factory=list)
    """What was decided, for those who count and watch."""
    rejected: list[str] = field(default_factory=list)
    hops: int = 0


class Log(Protocol):
    """The narrow port to Kafka that a round stands on."""

    async def commit(self, parts: list[Part]) -> Collection[int]:
        """Commit the parts as one transaction. Returns the indices of those that are committed.

        The others lost a lease; they are somebody else's now, or will be read again. Raises `TransactionLost` when the
        outcome is unknown, and `KafkaRefused` when a broker forbids what we do.
        """
        ...


class TransactionLost(Exception):
    """The producer broke in a transaction: what was committed is known only after the tasks were restored."""


class KafkaRefused(Exception):
    """The brokers refuse us for good (rights, versions). One sentence for the operator."""


class RestoreFailed(Exception):
    """The state of a task cannot be had, or not be used. One sentence: what, where, what to try."""


class RestoreCancelled(Exception):
    """The task went away while it was restored."""

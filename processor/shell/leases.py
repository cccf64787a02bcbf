"""Leases: who may still write for a partition. One is opened per assignment and closed when the partition goes.

A broker fences members and generations, not partitions (pitfall P5): a live member could commit for a partition that
was taken from it a moment ago. So each slice of work carries the leases it was read under, a transaction *holds* them
while it runs, and a revocation closes them and waits for that transaction. The one idea: closed is for ever; the same
partition coming back gets a new lease.
"""

import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager


class Lease:
    """The right to write for one assigned partition. Compared by identity."""

    __slots__ = ("is_open", "partition", "topic")

    def __init__(self, topic: str, partition: int) -> None:
        self.topic = topic
        self.partition = partition
        self.is_open = True


class Leases:
    """All leases of this process. Thread-safe: closed on the poll thread, held on the producer thread."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._current: dict[tuple[str, int], Lease] = {}
        self._held: Collection[Lease] = ()

    def open(self, topic: str, partition: int) -> Lease:
        """A new lease for the partition; one that was open for it is closed."""
        with self._changed:
            old = self._current.get((topic, partition))
            if old:
                old.is_open = False
            lease = Lease(topic, partition)
            self._current[topic, partition] = lease
            return lease

    def current(self, topic: str, partition: int) -> Lease | None:
        """The open lease of the partition, or None when it is not ours."""
        return self._current.get((topic, partition))

    def close(self, partitions: Collection[tuple[str, int]], wait_seconds: float) -> bool:
        """Close the leases, then wait for a transaction that holds one of them. False when it did not end in time."""
        with self._changed:
            closing = {self._current.pop(partition) for partition in partitions if partition in self._current}
            for lease in closing:
                lease.is_open = False
            return self._changed.wait_for(lambda: closing.isdisjoint(self._held), wait_seconds)

    def wait_until_free(self, partitions: Collection[tuple[str, int]], wait_seconds: float) -> bool:
        """Wait for a transaction that holds a closed lease of one of these. False when it did not end in time.

        Nobody may look at what is committed for a partition before: a transaction of our own would go on behind it.
        """
        wanted = set(partitions)

        def is_free() -> bool:
            return not any(not lease.is_open and (lease.topic, lease.partition) in wanted for lease in self._held)

        with self._changed:
            return self._changed.wait_for(is_free, wait_seconds)

    @contextmanager
    def hold(self, leases: Collection[Lease]) -> Iterator[bool]:
        """Hold the leases for one transaction; yields whether all of them were open."""
        with self._changed:
            is_open = all(lease.is_open for lease in leases)
            self._held = leases if is_open else ()
        try:
            yield is_open
        finally:
            with self._changed:
                self._held = ()
                self._changed.notify_all()

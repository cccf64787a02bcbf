"""Where logs begin and end, asked of the brokers in one bounded question for all partitions at once.

`list_ends` is that question, for anybody. `LogEnds` is for the poll thread, which must not wait for each partition in
turn: until it polls again nothing else is served, and in the end the group takes the member for dead. The one idea: an
answer is a number that was true at one moment, and whoever asks says for how long it may be asked for.
"""

from collections.abc import Collection, Mapping
from contextlib import suppress
from threading import Event
from typing import Any

from confluent_kafka import IsolationLevel, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined] # its stubs omit it

from processor.shell.asker import monotonic
from processor.shell.records import KafkaRefused, Partition

FIRST_SECONDS = 30.0
"""Longer than brokers need to find that one of them is gone, and to choose new leaders."""
STILL_SECONDS = 0.5
STABLE_SECONDS = 1.0
TRY_SECONDS = 2.0
REST_SECONDS = 0.05
EARLIEST, LATEST = OffsetSpec.earliest(), OffsetSpec.latest()  # type: ignore[no-untyped-call]


class LogEnds:
    """Asks the brokers. `changelog` is the topic of the tasks' states."""

    def __init__(self, connection: Mapping[str, Any], changelog: str, first_seconds: float = FIRST_SECONDS) -> None:
        """`first_seconds`: how long `first` asks, all told."""
        self._admin = AdminClient({**connection, "log_level": 0})
        self._changelog = changelog
        self._first_seconds = first_seconds

    def first(self, partitions: Collection[Partition], stopping: Event) -> dict[Partition, int]:
        """The first offset that each still has. Raises KafkaRefused when not all are told in time.

        Those without an answer are asked for again: a partition may have no leader yet, or change it just now.
        """
        found: dict[Partition, int] = {}
        deadline = monotonic() + self._first_seconds
        why = "no answer"
        while left := [partition for partition in partitions if partition not in found]:
            remaining = deadline - monotonic()
            if remaining <= 0 or stopping.is_set():
                raise KafkaRefused(
                    f"the brokers did not tell within {self._first_seconds:g} s where {left[0][0]} [{left[0][1]}] "
                    f"begins, and {len(left) - 1} more partitions ({why}); look whether they have a leader, and start "
                    "again"
                )
            told, failure = list_ends(self._admin, left, EARLIEST, min(TRY_SECONDS, remaining))
            found |= told
            why = failure.str() if failure else why
            if len(found) < len(partitions):
                stopping.wait(REST_SECONDS)
        return found

    def still(self, tasks: Collection[int]) -> dict[int, int]:
        """Where the changelogs of these tasks end, of those where no transaction is open; empty-handed after 0.5 s."""
        found: dict[int, int] = {}
        deadline = monotonic() + STILL_SECONDS
        while left := [(self._changelog, task) for task in tasks if task not in found]:
            remaining = deadline - monotonic()
            if remaining <= 0:
                break
            ends, _ = list_ends(self._admin, left, LATEST, remaining, IsolationLevel.READ_UNCOMMITTED)
            stable, _ = list_ends(self._admin, left, LATEST, remaining)
            found |= {p[1]: end for p, end in ends.items() if stable.get(p) == end}
            if len(found) < len(tasks):
                Event().wait(REST_SECONDS / 5)
        return found

    def stable(self, partitions: Collection[Partition]) -> dict[Partition, int]:
        """The last stable offset of those that are told within a second; what lies above it nobody may read yet."""
        found, _ = list_ends(self._admin, partitions, LATEST, STABLE_SECONDS)
        return found


def list_ends(
    admin: AdminClient,
    partitions: Collection[Partition],
    spec: OffsetSpec,
    seconds: float,
    isolation: IsolationLevel = IsolationLevel.READ_COMMITTED,
) -> tuple[dict[Partition, int], KafkaError | None]:
    """The first or last offset of each that is told within so many seconds, and why the others are not.

    read_committed, an open transaction hides what lies above it.
    """
    found: dict[Partition, int] = {}
    why: KafkaError | None = None
    try:
        asked = {TopicPartition(*partition): spec for partition in partitions}
        futures = admin.list_offsets(asked, isolation_level=isolation, request_timeout=max(seconds, 0.1))
    except KafkaException as failure:
        return found, failure.args[0]
    for partition, future in futures.items():
        try:
            offset = future.result(seconds + 1).offset
        except KafkaException as failure:
            why = failure.args[0]
        except TimeoutError:
            why = KafkaError(KafkaError._TIMED_OUT)
        else:
            # Where the leader has just gone, librdkafka tells no error, and an offset that is none (measured).
            if offset >= 0:
                found[partition.topic, partition.partition] = offset
            else:
                why = KafkaError(KafkaError.LEADER_NOT_AVAILABLE)
    if why is not None:
        with suppress(KafkaException):
            # It asks whom it takes for the leader; without this it would for more than a minute (measured).
            admin.list_topics(timeout=min(seconds, 1.0))
    return found, why

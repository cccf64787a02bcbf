"""Who wrote what, in the broker's own log segments: the one witness that no client can talk into anything.

Here lives the reading of record batches' headers and of the markers that end transactions; what the records say is of
no interest. The idea: a batch carries its producer's id, so the order of offsets in a task's changelog tells who worked
on the task, and when another one took over. Format: Kafka's documentation, "Record Batch" and "Control Batches".
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

_HEADER = struct.Struct(">qiibIhiqqqhii")
_LENGTH_END = 12
_TRANSACTIONAL, _CONTROL = 0x10, 0x20
_COMMIT = 1


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch of records, or a transaction's marker (`commits` None: no marker)."""

    offset: int
    producer_id: int
    transactional: bool
    commits: bool | None


def batches(partition: Path) -> Iterator[Batch]:
    """All batches of a partition's folder, in the order of their offsets."""
    for segment in sorted(partition.glob("*.log")):
        data = segment.read_bytes()
        at = 0
        while at + _HEADER.size <= len(data):
            offset, length, _, magic, _, attributes, _, _, _, producer_id, _, _, _ = _HEADER.unpack_from(data, at)
            end = at + _LENGTH_END + length
            if length <= 0 or magic != 2 or end > len(data):
                break
            commits = None
            if attributes & _CONTROL:
                commits = _is_commit(data[at + _HEADER.size : end])
            yield Batch(offset, producer_id, bool(attributes & _TRANSACTIONAL), commits)
            at = end


def _is_commit(record: bytes) -> bool:
    """A marker's key is two numbers of 16 bits: version, and 0 for abort or 1 for commit."""
    at = _after_number(record, 0)
    at += 1
    for _ in range(3):
        at = _after_number(record, at)
    return int.from_bytes(record[at + 2 : at + 4]) == _COMMIT


def _after_number(record: bytes, at: int) -> int:
    while record[at] & 0x80:
        at += 1
    return at + 1


def owners(partition: Path) -> list[int]:
    """The producers whose transactions are committed in a partition, one after the other as they took turns."""
    pending: dict[int, list[int]] = {}
    committed: list[tuple[int, int]] = []
    for batch in batches(partition):
        if batch.commits is None:
            pending.setdefault(batch.producer_id, []).append(batch.offset)
            continue
        written = pending.pop(batch.producer_id, [])
        if batch.commits:
            committed += [(offset, batch.producer_id) for offset in written]
    return [producer for producer, _ in groupby(producer for _, producer in sorted(committed))]


def changelog(broker_folder: Path, topic: str, task: int) -> Path:
    """Where a broker of one node keeps a task's changelog."""
    return next(broker_folder.glob(f"**/{topic}-{task}"))

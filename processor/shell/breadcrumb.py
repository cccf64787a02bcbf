"""The breadcrumb: which record was being read when the process died, so that it cannot kill every process after it.

Here lives one small file, mapped into memory: what is written to it outlives a crash of the process, and costs about a
microsecond a record. What is done about a record that kills is `intake.py`'s business (pitfall P23). The one idea: a
record is marked before it is read and the mark is taken away after its round; a mark that is found at the start is a
record that somebody died of. From then on rounds have one record each, so that the next mark is exact. A record that
killed three times is condemned: it is not read any more.
"""

import mmap
from collections.abc import Iterable
from pathlib import Path

import structlog

from processor.shell.records import Record

CRASHES_MAX = 3
CAREFUL_RECORDS = 5_000
"""So many records go one by one at most: the one that killed may be somebody else's now."""
_FILE_BYTES = 1024
_HALF = _FILE_BYTES // 2
log = structlog.get_logger(__name__)


class Breadcrumb:
    """The mark of one process. Without a path it does nothing. Used on the event loop only."""

    def __init__(self, path: Path | None = None) -> None:
        """`path` must be this process's own. A file that cannot be used is told, and we go on without one."""
        self._map: mmap.mmap | None = None
        self._suspect = b""
        self._crashes = 0
        self._careful = 0
        if path is None:
            return
        try:
            self._map = _mapped(path)
        except OSError as error:
            log.warning("no breadcrumb: a record that kills us would kill us again", path=str(path), why=str(error))
            return
        self._look_back()

    @property
    def round_max(self) -> int | None:
        """How many records a round may have; None: as many as ever."""
        return 1 if self._careful else None

    def mark(self, record: Record) -> bool:
        """The record is about to be read. False when it has killed too often for that."""
        if self._map is None:
            return True
        name = _name(record)
        _put(self._map, 0, name)
        return self._crashes < CRASHES_MAX or name != self._suspect

    def settled(self, records: Iterable[Record]) -> None:
        """These records are committed, and nobody died of them."""
        if self._map is None:
            return
        _put(self._map, 0, b"")
        if self._careful:
            names = {_name(record) for record in records}
            self._careful = 0 if self._suspect in names else max(self._careful - len(names), 0)
            if not self._careful:
                self._suspect, self._crashes = b"", 0
                _put(self._map, _HALF, b"")

    def close(self) -> None:
        """We end, and not of a record."""
        if self._map is not None:
            _put(self._map, 0, b"")
            self._map.close()
            self._map = None

    def _look_back(self) -> None:
        if self._map is None:
            return
        died_at, (crashes, _, suspect) = _get(self._map, 0), _get(self._map, _HALF).partition(b" ")
        self._suspect, self._crashes = suspect, int(crashes) if crashes.isdigit() else 0
        if died_at:
            self._crashes = self._crashes + 1 if died_at == suspect else 1
            self._suspect = died_at
            _put(self._map, _HALF, b"%d %s" % (self._crashes, died_at))
            _put(self._map, 0, b"")
            log.error(
                "the process before this one died while it read a record; reading one by one",
                record=died_at.decode(errors="replace"),
                times=self._crashes,
                dead_letter=self._crashes >= CRASHES_MAX,
            )
        self._careful = CAREFUL_RECORDS if self._suspect else 0


def _name(record: Record) -> bytes:
    return f"{record.topic} [{record.partition}] at {record.offset}".encode()


def _mapped(path: Path) -> mmap.mmap:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        file.truncate(_FILE_BYTES)
        return mmap.mmap(file.fileno(), _FILE_BYTES)


def _put(file: mmap.mmap, at: int, text: bytes) -> None:
    """The length goes last: a crash in between leaves what was there before, or less of it."""
    text = text[: _HALF - 2]
    file[at + 2 : at + 2 + len(text)] = text
    file[at : at + 2] = len(text).to_bytes(2, "big")


def _get(file: mmap.mmap, at: int) -> bytes:
    return file[at + 2 : at + 2 + min(int.from_bytes(file[at : at + 2], "big"), _HALF - 2)]

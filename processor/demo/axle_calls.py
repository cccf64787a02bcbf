"""The simulator's memory of calls: one JSON line each, in memory within limits, and in a file when one is named.

Here lives the log alone; what goes into a line is decided in `axle.py`. The idea: a line is written before the
answer to its call is sent, so whoever saw an answer finds its call in the file, even when the simulator was killed
right after.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import orjson

CALLS_MAX = 100_000
CALLS_BYTES_MAX = 128 * 1024 * 1024


class CallLog:
    """The newest calls, oldest first, numbered from 1 without gaps; iteration gives them as dictionaries.

    Keys: n, at_ms (arrival, milliseconds since 1970), method, path, endpoint, external_id, axle_site_id, asset_id,
    body (the request's JSON or None), answer (the answer's JSON as Axle meant it, or None), status (None: no
    answer was sent), fault (None: none), effect (True: the call has changed what Axle holds).
    """

    def __init__(self, file: Path | None = None, calls_max: int = CALLS_MAX, bytes_max: int = CALLS_BYTES_MAX) -> None:
        """OSError when the file cannot be opened for appending."""
        self._file = file.open("ab", buffering=0) if file else None
        self._lines: deque[bytes] = deque()
        self._bytes = 0
        self._calls_max = calls_max
        self._bytes_max = bytes_max
        self.last = 0
        """The number of the newest call, 0 before the first one."""

    def append(self, call: Mapping[str, Any]) -> None:
        """Numbers a call and keeps it; it is in the file when this returns. OSError when the disk is full."""
        self.last += 1
        line = orjson.dumps({"n": self.last, **call}) + b"\n"
        if self._file:
            self._file.write(line)
        self._lines.append(line)
        self._bytes += len(line)
        while len(self._lines) > self._calls_max or self._bytes > self._bytes_max:
            self._bytes -= len(self._lines.popleft())

    def since(self, n: int, limit: int = CALLS_MAX) -> list[dict[str, Any]]:
        """At most `limit` calls whose number is higher than `n` and that are still in memory, oldest first."""
        skipped = max(n - (self.last - len(self._lines)), 0)
        return [orjson.loads(line) for line in islice(self._lines, skipped, skipped + limit)]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.since(0))

    def __len__(self) -> int:
        return len(self._lines)

    def close(self) -> None:
        """Closes the file; the calls in memory stay readable."""
        if self._file:
            self._file.close()
            self._file = None

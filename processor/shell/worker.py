"""One worker of `run --workers`: a child process, and the newest that its page told.

Here lives how a worker is started, watched and ended; when, and what its end means, is in `supervisor.py`. The one
idea: two pipes and no more. The child writes the address of its page to its stdout, and ends when its stdin does, which
the kernel sees to when the supervisor is gone, be it by SIGKILL. So no worker works on without its supervisor.
"""

import asyncio
import contextlib
import signal
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import httpx
import orjson
import structlog

from processor.shell.clock import Clock
from processor.shell.exits import EXIT_FAILURE
from processor.shell.http import Check

SILENT_SECONDS = 30.0
"""A worker that does not answer for so long stands still; a start may take as long until its page is there."""
STALE_SECONDS = 10.0
"""What a worker said this long ago says nothing of now."""
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Heard:
    """What a worker's page told, at a moment of the monotonic clock, seconds."""

    at: float
    live: Check
    ready: Check
    status: dict[str, Any]
    exposition: bytes


@dataclass(slots=True)
class Worker:
    """The worker `name`: one process after the other, all with the same settings `environ`."""

    name: str
    command: Sequence[str]
    environ: Mapping[str, str]
    instance_id: str | None
    clock: Clock
    on_page: Callable[[], None] = lambda: None
    """Called when a process of this worker has told its page: Kafka let it in."""
    url: str | None = None
    heard: Heard | None = None
    restarts: int = 0
    is_leaving: bool = False
    _process: Process | None = None
    _began: float = 0.0

    async def run(self) -> int:
        """Start a process, and wait for its end. Returns its exit code; negative: the signal that ended it."""
        self._began = self.clock.monotonic()
        self.url = None
        try:
            # A session of its own: Ctrl-C in a terminal reaches the supervisor alone, which tells each worker once.
            process = self._process = await asyncio.create_subprocess_exec(
                *self.command, stdin=PIPE, stdout=PIPE, env=self.environ, start_new_session=True
            )
        except OSError as failure:
            log.warning("a worker cannot be started", worker=self.name, why=str(failure))
            return EXIT_FAILURE
        try:
            if self.is_leaving:
                self.terminate()
            await self._hear_page(process)
            return await process.wait()
        finally:
            self._process = self.url = None
            if process.stdin is not None:
                process.stdin.close()

    def terminate(self) -> None:
        """Ask it to end, and never start again. Harmless when it has ended."""
        self.is_leaving = True
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once. Harmless when it has ended."""
        self._signal(signal.SIGKILL)

    async def look(self, client: httpx.AsyncClient) -> None:
        """Ask its page; when it does not answer, what was heard before stays, and grows old."""
        url = self.url
        if url is None:
            return
        try:
            live, ready = [await client.get(f"{url}/{path}") for path in ("livez", "readyz")]
            # The status comes first: some of the metrics are set when it is asked for.
            status, metrics = [await client.get(f"{url}/{path}") for path in ("status.json", "metrics")]
            told = orjson.loads(status.content)
        except (httpx.HTTPError, orjson.JSONDecodeError):
            return
        if self.url == url:  # else it is another process by now
            now = self.clock.monotonic()
            self.heard = Heard(now, self._check(live), self._check(ready), told, metrics.content)

    def take_heard(self) -> Heard | None:
        """What was heard of the process that ended, which says nothing of the next one."""
        heard, self.heard = self.heard, None
        return heard

    @property
    def pid(self) -> int | None:
        """Of its process; None while there is none."""
        return self._process.pid if self._process else None

    def live_check(self) -> Check:
        """False when it stands still; not while it is started again, which is the supervisor's business."""
        heard = self.heard
        if heard is not None and not heard.live.ok:
            return heard.live
        if self._process is None:
            return Check(self._title, ok=True, reason="is being started again")
        silent = self.clock.monotonic() - (heard.at if heard else self._began)
        return Check(self._title, silent < SILENT_SECONDS, f"its page answered {silent:.0f} s ago at the latest")

    def ready_check(self) -> Check:
        """Whether it works on all tasks that are its own."""
        heard = self.heard
        if heard is None:
            return Check(self._title, ok=False, reason="is being started")
        age = self.clock.monotonic() - heard.at
        if age >= STALE_SECONDS:
            return Check(self._title, ok=False, reason=f"its page answered {age:.0f} s ago at the latest")
        return heard.ready

    @property
    def _title(self) -> str:
        return f"worker {self.name}"

    def _check(self, answer: httpx.Response) -> Check:
        lines = [line.removeprefix("ok ") for line in answer.text.splitlines()]
        return Check(self._title, answer.status_code == HTTPStatus.OK, "; ".join(lines))

    async def _hear_page(self, process: Process) -> None:
        if process.stdout is None:
            return
        line = (await process.stdout.readline()).decode().strip()
        if line:
            self.url = line
            self.on_page()
        await process.stdout.read()

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

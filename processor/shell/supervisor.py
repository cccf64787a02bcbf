"""Several workers under one command: kept running, ended together, shown on one page.

Here lives what an end of a worker means; the process itself is in `worker.py`, the sums in `summed.py`. Kafka is not
here: the supervisor shares no work out, the consumer group does. The one idea: a worker that ends is started again,
with the same name and so with the same tasks, unless it was refused for something that the next one would be refused
for too. Then all end, with its exit code. The first worker goes ahead until Kafka let it in, so that what is wrong is
told once.
"""

import asyncio
import contextlib
import signal
from collections.abc import Sequence

import httpx
import structlog

from processor import __version__
from processor.shell.clock import Clock
from processor.shell.exits import EXIT_CONFIGURATION, EXIT_FAILURE, EXIT_UNREACHABLE, EXIT_USAGE
from processor.shell.http import Check, HttpServer
from processor.shell.summed import Sums
from processor.shell.worker import Worker

LOOK_SECONDS, LOOK_TIMEOUT_SECONDS = 1.0, 2.0
STEADY_SECONDS = 10.0
"""A process that lived so long ended for a reason of its own; one that lived shorter may end again and again."""
REST_SECONDS, REST_MAX_SECONDS = 0.5, 10.0
KILL_SECONDS = 5.0
log = structlog.get_logger(__name__)


class Supervisor:
    """Runs `workers` until `stop`. Build it inside the event loop."""

    def __init__(
        self, workers: Sequence[Worker], clock: Clock, group: str, host: str, port: int, leave_seconds: float
    ) -> None:
        """`leave_seconds`: how long a worker may take to end. Raises PortTaken."""
        self._workers = workers
        self._clock = clock
        self._group = group
        self._leave_seconds = leave_seconds
        self._sums = Sums()
        self._let_in, self._ending = asyncio.Event(), asyncio.Event()
        self._was_let_in = False
        self._exit_code = 0
        for worker in workers:
            worker.on_page = self._on_page
        self._http = HttpServer(host, port, self, self.live_checks, self.ready_checks, self.status)

    @property
    def url(self) -> str:
        """Where health, metrics and the status page of all are."""
        return self._http.url

    async def run(self) -> int:
        """Keep the workers running until `stop` or a refusal, then end them all. Returns the exit code."""
        serving = asyncio.create_task(self._http.serve())
        looking = asyncio.create_task(self._look())
        try:
            await self._keep_all()
        finally:
            looking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await looking
            self._http.stop()
            await serving
        log.info("all workers ended", exit_code=self._exit_code)
        return self._exit_code

    def stop(self) -> None:
        """Begin an orderly end of all; `run` returns when it is done."""
        self._ending.set()
        self._let_in.set()

    def live_checks(self) -> list[Check]:
        """All must turn."""
        return [worker.live_check() for worker in self._workers]

    def ready_checks(self) -> list[Check]:
        """All must work on all tasks that are theirs."""
        return [worker.ready_check() for worker in self._workers]

    def exposition(self) -> bytes:
        """The metrics of all, at most about a second old."""
        return self._sums.exposition(
            {worker.name: worker.heard.exposition for worker in self._workers if worker.heard},
            {worker.name: worker.ready_check().ok for worker in self._workers},
            {worker.name: worker.restarts for worker in self._workers},
        )

    def status(self) -> dict[str, object]:
        """What the status page tells: a verdict on all, and what each worker's own page told."""
        told = [worker.heard.status for worker in self._workers if worker.heard]
        working = sum(check.ok for check in self.ready_checks())
        tasks = sum(len(status["tasks"]["working"]) for status in told)
        sites = sum(status["sites"] for status in told)
        verdict = "Working" if working == len(self._workers) else "Starting"
        return {
            "verdict": f"{verdict}: {working} of {len(self._workers)} workers, {tasks} tasks, {sites} sites",
            "version": __version__,
            "group": self._group,
            "sites": sites,
            "workers": [
                {
                    "worker": worker.name,
                    "instance_id": worker.instance_id,
                    "process": worker.pid,
                    "page": worker.url,
                    "restarts": worker.restarts,
                    "status": worker.heard.status if worker.heard else None,
                }
                for worker in self._workers
            ],
        }

    async def _keep_all(self) -> None:
        keeping = [asyncio.create_task(self._keep(self._workers[0]))]
        await self._let_in.wait()
        keeping += [asyncio.create_task(self._keep(worker)) for worker in self._workers[1:]]
        await self._ending.wait()
        for worker in self._workers:
            worker.terminate()
        _, late = await asyncio.wait(keeping, timeout=self._leave_seconds)
        if late:
            log.warning("workers did not end in time and are killed", workers=len(late), seconds=self._leave_seconds)
            for worker in self._workers:
                worker.kill()
            await asyncio.wait(keeping, timeout=KILL_SECONDS)
        for kept in keeping:
            if kept.done():
                kept.result()

    async def _keep(self, worker: Worker) -> None:
        try:
            await self._start_again_and_again(worker)
        finally:
            self.stop()

    async def _start_again_and_again(self, worker: Worker) -> None:
        """One process of the worker after the other, until the end or a refusal."""
        quick_ends = 0
        while not self._ending.is_set():
            began = self._clock.monotonic()
            code = await worker.run()
            heard = worker.take_heard()
            if heard is not None:
                self._sums.retire(heard.exposition)
            if self._ending.is_set() or self._is_refusal(code):
                self._take_exit_code(code)
                return
            worker.restarts += 1
            lived = self._clock.monotonic() - began
            quick_ends = 0 if lived >= STEADY_SECONDS else quick_ends + 1
            rest = rest_seconds(quick_ends)
            log.warning(
                "a worker ended and is started again",
                worker=worker.name,
                exit_code=code,
                lived_seconds=round(lived, 1),
                in_seconds=rest,
            )
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), rest)

    def _take_exit_code(self, code: int) -> None:
        """The first exit code that is not 0 is that of all; to end by the signal that we sent is no failure."""
        if self._exit_code == 0 and code not in {0, -signal.SIGTERM}:
            self._exit_code = code if code > 0 else EXIT_FAILURE

    def _is_refusal(self, code: int) -> bool:
        """Whether the next process would be refused as well; Kafka being away is that only before it let one in."""
        return code in {EXIT_USAGE, EXIT_CONFIGURATION} or (code == EXIT_UNREACHABLE and not self._was_let_in)

    def _on_page(self) -> None:
        self._was_let_in = True
        self._let_in.set()

    async def _look(self) -> None:
        # Nothing from the environment: a proxy for the way to Axle is none for the way to our own workers.
        async with httpx.AsyncClient(trust_env=False, timeout=LOOK_TIMEOUT_SECONDS) as client:
            while True:
                await asyncio.gather(*(worker.look(client) for worker in self._workers))
                await asyncio.sleep(LOOK_SECONDS)


def rest_seconds(quick_ends: int) -> float:
    """How long to wait before the next start: not at all at first, 10 s at most when it ends again and again."""
    return 0.0 if quick_ends <= 1 else min(REST_SECONDS * 2.0 ** min(quick_ends - 2, 10), REST_MAX_SECONDS)

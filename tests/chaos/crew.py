"""One worker of the chaos runs as those see it who drive it: a process with a log, to be ordered about.

Here lives how a worker is started, ordered, thawed and ended. What it does inside is `worker.py`'s. The idea: it
cannot outlive the run, whatever becomes of the run (`GuardedProcess`), and what it went through is read in its log.
"""

import contextlib
import http.client
import json
import os
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from processor.demo.guarded import GuardedProcess
from tests.chaos.failpoints import Step
from tests.chaos.worker import JOURNAL, ORDERS, SEED
from tests.kafka.rig import samples

ROOT = Path(__file__).resolve().parents[2]
LEAVE_SECONDS = 25.0
"""An orderly end takes 5 s for calls and 5 s for a transaction at the most, and a busy machine has its own pace."""
LAST_LINES = 40


class WorkerFailed(Exception):
    """A worker ended that nobody asked to, or does not do what it should. One sentence, and the end of its log."""


@dataclass(frozen=True, slots=True)
class Order:
    """At which place a worker goes, the how-manieth time it passes it, and how: `SIGKILL` or `SIGSTOP`."""

    step: Step
    passes: int = 1
    signal: str = "SIGKILL"

    def write(self, path: Path) -> None:
        """Leave it for the worker, in one piece."""
        new = path.with_suffix(".new")
        new.write_text(json.dumps({"step": self.step, "passes": self.passes, "signal": self.signal}))
        new.rename(path)


class Worker:
    """A processor with failpoints, running. `name` is its client id."""

    def __init__(self, name: str, folder: Path, environ: Mapping[str, str], order: Order | None = None) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        self.journal = folder / f"{name}.journal"
        self._orders = folder / f"{name}.orders"
        self._page: str | None = None
        if order:
            order.write(self._orders)
        words = {
            "PYTHONPATH": str(ROOT),
            **environ,
            "AXLE_PROCESSOR_KAFKA__EXTRA": json.dumps({"client.id": name}),
            ORDERS: str(self._orders),
            JOURNAL: str(self.journal),
            SEED: name,
        }
        pairs = [f"{key}={value}" for key, value in words.items()]
        self._process = GuardedProcess(["env", *pairs, sys.executable, "-m", "tests.chaos.worker"], log=self.log)
        self._pid = self._process.pid

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative when a signal ended it."""
        return self._process.exit_code

    @property
    def reached(self) -> int:
        """How many failpoints it went at."""
        return self.journal.read_bytes().count(b"\n") if self.journal.exists() else 0

    def order(self, order: Order) -> None:
        """From now on. Only for a worker that is at work: before, it does not listen."""
        order.write(self._orders)
        self.send(signal.SIGUSR1)

    def send(self, number: signal.Signals) -> None:
        """A signal, unless it is gone."""
        if self.exit_code is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, number)

    def leave(self) -> int | None:
        """Ask it to end in good order, wait, and tell its exit code; negative when it had to be ended."""
        self._process.terminate(LEAVE_SECONDS)
        return self.exit_code

    def end(self) -> None:
        """Whatever it does, frozen or not: it is over."""
        self._process.kill()

    def check(self) -> None:
        """Raises WorkerFailed when it has ended."""
        if self.exit_code is not None:
            raise WorkerFailed(f"{self.name} ended with code {self.exit_code}:\n{self.last_lines()}")

    def lines(self) -> list[dict[str, Any]]:
        """Its log so far; lines that are no JSON (a traceback) under `raw`."""
        found: list[dict[str, Any]] = []
        for line in self.log.read_text(errors="replace").splitlines():
            try:
                found.append(json.loads(line))
            except ValueError:
                found.append({"raw": line})
        return found

    def take_overs(self) -> list[tuple[int, int]]:
        """When it took which task over: milliseconds since 1970, task."""
        return [
            (round(datetime.fromisoformat(line["timestamp"]).timestamp() * 1000), line["task"])
            for line in self.lines()
            if line.get("event") == "took a task over"
        ]

    def status(self) -> dict[str, Any] | None:
        """What its status page says, or None when it does not answer just now."""
        try:
            status: dict[str, Any] | None = json.loads(self._get("/status.json"))
        except (OSError, http.client.HTTPException, ValueError):
            return None
        return status

    def metric(self, name: str) -> float:
        """A counter's sum over all its labels. Raises OSError when the page does not answer."""
        return sum(samples(self._get("/metrics").decode(), name).values())

    def _get(self, path: str) -> bytes:
        if self._page is None:
            self._page = next((line["page"] for line in self.lines() if "page" in line), None)
        page = urlsplit(self._page or "")
        if page.hostname is None:
            raise ConnectionError("it has not said yet where its page is")
        connection = http.client.HTTPConnection(page.hostname, page.port or 80, timeout=1.0)
        try:
            connection.request("GET", path)
            return connection.getresponse().read()
        finally:
            connection.close()

    def tasks(self) -> int:
        """How many tasks are at work at it."""
        status = self.status()
        return len(status["tasks"]["working"]) if status else 0

    def last_lines(self) -> str:
        """The end of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-LAST_LINES:])


def wait_for_end(worker: Worker, seconds: float) -> bool:
    """Wait until it has ended; False when it did not."""
    deadline = time.monotonic() + seconds
    while worker.exit_code is None:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True

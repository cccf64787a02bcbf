"""Failpoints: the eight places where a processor of the chaos runs stops dead, or is frozen.

Here live the places and how a process does it to itself; when it is told to is `worker.py`'s and the parts' business.
The idea: nothing in the product knows of them. They sit in what is handed in (librdkafka's clients, the HTTP
transport), a place counts how often it is passed, and before the process goes it writes down that it was really there.
"""

import asyncio
import json
import os
import random
import signal
import threading
import time
from enum import StrEnum
from pathlib import Path
from typing import Any

import httpx
from confluent_kafka import Consumer, Message, Producer

_SOON_SECONDS = 0.01
"""About as long as the end of a transaction takes on a broker of one node, or a call to the simulator."""
_INIT_SOON_SECONDS = 0.1
_FLUSH_SECONDS = 5.0


class Step(StrEnum):
    """Where a process goes."""

    PRODUCE = "after_produce"
    """Some records of a transaction are with librdkafka."""
    FLUSH = "after_flush"
    """All records are at the broker; the offsets are not in the transaction yet."""
    OFFSETS = "after_send_offsets"
    """All that is missing is the commit."""
    END = "in_end_txn"
    """The commit is on its way, or done; nobody here has heard of it."""
    INIT = "in_init_transactions"
    RESTORE = "in_restore"
    """Some of a task's changelog is read."""
    CALL = "http_in_flight"
    """A request is with Axle."""
    REPLY = "on_reply"
    """Axle's answer is in hand, and nothing about it is committed."""


AT_START = frozenset({Step.INIT, Step.RESTORE})
"""Places that a process passes when it starts; the others it passes at work."""


class Failpoints:
    """Orders that came, and carrying them out. `orders` is a file with `{"step", "passes", "signal"}`.

    `journal` gets one line for each place that was reached, before the process goes. Thread-safe.
    """

    def __init__(self, orders: Path, journal: Path, chance: random.Random) -> None:
        self._orders = orders
        self._journal = journal
        self._lock = threading.Lock()
        self._step: Step | None = None
        self._passes = 0
        self._signal = signal.SIGKILL
        self.chance = chance

    def take_orders(self) -> None:
        """Read the file, if there is one, and stand ready."""
        if not self._orders.exists():
            return
        told = json.loads(self._orders.read_text())
        self._orders.unlink()
        with self._lock:
            self._step, self._passes = Step(told["step"]), int(told["passes"])
            self._signal = signal.Signals[told["signal"]]

    def is_due(self, step: Step) -> bool:
        """Pass a place. True: this is the time; the caller must `go` there."""
        with self._lock:
            if self._step is not step:
                return False
            self._passes -= 1
            if self._passes > 0:
                return False
            self._step = None
            return True

    def go(self, step: Step) -> None:
        """Stop dead, or freeze until somebody lets us go on."""
        line = json.dumps({"step": step, "pid": os.getpid(), "at_ms": time.time_ns() // 1_000_000})
        with self._journal.open("ab", buffering=0) as journal:
            journal.write(line.encode() + b"\n")
        os.kill(os.getpid(), self._signal)


class Fuse:
    """Goes at a place within a time, or at `burn`, whichever is first; once."""

    def __init__(self, failpoints: Failpoints, step: Step, within_seconds: float) -> None:
        self._failpoints = failpoints
        self._step = step
        self._lock = threading.Lock()
        self._burnt = False
        timer = threading.Timer(failpoints.chance.uniform(0, within_seconds), self.burn)
        timer.daemon = True
        timer.start()

    def burn(self) -> None:
        """Now."""
        with self._lock:
            if self._burnt:
                return
            self._burnt = True
        self._failpoints.go(self._step)


class FailingProducer(Producer):
    """A producer with five of the places."""

    def __init__(self, config: dict[str, Any], failpoints: Failpoints) -> None:
        super().__init__(config)
        self._failpoints = failpoints

    def init_transactions(self, *arguments: Any) -> None:
        """The broker may have heard of it, or have answered."""
        if not self._failpoints.is_due(Step.INIT):
            super().init_transactions(*arguments)
            return
        fuse = Fuse(self._failpoints, Step.INIT, _INIT_SOON_SECONDS)
        super().init_transactions(*arguments)
        fuse.burn()

    def produce(self, *arguments: Any, **named: Any) -> None:
        """One record of the transaction more."""
        super().produce(*arguments, **named)
        if self._failpoints.is_due(Step.PRODUCE):
            self._failpoints.go(Step.PRODUCE)

    def send_offsets_to_transaction(self, *arguments: Any) -> None:
        """Before it all records are at the broker, after it the offsets are in the transaction."""
        if self._failpoints.is_due(Step.FLUSH):
            self.flush(_FLUSH_SECONDS)
            self._failpoints.go(Step.FLUSH)
        super().send_offsets_to_transaction(*arguments)
        if self._failpoints.is_due(Step.OFFSETS):
            self._failpoints.go(Step.OFFSETS)

    def commit_transaction(self, *arguments: Any) -> None:
        """The end is on its way when we go, or done and nobody has heard of it."""
        if not self._failpoints.is_due(Step.END):
            super().commit_transaction(*arguments)
            return
        self.flush(_FLUSH_SECONDS)
        fuse = Fuse(self._failpoints, Step.END, _SOON_SECONDS)
        super().commit_transaction(*arguments)
        fuse.burn()


class FailingConsumer(Consumer):
    """A consumer that reads a changelog back, and goes when it has read some of it."""

    def __init__(self, config: dict[str, Any], failpoints: Failpoints) -> None:
        super().__init__(config)
        self._failpoints = failpoints

    def consume(self, *arguments: Any, **named: Any) -> list[Message]:
        """Some records, and then we go."""
        messages = super().consume(*arguments, **named)
        if self._failpoints.is_due(Step.RESTORE):
            self._failpoints.go(Step.RESTORE)
        return messages


class FailingTransport(httpx.AsyncBaseTransport):
    """A transport that goes while a call is under way, or with its answer in hand."""

    def __init__(self, inner: httpx.AsyncBaseTransport, failpoints: Failpoints) -> None:
        self._inner = inner
        self._failpoints = failpoints

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """One call."""
        if self._failpoints.is_due(Step.CALL):
            call = asyncio.ensure_future(self._inner.handle_async_request(request))
            await asyncio.sleep(self._failpoints.chance.uniform(0, _SOON_SECONDS))
            self._failpoints.go(Step.CALL)
            return await call
        response = await self._inner.handle_async_request(request)
        if self._failpoints.is_due(Step.REPLY):
            await response.aread()
            self._failpoints.go(Step.REPLY)
        return response

    async def aclose(self) -> None:
        """Close the inner one."""
        await self._inner.aclose()

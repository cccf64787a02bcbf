"""One worker: what is believed of it between two answers of its page."""

import asyncio
import os
import sys

import httpx
import pytest

from processor.shell.worker import SILENT_SECONDS, STALE_SECONDS, Worker

pytestmark = pytest.mark.anyio
PROGRAM = "import sys; print('http://127.0.0.1:9', flush=True); sys.stdin.read()"


class Hands:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now_ms(self) -> int:
        """Never asked for."""
        return 0

    def monotonic(self) -> float:
        """Where it was put."""
        return self.seconds


def page(statuses: dict[str, int]) -> httpx.AsyncClient:
    """The page of a worker; a path that has no status does not answer."""

    def answer(request: httpx.Request) -> httpx.Response:
        name = request.url.path.strip("/")
        if name not in statuses:
            raise httpx.ConnectError("nobody listens")
        texts = {"status.json": '{"sites": 3}', "readyz": "ok group: in the group\nok tasks: 2 at work\n"}
        return httpx.Response(statuses[name], text=texts.get(name, "ok poll: turns\n"))

    return httpx.AsyncClient(transport=httpx.MockTransport(answer))


async def test_what_a_worker_said_grows_old() -> None:
    """A silent worker is not ready after 10 s and not live after 30; what it said last is kept until it ends."""
    clock = Hands()
    worker = Worker("0", [sys.executable, "-S", "-c", PROGRAM], dict(os.environ), None, clock)
    told = asyncio.Event()
    worker.on_page = told.set
    running = asyncio.create_task(worker.run())
    await asyncio.wait_for(told.wait(), 20)
    assert not worker.ready_check().ok
    async with page(dict.fromkeys(("livez", "readyz", "status.json", "metrics"), 200)) as client:
        await worker.look(client)
    assert worker.ready_check().ok
    assert worker.ready_check().reason == "group: in the group; tasks: 2 at work"
    async with page({"livez": 200}) as client:
        clock.seconds = STALE_SECONDS
        await worker.look(client)
    assert (worker.live_check().ok, worker.ready_check().ok) == (True, False)
    clock.seconds = SILENT_SECONDS
    assert not worker.live_check().ok
    assert worker.heard is not None
    worker.terminate()
    assert await asyncio.wait_for(running, 20) != 0
    assert worker.take_heard() is not None
    assert [worker.pid, worker.url] == [None, None]
    assert worker.live_check().ok


async def test_a_worker_that_stands_still_is_not_live() -> None:
    """What the worker's own liveness says counts, with its reason."""
    worker = Worker("0", [sys.executable, "-S", "-c", PROGRAM], dict(os.environ), None, Hands())
    told = asyncio.Event()
    worker.on_page = told.set
    running = asyncio.create_task(worker.run())
    await asyncio.wait_for(told.wait(), 20)
    async with page({"livez": 503, "readyz": 200, "status.json": 200, "metrics": 200}) as client:
        await worker.look(client)
    assert (worker.live_check().name, worker.live_check().ok) == ("worker 0", False)
    worker.kill()
    assert await asyncio.wait_for(running, 20) == -9


async def test_a_command_that_cannot_be_started_is_a_failure() -> None:
    """A worker whose program is not there ended with 1, and its supervisor goes on."""
    assert await Worker("0", ["/nowhere/at/all"], {}, None, Hands()).run() == 1

"""The Axle client against a real HTTP server: who signs in how often, and what is left of a call that is given up."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.utils import formatdate

import pytest

from processor.core.events import Offboarded
from processor.core.intents import Offboard
from processor.shell.axle_client import AxleAccount, AxleClient, Retry
from processor.shell.axle_transport import http_transport
from processor.shell.clock import SystemClock
from processor.shell.metrics import Metrics
from tests.shell.http_rig import Asked, Handler, HttpRig, rig, token
from tests.shell.parts import until

pytestmark = pytest.mark.anyio
LEAVE = Offboard("s-1", "as")
DONE = Offboarded("s-1", "as")
MANY = 20


class Axle:
    """A server that signs everybody in, with a new token each time, and leaves the rest to the test."""

    def __init__(self, handler: Handler) -> None:
        self.tokens = 0
        self._handler = handler

    async def __call__(self, asked: Asked) -> None:
        if not asked.target.endswith("/auth/token-form"):
            await self._handler(asked)
            return
        self.tokens += 1
        await asked.answer(200, token(self.tokens))


@asynccontextmanager
async def client_of(server: HttpRig, deadline_seconds: float = 5.0) -> AsyncIterator[AxleClient]:
    account = AxleAccount(server.url, "someone", "secret", deadline_seconds)
    client = AxleClient(account, http_transport(), SystemClock(), Metrics())
    yield client
    await client.aclose()


def calls(server: HttpRig) -> list[Asked]:
    return [asked for asked in server.asked if "/auth/" not in asked.target]


async def test_twenty_rejected_tokens_are_one_sign_in() -> None:
    """Twenty calls that are answered 401 at one moment cause one new sign-in, and are then made with its token."""
    all_there = asyncio.Event()

    async def handler(asked: Asked) -> None:
        if asked.headers["authorization"] != "Bearer token-1":
            await asked.answer(204)
            return
        if len(calls(server)) == MANY:
            all_there.set()
        await all_there.wait()
        await asked.answer(401)

    axle = Axle(handler)
    async with rig(axle) as server, client_of(server) as client:
        answers = await asyncio.gather(*(client.perform(LEAVE) for _ in range(MANY)))
        assert answers == [DONE] * MANY
        assert axle.tokens == 2
        used = [asked.headers["authorization"] for asked in calls(server)]
        assert sorted(used) == ["Bearer token-1"] * MANY + ["Bearer token-2"] * MANY


async def test_a_late_401_of_the_old_token_signs_nobody_in() -> None:
    """A call whose 401 arrives when the token was renewed long ago uses the new one."""
    first_may_end = asyncio.Event()

    async def handler(asked: Asked) -> None:
        if asked.headers["authorization"] != "Bearer token-1":
            await asked.answer(204)
            return
        if len(calls(server)) == 1:
            await first_may_end.wait()
        await asked.answer(401)

    axle = Axle(handler)
    async with rig(axle) as server, client_of(server) as client:
        late = asyncio.create_task(client.perform(LEAVE))
        await until(lambda: len(calls(server)) == 1)
        assert await client.perform(LEAVE) == DONE
        first_may_end.set()
        assert await late == DONE
        assert axle.tokens == 2


@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{"], ids=["before", "within"])
@pytest.mark.parametrize("how", ["cancelled", "late"])
async def test_a_call_that_is_given_up_leaves_no_connection_behind(sent: bytes, how: str) -> None:
    """Cancelled or late, before its answer or within: its connection is closed in time, and never used again."""
    hangs = True

    async def handler(asked: Asked) -> None:
        if not hangs:
            await asked.answer(204)
            return
        await asked.send(sent)
        await asyncio.Event().wait()

    async with rig(Axle(handler)) as server, client_of(server, 0.4) as client:
        call = asyncio.create_task(client.perform(LEAVE))
        await until(lambda: calls(server))
        if how == "cancelled":
            await asyncio.sleep(0.02)  # so that what was sent is there
            call.cancel()
        done, _ = await asyncio.wait([call])
        assert done == {call}
        assert call.cancelled() if how == "cancelled" else call.result() == Retry("no answer in 0.4 s")
        hangs = False
        left = calls(server)[0].connection
        assert await client.perform(LEAVE) == DONE
        assert calls(server)[-1].connection != left
        await until(lambda: left in server.gone, 2, "the client closes the connection")


async def test_calls_one_after_the_other_share_a_connection() -> None:
    """A connection whose answer was read whole is used again."""

    async def handler(asked: Asked) -> None:
        await asked.answer(204)

    async with rig(Axle(handler)) as server, client_of(server) as client:
        for _ in range(5):
            assert await client.perform(LEAVE) == DONE
        assert server.connections == 1


async def test_a_clock_that_is_wrong_is_seen_in_the_answers() -> None:
    """Axle's `Date` header, an hour off, is in the metrics after the first call."""

    async def axle(asked: Asked) -> None:
        date = formatdate(SystemClock().now_ms() / 1000 + 3600, usegmt=True)
        await asked.answer(200, token(), date=date)

    metrics = Metrics()
    async with rig(axle) as server:
        client = AxleClient(AxleAccount(server.url, "someone", "secret"), http_transport(), SystemClock(), metrics)
        await client.sign_in()
        await client.aclose()
    ahead = metrics.registry.get_sample_value("axle_processor_axle_clock_ahead_seconds")
    assert ahead == pytest.approx(3600, abs=3)

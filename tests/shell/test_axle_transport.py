"""The way to Axle: whom it trusts, whom it passes by, what it tells of failures, and what an answer may cost."""

import asyncio
import functools
import gc
import gzip
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from processor.shell.axle_transport import (
    BODY_BYTES_MAX,
    AnswerUnfit,
    Exchange,
    Exchanged,
    NoAnswer,
    http_transport,
    straight,
)
from tests.shell.certificates import authority_and_server
from tests.shell.http_rig import Asked, rig

pytestmark = pytest.mark.anyio
WITHIN = timedelta(seconds=5)
MIB = 1024 * 1024
COST_MIB_MAX = 20
AT_ONCE = 32


def both_ways() -> tuple[Exchange, Exchange]:
    """The transport in use, and one of httpx's."""
    return http_transport(), straight(httpx.AsyncHTTPTransport(trust_env=False))


async def get(transport: Exchange, url: str, within: timedelta = WITHIN) -> Exchanged:
    """A plain request, and no connection left."""
    try:
        return await transport.exchange("GET", url, {"accept-encoding": "identity"}, None, within)
    finally:
        await transport.aclose()


async def done(asked: Asked) -> None:
    await asked.answer(204)


async def test_an_answer_comes_whole_whoever_carries_it() -> None:
    """Status, body and the two headers that somebody looks at are the same over both transports."""

    async def handler(asked: Asked) -> None:
        await asked.answer(429, b'{"a": 1}', retry_after="7", date="Sat, 22 Nov 2025 08:27:30 GMT")

    async with rig(handler) as server:
        for transport in both_ways():
            answer = await get(transport, server.url)
            assert answer == Exchanged(429, b'{"a": 1}', "7", "Sat, 22 Nov 2025 08:27:30 GMT")


async def test_a_body_is_cut_at_the_cap() -> None:
    """One byte more than the cap is refused, and the cap itself is not, announced or in chunks of any size."""

    async def handler(asked: Asked) -> None:
        size = int(asked.target[1:])
        await asked.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        for _ in range(size // 1024):
            await asked.send(b"400\r\n" + b"x" * 1024 + b"\r\n")
        await asked.send(b"1\r\nx\r\n" * (size % 1024) + b"0\r\n\r\n")

    async with rig(handler) as server:
        for transport in both_ways():
            assert len((await transport.exchange("GET", f"{server.url}/{BODY_BYTES_MAX}", {}, None, WITHIN)).body)
            with pytest.raises(AnswerUnfit, match="larger than"):
                await get(transport, f"{server.url}/{BODY_BYTES_MAX + 1}")


async def test_a_failure_is_told_without_the_url() -> None:
    """What the network does is one sentence, in which no id of a charger stands."""
    with pytest.raises(NoAnswer) as told:
        await get(http_transport(), "http://127.0.0.1:1/entities/asset/secret-charger")
    assert "refused" in str(told.value)
    assert "secret-charger" not in str(told.value)


async def test_only_a_known_authority_is_trusted(tmp_path: Path) -> None:
    """A server whose certificate nobody vouches for is not talked to, until its authority is named."""
    authority, tls = authority_and_server(tmp_path)
    async with rig(done, tls) as server:
        with pytest.raises(NoAnswer, match="certificate"):
            await get(http_transport(), server.url)
        assert server.asked == []
        assert (await get(http_transport(authority), server.url)).status == 204


async def test_a_proxy_is_used_when_it_is_named_and_only_then(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment's proxies mean nothing; the one of the settings takes every call."""
    async with rig(done) as axle, rig(done) as proxy:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
            monkeypatch.setenv(name.lower(), proxy.url)
        await get(http_transport(), f"{axle.url}/straight")
        assert ([asked.target for asked in axle.asked], proxy.asked) == (["/straight"], [])
        await get(http_transport(proxy=proxy.url), f"{axle.url}/around")
        assert [asked.target for asked in proxy.asked] == [f"{axle.url}/around"]
        assert len(axle.asked) == 1


@functools.cache
def packed() -> bytes:
    """A megabyte that would be a gigabyte."""
    return gzip.compress(b"\0" * (8 * MIB), 6) * 128


async def bomb(asked: Asked) -> None:
    """What inflates a thousandfold."""
    await asked.answer(200, packed(), content_encoding="gzip")


async def flood(asked: Asked) -> None:
    """A body without an end, as fast as it is read."""
    await asked.send(b"HTTP/1.1 200 OK\r\n\r\n")
    piece = b"x" * 16_384
    while not asked.writer.is_closing():
        await asked.send(piece)
        await asyncio.sleep(0)


async def drip(asked: Asked) -> None:
    """A body without an end, a byte at a time."""
    await asked.send(b"HTTP/1.1 200 OK\r\n\r\n")
    while not asked.writer.is_closing():
        await asked.send(b"x")
        await asyncio.sleep(0.02)


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="memory is measured as Linux tells it")
@pytest.mark.parametrize("fault", [bomb, flood, drip])
async def test_a_hostile_answer_costs_little_memory_and_no_more_than_the_deadline(
    fault: Callable[[Asked], Awaitable[None]],
) -> None:
    """Many bombs, floods or drips at once cost at most 20 MiB, this server's side of them included, and end in time."""
    within = timedelta(seconds=1)

    async with rig(fault) as server:
        transport = http_transport()

        async def call() -> None:
            with pytest.raises((AnswerUnfit, TimeoutError)):
                await transport.exchange("GET", server.url, {}, None, within)

        await call()
        before, began = memory_from_here_on(), time.monotonic()
        await asyncio.gather(*(call() for _ in range(AT_ONCE)))
        assert time.monotonic() - began < within.total_seconds() + 2
        cost = memory("VmHWM") - before
        print(f"{fault.__name__}: {cost / MIB:.1f} MiB for {AT_ONCE} at once")
        assert cost <= COST_MIB_MAX * MIB
        await transport.aclose()


def memory_from_here_on() -> int:
    """What is in use now; the peak is measured anew."""
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")
    return memory("VmRSS")


def memory(name: str) -> int:
    """A figure of this process's memory, in bytes."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024

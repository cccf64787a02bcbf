"""One HTTP exchange with Axle: a request goes out whole, its answer comes in whole, and costs at most a cap.

What is asked and what an answer means is not known here; deadlines are the client's, which cancels what is late. The
one idea: an answer is cut at `BODY_BYTES_MAX` as it comes off the wire and is never inflated, so neither an endless
body nor a bomb costs more than the cap.

pyreqwest takes no notice of a cancellation: its request goes on in a thread of its own, unheard (0.15, measured). So
each is told how long it may take in all, and a connection that was given up is closed by then, and never used again.

`PyreqwestTransport` is what `run` uses; `OverHttpx` takes any transport of httpx's, at several times the cost for
each call (`tests/benchmarks/client_bench.py`).
"""

import os
from collections.abc import Mapping
from datetime import timedelta
from typing import Protocol

import httpx
import msgspec

# pyreqwest's allocator would take huge pages, 2 MiB for a first byte, which answers that hang about make dear. It reads
# this when it is loaded, so this comes first.
os.environ["MIMALLOC_ALLOW_THP"] = "0"

from pyreqwest.client import Client, ClientBuilder
from pyreqwest.compatibility.httpx import HttpxTransport
from pyreqwest.exceptions import DetailedPyreqwestError, PyreqwestError, RequestTimeoutError
from pyreqwest.proxy import ProxyBuilder
from pyreqwest.response import Response

BODY_BYTES_MAX = 256 * 1024
CHUNK_BYTES = 64 * 1024
READ_AHEAD_BYTES = 4096
"""So much of an answer comes in along with its head. Most have less, and cost a sixth less than if they were read in
two steps; the library's own 64 KiB cost 40 KiB a request, however little comes."""


class Exchanged(msgspec.Struct, frozen=True):
    """A whole answer, with the headers that somebody looks at; None: it has no such header."""

    status: int
    body: bytes
    retry_after: str | None = None
    date: str | None = None


class AnswerUnfit(Exception):
    """An answer beyond the cap, or in an encoding that nobody asked for. `status` is what it began with."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


class NoAnswer(Exception):
    """The network failed us. Says how, and never the URL, which has ids in it."""


class Exchange(Protocol):
    """Who carries requests."""

    async def exchange(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, within: timedelta
    ) -> Exchanged:
        """One request and its answer. Raises AnswerUnfit, and what it likes for whatever the network does.

        Nothing of it is left after `within`, however it was given up.
        """

    async def aclose(self) -> None:
        """Close all connections."""


class PyreqwestTransport(HttpxTransport):
    """pyreqwest, straight. It is a transport of httpx's as well, for those who want to stand in between."""

    def __init__(self, client: Client) -> None:
        super().__init__(client)

    async def exchange(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, within: timedelta
    ) -> Exchanged:
        """As `Exchange` has it. Raises TimeoutError, and NoAnswer for whatever else the network does."""
        asked = self._client.request(method, url).headers(headers).timeout(within)
        asked = asked.streamed_read_buffer_limit(READ_AHEAD_BYTES)
        if body is not None:
            asked = asked.body_bytes(body)
        try:
            async with asked.build_streamed() as answer:
                _check_encoding(answer.status, answer.get_header("content-encoding"))
                content = await _whole(answer)
                return Exchanged(answer.status, content, answer.get_header("retry-after"), answer.get_header("date"))
        except RequestTimeoutError:
            raise TimeoutError from None
        except PyreqwestError as error:
            raise NoAnswer(_why(error)) from error


class OverHttpx:
    """Any transport of httpx's."""

    def __init__(self, transport: httpx.AsyncBaseTransport) -> None:
        self._transport = transport

    async def exchange(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, within: timedelta
    ) -> Exchanged:
        """As `Exchange` has it: these transports end what is cancelled."""
        del within
        request = httpx.Request(method, url, headers=dict(headers), content=body)
        answer = await self._transport.handle_async_request(request)
        try:
            _check_encoding(answer.status_code, answer.headers.get("content-encoding"))
            content = b""
            async for chunk in answer.stream:  # type: ignore[union-attr] # an asynchronous one, from this transport
                _check_size(answer.status_code, len(content) + len(chunk))
                content += chunk
        finally:
            await answer.aclose()
        return Exchanged(answer.status_code, content, answer.headers.get("retry-after"), answer.headers.get("date"))

    async def aclose(self) -> None:
        """Close all connections."""
        await self._transport.aclose()


def straight(transport: Exchange | httpx.AsyncBaseTransport) -> Exchange:
    """The shortest way over this transport."""
    if isinstance(transport, PyreqwestTransport) or not isinstance(transport, httpx.AsyncBaseTransport):
        return transport
    return OverHttpx(transport)


def http_transport(ca_pem: bytes | None = None, proxy: str | None = None) -> PyreqwestTransport:
    """The transport that `run` uses: no proxy or redirect that was not asked for, nothing inflated."""
    off = False  # the library takes no name with it
    builder = ClientBuilder().no_proxy().follow_redirects(off).gzip(off).deflate(off).brotli(off).zstd(off)
    if ca_pem is not None:
        builder = builder.add_root_certificate_pem(ca_pem)
    if proxy is not None:
        builder = builder.proxy(ProxyBuilder.all(proxy))
    return PyreqwestTransport(builder.build())


async def _whole(answer: Response) -> bytes:
    reader = answer.body_reader
    chunks: list[bytes] = []
    size = 0
    while (chunk := await reader.read(CHUNK_BYTES)) is not None:
        size += len(chunk)
        _check_size(answer.status, size)
        chunks.append(bytes(chunk))
    return b"".join(chunks)


def _check_encoding(status: int, encoding: str | None) -> None:
    if encoding is not None and encoding != "identity":
        raise AnswerUnfit(status, f"the answer is encoded as {encoding[:20]!r}, which was not asked for")


def _check_size(status: int, size: int) -> None:
    if size > BODY_BYTES_MAX:
        raise AnswerUnfit(status, f"the answer is larger than {BODY_BYTES_MAX} bytes")


def _why(error: PyreqwestError) -> str:
    """The innermost cause; those around it say the same with the URL."""
    causes = error.details.get("causes") if isinstance(error, DetailedPyreqwestError) else None
    return f"{error.message}: {causes[-1]['message']}" if causes else error.message

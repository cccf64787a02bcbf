"""A real HTTP/1.1 server for tests, small enough to do what no proper one would: stop in the middle of an answer.

It knows nothing of Axle. `serve` hands every request to the test, which writes the bytes of the answer itself; who is
connected, and who has gone, is kept for it to look at.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ssl import SSLContext

import orjson

JSON = "application/json"


@dataclass(slots=True)
class Asked:
    """One request, and the connection that it came on (they are counted from 1)."""

    connection: int
    target: str
    headers: dict[str, str]
    body: bytes
    writer: asyncio.StreamWriter

    async def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        """A whole answer; underscores in header names become dashes."""
        named = {"content-length": str(len(body)), **{name.replace("_", "-"): value for name, value in headers.items()}}
        lines = "".join(f"{name}: {value}\r\n" for name, value in named.items())
        await self.send(f"HTTP/1.1 {status} Said\r\n{lines}\r\n".encode() + body)

    async def send(self, data: bytes) -> None:
        """Bytes as they are."""
        self.writer.write(data)
        await self.writer.drain()


Handler = Callable[[Asked], Awaitable[None]]


@dataclass(slots=True)
class HttpRig:
    """The server as the test sees it."""

    handler: Handler
    port: int = 0
    scheme: str = "http"
    asked: list[Asked] = field(default_factory=list)
    connections: int = 0
    gone: set[int] = field(default_factory=set)
    """Connections that the client closed."""

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until its end."""
        self.connections += 1
        connection = self.connections
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                first, *lines = head.strip().splitlines()
                headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                asked = Asked(connection, first.split(" ")[1], headers, body, writer)
                self.asked.append(asked)
                answering = asyncio.ensure_future(_quietly(self.handler(asked)))
                # What is read while an answer is under way can only be the end.
                ended = asyncio.ensure_future(_end_of(reader, writer))
                await asyncio.wait((answering, ended), return_when=asyncio.FIRST_COMPLETED)
                stays = answering.done() and not ended.done()
                for task in (answering, ended):
                    task.cancel()
                    with contextlib.suppress(asyncio.CancelledError):
                        await task
                if not stays:
                    break
        self.gone.add(connection)
        writer.close()


async def _quietly(answering: Awaitable[None]) -> None:
    with contextlib.suppress(ConnectionError):
        await answering


async def _end_of(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while not reader.at_eof() and not writer.is_closing():  # noqa: ASYNC110 - a reader tells its end in no other way
        await asyncio.sleep(0.005)


@asynccontextmanager
async def rig(handler: Handler, tls: SSLContext | None = None) -> AsyncIterator[HttpRig]:
    """A server on loopback that answers as the handler says."""
    made = HttpRig(handler, scheme="https" if tls else "http")
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0, ssl=tls)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        for asked in made.asked:
            asked.writer.transport.abort()
        await server.wait_closed()


def token(number: int = 1) -> bytes:
    """What a sign-in is answered with."""
    return orjson.dumps({"access_token": f"token-{number}", "token_type": "bearer"})

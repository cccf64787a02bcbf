"""The simulator's hold on HTTP: a listener inside the running loop, and one request's side of a connection.

Here lives what needs the bare transport: sending byte by byte, hanging up without an answer, resetting in the middle
of a body. Nothing here knows Axle. The idea: uvicorn's protocol does the HTTP, but its server class is not used,
because that one owns the process (signals, logging, a slow stop) and this one is a guest in somebody's loop.
"""

import asyncio
import contextlib
import socket
import struct
from typing import TYPE_CHECKING, Any

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

if TYPE_CHECKING:
    from collections.abc import Mapping

CONNECTIONS_MAX = 10_000
KEEP_ALIVE_SECONDS = 60
STOP_SECONDS = 0.5
BACKLOG = 2048
_LINGER_NONE = struct.pack("ii", 1, 0)


class ListenError(OSError):
    """The address cannot be listened on; the message is one sentence for whoever chose it."""


class GoneError(Exception):
    """The client closed the connection before its request was whole."""


class _Protocol(H11Protocol):
    """Uvicorn's protocol, which hands the transport to the application and never writes an access log."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.access_log = False
        self.app_state = {"transport": transport}
        # asyncio sets this only for sockets that name their protocol; without it an answer, which goes out as
        # head and body, waits about 40 ms for the client's delayed acknowledgement.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


class Wire:
    """One request and the connection that it came on."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.path_params: Mapping[str, str] = scope.get("path_params", {})
        self.query: str = scope["query_string"].decode("latin-1")
        self._headers: list[tuple[bytes, bytes]] = scope["headers"]
        self._transport: asyncio.Transport = scope["state"]["transport"]
        self._receive = receive
        self._send = send

    def header(self, name: bytes) -> str:
        """The value of a header (name in lower case), empty when there is none."""
        return next((value.decode("latin-1") for key, value in self._headers if key == name), "")

    async def read_body(self, most: int) -> bytes | None:
        """The whole body, or None when it is longer than `most` bytes; GoneError when the client hangs up."""
        announced = self.header(b"content-length")
        if announced.isdigit() and int(announced) > most:
            return None
        body = bytearray()
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise GoneError
            body += message["body"]
            if len(body) > most:
                return None
            if not message["more_body"]:
                return bytes(body)

    async def answer(self, status: int, body: bytes, headers: "Mapping[str, str] | None" = None) -> None:
        """Sends a whole answer at once."""
        await self._start(status, body, headers)
        await self._send({"type": "http.response.body", "body": body})

    async def answer_slowly(self, status: int, body: bytes, interval_seconds: float, hurry: asyncio.Event) -> None:
        """Sends one byte at a time; once `hurry` is set the rest goes out at once."""
        await self._start(status, body, None)
        sent = 0
        while sent < len(body) and not self._transport.is_closing():
            await wait_for(hurry, interval_seconds)
            size = len(body) - sent if hurry.is_set() else 1
            part, sent = body[sent : sent + size], sent + size
            await self._send({"type": "http.response.body", "body": part, "more_body": True})
        await self._send({"type": "http.response.body"})

    async def answer_half(self, status: int, body: bytes) -> None:
        """Announces the whole body, sends the first half of it and resets the connection; without a body, at once."""
        if body:
            await self._start(status, body, None)
            half = body[: len(body) // 2]
            await self._send({"type": "http.response.body", "body": half, "more_body": True})
        # Without lingering the kernel sends a reset instead of an orderly end.
        self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NONE)
        await self._hang_up()

    async def hold(self, released: asyncio.Event) -> None:
        """Says nothing until `released` is set or the client gives up; then closes the connection."""
        gone = asyncio.ensure_future(self._disconnected())
        freed = asyncio.ensure_future(released.wait())
        try:
            await asyncio.wait({gone, freed}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for waiting in (gone, freed):
                waiting.cancel()
            await asyncio.gather(gone, freed, return_exceptions=True)
        await self._hang_up()

    async def _start(self, status: int, body: bytes, headers: "Mapping[str, str] | None") -> None:
        sent = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
        if status != 204:
            sent += [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await self._send({"type": "http.response.start", "status": status, "headers": sent})

    async def _hang_up(self) -> None:
        self._transport.abort()
        # Uvicorn must see the end before this request returns, or it would complain about a missing answer.
        await self._disconnected()

    async def _disconnected(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass


async def wait_for(event: asyncio.Event, seconds: float) -> None:
    """Returns when the event is set, or after that time."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


class Listener:
    """Serves an ASGI application on a TCP port of the running loop."""

    def __init__(self, app: ASGIApp, host: str, port: int) -> None:
        """ListenError when the port is taken; port 0 takes any free one."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            self._socket = socket.create_server((host, port), family=family, backlog=BACKLOG)
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ListenError(
                f"cannot listen on {host} port {port} ({reason}): choose another port, or 0 for any free one"
            ) from error
        self._config = uvicorn.Config(
            app,
            http=_Protocol,
            ws="none",
            lifespan="off",
            interface="asgi3",
            proxy_headers=False,
            log_config=None,
            limit_concurrency=CONNECTIONS_MAX,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
        )
        self._state = ServerState()
        self._state.default_headers = [(b"server", b"axle-sim")]
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        """The base URL, without a final slash; a wildcard address is named by its loopback."""
        host, port = self._socket.getsockname()[:2]
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  named, not bound
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    async def start(self) -> None:
        """Begins to accept connections."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._protocol, sock=self._socket, backlog=BACKLOG)

    async def stop(self) -> None:
        """Stops accepting, lets answers that are under way end within `STOP_SECONDS`, and cuts the rest."""
        if self._server is None:
            self._socket.close()
            return
        self._server.close()
        for connection in list(self._state.connections):
            connection.shutdown()
        if self._state.tasks:
            await asyncio.wait(set(self._state.tasks), timeout=STOP_SECONDS)
        for connection in list(self._state.connections):
            connection.transport.abort()
        rest = list(self._state.tasks)
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)
        await self._server.wait_closed()

    def _protocol(self) -> asyncio.Protocol:
        empty: dict[str, Any] = {}
        return _Protocol(self._config, self._state, empty)

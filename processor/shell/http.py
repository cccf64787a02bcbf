"""Health, metrics and the status page's data over HTTP, in the same event loop as the work.

A stuck loop cannot answer here, which is just what a liveness probe should notice. Read-only: nothing acts. The one
idea: liveness asks only whether we turn, never whether a broker or Axle does, or an outage becomes a restart storm
(pitfall P36).
"""

import contextlib
import socket
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Check:
    """One named check of a probe."""

    name: str
    ok: bool
    reason: str


Probe = Callable[[], list[Check]]


class Exposes(Protocol):
    """What has metrics: a process its own, a supervisor those of all."""

    def exposition(self) -> bytes:
        """The Prometheus text format."""


class PortTaken(Exception):
    """The HTTP port cannot be listened on. One sentence for the operator."""


class HttpServer:
    """Serves `/livez`, `/readyz`, `/startupz`, `/metrics`, `/status.json` and `/`."""

    def __init__(
        self, host: str, port: int, metrics: Exposes, live: Probe, ready: Probe, status: Callable[[], dict[str, object]]
    ) -> None:
        self._metrics = metrics
        self._status = status
        self._socket = _listen(host, port)
        self.port: int = self._socket.getsockname()[1]
        self.url = f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"
        routes = [
            Route("/livez", _serve_probe(live)),
            Route("/healthz", _serve_probe(live)),
            Route("/readyz", _serve_probe(ready)),
            Route("/startupz", _serve_probe(ready)),
            Route("/metrics", self._serve_metrics),
            Route("/status.json", self._serve_status),
            Route("/", self._serve_page),
        ]
        config = uvicorn.Config(
            Starlette(routes=routes), log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=1
        )
        self._server = _Server(config)

    async def serve(self) -> None:
        """Serve until `stop`."""
        await self._server.serve([self._socket])

    def stop(self) -> None:
        """End `serve`."""
        self._server.should_exit = True

    async def _serve_metrics(self, _: Request) -> Response:
        return Response(self._metrics.exposition(), headers={"content-type": METRICS_TYPE})

    async def _serve_status(self, _: Request) -> Response:
        return Response(orjson.dumps(self._status(), option=orjson.OPT_INDENT_2), media_type="application/json")

    async def _serve_page(self, _: Request) -> Response:
        return Response(_page(self._status()), media_type="text/html; charset=utf-8")


class _Server(uvicorn.Server):
    """Uvicorn as a guest: the process's signals are not its business."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _listen(host: str, port: int) -> socket.socket:
    # asyncio switches Nagle's delay off only for sockets that name their protocol
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(128)
    except OSError as failure:
        listener.close()
        raise PortTaken(
            f"cannot listen on {host}:{port} ({failure.strerror}); set AXLE_PROCESSOR_HTTP__PORT to a free port"
        ) from failure
    return listener


def _serve_probe(probe: Probe) -> Callable[[Request], Awaitable[Response]]:
    # A coroutine, because the framework gives plain functions to a thread, where they would race with the loop.
    async def serve(_: Request) -> Response:
        return _probe(probe())

    return serve


def _probe(checks: list[Check]) -> Response:
    failed = [check for check in checks if not check.ok]
    lines = [f"{'ok' if check.ok else 'FAIL'} {check.name}: {check.reason}" for check in checks]
    return Response("\n".join(lines) + "\n", 503 if failed else 200, media_type="text/plain")


def _page(status: dict[str, object]) -> str:
    """The same data as `/status.json`, readable without tools."""
    rows = "".join(f"<tr><th>{_escape(str(k))}</th><td>{_escape(_plain(v))}</td></tr>" for k, v in _rows(status))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>axle-processor</title>'
        '<meta name="viewport" content="width=device-width"><style>:root{color-scheme:light dark}'
        "body{font:16px/1.5 system-ui,sans-serif;max-width:50rem;margin:2rem auto;padding:0 1rem}"
        "th{text-align:left;padding-right:2rem;vertical-align:top;font-weight:600}</style></head><body>"
        f"<h1>{_escape(str(status.get('verdict', 'axle-processor')))}</h1><table>{rows}</table>"
        '<p><a href="/metrics">metrics</a> · <a href="/status.json">status.json</a> · '
        '<a href="/readyz">readiness</a></p></body></html>'
    )


def _rows(status: dict[str, object]) -> Iterator[tuple[str, object]]:
    """A list of several things, such as workers, has a row for each."""
    for name, value in status.items():
        if isinstance(value, list):
            yield from ((f"{name} {number}", each) for number, each in enumerate(value))
        else:
            yield name, value


def _plain(value: object) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")

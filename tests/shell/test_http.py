"""Health, metrics and the status page, asked over a real socket."""

import asyncio
import json
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from html.parser import HTMLParser
from http.client import HTTPConnection
from statistics import median
from time import perf_counter

import pytest
from prometheus_client.parser import text_string_to_metric_families

from processor.shell.http import Check, HttpServer, PortTaken
from processor.shell.metrics import Metrics

pytestmark = pytest.mark.anyio
NASTY = "<script>alert('1')</script> & <img src=x>"


class World:
    """What the server is told: change it, and the next answer follows."""

    def __init__(self) -> None:
        self.live = [Check("poll", ok=True, reason="turned 0 s ago")]
        self.ready = [Check("group", ok=True, reason="in the group"), Check("tasks", ok=True, reason="2 at work")]
        self.status: dict[str, object] = {"verdict": "Working: 2 tasks", "tasks": {"working": [0, 1]}}
        self.metrics = Metrics()


@asynccontextmanager
async def serving(world: World) -> AsyncIterator[HttpServer]:
    """A server on a free port, stopped with the block."""
    server = HttpServer("127.0.0.1", 0, world.metrics, lambda: world.live, lambda: world.ready, lambda: world.status)
    running = asyncio.get_running_loop().create_task(server.serve())
    try:
        yield server
    finally:
        server.stop()
        await asyncio.wait_for(running, 10)


async def get(server: HttpServer, path: str, method: str = "GET") -> tuple[int, str, str]:
    """(status, content type, body) of one request on a connection of its own."""

    def ask() -> tuple[int, str, str]:
        connection = HTTPConnection("127.0.0.1", server.port, timeout=10)
        try:
            connection.request(method, path)
            answer = connection.getresponse()
            return answer.status, answer.getheader("content-type") or "", answer.read().decode()
        finally:
            connection.close()

    return await asyncio.to_thread(ask)


async def test_liveness_follows_its_own_checks() -> None:
    """`/livez` is 200 while we turn, also when we are not ready, and 503 with the reason when we do not."""
    world = World()
    async with serving(world) as server:
        world.ready = [Check("group", ok=False, reason="not in the group yet")]
        for path in ("/livez", "/healthz"):
            assert await get(server, path) == (200, "text/plain; charset=utf-8", "ok poll: turned 0 s ago\n")
        world.live = [Check("poll", ok=False, reason="turned 31 s ago")]
        assert (await get(server, "/livez"))[::2] == (503, "FAIL poll: turned 31 s ago\n")


@pytest.mark.parametrize("path", ["/readyz", "/startupz"])
async def test_readiness_tells_each_reason(path: str) -> None:
    """One failed check is enough for 503, and each check has its line, the good ones too."""
    world = World()
    async with serving(world) as server:
        assert (await get(server, path))[::2] == (200, "ok group: in the group\nok tasks: 2 at work\n")
        world.ready[1] = Check("tasks", ok=False, reason="1 being restored")
        assert (await get(server, path))[::2] == (503, "ok group: in the group\nFAIL tasks: 1 being restored\n")


async def test_metrics_come_in_prometheus_text_format() -> None:
    """`/metrics` names the format's version, parses, and shows what was counted a moment ago."""
    world = World()
    world.metrics.alarms.labels("conflict").inc()
    async with serving(world) as server:
        status, content_type, body = await get(server, "/metrics")
    assert (status, content_type) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert body.endswith("\n")
    families = list(text_string_to_metric_families(body))
    assert len(families) == len(world.metrics.collectors)
    assert all(family.documentation and family.type != "unknown" for family in families)
    assert 'axle_processor_alarms_total{kind="conflict"} 1.0\n' in body


async def test_the_status_comes_as_json() -> None:
    """`/status.json` is what the processor tells, as it stands at the moment of asking."""
    world = World()
    async with serving(world) as server:
        world.status["verdict"] = NASTY
        status, content_type, body = await get(server, "/status.json")
    assert (status, content_type, json.loads(body)) == (200, "application/json", world.status)


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in {"href", "src", "action"}]

    def handle_data(self, data: str) -> None:
        self.text += data


async def test_the_page_escapes_what_it_shows_and_needs_nothing_else() -> None:
    """The page shows hostile text as text, is small, and loads nothing: its only links are our own routes."""
    world = World()
    world.status = {"verdict": NASTY, NASTY: NASTY, "group": {"inner": [NASTY]}}
    async with serving(world) as server:
        status, content_type, body = await get(server, "/")
    assert (status, content_type) == (200, "text/html; charset=utf-8")
    page = _Page()
    page.feed(body)
    assert page.text.count("<script>alert('1')</script> & <img src=x>") == 5
    assert not {"script", "img", "link", "iframe", "form"} & set(page.tags)
    assert set(page.links) == {"/metrics", "/status.json", "/readyz"}
    assert not re.search(r"url\(|@import", body)
    assert len(body) < 100_000


async def test_nothing_can_be_changed_over_http() -> None:
    """Other methods and other paths are refused."""
    async with serving(World()) as server:
        assert [(await get(server, path, "POST"))[0] for path in ("/", "/livez", "/status.json")] == [405] * 3
        assert (await get(server, "/nothing"))[0] == 404


async def test_a_taken_port_is_a_sentence() -> None:
    """A port that somebody listens on is told at once, with the variable that sets another."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortTaken) as refused:
            HttpServer("127.0.0.1", port, Metrics(), list, list, dict)
    assert str(refused.value) == (
        f"cannot listen on 127.0.0.1:{port} (Address already in use); set AXLE_PROCESSOR_HTTP__PORT to a free port"
    )


async def test_a_connection_that_is_kept_is_answered_at_once() -> None:
    """Of 20 requests on one connection the median takes less than 20 ms: Nagle's 40 ms stall is off."""

    def ask(port: int) -> list[float]:
        connection = HTTPConnection("127.0.0.1", port, timeout=10)
        took = []
        try:
            for _ in range(20):
                began = perf_counter()
                connection.request("GET", "/metrics")
                assert connection.getresponse().read()
                took.append(perf_counter() - began)
        finally:
            connection.close()
        return took

    async with serving(World()) as server:
        assert median(await asyncio.to_thread(ask, server.port)) < 0.02

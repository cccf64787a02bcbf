"""How many calls a second the Axle client makes on one core: `python -m tests.benchmarks.client_bench [--report FILE]`.

Two hundred questions are in flight at all times. The server is small and written in Go (`fast_axle.go`): it must cost
less than what is measured, wait without a thread for each call, and need nothing but its language to be built. It has
the other core to itself. All ways of calling put the same questions and get the same answer, in short rounds that take
turns, so that what else the machine does meets them all alike. Calls a second are those of the best round; CPU time is
all rounds', of the client's whole process with the threads of its transport.

- `client`: `AxleClient.perform` as `run` has it: request built, token, sent, body read, understood.
- `client_on_httpx`, `client_on_aiohttp`: the same on httpx's own transport, and on aiohttp's where `httpx-aiohttp` is
  installed.
- `async_client_on_pyreqwest`: `httpx.AsyncClient` on pyreqwest's transport, bytes in, bytes out.
- `pyreqwest`: pyreqwest's client in a bare loop, bytes in, bytes out: what the client is held against.

`run` takes uvloop where it is installed, so both event loops are measured. Exit code 0: on Python's own, which is there
always, the client makes ten times the calls that it makes on httpx's own transport, and 60 % of the bare loop's; 1: it
does not; 4: no server. On uvloop both make more calls, the bare loop more so: that ratio is told, and not judged.
"""

import argparse
import asyncio
import contextlib
import importlib
import importlib.util
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import orjson
from pyreqwest.client import ClientBuilder
from pyreqwest.compatibility.httpx import HttpxTransport

from processor.core.events import ScheduleAnswered
from processor.core.intents import AskSchedule
from processor.core.schedule import MINUTE_MS, subtract
from processor.shell.axle_client import AxleAccount, AxleClient
from processor.shell.axle_transport import http_transport
from processor.shell.clock import SystemClock
from processor.shell.metrics import Metrics
from processor.wire.axle import request
from processor.wire.instants import iso_z
from tests.benchmarks.fast_axle import CannotRun, Cores, fast_axle
from tests.core.world import GUIDE_PAUSE, GUIDE_SCHEDULE

IN_FLIGHT = 200
WARM_SECONDS, MEASURED_SECONDS, ROUNDS = 0.5, 1.0, 3
LATENCIES_MS = (0, 50)
OVER_HTTPX_MIN, OVER_PYREQWEST_MIN = 10.0, 0.6
((START_MS, END_MS),) = GUIDE_SCHEDULE
ASKED = [
    AskSchedule(f"home-{n}", f"c-{n}", 1, f"axle-c-{n}", ((START_MS, END_MS - n * MINUTE_MS),), boosted=False)
    for n in range(IN_FLIGHT)
]
"""Each of those who ask has a charger and a night of its own."""
QUESTIONS = [request(asked) for asked in ASKED]
ANSWER = orjson.dumps(
    {
        "modified_charging_schedule": [
            {"start_timestamp": iso_z(start), "end_timestamp": iso_z(end)}
            for start, end in subtract(GUIDE_SCHEDULE, GUIDE_PAUSE)
        ]
    }
)
HEADERS = {
    "accept": "application/json",
    "accept-encoding": "identity",
    "authorization": "Bearer fast-axle-token",
    "content-type": "application/json",
}
Call = Callable[[int], Awaitable[None]]
"""The question of that number, put and answered. Raises when the answer is not the one that was expected."""
Way = Callable[[str], contextlib.AbstractAsyncContextManager[Call]]


@dataclass(frozen=True, slots=True)
class Round:
    """What one round of one way came to."""

    calls: int
    seconds: float
    cpu_seconds: float


@contextmanager
def fast_server() -> Iterator[str]:
    """The URL of a server on another core than this process, from then on. Raises CannotRun."""
    cores = Cores.split()
    cores.bind_others()
    try:
        with fast_axle(ANSWER) as server:
            cores.bind_measured(os.getpid())
            yield server.url
    finally:
        cores.give_back()


@asynccontextmanager
async def client(url: str, transport: httpx.AsyncBaseTransport | None = None) -> AsyncIterator[Call]:
    """Our client, on the transport in use or on another one."""
    account = AxleAccount(url, "someone", "secret")
    ours = AxleClient(account, transport or http_transport(), SystemClock(), Metrics())

    async def call(number: int) -> None:
        answer = await ours.perform(ASKED[number])
        if not isinstance(answer, ScheduleAnswered):
            raise CannotRun(f"the server answered amiss: {answer}")

    yield call
    await ours.aclose()


def on_httpx(url: str) -> contextlib.AbstractAsyncContextManager[Call]:
    """Our client on httpx's own transport, with a connection for every call."""
    limits = httpx.Limits(max_connections=IN_FLIGHT, max_keepalive_connections=IN_FLIGHT)
    return client(url, httpx.AsyncHTTPTransport(limits=limits, trust_env=False))


def on_aiohttp(url: str) -> contextlib.AbstractAsyncContextManager[Call]:
    """Our client on aiohttp's transport."""
    aiohttp_transport = importlib.import_module("httpx_aiohttp").AiohttpTransport
    limits = httpx.Limits(max_connections=IN_FLIGHT, max_keepalive_connections=IN_FLIGHT)
    return client(url, aiohttp_transport(limits=limits, trust_env=False))


@asynccontextmanager
async def async_client_on_pyreqwest(url: str) -> AsyncIterator[Call]:
    """httpx whole, on pyreqwest's transport."""
    async with httpx.AsyncClient(transport=HttpxTransport(ClientBuilder().no_proxy().build())) as session:

        async def call(number: int) -> None:
            question = QUESTIONS[number]
            response = await session.post(url + question.path, content=question.body, headers=HEADERS)
            if response.content != ANSWER:
                raise CannotRun(f"the server answered amiss: {response.content!r}")

        yield call


@asynccontextmanager
async def bare_pyreqwest(url: str) -> AsyncIterator[Call]:
    """pyreqwest and nothing else."""
    bodies = [question.body or b"" for question in QUESTIONS]
    async with ClientBuilder().no_proxy().build() as session:

        async def call(number: int) -> None:
            asked = session.post(url + QUESTIONS[number].path).headers(HEADERS).body_bytes(bodies[number])
            response = await asked.build().send()
            if await response.bytes() != ANSWER:
                raise CannotRun("the server answered amiss")

        yield call


def ways() -> dict[str, Way]:
    """All that can be measured here, by the name that the report gives them."""
    found: dict[str, Way] = {
        "pyreqwest": bare_pyreqwest,
        "client": client,
        "client_on_httpx": on_httpx,
        "async_client_on_pyreqwest": async_client_on_pyreqwest,
    }
    if importlib.util.find_spec("httpx_aiohttp"):
        found["client_on_aiohttp"] = on_aiohttp
    return found


async def measure(way: Way, url: str, warm_seconds: float, seconds: float) -> Round:
    """One round: so many questions in flight all the time."""
    done = 0
    ends_at = time.monotonic() + warm_seconds + seconds

    async def keep_asking(call: Call, number: int) -> None:
        nonlocal done
        while time.monotonic() < ends_at:
            await call(number)
            done += 1

    async with way(url) as call:
        askers = [asyncio.create_task(keep_asking(call, number)) for number in range(IN_FLIGHT)]
        await asyncio.sleep(warm_seconds)
        before, began, cpu_before = done, time.monotonic(), time.process_time()
        await asyncio.sleep(ends_at - began)
        made = Round(done - before, time.monotonic() - began, time.process_time() - cpu_before)
        await asyncio.gather(*askers)
    return made


def event_loops() -> dict[str, Callable[[], asyncio.AbstractEventLoop] | None]:
    """Those that `run` may have, by name: how one is made, None for Python's own."""
    if not importlib.util.find_spec("uvloop"):
        return {"asyncio": None}
    import uvloop

    return {"asyncio": None, "uvloop": uvloop.new_event_loop}


def figures(url: str, rounds: int, warm_seconds: float, seconds: float) -> dict[str, Any]:
    """Event loop, latency, way: calls a second of the best round, and CPU microseconds for each call of all rounds."""
    found: dict[str, Any] = {}
    for loop, factory in event_loops().items():
        for latency_ms in LATENCIES_MS:
            made: dict[str, list[Round]] = {name: [] for name in ways()}
            for _ in range(rounds):
                for name, way in ways().items():
                    with asyncio.Runner(loop_factory=factory) as runner:
                        made[name].append(runner.run(measure(way, f"{url}/{latency_ms}", warm_seconds, seconds)))
            found.setdefault(loop, {})[f"{latency_ms} ms"] = {name: _summary(its) for name, its in made.items()}
    return found


def _summary(rounds: list[Round]) -> dict[str, int]:
    calls = sum(each.calls for each in rounds)
    return {
        "calls_per_s": round(max(each.calls / each.seconds for each in rounds)),
        "cpu_us_per_call": round(sum(each.cpu_seconds for each in rounds) / max(calls, 1) * 1e6),
    }


def ratios(found: dict[str, Any], other: str) -> dict[str, float]:
    """The client's calls a second over another way's, without latency, by event loop."""
    return {
        loop: round(its["0 ms"]["client"]["calls_per_s"] / max(its["0 ms"][other]["calls_per_s"], 1), 2)
        for loop, its in found.items()
    }


def main(arguments: list[str]) -> int:
    """Print the figures, and write them to a file where one is named. Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--report", type=Path, help="write the figures there, as JSON")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="rounds of each way; the default is %(default)s")
    asked = parser.parse_args(arguments)
    try:
        with fast_server() as url:
            found = figures(url, asked.rounds, WARM_SECONDS, MEASURED_SECONDS)
    except CannotRun as none:
        print(none, file=sys.stderr)
        return 4
    over_httpx, over_pyreqwest = ratios(found, "client_on_httpx"), ratios(found, "pyreqwest")
    accepted = over_httpx["asyncio"] >= OVER_HTTPX_MIN and over_pyreqwest["asyncio"] >= OVER_PYREQWEST_MIN
    for loop, latencies in found.items():
        for latency, its in latencies.items():
            for name, figure in its.items():
                row = f"{figure['calls_per_s']:>8,} calls/s {figure['cpu_us_per_call']:>8,} us of CPU a call"
                print(f"{loop:8} {latency:>5} {name:26} {row}")
    print(f"the client over itself on httpx's transport: {over_httpx}; over bare pyreqwest: {over_pyreqwest}")
    if asked.report:
        report = {"in_flight": IN_FLIGHT, "over_httpx": over_httpx, "over_pyreqwest": over_pyreqwest}
        asked.report.write_text(json.dumps({"accepted": accepted, **report, "figures": found}, indent=2) + "\n")
    return 0 if accepted else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

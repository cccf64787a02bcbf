"""Axle on virtual time: the simulator's model behind a transport for the real client, up or down as the story wants.

Here lives the way of one HTTP call without a network; what Axle would answer is the simulator's
(`processor/demo/axle_operations.py`). The idea: a call takes effect when its answer leaves. One that was under way
when Axle went down has had its effect, and its answer never comes.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import httpx
import orjson

from processor.demo.axle_operations import ANY_METHOD, NOT_FOUND, Axle, Operation, Request, Tokens, routes
from processor.demo.axle_world import PausePolicy, World

ANSWER_SECONDS = (0.04, 0.16)
REFUSE_SECONDS = 0.02


class Weather(StrEnum):
    """How Axle is."""

    WELL = "well"
    SILENT = "silent"
    """It takes calls and never answers."""
    BUSY_PAGE = "503"
    """Something before it answers that it is not there."""
    UNREACHABLE = "unreachable"
    """Nobody takes the call."""


@dataclass(slots=True)
class Call:
    """One HTTP call as Axle's side saw it; `status` None: never answered."""

    at: float
    endpoint: str
    status: int | None = None


class VirtualAxle(httpx.AsyncBaseTransport):
    """Axle, as a transport. `calls` has everything that was ever sent."""

    def __init__(
        self,
        seed: int,
        token_life_seconds: float,
        uniform: Callable[[float, float], float],
        now_seconds: Callable[[], float],
    ) -> None:
        self.weather = Weather.WELL
        self.calls: list[Call] = []
        self.world = World(PausePolicy(seed=seed))
        self._tokens = Tokens(token_life_seconds, seed, now_seconds)
        self._axle = Axle(self.world, self._tokens, None, None)
        self._uniform = uniform
        self._now_seconds = now_seconds
        self._routes = [(route.path.split("/"), route) for route in routes()]

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        operation, variables = self._find(request.method, path.split("/"))
        call = Call(self._now_seconds(), _name(operation))
        self.calls.append(call)
        if self.weather is Weather.WELL:
            await asyncio.sleep(self._uniform(*ANSWER_SECONDS))
            return await self._carry_out(call, operation, variables, request)
        return await self._fail(call)

    async def _fail(self, call: Call) -> httpx.Response:
        if self.weather is Weather.SILENT:
            await asyncio.get_running_loop().create_future()
        await asyncio.sleep(REFUSE_SECONDS)
        if self.weather is Weather.UNREACHABLE:
            raise httpx.ConnectError("connection refused")
        call.status = 503
        return httpx.Response(503, stream=httpx.ByteStream(b"<html>Service Unavailable</html>"))

    async def _carry_out(
        self, call: Call, operation: Operation, variables: dict[str, str], request: httpx.Request
    ) -> httpx.Response:
        signed_in = operation.endpoint == "token" or self._tokens.accepts(request.headers.get("authorization", ""))
        if not signed_in:
            call.status = 401
            return httpx.Response(401, stream=httpx.ByteStream(b'{"detail": "Could not validate credentials"}'))
        raw = request.content
        content_type = request.headers.get("content-type", "")
        body = orjson.loads(raw) if content_type == "application/json" else None
        query = request.url.query.decode()
        answer = self._axle.perform(operation, Request(variables, query, content_type, raw, body))
        if self.weather is not Weather.WELL:
            await asyncio.get_running_loop().create_future()
        call.status = answer.status
        content = b"" if answer.body is None else orjson.dumps(answer.body)
        return httpx.Response(answer.status, headers=dict(answer.headers), stream=httpx.ByteStream(content))

    def _find(self, method: str, parts: list[str]) -> tuple[Operation, dict[str, str]]:
        for template, operation in self._routes:
            if len(template) != len(parts) or operation.method not in {method, ANY_METHOD}:
                continue
            pairs = list(zip(template, parts, strict=True))
            if all(name == part or name.startswith("{") for name, part in pairs):
                return operation, {name[1:-1]: part for name, part in pairs if name.startswith("{")}
        return NOT_FOUND, {}


def _name(operation: Operation) -> str:
    """As the simulator's call log has it; deleting a charger is told from adding one."""
    return "remove" if operation.method == "DELETE" else operation.endpoint

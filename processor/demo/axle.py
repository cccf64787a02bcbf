"""A stand-in for Axle: a server of its own that obeys Axle's OpenAPI document and misbehaves on demand.

Here lives the way of one call: sign-in check, faults, the operation, the log, the answer. The model is in
`axle_world.py`, the interface in `axle_operations.py`, the faults in `axle_faults.py`. Nothing of the processor's
own idea of Axle may be imported, or the simulator would agree with our mistakes. The idea: between the fault's
decision and the line in the log nothing waits, so the order of the log is the order of the effects.

    async with AxleSimulator(SimSettings()) as axle:
        ...  # talk to axle.url, look at axle.calls and axle.world, break it with axle.set_faults([...])
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs

import orjson
from starlette.routing import Route, Router
from starlette.types import Receive, Scope, Send

from processor.demo.axle_calls import CallLog
from processor.demo.axle_faults import (
    BYTES_FAULTS,
    SCHEDULE_FAULTS,
    STATUS_FAULTS,
    Choice,
    FaultPlan,
    FaultsError,
    Rule,
    Subject,
    read_rules,
    rewrite_bytes,
    rewrite_schedule,
    status_answer,
)
from processor.demo.axle_forms import InvalidError, read_json, read_schedule
from processor.demo.axle_operations import (
    ANY_METHOD,
    NOT_FOUND,
    UNKNOWN,
    Answer,
    Axle,
    Entities,
    Operation,
    Request,
    Tokens,
    entities,
    routes,
)
from processor.demo.axle_server import GoneError, Listener, ListenError, Wire, wait_for
from processor.demo.axle_world import PausePolicy, World

__all__ = ["AxleSimulator", "CallLog", "FaultsError", "ListenError", "SimSettings", "World"]

BODY_BYTES_MAX = 256 * 1024
CALLS_PAGE_DEFAULT = 1000
CALLS_PAGE_MAX = 10_000
_NOT_SIGNED_IN = {"detail": "Could not validate credentials"}
_BEFORE_EFFECT = STATUS_FAULTS.keys() | {"redirect"}


@dataclass(frozen=True, slots=True, kw_only=True)
class SimSettings:
    """How the simulator starts. Username or password None: any that is not empty signs in.

    `faults` are rules as plain JSON values; `calls_file` gets one line a call; `not_eligible` lists MPANs that
    Axle refuses to enrol; equal seeds give equal ids, pauses and faults.
    """

    host: str = "127.0.0.1"
    port: int = 0
    seed: int = 0
    username: str | None = None
    password: str | None = None
    token_life_seconds: float = 3600.0
    pause_minutes: int = 30
    pause_share: float = 0.67
    not_eligible: frozenset[str] = frozenset()
    faults: Sequence[object] = ()
    calls_file: Path | None = None


@dataclass(slots=True)
class _Call:
    """A call on its way: what is known of it before it is answered."""

    operation: Operation
    wire: Wire
    at_ms: int
    request: Request
    about: Entities


class _Endpoint:
    """An ASGI application out of a coroutine that takes a `Wire`."""

    def __init__(self, handle: Callable[[Wire], Awaitable[None]]) -> None:
        self._handle = handle

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._handle(Wire(scope, receive, send))
        except GoneError:
            return


class AxleSimulator:
    """The simulator inside the running asyncio loop, from `async with` until its end.

    Entering raises FaultsError for wrong rules, ListenError for a taken port, OSError for the calls file.
    """

    def __init__(self, settings: SimSettings | None = None) -> None:
        self.settings = settings = settings or SimSettings()
        policy = PausePolicy(settings.pause_minutes, settings.pause_share, settings.seed)
        self.world = World(policy, settings.not_eligible)
        self.calls = CallLog()
        tokens = Tokens(settings.token_life_seconds, settings.seed, time.monotonic)
        self._axle = Axle(self.world, tokens, settings.username, settings.password)
        self.waiting = 0
        """How many calls a fault keeps waiting at this moment."""
        self._released = asyncio.Event()
        self._plan = FaultPlan([], settings.seed)
        self._listener: Listener | None = None

    async def __aenter__(self) -> Self:
        self.set_faults(self.settings.faults)
        self._listener = Listener(self._router(), self.settings.host, self.settings.port)
        try:
            self.calls = CallLog(self.settings.calls_file)
            await self._listener.start()
        except BaseException:
            await self._listener.stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.set_faults([])
        if self._listener is not None:
            await self._listener.stop()
        self.calls.close()

    @property
    def url(self) -> str:
        """The base URL of the running simulator, without a final slash."""
        if self._listener is None:
            raise RuntimeError("the simulator has no URL before it is entered with `async with`")
        return self._listener.url

    @property
    def faults(self) -> list[Any]:
        """The rules in force, as plain JSON values."""
        return [dict(rule.source) for rule in self._plan.rules]

    def set_faults(self, rows: Sequence[object]) -> None:
        """Replaces all rules ([] heals), or raises FaultsError and leaves the old ones.

        Calls that hang are hung up on, calls that are slow go on at once, and all counts start again.
        """
        self._plan = FaultPlan(read_rules(list(rows)), self.settings.seed)
        self._released.set()
        self._released = asyncio.Event()

    def _router(self) -> Router:
        control = [
            Route("/_sim/faults", _Endpoint(self._get_faults), methods=["GET"]),
            Route("/_sim/faults", _Endpoint(self._put_faults), methods=["PUT"]),
            Route("/_sim/calls", _Endpoint(self._get_calls), methods=["GET"]),
            Route("/_sim/world", _Endpoint(self._get_world), methods=["GET"]),
        ]
        return Router([*map(self._route, routes()), *control, self._route(NOT_FOUND)])

    def _route(self, operation: Operation) -> Route:
        methods = None if operation.method == ANY_METHOD else [operation.method]
        return Route(operation.path, _Endpoint(self._handler(operation)), methods=methods)

    def _handler(self, operation: Operation) -> Callable[[Wire], Awaitable[None]]:
        async def handle(wire: Wire) -> None:
            at_ms = time.time_ns() // 1_000_000
            raw = await wire.read_body(BODY_BYTES_MAX)
            request = _request(wire, raw or b"")
            call = _Call(operation, wire, at_ms, request, entities(request, self.world))
            if raw is None:
                await self._refuse(call, 413, {"detail": f"The body is longer than {BODY_BYTES_MAX} bytes"})
            elif operation.endpoint in {"token", UNKNOWN} or self._signed_in(wire):
                await self._serve(call)
            else:
                await self._refuse(call, 401, _NOT_SIGNED_IN, {"www-authenticate": "Bearer"})

        return handle

    def _signed_in(self, wire: Wire) -> bool:
        return self._axle.tokens.accepts(wire.header(b"authorization"))

    async def _serve(self, call: _Call) -> None:
        subject = Subject(call.operation.endpoint, call.operation.method, call.about.external_id, call.about.mpan)
        # Rules may be replaced while this call waits: it belongs to those that it met.
        released = self._released
        choice = self._plan.choose(subject)
        if choice.latency_ms:
            with self._counted():
                await wait_for(released, choice.latency_ms / 1000)
        rule = choice.rule
        if rule is not None and rule.fault == "hang":
            self._log(call, None, choice)
            with self._counted():
                await call.wire.hold(released)
        elif rule is not None and rule.fault in _BEFORE_EFFECT:
            status, body, headers = status_answer(rule)
            await self._refuse(call, status, body, headers, choice)
        else:
            await self._carry_out(call, choice, released)

    async def _carry_out(self, call: _Call, choice: Choice, released: asyncio.Event) -> None:
        rule = choice.rule
        answer = self._axle.perform(call.operation, call.request)
        if rule is not None and rule.fault in SCHEDULE_FAULTS and answer.status == 200:
            answer = _rewritten(rule, call.request, answer)
        lost = rule is not None and rule.fault == "effect-then-timeout"
        self._log(call, None if lost else answer.status, choice, answer)
        raw = b"" if answer.body is None else orjson.dumps(answer.body)
        if lost:
            with self._counted():
                await call.wire.hold(released)
        elif rule is not None and rule.fault == "reset":
            await call.wire.answer_half(answer.status, raw)
        elif rule is not None and rule.fault == "drip":
            with self._counted():
                await call.wire.answer_slowly(answer.status, raw, rule.number("interval_ms") / 1000, released)
        elif rule is not None and rule.fault in BYTES_FAULTS:
            # Deflating a large bomb takes a while; others must not wait for it.
            body, headers = await asyncio.to_thread(rewrite_bytes, rule, raw)
            await call.wire.answer(answer.status, body, headers)
        else:
            await call.wire.answer(answer.status, raw, answer.headers)

    @contextmanager
    def _counted(self) -> Iterator[None]:
        self.waiting += 1
        try:
            yield
        finally:
            self.waiting -= 1

    async def _refuse(
        self,
        call: _Call,
        status: int,
        body: object,
        headers: dict[str, str] | None = None,
        choice: Choice | None = None,
    ) -> None:
        self._log(call, status, choice or Choice())
        await call.wire.answer(status, orjson.dumps(body), headers)

    def _log(self, call: _Call, status: int | None, choice: Choice, answer: Answer | None = None) -> None:
        # An onboarding knows its ids only afterwards, an offboarding only before.
        after = entities(call.request, self.world)
        self.calls.append(
            {
                "at_ms": call.at_ms,
                "method": call.wire.method,
                "path": call.wire.path,
                "endpoint": call.operation.endpoint,
                "external_id": call.about.external_id or after.external_id,
                "axle_site_id": call.about.axle_site_id or after.axle_site_id,
                "asset_id": call.about.asset_id or after.asset_id,
                "body": call.request.body,
                "answer": answer.body if answer and call.operation.endpoint != "token" else None,
                "status": status,
                "fault": choice.name,
                "effect": answer is not None and answer.effect,
            }
        )

    async def _get_faults(self, wire: Wire) -> None:
        await wire.answer(200, orjson.dumps(self.faults))

    async def _put_faults(self, wire: Wire) -> None:
        raw = await wire.read_body(BODY_BYTES_MAX)
        try:
            self.set_faults(read_faults(raw or b""))
        except FaultsError as error:
            await wire.answer(400, orjson.dumps({"detail": str(error)}))
            return
        await self._get_faults(wire)

    async def _get_calls(self, wire: Wire) -> None:
        query = parse_qs(wire.query)
        since, limit = query.get("since", ["0"])[-1], query.get("limit", [str(CALLS_PAGE_DEFAULT)])[-1]
        if not (since.isdecimal() and limit.isdecimal()):
            await wire.answer(400, orjson.dumps({"detail": "since and limit must be whole numbers"}))
            return
        page = self.calls.since(int(since), min(int(limit), CALLS_PAGE_MAX))
        following = page[-1]["n"] if page else int(since)
        body = {"calls": page, "next": following, "last": self.calls.last, "waiting": self.waiting}
        await wire.answer(200, orjson.dumps(body))

    async def _get_world(self, wire: Wire) -> None:
        await wire.answer(200, orjson.dumps(self.world.snapshot()))


def read_faults(raw: bytes) -> list[object]:
    """A list of rows out of JSON text, not yet checked; FaultsError when it is no JSON list."""
    try:
        rows = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise FaultsError(f"the faults cannot be read as JSON: {error}") from error
    if not isinstance(rows, list):
        raise FaultsError("the faults must be a JSON list of rules, [] for none")
    return rows


def _request(wire: Wire, raw: bytes) -> Request:
    content_type = wire.header(b"content-type")
    try:
        body = read_json(raw, content_type)
    except InvalidError:
        body = None
    return Request(wire.path_params, wire.query, content_type, raw, body)


def _rewritten(rule: Rule, request: Request, answer: Answer) -> Answer:
    asked = read_schedule(request.json())
    answered = answer.body["modified_charging_schedule"] if isinstance(answer.body, dict) else []
    return Answer(answer.status, rewrite_schedule(rule, asked, answered), answer.effect) if asked else answer

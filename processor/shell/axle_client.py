"""Axle over HTTP: token, deadlines, limits. Intents go in, answers for `decide` or `Again` come out.

What requests and answers look like is in `wire/axle.py`; when to call is in `desk.py`. The one idea: a call can never
hurt. It has one total deadline, its answer is cut at a cap (`axle_transport.py`), no redirect is followed, and whatever
goes wrong is a `Retry`, never an exception.
"""

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from email.utils import parsedate_to_datetime

import httpx
import structlog
from prometheus_client import Counter, Histogram

from processor.core.events import Answer
from processor.core.intents import Intent
from processor.shell.axle_transport import AnswerUnfit, Exchange, straight
from processor.shell.clock import Clock
from processor.shell.clock_skew import ClockSkew
from processor.shell.deadlines import Deadlines
from processor.shell.governor import Verdict
from processor.shell.metrics import Metrics
from processor.wire.axle import Again, Endpoint, Reply, Request, SignInRefused, conclude, request, sign_in, token_of
from processor.wire.axle_list import Page, page_of, page_request

RETRY_AFTER_SECONDS_MAX = 300.0
TOKEN_LIFE_USED = 0.8
SIGN_IN_AGAIN_SECONDS = 10.0
"""After a refused sign-in. Every lane would try it otherwise, and accounts are locked for less."""
SAME_WARNING_SECONDS = 30.0
HEADERS = {"accept": "application/json", "accept-encoding": "identity"}
SIGN_IN_HEADERS = {**HEADERS, "content-type": "application/x-www-form-urlencoded"}
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class AxleAccount:
    """Where Axle is, who we are there, and how to get there. Raises ValueError for plain http beyond this machine."""

    base_url: str
    username: str
    password: str
    deadline_seconds: float = 10.0
    token_life_seconds: float = 3600.0
    ca_pem: bytes | None = None
    """Certificates that Axle's is checked against, besides those that are known anyway."""
    proxy: str | None = None
    """`http://HOST:PORT`; a password may stand in it."""

    def __post_init__(self) -> None:
        url = httpx.URL(self.base_url)
        if url.query or url.fragment or url.userinfo:
            raise ValueError(
                "Axle's base URL must be a host and perhaps a path; no name, password or query belongs there"
            )
        loopback = url.host in {"127.0.0.1", "localhost", "::1"}
        if url.scheme != "https" and not (url.scheme == "http" and loopback):
            raise ValueError(f"Axle's base URL must begin with https:// (http:// on loopback), not {self.base_url!r}")
        if self.deadline_seconds <= 0:
            raise ValueError("the deadline of a call must be above 0 seconds")

    def __repr__(self) -> str:
        return f"AxleAccount({self.base_url!r}, {self.username!r}, '***')"


@dataclass(frozen=True, slots=True)
class Retry:
    """The call came to no end: try again, not before `after_seconds` where the server said so."""

    why: str
    after_seconds: float = 0.0
    verdict: Verdict = Verdict.BAD
    """What it says of Axle's health."""


class Token:
    """A bearer token, as the headers that carry it; they are made once for all requests."""

    def __init__(self, value: str) -> None:
        self._bare = {**HEADERS, "authorization": f"Bearer {value}"}
        self._with_body = {**self._bare, "content-type": "application/json"}

    def headers_for(self, step: Request) -> dict[str, str]:
        """All headers of this request."""
        return self._bare if step.body is None else self._with_body


class AxleClient:
    """One account's client, on an injected transport. Use it from one event loop."""

    def __init__(
        self, account: AxleAccount, transport: Exchange | httpx.AsyncBaseTransport, clock: Clock, metrics: Metrics
    ) -> None:
        self._account = account
        self._transport = straight(transport)
        self._deadlines = Deadlines(account.deadline_seconds)
        self._within = timedelta(seconds=account.deadline_seconds)
        self._skew = ClockSkew(clock, metrics)
        self._clock = clock
        self._metrics = metrics
        self._base = account.base_url.rstrip("/")
        self._token: Token | None = None
        self._token_until = 0.0
        self._refresh: asyncio.Task[Token] | None = None
        self._refused: SignInRefused | None = None
        self._refused_until = 0.0
        self._warned_at: dict[str, float] = {}
        self._counters: dict[tuple[Endpoint, str], tuple[Counter, Histogram]] = {}

    async def aclose(self) -> None:
        """Close all connections."""
        await self._transport.aclose()

    async def perform(self, intent: Intent) -> Answer | Retry:
        """Step 11: make the call that the intent owes, within the total deadline. Never raises but for cancellation."""
        try:
            with self._deadlines.new():
                return await self._converse(intent)
        except Exception as failure:
            return self._trouble(failure)

    async def list_page(self, offset: int) -> Page | Retry:
        """A page of Axle's list of chargers, within the total deadline. Never raises but for cancellation."""
        try:
            with self._deadlines.new():
                reply, retry_after = await self._authorised(page_request(offset))
        except Exception as failure:
            return self._trouble(failure)
        page = page_of(reply)
        return Retry(page.why, retry_after, _verdict(reply.status)) if isinstance(page, Again) else page

    def _trouble(self, failure: Exception) -> Retry:
        if isinstance(failure, TimeoutError):
            return Retry(f"no answer in {self._account.deadline_seconds:g} s")
        if isinstance(failure, SignInRefused):
            return Retry(str(failure), verdict=_verdict(failure.status))
        return Retry(f"{type(failure).__name__}: {failure}"[:200])

    async def sign_in(self) -> None:
        """Get a token now. Raises SignInRefused, httpx.HTTPError, TimeoutError."""
        async with asyncio.timeout(self._account.deadline_seconds):
            await self._bearer()

    async def _converse(self, intent: Intent) -> Answer | Retry:
        replies: tuple[Reply, ...] = ()
        step = request(intent)
        while True:
            reply, retry_after = await self._authorised(step)
            replies = (*replies, reply)
            outcome = conclude(intent, replies)
            if isinstance(outcome, Again):
                return Retry(outcome.why, retry_after, _verdict(reply.status))
            if not isinstance(outcome, Request):
                return outcome
            step = outcome

    async def _authorised(self, step: Request) -> tuple[Reply, float]:
        """Send with a token; one that Axle rejects is renewed once (the same token never twice)."""
        token = self._token_in_force() or await self._bearer()
        reply, retry_after = await self._send(step, token)
        if reply.status != 401:
            return reply, retry_after
        if self._token is token:
            self._token = None
        reply, retry_after = await self._send(step, await self._bearer())
        if reply.status == 401:
            self._complain("token", "Axle rejects tokens that it has just given us; check the account's access.")
        return reply, retry_after

    def _token_in_force(self) -> Token | None:
        return self._token if self._token is not None and self._clock.monotonic() < self._token_until else None

    async def _bearer(self) -> Token:
        """The token; one refresh at a time however many wait for it."""
        if token := self._token_in_force():
            return token
        if self._refused and self._clock.monotonic() < self._refused_until:
            raise SignInRefused(self._refused.status, str(self._refused))
        if self._refresh is None or self._refresh.done():
            self._refresh = asyncio.get_running_loop().create_task(self._fetch_token())
            # Those who wait may be gone when it fails; the failure is not lost then, the next one asks again.
            self._refresh.add_done_callback(lambda task: task.cancelled() or task.exception())
        return await asyncio.shield(self._refresh)

    async def _fetch_token(self) -> Token:
        async with asyncio.timeout(self._account.deadline_seconds):
            reply, _ = await self._send(sign_in(self._account.username, self._account.password), None)
        try:
            self._token = Token(token_of(reply))
        except SignInRefused as refused:
            self._complain("sign_in", str(refused))
            if 400 <= refused.status < 500:
                self._refused, self._refused_until = refused, self._clock.monotonic() + SIGN_IN_AGAIN_SECONDS
            raise
        self._refused = None
        life = self._account.token_life_seconds * TOKEN_LIFE_USED
        self._token_until = self._clock.monotonic() + life
        self._metrics.token_expiry.set(self._clock.now_ms() / 1000 + life)
        return self._token

    def _complain(self, kind: str, sentence: str) -> None:
        """Axle does not let us in, which only a person can mend: count it, and say so, but not for every call."""
        self._metrics.refused_sign_ins.labels(kind).inc()
        now = self._clock.monotonic()
        if now - self._warned_at.get(kind, -SAME_WARNING_SECONDS) >= SAME_WARNING_SECONDS:
            self._warned_at[kind] = now
            log.warning(sentence)

    async def _send(self, step: Request, token: Token | None) -> tuple[Reply, float]:
        headers = SIGN_IN_HEADERS if token is None else token.headers_for(step)
        began = self._clock.monotonic()
        status = "error"
        try:
            got = await self._transport.exchange(step.method, self._base + step.path, headers, step.body, self._within)
            status = f"{got.status // 100}xx"
            self._skew.hear(got.date, began)
            return Reply(got.status, got.body), _retry_after(got.retry_after, self._clock)
        except AnswerUnfit as unfit:
            status = f"{unfit.status // 100}xx"
            raise
        except (TimeoutError, asyncio.CancelledError):
            status = "timeout"
            raise
        finally:
            calls, seconds = self._counted(step.endpoint, status)
            calls.inc()
            seconds.observe(self._clock.monotonic() - began)

    def _counted(self, endpoint: Endpoint, status: str) -> tuple[Counter, Histogram]:
        """Its place in the metrics, which the library looks for at some cost."""
        found = self._counters.get((endpoint, status))
        if found is None:
            found = self._metrics.calls.labels(endpoint, status), self._metrics.call_seconds.labels(endpoint)
            self._counters[endpoint, status] = found
        return found


def _verdict(status: int) -> Verdict:
    """What a status that concludes nothing says of Axle's health. A success among them had a body that told nothing."""
    if status == 429:
        return Verdict.BUSY
    ours = 400 <= status < 500 and status not in {408, 425}
    return Verdict.OURS if ours else Verdict.BAD


def _retry_after(value: str | None, clock: Clock) -> float:
    """Seconds that the server asks us to wait (RFC 9110, 10.2.3: seconds or a date), clamped."""
    if value is None:
        return 0.0
    try:
        seconds = float(value) if value.isdecimal() else _seconds_until(value, clock)
    except (ValueError, OverflowError):
        return 0.0
    return min(max(seconds, 0.0), RETRY_AFTER_SECONDS_MAX)


def _seconds_until(date: str, clock: Clock) -> float:
    return parsedate_to_datetime(date).timestamp() - clock.now_ms() / 1000

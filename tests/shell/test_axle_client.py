"""The Axle client on scripted transports: token, deadline, caps, and that nothing is ever raised."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from urllib.parse import parse_qs

import httpx
import pytest
from structlog.testing import capture_logs

from processor.core.events import Found, LookedUp, Offboarded, ScheduleAnswered
from processor.core.intents import AskSchedule, LookUp, Offboard, Remove
from processor.core.schedule import HOUR_MS
from processor.shell.axle_client import SIGN_IN_AGAIN_SECONDS, AxleAccount, AxleClient, Retry
from processor.shell.axle_transport import BODY_BYTES_MAX
from processor.shell.governor import Verdict
from processor.shell.metrics import Metrics
from tests.shell.parts import NOW_MS, HandClock

pytestmark = pytest.mark.anyio
PASSWORD = "correct-horse-battery-staple"
NIGHT = ((NOW_MS, NOW_MS + 8 * HOUR_MS),)
ASK = AskSchedule("s-1", "c-1", 1, "aa", NIGHT, boosted=False)
LEAVE = Offboard("s-1", "as")
UNCHANGED = {
    "modified_charging_schedule": [
        {"start_timestamp": "2025-11-22T08:27:00+00:00", "end_timestamp": "2025-11-22T16:27:00+00:00"}
    ]
}
Handler = Callable[[httpx.Request], Awaitable[httpx.Response]]


class Axle:
    """A transport that hands out tokens, and answers everything else as the test says."""

    def __init__(self, handler: Handler | None = None, *, sign_in: Handler | None = None) -> None:
        self.requests: list[httpx.Request] = []
        self.tokens = 0
        self._handler = handler or self._done
        self._sign_in = sign_in or self._token
        self.clock = HandClock()
        self.metrics = Metrics()

    def client(self, base_url: str = "https://axle.example", deadline_seconds: float = 5.0) -> AxleClient:
        account = AxleAccount(base_url, "someone", PASSWORD, deadline_seconds)
        return AxleClient(account, httpx.MockTransport(self._answer), self.clock, self.metrics)

    def paths(self) -> list[str]:
        return [request.url.raw_path.decode() for request in self.requests]

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        await asyncio.sleep(0)
        return await (self._sign_in if request.url.path.endswith("/auth/token-form") else self._handler)(request)

    async def _token(self, _: httpx.Request) -> httpx.Response:
        self.tokens += 1
        return httpx.Response(200, json={"access_token": f"token-{self.tokens}", "token_type": "bearer"})

    async def _done(self, _: httpx.Request) -> httpx.Response:
        return httpx.Response(204)


def always(status: int, **what: object) -> Handler:
    """A handler that always answers the same."""

    async def handler(_: httpx.Request) -> httpx.Response:
        return httpx.Response(status, **what)  # type: ignore[arg-type] # as the test gives it

    return handler


def bearer(request: httpx.Request) -> str:
    return request.headers["authorization"].removeprefix("Bearer ")


async def test_many_calls_sign_in_once() -> None:
    """However many calls need a token at once, one sign-in is made, and its token serves them all."""
    axle = Axle()
    client = axle.client()
    answers = await asyncio.gather(*(client.perform(LEAVE) for _ in range(20)))
    assert answers == [Offboarded("s-1", "as")] * 20
    assert axle.tokens == 1
    assert {bearer(request) for request in axle.requests[1:]} == {"token-1"}


async def test_the_sign_in_is_a_form_and_carries_no_token() -> None:
    """Username and password go as form fields, and only to the sign-in."""
    axle = Axle()
    await axle.client().perform(LEAVE)
    sign_in, call = axle.requests
    assert sign_in.headers["content-type"] == "application/x-www-form-urlencoded"
    assert parse_qs(sign_in.content.decode())["password"] == [PASSWORD]
    assert "authorization" not in sign_in.headers
    assert PASSWORD.encode() not in call.content
    assert call.headers["accept-encoding"] == "identity"


async def test_a_token_is_renewed_before_it_is_too_old() -> None:
    """A token serves for four fifths of its hour."""
    axle = Axle()
    client = axle.client()
    await client.perform(LEAVE)
    axle.clock.turn(0.79 * 3600)
    await client.perform(LEAVE)
    assert axle.tokens == 1
    axle.clock.turn(0.02 * 3600)
    await client.perform(LEAVE)
    assert axle.tokens == 2


async def test_a_rejected_token_is_renewed_once_for_all() -> None:
    """When Axle rejects a token, those who used it share one new sign-in, and their calls are made again."""

    async def handler(request: httpx.Request) -> httpx.Response:
        return httpx.Response(401 if bearer(request) == "token-1" else 204)

    axle = Axle(handler)
    client = axle.client()
    answers = await asyncio.gather(*(client.perform(LEAVE) for _ in range(10)))
    assert answers == [Offboarded("s-1", "as")] * 10
    assert axle.tokens == 2


async def test_a_fresh_token_that_is_rejected_is_told_and_counted_but_not_for_every_call() -> None:
    """An operator hears at most every 30 s that the account has lost its access; each time is counted."""
    axle = Axle(always(401))
    client = axle.client()
    with capture_logs() as logs:
        for _ in range(3):
            answer = await client.perform(LEAVE)
            assert isinstance(answer, Retry)
        assert len(logs) == 1
        assert "check the account" in logs[0]["event"]
        axle.clock.turn(31)
        await client.perform(LEAVE)
        assert len(logs) == 2
    assert axle.metrics.refused_sign_ins.labels("token")._value.get() == 4  # noqa: SLF001 - it has no public reader
    assert len(axle.requests) == 2 * 4 + axle.tokens


async def test_a_refused_sign_in_is_told_counted_and_not_hammered() -> None:
    """A wrong password is one warning; other calls fail without another sign-in, until some seconds have passed."""
    axle = Axle(sign_in=always(400, json={"detail": "Incorrect username or password"}))
    client = axle.client()
    with capture_logs() as logs:
        answers = [await client.perform(LEAVE) for _ in range(5)]
        assert all(isinstance(answer, Retry) and "username or the password" in answer.why for answer in answers)
        assert len(axle.requests) == 1
        axle.clock.turn(SIGN_IN_AGAIN_SECONDS)
        await client.perform(LEAVE)
    assert len(axle.requests) == 2
    assert [log["log_level"] for log in logs] == ["warning"]
    assert PASSWORD not in str(logs)


async def test_trouble_at_the_sign_in_is_tried_again_by_the_next_call() -> None:
    """A sign-in that fails on Axle's side holds nobody back: the next call signs in."""
    statuses = iter([503, 200])

    async def sign_in(_: httpx.Request) -> httpx.Response:
        return httpx.Response(next(statuses), json={"access_token": "t", "token_type": "bearer"})

    client = Axle(sign_in=sign_in).client()
    assert isinstance(await client.perform(LEAVE), Retry)
    assert await client.perform(LEAVE) == Offboarded("s-1", "as")


async def test_a_sign_in_that_everybody_gave_up_waiting_for_does_no_harm() -> None:
    """When the sign-in outlives its calls it neither raises nor blocks the next one."""
    hangs = True

    async def sign_in(_: httpx.Request) -> httpx.Response:
        if hangs:
            await asyncio.Event().wait()
        return httpx.Response(200, json={"access_token": "t", "token_type": "bearer"})

    client = Axle(sign_in=sign_in).client(deadline_seconds=0.05)
    assert isinstance(await client.perform(LEAVE), Retry)
    hangs = False
    await asyncio.sleep(0.06)
    assert await client.perform(LEAVE) == Offboarded("s-1", "as")


class Drip(httpx.AsyncByteStream):
    """A body that comes a byte at a time, without end."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            await asyncio.sleep(0.01)
            yield b"{"


async def hang(_: httpx.Request) -> httpx.Response:
    await asyncio.Event().wait()
    raise AssertionError


async def drip(_: httpx.Request) -> httpx.Response:
    return httpx.Response(200, stream=Drip())


@pytest.mark.parametrize("handler", [hang, drip])
async def test_the_deadline_is_for_the_whole_call(handler: Handler) -> None:
    """A server that hangs, or sends a byte now and then, is given up when the deadline has passed."""
    axle = Axle(handler)
    began = time.monotonic()
    answer = await axle.client(deadline_seconds=0.1).perform(ASK)
    assert answer == Retry("no answer in 0.1 s")
    assert 0.09 <= time.monotonic() - began < 2
    assert b'axle_requests_total{endpoint="schedule",status="timeout"} 1.0' in axle.metrics.exposition()


async def test_sign_in_and_call_share_one_deadline() -> None:
    """A slow sign-in does not lengthen the call."""

    async def sign_in(_: httpx.Request) -> httpx.Response:
        await asyncio.sleep(0.08)
        return httpx.Response(200, json={"access_token": "t", "token_type": "bearer"})

    began = time.monotonic()
    assert isinstance(await Axle(hang, sign_in=sign_in).client(deadline_seconds=0.1).perform(ASK), Retry)
    assert time.monotonic() - began < 0.17


async def test_a_cancelled_call_stays_cancelled() -> None:
    """Cancellation is the one thing that a call lets through."""
    call = asyncio.create_task(Axle(hang).client().perform(ASK))
    await asyncio.sleep(0.01)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call


@pytest.mark.parametrize(
    ("handler", "why"),
    [
        (always(200, content=b"x" * (BODY_BYTES_MAX + 1)), "larger than"),
        (always(200, content=b"x", headers={"content-encoding": "gzip"}), "encoded as 'gzip'"),
        (always(302, headers={"location": "https://elsewhere.example/"}), "a redirect, which is never followed"),
        (always(200, content=b"{"), "tells nothing"),
        (always(418), "which its documentation does not name"),
        (always(500), "trouble on its side"),
    ],
)
async def test_what_cannot_be_used_means_try_later(handler: Handler, why: str) -> None:
    """Answers that are too large, encoded, redirected or meaningless end in another try, with a sentence."""
    axle = Axle(handler)
    answer = await axle.client().perform(ASK)
    assert isinstance(answer, Retry)
    assert why in answer.why
    assert len(axle.requests) == 2


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (302, Verdict.BAD),
        (401, Verdict.OURS),
        (408, Verdict.BAD),
        (418, Verdict.OURS),
        (425, Verdict.BAD),
        (429, Verdict.BUSY),
        (500, Verdict.BAD),
        (503, Verdict.BAD),
    ],
)
async def test_what_a_status_says_of_axles_health(status: int, verdict: Verdict) -> None:
    """Trouble on its side counts against it, too many calls slow us down, and what we did wrong says nothing of it."""
    answer = await Axle(always(status)).client().perform(ASK)
    assert isinstance(answer, Retry)
    assert answer.verdict is verdict


@pytest.mark.parametrize("error", [RuntimeError("boom"), OSError("no route"), httpx.ReadError("cut"), ValueError("?")])
async def test_whatever_a_transport_raises_means_try_later(error: Exception) -> None:
    """No exception of a transport's leaves the client."""

    async def handler(_: httpx.Request) -> httpx.Response:
        raise error

    answer = await Axle(handler).client().perform(ASK)
    assert isinstance(answer, Retry)
    assert type(error).__name__ in answer.why


@pytest.mark.parametrize("bad", [".", ".."])
async def test_an_id_that_no_url_carries_is_not_sent(bad: str) -> None:
    """A call that would reach another resource is not made, and raises nothing."""
    axle = Axle()
    for intent in (LookUp("s-1", bad, 0), Remove("s-1", "c-1", bad)):
        answer = await axle.client().perform(intent)
        assert isinstance(answer, Retry)
        assert "cannot stand in a path" in answer.why
    assert axle.requests == []


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, 0.0),
        ("7", 7.0),
        ("0", 0.0),
        ("-5", 0.0),
        ("86400", 300.0),
        ("9" * 400, 300.0),
        ("nan", 0.0),
        ("inf", 0.0),
        ("soon", 0.0),
        ("", 0.0),
        ("Sat, 22 Nov 2025 08:27:30 GMT", 30.0),
        ("Sat, 22 Nov 2025 08:26:00 GMT", 0.0),
        ("Sat, 22 Nov 2125 08:27:30 GMT", 300.0),
        ("Mon, 01 Jan 0001 00:00:00 -0000", 0.0),
        ("Sat, 99 Nov 99999 99:99:99 GMT", 0.0),
    ],
)
async def test_axle_says_when_to_come_back(value: str | None, seconds: float) -> None:
    """Retry-After is understood as seconds and as a date, within 0 to 300 s; nonsense is no wish."""
    headers = {} if value is None else {"retry-after": value}
    answer = await Axle(always(429, headers=headers)).client().perform(ASK)
    assert answer == Retry("Axle answered schedule with 429: too many calls; slowing down.", seconds, Verdict.BUSY)


async def test_a_look_up_is_two_readings() -> None:
    """A charger's look-up is followed by one of its site, and both make one answer."""
    asset = {"id": "aa", "site_id": "as", "external_id": "c:1"}

    async def handler(request: httpx.Request) -> httpx.Response:
        is_asset = "/asset/" in request.url.path
        return httpx.Response(200, json=asset if is_asset else {"id": "as", "mpan": "1234567890123"})

    axle = Axle(handler)
    answer = await axle.client("https://axle.example/base/").perform(LookUp("s-1", "c:1", 0))
    assert answer == LookedUp("s-1", "c:1", Found("as", "aa", "1234567890123"))
    assert axle.paths()[1:] == ["/base/entities/asset/external-id/c%3A1", "/base/entities/site/as"]


async def test_a_question_is_json_with_the_token() -> None:
    """A schedule question goes out as JSON, and its answer comes back with what was sent."""
    axle = Axle(always(200, json=UNCHANGED))
    assert await axle.client().perform(ASK) == ScheduleAnswered("s-1", "c-1", 1, NIGHT, NIGHT)
    request = axle.requests[1]
    assert (request.method, request.headers["content-type"]) == ("POST", "application/json")
    assert (bearer(request), request.headers["host"]) == ("token-1", "axle.example")


async def test_a_sign_in_on_demand_raises_what_is_wrong() -> None:
    """`sign_in` is for those who want to know at once."""
    from processor.wire.axle import SignInRefused

    await Axle().client().sign_in()
    with pytest.raises(SignInRefused, match="username or the password"):
        await Axle(sign_in=always(401)).client().sign_in()


@pytest.mark.parametrize(
    "url", ["http://axle.example", "ftp://127.0.0.1", "axle.example", "http://127.0.0.1.evil.example"]
)
def test_plain_http_is_for_this_machine_alone(url: str) -> None:
    """Beyond loopback only https is taken: the password goes there."""
    with pytest.raises(ValueError, match="https://"):
        AxleAccount(url, "u", PASSWORD)
    assert AxleAccount("http://127.0.0.1:8000", "u", PASSWORD).base_url == "http://127.0.0.1:8000"


@pytest.mark.parametrize("url", ["http://u:hunter2@axle.example", "https://axle.example/?a=b", "https://a.example/#x"])
def test_a_base_url_is_a_place_and_nothing_more(url: str) -> None:
    """A password, a query or a fragment in the base URL is refused, and not repeated."""
    with pytest.raises(ValueError, match="host and perhaps a path") as told:
        AxleAccount(url, "u", PASSWORD)
    assert "hunter2" not in str(told.value)


def test_a_deadline_is_above_zero() -> None:
    """A deadline of nothing would end every call before it began."""
    with pytest.raises(ValueError, match="above 0"):
        AxleAccount("https://axle.example", "u", PASSWORD, 0)


async def test_the_password_is_nowhere() -> None:
    """Neither the account's text, nor what a failed call says, nor the log holds the password."""

    async def handler(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("connection refused", request=request)

    assert PASSWORD not in repr(AxleAccount("https://axle.example", "u", PASSWORD))
    with capture_logs() as logs:
        answers = [await Axle(sign_in=sign_in).client().perform(ASK) for sign_in in (handler, always(422), always(200))]
    assert PASSWORD not in f"{answers} {logs}"
    assert all(isinstance(answer, Retry) for answer in answers)

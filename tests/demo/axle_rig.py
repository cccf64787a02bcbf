"""A running simulator with a client that holds every exchange against Axle's contract.

Here lives what the tests of the simulator share; no test does. The idea: `Rig.call` checks both the request and the
answer each time, so that a test about pauses or faults is a test of the interface too.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any

import httpx

from processor.demo.axle import AxleSimulator, SimSettings
from tests.wire.axle_contract import FORM, check_answer, check_request

GUIDE_SITE = {
    "mpan": "1234567890123",
    "postcode": "SW1A 1AA",
    "street_address": "10 Example Street",
    "email": "driver@example.com",
    "gave_boundary_meter_consent_at": "2025-01-01T12:00:00Z",
}
NIGHT = [("2025-06-27T22:00:00Z", "2025-06-28T06:00:00Z")]
"""The guide's schedule: one block of eight hours."""


def onboarding(charger: str = "charger-001", **site: object) -> dict[str, Any]:
    """The body of the guide's onboarding form; keyword arguments replace fields of the site."""
    return {
        "site": GUIDE_SITE | site,
        "asset": {"external_id": charger, "type": "charger", "properties": {"power_kw": 7.4}},
        "dispatch_consent": {"dispatch_methods": ["limited_pause"]},
    }


def upsert(*chargers: str, override: bool = False, **site: object) -> dict[str, Any]:
    """The body of the newer onboarding form."""
    return {
        "site": GUIDE_SITE | site,
        "assets": [{"external_id": charger, "type": "charger"} for charger in chargers],
        "proposition": "limited_pause",
        "override_withdrawal": override,
    }


def question(*blocks: tuple[str, str]) -> dict[str, Any]:
    """The body of a schedule question."""
    return {"charging_schedule": [{"start_timestamp": a, "end_timestamp": b} for a, b in blocks]}


def pairs(answer: Any) -> list[tuple[str, str]]:
    """The blocks of an answer to a schedule question, as texts."""
    return [(b["start_timestamp"], b["end_timestamp"]) for b in answer["modified_charging_schedule"]]


def schedule_path(asset_id: str) -> str:
    """Where the schedule of an asset is asked about."""
    return f"/entities/asset/{asset_id}/event/plug-in-schedule"


async def until(holds: Callable[[], bool], seconds: float = 10.0) -> None:
    """Returns as soon as the condition holds; fails the test when it does not in time."""
    deadline = monotonic() + seconds
    while not holds():
        assert monotonic() < deadline, "the condition did not come true in time"
        await asyncio.sleep(0.005)


class Rig:
    """A simulator and a client that is signed in to it."""

    def __init__(self, sim: AxleSimulator, http: httpx.AsyncClient) -> None:
        self.sim = sim
        self.http = http

    async def sign_in(self, username: str, password: str) -> httpx.Response:
        """Signs in; the token goes with all later calls."""
        form = {"username": username, "password": password, "grant_type": "password"}
        check_request("POST", "/auth/token-form", form, FORM)
        answer = await self.http.post("/auth/token-form", data=form)
        check_answer("POST", "/auth/token-form", answer.status_code, answer.json())
        if answer.status_code == 200:
            self.http.headers["authorization"] = f"Bearer {answer.json()['access_token']}"
        return answer

    async def call(self, method: str, path: str, body: object = None, *, wrong: bool = False) -> tuple[int, Any]:
        """(status, JSON) of one call; `wrong` sends what the contract does not allow."""
        if not wrong:
            check_request(method, path, body)
        answer = await self.http.request(method, path, json=body)
        decoded = answer.json() if answer.content else None
        check_answer(method, path, answer.status_code, decoded)
        return answer.status_code, decoded

    async def onboard(self, charger: str = "charger-001", **site: object) -> tuple[str, str]:
        """(site id, asset id) of a home that was onboarded in the guide's form."""
        body = onboarding(charger, **site)
        status, answer = await self.call("POST", "/entities/site/onboard-site-and-asset", body)
        assert status == 200
        return answer["site"]["id"], answer["asset"]["id"]


@asynccontextmanager
async def running(**settings: Any) -> AsyncIterator[Rig]:
    """A simulator with these settings, on a free loopback port, and a client signed in to it."""
    # No certificate authorities are loaded, because loopback needs none and loading them is slow.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    async with (
        AxleSimulator(SimSettings(**settings)) as sim,
        httpx.AsyncClient(base_url=sim.url, timeout=5, verify=context, trust_env=False) as http,
    ):
        rig = Rig(sim, http)
        if settings.get("username") is None and settings.get("password") is None and not settings.get("faults"):
            await rig.sign_in("user", "secret")
        yield rig

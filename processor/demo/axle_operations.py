"""Axle's operations, one method each: a request value in, an answer value out.

Here lives the mapping between HTTP and the model: routes, status codes and JSON bodies as Axle's document has them.
No socket, no waiting and no fault is here. The idea: the table at the end *is* the interface; a route that is not
in it does not exist.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from processor.demo.axle_forms import (
    InvalidError,
    blocks_body,
    read_asset,
    read_filter,
    read_json,
    read_login,
    read_onboarding,
    read_page,
    read_schedule,
    read_unenrol,
    read_upsert,
    read_uuid,
)
from processor.demo.axle_world import RefusedError, World

TOKENS_MAX = 10_000
UNLIMITED_W = 99_999
UNKNOWN = "unknown"
"""The endpoint of a call that is not in the interface."""
ANY_METHOD = "*"


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request, read whole. `body` is its JSON object, or None when it carries none."""

    path: Mapping[str, str]
    query: str
    content_type: str
    raw: bytes
    body: dict[str, Any] | None

    def json(self) -> dict[str, Any]:
        """The JSON object that the operation needs; InvalidError when there is none."""
        return self.body if self.body is not None else read_json(self.raw, self.content_type)

    def identity(self, name: str) -> str:
        """A path variable that must be a uuid; InvalidError."""
        return read_uuid(self.path[name], name)


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer; `body` None: empty. `effect` tells that Axle holds something else than before."""

    status: int
    body: object = None
    effect: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Operation:
    """A row of the interface; `endpoint` is its name in fault rules and in the call log."""

    endpoint: str
    method: str
    path: str
    perform: Callable[["Axle", Request], Answer]


class Tokens:
    """The access tokens that were given out, each valid for `life_seconds` on the clock that is handed in."""

    def __init__(self, life_seconds: float, seed: int, now_seconds: Callable[[], float]) -> None:
        self._life_seconds = life_seconds
        self._now_seconds = now_seconds
        self._seed = seed
        self._issued = 0
        self._valid_until: dict[str, float] = {}

    def issue(self) -> str:
        """A new token; the oldest one goes when there are too many."""
        self._issued += 1
        token = blake2b(f"{self._seed}/{self._issued}".encode(), digest_size=24).hexdigest()
        self._valid_until[token] = self._now_seconds() + self._life_seconds
        if len(self._valid_until) > TOKENS_MAX:
            del self._valid_until[next(iter(self._valid_until))]
        return token

    def accepts(self, authorization: str) -> bool:
        """True for the value of an Authorization header that carries a token which is still valid."""
        scheme, _, token = authorization.partition(" ")
        return scheme.lower() == "bearer" and self._valid_until.get(token, 0.0) > self._now_seconds()


class Axle:
    """All operations over one world. Credentials None: any that are not empty sign in."""

    def __init__(self, world: World, tokens: Tokens, username: str | None, password: str | None) -> None:
        self.world = world
        self.tokens = tokens
        self._username = username
        self._password = password

    def perform(self, operation: Operation, request: Request) -> Answer:
        """Carries out one operation; refusals of every kind come back as answers."""
        try:
            return operation.perform(self, request)
        except InvalidError as error:
            return Answer(422, {"detail": error.problems})
        except RefusedError as error:
            return Answer(error.status, {"detail": error.detail})

    def sign_in(self, request: Request) -> Answer:
        """A bearer token for a username and a password, or 401."""
        username, password = read_login(request.raw, request.content_type)
        wrong = not username or not password
        wrong |= self._username is not None and username != self._username
        wrong |= self._password is not None and password != self._password
        if wrong:
            raise RefusedError(401, "Incorrect username or password")
        return Answer(200, {"access_token": self.tokens.issue(), "token_type": "bearer"})

    def onboard_site_and_asset(self, request: Request) -> Answer:
        """The guide's form of onboarding."""
        site, asset = self.world.onboard(*read_onboarding(request.json()))
        return Answer(200, {"site": site.body(), "asset": asset.body()}, effect=True)

    def onboard(self, request: Request) -> Answer:
        """The newer form of onboarding."""
        return Answer(200, self.world.upsert(read_upsert(request.json())), effect=True)

    def look_up(self, request: Request) -> Answer:
        """An asset by our own name for it."""
        return Answer(200, self.world.look_up(request.path["external_id"]).body())

    def get_site(self, request: Request) -> Answer:
        """A site."""
        return Answer(200, self.world.site(request.identity("site_id")).body())

    def list_sites(self, request: Request) -> Answer:
        """A page of all sites, or of those with a meter or a postcode."""
        limit, offset = read_page(request.query)
        mpan, postcode = read_filter(request.query, "mpan"), read_filter(request.query, "postcode")
        sites = self.world.find_sites(mpan, postcode)
        page = [site.body() for site in sites[offset : offset + limit]]
        return Answer(200, {"sites": page} | _page_numbers("sites", len(sites), limit, offset))

    def list_assets(self, request: Request) -> Answer:
        """A page of all assets."""
        limit, offset = read_page(request.query)
        page = [asset.body() for asset in self.world.page(limit, offset)]
        return Answer(200, {"assets": page} | _page_numbers("assets", len(self.world.assets), limit, offset))

    def create_asset(self, request: Request) -> Answer:
        """A further asset at a site."""
        return Answer(200, self.world.create_asset(read_asset(request.json())).body(), effect=True)

    def delete_asset(self, request: Request) -> Answer:
        """One asset less."""
        self.world.delete_asset(request.identity("asset_id"))
        return Answer(204, effect=True)

    def modify_schedule(self, request: Request) -> Answer:
        """The schedule minus a pause."""
        asset_id = request.identity("asset_id")
        blocks = self.world.modify_schedule(asset_id, read_schedule(request.json()))
        return Answer(200, {"modified_charging_schedule": blocks_body(blocks)}, effect=True)

    def offboard(self, request: Request) -> Answer:
        """A site and its assets go."""
        site, asset = self.world.offboard(request.identity("site_id"))
        return Answer(200, {"site": site.body(), "asset": asset.body()}, effect=True)

    def unenrol(self, request: Request) -> Answer:
        """A site leaves a proposition and stays known."""
        site_id = request.identity("site_id")
        left = self.world.unenrol(site_id, read_unenrol(request.json()))
        status = "unenrolled" if left else "already_unenrolled"
        return Answer(200, {"site_id": site_id, "status": status}, effect=left)

    def get_rewards(self, request: Request) -> Answer:
        """The balance of a site."""
        return Answer(200, self.world.rewards(request.identity("site_id")))

    def ocpp_example(self, _request: Request) -> Answer:
        """An OCPP 1.6 profile: charge, an hour's pause in the third hour, charge again without a limit."""
        limits = ((0, UNLIMITED_W), (7200, 0), (10_800, UNLIMITED_W))
        schedule = {
            "duration": 28_800,
            "startSchedule": "2025-06-27T22:00:00+00:00",
            "chargingRateUnit": "W",
            "chargingSchedulePeriod": [{"startPeriod": start, "limit": limit} for start, limit in limits],
        }
        profile = {
            "chargingProfileId": 1,
            "stackLevel": 1100,
            "chargingProfilePurpose": "TxProfile",
            "chargingProfileKind": "Absolute",
            "chargingSchedule": schedule,
        }
        return Answer(200, {"connectorId": 1, "csChargingProfiles": profile})


def _page_numbers(what: str, total: int, limit: int, offset: int) -> dict[str, int]:
    return {
        f"total_num_{what}": total,
        "total_num_pages": math.ceil(total / limit),
        "page_number": offset // limit + 1,
    }


@dataclass(frozen=True, slots=True)
class Entities:
    """Whom a call is about, as far as the request and the world tell."""

    external_id: str | None
    axle_site_id: str | None
    asset_id: str | None
    mpan: str | None


def entities(request: Request, world: World) -> Entities:
    """Whom a request is about; never refuses, because faults and the log want it for wrong requests too."""
    body = request.body or {}
    first = body.get("assets")
    sources = [body.get("asset"), first[0] if isinstance(first, list) and first else None, body]
    named = [source.get("external_id") for source in sources if isinstance(source, dict)]
    external_id = request.path.get("external_id") or next((name for name in named if isinstance(name, str)), None)
    asset = world.find_asset(request.path.get("asset_id"), external_id)
    site_id = request.path.get("site_id") or body.get("site_id") or (asset.site_id if asset else None)
    site = world.sites.get(site_id) if isinstance(site_id, str) else None
    site_form = body.get("site")
    mpan = site_form.get("mpan") if isinstance(site_form, dict) else None
    return Entities(
        external_id=external_id or (asset.external_id if asset else None),
        axle_site_id=site_id if isinstance(site_id, str) else None,
        asset_id=request.path.get("asset_id") or (asset.id if asset else None),
        mpan=mpan if isinstance(mpan, str) else (site.mpan if site else None),
    )


OPERATIONS = (
    Operation("token", "POST", "/auth/token-form", Axle.sign_in),
    Operation("onboard", "POST", "/entities/site/onboard-site-and-asset", Axle.onboard_site_and_asset),
    Operation("onboard", "POST", "/entities/site/onboard", Axle.onboard),
    Operation("look-up", "GET", "/entities/asset/external-id/{external_id}", Axle.look_up),
    Operation("site", "GET", "/entities/site", Axle.list_sites),
    Operation("site", "GET", "/entities/site/{site_id}", Axle.get_site),
    Operation("asset", "GET", "/entities/asset", Axle.list_assets),
    Operation("asset", "POST", "/entities/asset", Axle.create_asset),
    Operation("asset", "DELETE", "/entities/asset/{asset_id}", Axle.delete_asset),
    Operation("schedule", "POST", "/entities/asset/{asset_id}/event/plug-in-schedule", Axle.modify_schedule),
    Operation("offboard", "POST", "/entities/site/{site_id}/offboard-site-and-assets", Axle.offboard),
    Operation("unenrol", "POST", "/entities/site/{site_id}/unenrol", Axle.unenrol),
    Operation("rewards", "GET", "/rewards/{site_id}/info", Axle.get_rewards),
    Operation("examples", "GET", "/examples/ocpp-charging-profile", Axle.ocpp_example),
)


def _refusal(path: str, status: int, detail: str, headers: Mapping[str, str]) -> Operation:
    answer = Answer(status, {"detail": detail}, headers=headers)
    return Operation(UNKNOWN, ANY_METHOD, path, lambda _axle, _request: answer)


def routes() -> list[Operation]:
    """The table, each path followed by a row that refuses its other methods, as in OpenAPI: a path wins by its text."""
    rows: list[Operation] = []
    for path in dict.fromkeys(operation.path for operation in OPERATIONS):
        taken = [operation for operation in OPERATIONS if operation.path == path]
        allowed = ", ".join(operation.method for operation in taken)
        rows += [*taken, _refusal(path, 405, "Method Not Allowed", {"allow": allowed})]
    return rows


NOT_FOUND = _refusal("/{path:path}", 404, "Not Found", {})
"""The answer to every path that is not in the table."""

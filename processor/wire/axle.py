"""Axle's HTTP interface: an owed call as a request, and what the replies mean, as one table.

Values in, values out: nothing here opens a connection, waits, retries or reads a clock. The one idea: `MEANINGS` is
the whole truth about statuses. A status that is not in it means *try later*, and so does a success that cannot be
read; only what the table names is ever told to the core.

Bodies are read in `axle_bodies.py`. No sentence here quotes one: they carry addresses and tokens.
"""

import re
from dataclasses import dataclass, field
from enum import Enum, StrEnum, auto
from typing import Any
from urllib.parse import quote, urlencode

import orjson

from processor.core.events import (
    Answer,
    CallFailed,
    Enrolment,
    Found,
    LookedUp,
    Offboarded,
    Onboarded,
    OnboardingRefused,
    Refusal,
    Removed,
    ScheduleAnswered,
    ScheduleRefused,
)
from processor.core.intents import AskSchedule, Intent, LookUp, Offboard, Onboard, Remove
from processor.core.rules import OnboardingForm
from processor.wire.axle_bodies import (
    UnreadableBody,
    access_token_of,
    asset_of,
    check_offboarded,
    check_unenrolled,
    mpan_of,
    schedule_of,
    site_and_asset_of,
    tells_a_sentence,
    upserted_site_and_asset_of,
)
from processor.wire.instants import iso, iso_z

_PLAIN = re.compile(r"[A-Za-z0-9_.~-]+", re.ASCII)
PROPOSITION = "limited_pause"
"""Flex Lite, as Axle calls it: what a household consents to, joins and leaves."""


class Endpoint(StrEnum):
    """The calls that there are; a closed set, fit for metric labels."""

    ONBOARD = "onboard"
    ADD_ASSET = "add_asset"
    UPSERT = "upsert"
    LOOK_UP = "look_up"
    LOOK_UP_SITE = "look_up_site"
    SCHEDULE = "schedule"
    REMOVE = "remove"
    OFFBOARD = "offboard"
    UNENROL = "unenrol"
    LIST = "list"
    TOKEN = "token"  # noqa: S105 - the name of a call


class Meaning(Enum):
    """What a status says at an endpoint."""

    DONE = auto()
    """It worked; where there is something to tell, the body tells it."""
    NOT_THERE = auto()
    """Axle does not have it: done when it was to be deleted, an answer when it was looked for."""
    EXISTS = auto()
    FORBIDDEN = auto()
    INVALID = auto()
    """Axle cannot read what we sent: our fault."""
    NOT_ELIGIBLE = auto()
    """The home is not eligible, when a sentence says so; a list of faults means INVALID."""
    REFUSED = auto()
    """Axle refuses a call that must not be given up."""


M = Meaning  # short, so that each row of the table is one line
MEANINGS: dict[Endpoint, dict[int, Meaning]] = {
    Endpoint.ONBOARD: {200: M.DONE, 400: M.INVALID, 409: M.EXISTS, 422: M.NOT_ELIGIBLE},
    Endpoint.ADD_ASSET: {200: M.DONE, 400: M.INVALID, 404: M.NOT_THERE, 409: M.EXISTS, 422: M.NOT_ELIGIBLE},
    Endpoint.UPSERT: {200: M.DONE, 400: M.INVALID, 409: M.EXISTS, 422: M.NOT_ELIGIBLE},
    Endpoint.LOOK_UP: {200: M.DONE, 400: M.REFUSED, 403: M.REFUSED, 404: M.NOT_THERE, 422: M.REFUSED},
    Endpoint.LOOK_UP_SITE: {200: M.DONE, 400: M.REFUSED, 403: M.REFUSED, 404: M.NOT_THERE, 422: M.REFUSED},
    Endpoint.SCHEDULE: {200: M.DONE, 400: M.INVALID, 403: M.FORBIDDEN, 404: M.NOT_THERE, 422: M.INVALID},
    Endpoint.REMOVE: {204: M.DONE, 400: M.REFUSED, 403: M.REFUSED, 404: M.NOT_THERE, 422: M.REFUSED},
    Endpoint.OFFBOARD: {200: M.DONE, 204: M.DONE, 400: M.REFUSED, 403: M.REFUSED, 404: M.NOT_THERE, 422: M.REFUSED},
    Endpoint.UNENROL: {200: M.DONE, 204: M.DONE, 400: M.REFUSED, 403: M.REFUSED, 404: M.NOT_THERE, 422: M.REFUSED},
    Endpoint.LIST: {200: M.DONE},
    Endpoint.TOKEN: {200: M.DONE, 400: M.FORBIDDEN, 401: M.FORBIDDEN, 403: M.FORBIDDEN, 422: M.FORBIDDEN},
}
"""(endpoint, status) -> meaning. Every status that is not here means: try later."""

_WHY = {
    Meaning.EXISTS: Refusal.EXISTS,
    Meaning.FORBIDDEN: Refusal.FORBIDDEN,
    Meaning.INVALID: Refusal.INVALID,
    Meaning.NOT_ELIGIBLE: Refusal.NOT_ELIGIBLE,
    Meaning.NOT_THERE: Refusal.UNKNOWN_CHARGER,
}


@dataclass(slots=True)  # not frozen, which makes each of them three times as dear
class Request:
    """One HTTP call: `path` is quoted already, `body` is JSON, or form fields where `form` says so."""

    endpoint: Endpoint
    method: str
    path: str
    body: bytes | None = field(default=None, repr=False)
    form: bool = False


@dataclass(slots=True)
class Reply:
    """What came back: a status, and a body whose size the client has capped."""

    status: int
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Again:
    """Nothing conclusive was said: the call stays owed. `why` is a sentence for the log, without personal data."""

    why: str


class SignInRefused(Exception):
    """Axle gave no token; `status` is what it answered, the message a sentence for an operator."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


def request(intent: Intent) -> Request:
    """The first call of an intent. Raises ValueError for an id or an instant that cannot be written down."""
    match intent:
        case AskSchedule():
            return _schedule_request(intent)
        case Onboard():
            return _onboard_request(intent)
        case LookUp():
            return Request(Endpoint.LOOK_UP, "GET", f"/entities/asset/external-id/{_segment(intent.charger_id)}")
        case Remove():
            return Request(Endpoint.REMOVE, "DELETE", f"/entities/asset/{_segment(intent.axle_asset_id)}")
        case Offboard():
            return _offboard_request(intent)


def conclude(intent: Intent, replies: tuple[Reply, ...]) -> Answer | Again | Request:
    """What the replies to an intent's calls so far mean: an answer for the core, one more call, or try later.

    `replies` has one element, or two when the first call led to a `Request`. Never raises, whatever Axle sends.
    """
    reply = replies[-1]
    endpoint = _endpoint(intent, len(replies))
    meaning = MEANINGS[endpoint].get(reply.status)
    if meaning is None:
        return Again(try_later(endpoint, reply.status))
    try:
        match intent:
            case AskSchedule():
                return _schedule_answer(intent, meaning, reply)
            case Onboard():
                return _onboard_answer(intent, meaning, reply)
            case LookUp():
                return _look_up_answer(intent, meaning, replies)
            case Remove() | Offboard():
                return _leave_answer(intent, meaning, reply)
    except UnreadableBody:
        return Again(f"Axle answered {endpoint} with {reply.status} and a body that tells nothing; asking again later.")


def sign_in(username: str, password: str) -> Request:
    """The call that fetches a token: form fields, as OAuth 2 has it."""
    fields = {"grant_type": "password", "username": username, "password": password}
    return Request(Endpoint.TOKEN, "POST", "/auth/token-form", urlencode(fields).encode(), form=True)


def token_of(reply: Reply) -> str:
    """The bearer token of a sign-in, fit for a header. Raises SignInRefused when there is none."""
    meaning = MEANINGS[Endpoint.TOKEN].get(reply.status)
    if meaning is Meaning.FORBIDDEN:
        raise SignInRefused(reply.status, "Axle refused the username or the password; check the account's settings.")
    if meaning is not Meaning.DONE:
        raise SignInRefused(reply.status, try_later(Endpoint.TOKEN, reply.status))
    try:
        return access_token_of(reply.body)
    except UnreadableBody:
        why = "Axle answered the sign-in with 200 but without a token; check that the base URL is Axle's."
        raise SignInRefused(reply.status, why) from None


def _schedule_request(intent: AskSchedule) -> Request:
    blocks = [{"start_timestamp": iso(start), "end_timestamp": iso(end)} for start, end in intent.schedule]
    path = f"/entities/asset/{_segment(intent.axle_asset_id)}/event/plug-in-schedule"
    return Request(Endpoint.SCHEDULE, "POST", path, orjson.dumps({"charging_schedule": blocks}))


def _onboard_request(intent: Onboard) -> Request:
    asset: dict[str, Any] = {"external_id": intent.charger_id, "type": "charger"}
    if intent.power_kw is not None:
        asset["properties"] = {"power_kw": intent.power_kw}
    if intent.form is OnboardingForm.UPSERT:
        form = {"site": _site_form(intent.enrolment), "assets": [asset], "proposition": PROPOSITION}
        body = orjson.dumps(form | {"override_withdrawal": intent.override_withdrawal})
        return Request(Endpoint.UPSERT, "POST", "/entities/site/onboard", body)
    if intent.axle_site_id is not None:
        body = orjson.dumps(asset | {"site_id": intent.axle_site_id})
        return Request(Endpoint.ADD_ASSET, "POST", "/entities/asset", body)
    consent = {"dispatch_methods": [PROPOSITION]}
    body = orjson.dumps({"site": _site_form(intent.enrolment), "asset": asset, "dispatch_consent": consent})
    return Request(Endpoint.ONBOARD, "POST", "/entities/site/onboard-site-and-asset", body)


def _offboard_request(intent: Offboard) -> Request:
    site = f"/entities/site/{_segment(intent.axle_site_id)}"
    if intent.unenrol:
        return Request(Endpoint.UNENROL, "POST", f"{site}/unenrol", orjson.dumps({"proposition": PROPOSITION}))
    return Request(Endpoint.OFFBOARD, "POST", f"{site}/offboard-site-and-assets")


def _site_form(enrolment: Enrolment) -> dict[str, str]:
    form = {
        "mpan": enrolment.mpan,
        "postcode": enrolment.postcode,
        "street_address": enrolment.street_address,
        "gave_boundary_meter_consent_at": iso_z(enrolment.boundary_meter_consent_at_ms),
    }
    return form | {"email": enrolment.email} if enrolment.email else form


def _segment(value: str) -> str:
    # Every URL parser folds "." and ".." away, even when they are quoted: the call would reach another resource.
    if value in {"", ".", ".."}:
        raise ValueError(f"the id {value!r} cannot stand in a path of Axle's; give the charger another id.")
    return value if _PLAIN.fullmatch(value) else quote(value, safe="")


def _endpoint(intent: Intent, replies: int) -> Endpoint:
    match intent:
        case AskSchedule():
            return Endpoint.SCHEDULE
        case Onboard():
            if intent.form is OnboardingForm.UPSERT:
                return Endpoint.UPSERT
            return Endpoint.ONBOARD if intent.axle_site_id is None else Endpoint.ADD_ASSET
        case LookUp():
            return Endpoint.LOOK_UP if replies == 1 else Endpoint.LOOK_UP_SITE
        case Remove():
            return Endpoint.REMOVE
        case Offboard():
            return Endpoint.UNENROL if intent.unenrol else Endpoint.OFFBOARD


def _schedule_answer(intent: AskSchedule, meaning: Meaning, reply: Reply) -> Answer:
    if meaning is Meaning.DONE:
        answered = schedule_of(reply.body)
        return ScheduleAnswered(intent.site_id, intent.charger_id, intent.number, intent.schedule, answered)
    return ScheduleRefused(intent.site_id, intent.charger_id, intent.number, _WHY[meaning])


def _onboard_answer(intent: Onboard, meaning: Meaning, reply: Reply) -> Answer:
    if meaning is Meaning.DONE:
        return Onboarded(intent.site_id, intent.charger_id, *_onboarded_ids(intent, reply.body))
    is_list_of_faults = meaning is Meaning.NOT_ELIGIBLE and not tells_a_sentence(reply.body)
    why = Refusal.INVALID if is_list_of_faults else _WHY[meaning]
    return OnboardingRefused(intent.site_id, intent.charger_id, why, intent.enrolment.consented_at_ms)


def _onboarded_ids(intent: Onboard, body: bytes) -> tuple[str, str]:
    """Axle's ids of the site and the charger. The upsert finds the site by its meter, so its answer says which."""
    if intent.form is OnboardingForm.UPSERT:
        return upserted_site_and_asset_of(body, intent.charger_id)
    if intent.axle_site_id is None:
        return site_and_asset_of(body, intent.charger_id)
    return intent.axle_site_id, asset_of(body, intent.charger_id).id


def _look_up_answer(intent: LookUp, meaning: Meaning, replies: tuple[Reply, ...]) -> Answer | Request:
    if meaning is Meaning.REFUSED:
        return CallFailed(intent.site_id, intent.charger_id, replies[-1].status)
    if len(replies) == 1 and meaning is Meaning.NOT_THERE:
        return LookedUp(intent.site_id, intent.charger_id, None, intent.for_question)
    asset = asset_of(replies[0].body, intent.charger_id)
    if len(replies) == 1:
        return Request(Endpoint.LOOK_UP_SITE, "GET", f"/entities/site/{_segment(asset.site_id)}")
    mpan = mpan_of(replies[1].body) if meaning is Meaning.DONE else None
    return LookedUp(intent.site_id, intent.charger_id, Found(asset.site_id, asset.id, mpan), intent.for_question)


def _leave_answer(intent: Remove | Offboard, meaning: Meaning, reply: Reply) -> Answer:
    if meaning is Meaning.REFUSED:
        charger_id = intent.charger_id if isinstance(intent, Remove) else None
        return CallFailed(intent.site_id, charger_id, reply.status)
    if isinstance(intent, Remove):
        return Removed(intent.site_id, intent.charger_id, intent.axle_asset_id)
    if reply.status == 200:
        check = check_unenrolled if intent.unenrol else check_offboarded
        check(reply.body, intent.axle_site_id)
    # An unenrolled site is there still, unless Axle has no such site at all.
    kept = intent.unenrol and meaning is Meaning.DONE
    return Offboarded(intent.site_id, intent.axle_site_id, kept)


def try_later(endpoint: Endpoint, status: int) -> str:
    """A sentence for the log about a status that the table does not name."""
    said = f"Axle answered {endpoint} with {status}"
    if 300 <= status < 400:
        return f"{said}, a redirect, which is never followed; check that the base URL is Axle's."
    if status == 401:
        return f"{said} though the token was fresh; check that the account still has access."
    if status == 404:
        return f"{said}: it does not know what the call is about; check that the base URL is Axle's."
    if status == 429:
        return f"{said}: too many calls; slowing down."
    if status in {408, 425} or status >= 500:
        return f"{said}: trouble on its side; asking again later."
    return f"{said}, which its documentation does not name; asking again later. Look for news of Axle's if it stays."

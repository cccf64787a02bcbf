"""What Axle's answers carry, as far as it is needed: JSON bytes in, values out, or `UnreadableBody`.

What a status means is in `axle.py`. The one idea: a tolerant reader. Each form names only the fields that are used, so
whatever Axle adds later is passed over; but a field that is used must be what it claims to be, because ids go into
paths and schedules to chargers.
"""

from typing import Annotated, Any, TypeVar

import msgspec

from processor.core.schedule import Block, Schedule, normalise
from processor.wire.instants import instant_ms


class UnreadableBody(Exception):
    """A success whose body does not tell what a success has to tell."""


# Without points: an id of Axle's goes into paths, where "." and ".." mean something else.
_AxleId = Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9_-]{1,64}\Z")]


class _BlockForm(msgspec.Struct):
    start_timestamp: str
    end_timestamp: str


class _ScheduleForm(msgspec.Struct):
    modified_charging_schedule: list[_BlockForm]


class _AnyScheduleForm(msgspec.Struct):
    modified_charging_schedule: Any


class AssetForm(msgspec.Struct):
    """A charger as Axle holds it."""

    id: _AxleId
    site_id: _AxleId
    external_id: str


class _ListedForm(AssetForm):
    type: str


class _PageForm(msgspec.Struct):
    assets: list[_ListedForm]
    total_num_assets: int


class _SiteIdForm(msgspec.Struct):
    id: _AxleId


class _OnboardedForm(msgspec.Struct):
    site: _SiteIdForm
    asset: AssetForm


class _UpsertedSiteForm(msgspec.Struct):
    site_id: _AxleId


class _UpsertedAssetForm(msgspec.Struct):
    asset_id: _AxleId
    external_id: str


class _UpsertedForm(msgspec.Struct):
    site: _UpsertedSiteForm
    assets: list[_UpsertedAssetForm]


class _SiteForm(msgspec.Struct):
    mpan: str | None = None


class _OffboardedForm(msgspec.Struct):
    site: _SiteIdForm


class _UnenrolledForm(msgspec.Struct):
    site_id: _AxleId
    status: str


class _RefusalForm(msgspec.Struct):
    detail: Any


class _TokenForm(msgspec.Struct):
    access_token: Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9._~+/-]{1,8192}=*\Z")]


_SCHEDULE = msgspec.json.Decoder(_ScheduleForm)
_ANY_SCHEDULE = msgspec.json.Decoder(_AnyScheduleForm)
_ASSET = msgspec.json.Decoder(AssetForm)
_PAGE = msgspec.json.Decoder(_PageForm)
_ONBOARDED = msgspec.json.Decoder(_OnboardedForm)
_UPSERTED = msgspec.json.Decoder(_UpsertedForm)
_SITE = msgspec.json.Decoder(_SiteForm)
_OFFBOARDED = msgspec.json.Decoder(_OffboardedForm)
_UNENROLLED = msgspec.json.Decoder(_UnenrolledForm)
_REFUSAL = msgspec.json.Decoder(_RefusalForm)
_TOKEN = msgspec.json.Decoder(_TokenForm)

_Form = TypeVar("_Form")


def schedule_of(body: bytes) -> Schedule | None:
    """The modified schedule, edges rounded towards charging; None when it is there but cannot be believed.

    Overlapping, touching and unsorted blocks are made normal. Not to be believed: an instant without a zone, a block
    that does not end after it starts, anything that is no list of blocks. Raises UnreadableBody when the body is no
    JSON or has no such field.
    """
    try:
        blocks = _SCHEDULE.decode(body).modified_charging_schedule
        return normalise([_block(block) for block in blocks])
    except (ValueError, RecursionError):
        _read(_ANY_SCHEDULE, body)
        return None


def _block(block: _BlockForm) -> Block:
    start_ms, end_ms = instant_ms(block.start_timestamp), instant_ms(block.end_timestamp, up=True)
    if end_ms <= start_ms:
        raise ValueError("a block does not end after it starts.")
    return start_ms, end_ms


def asset_of(body: bytes, charger_id: str) -> AssetForm:
    """The charger that a body is about. Raises UnreadableBody, also when it is about another one."""
    return _same(_read(_ASSET, body), charger_id)


def page_of(body: bytes) -> tuple[list[tuple[AssetForm, str]], int]:
    """Everything on a page of Axle's list, each with its type, and how long the list is. Raises UnreadableBody."""
    page = _read(_PAGE, body)
    return [(asset, asset.type) for asset in page.assets], page.total_num_assets


def site_and_asset_of(body: bytes, charger_id: str) -> tuple[str, str]:
    """Axle's ids of the site and the charger that were onboarded together. Raises UnreadableBody."""
    onboarded = _read(_ONBOARDED, body)
    return onboarded.site.id, _same(onboarded.asset, charger_id).id


def upserted_site_and_asset_of(body: bytes, charger_id: str) -> tuple[str, str]:
    """Axle's ids of the site and of our charger among those that were onboarded. Raises UnreadableBody.

    A body that names the charger not at all, or under two ids, tells nothing.
    """
    upserted = _read(_UPSERTED, body)
    ids = {asset.asset_id for asset in upserted.assets if asset.external_id == charger_id}
    if len(ids) != 1:
        raise UnreadableBody
    return upserted.site.site_id, ids.pop()


def mpan_of(body: bytes) -> str | None:
    """The meter that a site hangs on, where Axle tells it. Raises UnreadableBody."""
    return _read(_SITE, body).mpan


def check_offboarded(body: bytes, axle_site_id: str) -> None:
    """A site's offboarding is confirmed in Axle's words, about that site. Raises UnreadableBody: a proxy spoke."""
    _check_site(_read(_OFFBOARDED, body).site.id, axle_site_id)


def check_unenrolled(body: bytes, axle_site_id: str) -> None:
    """A site's unenrolment is confirmed in Axle's words, about that site. Raises UnreadableBody."""
    _check_site(_read(_UNENROLLED, body).site_id, axle_site_id)


def _check_site(told: str, axle_site_id: str) -> None:
    if told != axle_site_id:
        raise UnreadableBody


def tells_a_sentence(body: bytes) -> bool:
    """Whether a refusal explains itself in a sentence; the other shape is a list of faults in our request."""
    try:
        return isinstance(_read(_REFUSAL, body).detail, str)
    except UnreadableBody:
        return False


def access_token_of(body: bytes) -> str:
    """The bearer token, of characters that fit a header (RFC 6750, 2.1). Raises UnreadableBody."""
    return _read(_TOKEN, body).access_token


def _read(decoder: msgspec.json.Decoder[_Form], body: bytes) -> _Form:
    try:
        return decoder.decode(body)
    except (ValueError, RecursionError):
        raise UnreadableBody from None


def _same(asset: AssetForm, charger_id: str) -> AssetForm:
    # Ids of another charger would send this one's schedules, and its removal, to somebody else's home.
    if asset.external_id != charger_id:
        raise UnreadableBody
    return asset

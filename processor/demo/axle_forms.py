"""What the simulator accepts: each request body of Axle's document, read into a value or refused field by field.

Here lives validation of shapes alone; whether a site exists is the business of `axle_world.py`. Nothing here comes
from the processor's own models: the rules were copied from the document by hand, so that a mistake in our client
shows. The idea: a reader collects every problem of a body before it complains, in the `{loc, msg, type}` form
that Axle's 422 answers have.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any
from urllib.parse import parse_qs
from uuid import UUID

import orjson

Block = tuple[datetime, datetime]
Problem = dict[str, Any]

ASSET_TYPES = frozenset({"charger", "battery", "heat pump", "electric_vehicle", "hot water tank"})
DISPATCH_METHODS = frozenset(
    {"cm_infrequent_dispatch", "full_asset_schedule_control", "limited_pause", "vpp_limited_control"}
)
PROPOSITIONS = frozenset({"limited_pause", "full_asset_schedule_control"})
FORM_FIELDS_MAX = 20
BLOCKS_MAX = 1000
ASSETS_MAX = 100
PAGE_MAX = 5000
DIGITS_MAX = 18
OFFSET_MAX = 10**12

_KINDS: dict[type, tuple[str, str]] = {
    str: ("str type expected", "type_error.str"),
    bool: ("value could not be parsed to a boolean", "type_error.bool"),
    float: ("value is not a valid float", "type_error.float"),
    dict: ("value is not a valid dict", "type_error.dict"),
    list: ("value is not a valid list", "type_error.list"),
}


class InvalidError(Exception):
    """A request that does not have the shape Axle asks for; `problems` is the `detail` list of the 422 answer."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__(f"{len(problems)} problems in the request")
        self.problems = problems


@dataclass(frozen=True, slots=True)
class SiteForm:
    """A site to register. `consent_at` may be naive here; the operation answers 400 to that, not 422."""

    mpan: str
    postcode: str
    street_address: str | None
    email: str | None
    consent_at: datetime | None


@dataclass(frozen=True, slots=True)
class AssetForm:
    """An asset to register; `site_id` is None where the site is part of the same request."""

    external_id: str
    type: str
    properties: dict[str, float] | None
    site_id: str | None = None


@dataclass(frozen=True, slots=True)
class UpsertForm:
    """The newer onboarding form: a site, its assets and the proposition to enrol the site in."""

    site: SiteForm
    assets: list[AssetForm]
    proposition: str
    override_withdrawal: bool


class _Fields:
    """One JSON object, read field by field. What is wrong goes to `problems`, and a stand-in is returned."""

    def __init__(self, value: Mapping[str, Any], where: tuple[str | int, ...], problems: list[Problem]) -> None:
        self._value = value
        self._where = where
        self.problems = problems

    def complain(self, name: str, msg: str, kind: str) -> None:
        self.problems.append({"loc": [*self._where, name], "msg": msg, "type": kind})

    def take(self, name: str, kind: type, *, required: bool) -> Any:
        if name not in self._value:
            if required:
                self.complain(name, "field required", "value_error.missing")
            return None
        value = self._value[name]
        if kind is float and type(value) is int:
            return float(value)
        if type(value) is not kind:
            self.complain(name, *_KINDS[kind])
            return None
        return value

    def text(self, name: str) -> str:
        return self.take(name, str, required=True) or ""

    def text_or_none(self, name: str) -> str | None:
        value: str | None = self.take(name, str, required=False)
        return value

    def flag(self, name: str) -> bool:
        return bool(self.take(name, bool, required=False))

    def choice(self, name: str, allowed: frozenset[str]) -> str:
        value = self.take(name, str, required=True)
        if value is not None and value not in allowed:
            self.complain(name, f"value must be one of {', '.join(sorted(allowed))}", "type_error.enum")
        return value or ""

    def choices(self, name: str, allowed: frozenset[str]) -> frozenset[str]:
        values: list[Any] = self.take(name, list, required=True) or []
        known = [value for value in values if isinstance(value, str) and value in allowed]
        if len(known) < len(values):
            self.complain(name, f"each value must be one of {', '.join(sorted(allowed))}", "type_error.enum")
        if len(set(known)) < len(known):
            self.complain(name, "the list has duplicated items", "value_error.list.unique_items")
        return frozenset(known)

    def uuid(self, name: str) -> str:
        value = self.take(name, str, required=True)
        identity = _uuid_or_none(value) if value is not None else ""
        if identity is None:
            self.complain(name, "value is not a valid uuid", "type_error.uuid")
        return identity or ""

    def instant(self, name: str, *, required: bool, zone: bool) -> datetime | None:
        value = self.take(name, str, required=required)
        if value is None:
            return None
        try:
            instant = datetime.fromisoformat(value)
            if instant.tzinfo is not None:
                return instant.astimezone(UTC)
        except (ValueError, OverflowError):
            self.complain(name, "invalid datetime format", "value_error.datetime")
            return None
        if zone:
            self.complain(name, "invalid datetime format, a time zone is missing", "value_error.datetime")
        return instant

    def day(self, name: str) -> None:
        value = self.take(name, str, required=False)
        if value is None:
            return
        try:
            date.fromisoformat(value)
        except ValueError:
            self.complain(name, "invalid date format", "value_error.date")

    def section(self, name: str, *, required: bool = True) -> "_Fields":
        value = self.take(name, dict, required=required)
        # A missing section has been complained about once; its own fields need no complaints of their own.
        problems = self.problems if value is not None else []
        return _Fields(value or {}, (*self._where, name), problems)

    def sections(self, name: str, most: int) -> list["_Fields"]:
        value: list[Any] = self.take(name, list, required=True) or []
        if len(value) > most:
            self.complain(name, f"ensure this value has at most {most} items", "value_error.list.max_items")
            return []
        readers = []
        for position, item in enumerate(value):
            where = (*self._where, name, position)
            if isinstance(item, dict):
                readers.append(_Fields(item, where, self.problems))
            else:
                self.problems.append({"loc": [*where], "msg": _KINDS[dict][0], "type": _KINDS[dict][1]})
        return readers

    def finish(self) -> None:
        if self.problems:
            raise InvalidError(self.problems)


def read_json(raw: bytes, content_type: str) -> dict[str, Any]:
    """The JSON object of a request body; InvalidError when it is none or is not sent as JSON."""
    if content_type.partition(";")[0].strip().lower() != "application/json":
        raise InvalidError([{"loc": ["body"], "msg": _KINDS[dict][0], "type": _KINDS[dict][1]}])
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        message = error.msg if raw else "field required"
        kind = "value_error.jsondecode" if raw else "value_error.missing"
        raise InvalidError([{"loc": ["body"], "msg": message, "type": kind}]) from error
    if not isinstance(value, dict):
        raise InvalidError([{"loc": ["body"], "msg": _KINDS[dict][0], "type": _KINDS[dict][1]}])
    return value


def read_login(raw: bytes, content_type: str) -> tuple[str, str]:
    """(username, password) of a sign-in form; InvalidError when a field is missing or is not sent as a form."""
    sent: dict[str, str] = {}
    if content_type.partition(";")[0].strip().lower() == "application/x-www-form-urlencoded":
        try:
            fields = parse_qs(raw.decode(), keep_blank_values=True, max_num_fields=FORM_FIELDS_MAX)
        except ValueError as error:
            problem: Problem = {"loc": ["body"], "msg": "the form cannot be read", "type": "value_error.form"}
            raise InvalidError([problem]) from error
        sent = {name: values[-1] for name, values in fields.items()}
    form = _Fields({"grant_type": "password"} | sent, ("body",), [])
    username, password = form.text("username"), form.text("password")
    if form.text("grant_type") != "password":
        form.complain("grant_type", 'string does not match regex "^password$"', "value_error.str.regex")
    form.finish()
    return username, password


def read_onboarding(body: dict[str, Any]) -> tuple[SiteForm, AssetForm, frozenset[str]]:
    """(site, asset, dispatch methods) of the guide's onboarding form; InvalidError."""
    fields = _Fields(body, ("body",), [])
    site, asset = _site(fields.section("site")), _asset(fields.section("asset"))
    consent = fields.section("dispatch_consent")
    methods = consent.choices("dispatch_methods", DISPATCH_METHODS)
    fields.finish()
    return site, asset, methods


def read_upsert(body: dict[str, Any]) -> UpsertForm:
    """The newer onboarding form; InvalidError."""
    fields = _Fields(body, ("body",), [])
    site = _site(fields.section("site"))
    assets = [_asset(item) for item in fields.sections("assets", ASSETS_MAX)]
    proposition = fields.choice("proposition", PROPOSITIONS)
    override = fields.flag("override_withdrawal")
    fields.finish()
    return UpsertForm(site, assets, proposition, override)


def read_asset(body: dict[str, Any]) -> AssetForm:
    """A further asset of a site that exists; InvalidError."""
    fields = _Fields(body, ("body",), [])
    form = _asset(fields)
    site_id = fields.uuid("site_id")
    fields.finish()
    return AssetForm(form.external_id, form.type, form.properties, site_id)


def read_unenrol(body: dict[str, Any]) -> str:
    """The proposition to leave; InvalidError."""
    fields = _Fields(body, ("body",), [])
    proposition = fields.choice("proposition", PROPOSITIONS)
    fields.finish()
    return proposition


def read_schedule(body: dict[str, Any]) -> list[Block]:
    """The blocks of a charging schedule as UTC instants, in the order given.

    InvalidError when an instant cannot be read or has no zone, or when a block does not end after its start.
    """
    fields = _Fields(body, ("body",), [])
    blocks: list[Block] = []
    for item in fields.sections("charging_schedule", BLOCKS_MAX):
        start = item.instant("start_timestamp", required=True, zone=True)
        end = item.instant("end_timestamp", required=True, zone=True)
        if fields.problems or start is None or end is None:
            continue
        if end <= start:
            item.complain("end_timestamp", "ensure this value is after start_timestamp", "value_error")
        blocks.append((start, end))
    fields.finish()
    return blocks


def read_page(query: str) -> tuple[int, int]:
    """(limit, offset) of a page, by default (10, 0); InvalidError when one of them is out of range."""
    sent = _query(query)
    problems: list[Problem] = []
    found = []
    for name, default, least, most in (("limit", "10", 1, PAGE_MAX), ("offset", "0", 0, OFFSET_MAX)):
        text = sent.get(name, [default])[-1]
        # Whatever is further than that is beyond every list, and as good as it.
        value = min(int(text[:DIGITS_MAX]), OFFSET_MAX) if text.isascii() and text.isdigit() else -1
        if not least <= value <= most:
            message = f"ensure this value is between {least} and {most}"
            problems.append({"loc": ["query", name], "msg": message, "type": "value_error.number"})
        found.append(value)
    if problems:
        raise InvalidError(problems)
    return found[0], found[1]


def read_filter(query: str, name: str) -> str | None:
    """The text that a list is to be filtered by, or None; InvalidError when the query cannot be read."""
    return _query(query).get(name, [None])[-1]


def read_uuid(text: str, name: str) -> str:
    """A path variable as the canonical text of a uuid; InvalidError."""
    identity = _uuid_or_none(text)
    if identity is None:
        problem: Problem = {"loc": ["path", name], "msg": "value is not a valid uuid", "type": "type_error.uuid"}
        raise InvalidError([problem])
    return identity


def _query(text: str) -> Mapping[str, list[str]]:
    try:
        return parse_qs(text, keep_blank_values=True, max_num_fields=FORM_FIELDS_MAX)
    except ValueError as error:
        problem: Problem = {"loc": ["query"], "msg": "the query cannot be read", "type": "value_error.query"}
        raise InvalidError([problem]) from error


def _site(fields: _Fields) -> SiteForm:
    return SiteForm(
        mpan=fields.text("mpan"),
        postcode=fields.text("postcode"),
        street_address=fields.text_or_none("street_address"),
        email=fields.text_or_none("email"),
        consent_at=fields.instant("gave_boundary_meter_consent_at", required=False, zone=False),
    )


def _asset(fields: _Fields) -> AssetForm:
    external_id, kind = fields.text("external_id"), fields.choice("type", ASSET_TYPES)
    sent = fields.section("properties", required=False)
    properties: dict[str, float] = {}
    for name in ("power_kw", "capacity_kwh"):
        value = sent.take(name, float, required=False)
        if value is not None and value < 0:
            sent.complain(name, "ensure this value is greater than or equal to 0", "value_error.number")
        if value is not None:
            properties[name] = value
    fields.text_or_none("asset_model")
    fields.text_or_none("serial_number")
    fields.day("installation_date")
    return AssetForm(external_id, kind, properties or None)


def _uuid_or_none(text: str) -> str | None:
    try:
        return str(UUID(text))
    except ValueError:
        return None


def utc_text(instant: datetime) -> str:
    """An instant as Axle's guide writes it: `2025-06-27T22:00:00+00:00`."""
    return instant.astimezone(UTC).isoformat()


def blocks_body(blocks: Sequence[Block]) -> list[dict[str, str]]:
    """Blocks as Axle's document writes them."""
    return [{"start_timestamp": utc_text(start), "end_timestamp": utc_text(end)} for start, end in blocks]

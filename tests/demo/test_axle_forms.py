"""What the simulator accepts in a request body, and how it names what is wrong."""

from collections.abc import Callable
from typing import Any

import pytest

from processor.demo.axle_forms import (
    InvalidError,
    read_asset,
    read_json,
    read_login,
    read_onboarding,
    read_schedule,
    read_unenrol,
    read_upsert,
)
from tests.demo.axle_rig import onboarding, question, upsert
from tests.wire.axle_contract import check_answer

PATH = "/entities/asset/00000000-0000-0000-0000-000000000000/event/plug-in-schedule"


def complaints(read: Callable[[], object]) -> list[str]:
    """Where the problems are that reading raises, as dotted paths, in the form of the contract."""
    with pytest.raises(InvalidError) as caught:
        read()
    check_answer("POST", PATH, 422, {"detail": caught.value.problems})
    return [".".join(map(str, problem["loc"])) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("start", "end", "field"),
    [
        ("2025-06-27T22:00:00", "2025-06-28T06:00:00Z", "start_timestamp"),
        ("2025-06-27T22:00:00Z", "2025-06-28T06:00:00", "end_timestamp"),
        ("yesterday", "2025-06-28T06:00:00Z", "start_timestamp"),
        ("2025-06-27", "2025-06-28T06:00:00Z", "start_timestamp"),
        ("0001-01-01T00:00:00+14:00", "2025-06-28T06:00:00Z", "start_timestamp"),
        ("2025-06-28T06:00:00Z", "2025-06-28T06:00:00Z", "end_timestamp"),
    ],
)
def test_a_block_needs_two_instants_in_order(start: str, end: str, field: str) -> None:
    """An instant without a zone, an unreadable one and an end that is not after its start are invalid."""
    found = complaints(lambda: read_schedule(question((start, end))))
    assert found == [f"body.charging_schedule.0.{field}"]


def test_instants_are_read_in_any_zone() -> None:
    """The same instant in another zone is the same block."""
    [(start, end)] = read_schedule(question(("2025-06-27T23:00:00+01:00", "2025-06-28T06:00:00Z")))
    assert (start.isoformat(), end.isoformat()) == ("2025-06-27T22:00:00+00:00", "2025-06-28T06:00:00+00:00")


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({}, ["body.charging_schedule"]),
        ({"charging_schedule": None}, ["body.charging_schedule"]),
        ({"charging_schedule": [1]}, ["body.charging_schedule.0"]),
        (
            {"charging_schedule": [{}]},
            ["body.charging_schedule.0.start_timestamp", "body.charging_schedule.0.end_timestamp"],
        ),
        ({"charging_schedule": [{}] * 1001}, ["body.charging_schedule"]),
    ],
)
def test_a_schedule_of_another_shape_is_invalid(body: dict[str, Any], where: list[str]) -> None:
    """Each part of a schedule that is missing or of another type is named by its place."""
    assert complaints(lambda: read_schedule(body)) == where


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"site": None}, "body.site"),
        ({"site": {"mpan": 1, "postcode": "N1"}}, "body.site.mpan"),
        ({"site": {"mpan": "1"}}, "body.site.postcode"),
        ({"asset": {"external_id": "c", "type": "toaster"}}, "body.asset.type"),
        (
            {"asset": {"external_id": "c", "type": "charger", "properties": {"power_kw": -1}}},
            "body.asset.properties.power_kw",
        ),
        (
            {"asset": {"external_id": "c", "type": "charger", "properties": {"power_kw": "7"}}},
            "body.asset.properties.power_kw",
        ),
        (
            {"asset": {"external_id": "c", "type": "charger", "installation_date": "soon"}},
            "body.asset.installation_date",
        ),
        ({"dispatch_consent": {"dispatch_methods": ["pause"]}}, "body.dispatch_consent.dispatch_methods"),
        ({"dispatch_consent": {"dispatch_methods": [["pause"]]}}, "body.dispatch_consent.dispatch_methods"),
        (
            {"dispatch_consent": {"dispatch_methods": ["limited_pause", "limited_pause"]}},
            "body.dispatch_consent.dispatch_methods",
        ),
    ],
)
def test_the_guide_form_is_checked_field_by_field(change: dict[str, Any], where: str) -> None:
    """One wrong field of the guide's onboarding form is one problem, named by its place."""
    assert complaints(lambda: read_onboarding(onboarding() | change)) == [where]


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"assets": [{"type": "charger"}]}, "body.assets.0.external_id"),
        ({"proposition": "pause"}, "body.proposition"),
        ({"override_withdrawal": "yes"}, "body.override_withdrawal"),
    ],
)
def test_the_newer_form_is_checked_field_by_field(change: dict[str, Any], where: str) -> None:
    """One wrong field of the newer onboarding form is one problem, named by its place."""
    assert complaints(lambda: read_upsert(upsert("charger-001") | change)) == [where]


def test_the_small_forms_are_checked() -> None:
    """A further asset needs the uuid of a site, and an unenrolment a proposition that exists."""
    body = {"external_id": "c", "type": "charger", "site_id": "home"}
    assert complaints(lambda: read_asset(body)) == ["body.site_id"]
    assert complaints(lambda: read_unenrol({"proposition": 1})) == ["body.proposition"]


@pytest.mark.parametrize(
    ("raw", "content_type"),
    [(b"{", "application/json"), (b"", "application/json"), (b"[]", "application/json"), (b"{}", "text/plain")],
)
def test_a_body_must_be_a_json_object(raw: bytes, content_type: str) -> None:
    """What is no JSON object, or is not declared as JSON, is invalid as a whole."""
    assert complaints(lambda: read_json(raw, content_type)) == ["body"]


def test_a_form_with_too_many_fields_is_invalid() -> None:
    """A sign-in form is read only up to its limit of fields."""
    raw = b"&".join(b"f%d=1" % n for n in range(30))
    assert complaints(lambda: read_login(raw, "application/x-www-form-urlencoded")) == ["body"]

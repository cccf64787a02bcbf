"""Axle's operations over HTTP: every answer, good or bad, is held against the contract by the rig."""

from typing import Any
from uuid import NAMESPACE_DNS, uuid5

import pytest

from tests.demo.axle_rig import GUIDE_SITE, NIGHT, onboarding, question, running, schedule_path, upsert

pytestmark = pytest.mark.anyio
NOWHERE = str(uuid5(NAMESPACE_DNS, "nowhere"))
GUIDE_FORM = "/entities/site/onboard-site-and-asset"
NEWER_FORM = "/entities/site/onboard"


async def test_any_credentials_sign_in_by_default() -> None:
    """Any user name and password that are not empty get a bearer token."""
    async with running() as rig:
        answer = await rig.sign_in("somebody", "anything")
        assert answer.json()["token_type"] == "bearer"
        assert (await rig.sign_in("", "anything")).status_code == 401


async def test_only_the_set_credentials_sign_in() -> None:
    """With a user name and a password set, all others are refused with 401."""
    async with running(username="me", password="right") as rig:
        assert (await rig.sign_in("me", "wrong")).status_code == 401
        assert (await rig.sign_in("you", "right")).status_code == 401
        assert (await rig.sign_in("me", "right")).status_code == 200


@pytest.mark.parametrize(
    ("form", "field"),
    [
        ({"username": "me"}, "password"),
        ({"password": "right"}, "username"),
        ({"username": "me", "password": "right", "grant_type": "implicit"}, "grant_type"),
    ],
)
async def test_a_sign_in_form_with_a_wrong_field_is_invalid(form: dict[str, str], field: str) -> None:
    """A missing field or another grant type is a validation error that names the field."""
    async with running() as rig:
        answer = await rig.http.post("/auth/token-form", data=form)
        assert answer.status_code == 422
        assert [problem["loc"] for problem in answer.json()["detail"]] == [["body", field]]


async def test_a_sign_in_as_json_is_invalid() -> None:
    """Credentials count only as form fields, as the document says."""
    async with running() as rig:
        answer = await rig.http.post("/auth/token-form", json={"username": "me", "password": "right"})
        assert answer.status_code == 422


@pytest.mark.parametrize("authorization", ["", "Bearer", "Bearer stale", "Basic dXNlcg=="])
async def test_calls_without_a_valid_token_are_refused(authorization: str) -> None:
    """Without a token that is valid now, every call but the sign-in gets 401."""
    async with running() as rig:
        rig.http.headers["authorization"] = authorization
        status, body = await rig.call("POST", GUIDE_FORM, onboarding())
        assert status == 401
        assert body == {"detail": "Could not validate credentials"}
        assert not rig.sim.world.sites


async def test_a_token_expires() -> None:
    """A token is refused once its life is over."""
    async with running(token_life_seconds=0.000_001) as rig:
        assert (await rig.call("GET", "/entities/asset"))[0] == 401


async def test_the_guide_form_registers_site_and_charger() -> None:
    """The guide's onboarding answers the site and the charger, and both can be read back."""
    async with running() as rig:
        _, made = await rig.call("POST", GUIDE_FORM, onboarding())
        assert made["site"]["dispatch_methods"] == ["limited_pause"]
        assert made["asset"]["properties"] == {"power_kw": 7.4}
        assert await rig.call("GET", f"/entities/site/{made['site']['id']}") == (200, made["site"])
        found = await rig.call("GET", "/entities/asset/external-id/charger-001")
        assert found == (200, made["asset"])


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (onboarding("charger-002"), "Site already exists"),
        (onboarding(mpan="2000000000000"), "Asset already exists"),
    ],
)
async def test_the_guide_form_refuses_what_exists(body: dict[str, Any], detail: str) -> None:
    """The guide's onboarding answers 409 when the site's MPAN or the charger's name is taken."""
    async with running() as rig:
        await rig.onboard()
        assert await rig.call("POST", GUIDE_FORM, body) == (409, {"detail": detail})
        assert len(rig.sim.world.sites) == len(rig.sim.world.assets) == 1


@pytest.mark.parametrize("form", [GUIDE_FORM, NEWER_FORM])
async def test_a_meter_consent_without_a_zone_or_missing_is_a_bad_request(form: str) -> None:
    """Both forms answer 400 when the time of the meter consent is missing or has no zone."""
    async with running() as rig:
        body = onboarding() if form == GUIDE_FORM else upsert("charger-001")
        naive = body | {"site": GUIDE_SITE | {"gave_boundary_meter_consent_at": "2025-01-01T12:00:00"}}
        missing = body | {"site": {"mpan": "1234567890123", "postcode": "SW1A 1AA"}}
        assert (await rig.call("POST", form, naive, wrong=True))[0] == 400
        assert (await rig.call("POST", form, missing))[0] == 400
        assert not rig.sim.world.sites


@pytest.mark.parametrize("form", [GUIDE_FORM, NEWER_FORM])
async def test_a_bad_email_address_is_a_bad_request(form: str) -> None:
    """Both forms answer 400 to an e-mail address that is none."""
    async with running() as rig:
        body = onboarding() if form == GUIDE_FORM else upsert("charger-001")
        assert (await rig.call("POST", form, body | {"site": GUIDE_SITE | {"email": "nobody"}}))[0] == 400


async def test_an_onboarding_without_a_charger_is_refused() -> None:
    """The newer form with no asset at all gets 422 in a sentence."""
    async with running() as rig:
        status, answer = await rig.call("POST", NEWER_FORM, upsert())
        assert (status, type(answer["detail"])) == (422, str)


@pytest.mark.parametrize("form", [GUIDE_FORM, NEWER_FORM])
async def test_a_site_that_is_not_eligible_is_refused_in_a_sentence(form: str) -> None:
    """A site that is not eligible gets 422 with a plain text as its detail."""
    async with running(not_eligible=frozenset({GUIDE_SITE["mpan"]})) as rig:
        body = onboarding() if form == GUIDE_FORM else upsert("charger-001")
        status, answer = await rig.call("POST", form, body)
        assert (status, type(answer["detail"])) == (422, str)
        assert "not eligible" in answer["detail"]


async def test_the_newer_form_is_an_idempotent_upsert() -> None:
    """The same onboarding twice gives the same ids, and says what was created and what was merged."""
    async with running() as rig:
        _, first = await rig.call("POST", NEWER_FORM, upsert("charger-001", "charger-002"))
        status, second = await rig.call("POST", NEWER_FORM, upsert("charger-001", "charger-003", postcode="N1 9GU"))
        assert (status, second["site"]["site_id"]) == (200, first["site"]["site_id"])
        assert (first["site"]["site_created"], second["site"]["site_created"]) == (True, False)
        assert second["site"]["fields_updated"] == ["postcode"]
        assert [asset["asset_created"] for asset in second["assets"]] == [False, True]
        assert second["assets"][0]["asset_id"] == first["assets"][0]["asset_id"]
        assert (first["enrolment"]["status"], second["enrolment"]["status"]) == ("enrolled", "already_enrolled")


async def test_the_newer_form_refuses_conflicts_whole() -> None:
    """A charger of another site or of another type is a 409, and nothing of that request is stored."""
    async with running() as rig:
        await rig.onboard()
        elsewhere = upsert("charger-009", "charger-001", mpan="2000000000000")
        retyped = upsert("charger-001") | {"assets": [{"external_id": "charger-001", "type": "battery"}]}
        assert (await rig.call("POST", NEWER_FORM, elsewhere))[0] == 409
        assert (await rig.call("POST", NEWER_FORM, retyped))[0] == 409
        assert len(rig.sim.world.sites) == len(rig.sim.world.assets) == 1


async def test_a_withdrawn_user_is_enrolled_again_only_with_an_override() -> None:
    """After an unenrolment the newer form answers 422 in a sentence, until it carries the override."""
    async with running() as rig:
        site_id, asset_id = await rig.onboard()
        path, proposition = f"/entities/site/{site_id}/unenrol", {"proposition": "limited_pause"}
        assert (await rig.call("POST", path, proposition))[1]["status"] == "unenrolled"
        assert (await rig.call("POST", path, proposition))[1]["status"] == "already_unenrolled"
        assert (await rig.call("POST", schedule_path(asset_id), question(*NIGHT)))[0] == 403
        status, answer = await rig.call("POST", NEWER_FORM, upsert("charger-001"))
        assert (status, type(answer["detail"])) == (422, str)
        status, answer = await rig.call("POST", NEWER_FORM, upsert("charger-001", override=True))
        assert (status, answer["enrolment"]["status"]) == (200, "enrolled")
        assert (await rig.call("POST", schedule_path(asset_id), question(*NIGHT)))[0] == 200


async def test_chargers_come_and_go_at_a_site() -> None:
    """A further charger joins a site, is listed page by page, and can be deleted alone."""
    async with running() as rig:
        site_id, first = await rig.onboard()
        body = {"external_id": "charger-002", "type": "charger", "site_id": site_id}
        _, second = await rig.call("POST", "/entities/asset", body)
        assert (await rig.call("POST", "/entities/asset", body))[0] == 409
        _, page = await rig.call("GET", "/entities/asset?limit=1&offset=1")
        assert page["assets"] == [second]
        assert (page["total_num_assets"], page["total_num_pages"], page["page_number"]) == (2, 2, 2)
        assert await rig.call("DELETE", f"/entities/asset/{first}") == (204, None)
        assert (await rig.call("DELETE", f"/entities/asset/{first}"))[0] == 404
        assert rig.sim.world.sites[site_id].asset_ids == [second["id"]]


@pytest.mark.parametrize("query", ["limit=0", "limit=5001", "limit=x", "limit=", "offset=-1", "&".join("x" * 30)])
async def test_a_page_out_of_range_is_invalid(query: str) -> None:
    """A limit or offset outside what the document allows is a validation error."""
    async with running() as rig:
        assert (await rig.call("GET", f"/entities/asset?{query}", wrong=True))[0] == 422
        assert (await rig.call("GET", f"/entities/site?{query}", wrong=True))[0] == 422


async def test_sites_are_listed_page_by_page() -> None:
    """All sites are listed in the order they came, or those with a meter, or with a postcode."""
    async with running() as rig:
        first, _ = await rig.onboard()
        second, _ = await rig.onboard("charger-002", mpan="2000000000000", postcode="N1 9GU")
        _, page = await rig.call("GET", "/entities/site?limit=1&offset=1")
        assert [site["id"] for site in page["sites"]] == [second]
        assert (page["total_num_sites"], page["total_num_pages"], page["page_number"]) == (2, 2, 2)
        for query, expected in (
            ("", [first, second]),
            ("?mpan=1234567890123", [first]),
            ("?postcode=N1%209GU", [second]),
            ("?mpan=1234567890123&postcode=N1%209GU", []),
            (f"?offset={10**30}", []),
        ):
            _, page = await rig.call("GET", f"/entities/site{query}")
            assert [site["id"] for site in page["sites"]] == expected


async def test_an_offboarding_takes_the_site_and_all_its_chargers() -> None:
    """Offboarding answers what went, and neither the site nor any of its chargers is known afterwards."""
    async with running() as rig:
        site_id, asset_id = await rig.onboard()
        path = f"/entities/site/{site_id}/offboard-site-and-assets"
        status, gone = await rig.call("POST", path)
        assert (status, gone["site"]["id"], gone["asset"]["id"]) == (200, site_id, asset_id)
        assert (await rig.call("POST", path))[0] == 404
        assert (await rig.call("GET", "/entities/asset/external-id/charger-001"))[0] == 404
        assert (await rig.call("POST", schedule_path(asset_id), question(*NIGHT)))[0] == 404
        assert (await rig.onboard())[0] != site_id


async def test_a_site_whose_last_charger_was_deleted_can_be_offboarded() -> None:
    """A site without chargers stays, and its offboarding still answers what the document asks for."""
    async with running() as rig:
        site_id, asset_id = await rig.onboard()
        await rig.call("DELETE", f"/entities/asset/{asset_id}")
        assert (await rig.call("POST", f"/entities/site/{site_id}/offboard-site-and-assets"))[0] == 200


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", f"/entities/site/{NOWHERE}", None),
        ("GET", "/entities/asset/external-id/nobody", None),
        ("DELETE", f"/entities/asset/{NOWHERE}", None),
        ("POST", f"/entities/site/{NOWHERE}/offboard-site-and-assets", None),
        ("POST", f"/entities/site/{NOWHERE}/unenrol", {"proposition": "limited_pause"}),
        ("POST", schedule_path(NOWHERE), question(*NIGHT)),
        ("POST", "/entities/asset", {"external_id": "c", "type": "charger", "site_id": NOWHERE}),
        ("GET", f"/rewards/{NOWHERE}/info", None),
    ],
)
async def test_what_is_not_known_is_not_found(method: str, path: str, body: object) -> None:
    """An id or a name that Axle does not know gets 404."""
    async with running() as rig:
        assert (await rig.call(method, path, body))[0] == 404


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/entities/site/not-a-uuid", None),
        ("DELETE", "/entities/asset/not-a-uuid", None),
        ("POST", "/entities/site/not-a-uuid/offboard-site-and-assets", None),
        ("POST", "/entities/site/not-a-uuid/unenrol", {"proposition": "limited_pause"}),
        ("POST", schedule_path("not-a-uuid"), question(*NIGHT)),
        ("GET", "/rewards/not-a-uuid/info", None),
    ],
)
async def test_an_id_that_is_no_uuid_is_invalid(method: str, path: str, body: object) -> None:
    """A path with something else in the place of a uuid is a validation error, not a 404."""
    async with running() as rig:
        status, answer = await rig.call(method, path, body, wrong=True)
        assert status == 422
        assert answer["detail"][0]["type"] == "type_error.uuid"


async def test_rewards_grow_with_each_pause() -> None:
    """Every schedule that is answered with a pause earns the site a few pence."""
    async with running(pause_share=1.0) as rig:
        site_id, asset_id = await rig.onboard()
        for _ in range(2):
            await rig.call("POST", schedule_path(asset_id), question(*NIGHT))
        _, balance = await rig.call("GET", f"/rewards/{site_id}/info")
        assert balance["total_earnings_pence"] == 10
        assert not balance["can_withdraw"]


async def test_the_ocpp_example_is_a_charging_profile() -> None:
    """The example endpoint answers an OCPP request in the shape of the document."""
    async with running() as rig:
        status, profile = await rig.call("GET", "/examples/ocpp-charging-profile")
        assert (status, profile["csChargingProfiles"]["chargingProfilePurpose"]) == (200, "TxProfile")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PATCH", "/entities/asset", "GET, POST"),
        ("GET", "/entities/site/onboard", "POST"),
        ("PUT", f"/entities/asset/{NOWHERE}", "DELETE"),
    ],
)
async def test_a_method_that_a_path_does_not_take_is_refused(method: str, path: str, allowed: str) -> None:
    """A path of the document refuses other methods with 405 and says which it takes; nobody need be signed in."""
    async with running() as rig:
        rig.http.headers.pop("authorization")
        answer = await rig.http.request(method, path)
        assert (answer.status_code, answer.headers["allow"]) == (405, allowed)
        assert answer.json() == {"detail": "Method Not Allowed"}


async def test_an_unknown_route_is_not_found() -> None:
    """A path that is not in the document gets 404 and stands in the call log as unknown."""
    async with running() as rig:
        answer = await rig.http.post("/entities/nothing")
        assert (answer.status_code, answer.json()) == (404, {"detail": "Not Found"})
        assert rig.sim.calls.since(1)[0]["endpoint"] == "unknown"

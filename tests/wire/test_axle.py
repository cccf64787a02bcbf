"""Axle's interface: what is asked obeys its document, and each row of the table of meanings is walked."""

import json
from urllib.parse import parse_qs

import pytest
from msgspec.structs import replace

from processor.core.events import CallFailed, Enrolment, Found, LookedUp, Offboarded, Refusal, Removed, ScheduleAnswered
from processor.core.intents import Intent, LookUp, Onboard
from processor.wire.axle import MEANINGS, Again, Endpoint, Reply, Request, SignInRefused, request, sign_in, token_of
from tests.wire.axle_contract import FORM, check_answer, check_request
from tests.wire.axle_samples import (
    ADD_ASSET,
    ASK,
    ASSET,
    AXLE_ASSET,
    AXLE_SITE,
    AXLES_SITE,
    BOTH,
    CHARGER,
    CONSENTED,
    ENROLLED,
    FAULTS,
    INTENTS,
    LOOK_UP,
    MODIFIED,
    NIGHT,
    OFFBOARD,
    ONBOARD,
    REMOVE,
    SENTENCE,
    SITE,
    TO_THE_SITE,
    UNENROL,
    UNENROLLED,
    UPSERT,
    UPSERTED,
    concluded,
    onboarding_refused,
    question_refused,
    reply,
)

# What is asked.


def test_the_first_charger_is_onboarded_in_the_words_of_the_guide() -> None:
    """The request of the guide comes out of the household of the guide, field by field."""
    asked = request(ONBOARD)
    assert (asked.endpoint, asked.method, asked.path) == ("onboard", "POST", "/entities/site/onboard-site-and-asset")
    assert json.loads(asked.body or b"") == {
        "site": {
            "mpan": "1234567890123",
            "postcode": "SW1A 1AA",
            "street_address": "10 Downing Street",
            "gave_boundary_meter_consent_at": "2025-01-01T12:00:00Z",
            "email": "test@example.com",
        },
        "asset": {"external_id": "charger-001", "type": "charger", "properties": {"power_kw": 7.4}},
        "dispatch_consent": {"dispatch_methods": ["limited_pause"]},
    }


def test_what_is_not_known_is_left_out() -> None:
    """Without an e-mail address and a power, their fields are not there at all, as null would be refused."""
    household = Enrolment("1234567890123", "SW1A 1AA", "10 Downing Street", CONSENTED + 7, CONSENTED)
    body = json.loads(request(Onboard(SITE, CHARGER, household, None, None)).body or b"")
    assert body["site"].keys() == {"mpan", "postcode", "street_address", "gave_boundary_meter_consent_at"}
    assert body["site"]["gave_boundary_meter_consent_at"] == "2025-01-01T12:00:00.007Z"
    assert body["asset"] == {"external_id": CHARGER, "type": "charger"}


def test_a_further_charger_joins_its_site() -> None:
    """Once the site is known to Axle only the charger is told, with no word of the household."""
    asked = request(ADD_ASSET)
    assert (asked.endpoint, asked.method, asked.path) == ("add_asset", "POST", "/entities/asset")
    expected = {"external_id": CHARGER, "type": "charger", "site_id": AXLE_SITE, "properties": {"power_kw": 7.4}}
    assert json.loads(asked.body or b"") == expected


@pytest.mark.parametrize("axle_site_id", [None, AXLE_SITE])
@pytest.mark.parametrize("override", [True, False])
def test_the_newer_form_is_the_same_for_every_charger(axle_site_id: str | None, *, override: bool) -> None:
    """The upsert tells the household with each charger, what it joins, and whether a withdrawal is overridden."""
    asked = request(replace(UPSERT, axle_site_id=axle_site_id, override_withdrawal=override))
    assert (asked.endpoint, asked.method, asked.path) == ("upsert", "POST", "/entities/site/onboard")
    guide = json.loads(request(ONBOARD).body or b"")
    assert json.loads(asked.body or b"") == {
        "site": guide["site"],
        "assets": [guide["asset"]],
        "proposition": "limited_pause",
        "override_withdrawal": override,
    }


def test_unenrolling_names_what_is_left() -> None:
    """A site leaves the pauses alone, and keeps all else."""
    asked = request(UNENROL)
    assert (asked.endpoint, asked.method, asked.path) == ("unenrol", "POST", f"/entities/site/{AXLE_SITE}/unenrol")
    assert json.loads(asked.body or b"") == {"proposition": "limited_pause"}


def test_a_schedule_is_asked_as_the_guide_does() -> None:
    """Blocks go out with an offset of +00:00, under Axle's own id of the charger."""
    asked = request(ASK)
    assert (asked.endpoint, asked.method) == ("schedule", "POST")
    assert asked.path == f"/entities/asset/{AXLE_ASSET}/event/plug-in-schedule"
    assert json.loads(asked.body or b"") == {
        "charging_schedule": [
            {"start_timestamp": "2025-06-27T22:00:00+00:00", "end_timestamp": "2025-06-28T02:00:00+00:00"}
        ]
    }


@pytest.mark.parametrize(
    ("intent", "expected"),
    [
        (LOOK_UP, Request(Endpoint.LOOK_UP, "GET", f"/entities/asset/external-id/{CHARGER}")),
        (REMOVE, Request(Endpoint.REMOVE, "DELETE", f"/entities/asset/{AXLE_ASSET}")),
        (OFFBOARD, Request(Endpoint.OFFBOARD, "POST", f"/entities/site/{AXLE_SITE}/offboard-site-and-assets")),
    ],
)
def test_look_up_removal_and_offboarding_carry_no_body(intent: Intent, expected: Request) -> None:
    """The path says it all."""
    assert request(intent) == expected


def test_ids_are_quoted_into_paths() -> None:
    """No character of an id can lead to another path."""
    assert request(LookUp(SITE, "a:b/../c?d#e f%", 0)).path == (
        "/entities/asset/external-id/a%3Ab%2F..%2Fc%3Fd%23e%20f%25"
    )


@pytest.mark.parametrize("charger_id", ["", ".", ".."])
def test_an_id_that_means_something_in_a_path_is_refused(charger_id: str) -> None:
    """A path cannot end in an empty or dotted id without becoming another path, so none is made."""
    with pytest.raises(ValueError, match="cannot stand in a path"):
        request(LookUp(SITE, charger_id, 0))


def test_signing_in_obeys_axles_document() -> None:
    """Username and password go out as a form, whatever characters they hold."""
    asked = sign_in("fleet+1@example.com", "p&=%ä ")
    fields = {name: values[0] for name, values in parse_qs((asked.body or b"").decode(), strict_parsing=True).items()}
    check_request(asked.method, asked.path, fields, FORM)
    assert fields == {"grant_type": "password", "username": "fleet+1@example.com", "password": "p&=%ä "}
    assert (asked.endpoint, asked.form) == ("token", True)


def test_nothing_personal_shows_when_a_call_is_printed() -> None:
    """Bodies carry passwords, tokens and addresses, so a request and a reply print without them."""
    assert "Downing" not in repr(request(ONBOARD)) + repr(request(UPSERT))
    assert "hunter2" not in repr(sign_in("me", "hunter2"))
    assert "1234567890123" not in repr(reply(200, AXLES_SITE))


# What is answered.

CASES: list[tuple[Endpoint, int, object, object]] = [
    (Endpoint.ONBOARD, 200, BOTH, ENROLLED),
    (Endpoint.ONBOARD, 400, SENTENCE, onboarding_refused(Refusal.INVALID)),
    (Endpoint.ONBOARD, 409, SENTENCE, onboarding_refused(Refusal.EXISTS)),
    (Endpoint.ONBOARD, 422, SENTENCE, onboarding_refused(Refusal.NOT_ELIGIBLE)),
    (Endpoint.ONBOARD, 422, FAULTS, onboarding_refused(Refusal.INVALID)),
    (Endpoint.ADD_ASSET, 200, ASSET, ENROLLED),
    (Endpoint.ADD_ASSET, 400, SENTENCE, onboarding_refused(Refusal.INVALID)),
    (Endpoint.ADD_ASSET, 404, SENTENCE, onboarding_refused(Refusal.UNKNOWN_CHARGER)),
    (Endpoint.ADD_ASSET, 409, SENTENCE, onboarding_refused(Refusal.EXISTS)),
    (Endpoint.ADD_ASSET, 422, SENTENCE, onboarding_refused(Refusal.NOT_ELIGIBLE)),
    (Endpoint.ADD_ASSET, 422, FAULTS, onboarding_refused(Refusal.INVALID)),
    (Endpoint.UPSERT, 200, UPSERTED, ENROLLED),
    (Endpoint.UPSERT, 400, SENTENCE, onboarding_refused(Refusal.INVALID)),
    (Endpoint.UPSERT, 409, SENTENCE, onboarding_refused(Refusal.EXISTS)),
    (Endpoint.UPSERT, 422, SENTENCE, onboarding_refused(Refusal.NOT_ELIGIBLE)),
    (Endpoint.UPSERT, 422, FAULTS, onboarding_refused(Refusal.INVALID)),
    (Endpoint.LOOK_UP, 200, ASSET, TO_THE_SITE),
    (Endpoint.LOOK_UP, 400, SENTENCE, CallFailed(SITE, CHARGER, 400)),
    (Endpoint.LOOK_UP, 403, SENTENCE, CallFailed(SITE, CHARGER, 403)),
    (Endpoint.LOOK_UP, 404, SENTENCE, LookedUp(SITE, CHARGER, None)),
    (Endpoint.LOOK_UP, 422, FAULTS, CallFailed(SITE, CHARGER, 422)),
    (Endpoint.LOOK_UP_SITE, 200, AXLES_SITE, LookedUp(SITE, CHARGER, Found(AXLE_SITE, AXLE_ASSET, "1234567890123"))),
    (Endpoint.LOOK_UP_SITE, 400, SENTENCE, CallFailed(SITE, CHARGER, 400)),
    (Endpoint.LOOK_UP_SITE, 403, SENTENCE, CallFailed(SITE, CHARGER, 403)),
    (Endpoint.LOOK_UP_SITE, 404, SENTENCE, LookedUp(SITE, CHARGER, Found(AXLE_SITE, AXLE_ASSET, None))),
    (Endpoint.LOOK_UP_SITE, 422, FAULTS, CallFailed(SITE, CHARGER, 422)),
    (Endpoint.SCHEDULE, 200, MODIFIED, ScheduleAnswered(SITE, CHARGER, 7, NIGHT, NIGHT)),
    (Endpoint.SCHEDULE, 400, SENTENCE, question_refused(Refusal.INVALID)),
    (Endpoint.SCHEDULE, 403, SENTENCE, question_refused(Refusal.FORBIDDEN)),
    (Endpoint.SCHEDULE, 404, SENTENCE, question_refused(Refusal.UNKNOWN_CHARGER)),
    (Endpoint.SCHEDULE, 422, FAULTS, question_refused(Refusal.INVALID)),
    (Endpoint.REMOVE, 204, None, Removed(SITE, CHARGER, AXLE_ASSET)),
    (Endpoint.REMOVE, 400, SENTENCE, CallFailed(SITE, CHARGER, 400)),
    (Endpoint.REMOVE, 403, SENTENCE, CallFailed(SITE, CHARGER, 403)),
    (Endpoint.REMOVE, 404, SENTENCE, Removed(SITE, CHARGER, AXLE_ASSET)),
    (Endpoint.REMOVE, 422, FAULTS, CallFailed(SITE, CHARGER, 422)),
    (Endpoint.OFFBOARD, 200, BOTH, Offboarded(SITE, AXLE_SITE)),
    (Endpoint.OFFBOARD, 204, None, Offboarded(SITE, AXLE_SITE)),
    (Endpoint.OFFBOARD, 400, SENTENCE, CallFailed(SITE, None, 400)),
    (Endpoint.OFFBOARD, 403, SENTENCE, CallFailed(SITE, None, 403)),
    (Endpoint.OFFBOARD, 404, SENTENCE, Offboarded(SITE, AXLE_SITE)),
    (Endpoint.OFFBOARD, 422, FAULTS, CallFailed(SITE, None, 422)),
    (Endpoint.UNENROL, 200, UNENROLLED, Offboarded(SITE, AXLE_SITE, kept=True)),
    (Endpoint.UNENROL, 200, UNENROLLED | {"status": "already_unenrolled"}, Offboarded(SITE, AXLE_SITE, kept=True)),
    (Endpoint.UNENROL, 204, None, Offboarded(SITE, AXLE_SITE, kept=True)),
    (Endpoint.UNENROL, 400, SENTENCE, CallFailed(SITE, None, 400)),
    (Endpoint.UNENROL, 403, SENTENCE, CallFailed(SITE, None, 403)),
    (Endpoint.UNENROL, 404, SENTENCE, Offboarded(SITE, AXLE_SITE, kept=False)),
    (Endpoint.UNENROL, 422, FAULTS, CallFailed(SITE, None, 422)),
]
TOKEN_STATUSES = {200, 400, 401, 403, 422}


@pytest.mark.parametrize(("endpoint", "status", "body", "meaning"), CASES)
def test_each_row_of_the_table_means_what_it_says(
    endpoint: Endpoint, status: int, body: object, meaning: object
) -> None:
    """Each status that the table names tells the core exactly one thing."""
    assert concluded(endpoint, reply(status, body)) == meaning


def test_no_row_of_the_table_is_left_untested() -> None:
    """The cases of this file are the table's rows; the sign-in's are below, the list's in `test_axle_list.py`."""
    rows = {(endpoint, status) for endpoint, row in MEANINGS.items() for status in row}
    tested = {(endpoint, status) for endpoint, status, _, _ in CASES}
    others = {(Endpoint.TOKEN, status) for status in TOKEN_STATUSES} | {(Endpoint.LIST, 200)}
    assert rows == tested | others


@pytest.mark.parametrize(
    ("endpoint", "body"), [(endpoint, body) for endpoint, status, body, _ in CASES if status == 200 and body]
)
def test_the_successes_of_these_tests_obey_axles_document(endpoint: Endpoint, body: object) -> None:
    """What is read here is what Axle's document promises."""
    asked = TO_THE_SITE if endpoint is Endpoint.LOOK_UP_SITE else request(INTENTS[endpoint])
    check_answer(asked.method, asked.path, 200, body)


@pytest.mark.parametrize("endpoint", INTENTS)
def test_every_other_status_means_try_later(endpoint: Endpoint) -> None:
    """What the table does not name leaves the call owed, with a sentence that says what was answered."""
    for status in set(range(100, 600)) - MEANINGS[endpoint].keys():
        outcome = concluded(endpoint, reply(status, SENTENCE))
        assert isinstance(outcome, Again), status
        assert str(status) in outcome.why
        assert outcome.why.endswith(".")


@pytest.mark.parametrize(
    ("status", "hint"),
    [
        (302, "base URL"),
        (401, "token was fresh"),
        (404, "base URL"),
        (408, "trouble on its side"),
        (429, "too many calls"),
        (503, "trouble on its side"),
        (418, "documentation does not name"),
    ],
)
def test_a_sentence_says_what_to_make_of_a_status(status: int, hint: str) -> None:
    """A redirect, a refused token, a wrong place, a busy Axle and a surprise read differently at 3 in the morning."""
    outcome = concluded(Endpoint.UPSERT, reply(status))
    assert isinstance(outcome, Again)
    assert hint in outcome.why


# Signing in.


def test_a_token_is_read() -> None:
    """A good sign-in tells its token."""
    body = {"access_token": "eyJhbGciOi.J9-_~+/==", "token_type": "bearer"}
    asked = sign_in("me", "secret")
    check_answer(asked.method, asked.path, 200, body)
    assert token_of(reply(200, body)) == "eyJhbGciOi.J9-_~+/=="


@pytest.mark.parametrize("status", sorted(TOKEN_STATUSES - {200}))
def test_a_refused_sign_in_blames_the_account(status: int) -> None:
    """Wrong words of sign-in are something for an operator to mend, and the sentence says so."""
    with pytest.raises(SignInRefused, match="username or the password") as refused:
        token_of(reply(status, SENTENCE))
    assert refused.value.status == status


@pytest.mark.parametrize("status", [204, 302, 404, 429, 500, 503])
def test_a_failed_sign_in_says_what_was_answered(status: int) -> None:
    """Any other status gives no token, and the sentence names it."""
    with pytest.raises(SignInRefused, match=str(status)):
        token_of(reply(status))


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"<html>", b'{"access_token": ""}', b'{"access_token": "a\\r\\nx: y"}', b'{"access_token": 1}']
)
def test_a_token_that_fits_no_header_is_refused(body: bytes) -> None:
    """No token, or one with characters that a header cannot carry, is no sign-in."""
    with pytest.raises(SignInRefused, match="without a token"):
        token_of(Reply(200, body))

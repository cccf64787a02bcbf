"""The processor's side of Axle's document: each request that it can send, and each answer that the document allows.

What a status means is walked in `test_axle.py`, hostile bodies are in `test_axle_bodies.py`. The idea: requests come
from any intent and answers from the document's own schemas, so nothing here is an example that we thought of.
"""

import json
from typing import Any
from urllib.parse import parse_qsl

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from processor.core.events import Offboarded, Onboarded, OnboardingRefused, Refusal
from processor.core.intents import AskSchedule, Intent, LookUp, Offboard, Onboard, Remove
from processor.core.rules import OnboardingForm
from processor.wire.axle import Again, Endpoint, Reply, Request, conclude, request, sign_in
from processor.wire.axle_list import page_of, page_request
from tests.wire.axle_contract import CONTRACT, FORM, check_answer, check_request, operation
from tests.wire.axle_samples import (
    ADD_ASSET,
    ASK,
    ASSET,
    CHARGER,
    HOUSEHOLDS,
    IDS,
    LOOK_UP,
    LOOKED_UP_FIRST,
    OFFBOARD,
    ONBOARD,
    POWERS,
    SCHEDULES,
    SITE,
    TEXTS,
    TO_THE_SITE,
    UNENROL,
    UPSERT,
    UUIDS,
    Json,
    reply,
)

CHARGERS = TEXTS.filter(lambda name: name not in {".", ".."})
GUIDE = st.just(OnboardingForm.GUIDE)
INTENTS: dict[Endpoint, st.SearchStrategy[Intent]] = {
    Endpoint.ONBOARD: st.builds(Onboard, IDS, CHARGERS, HOUSEHOLDS, POWERS, st.none(), GUIDE, st.booleans()),
    Endpoint.ADD_ASSET: st.builds(Onboard, IDS, CHARGERS, HOUSEHOLDS, POWERS, UUIDS, GUIDE, st.booleans()),
    Endpoint.UPSERT: st.builds(
        Onboard, IDS, CHARGERS, HOUSEHOLDS, POWERS, st.none() | UUIDS, st.just(OnboardingForm.UPSERT), st.booleans()
    ),
    Endpoint.LOOK_UP: st.builds(LookUp, IDS, CHARGERS, st.just(0)),
    Endpoint.SCHEDULE: st.builds(AskSchedule, IDS, CHARGERS, st.just(1), UUIDS, SCHEDULES, st.booleans()),
    Endpoint.REMOVE: st.builds(Remove, IDS, CHARGERS, UUIDS),
    Endpoint.OFFBOARD: st.builds(Offboard, IDS, UUIDS, st.just(value=False)),
    Endpoint.UNENROL: st.builds(Offboard, IDS, UUIDS, st.just(value=True)),
}


def _to_the_site(axle_site_id: str) -> Request:
    second = conclude(LOOK_UP, (reply(200, ASSET | {"site_id": axle_site_id}),))
    assert isinstance(second, Request)
    return second


REQUESTS: dict[Endpoint, st.SearchStrategy[Request]] = {
    **{endpoint: intents.map(request) for endpoint, intents in INTENTS.items()},
    Endpoint.LOOK_UP_SITE: UUIDS.map(_to_the_site),
    Endpoint.LIST: st.integers(0, 10**9).map(page_request),
    Endpoint.TOKEN: st.builds(sign_in, TEXTS, TEXTS),
}


@pytest.mark.parametrize("endpoint", Endpoint)
@given(st.data())
@settings(max_examples=40, deadline=None)
def test_every_request_obeys_axles_document(endpoint: Endpoint, data: st.DataObject) -> None:
    """Whatever is owed, the document has the call, and takes its ids and its body, in the form that it is sent in."""
    asked = data.draw(REQUESTS[endpoint])
    assert (asked.endpoint, asked.form) == (endpoint, endpoint is Endpoint.TOKEN)
    if asked.form:
        fields = dict(parse_qsl((asked.body or b"").decode(), strict_parsing=True))
        check_request(asked.method, asked.path, fields, FORM)
    else:
        check_request(asked.method, asked.path, None if asked.body is None else json.loads(asked.body))


# Answers.

ASKED: dict[Endpoint, Intent] = {
    Endpoint.ONBOARD: ONBOARD,
    Endpoint.ADD_ASSET: ADD_ASSET,
    Endpoint.UPSERT: UPSERT,
    Endpoint.LOOK_UP: LOOK_UP,
    Endpoint.SCHEDULE: ASK,
    Endpoint.OFFBOARD: OFFBOARD,
    Endpoint.UNENROL: UNENROL,
}
CALLS = {
    **{endpoint: request(intent) for endpoint, intent in ASKED.items()},
    Endpoint.LOOK_UP_SITE: TO_THE_SITE,
    Endpoint.LIST: page_request(0),
}
"""A call of each endpoint that answers with a body; the sign-in has a test of its own."""


def _schema(endpoint: Endpoint) -> Json:
    """The 200 answer of an endpoint, as the document has it: its `schema` and perhaps an `example`."""
    _, found = operation(CALLS[endpoint].method, CALLS[endpoint].path)
    content: Json = found["responses"]["200"]["content"]["application/json"]
    return content


def _resolved(schema: Json) -> Json:
    while "$ref" in schema or "allOf" in schema:
        [schema] = schema.get("allOf", [schema])
        if "$ref" in schema:
            schema = CONTRACT["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return schema


def _example(schema: Json) -> Any:
    """The example of a schema, put together from those of its properties; None when a needed one is missing."""
    schema = _resolved(schema)
    if "examples" in schema:
        return schema["examples"][0]
    parts = {name: _example(part) for name, part in schema.get("properties", {}).items()}
    told = {name: part for name, part in parts.items() if part is not None}
    return told if told and told.keys() >= set(schema.get("required", ())) else None


def _understood(endpoint: Endpoint, body: Any) -> object:
    """What an answer means to a caller who asked for just that charger and that site."""
    body_bytes = json.dumps(body).encode()
    if endpoint is Endpoint.LIST:
        return page_of(Reply(200, body_bytes))
    intents: dict[Endpoint, Any] = {
        Endpoint.ONBOARD: lambda: replace(ONBOARD, charger_id=body["asset"]["external_id"]),
        Endpoint.ADD_ASSET: lambda: replace(ADD_ASSET, charger_id=body["external_id"]),
        Endpoint.UPSERT: lambda: replace(UPSERT, charger_id=body["assets"][0]["external_id"]),
        Endpoint.LOOK_UP: lambda: replace(LOOK_UP, charger_id=body["external_id"]),
        Endpoint.LOOK_UP_SITE: lambda: LOOK_UP,
        Endpoint.SCHEDULE: lambda: ASK,
        Endpoint.OFFBOARD: lambda: replace(OFFBOARD, axle_site_id=body["site"]["id"]),
        Endpoint.UNENROL: lambda: replace(UNENROL, axle_site_id=body["site_id"]),
    }
    before = (LOOKED_UP_FIRST,) if endpoint is Endpoint.LOOK_UP_SITE else ()
    return conclude(intents[endpoint](), (*before, Reply(200, body_bytes)))


EXAMPLES = {
    endpoint: example
    for endpoint in CALLS
    for content in [_schema(endpoint)]
    for example in [content.get("example") or _example(content["schema"])]
    if example is not None
}


def test_every_example_of_an_answer_is_understood() -> None:
    """The answers that the document shows are read, ids and all."""
    for endpoint, example in EXAMPLES.items():
        check_answer(CALLS[endpoint].method, CALLS[endpoint].path, 200, example)
    assert {endpoint: _understood(endpoint, example) for endpoint, example in EXAMPLES.items()} == {
        Endpoint.UPSERT: Onboarded(
            SITE, CHARGER, "a1b2c3d4-e5f6-7890-abcd-ef1234567890", "b2c3d4e5-f6a7-8901-bcde-f23456789012"
        ),
        Endpoint.UNENROL: Offboarded(SITE, "a1b2c3d4-e5f6-7890-abcd-ef1234567890", kept=True),
    }


_FORMATS = {
    "uuid": UUIDS,
    "date-time": st.datetimes(timezones=st.timezones()).map(lambda instant: instant.isoformat()),
    "time": st.times().map(lambda time: time.isoformat()),
}
_LEAVES: dict[str, st.SearchStrategy[Any]] = {
    "string": TEXTS,
    "integer": st.integers(0, 10**6),
    "number": st.floats(0, 10**6),
    "boolean": st.booleans(),
}


def _values(schema: Json) -> st.SearchStrategy[Any]:
    """Values that a schema allows; properties that it does not require come and go."""
    schema = _resolved(schema)
    if "anyOf" in schema:
        return st.one_of(*map(_values, schema["anyOf"]))
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if schema["type"] == "array":
        unique = json.dumps if schema.get("uniqueItems") else None
        return st.lists(_values(schema["items"]), max_size=3, unique_by=unique)
    if schema["type"] == "object":
        parts = {name: _values(part) for name, part in schema["properties"].items()}
        needed = {name: parts.pop(name) for name in schema.get("required", ())}
        return st.fixed_dictionaries(needed, optional=parts)
    return _FORMATS.get(schema.get("format", ""), _LEAVES[schema["type"]])


ANSWERS = {endpoint: _values(_schema(endpoint)["schema"]) for endpoint in CALLS}


@pytest.mark.parametrize("endpoint", CALLS)
@given(st.data())
@settings(max_examples=60, deadline=None)
def test_every_answer_that_the_document_allows_is_understood(endpoint: Endpoint, data: st.DataObject) -> None:
    """A success as the document describes it is never taken for trouble, whichever optional parts it has."""
    body = data.draw(ANSWERS[endpoint])
    check_answer(CALLS[endpoint].method, CALLS[endpoint].path, 200, body)
    if endpoint is Endpoint.UPSERT:
        names = [asset["external_id"] for asset in body["assets"]]
        assume(names)
        assume(names.count(names[0]) == 1)
    assert not isinstance(_understood(endpoint, body), Again)


@pytest.mark.parametrize("intent", [ONBOARD, ADD_ASSET, UPSERT])
@given(_values({"$ref": "#/components/schemas/HTTPValidationError"}))
@settings(max_examples=30, deadline=None)
def test_every_list_of_faults_is_our_fault(intent: Onboard, body: Json) -> None:
    """A validation error as the document describes it never makes a home look not eligible."""
    outcome = conclude(intent, (reply(422, body),))
    assert isinstance(outcome, OnboardingRefused)
    assert outcome.why is Refusal.INVALID

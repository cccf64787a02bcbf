"""The contract itself: how it is cut out of the full document, and that it refuses what it should."""

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import ValidationError

from tests.wire.axle_contract import CONTRACT, check_answer, check_request
from tests.wire.trim_openapi import CONTRACT as CONTRACT_FILE
from tests.wire.trim_openapi import OPERATIONS, main, render, trim


def document() -> dict[str, Any]:
    """A full document, made by putting prose and strangers around the contract."""
    full: dict[str, Any] = json.loads(json.dumps(CONTRACT))
    full["paths"]["/other"] = {"get": {"responses": {}}}
    full["components"]["schemas"]["Stranger"] = {"type": "object"}
    full["components"]["schemas"]["Token"] |= {"title": "Token", "description": "Prose"}
    full["paths"]["/auth/token-form"]["post"] |= {"summary": "Prose", "tags": ["1"]}
    return full


def test_trimming_keeps_the_rules_and_drops_the_rest() -> None:
    """Other paths, schemas that nothing reaches and prose go; what is left is the contract."""
    assert trim(document()) == CONTRACT
    assert render(CONTRACT) == CONTRACT_FILE.read_text(encoding="utf-8")
    assert {(method, path) for path, methods in CONTRACT["paths"].items() for method in methods} == set(OPERATIONS)


def test_a_property_may_be_called_as_prose_is() -> None:
    """A property with the name of a prose key stays."""
    full = document()
    full["components"]["schemas"]["Token"]["properties"]["title"] = {"type": "string", "title": "Title"}
    assert trim(full)["components"]["schemas"]["Token"]["properties"]["title"] == {"type": "string"}


def test_the_check_tells_a_stale_contract(tmp_path: Path) -> None:
    """The command writes the contract, and `--check` fails when the file says something else."""
    source, output = tmp_path / "openapi.json", tmp_path / "contract.json"
    source.write_text(json.dumps(document()), encoding="utf-8")
    chosen = [str(source), "--output", str(output)]
    assert main([*chosen, "--check"]) == 1
    assert main(chosen) == 0
    assert main([*chosen, "--check"]) == 0
    output.write_text("{}", encoding="utf-8")
    assert main([*chosen, "--check"]) == 1


@pytest.mark.parametrize(
    "body",
    [
        {"site": {"mpan": "1", "postcode": "N1"}, "assets": [], "proposition": "limited_pause", "surprise": 1},
        {"site": {"mpan": 1, "postcode": "N1"}, "assets": [], "proposition": "limited_pause"},
        {"site": {"mpan": "1"}, "assets": [], "proposition": "limited_pause"},
        {"site": {"mpan": "1", "postcode": "N1", "emial": "x"}, "assets": [], "proposition": "limited_pause"},
        {"site": {"mpan": "1", "postcode": "N1"}, "assets": [], "proposition": "pause"},
        {
            "site": {"mpan": "1", "postcode": "N1", "gave_boundary_meter_consent_at": "2025-01-01T12:00:00"},
            "assets": [],
            "proposition": "limited_pause",
        },
    ],
)
def test_a_wrong_request_breaks_the_contract(body: object) -> None:
    """An unknown, missing, mistyped or misspelt field, an unknown value and a naive instant are all found."""
    with pytest.raises(ValidationError):
        check_request("POST", "/entities/site/onboard", body)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, {"id": "not-a-uuid"}),
        (200, {"detail": "fine"}),
        (404, {"error": "none"}),
        (404, {"detail": []}),
        (418, {"detail": "teapot"}),
        (422, {"detail": "a sentence where the document has a list"}),
    ],
)
def test_a_wrong_answer_breaks_the_contract(status: int, body: object) -> None:
    """A status that the document does not have and a body of another shape are found."""
    with pytest.raises((AssertionError, ValidationError)):
        check_answer("GET", "/entities/site/00000000-0000-0000-0000-000000000000", status, body)


@pytest.mark.parametrize(
    "path",
    [
        "/entities/site/home",
        "/entities/site?limit=0",
        "/entities/site?limit=5001&offset=1",
        "/entities/site?colour=blue",
    ],
)
def test_a_wrong_parameter_breaks_the_contract(path: str) -> None:
    """An id that is no uuid, a number out of its range and a parameter that the document does not name are found."""
    with pytest.raises((AssertionError, ValidationError)):
        check_request("GET", path, None)


def test_examples_survive_the_trimming() -> None:
    """An example stays word for word, also where it has a key that is prose elsewhere."""
    full = document()
    full["components"]["schemas"]["Token"]["examples"] = [{"title": "kept"}]
    assert trim(full)["components"]["schemas"]["Token"]["examples"] == [{"title": "kept"}]


def test_an_unknown_path_breaks_the_contract() -> None:
    """A path or a method that the document does not have is found."""
    with pytest.raises(AssertionError, match="has no PUT"):
        check_request("PUT", "/entities/site/onboard", None)

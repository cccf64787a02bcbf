"""Checks requests and answers against Axle's interface, as trimmed in `axle_contract.json`.

Here lives the yardstick for everything that claims to speak Axle's language: the simulator's answers and the
processor's requests. No test lives here. The idea: OpenAPI 3.1 schemas are JSON Schema, so a pointer into the
document is a schema; and a property that the document does not name is a mistake, whatever JSON Schema says.
"""

import json
import re
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote

from jsonschema import Draft202012Validator, FormatChecker
from referencing import Registry
from referencing.jsonschema import DRAFT202012

CONTRACT: dict[str, Any] = json.loads(Path(__file__).with_name("axle_contract.json").read_bytes())
FORM = "application/x-www-form-urlencoded"
_ROOT = "urn:axle"
_CALLS: dict[tuple[str, str], dict[str, Any]] = {
    (method.upper(), path): operation
    for path, methods in CONTRACT["paths"].items()
    for method, operation in methods.items()
}


def operation(method: str, path: str) -> tuple[str, dict[str, Any]]:
    """The template and the operation that a concrete path, quoted as it is sent, belongs to; or AssertionError.

    A template without a variable wins over one with a variable, as in OpenAPI. A query is passed over.
    """
    path = path.partition("?")[0]
    candidates = sorted((template.count("{"), template) for verb, template in _CALLS if verb == method)
    for _, template in candidates:
        if _variables(template, path) is not None:
            return template, _CALLS[method, template]
    raise AssertionError(f"Axle's document has no {method} {path}")


def check_request(method: str, path: str, body: object, content_type: str = "application/json") -> None:
    """Raises when Axle would not take this call.

    `path` is quoted and may have a query; `body` is decoded JSON, or form fields, or None for no body.
    """
    template, found = operation(method, path)
    _check_parameters(template, method.lower(), found.get("parameters", []), path)
    if "requestBody" not in found:
        assert body is None, f"{method} {template} takes no body"
        return
    content = found["requestBody"]["content"]
    assert content_type in content, f"{method} {template} does not take {content_type}"
    where = f"paths/{_escape(template)}/{method.lower()}/requestBody"
    _validate(f"{where}/content/{_escape(content_type)}/schema", body)


def _check_parameters(template: str, method: str, parameters: list[dict[str, Any]], path: str) -> None:
    bare, _, query = path.partition("?")
    sent = {("path", name): unquote(text) for name, text in (_variables(template, bare) or {}).items()}
    sent |= {
        ("query", name): text for name, text in parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
    }
    for position, parameter in enumerate(parameters):
        key = parameter["in"], parameter["name"]
        assert key in sent or not parameter["required"], f"{template} asks for {key}"
        if key in sent:
            text = sent.pop(key)
            value = int(text) if parameter["schema"]["type"] == "integer" else text
            _validate(f"paths/{_escape(template)}/{method}/parameters/{position}/schema", value)
    assert not sent, f"{template} has no {sorted(sent)}"


def _variables(template: str, path: str) -> dict[str, str] | None:
    """The variables of a template as they stand in a path, or None when the path is not of it."""
    pattern = re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(template))
    found = re.fullmatch(pattern, path)
    return found.groupdict() if found else None


def check_answer(method: str, path: str, status: int, body: object) -> None:
    """Raises when Axle would not give this answer (`body` None: empty).

    401 and 413 are right everywhere: the document leaves them to its security section and to proxies. An error
    that the document describes by its status alone must carry `{"detail": "a sentence"}`.
    """
    template, found = operation(method, path)
    responses = found["responses"]
    assert str(status) in responses or status in {401, 413}, f"{method} {template} never gives {status}"
    content = responses.get(str(status), {}).get("content")
    if content is not None:
        where = f"paths/{_escape(template)}/{method.lower()}/responses/{status}"
        _validate(f"{where}/content/{_escape('application/json')}/schema", body)
    elif status == 204:
        assert body is None, "204 carries no body"
    elif status == 422 and isinstance(body, dict) and isinstance(body.get("detail"), list):
        _validate("components/schemas/HTTPValidationError", body)
    else:
        assert isinstance(body, dict), f"{status} of {template} is no JSON object"
        assert body.keys() == {"detail"}, f"{status} of {template} carries {sorted(body)}"
        assert isinstance(body["detail"], str), f"the detail of {status} of {template} is no sentence"


def _is_instant(value: object) -> bool:
    return not isinstance(value, str) or datetime.fromisoformat(value).tzinfo is not None


FORMATS = FormatChecker(("date", "uuid"))
FORMATS.checks("date-time", raises=ValueError)(_is_instant)


def _validate(pointer: str, value: object) -> None:
    _validator(pointer).validate(value)


@cache
def _validator(pointer: str) -> Draft202012Validator:
    registry: Registry[Any] = Registry().with_resource(_ROOT, DRAFT202012.create_resource(_closed(CONTRACT)))
    schema = {"$ref": f"{_ROOT}#/{pointer}"}
    return Draft202012Validator(schema, registry=registry, format_checker=FORMATS)


def _closed(value: Any) -> Any:
    """The same schemas, refusing properties that they do not name."""
    if isinstance(value, list):
        return [_closed(item) for item in value]
    if not isinstance(value, dict):
        return value
    closed = {key: _closed(item) for key, item in value.items()}
    return closed | {"additionalProperties": False} if value.get("type") == "object" else closed


def _escape(key: str) -> str:
    # The pointer stands in a URI fragment, so braces of a template are quoted as well as slashes.
    return key.replace("~", "~0").replace("/", "~1").replace("{", "%7B").replace("}", "%7D")

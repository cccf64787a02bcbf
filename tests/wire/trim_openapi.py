"""Cuts Axle's OpenAPI document down to the operations that the processor and the simulator share.

Here lives the one transformation from the full document to `axle_contract.json`; nothing here validates a
message (that is `axle_contract.py`). The idea: keep every rule that a machine can check and every example that it
can try, drop every word that only a person reads, so that the tests carry the interface without the publisher's prose.

    python tests/wire/trim_openapi.py OPENAPI.json           writes axle_contract.json
    python tests/wire/trim_openapi.py OPENAPI.json --check   exit 1 when the file on disk says otherwise
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

CONTRACT = Path(__file__).with_name("axle_contract.json")
OPERATIONS = (
    ("post", "/auth/token-form"),
    ("get", "/entities/asset"),
    ("post", "/entities/asset"),
    ("get", "/entities/asset/external-id/{external_id}"),
    ("delete", "/entities/asset/{asset_id}"),
    ("post", "/entities/asset/{asset_id}/event/plug-in-schedule"),
    ("get", "/entities/site"),
    ("post", "/entities/site/onboard"),
    ("post", "/entities/site/onboard-site-and-asset"),
    ("get", "/entities/site/{site_id}"),
    ("post", "/entities/site/{site_id}/offboard-site-and-assets"),
    ("post", "/entities/site/{site_id}/unenrol"),
    ("get", "/examples/ocpp-charging-profile"),
    ("get", "/rewards/{site_id}/info"),
)
PROSE = frozenset({"deprecated", "description", "summary", "tags", "title"})
EXAMPLES = frozenset({"example", "examples"})
# Under these keys come names that the publisher chose, so a property called `title` is not prose.
NAME_MAPS = frozenset({"properties", "schemas"})
COMPONENT = "#/components/schemas/"


def without_prose(value: Any) -> Any:
    """The same JSON value with every key that only explains left out, at any depth; examples stay as they are."""
    if isinstance(value, list):
        return [without_prose(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {key: _kept(key, child) for key, child in value.items() if key not in PROSE}


def _kept(key: str, child: Any) -> Any:
    if key in EXAMPLES:
        return child
    if key in NAME_MAPS and isinstance(child, dict):
        return {name: without_prose(item) for name, item in child.items()}
    return without_prose(child)


def references(value: Any) -> set[str]:
    """The names of the component schemas that a JSON value points to, directly."""
    if isinstance(value, list):
        return {name for item in value for name in references(item)}
    if not isinstance(value, dict):
        return set()
    found = {name for item in value.values() for name in references(item)}
    pointer = value.get("$ref")
    return found | {pointer.removeprefix(COMPONENT)} if isinstance(pointer, str) else found


def trim(document: dict[str, Any]) -> dict[str, Any]:
    """The contract: `OPERATIONS` and the schemas they reach. KeyError names what the document lacks."""
    paths: dict[str, dict[str, Any]] = {}
    for method, path in OPERATIONS:
        paths.setdefault(path, {})[method] = without_prose(document["paths"][path][method])
    schemas: dict[str, Any] = {}
    waiting = references(paths)
    while waiting:
        name = waiting.pop()
        schemas[name] = without_prose(document["components"]["schemas"][name])
        waiting |= references(schemas[name]) - schemas.keys()
    return {
        "openapi": document["openapi"],
        "info": {"title": document["info"]["title"], "version": document["info"]["version"]},
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": without_prose(document["components"]["securitySchemes"]),
        },
    }


def render(contract: dict[str, Any]) -> str:
    """The contract as the text that is committed: sorted keys, one space of indent, a final newline."""
    return json.dumps(contract, indent=1, sort_keys=True) + "\n"


def main(arguments: list[str] | None = None) -> int:
    """Writes or compares the contract; returns the exit code."""
    parser = argparse.ArgumentParser(description="Cut Axle's OpenAPI document down to the tests' contract.")
    parser.add_argument("document", type=Path, help="the full OpenAPI document, as JSON")
    parser.add_argument("--output", type=Path, default=CONTRACT, help="the contract to write or compare")
    parser.add_argument("--check", action="store_true", help="compare only, write nothing")
    chosen = parser.parse_args(arguments)
    text = render(trim(json.loads(chosen.document.read_text(encoding="utf-8"))))
    if not chosen.check:
        chosen.output.write_text(text, encoding="utf-8")
        return 0
    if chosen.output.exists() and chosen.output.read_text(encoding="utf-8") == text:
        return 0
    sys.stderr.write(f"{chosen.output.name} is not what this document gives: run again without --check.\n")
    return 1


if __name__ == "__main__":
    raise SystemExit(main())

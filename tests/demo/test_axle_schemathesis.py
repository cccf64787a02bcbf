"""Schemathesis runs Axle's OpenAPI document against the simulator: every operation, good and bad requests, chains.

Here lives the one run, its settings, and what it has to have reached. The idea: a document whose rules are partly in
its prose would call a right refusal wrong, so those few rules are first written into it as schema; no other rule
of the document is touched, and each of its answers is checked as it stands.
"""

import asyncio
import json
import os
import sys
from collections import Counter
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from processor.demo.axle_operations import OPERATIONS
from tests.demo.axle_rig import NIGHT, Rig, question, running
from tests.wire.axle_contract import CONTRACT

pytestmark = pytest.mark.anyio
SECONDS = 240.0
"""Most that a run may take where other work keeps the machine busy; alone it takes a quarter of a minute."""
SEED = 6
EXAMPLES = 10
GUIDE_FORM, NEWER_FORM = "/entities/site/onboard-site-and-asset", "/entities/site/onboard"
SCHEDULE = "/entities/asset/{asset_id}/event/plug-in-schedule"
LINKS: list[tuple[str, str, dict[str, str], object]] = [
    ("get", "/entities/site/{site_id}", {"site_id": "site"}, None),
    ("post", "/entities/site/{site_id}/unenrol", {"site_id": "site"}, None),
    ("post", "/entities/site/{site_id}/offboard-site-and-assets", {"site_id": "site"}, None),
    ("get", "/rewards/{site_id}/info", {"site_id": "site"}, None),
    ("post", "/entities/asset", {}, {"site_id": "site"}),
    ("get", "/entities/asset/external-id/{external_id}", {"external_id": "name"}, None),
    ("delete", "/entities/asset/{asset_id}", {"asset_id": "asset"}, None),
    ("post", SCHEDULE, {"asset_id": "asset"}, question(*NIGHT)),
]
"""What may follow an onboarding: method and path, its variables, its body; the words are keys of `FOUND`."""
FOUND = {
    GUIDE_FORM: {"site": "#/site/id", "asset": "#/asset/id", "name": "#/asset/external_id"},
    NEWER_FORM: {"site": "#/site/site_id", "asset": "#/assets/0/asset_id", "name": "#/assets/0/external_id"},
}
"""Where an onboarding's answer has the ids."""
SETTINGS = f"""
[generation]
database = "none"

[cache]
enabled = false

[phases.stateful]
inference.algorithms = []

# A block has to end after it starts, and who withdrew needs an override: no schema can say so.
[[operations]]
include-path = ["{SCHEDULE}", "{NEWER_FORM}"]
checks.positive_data_acceptance.expected-statuses = ["2xx", 403, 404, 409, 422]
"""


def sharpened() -> dict[str, Any]:
    """The contract, with rules of the document's prose as schema and with links from the two onboardings."""
    document = deepcopy(CONTRACT)
    schemas = document["components"]["schemas"]
    # The prose names a missing meter consent and a bad e-mail address as reasons for 400.
    schemas["SiteRequest"]["required"].append("gave_boundary_meter_consent_at")
    schemas["SiteRequest"]["properties"]["email"]["format"] = "email"
    # It speaks of at least one asset: a home without any has nothing to enrol.
    schemas["OnboardRequest"]["properties"]["assets"]["minItems"] = 1
    for instant in schemas["ChargingScheduleBlock"]["properties"].values():
        instant["format"] = "date-time"
    for path, found in FOUND.items():
        document["paths"][path]["post"]["responses"]["200"]["links"] = _links(document, found)
    return document


def _links(document: dict[str, Any], found: dict[str, str]) -> dict[str, Any]:
    def filled(value: object) -> object:
        if isinstance(value, dict):
            return {key: filled(item) for key, item in value.items()}
        return f"$response.body{found[value]}" if isinstance(value, str) and value in found else value

    links = {}
    for method, path, variables, body in LINKS:
        operation_id = document["paths"][path][method]["operationId"]
        links[operation_id] = {"operationId": operation_id, "parameters": filled(variables)}
        if body is not None:
            links[operation_id]["requestBody"] = filled(body)
    return links


async def schemathesis(rig: Rig, folder: Path) -> tuple[int | None, str]:
    """(exit code, report) of a run against the simulator; it is killed when it takes too long."""
    (folder / "openapi.json").write_text(json.dumps(sharpened()), encoding="utf-8")
    (folder / "schemathesis.toml").write_text(SETTINGS, encoding="utf-8")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "schemathesis.cli", "run", "openapi.json", "--url", rig.sim.url),
        *("--header", f"Authorization: {rig.http.headers['authorization']}", "--seed", str(SEED)),
        *("--max-examples", str(EXAMPLES), "--continue-on-failure", "--no-shrink"),
        cwd=folder,
        env=os.environ | {"NO_PROXY": "*", "NO_COLOR": "1", "PYTHONUTF8": "1"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        report, _ = await asyncio.wait_for(process.communicate(), SECONDS)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode, report.decode(errors="replace")


@pytest.mark.timeout(SECONDS + 60)
async def test_schemathesis_finds_no_violation(tmp_path: Path) -> None:
    """The document, run against the simulator for each of its operations, is never violated, also not in chains."""
    async with running(seed=SEED, pause_share=1.0) as rig:
        code, report = await schemathesis(rig, tmp_path)
        assert code == 0, report
        answered = Counter((call["endpoint"], call["method"], call["status"]) for call in rig.sim.calls)
    succeeded = {(endpoint, method) for endpoint, method, status in answered if status in {200, 204}}
    assert succeeded == {(operation.endpoint, operation.method) for operation in OPERATIONS}
    assert {status for _, _, status in answered} >= {400, 401, 404, 405, 409, 422}


def test_the_simulator_has_the_operations_of_the_contract() -> None:
    """What is run are all operations that the simulator has, no more and no fewer."""
    contract = {(method.upper(), path) for path, methods in CONTRACT["paths"].items() for method in methods}
    assert contract == {(operation.method, operation.path) for operation in OPERATIONS}

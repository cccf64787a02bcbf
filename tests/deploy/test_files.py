"""deploy/ agrees with the program: versions, ports, variables, pins, limits and files. No tool is needed."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from packaging.requirements import Requirement

from processor import __version__
from processor.cli.run import LEAVE_SECONDS
from processor.settings import Settings, variables
from processor.shell.topics import TopicNames
from tests.deploy.parts import (
    CHART,
    DEPLOY,
    PREFIX,
    ROOT,
    VALUE_SETS,
    documents,
    merged,
    named_variables,
    program,
    written,
)

PORT = Settings().http.port
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()
COMPOSE: dict[str, Any] = documents(DEPLOY / "compose.yaml")[0]
VALUES: dict[str, Any] = documents(CHART / "values.yaml")[0]
SCHEMA = json.loads((CHART / "values.schema.json").read_text())


def test_every_yaml_file_can_be_read() -> None:
    """Each YAML file parses and says something; the chart's templates become YAML only in helm's hands."""
    files = [path for path in written() if path.suffix in {".yaml", ".yml"} and path.parent.name != "templates"]

    assert [path for path in files if not any(documents(path))] == []
    assert len(files) >= 10


def test_versions_agree() -> None:
    """The chart and the image are of the version that the program says."""
    chart = documents(CHART / "Chart.yaml")[0]

    assert (chart["version"], chart["appVersion"]) == (__version__, __version__)
    assert f"ARG VERSION={__version__}\n" in DOCKERFILE


def test_every_variable_that_is_named_exists() -> None:
    """A variable that the program does not know would end it at its start, so none is named in deploy/."""
    known = {name for name, _, _ in variables()}
    unknown = {
        f"{path.relative_to(ROOT)}: {name}" for path in written() for name in named_variables(path.read_text()) - known
    }

    assert unknown == set()


def test_ports_agree() -> None:
    """The page's port is the program's default wherever it is named."""
    (published,) = COMPOSE["services"]["axle"]["ports"]

    assert VALUES["service"]["port"] == PORT
    assert f"EXPOSE {PORT}\n" in DOCKERFILE
    assert f"or {PORT})" in DOCKERFILE
    assert published == f"127.0.0.1:{PORT}:{PORT}"
    assert f"processor:{PORT}" in (DEPLOY / "compose" / "prometheus.yaml").read_text()


def test_an_orderly_end_has_time_enough() -> None:
    """Whoever stops the processor waits longer than it takes to leave."""
    assert VALUES["terminationGracePeriodSeconds"] > LEAVE_SECONDS + 10
    assert float(COMPOSE["services"]["processor"]["stop_grace_period"].removesuffix("s")) > LEAVE_SECONDS + 10


@pytest.mark.parametrize("name", ["defaults", *VALUE_SETS])
def test_the_schema_takes_the_values(name: str) -> None:
    """The chart's own values, and each set that lies beside it, pass the schema."""
    above = {} if name == "defaults" else documents(CHART / "ci" / f"{name}-values.yaml")[0]

    jsonschema.validate(merged(VALUES, above), SCHEMA)


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        ({"config": {"KAFKA__BOOTSTRAP_SERVER": "kafka:9092"}}, "KAFKA__BOOTSTRAP_SERVER"),
        ({"config": {"KAFKA__PROTOCOL": "classical"}}, "classical"),
        ({"config": {"AXLE__CALLS_MAX": 0}}, "minimum"),
        ({"config": {"AXLE__PASSWORD": "in the open"}}, "AXLE__PASSWORD"),
        ({"config": {"PRIVACY__KEY": "in the open"}}, "PRIVACY__KEY"),
        ({"config": {"KAFKA__INSTANCE_ID": "one for all"}}, "KAFKA__INSTANCE_ID"),
        ({"replicas": 3}, "replicas"),
        ({"terminationGracePeriodSeconds": 10}, "minimum"),
        ({"existingSecret": ""}, "existingSecret"),
    ],
)
def test_the_schema_refuses(wrong: dict[str, Any], word: str) -> None:
    """A typo, a value out of bounds, a secret in the open, and what the chart sets itself are refused."""
    with pytest.raises(jsonschema.ValidationError) as refused:
        jsonschema.validate(merged(VALUES, wrong), SCHEMA)

    assert word in str(refused.value)


def test_what_follows_from_the_code_is_up_to_date() -> None:
    """Topics, rights, the chart's schema and the alerts as a resource are what `python deploy/generate.py` writes."""
    old = [path.name for path, text in program("generate").files().items() if path.read_text() != text]

    assert old == [], "python deploy/generate.py"


def test_the_rendered_manifests_are_of_this_chart() -> None:
    """The file for those without helm begins with the fingerprint of the chart as it is now."""
    rendered = (DEPLOY / "kubernetes" / "axle-processor.yaml").read_text()

    assert rendered.startswith(program("render").head()), "make manifests"


def test_the_chart_scales_by_the_inputs() -> None:
    """The topics that KEDA looks at by default are the program's inputs."""
    helpers = (CHART / "templates" / "_helpers.tpl").read_text()
    told = dict(re.findall(r'"([A-Z_]+)" "(ev\.[a-z0-9.-]+)"', helpers))
    names = TopicNames()

    assert told == {
        "PLUG_IN": names.plug_in,
        "USER_BOOST": names.user_boost,
        "CONSENT_WITHDRAWN": names.consent_withdrawn,
    }


def test_kubernetes_adds_no_variables() -> None:
    """Pods get no variables named after services, for those would begin with our prefix and be refused."""
    assert "enableServiceLinks: false" in (CHART / "templates" / "statefulset.yaml").read_text()


def _pins(path: Path) -> dict[str, frozenset[str]]:
    """Each pinned line of a lock file with its hashes, without extras and markers."""
    blocks = re.split(r"\n(?=[a-z0-9])", path.read_text())
    return {
        re.sub(r"\[[a-z,]+\]", "", block.split(maxsplit=1)[0]): frozenset(re.findall(r"sha256:[0-9a-f]{64}", block))
        for block in blocks
    }


def test_the_image_has_what_was_tested() -> None:
    """Each package of the image, and of its build, is pinned to the version and hashes of requirements.lock."""
    tested = _pins(ROOT / "requirements.lock")
    # The project's own lock needs no build tool but hatchling, whose parts it pins too.
    for name in ("requirements.lock", "build.lock"):
        pins = _pins(DEPLOY / name)
        assert {pin for pin, hashes in pins.items() if tested.get(pin) != hashes} == set(), name


def test_the_image_lacks_nothing() -> None:
    """What pyproject.toml asks for is in the image, with the extras that matter in production."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = (project["optional-dependencies"][name] for name in ("fast", "otel", "registry"))
    asked = {Requirement(line).name for line in [*project["dependencies"], *(line for each in extras for line in each)]}

    assert asked <= {pin.partition("==")[0] for pin in _pins(DEPLOY / "requirements.lock")}


def test_the_parts_list_is_of_what_is_installed() -> None:
    """The image's parts list names the product, and every package beside it with its version."""
    told = program("sbom").sbom()
    parts = {part["purl"] for part in told["components"]}
    pins = {pin.partition("==") for pin in _pins(DEPLOY / "requirements.lock")}
    here = {f"pkg:pypi/{name}@{version}" for name, _, version in pins if name in {"httpx", "confluent-kafka", "orjson"}}

    assert told["metadata"]["component"]["purl"] == f"pkg:pypi/axle-processor@{__version__}"
    assert len(here) == 3
    assert here <= parts


def test_the_compose_file_holds_together() -> None:
    """Its files exist, its ports are on loopback, its images have tags, and nobody waits for who is not there."""
    services = COMPOSE["services"]
    mounted = [volume.split(":")[0] for one in services.values() for volume in one.get("volumes", ())]
    ports = [port for one in services.values() for port in one.get("ports", ())]
    images = [one["image"] for one in services.values()]
    awaited = {name for one in services.values() for name in one.get("depends_on", ())}

    assert [path for path in mounted if not (DEPLOY / path).exists()] == []
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []
    assert [image for image in images if not re.search(r":[\w.-]+\}?$", image) or "latest" in image] == []
    assert awaited <= set(services)


def test_the_compose_file_asks_no_real_axle() -> None:
    """Every container of ours is told an Axle on loopback, where the simulator is."""
    for name, one in COMPOSE["services"].items():
        settings = one.get("environment", {})
        if one["image"].startswith("axle-processor"):
            assert settings[f"{PREFIX}AXLE__BASE_URL"] == "http://127.0.0.1:8090", name


def test_the_base_is_the_same_everywhere() -> None:
    """The compose file builds on the base that the Dockerfile names."""
    (base,) = re.findall(r"ARG PYTHON_IMAGE=(\S+)", DOCKERFILE)

    assert COMPOSE["services"]["topics"]["build"]["args"]["PYTHON_IMAGE"] == f"${{PYTHON_IMAGE:-{base}}}"

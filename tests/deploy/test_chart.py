"""The chart in helm's own hands: it lints, renders, and what it renders is what Kubernetes takes. Needs helm.

Where `kubernetes-validate` is installed too, each document is held against Kubernetes' own schemas. What is of an
operator (KEDA, Prometheus) is held against `crds.json`, which knows just the fields that we use.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from processor.settings import Settings, load
from processor.shell.topics import TopicNames
from tests.deploy.parts import CHART, PREFIX, ROOT, VALUE_SETS, documents

HELM, VALIDATE = shutil.which("helm"), shutil.which("kubernetes-validate")
CRDS: dict[str, Any] = json.loads((Path(__file__).parent / "crds.json").read_text())
pytestmark = pytest.mark.skipif(HELM is None, reason="helm is not installed; deploy/README.md says how to get it")


def _helm(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["helm", *words], capture_output=True, text=True, check=False, timeout=60)


def _values(name: str) -> str:
    return str(CHART / "ci" / f"{name}-values.yaml")


def _rendered(name: str) -> list[dict[str, Any]]:
    told = _helm("template", "axle-processor", str(CHART), "--namespace", "energy", "--values", _values(name))
    assert told.returncode == 0, told.stderr
    return [document for document in yaml.safe_load_all(told.stdout) if document]


def _only(name: str, kind: str) -> dict[str, Any]:
    """The one of that kind that has the installation's own name."""
    named = [document for document in _rendered(name) if document["metadata"]["name"] == "axle-processor"]
    (found,) = [document for document in named if document["kind"] == kind]
    return found


def _container(name: str) -> dict[str, Any]:
    (container,) = _only(name, "StatefulSet")["spec"]["template"]["spec"]["containers"]
    assert isinstance(container, dict)
    return container


def _environ(name: str) -> dict[str, str]:
    """What a container's own variables are, but for the secrets."""
    fixed = {each["name"]: each.get("value", "a-pod-0") for each in _container(name)["env"]}
    return {**_only(name, "ConfigMap")["data"], **fixed}


@pytest.mark.parametrize("name", VALUE_SETS)
def test_helm_finds_no_fault(name: str) -> None:
    """`helm lint --strict` is content with each set of values."""
    linted = _helm("lint", "--strict", str(CHART), "--values", _values(name))

    assert linted.returncode == 0, linted.stdout + linted.stderr


@pytest.mark.parametrize("name", VALUE_SETS)
@pytest.mark.skipif(VALIDATE is None, reason="kubernetes-validate is not installed: pip install kubernetes-validate")
def test_kubernetes_would_take_it(tmp_path: Path, name: str) -> None:
    """Each rendered document is valid by Kubernetes' own schemas, strictly: no field that it does not know."""
    file = tmp_path / "rendered.yaml"
    file.write_text(yaml.safe_dump_all(document for document in _rendered(name) if document["kind"] not in CRDS))
    checked = subprocess.run(
        [str(VALIDATE), "--strict", "-k", "1.33", str(file)], capture_output=True, text=True, check=False
    )

    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("name", VALUE_SETS)
def test_operators_would_take_it(name: str) -> None:
    """Each document of an operator's kind has the fields that it must have, and no other."""
    for document in _rendered(name):
        if document["kind"] in CRDS:
            jsonschema.validate(document["spec"], CRDS[document["kind"]])


@pytest.mark.parametrize("name", VALUE_SETS)
def test_the_processor_takes_its_variables(name: str) -> None:
    """The program itself reads the variables that the chart sets, and none of them is lost on the way."""
    settings = load(_environ(name))
    told = documents(CHART / "ci" / f"{name}-values.yaml")[0]["config"]

    assert settings.http.host == "0.0.0.0"  # noqa: S104 - a container's page is for its pod's network
    assert settings.kafka.bootstrap_servers == told["KAFKA__BOOTSTRAP_SERVERS"]
    assert settings.http.port == _container(name)["ports"][0]["containerPort"]
    assert settings.inputs.schedule_blocks_max == told.get("INPUTS__SCHEDULE_BLOCKS_MAX", 300)
    assert settings.onboarding.elsewhere is told.get("ONBOARDING__ELSEWHERE", False)


@pytest.mark.parametrize("name", VALUE_SETS)
def test_pods_are_locked_down(name: str) -> None:
    """No root, no writable root, no privileges, no token, no variables of other services; secrets by name alone."""
    pod = _only(name, "StatefulSet")["spec"]["template"]["spec"]
    container = _container(name)

    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["enableServiceLinks"] is pod["automountServiceAccountToken"] is False
    assert container["securityContext"] == {
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["envFrom"][1]["prefix"] == PREFIX
    assert [document["kind"] for document in _rendered(name) if document["kind"] == "Secret"] == []
    probes = [container[f"{probe}Probe"]["httpGet"]["path"] for probe in ("startup", "liveness", "readiness")]
    assert probes == ["/startupz", "/livez", "/readyz"]


def test_each_pod_has_its_own_instance_id() -> None:
    """An instance id is the pod's name, and there is none where the values want none."""
    ids = [{each["name"]: each for each in _container(name)["env"]} for name in ("minimal", "workers")]
    variable = f"{PREFIX}KAFKA__INSTANCE_ID"

    assert ids[0][variable]["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.name"
    assert variable not in ids[1]
    assert _container("workers")["args"] == ["run", "--workers", "4"]


def test_keda_looks_at_every_input() -> None:
    """One trigger for each input topic, by the name that the values give it, in the program's own group."""
    spec = _only("production", "ScaledObject")["spec"]
    names = TopicNames(plug_in="platform.plug-in.v1")

    assert [trigger["metadata"]["topic"] for trigger in spec["triggers"]] == [
        names.plug_in,
        names.user_boost,
        names.consent_withdrawn,
    ]
    assert {trigger["metadata"]["consumerGroup"] for trigger in spec["triggers"]} == {Settings().kafka.group_id}
    assert spec["scaleTargetRef"] == {"kind": "StatefulSet", "name": "axle-processor"}
    assert spec["minReplicaCount"] >= 1
    assert "replicas" not in _only("production", "StatefulSet")["spec"]


def test_the_alerts_are_those_of_the_repository() -> None:
    """The PrometheusRule is deploy/prometheus/alerts.yaml as it is, templates of Prometheus included."""
    (alerts,) = documents(ROOT / "deploy" / "prometheus" / "alerts.yaml")

    assert _only("production", "PrometheusRule")["spec"] == alerts


@pytest.mark.parametrize(
    "wrong", ["config.KAFKA__BOOTSTRAP=kafka:9092", "replicas=3", "config.AXLE__PASSWORD=x", "image.digest=latest"]
)
def test_helm_refuses_what_is_wrong(wrong: str) -> None:
    """A typo, or a secret in the open, ends helm before anything is installed."""
    told = _helm("template", "axle-processor", str(CHART), "--set-string", wrong)

    assert told.returncode != 0
    assert "values don't meet the specifications of the schema" in told.stderr


def test_the_notes_name_the_next_three_commands(tmp_path: Path) -> None:
    """After an installation one is told three commands, each of which names what was installed."""
    copied = tmp_path / "axle-processor"
    shutil.copytree(CHART, copied)
    # Helm tells notes only to who has a cluster, but it renders anything that is no note.
    notes = (copied / "templates" / "NOTES.txt").read_text()
    (copied / "templates" / "told.yaml").write_text("told: |\n" + "".join(f"  {line}\n" for line in notes.splitlines()))
    rendered = _helm("template", "ours", str(copied), "--namespace", "energy", "--show-only", "templates/told.yaml")
    told = yaml.safe_load(rendered.stdout)["told"]
    commands = [line.strip() for line in told.splitlines() if line.strip().startswith("kubectl")]

    assert len(commands) == 3
    assert all("-n energy" in command and "ours-axle-processor" in command for command in commands)


def test_the_manifests_are_up_to_date() -> None:
    """deploy/kubernetes is what the chart renders."""
    checked = subprocess.run(
        [sys.executable, "deploy/render.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert (checked.returncode, checked.stderr) == (0, "")

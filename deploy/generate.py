"""Writes what of deploy/ follows from elsewhere: topics, rights, the chart's schema, the alerts as a resource.

`--check` fails on drift. Run it after changing a setting, a topic, a right or an alert: `python deploy/generate.py`.
The idea: nobody types a topic, a right or a variable a second time, so none can be wrong in a second place.
"""

import json
import sys
import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from processor.settings import Settings
from processor.shell.contract import Right, needed_rights
from processor.shell.topics import TopicNames, wanted_topics

HERE = Path(__file__).resolve().parent
TOPICS, ACLS = HERE / "topics.yaml", HERE / "acls.yaml"
VALUES_SCHEMA = HERE / "helm" / "axle-processor" / "values.schema.json"
ALERTS, MONITORING = HERE / "prometheus" / "alerts.yaml", HERE / "kubernetes" / "monitoring.yaml"
REPLICAS = 3
NAMES = TopicNames()
GROUP = Settings().kafka.group_id
BY_THE_CHART = {"KAFKA__INSTANCE_ID", "HTTP__HOST", "HTTP__PORT", "INPUTS__BREADCRUMB_FILE"}
"""Variables that the chart sets itself."""
SECRET = {"KAFKA__EXTRA"}
"""Variables that may hold a secret though they are no SecretStr; they belong into the existing Secret."""

TOPICS_HEAD = """\
# Written by deploy/generate.py: the topics as `axle-processor topics apply` makes them on three brokers or more, as
# Strimzi's KafkaTopic resources. Without Strimzi read it as a list. Put your cluster's name into the label.
# State and reroute must have the same number of partitions; it is the number of tasks, and cannot be changed later.
"""
ACLS_HEAD = """\
# Written by deploy/generate.py: who needs which right, as Strimzi's KafkaUser resources; without Strimzi read it as a
# list. The first is what a processor asks for at its start, no more and no less. Read brings Describe along, Write too.
# Give nobody else Write on the state and reroute topics, or on transactional ids that begin with the group's name.
# How users prove who they are (spec.authentication) and your cluster's name are yours to add.
"""
MONITORING_HEAD = """\
# Written by deploy/generate.py: what the Prometheus operator needs to watch deploy/kubernetes/axle-processor.yaml.
---
apiVersion: monitoring.coreos.com/v1
kind: ServiceMonitor
metadata:
  name: axle-processor
  labels:
    app.kubernetes.io/name: axle-processor
spec:
  jobLabel: app.kubernetes.io/name
  selector:
    matchLabels:
      app.kubernetes.io/name: axle-processor
  endpoints:
    - port: http
      path: /metrics
      interval: 15s
---
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: axle-processor
  labels:
    app.kubernetes.io/name: axle-processor
spec:
"""
_LABEL = {"strimzi.io/cluster": "kafka"}


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody who needs rights, and what for."""

    name: str
    why: str
    rights: tuple[Right, ...]


def principals() -> tuple[Principal, ...]:
    """Everybody. The rights of the tools are those that docs/reference.md names."""
    inputs = (NAMES.plug_in, NAMES.user_boost, NAMES.consent_withdrawn)
    outputs = (NAMES.modified_schedule, NAMES.enrolment_status, NAMES.outcomes)
    replay = Right("transactional id", f"{GROUP}.dlt-replay", "WRITE")
    return (
        Principal("axle-processor", "The processor itself.", needed_rights(NAMES, GROUP)),
        Principal("ev-platform", "Services that say who plugs in, boosts or withdraws.", _all("WRITE", inputs)),
        Principal(
            "charger-control",
            "Services that tell chargers what to do.",
            (*_all("READ", [NAMES.modified_schedule]), Right("group", "charger-control", "READ")),
        ),
        Principal(
            "rewards",
            "Whoever pays rewards, or proves an offboarding.",
            (*_all("READ", [NAMES.enrolment_status]), Right("group", "rewards", "READ")),
        ),
        Principal(
            "axle-support",
            "People with `tail` and `explain`; without dead letters `explain` works too.",
            _all("READ", [*outputs, NAMES.state, NAMES.dead_letter]),
        ),
        Principal(
            "axle-operator",
            "People with `dlt`, `erase` and `reconcile` besides: who may write to reroute may have anybody forgotten.",
            (
                *_all("READ", [*outputs, NAMES.state, NAMES.reroute, NAMES.dead_letter]),
                *_all("WRITE", [NAMES.reroute, NAMES.dead_letter]),
                replay,
            ),
        ),
    )


def topics_yaml() -> str:
    """The topics, as a file."""
    return TOPICS_HEAD + _documents(
        {
            "apiVersion": "kafka.strimzi.io/v1beta2",
            "kind": "KafkaTopic",
            "metadata": {"name": spec.name, "labels": _LABEL},
            "spec": {"partitions": spec.partitions, "replicas": REPLICAS, "config": dict(sorted(spec.config.items()))},
        }
        for spec in wanted_topics(NAMES)
    )


def acls_yaml() -> str:
    """The rights, as a file."""
    return ACLS_HEAD + _documents(
        {
            "apiVersion": "kafka.strimzi.io/v1beta2",
            "kind": "KafkaUser",
            "metadata": {"name": each.name, "labels": _LABEL, "annotations": {"description": each.why}},
            "spec": {"authorization": {"type": "simple", "acls": [_acl(right) for right in each.rights]}},
        }
        for each in principals()
    )


def monitoring_yaml() -> str:
    """Scraping and alerts, as a file."""
    return MONITORING_HEAD + textwrap.indent(ALERTS.read_text(), "  ")


def values_schema() -> str:
    """The chart's schema as it is, with every variable that may stand under `config`, its type and its bounds."""
    schema = json.loads(VALUES_SCHEMA.read_text())
    schema["properties"]["config"]["properties"] = dict(sorted(_variables()))
    return json.dumps(schema, indent=2) + "\n"


def secrets() -> set[str]:
    """Variables, without the prefix, that belong into a Secret."""
    return SECRET | {name for name, told in _told() if told.get("format") == "password"}


def _variables() -> Iterable[tuple[str, dict[str, Any]]]:
    hidden = secrets() | BY_THE_CHART
    for name, told in _told():
        if name not in hidden:
            kept = {word: told[word] for word in ("enum", "minimum", "maximum", "exclusiveMinimum") if word in told}
            # A list is written as text with commas between, and a path is text.
            kind = {"array": "string"}.get(told["type"], told["type"])
            yield name, {"type": kind, "description": told["description"], **kept}


def _told() -> Iterable[tuple[str, dict[str, Any]]]:
    """What the settings say of each variable, without the prefix, as JSON Schema."""
    whole = Settings.model_json_schema()
    for group, told in whole["properties"].items():
        if "$ref" not in told:
            yield group.upper(), told
            continue
        for inner, its in whole["$defs"][told["$ref"].rpartition("/")[2]]["properties"].items():
            chosen = next((each for each in its.get("anyOf", ()) if each["type"] != "null"), {})
            yield f"{group}__{inner}".upper(), {"description": "", "type": "string", **its, **chosen}


def _all(operation: Any, topics: Iterable[str]) -> tuple[Right, ...]:
    return tuple(Right("topic", name, operation) for name in topics)


def _acl(right: Right) -> dict[str, Any]:
    kinds = {"topic": "topic", "group": "group", "transactional id": "transactionalId"}
    pattern = "prefix" if right.is_prefix else "literal"
    return {
        "resource": {"type": kinds[right.kind], "name": right.name, "patternType": pattern},
        "operations": [right.operation.capitalize()],
    }


def _documents(documents: Iterable[Mapping[str, Any]]) -> str:
    return "".join("---\n" + yaml.safe_dump(dict(each), sort_keys=False, width=110) for each in documents)


def files() -> dict[Path, str]:
    """What each file says when it is up to date."""
    return {
        TOPICS: topics_yaml(),
        ACLS: acls_yaml(),
        VALUES_SCHEMA: values_schema(),
        MONITORING: monitoring_yaml(),
    }


def main() -> int:
    """Write the files, or with `--check` say which are out of date."""
    wanted = files()
    if "--check" not in sys.argv:
        for path, text in wanted.items():
            path.write_text(text)
        return 0
    old = [path.name for path, text in wanted.items() if not path.exists() or path.read_text() != text]
    if old:
        sys.stderr.write(f"out of date: {', '.join(old)}: python deploy/generate.py\n")
    return 1 if old else 0


if __name__ == "__main__":
    sys.exit(main())

"""Metrics, alerts, dashboards and runbooks name each other rightly; `promtool` finds nothing wrong with them."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from processor.settings import variables
from processor.shell.metrics import PREFIX as METRICS_PREFIX
from processor.shell.metrics import Metrics
from processor.shell.summed import SUPERVISOR_METRICS
from tests.deploy.parts import DEPLOY, PREFIX, ROOT, documents

PROMETHEUS, RUNBOOKS = DEPLOY / "prometheus", ROOT / "docs" / "runbooks"
(RULES,) = documents(PROMETHEUS / "alerts.yaml")
ALERTS: list[dict[str, Any]] = [rule for group in RULES["groups"] for rule in group["rules"] if "alert" in rule]
TESTS: list[dict[str, Any]] = [
    test for path in sorted(PROMETHEUS.glob("alerts*_test.yaml")) for test in documents(path)[0]["tests"]
]
PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="promtool (Debian package prometheus) is not installed")
TEXTS = [*(DEPLOY / "grafana" / "dashboards").glob("*.json"), *PROMETHEUS.glob("*.yaml"), *RUNBOOKS.glob("*.md")]
DOCUMENTS = [ROOT / "README.md", ROOT / "ARCHITECTURE.md", ROOT / "docs" / "reference.md", DEPLOY / "README.md"]


def exposed() -> set[str]:
    """The names of all metrics, and of the series of histograms."""
    names = {name for name, _, _ in SUPERVISOR_METRICS}
    for line in Metrics().exposition().decode().splitlines():
        if line.startswith("# TYPE"):
            _, _, name, kind = line.split()
            names |= {name, *((f"{name}_{part}" for part in ("bucket", "sum", "count")) if kind == "histogram" else ())}
    return names


@pytest.mark.parametrize("path", [*TEXTS, *DOCUMENTS], ids=lambda path: path.name)
def test_every_metric_that_is_named_exists(path: Path) -> None:
    """No panel, rule, runbook or document asks for a metric that the code does not have."""
    named = set(re.findall(rf"(?<![:\w-]){METRICS_PREFIX}_[a-z_]+[a-z](?![:\w])", path.read_text()))
    assert named <= exposed(), named - exposed()


def test_every_metric_is_looked_at_somewhere() -> None:
    """Each metric is in a panel or a rule, but for those that say what stands beside them."""
    text = "".join(path.read_text() for path in TEXTS if path.suffix != ".md")
    names = {name for name in exposed() if not name.endswith(("_bucket", "_sum", "_count"))}
    unread = {name.removeprefix(f"{METRICS_PREFIX}_") for name in names if name not in text}
    assert unread == {"reconciled_timestamp_seconds", "schema_registry_questions_total"}


def test_every_alert_has_what_a_person_needs() -> None:
    """A name with our prefix, a severity, a full sentence, and a runbook that is there; no runbook is left over."""
    for alert in ALERTS:
        assert re.fullmatch("AxleProcessor([A-Z][a-z]+)+", alert["alert"])
        assert alert["labels"]["severity"] in {"critical", "warning", "info"}
        assert re.fullmatch(r"[A-Z].*\.", alert["annotations"]["summary"])
        assert (ROOT / alert["annotations"]["runbook_url"]).is_file()
        assert alert["annotations"]["runbook_url"] == f"docs/runbooks/{alert['alert']}.md"
    assert {path.stem for path in RUNBOOKS.glob("*.md")} == {"README", *(alert["alert"] for alert in ALERTS)}


def test_every_runbook_is_in_the_same_shape() -> None:
    """What it means, what drivers notice, where to look, what to do, when it is over; and a line in the list."""
    listed = (RUNBOOKS / "README.md").read_text()
    for alert in ALERTS:
        text = (RUNBOOKS / f"{alert['alert']}.md").read_text()
        heads = re.findall(r"^(?:#+ (.+)|\*\*(.+?)\*\*)", text, re.MULTILINE)
        assert ["".join(head) for head in heads] == [
            alert["alert"],
            "What it means.",
            "What drivers notice.",
            "Look here",
            "Do this",
            "It is over when",
        ]
        assert f"]({alert['alert']}.md)" in listed


def test_every_setting_in_a_runbook_exists() -> None:
    """A person at 3 in the morning is not sent after a variable that nobody reads."""
    known = {name.removeprefix(PREFIX) for name, _, _ in variables()}
    text = "".join(path.read_text() for path in RUNBOOKS.glob("*.md"))
    for name in re.findall(r"`([A-Z]+__[A-Z_*]+)`", text):
        assert any(variable == name or variable.startswith(name.rstrip("*")) for variable in known), name


def test_every_alert_fires_in_a_test_and_is_quiet_in_one() -> None:
    """Each alert, at each of its severities, has a test of both."""
    fires = {
        (test["alertname"], expected["exp_labels"]["severity"])
        for group in TESTS
        for test in group["alert_rule_test"]
        for expected in test["exp_alerts"]
    }
    quiet = {test["alertname"] for group in TESTS for test in group["alert_rule_test"] if not test["exp_alerts"]}
    assert fires == {(alert["alert"], alert["labels"]["severity"]) for alert in ALERTS}
    assert quiet == {alert["alert"] for alert in ALERTS}


def test_the_dashboards_are_up_to_date() -> None:
    """The committed JSON is what deploy/grafana/build.py writes."""
    checked = subprocess.run(
        [sys.executable, "deploy/grafana/build.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stderr) == (0, "")


@needs_promtool
@pytest.mark.parametrize(
    "words", [("check", "rules", "alerts.yaml"), ("test", "rules", "alerts_test.yaml", "alerts_week_test.yaml")]
)
def test_promtool_is_content_with_the_rules(words: tuple[str, ...]) -> None:
    """The rules parse, and their unit tests pass."""
    said = subprocess.run([PROMTOOL or "", *words], cwd=PROMETHEUS, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stdout + said.stderr


@needs_promtool
def test_promtool_is_content_with_the_metrics() -> None:
    """Names, types, units and help texts keep Prometheus' conventions."""
    said = subprocess.run(
        [PROMTOOL or "", "check", "metrics"], input=Metrics().exposition(), capture_output=True, check=False
    )
    assert (said.returncode, said.stdout + said.stderr) == (0, b"")

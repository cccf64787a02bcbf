"""A real Prometheus scrapes a demo run, and every query of every dashboard has an answer."""

import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path

import httpx
import pytest

from processor.demo.kafka import Broker

ROOT = Path(__file__).resolve().parents[2]
PROMETHEUS = shutil.which("prometheus")
DEADLINE_SECONDS = 90.0
pytestmark = pytest.mark.skipif(PROMETHEUS is None, reason="prometheus (Debian's package) is not installed")


def free_port() -> int:
    """A port of loopback that nobody has just now."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@contextmanager
def running(*words: str) -> Iterator[None]:
    """A program, ended at the end; what it says goes with it."""
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


def queries() -> dict[str, str]:
    """Each query of the dashboards by its panel, for the demo's job, with rates over some seconds."""
    found = {}
    for path in sorted((ROOT / "deploy" / "grafana" / "dashboards").glob("*.json")):
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel["targets"]:
                expr = target["expr"].replace("$__rate_interval", "15s").replace("$job", "demo")
                found[f"{path.stem}: {panel['title']} {target['refId']}"] = expr
    return found


def answered(url: str, expr: str) -> bool:
    """Whether Prometheus has at least one line for it. An error in the query fails the test."""
    try:
        answer = httpx.get(f"{url}/api/v1/query", params={"query": expr}, timeout=10)
    except httpx.TransportError:
        return False
    if answer.status_code == HTTPStatus.SERVICE_UNAVAILABLE:
        return False
    told = answer.raise_for_status().json()
    return bool(told["data"]["result"])


def test_every_dashboard_query_has_data_in_a_demo_run(broker: Broker, tmp_path: Path) -> None:
    """Nothing on the three dashboards stays empty once there is traffic."""
    page, port = free_port(), free_port()
    config = tmp_path / "prometheus.yaml"
    config.write_text(
        json.dumps(
            {
                "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
                "rule_files": [str(ROOT / "deploy" / "prometheus" / "alerts.yaml")],
                "scrape_configs": [{"job_name": "demo", "static_configs": [{"targets": [f"127.0.0.1:{page}"]}]}],
            }
        )
    )
    url = f"http://127.0.0.1:{port}"
    demo = (sys.executable, "-m", "processor", "demo", "--headless", "--chargers", "20", "--port", str(page))
    prometheus = (
        PROMETHEUS or "",
        f"--config.file={config}",
        f"--storage.tsdb.path={tmp_path / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    )
    waiting = queries()
    assert len(waiting) > 40
    with running(*demo, "--broker", broker.bootstrap_servers), running(*prometheus):
        deadline = time.monotonic() + DEADLINE_SECONDS
        while waiting and time.monotonic() < deadline:
            waiting = {panel: expr for panel, expr in waiting.items() if not answered(url, expr)}
            time.sleep(0.5)
    assert waiting == {}

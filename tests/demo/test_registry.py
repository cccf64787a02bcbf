"""The registry of the tests: a real one, that forgets nothing when it is killed and leaves nothing behind."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from processor.demo.registry import EmbeddedRegistry, RegistryFailed

SCHEMA = json.dumps({"type": "record", "name": "Said", "fields": [{"name": "word", "type": "string"}]})
CALLER = """
import time
from processor.demo.registry import EmbeddedRegistry
registry = EmbeddedRegistry()
registry.start()
print(registry.pid, flush=True)
time.sleep(60)
"""


def asked(url: str, body: object = None) -> object:
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/vnd.schemaregistry.v1+json"}
    with urlopen(Request(url, data, headers), timeout=10) as answer:  # noqa: S310 - its address is ours
        return json.load(answer)


def is_running(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


def test_what_was_registered_outlives_a_kill(registry: EmbeddedRegistry) -> None:
    """A registry that is killed comes back at its address with the schemas it said yes to."""
    url, pid = registry.url, registry.pid
    told = asked(f"{url}/subjects/said-value/versions", {"schema": SCHEMA})
    registry.kill()
    with pytest.raises(OSError, match="refused"):
        asked(f"{url}/subjects")
    registry.restart()
    assert registry.url == url
    assert registry.pid != pid
    assert asked(f"{url}/subjects/said-value/versions") == [1]
    kept = asked(f"{url}/subjects/said-value/versions/1")
    assert isinstance(kept, dict)
    assert isinstance(told, dict)
    assert (kept["schema"], kept["id"]) == (SCHEMA, told["id"])


def test_a_registry_that_never_started_has_no_address() -> None:
    """Whoever asks for the address too early is told to start it, and to stop it does no harm."""
    registry = EmbeddedRegistry()
    with pytest.raises(RegistryFailed, match="start it first"):
        _ = registry.url
    registry.stop()
    assert registry.pid is None


def test_it_does_not_outlive_its_caller() -> None:
    """When the process that started it is killed, the registry ends with it."""
    with subprocess.Popen([sys.executable, "-c", CALLER], stdout=subprocess.PIPE, text=True) as caller:
        assert caller.stdout is not None
        pid = int(caller.stdout.readline())
        assert is_running(pid)
        os.kill(caller.pid, 9)
        deadline = time.monotonic() + 10
        while is_running(pid):
            assert time.monotonic() < deadline, "it is still there"
            time.sleep(0.02)

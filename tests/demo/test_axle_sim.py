"""The command `axle-sim` as a process: what it prints, how it stops, and how it refuses to start."""

import json
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

import pytest
from typer.testing import CliRunner

from processor.cli.axle_sim import app

COMMAND = [sys.executable, "-m", "processor.cli.axle_sim"]
SECONDS = 20.0


@contextmanager
def started(*arguments: str) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """(process, URL) of a running `axle-sim`, ended with the block."""
    with subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


def answered(url: str, body: object = None, method: str = "GET") -> object:
    """The JSON that a call to the control routes answers."""
    raw = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, raw, method=method)  # noqa: S310  loopback
    with urllib.request.urlopen(request, timeout=SECONDS) as answer:  # noqa: S310  loopback
        return json.loads(answer.read())


def test_the_command_serves_and_stops_on_a_signal(tmp_path: Path) -> None:
    """It prints its URL, takes faults and calls files, and ends on SIGTERM though a call hangs."""
    faults, calls = tmp_path / "faults.json", tmp_path / "calls.jsonl"
    faults.write_text('[{"endpoint": "token", "fault": "hang"}]')
    with started("--faults", str(faults), "--calls", str(calls)) as (process, url):
        assert answered(f"{url}/_sim/faults") == [{"endpoint": "token", "fault": "hang"}]
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=SECONDS) as client:
            client.sendall(b"POST /auth/token-form HTTP/1.1\r\nhost: sim\r\ncontent-length: 0\r\n\r\n")
            deadline = monotonic() + SECONDS
            while not calls.read_bytes():
                assert monotonic() < deadline, "the call never came to hang"
            process.send_signal(signal.SIGTERM)
            assert process.wait(SECONDS) == 0
            assert client.recv(100) == b""
        assert json.loads(calls.read_bytes())["fault"] == "hang"
        assert process.stdout is not None
        assert process.stdout.read() == ""


def refusal(*arguments: str) -> tuple[int, str, str]:
    """(exit code, stdout, stderr) of a start that fails, without a process of its own."""
    done = CliRunner().invoke(app, arguments)
    return done.exit_code, done.stdout, done.stderr


@pytest.mark.parametrize("text", ["[{", '[{"fault": "explode"}]'])
def test_a_bad_faults_file_is_one_sentence(tmp_path: Path, text: str) -> None:
    """A faults file that cannot be read ends the command with exit code 3 and one line that names it."""
    faults = tmp_path / "faults.json"
    faults.write_text(text)
    code, out, err = refusal("--faults", str(faults))
    assert (code, out, err.count("\n")) == (3, "", 1)
    assert str(faults) in err


def test_a_busy_port_is_one_sentence() -> None:
    """A port in use ends the command with exit code 4 and one line that names it."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        code, out, err = refusal("--port", str(port))
    assert (code, out, err.count("\n")) == (4, "", 1)
    assert str(port) in err

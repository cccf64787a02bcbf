"""The compose file in the hands of Docker's own compose, which knows what is allowed in it."""

import shutil
import subprocess

import pytest

from tests.deploy.parts import DEPLOY


def _compose() -> list[str] | None:
    """The command that runs compose here, if any does."""
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]):
            told = subprocess.run([*command, "version", "--short"], capture_output=True, text=True, check=False)
            if told.returncode == 0 and not told.stdout.startswith("1."):
                return command
    return None


COMPOSE = _compose()


@pytest.mark.skipif(COMPOSE is None, reason="Docker's compose (version 2 or newer) is not installed")
def test_compose_takes_the_file() -> None:
    """`docker compose config` reads it without an error and without a warning."""
    assert COMPOSE is not None
    told = subprocess.run(
        [*COMPOSE, "-f", str(DEPLOY / "compose.yaml"), "config", "--quiet"], capture_output=True, text=True, check=False
    )

    assert (told.returncode, told.stderr) == (0, "")

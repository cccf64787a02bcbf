"""The processor as a child process of the demo: started early, told its settings once the broker is up.

Here lives nothing of what it does: it is `axle-processor run`, with settings in its environment. The idea: Python
needs as long for its imports as a broker for its start, so the child imports first and then waits for a file with its
settings. Its log goes to a file, and when it dies, the last lines of it are what a person gets to see.
"""

import http.client
import json
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from processor.demo.guarded import GuardedProcess

LAST_LINES = 15
_PREFIX = "AXLE_PROCESSOR_"
_HTTP_SECONDS = 2.0
_STOP_SECONDS = 15.0
_IMPORT_THEN_RUN = """
import json, os, pathlib, sys, time
from processor.cli.run import run_verb
settings = pathlib.Path(sys.argv[1])
while not settings.exists():
    time.sleep(0.01)
for name in [name for name in os.environ if name.startswith(sys.argv[2])]:
    del os.environ[name]
os.environ.update(json.loads(settings.read_text()))
sys.exit(run_verb())
"""


class ProcessorDied(Exception):
    """The processor ended although nobody asked it to; the message ends with the last lines of its log."""


class ProcessorChild:
    """One processor. It imports at once and works from `begin` on; it cannot outlive the caller, nor the `with` block.

    Raises OSError when it cannot be started.
    """

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="axle-processor-demo-"))
        self._log = self._folder / "processor.log"
        self._settings = self._folder / "settings.json"
        self._page: str | None = None
        command = [sys.executable, "-c", _IMPORT_THEN_RUN, str(self._settings), _PREFIX]
        try:
            self._process = GuardedProcess(command, log=self._log, remove=self._folder)
        except OSError:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop(0.0)
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def pid(self) -> int | None:
        """Its process id while it runs."""
        return self._process.pid if self._process.exit_code is None else None

    def begin(self, settings: Mapping[str, str]) -> None:
        """Tell it its settings, named as in `axle-processor config env` without the prefix; it begins to work."""
        told = self._settings.with_suffix(".new")
        told.write_text(json.dumps({f"{_PREFIX}{name}": value for name, value in settings.items()}))
        told.rename(self._settings)

    def check(self) -> None:
        """Raises ProcessorDied when it has ended."""
        code = self._process.exit_code
        if code is not None:
            raise ProcessorDied(
                f"The processor ended by itself with code {code}. The end of its log:\n{self.last_lines()}"
            )

    @property
    def page(self) -> str | None:
        """Where its status page is, once it has said so."""
        if self._page is None:
            for line in self._log.read_text(errors="replace").splitlines():
                if '"page"' in line:
                    self._page = json.loads(line)["page"]
        return self._page

    def working_tasks(self) -> int:
        """How many tasks it has taken over; 0 while it is not up."""
        page = urlsplit(self.page or "")
        if page.hostname is None:
            return 0
        connection = http.client.HTTPConnection(page.hostname, page.port or 80, timeout=_HTTP_SECONDS)
        try:
            connection.request("GET", "/status.json")
            status: dict[str, Any] = json.loads(connection.getresponse().read())
        except OSError:
            return 0
        finally:
            connection.close()
        return len(status["tasks"]["working"])

    def stop(self, seconds: float = _STOP_SECONDS) -> None:
        """Ask it to drain and end; after `seconds` it is ended. Harmless when it has ended."""
        self._process.terminate(seconds)

    def last_lines(self) -> str:
        """The end of its log."""
        lines = self._log.read_text(errors="replace").splitlines()[-LAST_LINES:]
        return "\n".join(lines) or "(empty)"

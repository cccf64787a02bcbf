"""The benchmarks' stub of Axle, and which core each of those who take part has.

Here lives how `fast_axle.go` is built, started, stopped in its tracks and ended. The idea: what is measured has a core
to itself, and whoever it talks to costs it nothing.
"""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_ANY_WAIT = 5


class CannotRun(Exception):
    """The benchmark lacks something. One sentence."""


@dataclass(frozen=True, slots=True)
class Cores:
    """Which cores the measured process has, and which all others have; empty where the system cannot bind any."""

    ours: frozenset[int]
    others: frozenset[int]

    @classmethod
    def split(cls) -> "Cores":
        """The first core for what is measured. Raises CannotRun on a machine with one core."""
        if not hasattr(os, "sched_getaffinity"):
            return cls(frozenset(), frozenset())
        cores = sorted(os.sched_getaffinity(0))
        if len(cores) < 2:
            raise CannotRun("the benchmark needs two cores, one for what is measured and one for all else")
        return cls(frozenset(cores[:1]), frozenset(cores[1:]))

    def bind_others(self) -> None:
        """This process, and all that it starts from now on, on the other cores."""
        if self.others:
            os.sched_setaffinity(0, self.others)

    def bind_measured(self, pid: int) -> None:
        """A process that was just started, and has no threads yet, on the core of its own."""
        if self.ours:
            os.sched_setaffinity(pid, self.ours)

    def give_back(self) -> None:
        """This process on all cores again."""
        if self.ours:
            os.sched_setaffinity(0, self.ours | self.others)


class FastAxle:
    """A running `fast_axle.go`, which can be stopped in its tracks: connections stay, and no answer comes."""

    def __init__(self, binary: Path, answer: Path) -> None:
        # Its standard input ends when we do, however we end.
        self._process = subprocess.Popen([binary, answer], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()

    def hang(self) -> None:
        """Answer nothing from now on."""
        self._process.send_signal(signal.SIGSTOP)

    def heal(self) -> None:
        """Answer again, also what was asked meanwhile."""
        self._process.send_signal(signal.SIGCONT)

    def end(self) -> None:
        """It is over."""
        self._process.kill()
        self._process.wait(_ANY_WAIT)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                pipe.close()


@contextmanager
def fast_axle(answer: bytes) -> Iterator[FastAxle]:
    """A server that answers so. Raises CannotRun where it cannot be built."""
    go = shutil.which("go")
    if go is None:
        raise CannotRun(
            "the benchmark needs Go (the command `go`) for its stub of Axle: see https://go.dev/doc/install"
        )
    with tempfile.TemporaryDirectory() as folder:
        binary, body = Path(folder, "fast_axle"), Path(folder, "answer.json")
        body.write_bytes(answer)
        source = Path(__file__).with_name("fast_axle.go")
        built = subprocess.run([go, "build", "-o", binary, source], capture_output=True, text=True, check=False)
        if built.returncode:
            raise CannotRun(f"`go build {source.name}` failed: {built.stderr.strip()}")
        server = FastAxle(binary, body)
        try:
            yield server
        finally:
            server.end()

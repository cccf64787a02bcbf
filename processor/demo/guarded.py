"""A child process that cannot outlive its caller.

Here lives the starting and ending of one helper process of the embedded world, such as the broker's JVM. What the
process does, and how one sees that it is ready, must not be here.

The idea: two pipes. The child waits for a word before it becomes the real program, and a guard (a shell of a few
lines) waits for the end of its own pipe. Only the caller holds the other ends, so when the caller is gone, even by
`kill -9`, the kernel closes them and the guard ends the child's whole process group and removes its folder. There is
no moment in between: a caller that dies before the word is given leaves a child that never starts.
"""

import contextlib
import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

_WAIT_THEN_BECOME = 'read -r go && exec "$@" </dev/null'
_GUARD = """
read -r group || exit 0
read -r never
kill -KILL "-$group" 2>/dev/null
[ -z "$1" ] || rm -rf -- "$1"
"""
_REAP_SECONDS = 10.0


class GuardedProcess:
    """Runs `command` at once, its output going to the end of the file `log`.

    `remove` is a folder that the guard deletes when the caller dies; after `kill` or `terminate` it is left to the
    caller. Child and guard are sessions of their own, so that Ctrl-C in a terminal reaches the caller alone.
    Raises OSError when the log cannot be written or no process can be started.
    """

    def __init__(self, command: Sequence[str], *, log: Path, remove: Path | None = None) -> None:
        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", _GUARD, "guard", str(remove or "")],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            with log.open("ab") as out:
                self._child = subprocess.Popen(
                    ["/bin/sh", "-c", _WAIT_THEN_BECOME, "child", *command],
                    stdin=subprocess.PIPE,
                    stdout=out,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
        except OSError:
            self._end_guard()
            raise
        self.pid = self._child.pid
        self._tell(self._guard, f"{self.pid}\n")
        self._tell(self._child, "go\n")
        _close_pipe(self._child)

    @property
    def exit_code(self) -> int | None:
        """None while the process runs; negative when a signal ended it."""
        return self._child.poll()

    def terminate(self, grace_seconds: float) -> bool:
        """Ask it to end, wait up to `grace_seconds`, then `kill` whatever is left; True when it ended in time."""
        self._child.terminate()
        try:
            self._child.wait(grace_seconds)
        except subprocess.TimeoutExpired:
            return False
        finally:
            self.kill()
        return True

    def kill(self) -> None:
        """End the whole process group at once, and the guard. Harmless when they have ended already."""
        # It may have ended by itself; macOS says "not permitted" of a group that only waits to be reaped.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self._child.wait(_REAP_SECONDS)
        self._end_guard()

    def _end_guard(self) -> None:
        self._guard.kill()
        self._guard.wait(_REAP_SECONDS)
        _close_pipe(self._guard)

    @staticmethod
    def _tell(process: subprocess.Popen[bytes], words: str) -> None:
        if process.stdin is not None:
            process.stdin.write(words.encode())
            process.stdin.flush()


def _close_pipe(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        process.stdin.close()

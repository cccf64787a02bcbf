"""Calls into a library that may never come back, although they were told to.

Here lives a thread that can be left behind. What is called, and what it means that it did not end, is the caller's
business. The one idea: a call that blocks in C cannot be ended, so it is waited for no longer, and its thread with it;
should it come back one day, nobody listens. The thread holds up no exit either.
"""

from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from threading import Thread

_Job = tuple["Future[None]", Callable[[], object]]


class Bounded:
    """One thread for one call at a time. `run` and `close` are for one thread too."""

    def __init__(self, name: str) -> None:
        """`name` is its thread's, for those who look at a stack."""
        self._name = name
        self._jobs: SimpleQueue[_Job | None] | None = None

    def run(self, call: Callable[[], object], seconds: float) -> None:
        """Run it and wait so long. Raises what it raised, or TimeoutError when it is left behind."""
        if self._jobs is None:
            self._jobs = SimpleQueue()
            Thread(target=_work, args=(self._jobs,), name=self._name, daemon=True).start()
        future: Future[None] = Future()
        self._jobs.put((future, call))
        try:
            future.result(seconds)
        except TimeoutError:
            self.close()
            raise

    def close(self) -> None:
        """Let the thread end, once it has nothing to do."""
        if self._jobs is not None:
            self._jobs.put(None)
            self._jobs = None


def _work(jobs: "SimpleQueue[_Job | None]") -> None:
    while job := jobs.get():
        future, call = job
        try:
            call()
        except BaseException as error:
            future.set_exception(error)
        else:
            future.set_result(None)

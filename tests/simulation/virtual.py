"""Virtual time: an event loop that never waits, because its clock jumps to whatever comes next.

Here lives time for simulations, and nothing of the product. The one idea: where a loop would sleep until its next
timer, this one puts its clock there. So hours pass in seconds, in the same order each time, and only computing takes
real time: decisions and commits cost as much virtual time as a simulation says, and no more.
"""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor, Future
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class StoodStill(Exception):
    """Nothing will ever happen any more: somebody waits for what nobody will do."""


class VirtualClock:
    """The clock of a simulation; `processor.shell.clock.Clock` is what it looks like."""

    def __init__(self, began_ms: int) -> None:
        self._began_ms = began_ms
        self.seconds = 0.0
        """Since the beginning."""

    def now_ms(self) -> int:
        """UTC."""
        # Half a microsecond more, or a timer for a whole millisecond could find that it is not there yet.
        return self._began_ms + int(self.seconds * 1000 + 0.0005)

    def monotonic(self) -> float:
        """Seconds since the beginning."""
        return self.seconds


class _Jumping(selectors.SelectSelector):
    """Sleeps by putting the clock forward. Nothing is ever heard from outside: no socket, and no other thread."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise StoodStill("no timer is set and nothing is ready")
        self._clock.seconds += max(timeout, 0.0)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop on virtual time."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__(_Jumping(clock))
        self._virtual = clock

    def time(self) -> float:
        return self._virtual.seconds

    def _write_to_self(self) -> None:
        """Nobody has to be woken: this loop never sleeps."""


class VirtualThread(Executor):
    """Stands where a thread of the product stands: each call is made after `seconds`, in the order that they came."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def submit(self, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> "Future[T]":
        future: Future[T] = Future()

        def run() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(call(*args, **kwargs))
            except Exception as error:
                future.set_exception(error)

        asyncio.get_running_loop().call_later(self._seconds, run)
        return future


def simulate(clock: VirtualClock, story: Coroutine[Any, Any, T]) -> T:
    """Run it to its end on virtual time. Raises what it raises, and StoodStill when it would wait for ever."""
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(clock)) as runner:
        return runner.run(story)

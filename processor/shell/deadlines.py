"""The same deadline for many calls, at the cost of a dictionary entry each; `asyncio.timeout` costs a timer each.

What a call does, and what it says when it is late, is the caller's business. The one idea: since all have the same
time, the one that began first is due first, so a single timer looks at the oldest and sleeps until that one is due.
Cancelling and taking a cancellation back follow `asyncio.timeout`: somebody else's cancellation always goes through.
"""

import asyncio
from types import TracebackType


class Deadlines:
    """Ends what takes longer than `seconds`. Use it from one event loop."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._under_way: dict[Deadline, float] = {}
        """When each is due, the oldest first."""
        self._timer: asyncio.TimerHandle | None = None

    def new(self) -> "Deadline":
        """A deadline for one `with` of a coroutine, from then on. Raises TimeoutError there when it has passed."""
        return Deadline(self)

    def begin(self, deadline: "Deadline") -> None:
        """It is under way from now on."""
        due = asyncio.get_running_loop().time() + self.seconds
        self._under_way[deadline] = due
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_at(due, self._look)

    def end(self, deadline: "Deadline") -> None:
        """It is over, in time or not."""
        self._under_way.pop(deadline, None)

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        self._timer = None
        while self._under_way:
            deadline, due = next(iter(self._under_way.items()))
            if due > now:
                self._timer = loop.call_at(due, self._look)
                return
            del self._under_way[deadline]
            deadline.expire()


class Deadline:
    """What stands over one call. Take it from `Deadlines.new`."""

    __slots__ = ("_all", "_cancelling", "_expired", "_task")

    def __init__(self, deadlines: Deadlines) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a deadline stands over a task; there is none here")
        self._all = deadlines
        self._task = task
        self._cancelling = task.cancelling()
        self._expired = False

    def __enter__(self) -> None:
        self._all.begin(self)

    def __exit__(self, kind: type[BaseException] | None, _: object, __: TracebackType | None) -> None:
        self._all.end(self)
        ours = self._expired and self._task.uncancel() <= self._cancelling
        if ours and kind is asyncio.CancelledError:
            raise TimeoutError

    def expire(self) -> None:
        """The time is over."""
        self._expired = True
        self._task.cancel()

"""Deadlines: what is late ends in time, and nothing else does."""

import asyncio

import pytest

from processor.shell.deadlines import Deadline, Deadlines

pytestmark = pytest.mark.anyio


async def test_each_of_many_has_its_own_time() -> None:
    """Calls that begin one after the other end one after the other, each when its own time is over."""
    deadlines = Deadlines(0.1)
    loop = asyncio.get_running_loop()

    async def late() -> float:
        began = loop.time()
        with pytest.raises(TimeoutError), deadlines.new():
            await asyncio.Event().wait()
        return loop.time() - began

    calls = []
    for _ in range(5):
        calls.append(asyncio.create_task(late()))
        await asyncio.sleep(0.03)
    took = await asyncio.gather(*calls)
    assert all(0.099 <= seconds < 2 for seconds in took), took


async def test_what_is_in_time_is_left_alone() -> None:
    """A call that ends in time says what it has to say, also when an older one is late."""
    deadlines = Deadlines(0.05)

    async def call(seconds: float) -> str:
        try:
            with deadlines.new():
                await asyncio.sleep(seconds)
        except TimeoutError:
            return "late"
        return "in time"

    ends = await asyncio.gather(*(call(seconds) for seconds in (30, 0, 0.001, 30)))
    assert ends == ["late", "in time", "in time", "late"]
    assert await call(0) == "in time"


async def test_a_failure_goes_through() -> None:
    """Whatever is raised in time is what is raised."""
    with pytest.raises(KeyError), Deadlines(5).new():
        raise KeyError("its own")


@pytest.mark.parametrize("is_late_too", [False, True])
async def test_somebody_elses_cancellation_goes_through(is_late_too: bool) -> None:  # noqa: FBT001 - a test's case
    """A task that is cancelled stays cancelled, also when its time is over in the same moment."""
    under_way: asyncio.Queue[Deadline] = asyncio.Queue()

    async def call() -> None:
        with (deadline := Deadlines(5).new()):
            under_way.put_nowait(deadline)
            await asyncio.Event().wait()

    task = asyncio.create_task(call())
    deadline = await under_way.get()
    if is_late_too:
        deadline.expire()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_after_a_deadline_the_task_goes_on() -> None:
    """The cancellation that ended a late call is taken back: what comes after it is not cancelled."""
    deadlines = Deadlines(0.01)
    for _ in range(3):
        with pytest.raises(TimeoutError), deadlines.new():
            await asyncio.Event().wait()
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        await asyncio.sleep(0)


def test_a_deadline_stands_over_a_task() -> None:
    """Outside of a task there is nothing to end."""
    with pytest.raises(RuntimeError):
        Deadlines(1).new()

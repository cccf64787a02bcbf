"""Virtual time: it passes at once, in order, and never without a reason."""

import asyncio
import time

import pytest

from tests.simulation.virtual import StoodStill, VirtualClock, VirtualThread, simulate


def test_hours_pass_at_once_and_in_order() -> None:
    """Timers end in the order of their times, the clock is where they are, and next to no real time passes."""
    clock = VirtualClock(1_000)
    seen: list[tuple[float, int]] = []

    async def wait(seconds: float) -> None:
        await asyncio.sleep(seconds)
        seen.append((clock.monotonic(), clock.now_ms()))

    async def story() -> None:
        await asyncio.gather(wait(7200), wait(0.001), wait(3600))

    began = time.monotonic()
    simulate(clock, story())
    assert seen == [(0.001, 1_001), (3600, 3_601_000), (7200, 7_201_000)]
    assert time.monotonic() - began < 30


def test_a_deadline_ends_what_never_would() -> None:
    """A call that hangs is cancelled when its virtual time is up."""
    clock = VirtualClock(0)

    async def story() -> None:
        async with asyncio.timeout(10):
            await asyncio.get_running_loop().create_future()

    with pytest.raises(TimeoutError):
        simulate(clock, story())
    assert clock.seconds == pytest.approx(10)


def test_a_thread_takes_its_time_and_hands_over_what_became_of_the_call() -> None:
    """Calls are made one after the other, each after so long; a result comes back, and so does an exception."""
    clock = VirtualClock(0)

    async def story() -> tuple[int, float]:
        thread, loop = VirtualThread(2.0), asyncio.get_running_loop()
        assert await loop.run_in_executor(thread, int, "7") == 7
        with pytest.raises(ValueError, match="invalid literal"):
            await loop.run_in_executor(thread, int, "seven")
        return await loop.run_in_executor(thread, int, "8"), clock.seconds

    assert simulate(clock, story()) == (8, 6.0)


def test_who_waits_for_nothing_is_told_so() -> None:
    """A wait that nobody will ever end is an error, not a run that never comes back."""

    async def story() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(StoodStill):
        simulate(VirtualClock(0), story())

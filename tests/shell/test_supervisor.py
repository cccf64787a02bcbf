"""What the end of a worker means, told by small programs that end as workers do."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from processor.shell.clock import SystemClock
from processor.shell.supervisor import Supervisor, rest_seconds
from processor.shell.worker import Worker

pytestmark = pytest.mark.anyio
NOTE = "import os, sys, time; open(os.environ['NOTES'], 'a').write(f'{os.environ[\"NAME\"]} {os.getpid()}\\n'); "
TELL = "print('http://127.0.0.1:1', flush=True); "
STAY = "sys.stdin.read()"
TWICE = "len([n for n in open(os.environ['NOTES']) if n.split()[0] == os.environ['NAME']]) < 3"


def supervisor(notes: Path, *programs: str) -> Supervisor:
    """One worker for each program; each start is a line in `notes`."""
    clock = SystemClock()
    workers = [
        Worker(
            str(number),
            [sys.executable, "-S", "-c", NOTE + program],
            {**os.environ, "NOTES": str(notes), "NAME": str(number)},
            None,
            clock,
        )
        for number, program in enumerate(programs)
    ]
    return Supervisor(workers, clock, "g", "127.0.0.1", 0, 3.0)


def started(notes: Path) -> list[tuple[str, int]]:
    """Who was started, and its process."""
    lines = notes.read_text().splitlines() if notes.exists() else []
    return [(line.split()[0], int(line.split()[1])) for line in lines]


async def wait_until(holds: Callable[[], bool], what: str) -> None:
    """Return as soon as `holds`; fail with `what` after 20 s."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + 20
    while not holds():
        assert loop.time() < deadline, what
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("code", [2, 3, 4])
async def test_a_refusal_of_the_first_worker_is_that_of_all(tmp_path: Path, code: int) -> None:
    """When the first worker is refused at its start nobody else is started, and its exit code is the supervisor's."""
    kept = supervisor(tmp_path / "notes", f"sys.exit({code})", TELL + STAY)
    assert await asyncio.wait_for(kept.run(), 20) == code
    assert [name for name, _ in started(tmp_path / "notes")] == ["0"]


async def test_a_refusal_later_ends_all_workers(tmp_path: Path) -> None:
    """A worker that is refused while others work ends them too, with its exit code."""
    kept = supervisor(tmp_path / "notes", TELL + STAY, TELL + "sys.exit(3)")
    assert await asyncio.wait_for(kept.run(), 20) == 3
    for _, pid in started(tmp_path / "notes"):
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


@pytest.mark.parametrize("ending", ["sys.exit(1)", "sys.exit(4)", "sys.exit(0)", "os.kill(os.getpid(), 9)"])
async def test_any_other_end_is_followed_by_a_start(tmp_path: Path, ending: str) -> None:
    """A worker that ended by itself, crashed, or lost Kafka after it was let in is started again and again."""
    notes = tmp_path / "notes"
    kept = supervisor(notes, f"{TELL}\nif {TWICE}: {ending}\n{STAY}", TELL + STAY)
    running = asyncio.create_task(kept.run())
    await wait_until(lambda: [name for name, _ in started(notes)].count("0") == 3, "three starts")
    kept.stop()
    assert await asyncio.wait_for(running, 20) == 0
    assert [name for name, _ in started(notes)].count("1") == 1
    shown = kept.exposition().decode()
    assert 'axle_processor_worker_restarts_total{worker="0"} 2.0' in shown
    assert 'axle_processor_worker_restarts_total{worker="1"} 0.0' in shown


@pytest.mark.parametrize(("heeds", "freeze"), [("signal.SIG_IGN", False), ("lambda *_: sys.exit(0)", True)])
async def test_who_does_not_end_in_time_is_killed(tmp_path: Path, heeds: str, freeze: bool) -> None:  # noqa: FBT001 - as above
    """A worker that takes no notice of SIGTERM, or is frozen, is killed in the end, and the exit code is not 0."""
    notes = tmp_path / "notes"
    kept = supervisor(notes, f"import signal; signal.signal(15, {heeds}); {TELL} time.sleep(60)")
    running = asyncio.create_task(kept.run())
    await wait_until(lambda: kept.status()["workers"][0]["page"] is not None, "its page")  # type: ignore[index]
    if freeze:
        os.kill(started(notes)[0][1], signal.SIGSTOP)
    kept.stop()
    assert await asyncio.wait_for(running, 20) == 1


def test_the_rest_before_a_start_is_bounded() -> None:
    """The first start is at once; after quick ends the rest doubles from half a second to ten."""
    assert [rest_seconds(n) for n in (0, 1, 2, 3, 4, 5, 6, 7, 10_000)] == [0, 0, 0.5, 1, 2, 4, 8, 10, 10]

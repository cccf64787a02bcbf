"""T6: every five seconds a member joins or leaves, while events flow. Nobody falls, nothing is done by two.

Here lives who comes and goes. The idea: whether a task was worked on by two at once is read from the broker's own log:
the producers of a task's changelog must not have taken turns more often than the task was taken over.
"""

import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from tests.chaos.arena import Arena, Load, stage
from tests.chaos.crew import Worker
from tests.chaos.kills import TASKS
from tests.chaos.segments import changelog, owners
from tests.chaos.verdict import differences, is_clean, judge, keep

CREW_MIN, CREW_MAX = 2, 4
EVERY_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Plan:
    """How long somebody joins or leaves every five seconds."""

    seconds: float
    load: Load
    seed: int = 11


LONG = Plan(300, Load(chargers=1000, rate=150, open_max=2000))
SHORT = Plan(25, Load(chargers=300, rate=150, open_max=1000))


def run(short: bool, say: Callable[[str], None]) -> dict[str, object]:  # noqa: FBT001 - all parts are called so
    """The whole part, on a broker of its own; its figures."""
    plan = SHORT if short else LONG
    with stage(TASKS, plan.load, say) as arena:
        return Storm(arena, plan, say).fight()


class Storm:
    """One run. `fight` once."""

    def __init__(self, arena: Arena, plan: Plan, say: Callable[[str], None]) -> None:
        self._arena = arena
        self._plan = plan
        self._say = say
        self._random = random.Random(plan.seed)
        self._crew: list[Worker] = []
        self._changes: Counter[str] = Counter()
        self._bad_exits: list[str] = []
        self._began = time.monotonic()

    def fight(self) -> dict[str, object]:
        """Come and go as planned, come to rest, and judge."""
        arena = self._arena
        self._crew = arena.muster([None] * CREW_MIN)
        began = time.monotonic()
        while time.monotonic() - began < self._plan.seconds:
            turn = time.monotonic()
            self._change()
            passed = time.monotonic() - began
            self._say(
                f"storm: {self._changes.total()} changes, {len(self._crew)} members, {arena.told} events, "
                f"about {max(self._plan.seconds - passed, 0):.0f} s left"
            )
            arena.check()
            time.sleep(max(turn + EVERY_SECONDS - time.monotonic(), 0))
        drained = arena.drain(lambda: differences(arena))
        for worker in list(self._crew):
            self._let_go(worker)
        by_two = None if arena.broker_folder is None else worked_on_by_two(arena)
        figures = judge(arena)
        if not (is_clean(figures) and drained and not self._bad_exits and not by_two):
            keep(arena)
        return {
            "rebalances": self._changes.total(),
            "joined": self._changes["joined"],
            "left": self._changes["left"],
            "drained": drained,
            "unasked_exits": len(self._bad_exits),
            "exits": self._bad_exits,
            "worked_on_by_two": by_two,
            "seconds": round(time.monotonic() - self._began, 1),
            **figures,
        }

    def _change(self) -> None:
        """One comes or one goes. The one that goes is asked to, and its exit code must say that all went well."""
        for worker in [worker for worker in self._crew if worker.exit_code is not None]:
            self._note(worker)
            self._crew.remove(worker)
        settled = [worker for worker in self._crew if worker.tasks()]
        joins = len(self._crew) <= CREW_MIN or (len(self._crew) < CREW_MAX and self._random.random() < 0.5)
        if joins or not settled:
            self._crew.append(self._arena.start())
            self._changes["joined"] += 1
        else:
            # One that is still importing Python's modules has no ear for signals yet, and would fall.
            self._let_go(self._random.choice(settled))
            self._changes["left"] += 1

    def _let_go(self, worker: Worker) -> None:
        self._crew.remove(worker)
        if worker.leave() != 0:
            self._note(worker)

    def _note(self, worker: Worker) -> None:
        self._bad_exits.append(f"{worker.name} ended with code {worker.exit_code}: {worker.last_lines()[-500:]}")


def worked_on_by_two(arena: Arena) -> list[str]:
    """Tasks whose changelog changed hands more often than somebody took the task over; sentences."""
    if arena.broker_folder is None:
        return []
    taken = Counter(task for worker in arena.workers for _, task in worker.take_overs())
    found = []
    for task in range(arena.tasks):
        turns = len(owners(changelog(arena.broker_folder, arena.names.state, task)))
        if turns > taken[task]:
            found.append(
                f"task {task} was taken over {taken[task]} times, and its changelog changed hands {turns} times"
            )
    return found

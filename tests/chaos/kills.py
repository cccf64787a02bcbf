"""T3: SIGKILL at eight steps, again and again, while three processes work on twelve tasks. Nothing may be lost.

Here lives who is killed when and where. The idea: a victim kills itself at the step that it was told, so the kill hits
that step and no other; one of the three has a fixed instance id, the others are new members each time; and not every
kill waits until the one before has healed.
"""

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from signal import SIGKILL

from tests.chaos.arena import HEAL_SECONDS, Arena, Load, stage
from tests.chaos.crew import Order, Worker, WorkerFailed, wait_for_end
from tests.chaos.failpoints import AT_START, Step
from tests.chaos.verdict import differences, is_clean, judge, keep

TASKS = 12
CREW = 3
INSTANCES = (None, None, "steady")
HIT_SECONDS = 60.0
HASTE = 0.5
"""The share of kills that does not wait for the one before to heal."""
_SAY_SECONDS = 10.0
PASSES_MAX = {
    Step.PRODUCE: 60,
    Step.FLUSH: 15,
    Step.OFFSETS: 15,
    Step.END: 15,
    Step.CALL: 30,
    Step.REPLY: 30,
    Step.INIT: 1,
    Step.RESTORE: TASKS // CREW - 1,
}
"""A victim goes at the first to the how-manieth time that it passes the step."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Which steps, how often each is in the list; how many events at the least; and the load."""

    steps: tuple[Step, ...]
    events: int
    load: Load
    seed: int = 3


LONG = Plan(tuple(Step) * 13, 200_000, Load(chargers=3000, rate=400, open_max=2000, plenty=200_000))
SHORT = Plan(tuple(Step), 4_000, Load(chargers=300, rate=300, open_max=2000))


def run(short: bool, say: Callable[[str], None]) -> dict[str, object]:  # noqa: FBT001 - all parts are called so
    """The whole part, on a broker of its own; its figures."""
    plan = SHORT if short else LONG
    with stage(TASKS, plan.load, say) as arena:
        return Kills(arena, plan, say).fight()


class Kills:
    """One run. `fight` once."""

    def __init__(self, arena: Arena, plan: Plan, say: Callable[[str], None]) -> None:
        self._arena = arena
        self._plan = plan
        self._say = say
        self._random = random.Random(plan.seed)
        self._crew: list[Worker] = []
        self._starts_max = max(arena.tasks // CREW - 1, 1)
        """So often is a place surely passed by one that starts: once for each task that it restores, but for one."""
        self._by_step: Counter[Step] = Counter()
        self._exits: list[str] = []
        self._began = time.monotonic()
        self._next_say = self._began + _SAY_SECONDS

    def fight(self) -> dict[str, object]:
        """Kill as planned, let it come to rest, and judge."""
        arena = self._arena
        self._crew = arena.muster(INSTANCES)
        for steps in rounds(self._plan.steps, self._random):
            self._kill(steps)
            self._tell()
        while arena.told < self._plan.events:
            arena.check()
            time.sleep(0.5)
            self._tell()
        self._say(f"kills: all {self._by_step.total()} done; {arena.told} events come to rest")
        drained = arena.drain(lambda: differences(arena))
        codes = [worker.leave() for worker in self._crew]
        figures = judge(arena)
        if not (is_clean(figures) and drained and not self._exits and codes == [0] * CREW):
            keep(arena)
        return {
            "kills": self._by_step.total(),
            "kills_by_step": {step.value: self._by_step[step] for step in Step},
            "drained": drained,
            "unasked_exits": len(self._exits),
            "exits": self._exits,
            "exit_codes_at_the_end": codes,
            "seconds": round(time.monotonic() - self._began, 1),
            **figures,
        }

    def _kill(self, steps: tuple[Step, ...]) -> None:
        """Kill one at work; where more steps follow, its successors are killed while they start."""
        slot = self._pick()
        first, *following = steps
        self._crew[slot].order(Order(first, self._random.randint(1, PASSES_MAX[first])))
        self._bury(slot, first)
        for step in following:
            passes = self._random.randint(1, min(PASSES_MAX[step], self._starts_max))
            self._crew[slot] = self._arena.start(Order(step, passes), INSTANCES[slot])
            self._bury(slot, step)
        self._crew[slot] = self._arena.start(instance=INSTANCES[slot])
        if self._random.random() >= HASTE:
            self._arena.wait(self._arena.is_whole, HEAL_SECONDS, "all tasks at work again")
            time.sleep(self._random.uniform(0.2, 1.5))

    def _pick(self) -> int:
        """A worker that has work to do; waits until there is one."""
        chosen: list[int] = []

        def somebody_works() -> bool:
            chosen[:] = [slot for slot, worker in enumerate(self._crew) if self._lives(slot) and worker.tasks()]
            return bool(chosen)

        self._arena.wait(somebody_works, HEAL_SECONDS, "somebody at work")
        return self._random.choice(chosen)

    def _lives(self, slot: int) -> bool:
        """Whether the worker runs; one that ended by itself is written down and replaced."""
        worker = self._crew[slot]
        if worker.exit_code is None:
            return True
        self._note_exit(worker)
        self._crew[slot] = self._arena.start(instance=INSTANCES[slot])
        return False

    def _bury(self, slot: int, step: Step) -> None:
        worker = self._crew[slot]
        if not wait_for_end(worker, HIT_SECONDS):
            raise WorkerFailed(f"{worker.name} never came by {step}:\n{worker.last_lines()}")
        if worker.exit_code == -SIGKILL and worker.reached == 1:
            self._by_step[step] += 1
        else:
            self._note_exit(worker)

    def _note_exit(self, worker: Worker) -> None:
        self._exits.append(f"{worker.name} ended with code {worker.exit_code}: {worker.last_lines()[-500:]}")
        self._say(f"kills: {self._exits[-1]}")

    def _tell(self) -> None:
        now = time.monotonic()
        if now < self._next_say:
            return
        self._next_say = now + _SAY_SECONDS
        done, told, passed = self._by_step.total(), self._arena.told, now - self._began
        share = min(done / len(self._plan.steps), told / self._plan.events if self._plan.events else 1.0)
        left = passed / share - passed if share else 0.0
        self._say(
            f"kills: {done} of {len(self._plan.steps)}, {told} events of {self._plan.events}, "
            f"about {left / 60:.0f} min left"
        )


def rounds(steps: tuple[Step, ...], chance: random.Random) -> Iterator[tuple[Step, ...]]:
    """The steps in rounds: one at work, and behind some of them steps that a process passes as it starts."""
    at_work = [step for step in steps if step not in AT_START]
    at_start = [step for step in steps if step in AT_START]
    chance.shuffle(at_work)
    chance.shuffle(at_start)
    dealt = 0
    for number, step in enumerate(at_work, 1):
        upto = number * len(at_start) // len(at_work)
        yield (step, *at_start[dealt:upto])
        dealt = upto

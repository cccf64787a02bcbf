"""T5: processes that freeze at a step, longer than their session lasts, and wake when others have their work.

Here lives who is frozen, when it wakes, and how soon it is back. The idea: a zombie believes that nothing has happened
and goes on where it was, so each is frozen with something in hand: a transaction, a commit, a call, an answer.
"""

import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from signal import SIGCONT

from tests.chaos.arena import HEAL_SECONDS, SESSION_SECONDS, Arena, Load, stage
from tests.chaos.crew import Order, Worker, WorkerFailed
from tests.chaos.failpoints import AT_START, Step
from tests.chaos.kills import PASSES_MAX, TASKS
from tests.chaos.verdict import differences, is_clean, judge, keep

CREW = 3
HIT_SECONDS = 60.0
EXPEL_SECONDS = 60.0
REJOIN_SECONDS = 15.0
"""What is promised: so long after it woke it is a member with tasks again."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Who is frozen where: each round freezes as many at once as it names steps."""

    rounds: tuple[tuple[Step, ...], ...]
    load: Load
    seed: int = 5


def _pairs(times: int) -> tuple[tuple[Step, ...], ...]:
    """Single zombies and pairs, so that each step comes `times` times."""
    steps = [step for step in Step if step not in AT_START] * times
    random.Random(7).shuffle(steps)
    pairs = [tuple(steps[at : at + 2]) for at in range(0, len(steps), 2)]
    return (*pairs, *((step,) for step in AT_START for _ in range(times)))


LONG = Plan(_pairs(6), Load(chargers=1000, rate=200, open_max=2000))
SHORT = Plan(((Step.END,), (Step.OFFSETS, Step.REPLY)), Load(chargers=300, rate=200, open_max=1000))


def run(short: bool, say: Callable[[str], None]) -> dict[str, object]:  # noqa: FBT001 - all parts are called so
    """The whole part, on a broker of its own; its figures."""
    plan = SHORT if short else LONG
    with stage(TASKS, plan.load, say) as arena:
        return Zombies(arena, plan, say).fight()


class Zombies:
    """One run. `fight` once."""

    def __init__(self, arena: Arena, plan: Plan, say: Callable[[str], None]) -> None:
        self._arena = arena
        self._plan = plan
        self._say = say
        self._random = random.Random(plan.seed)
        self._crew: list[Worker] = []
        self._by_step: Counter[Step] = Counter()
        self._rejoined: list[float] = []
        self._began = time.monotonic()

    def fight(self) -> dict[str, object]:
        """Freeze and wake as planned, let it come to rest, and judge."""
        arena = self._arena
        self._crew = arena.muster([None] * CREW)
        for number, steps in enumerate(self._plan.rounds, 1):
            self._round(steps)
            passed = time.monotonic() - self._began
            left = passed / number * (len(self._plan.rounds) - number)
            self._say(
                f"zombies: {self._by_step.total()} woke, the slowest was back after {max(self._rejoined):.1f} s, "
                f"{arena.told} events, about {left / 60:.0f} min left"
            )
        drained = arena.drain(lambda: differences(arena))
        codes = [worker.leave() for worker in self._crew]
        figures = judge(arena)
        if not (is_clean(figures) and drained and codes == [0] * CREW):
            keep(arena)
        slowest = sorted(self._rejoined)
        return {
            "zombies": self._by_step.total(),
            "zombies_by_step": {step.value: self._by_step[step] for step in Step},
            "rejoined_in_time": slowest[-1] <= REJOIN_SECONDS,
            "rejoin_s": {"p50": round(slowest[len(slowest) // 2], 1), "max": round(slowest[-1], 1)},
            "drained": drained,
            "exit_codes_at_the_end": codes,
            "seconds": round(time.monotonic() - self._began, 1),
            **figures,
        }

    def _round(self, steps: tuple[Step, ...]) -> None:
        slots = self._random.sample(range(CREW), len(steps))
        before = {slot: self._crew[slot].reached for slot in slots}
        for slot, step in zip(slots, steps, strict=True):
            self._order(slot, Order(step, self._random.randint(1, PASSES_MAX[step]), "SIGSTOP"))
        frozen = [self._crew[slot] for slot in slots]
        for slot, worker in zip(slots, frozen, strict=True):
            reached = before[slot] if worker.reached >= before[slot] else 0
            self._await_frozen(worker, reached)
        time.sleep(SESSION_SECONDS)
        self._arena.wait(lambda: self._expelled(frozen), EXPEL_SECONDS, "others took the tasks over")
        time.sleep(self._random.uniform(0, 2))
        for worker in frozen:
            worker.send(SIGCONT)
        self._await_back(frozen)
        self._by_step.update(steps)
        self._arena.wait(self._arena.is_whole, HEAL_SECONDS, "all tasks at work again", crew=self._crew)

    def _order(self, slot: int, order: Order) -> None:
        """Tell it; a step that is passed at the start needs one that starts."""
        if order.step not in AT_START:
            self._crew[slot].order(order)
            return
        code = self._crew[slot].leave()
        if code != 0:
            raise WorkerFailed(f"{self._crew[slot].name} left with code {code}:\n{self._crew[slot].last_lines()}")
        self._crew[slot] = self._arena.start(order)

    def _await_frozen(self, worker: Worker, reached: int) -> None:
        def is_frozen() -> bool:
            worker.check()
            return worker.reached > reached

        self._arena.wait(is_frozen, HIT_SECONDS, f"{worker.name} at its step")

    def _expelled(self, frozen: list[Worker]) -> bool:
        members = self._arena.members()
        return bool(members) and not any(worker.name in members for worker in frozen)

    def _await_back(self, woken: list[Worker]) -> None:
        """Each is a member with partitions again. Raises WorkerFailed when one ended, or takes much too long."""
        began = time.monotonic()
        missing = {worker.name for worker in woken}

        def are_back() -> bool:
            members = self._arena.members()
            for name in [name for name in missing if members.get(name)]:
                missing.discard(name)
                self._rejoined.append(time.monotonic() - began)
            return not missing

        self._arena.wait(are_back, 4 * REJOIN_SECONDS, "the zombies are back", crew=self._crew)

"""T12: Axle misbehaves in every way there is, one after the other, and drivers do not notice.

Here lives which faults, what is measured while each lasts and after it, and what is allowed. The idea: everything is
held against the healthy minute at the beginning of the same run, because machines differ and ratios do not; and what
Axle was asked is read in the simulator's log, not in what the processor says about itself.
"""

import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from processor.core.events import Input
from processor.demo.history import Facts
from processor.demo.verifier import open_inputs
from processor.shell.governor import RETRIES_PER_SECOND, RETRIES_SAVED_MAX, RETRY_SHARE
from tests.chaos.arena import LATENCY, Arena, Load, stage
from tests.chaos.crew import Worker
from tests.chaos.verdict import differences, is_clean, judge, keep
from tests.kafka.rig import now_ms

TASKS = 6
MIB = 1024 * 1024
FAULTS: Mapping[str, dict[str, object]] = {
    "hang": {"fault": "hang"},
    "latency": {"fault": "slow", "latency_ms": 1_000, "jitter_ms": 4_000},
    "drip": {"fault": "drip", "interval_ms": 500},
    "reset": {"fault": "reset"},
    "429": {"fault": "429", "retry_after_seconds": 2},
    "5xx": {"fault": "503", "share": 0.5},
    "effect-then-timeout": {"fault": "effect-then-timeout", "share": 0.5},
    "broken-json": {"fault": "broken-json"},
    "big-body": {"fault": "big-body", "size_bytes": 32 * MIB},
    "gzip-bomb": {"fault": "gzip-bomb", "size_bytes": 32 * MIB},
}
"""What goes wrong, as a rule of the simulator's; calls have 3 s here, so that a slow one is sometimes too slow."""
SHORT_FAULTS = ("hang", "5xx", "gzip-bomb")
P50_MAX_MS = 50.0
P99_RATIO_MAX = 3.0
LAG_MAX_SECONDS = 1.0
DONE_MAX_SECONDS = 120.0
MEMORY_MAX_MIB = 20.0
COSTLY = ("drip", "big-body", "gzip-bomb")
_SAMPLE_SECONDS = 0.5
_LOOKS = 10
"""So often the memory is looked at in that time."""
_LAST_SAMPLES = 10
_TELLING = frozenset({404, 409})
"""These say by their status alone what has become of a call before, whatever was done to their body."""
_CHANGING = frozenset({"schedule", "onboard", "offboard", "unenrol"})
"""Calls that nobody has to make twice, unless one fails. One that is only slow is not seen to fail in the log."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Which faults, how long each lasts, and the healthy time before the first one."""

    faults: tuple[str, ...]
    fault_seconds: float
    healthy_seconds: float
    load: Load


LONG = Plan(tuple(FAULTS), 60.0, 60.0, Load(chargers=500, rate=50, open_max=100_000))
SHORT = Plan(SHORT_FAULTS, 10.0, 15.0, Load(chargers=100, rate=50, open_max=100_000))


def run(short: bool, say: Callable[[str], None]) -> dict[str, object]:  # noqa: FBT001 - all parts are called so
    """The whole part, on a broker of its own; its figures."""
    plan = SHORT if short else LONG
    with stage(TASKS, plan.load, say) as arena:
        return BadAxle(arena, plan, say).endure()


@dataclass(slots=True)
class Phase:
    """A stretch of time under one fault, or none."""

    began_ms: int
    ended_ms: int
    lag_seconds: float
    """How far the consumption was behind at its end."""
    memory_mib: float
    """How much the process grew in it, at its largest."""
    done_seconds: float = 0.0
    """How long after its end each event of it had its outcome."""


class BadAxle:
    """One run. `endure` once."""

    def __init__(self, arena: Arena, plan: Plan, say: Callable[[str], None]) -> None:
        self._arena = arena
        self._plan = plan
        self._say = say
        self._began = time.monotonic()

    def endure(self) -> dict[str, object]:
        """All faults in turn, and the verdict."""
        arena, plan = self._arena, self._plan
        (worker,) = arena.muster([None])
        # A broker that has just started is slow for a few seconds.
        self._pass(worker, plan.healthy_seconds / 3)
        healthy = self._pass(worker, plan.healthy_seconds)
        phases = {fault: self._suffer(worker, fault) for fault in plan.faults}
        drained = arena.drain(lambda: differences(arena))
        code = worker.leave()
        figures = judge(arena)
        faults, wrong = self._weigh(healthy, phases)
        if wrong or not (is_clean(figures) and drained and code == 0):
            keep(arena)
        return {
            "faults": len(phases),
            "by_fault": faults,
            "shortfalls": wrong,
            "drained": drained,
            "unasked_exits": int(code != 0),
            "seconds": round(time.monotonic() - self._began, 1),
            **figures,
        }

    def _suffer(self, worker: Worker, fault: str) -> Phase:
        self._arena.axle.put_faults([FAULTS[fault]] if fault == "latency" else [*LATENCY, FAULTS[fault]])
        phase = self._pass(worker, self._plan.fault_seconds)
        self._arena.axle.put_faults(LATENCY)
        self._arena.wait(
            lambda: open_inputs(self._arena.history, phase.ended_ms) == 0,
            DONE_MAX_SECONDS,
            f"all done after {fault}",
            crew=[worker],
        )
        phase.done_seconds = (now_ms() - phase.ended_ms) / 1000
        self._say(
            f"bad_axle: {fault} for {self._plan.fault_seconds:g} s: {phase.lag_seconds:.2f} s behind at its end, all "
            f"done {phase.done_seconds:.1f} s after it, {phase.memory_mib:.1f} MiB more"
        )
        return phase

    def _pass(self, worker: Worker, seconds: float) -> Phase:
        """Time passes, and is measured."""
        began_ms, deadline = now_ms(), time.monotonic() + seconds
        memory = Memory(worker.pid)
        lags: list[int] = []
        while time.monotonic() < deadline:
            self._arena.check()
            worker.check()
            for _ in range(_LOOKS):
                time.sleep(_SAMPLE_SECONDS / _LOOKS)
                memory.look()
            told = self._arena.told
            lags.append(max(told - round(worker.metric("axle_processor_events_consumed_total")), 0))
        behind = statistics.median(lags[-_LAST_SAMPLES:]) / self._plan.load.rate
        return Phase(began_ms, now_ms(), behind, memory.grown_mib)

    def _weigh(self, healthy: Phase, phases: Mapping[str, Phase]) -> tuple[dict[str, dict[str, float]], list[str]]:
        """Each fault's figures, and a sentence for each that is not as it must be."""
        facts = Facts(self._arena.history)
        calls = [orjson.loads(line) for line in self._arena.calls.read_bytes().splitlines()]
        p50, p99 = _waits_ms(facts, healthy)
        figures: dict[str, dict[str, float]] = {"healthy": {"p50_ms": p50, "p99_ms": p99}}
        wrong: list[str] = []
        for fault, phase in phases.items():
            one = _figures(facts, phase, calls)
            figures[fault] = one
            bounds = {
                "p50_ms": P50_MAX_MS,
                "p99_ms": P99_RATIO_MAX * p99,
                "lag_s": LAG_MAX_SECONDS,
                "done_s": DONE_MAX_SECONDS,
                "extra_calls": one["extra_calls_max"],
                "memory_mib": MEMORY_MAX_MIB if fault in COSTLY else float("inf"),
            }
            wrong += [
                f"{fault}: {name} is {one[name]:g}, and at most {most:g} is allowed"
                for name, most in bounds.items()
                if one[name] > most
            ]
        return figures, wrong


class Memory:
    """How much a process grows beyond what it is now: memory of its own, not the pages of files, which come and go."""

    def __init__(self, pid: int) -> None:
        self._status = Path(f"/proc/{pid}/status")
        self._before = self._most = self._kib()

    def look(self) -> None:
        """See how large it is just now."""
        self._most = max(self._most, self._kib())

    @property
    def grown_mib(self) -> float:
        """The largest size that was seen, less the first."""
        return (self._most - self._before) / 1024

    def _kib(self) -> int:
        lines = self._status.read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon:"))


def _figures(facts: Facts, phase: Phase, calls: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    p50, p99 = _waits_ms(facts, phase)
    until_ms = phase.ended_ms + round(phase.done_seconds * 1000)
    made, extra = _extra_calls(call for call in calls if phase.began_ms <= call["at_ms"] <= until_ms)
    seconds = (until_ms - phase.began_ms) / 1000
    return {
        "p50_ms": p50,
        "p99_ms": p99,
        "lag_s": round(phase.lag_seconds, 2),
        "done_s": round(phase.done_seconds, 1),
        "memory_mib": round(phase.memory_mib, 1),
        "calls": made,
        "extra_calls": extra,
        "extra_calls_max": round(RETRY_SHARE * made + RETRIES_PER_SECOND * seconds + RETRIES_SAVED_MAX),
    }


def _waits_ms(facts: Facts, phase: Phase) -> tuple[float, float]:
    """From a driver's action to the first word about it, by the broker's clock: p50 and p99."""
    waits = sorted(
        told - put.appended_ms
        for event_id, put in facts.by_id.items()
        if put.planned.kind is not Input.CONSENT_WITHDRAWN
        and phase.began_ms <= put.appended_ms < phase.ended_ms
        and (told := facts.first_word_ms(event_id)) is not None
    )
    return float(waits[len(waits) // 2]), float(waits[len(waits) * 99 // 100])


def _extra_calls(calls: Iterable[Mapping[str, Any]]) -> tuple[int, int]:
    """Calls that change something, and how many of them repeated one that is the same and failed again."""
    seen: Counter[bytes] = Counter()
    extra = 0
    for call in calls:
        if call["endpoint"] not in _CHANGING:
            continue
        same = orjson.dumps([call["method"], call["path"], call["body"]])
        failed = call["status"] not in _TELLING and (call["status"] is None or call["fault"] not in {None, "slow"})
        extra += failed and seen[same] > 0
        seen[same] += 1
    return seen.total(), extra

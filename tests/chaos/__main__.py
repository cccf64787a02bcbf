"""`python -m tests.chaos`: all parts under fire, one after the other, and one report.

`--short` takes at most 8 minutes and is the same in small; without it, plan for an hour and a half. `--only PART,...`
runs some of the parts. The report goes to `--report FILE`, else to stdout; talk goes to stderr. Exit code 0: every
figure is as it must be; 1: one is not, or a part could not be run to its end.

The idea: a part is a module with `run(short, say)` that returns its figures; what they must be is in the tables here.
"""

import argparse
import importlib
import json
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

PARTS = ("kills", "zombies", "storm", "end_txn", "foreign", "brokers", "bad_axle", "fuzz")
SUMMED = ("lost", "duplicates", "order_violations")
"""Figures that more than one part has: the report's is their sum."""
HEADLINE = (
    "kills",
    "kills_by_step",
    "zombies",
    "rebalances",
    "delayed_end_txn",
    "torn",
    "torn_without_rule",
    "broker_kills",
    "foreign_open_transactions",
    "completed_short",
    "faults",
    "refused",
    "dead_letters",
)
Figures = Mapping[str, Any]
_CLEAN = (*SUMMED, "axle_differs", "unasked_exits", "torn", "completed_short", "worked_on_by_two", "shortfalls")
"""Figures that must be 0, or empty, in whichever part has them."""
_LEAST: Mapping[str, tuple[tuple[str, int, int], ...]] = {
    "kills": (("kills", 100, 8), ("events", 200_000, 0)),
    "zombies": (("zombies", 40, 3),),
    "storm": (("rebalances", 50, 4),),
    "end_txn": (("delayed_end_txn", 200, 1), ("torn_without_rule", 1, 1)),
    "brokers": (("broker_kills", 10, 1),),
    "foreign": (("foreign_open_transactions", 50, 1),),
    "bad_axle": (("faults", 10, 3),),
    "fuzz": (("dead_letters", 10_000, 1_000),),
}
"""By part: a figure, how much it must be at least in the long form, and in the short one."""
_EACH_STEP = (10, 1)
_STALL_MAX_SECONDS = 15.0
"""So long may events stand still when a broker dies. Asked of the long form alone: it wants a machine to itself."""


def shortcomings(part: str, figures: Figures, *, short: bool) -> list[str]:
    """What is not as it must be, in sentences; figures that a part does not have are not asked for, unless least."""
    wrong = [f"{part}: {name} is {figures[name]}" for name in _CLEAN if figures.get(name)]
    wrong += [f"{part}: {name} is {count}" for name, count in figures.get("violations", {}).items() if count]
    for name, at_least, at_least_short in _LEAST.get(part, ()):
        least = at_least_short if short else at_least
        if figures.get(name, 0) < least:
            wrong.append(f"{part}: {name} is {figures.get(name)}, and at least {least} was wanted")
    for step, count in figures.get("kills_by_step", {}).items():
        if count < _EACH_STEP[short]:
            wrong.append(f"{part}: {count} kills {step}, and at least {_EACH_STEP[short]} were wanted")
    if figures.get("rejoined_in_time") is False:
        wrong.append(f"{part}: a zombie was back only after {figures['rejoin_s']['max']} s")
    stall = figures.get("longest_stall_s", 0)
    if stall > _STALL_MAX_SECONDS and not short:
        wrong.append(f"{part}: events stood still for {stall} s")
    if figures.get("drained") is False:
        wrong.append(f"{part}: it did not come to rest")
    return wrong


def merged(parts: Mapping[str, Figures]) -> dict[str, Any]:
    """The report's headline: each figure from the part that has it, sums where several have it."""
    report: dict[str, Any] = {}
    for name in HEADLINE:
        found = [figures[name] for figures in parts.values() if name in figures]
        report[name] = found[0] if found else None
    for name in SUMMED:
        report[name] = sum(figures[name] or 0 for figures in parts.values() if name in figures)
    return report


def run_part(part: str, *, short: bool, say: Callable[[str], None]) -> tuple[Figures, list[str]]:
    """One part's figures and what is wrong with them; one that falls over has none, and that is wrong."""
    try:
        figures: Figures = importlib.import_module(f"tests.chaos.{part}").run(short, say)
    except Exception as error:
        say(traceback.format_exc())
        return {}, [f"{part}: it was not run to its end: {error}"]
    return figures, shortcomings(part, figures, short=short)


def main(arguments: list[str]) -> int:
    """Run the parts; returns the exit code."""
    parser = argparse.ArgumentParser(prog="chaos", description="The processor under fire, on brokers of its own.")
    parser.add_argument("--short", action="store_true", help="the same in small: at most 8 minutes")
    parser.add_argument("--report", type=Path, metavar="FILE", help="where the JSON report goes; default stdout")
    parser.add_argument("--only", default=",".join(PARTS), metavar="PART,...", help=f"of {', '.join(PARTS)}")
    asked = parser.parse_args(arguments)
    chosen = asked.only.split(",")
    if unknown := [part for part in chosen if part not in PARTS]:
        parser.error(f"no part {', '.join(unknown)}; there are {', '.join(PARTS)}")
    began = time.monotonic()

    def say(sentence: str) -> None:
        print(f"[{time.monotonic() - began:5.0f} s] {sentence}", file=sys.stderr, flush=True)

    parts: dict[str, Figures] = {}
    wrong: list[str] = []
    for number, part in enumerate(chosen, 1):
        say(f"part {number} of {len(chosen)}: {part}")
        parts[part], found = run_part(part, short=asked.short, say=say)
        wrong += found
    for sentence in wrong:
        say(sentence)
    report = {**merged(parts), "accepted": not wrong, "wrong": wrong, "seconds": round(time.monotonic() - began)}
    text = json.dumps({**report, "parts": parts}, indent=2)
    if asked.report:
        asked.report.write_text(text + "\n")
    else:
        print(text)
    return 1 if wrong else 0


if __name__ == "__main__":
    # Whoever started us may have had them ignored; both must end all that we started.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)

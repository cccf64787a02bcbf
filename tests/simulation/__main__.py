"""`python -m tests.simulation`: half an hour without Axle, on virtual time, and one report.

`--report FILE` says where the JSON goes, else it is printed; a few lines for people and the progress go to stderr.
`--short` is the same in small, `--seed N` another evening. Exit code 0: everything is as it must be; 1: it is not.

Two runs: `evening`, with a set rate of calls and some homes that leave, and `leaving`, in which many do and Axle may be
asked as much as it answers well.
"""

import argparse
import json
import logging
import sys
import time
from dataclasses import replace
from pathlib import Path

import structlog

from tests.simulation.outage import Plan, run
from tests.simulation.tally import Figures, shortcomings

EVENING = Plan(20_000, 100_000, calls_per_second=200.0, leaving_share=0.25, calls_at_most_wishes=True)
LEAVING = Plan(4_000, 20_000)
SHORT_EVENING = Plan(1_000, 5_000, calls_per_second=40.0, leaving_share=0.25, calls_at_most_wishes=True)
SHORT_LEAVING = Plan(200, 1_000)


def lines(name: str, figures: Figures) -> list[str]:
    """A run for people to read."""
    during, healing, after = figures["during"], figures["at_healing"], figures["after"]
    speed, order, end = figures["pace"], figures["order"], figures["end"]
    allowed = speed["calls_in_any_second_allowed"]
    by_kind = ", ".join(
        f"{kind}: {its['waiting']} at places {its['first_position']} to {its['last_position']}"
        for kind, its in order.items()
    )
    allowed_text = f"; allowed in any second: {allowed:g}" if allowed else ""
    told = f"""\
without Axle: {during["calls"]} calls
when it was back: {healing["chargers_with_a_live_wish"]} chargers with a live wish, {healing["questions_open"]} open \
questions, {healing["calls_owed"]} calls owed
afterwards: {after["calls"]} calls, {after["events_per_call"]} events a call: {after["calls_by_endpoint"]}
noticed after {after["noticed_s"]} s; all that waited was called after {after["done_s"]} s; the last call, which looks \
once more for who left before joining, after {after["last_call_s"]} s
order of those that waited: {by_kind}
pace: {speed["calls_by_second"][:8]} calls in the first seconds, at most {speed["peak_calls_in_any_second"]} in any, \
{speed["under_way_peak"]} at once{allowed_text}
at the end: {end["owed"]} calls owed, {end["axle_differs"]} chargers on which Axle and we differ, \
{end["outcomes_wrong"]} wrong outcomes, {end["memory_mib"]:g} MiB"""
    title = f"{name}: {figures['chargers']} chargers, {figures['events']} events in {figures['outage_s']:g} s"
    return [title, *(f"  {line}" for line in told.splitlines())]


def main(arguments: list[str]) -> int:
    """Run them; returns the exit code."""
    parser = argparse.ArgumentParser(prog="simulate", description="Half an hour without Axle, on virtual time.")
    parser.add_argument("--short", action="store_true", help="the same in small: about 15 seconds")
    parser.add_argument("--report", type=Path, metavar="FILE", help="where the JSON report goes; default stdout")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="another evening")
    asked = parser.parse_args(arguments)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    began = time.monotonic()

    def say(sentence: str) -> None:
        print(f"[{time.monotonic() - began:5.0f} s] {sentence}", file=sys.stderr, flush=True)

    evening, leaving = (SHORT_EVENING, SHORT_LEAVING) if asked.short else (EVENING, LEAVING)
    plans = {"evening": evening, "leaving": leaving}
    runs = {name: run(replace(plan, seed=asked.seed), say) for name, plan in plans.items()}
    wrong = [f"{name}: {sentence}" for name, figures in runs.items() for sentence in shortcomings(figures)]
    for name, figures in runs.items():
        print("\n".join(lines(name, figures)), file=sys.stderr)
    for sentence in wrong:
        say(sentence)
    report = {"accepted": not wrong, "wrong": wrong, "seconds": round(time.monotonic() - began), "runs": runs}
    text = json.dumps(report, indent=2)
    if asked.report:
        asked.report.write_text(text + "\n")
    else:
        print(text)
    return 1 if wrong else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)

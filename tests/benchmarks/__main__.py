"""How fast the processor is, beside yardsticks of the same run: `python -m tests.benchmarks [--short] [--report FILE]`.

It starts a real broker and a stub of Axle written in Go that answers after 50 ms, gives the processor one core and all
else the others, and measures:

- `throughput`: plug-ins a second, one call each, up to 500 calls under way, and the CPU time of each;
- `latency`: at 50 events a second, from an event's append at the broker to that of its first record, and of its last
  one without the 50 ms; both times are the broker's;
- `outage`: Axle hangs for 30 s and heals; a rate of 200 calls a second is set, as somebody would who knows theirs;
- the yardsticks: a bare transaction loop and a bare HTTP client, on the processor's core once it has left;
- `restore`: how fast a task comes back and what memory it takes; `decide`: decisions a second.

Only ratios within one run mean anything on another machine. `--picture FILE` draws them. `--only PART` measures one
part. Exit code 0: measured, whatever came out; 4: something that the benchmark needs is not there.
"""

import argparse
import json
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from processor.demo.kafka import BrokerFailed, EmbeddedKafka, prepare
from tests.benchmarks import bare, decide_bench, load, restore_bench
from tests.benchmarks.bars import picture
from tests.benchmarks.fast_axle import CannotRun, Cores
from tests.benchmarks.stand import Stand, stand

PARTS = ("throughput", "latency", "outage", "bare", "restore", "decide")
EXIT_UNAVAILABLE, EXIT_ENDED = 4, 143
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Size:
    """How much of everything; seconds where nothing else is said."""

    chargers: int
    warm: float
    flood: float
    paced: float
    healthy: float
    hang: float
    loop_records: int
    call: float
    restored_sites: int
    restores: int


LONG = Size(50_000, 40, 60, 180, 60, 30, 200_000, 10, 1_000_000, 3)
SHORT = Size(20_000, 25, 20, 40, 20, 30, 60_000, 4, 200_000, 2)
TINY = Size(200, 3, 4, 4, 3, 3, 2_000, 1, 2_000, 1)
"""To see that the benchmark itself works; its figures mean nothing."""


def measure(size: Size, parts: tuple[str, ...], say: Say) -> dict[str, Any]:
    """All figures, by part."""
    found: dict[str, Any] = {}
    cores = Cores.split()
    prepare(say)
    with stand(cores, size.chargers, say) as on:
        say(f"{size.chargers:,} homes are enrolled")
        if "throughput" in parts or "latency" in parts:
            _healthy(on, size, parts, found)
        if "outage" in parts:
            say(f"outage: {size.healthy:g} s of health, then {size.hang:g} s without an answer")
            with on.processor(AXLE__CALLS_PER_SECOND=str(load.CALLS_PER_SECOND)) as processor:
                found["outage"] = load.outage(on, processor, size.healthy, size.hang)
        if "bare" in parts:
            _yardsticks(on, size, found)
    if "restore" in parts:
        say(f"restore: {size.restored_sites:,} sites")
        with EmbeddedKafka() as broker:
            found["restore"] = restore_bench.report(restore_bench.fill(broker, size.restored_sites, 1), size.restores)
    if "decide" in parts:
        say("decide: the core alone")
        site = decide_bench.enrolled_site()
        found["decide"] = {
            "decisions_per_s": round(decide_bench.bare(site)),
            "decisions_with_codecs_per_s": round(decide_bench.with_codecs(site)),
        }
    return found


def _healthy(on: Stand, size: Size, parts: tuple[str, ...], found: dict[str, Any]) -> None:
    with on.processor(AXLE__CALLS_MAX=str(load.CALLS_MAX)) as processor:
        if "throughput" in parts:
            on.say(f"throughput: {size.warm:g} s to warm up, {size.flood:g} s measured")
            found["throughput"] = load.throughput(on, processor, size.warm, size.flood)
        if "latency" in parts:
            on.say(f"latency: {size.paced:g} s at {load.PACE:g} events/s")
            found["latency"] = load.latency(on, size.paced)


def _yardsticks(on: Stand, size: Size, found: dict[str, Any]) -> None:
    on.say(f"the bare loop: {size.paced:g} s at {load.PACE:g} events/s, then {size.loop_records:,} records at once")
    found["bare_loop_paced"] = bare.loop_at_pace(on, size.paced)
    found["bare_loop_full"] = bare.loop_at_full_speed(on, size.loop_records)
    on.say(f"the bare client: {size.call:g} s")
    found["bare_call"] = bare.call(on, size.call)


def headline(found: dict[str, Any]) -> dict[str, float | None]:
    """The figures that others read, None where their part was not measured."""
    keys: dict[str, Callable[[], float]] = {
        "events_per_s": lambda: found["throughput"]["events_per_s"],
        "cpu_us_per_event": lambda: found["throughput"]["cpu_us_per_event"],
        "bare_call_cpu_us": lambda: found["bare_call"]["cpu_us"],
        "bare_loop_cpu_us": lambda: found["bare_loop_full"]["cpu_us"],
        "cpu_over_bare": lambda: (
            found["throughput"]["cpu_us_per_event"] / (found["bare_call"]["cpu_us"] + found["bare_loop_full"]["cpu_us"])
        ),
        "boost_p50_over_bare": lambda: _over_bare(found, "boost", "requested_ms", "p50"),
        "boost_p99_over_bare": lambda: _over_bare(found, "boost", "requested_ms", "p99"),
        "plug_in_p50_over_bare": lambda: _over_bare(found, "plug-in", "requested_ms", "p50"),
        "plug_in_final_p50_over_bare": lambda: _over_bare(found, "plug-in", "final_less_axle_ms", "p50"),
        "outage_boost_p99_over_healthy": lambda: (
            found["outage"]["outage_boost_ms"]["p99"] / found["outage"]["healthy_boost_ms"]["p99"]
        ),
        "calls_wasted": lambda: found["outage"]["calls_wasted"],
        "restore_sites_per_s": lambda: found["restore"]["restore"]["sites_per_s"],
        "bytes_per_site": lambda: found["restore"]["restore"]["bytes_per_site"],
        "decisions_per_s": lambda: found["decide"]["decisions_per_s"],
        "decisions_with_codecs_per_s": lambda: found["decide"]["decisions_with_codecs_per_s"],
    }
    return {name: _unless_missing(figure) for name, figure in keys.items()}


def _over_bare(found: dict[str, Any], kind: str, what: str, share: str) -> float:
    ours: float = found["latency"][kind][what][share]
    return ours / float(found["bare_loop_paced"]["ms"][share])


def _unless_missing(figure: Callable[[], float]) -> float | None:
    try:
        return round(figure(), 2)
    except (KeyError, TypeError, ZeroDivisionError):
        return None


def main(arguments: list[str]) -> int:
    """Measure, print, write the report. Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="in less than eight minutes")
    parser.add_argument("--tiny", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--report", type=Path, help="write the figures there, as JSON")
    parser.add_argument("--picture", type=Path, help="draw them there, as SVG; needs all parts")
    parser.add_argument("--only", choices=PARTS, action="append", help="measure this part; may be given repeatedly")
    asked = parser.parse_args(arguments)
    if asked.picture and asked.only:
        parser.error("--picture needs all parts: leave --only out")
    # Ended from outside, it still takes along what it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(EXIT_ENDED))
    began = time.monotonic()

    def say(sentence: str) -> None:
        print(f"{time.monotonic() - began:5.0f} s  {sentence}", file=sys.stderr, flush=True)

    size = TINY if asked.tiny else SHORT if asked.short else LONG
    try:
        found = measure(size, tuple(asked.only or PARTS), say)
    except (CannotRun, BrokerFailed) as lacking:
        print(lacking, file=sys.stderr)
        return EXIT_UNAVAILABLE
    report = {**headline(found), "seconds": round(time.monotonic() - began), "parts": found}
    for name, figure in report.items():
        if name != "parts":
            print(f"{name:32} {'-' if figure is None else format(figure, ',')!s:>12}")
    if asked.report:
        asked.report.write_text(json.dumps(report, indent=2) + "\n")
    if asked.picture:
        asked.picture.write_text(picture(report))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""How many decisions a second one core makes: `python -m tests.benchmarks.decide_bench [--report FILE]`.

The path is the product's own: a plug-in of an enrolled charger, then Axle's answer to it, two decisions in all. It is
measured bare, and with everything that a decision needs around it short of Kafka and HTTP: the event read from its
bytes, the state read and written, the outputs written. That is done as the processor does it: a round reads all its
records, then decides, then writes; and once more with rounds of one record, as on a quiet evening. Each figure is the
best of several runs, so what else the machine does counts little.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import orjson
from msgspec.structs import replace

from processor.core.decide import decide
from processor.core.events import Input, PlugIn, ScheduleAnswered, Source
from processor.core.intents import AskSchedule
from processor.core.outputs import Alarm, Erased, Output
from processor.core.rules import Rules
from processor.core.schedule import subtract
from processor.core.site import Site
from processor.shell.schema_files import schema_texts
from processor.wire.avro import Codec
from processor.wire.axle import Reply, conclude
from processor.wire.inputs import InputLimits, read_input
from processor.wire.instants import iso_z
from processor.wire.state import decode_site, encode_site
from tests.core.world import GUIDE_PAUSE, GUIDE_SCHEDULE, World, at

RUNS, PATHS = 9, 1_500
ROUND_RECORDS = 50
RULES = Rules(question_every_ms=0)
CODEC, LIMITS = Codec(schema_texts()), InputLimits()
READ_AT_MS = at(0.5)
ANSWERED = subtract(GUIDE_SCHEDULE, GUIDE_PAUSE)
REPLY = Reply(
    200,
    orjson.dumps(
        {
            "modified_charging_schedule": [
                {"start_timestamp": iso_z(start), "end_timestamp": iso_z(end)} for start, end in ANSWERED
            ]
        }
    ),
)


def enrolled_site(history: int = 0) -> Site:
    """A household with one charger that Axle pauses, after so many changes of its schedule."""
    world = World(rules=RULES).settled(GUIDE_PAUSE)
    site = world.site
    for number in range(history):
        now_ms = at(0.1) + number
        site = _path(site, _plug_in(now_ms, f"h{number:06}"), now_ms)
    return site


def bare(site: Site, paths: int = PATHS) -> float:
    """Decisions a second, of values to values."""
    events = [_plug_in(READ_AT_MS + n, f"p{n:06}") for n in range(paths)]

    def run() -> None:
        for n, event in enumerate(events):
            _path(site, event, READ_AT_MS + n)

    return 2 * paths / _best(run)


def with_codecs(site: Site, round_records: int = ROUND_RECORDS, paths: int = PATHS) -> float:
    """Decisions a second, from the bytes of event, answer and state to the bytes of state and outputs."""
    values = [CODEC.encode_input(_plug_in(READ_AT_MS + n, f"p{n:06}")) for n in range(paths)]
    state = encode_site(site)

    def run() -> None:
        for first in range(0, paths, round_records):
            now_ms = READ_AT_MS + first + round_records
            asked = _round_of_events(values[first : first + round_records], state, now_ms)
            _round_of_answers(asked, now_ms + 50)

    return 2 * paths / _best(run)


def _round_of_events(values: list[bytes], state: bytes, now_ms: int) -> list[tuple[AskSchedule, bytes]]:
    """Plug-ins of as many homes; tells what is asked of Axle, and the state that each home has meanwhile."""
    source = Source("ev.plug-in.v1", 0, 1)
    events = [read_input(Input.PLUG_IN, value, source, now_ms, CODEC, LIMITS) for value in values]
    decisions = [decide(decode_site(state), event, now_ms, RULES) for event in events if isinstance(event, PlugIn)]
    for decision in decisions:
        _encode(decision.outputs)
    return [(_call(decision.site), encode_site(decision.site)) for decision in decisions]


def _round_of_answers(asked: list[tuple[AskSchedule, bytes]], now_ms: int) -> None:
    answers = [conclude(call, (REPLY,)) for call, _ in asked]
    decisions = [
        decide(decode_site(state), answer, now_ms, RULES)
        for answer, (_, state) in zip(answers, asked, strict=True)
        if isinstance(answer, ScheduleAnswered)
    ]
    for decision in decisions:
        _encode(decision.outputs)
    stored = [encode_site(decision.site) for decision in decisions]
    assert len(stored) == len(asked)


def _call(site: Site) -> AskSchedule:
    question = site.chargers[0].question
    assert question is not None
    return AskSchedule("home-1", "c-1", question.number, "axle-c-1", GUIDE_SCHEDULE, boosted=False)


def _plug_in(at_ms: int, event_id: str) -> PlugIn:
    return PlugIn(event_id, at_ms, Source("ev.plug-in.v1", 0, 1), "home-1", "c-1", GUIDE_SCHEDULE, 7.4)


def _path(site: Site, event: PlugIn, now_ms: int) -> Site:
    asked = decide(site, event, now_ms, RULES).site
    question = asked.chargers[0].question
    assert question is not None
    answer = ScheduleAnswered("home-1", "c-1", question.number, GUIDE_SCHEDULE, ANSWERED)
    answered = decide(asked, answer, now_ms + 50, RULES)
    assert answered.outputs
    return answered.site


def _encode(outputs: tuple[Output, ...]) -> None:
    for output in outputs:
        if not isinstance(output, Alarm | Erased):
            CODEC.encode(output)


def _best(run: Callable[[], None]) -> float:
    """CPU seconds of the fastest run."""
    seconds = []
    for _ in range(RUNS):
        began = time.process_time()
        run()
        seconds.append(time.process_time() - began)
    return min(seconds)


def main(arguments: list[str]) -> None:
    """Print the figures, and write them to a file where one is named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--report", type=Path, help="write the figures there, as JSON")
    report_to: Path | None = parser.parse_args(arguments).report
    site = enrolled_site()
    figures = {
        "decisions_per_s": round(bare(site)),
        "decisions_with_codecs_per_s": round(with_codecs(site)),
        "decisions_with_codecs_one_by_one_per_s": round(with_codecs(site, 1)),
        "cost_after_10000_events_over_fresh": round(bare(site) / bare(enrolled_site(5_000)), 2),
        "state_bytes": len(encode_site(replace(site))),
    }
    for name, figure in figures.items():
        print(f"{name:38} {figure:>10,}")
    if report_to:
        report_to.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])

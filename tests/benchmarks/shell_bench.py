"""What a plug-in costs without Kafka and HTTP: `python -m tests.benchmarks.shell_bench`.

A plug-in of an enrolled charger goes through both of its rounds with the product's own parts: read, decided, written,
merged into the store, its call queued and made, its answer decided and written. Records come from a list, transactions
are left out, and Axle answers at once. Told are the CPU time of the fastest run, and how many functions were called:
that count is the same on every machine, so the tests hold it against a limit.
"""

import asyncio
import sys
import time
from types import FrameType

from processor.core.decide import decide
from processor.core.events import Answer, Event, Onboarded, ScheduleAnswered
from processor.core.intents import AskSchedule, Intent, owed
from processor.core.rules import Rules
from processor.core.schedule import HOUR_MS, MINUTE_MS, Schedule, subtract
from processor.core.site import Site
from processor.shell.axle_client import Retry
from processor.shell.desk import Desk, Lane
from processor.shell.governor import Governor
from processor.shell.leases import Lease
from processor.shell.metrics import Metrics
from processor.shell.outbox import Outbox
from processor.shell.partition import task_of
from processor.shell.records import Part, Partition, Record
from processor.shell.round import Round
from processor.shell.store import Store
from processor.wire.state import encode_site
from tests.shell.parts import CODEC, NAMES, TASKS, HandClock, intake, plug_in, record

RULES = Rules(question_every_ms=0)
HOMES, ROUND_RECORDS, RUNS = 2_000, 100, 5
CALLS_MAX = 1_000_000
"""More than are ever under way here: what a limit costs is not the matter."""


def answered(asked: Schedule) -> Schedule:
    """What Axle says: half an hour's pause, an hour after the beginning."""
    pause_ms = asked[0][0] + HOUR_MS
    return subtract(asked, ((pause_ms, pause_ms + 30 * MINUTE_MS),))


class Shell:
    """The shell's parts around `homes` homes, each with a charger that Axle has paused before."""

    def __init__(self, homes: int = HOMES) -> None:
        self._homes = homes
        self._clock = HandClock()
        self._store = Store(RULES)
        self._heard: list[tuple[int, Lane, Answer]] = []
        self._awaited = 0
        self._all_heard = asyncio.Event()
        governor = Governor(CALLS_MAX, lambda low, _: low)
        self._desk = Desk(
            self, self._store.get, self._hear, self._clock, lambda low, _: low, RULES, Metrics(), governor
        )
        self._intake = intake()
        self._outbox = Outbox(NAMES, CODEC, RULES, "/axle-processor/benchmark")
        self._leases = [Lease(NAMES.reroute, task) for task in range(TASKS)]
        states: list[dict[str, bytes]] = [{} for _ in range(TASKS)]
        for home in range(homes):
            site = self._enrolled(f"site-{home:06}", f"charger-{home:06}")
            states[task_of(site.site_id, TASKS)][site.site_id] = encode_site(site)
        for task in range(TASKS):
            self._store.take_over(task, states[task], {})

    async def perform(self, intent: Intent) -> Answer | Retry:
        """Axle's answer."""
        if not isinstance(intent, AskSchedule):
            return Retry("only questions are asked here")
        asked = intent.schedule
        return ScheduleAnswered(intent.site_id, intent.charger_id, intent.number, asked, answered(asked))

    def records(self, name: str) -> list[Record]:
        """A plug-in of each home, a second after those before."""
        self._clock.turn(1)
        now_ms = self._clock.now_ms()
        made: list[Record] = []
        for home in range(self._homes):
            site = f"site-{home:06}"
            event = plug_in(site, f"charger-{home:06}", f"{name}-{home}", now_ms, enrol=False)
            task = task_of(site, TASKS)
            made.append(record(event, NAMES.plug_in, task, home, appended_ms=now_ms, lease=self._leases[task]))
        return made

    async def process(self, records: list[Record]) -> int:
        """Rounds until every record is settled; how many final answers were heard."""
        settled = 0
        for first in range(0, len(records), ROUND_RECORDS):
            batch = records[first : first + ROUND_RECORDS]
            self._awaited = len(batch)
            self._all_heard.clear()
            round_ = self._round()
            round_.take_records(batch)
            self._commit(round_)
            await self._all_heard.wait()
            heard, self._heard = self._heard, []
            round_ = self._round()
            for task, lane, answer in heard:
                round_.take_answer(task, lane, answer)
            self._commit(round_)
            settled += len(heard)
        return settled

    def _hear(self, task: int, lane: Lane, answer: Answer) -> None:
        self._heard.append((task, lane, answer))
        if len(self._heard) == self._awaited:
            self._all_heard.set()

    def _round(self) -> Round:
        return Round(self._clock.now_ms(), self._store, self._intake, self._outbox, RULES, self._anchor)

    def _commit(self, round_: Round) -> None:
        """As the loop does it after a transaction."""
        parts: list[Part] = round_.finish(lambda task: {(NAMES.plug_in, task): 0, (NAMES.reroute, task): 0})
        for part in parts:
            task = part.task
            if task is None:
                continue
            self._store.merge(task, part.sites, part.changed, round_.now_ms)
            for lane in part.answered:
                self._desk.committed(lane)  # type: ignore[arg-type]
            for site in part.sites.values():
                self._desk.look_at(task, site, calls=part.owed.get(site.site_id))

    def _anchor(self, task: int) -> tuple[Partition, int, Lease]:
        return (NAMES.reroute, task), 0, self._leases[task]

    def _enrolled(self, site_id: str, charger_id: str) -> Site:
        at_ms = self._clock.now_ms() - HOUR_MS
        site = Site(site_id)
        known: list[Event] = [
            plug_in(site_id, charger_id, "first", at_ms),
            Onboarded(site_id, charger_id, f"axle-{site_id}", f"axle-{charger_id}"),
        ]
        for event in known:
            site = decide(site, event, at_ms, RULES).site
        (asked,) = (call for call in owed(site, at_ms, RULES) if isinstance(call, AskSchedule))
        answer = ScheduleAnswered(site_id, charger_id, asked.number, asked.schedule, answered(asked.schedule))
        return decide(site, answer, at_ms + 1, RULES).site


async def cpu_us(homes: int = HOMES) -> float:
    """CPU microseconds of a plug-in, of the fastest run."""
    shell = Shell(homes)
    seconds: list[float] = []
    for run in range(RUNS):
        records = shell.records(f"r{run}")
        began = time.process_time()
        assert await shell.process(records) == homes
        seconds.append(time.process_time() - began)
    return min(seconds) / homes * 1e6


async def calls_made(homes: int = HOMES) -> float:
    """Functions that are called for a plug-in, Python's and built-in ones, once everything is warm."""
    shell = Shell(homes)
    assert await shell.process(shell.records("warm")) == homes
    records = shell.records("counted")
    calls = 0

    def count(_: FrameType, what: str, __: object) -> None:
        nonlocal calls
        calls += what in {"call", "c_call"}

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        await shell.process(records)
    finally:
        sys.setprofile(before)
    return calls / homes


def main() -> None:
    """Print the figures."""
    print(f"{asyncio.run(cpu_us()):8.1f} us of CPU a plug-in")
    print(f"{asyncio.run(calls_made()):8.1f} functions called for it")


if __name__ == "__main__":
    main()

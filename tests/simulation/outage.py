"""An outage of Axle's on virtual time: the real core, rounds, desk, governor, store and client, and what came of it.

Here lives the story of a run; what is counted, and what it must be, is in `tally.py`. First every charger plugs in and
joins Axle. Then Axle goes away, in three ways one after the other, while drivers go on as ever. Then it is back, no
driver does anything more, and everything that waits is worked off. The idea: only Kafka, HTTP and time are stood in
for, and nothing in a run is left to chance that its seed does not decide.
"""

import asyncio
import math
import random
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass

from processor.core.events import Input, Source
from processor.core.outputs import Outcome, Result
from processor.core.rules import Rules
from processor.demo.traffic import Beat, Planned, Story, encode
from processor.shell.axle_client import AxleAccount, AxleClient
from processor.shell.desk import Desk
from processor.shell.governor import BAD_IN_A_ROW, OPEN_MAX_SECONDS, Governor
from processor.shell.intake import Intake
from processor.shell.loop import Loop
from processor.shell.metrics import Metrics
from processor.shell.outbox import Outbox
from processor.shell.records import Part
from processor.shell.schema_files import schema_texts
from processor.shell.store import Store
from processor.shell.topics import TopicNames
from processor.wire.avro import Codec
from processor.wire.inputs import InputLimits
from tests.simulation import tally
from tests.simulation.axle import VirtualAxle, Weather
from tests.simulation.ledger import Ledger
from tests.simulation.log import MemoryKafka
from tests.simulation.virtual import VirtualClock, VirtualThread, simulate

BEGAN_MS = 1_763_841_600_000
"""22 November 2025, 20:00 UTC: an evening."""
TASKS = 6
COMMIT_SECONDS = 0.008
TICK_SECONDS = 0.5
ARRIVALS_PER_SECOND = 100
TOKEN_LIFE_SECONDS = 1800.0
"""The token of before the outage is too old after it."""
PATIENCE_SECONDS = 3 * 3600.0
LEAVING = {Beat.WITHDRAW, Beat.DISCONNECT, Beat.RETURN}
AT_HOME_SHARE = 0.95
"""Of the chargers; the others are seen for the first time while Axle is away, or never."""
TOLD_EACH = 10_000
"""Events, and calls, between two words to whoever waits."""
TROUBLES = (Weather.SILENT, Weather.BUSY_PAGE, Weather.UNREACHABLE)


@dataclass(frozen=True, slots=True)
class Plan:
    """How large a run is. `calls_per_second` None: as many as Axle answers well."""

    chargers: int
    events: int
    outage_seconds: float = 1800.0
    calls_per_second: float | None = None
    calls_max: int = 64
    leaving_share: float = 1.0
    """How many of the demo's homes that leave and come back do so here."""
    calls_at_most_wishes: bool = False
    """Whether all calls together must be no more than there are chargers with a live wish. Homes that leave and join
    cost calls of their own, so this is for evenings on which not too many of them do."""
    seed: int = 1

    @property
    def calls_during_outage_max(self) -> int:
        """What opens the breaker and what was under way then, probes at the shortest waits, and the first few."""
        return self.calls_max + BAD_IN_A_ROW + math.ceil(self.outage_seconds / (OPEN_MAX_SECONDS / 2)) + 10


class Evening(Story):
    """A story that can begin with everybody coming home; at most one of its beats waits for its turn."""

    def __init__(self, chargers: int, seed: int, leaving_share: float) -> None:
        """`leaving_share`: how much is told of what the demo would tell of homes that leave and come back."""
        super().__init__(chargers, seed)
        self._postponed = deque(maxlen=1)
        self._leaving_share = leaving_share

    def _draw(self) -> Beat:
        beat = super()._draw()
        while beat in LEAVING and self._random.random() >= self._leaving_share:
            beat = super()._draw()
        return beat

    def come_home(self, now_ms: int) -> Planned:
        """The next charger's first plug-in."""
        return self._plug_in(now_ms)


@dataclass(frozen=True, slots=True)
class Mark:
    """A moment, and how much had happened by then."""

    moment: tally.Moment
    events: int
    calls: int
    made: int
    results: Counter[Result]


class NotDone(Exception):
    """Something is still owed after all the time in the world."""


class Outage:
    """One run. Build it on the simulation's own loop."""

    def __init__(self, plan: Plan, clock: VirtualClock, say: Callable[[str], None]) -> None:
        self._plan, self._clock, self._say = plan, clock, say
        self._names, self._codec = TopicNames(), Codec(schema_texts())
        self._topics = {
            Input.PLUG_IN: self._names.plug_in,
            Input.USER_BOOST: self._names.user_boost,
            Input.CONSENT_WITHDRAWN: self._names.consent_withdrawn,
        }
        self._rules = Rules()
        self._story = Evening(plan.chargers, plan.seed, plan.leaving_share)
        self._kafka = MemoryKafka(self._names, TASKS, VirtualThread(COMMIT_SECONDS), clock.now_ms)
        uniform = random.Random(plan.seed).uniform
        self._axle = VirtualAxle(plan.seed, TOKEN_LIFE_SECONDS, uniform, clock.monotonic)
        self._sent: list[Source] = []
        self._settled: list[Source] = []
        self._results: Counter[Result] = Counter()
        self._build(uniform)

    def _build(self, uniform: Callable[[float, float], float]) -> None:
        clock, rules, metrics, kafka = self._clock, self._rules, Metrics(), self._kafka
        self._store = Store(rules)
        for task in kafka.ready:
            self._store.take_over(task, {}, {})
        counts = dict.fromkeys(self._topics.values(), TASKS)
        intake = Intake(self._names, counts, TASKS, self._codec, InputLimits(), "simulation")
        outbox = Outbox(self._names, self._codec, rules, "/axle-processor/simulation")
        self._loop = Loop(clock, rules, self._store, intake, outbox, kafka, metrics, self._watch)  # type: ignore[arg-type]
        account = AxleAccount("https://axle.example", "someone", "secret", token_life_seconds=TOKEN_LIFE_SECONDS)
        self._governor = Governor(self._plan.calls_max, uniform, self._plan.calls_per_second)
        client = AxleClient(account, self._axle, clock, metrics)
        self._ledger = Ledger(client, clock, self._governor)
        self._desk = Desk(
            self._ledger, self._store.get, self._loop.hear, clock, uniform, rules, metrics, self._governor
        )
        self._loop.attach(kafka, kafka, self._desk)  # type: ignore[arg-type] # the memory stands for both
        kafka.deliver = self._loop.on_records

    def _watch(self, part: Part) -> None:
        for output in part.said:
            if isinstance(output, Outcome):
                self._settled.append(output.source)
                self._results[output.result] += 1

    async def run(self) -> tally.Figures:
        """All of it. Raises NotDone, BrokenPromise, and what the loop raises."""
        running = asyncio.get_running_loop().create_task(self._loop.run())
        try:
            await self._come_home()
            before = self._mark()
            await self._be_away()
            healing = self._mark()
            self._axle.weather = Weather.WELL
            self._say(f"Axle is back; calls are owed for {len(healing.moment.owed)} matters")
            await self._calm("what waited for Axle")
            after = self._mark()
        finally:
            self._loop.stop()
            await running
        return self._figures(before, healing, after)

    async def _come_home(self) -> None:
        chargers = int(self._plan.chargers * AT_HOME_SHARE)
        await self._tell(chargers, chargers / ARRIVALS_PER_SECOND, self._story.come_home)
        await self._calm("the onboardings")
        self._say(f"{chargers} chargers are at home; {len(self._axle.world.assets)} of them have joined Axle")

    async def _be_away(self) -> None:
        """Axle goes away, in one way after the other; the last one lasts until it is well."""
        part = self._plan.outage_seconds / len(TROUBLES)
        loop = asyncio.get_running_loop()
        for number, weather in enumerate(TROUBLES):
            loop.call_later(number * part, self._turn, weather)
        await self._tell(self._plan.events, self._plan.outage_seconds, self._story.next)

    def _turn(self, weather: Weather) -> None:
        self._axle.weather = weather
        self._say(f"Axle is {weather.value}")

    async def _tell(self, events: int, seconds: float, event: Callable[[int], Planned]) -> None:
        """So many events, spread evenly over so much time."""
        began, told = self._clock.seconds, 0
        while told < events or self._clock.seconds < began + seconds:
            due = min(int((self._clock.seconds - began) / seconds * events), events)
            for _ in range(due - told):
                planned = event(self._clock.now_ms())
                value = encode(planned, self._codec)
                self._sent.append(self._kafka.send(self._topics[planned.kind], planned.key, value))
            if due // TOLD_EACH > told // TOLD_EACH:
                self._say(
                    f"{due} of {events} events; {self._desk.waiting} lanes wait, {len(self._axle.calls)} calls made"
                )
            told = due
            await asyncio.sleep(TICK_SECONDS)

    async def _calm(self, what: str) -> None:
        """Until nothing is owed, and everything is settled."""
        deadline = self._clock.seconds + PATIENCE_SECONDS
        told = 0
        while self._desk.waiting or self._desk.in_flight or self._kafka.unsettled:
            if self._clock.seconds > deadline:
                raise NotDone(f"{what}: {self._desk.waiting} lanes still wait after {PATIENCE_SECONDS:g} s")
            if len(self._axle.calls) // TOLD_EACH > told:
                told = len(self._axle.calls) // TOLD_EACH
                self._say(f"{what}: {self._desk.waiting} lanes wait, {len(self._axle.calls)} calls made")
            await asyncio.sleep(TICK_SECONDS)

    def _mark(self) -> Mark:
        clock = self._clock
        moment = tally.look(self._kafka.states, clock.seconds, clock.now_ms(), self._rules)
        return Mark(moment, len(self._sent), len(self._axle.calls), len(self._ledger.made), self._results.copy())

    def _figures(self, before: Mark, healing: Mark, after: Mark) -> tally.Figures:
        plan, healed_at = self._plan, healing.moment.at
        outage, calls = self._axle.calls[before.calls : healing.calls], self._axle.calls[healing.calls : after.calls]
        made = self._ledger.made[healing.made :]
        backlog = healing.events - before.events
        return {
            "chargers": plan.chargers,
            "events": backlog,
            "outage_s": plan.outage_seconds,
            "seed": plan.seed,
            "enrolled_before": len(before.moment.assets),
            "calls_at_most_wishes": plan.calls_at_most_wishes,
            "during": {
                "calls": len(outage),
                "calls_allowed": plan.calls_during_outage_max,
                "calls_by_endpoint": tally.by_endpoint(outage),
            },
            "at_healing": {
                "chargers_with_a_live_wish": healing.moment.live_wishes,
                "questions_open": healing.moment.questions,
                "calls_owed": len(healing.moment.owed),
                "memory_mib": healing.moment.memory_mib,
            },
            "after": {
                "calls": len(calls),
                "calls_by_endpoint": tally.by_endpoint(calls),
                "answers": dict(Counter(str(call.status) for call in calls)),
                "repeated": tally.repeated(made),
                "events_per_call": round(backlog / max(len(calls), 1), 2),
                "noticed_s": round(next((c.at for c in calls if c.status == 200), healed_at) - healed_at, 1),
                "done_s": round(tally.called_at(made, healing.moment.owed, healed_at) - healed_at, 1),
                "last_call_s": round(max((call.at for call in calls), default=healed_at) - healed_at, 1),
                "coalesced": (after.results - before.results)[Result.COALESCED],
                "outcomes": {result.value: count for result, count in (after.results - before.results).most_common()},
            },
            "order": tally.order(made, healing.moment.owed),
            "pace": tally.pace(calls, made, plan.calls_per_second),
            "end": {
                "owed": len(after.moment.owed),
                "questions_open": after.moment.questions,
                "axle_differs": tally.differences(after.moment.assets, self._axle.world),
                "outcomes_wrong": tally.outcomes_wrong(self._sent, self._settled),
                "memory_mib": after.moment.memory_mib,
            },
        }


def run(plan: Plan, say: Callable[[str], None]) -> tally.Figures:
    """One run from the beginning to the end, on a loop of its own. Raises as `Outage.run`."""
    clock = VirtualClock(BEGAN_MS)

    async def story() -> tally.Figures:
        return await Outage(plan, clock, say).run()

    return simulate(clock, story())

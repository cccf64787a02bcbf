"""What the benchmark sends through a processor, and what it reads off the broker: throughput, latencies, an outage.

Here lives who sends, at which pace, and how what came out is counted. The idea: nothing that the processor says about
itself counts but the number of its calls; times are those that the broker gave the records (LogAppendTime), so a slow
reader falsifies none. They are whole milliseconds, so percentiles are taken as of grouped figures.
"""

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Self

from confluent_kafka import KafkaError, Message, Producer

from processor.core.outputs import ModifiedSchedule, Outcome
from processor.demo.reader import Reader
from tests.benchmarks.stand import LATENCY_MS, Processor, Stand, site_id
from tests.kafka.rig import CODEC, wait_until

OUTSTANDING_MAX = 1_500
"""Events that are under way at once: enough for 500 calls and three full rounds, and far fewer than there are homes."""
CALLS_MAX = 500
PACE = 50.0
CALLS_PER_SECOND = 200.0
SETTLE_SECONDS = 120.0
WARM_SHARE = 0.25
"""So much of a paced run comes first and does not count: new topics and members are slow, ours and the bare loop's."""
_NUMBERS = count()


def now_ms() -> int:
    """UTC now."""
    return time.time_ns() // 1_000_000


def percentile(figures: Iterable[float], share: float) -> float:
    """That percentile of whole milliseconds: the place within the millisecond by how many have it. 0.0 for none."""
    ordered = sorted(figures)
    if not ordered:
        return 0.0
    value = ordered[min(int(share * len(ordered)), len(ordered) - 1)]
    below = sum(each < value for each in ordered)
    equal = ordered.count(value)
    return max(value - 0.5 + (share * len(ordered) - below) / equal, 0.0)


def summary(figures: Sequence[float]) -> dict[str, float]:
    """p50, p99, p99.9 and how many there are."""
    shares = {"p50": 0.5, "p99": 0.99, "p99_9": 0.999}
    return {**{name: round(percentile(figures, share), 2) for name, share in shares.items()}, "count": len(figures)}


@dataclass
class Traced:
    """One event: when it was appended, when its records were."""

    kind: str
    sent_ms: int
    appended_ms: int = 0
    requested_ms: int = 0
    final_ms: int = 0
    seen_ms: float = 0.0
    """When the first record could be read, after its commit."""


@dataclass
class Trace:
    """All events of a paced run, by id, as a read_committed reader saw them come out."""

    events: dict[str, Traced] = field(default_factory=dict)
    finals: int = 0

    def hear(self, messages: list[Message]) -> None:
        """Records of modified-schedule."""
        seen_ms = time.time_ns() / 1e6
        for message in messages:
            record = CODEC.decode_output(ModifiedSchedule, message.value() or b"")
            event = self.events.get(record.caused_by.event_id)
            if event is None:
                continue
            if record.final:
                event.final_ms = message.timestamp()[1]
                self.finals += 1
            else:
                event.requested_ms = message.timestamp()[1]
                event.seen_ms = seen_ms

    def latencies(self, kind: str, from_ms: int = 0, until_ms: int = 1 << 62) -> list[float]:
        """From the event's append to that of its first record, for those sent in that time."""
        return [event.requested_ms - event.appended_ms for event in self._of(kind, from_ms, until_ms)]

    def seen(self, kind: str, from_ms: int = 0) -> list[float]:
        """From the event's append until its first record could be read."""
        return [event.seen_ms - event.appended_ms for event in self._of(kind, from_ms, 1 << 62)]

    def finals_after(self, kind: str, from_ms: int = 0) -> list[float]:
        """From the event's append to that of its last record, without Axle's own time."""
        return [event.final_ms - event.appended_ms - LATENCY_MS for event in self._of(kind, from_ms, 1 << 62)]

    def _of(self, kind: str, from_ms: int, until_ms: int) -> list[Traced]:
        return [
            event for event in self.events.values() if event.kind == kind and from_ms <= event.appended_ms < until_ms
        ]


class Paced:
    """`PACE` events a second, plug-ins and boosts in turns, each at a home of its own, until it is left."""

    def __init__(self, on: Stand, pace: float = PACE) -> None:
        self.trace = Trace()
        self._on = on
        self._pace = pace
        self._producer = Producer({"bootstrap.servers": on.bootstrap, "partitioner": "murmur2_random", "linger.ms": 0})
        self._reader = Reader(on.bootstrap, [on.topics.modified_schedule], self.trace.hear)
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._send, daemon=True)

    def __enter__(self) -> Self:
        self._reader.start()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._reader.stop()

    def stop(self) -> None:
        """Send nothing more."""
        self._ending.set()
        self._thread.join(10)

    def settle(self) -> None:
        """Send nothing more, and return once every event has its last word."""
        self.stop()
        assert self._producer.flush(10) == 0, "events were not acknowledged"
        wait_until(lambda: self.trace.finals >= len(self.trace.events), SETTLE_SECONDS, "every event is settled")

    def open(self) -> int:
        """Events without their last word."""
        return len(self.trace.events) - self.trace.finals

    def _send(self) -> None:
        began, sent = time.monotonic(), 0
        while not self._ending.wait(0.001):
            while sent < (time.monotonic() - began) * self._pace:
                self._send_one("boost" if sent % 2 else "plug-in")
                sent += 1
            self._producer.poll(0)

    def _send_one(self, kind: str) -> None:
        night, number, at_ms = self._on.night, next(_NUMBERS), now_ms()
        home, event_id = number % self._on.chargers, f"{kind}-{at_ms}-{number}"
        event = self.trace.events[event_id] = Traced(kind, at_ms)
        make, topic = (
            (night.boost, self._on.topics.user_boost) if kind == "boost" else (night.plug_in, self._on.topics.plug_in)
        )

        def delivered(error: KafkaError | None, message: Message) -> None:
            assert error is None, error
            event.appended_ms = message.timestamp()[1]

        self._producer.produce(topic, make(home, event_id, at_ms), site_id(home), on_delivery=delivered)


@dataclass
class Settled:
    """The outcomes of a run, by number and kept as bytes."""

    count: int = 0
    values: list[bytes] = field(default_factory=list)

    def hear(self, messages: list[Message]) -> None:
        """Records of outcomes."""
        self.values += [message.value() or b"" for message in messages]
        self.count = len(self.values)

    def results(self) -> dict[str, int]:
        """How many of each result there were."""
        found: dict[str, int] = defaultdict(int)
        for value in self.values:
            found[CODEC.decode_output(Outcome, value).result] += 1
        return dict(found)


class Flood:
    """Plug-ins as fast as they are settled: never more than so many under way, each at the home that rested longest."""

    def __init__(self, on: Stand, outstanding: int) -> None:
        self.settled = Settled()
        self.sent = 0
        self._on = on
        self._outstanding = min(outstanding, on.chargers // 2)
        self._producer = Producer(
            {"bootstrap.servers": on.bootstrap, "partitioner": "murmur2_random", "linger.ms": 2, "batch.size": 65_536}
        )
        self._reader = Reader(on.bootstrap, [on.topics.outcomes], self.settled.hear)
        self._began = now_ms()

    def run(self, seconds: float, tick: Callable[[], None] = lambda: None) -> None:
        """Keep it up for so long; `tick` is called every second."""
        ends_at, tick_at = time.monotonic() + seconds, time.monotonic() + 1
        while time.monotonic() < ends_at:
            room = self._outstanding - (self.sent - self.settled.count)
            for _ in range(room):
                home = self.sent % self._on.chargers
                value = self._on.night.plug_in(home, f"flood-{self._began}-{self.sent}", now_ms())
                self._producer.produce(self._on.topics.plug_in, value, site_id(home))
                self.sent += 1
            self._producer.poll(0)
            if time.monotonic() >= tick_at:
                tick_at += 1
                tick()
            time.sleep(0.002)

    def __enter__(self) -> Self:
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._reader.stop()

    def settle(self) -> None:
        """Return once every event has its outcome."""
        assert self._producer.flush(10) == 0, "events were not acknowledged"
        wait_until(lambda: self.settled.count >= self.sent, SETTLE_SECONDS, "every plug-in is settled")


def throughput(on: Stand, processor: Processor, warm_seconds: float, seconds: float) -> dict[str, Any]:
    """(a): plug-ins a second and CPU microseconds of each, once Axle's limit has been found out."""
    calls_before = sum(processor.calls().values())
    with Flood(on, OUTSTANDING_MAX) as flood:
        flood.run(warm_seconds)
        on.say(f"  warm: {flood.settled.count / warm_seconds:,.0f}/s on average so far")
        rates: list[int] = []
        last = flood.settled.count

        def tick() -> None:
            nonlocal last
            rates.append(flood.settled.count - last)
            last = flood.settled.count

        in_flight = processor.metrics("axle_processor_axle_calls_limit")
        cpu, began, before = processor.cpu_seconds(), time.monotonic(), flood.settled.count
        flood.run(seconds, tick)
        done, took, spent = flood.settled.count - before, time.monotonic() - began, processor.cpu_seconds() - cpu
        flood.settle()
    calls = sum(processor.calls().values()) - calls_before
    results = flood.settled.results()
    return {
        "events_per_s": round(done / took),
        "cpu_us_per_event": round(spent / max(done, 1) * 1e6, 1),
        "cpu_share_of_a_core": round(spent / took, 2),
        "events": flood.sent,
        "calls_per_event": round(calls / flood.sent, 4),
        "results": results,
        "calls_limit": next(iter(in_flight.values()), 0.0),
        "each_second": rates,
    }


def latency(on: Stand, seconds: float) -> dict[str, Any]:
    """(b): from an event's append to those of its first and of its last record."""
    from_ms = now_ms() + round(seconds * WARM_SHARE * 1000)
    with Paced(on) as paced:
        time.sleep(seconds)
        paced.settle()
    trace = paced.trace
    return {
        kind: {
            "requested_ms": summary(trace.latencies(kind, from_ms)),
            "readable_ms": summary(trace.seen(kind, from_ms)),
            "final_less_axle_ms": summary(trace.finals_after(kind, from_ms)),
        }
        for kind in ("plug-in", "boost")
    }


def outage(on: Stand, processor: Processor, healthy_seconds: float, hang_seconds: float) -> dict[str, Any]:
    """(c): Axle hangs, then heals. A fixed rate of calls is set, so that the end of the backlog can be foretold."""
    with Paced(on) as paced:
        time.sleep(healthy_seconds)
        before = processor.calls()
        hung_ms = now_ms()
        on.axle.hang()
        try:
            time.sleep(hang_seconds)
        finally:
            on.axle.heal()
        healed_ms, healed_at, owed = now_ms(), time.monotonic(), paced.open()
        on.say(f"  healed, with {owed} wishes open")
        paced.settle()
        backlog_seconds = time.monotonic() - healed_at
    after = processor.calls()
    wasted = {status: after[status] - before.get(status, 0.0) for status in after if status != "2xx"}
    healthy, hung = (paced.trace.latencies("boost", *span) for span in ((0, hung_ms), (hung_ms, healed_ms)))
    return {
        "healthy_boost_ms": summary(healthy),
        "outage_boost_ms": summary(hung),
        "boost_after_healing_ms": summary(paced.trace.latencies("boost", healed_ms)),
        "calls_wasted": round(sum(wasted.values())),
        "calls_wasted_by_status": wasted,
        "wishes_open_at_the_end": owed,
        "backlog_seconds": round(backlog_seconds, 1),
        "backlog_seconds_allowed": round(owed / CALLS_PER_SECOND * 1.2 + 3, 1),
    }

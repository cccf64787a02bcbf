"""Fuzz: thousands of records that mean harm, good ones among them, and one process that must outlive them all.

Here lives one run and its verdict; what is sent is drawn in `tests/hostile.py`. The idea: everything is seen from
outside, on the topics. Each record has one outcome; it is INVALID exactly where there is one dead letter with that
place in it, which holds the record untouched and says what is wrong with it; and the process that began is the one
that ends, with no transaction lost and no error in its log but what it says of unreadable withdrawals.
"""

import json
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain, islice, zip_longest
from random import Random
from typing import Any, cast

from confluent_kafka import KafkaError, Message, Producer

from processor.core.outputs import Outcome, Result
from processor.demo.kafka import EmbeddedKafka, make_topics, prepare
from processor.demo.reader import Reader
from processor.shell.topics import TopicNames
from tests.broker import prefixed
from tests.hostile import ANYTHING, DAY_MS, NO_VALUE, NOTHING, Headers, Hostile, number, records, text
from tests.hostile_kinds import HUGE, SMALL
from tests.kafka.rig import (
    CODEC,
    Running,
    now_ms,
    plug_in,
    processor,
    processor_environ,
    read_all,
    samples_of,
    simulator,
)
from tests.raw_record import write_raw

Place = tuple[str, int, int]
"""Topic, partition and offset."""
TASKS = 2
WHOLE_MAX_BYTES = 900 * 1024
"""A larger record is kept in part."""
OUR_HEADERS = 8
"""So many headers of its own does a dead letter end with that is kept whole."""
HEADER_BYTES = 8
"""What a header counts beside its name and its value."""
_OPEN_MAX = 120
"""So many records may wait for their outcome: good ones are to be settled as fast as on any other day."""
_PATIENCE_SECONDS = 60.0
_GOOD_MAX_SECONDS = 15.0
"""A good record takes well under a second; on a machine that others use, this is what must never be exceeded."""
_SAID_OF_WITHDRAWALS = "somebody should look at this"
_NAMED_MAX = 20


@dataclass(frozen=True, slots=True)
class Plan:
    """How many small and huge records, and after how many of them a good one comes."""

    small: int
    huge: int
    good_every: int = 10
    seed: int = 1


LONG, SHORT = Plan(11_500, 300), Plan(1_500, 15)


@dataclass
class Seen:
    """What went in, and what came out so far. Written by two threads, each its own fields."""

    sent: dict[Place, Hostile] = field(default_factory=dict)
    good: dict[Place, int] = field(default_factory=dict)
    """Good records, and the time of each on the broker."""
    outcomes: dict[Place, list[tuple[Outcome, int]]] = field(default_factory=lambda: defaultdict(list))
    not_sent: list[str] = field(default_factory=list)
    settled: int = 0

    def hear(self, messages: list[Message]) -> None:
        """Outcomes came."""
        for message in messages:
            outcome = CODEC.decode_output(Outcome, message.value() or b"")
            place = (outcome.source.topic, outcome.source.partition, outcome.source.offset)
            self.outcomes[place].append((outcome, message.timestamp()[1]))
            self.settled += 1


def run(short: bool, say: Callable[[str], None]) -> dict[str, object]:  # noqa: FBT001 - all parts are called so
    """The whole of it on a broker of its own. Figures: see `tests/chaos/__main__.py`."""
    prepare(say)
    with EmbeddedKafka(say=say) as broker:
        names = prefixed(TopicNames(), "fuzz.")
        make_topics(broker, names, TASKS)
        return play(broker.bootstrap_servers, names, SHORT if short else LONG, say)


def play(bootstrap: str, names: TopicNames, plan: Plan, say: Callable[[str], None] = print) -> dict[str, object]:
    """Send it all to one process, and judge what came of it."""
    seen = Seen()
    reader = Reader(bootstrap, [names.outcomes], seen.hear)
    with simulator() as axle, processor(processor_environ(bootstrap, names, axle.url), TASKS) as running:
        reader.start()
        try:
            with _watched(seen, say):
                _send(bootstrap, names, plan, seen, running)
                _await_outcomes(seen, running)
            wrong = _of_the_process(running)
            assert running.terminate() == 0, running.said()[-4000:]
        finally:
            reader.stop()
        letters = read_all(bootstrap, names.dead_letter)
        wrong += [f"the log says: {line[:300]}" for line in _unasked_lines(running.said())]
    wrong += seen.not_sent + _of_outcomes(seen) + _of_letters(seen, letters)
    return _figures(seen, letters, wrong)


def _await_outcomes(seen: Seen, running: Running) -> None:
    total, deadline = len(seen.sent) + len(seen.good), time.monotonic() + _PATIENCE_SECONDS
    while seen.settled < total:
        if time.monotonic() > deadline or running.process.poll() is not None:
            kinds = {
                **{place: hostile.kind for place, hostile in seen.sent.items()},
                **dict.fromkeys(seen.good, "good"),
            }
            left = Counter(kind for place, kind in kinds.items() if place not in seen.outcomes)
            raise AssertionError(f"no outcome for {dict(left)}: {running.said()[-4000:]}")
        time.sleep(0.02)


@contextmanager
def _watched(seen: Seen, say: Callable[[str], None]) -> Iterator[None]:
    """Say how far it is, now and then."""
    done = threading.Event()

    def tell() -> None:
        while not done.wait(10):
            say(f"{len(seen.sent)} hostile and {len(seen.good)} good records sent, {seen.settled} settled")

    thread = threading.Thread(target=tell, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _send(bootstrap: str, names: TopicNames, plan: Plan, seen: Seen, running: Running) -> None:
    """Huge records spread among small ones, good ones among both; never more on the way than `_OPEN_MAX`."""
    chance, began_ms = Random(plan.seed), now_ms()
    small = islice(records(plan.seed, began_ms, SMALL), plan.small)
    every = plan.small // plan.huge
    huge = islice(records(plan.seed + 1, began_ms, HUGE), plan.huge)
    mixed = chain.from_iterable((*some, big) for *some, big in zip_longest(*[small] * every, huge))
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 1, "message.max.bytes": 1_048_000})
    told = 0
    for hostile in mixed:
        if hostile is None:
            continue
        _put(producer, names, hostile, seen, chance.randrange(TASKS))
        told += 1
        if told % plan.good_every == 0:
            _put_good(producer, names, told, seen)
        while len(seen.sent) + len(seen.good) - seen.settled + len(producer) > _OPEN_MAX:
            assert running.process.poll() is None, f"it ended: {running.said()[-4000:]}"
            producer.poll(0.01)
    _put_what_no_client_sends(bootstrap, names, began_ms, seen)
    assert producer.flush(30) == 0, "records were not acknowledged"


def _put(producer: Producer, names: TopicNames, hostile: Hostile, seen: Seen, partition: int) -> None:
    def delivered(error: KafkaError | None, message: Message) -> None:
        if error is None:
            seen.sent[_place(message)] = hostile
        else:
            seen.not_sent.append(f"{hostile.kind}: the broker did not take it: {error}")

    producer.produce(
        getattr(names, hostile.topic),
        hostile.value,
        hostile.key,
        partition,
        headers=[*hostile.headers],
        on_delivery=delivered,
    )
    producer.poll(0)


def _put_good(producer: Producer, names: TopicNames, serial: int, seen: Seen) -> None:
    def delivered(error: KafkaError | None, message: Message) -> None:
        assert error is None, error
        seen.good[_place(message)] = message.timestamp()[1]

    value = plug_in(f"good-{serial}", f"good-{serial}", f"good-{serial}")
    producer.produce(names.plug_in, value, f"good-{serial}", on_delivery=delivered)


def _put_what_no_client_sends(bootstrap: str, names: TopicNames, at_ms: int, seen: Seen) -> None:
    """Headers whose names are no text: on a good record, and on a bad one."""
    headers = [(b"name \xff\xfe", b"x"), (b"", None)]
    address = bootstrap.split(",", maxsplit=1)[0]
    good = plug_in("raw", "raw", "raw")
    offset = write_raw(address, names.plug_in, 0, b"k", good, headers)
    seen.sent[names.plug_in, 0, offset] = Hostile("a header's name is no text", "plug_in", good, NOTHING, key=b"k")
    old = text("old") + number(at_ms - 40 * DAY_MS)
    bad = good[:10] + old + good[10 + len(text("raw")) + len(number(at_ms)) :]
    offset = write_raw(address, names.plug_in, 1, b"k", bad, headers)
    told = Hostile("a header's name is no text", "plug_in", bad, frozenset({"too_old"}), "occurred_at", key=b"k")
    seen.sent[names.plug_in, 1, offset] = told


def _place(message: Message) -> Place:
    return cast("Place", (message.topic(), message.partition(), message.offset()))


def _of_the_process(running: Running) -> list[str]:
    """What its metrics say that they should not: a task taken over anew, a transaction lost."""
    page = next(json.loads(line)["page"] for line in running.said().splitlines() if '"page"' in line)
    lost = samples_of(page, "axle_processor_transactions_total").get('{outcome="lost"}', 0)
    wrong = [f"{lost:.0f} transactions were lost"] if lost else []
    took = running.said().count("took a task over")
    return wrong + ([f"tasks were taken over {took} times"] if took != TASKS else [])


def _unasked_lines(said: str) -> Iterator[str]:
    """Errors, and what no logger wrote; warnings are about the machine: a broker that was slow to answer."""
    for line in said.splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            yield line
            continue
        if entry.get("level") in {"error", "critical"} and entry.get("event") != _SAID_OF_WITHDRAWALS:
            yield line


def _of_outcomes(seen: Seen) -> list[str]:
    wrong = [
        f"{place} has an outcome, and nobody sent it"
        for place in seen.outcomes
        if place not in {**seen.sent, **seen.good}
    ]
    for place, hostile in seen.sent.items():
        results = [outcome.result for outcome, _ in seen.outcomes.get(place, [])]
        expected = hostile.refused_for
        if len(results) != 1:
            wrong.append(f"{hostile.kind} at {place} has the outcomes {results}")
        elif expected is not ANYTHING and (results[0] is Result.INVALID) != bool(expected):
            wrong.append(f"{hostile.kind} at {place} was settled as {results[0]}")
    for place in seen.good:
        results = [outcome.result for outcome, _ in seen.outcomes.get(place, [])]
        if len(results) != 1 or results[0] not in {Result.MODIFIED, Result.UNCHANGED}:
            wrong.append(f"the good record at {place} has the outcomes {results}")
    slowest = max(_good_seconds(seen), default=0)
    return wrong + ([f"a good record took {slowest:.1f} s"] if slowest > _GOOD_MAX_SECONDS else [])


def _good_seconds(seen: Seen) -> list[float]:
    """From when a good record was on the broker until its outcome was, in order."""
    return sorted(
        (seen.outcomes[place][0][1] - at_ms) / 1000 for place, at_ms in seen.good.items() if place in seen.outcomes
    )


def _of_letters(seen: Seen, letters: list[Message]) -> list[str]:
    by_place: dict[Place, list[Message]] = defaultdict(list)
    for letter in letters:
        told = _told(letter)
        by_place[told["topic"], int(told["partition"]), int(told["offset"])].append(letter)
    wrong = [f"{place} has a dead letter, and nobody sent it" for place in by_place if place not in seen.sent]
    for place, hostile in seen.sent.items():
        found, outcomes = by_place.get(place, []), seen.outcomes.get(place, [])
        is_refused = any(outcome.result is Result.INVALID for outcome, _ in outcomes)
        wanted = int(is_refused and hostile.refused_for is not NO_VALUE)
        if len(found) != wanted:
            wrong.append(f"{hostile.kind} at {place} has {len(found)} dead letters, and {wanted} were wanted")
        wrong += [f"{hostile.kind} at {place}: {what}" for letter in found for what in _of_letter(hostile, letter)]
    return wrong


def _told(letter: Message) -> dict[str, str]:
    """What a dead letter's own headers say; they are the last ones, whatever the record's own were."""
    headers = cast("Headers", letter.headers() or [])
    told = {name: (value or b"").decode(errors="replace") for name, value in headers if name.startswith("dlt-")}
    return {name.removeprefix("dlt-").removeprefix("original-"): value for name, value in told.items()}


def _of_letter(hostile: Hostile, letter: Message) -> Iterator[str]:
    told = _told(letter)
    code, reason = told["error-class"], told["error-reason"]
    if hostile.refused_for is not ANYTHING and (code not in hostile.refused_for or hostile.reason not in reason):
        yield f"it was refused as {code}: {reason}"
    key, value, headers = letter.key() or b"", letter.value() or b"", cast("Headers", letter.headers() or [])
    if _size_of(hostile) > WHOLE_MAX_BYTES:
        if (
            not (hostile.key or b"").startswith(key)
            or not (hostile.value or b"").startswith(value)
            or not told["cut-from-bytes"]
        ):
            yield "what is kept of it is not its beginning"
        return
    if (key, value) != (hostile.key or b"", hostile.value or b""):
        yield "key or value are not as they were"
    kept = [header for header in headers[:-OUR_HEADERS] if not header[0].startswith("reroute-")]
    if kept != [header for header in hostile.headers if not header[0].startswith("reroute-")]:
        yield "its headers are not as they were"


def _size_of(hostile: Hostile) -> int:
    headers = sum(HEADER_BYTES + len(name.encode()) + len(value or b"") for name, value in hostile.headers)
    return len(hostile.key or b"") + len(hostile.value or b"") + headers


def _figures(seen: Seen, letters: list[Message], wrong: list[str]) -> dict[str, Any]:
    seconds = _good_seconds(seen)
    refused = [
        place for place, each in seen.outcomes.items() if place in seen.sent and each[0][0].result is Result.INVALID
    ]
    return {
        "hostile": len(seen.sent),
        "refused": len(refused),
        "dead_letters": len(letters),
        "by_reason": dict(Counter(_told(letter)["error-class"] for letter in letters).most_common()),
        "by_kind": dict(sorted(Counter(hostile.kind for hostile in seen.sent.values()).items())),
        "good": len(seen.good),
        "good_s": {
            "p50": seconds[len(seconds) // 2],
            "p99": seconds[len(seconds) * 99 // 100],
            "max": seconds[-1],
        },
        "shortfalls": wrong[:_NAMED_MAX],
        "shortfalls_in_all": len(wrong),
    }

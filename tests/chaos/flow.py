"""Traffic for the chaos runs: the demo's story, told to a broker that comes and goes, and everything that came of it.

Here lives who sends, who reads, and when all is settled; what is thrown at the brokers or processors meanwhile is each
run's own. The idea: the sender is idempotent and the reader reads committed records alone, so what the verifier counts
as lost or doubled can only be the processor's doing.
"""

import json
import threading
import time
import urllib.request
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

from confluent_kafka import Message

from processor.core.outputs import Enrolled, EnrolmentStatus
from processor.demo.history import Facts, History
from processor.demo.reader import Reader
from processor.demo.seen import note, read_seen
from processor.demo.sender import Sender
from processor.demo.traffic import Story
from processor.demo.verifier import Verdict, open_inputs, verify
from processor.shell.topics import TopicNames
from tests.kafka.rig import CODEC, Running, Simulator, read_all, wait_until

_TURN_SECONDS = 0.01


class Traffic:
    """`rate` events a second at `chargers` chargers, from `begin` to `settle`; a context manager."""

    def __init__(self, bootstrap: str, topics: TopicNames, chargers: int, rate: float, seed: int = 1) -> None:
        self.history = History()
        self.is_calm = True
        """Whether an onboarding that begins now will be answered soon: homes that consent when not never withdraw."""
        self._bootstrap = bootstrap
        self._topics = topics
        self._rate = rate
        self._story = Story(chargers, seed)
        self._sender = Sender(bootstrap, topics, CODEC)
        watched = [topics.modified_schedule, topics.outcomes, topics.dead_letter]
        self._reader = Reader(bootstrap, watched, self._hear)
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._send, name="traffic", daemon=True)

    def __enter__(self) -> Self:
        self._reader.start()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join(10)
        self._reader.stop()

    @property
    def settled(self) -> int:
        """Outcomes so far."""
        return len(self.history.settled)

    def settle(self, seconds: float, check: Callable[[], None]) -> None:
        """Send nothing more, and wait until each event has its outcome; `check` is called meanwhile.

        What has none in time is the verifier's to tell.
        """
        self._ending.set()
        self._thread.join(10)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self._sender.poll()
            check()
            if self._sender.waiting == 0 and open_inputs(self.history) == 0:
                break
            time.sleep(0.1)
        assert not self._sender.refused, f"the brokers did not take {self._sender.refused[:3]}"

    def judge(self, axle: Simulator, calls: Path) -> Verdict:
        """The verifier's verdict, with the simulator's log and its world at the end."""
        self.history.calls = [json.loads(line) for line in calls.read_text().splitlines()]
        self.history.axle = axle.get("/_sim/world")
        return verify(self.history)

    def longest_stall_seconds(self) -> float:
        """The longest that anybody waited for the first word about an event, from append to append."""
        facts = Facts(self.history)
        waits = [
            told - put.appended_ms
            for event_id, put in facts.by_id.items()
            if put.place is not None and (told := facts.first_word_ms(event_id)) is not None
        ]
        return max(waits, default=0) / 1000

    def longest_silence_seconds(self) -> float:
        """The longest that nothing at all came out while events went in."""
        last_put = max((put.appended_ms for put in self.history.puts), default=0)
        times = sorted(
            [one.appended_ms for one in self.history.settled] + [one.appended_ms for one in self.history.published]
        )
        gaps = [later - earlier for earlier, later in pairwise(times) if earlier <= last_put]
        return max(gaps, default=0) / 1000

    def differs_at_axle(self) -> list[str]:
        """Chargers that the processor says are enrolled and Axle does not know under that id, or the other way round.

        The newest `EnrolmentStatus` of each site is held against the simulator's world, which `judge` has fetched.
        """
        newest: dict[bytes | str | None, EnrolmentStatus] = {}
        for message in read_all(self._bootstrap, self._topics.enrolment_status):
            newest[message.key()] = CODEC.decode_output(EnrolmentStatus, message.value() or b"")
        ours = enrolled(newest.values())
        axle = self.history.axle or {"assets": []}
        theirs = {(asset["external_id"], asset["id"]) for asset in axle["assets"]}
        return [f"{charger} ({asset})" for charger, asset in sorted(ours ^ theirs, key=str)]

    def _send(self) -> None:
        began, told = time.monotonic(), 0
        while not self._ending.is_set():
            while told < (time.monotonic() - began) * self._rate:
                self.history.puts.append(
                    self._sender.send(self._story.next(time.time_ns() // 1_000_000, axle_is_well=self.is_calm))
                )
                told += 1
            self._sender.poll()
            self._ending.wait(_TURN_SECONDS)

    def _hear(self, messages: list[Message]) -> None:
        for message in messages:
            note(self.history, read_seen(message, self._topics, CODEC))


def enrolled(statuses: Iterable[EnrolmentStatus]) -> set[tuple[str, str | None]]:
    """Chargers that the processor says are at Axle, with Axle's ids of them."""
    return {
        (charger.charger_id, charger.axle_asset_id)
        for status in statuses
        for charger in status.chargers
        if charger.status is Enrolled.ENROLLED
    }


def wait_for_progress(traffic: Traffic, outcomes: int, seconds: float, check: Callable[[], None]) -> None:
    """Return once so many more events are settled; fail when they are not in time."""
    goal = traffic.settled + outcomes

    def reached() -> bool:
        check()
        return traffic.settled >= goal

    wait_until(reached, seconds, f"{outcomes} more events settled")


def starting(running: Running) -> dict[str, Any] | None:
    """What a processor says once it is loaded and has seen its topics; None before."""
    lines = (line for line in running.said().splitlines() if '"starting"' in line)
    return next((told for line in lines if (told := json.loads(line))["event"] == "starting"), None)


def working(running: Running) -> set[int]:
    """The tasks that are at work there, by its status page; fails when it exited."""
    code = running.process.poll()
    assert code is None, f"a processor exited with {code}: {running.said()[-3000:]}"
    told = starting(running)
    if told is None:
        return set()
    try:
        with urllib.request.urlopen(f"{told['page']}/status.json", timeout=5) as answer:  # noqa: S310 - loopback
            return set(json.load(answer)["tasks"]["working"])
    except OSError:  # it does not serve yet
        return set()


def wait_shared(running: Sequence[Running], tasks: int, seconds: float) -> None:
    """Return once each of these processors has work and together they have every task, each one once."""

    def is_shared() -> bool:
        shares = [working(one) for one in running]
        return all(shares) and sum(map(len, shares)) == tasks and set().union(*shares) == set(range(tasks))

    wait_until(is_shared, seconds, f"{len(running)} processors share {tasks} tasks")

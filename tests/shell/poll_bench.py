"""Poll threads on a real broker, and a listener that keeps what they told."""

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from processor.demo.kafka import Broker
from processor.shell.consumer import PollThread
from processor.shell.leases import Lease, Leases
from processor.shell.log_ends import LogEnds
from processor.shell.protocol import Spoken, consumer_config
from processor.shell.records import Partition, Record
from processor.shell.topics import TopicNames

SECONDS = 20.0


def wait_for(holds: Callable[[], object], what: str = "the condition", seconds: float = SECONDS) -> None:
    """Return as soon as it holds; fail when it does not in time."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.005)


@dataclass
class Ears:
    """A listener that only listens."""

    assigned: list[Partition] = field(default_factory=list)
    gone: list[Partition] = field(default_factory=list)
    ends: list[Mapping[int, int]] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    failures: list[Exception] = field(default_factory=list)

    def on_assigned(self, partitions: list[Partition]) -> None:
        self.assigned += partitions

    def on_gone(self, partitions: list[Partition], ends: Mapping[int, int]) -> None:
        self.gone += partitions
        self.ends.append(ends)

    def on_records(self, records: list[Record]) -> None:
        self.records += records

    def on_failure(self, error: Exception) -> None:
        self.failures.append(error)


class Poller:
    """One poll thread with its leases."""

    def __init__(
        self,
        broker: Broker,
        topics: TopicNames,
        protocol: Spoken = "classic",
        ends: LogEnds | None = None,
        **config: Any,
    ) -> None:
        self.leases = Leases()
        self.ears = Ears()
        settings = {
            "bootstrap.servers": broker.bootstrap_servers,
            **consumer_config(f"{topics.state}.group", None, 6000, protocol),
            "fetch.wait.max.ms": 20,
            **({"heartbeat.interval.ms": 200} if protocol == "classic" else {}),
            **config,
        }
        read = [topics.plug_in, topics.reroute]
        ends = ends or LogEnds({"bootstrap.servers": broker.bootstrap_servers}, topics.state)
        self.poll = PollThread(settings, read, self.leases, self.ears, ends, read)

    def join(self, partitions: int) -> "Poller":
        """Start, and return when so many partitions came."""
        self.poll.start()
        wait_for(lambda: len(self.ears.assigned) >= partitions, f"{partitions} partitions")
        return self

    def lease(self, partition: Partition) -> Lease:
        """The open lease of a partition."""
        lease = self.leases.current(*partition)
        assert lease is not None
        return lease

    def begin(self, offsets: dict[Partition, int]) -> bool:
        """Deliver these from there on."""
        return done(self.poll.begin(offsets, [self.lease(partition) for partition in offsets]))

    def read(self, count: int) -> list[Record]:
        """What was handed over, once it is so much."""
        wait_for(lambda: len(self.ears.records) >= count, f"{count} records, and not {len(self.ears.records)}")
        return self.ears.records


def done(future: "Future[bool]") -> bool:
    """A command's answer."""
    return future.result(SECONDS)

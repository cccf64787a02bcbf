"""Poison: whatever a record holds, it ends as one dead letter with its reason, and harms no record around it."""

import signal
import struct
import sys
from collections import Counter
from pathlib import Path
from typing import cast

from confluent_kafka import Message, Producer

from processor.core.outputs import Result
from processor.demo.kafka import Broker
from processor.shell.records import Headers
from processor.shell.topics import TopicNames
from processor.wire.avro import VALUE_MAX_BYTES
from tests.broker import produce, read_committed
from tests.kafka.rig import (
    Running,
    Seen,
    now_ms,
    page_of,
    plug_in,
    processor,
    processor_environ,
    read_all,
    samples_of,
    simulator,
    wait_for_tasks,
    wait_until,
    withdrawal,
)

GOOD = plug_in("s-good", "c-good", "good")
HEADER = GOOD[:10]
"""What says that a plug-in follows."""
MONTH_MS = 31 * 24 * 3_600_000
CORPUS: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "framing"),
    "short": (b"\xc3\x01\x00", "framing"),
    "no avro": (b'{"event_id": "p-1"}', "framing"),
    "a registry's framing": (b"\x00\x00\x00\x00\x07" + GOOD[10:], "framing"),
    "unknown schema": (b"\xc3\x01" + b"\x07" * 8 + GOOD[10:], "schema"),
    "another topic's schema": (withdrawal("s-x", "w-x"), "schema"),
    "length of 2^40": (HEADER + b"\x80\x80\x80\x80\x80\x80\x01" + b"a" * 20, "decode"),
    "negative length": (HEADER + b"\x01" + b"a" * 20, "decode"),
    "cut short": (GOOD[:-9], "decode"),
    "bad text": (HEADER + b"\x04\xff\xfe" + GOOD[15:], "decode"),
    "bytes too many": (GOOD + b"\x00", "trailing_bytes"),
    "oversize": (HEADER + b"a" * VALUE_MAX_BYTES, "oversize"),
    "bad id": (plug_in("../s", "c-x", "x-1"), "bad_id"),
    "too old": (plug_in("s-x", "c-x", "x-2", now_ms() - MONTH_MS), "too_old"),
    "power that is no number": (GOOD.replace(struct.pack("<d", 7.4), struct.pack("<d", float("nan"))), "bad_power"),
    "a time in seconds": (plug_in("s-x", "c-x", "x-3", 1_763_800_020), "bad_time"),
}


def headers_of(message: Message) -> dict[str, str]:
    """A record's headers as text."""
    headers = cast("Headers", message.headers() or [])
    return {name: value.decode() for name, value in headers if isinstance(value, bytes)}


def test_each_poison_is_one_dead_letter_and_good_records_pass(broker: Broker, topics: TopicNames) -> None:
    """All good records are settled, each bad one is a dead letter with its reason, a withdrawal's alarm is raised."""
    bootstrap = broker.bootstrap_servers
    with simulator() as axle, processor(processor_environ(bootstrap, topics, axle.url), 2) as running:
        good = [plug_in(f"s-{number}", f"c-{number}", f"p-{number}") for number in range(len(CORPUS))]
        records = [
            (f"k-{name}", value, [("trace", name)])
            for each, (name, (bad, _)) in zip(good, CORPUS.items(), strict=True)
            for name, value in ((f"good before {name}", each), (name, bad))
        ]
        produce(bootstrap, topics.plug_in, records)
        produce(bootstrap, topics.plug_in, [("k", None, None)])
        produce(bootstrap, topics.consent_withdrawn, [("k", b"who wants out?", [("trace", "withdrawal")])])
        seen = Seen()
        for message in read_committed(bootstrap, topics.outcomes, 2 * len(CORPUS) + 2, 40):
            seen.take(topics, message)

        def alarms() -> float | None:
            found = samples_of(page_of(running), "axle_processor_alarms_total")
            return found.get('{kind="withdrawal_unreadable"}')

        wait_until(lambda: alarms() == 1, 10, "the withdrawal's alarm")
        assert running.terminate() == 0, running.said()

    results = Counter(outcome.result for outcomes in seen.outcomes.values() for outcome in outcomes)
    assert results[Result.MODIFIED] + results[Result.UNCHANGED] == len(CORPUS)
    assert results.total() - len(CORPUS) == results[Result.INVALID] == len(CORPUS) + 2
    dead = {}
    for message in read_all(bootstrap, topics.dead_letter):
        headers = headers_of(message)
        dead[headers["trace"]] = (message.value(), headers["dlt-error-class"])
        assert headers["dlt-original-topic"] in {topics.plug_in, topics.consent_withdrawn}
    assert len(read_all(bootstrap, topics.dead_letter)) == len(dead)
    assert dead == CORPUS | {"withdrawal": (b"who wants out?", "framing")}


CRASHING = """
import os, signal, sys
from processor.cli.run import run_verb
from processor.shell.axle_transport import http_transport
from processor.shell.schema_files import schema_texts
from processor.shell.service import Service
from processor.wire.avro import Codec

class Crashing(Codec):
    def decode(self, kind, value):
        if b"kills-us" in value:
            os.kill(os.getpid(), signal.SIGSEGV)
        return super().decode(kind, value)

sys.exit(run_verb(lambda config: Service(config, http_transport(), codec=Crashing(schema_texts()))))
"""


def test_a_record_that_crashes_the_process_is_isolated(broker: Broker, topics: TopicNames, tmp_path: Path) -> None:
    """Three processes die of it, the fourth dead-letters it unread, and the records around it are settled once."""
    bootstrap = broker.bootstrap_servers
    names = ["before", "kills-us", "after"]
    producer = Producer({"bootstrap.servers": bootstrap})
    for name in names:
        producer.produce(topics.plug_in, plug_in(f"s-{name}", f"c-{name}", name), name, 0)
    assert producer.flush(10) == 0
    with simulator() as axle:
        environ = processor_environ(
            bootstrap, topics, axle.url, KAFKA__INSTANCE_ID="one", INPUTS__BREADCRUMB_FILE=str(tmp_path / "crumb")
        )
        for _ in range(3):
            crashing = Running([sys.executable, "-c", CRASHING], environ)
            try:
                assert crashing.process.wait(40) == -signal.SIGSEGV, crashing.said()
            finally:
                crashing.end()
        last = Running([sys.executable, "-c", CRASHING], environ)
        try:
            wait_for_tasks(last, 2)
            seen = Seen()
            for message in read_committed(bootstrap, topics.outcomes, 3, 40):
                seen.take(topics, message)
            assert last.terminate() == 0, last.said()
        finally:
            last.end()
    are_invalid = {
        source: [outcome.result is Result.INVALID for outcome in outcomes] for source, outcomes in seen.outcomes.items()
    }
    assert are_invalid == {(topics.plug_in, 0, offset): [name == "kills-us"] for offset, name in enumerate(names)}
    (dead,) = read_all(bootstrap, topics.dead_letter)
    assert headers_of(dead)["dlt-error-class"] == "crashed"
    assert dead.key() == b"kills-us"

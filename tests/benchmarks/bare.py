"""The yardsticks of the benchmark: a bare transaction loop and a bare HTTP client, on the core that the processor had.

Each is a process of its own, `python -m tests.benchmarks.bare WHAT JSON`, that knows nothing of the product but how
large its records are. The loop does for each batch what a stream processor cannot do without: consume, produce two
records for each one, send the offsets, commit. It uses the settings that the product uses (`retry.backoff.ms`, no
linger) and the same two calls to consume, so that what is left between the two is the product's own.
"""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

from confluent_kafka import Consumer, KafkaError, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined] # its stubs omit it

from processor.demo.reader import Reader
from tests.benchmarks.client_bench import ANSWER, bare_pyreqwest, event_loops, measure
from tests.benchmarks.fast_axle import CannotRun, Cores, fast_axle
from tests.benchmarks.load import PACE, WARM_SHARE, summary
from tests.benchmarks.stand import Stand
from tests.kafka.rig import wait_until

BATCH_MAX = 500
INPUT_BYTES, OUTPUT_BYTES = 200, 350
"""About what a plug-in has, and what a schedule and a state have on average."""
_START_SECONDS, _MEASURE_SECONDS = 30.0, 300.0


@contextmanager
def _child(cores: Cores, what: str, **told: Any) -> Iterator[subprocess.Popen[str]]:
    """A yardstick in a process of its own on the measured core."""
    command = [sys.executable, "-m", "tests.benchmarks.bare", what, json.dumps(told)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        cores.bind_measured(child.pid)
        try:
            yield child
        finally:
            child.kill()


def _last_word(child: subprocess.Popen[str]) -> dict[str, float]:
    told, _ = child.communicate(timeout=_MEASURE_SECONDS)
    if child.returncode:
        raise CannotRun(f"a yardstick ended with code {child.returncode}")
    figures: dict[str, float] = json.loads(told.splitlines()[-1])
    return figures


def call(on: Stand, seconds: float) -> dict[str, float]:
    """What one call of the bare client costs, 200 in flight, at Axle's latency."""
    with fast_axle(ANSWER) as server, _child(on.cores, "call", url=f"{server.url}/50", seconds=seconds) as child:
        return _last_word(child)


def loop_at_full_speed(on: Stand, records: int) -> dict[str, float]:
    """What an event costs in the bare loop when there is always a full batch."""
    source, target = _topics(on, "full")
    producer = Producer({"bootstrap.servers": on.bootstrap, "linger.ms": 5})
    for number in range(records):
        producer.produce(source, bytes(INPUT_BYTES), str(number))
        producer.poll(0)
    assert producer.flush(60) == 0, "records were not acknowledged"
    with _child(on.cores, "loop", bootstrap=on.bootstrap, source=source, target=target, records=records) as child:
        return _last_word(child)


def loop_at_pace(on: Stand, seconds: float) -> dict[str, Any]:
    """How long a record takes through the bare loop, at the pace that the processor had."""
    source, target = _topics(on, "pace")
    appended: dict[str, int] = {}
    came: dict[str, tuple[int, float]] = {}

    def hear(messages: list[Message]) -> None:
        for message in messages:
            key = (message.key() or b"").decode()
            came.setdefault(key, (message.timestamp()[1], time.time_ns() / 1e6))

    def delivered(error: KafkaError | None, message: Message) -> None:
        assert error is None, error
        appended[(message.key() or b"").decode()] = message.timestamp()[1]

    records = round(seconds * PACE)
    reader = Reader(on.bootstrap, [target], hear)
    reader.start()
    try:
        with _child(on.cores, "loop", bootstrap=on.bootstrap, source=source, target=target, records=records) as child:
            assert child.stdout is not None
            child.stdout.readline()  # it is at work
            producer = Producer({"bootstrap.servers": on.bootstrap, "linger.ms": 0})
            began = time.monotonic()
            for number in range(records):
                while time.monotonic() < began + number / PACE:
                    producer.poll(0)
                    time.sleep(0.001)
                producer.produce(source, bytes(INPUT_BYTES), str(number), on_delivery=delivered)
                producer.poll(0)
            assert producer.flush(10) == 0, "records were not acknowledged"
            wait_until(lambda: len(came) == records, _START_SECONDS, "the bare loop's records")
            _last_word(child)
    finally:
        reader.stop()
    kept = [(came[key], at) for key, at in appended.items() if int(key) >= records * WARM_SHARE]
    return {
        "ms": summary([end[0] - at for end, at in kept]),
        "readable_ms": summary([end[1] - at for end, at in kept]),
    }


def _topics(on: Stand, what: str) -> tuple[str, str]:
    names = [f"{what}.{time.time_ns():x}.{end}" for end in ("in", "out")]
    config = {"message.timestamp.type": "LogAppendTime"}
    admin = AdminClient({"bootstrap.servers": on.bootstrap})
    for future in admin.create_topics([NewTopic(name, 6, 1, config=config) for name in names]).values():
        future.result(30)
    return names[0], names[1]


def _call(url: str, seconds: float) -> dict[str, float]:
    name, factory = list(event_loops().items())[-1]  # uvloop where `run` would take it
    with asyncio.Runner(loop_factory=factory) as runner:
        made = runner.run(measure(bare_pyreqwest, url, 1.0, seconds))
    print(f"the bare client ran on {name}", file=sys.stderr)
    return {"calls_per_s": round(made.calls / made.seconds), "cpu_us": round(made.cpu_seconds / made.calls * 1e6, 1)}


def _loop(bootstrap: str, source: str, target: str, records: int) -> dict[str, float]:
    """Until so many records have gone through."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": source,
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "auto.offset.reset": "earliest",
            "fetch.wait.max.ms": 50,
        }
    )
    producer = Producer(
        {"bootstrap.servers": bootstrap, "transactional.id": source, "linger.ms": 0, "retry.backoff.ms": 3}
    )
    producer.init_transactions(30)
    done, batches, output = 0, 0, bytes(OUTPUT_BYTES)
    with closing(consumer):
        consumer.subscribe([source], on_assign=lambda *_: print("at work", flush=True))
        while (first := consumer.poll(0.1)) is None:
            pass
        began, cpu = time.monotonic(), time.process_time()
        while done < records:
            messages = [first, *consumer.consume(BATCH_MAX - 1, 0)] if first is not None else []
            good = [message for message in messages if message.error() is None]
            if good:
                _transaction(producer, consumer, target, good, output)
                done, batches = done + len(good), batches + 1
            first = consumer.poll(0.1) if done < records else None
        seconds, cpu_seconds = time.monotonic() - began, time.process_time() - cpu
    return {
        "events_per_s": round(done / seconds),
        "cpu_us": round(cpu_seconds / done * 1e6, 1),
        "records_per_transaction": round(done / batches, 1),
    }


def _transaction(producer: Producer, consumer: Consumer, target: str, messages: list[Message], output: bytes) -> None:
    offsets: dict[int, int] = {}
    producer.begin_transaction()
    for message in messages:
        producer.produce(target, output, message.key())
        producer.produce(target, output, message.key())
        offsets[message.partition() or 0] = (message.offset() or 0) + 1
    topic = messages[0].topic() or ""
    positions = [TopicPartition(topic, partition, offset) for partition, offset in offsets.items()]
    producer.send_offsets_to_transaction(positions, consumer.consumer_group_metadata())
    producer.commit_transaction(30)


if __name__ == "__main__":
    told = json.loads(sys.argv[2])
    print(json.dumps(_call(**told) if sys.argv[1] == "call" else _loop(**told)))

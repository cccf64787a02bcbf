"""`axle-processor tail`: what each charger shall do, record by record, as it is published.

Here live the filters, the line and the end; what a charger is told is in `wire/ocpp.py`. The one idea: it reads as a
charger-control service does, only what is committed, and is no member of any group, so any number may look on.
"""

import os
import select
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass

import orjson
from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition

from processor.cli.cluster import (
    ASK_SECONDS,
    Cluster,
    Failed,
    arrivals,
    ends,
    exit_code,
    now_ms,
    reached,
    reader,
    words,
)
from processor.cli.schema_registry import codec_of
from processor.cli.times import told_ms
from processor.core.explain import TellTime, utc_clock
from processor.core.outputs import ModifiedSchedule, Status
from processor.settings import load
from processor.shell.exits import EXIT_USAGE
from processor.shell.log_ends import EARLIEST
from processor.shell.records import Partition
from processor.shell.schema_files import schema_texts
from processor.wire.avro import OUTPUT_RECORDS, Codec, Fields, Undecodable
from processor.wire.instants import iso_z
from processor.wire.json_fields import JsonForm
from processor.wire.ocpp import VERSIONS, OcppVersion, call, options_of

Writer = Callable[[Message, Fields], str]
"""Makes the line of a record that fits. Raises ValueError when the record cannot be said so."""

LISTED_MAX = 6
"""How many blocks of a schedule a line lists."""


@dataclass(frozen=True, slots=True)
class TailOptions:
    """What is wanted. Of each filter one word must fit; none given fits all."""

    chargers: Sequence[str]
    sites: Sequence[str]
    statuses: Sequence[str]
    start: str
    count: int | None
    json: bool
    ocpp: str | None = None
    ocpp_options: Sequence[str] = ()
    """NAME=VALUE words: the options of `wire/ocpp.py`."""


def tail_verb(options: TailOptions) -> int:
    """Follow until Ctrl-C, until nobody reads on, or for so many records. Returns the exit code."""
    try:
        at_ms = None if options.start in {"earliest", "latest"} else max(told_ms(options.start, now_ms()), 0)
    except ValueError as wrong:
        print(f"usage: --from: {wrong}; or give earliest, or latest", file=sys.stderr)
        return EXIT_USAGE
    unknown = [status for status in options.statuses if status not in Status.__members__]
    if unknown:
        print(f"usage: --status: {unknown[0]!r} is none of {', '.join(Status)}", file=sys.stderr)
        return EXIT_USAGE
    try:
        write = _writer(options)
    except ValueError as wrong:
        print(f"usage: {wrong}", file=sys.stderr)
        return EXIT_USAGE

    def work() -> int:
        settings = load()
        cluster = reached(settings, [settings.topics.modified_schedule])
        try:
            codec = codec_of(settings, [OUTPUT_RECORDS[ModifiedSchedule]])
            _follow(cluster, options, _offsets(cluster, options.start, at_ms), _Show(options, codec, write))
        except KeyboardInterrupt:
            return 0
        except BrokenPipeError:
            # What is still buffered would be written at exit, and complain once more.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0

    return exit_code(work, "stopped before anything was read")


def _offsets(cluster: Cluster, start: str, at_ms: int | None) -> dict[Partition, int]:
    """Where to begin in each partition: asked for before anything is said, so that nothing after it is missed."""
    topic = cluster.names.modified_schedule
    partitions = cluster.all_of(topic)
    if start == "earliest":
        return ends(cluster, partitions, "nothing can be followed", EARLIEST)
    last = ends(cluster, partitions, "nothing can be followed")
    if at_ms is None:
        return last
    asked = [TopicPartition(*partition, at_ms) for partition in partitions]
    with closing(reader(cluster)) as consumer:
        try:
            found = consumer.offsets_for_times(asked, ASK_SECONDS)
        except KafkaException as failure:
            raise Failed(f"where {topic} was at {iso_z(at_ms)} cannot be read: {words(failure)}") from failure
    # Where nothing was published since then the offset is a word for the end, a number below 0.
    return {(topic, each.partition): each.offset if each.offset >= 0 else last[topic, each.partition] for each in found}


def _follow(cluster: Cluster, options: TailOptions, offsets: dict[Partition, int], show: "_Show") -> None:
    """Print what fits until there was enough. Raises BrokenPipeError when nobody reads on, and Failed."""
    is_read_on = _reader_of_stdout()
    with closing(reader(cluster, error_cb=show.trouble)) as consumer:
        consumer.assign([TopicPartition(*partition, offset) for partition, offset in offsets.items()])
        print(f"following {cluster.names.modified_schedule} from {options.start}; Ctrl-C ends it", file=sys.stderr)
        while not show.is_enough:
            if not is_read_on():
                raise BrokenPipeError
            for message in arrivals(consumer):
                show.take(message)
            sys.stdout.flush()


class _Show:
    """Prints the records that fit."""

    def __init__(self, options: TailOptions, codec: Codec, write: Writer) -> None:
        self._codec, self._options, self._write = codec, options, write
        self._keys = {charger.encode(errors="replace") for charger in options.chargers}
        self._left = options.count
        self._is_down = False

    @property
    def is_enough(self) -> bool:
        """Whether as many were printed as were asked for."""
        return self._left == 0

    def take(self, message: Message) -> None:
        """One record, or an error in its place, which passes by itself."""
        if message.error() is not None:
            return
        self._is_down, value = False, message.value()
        if value is None or self.is_enough or (self._keys and message.key() not in self._keys):
            return
        try:
            fields = self._codec.output_fields(ModifiedSchedule, value)
            line = self._write(message, fields) if self._fits(fields) else None
        except (Undecodable, ValueError) as unread:
            place = f"{message.topic()} [{message.partition()}] at offset {message.offset()}"
            print(f"a record is passed over ({place}): {unread}", file=sys.stderr)
            return
        if line is not None:
            print(line)
            self._left = None if self._left is None else self._left - 1

    def trouble(self, error: KafkaError) -> None:
        """What librdkafka says of the brokers. It goes on trying by itself."""
        if error.name() == "_ALL_BROKERS_DOWN" and not self._is_down:
            self._is_down = True
            print("no broker answers; this goes on as soon as one does", file=sys.stderr)

    def _fits(self, fields: Fields) -> bool:
        sites, statuses = self._options.sites, self._options.statuses
        return (not sites or fields["site_id"] in sites) and (not statuses or fields["status"] in statuses)


def _writer(options: TailOptions) -> Writer:
    """How a record is printed. Raises ValueError when it is asked for in a way that there is not."""
    form = JsonForm(schema_texts()["ev.modified-schedule.v1"])
    version, differ = _ocpp_version(options.ocpp), options_of(options.ocpp_options)
    if version is None and options.ocpp_options:
        raise ValueError("--ocpp-option says how a charger differs; give --ocpp too")

    def write(message: Message, fields: Fields) -> str:
        told = call(fields, version, differ) if version else None
        if not options.json:
            return line_of(fields) if told is None else orjson.dumps(told).decode()
        more = {"partition": message.partition(), "offset": message.offset()} | ({"ocpp": told} if told else {})
        return orjson.dumps(form.show(fields) | more).decode()

    return write


def _ocpp_version(word: str | None) -> OcppVersion | None:
    known: dict[str | None, OcppVersion | None] = {None: None, **{version: version for version in VERSIONS}}
    if word not in known:
        raise ValueError(f"--ocpp: {word!r} is none of {', '.join(VERSIONS)}")
    return known[word]


def line_of(fields: Fields) -> str:
    """A modified schedule in one line; times of day are UTC, with the day where it is not that of the decision."""
    clock = utc_clock(fields["decided_at"])
    charge = _spans(fields["effective"], clock) or "freely"
    pause = f"; pause {_spans(fields['pauses'], clock)}" if fields["pauses"] else ""
    return (
        f"{iso_z(fields['decided_at'] // 1000 * 1000)}  {fields['charger_id']}  site {fields['site_id']}  "
        f"{fields['status']}  charge {charge}{pause}; valid until {clock(fields['valid_until'])}.  {fields['reason']}"
        f"  [revision {fields['revision']}]"
    )


def _spans(blocks: Sequence[Fields], clock: TellTime) -> str:
    spans = [f"{clock(block['start'])} to {clock(block['end'])}" for block in blocks[:LISTED_MAX]]
    more = len(blocks) - LISTED_MAX
    return ", ".join([*spans, f"{more} more"] if more > 0 else spans)


def _reader_of_stdout() -> Callable[[], bool]:
    """Whether somebody still reads what is printed: else that shows only with the next record, which may be far."""
    try:
        number = sys.stdout.fileno()
    except OSError:
        return lambda: True
    poller = select.poll()
    poller.register(number, 0)
    return lambda: not poller.poll(0)

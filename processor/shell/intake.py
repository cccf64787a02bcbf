"""Intake: what a record from Kafka is to us. An event for one of our tasks, one for somebody else's, or a reject.

Here live routing (design 6.1) and the dead letters. The one idea: a record is processed where it was read only when
everything of its site is read there too (its topic has as many partitions as there are tasks, and its site hashes to
its partition). Otherwise it takes one hop through the reroute topic, which makes any key, partitioner and partition
count upstream right.

An order (to erase a household, to look for a charger that left) is a record that begins on the reroute topic, in the
partition of its site. Nowhere else does it mean anything: inputs come from the platform, orders from who may write to
the internal topic.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated

from msgspec import DecodeError, Meta, Struct
from msgspec.json import Decoder, encode

from processor import __version__
from processor.core.events import (
    ConsentWithdrawn,
    Erase,
    Input,
    PlugIn,
    Source,
    StillListed,
    Unreadable,
    UserBoost,
    WithdrawalReason,
)
from processor.shell.breadcrumb import Breadcrumb
from processor.shell.partition import task_of
from processor.shell.records import Headers, Produce, Record, size_of
from processor.shell.topics import TopicNames
from processor.wire.avro import Codec
from processor.wire.inputs import InputLimits, RejectCode, Rejected, read_input

HOP_PREFIX = "reroute-"
"""Headers that begin so are ours. On an input topic they mean nothing, and they take no hop."""
HOP_KIND = "reroute-kind"
"""What the record is: the name of an `Input`, or that of an order."""
ERASE, STILL_LISTED = "ERASE", "STILL_LISTED"
HOP_TOPIC = "reroute-topic"
HOP_PARTITION = "reroute-partition"
HOP_OFFSET = "reroute-offset"
HOP_FIRST_READ_MS = "reroute-first-read-ms"
HOP_KEY = "reroute-key"
RECORD_BYTES_MAX = 512 * 1024
"""With its key and its headers. A larger one is not read: what we write of it must stay below what brokers take."""
DEAD_LETTER_BYTES_MAX = 900 * 1024
"""Below what brokers take by default. A larger record could never be written, and would be tried for ever."""
DEAD_LETTER_CUT_BYTES = 64 * 1024
ORDER_BYTES_MAX = 4096
_INT64_MAX = (1 << 63) - 1
_DIGITS_MAX = 18
"""A longer number is none of ours, and may not fit into what we write."""
Order = Erase | StillListed


class Arrival(Struct, frozen=True):
    """A record as it was read. `task` is None when no site could be read: then it is settled where it is."""

    source: Source
    first_read_ms: int
    key: bytes | None
    headers: Headers
    said: PlugIn | UserBoost | ConsentWithdrawn | Order | Rejected
    task: int | None
    is_here: bool
    """Whether it may be processed where it was read."""


class _Order(Struct):
    """An order to erase as it is written: UTC milliseconds, and nothing but ids."""

    event_id: str
    occurred_at: Annotated[int, Meta(ge=-_INT64_MAX, le=_INT64_MAX)]
    site_id: str


class _LookOrder(_Order):
    """An order to look for a charger that left at that time."""

    charger_id: str
    left_at: Annotated[int, Meta(ge=-_INT64_MAX, le=_INT64_MAX)]


_ORDERS: dict[str, Decoder[_Order] | Decoder[_LookOrder]] = {
    ERASE: Decoder(_Order),
    STILL_LISTED: Decoder(_LookOrder),
}


class Intake:
    """Reads records. `partitions` are the input topics' partition counts."""

    def __init__(
        self,
        names: TopicNames,
        partitions: Mapping[str, int],
        tasks: int,
        codec: Codec,
        limits: InputLimits,
        group: str,
        crumb: Breadcrumb | None = None,
    ) -> None:
        """`crumb` is told of each record before it is read; without it a record that kills is read for ever."""
        self._names = names
        self._kinds = {
            names.plug_in: Input.PLUG_IN,
            names.user_boost: Input.USER_BOOST,
            names.consent_withdrawn: Input.CONSENT_WITHDRAWN,
        }
        self._colocated = {topic for topic, count in partitions.items() if count == tasks}
        self._tasks = tasks
        self._codec = codec
        self._limits = limits
        self._group = group
        self.crumb = crumb or Breadcrumb()

    @property
    def input_topics(self) -> list[str]:
        """The three topics that the platform writes."""
        return list(self._kinds)

    def serves_task(self, topic: str) -> bool:
        """Whether partition p of the topic is an input of task p."""
        return topic == self._names.reroute or topic in self._colocated

    def kind_of(self, record: Record) -> Input | None:
        """What the record is read as; None for an order, and for what names no kind."""
        if record.topic != self._names.reroute:
            return self._kinds.get(record.topic)
        hop = {name: _text(value) for name, value in record.headers if name in {HOP_KIND, HOP_TOPIC}}
        return self._kind_after_hop(hop.get(HOP_KIND), hop.get(HOP_TOPIC) or record.topic)

    def read(self, record: Record, now_ms: int) -> Arrival:
        """Step 3: what the record says, whose it is, and when it was first read."""
        if record.is_unpackable:
            sentence = "the batch that holds the record is damaged, or too large once it is unpacked"
            return self._unread(record, now_ms, Rejected(RejectCode.UNPACKABLE, sentence))
        if not self.crumb.mark(record):
            sentence = "reading the record ended the process three times; it was not read again"
            return self._unread(record, now_ms, Rejected(RejectCode.CRASHED, sentence))
        if record.topic == self._names.reroute:
            return self._after_hop(record, now_ms)
        first_read_ms = now_ms if record.appended_ms is None else record.appended_ms
        source = Source(record.topic, record.partition, record.offset)
        said = _too_large(record) or read_input(
            self._kinds[record.topic], record.value, source, first_read_ms, self._codec, self._limits
        )
        task = None if said.site_id is None else task_of(said.site_id, self._tasks)
        is_here = task is None or (task == record.partition and record.topic in self._colocated)
        return Arrival(source, first_read_ms, record.key, record.headers, said, task, is_here)

    def _unread(self, record: Record, now_ms: int, why: Rejected) -> Arrival:
        """Nothing of it is read, not even where it came from before."""
        source = Source(record.topic, record.partition, record.offset)
        first_read_ms = now_ms if record.appended_ms is None else record.appended_ms
        return Arrival(source, first_read_ms, record.key, record.headers, why, None, is_here=True)

    def _after_hop(self, record: Record, now_ms: int) -> Arrival:
        hop = {name: value for name, value in record.headers if name.startswith(HOP_PREFIX)}
        kind = _text(hop.get(HOP_KIND))
        if kind in _ORDERS:
            return self._order(record, now_ms, kind)
        source = Source(
            _text(hop.get(HOP_TOPIC)) or record.topic,
            _number(hop.get(HOP_PARTITION), record.partition),
            _number(hop.get(HOP_OFFSET), record.offset),
        )
        first_read_ms = _number(hop.get(HOP_FIRST_READ_MS), now_ms)
        key = hop.get(HOP_KEY)
        key_bytes = key.encode() if isinstance(key, str) else key
        headers = _not_ours(record.headers)
        said = self._said_after_hop(kind, record.value, source, first_read_ms)
        return Arrival(source, first_read_ms, key_bytes, headers, said, record.partition, is_here=True)

    def _said_after_hop(
        self, kind: str | None, value: bytes | None, source: Source, first_read_ms: int
    ) -> PlugIn | UserBoost | ConsentWithdrawn | Rejected:
        known = self._kind_after_hop(kind, source.topic)
        if known is None:
            return Rejected(RejectCode.SCHEMA, f"the header {HOP_KIND} names no kind of record that is known here")
        return read_input(known, value, source, first_read_ms, self._codec, self._limits)

    def _kind_after_hop(self, kind: str | None, first_topic: str) -> Input | None:
        """A hop of an earlier release names no kind: its first topic's name tells, while no topic is renamed."""
        if kind is None:
            return self._kinds.get(first_topic, Input.PLUG_IN)
        return Input(kind) if kind in Input.__members__ else None

    def _order(self, record: Record, now_ms: int, kind: str) -> Arrival:
        """It had no place before this one. Its headers stay as they are, or a replay would not be an order again."""
        source = Source(record.topic, record.partition, record.offset)
        first_read_ms = now_ms if record.appended_ms is None else record.appended_ms
        said = read_order(record.value, source, first_read_ms, self._codec, self._limits, kind)
        if isinstance(said, Order) and task_of(said.site_id, self._tasks) != record.partition:
            reason = f"the order is not in the partition of its site_id, of {self._tasks}"
            said = Rejected(RejectCode.BAD_ID, reason, said.event_id, said.site_id)
        return Arrival(source, first_read_ms, record.key, record.headers, said, record.partition, is_here=True)

    def hop(self, record: Record, arrival: Arrival) -> Produce:
        """The record on its way to its task; where it came from, and when, goes with it."""
        said = arrival.said
        headers: Headers = [
            *_not_ours(arrival.headers),
            (HOP_KIND, self._kinds[record.topic].value.encode()),
            (HOP_TOPIC, arrival.source.topic.encode()),
            (HOP_PARTITION, str(arrival.source.partition).encode()),
            (HOP_OFFSET, str(arrival.source.offset).encode()),
            (HOP_FIRST_READ_MS, str(arrival.first_read_ms).encode()),
        ]
        if arrival.key is not None:
            headers.append((HOP_KEY, arrival.key))
        key = (said.site_id or "").encode()
        return Produce(self._names.reroute, key, record.value, headers, arrival.task)

    def is_withdrawal(self, arrival: Arrival) -> bool:
        """Whether the record came as a withdrawal, whatever it says."""
        return self._kinds.get(arrival.source.topic) is Input.CONSENT_WITHDRAWN

    def dead_letter(self, record: Record, arrival: Arrival, rejected: Rejected) -> Produce:
        """The record as it was, and why it was refused. The headers of ours hold nothing of what it says.

        Of a record too large to be written again only the beginning is kept, without its headers.
        """
        source = arrival.source
        headers: Headers = [
            ("dlt-original-topic", source.topic.encode()),
            ("dlt-original-partition", str(source.partition).encode()),
            ("dlt-original-offset", str(source.offset).encode()),
            ("dlt-original-timestamp", str(arrival.first_read_ms).encode()),
            ("dlt-group", self._group.encode()),
            ("dlt-error-class", rejected.code.value.encode()),
            ("dlt-error-reason", rejected.reason.encode()),
            ("dlt-processor-version", __version__.encode()),
        ]
        key, value = arrival.key or b"", record.value or b""
        size = size_of(key, value, arrival.headers)
        if size <= DEAD_LETTER_BYTES_MAX:
            headers = [*arrival.headers, *headers]
            return Produce(self._names.dead_letter, arrival.key, record.value, headers)
        headers.append(("dlt-cut-from-bytes", str(size).encode()))
        cut = DEAD_LETTER_CUT_BYTES
        return Produce(self._names.dead_letter, key[:cut], value[:cut], headers)


def event_of(arrival: Arrival) -> PlugIn | UserBoost | ConsentWithdrawn | Order | Unreadable | None:
    """What the core must hear of a record: the event, or that a driver did something that we could not read."""
    said = arrival.said
    return said.unreadable if isinstance(said, Rejected) else said


def order_to_erase(reroute_topic: str, tasks: int, site_id: str, event_id: str, occurred_at_ms: int) -> Produce:
    """The record that orders a household to be forgotten; `tasks` is how many partitions the reroute topic has."""
    return _order_record(reroute_topic, tasks, ERASE, _Order(event_id, occurred_at_ms, site_id))


def order_to_look(
    reroute_topic: str, tasks: int, site_id: str, charger_id: str, left_at_ms: int, event_id: str, occurred_at_ms: int
) -> Produce:
    """The record that orders a look for a charger that left at that time, and that Axle's list still has."""
    order = _LookOrder(event_id, occurred_at_ms, site_id, charger_id, left_at_ms)
    return _order_record(reroute_topic, tasks, STILL_LISTED, order)


def _order_record(topic: str, tasks: int, kind: str, order: _Order) -> Produce:
    headers: Headers = [(HOP_KIND, kind.encode())]
    return Produce(topic, order.site_id.encode(), encode(order), headers, task_of(order.site_id, tasks))


def read_order(
    value: bytes | None, source: Source, first_read_ms: int, codec: Codec, limits: InputLimits, kind: str = ERASE
) -> Order | Rejected:
    """The order that a value tells, or why it is refused. Never raises, whatever the bytes are.

    What is valid is the table's business: an order is a withdrawal and more, so it is read as one. But its time is
    never ahead of `first_read_ms`, not by a minute: a consent that is given after it must count.
    """
    if value is None:
        return Rejected(RejectCode.NO_VALUE, "the record has no value", dead_letter=False)
    if len(value) > ORDER_BYTES_MAX:
        return Rejected(RejectCode.OVERSIZE, f"the order has {len(value)} bytes, more than {ORDER_BYTES_MAX}")
    try:
        order = _ORDERS[kind].decode(value)
    except (DecodeError, UnicodeDecodeError):
        more = ", charger_id and left_at" if kind == STILL_LISTED else ""
        return Rejected(
            RejectCode.DECODE,
            f"the order is no JSON object of event_id, site_id and occurred_at{more} (times in UTC milliseconds)",
        )
    charger_id = order.charger_id if isinstance(order, _LookOrder) else None
    why = WithdrawalReason.CHARGER_DISCONNECTED if charger_id is not None else WithdrawalReason.CONSENT_WITHDRAWN
    withdrawal = ConsentWithdrawn(order.event_id, order.occurred_at, source, order.site_id, charger_id, why)
    strict = replace(limits, ahead_max_ms=0)
    said = read_input(Input.CONSENT_WITHDRAWN, codec.encode_input(withdrawal), source, first_read_ms, codec, strict)
    if isinstance(said, Rejected):
        return said
    if isinstance(order, _LookOrder):
        ids = (said.site_id, order.charger_id)
        return StillListed(said.event_id, said.occurred_at_ms, source, *ids, order.left_at)
    return Erase(said.event_id, said.occurred_at_ms, source, said.site_id)


def _too_large(record: Record) -> Rejected | None:
    size = record.size_bytes
    if size <= RECORD_BYTES_MAX:
        return None
    sentence = f"the record has {size} bytes with its key and headers, more than {RECORD_BYTES_MAX}"
    return Rejected(RejectCode.OVERSIZE, sentence)


def _not_ours(headers: Headers) -> Headers:
    return [header for header in headers if not header[0].startswith(HOP_PREFIX)]


def _text(value: str | bytes | None) -> str | None:
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def _number(value: str | bytes | None, otherwise: int) -> int:
    text = _text(value)
    return int(text) if text and text.isdecimal() and len(text) <= _DIGITS_MAX else otherwise

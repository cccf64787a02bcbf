"""Sending dead letters again: which of them may go, as what record, and all that belongs together in one transaction.

What a letter is, is in `dlt_letters.py`; what is printed is in `dlt.py`. The one idea: a replay is a hop. The record
goes over the reroute topic to the task of its site, with the time at which it was first read, so it is weighed as it
would have been then: a newer word of the driver stays in force, a time ahead of the clock does not move, and the same
event id changes nothing the second time.

Exactly once: one transaction holds the records and, on the dead-letter topic itself, a marker for each letter. All
replays of a group share one transactional id, so one that begins fences off whoever is at it; and it looks for markers
only afterwards, once no open transaction hides any. Markers are younger than their letters, so they outlive them.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from confluent_kafka import IsolationLevel, KafkaException, Producer
from confluent_kafka.admin import AdminClient

from processor import __version__
from processor.cli.cluster import ASK_SECONDS, Cluster, Failed, ends, words
from processor.cli.dlt_letters import REPLAY_KIND, REPLAYED, REPLAYS, Letter, Place
from processor.core.events import Input
from processor.shell.intake import HOP_FIRST_READ_MS, HOP_KEY, HOP_KIND, HOP_PREFIX
from processor.shell.log_ends import LATEST, list_ends
from processor.shell.partition import task_of
from processor.shell.producer_config import producer_config
from processor.shell.records import Headers, Produce
from processor.shell.schema_files import schema_texts
from processor.wire.avro import Codec, Undecodable
from processor.wire.inputs import InputLimits, RejectCode, Rejected, read_input
from processor.wire.json_fields import JsonForm

REPLAYS_MAX = 3
"""A record that was refused so often again will be refused for ever."""
TRANSACTION_SECONDS = 30.0
SETTLE_SECONDS = 60.0
"""An open transaction ends within seconds, or is ended by the brokers."""
AGAIN_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Going:
    """A letter that goes again: the record, and the event that it tells."""

    letter: Letter
    record: Produce
    event_id: str
    site_id: str


@dataclass(frozen=True, slots=True)
class Staying:
    """A letter that does not, and why, with what to try."""

    place: Place
    why: str


class Replays:
    """Judges letters. `limits` are those of the processor, so that nothing goes that would only come back."""

    def __init__(self, cluster: Cluster, limits: InputLimits, codec: Codec) -> None:
        self._cluster = cluster
        self._limits = limits
        self._codec = codec
        texts = schema_texts()
        self._forms = {kind: JsonForm(texts[_SCHEMAS[kind]]) for kind in Input}

    def shown(self, letter: Letter) -> Mapping[str, object] | None:
        """What its value says, as far as the schema goes; None where it does not, or where reading it kills."""
        kind = letter.kind(self._cluster.names)
        if kind is None or letter.is_cut or letter.reason == RejectCode.CRASHED:
            return None
        try:
            return self._forms[kind].show(self._codec.decode(kind, letter.value or b""))
        except Undecodable:
            return None

    def judge(self, letter: Letter, fix: object | None = None) -> Going | Staying:
        """Whether it goes, as it is or with the event `fix` (what orjson read) in the place of its value."""
        kind = letter.kind(self._cluster.names)
        if kind is None:
            return Staying(letter.place, _no_input(letter, self._cluster))
        if letter.replays >= REPLAYS_MAX:
            why = f"it was replayed {letter.replays} times and refused each time; have its producer send the event anew"
            return Staying(letter.place, f"{why}, or send it with `axle-processor produce`")
        value, why = (letter.value, _unfixed(letter)) if fix is None else self._fixed(letter, kind, fix)
        if why or value is None:
            return Staying(letter.place, why)
        said = read_input(kind, value, letter.source, letter.first_read_ms, self._codec, self._limits)
        if isinstance(said, Rejected):
            remedy = (
                "correct that in the FILE" if fix is not None else "see `dlt show`, correct it, and give --fix FILE"
            )
            return Staying(letter.place, f"it would be refused again: {said.reason}; {remedy}")
        return Going(letter, self._record(letter, kind, said.site_id, value), said.event_id, said.site_id)

    def _fixed(self, letter: Letter, kind: Input, fix: object) -> tuple[bytes | None, str]:
        """The value that the fix makes, or why it makes none. It is the same event: it keeps the id that it had."""
        fields, misfits = self._forms[kind].read(fix)
        if misfits:
            return None, "; ".join(map(str, misfits))
        had = self.shown(letter)
        event_id = had["event_id"] if had else fields["event_id"]
        if event_id != fields["event_id"] and letter.reason != RejectCode.BAD_ID:
            return None, f"event_id: the letter's is {event_id!r}; keep it, or send another event with `produce`"
        return self._codec.encode_fields(kind, fields), ""

    def _record(self, letter: Letter, kind: Input, site_id: str, value: bytes) -> Produce:
        """As `Intake.hop` makes it, but without the place it had: it gets an outcome of its own."""
        names, tasks = self._cluster.names, self._cluster.partitions[self._cluster.names.reroute]
        headers: Headers = [
            *((name, text) for name, text in letter.headers if not name.startswith(("dlt-", HOP_PREFIX))),
            (REPLAYS, str(letter.replays + 1).encode()),
            (REPLAY_KIND, kind.value.encode()),
            ("dlt-replay-of", f"{names.dead_letter}-{letter.place.partition}@{letter.place.offset}".encode()),
            (HOP_KIND, kind.value.encode()),
            (HOP_FIRST_READ_MS, str(letter.first_read_ms).encode()),
        ]
        if letter.first_key is not None and not letter.is_cut:
            headers.append((HOP_KEY, letter.first_key))
        return Produce(names.reroute, site_id.encode(), value, headers, task_of(site_id, tasks))


class Sender:
    """A transactional producer that every replay of the group shares by its id. Opening it fences off the others."""

    def __init__(self, cluster: Cluster) -> None:
        """Raises Failed."""
        self._cluster = cluster
        config = producer_config(f"{cluster.group_id}.dlt-replay", round(TRANSACTION_SECONDS * 1000))
        try:
            self._producer = Producer({**config, **cluster.where})
            self._producer.init_transactions(TRANSACTION_SECONDS)
        except KafkaException as failure:
            raise Failed(f"nothing was replayed; no transaction can be begun: {words(failure)}") from failure
        self._settle()

    def send(self, going: Sequence[Going]) -> None:
        """All of them and their markers, or none. Raises Failed."""
        try:
            self._producer.begin_transaction()
            for each in going:
                for record in (each.record, _marker(self._cluster, each.letter.place)):
                    self._producer.produce(
                        record.topic, record.value, record.key, record.partition or 0, headers=record.headers
                    )
                self._producer.poll(0)
        except (KafkaException, BufferError) as failure:
            why = words(failure) if isinstance(failure, KafkaException) else str(failure)
            self._abort()
            raise Failed(f"nothing was replayed: {why}; give it again") from failure
        self._commit()

    def _commit(self) -> None:
        deadline = time.monotonic() + TRANSACTION_SECONDS
        while True:
            try:
                self._producer.commit_transaction(max(deadline - time.monotonic(), 1.0))
            except KafkaException as failure:
                error = failure.args[0]
                if error.retriable() and time.monotonic() < deadline:
                    continue
                if error.txn_requires_abort():
                    self._abort()
                raise Failed(
                    f"whether it was replayed is not known ({words(failure)}): all of it or nothing. Give it again: "
                    "what was replayed is not sent twice; if another replay runs, let it end first"
                ) from failure
            return

    def _abort(self) -> None:
        try:
            self._producer.abort_transaction(ASK_SECONDS)
        except KafkaException:
            # The brokers end it themselves, and so does the next replay when it begins.
            self._producer.purge()

    def _settle(self) -> None:
        """Return once no open transaction hides a marker that is there already. Raises Failed."""
        partitions = self._cluster.all_of(self._cluster.names.dead_letter)
        admin = AdminClient(self._cluster.where)
        deadline = time.monotonic() + SETTLE_SECONDS
        last, why = list_ends(admin, partitions, LATEST, ASK_SECONDS, IsolationLevel.READ_UNCOMMITTED)
        if why is not None:
            raise Failed(
                f"the ends of {self._cluster.names.dead_letter} cannot be read, nothing was replayed: {why.str()}"
            )
        while True:
            stable = ends(self._cluster, partitions, "nothing was replayed")
            if all(stable[partition] >= end for partition, end in last.items()):
                return
            if time.monotonic() > deadline:
                raise Failed("a transaction on the dead-letter topic stays open, nothing was replayed; try it later")
            time.sleep(AGAIN_SECONDS)


_SCHEMAS = {
    Input.PLUG_IN: "ev.plug-in.v1",
    Input.USER_BOOST: "ev.user-boost.v1",
    Input.CONSENT_WITHDRAWN: "ev.consent-withdrawn.v1",
}


def _marker(cluster: Cluster, place: Place) -> Produce:
    """The word that the letter was replayed, beside the letter, in headers that its readers know."""
    topic = cluster.names.dead_letter
    headers: Headers = [
        ("dlt-original-topic", topic.encode()),
        ("dlt-original-partition", str(place.partition).encode()),
        ("dlt-original-offset", str(place.offset).encode()),
        ("dlt-group", cluster.group_id.encode()),
        ("dlt-error-class", REPLAYED.encode()),
        ("dlt-error-reason", b"no letter: the one at the original place was replayed"),
        ("dlt-processor-version", __version__.encode()),
    ]
    return Produce(topic, None, None, headers, place.partition)


def _no_input(letter: Letter, cluster: Cluster) -> str:
    topic = letter.source.topic
    if topic == cluster.names.reroute:
        return "it is an order or foreign to that topic; give the order again (`erase`, `reconcile --apply`)"
    return f"it came from {topic}, which is no input of these settings; see AXLE_PROCESSOR_TOPICS__*"


def _unfixed(letter: Letter) -> str:
    """Why it may not go as it is; empty where it may."""
    if letter.is_cut:
        return "only its beginning was kept; have its producer send it anew, or give --fix FILE"
    if letter.reason == RejectCode.CRASHED:
        return "reading it ended the process three times; have its event sent anew, or give --fix FILE"
    return ""

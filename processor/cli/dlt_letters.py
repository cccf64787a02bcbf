"""Dead letters as the verbs meet them: what one is, what its reason asks of a person, how they are found and fetched.

What is sent again, and how, is in `dlt_replay.py`. The one idea: a letter tells all that is needed in its headers. Its
value is only kept of letters that somebody asked for, so a topic full of large letters costs little to list.
"""

import re
import time
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import NamedTuple, cast

from confluent_kafka import KafkaError, Message, TopicPartition

from processor.cli.cluster import Cluster, Failed, arrivals, read_all, reader
from processor.core.events import Input, Source
from processor.shell.intake import HOP_FIRST_READ_MS, HOP_KEY, HOP_KIND
from processor.shell.records import Headers
from processor.shell.topics import TopicNames
from processor.wire.avro import VALUE_MAX_BYTES
from processor.wire.inputs import RejectCode
from processor.wire.instants import iso_z

REFUSED_TOLD_MAX = 10
"""In the story of a charger."""
LETTERS_MAX = 100_000
"""At once; about 1 KB of memory each."""
REPLAYS = "dlt-replays"
"""How often a record was replayed; it goes along, so that it is still known should it become a letter again."""
REPLAY_KIND = "dlt-kind"
"""What a replayed record is, for a letter that it becomes again: its topic does not tell any more."""
REPLAYED = "replayed"
"""The class of a marker: no letter, but the word that the letter at its "original" place was replayed."""
TO_DO: Mapping[RejectCode, str] = {
    RejectCode.NO_VALUE: "Have the producer leave out records without a value.",
    RejectCode.OVERSIZE: "Have the producer send fewer blocks; no event needs so many bytes.",
    RejectCode.FRAMING: "Have the producer write Avro single-object encoding of the topic's schema, or, where the "
    "processor has schema_registry.url, a schema registry's framing; see the README.",
    RejectCode.SCHEMA: "Have the producer write the topic's own schema, of a release that is known here; "
    "`schemas check` tells which one breaks. Once that is registered where the processor looks, or after an update of "
    "the processor, the record may be replayed as it is.",
    RejectCode.DECODE: "Have the producer look at how it encodes; the bytes do not follow the schema that they name.",
    RejectCode.TRAILING_BYTES: "Have the producer look at how it encodes; more bytes follow than the schema asks for.",
    RejectCode.BAD_ID: "Correct the id, with other characters replaced the same way each time, and replay it fixed.",
    RejectCode.BAD_TIME: "Correct the time (UTC milliseconds have 13 digits), and replay it fixed.",
    RejectCode.TOO_OLD: "Leave it: the night is over. Or raise inputs.age_max_days, and replay it.",
    RejectCode.BAD_SCHEDULE: "Correct the schedule (blocks that end after they start, within two days), and replay it.",
    RejectCode.BAD_BOOST: "Give a later boost_until, or none, and replay it fixed.",
    RejectCode.BAD_POWER: "Give kilowatts, not watts, or leave power_kw out, and replay it fixed.",
    RejectCode.BAD_ENROLMENT: "Have the household's data corrected at the source, and replay it fixed; until then the "
    "home gets no pauses.",
    RejectCode.CRASHED: "Do not replay it: reading it ends the process. Keep its bytes for whoever maintains the "
    "processor, and have its event sent anew.",
    RejectCode.UNPACKABLE: "Nothing of it is left here; it is still where it was read. Have the producer look at how "
    "it compresses, and send the event anew.",
}
_PLACE = re.compile(r"(?:(.+)-)?([0-9]{1,6})@([0-9]{1,18})")


class Place(NamedTuple):
    """Where a letter stands on the dead-letter topic."""

    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter. `value` is None where it was not kept; of one too large to be read only the beginning is."""

    place: Place
    at_ms: int
    key: bytes | None
    value: bytes | None
    size: int
    headers: Headers

    def text(self, name: str) -> str | None:
        """The last header of that name: ours stand behind those of the record."""
        value = next((value for header, value in reversed(self.headers) if header == name), None)
        return value.decode(errors="replace") if isinstance(value, bytes) else value

    def number(self, name: str, otherwise: int) -> int:
        """Likewise, as a number."""
        text = self.text(name)
        return int(text) if text and text.isdecimal() and len(text) < 19 else otherwise

    @property
    def reason(self) -> str:
        """The class of what was wrong."""
        return plain(self.text("dlt-error-class") or "unknown")

    @property
    def says(self) -> str:
        """What was wrong, in words."""
        return plain(self.text("dlt-error-reason") or "no reason was given")

    @property
    def source(self) -> Source:
        """Where the record was read."""
        topic = plain(self.text("dlt-original-topic") or "?")
        return Source(topic, self.number("dlt-original-partition", -1), self.number("dlt-original-offset", -1))

    @property
    def _hop(self) -> Mapping[str, str | bytes | None]:
        """What a record that was read no further tells of its hop; with any other letter such headers mean nothing."""
        return dict(self.headers) if self.reason == RejectCode.CRASHED else {}

    @property
    def first_read_ms(self) -> int:
        """When it was first read."""
        otherwise = self.number("dlt-original-timestamp", self.at_ms)
        return self.number(HOP_FIRST_READ_MS, otherwise) if self._hop else otherwise

    @property
    def first_key(self) -> bytes | None:
        """The key that the producer gave it."""
        value = self._hop.get(HOP_KEY, self.key)
        return value.encode() if isinstance(value, str) else value

    @property
    def replays(self) -> int:
        """How often it was replayed before it became this letter."""
        return self.number(REPLAYS, 0)

    @property
    def is_cut(self) -> bool:
        """Whether only the beginning of the record was kept, or nothing."""
        return self.text("dlt-cut-from-bytes") is not None or self.reason == RejectCode.UNPACKABLE

    def kind(self, names: TopicNames) -> Input | None:
        """What it was sent as; None for what is no input."""
        kinds = {
            names.plug_in: Input.PLUG_IN,
            names.user_boost: Input.USER_BOOST,
            names.consent_withdrawn: Input.CONSENT_WITHDRAWN,
        }
        if self.source.topic != names.reroute:
            return kinds.get(self.source.topic)
        word = self.text(HOP_KIND) or self.text(REPLAY_KIND)
        return Input(word) if word is not None and word in Input.__members__ else None


@dataclass(frozen=True, slots=True)
class Filters:
    """Which letters are wanted. Of each filter one word must fit; none given fits all."""

    reasons: Sequence[str] = ()
    topics: Sequence[str] = ()
    sites: Sequence[str] = ()
    since_ms: int | None = None

    def fit(self, letter: Letter) -> bool:
        """Whether the letter is one of them."""
        return (
            (not self.reasons or letter.reason in self.reasons)
            and (not self.topics or letter.source.topic in self.topics)
            and (not self.sites or any(is_about(letter, site) for site in self.sites))
            and (self.since_ms is None or letter.at_ms >= self.since_ms)
        )


@dataclass(frozen=True, slots=True)
class Found:
    """Letters in the order of time, without values, and which letters of the topic were replayed."""

    letters: list[Letter]
    replayed: set[Place]


def is_about(letter: Letter, word: str) -> bool:
    """Whether a household's or a charger's id is its key, or a text in its value, as Avro writes texts."""
    told = word.encode(errors="replace")
    return letter.first_key == told or (len(told) < 64 and bytes([2 * len(told)]) + told in (letter.value or b""))


def plain(text: str) -> str:
    """A text that a terminal may be handed: what came with a record may hold anything."""
    return text if text.isprintable() else repr(text)


def place_of(text: str, cluster: Cluster) -> Place:
    """The place that `TOPIC-PARTITION@OFFSET` or `PARTITION@OFFSET` names. Raises ValueError with a sentence."""
    topic, match = cluster.names.dead_letter, _PLACE.fullmatch(text)
    if match is None or match[1] not in {None, topic}:
        raise ValueError(f"{plain(text)} names no dead letter; give {topic}-PARTITION@OFFSET, as `dlt list` shows it")
    place = Place(int(match[2]), int(match[3]))
    if place.partition >= cluster.partitions[topic]:
        raise ValueError(f"{topic} has no partition {place.partition}; `dlt list` shows the letters that there are")
    return place


def find(cluster: Cluster, filters: Filters, deadline: float) -> Found:
    """All that fit, of what is committed. `deadline` is monotonic. Raises Failed, also for more than 100,000."""
    found = Found([], set())

    def take(message: Message) -> None:
        letter = letter_of(message)
        if letter.reason == REPLAYED:
            found.replayed.add(Place(letter.source.partition, letter.source.offset))
        elif filters.fit(letter):
            found.letters.append(replace(letter, value=None))
        if len(found.letters) > LETTERS_MAX:
            raise Failed(f"more than {LETTERS_MAX:,} dead letters fit; narrow it with --since, --reason or --topic")

    read_all(cluster, cluster.all_of(cluster.names.dead_letter), take, deadline)
    found.letters.sort(key=lambda letter: (letter.at_ms, letter.place))
    return found


def fetch(cluster: Cluster, places: Collection[Place], deadline: float) -> dict[Place, Letter]:
    """These letters with their values, as far as they are (still) there. Raises Failed."""
    topic, offsets, found = cluster.names.dead_letter, defaultdict[int, list[int]](list), dict[Place, Letter]()
    for partition, offset in places:
        offsets[partition].append(offset)
    left = set(offsets)
    with closing(reader(cluster, **{"enable.partition.eof": True})) as consumer:
        consumer.assign([TopicPartition(topic, partition, min(offsets[partition])) for partition in left])
        while left:
            if time.monotonic() > deadline:
                raise Failed(f"{topic} was not read in time; give it more with --timeout-seconds")
            for message in arrivals(consumer):
                partition, error = message.partition() or 0, message.error()
                if error is not None:
                    if error.code() == KafkaError._PARTITION_EOF:
                        left.discard(partition)
                    continue
                offset = message.offset() or 0
                if offset in offsets[partition]:
                    found[Place(partition, offset)] = letter_of(message)
                if offset >= max(offsets[partition]):
                    left.discard(partition)
    return found


def letter_of(message: Message) -> Letter:
    """The letter that a record of the dead-letter topic is."""
    value = message.value() or b""
    return Letter(
        Place(message.partition() or 0, message.offset() or 0),
        message.timestamp()[1],
        message.key(),
        value[: VALUE_MAX_BYTES + 1],
        len(value),
        cast("Headers", message.headers() or []),
    )


def in_a_line(letter: Letter, replayed: Collection[Place]) -> str:
    """A letter in one line; `replayed`: those that were."""
    key = f"  key {key_of(letter)}" if letter.first_key is not None else ""
    back = f"  [back after {letter.replays} replays]" if letter.replays else ""
    return (
        f"{to_the_second(letter.at_ms)}  {letter.reason}  from {source_of(letter)}{key}  "
        f"letter {letter.place.partition}@{letter.place.offset}{'  [replayed]' if letter.place in replayed else back}"
    )


def source_of(letter: Letter) -> str:
    """Where the record was read, as one word."""
    source = letter.source
    return f"{source.topic}-{source.partition}@{source.offset}"


def key_of(letter: Letter) -> str:
    """The key that its producer gave it, for a person."""
    return shown(letter.first_key)


def shown(value: str | bytes | None) -> str:
    """Text where it is some that a terminal may be handed, else hex."""
    if value is None:
        return "null"
    if isinstance(value, str):
        return plain(value)
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return f"0x{value.hex()}"
    return text if text.isprintable() else f"0x{value.hex()}"


def to_the_second(at_ms: int) -> str:
    """An instant; a header may have told any number."""
    try:
        return iso_z(at_ms // 1000 * 1000)
    except ValueError:
        return f"{at_ms} ms"

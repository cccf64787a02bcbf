"""A registry's framing: what is written by which id, what is read, and what is refused with which words."""

import json
from collections.abc import Iterable
from io import BytesIO
from typing import Any

import pytest
from fastavro import parse_schema, schemaless_writer

from processor.core.events import Input, Source
from processor.core.outputs import Outcome, Result
from processor.shell.schema_files import schema_texts
from processor.shell.schema_registry import subjects_of
from processor.shell.topics import TopicNames
from processor.wire.avro import Codec, Undecodable
from processor.wire.registered import RegistryCodec, Version
from tests.shell.parts import CODEC, boost, plug_in, withdrawal

TEXTS = schema_texts()
SUBJECTS = subjects_of(TopicNames())
PLUGS, BOOSTS = "ev.plug-in.v1-value", "ev.user-boost.v1-value"
VERSIONS: dict[str, list[Version]] = {
    f"{name}-value": [(7, "{}"), (number, text)] for number, (name, text) in enumerate(TEXTS.items(), 40)
}
OUTCOME = Outcome("e-1", Source("t", 0, 1), "s-1", "c-1", Result.MODIFIED, 1_763_800_020_000)


def codec(**more: Any) -> RegistryCodec:
    return RegistryCodec(TEXTS, SUBJECTS, VERSIONS, **more)


def id_of(topic: str) -> int:
    return VERSIONS[f"{topic}-value"][1][0]


def refused(reader: Codec, value: bytes, kind: Input = Input.PLUG_IN) -> Undecodable:
    with pytest.raises(Undecodable) as caught:
        reader.decode(kind, value)
    return caught.value


def evolved() -> str:
    """Our plug-in with a field more that we do not have, and without one that has a default."""
    schema = json.loads(TEXTS["ev.plug-in.v1"])
    schema["fields"] = [field for field in schema["fields"] if field["name"] != "power_kw"]
    schema["fields"].append({"name": "tariff", "type": "string", "default": ""})
    return json.dumps(schema)


def written_with(text: str, number: int) -> bytes:
    """The usual plug-in as a producer with that schema writes it."""
    fields = {**CODEC.decode(Input.PLUG_IN, CODEC.encode_input(plug_in())), "tariff": "night"}
    buffer = BytesIO()
    schemaless_writer(buffer, parse_schema(json.loads(text)), fields)
    return b"\0" + number.to_bytes(4, "big") + buffer.getvalue()


def test_records_begin_with_a_zero_and_the_id_of_our_very_schema() -> None:
    """What is written names the version that says what we say, and the payload is the same as without a registry."""
    value = codec().encode(OUTCOME)
    assert value[:5] == b"\0" + id_of("axle-processor.outcomes.v1").to_bytes(4, "big")
    assert value[5:] == CODEC.encode(OUTCOME)[10:]
    assert codec().decode_output(Outcome, value) == OUTCOME


@pytest.mark.parametrize("event", [plug_in(), boost(), withdrawal()])
def test_both_framings_are_read(event: Any) -> None:
    """An input is read with an id, and so is one from before there was a registry."""
    kind = {"P": Input.PLUG_IN, "U": Input.USER_BOOST, "C": Input.CONSENT_WITHDRAWN}[type(event).__name__[0]]
    framed, single = codec().encode_input(event), CODEC.encode_input(event)
    assert framed[5:] == single[10:]
    assert codec().decode(kind, framed) == codec().decode(kind, single) == CODEC.decode(kind, single)


def test_another_layout_is_the_same_schema() -> None:
    """A registry may keep a text in a form of its own."""
    versions = {
        subject: [(number, json.dumps(json.loads(text), indent=3))] for subject, [_, (number, text)] in VERSIONS.items()
    }
    told = RegistryCodec(TEXTS, SUBJECTS, versions)
    assert all(map(told.is_registered, SUBJECTS))
    assert told.encode(OUTCOME) == codec().encode(OUTCOME)


def test_what_is_not_registered_is_written_without_a_registry() -> None:
    """A record whose schema has no id can still be written and read here, and is told as not registered."""
    told = RegistryCodec(TEXTS, SUBJECTS, {PLUGS: VERSIONS[PLUGS]})
    assert [name for name in SUBJECTS if told.is_registered(name)] == ["ev.v1.PlugIn"]
    assert told.encode_input(withdrawal()) == CODEC.encode_input(withdrawal())
    assert told.decode(Input.CONSENT_WITHDRAWN, told.encode_input(withdrawal()))["site_id"] == "s-1"


def test_a_version_that_is_learnt_is_read_by_avros_rules() -> None:
    """A producer's newer schema is read once the registry told of it, and is a question until then."""
    told, value = codec(), written_with(evolved(), 99)
    assert (told.knows(PLUGS, 99), told.unknown(Input.PLUG_IN, value)) == (False, (PLUGS, 99))
    told.learn(PLUGS, 99, evolved())
    assert (told.knows(PLUGS, 99), told.unknown(Input.PLUG_IN, value)) == (True, None)
    fields = told.decode(Input.PLUG_IN, value)
    assert (fields["event_id"], fields["power_kw"]) == ("p-1", None)
    assert "tariff" not in fields


def test_an_id_counts_for_its_subject_alone() -> None:
    """The id of another topic's schema is a foreign one here, and the words say whose it is."""
    value = codec().encode_input(boost())
    assert codec().unknown(Input.PLUG_IN, value) == (PLUGS, id_of("ev.user-boost.v1"))
    why = refused(codec(), value)
    number = id_of("ev.user-boost.v1")
    assert why.code == "schema"
    assert why.reason == (
        f"the value was written with schema {number}, which is not a version of {PLUGS} in the schema registry; it is "
        "that of ev.v1.UserBoost, but this topic carries ev.v1.PlugIn"
    )


@pytest.mark.parametrize(
    ("value", "code", "words"),
    [
        (b"", "framing", "does not begin as a schema registry's framing does"),
        (b"{}", "framing", "does not begin"),
        (b"\0\0\0", "framing", "ends within its first 5 bytes"),
        (b"\xc3\x01", "schema", "not known here"),
        (b"\xc3\x01abcdefgh", "schema", "schema 6162636465666768, which is not known here"),
        (b"\0\0\0\0\x63rest", "schema", f"schema 99, which is not a version of {PLUGS} in the schema registry"),
        (b"\0\xff\xff\xff\xff", "schema", f"schema 4294967295, which is not a version of {PLUGS}"),
        (b"\0\0\0\0\x07rest", "schema", f"schema 7 of {PLUGS} cannot be used: it is no Avro schema"),
        (b"\0\0\0\0\x2crest", "decode", "do not follow the schema of ev.v1.PlugIn"),
        (b"\0" * (256 * 1024 + 1), "oversize", "more than"),
    ],
)
def test_what_cannot_be_read_is_told(value: bytes, code: str, words: str) -> None:
    """Whatever the bytes are, one reason names the problem, and an id with its subject where there is one."""
    assert id_of("ev.plug-in.v1") == 0x2C
    why = refused(codec(), value)
    assert why.code == code
    assert words in why.reason


@pytest.mark.parametrize(
    "value",
    [b"", b"\0\0\0", b"\xc3\x01abcdefgh", b"\0\0\0\0\x07rest", b"\0\0\0\0\x2crest", b"{}", b"\0" * (256 * 1024 + 1)],
)
def test_only_an_unheard_id_is_a_question(value: bytes) -> None:
    """What can be read or refused at once waits for nobody."""
    assert codec().unknown(Input.PLUG_IN, value) is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "no Avro schema"),
        ('"string"', "no Avro schema"),
        ("[" * 3000, "no Avro schema"),
        (" " * 2**21, "characters"),
    ],
)
def test_a_version_that_cannot_be_used_is_known_as_such(text: str, words: str) -> None:
    """A broken or hostile schema of a subject stops nothing: its records are refused, and nobody is asked again."""
    told = codec()
    told.learn(PLUGS, 99, text)
    assert (told.knows(PLUGS, 99), told.unknown(Input.PLUG_IN, b"\0\0\0\0\x63rest")) == (True, None)
    assert words in refused(told, b"\0\0\0\0\x63rest").reason


def test_an_id_without_room_is_a_sentence() -> None:
    """A registry whose ids are longer than the framing allows cannot be used."""
    with pytest.raises(ValueError, match="no room in 4 bytes"):
        codec().learn(PLUGS, 2**32, "{}")


def test_who_may_wait_asks_on_the_spot() -> None:
    """A verb's codec asks before it refuses, once for each reading, and reads what it was told."""
    asked: list[tuple[str, int]] = []

    def ask(subject: str, number: int) -> Iterable[Version]:
        asked.append((subject, number))
        return [(99, evolved())]

    told = codec(ask=ask)
    assert told.decode(Input.PLUG_IN, written_with(evolved(), 99))["event_id"] == "p-1"
    refused(told, b"\0\0\0\0\x62rest")
    refused(told, b"\0\0\0\0\x07rest")
    assert asked == [(PLUGS, 99), (PLUGS, 98)]


def test_records_without_a_subject_have_no_ids() -> None:
    """A codec for some of the records alone refuses ids of the others in words, and reads them without."""
    told = RegistryCodec(TEXTS, {"ev.v1.PlugIn": PLUGS}, {PLUGS: VERSIONS[PLUGS]})
    assert told.decode(Input.USER_BOOST, CODEC.encode_input(boost()))["site_id"] == "s-1"
    assert "not expected of ev.v1.UserBoost" in refused(told, b"\0\0\0\0\x2crest", Input.USER_BOOST).reason


def test_two_topics_may_share_a_subject() -> None:
    """A subject that several records are of is learnt for each of them."""
    shared = dict.fromkeys(SUBJECTS, "all-value")
    told = RegistryCodec(TEXTS, shared, {"all-value": [*enumerate(TEXTS.values(), 1)]})
    assert all(map(told.is_registered, SUBJECTS))
    assert told.decode(Input.PLUG_IN, told.encode_input(plug_in()))["event_id"] == "p-1"

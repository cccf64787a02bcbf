"""The written contract says what the code does: topics, settings, records, keys, headers. Its page is up to date."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import orjson
import pytest
import yaml
from msgspec.structs import replace

from docs.contract import DOCUMENT, TARGET, headers_of, load, page
from processor import __version__
from processor.cli.dlt_letters import REPLAY_KIND, REPLAYED, REPLAYS
from processor.core.outputs import EnrolmentStatus, Erased, ModifiedSchedule, Outcome
from processor.core.rules import Rules
from processor.settings import Settings
from processor.shell.intake import ERASE, HOP_KIND, HOP_PREFIX, STILL_LISTED, order_to_erase, order_to_look
from processor.shell.outbox import Outbox
from processor.shell.records import Headers, Produce
from processor.shell.schema_files import schema_texts
from processor.shell.topics import TopicNames, wanted_topics
from processor.wire.avro import INPUT_RECORDS, OUTPUT_RECORDS
from processor.wire.inputs import InputLimits, RejectCode, Rejected
from tests.other_languages import npm_packages, program
from tests.shell.parts import CODEC, NAMES, NOW_MS, TASKS, intake, plug_in, record
from tests.wire.test_cloudevents import ENROLMENT, OUTCOME, SCHEDULE

HERE = Path(__file__).parent
CONTRACT = load()
CHANNELS = {channel["address"]: channel for channel in CONTRACT["channels"].values()}
MESSAGES = CONTRACT["components"]["messages"]
NODE_SECONDS = 60.0


def avro_of(channel: Any) -> list[Any]:
    """The Avro schemas of a channel's messages."""
    payloads = [message["payload"] for message in channel["messages"].values()]
    return [payload["schema"] for payload in payloads if "schema" in payload]


def texts(headers: Headers) -> dict[str, str]:
    """Headers as a reader sees them."""
    return {name: value.decode() if isinstance(value, bytes) else str(value) for name, value in headers}


def check_headers(message: str, headers: Headers) -> None:
    """The headers of a real record are those that the message has: all that are always there, and no others."""
    told, required = headers_of(MESSAGES[message])
    jsonschema.validate(texts(headers), MESSAGES[message]["headers"])
    assert required <= texts(headers).keys() <= told.keys()


def test_every_topic_is_there_with_its_settings() -> None:
    """The document has the product's topics and no other, with the settings that `topics apply` gives them."""
    wanted = {
        spec.name: {name: set(value.split(",")) for name, value in spec.config.items()}
        for spec in wanted_topics(TopicNames())
    }
    told = {
        address: {
            name: set(value) if isinstance(value, list) else {json.dumps(value).strip('"')}
            for name, value in channel["bindings"]["kafka"]["topicConfiguration"].items()
        }
        for address, channel in CHANNELS.items()
    }

    assert told == wanted


def test_every_schema_is_that_of_its_topic() -> None:
    """Each schema file is referred to by the topic of its name, under the record's own name."""
    told = {address: schemas[0] for address, channel in CHANNELS.items() if (schemas := avro_of(channel))}
    names = {f"ev.v1.{schema['name']}" for schema in told.values()}

    assert told == {name: orjson.loads(text) for name, text in schema_texts().items()}
    assert names == {*INPUT_RECORDS.values(), *OUTPUT_RECORDS.values()}
    assert [name for name, message in MESSAGES.items() if message["name"].lower() != name.lower()] == []


def test_who_reads_and_who_writes_is_told() -> None:
    """The processor receives inputs and what it reads back, in its own group, and sends all else."""
    received, sent = (
        {each["channel"]["address"] for each in CONTRACT["operations"].values() if each["action"] == action}
        for action in ("receive", "send")
    )
    groups = {
        name for each in CONTRACT["operations"].values() for name in groups_of(each.get("bindings", {"kafka": {}}))
    }

    assert received == {*intake().input_topics, NAMES.state, NAMES.reroute}
    assert received | sent == set(CHANNELS)
    assert received & sent == {NAMES.state, NAMES.reroute}
    assert groups == {Settings().kafka.group_id}


def groups_of(bindings: Any) -> list[str]:
    """The consumer groups that an operation names."""
    return list(bindings["kafka"].get("groupId", {}).get("enum", []))


@pytest.mark.parametrize(
    ("message", "output", "key"),
    [
        ("modifiedSchedule", SCHEDULE, SCHEDULE.charger_id),
        ("enrolmentStatus", ENROLMENT, ENROLMENT.site_id),
        ("outcome", OUTCOME, OUTCOME.site_id),
        ("outcome", replace(OUTCOME, event_id=None, site_id=None, charger_id=None), "ev.plug-in.v1-3-12"),
    ],
)
def test_outputs_are_as_told(message: str, output: ModifiedSchedule | EnrolmentStatus | Outcome, key: str) -> None:
    """Each record that is published has the headers and the key that its message tells."""
    written = Outbox(NAMES, CODEC, Rules(), "/axle-processor/test").record(output)
    assert isinstance(written, Produce)

    check_headers(message, written.headers)
    assert written.key == key.encode()
    assert message in CHANNELS[written.topic]["messages"]


def test_an_erased_household_leaves_what_is_told() -> None:
    """The record that takes back an enrolment status has no value and no headers."""
    written = Outbox(NAMES, CODEC, Rules(), "/axle-processor/test").record(Erased("s-1"))

    assert written == Produce(NAMES.enrolment_status, b"s-1", None)
    assert MESSAGES["enrolmentErased"]["payload"] == {"type": "null"}
    assert headers_of(MESSAGES["enrolmentErased"]) == ({}, set())


def test_dead_letters_are_as_told() -> None:
    """A dead letter has the headers that are told, its reasons are those, and one that was cut says so."""
    for value in (b"junk", bytes(1_000_000)):
        bad = record(value)
        arrival = intake().read(bad, NOW_MS)
        assert isinstance(arrival.said, Rejected)
        letter = intake().dead_letter(bad, arrival, arrival.said)
        check_headers("deadLetter", letter.headers)
        assert ("dlt-cut-from-bytes" in texts(letter.headers)) == (len(value) > len(b"junk"))
    told, _ = headers_of(MESSAGES["deadLetter"])
    mark, _ = headers_of(MESSAGES["replayMark"])

    assert set(told["dlt-error-class"]["enum"]) == {code.value for code in RejectCode} - {RejectCode.NO_VALUE.value}
    assert mark["dlt-error-class"]["const"] == REPLAYED
    assert mark.keys() < told.keys()


def test_hops_and_orders_are_as_told() -> None:
    """What is on the reroute topic has the headers and the JSON that are told."""
    part = intake()
    first = record(plug_in(), partition=(1 + (part.read(record(plug_in()), NOW_MS).task or 0)) % TASKS)
    check_headers("hop", part.hop(first, part.read(first, NOW_MS)).headers)
    erase = order_to_erase(NAMES.reroute, TASKS, "s-1", "order", NOW_MS)
    look = order_to_look(NAMES.reroute, TASKS, "s-1", "c-1", 17, "order", NOW_MS)
    for message, order, kind in (("eraseOrder", erase, ERASE), ("stillListedOrder", look, STILL_LISTED)):
        check_headers(message, order.headers)
        value = orjson.loads(order.value or b"")
        jsonschema.validate(value, MESSAGES[message]["payload"])
        assert value.keys() == MESSAGES[message]["payload"]["properties"].keys()
        assert headers_of(MESSAGES[message])[0][HOP_KIND]["const"] == kind
    told, _ = headers_of(MESSAGES["hop"])

    assert {name for name in told if not name.startswith(HOP_PREFIX)} == {REPLAYS, REPLAY_KIND, "dlt-replay-of"}


def test_the_numbers_of_the_rules_are_those_of_the_code() -> None:
    """Versions and limits in the document's words are the defaults of the program."""
    limits = InputLimits()
    words = CHANNELS[NAMES.plug_in]["description"]

    assert CONTRACT["info"]["version"] == __version__
    assert f"More than {limits.age_max_ms // 86_400_000} days back" in words
    assert f"more than {limits.ahead_max_ms // 60_000} minutes ahead" in words


def test_the_page_is_up_to_date_and_needs_nothing_else() -> None:
    """The page says what the document says, and asks no other file and no other server for anything."""
    written = TARGET.read_text(encoding="utf-8")

    assert written == page(CONTRACT), "out of date: python docs/contract.py"
    assert re.findall(r"\bsrc=|<link|<script|@import|url\(|href=\"(?!#)|https?://", written) == []
    assert [address for address in CHANNELS if f"<h2>{address}</h2>" not in written] == []


def test_the_tools_of_asyncapi_accept_the_document(tmp_path: Path) -> None:
    """AsyncAPI's own parser finds nothing to warn of, and reads the fields of every record through the references."""
    node = program("node")
    (tmp_path / "node_modules").symlink_to(npm_packages(HERE / "asyncapi"))
    check = tmp_path / "check.mjs"
    check.write_bytes((HERE / "asyncapi" / "check.mjs").read_bytes())
    command = [node, str(check), str(DOCUMENT)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=NODE_SECONDS, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    fields = {address: messages[0]["fields"] for address, messages in found["topics"].items()}

    # That there is a newer AsyncAPI than 3.0 is no problem of the document's.
    assert [each for each in found["problems"] if each["code"] != "asyncapi-latest-version"] == []
    assert set(fields) == set(CHANNELS)
    assert {address: fields[address] for address in schema_texts()} == {
        address: [field["name"] for field in orjson.loads(text)["fields"]] for address, text in schema_texts().items()
    }


def test_references_stay_references() -> None:
    """The document copies no schema: each record is a reference to its file, beside the document."""
    raw = yaml.safe_load(DOCUMENT.read_text(encoding="utf-8"))
    refs = [each["payload"]["schema"] for each in raw["components"]["messages"].values() if "schema" in each["payload"]]

    assert sorted(ref["$ref"] for ref in refs) == sorted(f"./{name}.avsc" for name in schema_texts())

"""What is published keeps the rules of CloudEvents 1.0 and of its Kafka protocol binding, binary mode.

The rules are written down here anew, from the two specifications; the names of headers are tested next door.
"""

import re
from datetime import datetime
from urllib.parse import unquote, urlsplit

import pytest
from msgspec.structs import replace

from processor.core.outputs import EnrolmentStatus, ModifiedSchedule, Outcome
from processor.wire.cloudevents import headers
from tests.wire.test_cloudevents import ENROLMENT, OUTCOME, SCHEDULE

REQUIRED = {"id", "source", "specversion", "type"}
NAME = re.compile(r"[a-z0-9]{1,20}")
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
UNREAD = replace(OUTCOME, event_id=None, site_id=None, charger_id=None)


def attributes(record: ModifiedSchedule | EnrolmentStatus | Outcome) -> dict[str, str]:
    """The record's attributes, as a receiver that follows the Kafka binding reads them from its headers."""
    pairs = headers(record, "/axle-processor/test")
    content_types = [value.decode("utf-8") for name, value in pairs if name == "content-type"]
    # Binding 3.2.1: the content type says what the value is. One of CloudEvents' own would mean structured mode.
    assert len(content_types) == 1
    assert not content_types[0].startswith("application/cloudevents")
    # Binding 3.2.3.1: every other attribute is a header of its own, behind `ce_`.
    found = {name.removeprefix("ce_"): value.decode("utf-8") for name, value in pairs if name.startswith("ce_")}
    assert len(found) == len(pairs) - 1
    assert "datacontenttype" not in found
    return {**found, "datacontenttype": content_types[0]}


@pytest.mark.parametrize("record", [SCHEDULE, ENROLMENT, OUTCOME, UNREAD])
def test_outputs_keep_the_rules_of_cloudevents(record: ModifiedSchedule | EnrolmentStatus | Outcome) -> None:
    """What is required is there, nothing is empty, and each attribute has the form that its type asks for."""
    found = attributes(record)

    assert found.keys() >= REQUIRED
    assert found["specversion"] == "1.0"
    assert [name for name in found if not (NAME.fullmatch(name) or name == "datacontenttype")] == []
    assert [name for name, value in found.items() if not value or CONTROL.search(value)] == []
    assert urlsplit(found["source"]).geturl() == found["source"]
    assert datetime.fromisoformat(found["time"]).utcoffset() is not None
    assert re.fullmatch(r"[\w.+-]+/[\w.+-]+", found["datacontenttype"])
    if not isinstance(record, EnrolmentStatus):  # the extension "correlation": left out rather than empty
        assert ("correlationid" in found) == (record is not UNREAD)


@pytest.mark.parametrize("environment", ["live", "prod eu", "Zürich #1", 'a"b<c>', "a%20b", "50%", ""])
def test_the_source_is_a_uri_reference_whatever_the_environment_is_called(environment: str) -> None:
    """Characters that no URI may have are written in percent encoding."""
    source = dict(headers(SCHEDULE, f"/axle-processor/{environment}"))["ce_source"].decode("ascii")

    assert re.fullmatch(r"(?:[\w.~!$&'()*+,;=:@/?#\[\]-]|%[0-9A-F]{2})+", source, re.ASCII)
    assert unquote(source) == f"/axle-processor/{environment}"


def test_two_records_never_share_source_and_id() -> None:
    """Whoever drops repetitions by source and id, as CloudEvents allows, drops none that says something new."""
    newer = replace(SCHEDULE, revision=SCHEDULE.revision + 1)
    other_place = replace(OUTCOME, source=replace(OUTCOME.source, offset=13))
    told: list[ModifiedSchedule | EnrolmentStatus | Outcome] = [SCHEDULE, newer, ENROLMENT, OUTCOME, other_place]
    told.append(replace(ENROLMENT, changed_at_ms=1))
    names = [(attributes(each)["source"], attributes(each)["id"]) for each in told]

    assert len(set(names)) == len(told)

"""The guide's own example, through a real broker and the simulator: what Axle documents is what we do."""

import asyncio
from dataclasses import replace
from datetime import datetime

import pytest
from confluent_kafka.admin import (  # type: ignore[attr-defined] # its stubs re-export only the client
    AdminClient,
    NewTopic,
)

from processor.core.events import Enrolment, PlugIn
from processor.core.outputs import ModifiedSchedule, Result, Status
from processor.demo.axle import SimSettings
from processor.demo.kafka import Broker
from processor.shell.clock import SystemClock
from processor.shell.topics import TopicNames
from processor.wire.avro import SINGLE_OBJECT
from processor.wire.registered import MAGIC
from tests.broker import read_committed
from tests.kafka.at_work import at_work
from tests.kafka.rig import NOWHERE, wait_until


def _ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


EVENING = _ms("2025-06-27T21:58:20+00:00")
NIGHT = ((_ms("2025-06-27T22:00:00+00:00"), _ms("2025-06-28T06:00:00+00:00")),)
PAUSE = ((_ms("2025-06-28T01:00:00+00:00"), _ms("2025-06-28T02:00:00+00:00")),)
CONSENT = _ms("2025-01-01T12:00:00+00:00")
SITE_BODY = {
    "site": {
        "mpan": "1234567890123",
        "postcode": "SW1A 1AA",
        "street_address": "10 Downing Street",
        "gave_boundary_meter_consent_at": "2025-01-01T12:00:00Z",
    },
    "asset": {"external_id": "charger-001", "type": "charger", "properties": {"power_kw": 7.4}},
    "dispatch_consent": {"dispatch_methods": ["limited_pause"]},
}
SCHEDULE_BODY = {
    "charging_schedule": [
        {"start_timestamp": "2025-06-27T22:00:00+00:00", "end_timestamp": "2025-06-28T06:00:00+00:00"}
    ]
}


class ThatEvening(SystemClock):
    """The machine's clock, set back to the evening of the guide's example."""

    def __init__(self) -> None:
        self._back_ms = super().now_ms() - EVENING

    def now_ms(self) -> int:
        """That evening's time."""
        return super().now_ms() - self._back_ms


def _timed_by_our_clock(broker: Broker, topic: str) -> str:
    """A topic that keeps no time of the broker's, so that an evening of the past is not out of date.

    Made anew: a change of a topic's settings reaches the broker some time later.
    """
    name = f"{topic}.by-our-clock"
    admin = AdminClient({"bootstrap.servers": broker.bootstrap_servers})
    for made in admin.create_topics([NewTopic(name, 2, 1, config={"message.timestamp.type": "CreateTime"})]).values():
        made.result(10)
    wait_until(lambda: name in admin.list_topics(timeout=5).topics, 10, f"the topic {name}")
    return name


@pytest.mark.anyio
@pytest.mark.parametrize("framing", ["single-object", "registry"])
async def test_the_guides_example_ends_as_the_guide_says(
    broker: Broker, topics: TopicNames, framing: str, request: pytest.FixtureRequest
) -> None:
    """Its bodies are sent to the letter, and the charger is told its two blocks and the pause between them.

    With a schema registry as without one.
    """
    registry = request.getfixturevalue("registry") if framing == "registry" else None
    topics = replace(topics, plug_in=await asyncio.to_thread(_timed_by_our_clock, broker, topics.plug_in))
    pause = ["2025-06-28T01:00:00+00:00", "2025-06-28T02:00:00+00:00"]
    settings = SimSettings(faults=[{"endpoint": "schedule", "answer": {"pauses": [pause]}}])
    enrolment = Enrolment("1234567890123", "SW1A 1AA", "10 Downing Street", CONSENT, CONSENT)
    event = PlugIn("guide-1", EVENING, NOWHERE, "home-1", "charger-001", NIGHT, 7.4, enrolment)
    async with at_work(broker, topics, settings, ThatEvening(), registry=registry) as scene:
        codec = scene.codec
        await scene.say(topics.plug_in, event.site_id, codec.encode_input(event))
        outcome = await scene.outcome_of(event.event_id)
        bodies = {str(call["endpoint"]): call["body"] for call in scene.axle.calls}
    messages = await asyncio.to_thread(read_committed, broker.bootstrap_servers, topics.modified_schedule, 2, 10)
    first, final = [codec.decode_output(ModifiedSchedule, message.value() or b"") for message in messages]

    assert bodies["onboard"] == SITE_BODY
    assert bodies["schedule"] == SCHEDULE_BODY
    assert (first.status, first.final, first.effective, first.pauses) == (Status.REQUESTED, False, NIGHT, ())
    assert (final.status, final.final, final.pauses) == (Status.MODIFIED, True, PAUSE)
    assert final.effective == ((NIGHT[0][0], PAUSE[0][0]), (PAUSE[0][1], NIGHT[0][1]))
    assert final.replaces == first.revision
    assert outcome.result is Result.MODIFIED
    magic = MAGIC if registry else SINGLE_OBJECT.magic
    assert all((message.value() or b"").startswith(magic) for message in messages)

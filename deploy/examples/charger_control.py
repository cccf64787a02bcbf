"""A charger-control service: python charger_control.py broker:9092 applied.db 1.6 [TOPIC] prints what it would send.

What a charger was told last is in applied.db: keep it for a restart. A schema registry: as for axle-processor."""

import json
import sqlite3
import sys
import time

from confluent_kafka import Consumer

from processor.cli.schema_registry import codec_of
from processor.core.outputs import ModifiedSchedule
from processor.settings import load
from processor.wire.avro import OUTPUT_RECORDS, Fields, Undecodable
from processor.wire.ocpp import VERSIONS, OcppOptions, call

servers, database, version, *topics = sys.argv[1:]
ocpp, codec = VERSIONS[VERSIONS.index(version)], codec_of(load(), [OUTPUT_RECORDS[ModifiedSchedule]])
applied = sqlite3.connect(database, isolation_level=None)  # each statement is durable when it returns
applied.execute("create table if not exists applied (charger primary key, revision, plan, valid_until)")
settings: dict[str, str | int] = {
    "isolation.level": "read_committed",  # else a plan that was never decided may be applied
    "auto.offset.reset": "earliest",
    "enable.auto.commit": "false",
    "session.timeout.ms": 6000,  # after a crash nobody reads for so long
}
consumer = Consumer(settings | {"bootstrap.servers": servers, "group.id": "charger-control"})
consumer.subscribe(topics or ["ev.modified-schedule.v1"])


def apply(record: Fields) -> str:
    """Tell the charger, unless it knows better or the same already."""
    charger, until = record["charger_id"], record["valid_until"]
    known = applied.execute("select revision, plan, valid_until from applied where charger = ?", [charger])
    revision, plan, known_until = known.fetchone() or (-1, "", 0)
    if record["revision"] <= revision:  # delivered again, or overtaken
        return "old"
    now, wanted = time.time() * 1000, json.dumps(record["effective"])
    if until <= now and known_until <= now:  # nothing is in force, and nothing was
        done = "free"
    elif (wanted, until) == (plan, known_until):
        done = "same"
    else:
        done = "sent"  # also a plan that is over already: it takes away the one before
        print(charger, json.dumps(call(record, ocpp, OcppOptions())), flush=True)  # send it here, await Accepted
    applied.execute("replace into applied values (?, ?, ?, ?)", [charger, record["revision"], wanted, until])
    return done


while True:
    message = consumer.poll(1.0)
    if message is None or message.error() or (value := message.value()) is None:
        continue
    try:
        fields = codec.output_fields(ModifiedSchedule, value)
        print(fields["event_id"], apply(fields), file=sys.stderr, flush=True)
    except (Undecodable, ValueError) as wrong:
        print(f"passed over at offset {message.offset()}: {wrong}", file=sys.stderr, flush=True)
    consumer.commit(message=message)  # after the charger was told: a crash may tell it twice, never not at all

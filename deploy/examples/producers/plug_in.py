"""Say that a car was plugged in: python plug_in.py broker:9092 ev.plug-in.v1.avsc [TOPIC]

It needs two packages: pip install confluent-kafka fastavro
"""

import json
import sys
import time
import uuid
from io import BytesIO
from pathlib import Path

from confluent_kafka import KafkaError, Message, Producer
from fastavro import parse_schema, schemaless_writer
from fastavro.schema import fingerprint, to_parsing_canonical_form

servers, schema_file, *topic = sys.argv[1:]
schema = json.loads(Path(schema_file).read_text())
# The first bytes of a value name its schema: C3 01, then the fingerprint of the schema's canonical form.
header = b"\xc3\x01" + bytes.fromhex(fingerprint(to_parsing_canonical_form(schema), "CRC-64-AVRO"))


def delivered(error: KafkaError | None, message: Message) -> None:
    """Kafka has the event, or will not take it: then send it again, with the same event_id."""
    if error is not None:
        sys.exit(f"not sent: {error}")
    print(f"sent {event['event_id']} to {message.topic()}-{message.partition()}@{message.offset()}")


site_id = "home-1"
now_ms = time.time_ns() // 1_000_000  # all times are UTC milliseconds
event = {
    "event_id": str(uuid.uuid4()),  # yours; the same id again is the same event, and changes nothing
    "occurred_at": now_ms,  # when the car was plugged in, not when you send it: it decides which wish is newest
    "site_id": site_id,
    "charger_id": "charger-1",
    "schedule": [{"start": now_ms, "end": now_ms + 8 * 3_600_000}],  # when the driver wants the car to charge
}  # fields that have a default may be left out
value = BytesIO()
value.write(header)
schemaless_writer(value, parse_schema(schema), event)
# The key is the site, placed as Java's clients place it, so that no record takes a detour.
producer = Producer({"bootstrap.servers": servers, "partitioner": "murmur2_random", "enable.idempotence": True})
producer.produce(topic[0] if topic else "ev.plug-in.v1", value.getvalue(), key=site_id, on_delivery=delivered)
if producer.flush(30):
    sys.exit(f"not sent: {servers} did not answer within 30 s")

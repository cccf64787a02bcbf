// Say that a car was plugged in: node plug_in.mjs broker:9092 ev.plug-in.v1.avsc [TOPIC]
//
// It needs two packages, which package.json beside it names: npm ci

import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import avro from "avsc";
import { Kafka, logLevel, Partitioners } from "kafkajs";

const [servers, schemaFile, topic = "ev.plug-in.v1"] = process.argv.slice(2);
const schema = avro.Type.forSchema(JSON.parse(readFileSync(schemaFile, "utf8")));

// CRC-64-AVRO of the schema's canonical form, little-endian, as the Avro specification has it.
function fingerprint(type) {
  const empty = 0xc15d213aa4d7a795n;
  let crc = empty;
  for (const byte of Buffer.from(JSON.stringify(type.schema()))) {
    crc ^= BigInt(byte);
    for (let bit = 0; bit < 8; bit++) crc = (crc >> 1n) ^ (crc & 1n ? empty : 0n);
  }
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(crc);
  return bytes;
}

const now = Date.now(); // all times are UTC milliseconds
const event = {
  event_id: randomUUID(), // yours; the same id again is the same event, and changes nothing
  occurred_at: now, // when the car was plugged in, not when you send it: it decides which wish is newest
  site_id: "home-1",
  charger_id: "charger-1",
  schedule: [{ start: now, end: now + 8 * 3_600_000 }], // when the driver wants the car to charge
}; // fields that have a default may be left out

// The first bytes of a value name its schema: C3 01, then the fingerprint.
const value = Buffer.concat([Buffer.from([0xc3, 0x01]), fingerprint(schema), schema.toBuffer(event)]);

const kafka = new Kafka({ clientId: "plug-in", brokers: servers.split(","), logLevel: logLevel.ERROR });
// This partitioner places a key as Java's clients do, so that no record takes a detour.
const producer = kafka.producer({ createPartitioner: Partitioners.DefaultPartitioner });
await producer.connect();
try {
  // Resolved once every in-sync replica has it. If it fails, send it again, with the same event_id.
  const [sent] = await producer.send({ topic, acks: -1, messages: [{ key: event.site_id, value }] });
  console.log(`sent ${event.event_id} to ${sent.topicName}-${sent.partition}@${sent.baseOffset}`);
} finally {
  await producer.disconnect();
}

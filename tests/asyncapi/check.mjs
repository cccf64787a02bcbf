// Reads an AsyncAPI document as AsyncAPI's own tools do, Avro schemas included, and tells as JSON what it found:
// node check.mjs FILE

import { fromFile, Parser } from "@asyncapi/parser";
import { AvroSchemaParser } from "@asyncapi/avro-schema-parser";

const parser = new Parser({ schemaParsers: [AvroSchemaParser()] });
const { document, diagnostics } = await fromFile(parser, process.argv[2]).parse();
const problems = diagnostics.map(({ code, severity, message, path }) => ({ code, severity, message, path: path.join(".") }));
const fieldsOf = (payload) => Object.keys((payload?.schema ?? payload)?.properties ?? {});
const topics = {};
for (const channel of document?.channels() ?? []) {
  topics[channel.address()] = channel.messages().all().map((message) => ({
    name: message.name(),
    fields: fieldsOf(message.payload()?.json()),
  }));
}
console.log(JSON.stringify({ problems, topics }));

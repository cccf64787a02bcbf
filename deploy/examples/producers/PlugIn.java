// Say that a car was plugged in: java -cp 'jars/*' PlugIn.java broker:9092 ev.plug-in.v1.avsc [TOPIC]
//
// It needs Java 17 and two libraries, which pom.xml beside it names:
// mvn dependency:copy-dependencies -DoutputDirectory=jars

import java.io.ByteArrayOutputStream;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericData;
import org.apache.avro.generic.GenericRecordBuilder;
import org.apache.avro.message.BinaryMessageEncoder;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.serialization.StringSerializer;

public class PlugIn {
    public static void main(String[] args) throws Exception {
        var topic = args.length > 2 ? args[2] : "ev.plug-in.v1";
        var schema = new Schema.Parser().parse(Path.of(args[1]).toFile());

        var now = Instant.now(); // all times are UTC milliseconds
        var block = new GenericRecordBuilder(schema.getField("schedule").schema().getElementType())
                .set("start", now.toEpochMilli()) // when the driver wants the car to charge
                .set("end", now.plus(Duration.ofHours(8)).toEpochMilli())
                .build();
        var event = new GenericRecordBuilder(schema) // fields that have a default may be left out
                // Yours; the same id again is the same event, and changes nothing.
                .set("event_id", UUID.randomUUID().toString())
                // When the car was plugged in, not when you send it: it decides which wish is newest.
                .set("occurred_at", now.toEpochMilli())
                .set("site_id", "home-1")
                .set("charger_id", "charger-1")
                .set("schedule", List.of(block))
                .build();

        // Writes C3 01 and the fingerprint of the schema before the record.
        var value = new ByteArrayOutputStream();
        new BinaryMessageEncoder<GenericData.Record>(GenericData.get(), schema).encode(event, value);

        Map<String, Object> settings = Map.of("bootstrap.servers", args[0]);
        try (var producer = new KafkaProducer<>(settings, new StringSerializer(), new ByteArraySerializer())) {
            // The key is the site. If this fails, send the event again, with the same event_id.
            var key = event.get("site_id").toString();
            var sent = producer.send(new ProducerRecord<>(topic, key, value.toByteArray())).get();
            System.out.println("sent " + event.get("event_id") + " to " + sent);
        }
    }
}

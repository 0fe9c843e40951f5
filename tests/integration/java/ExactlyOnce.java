import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.*;

/** Copies a topic in transactions: records and positions of its group together, or neither. The client has a name by
 * which the proxy of engine.chaos knows that a second copy of a request must do no harm. */
public class ExactlyOnce {
    static void tell(String kind, String more) {
        System.out.println("{\"kind\": \"" + kind + "\"" + more + "}");
        System.out.flush();
    }

    public static void main(String[] args) {
        // BOOTSTRAP GROUP INPUT OUTPUT TRANSACTIONAL_ID BATCH ABORT_EVERY
        String bootstrap = args[0], group = args[1], input = args[2], output = args[3], id = args[4];
        int batch = Integer.parseInt(args[5]), abortEvery = Integer.parseInt(args[6]);
        Map<String, Object> common = Map.of(
            "bootstrap.servers", bootstrap, "client.id", "idempotent-" + id, "reconnect.backoff.max.ms", "200",
            "retry.backoff.max.ms", "200");
        Map<String, Object> consuming = new HashMap<>(common);
        consuming.putAll(Map.of(
            "group.id", group, "auto.offset.reset", "earliest", "enable.auto.commit", "false",
            "isolation.level", "read_committed", "max.poll.records", batch, "session.timeout.ms", "6000",
            "heartbeat.interval.ms", "500", "default.api.timeout.ms", "15000"));
        Map<String, Object> producing = new HashMap<>(common);
        producing.putAll(Map.of(
            "transactional.id", id, "transaction.timeout.ms", "10000", "linger.ms", "2", "request.timeout.ms", "3000",
            "delivery.timeout.ms", "15000", "max.block.ms", "20000"));
        while (true) {
            try (KafkaConsumer<byte[], byte[]> consumer =
                     new KafkaConsumer<>(consuming, new ByteArrayDeserializer(), new ByteArrayDeserializer());
                 KafkaProducer<byte[], byte[]> producer =
                     new KafkaProducer<>(producing, new ByteArraySerializer(), new ByteArraySerializer())) {
                producer.initTransactions();
                consumer.subscribe(List.of(input));
                copy(consumer, producer, output, abortEvery);
            } catch (KafkaException failure) {
                // Fenced, timed out, not a member any more: whoever goes on begins where the group's positions are.
                tell("begins anew", ", \"why\": \"" + failure.getClass().getSimpleName() + "\"");
            }
        }
    }

    static void copy(
        KafkaConsumer<byte[], byte[]> consumer, KafkaProducer<byte[], byte[]> producer, String output, int abortEvery) {
        for (int turn = 1; ; ) {
            ConsumerRecords<byte[], byte[]> records = consumer.poll(Duration.ofMillis(100));
            if (records.isEmpty()) continue;
            producer.beginTransaction();
            Map<TopicPartition, OffsetAndMetadata> positions = new HashMap<>();
            for (ConsumerRecord<byte[], byte[]> each : records) {
                byte[] value = ("copy of " + new String(each.value(), StandardCharsets.UTF_8)).getBytes(StandardCharsets.UTF_8);
                producer.send(new ProducerRecord<>(output, each.partition(), each.key(), value));
                positions.put(new TopicPartition(each.topic(), each.partition()), new OffsetAndMetadata(each.offset() + 1));
            }
            producer.sendOffsetsToTransaction(positions, consumer.groupMetadata());
            if (abortEvery > 0 && turn++ % abortEvery == 0) {
                producer.abortTransaction();
                for (Map.Entry<TopicPartition, OffsetAndMetadata> each : consumer.committed(consumer.assignment()).entrySet()) {
                    consumer.seek(each.getKey(), each.getValue() == null ? 0 : each.getValue().offset());
                }
                tell("aborted", "");
            } else {
                producer.commitTransaction();
                tell("committed", ", \"records\": " + records.count());
            }
        }
    }
}

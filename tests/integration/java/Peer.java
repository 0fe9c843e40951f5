import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.time.Duration;
import java.util.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeaders;
import org.apache.kafka.common.serialization.*;

/** A Java client for the tests: writes numbered records, or reads topics back and prints a digest of what it saw. */
public class Peer {
    public static void main(String[] args) throws Exception {
        String bootstrap = args[1];
        if (args[0].equals("write")) {
            // write BOOTSTRAP COUNT BASE_TIMESTAMP topic:compression:acks ...
            int count = Integer.parseInt(args[2]);
            long baseTimestamp = Long.parseLong(args[3]);
            for (String job : Arrays.copyOfRange(args, 4, args.length)) write(bootstrap, count, baseTimestamp, job.split(":"));
        } else {
            // read BOOTSTRAP topic ...
            for (String topic : Arrays.copyOfRange(args, 2, args.length)) read(bootstrap, topic);
        }
    }

    static void write(String bootstrap, int count, long baseTimestamp, String[] job) throws Exception {
        Properties p = new Properties();
        p.put("bootstrap.servers", bootstrap);
        p.put("compression.type", job[1]);
        p.put("acks", job[2]);
        p.put("linger.ms", "5");
        p.put("enable.idempotence", job[2].equals("all") ? "true" : "false");
        try (KafkaProducer<byte[], byte[]> producer = new KafkaProducer<>(p, new ByteArraySerializer(), new ByteArraySerializer())) {
            for (int i = 0; i < count; i++) {
                byte[] key = i % 7 == 0 ? null : ("key-" + i).getBytes(StandardCharsets.UTF_8);
                byte[] value = i % 11 == 0 ? null : ("value-" + i + "-" + "x".repeat(i % 50)).getBytes(StandardCharsets.UTF_8);
                RecordHeaders headers = new RecordHeaders();
                if (i % 3 == 0) headers.add("n", Integer.toString(i).getBytes(StandardCharsets.UTF_8));
                if (i % 6 == 0) headers.add("null", null);
                producer.send(new ProducerRecord<>(job[0], i % 3, baseTimestamp + i, key, value, headers));
            }
        }
    }

    static void put(MessageDigest digest, byte[] bytes) {
        digest.update(ByteBuffer.allocate(4).putInt(bytes == null ? -1 : bytes.length).array());
        if (bytes != null) digest.update(bytes);
    }

    static void read(String bootstrap, String topic) throws Exception {
        Properties p = new Properties();
        p.put("bootstrap.servers", bootstrap);
        p.put("auto.offset.reset", "earliest");
        p.put("enable.auto.commit", "false");
        try (KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(p, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            List<TopicPartition> partitions = new ArrayList<>();
            consumer.partitionsFor(topic).forEach(each -> partitions.add(new TopicPartition(topic, each.partition())));
            partitions.sort(Comparator.comparingInt(TopicPartition::partition));
            long count = 0;
            MessageDigest digest = MessageDigest.getInstance("SHA-256");
            for (TopicPartition partition : partitions) {
                consumer.assign(List.of(partition));
                consumer.seekToBeginning(List.of(partition));
                long end = consumer.endOffsets(List.of(partition)).get(partition);
                while (consumer.position(partition) < end) {
                    for (ConsumerRecord<byte[], byte[]> r : consumer.poll(Duration.ofMillis(500))) {
                        ByteBuffer head = ByteBuffer.allocate(20).putInt(r.partition()).putLong(r.offset()).putLong(r.timestamp());
                        digest.update(head.array());
                        put(digest, r.key());
                        put(digest, r.value());
                        Header[] headers = r.headers().toArray();
                        digest.update(ByteBuffer.allocate(4).putInt(headers.length).array());
                        for (Header h : headers) {
                            put(digest, h.key().getBytes(StandardCharsets.UTF_8));
                            put(digest, h.value());
                        }
                        count++;
                    }
                }
            }
            System.out.println(topic + " " + count + " " + HexFormat.of().formatHex(digest.digest()));
        }
    }
}

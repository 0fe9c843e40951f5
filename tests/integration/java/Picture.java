import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.time.Duration;
import java.util.*;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/**
 * Everything that a Java client can learn of a cluster's contents, one sorted line each: topics, configs that somebody
 * set, committed offsets, producers and transactional ids, and every committed record with its leader epoch. Two clusters that give the same lines hold
 * the same. Groups that are named are asked for as well: until coordinators have loaded theirs, a list lacks them.
 */
public class Picture {
    static final List<String> lines = new ArrayList<>();

    public static void main(String[] args) throws Exception {
        lines.clear();
        Properties p = new Properties();
        p.put("bootstrap.servers", args[0]);
        try (Admin admin = Admin.create(p)) {
            List<String> topics = new ArrayList<>(admin.listTopics().names().get());
            Collections.sort(topics);
            topics(admin, topics);
            configs(admin, topics);
            groups(admin, Arrays.asList(args).subList(1, args.length));
            transactions(admin, topics);
            records(p, topics);
        }
        Collections.sort(lines);
        lines.forEach(System.out::println);
    }

    static void topics(Admin admin, List<String> topics) throws Exception {
        admin.describeTopics(topics).allTopicNames().get().forEach((name, topic) -> topic.partitions().forEach(each ->
            lines.add("partition " + name + " " + topic.topicId() + " " + each.partition() + " replicas "
                + each.replicas().stream().map(n -> n.idString()).collect(Collectors.joining(",")))));
    }

    static void configs(Admin admin, List<String> topics) throws Exception {
        List<ConfigResource> resources = new ArrayList<>();
        topics.forEach(each -> resources.add(new ConfigResource(ConfigResource.Type.TOPIC, each)));
        resources.add(new ConfigResource(ConfigResource.Type.BROKER, ""));
        admin.describeConfigs(resources).all().get().forEach((resource, config) -> config.entries().forEach(each -> {
            // What nobody set may differ: a default of Kafka's for what is not built elsewhere.
            if (each.source() != ConfigEntry.ConfigSource.DEFAULT_CONFIG)
                lines.add("config " + resource + " " + each.name() + "=" + each.value() + " " + each.source());
        }));
    }

    static void groups(Admin admin, List<String> named) throws Exception {
        Set<String> groups = new TreeSet<>(named);
        for (GroupListing group : admin.listGroups().all().get()) groups.add(group.groupId());
        for (String group : groups) {
            admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get().forEach((partition, each) ->
                lines.add("offset " + group + " " + partition + " " + each.offset() + " epoch "
                    + each.leaderEpoch().map(String::valueOf).orElse("-") + " '" + each.metadata() + "'"));
        }
    }

    static void transactions(Admin admin, List<String> topics) throws Exception {
        List<TopicPartition> partitions = new ArrayList<>();
        admin.describeTopics(topics).allTopicNames().get().forEach((name, topic) -> topic.partitions().forEach(each -> {
            if (!name.startsWith("__")) partitions.add(new TopicPartition(name, each.partition()));
        }));
        admin.describeProducers(partitions).all().get().forEach((partition, state) -> state.activeProducers().forEach(each ->
            lines.add("producer " + partition + " " + each.producerId() + " epoch " + each.producerEpoch() + " sequence "
                + each.lastSequence() + " at " + each.lastTimestamp() + " transaction from "
                + each.currentTransactionStartOffset() + " coordinator " + each.coordinatorEpoch())));
        List<String> ids = new ArrayList<>();
        for (TransactionListing each : admin.listTransactions().all().get()) ids.add(each.transactionalId());
        admin.describeTransactions(ids).all().get().forEach((id, each) ->
            lines.add("transactional id " + id + " " + each.state() + " producer " + each.producerId() + " epoch "
                + each.producerEpoch() + " timeout " + each.transactionTimeoutMs() + " in " + each.topicPartitions()));
    }

    static void records(Properties common, List<String> topics) throws Exception {
        Properties p = new Properties();
        p.putAll(common);
        p.put("enable.auto.commit", "false");
        p.put("isolation.level", "read_committed");
        p.put("max.poll.records", "5000");
        MessageDigest digest = MessageDigest.getInstance("SHA-256");
        try (KafkaConsumer<byte[], byte[]> consumer =
                 new KafkaConsumer<>(p, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            List<TopicPartition> partitions = new ArrayList<>();
            for (String topic : topics)
                consumer.partitionsFor(topic).forEach(each -> partitions.add(new TopicPartition(topic, each.partition())));
            Map<TopicPartition, Long> starts = consumer.beginningOffsets(partitions), ends = consumer.endOffsets(partitions);
            partitions.removeIf(each -> each.topic().startsWith("__"));
            partitions.forEach(each -> lines.add("log " + each + " " + starts.get(each) + " to " + ends.get(each)));
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            while (!partitions.stream().allMatch(each -> consumer.position(each) >= ends.get(each))) {
                for (ConsumerRecord<byte[], byte[]> r : consumer.poll(Duration.ofMillis(500))) {
                    StringBuilder headers = new StringBuilder();
                    for (Header h : r.headers()) headers.append(h.key()).append('=').append(text(h.value())).append(' ');
                    String value = r.value() == null || r.value().length < 40 ? text(r.value())
                        : r.value().length + ":" + HexFormat.of().formatHex(digest.digest(r.value()));
                    lines.add(String.format("record %s %012d epoch %s %s %d key %s value %s headers %s", new TopicPartition(r.topic(), r.partition()),
                        r.offset(), r.leaderEpoch().orElse(-1), r.timestampType(), r.timestamp(), text(r.key()), value, headers));
                }
            }
        }
    }

    static String text(byte[] bytes) {
        return bytes == null ? "null" : "'" + new String(bytes, StandardCharsets.UTF_8) + "'";
    }
}

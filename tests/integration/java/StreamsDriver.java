import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Properties;
import java.util.TreeSet;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeaders;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.TestInputTopic;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.TopologyTestDriver;
import org.apache.kafka.streams.kstream.*;
import org.apache.kafka.streams.processor.api.*;
import org.apache.kafka.streams.state.*;
import org.apache.kafka.streams.test.TestRecord;


/**
 * Runs the topologies of StreamsTopologies and StreamsVersions by Kafka's TopologyTestDriver.
 *
 * <p>Standard input, one scenario a line: {"topology": name, "steps": [["in", topic, key, value, timestamp, [[header, value]]],
 * ["advance", ms]]}. Standard output, first the version, then one line a scenario: {"describe": text, "outputs":
 * {topic: [[step, key, value, timestamp, [[header, value]]]]}, "error": class or absent}. Bytes are texts of ISO 8859-1.
 * Output topics include changelogs and repartition topics. The cache is off: every update is seen.
 */
public class StreamsDriver extends StreamsTopologies {
    /** What the end of a topology's name says about topology.optimization. */
    static final Map<String, String> OPTIMIZED = Map.of(
        "_optimized", StreamsConfig.REUSE_KTABLE_SOURCE_TOPICS,
        "_merged", StreamsConfig.MERGE_REPARTITION_TOPICS,
        "_single", StreamsConfig.SINGLE_STORE_SELF_JOIN,
        "_two_words", StreamsConfig.MERGE_REPARTITION_TOPICS + " , " + StreamsConfig.REUSE_KTABLE_SOURCE_TOPICS,
        "_all", StreamsConfig.OPTIMIZE);

    static byte[] bytes(JsonNode node) {
        return node.isNull() ? null : node.asText().getBytes(StandardCharsets.ISO_8859_1);
    }

    static String text(byte[] bytes) {
        return bytes == null ? null : new String(bytes, StandardCharsets.ISO_8859_1);
    }

    static final ObjectMapper JSON = new ObjectMapper();

    static void drain(TopologyTestDriver driver, int step, ObjectNode outputs) {
        for (String topic : new TreeSet<>(driver.producedTopicNames())) {
            var queue = driver.createOutputTopic(topic, new ByteArrayDeserializer(), new ByteArrayDeserializer());
            for (TestRecord<byte[], byte[]> record : queue.readRecordsToList()) {
                ArrayNode row = outputs.withArray("/" + topic).addArray().add(step);
                row.add(text(record.key())).add(text(record.value())).add(record.timestamp());
                ArrayNode headers = row.addArray();
                for (Header header : record.headers()) {
                    headers.addArray().add(header.key()).add(text(header.value()));
                }
            }
        }
    }

    static ObjectNode run(String name, JsonNode steps) throws Exception {
        Path directory = Files.createTempDirectory("kconsole-streams-");
        Properties config = new Properties();
        config.put(StreamsConfig.APPLICATION_ID_CONFIG, "app");
        config.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, "none:9092");
        config.put(StreamsConfig.STATE_DIR_CONFIG, directory.toString());
        config.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, "0");
        config.put(StreamsConfig.DEFAULT_KEY_SERDE_CLASS_CONFIG, Serdes.StringSerde.class);
        config.put(StreamsConfig.DEFAULT_VALUE_SERDE_CLASS_CONFIG, Serdes.StringSerde.class);
        if (name.endsWith("_continue")) {
            config.put(StreamsConfig.DESERIALIZATION_EXCEPTION_HANDLER_CLASS_CONFIG, org.apache.kafka.streams.errors.LogAndContinueExceptionHandler.class);
            config.put(StreamsConfig.PROCESSING_EXCEPTION_HANDLER_CLASS_CONFIG, org.apache.kafka.streams.errors.LogAndContinueProcessingExceptionHandler.class);
        }
        OPTIMIZED.forEach((suffix, words) -> {
            if (name.endsWith(suffix)) {
                config.put(StreamsConfig.TOPOLOGY_OPTIMIZATION_CONFIG, words);
            }
        });
        StreamsBuilder builder = new StreamsBuilder();
        TOPOLOGIES.get(name).accept(builder);
        Topology topology = builder.build(config);
        ObjectNode answer = JSON.createObjectNode();
        answer.put("describe", topology.describe().toString());
        ObjectNode outputs = answer.putObject("outputs");
        TopologyTestDriver driver = new TopologyTestDriver(topology, config, Instant.ofEpochMilli(0));
        Map<String, TestInputTopic<byte[], byte[]>> inputs = new LinkedHashMap<>();
        int step = 0;
        try {
            for (JsonNode each : steps) {
                if (each.get(0).asText().equals("advance")) {
                    driver.advanceWallClockTime(ms(each.get(1).asLong()));
                } else {
                    RecordHeaders headers = new RecordHeaders();
                    each.get(5).forEach(header -> headers.add(header.get(0).asText(), bytes(header.get(1))));
                    inputs.computeIfAbsent(each.get(1).asText(), topic -> driver.createInputTopic(topic, new ByteArraySerializer(), new ByteArraySerializer()))
                        .pipeInput(new TestRecord<>(bytes(each.get(2)), bytes(each.get(3)), headers, each.get(4).asLong()));
                }
                drain(driver, step++, outputs);
            }
        } catch (Exception error) {
            answer.put("error", step);
            answer.put("message", error + " / " + error.getCause());
        } finally {
            try {
                driver.close();
            } catch (Exception error) {
                // After a failure it may fail again.
            }
        }
        try (var files = Files.walk(directory)) {
            for (Path path : files.sorted(java.util.Comparator.reverseOrder()).toList()) {
                Files.delete(path);
            }
        }
        return answer;
    }

    public static void main(String[] arguments) throws Exception {
        StreamsVersions.addAll();
        PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
        Properties version = new Properties();
        version.load(StreamsConfig.class.getResourceAsStream("/kafka/kafka-streams-version.properties"));
        ObjectNode head = JSON.createObjectNode().put("version", version.getProperty("version")).put("commit", version.getProperty("commitId"));
        TOPOLOGIES.keySet().forEach(head.putArray("topologies")::add);
        out.println(JSON.writeValueAsString(head));
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            JsonNode scenario = JSON.readTree(line);
            out.println(JSON.writeValueAsString(run(scenario.get("topology").asText(), scenario.get("steps"))));
        }
    }
}

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.TreeMap;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.ShareGroupDescription;
import org.apache.kafka.clients.consumer.AcknowledgeType;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaShareConsumer;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.serialization.StringDeserializer;

/**
 * Share consumers that do what is asked on standard input, one line a command, one line an answer.
 *
 * open NAME GROUP TOPIC [key=value ...]; poll NAME MILLIS; ack NAME accept|release|reject|renew FROM TO (values, both included);
 * commit NAME; close NAME; earliest GROUP (it begins at the start of what it reads); describe GROUP.
 */
public class Sharing {
    private static final Map<String, KafkaShareConsumer<String, String>> CONSUMERS = new HashMap<>();
    private static final Map<String, Map<Integer, ConsumerRecord<String, String>>> HELD = new HashMap<>();

    public static void main(String[] args) throws Exception {
        Admin admin = Admin.create(Map.of("bootstrap.servers", args[0]));
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            String answer;
            try {
                answer = run(admin, args[0], line.split(" "));
            } catch (Exception error) {
                answer = "error " + error.toString().replace('\n', ' ');
            }
            System.out.println(answer);
            System.out.flush();
        }
    }

    private static String run(Admin admin, String bootstrap, String[] words) throws Exception {
        String name = words[1];
        KafkaShareConsumer<String, String> consumer = CONSUMERS.get(name);
        switch (words[0]) {
            case "open": {
                Properties config = new Properties();
                config.put("bootstrap.servers", bootstrap);
                config.put("group.id", words[2]);
                config.put("share.acknowledgement.mode", "explicit");
                for (int i = 4; i < words.length; i++) {
                    String[] pair = words[i].split("=", 2);
                    config.put(pair[0], pair[1]);
                }
                consumer = new KafkaShareConsumer<>(config, new StringDeserializer(), new StringDeserializer());
                consumer.subscribe(List.of(words[3]));
                CONSUMERS.put(name, consumer);
                HELD.put(name, new TreeMap<>());
                return "ok";
            }
            case "poll": {
                ConsumerRecords<String, String> records = consumer.poll(Duration.ofMillis(Long.parseLong(words[2])));
                StringBuilder answer = new StringBuilder("records");
                for (ConsumerRecord<String, String> record : records) {
                    HELD.get(name).put(Integer.parseInt(record.value()), record);
                    answer.append(' ').append(record.value()).append(':').append(record.deliveryCount().get());
                }
                return answer.toString();
            }
            case "ack": {
                AcknowledgeType type = AcknowledgeType.valueOf(words[2].toUpperCase());
                int count = 0;
                for (int value = Integer.parseInt(words[3]); value <= Integer.parseInt(words[4]); value++) {
                    ConsumerRecord<String, String> record = HELD.get(name).get(value);
                    if (record != null) {
                        consumer.acknowledge(record, type);
                        if (type != AcknowledgeType.RENEW) HELD.get(name).remove(value);
                        count++;
                    }
                }
                return "acked " + count;
            }
            case "commit": {
                StringBuilder answer = new StringBuilder("committed");
                consumer.commitSync(Duration.ofSeconds(30)).forEach((partition, error) ->
                    answer.append(' ').append(partition.partition()).append('=')
                        .append(error.map(each -> each.getClass().getSimpleName()).orElse("ok")));
                return answer.toString();
            }
            case "earliest": {
                ConfigResource resource = new ConfigResource(ConfigResource.Type.GROUP, words[1]);
                AlterConfigOp begin = new AlterConfigOp(
                    new ConfigEntry("share.auto.offset.reset", "earliest"), AlterConfigOp.OpType.SET);
                admin.incrementalAlterConfigs(Map.of(resource, List.of(begin))).all().get();
                return "ok";
            }
            case "describe": {
                ShareGroupDescription group = admin.describeShareGroups(List.of(words[1])).all().get().get(words[1]);
                return "group " + group.groupState() + " " + group.members().size();
            }
            case "close":
                consumer.close(Duration.ofSeconds(5));
                CONSUMERS.remove(name);
                return "ok";
            default:
                return "error unknown command " + words[0];
        }
    }
}

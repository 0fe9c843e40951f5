import java.util.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringSerializer;

/** Two producers with one transactional id, and offsets of a member whose generation is over: prints an act a line, and the
 * exception that it ended with, or "done". */
public class Zombie {
    interface Act {
        void run() throws Exception;
    }

    static void tell(String name, Act act) {
        String outcome = "done";
        try {
            act.run();
        } catch (java.util.concurrent.ExecutionException failure) {
            outcome = failure.getCause().getClass().getSimpleName();
        } catch (Exception failure) {
            outcome = failure.getClass().getSimpleName();
        }
        System.out.println(name + ": " + outcome);
    }

    static KafkaProducer<String, String> producer(String bootstrap, String id) {
        Map<String, Object> config = Map.of(
            "bootstrap.servers", bootstrap, "transactional.id", id, "max.block.ms", "20000", "linger.ms", "0");
        KafkaProducer<String, String> made = new KafkaProducer<>(config, new StringSerializer(), new StringSerializer());
        made.initTransactions();
        return made;
    }

    static void write(KafkaProducer<String, String> producer, String topic, String value) throws Exception {
        for (int partition = 0; partition < 3; partition++) {
            producer.send(new ProducerRecord<>(topic, partition, null, value)).get();
        }
    }

    public static void main(String[] args) throws Exception {
        // BOOTSTRAP TOPIC GROUP
        String bootstrap = args[0], topic = args[1], group = args[2];
        Map<TopicPartition, OffsetAndMetadata> position = Map.of(new TopicPartition(topic, 0), new OffsetAndMetadata(7));
        KafkaProducer<String, String> zombie = producer(bootstrap, "zombie-of-java");
        zombie.beginTransaction();
        write(zombie, topic, "of the zombie");
        zombie.sendOffsetsToTransaction(position, new ConsumerGroupMetadata(group));
        try (KafkaProducer<String, String> heir = producer(bootstrap, "zombie-of-java")) {
            tell("the zombie writes", () -> write(zombie, topic, "of the zombie, late"));
            tell("the zombie commits", zombie::commitTransaction);
            tell("the zombie begins", zombie::beginTransaction);
            heir.beginTransaction();
            tell("the heir writes", () -> write(heir, topic, "of the heir"));
            tell("the heir commits", heir::commitTransaction);
            // Fenced by the group's generation (KIP-447).
            heir.beginTransaction();
            write(heir, topic, "of a member that is out");
            ConsumerGroupMetadata out = new ConsumerGroupMetadata(group, 5, "a member that is out", Optional.empty());
            tell("offsets of a member that is out", () -> heir.sendOffsetsToTransaction(position, out));
            tell("the heir aborts", heir::abortTransaction);
            heir.beginTransaction();
            write(heir, topic, "of the heir again");
            tell("the heir commits again", heir::commitTransaction);
        } finally {
            zombie.close(java.time.Duration.ZERO);
        }
    }
}

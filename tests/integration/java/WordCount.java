import java.util.*;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.*;
import org.apache.kafka.streams.kstream.*;

/**
 * Kafka Streams' word count, of the streams protocol (KIP-1071) and exactly once: WordCount BOOTSTRAP APPLICATION
 * STATE_DIR INPUT OUTPUT THREADS. Prints each state that it comes to; ends with its standard input.
 */
public class WordCount {
    public static void main(String[] args) throws Exception {
        Properties p = new Properties();
        p.put("bootstrap.servers", args[0]);
        p.put("application.id", args[1]);
        p.put("state.dir", args[2]);
        p.put("num.stream.threads", args[5]);
        p.put("group.protocol", "streams");
        p.put("processing.guarantee", "exactly_once_v2");
        p.put("commit.interval.ms", "100");
        p.put("default.key.serde", Serdes.String().getClass().getName());
        p.put("default.value.serde", Serdes.String().getClass().getName());
        p.put("auto.offset.reset", "earliest");
        StreamsBuilder builder = new StreamsBuilder();
        builder.<String, String>stream(args[3])
            .flatMapValues(line -> Arrays.asList(line.split(" ")))
            .groupBy((key, word) -> word)
            .count(Materialized.as("counts"))
            .toStream()
            .mapValues(count -> Long.toString(count))
            .to(args[4]);
        KafkaStreams streams = new KafkaStreams(builder.build(), p);
        streams.setStateListener((state, before) -> {
            System.out.println(state);
            System.out.flush();
        });
        streams.start();
        while (System.in.read() >= 0) {}
        streams.close(java.time.Duration.ofSeconds(10));
    }
}

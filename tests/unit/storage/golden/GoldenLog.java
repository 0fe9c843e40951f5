// Performs the operations of a scenario with Apache Kafka's own log and shows what it answered and wrote.
// Run by make_golden_log.py: java -cp "libs/*" GoldenLog.java SEGMENT_BYTES INDEX_INTERVAL_BYTES NOW_MS < operations
import java.io.BufferedReader;
import java.io.File;
import java.io.InputStreamReader;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.Optional;
import java.util.Properties;
import java.util.function.Supplier;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.protocol.Errors;
import org.apache.kafka.common.record.internal.MemoryRecords;
import org.apache.kafka.common.utils.Time;
import org.apache.kafka.server.common.RequestLocal;
import org.apache.kafka.server.util.KafkaScheduler;
import org.apache.kafka.storage.internals.checkpoint.CleanShutdownFileHandler;
import org.apache.kafka.storage.internals.checkpoint.OffsetCheckpointFile;
import org.apache.kafka.storage.internals.log.*;
import org.apache.kafka.storage.log.metrics.BrokerTopicStats;

public class GoldenLog {
    static long now;

    static class FixedTime implements Time {
        public long milliseconds() { return now; }
        public long nanoseconds() { return now * 1_000_000L; }
        public void sleep(long ms) { }
        public void waitObject(Object o, Supplier<Boolean> condition, long deadlineMs) { }
    }

    static void show(File directory) throws Exception {
        File[] files = directory.listFiles();
        Arrays.sort(files);
        for (File file : files) {
            if (!file.getName().endsWith(".deleted")) {
                System.out.println("file " + file.getName() + " "
                    + HexFormat.of().formatHex(Files.readAllBytes(file.toPath())));
            }
        }
    }

    public static void main(String[] args) throws Exception {
        now = Long.parseLong(args[2]);
        Path parent = Files.createTempDirectory("golden");
        File directory = parent.resolve("golden-0").toFile();
        directory.mkdirs();
        Properties properties = new Properties();
        properties.put("internal.segment.bytes", args[0]);
        properties.put("index.interval.bytes", args[1]);
        LogDirFailureChannel channel = new LogDirFailureChannel(1);
        KafkaScheduler scheduler = new KafkaScheduler(1);
        scheduler.startup();
        UnifiedLog log = UnifiedLog.create(
            directory, new LogConfig(properties), 0, 0, scheduler, new BrokerTopicStats(), new FixedTime(), 900_000,
            new ProducerStateManagerConfig(86_400_000, false), 600_000, channel, true,
            Optional.of(Uuid.fromString("AAECAwQFBgcICQoLDA0ODw")));
        BufferedReader input = new BufferedReader(new InputStreamReader(System.in));
        for (String line = input.readLine(); line != null; line = input.readLine()) {
            String[] words = line.split(" ");
            String answer = "";
            try {
                switch (words[0]) {
                    case "leader" -> {
                        LogAppendInfo info = log.appendAsLeader(
                            MemoryRecords.readableRecords(ByteBuffer.wrap(HexFormat.of().parseHex(words[4]))),
                            Integer.parseInt(words[1]), AppendOrigin.valueOf(words[2].toUpperCase()),
                            RequestLocal.noCaching(), VerificationGuard.SENTINEL, Short.parseShort(words[3]));
                        answer = " " + info.firstOffset() + " " + info.lastOffset();
                    }
                    case "high_watermark" -> log.updateHighWatermark(Long.parseLong(words[1]));
                    case "truncate" -> log.truncateTo(Long.parseLong(words[1]));
                    case "roll" -> log.roll(Optional.empty());
                    default -> throw new IllegalArgumentException(line);
                }
            } catch (Exception e) {
                answer = " " + Errors.forException(e).name();
            }
            System.out.println(words[0] + answer + " end=" + log.logEndOffset() + " stable=" + log.lastStableOffset());
        }
        log.close();
        show(directory);
        OffsetCheckpointFile checkpoint =
            new OffsetCheckpointFile(parent.resolve("recovery-point-offset-checkpoint").toFile(), channel);
        checkpoint.write(java.util.Map.of(new TopicPartition("golden", 0), log.logEndOffset()));
        new CleanShutdownFileHandler(parent.toString()).write(42);
        show(parent.toFile().listFiles(File::isFile) == null ? directory : onlyFiles(parent));
        scheduler.shutdown();
        System.exit(0);
    }

    static File onlyFiles(Path parent) throws Exception {
        Path copies = Files.createTempDirectory("files");
        for (File file : parent.toFile().listFiles(File::isFile)) {
            Files.copy(file.toPath(), copies.resolve(file.getName()));
        }
        return copies.toFile();
    }
}

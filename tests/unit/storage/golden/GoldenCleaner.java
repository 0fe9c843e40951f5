// Has Apache Kafka's own cleaner compact the log of a scenario and shows what it wrote.
// Run by make_golden_cleaner.py: java -cp "libs/*" GoldenCleaner.java SEGMENT_BYTES INTERVAL_BYTES RETENTION_MS NOW_MS
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
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.record.internal.MemoryRecords;
import org.apache.kafka.common.utils.Time;
import org.apache.kafka.server.common.RequestLocal;
import org.apache.kafka.server.util.KafkaScheduler;
import org.apache.kafka.storage.internals.log.*;
import org.apache.kafka.storage.internals.utils.Throttler;
import org.apache.kafka.storage.log.metrics.BrokerTopicStats;

public class GoldenCleaner {
    static long now;

    static class FixedTime implements Time {
        public long milliseconds() { return now; }
        public long nanoseconds() { return now * 1_000_000L; }
        public void sleep(long ms) { }
        public void waitObject(Object o, Supplier<Boolean> condition, long deadlineMs) { }
    }

    public static void main(String[] args) throws Exception {
        now = Long.parseLong(args[3]);
        Path parent = Files.createTempDirectory("golden");
        File directory = parent.resolve("golden-0").toFile();
        directory.mkdirs();
        Properties properties = new Properties();
        properties.put("cleanup.policy", "compact");
        properties.put("internal.segment.bytes", args[0]);
        properties.put("index.interval.bytes", args[1]);
        properties.put("delete.retention.ms", args[2]);
        KafkaScheduler scheduler = new KafkaScheduler(1);
        scheduler.startup();
        Time time = new FixedTime();
        UnifiedLog log = UnifiedLog.create(
            directory, new LogConfig(properties), 0, 0, scheduler, new BrokerTopicStats(), time, 900_000,
            new ProducerStateManagerConfig(86_400_000, false), 600_000, new LogDirFailureChannel(1), true,
            Optional.of(Uuid.fromString("AAECAwQFBgcICQoLDA0ODw")));
        Cleaner cleaner = new Cleaner(
            0, new SkimpyOffsetMap(1 << 20), 64 * 1024, 1 << 20, 0.9,
            new Throttler(Double.MAX_VALUE, 300, "cleaner-io", "bytes", time), time, partition -> { });
        long firstDirty = 0;
        int round = 0;
        BufferedReader input = new BufferedReader(new InputStreamReader(System.in));
        for (String line = input.readLine(); line != null; line = input.readLine()) {
            String[] words = line.split(" ");
            switch (words[0]) {
                case "leader" -> log.appendAsLeader(
                    MemoryRecords.readableRecords(ByteBuffer.wrap(HexFormat.of().parseHex(words[4]))),
                    Integer.parseInt(words[1]), AppendOrigin.valueOf(words[2].toUpperCase()),
                    RequestLocal.noCaching(), VerificationGuard.SENTINEL, Short.parseShort(words[3]));
                case "high_watermark" -> log.updateHighWatermark(log.logEndOffset());
                case "roll" -> log.roll(Optional.empty());
                case "clean" -> {
                    now = Long.parseLong(words[1]);
                    LogToClean toClean = new LogToClean(log, firstDirty, log.activeSegment().baseOffset(), false);
                    firstDirty = cleaner.doClean(toClean, now).getKey();
                    System.out.println("clean " + round + " " + firstDirty);
                    File[] files = directory.listFiles();
                    Arrays.sort(files);
                    for (File file : files) {
                        String name = file.getName();
                        if (name.matches("[0-9]+[.](log|txnindex)")) {
                            System.out.println("file " + round + " " + name + " "
                                + HexFormat.of().formatHex(Files.readAllBytes(file.toPath())));
                        }
                    }
                    round += 1;
                }
                default -> throw new IllegalArgumentException(line);
            }
        }
        log.close();
        File[] files = directory.listFiles();
        Arrays.sort(files);
        for (File file : files) {
            // The active one's is trimmed when the log is closed, the cleaned ones' when they are complete.
            if (file.getName().matches("[0-9]+[.](index|timeindex)")) {
                System.out.println("file " + (round - 1) + " " + file.getName() + " "
                    + HexFormat.of().formatHex(Files.readAllBytes(file.toPath())));
            }
        }
        scheduler.shutdown();
        System.exit(0);
    }
}

import java.util.*;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.coordinator.transaction.*;
import org.apache.kafka.server.common.TransactionVersion;

/** Takes Apache Kafka's TransactionMetadata through the operations on its input and prints the record of each. */
public class GoldenTransactions {
    static TransactionVersion version(String level) {
        return TransactionVersion.fromFeatureLevel(Short.parseShort(level));
    }

    public static void main(String[] args) {
        Scanner in = new Scanner(System.in);
        TransactionMetadata metadata = null;
        TransactionVersion level = null;
        long now = 1_750_000_000_000L;
        while (in.hasNextLine()) {
            String line = in.nextLine();
            String[] words = line.split(" ");
            now += 1000;
            TxnTransitMetadata transit;
            switch (words[0]) {
                case "new" -> {
                    level = version(words[1]);
                    metadata = new TransactionMetadata("payments", Long.parseLong(words[2]), -1, -1,
                        Short.parseShort(words[3]), (short) -1, 60_000, TransactionState.EMPTY, Set.of(), -1, now,
                        TransactionVersion.TV_0);
                    System.out.println(line + " " + HexFormat.of().formatHex(TransactionLog.keyToBytes("payments")));
                    continue;
                }
                case "init" -> transit = metadata.prepareIncrementProducerEpoch(60_000,
                    words[1].equals("-1") ? Optional.empty() : Optional.of(Short.parseShort(words[1])), now);
                case "rotate" -> transit = metadata.prepareProducerIdRotation(
                    Long.parseLong(words[1]), 60_000, now, words[2].equals("1"));
                case "add" -> transit = metadata.prepareAddPartitions(
                    Set.of(new TopicPartition(words[1], Integer.parseInt(words[2]))), now, version(words[3]));
                case "end" -> transit = metadata.prepareAbortOrCommit(
                    words[1].equals("1") ? TransactionState.PREPARE_COMMIT : TransactionState.PREPARE_ABORT,
                    version(words[2]), Long.parseLong(words[3]), now,
                    metadata.state() != TransactionState.ONGOING);
                case "fence" -> {
                    // TransactionCoordinator.endTransactionWithTV1, of an InitProducerId or a time-out.
                    TxnTransitMetadata fence = metadata.prepareFenceProducerEpoch();
                    metadata.pendingState(Optional.empty());
                    metadata.setProducerEpoch(fence.producerEpoch());
                    metadata.setLastProducerEpoch((short) -1);
                    transit = metadata.prepareAbortOrCommit(
                        TransactionState.PREPARE_ABORT, TransactionVersion.TV_0, -1L, now, false);
                }
                case "complete" -> transit = metadata.prepareComplete(now);
                default -> throw new IllegalArgumentException(line);
            }
            metadata.completeTransitionTo(transit);
            System.out.println(line + " " + HexFormat.of().formatHex(TransactionLog.valueToBytes(transit, level)));
        }
    }
}

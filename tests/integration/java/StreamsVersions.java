import java.util.Map;
import java.util.TreeMap;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.kstream.*;
import org.apache.kafka.streams.processor.api.*;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.*;

/** Topologies with versioned tables, joins with grace and topology.optimization; peers: java_twins_versions.py. */
class StreamsVersions extends StreamsTopologies {
    static final Joined<String, String, String> JOINED = Joined.with(S, S, S);
    static final StreamJoined<String, String, String> STORED = StreamJoined.with(S, S, S);
    static final Grouped<String, String> BY = Grouped.with(S, S);

    static Materialized<String, String, KeyValueStore<Bytes, byte[]>> versions(String name, long retention) {
        return Materialized.<String, String>as(Stores.persistentVersionedKeyValueStore(name, ms(retention), ms(10))).withKeySerde(S).withValueSerde(S);
    }

    static KTable<String, String> versioned(StreamsBuilder b, String topic, long retention) {
        return b.table(topic, Consumed.with(S, S), versions(topic + "-versions", retention));
    }

    static void write(KTable<String, String> table) {
        table.toStream().to("out", Produced.with(S, S));
    }

    static String three(String key, String a, String b) {
        return "(" + key + "|" + a + "|" + b + ")";
    }

    static void addAll() {
        add("versioned_table", b -> write(versioned(b, "left", 30)));
        add("versioned_default_segments", b -> write(b.table("left", Consumed.with(S, S),
            Materialized.<String, String>as(Stores.persistentVersionedKeyValueStore("rows", ms(40))).withKeySerde(S).withValueSerde(S))));
        add("versioned_table_optimized", b -> write(versioned(b, "left", 30)));
        add("versioned_to_table", b -> write(in(b, "left").toTable(versions("rows", 20))));
        add("versioned_count", b -> out(grouped(b).count(Materialized.<String, Long>as(Stores.persistentVersionedKeyValueStore("counts", ms(30))).withKeySerde(S))));
        add("versioned_reduce", b -> write(grouped(b).reduce(StreamsTopologies::both, versions("reduced", 30))));
        add("versioned_aggregate_to_null", b -> write(grouped(b).aggregate(() -> "0", (k, v, a) -> even(v) ? plus(a, v) : null, versions("evens", 30))));
        add("versioned_cogroup", b -> write(grouped(b).<String>cogroup((k, v, a) -> a + v + ",").cogroup(in(b, "right").groupByKey(BY), (k, v, a) -> a + v + ";")
            .aggregate(() -> "", versions("both", 30))));
        add("versioned_filter", b -> write(versioned(b, "left", 30).filter((k, v) -> even(v))));
        add("versioned_filter_store", b -> write(versioned(b, "left", 30).filter((k, v) -> even(v), versions("evens", 15))));
        add("versioned_filter_of_plain", b -> write(table(b, "left").filterNot((k, v) -> even(v), versions("odds", 30))));
        add("versioned_map_values", b -> write(versioned(b, "left", 30).mapValues(v -> v + "m")));
        add("versioned_map_values_store", b -> write(versioned(b, "left", 30).mapValues(v -> v + "m", versions("mapped", 30)).filter((k, v) -> !v.startsWith("1"))));
        add("versioned_transform_values", b -> write(versioned(b, "left", 30).transformValues(() -> new ValueTransformerWithKey<String, String, String>() {
            public void init(org.apache.kafka.streams.processor.ProcessorContext context) { }
            public String transform(String key, String value) { return key + "/" + value; }
            public void close() { }
        }, versions("transformed", 20))));
        add("versioned_group", b -> out(versioned(b, "left", 30).groupBy((k, v) -> KeyValue.pair(letter(v), v), BY).count(Materialized.as("counts"))));
        add("versioned_group_filtered", b -> write(versioned(b, "left", 30).filter((k, v) -> even(v)).mapValues(v -> plus(v, "1"))
            .groupBy((k, v) -> KeyValue.pair(letter(v), v), BY).reduce(StreamsTopologies::plus, StreamsTopologies::minus, versions("sums", 40))));
        add("versioned_group_plain_filter", b -> out(versioned(b, "left", 30).filter((k, v) -> even(v), Materialized.with(S, S))
            .groupBy((k, v) -> KeyValue.pair(letter(v), v), BY).count()));
        add("versioned_group_plain_store", b -> out(versioned(b, "left", 30).mapValues(v -> plus(v, "1"), as("more")).groupBy((k, v) -> KeyValue.pair(letter(v), v), BY).count()));
        add("versioned_join", b -> write(versioned(b, "left", 30).join(versioned(b, "right", 20), StreamsTopologies::both)));
        add("versioned_join_left", b -> write(versioned(b, "left", 30).leftJoin(versioned(b, "right", 20), StreamsTopologies::both)));
        add("versioned_join_outer", b -> write(versioned(b, "left", 30).outerJoin(versioned(b, "right", 20), StreamsTopologies::both)));
        add("versioned_join_one_side", b -> write(versioned(b, "left", 30).outerJoin(table(b, "right"), StreamsTopologies::both)));
        add("versioned_join_other_side", b -> write(table(b, "left").leftJoin(versioned(b, "right", 30).filter((k, v) -> even(v)), StreamsTopologies::both)));
        add("versioned_join_store", b -> write(versioned(b, "left", 30).join(versioned(b, "right", 30), StreamsTopologies::both, versions("joined", 25))));
        add("versioned_join_of_join", b -> write(table(b, "left").outerJoin(table(b, "right"), StreamsTopologies::both, versions("joined", 25))
            .leftJoin(versioned(b, "third", 40), StreamsTopologies::both)));
        add("versioned_join_group", b -> out(versioned(b, "left", 30).join(versioned(b, "right", 30), (l, r) -> r, versions("joined", 25))
            .groupBy((k, v) -> KeyValue.pair(letter(v), v), BY).count()));
        add("versioned_foreign_key", b -> write(versioned(b, "left", 30).join(versioned(b, "right", 30), StreamsTopologies::letter, StreamsTopologies::both, as("joined"))));
        add("versioned_foreign_key_left", b -> write(versioned(b, "left", 30).leftJoin(versioned(b, "right", 30), StreamsTopologies::letter, StreamsTopologies::both, versions("joined", 30))));
        add("versioned_stream_join", b -> in(b, "left").join(versioned(b, "right", 30), StreamsTopologies::both).to("out"));
        add("versioned_stream_join_left", b -> in(b, "left").leftJoin(versioned(b, "right", 15), StreamsTopologies::both).to("out"));
        add("versioned_stream_join_mapped", b -> in(b, "left").leftJoin(versioned(b, "right", 30).filter((k, v) -> even(v)).mapValues(v -> v + "m"), StreamsTopologies::both).to("out"));
        add("versioned_stream_join_aggregate", b -> in(b, "left").join(in(b, "right").groupByKey(BY).reduce(StreamsTopologies::plus, versions("sums", 30)), StreamsTopologies::both).to("out"));
        add("versioned_process", b -> b.addStateStore(Stores.versionedKeyValueStoreBuilder(Stores.persistentVersionedKeyValueStore("past", ms(30), ms(7)), S, S))
            .stream("left", Consumed.with(S, S)).process(() -> new Past(), "past").to("out", Produced.with(S, S)));
        add("versioned_process_long", b -> b.addStateStore(Stores.versionedKeyValueStoreBuilder(Stores.persistentVersionedKeyValueStore("past", ms(500)), S, S))
            .stream("left", Consumed.with(S, S)).process(() -> new Past(), "past").to("out", Produced.with(S, S)));

        // Joins with grace.
        add("grace_join", b -> in(b, "left").join(versioned(b, "right", 30), StreamsTopologies::both, JOINED.withGracePeriod(ms(10))).to("out"));
        add("grace_join_left", b -> in(b, "left").filter((k, v) -> k != null).leftJoin(versioned(b, "right", 30), StreamsTopologies::both, JOINED.withGracePeriod(ms(20))).to("out"));
        add("grace_join_none", b -> in(b, "left").join(versioned(b, "right", 30), StreamsTopologies::both, JOINED.withGracePeriod(ms(0))).to("out"));
        add("grace_join_named", b -> in(b, "left").selectKey((k, v) -> letter(v)).leftJoin(versioned(b, "right", 30), StreamsTopologies::both, JOINED.withName("late").withGracePeriod(ms(15))).to("out"));
        add("grace_join_mapped", b -> in(b, "left").join(versioned(b, "right", 30).mapValues(v -> v + "m"), StreamsTopologies::both, JOINED.withGracePeriod(ms(10)))
            .groupByKey(BY).reduce(StreamsTopologies::both, as("reduced")).toStream().to("out"));
        add("grace_join_two", b -> in(b, "left").join(versioned(b, "right", 30), StreamsTopologies::both, JOINED.withGracePeriod(ms(5)))
            .filter((k, v) -> k != null).leftJoin(versioned(b, "third", 60), StreamsTopologies::both, JOINED.withGracePeriod(ms(12))).to("out"));

        // topology.optimization.
        Map<String, java.util.function.Consumer<StreamsBuilder>> optimized = new TreeMap<>();
        optimized.put("groups", b -> {
            KStream<String, String> letters = in(b, "left").selectKey((k, v) -> letter(v));
            out(letters.groupByKey(BY).count(Materialized.as("counts")));
            letters.filter((k, v) -> even(v)).groupByKey(BY).reduce(StreamsTopologies::plus, as("sums")).toStream().to("out-2");
            letters.join(table(b, "right"), StreamsTopologies::both, JOINED).to("out-3");
        });
        optimized.put("values_between", b -> {
            KStream<String, String> letters = in(b, "left").map((k, v) -> KeyValue.pair(letter(v), v));
            out(letters.groupByKey(BY).count());
            letters.mapValues(v -> v + "!").groupByKey(Grouped.with("marked", S, S)).reduce(StreamsTopologies::both).toStream().to("out-2");
        });
        optimized.put("merge", b -> {
            KStream<String, String> both = in(b, "left").selectKey((k, v) -> letter(v)).merge(in(b, "right").selectKey((k, v) -> letter(v)));
            out(both.groupByKey(BY).count());
            both.groupByKey(BY).reduce(StreamsTopologies::both).toStream().to("out-2");
        });
        optimized.put("self_join", b -> {
            KStream<String, String> left = in(b, "left");
            left.join(left, StreamsTopologies::both, JoinWindows.ofTimeDifferenceAndGrace(ms(10), ms(15)), STORED).to("out");
        });
        optimized.put("self_join_before", b -> {
            KStream<String, String> left = in(b, "left");
            left.join(left, StreamsTopologies::both, JoinWindows.ofTimeDifferenceWithNoGrace(ms(10)).after(ms(0)), STORED.withName("self").withStoreName("kept")).to("out");
            left.join(table(b, "right"), StreamsTopologies::both).to("out-2");
        });
        optimized.put("self_join_regrouped", b -> {
            KStream<String, String> letters = in(b, "left").selectKey((k, v) -> letter(v));
            letters.join(letters, StreamsTopologies::both, JoinWindows.ofTimeDifferenceAndGrace(ms(10), ms(5)), STORED).to("out");
        });
        optimized.put("self_join_by_topic", b -> in(b, "left").join(in(b, "left"), StreamsTopologies::both, JoinWindows.ofTimeDifferenceAndGrace(ms(10), ms(5)), STORED).to("out"));
        optimized.put("self_join_left", b -> {
            KStream<String, String> left = in(b, "left");
            left.leftJoin(left, StreamsTopologies::both, JoinWindows.ofTimeDifferenceAndGrace(ms(10), ms(15)), STORED).to("out");
        });
        optimized.put("tables", b -> write(table(b, "left").leftJoin(table(b, "right").filter((k, v) -> even(v)), StreamsTopologies::both, as("joined"))));
        optimized.forEach((name, maker) -> add(name + "_all", maker));
        for (String name : new String[] {"groups", "values_between", "merge", "tables"}) {
            add(name + "_merged", optimized.get(name));
        }
        for (String name : new String[] {"self_join", "self_join_before", "self_join_regrouped", "self_join_by_topic", "self_join_left", "groups"}) {
            add(name + "_single", optimized.get(name));
        }
        add("tables_two_words", optimized.get("tables"));
        add("groups_two_words", optimized.get("groups"));
        add("groups_optimized", optimized.get("groups"));

        for (int size : new int[] {0, 1, 2, 3}) {
            add("process_lru_" + size, b -> b.addStateStore(Stores.keyValueStoreBuilder(Stores.lruMap("seen", size), S, S))
                .stream("left", Consumed.with(S, S)).process(() -> new Keep(), "seen").to("out", Produced.with(S, S)));
        }

        // Functions that see the key as well.
        add("to_stream_mapped", b -> table(b, "left").toStream((k, v) -> letter(v)).to("out", Produced.with(S, S)));
        add("to_stream_mapped_named", b -> table(b, "left").toStream((k, v) -> letter(v), Named.as("changes")).groupByKey(BY).reduce(StreamsTopologies::both).toStream().to("out"));
        add("with_key_table", b -> in(b, "left").join(table(b, "right"), StreamsVersions::three).to("out"));
        add("with_key_table_left", b -> in(b, "left").leftJoin(table(b, "right"), StreamsVersions::three).to("out"));
        add("with_key_global", b -> in(b, "left").join(b.globalTable("right", Consumed.with(S, S)), (k, v) -> letter(v), StreamsVersions::three).to("out"));
        add("with_key_global_left", b -> in(b, "left").leftJoin(b.globalTable("right", Consumed.with(S, S)), (k, v) -> letter(v), StreamsVersions::three).to("out"));
        add("with_key_stream", b -> in(b, "left").join(in(b, "right"), StreamsVersions::three, JoinWindows.ofTimeDifferenceAndGrace(ms(10), ms(15)), STORED).to("out"));
        add("with_key_stream_left", b -> in(b, "left").leftJoin(in(b, "right"), StreamsVersions::three, JoinWindows.ofTimeDifferenceAndGrace(ms(10), ms(15)), STORED).to("out"));
        add("with_key_stream_outer", b -> in(b, "left").outerJoin(in(b, "right"), StreamsVersions::three, JoinWindows.ofTimeDifferenceAndGrace(ms(10), ms(15)), STORED).to("out"));
        add("with_key_foreign", b -> write(table(b, "left").join(table(b, "right"), (k, v) -> even(v) ? k : letter(v), StreamsTopologies::both, as("joined"))));
        add("with_key_foreign_left", b -> write(table(b, "left").leftJoin(table(b, "right"), (k, v) -> even(v) ? k : letter(v), StreamsTopologies::both, as("joined"))));
        add("print", b -> {
            in(b, "left").print(Printed.toFile("/dev/null"));
            in(b, "left").print(Printed.<String, String>toFile("/dev/null").withLabel("label").withKeyValueMapper((k, v) -> k + v).withName("printer"));
            in(b, "left").to("out");
        });
    }

    /** Puts and deletes versions, and tells what the key had and has at several times. */
    static class Past extends ContextualProcessor<String, String, String, String> {
        static String told(VersionedRecord<String> found) {
            return found == null ? "-" : found.value() + "@" + found.timestamp();
        }

        public void process(Record<String, String> record) {
            VersionedKeyValueStore<String, String> store = context().getStateStore("past");
            if (record.key() == null) {
                return;
            }
            StringBuilder all = new StringBuilder();
            if (record.value() == null) {
                all.append(told(store.delete(record.key(), record.timestamp())));
            } else {
                all.append(store.put(record.key(), "19".equals(record.value()) ? null : record.value(), record.timestamp()));
            }
            all.append(' ').append(told(store.get(record.key())));
            for (long before : new long[] {31, 30, 29, 15, 10, 5, 2, 1, 0, -1, -5, -30}) {
                all.append(' ').append(told(store.get(record.key(), record.timestamp() - before)));
            }
            context().forward(record.withValue(all.toString()));
        }
    }
}

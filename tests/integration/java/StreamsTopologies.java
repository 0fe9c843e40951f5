import java.time.Duration;
import java.time.Instant;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;
import java.util.regex.Pattern;
import org.apache.kafka.common.header.internals.RecordHeaders;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.kstream.*;
import org.apache.kafka.streams.kstream.Suppressed.BufferConfig;
import org.apache.kafka.streams.processor.PunctuationType;
import org.apache.kafka.streams.processor.api.*;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.*;


/** Named topologies in Java's DSL, which StreamsDriver runs: the peers of tests/unit/streams/java_twins*.py. */
class StreamsTopologies {
    static final Serde<String> S = Serdes.String();
    static final Map<String, Consumer<StreamsBuilder>> TOPOLOGIES = new LinkedHashMap<>();

    static void add(String name, Consumer<StreamsBuilder> maker) {
        TOPOLOGIES.put(name, maker);
    }

    static KStream<String, String> in(StreamsBuilder b, String topic) {
        return b.stream(topic, Consumed.with(S, S));
    }

    static KTable<String, String> table(StreamsBuilder b, String topic) {
        return b.table(topic, Consumed.with(S, S));
    }

    static KGroupedStream<String, String> grouped(StreamsBuilder b) {
        return in(b, "left").groupByKey(Grouped.with(S, S));
    }

    static boolean even(String value) {
        return value != null && Long.parseLong(value) % 2 == 0;
    }

    static String plus(String a, String b) {
        return String.valueOf(Long.parseLong(a) + Long.parseLong(b));
    }

    static String minus(String a, String b) {
        return String.valueOf(Long.parseLong(a) - Long.parseLong(b));
    }

    static String both(String a, String b) {
        return "(" + a + "|" + b + ")";
    }

    /** A letter that a number stands for: the key to group or join by. */
    static String letter(String value) {
        return value == null ? null : String.valueOf("abcd".charAt((int) (Long.parseLong(value) % 4)));
    }

    static Materialized<String, String, KeyValueStore<Bytes, byte[]>> as(String name) {
        return Materialized.<String, String, KeyValueStore<Bytes, byte[]>>as(name).withKeySerde(S).withValueSerde(S);
    }

    static Materialized<String, String, WindowStore<Bytes, byte[]>> windowsAs(String name) {
        return Materialized.<String, String, WindowStore<Bytes, byte[]>>as(name).withKeySerde(S).withValueSerde(S);
    }

    static Materialized<String, String, SessionStore<Bytes, byte[]>> sessionsAs(String name) {
        return Materialized.<String, String, SessionStore<Bytes, byte[]>>as(name).withKeySerde(S).withValueSerde(S);
    }

    static <K> void out(KTable<K, Long> counts) {
        counts.toStream().mapValues(v -> v == null ? null : String.valueOf(v)).to("out");
    }

    static Duration ms(long value) {
        return Duration.ofMillis(value);
    }

    static {
        add("pass", b -> in(b, "left").to("out"));
        add("filter", b -> in(b, "left").filter((k, v) -> even(v)).to("out"));
        add("filter_not", b -> in(b, "left").filterNot((k, v) -> even(v)).to("out"));
        add("map", b -> in(b, "left").map((k, v) -> KeyValue.pair(v, k)).to("out", Produced.with(S, S)));
        add("map_values", b -> in(b, "left").mapValues(v -> v + "!").to("out"));
        add("map_values_with_key", b -> in(b, "left").mapValues((k, v) -> k + "=" + v).to("out"));
        add("flat_map", b -> in(b, "left").flatMap((k, v) -> v == null ? List.<KeyValue<String, String>>of()
            : List.of(KeyValue.pair(v, "1"), KeyValue.pair(k, "2"))).to("out", Produced.with(S, S)));
        add("flat_map_values", b -> in(b, "left").flatMapValues(v -> v == null ? List.<String>of() : Arrays.asList(v.split(""))).to("out"));
        add("select_key", b -> in(b, "left").selectKey((k, v) -> letter(v)).to("out"));
        add("peek_foreach", b -> {
            KStream<String, String> left = in(b, "left");
            left.peek((k, v) -> { }).to("out");
            left.foreach((k, v) -> { });
        });
        add("merge", b -> in(b, "left").merge(in(b, "right")).to("out"));
        add("several_topics", b -> b.stream(List.of("left", "right"), Consumed.with(S, S)).to("out"));
        add("pattern", b -> b.stream(Pattern.compile("le.*|ri.*"), Consumed.with(S, S)).to("out"));
        add("split", b -> {
            Map<String, KStream<String, String>> parts = in(b, "left").split(Named.as("parts-"))
                .branch((k, v) -> v == null, Branched.as("null")).branch((k, v) -> even(v)).defaultBranch(Branched.as("odd"));
            parts.get("parts-null").to("out-null");
            parts.get("parts-2").to("out-even");
            parts.get("parts-odd").to("out-odd");
        });
        add("split_chain", b -> in(b, "left").split().branch((k, v) -> even(v), Branched.withConsumer(s -> s.mapValues(v -> v + "e").to("out")))
            .branch((k, v) -> v != null, Branched.withConsumer(s -> s.to("out-odd"), "rest")).noDefaultBranch());
        add("dynamic_topic", b -> in(b, "left").to(new ByValue(), Produced.with(S, S)));
        add("repartition_named", b -> in(b, "left").selectKey((k, v) -> letter(v)).repartition(Repartitioned.<String, String>as("through").withKeySerde(S).withValueSerde(S)).to("out"));
        add("repartition", b -> in(b, "left").repartition().mapValues(v -> v + "r").to("out"));
        add("named_nodes", b -> b.stream("left", Consumed.with(S, S).withName("source")).filter((k, v) -> v != null, Named.as("no-nulls"))
            .mapValues(v -> v + "n", Named.as("mapper")).to("out", Produced.<String, String>as("sink").withKeySerde(S).withValueSerde(S)));
        add("timestamp_extractor", b -> b.stream("left", Consumed.with(S, S).withTimestampExtractor(
            (record, partitionTime) -> record.value() == null ? -1 : Long.parseLong((String) record.value()) * 10)).to("out"));
        add("partition_time", b -> b.stream("left", Consumed.with(S, S).withTimestampExtractor(
            (record, partitionTime) -> record.value() == null ? partitionTime : record.timestamp())).to("out"));

        // Aggregations.
        add("count", b -> out(grouped(b).count()));
        add("count_named", b -> out(grouped(b).count(Named.as("counter"), Materialized.as("counts"))));
        add("count_regrouped", b -> out(in(b, "left").groupBy((k, v) -> letter(v), Grouped.with(S, S)).count(Materialized.as("counts"))));
        add("count_regrouped_named", b -> out(in(b, "left").groupBy((k, v) -> letter(v), Grouped.with("letters", S, S)).count()));
        add("reduce", b -> grouped(b).reduce(StreamsTopologies::both, as("reduced")).toStream().to("out"));
        add("reduce_sum", b -> grouped(b).reduce(StreamsTopologies::plus).toStream().to("out"));
        add("aggregate", b -> grouped(b).aggregate(() -> "", (k, v, a) -> a + v + ",", as("all")).toStream().to("out"));
        add("aggregate_to_null", b -> grouped(b).aggregate(() -> "0", (k, v, a) -> even(v) ? plus(a, v) : null, as("evens")).toStream().to("out"));
        add("two_aggregations", b -> {
            KGroupedStream<String, String> grouped = in(b, "left").groupBy((k, v) -> letter(v), Grouped.with("shared", S, S));
            out(grouped.count());
            grouped.reduce(StreamsTopologies::both).toStream().to("out-2");
        });
        add("count_filter", b -> out(grouped(b).count(Materialized.as("counts")).filter((k, v) -> v % 2 == 0)));
        add("count_filter_materialized", b -> out(grouped(b).count(Materialized.as("counts")).filter((k, v) -> v % 2 == 0, Materialized.<String, Long, KeyValueStore<Bytes, byte[]>>as("even-counts").withKeySerde(S).withValueSerde(Serdes.Long()))));
        add("aggregate_of_aggregate", b -> grouped(b).count(Materialized.as("counts")).toStream().map((k, v) -> KeyValue.pair(String.valueOf(v % 3), k))
            .groupByKey(Grouped.with(S, S)).reduce(StreamsTopologies::both, as("by-count")).toStream().to("out"));

        // Tables.
        add("table", b -> table(b, "left").toStream().to("out"));
        add("table_materialized", b -> b.table("left", Consumed.with(S, S), as("rows")).toStream().to("out"));
        add("table_optimized", b -> b.table("left", Consumed.with(S, S), as("rows")).toStream().to("out"));
        add("table_filter", b -> table(b, "left").filter((k, v) -> even(v)).toStream().to("out"));
        add("table_filter_materialized", b -> table(b, "left").filter((k, v) -> even(v), as("evens")).toStream().to("out"));
        add("table_filter_not", b -> b.table("left", Consumed.with(S, S), as("rows")).filterNot((k, v) -> even(v)).toStream().to("out"));
        add("table_map_values", b -> table(b, "left").mapValues(v -> v + "m", as("mapped")).toStream().to("out"));
        add("table_chain", b -> table(b, "left").mapValues(v -> plus(v, "1")).filter((k, v) -> even(v)).mapValues((k, v) -> k + v, as("end")).toStream().to("out"));
        add("table_transform_values", b -> table(b, "left").transformValues(() -> new ValueTransformerWithKey<String, String, String>() {
            public void init(org.apache.kafka.streams.processor.ProcessorContext context) { }
            public String transform(String key, String value) { return key + "/" + value; }
            public void close() { }
        }, as("transformed")).toStream().to("out"));
        add("to_table", b -> in(b, "left").toTable(as("rows")).toStream().to("out"));
        add("to_table_regrouped", b -> in(b, "left").map((k, v) -> KeyValue.pair(letter(v), v)).toTable(Materialized.with(S, S)).toStream().to("out"));
        add("table_count", b -> out(table(b, "left").groupBy((k, v) -> KeyValue.pair(letter(v), v), Grouped.with(S, S)).count(Materialized.as("counts"))));
        add("table_count_same_key", b -> out(table(b, "left").groupBy((k, v) -> KeyValue.pair(k, v), Grouped.with("same", S, S)).count()));
        add("table_reduce", b -> table(b, "left").groupBy((k, v) -> KeyValue.pair(letter(v), v), Grouped.with(S, S))
            .reduce(StreamsTopologies::plus, StreamsTopologies::minus, as("sums")).toStream().to("out"));
        add("table_aggregate", b -> table(b, "left").groupBy((k, v) -> KeyValue.pair(letter(v), v), Grouped.with(S, S))
            .aggregate(() -> "0", (k, v, a) -> plus(a, v), (k, v, a) -> minus(a, v), as("sums")).toStream().to("out"));

        // Windows.
        TimeWindows tumbling = TimeWindows.ofSizeWithNoGrace(ms(10));
        TimeWindows late = TimeWindows.ofSizeAndGrace(ms(10), ms(15));
        TimeWindows hopping = TimeWindows.ofSizeAndGrace(ms(20), ms(10)).advanceBy(ms(7));
        SlidingWindows sliding = SlidingWindows.ofTimeDifferenceAndGrace(ms(10), ms(20));
        SessionWindows sessions = SessionWindows.ofInactivityGapAndGrace(ms(8), ms(12));
        add("tumbling_count", b -> out(grouped(b).windowedBy(tumbling).count()));
        add("tumbling_grace", b -> grouped(b).windowedBy(late).reduce(StreamsTopologies::both, windowsAs("windows")).toStream().to("out"));
        add("tumbling_regrouped", b -> out(in(b, "left").groupBy((k, v) -> letter(v), Grouped.with(S, S)).windowedBy(late).count(Materialized.as("windows"))));
        add("tumbling_retention", b -> grouped(b).windowedBy(late).aggregate(() -> "", (k, v, a) -> a + v, windowsAs("windows").withRetention(ms(200))).toStream().to("out"));
        add("hopping_reduce", b -> grouped(b).windowedBy(hopping).reduce(StreamsTopologies::plus, windowsAs("windows")).toStream().to("out"));
        add("hopping_aggregate", b -> grouped(b).windowedBy(hopping).aggregate(() -> "", (k, v, a) -> a + v + ",", windowsAs("windows")).toStream().to("out"));
        add("unlimited_count", b -> out(grouped(b).windowedBy(UnlimitedWindows.of().startOn(Instant.ofEpochMilli(30))).count(Materialized.as("ever"))));
        add("sliding_count", b -> out(grouped(b).windowedBy(sliding).count(Materialized.as("windows"))));
        add("sliding_aggregate", b -> grouped(b).windowedBy(sliding).aggregate(() -> "", (k, v, a) -> a + v + ",", windowsAs("windows")).toStream().to("out"));
        add("sliding_no_grace", b -> grouped(b).windowedBy(SlidingWindows.ofTimeDifferenceWithNoGrace(ms(10))).reduce(StreamsTopologies::both, windowsAs("windows")).toStream().to("out"));
        add("session_count", b -> out(grouped(b).windowedBy(sessions).count(Materialized.as("sessions"))));
        add("session_aggregate", b -> grouped(b).windowedBy(sessions).aggregate(() -> "", (k, v, a) -> a + v + ",", (k, a, c) -> a + "+" + c, sessionsAs("sessions")).toStream().to("out"));
        add("session_reduce_no_grace", b -> grouped(b).windowedBy(SessionWindows.ofInactivityGapWithNoGrace(ms(8))).reduce(StreamsTopologies::both, sessionsAs("sessions")).toStream().to("out"));
        add("tumbling_on_close", b -> out(grouped(b).windowedBy(late).emitStrategy(EmitStrategy.onWindowClose()).count(Materialized.as("windows"))));
        add("hopping_on_close", b -> grouped(b).windowedBy(hopping).emitStrategy(EmitStrategy.onWindowClose()).reduce(StreamsTopologies::both, windowsAs("windows")).toStream().to("out"));
        add("sliding_on_close", b -> out(grouped(b).windowedBy(sliding).emitStrategy(EmitStrategy.onWindowClose()).count(Materialized.as("windows"))));
        add("session_on_close", b -> out(grouped(b).windowedBy(sessions).emitStrategy(EmitStrategy.onWindowClose()).count(Materialized.as("sessions"))));
        add("windowed_table_map", b -> grouped(b).windowedBy(late).count(Materialized.as("windows")).filter((k, v) -> v > 1)
            .toStream((k, v) -> k.key() + "@" + k.window().start()).mapValues(v -> v == null ? null : String.valueOf(v)).to("out", Produced.with(S, S)));

        // Suppression.
        add("suppress_tumbling", b -> out(grouped(b).windowedBy(late).count(Materialized.as("windows")).suppress(Suppressed.untilWindowCloses(BufferConfig.unbounded()))));
        add("suppress_hopping", b -> grouped(b).windowedBy(hopping).reduce(StreamsTopologies::both, windowsAs("windows"))
            .suppress(Suppressed.untilWindowCloses(BufferConfig.unbounded()).withName("final")).toStream().to("out"));
        add("suppress_session", b -> out(grouped(b).windowedBy(sessions).count(Materialized.as("sessions")).suppress(Suppressed.untilWindowCloses(BufferConfig.unbounded()))));
        add("suppress_full", b -> out(grouped(b).windowedBy(late).count(Materialized.as("windows")).suppress(Suppressed.untilWindowCloses(BufferConfig.maxRecords(6).shutDownWhenFull()))));
        add("suppress_time_limit", b -> table(b, "left").suppress(Suppressed.untilTimeLimit(ms(25), BufferConfig.unbounded())).toStream().to("out"));
        add("suppress_max_records", b -> table(b, "left").suppress(Suppressed.untilTimeLimit(ms(500), BufferConfig.maxRecords(2).emitEarlyWhenFull())).toStream().to("out"));
        add("suppress_max_bytes", b -> grouped(b).count(Materialized.as("counts")).suppress(Suppressed.untilTimeLimit(ms(500), BufferConfig.maxBytes(250))).toStream()
            .mapValues(v -> v == null ? null : String.valueOf(v)).to("out"));
        add("suppress_then_group", b -> out(table(b, "left").suppress(Suppressed.untilTimeLimit(ms(15), BufferConfig.unbounded())).groupBy((k, v) -> KeyValue.pair(letter(v), v), Grouped.with(S, S)).count(Materialized.as("counts"))));

        // Joins with tables.
        add("stream_table", b -> in(b, "left").join(table(b, "right"), StreamsTopologies::both).to("out"));
        add("stream_table_left", b -> in(b, "left").leftJoin(table(b, "right"), StreamsTopologies::both).to("out"));
        add("stream_table_regrouped", b -> in(b, "left").selectKey((k, v) -> letter(v)).join(table(b, "right"), StreamsTopologies::both, Joined.with(S, S, S)).to("out"));
        add("stream_table_named", b -> in(b, "left").selectKey((k, v) -> letter(v)).leftJoin(table(b, "right"), StreamsTopologies::both, Joined.with(S, S, S, "rows")).to("out"));
        add("stream_aggregate", b -> in(b, "left").join(in(b, "right").groupByKey(Grouped.with(S, S)).reduce(StreamsTopologies::plus), StreamsTopologies::both).to("out"));
        add("global", b -> in(b, "left").join(b.globalTable("right", Consumed.with(S, S)), (k, v) -> letter(v), StreamsTopologies::both).to("out"));
        add("global_left", b -> in(b, "left").leftJoin(b.globalTable("right", Consumed.with(S, S), as("rows")), (k, v) -> letter(v), StreamsTopologies::both).to("out"));
        add("table_table", b -> table(b, "left").join(table(b, "right"), StreamsTopologies::both).toStream().to("out"));
        add("table_table_left", b -> table(b, "left").leftJoin(table(b, "right"), StreamsTopologies::both).toStream().to("out"));
        add("table_table_outer", b -> table(b, "left").outerJoin(table(b, "right"), StreamsTopologies::both).toStream().to("out"));
        add("table_table_materialized", b -> table(b, "left").join(table(b, "right"), StreamsTopologies::both, as("joined")).toStream().to("out"));
        add("table_table_left_materialized", b -> table(b, "left").leftJoin(table(b, "right"), StreamsTopologies::both, as("joined")).toStream().to("out"));
        add("table_table_outer_named", b -> table(b, "left").outerJoin(table(b, "right"), StreamsTopologies::both, Named.as("both"), as("joined")).toStream().to("out"));
        add("table_three", b -> table(b, "left").join(table(b, "right"), StreamsTopologies::both).leftJoin(table(b, "third"), StreamsTopologies::both).toStream().to("out"));
        add("table_filtered_join", b -> table(b, "left").filter((k, v) -> even(v)).outerJoin(table(b, "right").mapValues(v -> v + "m"), StreamsTopologies::both).toStream().to("out"));
        add("table_join_count", b -> out(table(b, "left").join(table(b, "right"), (l, r) -> r).groupBy((k, v) -> KeyValue.pair(letter(v), v), Grouped.with(S, S)).count(Materialized.as("counts"))));
        add("foreign_key", b -> table(b, "left").join(table(b, "right"), StreamsTopologies::letter, StreamsTopologies::both, as("joined")).toStream().to("out"));
        add("foreign_key_left", b -> table(b, "left").leftJoin(table(b, "right"), StreamsTopologies::letter, StreamsTopologies::both, as("joined")).toStream().to("out"));
        add("foreign_key_named", b -> table(b, "left").join(table(b, "right"), StreamsTopologies::letter, StreamsTopologies::both, TableJoined.as("owners"), Materialized.with(S, S)).toStream().to("out"));

        // Joins of streams.
        JoinWindows near = JoinWindows.ofTimeDifferenceAndGrace(ms(10), ms(15));
        JoinWindows strict = JoinWindows.ofTimeDifferenceWithNoGrace(ms(10));
        add("stream_stream", b -> in(b, "left").join(in(b, "right"), StreamsTopologies::both, near, StreamJoined.with(S, S, S)).to("out"));
        add("stream_stream_left", b -> in(b, "left").leftJoin(in(b, "right"), StreamsTopologies::both, near, StreamJoined.with(S, S, S)).to("out"));
        add("stream_stream_outer", b -> in(b, "left").outerJoin(in(b, "right"), StreamsTopologies::both, near, StreamJoined.with(S, S, S)).to("out"));
        add("stream_stream_no_grace", b -> in(b, "left").join(in(b, "right"), StreamsTopologies::both, strict, StreamJoined.with(S, S, S)).to("out"));
        add("stream_stream_left_no_grace", b -> in(b, "left").leftJoin(in(b, "right"), StreamsTopologies::both, strict, StreamJoined.with(S, S, S)).to("out"));
        add("stream_stream_outer_no_grace", b -> in(b, "left").outerJoin(in(b, "right"), StreamsTopologies::both, strict, StreamJoined.with(S, S, S)).to("out"));
        add("stream_stream_after", b -> in(b, "left").join(in(b, "right"), StreamsTopologies::both, near.before(ms(0)).after(ms(20)), StreamJoined.with(S, S, S)).to("out"));
        add("stream_stream_before_left", b -> in(b, "left").leftJoin(in(b, "right"), StreamsTopologies::both, near.after(ms(-3)), StreamJoined.with(S, S, S)).to("out"));
        add("stream_stream_before_outer", b -> in(b, "left").outerJoin(in(b, "right"), StreamsTopologies::both, near.before(ms(20)).after(ms(0)), StreamJoined.with(S, S, S)).to("out"));
        add("stream_stream_named", b -> in(b, "left").selectKey((k, v) -> letter(v)).leftJoin(in(b, "right").selectKey((k, v) -> letter(v)), StreamsTopologies::both, near,
            StreamJoined.with(S, S, S).withName("near").withStoreName("kept")).to("out"));
        add("stream_stream_regrouped", b -> in(b, "left").selectKey((k, v) -> letter(v)).join(in(b, "right"), StreamsTopologies::both, near, StreamJoined.with(S, S, S)).to("out"));
        add("stream_self_join", b -> {
            KStream<String, String> left = in(b, "left");
            left.join(left, StreamsTopologies::both, near, StreamJoined.with(S, S, S)).to("out");
        });

        // Cogrouping.
        Aggregator<String, String, String> one = (k, v, a) -> a + v + ",";
        Aggregator<String, String, String> two = (k, v, a) -> a + v + ";";
        add("cogroup", b -> grouped(b).cogroup(one).cogroup(in(b, "right").groupByKey(Grouped.with(S, S)), two).aggregate(() -> "", as("both")).toStream().to("out"));
        add("cogroup_regrouped", b -> grouped(b).cogroup(one).cogroup(in(b, "right").groupBy((k, v) -> letter(v), Grouped.with(S, S)), two)
            .aggregate(() -> "", Named.as("together"), as("both")).toStream().to("out"));
        add("cogroup_windowed", b -> grouped(b).cogroup(one).cogroup(in(b, "right").groupByKey(Grouped.with(S, S)), two).windowedBy(late)
            .aggregate(() -> "", windowsAs("both")).toStream().to("out"));
        add("cogroup_sliding", b -> grouped(b).cogroup(one).cogroup(in(b, "right").groupByKey(Grouped.with(S, S)), two).windowedBy(sliding)
            .aggregate(() -> "", windowsAs("both")).toStream().to("out"));
        add("cogroup_session", b -> grouped(b).cogroup(one).cogroup(in(b, "right").groupByKey(Grouped.with(S, S)), two).windowedBy(sessions)
            .aggregate(() -> "", (k, a, c) -> a + "+" + c, sessionsAs("both")).toStream().to("out"));

        // Processors.
        add("process", b -> in(b, "left").process(() -> new Stamp()).to("out", Produced.with(S, S)));
        add("process_store", b -> b.addStateStore(Stores.keyValueStoreBuilder(Stores.persistentKeyValueStore("seen"), S, S)).stream("left", Consumed.with(S, S))
            .process(() -> new Keep(), "seen").to("out", Produced.with(S, S)));
        add("process_values", b -> in(b, "left").processValues(() -> new Total(), Named.as("total")).groupByKey(Grouped.with(S, S)).reduce(StreamsTopologies::both).toStream().to("out"));
        add("process_windows", b -> b.addStateStore(Stores.windowStoreBuilder(Stores.persistentWindowStore("recent", ms(100), ms(10), false), S, S))
            .stream("left", Consumed.with(S, S)).process(() -> new Recent(), "recent").to("out", Produced.with(S, S)));
        add("punctuate_stream_time", b -> in(b, "left").process(() -> new Ticker(PunctuationType.STREAM_TIME)).to("out", Produced.with(S, S)));
        add("punctuate_wall_clock", b -> in(b, "left").process(() -> new Ticker(PunctuationType.WALL_CLOCK_TIME)).to("out", Produced.with(S, S)));

        // Several of these in one.
        add("diamond_count", b -> {
            KStream<String, String> left = in(b, "left").filter((k, v) -> v != null);
            out(left.filter((k, v) -> even(v)).merge(left.mapValues(v -> plus(v, "1"))).groupByKey(Grouped.with(S, S)).count(Materialized.as("counts")));
        });
        add("two_joins_one_repartition", b -> {
            KStream<String, String> letters = in(b, "left").selectKey((k, v) -> letter(v));
            letters.join(table(b, "right"), StreamsTopologies::both, Joined.with(S, S, S)).to("out");
            letters.leftJoin(table(b, "third"), StreamsTopologies::both, Joined.with(S, S, S)).to("out-2");
        });
        add("two_groups_two_repartitions", b -> {
            KStream<String, String> letters = in(b, "left").map((k, v) -> KeyValue.pair(letter(v), v));
            out(letters.groupByKey(Grouped.with(S, S)).count());
            letters.groupByKey(Grouped.with(S, S)).reduce(StreamsTopologies::plus).toStream().to("out-2");
        });
        add("split_and_merge", b -> {
            Map<String, KStream<String, String>> parts = in(b, "left").split(Named.as("s-")).branch((k, v) -> even(v), Branched.as("even")).defaultBranch(Branched.as("rest"));
            parts.get("s-rest").mapValues(v -> v + "r").merge(parts.get("s-even"), Named.as("again")).to("out");
        });
        add("merge_three_windowed", b -> out(in(b, "left").merge(in(b, "right")).merge(in(b, "third")).groupBy((k, v) -> letter(v), Grouped.with(S, S)).windowedBy(sliding).count(Materialized.as("windows"))));
        add("windowed_named", b -> out(in(b, "left").groupBy((k, v) -> letter(v), Grouped.with("letters", S, S)).windowedBy(late).count(Named.as("counter"), Materialized.as("windows"))));
        add("windowed_regrouped", b -> grouped(b).windowedBy(late).count(Materialized.as("windows")).groupBy((k, v) -> KeyValue.pair(k.key(), String.valueOf(v)), Grouped.with(S, S))
            .reduce(StreamsTopologies::plus, StreamsTopologies::minus, as("sums")).toStream().to("out"));
        add("suppressed_regrouped", b -> out(grouped(b).windowedBy(late).count(Materialized.as("windows")).suppress(Suppressed.untilWindowCloses(BufferConfig.unbounded()))
            .toStream().map((k, v) -> KeyValue.pair(k.key(), String.valueOf(v))).groupByKey(Grouped.with(S, S)).count(Materialized.as("finals"))));
        add("table_self_join", b -> {
            KTable<String, String> left = table(b, "left");
            left.join(left, StreamsTopologies::both).toStream().to("out");
        });
        add("table_join_suppressed", b -> table(b, "left").join(table(b, "right"), StreamsTopologies::both, as("joined")).suppress(Suppressed.untilTimeLimit(ms(20), BufferConfig.maxRecords(3))).toStream().to("out"));
        add("tables_optimized", b -> table(b, "left").leftJoin(table(b, "right").filter((k, v) -> even(v)), StreamsTopologies::both, as("joined")).toStream().to("out"));
        add("to_table_join", b -> in(b, "left").toTable(as("rows")).join(table(b, "right"), StreamsTopologies::both).toStream().to("out"));
        add("stream_stream_table", b -> in(b, "left").join(in(b, "right"), StreamsTopologies::both, near, StreamJoined.with(S, S, S)).leftJoin(table(b, "third"), StreamsTopologies::both).to("out"));
        add("stream_stream_outer_count", b -> out(in(b, "left").outerJoin(in(b, "right"), StreamsTopologies::both, near, StreamJoined.with(S, S, S)).groupByKey(Grouped.with(S, S)).count(Materialized.as("counts"))));
        add("foreign_key_of_filtered", b -> table(b, "left").filter((k, v) -> even(v)).leftJoin(table(b, "right").mapValues(v -> v + "m", Materialized.with(S, S)), StreamsTopologies::letter, StreamsTopologies::both).toStream().to("out"));
        add("repartition_partitions", b -> in(b, "left").repartition(Repartitioned.<String, String>numberOfPartitions(1).withName("one").withKeySerde(S).withValueSerde(S)).groupByKey(Grouped.with(S, S)).reduce(StreamsTopologies::both, as("all")).toStream().to("out"));
        add("long_keys", b -> in(b, "left").filter((k, v) -> v != null).map((k, v) -> KeyValue.pair(Long.parseLong(v) - 10, k)).groupByKey(Grouped.with(Serdes.Long(), S)).windowedBy(late)
            .count(Materialized.as("windows")).toStream().map((k, v) -> KeyValue.pair(k.toString(), String.valueOf(v))).to("out", Produced.with(S, S)));
        add("double_values", b -> grouped(b).aggregate(() -> 0.5, (k, v, a) -> a * 0.75 + Long.parseLong(v), Materialized.<String, Double, KeyValueStore<Bytes, byte[]>>as("decayed").withKeySerde(S).withValueSerde(Serdes.Double()))
            .toStream().to("out", Produced.with(S, Serdes.Double())));

        // Failures, and going on after them.
        add("fails", b -> in(b, "left").mapValues(StreamsTopologies::not14).to("out"));
        add("aggregator_fails", b -> grouped(b).reduce((a, v) -> plus(a, not14(v)), as("sums")).toStream().to("out"));
        add("bad_bytes", b -> b.stream("left", Consumed.with(S, Serdes.Short())).mapValues(v -> String.valueOf(v)).to("out"));
        add("bad_bytes_continue", b -> b.stream("left", Consumed.with(S, Serdes.Short())).mapValues(v -> String.valueOf(v)).to("out"));
        add("fails_continue", b -> in(b, "left").mapValues(StreamsTopologies::not14).to("out"));
        add("aggregator_fails_continue", b -> grouped(b).windowedBy(hopping).reduce((a, v) -> plus(a, not14(v)), windowsAs("sums")).toStream().to("out"));

        // Processors and their stores.
        add("process_sessions", b -> b.addStateStore(Stores.sessionStoreBuilder(Stores.persistentSessionStore("recent", ms(100)), S, S)).stream("left", Consumed.with(S, S))
            .process(() -> new Sessions(), "recent").to("out", Produced.with(S, S)));
        add("process_timestamped", b -> b.addStateStore(Stores.timestampedKeyValueStoreBuilder(Stores.persistentTimestampedKeyValueStore("first"), S, S)).stream("left", Consumed.with(S, S))
            .process(() -> new First(), "first").to("out", Produced.with(S, S)));
        add("process_duplicates", b -> b.addStateStore(Stores.windowStoreBuilder(Stores.persistentWindowStore("recent", ms(100), ms(10), true), S, S))
            .stream("left", Consumed.with(S, S)).process(() -> new Recent(), "recent").to("out", Produced.with(S, S)));
        add("process_shared_store", b -> {
            b.addStateStore(Stores.keyValueStoreBuilder(Stores.persistentKeyValueStore("seen"), S, S));
            in(b, "left").process(() -> new Keep(), "seen").to("out", Produced.with(S, S));
            in(b, "right").process(() -> new Keep(), Named.as("keeper"), "seen").to("out-2", Produced.with(S, S));
        });
        add("process_children", b -> {
            KStream<String, String> chosen = in(b, "left").process(() -> new Choose(), Named.as("choose"));
            chosen.mapValues(v -> v + "e", Named.as("evens")).to("out", Produced.with(S, S));
            chosen.mapValues(v -> v + "o", Named.as("odds")).to("out-2", Produced.with(S, S));
        });
        add("global_store", b -> {
            b.addGlobalStore(Stores.keyValueStoreBuilder(Stores.persistentKeyValueStore("all"), S, S).withLoggingDisabled(), "right", Consumed.with(S, S), () -> new Fill());
            in(b, "left").process(() -> new Ask()).to("out", Produced.with(S, S));
        });
        add("punctuate_both", b -> b.addStateStore(Stores.keyValueStoreBuilder(Stores.persistentKeyValueStore("ticks"), S, S)).stream("left", Consumed.with(S, S))
            .process(() -> new Ticks(), "ticks").to("out", Produced.with(S, S)));
    }

    /** A value that is not 14; 14 raises. */
    static String not14(String value) {
        if ("14".equals(value)) {
            throw new IllegalArgumentException("14");
        }
        return value;
    }

    /** A session from 5 ms before the record to its time; all of the key; null removes it. */
    static class Sessions extends ContextualProcessor<String, String, String, String> {
        public void process(Record<String, String> record) {
            SessionStore<String, String> store = context().getStateStore("recent");
            if (record.key() == null) {
                return;
            }
            store.put(new Windowed<>(record.key(), new org.apache.kafka.streams.kstream.internals.SessionWindow(Math.max(0, record.timestamp() - 5), record.timestamp())), record.value());
            StringBuilder all = new StringBuilder();
            try (var found = store.fetch(record.key())) {
                found.forEachRemaining(row -> all.append(row.key.window().start()).append('-').append(row.key.window().end()).append('=').append(row.value).append(' '));
            }
            context().forward(record.withValue(all.toString()));
        }
    }

    /** The first value of the key and when it was; null deletes; even values list all, the last first. */
    static class First extends ContextualProcessor<String, String, String, String> {
        public void process(Record<String, String> record) {
            TimestampedKeyValueStore<String, String> store = context().getStateStore("first");
            if (record.key() == null) {
                return;
            }
            var before = record.value() == null ? store.delete(record.key()) : store.putIfAbsent(record.key(), ValueAndTimestamp.make(record.value(), record.timestamp()));
            StringBuilder all = new StringBuilder();
            if (even(record.value())) {
                try (var found = store.reverseAll()) {
                    found.forEachRemaining(row -> all.append(row.key).append(row.value.value()).append('@').append(row.value.timestamp()));
                }
            }
            context().forward(record.withValue(before == null ? all.toString() : before.value() + "@" + before.timestamp() + all));
        }
    }

    /** Even values to one child, others to another; null to both. */
    static class Choose extends ContextualProcessor<String, String, String, String> {
        public void process(Record<String, String> record) {
            if (record.value() == null) {
                context().forward(record);
            } else {
                context().forward(record, even(record.value()) ? "evens" : "odds");
            }
        }
    }

    /** Fills the global store, with a mark. */
    static class Fill extends ContextualProcessor<String, String, Void, Void> {
        public void process(Record<String, String> record) {
            KeyValueStore<String, String> store = context().getStateStore("all");
            if (record.key() != null) {
                store.put(record.key(), record.value() == null ? null : record.value() + "g");
            }
        }
    }

    /** What the global store has. */
    static class Ask extends ContextualProcessor<String, String, String, String> {
        public void process(Record<String, String> record) {
            KeyValueStore<String, String> store = context().getStateStore("all");
            context().forward(record.withValue(both(record.value(), record.key() == null ? null : store.get(record.key()))));
        }
    }

    /** Stream time every 15 ms, three times; wall-clock time every 30 ms; both into a store. */
    static class Ticks extends ContextualProcessor<String, String, String, String> {
        int count;
        org.apache.kafka.streams.processor.Cancellable stream;

        public void init(ProcessorContext<String, String> context) {
            super.init(context);
            stream = context.schedule(ms(15), PunctuationType.STREAM_TIME, time -> tick("stream", time));
            context.schedule(ms(30), PunctuationType.WALL_CLOCK_TIME, time -> tick("wall", time));
        }

        void tick(String name, long time) {
            KeyValueStore<String, String> store = context().getStateStore("ticks");
            String before = store.get(name);
            store.put(name, String.valueOf(time));
            context().forward(new Record<>(name, before + "->" + time, time));
            if (name.equals("stream") && ++count == 3) {
                stream.cancel();
            }
        }

        public void process(Record<String, String> record) {
        }
    }

    /** A topic for even values, one for others. */
    static class ByValue implements org.apache.kafka.streams.processor.TopicNameExtractor<String, String> {
        public String extract(String key, String value, org.apache.kafka.streams.processor.RecordContext context) {
            return even(value) ? "out-even" : "out-odd";
        }

        public String toString() {
            return "ByValue";
        }
    }

    /** A header more, and the record once more, 5 ms later. */
    static class Stamp implements Processor<String, String, String, String> {
        ProcessorContext<String, String> context;

        public void init(ProcessorContext<String, String> context) {
            this.context = context;
        }

        public void process(Record<String, String> record) {
            RecordHeaders headers = new RecordHeaders(record.headers());
            headers.add("offset", String.valueOf(context.recordMetadata().get().offset()).getBytes());
            context.forward(record.withHeaders(headers));
            context.forward(record.withTimestamp(record.timestamp() + 5).withValue("again " + record.value()));
        }
    }

    /** What the key had before; null deletes; "0" lists the store. */
    static class Keep implements Processor<String, String, String, String> {
        ProcessorContext<String, String> context;
        KeyValueStore<String, String> store;

        public void init(ProcessorContext<String, String> context) {
            this.context = context;
            store = context.getStateStore("seen");
        }

        public void process(Record<String, String> record) {
            if (record.key() == null) {
                return;
            }
            String before = record.value() == null ? store.delete(record.key()) : store.get(record.key());
            if (record.value() != null) {
                store.put(record.key(), record.value());
            }
            StringBuilder all = new StringBuilder();
            if (even(record.value())) {
                try (KeyValueIterator<String, String> found = store.range("b", null)) {
                    found.forEachRemaining(row -> all.append(row.key).append(row.value));
                }
            }
            context.forward(record.withValue(both(before, all.toString())));
        }
    }

    /** The sum of all values so far. */
    static class Total implements FixedKeyProcessor<String, String, String> {
        FixedKeyProcessorContext<String, String> context;
        String total = "0";

        public void init(FixedKeyProcessorContext<String, String> context) {
            this.context = context;
        }

        public void process(FixedKeyRecord<String, String> record) {
            total = record.value() == null ? total : plus(total, record.value());
            context.forward(record.withValue(total));
        }
    }

    /** The values of the key within 20 ms. */
    static class Recent implements Processor<String, String, String, String> {
        ProcessorContext<String, String> context;
        WindowStore<String, String> store;

        public void init(ProcessorContext<String, String> context) {
            this.context = context;
            store = context.getStateStore("recent");
        }

        public void process(Record<String, String> record) {
            if (record.key() == null) {
                return;
            }
            store.put(record.key(), record.value(), record.timestamp());
            StringBuilder all = new StringBuilder();
            long from = Math.max(0, record.timestamp() - 20);
            try (WindowStoreIterator<String> found = store.fetch(record.key(), from, record.timestamp() + 20)) {
                found.forEachRemaining(row -> all.append(row.key).append('=').append(row.value).append(' '));
            }
            context.forward(record.withValue(all.toString()));
        }
    }

    /** Counts records, and tells the count every 20 ms of either time. */
    static class Ticker implements Processor<String, String, String, String> {
        final PunctuationType type;
        int count;

        Ticker(PunctuationType type) {
            this.type = type;
        }

        public void init(ProcessorContext<String, String> context) {
            context.schedule(ms(20), type, time -> context.forward(new Record<>("tick", String.valueOf(count), time)));
        }

        public void process(Record<String, String> record) {
            count++;
        }
    }
}

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.math.BigDecimal;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Base64;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.common.utils.AppInfoParser;
import org.apache.kafka.connect.connector.ConnectRecord;
import org.apache.kafka.connect.data.ConnectSchema;
import org.apache.kafka.connect.data.Date;
import org.apache.kafka.connect.data.Decimal;
import org.apache.kafka.connect.data.Field;
import org.apache.kafka.connect.data.Schema;
import org.apache.kafka.connect.data.SchemaAndValue;
import org.apache.kafka.connect.data.SchemaBuilder;
import org.apache.kafka.connect.data.Struct;
import org.apache.kafka.connect.data.Time;
import org.apache.kafka.connect.data.Timestamp;
import org.apache.kafka.connect.header.ConnectHeaders;
import org.apache.kafka.connect.header.Header;
import org.apache.kafka.connect.sink.SinkRecord;
import org.apache.kafka.connect.source.SourceRecord;
import org.apache.kafka.connect.storage.Converter;
import org.apache.kafka.connect.storage.SimpleHeaderConverter;
import org.apache.kafka.connect.transforms.Transformation;

/**
 * Kafka's converters and transforms, asked line by line: the peer of tests/unit/connect/java_cases.py.
 *
 * <p>Standard input, one case a line; standard output, first the version, then one answer a line. Cases:
 * {"do": "write", "class", "configs", "schema", "value"}, {"do": "read", "class", "configs", "bytes"},
 * {"do": "write_header", "schema", "value"}, {"do": "read_header", "bytes"}, {"do": "transform", "class", "configs",
 * "record"}. Answers: {"bytes"}, {"schema", "value"}, {"record"}, {"error", "message"}. How schemas and values are
 * shown says java_cases.py.
 */
public class ConnectConversions {
    static final ObjectMapper MAPPER = new ObjectMapper();
    static final JsonNodeFactory NODES = JsonNodeFactory.instance;

    // Schemas.

    static Schema schema(JsonNode shown) {
        if (shown == null || shown.isNull()) {
            return null;
        }
        Schema.Type type = Schema.Type.valueOf(shown.get("type").asText());
        SchemaBuilder builder;
        switch (type) {
            case ARRAY:
                builder = SchemaBuilder.array(schema(shown.get("value")));
                break;
            case MAP:
                builder = SchemaBuilder.map(schema(shown.get("key")), schema(shown.get("value")));
                break;
            case STRUCT:
                builder = SchemaBuilder.struct();
                for (JsonNode field : shown.get("fields")) {
                    builder.field(field.get(0).asText(), schema(field.get(1)));
                }
                break;
            default:
                builder = SchemaBuilder.type(type);
        }
        if (shown.get("optional").asBoolean()) {
            builder.optional();
        }
        if (shown.has("name")) {
            builder.name(shown.get("name").asText());
        }
        if (shown.has("version")) {
            builder.version(shown.get("version").asInt());
        }
        if (shown.has("doc")) {
            builder.doc(shown.get("doc").asText());
        }
        if (shown.has("parameters")) {
            shown.get("parameters").forEach(pair -> builder.parameter(pair.get(0).asText(), pair.get(1).asText()));
        }
        if (shown.has("default")) {
            builder.defaultValue(value(builder, shown.get("default")));
        }
        return builder.build();
    }

    static JsonNode show(Schema schema) {
        if (schema == null) {
            return NODES.nullNode();
        }
        ObjectNode shown = NODES.objectNode();
        shown.put("type", schema.type().name());
        shown.put("optional", schema.isOptional());
        if (schema.name() != null) {
            shown.put("name", schema.name());
        }
        if (schema.version() != null) {
            shown.put("version", schema.version());
        }
        if (schema.doc() != null) {
            shown.put("doc", schema.doc());
        }
        if (schema.parameters() != null && !schema.parameters().isEmpty()) {
            ArrayNode pairs = shown.putArray("parameters");
            schema.parameters().forEach((key, value) -> pairs.addArray().add(key).add(value));
        }
        if (schema.defaultValue() != null) {
            shown.set("default", show(schema, schema.defaultValue()));
        }
        switch (schema.type()) {
            case ARRAY:
                shown.set("value", show(schema.valueSchema()));
                break;
            case MAP:
                shown.set("key", show(schema.keySchema()));
                shown.set("value", show(schema.valueSchema()));
                break;
            case STRUCT:
                ArrayNode fields = shown.putArray("fields");
                for (Field field : schema.fields()) {
                    fields.addArray().add(field.name()).add(show(field.schema()));
                }
                break;
            default:
        }
        return shown;
    }

    // Values: tagged, so that a value tells its class where no schema does.

    static Object value(Schema schema, JsonNode shown) {
        if (shown == null || shown.isNull()) {
            return null;
        }
        String tag = shown.fieldNames().next();
        JsonNode inside = shown.get(tag);
        switch (tag) {
            case "i": {
                long number = inside.asLong();
                Schema.Type type = schema == null ? Schema.Type.INT64 : schema.type();
                switch (type) {
                    case INT8:
                        return (byte) number;
                    case INT16:
                        return (short) number;
                    case INT32:
                        return (int) number;
                    default:
                        return number;
                }
            }
            case "f": {
                double number = Double.parseDouble(inside.asText());
                if (schema != null && schema.type() == Schema.Type.FLOAT32) {
                    return (float) number;
                }
                return number;
            }
            case "b":
                return inside.asBoolean();
            case "s":
                return inside.asText();
            case "x":
                return Base64.getDecoder().decode(inside.asText());
            case "n":
                return new BigDecimal(inside.asText());
            case "t":
                return new java.util.Date(inside.asLong());
            case "a": {
                List<Object> list = new ArrayList<>();
                inside.forEach(each -> list.add(value(schema == null ? null : schema.valueSchema(), each)));
                return list;
            }
            case "m": {
                Map<Object, Object> map = new LinkedHashMap<>();
                inside.forEach(pair -> map.put(
                    value(schema == null ? null : schema.keySchema(), pair.get(0)),
                    value(schema == null ? null : schema.valueSchema(), pair.get(1))));
                return map;
            }
            case "o": {
                Schema own = schema == null ? null : schema.schema();
                Struct struct = new Struct(own);
                int index = 0;
                for (JsonNode each : inside) {
                    Field field = own.fields().get(index++);
                    if (!each.isNull()) {
                        struct.put(field, value(field.schema(), each));
                    }
                }
                return struct;
            }
            default:
                throw new IllegalStateException(tag);
        }
    }

    static ObjectNode tagged(String tag, JsonNode value) {
        ObjectNode shown = NODES.objectNode();
        shown.set(tag, value);
        return shown;
    }

    static JsonNode show(Schema schema, Object value) {
        if (value == null) {
            return NODES.nullNode();
        } else if (value instanceof Float) {
            return tagged("f", NODES.textNode(Double.toString((double) (float) (Float) value)));
        } else if (value instanceof Double) {
            return tagged("f", NODES.textNode(value.toString()));
        } else if (value instanceof BigDecimal) {
            return tagged("n", NODES.textNode(value.toString()));
        } else if (value instanceof Number) {
            return tagged("i", NODES.numberNode(((Number) value).longValue()));
        } else if (value instanceof Boolean) {
            return tagged("b", NODES.booleanNode((Boolean) value));
        } else if (value instanceof String) {
            return tagged("s", NODES.textNode((String) value));
        } else if (value instanceof byte[]) {
            return tagged("x", NODES.textNode(Base64.getEncoder().encodeToString((byte[]) value)));
        } else if (value instanceof ByteBuffer) {
            return show(schema, ((ByteBuffer) value).array());
        } else if (value instanceof java.util.Date) {
            return tagged("t", NODES.numberNode(((java.util.Date) value).getTime()));
        } else if (value instanceof List) {
            ArrayNode list = NODES.arrayNode();
            ((List<?>) value).forEach(each -> list.add(show(null, each)));
            return tagged("a", list);
        } else if (value instanceof Map) {
            ArrayNode pairs = NODES.arrayNode();
            ((Map<?, ?>) value).forEach((key, each) -> pairs.addArray().add(show(null, key)).add(show(null, each)));
            return tagged("m", pairs);
        } else if (value instanceof Struct) {
            ArrayNode values = NODES.arrayNode();
            Struct struct = (Struct) value;
            struct.schema().fields().forEach(field -> values.add(show(null, struct.getWithoutDefault(field.name()))));
            return tagged("o", values);
        }
        throw new IllegalStateException(value.getClass().toString());
    }

    // Cases.

    static Map<String, Object> configs(JsonNode shown) {
        Map<String, Object> configs = new HashMap<>();
        shown.fields().forEachRemaining(each -> configs.put(each.getKey(), each.getValue().asText()));
        return configs;
    }

    static JsonNode bytes(byte[] value) {
        return value == null ? NODES.nullNode() : NODES.textNode(new String(value, StandardCharsets.ISO_8859_1));
    }

    static byte[] bytes(JsonNode shown) {
        return shown.isNull() ? null : shown.asText().getBytes(StandardCharsets.ISO_8859_1);
    }

    static void put(ObjectNode answer, SchemaAndValue read) {
        answer.set("schema", show(read == null ? null : read.schema()));
        answer.set("value", show(read == null ? null : read.schema(), read == null ? null : read.value()));
    }

    static final Map<String, Converter> CONVERTERS = new HashMap<>();

    static Converter converter(JsonNode asked) throws Exception {
        String name = asked.get("class") + " " + asked.get("configs");
        Converter converter = CONVERTERS.get(name);
        if (converter == null) {
            converter = (Converter) Class.forName(asked.get("class").asText()).getDeclaredConstructor().newInstance();
            converter.configure(configs(asked.get("configs")), false);
            CONVERTERS.put(name, converter);
        }
        return converter;
    }

    static ConnectRecord<?> record(JsonNode shown) {
        ConnectHeaders headers = new ConnectHeaders();
        shown.get("headers").forEach(each -> {
            Schema schema = schema(each.get(1));
            headers.add(each.get(0).asText(), value(schema, each.get(2)), schema);
        });
        Schema keySchema = schema(shown.get("key_schema"));
        Schema valueSchema = schema(shown.get("value_schema"));
        Object key = value(keySchema, shown.get("key"));
        Object value = value(valueSchema, shown.get("value"));
        Long timestamp = shown.get("timestamp").isNull() ? null : shown.get("timestamp").asLong();
        String topic = shown.get("topic").asText();
        if (shown.get("offset").isNull()) {
            Integer partition = shown.get("partition").isNull() ? null : shown.get("partition").asInt();
            return new SourceRecord(
                Map.of(), Map.of(), topic, partition, keySchema, key, valueSchema, value, timestamp, headers);
        }
        return new SinkRecord(topic, shown.get("partition").asInt(), keySchema, key, valueSchema, value,
            shown.get("offset").asLong(), timestamp, TimestampType.CREATE_TIME, headers);
    }

    static JsonNode show(ConnectRecord<?> record) {
        if (record == null) {
            return NODES.nullNode();
        }
        ObjectNode shown = NODES.objectNode();
        shown.put("topic", record.topic());
        shown.put("partition", record.kafkaPartition());
        shown.set("key_schema", show(record.keySchema()));
        shown.set("key", show(record.keySchema(), record.key()));
        shown.set("value_schema", show(record.valueSchema()));
        shown.set("value", show(record.valueSchema(), record.value()));
        shown.put("timestamp", record.timestamp());
        ArrayNode headers = shown.putArray("headers");
        for (Header header : record.headers()) {
            headers.addArray().add(header.key()).add(show(header.schema())).add(show(header.schema(), header.value()));
        }
        return shown;
    }

    @SuppressWarnings({"unchecked", "rawtypes"})
    static void answer(JsonNode asked, ObjectNode answer) throws Exception {
        Schema schema = schema(asked.get("schema"));
        switch (asked.get("do").asText()) {
            case "write":
                answer.set("bytes", bytes(converter(asked).fromConnectData("t", schema, value(schema, asked.get("value")))));
                break;
            case "read":
                put(answer, converter(asked).toConnectData("t", bytes(asked.get("bytes"))));
                break;
            case "write_header":
                answer.set("bytes", bytes(new SimpleHeaderConverter().fromConnectHeader(
                    "t", "h", schema, value(schema, asked.get("value")))));
                break;
            case "read_header":
                put(answer, new SimpleHeaderConverter().toConnectHeader("t", "h", bytes(asked.get("bytes"))));
                break;
            case "transform":
                String name = "org.apache.kafka.connect.transforms." + asked.get("class").asText();
                Transformation transform = (Transformation) Class.forName(name).getDeclaredConstructor().newInstance();
                transform.configure(configs(asked.get("configs")));
                answer.set("record", show((ConnectRecord<?>) transform.apply(record(asked.get("record")))));
                break;
            default:
                throw new IllegalStateException(asked.toString());
        }
    }

    public static void main(String[] arguments) throws Exception {
        PrintStream out = new PrintStream(System.out, false, "UTF-8");
        System.setOut(System.err);
        ObjectNode head = NODES.objectNode();
        head.put("version", AppInfoParser.getVersion());
        out.println(MAPPER.writeValueAsString(head));
        out.flush();
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            ObjectNode answer = NODES.objectNode();
            try {
                answer(MAPPER.readTree(line), answer);
            } catch (Throwable error) {
                answer.removeAll();
                answer.put("error", error.getClass().getSimpleName());
                answer.put("message", String.valueOf(error.getMessage()));
            }
            out.println(MAPPER.writeValueAsString(answer));
            out.flush();
        }
    }
}

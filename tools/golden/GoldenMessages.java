import com.fasterxml.jackson.databind.JsonNode;
import java.lang.reflect.Field;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.lang.reflect.ParameterizedType;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.Paths;
import java.util.ArrayList;
import java.util.Base64;
import java.util.Collection;
import java.util.Enumeration;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import java.util.jar.JarEntry;
import java.util.jar.JarFile;
import java.util.stream.Stream;
import java.util.zip.GZIPOutputStream;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.Message;
import org.apache.kafka.common.protocol.ObjectSerializationCache;
import org.apache.kafka.common.protocol.types.BoundField;
import org.apache.kafka.common.protocol.types.RawTaggedField;
import org.apache.kafka.common.protocol.types.Schema;
import org.apache.kafka.common.protocol.types.TaggedFields;
import org.apache.kafka.common.protocol.types.Type;
import org.apache.kafka.common.record.internal.MemoryRecords;

/**
 * Writes golden bytes of every message in every version with the Java classes of Apache Kafka:
 * one line a message, tab-separated: class, version, variant, bytes in hex, the values as Kafka's own JSON converter
 * writes them.
 *
 *   java -cp '.cache/kafka-4.3.1/libs/*' tools/golden/GoldenMessages.java .cache/kafka-4.3.1/libs \
 *       tests/golden/messages-4.3.1.tsv.gz
 */
public class GoldenMessages {
    static final String[] JARS = {
        "kafka-clients", "kafka-metadata", "kafka-group-coordinator", "kafka-transaction-coordinator",
        "kafka-share-coordinator", "kafka-raft", "kafka-storage",
    };
    static final String[] STRINGS = {"", "a", "orders", "gr\u00fc\u00dfe", "\u20ac\ud83d\ude80", "x".repeat(130)};

    /** FULL sets every field and adds unknown tags; EMPTY sets what can be null to null; SMALL sets half of them. */
    enum Variant { FULL, EMPTY, SMALL }

    public static void main(String[] arguments) throws Exception {
        Map<String, Class<?>> classes = new TreeMap<>();
        for (String jar : JARS) {
            for (Class<?> each : messageClasses(Paths.get(arguments[0]), jar)) {
                classes.put(each.getSimpleName(), each);
            }
        }
        int lines = 0;
        try (GZIPOutputStream out = new GZIPOutputStream(Files.newOutputStream(Paths.get(arguments[1])))) {
            for (Class<?> each : classes.values()) {
                Message sample = (Message) each.getDeclaredConstructor().newInstance();
                for (short version = sample.lowestSupportedVersion(); version <= sample.highestSupportedVersion(); version++) {
                    for (Variant variant : Variant.values()) {
                        Random random = new Random((each.getSimpleName() + version + variant).hashCode());
                        Message message = (Message) filled(each, version, variant, random);
                        ObjectSerializationCache cache = new ObjectSerializationCache();
                        ByteBuffer buffer = ByteBuffer.allocate(message.size(cache, version));
                        message.write(new ByteBufferAccessor(buffer), cache, version);
                        String line = String.join("\t", each.getSimpleName(), Short.toString(version), variant.name(),
                            HexFormat.of().formatHex(buffer.array(), 0, buffer.position()), json(message, version));
                        out.write((line + "\n").getBytes(StandardCharsets.UTF_8));
                        lines++;
                    }
                }
            }
        }
        System.out.println(classes.size() + " classes, " + lines + " lines");
    }

    static List<Class<?>> messageClasses(Path libs, String jar) throws Exception {
        List<Class<?>> found = new ArrayList<>();
        Path path;
        try (Stream<Path> all = Files.list(libs)) {
            path = all.filter(each -> each.getFileName().toString().matches(jar + "-\\d[\\d.]*\\.jar")).findFirst().orElseThrow();
        }
        try (JarFile file = new JarFile(path.toFile())) {
            for (Enumeration<JarEntry> entries = file.entries(); entries.hasMoreElements();) {
                String name = entries.nextElement().getName();
                boolean generated = name.contains("/common/message/") || name.contains("/common/metadata/") || name.contains("/generated/");
                if (!generated || !name.endsWith(".class") || name.contains("$")) continue;
                Class<?> each = Class.forName(name.replace('/', '.').replace(".class", ""));
                if (Message.class.isAssignableFrom(each) && !each.isInterface() && !Modifier.isAbstract(each.getModifiers())) {
                    found.add(each);
                }
            }
        }
        return found;
    }

    static String json(Message message, short version) throws Exception {
        Class<?> converter = Class.forName(message.getClass().getName() + "JsonConverter");
        Method write = converter.getMethod("write", message.getClass(), short.class, boolean.class);
        return ((JsonNode) write.invoke(null, message, version, false)).toString();
    }

    static Object filled(Class<?> type, short version, Variant variant, Random random) throws Exception {
        Object message = type.getDeclaredConstructor().newInstance();
        Map<String, Type> present = fieldsOf(type, version);
        boolean flexible = false;
        for (Field field : type.getDeclaredFields()) {
            if (Modifier.isStatic(field.getModifiers())) continue;
            field.setAccessible(true);
            if (field.getName().equals("_unknownTaggedFields")) continue;
            Type wire = present.get(plain(field.getName()));
            if (wire == null || variant == Variant.SMALL && random.nextBoolean()) continue;
            if (variant == Variant.EMPTY) {
                if (wire.isNullable()) field.set(message, null);
                continue;
            }
            field.set(message, value(field, wire, version, variant, random));
        }
        if (variant == Variant.FULL && present.containsKey("_tagged")) {
            for (Field field : type.getDeclaredFields()) {
                if (field.getName().equals("_unknownTaggedFields")) {
                    field.setAccessible(true);
                    field.set(message, new ArrayList<>(List.of(new RawTaggedField(10_000, new byte[] {1, 2, 3}))));
                }
            }
        }
        return message;
    }

    /** Names without underscores and case: a field of a class and of its schema are spelled differently. */
    static String plain(String name) {
        return name.replace("_", "").toLowerCase();
    }

    static Map<String, Type> fieldsOf(Class<?> type, short version) throws Exception {
        Schema schema = ((Schema[]) type.getField("SCHEMAS").get(null))[version];
        Map<String, Type> found = new TreeMap<>();
        for (BoundField bound : schema.fields()) {
            if (bound.def.type instanceof TaggedFields tagged) {
                found.put("_tagged", tagged);
                for (org.apache.kafka.common.protocol.types.Field each : tagged.fields().values()) {
                    found.put(plain(each.name), each.type);
                }
            } else {
                found.put(plain(bound.def.name), bound.def.type);
            }
        }
        return found;
    }

    @SuppressWarnings("unchecked")
    static Object value(Field field, Type wire, short version, Variant variant, Random random) throws Exception {
        Class<?> type = field.getType();
        if (List.class.isAssignableFrom(type)) {
            java.lang.reflect.Type element = ((ParameterizedType) field.getGenericType()).getActualTypeArguments()[0];
            List<Object> values = new ArrayList<>();
            int count = variant == Variant.FULL ? 2 : random.nextInt(2);
            for (int i = 0; i < count; i++) values.add(scalar((Class<?>) element, null, version, variant, random));
            return values;
        }
        if (Collection.class.isAssignableFrom(type)) {
            Collection<Object> values = (Collection<Object>) type.getDeclaredConstructor().newInstance();
            Class<?> element = Class.forName(type.getName().replaceAll("Collection$", ""));
            int count = variant == Variant.FULL ? 2 : random.nextInt(2);
            for (int i = 0; i < count; i++) values.add(filled(element, version, variant, random));
            return values;
        }
        return scalar(type, wire, version, variant, random);
    }

    static Object scalar(Class<?> type, Type wire, short version, Variant variant, Random random) throws Exception {
        if (type == boolean.class) return random.nextBoolean();
        if (type == byte.class || type == Byte.class) return (byte) random.nextInt();
        if (type == short.class || type == Short.class) return (short) random.nextInt();
        if (wire == Type.UINT16) return random.nextInt(65536);
        if (wire == Type.UNSIGNED_INT32) return random.nextInt() & 0xFFFFFFFFL;
        if (type == int.class || type == Integer.class) return random.nextInt();
        if (type == long.class || type == Long.class) return random.nextLong();
        if (type == double.class || type == Double.class) return random.nextInt() / 4.0;
        if (type == String.class) return STRINGS[random.nextInt(STRINGS.length)];
        if (type == Uuid.class) return new Uuid(random.nextLong(), random.nextLong());
        byte[] bytes = new byte[random.nextInt(6) + (variant == Variant.FULL ? 126 : 0)];
        random.nextBytes(bytes);
        if (type == byte[].class) return bytes;
        if (type == ByteBuffer.class) return ByteBuffer.wrap(bytes);
        if (type.isAssignableFrom(MemoryRecords.class)) return MemoryRecords.readableRecords(ByteBuffer.wrap(bytes));
        return filled(type, version, variant, random);
    }
}

import com.dynatrace.hash4j.hashing.HashStream64;
import com.dynatrace.hash4j.hashing.Hashing;
import com.google.re2j.Pattern;
import com.google.re2j.PatternSyntaxException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;

/**
 * What Kafka's own libraries say of group subscriptions: RE2/J of expressions, hash4j of topics.
 *
 * java -cp '.cache/kafka-4.3.1/libs/*' tools/golden/GoldenGroups.java > tests/unit/core/group/golden_groups.txt
 */
public class GoldenGroups {
    static final String[] PATTERNS = {
        "orders", "orders-.*", "^orders-[0-9]+$", ".*", "", "a|b", "a||b", "(a|b)*c", "(?:ab)+", "(?P<n>a)b", "(?<n>a)b", "(?i)orders", "(?i:OR)ders",
        "a(?i)b", "(?s).", ".", "(?m)^a$", "[abc]+", "[^abc]+", "[a-c0-9_-]+", "[]a]", "[^]a]", "[a\\-z]", "[[:alpha:]]+", "[[:^digit:]]+", "[\\d.]+",
        "\\d{2,3}", "\\w+", "\\W", "\\s", "\\S+", "\\D+", "a{3}", "a{2,}", "a{0,2}", "a{,2}", "a{", "a{x}", "x{0}", "a*?b+?c??", "a**", "a+*", "a{2}{3}",
        "(a{2}){3}", "*a", "+", "?", "(*)", "(|a)+", "()", "()*", "(a*)*b", "(a|aa)+", "\\bfoo\\b", "foo\\B.*", "\\Aab\\z", "\\Z", "\\Qa.b\\E.", "\\Qa+",
        "\\.", "\\-", "\\_", "\\x61", "\\x{62}", "\\x6", "\\141", "\\0", "\\8", "\\1", "\\q", "\\", "[", "[a", "[z-a]", "[a-", "a]", "(", ")", "(a", "a)",
        "(?", "(?a", "(?=a)", "(?!a)", "(?<=a)b", "(?P<1>a)", "(?P<n>a)(?P<n>b)", "(?P<>a)", "\\pL+", "\\p{Lu}+", "\\PN", "\\p{^N}", "\\p{Latin}+", "\\p{X}",
        "(?i)[a-c]+", "(?i)[^a-c]+", "a{1001}", "a{1000}", "(?U)a+", "(?-i)a", "(?i-s:A)", "(?i", "\\C", "\\a", "\\n", "a\\Eb", "[\\Qa\\E]", "a.c", "a\\.c",
        "[a-c-e]+", "[--a]", "[+--]", "\\d-\\d", "^", "$", "^$", "a^b", "a$b", "$a", "(^a|b$)+", "[[:word:]]", "[[:foo:]]", "[:alpha:]", "x*", "(?i)k", "[\\w-]+\\.v[12]",
    };
    static final String[] TEXTS = {
        "", "a", "b", "ab", "abc", "aa", "aab", "aaa", "aaaa", "aaaaaa", "c", "ac", "bc", "ababc", "orders", "ORDERS", "Orders", "orders-1", "orders-x", "xorders-1", "a.c", "a.b", "a+",
        "a.bx", "foo", "foo-bar", "foobar", "12", "1234", "1-2", "-", "_", ".", "]", "{", "a{x}", "a{,2}", "A", "AB", "aB", "k", "K", "x", "z", "a-b", "+", "a\n", "\n", "a\nb", "my-topic.v1", "my-topic.v3", "1.2", "[a", "e", "\\",
    };

    public static void main(String[] args) throws Exception {
        StringBuilder out = new StringBuilder();
        for (String pattern : PATTERNS) {
            StringBuilder line = new StringBuilder();
            try {
                Pattern compiled = Pattern.compile(pattern);
                for (String text : TEXTS) line.append(compiled.matcher(text).matches() ? '1' : '0');
            } catch (PatternSyntaxException error) {
                line.append("error ").append(error.getDescription());
            }
            out.append("regex\t").append(escaped(pattern)).append('\t').append(line).append('\n');
        }
        StringBuilder texts = new StringBuilder("texts");
        for (String text : TEXTS) texts.append('\t').append(escaped(text));
        out.insert(0, texts.append('\n'));
        for (int length : new int[] {0, 1, 3, 4, 8, 9, 16, 17, 32, 33, 128, 129, 240, 241, 1023, 1024, 1025, 1088, 2049, 5000}) {
            byte[] bytes = new byte[length];
            for (int i = 0; i < length; i++) bytes[i] = (byte) (i * 7 + 3);
            out.append("xxh3\t").append(length).append('\t').append(Long.toUnsignedString(Hashing.xxh3_64().hashBytesToLong(bytes))).append('\n');
        }
        // As org.apache.kafka.coordinator.group.Utils.computeTopicHash and computeGroupHash do it, which want a whole metadata image.
        long first = topic(0x0102030405060708L, 0x090a0b0c0d0e0f10L, "orders", new String[][] {{"a", "b"}, {"b"}, {}});
        long second = topic(-1L, -2L, "pay.ments_\u00e9", new String[][] {{"z\u00fcrich", "a"}});
        out.append("topic\torders\t").append(first).append('\n');
        out.append("topic\tpayments\t").append(second).append('\n');
        out.append("group\tboth\t").append(Hashing.xxh3_64().hashStream().putLong(first).putLong(second).getAsLong()).append('\n');
        System.out.write(out.toString().getBytes(StandardCharsets.UTF_8));
        System.out.flush();
    }

    static long topic(long most, long least, String name, String[][] racks) {
        HashStream64 hasher = Hashing.xxh3_64().hashStream().putByte((byte) 0).putLong(most).putLong(least).putString(name).putInt(racks.length);
        for (int i = 0; i < racks.length; i++) {
            hasher.putInt(i);
            java.util.Arrays.sort(racks[i]);
            for (String rack : racks[i]) hasher.putInt(rack.length()).putString(rack);
        }
        return hasher.getAsLong();
    }

    static String escaped(String text) {
        return text.replace("\\", "\\\\").replace("\n", "\\n").replace("\t", "\\t");
    }
}

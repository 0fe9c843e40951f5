import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import org.apache.avro.Schema;
import org.apache.avro.SchemaCompatibility;
import org.apache.avro.SchemaCompatibility.SchemaCompatibilityType;

/**
 * What Avro's own library says of pairs of schemas, {"old": text, "new": text} a line: whether each reads what the other
 * wrote, and what they are as texts; or that one of them is no schema.
 */
public class AvroJudge {
    public static void main(String[] args) throws Exception {
        ObjectMapper mapper = new ObjectMapper();
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            JsonNode pair = mapper.readTree(line);
            ObjectNode answer = mapper.createObjectNode();
            try {
                Schema before = new Schema.Parser().parse(pair.get("old").asText());
                Schema after = new Schema.Parser().parse(pair.get("new").asText());
                answer.put("old", before.toString()).put("new", after.toString());
                answer.put("backward", reads(after, before)).put("forward", reads(before, after));
            } catch (Exception error) {
                answer.put("error", error.getClass().getSimpleName());
            }
            out.println(mapper.writeValueAsString(answer));
        }
    }

    static boolean reads(Schema reader, Schema writer) {
        try {
            return SchemaCompatibility.checkReaderWriterCompatibility(reader, writer).getType()
                == SchemaCompatibilityType.COMPATIBLE;
        } catch (RuntimeException error) {
            // As Confluent's registry: what cannot be decided is not compatible.
            return false;
        }
    }
}

import java.io.*;
import java.lang.reflect.InvocationTargetException;
import java.net.*;
import java.nio.charset.StandardCharsets;
import java.nio.file.*;
import java.util.*;
import javax.tools.ToolProvider;
import org.apache.kafka.common.utils.Exit;

/**
 * Runs Kafka's command-line tools one after the other in one warm JVM: each takes a quarter of a second, not two.
 *
 * A line of standard input is a command: fields separated by U+001F, the first of them the tool's standard input in
 * base64, the second its main class or a source file with it. The answer is a line "EXIT_CODE OUT_BYTES ERR_BYTES" and those bytes.
 */
public class Tools {
    /** Thrown instead of leaving the JVM. */
    static class Left extends Error {
        Left() { super("the tool left", null, false, false); }
    }

    /** A stream that the tools may keep: where it leads to changes with every command. */
    static class Switch extends OutputStream {
        ByteArrayOutputStream to = new ByteArrayOutputStream();
        @Override public synchronized void write(int b) { to.write(b); }
        @Override public synchronized void write(byte[] b, int off, int len) { to.write(b, off, len); }
    }

    static Integer exitCode;

    static void leave(int code) {
        // A tool that catches what it throws itself goes on to leave again: the first time counts.
        if (exitCode == null) exitCode = code;
        throw new Left();
    }

    static final Map<String, Class<?>> compiled = new HashMap<>();

    /** A class of Kafka's, or the one of a source file, which is compiled once. */
    static Class<?> find(String name) throws ReflectiveOperationException {
        if (!name.endsWith(".java")) return Class.forName(name);
        Class<?> found = compiled.get(name);
        if (found == null) {
            try {
                Path classes = Files.createTempDirectory("classes");
                String path = System.getProperty("java.class.path");
                if (ToolProvider.getSystemJavaCompiler().run(null, null, System.err, "-cp", path, "-d", classes.toString(), name) != 0)
                    throw new ClassNotFoundException(name);
                String simple = Path.of(name).getFileName().toString().replace(".java", "");
                found = new URLClassLoader(new URL[] {classes.toUri().toURL()}).loadClass(simple);
            } catch (IOException e) {
                throw new ClassNotFoundException(name, e);
            }
            compiled.put(name, found);
        }
        return found;
    }

    public static void main(String[] none) throws Exception {
        DataOutputStream answers = new DataOutputStream(new BufferedOutputStream(new FileOutputStream(FileDescriptor.out)));
        BufferedReader commands = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        Switch out = new Switch(), err = new Switch();
        System.setOut(new PrintStream(out, true, StandardCharsets.UTF_8));
        System.setErr(new PrintStream(err, true, StandardCharsets.UTF_8));
        Exit.setExitProcedure((code, message) -> leave(code));
        Exit.setHaltProcedure((code, message) -> leave(code));
        Exit.setShutdownHookAdder((name, hook) -> { });
        String line;
        while ((line = commands.readLine()) != null) {
            String[] fields = line.split("\u001f", -1);
            out.to = new ByteArrayOutputStream();
            err.to = new ByteArrayOutputStream();
            System.setIn(new ByteArrayInputStream(Base64.getDecoder().decode(fields[0])));
            exitCode = null;
            int code = 0;
            try {
                String[] arguments = Arrays.copyOfRange(fields, 2, fields.length);
                find(fields[1]).getMethod("main", String[].class).invoke(null, (Object) arguments);
            } catch (InvocationTargetException e) {
                if (!(e.getCause() instanceof Left)) {
                    e.getCause().printStackTrace();
                    code = 1;
                }
            } catch (ReflectiveOperationException e) {
                e.printStackTrace();
                code = 1;
            }
            System.out.flush();
            System.err.flush();
            byte[] o = out.to.toByteArray(), e = err.to.toByteArray();
            answers.writeBytes((exitCode != null ? exitCode : code) + " " + o.length + " " + e.length + "\n");
            answers.write(o);
            answers.write(e);
            answers.flush();
        }
    }
}

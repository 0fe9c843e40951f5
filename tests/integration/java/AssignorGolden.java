package org.apache.kafka.connect.runtime.distributed;

import java.lang.reflect.Proxy;
import java.util.*;
import org.apache.kafka.common.utils.*;
import org.apache.kafka.connect.runtime.distributed.WorkerCoordinator.ConnectorsAndTasks;
import org.apache.kafka.connect.storage.ClusterConfigState;
import org.apache.kafka.connect.util.ConnectorTaskId;

/** Rounds of Kafka's assignor over generated memberships, one JSON object a line. */
public class AssignorGolden {
    static long now = 0;

    static String work(Collection<String> connectors, Collection<ConnectorTaskId> tasks) {
        StringJoiner c = new StringJoiner(",", "[", "]"), t = new StringJoiner(",", "[", "]");
        connectors.forEach(each -> c.add("\"" + each + "\""));
        tasks.forEach(each -> t.add("[\"" + each.connector() + "\"," + each.task() + "]"));
        return "[" + c + "," + t + "]";
    }

    public static void main(String[] args) throws Exception {
        Time time = (Time) Proxy.newProxyInstance(Time.class.getClassLoader(), new Class<?>[] {Time.class},
            (proxy, method, given) -> now);
        int[] delays = {0, 500, 10000, 300000};
        for (int seed = 0; seed < Integer.parseInt(args[0]); seed++) {
            Random random = new Random(seed);
            int maxDelay = delays[seed % delays.length];
            IncrementalCooperativeAssignor assignor = new IncrementalCooperativeAssignor(new LogContext(), time, maxDelay);
            now = 1000;
            SortedMap<String, Integer> connectors = new TreeMap<>();
            SortedMap<String, ConnectorsAndTasks> members = new TreeMap<>();
            int names = 0, generation = 0, completed = -1;
            StringJoiner rounds = new StringJoiner(",", "[", "]");
            for (int round = 0; round < 14; round++) {
                now += new long[] {1, 40, 600, 20000}[random.nextInt(4)];
                int act = random.nextInt(8);
                if (members.isEmpty() || act == 0 || act == 1) members.put("m" + names++, new ConnectorsAndTasks.Builder().build());
                if (act == 2 && members.size() > 1) members.remove(new ArrayList<>(members.keySet()).get(random.nextInt(members.size())));
                if (act == 3 && !connectors.isEmpty()) connectors.remove(new ArrayList<>(connectors.keySet()).get(random.nextInt(connectors.size())));
                if (act == 4 || connectors.isEmpty()) connectors.put("c" + random.nextInt(6), random.nextInt(5));
                if (act == 5 && members.size() > 1) {
                    members.remove(new ArrayList<>(members.keySet()).get(random.nextInt(members.size())));
                    members.put("m" + names++, new ConnectorsAndTasks.Builder().build());
                }
                Map<String, Integer> counts = new HashMap<>(connectors);
                ClusterConfigState state = new ClusterConfigState(0, null, counts, Map.of(), Map.of(), Map.of(), Map.of(), Map.of(), Map.of(), Set.of(), Set.of()) {
                    public Set<String> connectors() { return connectors.keySet(); }
                    public List<ConnectorTaskId> tasks(String name) {
                        List<ConnectorTaskId> found = new ArrayList<>();
                        for (int each = 0; each < connectors.getOrDefault(name, 0); each++) found.add(new ConnectorTaskId(name, each));
                        return found;
                    }
                };
                SortedMap<String, ConnectorsAndTasks> given = new TreeMap<>();
                StringJoiner before = new StringJoiner(",", "{", "}");
                members.forEach((member, has) -> {
                    given.put(member, new ConnectorsAndTasks.Builder().with(has.connectors(), has.tasks()).build());
                    before.add("\"" + member + "\":" + work(has.connectors(), has.tasks()));
                });
                List<ConnectorTaskId> tasks = new ArrayList<>();
                connectors.keySet().forEach(name -> tasks.addAll(state.tasks(name)));
                generation++;
                var outcome = assignor.performTaskAssignment(state, completed, generation, given);
                StringJoiner after = new StringJoiner(",", "{", "}");
                for (String member : members.keySet()) {
                    Collection<String> newC = outcome.newlyAssignedConnectors(member), oldC = outcome.newlyRevokedConnectors(member);
                    Collection<ConnectorTaskId> newT = outcome.newlyAssignedTasks(member), oldT = outcome.newlyRevokedTasks(member);
                    after.add("\"" + member + "\":[" + work(newC, newT) + "," + work(new TreeSet<>(oldC), new TreeSet<>(oldT)) + "]");
                    if (random.nextInt(15) == 0) continue; // it never hears of it
                    Set<String> c = new LinkedHashSet<>(members.get(member).connectors());
                    Set<ConnectorTaskId> t = new LinkedHashSet<>(members.get(member).tasks());
                    c.removeAll(oldC); t.removeAll(oldT);
                    c.addAll(newC); t.addAll(newT);
                    members.put(member, new ConnectorsAndTasks.Builder().with(c, t).build());
                }
                rounds.add("{\"now\":" + now + ",\"completed\":" + completed + ",\"generation\":" + generation + ",\"configured\":"
                    + work(connectors.keySet(), tasks) + ",\"members\":" + before + ",\"outcome\":" + after + ",\"delay\":" + assignor.delay + "}");
                if (random.nextInt(12) != 0) completed = generation;
            }
            System.out.println("{\"max_delay\":" + maxDelay + ",\"rounds\":" + rounds + "}");
        }
    }
}

import java.util.*;
import java.util.stream.Collectors;
import kafka.controller.ReplicaAssignment;
import kafka.zk.*;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.resource.*;
import org.apache.kafka.common.utils.Sanitizer;
import org.apache.kafka.common.utils.Time;
import org.apache.zookeeper.client.ZKClientConfig;
import scala.jdk.javaapi.CollectionConverters;

/**
 * What Apache Kafka 3.9's own classes (kafka.zk.KafkaZkClient and the decoders of ZkData.scala) find below a chroot, one
 * sorted line each. Whatever they cannot read is an exception.
 */
public class ZooKeeperPicture {
    public static void main(String[] args) throws Exception {
        List<String> lines = new ArrayList<>();
        try (KafkaZkClient client = KafkaZkClient.apply(args[0], false, 15000, 15000, 100, Time.SYSTEM, "picture",
                new ZKClientConfig(), "kafka.picture", "SessionExpireListener", false, false)) {
            cluster(client, lines);
            topics(client, lines);
            configs(client, lines);
            acls(client, lines);
            tokens(client, lines);
        }
        Collections.sort(lines);
        lines.forEach(System.out::println);
    }

    static <T> Collection<T> java(scala.collection.Iterable<T> of) {
        return CollectionConverters.asJavaCollection(of);
    }

    static <K, V> Map<K, V> java(scala.collection.Map<K, V> of) {
        return CollectionConverters.asJava(of);
    }

    static void cluster(KafkaZkClient client, List<String> lines) {
        lines.add("cluster " + client.getClusterId().get());
        java(client.getAllBrokerAndEpochsInCluster()).forEach((broker, epoch) -> lines.add("broker " + broker.id() + " at "
            + java(broker.endPoints()).stream().map(Object::toString).collect(Collectors.joining(",")) + " rack " + broker.rack()
            + " has epoch " + ((Long) epoch > 0)));
        lines.add("controller " + client.getControllerId());
        lines.add("controller epoch " + client.getControllerEpoch().get()._1());
        scala.Option<byte[]> block = client.getDataAndVersion(ProducerIdBlockZNode.path())._1();
        if (block.isDefined()) lines.add("producer ids " + ProducerIdBlockZNode.parseProducerIdBlockData(block.get()));
        scala.Option<byte[]> feature = client.getDataAndVersion(FeatureZNode.path())._1();
        if (feature.isDefined()) lines.add("feature " + FeatureZNode.decode(feature.get()));
        lines.add("to be deleted " + java(client.getTopicDeletions()));
        lines.add("to be reassigned by znode " + java(client.getPartitionReassignment()));
        lines.add("to be elected by znode " + java(client.getPreferredReplicaElection()));
    }

    static void topics(KafkaZkClient client, List<String> lines) {
        scala.collection.immutable.Set<String> topics = client.getAllTopicsInCluster(false);
        java(client.getTopicIdsForTopics(topics)).forEach((topic, id) -> lines.add("topic " + topic + " " + id));
        Map<TopicPartition, ReplicaAssignment> all = java(client.getFullReplicaAssignmentForTopics(topics));
        all.forEach((partition, each) -> lines.add("replicas " + partition + " " + java(each.replicas()) + " adding "
            + java(each.addingReplicas()) + " removing " + java(each.removingReplicas())));
        java(client.getTopicPartitionStates(CollectionConverters.asScala(new ArrayList<>(all.keySet())))).forEach((partition, state) ->
            lines.add("state " + partition + " leader " + state.leaderAndIsr().leader() + " epoch " + state.leaderAndIsr().leaderEpoch()
                + " isr " + java(state.leaderAndIsr().isr()).stream().map(Object::toString).sorted().collect(Collectors.joining(","))
                + " by controller epoch " + state.controllerEpoch()));
    }

    static void configs(KafkaZkClient client, List<String> lines) {
        AdminZkClient admin = new AdminZkClient(client, scala.Option.empty());
        for (String type : List.of("topics", "brokers", "clients", "users", "ips"))
            java(admin.fetchAllEntityConfigs(type)).forEach((name, found) -> of(type + " " + Sanitizer.desanitize(name), found, lines));
        java(admin.fetchAllChildEntityConfigs("users", "clients")).forEach((name, found) ->
            of("users " + Arrays.stream(name.split("/")).map(Sanitizer::desanitize).collect(Collectors.joining("/")), found, lines));
    }

    static void of(String entity, Properties found, List<String> lines) {
        found.forEach((name, value) -> lines.add("config " + entity + " " + name + "=" + value));
    }

    static void acls(KafkaZkClient client, List<String> lines) {
        for (PatternType pattern : List.of(PatternType.LITERAL, PatternType.PREFIXED)) {
            if (!client.pathExists(pattern == PatternType.LITERAL ? "/kafka-acl" : "/kafka-acl-extended")) continue;
            for (String type : java(client.getResourceTypes(pattern))) {
                ResourceType resource = Arrays.stream(ResourceType.values())
                    .filter(each -> each.name().replace("_", "").equalsIgnoreCase(type)).findFirst().get();
                for (String name : java(client.getResourceNames(pattern, resource))) {
                    ResourcePattern where = new ResourcePattern(resource, name, pattern);
                    java(client.getVersionedAclsForResource(where).acls()).forEach(each -> lines.add("acl " + where + " " + each));
                }
            }
        }
    }

    static void tokens(KafkaZkClient client, List<String> lines) {
        if (!client.pathExists(DelegationTokensZNode.path())) return;
        for (String each : java(client.getChildren(DelegationTokensZNode.path())))
            lines.add("token " + client.getDelegationTokenInfo(each).get());
    }
}

"""The cluster file: from YAML to a :class:`~engine.supervisor.spec_types.ClusterSpec`, or to all of its mistakes. Pure.

Every key is explained in ``sample_cluster.yaml``.
"""

from __future__ import annotations

import re

import yaml

from engine.model.broker_config import BROKER_CONFIGS, BrokerConfig
from engine.model.configs import ConfigError, ConfigKey, closest
from engine.model.kafka_config_names import NOT_HONOURED
from engine.model.topic_config import TOPIC_CONFIGS, check_topic_configs
from engine.model.zookeeper_config import ZOOKEEPER_CONFIGS, parse_connect
from engine.supervisor.server_properties import MANAGED, Address, broker_properties
from engine.supervisor.spec_types import (
    AUTO_PORT,
    BrokerSpec,
    ClusterSpec,
    ConnectSpec,
    GroupSpec,
    ProducerSpec,
    RegistrySpec,
    RestartSpec,
    TopicSpec,
    WorkloadSpec,
    ZooKeeperSpec,
)
from engine.supervisor.value_template import template_mistakes
from engine.supervisor.yaml_nodes import MappingReader, Node, Problems, SpecError, kind_of, read_mapping
from engine.supervisor.zookeeper_files import CHROOT, HOST

DURABILITIES = ("fsync", "page-cache")
COORDINATIONS = ("kraft", "zookeeper")
ZOOKEEPER_SERVERS = (1, 3)
RESTART_POLICIES = ("on-failure", "always", "never")
COMPRESSIONS = ("none", "gzip", "snappy", "lz4", "zstd")
_AUTO = {"auto": AUTO_PORT}
_EMBEDDED = "embedded"
_LEGAL_TOPIC = re.compile(r"[a-zA-Z0-9._-]{1,249}", re.ASCII)
# Placeholder for "auto" while the configuration as a whole is checked; the real port comes with the start.
_SOME_PORT = 1024


def parse_cluster_spec(text: str) -> tuple[ClusterSpec, list[SpecError]]:
    """Read a cluster file.

    Returns:
        The specification, and doubts that are no mistakes.

    Raises:
        SpecErrors: with every mistake.
    """
    top = read_mapping(text, "the cluster file", if_empty="describe at least one broker under `brokers:`")
    spec = read_cluster_spec(top, top.problems)
    # Its brokers, for what only this machine knows: whether their ports are free.
    top.end(spec.brokers)
    return spec, sorted(top.problems.warnings)


def read_cluster_spec(top: MappingReader, problems: Problems) -> ClusterSpec:
    """Take a cluster out of a mapping; what is wrong with it goes to ``problems``, and then the result is of no use."""
    durability = top.text("durability", "fsync", choices=DURABILITIES) or "fsync"
    zookeeper = _zookeeper(top, problems)
    config_nodes = top.mapping("configs")
    known = BROKER_CONFIGS if zookeeper is None else {**BROKER_CONFIGS, **ZOOKEEPER_CONFIGS}
    configs = _broker_configs(config_nodes, known, problems)
    brokers = _brokers(top, known, problems)
    _check_replication_configs(config_nodes, len(brokers), problems)
    topics = _topics(top, len(brokers), configs, problems)
    workload = _workload(top, topics, configs, problems)
    spec = ClusterSpec(
        durability,
        configs,
        brokers,
        topics,
        workload,
        _restart(top),
        zookeeper,
        _registry(top, problems),
        _connect(top, problems),
    )
    top.finish()
    if not problems.errors:
        _check_as_a_whole(spec, top, problems)
    return spec


# -- coordination -----------------------------------------------------------------------------------------------


def _zookeeper(top: MappingReader, problems: Problems) -> ZooKeeperSpec | None:
    coordination = top.text("coordination", "kraft", choices=COORDINATIONS)
    servers_node, connect = top.take("zookeeper"), top.text("zookeeper.connect")
    if coordination != "zookeeper":
        for name, node in (("zookeeper", servers_node), ("zookeeper.connect", connect)):
            if node is not None:
                problems.error(
                    top.place(name),
                    f"{name} is of clusters that ZooKeeper coordinates, and this one's coordination is {coordination}",
                    "add `coordination: zookeeper`, or leave it out",
                )
        return None
    if servers_node is not None and connect is not None:
        problems.error(
            top.place("zookeeper.connect"),
            "zookeeper is for servers of the cluster's own, zookeeper.connect for servers that run already",
            "keep one of them",
        )
    if connect is not None:
        try:
            parse_connect(connect)
        except ValueError as error:
            remedy = "write HOST:PORT,HOST:PORT and a chroot: 127.0.0.1:2181/kafka"
            problems.error(top.place("zookeeper.connect"), f"zookeeper.connect: {error}", remedy)
        return ZooKeeperSpec(0, connect)
    return ZooKeeperSpec(_zookeeper_servers(top, servers_node, problems), "")


def _zookeeper_servers(top: MappingReader, node: Node | None, problems: Problems) -> int:
    remedy = "write `zookeeper: embedded` for one server, or `zookeeper: {servers: 3}`"
    if node is None or (isinstance(node, yaml.ScalarNode) and node.value == _EMBEDDED):
        return 1
    if not isinstance(node, yaml.MappingNode):
        problems.error(node, f"zookeeper is {_EMBEDDED} or a mapping, not {kind_of(node)}", remedy)
        return 1
    reader = top.mapping("zookeeper")
    servers = reader.integer("servers", 1, low=1)
    reader.finish()
    if servers not in ZOOKEEPER_SERVERS:
        problems.error(
            reader.place("servers"),
            f"an embedded ensemble has 1 or 3 servers, not {servers}",
            "one, or three of which any two go on",
        )
    return servers


# -- the schema registry ----------------------------------------------------------------------------------------


def _registry(top: MappingReader, problems: Problems) -> RegistrySpec | None:
    node = top.take("registry")
    if node is None:
        return None
    if isinstance(node, yaml.ScalarNode) and str(node.value).lower() in ("true", "false", _EMBEDDED):
        return None if str(node.value).lower() == "false" else RegistrySpec(AUTO_PORT, _at(node))
    if not isinstance(node, yaml.MappingNode):
        remedy = "write `registry: true`, or `registry: {port: 8081}`"
        problems.error(node, f"registry is true, false or a mapping, not {kind_of(node)}", remedy)
        return None
    reader = top.mapping("registry")
    port = reader.integer("port", AUTO_PORT, low=0, high=65535, words=_AUTO)
    reader.finish()
    return RegistrySpec(port, _at(reader.place("port")))


# -- workers of Connect -----------------------------------------------------------------------------------------


def _connect(top: MappingReader, problems: Problems) -> ConnectSpec | None:
    node = top.take("connect")
    if node is None:
        return None
    if isinstance(node, yaml.ScalarNode) and str(node.value).lower() in ("true", "false"):
        return None if str(node.value).lower() == "false" else ConnectSpec(1, {})
    if not isinstance(node, yaml.MappingNode):
        remedy = "write `connect: true`, or `connect: {workers: 2}`"
        problems.error(node, f"connect is true, false or a mapping, not {kind_of(node)}", remedy)
        return None
    reader = top.mapping("connect")
    workers = reader.integer("workers", 1, low=1, high=64)
    given = reader.mapping("configs")
    configs = {name: given.text(name) or "" for name, _, _ in list(given.entries())}
    given.finish()
    reader.finish()
    for name in ("bootstrap.servers", "listeners"):
        if name in configs:
            problems.error(given.place(name), f"{name} is the supervisor's to say", "leave it out")
    return ConnectSpec(workers, configs)


# -- brokers ----------------------------------------------------------------------------------------------------


def _brokers(top: MappingReader, known: dict[str, ConfigKey], problems: Problems) -> tuple[BrokerSpec, ...]:
    found: list[BrokerSpec] = []
    ids: dict[int, int] = {}
    ports: dict[tuple[str, int], int] = {}
    nodes = top.items("brokers")
    if not nodes and top.node is not None and isinstance(top.node, yaml.MappingNode):
        problems.error(top.place("brokers"), "a cluster has at least one broker", "add `brokers:` with a list")
    for node in nodes:
        reader = MappingReader(node, "a broker", problems)
        if reader.take("id") is None and isinstance(node, yaml.MappingNode):
            problems.error(node, "a broker has no 'id'", "add `id: 1`, a number of its own")
        broker_id = reader.integer("id", -1, low=0)
        host = reader.text("host", "127.0.0.1") or "127.0.0.1"
        port = reader.integer("port", AUTO_PORT, low=0, high=65535, words=_AUTO)
        controller_port = reader.integer("controller_port", AUTO_PORT, low=0, high=65535, words=_AUTO)
        rack = reader.text("rack")
        configs = _broker_configs(reader.mapping("configs"), known, problems)
        reader.finish()
        if broker_id in ids and broker_id >= 0:
            problems.error(
                reader.place("id"), f"id {broker_id} is taken by the broker in line {ids[broker_id]}", "give another id"
            )
        ids.setdefault(broker_id, node.start_mark.line + 1)
        for name, value in (("port", port), ("controller_port", controller_port)):
            taken_by = ports.get((host, value))
            if value != AUTO_PORT and taken_by is not None:
                problems.error(
                    reader.place(name),
                    f"port {value} of {host} is taken in line {taken_by}",
                    "give another port, or auto",
                )
            ports.setdefault((host, value), node.start_mark.line + 1)
        found.append(
            BrokerSpec(
                broker_id,
                host,
                port,
                controller_port,
                rack,
                configs,
                (_at(reader.place("port")), _at(reader.place("controller_port"))),
            )
        )
    return tuple(found)


def _at(node: Node) -> tuple[int, int]:
    return node.start_mark.line + 1, node.start_mark.column + 1


def _broker_configs(reader: MappingReader, known: dict[str, ConfigKey], problems: Problems) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, key_node, value_node in reader.entries():
        definition = known.get(name)
        if name in MANAGED:
            problems.error(key_node, f"{name} is set by the supervisor", MANAGED[name])
        elif definition is not None:
            _config_value(definition, value_node, found, problems)
        elif name in NOT_HONOURED:
            problems.warn(key_node, f"{name} is a config of Kafka that kconsole does not honour", "it has no effect")
        elif name in ZOOKEEPER_CONFIGS:
            what = f"{name} is of clusters that ZooKeeper coordinates"
            problems.error(key_node, what, "add `coordination: zookeeper`, or leave it out")
        else:
            problems.error(key_node, f"unknown broker config {name!r}", _near_config(name, known))
    return found


def _config_value(definition: ConfigKey, node: Node, found: dict[str, str], problems: Problems) -> None:
    if not isinstance(node, yaml.ScalarNode):
        if isinstance(node, yaml.SequenceNode) and all(isinstance(each, yaml.ScalarNode) for each in node.value):
            text = ",".join(str(each.value) for each in node.value)
        else:
            problems.error(node, f"{definition.name} is a value, not {kind_of(node)}", "write the value on this line")
            return
    else:
        text = str(node.value)
    try:
        definition.parse(text)
    except ConfigError as error:
        default = f"Kafka's default is {definition.default}" if definition.default else "Kafka's default is null"
        problems.error(node, str(error), default)
    else:
        found[definition.name] = text


def _near_config(name: str, known: dict[str, ConfigKey]) -> str:
    near = closest(name, known)
    return f"did you mean {near}?" if near else "see Kafka's list of configs"


def _check_replication_configs(reader: MappingReader, brokers: int, problems: Problems) -> None:
    names = (
        "default.replication.factor",
        "offsets.topic.replication.factor",
        "transaction.state.log.replication.factor",
    )
    for name, _, node in reader.entries():
        if name in names and isinstance(node, yaml.ScalarNode) and str(node.value).isdigit():
            _check_factor(int(node.value), brokers, name, node, problems)


def _check_factor(factor: int, brokers: int, name: str, node: Node, problems: Problems) -> None:
    if brokers and factor > brokers:
        problems.error(
            node,
            f"{name} is {factor}, and there {'is 1 broker' if brokers == 1 else f'are {brokers} brokers'}",
            f"give at most {brokers}, or add brokers",
        )


# -- topics -----------------------------------------------------------------------------------------------------


def _topics(
    top: MappingReader, brokers: int, cluster_configs: dict[str, str], problems: Problems
) -> tuple[TopicSpec, ...]:
    found: list[TopicSpec] = []
    names: dict[str, str] = {}
    default_factor = int(cluster_configs.get("default.replication.factor", min(3, max(brokers, 1))))
    for node in top.items("topics"):
        reader = MappingReader(node, "a topic", problems)
        name = reader.required_text("name")
        partitions = reader.integer("partitions", int(cluster_configs.get("num.partitions", "1")), low=1, high=10_000)
        factor = reader.integer("replication_factor", default_factor, low=1, high=32767)
        config_reader = reader.mapping("configs")
        configs = _topic_configs(config_reader, problems)
        reader.finish()
        if name is None:
            continue
        _check_topic_name(name, {topic.name for topic in found}, names, reader, problems)
        if reader.take("replication_factor") is not None:
            _check_factor(
                factor, brokers, f"replication_factor of {name}", reader.place("replication_factor"), problems
            )
        min_isr = int(configs.get("min.insync.replicas", cluster_configs.get("min.insync.replicas", "1")))
        if min_isr > factor:
            problems.warn(
                node,
                f"min.insync.replicas of {name} is {min_isr} and it has {factor} replicas",
                "every acks=all will be refused with NOT_ENOUGH_REPLICAS",
            )
        found.append(TopicSpec(name, partitions, factor, configs))
    return tuple(found)


def _check_topic_name(
    name: str, taken: set[str], names: dict[str, str], reader: MappingReader, problems: Problems
) -> None:
    place = reader.place("name")
    if not _LEGAL_TOPIC.fullmatch(name) or name in (".", ".."):
        problems.error(
            place, f"{name!r} is no legal topic name", "use at most 249 letters, digits, dots, underscores and dashes"
        )
    elif name in ("__consumer_offsets", "__transaction_state", "__cluster_metadata"):
        problems.error(place, f"{name} is an internal topic", "Kafka makes it by itself")
    other = names.setdefault(name.replace(".", "_"), name)
    if name in taken:
        problems.error(place, f"topic {name} stands twice", "keep one of them")
    elif other != name:
        # Metric names make no difference between a dot and an underscore, so Kafka refuses such pairs.
        problems.error(place, f"topic names {name} and {other} collide", "let them differ in more than '.' and '_'")


def _topic_configs(reader: MappingReader, problems: Problems) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, key_node, value_node in reader.entries():
        definition = TOPIC_CONFIGS.get(name)
        if definition is None:
            problems.error(key_node, f"unknown topic config {name!r}", _near_config(name, TOPIC_CONFIGS))
        else:
            _config_value(definition, value_node, found, problems)
    try:
        check_topic_configs(found)
    except ConfigError as error:
        for sentence in error.errors:
            assert reader.node is not None, "configs that are wrong stand somewhere"
            problems.error(reader.node, sentence, "change one of the values")
    return found


# -- workload and restart ---------------------------------------------------------------------------------------


def _workload(
    top: MappingReader, topics: tuple[TopicSpec, ...], configs: dict[str, str], problems: Problems
) -> WorkloadSpec:
    reader = top.mapping("workload")
    start = reader.boolean("start", True)
    known = {topic.name for topic in topics}
    created_on_use = configs.get("auto.create.topics.enable", "true").strip().lower() == "true"
    names: set[str] = set()

    def check_name(kind: MappingReader, name: str) -> None:
        if name in names:
            problems.error(
                kind.place("name"), f"{kind.what} {name!r} stands twice in the workload", "give another name"
            )
        names.add(name)

    def check_topic(node: Node, topic: str) -> None:
        if topic not in known and not created_on_use:
            near = closest(topic, known)
            remedy = f"did you mean {near!r}?" if near else "add it under `topics:`"
            problems.error(node, f"topic {topic!r} is not in this file and is not created on first use", remedy)

    producers: list[ProducerSpec] = []
    for node in reader.items("producers"):
        each = MappingReader(node, "a producer", problems)
        name, topic = each.required_text("name"), each.required_text("topic")
        producer = ProducerSpec(
            name or "",
            topic or "",
            each.number("rate", 10, low=0, high=1_000_000),
            each.integer("keys", 0, low=0),
            each.text("value", "{n}") or "",
            each.text("acks", "all", choices=("all", "1", "0")) or "all",
            each.text("compression", "none", choices=COMPRESSIONS) or "none",
        )
        each.finish()
        for mistake, remedy in template_mistakes(producer.value):
            problems.error(each.place("value"), mistake, remedy)
        if name:
            check_name(each, name)
        if topic:
            check_topic(each.place("topic"), topic)
        producers.append(producer)
    groups: list[GroupSpec] = []
    for node in reader.items("groups"):
        each = MappingReader(node, "a group", problems)
        name = each.required_text("name")
        subscribed = each.texts("topics")
        if not subscribed:
            problems.error(node, "a group has no 'topics'", "add `topics: [name]`")
        for topic, topic_node in subscribed:
            check_topic(topic_node, topic)
        group = GroupSpec(
            name or "",
            tuple(topic for topic, _ in subscribed),
            each.integer("members", 1, low=0, high=100),
            each.number("processing_ms", 0, low=0, high=3_600_000),
        )
        each.finish()
        if name:
            check_name(each, name)
        groups.append(group)
    reader.finish()
    return WorkloadSpec(start, tuple(producers), tuple(groups))


def _restart(top: MappingReader) -> RestartSpec:
    reader = top.mapping("restart")
    spec = RestartSpec(
        reader.text("policy", "on-failure", choices=RESTART_POLICIES) or "on-failure",
        reader.integer("backoff_ms", 500, low=0),
        reader.integer("max_backoff_ms", 30_000, low=0),
        reader.integer("give_up_after", 5, low=1),
        reader.integer("within_ms", 60_000, low=1),
    )
    reader.finish()
    return spec


def _check_as_a_whole(spec: ClusterSpec, top: MappingReader, problems: Problems) -> None:
    # Rules between configs are those of a broker's own start: ask it.
    addresses = {
        broker.broker_id: Address(broker.host, broker.port or _SOME_PORT + 2 * at, _SOME_PORT + 2 * at + 1)
        for at, broker in enumerate(spec.brokers)
    }
    connect = "" if spec.zookeeper is None else spec.zookeeper.connect or f"{HOST}:{_SOME_PORT}{CHROOT}"
    for broker, node in zip(spec.brokers, top.items("brokers"), strict=True):
        try:
            BrokerConfig.from_properties(broker_properties(spec, broker, addresses, "/data", connect))
        except ConfigError as error:
            for sentence in error.errors:
                problems.error(node, f"broker {broker.broker_id}: {sentence}", "change one of its configs")

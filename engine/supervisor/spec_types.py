"""What a cluster file says, as plain values. Pure, and quick to import."""

from __future__ import annotations

from typing import NamedTuple

AUTO_PORT = 0


class BrokerSpec(NamedTuple):
    """One broker. Ports of 0 are chosen by the supervisor, and kept. ``ports_at`` is where the two stand in the file
    (line and column), for complaints."""

    broker_id: int
    host: str
    port: int
    controller_port: int
    rack: str | None
    configs: dict[str, str]
    ports_at: tuple[tuple[int, int], tuple[int, int]] = ((1, 1), (1, 1))


class TopicSpec(NamedTuple):
    """A topic that is created when the cluster starts for the first time."""

    name: str
    partitions: int
    replication_factor: int
    configs: dict[str, str]


class ProducerSpec(NamedTuple):
    """A producer of the workload: ``rate`` records a second over ``keys`` different keys (0: no key)."""

    name: str
    topic: str
    rate: float
    keys: int
    value: str
    acks: str
    compression: str


class GroupSpec(NamedTuple):
    """A consumer group of the workload: each of ``members`` is a consumer that works ``processing_ms`` on a record."""

    name: str
    topics: tuple[str, ...]
    members: int
    processing_ms: float


class WorkloadSpec(NamedTuple):
    """Traffic that makes a new cluster live."""

    start: bool
    producers: tuple[ProducerSpec, ...]
    groups: tuple[GroupSpec, ...]


class RestartSpec(NamedTuple):
    """What becomes of a broker that ends by itself."""

    policy: str
    backoff_ms: int
    max_backoff_ms: int
    give_up_after: int
    within_ms: int


class ZooKeeperSpec(NamedTuple):
    """What coordinates the cluster where that is ZooKeeper: so many servers of its own, or (``servers`` is 0) those
    that ``connect`` names as Kafka's zookeeper.connect does, chroot and all."""

    servers: int
    connect: str


class RegistrySpec(NamedTuple):
    """A schema registry beside the cluster. A port of 0 is chosen by the supervisor, and kept; ``port_at`` is where it
    stands in the file (line and column), for complaints."""

    port: int
    port_at: tuple[int, int] = (1, 1)


class ConnectSpec(NamedTuple):
    """Workers of Kafka Connect beside the cluster, and what their configs have besides the defaults."""

    workers: int
    configs: dict[str, str]


class ClusterSpec(NamedTuple):
    """A whole cluster. Without ``zookeeper`` its own quorum coordinates it (KRaft)."""

    durability: str
    configs: dict[str, str]
    brokers: tuple[BrokerSpec, ...]
    topics: tuple[TopicSpec, ...]
    workload: WorkloadSpec
    restart: RestartSpec
    zookeeper: ZooKeeperSpec | None = None
    registry: RegistrySpec | None = None
    connect: ConnectSpec | None = None

"""What a console renders: one immutable picture of a cluster, and the facts that lead from one to the next.

Pure data: the observer builds it from Kafka's protocol (so it is the same attached to Apache Kafka), the supervisor's
stream adds what only the embedded cluster knows (processes, stopwatch, ledger). ``None`` means "not known here", and is
shown as such; a zero is a measured zero. All times are wall-clock milliseconds unless a name ends in ``_mono_ns``.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, NamedTuple

from engine.supervisor.zookeeper_snapshot import ZooKeeperState

# The topic that failovers are measured with; the first measured kill makes it.
PROBE_TOPIC = "kconsole-probe"


class Source(StrEnum):
    """Whose cluster it is."""

    EMBEDDED = "embedded"
    ATTACHED = "attached"
    SIMULATED = "simulated"


class ProcessState(StrEnum):
    """Life of a broker's process, as its supervisor sees it."""

    STARTING = "starting"
    RUNNING = "running"
    PAUSED = "paused"
    STOPPING = "stopping"
    STOPPED = "stopped"
    KILLED = "killed"
    CRASHED = "crashed"


@dataclass(frozen=True, slots=True)
class ProcessFacts:
    """What a supervisor knows of one broker process."""

    broker_id: int
    state: ProcessState
    pid: int | None
    started_at_ms: int | None = None
    incarnation: int = 0
    restarts: int = 0
    exit_code: int | None = None
    cpu_percent: float | None = None
    rss_bytes: int | None = None
    open_files: int | None = None
    log_dir: str = ""
    next_restart_at_ms: int | None = None
    why: str = ""

    @property
    def is_up(self) -> bool:
        """Whether it runs, or is about to."""
        return self.state in (ProcessState.STARTING, ProcessState.RUNNING)


@dataclass(frozen=True, slots=True)
class BrokerCounters:
    """Totals since the broker's start, from its publisher (embedded clusters only)."""

    broker_id: int
    at_ms: int
    values: dict[str, float]


@dataclass(frozen=True, slots=True)
class BrokerState:
    """One broker. ``reachable`` speaks of the observer's own connection to it; before the first try there is no
    ``error`` and no ``observed_at_ms``. ``failed_log_dirs`` are those of its directories that it says are offline."""

    broker_id: int
    host: str
    port: int
    rack: str | None = None
    reachable: bool = False
    fenced: bool | None = None
    is_controller: bool = False
    observed_at_ms: int = 0
    error: str = ""
    leaders: int = 0
    replicas: int = 0
    in_sync: int = 0
    log_bytes: int | None = None
    disk_total_bytes: int | None = None
    disk_usable_bytes: int | None = None
    bytes_in_per_s: float | None = None
    bytes_out_per_s: float | None = None
    messages_in_per_s: float | None = None
    process: ProcessFacts | None = None
    failed_log_dirs: tuple[str, ...] = ()

    @property
    def was_asked(self) -> bool:
        """Whether it has answered, or failed to."""
        return self.reachable or bool(self.observed_at_ms) or bool(self.error)


class ReplicaState(NamedTuple):
    """One replica's log, as that replica itself reports it."""

    broker_id: int
    log_end_offset: int | None
    size_bytes: int | None
    in_sync: bool
    observed_at_ms: int
    log_start_offset: int | None = None
    high_watermark: int | None = None


@dataclass(frozen=True, slots=True)
class PartitionState:
    """One partition. ``leader`` is -1 when there is none."""

    topic: str
    partition: int
    leader: int
    leader_epoch: int
    replicas: tuple[int, ...]
    isr: tuple[int, ...]
    offline_replicas: tuple[int, ...] = ()
    eligible_leader_replicas: tuple[int, ...] = ()
    log_start_offset: int | None = None
    high_watermark: int | None = None
    replica_states: tuple[ReplicaState, ...] = ()
    size_bytes: int | None = None
    messages_in_per_s: float | None = None
    observed_at_ms: int = 0
    error: str = ""

    @property
    def is_under_replicated(self) -> bool:
        """Fewer in-sync replicas than assigned ones."""
        return len(self.isr) < len(self.replicas)

    @property
    def is_offline(self) -> bool:
        """No leader."""
        return self.leader < 0

    @property
    def preferred_leader(self) -> int:
        """The first assigned replica."""
        return self.replicas[0] if self.replicas else -1


@dataclass(frozen=True, slots=True)
class TopicState:
    """One topic."""

    name: str
    topic_id: str
    is_internal: bool
    partitions: tuple[PartitionState, ...]
    min_insync_replicas: int | None = None
    configs: dict[str, str] = field(default_factory=dict)
    error: str = ""

    @property
    def under_replicated(self) -> int:
        """Number of partitions with fewer in-sync replicas than assigned."""
        return sum(1 for partition in self.partitions if partition.is_under_replicated)

    @property
    def offline(self) -> int:
        """Number of partitions without leader."""
        return sum(1 for partition in self.partitions if partition.is_offline)


class GroupOffset(NamedTuple):
    """A group's position in one partition. ``lag`` is ``None`` when either side of it is unknown.

    Of a share group, ``committed_offset`` is where it starts (all before that is dealt with), ``lag`` what is not dealt
    with from there on, in flight or not, and ``member_id`` ``None``: several members may read a partition.
    """

    topic: str
    partition: int
    committed_offset: int | None
    log_end_offset: int | None
    lag: int | None
    member_id: str | None
    metadata: str = ""


class StreamsTasks(NamedTuple):
    """Tasks of a member of a streams group: by kind, subtopologies with their partitions."""

    active: tuple[tuple[str, tuple[int, ...]], ...] = ()
    standby: tuple[tuple[str, tuple[int, ...]], ...] = ()
    warmup: tuple[tuple[str, tuple[int, ...]], ...] = ()


class Subtopology(NamedTuple):
    """A part of a streams application whose tasks are alike, with the topics that it has to do with."""

    subtopology_id: str
    source_topics: tuple[str, ...]
    repartition_source_topics: tuple[str, ...]
    repartition_sink_topics: tuple[str, ...]
    changelog_topics: tuple[str, ...]


class StreamsTopology(NamedTuple):
    """What a streams group runs; ``subtopologies`` is ``None`` where the coordinator does not tell them."""

    epoch: int
    subtopologies: tuple[Subtopology, ...] | None


@dataclass(frozen=True, slots=True)
class MemberState:
    """One member of a group. In groups of the newer types it has an epoch, and a ``protocol`` of its own: ``classic``,
    ``consumer``, ``share`` or ``streams``; in consumer groups (KIP-848) a ``target`` that it is on its way to.

    In a streams group (KIP-1071) it has ``tasks``, on its way to ``target_tasks``; its ``assignment`` is what its
    active tasks read, and ``user_endpoint`` where it answers questions (``host:port``; empty if nowhere).
    """

    member_id: str
    instance_id: str | None
    client_id: str
    host: str
    assignment: tuple[tuple[str, tuple[int, ...]], ...] = ()
    member_epoch: int | None = None
    target: tuple[tuple[str, tuple[int, ...]], ...] | None = None
    protocol: str = ""
    tasks: StreamsTasks | None = None
    target_tasks: StreamsTasks | None = None
    process_id: str = ""
    user_endpoint: str = ""


@dataclass(frozen=True, slots=True)
class GroupState:
    """One group. ``group_type`` is ``classic``, ``consumer``, ``share`` or ``streams``; all but the first have epochs,
    applications over streams have a ``topology``. ``error`` says why it could not be described lately."""

    group_id: str
    state: str
    protocol_type: str = ""
    protocol: str = ""
    group_type: str = "classic"
    coordinator: int | None = None
    members: tuple[MemberState, ...] = ()
    offsets: tuple[GroupOffset, ...] = ()
    total_lag: int | None = None
    lag_history: tuple[tuple[int, int], ...] = ()
    observed_at_ms: int = 0
    error: str = ""
    group_epoch: int | None = None
    assignment_epoch: int | None = None
    topology: StreamsTopology | None = None

    @property
    def is_streams(self) -> bool:
        """Whether it is an application over streams: those in classic groups have a topology, too."""
        return self.group_type == "streams" or self.topology is not None


@dataclass(frozen=True, slots=True)
class QuorumVoter:
    """One voter or observer of the metadata quorum."""

    node_id: int
    log_end_offset: int
    lag: int | None
    is_voter: bool
    last_fetch_at_ms: int | None = None
    last_caught_up_at_ms: int | None = None


@dataclass(frozen=True, slots=True)
class QuorumState:
    """The metadata quorum, from DescribeQuorum."""

    leader_id: int
    leader_epoch: int
    high_watermark: int
    nodes: tuple[QuorumVoter, ...] = ()
    observed_at_ms: int = 0


@dataclass(frozen=True, slots=True)
class ClusterEvent:
    """One fact for people: what, to what, why. ``source`` says where it comes from: ``broker N``, ``supervisor`` or
    ``observed`` (found by comparing two samples of an attached cluster; its time is the sample's)."""

    sequence: int
    at_ms: int
    kind: str
    subject: str
    reason: str
    source: str
    detail: dict[str, Any] = field(default_factory=dict)
    mono_ns: int | None = None


@dataclass(frozen=True, slots=True)
class WorkloadMember:
    """One producer, or one group with its members, of the running workload. Latencies are those of the last second:
    of a producer's records until they were acknowledged, of a group's from their timestamps until they were read;
    ``None`` if there were none."""

    name: str
    kind: str  # "producer" or "group"
    topic: str
    running: bool
    rate_per_s: float | None = None
    total: int = 0
    errors: int = 0
    members: int = 0
    latency_median_ms: float | None = None
    latency_highest_ms: float | None = None


@dataclass(frozen=True, slots=True)
class WorkloadState:
    """The workload of the embedded cluster."""

    running: bool
    parts: tuple[WorkloadMember, ...] = ()


class Stage(StrEnum):
    """The stages of a failover, in order."""

    KILLED = "killed"
    # of kills of a controller
    CONTROLLER_ELECTED = "another controller"
    FENCED = "fenced"
    LEADERS_COMMITTED = "new leaders committed"
    SEEN_BY_SURVIVORS = "seen by each survivor"
    FIRST_PRODUCE = "first acknowledged produce"
    FIRST_FETCH = "first fetch"
    # of faults that last
    HEALED = "healed"
    IN_SYNC = "every replica in sync"


OF_EACH_KILL = tuple(stage for stage in Stage if stage not in (Stage.CONTROLLER_ELECTED, Stage.HEALED, Stage.IN_SYNC))
"""What a kill goes through; its broker may stay down."""


class StageTime(NamedTuple):
    """When a stage was reached, in milliseconds after the act; ``who`` tells survivors apart (-1: not one broker's)."""

    stage: Stage
    after_ms: float
    who: int = -1
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Ledger:
    """What became of the probe's records, found by reading everything back."""

    acks: str
    sent: int
    acknowledged: int
    lost: int | None
    duplicated: int | None
    reordered: int | None
    complete: bool
    lost_offsets: tuple[str, ...] = ()
    # The longest that a record waited for its acknowledgement, from the act on.
    slowest_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Act:
    """A deliberate fault or repair with its stopwatch and ledger. ``what`` has it in words where its kind and broker
    do not tell all; ``settings`` are what runs are compared by: ``acks``, ``min.insync.replicas``, ``durability``."""

    act_id: int
    kind: str  # kill, or one of engine.supervisor.fault_kinds
    broker_id: int
    at_ms: int
    partitions_led: int = 0
    was_controller: bool = False
    stages: tuple[StageTime, ...] = ()
    ledger: Ledger | None = None
    finished: bool = False
    error: str = ""
    what: str = ""
    settings: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ActiveFault:
    """A fault that lasts. ``what`` is it in words, ``progress`` how far it has come; ``heals_at_ms`` is ``None`` if it
    waits for somebody to heal it."""

    fault_id: int
    kind: str
    broker_id: int
    what: str
    at_ms: int
    heals_at_ms: int | None = None
    progress: str = ""
    act_id: int | None = None


@dataclass(frozen=True, slots=True)
class ClusterSnapshot:
    """One picture of the cluster. Parts that could not be refreshed keep their last figures and their age."""

    at_ms: int
    source: Source
    cluster_id: str = ""
    controller_id: int | None = None
    controller_epoch: int | None = None
    brokers: tuple[BrokerState, ...] = ()
    topics: tuple[TopicState, ...] = ()
    groups: tuple[GroupState, ...] = ()
    quorum: QuorumState | None = None
    workload: WorkloadState | None = None
    acts: tuple[Act, ...] = ()
    faults: tuple[ActiveFault, ...] = ()
    metadata_observed_at_ms: int = 0
    error: str = ""
    # When the supervisor was last there to tell of its processes; 0 where there is none.
    processes_observed_at_ms: int = 0
    # What keeps its metadata: kraft, zookeeper, or "" while that is not known.
    coordination: str = ""
    zookeeper: ZooKeeperState | None = None

    @property
    def brokers_up(self) -> int:
        """Brokers that answer the observer."""
        return sum(1 for broker in self.brokers if broker.reachable)

    @property
    def under_replicated(self) -> int:
        """Partitions with fewer in-sync replicas than assigned."""
        return sum(topic.under_replicated for topic in self.topics)

    @property
    def offline(self) -> int:
        """Partitions without leader."""
        return sum(topic.offline for topic in self.topics)

    def with_facts(self, **changes: Any) -> ClusterSnapshot:
        """A copy with some parts replaced."""
        return replace(self, **changes)

"""What the console asks of a cluster, whatever kind of cluster it is."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple, Protocol

from console.gateway.bulk_protocol import BulkRecords
from console.viewmodel.configs import ConfigValue
from console.viewmodel.connections import ConnectionsFound
from console.viewmodel.moves import MovePlan, MoveRow
from console.viewmodel.reassigning import PlacementWish
from console.viewmodel.records import RecordView
from console.viewmodel.resets import ResetPlan, ResetWish
from console.viewmodel.segments import BatchPage, BatchView, Segments
from console.viewmodel.transactions import TransactionsFound
from console.viewmodel.wire import WireBatch, WireRow
from engine.model.topic_partition import TopicPartition
from engine.supervisor.fault_kinds import FaultWish
from engine.supervisor.snapshot import ClusterEvent, ClusterSnapshot, Source
from engine.supervisor.zookeeper_snapshot import ZnodesSeen

if TYPE_CHECKING:
    from console.gateway.administration import Administration
    from console.gateway.connect_protocol import ConnectQuestions
    from console.gateway.schemas import SchemaQuestions
    from console.gateway.streams_protocol import StreamsQuestions

NO_SIMULATION = "`kconsole sim` opens one"


class GatewayError(Exception):
    """The cluster (or its supervisor) refused, or cannot be reached; the message is a sentence for people."""


class Capabilities(NamedTuple):
    """What can be done here. A reason that is not empty says why something cannot."""

    source: Source
    read_only: bool = False
    bootstrap_servers: str = ""
    no_process_control: str = ""
    no_workload: str = ""
    no_broker_logs: str = ""
    no_writing: str = ""
    no_simulation: str = NO_SIMULATION
    # Why servers of ZooKeeper and sessions of brokers cannot be ended here.
    no_ensemble_control: str = ""
    # Screens that have nothing to show, with the reason.
    missing_views: Mapping[str, str] = {"simulation": NO_SIMULATION}
    read_only_because: str = "the console was opened with --read-only"
    # Where Kafka's tools find the same credentials; empty if none are needed.
    command_config: str = ""

    @property
    def attached(self) -> bool:
        """Whether somebody else's cluster is at stake."""
        return self.source is Source.ATTACHED


class Start(StrEnum):
    """Where reading begins."""

    END = "end"
    START = "start"
    OFFSET = "offset"
    TIMESTAMP = "timestamp"


class ReadFrom(NamedTuple):
    """A place in logs. ``value`` is an offset (negative: so many before the end) or wall-clock milliseconds."""

    start: Start = Start.END
    value: int = 0


class Tail(NamedTuple):
    """What to read: topics, or some partitions of one. ``starts`` are offsets where reading begins instead of
    ``read_from``; ``read_committed`` leaves out what aborted transactions wrote."""

    topics: tuple[str, ...]
    partitions: tuple[int, ...] | None = None
    read_from: ReadFrom = ReadFrom()
    starts: Mapping[TopicPartition, int] = {}
    read_committed: bool = False


class TailBatch(NamedTuple):
    """Records that came, in the order of each partition; ``problem`` says what does not come, and why. Of each topic
    and partition ``positions`` has the offset to be read next (``None``: not found yet), ``ends`` where the log ended
    when it was read last."""

    records: list[RecordView]
    problem: str = ""
    caught_up: bool = False
    positions: Mapping[TopicPartition, int | None] = {}
    ends: Mapping[TopicPartition, int] = {}


class EventBatch(NamedTuple):
    """Events that came since the last batch; the first batch has the past. ``anew``: what was told before has not
    happened (a simulation went back), these have."""

    events: list[ClusterEvent]
    anew: bool = False


class NewRecord(NamedTuple):
    """A record to produce. ``partition`` ``None`` lets the client's partitioner choose; ``acks`` is 0, 1 or all."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()
    partition: int | None = None
    acks: str = "all"


class ProducedRecord(NamedTuple):
    """Where it went; the offset is ``None`` with acks=0, which names none."""

    partition: int
    offset: int | None
    latency_ms: float


class NewTopic(NamedTuple):
    """A topic to create; ``None`` takes the broker's default."""

    name: str
    partitions: int | None = None
    replication_factor: int | None = None
    configs: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True)
class BrokerLog:
    """The end of a broker's log file, and where to go on from."""

    lines: Sequence[str] = field(default_factory=tuple)
    position: int = 0
    path: str = ""
    # The file is another than the one that ``position`` was of: a new incarnation began.
    restarted: bool = False


class Gateway(Protocol):
    """Every method raises GatewayError with a sentence, and nothing else; the two streams raise it and can be begun
    anew. Acts are refused when read-only, whoever calls."""

    @property
    def capabilities(self) -> Capabilities:
        """What can be done."""

    @property
    def bulk(self) -> BulkRecords:
        """Many records at once."""

    @property
    def administration(self) -> Administration:
        """Configs, access, quotas, disks, producers."""

    @property
    def streams(self) -> StreamsQuestions:
        """Workers of applications over streams."""

    @property
    def schemas(self) -> SchemaQuestions:
        """A schema registry."""

    @property
    def connect(self) -> ConnectQuestions:
        """Workers of Kafka Connect."""

    async def close(self) -> None:
        """Let go of all connections."""

    def snapshots(self) -> AsyncIterator[ClusterSnapshot]:
        """Pictures of the cluster, a new one whenever something changed, at most a few a second."""

    def watch(self, topics: frozenset[str]) -> None:
        """These topics are looked at: keep their replicas' log ends fresh."""

    def events(self) -> AsyncIterator[EventBatch]:
        """What happens."""

    def tail(self, tail: Tail) -> AsyncIterator[TailBatch]:
        """Records from some place on, without end."""

    async def broker_log(self, broker_id: int, *, previous: bool, position: int | None) -> BrokerLog:
        """Lines after ``position``; with ``None`` the last ones."""

    async def segments(self, topic: str, partition: int) -> Segments:
        """The partition's segments in the log directories of all brokers."""

    async def batches(self, path: str, position: int, limit: int) -> BatchPage:
        """Batches of a segment's file, from a position at which one begins."""

    async def find_batch(self, path: str, offset: int) -> int:
        """A position at or before the batch of an offset, by the segment's index."""

    async def batch(self, path: str, position: int) -> BatchView:
        """One batch, byte by byte."""

    async def transactions(self) -> TransactionsFound:
        """Transactional ids, as their coordinators tell them."""

    async def connections(self) -> ConnectionsFound:
        """Who is connected to each broker, as far as it can be told."""

    async def wire(self, broker_id: int | None, *, hold: bool = False) -> WireBatch:
        """Requests that were answered since it was called last, of a broker or of all; calling it keeps them coming.
        ``hold``: none come, and those that are there stay, to be decoded."""

    async def wire_message(self, row: WireRow) -> list[str]:
        """One of them with its answer, decoded, line by line; without contents of records and secrets."""

    async def znodes(self, opened: Sequence[str], wanted: Sequence[str]) -> ZnodesSeen:
        """Znodes of the cluster's ZooKeeper: ``opened`` with their children, all with their values."""

    async def zookeeper_servers(self, act: str, server_ids: Sequence[int]) -> None:
        """kill, start, pause or resume servers of an ensemble that is the cluster's own."""

    async def expire_session(self, broker_id: int) -> None:
        """Have ZooKeeper expire a broker's session while the broker runs."""

    async def topic_configs(self, topic: str) -> list[ConfigValue]:
        """All configs of a topic."""

    async def broker_configs(self, broker_id: int) -> list[ConfigValue]:
        """All configs of a broker."""

    async def produce(self, record: NewRecord) -> ProducedRecord:
        """Produce one record."""

    async def create_topic(self, topic: NewTopic) -> None:
        """Create a topic."""

    async def delete_topic(self, topic: str) -> None:
        """Delete a topic with all its records."""

    async def add_partitions(self, topic: str, total: int) -> None:
        """Give a topic more partitions."""

    async def elect_preferred(self, partitions: Sequence[tuple[str, int]] | None) -> int:
        """Preferred leader election; ``None`` means all partitions. Returns how many leaders changed."""

    async def elect_unclean(self, partitions: Sequence[tuple[str, int]]) -> int:
        """Let any living replica lead partitions that have no leader, whatever it lacks. Returns how many have one."""

    async def plan_placement(self, wish: PlacementWish) -> MovePlan:
        """What would put chosen partitions where they are wished; nothing is changed."""

    async def plan_moves(self, drained: Sequence[int]) -> MovePlan:
        """What would move every replica off these brokers; without any: what would even out all brokers."""

    async def begin_moves(self, plan: MovePlan, throttle_bytes: int | None) -> None:
        """Have the cluster do it, each broker sending and taking at most so many bytes a second for it."""

    async def moves(self) -> list[MoveRow]:
        """What moves now, whoever began it."""

    async def cancel_moves(self, partitions: Sequence[tuple[str, int]] | None) -> int:
        """Bring partitions (``None``: all that move) back to where they were. Returns how many."""

    async def plan_reset(self, wish: ResetWish) -> ResetPlan:
        """The offsets that a group would have; nothing is changed. Refused while it has members, as Kafka does."""

    async def reset_offsets(self, plan: ResetPlan) -> int:
        """Commit what a plan shows, unless the group has moved since. Returns how many partitions."""

    async def add_broker(self, rack: str | None) -> int:
        """Start one broker more, and keep it. Returns its id."""

    async def remove_broker(self, broker_id: int) -> None:
        """Stop and forget a broker that holds no replica."""

    async def kill_brokers(self, broker_ids: Sequence[int]) -> None:
        """SIGKILL, of one broker with stopwatch and ledger, of several at the same moment; returns once dead."""

    async def stop_brokers(self, broker_ids: Sequence[int]) -> None:
        """Controlled shutdown."""

    async def pause_brokers(self, broker_ids: Sequence[int]) -> None:
        """SIGSTOP."""

    async def resume_brokers(self, broker_ids: Sequence[int]) -> None:
        """SIGCONT."""

    async def start_brokers(self, broker_ids: Sequence[int]) -> None:
        """Start those that are down."""

    async def restart_brokers(self, broker_ids: Sequence[int]) -> None:
        """Controlled shutdown, then start: one broker after the other."""

    async def begin_fault(self, wish: FaultWish) -> int:
        """Break something on purpose, with stopwatch and ledger. Returns the fault's number."""

    async def heal_faults(self, fault_id: int | None) -> list[str]:
        """End one fault, or all that are on. Returns what they were."""

    async def start_workload(self) -> None:
        """Start all producers and groups of the cluster file."""

    async def stop_workload(self) -> None:
        """Stop them."""

    async def add_member(self, group: str) -> None:
        """One consumer more in a group of the workload."""

    async def remove_member(self, group: str) -> None:
        """One consumer less."""

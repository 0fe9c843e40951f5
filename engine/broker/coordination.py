"""What a node needs of whoever coordinates the cluster, and does not care who that is.

Two are there: the built-in quorum (KRaft, :class:`engine.broker.quorum_host.QuorumHost`) and ZooKeeper
(:class:`engine.broker.zookeeper_coordinator.ZooKeeperCoordinator`). Both keep one log of metadata records with offsets,
let one controller per epoch write to it, and hand what is committed to a listener, in order. The contract as tests,
run on both: tests/unit/broker/coordination_contract.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple, Protocol

from engine.model.errors import ErrorCode, KafkaError

if TYPE_CHECKING:
    from engine.core.raft.identity import LeaderAndEpoch, OffsetAndEpoch
    from engine.model.ids import Uuid
    from engine.wire.message import Message

Address = tuple[str, int]


class CoordinationRefused(Exception):
    """The coordination service is not there, or belongs to somebody else; the message says why, and what to do."""


class BoundListener(NamedTuple):
    """A listener as others reach it; ``security_protocol`` is Kafka's number (SecurityProtocol), 0 for PLAINTEXT."""

    name: str
    host: str
    port: int
    security_protocol: int = 0


class BrokerSession(NamedTuple):
    """What a broker tells of itself when its session begins: this incarnation of it is alive from then on."""

    broker_id: int
    incarnation_id: Uuid
    listeners: tuple[BoundListener, ...]
    rack: str | None = None


class MetadataLogWriter(Protocol):
    """What the active controller needs: the log of metadata records, to which only the leader of an epoch appends."""

    @property
    def log_end_offset(self) -> int:
        """Where the next record goes."""

    @property
    def election(self) -> str:
        """How this node came to lead the epoch that it leads, for people."""

    @property
    def bootstrap_records(self) -> list[Message]:
        """What a new cluster's log is to begin with, if somebody said so."""

    def propose(self, records: list[Message], *, epoch: int) -> int:
        """Append records as one batch, which is committed whole or not at all; the offset of the last one. Records that
        say something each for itself, as that a partition changed, may become several batches where one is too large.

        Raises:
            KafkaError: NOT_CONTROLLER if this node does not lead ``epoch``; RECORD_LIST_TOO_LARGE.
        """

    async def wait_committed(self, offset: int, epoch: int) -> None:
        """Return once the record at ``offset``, proposed in ``epoch``, is committed and was applied here.

        Raises:
            KafkaError: NOT_CONTROLLER when leadership was lost before: whether it will be committed is not known.
        """

    @property
    def kraft_version(self) -> int:
        """The finalized level of the feature kraft.version; 0 without a quorum."""

    def check_kraft_version(self, level: int) -> bool:
        """Whether going to ``level`` changes anything. Raises KafkaError if it cannot be."""

    def upgrade_kraft_version(self, level: int) -> int:
        """Write the new level; the offset of the last record of it."""

    def is_session_alive(self, broker_id: int, incarnation_id: Uuid) -> bool | None:
        """Whether this incarnation of a broker has a session; None where heartbeats to the controller are the session.
        What the active controller knows: changes are told by ``on_sessions_changed``."""

    async def refresh_sessions(self) -> None:
        """Look anew: sessions that began before this call are known afterwards."""


class Coordinator(MetadataLogWriter, Protocol):
    """One node's part in the coordination of the cluster."""

    async def start(self) -> None:
        """Load the newest metadata into the listener, then follow, and stand for election."""

    async def stop(self) -> None:
        """Leave: a leader resigns first, the broker's session ends."""

    @property
    def leader_and_epoch(self) -> LeaderAndEpoch:
        """The active controller as far as this node knows, and the epoch."""

    @property
    def is_leader(self) -> bool:
        """Whether this node is the leader of its epoch."""

    @property
    def applied_offset(self) -> int:
        """Records below were handed to the listener."""

    def controller_address(self) -> Address | None:
        """Where the active controller is reached, as far as this node knows."""

    def controller_nodes(self) -> list[tuple[int, str, int]]:
        """Controllers that may lead: node id, host, port, by id."""

    async def register_broker(self, session: BrokerSession) -> None:
        """Begin this broker's session; before it registers with the active controller. The session is begun anew by
        itself when it was lost.

        Raises: CoordinationRefused: another process lives under this broker id.
        """

    def suspect_controller(self) -> None:
        """The connection to the active controller was lost: it may be dead."""


class CoordinationListener(Protocol):
    """Who applies the metadata: called on the loop, in the order of the log."""

    def on_committed(self, base_offset: int, epoch: int, append_time_ms: int, records: list[Message]) -> None:
        """One committed batch; ``records`` is empty for a control batch."""

    def on_snapshot_loaded(self, snapshot_id: OffsetAndEpoch, records: list[Message]) -> None:
        """All that was applied before is replaced by a snapshot's records."""

    def on_leader_changed(
        self, leader_id: int | None, epoch: int, became_leader: bool, epoch_start_offset: int
    ) -> None:
        """A leader is known, or none is. On the leader itself this comes when everything before its epoch was applied,
        right before ``on_committed`` of the epoch's first batch, which begins at ``epoch_start_offset``."""

    def on_sessions_changed(self) -> None:
        """On the leader: sessions of brokers began or ended."""

    def snapshot_records(self) -> Iterable[Message]:
        """The records of a snapshot of what was applied so far."""


class WithoutQuorum:
    """What a coordinator that is no quorum says of kraft.version."""

    @property
    def kraft_version(self) -> int:
        """0: there is no quorum."""
        return 0

    def check_kraft_version(self, level: int) -> bool:
        """Raises KafkaError: INVALID_UPDATE_VERSION."""
        raise KafkaError(
            ErrorCode.INVALID_UPDATE_VERSION, "this cluster is coordinated by ZooKeeper: there is no kraft.version"
        )

    def upgrade_kraft_version(self, level: int) -> int:
        """Never reached: the check refuses."""
        raise KafkaError(ErrorCode.INVALID_UPDATE_VERSION, "there is no kraft.version")

"""One partition's machine on one broker, and what comes out of it: what the tests of the replica stand on.

After every input the harness checks R4 (the maximal ISR contains the ISR that is known to be committed) and R5 (the
high watermark goes back only by truncation, and never beyond the log's end).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from engine.core.replica.cluster_view import ClusterView
from engine.core.replica.outputs import AlterPartition, AppendCommitted, PartitionEffects, StartLeaderEpoch
from engine.core.replica.partition import Partition
from engine.model.errors import ErrorCode
from engine.model.notes import Note
from engine.model.topic_partition import TopicPartition

TOPIC_PARTITION = TopicPartition("t", 0)
TOPIC_ID = b"topic" + bytes(11)
LAG_MS = 30_000
LOCAL = 1


class Registration(NamedTuple):
    """A broker as the metadata has it."""

    broker_epoch: int
    fenced: bool = False
    in_controlled_shutdown: bool = False
    offline_directories: tuple[bytes, ...] = ()
    rack: str | None = None

    def has_online_directory(self, directory_id: bytes) -> bool:
        return directory_id not in self.offline_directories


class Metadata(NamedTuple):
    """A partition as the metadata has it."""

    replicas: tuple[int, ...] = (1, 2, 3)
    isr: tuple[int, ...] = (1, 2, 3)
    leader: int = LOCAL
    leader_epoch: int = 1
    partition_epoch: int = 1
    adding_replicas: tuple[int, ...] = ()
    directories: tuple[bytes, ...] = ()


def epoch_of(broker_id: int) -> int:
    """The broker epoch that every broker starts with here."""
    return 100 + broker_id


class ReplicaHarness:
    """Broker 1's replica; it leads unless the metadata says otherwise."""

    def __init__(
        self,
        metadata: Metadata | None = None,
        *,
        min_isr: int = 1,
        end: int = 0,
        high_watermark: int = 0,
        machine_class: type[Partition] = Partition,
    ) -> None:
        self.now = 1_000.0
        self.view = ClusterView(LOCAL, {}, epoch_of(LOCAL))
        self.register(*range(1, 6))
        self.machine = machine_class(
            TOPIC_PARTITION,
            TOPIC_ID,
            self.view,
            lag_max_ms=LAG_MS,
            min_insync_replicas=min_isr,
            log_end_offset=end,
            high_watermark=high_watermark,
        )
        self.started: list[StartLeaderEpoch] = []
        self.sent: list[AlterPartition] = []
        self.replies: dict[object, ErrorCode] = {}
        self.notes: list[Note] = []
        self._high_watermark = self.machine.high_watermark
        self.metadata = metadata or Metadata()
        self.apply(self.metadata)

    # -- outputs ------------------------------------------------------------------------------------------------

    def perform(self, effects: PartitionEffects) -> None:
        self.started += effects.append
        self.sent += effects.send
        for token, answer in effects.reply:
            assert isinstance(answer, AppendCommitted) and answer.topic_partition == TOPIC_PARTITION
            assert token not in self.replies, f"{token} was answered twice"
            self.replies[token] = answer.error
        self.notes += effects.notes
        self.check()

    def check(self) -> None:
        machine = self.machine
        assert machine.isr <= machine.maximal_isr, "R4"
        assert machine.high_watermark >= self._high_watermark, "R5: the high watermark went back"
        assert machine.high_watermark <= machine.log_end_offset
        self._high_watermark = machine.high_watermark

    @property
    def proposal(self) -> AlterPartition:
        """The last request for another ISR."""
        return self.sent[-1]

    @property
    def hw(self) -> int:
        return self.machine.high_watermark

    # -- inputs -------------------------------------------------------------------------------------------------

    def register(self, *broker_ids: int, **changes: bool | int) -> None:
        """Change registrations in the view."""
        brokers = dict(self.view.brokers)
        for broker_id in broker_ids:
            known = brokers.get(broker_id) or Registration(epoch_of(broker_id))
            brokers[broker_id] = known._replace(**changes)  # type: ignore[attr-defined]
        self.view.brokers = brokers

    def apply(self, metadata: Metadata) -> None:
        """The metadata says this of the partition."""
        self.metadata = metadata
        if metadata.leader == LOCAL:
            self.perform(self.machine.on_become_leader(metadata, self.now))
        else:
            self.perform(self.machine.on_become_follower(metadata))

    def change(self, *, leads_anew: bool = False, **fields: int | tuple[int, ...]) -> None:
        """Newer metadata: the next partition epoch, and the next leader epoch if the leader is another or elected."""
        before = self.metadata
        after = before._replace(partition_epoch=before.partition_epoch + 1)._replace(**fields)  # type: ignore[arg-type]
        if "leader_epoch" not in fields and (after.leader != before.leader or leads_anew):
            after = after._replace(leader_epoch=before.leader_epoch + 1)
        self.apply(after)

    def append(self, records: int = 1, *, token: object = None, durable: int | None = None) -> None:
        """The leader appends; with ``token`` somebody waits for acks=all."""
        machine = self.machine
        end = machine.log_end_offset + records
        if token is not None:
            machine.check_append(-1)
        self.perform(machine.on_append(end, end if durable is None else durable, self.now))
        if token is not None:
            answer = machine.wait_until_committed(end, token)
            if answer is not None:
                self.replies[token] = answer.error

    def fetch(self, broker_id: int, offset: int | None = None, *, epoch: int | None = None) -> None:
        """A follower fetches from ``offset``; without it from the end of the log."""
        end = self.machine.log_end_offset
        broker_epoch = epoch_of(broker_id) if epoch is None else epoch
        at = end if offset is None else offset
        self.perform(self.machine.on_follower_fetch(broker_id, broker_epoch, at, 0, end, self.now))

    def answer(
        self,
        error: ErrorCode = ErrorCode.NONE,
        *,
        proposal: AlterPartition | None = None,
        leader_epoch: int | None = None,
        partition_epoch: int | None = None,
        isr: Sequence[int] | None = None,
    ) -> None:
        """The controller answers the last proposal; a success takes it as it is."""
        asked = proposal or self.proposal
        new_isr = tuple(each for each, _ in asked.new_isr) if isr is None else tuple(isr)
        self.perform(
            self.machine.on_alter_partition_response(
                asked,
                error,
                asked.leader_epoch if leader_epoch is None else leader_epoch,
                asked.partition_epoch + 1 if partition_epoch is None else partition_epoch,
                new_isr,
                self.now,
            )
        )

    def isr_check(self) -> None:
        self.perform(self.machine.on_isr_check(self.now))

    def cluster_changed(self) -> None:
        self.perform(self.machine.on_cluster_changed(self.now))

    def truncated(self, end: int, reason: str = "diverged") -> None:
        """A follower's log was cut."""
        self._high_watermark = min(self._high_watermark, end)
        self.perform(self.machine.on_truncated(end, reason))

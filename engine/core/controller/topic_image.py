"""What the metadata says of topics and partitions (TopicImage, PartitionRegistration)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from engine.core.controller import directory_ids
from engine.model.ids import Uuid
from engine.wire.messages.partition_record import PartitionRecord
from engine.wire.messages.topic_record import TopicRecord

if TYPE_CHECKING:
    from engine.wire.messages.partition_change_record import PartitionChangeRecord

NO_LEADER = -1
NO_LEADER_CHANGE = -2
RECOVERED = 0
RECOVERING = 1
NO_RECOVERY_CHANGE = -1


class PartitionImage(NamedTuple):
    """One partition. ``replicas[0]`` is the preferred leader; ``directories`` are in the order of ``replicas``."""

    replicas: tuple[int, ...]
    isr: tuple[int, ...]
    leader: int
    leader_epoch: int
    partition_epoch: int
    adding_replicas: tuple[int, ...] = ()
    removing_replicas: tuple[int, ...] = ()
    directories: tuple[Uuid, ...] = ()
    elr: tuple[int, ...] = ()
    last_known_elr: tuple[int, ...] = ()
    leader_recovery_state: int = RECOVERED

    @property
    def has_leader(self) -> bool:
        """Whether some broker leads it."""
        return self.leader != NO_LEADER

    @property
    def preferred_leader(self) -> int:
        """The first replica, -1 if there is none."""
        return self.replicas[0] if self.replicas else NO_LEADER

    @property
    def has_preferred_leader(self) -> bool:
        """Whether the first replica leads."""
        return self.leader == self.preferred_leader

    @property
    def is_reassigning(self) -> bool:
        """Whether replicas are being added or removed."""
        return bool(self.adding_replicas or self.removing_replicas)

    def directory(self, broker_id: int) -> Uuid:
        """The log directory of the replica on ``broker_id``. Raises: ValueError: it has none."""
        at = self.replicas.index(broker_id)
        return self.directories[at] if self.directories else directory_ids.MIGRATING

    def merge(self, record: PartitionChangeRecord) -> PartitionImage:
        """The partition after a change: any change adds one to the partition epoch, a named leader (the same one
        included) one to the leader epoch."""
        replicas = self.replicas if record.replicas is None else tuple(record.replicas)
        directories = self.directories if record.directories is None else tuple(record.directories)
        if len(directories) != len(replicas):
            directories = (directory_ids.MIGRATING,) * len(replicas)
        leads_anew = record.leader != NO_LEADER_CHANGE
        return PartitionImage(
            replicas=replicas,
            isr=self.isr if record.isr is None else tuple(record.isr),
            leader=record.leader if leads_anew else self.leader,
            leader_epoch=self.leader_epoch + 1 if leads_anew else self.leader_epoch,
            partition_epoch=self.partition_epoch + 1,
            adding_replicas=self.adding_replicas if record.adding_replicas is None else tuple(record.adding_replicas),
            removing_replicas=(
                self.removing_replicas if record.removing_replicas is None else tuple(record.removing_replicas)
            ),
            directories=directories,
            elr=self.elr if record.eligible_leader_replicas is None else tuple(record.eligible_leader_replicas),
            last_known_elr=self.last_known_elr if record.last_known_elr is None else tuple(record.last_known_elr),
            leader_recovery_state=(
                self.leader_recovery_state
                if record.leader_recovery_state == NO_RECOVERY_CHANGE
                else record.leader_recovery_state
            ),
        )

    @classmethod
    def from_record(cls, record: PartitionRecord) -> PartitionImage:
        """The partition that a PartitionRecord describes."""
        replicas = tuple(record.replicas)
        directories = tuple(record.directories)
        if len(directories) != len(replicas):
            directories = (directory_ids.MIGRATING,) * len(replicas)
        return cls(
            replicas=replicas,
            isr=tuple(record.isr),
            leader=record.leader,
            leader_epoch=record.leader_epoch,
            partition_epoch=record.partition_epoch,
            adding_replicas=tuple(record.adding_replicas),
            removing_replicas=tuple(record.removing_replicas),
            directories=directories,
            elr=tuple(record.eligible_leader_replicas or ()),
            last_known_elr=tuple(record.last_known_elr or ()),
            leader_recovery_state=record.leader_recovery_state,
        )

    def to_record(self, topic_id: Uuid, partition: int) -> PartitionRecord:
        """The record that makes this partition."""
        return PartitionRecord(
            partition_id=partition,
            topic_id=topic_id,
            replicas=list(self.replicas),
            isr=list(self.isr),
            removing_replicas=list(self.removing_replicas),
            adding_replicas=list(self.adding_replicas),
            leader=self.leader,
            leader_recovery_state=self.leader_recovery_state,
            leader_epoch=self.leader_epoch,
            partition_epoch=self.partition_epoch,
            directories=list(self.directories),
            eligible_leader_replicas=list(self.elr) if self.elr else None,
            last_known_elr=list(self.last_known_elr) if self.last_known_elr else None,
        )


class TopicImage:
    """One topic and its partitions by number. Shared between images: never change one that you did not make."""

    __slots__ = ("name", "partitions", "topic_id")

    def __init__(self, name: str, topic_id: Uuid, partitions: dict[int, PartitionImage] | None = None) -> None:
        self.name = name
        self.topic_id = topic_id
        self.partitions: dict[int, PartitionImage] = {} if partitions is None else partitions

    def copy(self) -> TopicImage:
        """The same topic with a dict of partitions of its own."""
        return TopicImage(self.name, self.topic_id, dict(self.partitions))

    def to_record(self) -> TopicRecord:
        """The record that makes this topic (without its partitions)."""
        return TopicRecord(name=self.name, topic_id=self.topic_id)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TopicImage) and (self.name, self.topic_id, self.partitions) == (
            other.name,
            other.topic_id,
            other.partitions,
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"TopicImage({self.name!r}, {self.topic_id.hex()}, {self.partitions!r})"

"""Works out one change of a partition: ISR, leader, assignment (PartitionChangeBuilder, PartitionReassignmentReplicas).

Rules: a leader is taken from the ISR (or, ISR empty and eligible leader replicas enabled, from the ELR), in the order
of the replica list; the sitting leader stays if it may; an unclean leader's ISR is itself alone and it must recover
first; without ELR the ISR never becomes empty: its last member stays even if it is gone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from typing import NamedTuple

from engine.core.controller.topic_image import NO_LEADER, NO_LEADER_CHANGE, RECOVERING, PartitionImage
from engine.model.ids import Uuid
from engine.wire.messages.partition_change_record import PartitionChangeRecord


class Election(Enum):
    """How hard to try."""

    PREFERRED = "preferred"  # the first replica if it may lead, otherwise as ONLINE
    ONLINE = "online"  # from the ISR
    UNCLEAN = "unclean"  # from the ISR, otherwise any replica that is alive: records may be lost


class Reassignment(NamedTuple):
    """A partition's assignment while replicas move: ``replicas`` holds the target first, then those to be removed."""

    replicas: tuple[int, ...]
    adding: tuple[int, ...]
    removing: tuple[int, ...]

    @classmethod
    def between(cls, current: Sequence[int], target: Sequence[int]) -> Reassignment:
        """The first step from one assignment to another."""
        removing = tuple(sorted(set(current) - set(target)))
        adding = tuple(sorted(set(target) - set(current)))
        return cls((*target, *removing), adding, removing)

    def completed(self, isr: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
        """Final replicas and ISR if ``isr`` allows to end the reassignment, otherwise None.

        All replicas that are added must be in sync. Where fewer are added than removed, all that stay must be: the ISR
        would be smaller afterwards than it need be.
        """
        if not self.adding and not self.removing:
            return None
        replicas = tuple(each for each in self.replicas if each not in self.removing)
        remaining_isr = tuple(each for each in isr if each not in self.removing)
        if not replicas or not remaining_isr:
            return None
        awaited = replicas if len(self.adding) < len(self.removing) else self.adding
        return (replicas, remaining_isr) if set(awaited) <= set(remaining_isr) else None


class Elected(NamedTuple):
    """Outcome of an election; ``leader`` is -1 if nobody may lead."""

    leader: int
    unclean: bool = False


class PartitionChange:
    """The wanted state of one partition; :meth:`build` makes the record that leads there.

    Set the ``target_*`` attributes before building; what is not set stays as it is.
    """

    def __init__(
        self,
        partition: PartitionImage,
        topic_id: Uuid,
        number: int,
        *,
        is_acceptable_leader: Callable[[int], bool],
        default_directory: Callable[[int], Uuid],
        min_isr: int,
        elr_enabled: bool,
        election: Election = Election.ONLINE,
    ) -> None:
        """``min_isr`` is the effective one: min.insync.replicas, at most the replication factor."""
        self.partition = partition
        self.topic_id = topic_id
        self.number = number
        self.is_acceptable_leader = is_acceptable_leader
        self.default_directory = default_directory
        self.min_isr = min_isr
        self.elr_enabled = elr_enabled
        self.election = election
        self.target_isr = partition.isr
        self.target_replicas = partition.replicas
        self.target_adding = partition.adding_replicas
        self.target_removing = partition.removing_replicas
        self.target_recovery_state = partition.leader_recovery_state
        self.target_directories: dict[int, Uuid] = dict(zip(partition.replicas, partition.directories, strict=False))
        self.unclean_shutdown_replicas: tuple[int, ...] = ()
        # Whether what followers have said so far must not count any more: it is another leader epoch.
        self.bumps_leader_epoch = False
        self._target_elr = partition.elr

    def build(self) -> PartitionChangeRecord | None:
        """The change, or None if there is nothing to change."""
        before = self.partition
        record = PartitionChangeRecord(topic_id=self.topic_id, partition_id=self.number)
        completed = Reassignment(self.target_replicas, self.target_adding, self.target_removing).completed(
            self.target_isr
        )
        if completed is not None:
            self.target_replicas, self.target_isr = completed
            self.target_adding = self.target_removing = ()
        self._set_target_elr()
        self._elect(record)
        if record.leader == NO_LEADER_CHANGE and (
            self.bumps_leader_epoch or not set(before.replicas) <= set(self.target_replicas)
        ):
            # A replica that is taken away must not go on fetching as a member: bump the leader epoch.
            record.leader = before.leader
        self._record_elr(record)
        if record.isr is None and self.target_isr != before.isr and (self.target_isr or self.elr_enabled):
            record.isr = list(self.target_isr)
        self._record_last_known_leader(record)
        self._record_assignment(record)
        if self.target_recovery_state != before.leader_recovery_state:
            record.leader_recovery_state = self.target_recovery_state
        return None if is_no_op(record) else record

    # -- elections ----------------------------------------------------------------------------------------------

    def elect(self) -> Elected:
        """Who leads under the targets."""
        if self.election is Election.PREFERRED and self.target_replicas and self._may_lead(self.target_replicas[0]):
            return Elected(self.target_replicas[0])
        if self._may_lead(self.partition.leader):
            return Elected(self.partition.leader)
        for replica in self.target_replicas:
            if self._may_lead(replica):
                return Elected(replica)
        last_known = self._last_known_leader()
        if last_known is not None:
            return Elected(last_known, unclean=True)
        if self.election is Election.UNCLEAN:
            for replica in self.target_replicas:
                if self.is_acceptable_leader(replica):
                    return Elected(replica, unclean=True)
        return Elected(NO_LEADER)

    def _may_lead(self, replica: int) -> bool:
        eligible = self.target_isr or self._target_elr
        return replica in eligible and self.is_acceptable_leader(replica)

    def _last_known_leader(self) -> int | None:
        """KIP-966's balanced recovery: all ELR members lost their logs' tails, the last leader is the best left."""
        last_known = self.partition.last_known_elr
        if not self.elr_enabled or self.target_isr or self._target_elr or len(last_known) != 1:
            return None
        # A reassignment may have taken it away since.
        is_replica = last_known[0] in self.target_replicas
        return last_known[0] if is_replica and self.is_acceptable_leader(last_known[0]) else None

    def _elect(self, record: PartitionChangeRecord) -> None:
        leader, unclean = self.elect()
        if leader == self.partition.leader:
            return
        record.leader = leader
        if leader in self._target_elr:
            self.target_isr = (leader,)
            self._target_elr = tuple(each for each in self._target_elr if each != leader)
        if unclean:
            record.isr = [leader]
            self.target_recovery_state = RECOVERING

    # -- eligible leader replicas (KIP-966) ---------------------------------------------------------------------

    def _set_target_elr(self) -> None:
        if not self.elr_enabled:
            return
        if len(self.target_isr) >= self.min_isr:
            self._target_elr = ()
            return
        candidates = {*self.partition.elr, *self.partition.isr} - {*self.target_isr, *self.unclean_shutdown_replicas}
        # Kafka keeps one that was taken away, which deletes its log: added again, it would be elected with nothing.
        self._target_elr = tuple(sorted(candidates & {*self.target_replicas}))

    def _record_elr(self, record: PartitionChangeRecord) -> None:
        if record.isr is not None or not self.elr_enabled:
            self._target_elr = ()
        if self._target_elr != self.partition.elr:
            record.eligible_leader_replicas = list(self._target_elr)

    def _record_last_known_leader(self, record: PartitionChangeRecord) -> None:
        before = self.partition
        if not self.elr_enabled:
            return
        if record.leader == NO_LEADER and before.has_leader and not before.last_known_elr:
            record.last_known_elr = [before.leader]
        elif record.leader >= 0 and before.last_known_elr:
            record.last_known_elr = []

    # -- assignment ---------------------------------------------------------------------------------------------

    def _record_assignment(self, record: PartitionChangeRecord) -> None:
        before = self.partition
        if self.target_replicas:
            directories = tuple(
                self.target_directories[replica]
                if replica in self.target_directories
                else self.default_directory(replica)
                for replica in self.target_replicas
            )
            if directories != before.directories:
                record.directories = list(directories)
            if self.target_replicas != before.replicas:
                record.replicas = list(self.target_replicas)
        if self.target_removing != before.removing_replicas:
            record.removing_replicas = list(self.target_removing)
        if self.target_adding != before.adding_replicas:
            record.adding_replicas = list(self.target_adding)


def is_no_op(record: PartitionChangeRecord) -> bool:
    """Whether the record changes nothing, so that it must not be written (it would bump the partition epoch)."""
    return (
        record.isr is None
        and record.leader == NO_LEADER_CHANGE
        and record.replicas is None
        and record.adding_replicas is None
        and record.removing_replicas is None
        and record.leader_recovery_state == -1
        and record.directories is None
        and record.eligible_leader_replicas is None
        and record.last_known_elr is None
    )

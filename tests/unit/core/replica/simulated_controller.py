"""The controller as one partition sees it: what it writes, in versions that brokers apply when they hear of them."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import NamedTuple

from replica_harness import Metadata, Registration

from engine.core.replica.outputs import AlterPartition
from engine.model.errors import ErrorCode

NO_LEADER = -1


class Version(NamedTuple):
    """The metadata after some record."""

    partition: Metadata
    brokers: dict[int, Registration]


class SimulatedController:
    """Elects from the ISR only; its last member stays, and leads no more when it is gone."""

    def __init__(self, replicas: tuple[int, ...], rng: random.Random, on_written: Callable[[str], None]) -> None:
        self._random = rng
        self._on_written = on_written
        self._next_epoch = 100
        self.versions = [Version(Metadata(replicas, replicas, NO_LEADER, 0, 0), {})]

    @property
    def partition(self) -> Metadata:
        """As it was written last."""
        return self.versions[-1].partition

    @property
    def brokers(self) -> dict[int, Registration]:
        """As they were written last."""
        return self.versions[-1].brokers

    def _write(self, what: str, partition: Metadata | None, brokers: dict[int, Registration] | None = None) -> None:
        self.versions.append(Version(partition or self.partition, {**self.brokers, **(brokers or {})}))
        if partition is not None:
            what += f": leader {partition.leader}/{partition.leader_epoch} ISR {partition.isr}"
        self._on_written(what)

    def is_active(self, broker_id: int) -> bool:
        known = self.brokers.get(broker_id)
        return known is not None and not known.fenced and not known.in_controlled_shutdown

    def _without(self, broker_id: int) -> Metadata | None:
        before = self.partition
        if broker_id not in before.isr:
            return None
        isr = tuple(each for each in before.isr if each != broker_id) or before.isr
        leader, leader_epoch = before.leader, before.leader_epoch
        if leader == broker_id:
            others = [each for each in before.replicas if each in isr and each != broker_id and self.is_active(each)]
            leader, leader_epoch = (others[0] if others else NO_LEADER), leader_epoch + 1
        if (isr, leader) == (before.isr, before.leader):
            return None
        return before._replace(
            isr=isr, leader=leader, leader_epoch=leader_epoch, partition_epoch=before.partition_epoch + 1
        )

    def _led_by(self, broker_id: int) -> Metadata:
        before = self.partition
        return before._replace(
            leader=broker_id, leader_epoch=before.leader_epoch + 1, partition_epoch=before.partition_epoch + 1
        )

    # -- what happens to brokers --------------------------------------------------------------------------------

    def register(self, broker_id: int) -> int:
        """Another incarnation: what the one before had is not counted on. Returns its broker epoch."""
        self._next_epoch += 1
        registration = Registration(self._next_epoch, fenced=True)
        self._write(f"b{broker_id} registered", self._without(broker_id), {broker_id: registration})
        return self._next_epoch

    def unfence(self, broker_id: int) -> None:
        """It has read its registration; a partition without leader may be waiting for it."""
        before = self.partition
        partition = self._led_by(broker_id) if before.leader == NO_LEADER and broker_id in before.isr else None
        registration = self.brokers[broker_id]._replace(fenced=False)
        self._write(f"b{broker_id} unfenced", partition, {broker_id: registration})

    def fence(self, broker_id: int) -> None:
        """It was not heard of, or its connection dropped."""
        known = self.brokers.get(broker_id)
        if known is not None and not known.fenced:
            self._write(f"b{broker_id} fenced", self._without(broker_id), {broker_id: known._replace(fenced=True)})

    # -- what happens to the partition --------------------------------------------------------------------------

    def elect(self, *, same: bool = False, wanted_leader: int | None = None) -> None:
        """Elect another member of the ISR although the leader lives, or the same one again."""
        before = self.partition
        wanted = [each for each in before.isr if self.is_active(each) and (each == before.leader) is same]
        if wanted_leader is not None:
            wanted = [each for each in wanted if each == wanted_leader]
        if before.leader != NO_LEADER and wanted:
            self._write("elected", self._led_by(self._random.choice(wanted)))

    def alter_partition(self, broker_id: int, broker_epoch: int, asked: AlterPartition) -> ErrorCode:
        """Take the ISR that a leader asks for, or refuse it."""
        error = self._judge(broker_id, broker_epoch, asked)
        if error is ErrorCode.NONE:
            before = self.partition
            isr = tuple(each for each, _ in asked.new_isr)
            partition = before._replace(isr=isr, partition_epoch=before.partition_epoch + 1)
            self._write(f"b{broker_id} altered", partition)
        return error

    def _judge(self, broker_id: int, broker_epoch: int, asked: AlterPartition) -> ErrorCode:
        before = self.partition
        known = self.brokers.get(broker_id)
        if known is None or known.broker_epoch != broker_epoch:
            return ErrorCode.STALE_BROKER_EPOCH
        if asked.leader_epoch != before.leader_epoch:
            return ErrorCode.FENCED_LEADER_EPOCH
        if before.leader != broker_id:
            return ErrorCode.INVALID_REQUEST
        if asked.partition_epoch != before.partition_epoch:
            return ErrorCode.INVALID_UPDATE_VERSION
        for member, epoch in asked.new_isr:
            if not self.is_active(member) or epoch not in (-1, self.brokers[member].broker_epoch):
                return ErrorCode.INELIGIBLE_REPLICA
        return ErrorCode.NONE

"""What a partition's machine knows of the brokers around it; kept up by its shell, shared by all partitions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from engine.model.ids import Uuid

# A follower of an old version sends no broker epoch, and a leader may not have heard one yet.
NO_BROKER_EPOCH = -1


class BrokerRegistration(Protocol):
    """A registered broker, as the metadata has it."""

    @property
    def broker_epoch(self) -> int: ...

    @property
    def fenced(self) -> bool: ...

    @property
    def in_controlled_shutdown(self) -> bool: ...

    @property
    def rack(self) -> str | None: ...

    def has_online_directory(self, directory_id: Uuid) -> bool: ...


class PartitionState(Protocol):
    """A partition, as the metadata has it (PartitionRegistration)."""

    @property
    def replicas(self) -> tuple[int, ...]: ...

    @property
    def isr(self) -> tuple[int, ...]: ...

    @property
    def leader(self) -> int: ...

    @property
    def leader_epoch(self) -> int: ...

    @property
    def partition_epoch(self) -> int: ...

    @property
    def adding_replicas(self) -> tuple[int, ...]: ...

    @property
    def directories(self) -> tuple[Uuid, ...]: ...


class ClusterView:
    """Brokers by id, and this broker's own id and epoch. The shell replaces ``brokers`` with each metadata delta."""

    __slots__ = ("brokers", "local_broker_epoch", "local_broker_id")

    def __init__(
        self,
        local_broker_id: int,
        brokers: Mapping[int, BrokerRegistration] | None = None,
        local_broker_epoch: int = NO_BROKER_EPOCH,
    ) -> None:
        self.local_broker_id = local_broker_id
        self.brokers: Mapping[int, BrokerRegistration] = {} if brokers is None else brokers
        self.local_broker_epoch = local_broker_epoch

    def is_stale(self, broker_id: int, broker_epoch: int) -> bool:
        """Whether a newer incarnation of the broker is registered (KIP-903): what the old one says does not count."""
        registered = self.brokers.get(broker_id)
        return broker_epoch != NO_BROKER_EPOCH and registered is not None and registered.broker_epoch > broker_epoch

    def may_join_isr(self, broker_id: int, broker_epoch: int | None, directory_id: Uuid | None = None) -> bool:
        """Whether the controller would take the broker into an ISR (KIP-841, KIP-903): alive, not on its way out, and
        the incarnation that was heard from (``broker_epoch``; None: none was) is the one registered. A replica in a
        directory that failed (``directory_id``) stays out as well."""
        registered = self.brokers.get(broker_id)
        return (
            registered is not None
            and broker_epoch is not None
            and not registered.fenced
            and not registered.in_controlled_shutdown
            and broker_epoch in (NO_BROKER_EPOCH, registered.broker_epoch)
            and (directory_id is None or registered.has_online_directory(directory_id))
        )

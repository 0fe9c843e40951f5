"""What the metadata says of brokers and controllers (BrokerRegistration, ControllerRegistration)."""

from __future__ import annotations

from typing import NamedTuple

from engine.core.controller import directory_ids
from engine.model.ids import Uuid
from engine.wire.messages import register_broker_record, register_controller_record
from engine.wire.messages.register_broker_record import RegisterBrokerRecord
from engine.wire.messages.register_controller_record import RegisterControllerRecord


class Endpoint(NamedTuple):
    """Where a listener is reached. ``security_protocol`` is Kafka's number: 0 PLAINTEXT, 1 SSL, 2/3 SASL_*."""

    host: str
    port: int
    security_protocol: int = 0


class VersionRange(NamedTuple):
    """Levels of a feature that a node supports, both ends included."""

    min_version: int
    max_version: int


class BrokerImage(NamedTuple):
    """One registered broker. ``broker_epoch`` is the offset of the record that registered this incarnation."""

    broker_id: int
    broker_epoch: int
    incarnation_id: Uuid
    listeners: dict[str, Endpoint]
    rack: str | None = None
    fenced: bool = True
    in_controlled_shutdown: bool = False
    features: dict[str, VersionRange] = {}  # noqa: RUF012  never mutated
    log_dirs: tuple[Uuid, ...] = ()
    cordoned_log_dirs: tuple[Uuid, ...] | None = None

    @property
    def is_active(self) -> bool:
        """Neither fenced nor on its way out: may lead, may be in an ISR."""
        return not self.fenced and not self.in_controlled_shutdown

    def has_online_directory(self, directory_id: Uuid) -> bool:
        """Whether a replica in this directory can work."""
        return directory_ids.is_online(directory_id, self.log_dirs)

    @property
    def default_directory(self) -> Uuid:
        """Where a new replica on this broker goes."""
        return directory_ids.default_directory(self.log_dirs, self.cordoned_log_dirs)

    @property
    def is_fully_cordoned(self) -> bool:
        """Whether every log directory refuses new replicas (KIP-1066)."""
        return bool(self.log_dirs) and set(self.log_dirs) <= set(self.cordoned_log_dirs or ())

    @classmethod
    def from_record(cls, record: RegisterBrokerRecord) -> BrokerImage:
        """The broker that a RegisterBrokerRecord describes."""
        return cls(
            broker_id=record.broker_id,
            broker_epoch=record.broker_epoch,
            incarnation_id=record.incarnation_id,
            listeners={each.name: Endpoint(each.host, each.port, each.security_protocol) for each in record.end_points},
            rack=record.rack,
            fenced=record.fenced,
            in_controlled_shutdown=record.in_controlled_shutdown,
            features={
                each.name: VersionRange(each.min_supported_version, each.max_supported_version)
                for each in record.features
            },
            log_dirs=tuple(record.log_dirs),
            cordoned_log_dirs=None if record.cordoned_log_dirs is None else tuple(record.cordoned_log_dirs),
        )

    def to_record(self) -> RegisterBrokerRecord:
        """The record that makes this registration."""
        return RegisterBrokerRecord(
            broker_id=self.broker_id,
            is_migrating_zk_broker=False,
            incarnation_id=self.incarnation_id,
            broker_epoch=self.broker_epoch,
            end_points=[
                register_broker_record.BrokerEndpoint(
                    name=name, host=each.host, port=each.port, security_protocol=each.security_protocol
                )
                for name, each in self.listeners.items()
            ],
            features=[
                register_broker_record.BrokerFeature(
                    name=name, min_supported_version=each.min_version, max_supported_version=each.max_version
                )
                for name, each in self.features.items()
            ],
            rack=self.rack,
            fenced=self.fenced,
            in_controlled_shutdown=self.in_controlled_shutdown,
            log_dirs=list(self.log_dirs),
            cordoned_log_dirs=None if self.cordoned_log_dirs is None else list(self.cordoned_log_dirs),
        )


class ControllerImage(NamedTuple):
    """One registered controller (KIP-919)."""

    controller_id: int
    incarnation_id: Uuid
    zk_migration_ready: bool
    listeners: dict[str, Endpoint]
    features: dict[str, VersionRange] = {}  # noqa: RUF012  never mutated

    @classmethod
    def from_record(cls, record: RegisterControllerRecord) -> ControllerImage:
        """The controller that a RegisterControllerRecord describes."""
        return cls(
            controller_id=record.controller_id,
            incarnation_id=record.incarnation_id,
            zk_migration_ready=record.zk_migration_ready,
            listeners={each.name: Endpoint(each.host, each.port, each.security_protocol) for each in record.end_points},
            features={
                each.name: VersionRange(each.min_supported_version, each.max_supported_version)
                for each in record.features
            },
        )

    def to_record(self) -> RegisterControllerRecord:
        """The record that makes this registration."""
        return RegisterControllerRecord(
            controller_id=self.controller_id,
            incarnation_id=self.incarnation_id,
            zk_migration_ready=self.zk_migration_ready,
            end_points=[
                register_controller_record.ControllerEndpoint(
                    name=name, host=each.host, port=each.port, security_protocol=each.security_protocol
                )
                for name, each in self.listeners.items()
            ],
            features=[
                register_controller_record.ControllerFeature(
                    name=name, min_supported_version=each.min_version, max_supported_version=each.max_version
                )
                for name, each in self.features.items()
            ],
        )

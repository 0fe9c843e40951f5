"""The cluster's metadata as one value, built from records (MetadataImage), and what a batch changed (MetadataDelta).

Law: an image that replays another's :meth:`MetadataImage.to_records` equals it. Copying costs nothing: copies share
their dicts, and each copies a dict before it first writes to it. Dicts keep the order of the log, so that every
node iterates in the same order; nothing here iterates a set.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, ClassVar

from engine.core.controller.broker_image import BrokerImage, ControllerImage, Endpoint, VersionRange
from engine.core.controller.topic_image import NO_LEADER, PartitionImage, TopicImage
from engine.model.ids import Uuid
from engine.wire.messages.client_quota_record import ClientQuotaRecord, EntityData
from engine.wire.messages.config_record import ConfigRecord
from engine.wire.messages.feature_level_record import FeatureLevelRecord
from engine.wire.messages.producer_ids_record import ProducerIdsRecord

__all__ = [
    "BROKER_RESOURCE",
    "GROUP_RESOURCE",
    "METADATA_VERSION",
    "NO_LEADER",
    "TOPIC_RESOURCE",
    "BrokerImage",
    "ControllerImage",
    "Endpoint",
    "MetadataDelta",
    "MetadataImage",
    "PartitionImage",
    "ReplayError",
    "TopicImage",
    "VersionRange",
]

# ConfigResource.Type
TOPIC_RESOURCE = 2
BROKER_RESOURCE = 4
BROKER_LOGGER_RESOURCE = 8
CLIENT_METRICS_RESOURCE = 16
GROUP_RESOURCE = 32

METADATA_VERSION = "metadata.version"

ConfigKey = tuple[int, str]
QuotaEntity = tuple[tuple[str, str | None], ...]


class ReplayError(Exception):
    """A record that does not fit the state it meets: the log is not what a controller wrote."""


class MetadataImage:
    """All metadata at one offset.

    ``offset`` and ``epoch`` are those of the last record replayed, -1 before any. ``configs`` is keyed by resource type
    (Kafka's number: 2 topic, 4 broker, 32 group) and name (``""``: the cluster's default), ``client_quotas`` by the
    sorted (entity type, entity name) pairs, ``scram_credentials`` by user and mechanism, ``acls`` by id.
    """

    _FIELDS: ClassVar[tuple[str, ...]] = (
        "brokers",
        "controllers",
        "topics_by_id",
        "topics_by_name",
        "configs",
        "features",
        "client_quotas",
        "scram_credentials",
        "acls",
        "delegation_tokens",
    )
    __slots__ = (*_FIELDS, "_before_transaction", "_owned", "_owned_parts", "epoch", "next_producer_id", "offset")

    def __init__(self) -> None:
        self.offset = -1
        self.epoch = -1
        self.brokers: dict[int, BrokerImage] = {}
        self.controllers: dict[int, ControllerImage] = {}
        self.topics_by_id: dict[Uuid, TopicImage] = {}
        self.topics_by_name: dict[str, TopicImage] = {}
        self.configs: dict[ConfigKey, dict[str, str]] = {}
        self.features: dict[str, int] = {}
        self.next_producer_id = 0
        self.client_quotas: dict[QuotaEntity, dict[str, float]] = {}
        self.scram_credentials: dict[tuple[str, int], Any] = {}
        self.acls: dict[Uuid, Any] = {}
        self.delegation_tokens: dict[str, Any] = {}
        self._before_transaction: MetadataImage | None = None
        # Dicts (by field) and their parts (topics by id, configs and quotas by key) that no other image shares.
        self._owned: set[str] = set(self._FIELDS)
        self._owned_parts: set[Any] = set()

    def copy(self) -> MetadataImage:
        """An independent image, in constant time."""
        other = MetadataImage.__new__(MetadataImage)
        for name in self._FIELDS:
            setattr(other, name, getattr(self, name))
        other.offset, other.epoch, other.next_producer_id = self.offset, self.epoch, self.next_producer_id
        other._before_transaction = self._before_transaction
        self._owned, other._owned = set(), set()
        self._owned_parts, other._owned_parts = set(), set()
        return other

    # -- answers ------------------------------------------------------------------------------------------------

    def partition(self, topic: str, partition: int) -> PartitionImage | None:
        """A partition by the topic's name, if it exists."""
        found = self.topics_by_name.get(topic)
        return None if found is None else found.partitions.get(partition)

    def partition_by_id(self, topic_id: Uuid, partition: int) -> PartitionImage | None:
        """A partition by the topic's id, if it exists."""
        found = self.topics_by_id.get(topic_id)
        return None if found is None else found.partitions.get(partition)

    def config(self, resource_type: int, name: str) -> dict[str, str]:
        """A resource's own configs (do not change the dict); empty if it has none."""
        return self.configs.get((resource_type, name), _NO_CONFIGS)

    @property
    def is_empty(self) -> bool:
        """Whether no controller has ever written here (no feature level: the log lacks its bootstrap records)."""
        return not self.features

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, MetadataImage)
            and all(getattr(self, name) == getattr(other, name) for name in self._FIELDS)
            and self.next_producer_id == other.next_producer_id
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"MetadataImage(offset={self.offset}, brokers={len(self.brokers)}, topics={len(self.topics_by_id)})"

    # -- replay -------------------------------------------------------------------------------------------------

    def replay(self, record: Any, offset: int | None = None) -> None:
        """Apply one record.

        Raises:
            ReplayError: the record does not fit (an unknown topic, a stale broker epoch, a type that is not known).
        """
        handler = _REPLAY.get(record.NAME)
        if handler is None:
            raise ReplayError(f"unknown metadata record {record.NAME}")
        handler(self, record)
        if offset is not None:
            self.offset = offset

    def to_records(self) -> list[Any]:
        """The records of a snapshot, in the order of Kafka's MetadataImage.write."""
        records: list[Any] = []
        features = sorted(self.features.items(), key=lambda each: (each[0] != METADATA_VERSION, each[0]))
        records += [FeatureLevelRecord(name=name, feature_level=level) for name, level in features]
        records += [broker.to_record() for broker in self.brokers.values()]
        records += [controller.to_record() for controller in self.controllers.values()]
        for topic in self.topics_by_id.values():
            records.append(topic.to_record())
            records += [each.to_record(topic.topic_id, number) for number, each in topic.partitions.items()]
        for (resource_type, resource), configs in self.configs.items():
            records += [
                ConfigRecord(resource_type=resource_type, resource_name=resource, name=name, value=value)
                for name, value in configs.items()
            ]
        for entity, quotas in self.client_quotas.items():
            records += [
                ClientQuotaRecord(
                    entity=[EntityData(entity_type=kind, entity_name=name) for kind, name in entity],
                    key=key,
                    value=value,
                    remove=False,
                )
                for key, value in quotas.items()
            ]
        if self.next_producer_id > 0:
            records.append(ProducerIdsRecord(broker_id=-1, broker_epoch=-1, next_producer_id=self.next_producer_id))
        records += self.acls.values()
        records += self.scram_credentials.values()
        records += self.delegation_tokens.values()
        return records

    def _writable(self, field: str) -> dict[Any, Any]:
        mapping: dict[Any, Any] = getattr(self, field)
        if field not in self._owned:
            mapping = dict(mapping)
            setattr(self, field, mapping)
            self._owned.add(field)
        return mapping

    def _writable_part(self, field: str, key: Any) -> dict[Any, Any]:
        parts = self._writable(field)
        part: dict[Any, Any] | None = parts.get(key)
        if part is None or (field, key) not in self._owned_parts:
            part = parts[key] = {} if part is None else dict(part)
            self._owned_parts.add((field, key))
        return part

    def _writable_topic(self, topic_id: Uuid) -> TopicImage:
        topic = self.topics_by_id.get(topic_id)
        if topic is None:
            raise ReplayError(f"no topic has the id {topic_id.hex()}")
        if topic_id not in self._owned_parts:
            topic = topic.copy()
            self._writable("topics_by_id")[topic_id] = topic
            self._writable("topics_by_name")[topic.name] = topic
            self._owned_parts.add(topic_id)
        return topic

    def _replay_feature_level(self, record: Any) -> None:
        features = self._writable("features")
        if record.feature_level == 0:
            features.pop(record.name, None)
        else:
            features[record.name] = record.feature_level

    def _replay_register_broker(self, record: Any) -> None:
        self._writable("brokers")[record.broker_id] = BrokerImage.from_record(record)

    def _registered(self, broker_id: int, broker_epoch: int) -> BrokerImage:
        broker = self.brokers.get(broker_id)
        if broker is None or broker.broker_epoch != broker_epoch:
            raise ReplayError(f"broker {broker_id} is not registered with epoch {broker_epoch}: {broker}")
        return broker

    def _replay_unregister_broker(self, record: Any) -> None:
        self._registered(record.broker_id, record.broker_epoch)
        del self._writable("brokers")[record.broker_id]

    def _replay_broker_registration_change(self, record: Any) -> None:
        broker = self._registered(record.broker_id, record.broker_epoch)
        if record.fenced not in (-1, 0, 1) or record.in_controlled_shutdown not in (0, 1):
            raise ReplayError(f"unknown change of a broker's registration: {record!r}")
        changed = broker._replace(
            fenced=record.fenced == 1 if record.fenced else broker.fenced,
            in_controlled_shutdown=record.in_controlled_shutdown == 1 or broker.in_controlled_shutdown,
            log_dirs=tuple(record.log_dirs) or broker.log_dirs,
            cordoned_log_dirs=(
                broker.cordoned_log_dirs if record.cordoned_log_dirs is None else tuple(record.cordoned_log_dirs)
            ),
        )
        self._writable("brokers")[record.broker_id] = changed

    def _replay_fence_broker(self, record: Any) -> None:
        self._writable("brokers")[record.id] = self._registered(record.id, record.epoch)._replace(fenced=True)

    def _replay_unfence_broker(self, record: Any) -> None:
        self._writable("brokers")[record.id] = self._registered(record.id, record.epoch)._replace(fenced=False)

    def _replay_register_controller(self, record: Any) -> None:
        self._writable("controllers")[record.controller_id] = ControllerImage.from_record(record)

    def _replay_topic(self, record: Any) -> None:
        if record.name in self.topics_by_name or record.topic_id in self.topics_by_id:
            raise ReplayError(f"topic {record.name} or its id {record.topic_id.hex()} exists already")
        topic = TopicImage(record.name, record.topic_id)
        self._writable("topics_by_id")[record.topic_id] = topic
        self._writable("topics_by_name")[record.name] = topic
        self._owned_parts.add(record.topic_id)

    def _replay_partition(self, record: Any) -> None:
        topic = self._writable_topic(record.topic_id)
        topic.partitions[record.partition_id] = PartitionImage.from_record(record)

    def _replay_partition_change(self, record: Any) -> None:
        topic = self._writable_topic(record.topic_id)
        partition = topic.partitions.get(record.partition_id)
        if partition is None:
            raise ReplayError(f"no partition {topic.name}-{record.partition_id}")
        topic.partitions[record.partition_id] = partition.merge(record)

    def _replay_remove_topic(self, record: Any) -> None:
        topic = self._writable("topics_by_id").pop(record.topic_id, None)
        if topic is None:
            raise ReplayError(f"no topic has the id {record.topic_id.hex()}")
        del self._writable("topics_by_name")[topic.name]
        self._owned_parts.discard(record.topic_id)
        if (TOPIC_RESOURCE, topic.name) in self.configs:
            del self._writable("configs")[TOPIC_RESOURCE, topic.name]

    def _replay_clear_elr(self, record: Any) -> None:
        """KIP-966: forget the eligible leaders of one topic, or (empty name) of all."""
        if record.topic_name and record.topic_name not in self.topics_by_name:
            raise ReplayError(f"no topic has the name {record.topic_name}")
        named = [self.topics_by_name[record.topic_name]] if record.topic_name else list(self.topics_by_id.values())
        for topic in named:
            for number, each in list(topic.partitions.items()):
                if each.elr or each.last_known_elr:
                    cleared = each._replace(elr=(), last_known_elr=(), partition_epoch=each.partition_epoch + 1)
                    self._writable_topic(topic.topic_id).partitions[number] = cleared

    def _replay_config(self, record: Any) -> None:
        key = (record.resource_type, record.resource_name)
        configs = self._writable_part("configs", key)
        if record.value is None:
            configs.pop(record.name, None)
        else:
            configs[record.name] = record.value
        if not configs:
            del self.configs[key]

    def _replay_client_quota(self, record: Any) -> None:
        entity = tuple(
            sorted(((each.entity_type, each.entity_name) for each in record.entity), key=lambda each: each[0])
        )
        quotas = self._writable_part("client_quotas", entity)
        if record.remove:
            quotas.pop(record.key, None)
        else:
            quotas[record.key] = record.value
        if not quotas:
            del self.client_quotas[entity]

    def _replay_producer_ids(self, record: Any) -> None:
        if record.next_producer_id < self.next_producer_id:
            raise ReplayError(f"producer ids would go back from {self.next_producer_id} to {record.next_producer_id}")
        self.next_producer_id = record.next_producer_id

    def _replay_acl(self, record: Any) -> None:
        self._writable("acls")[record.id] = record

    def _replay_remove_acl(self, record: Any) -> None:
        self._writable("acls").pop(record.id, None)

    def _replay_scram(self, record: Any) -> None:
        self._writable("scram_credentials")[record.name, record.mechanism] = record

    def _replay_remove_scram(self, record: Any) -> None:
        self._writable("scram_credentials").pop((record.name, record.mechanism), None)

    def _replay_delegation_token(self, record: Any) -> None:
        self._writable("delegation_tokens")[record.token_id] = record

    def _replay_remove_delegation_token(self, record: Any) -> None:
        self._writable("delegation_tokens").pop(record.token_id, None)

    def _replay_begin_transaction(self, record: Any) -> None:
        self._before_transaction = self.copy()

    def _replay_end_transaction(self, record: Any) -> None:
        self._before_transaction = None

    def _replay_abort_transaction(self, record: Any) -> None:
        before = self._before_transaction
        if before is None:
            raise ReplayError("a metadata transaction is aborted that never began")
        for name in self._FIELDS:
            setattr(self, name, getattr(before, name))
        self.next_producer_id = before.next_producer_id
        self._owned, self._owned_parts, self._before_transaction = set(), set(), None

    def _replay_nothing(self, record: Any) -> None:
        """NoOpRecord, and the state of a migration from ZooKeeper, which is long over."""


_NO_CONFIGS: dict[str, str] = {}

_REPLAY: dict[str, Callable[[MetadataImage, Any], None]] = {
    "FeatureLevelRecord": MetadataImage._replay_feature_level,
    "RegisterBrokerRecord": MetadataImage._replay_register_broker,
    "UnregisterBrokerRecord": MetadataImage._replay_unregister_broker,
    "BrokerRegistrationChangeRecord": MetadataImage._replay_broker_registration_change,
    "FenceBrokerRecord": MetadataImage._replay_fence_broker,
    "UnfenceBrokerRecord": MetadataImage._replay_unfence_broker,
    "RegisterControllerRecord": MetadataImage._replay_register_controller,
    "TopicRecord": MetadataImage._replay_topic,
    "PartitionRecord": MetadataImage._replay_partition,
    "PartitionChangeRecord": MetadataImage._replay_partition_change,
    "RemoveTopicRecord": MetadataImage._replay_remove_topic,
    "ClearElrRecord": MetadataImage._replay_clear_elr,
    "ConfigRecord": MetadataImage._replay_config,
    "ClientQuotaRecord": MetadataImage._replay_client_quota,
    "ProducerIdsRecord": MetadataImage._replay_producer_ids,
    "AccessControlEntryRecord": MetadataImage._replay_acl,
    "RemoveAccessControlEntryRecord": MetadataImage._replay_remove_acl,
    "UserScramCredentialRecord": MetadataImage._replay_scram,
    "RemoveUserScramCredentialRecord": MetadataImage._replay_remove_scram,
    "DelegationTokenRecord": MetadataImage._replay_delegation_token,
    "RemoveDelegationTokenRecord": MetadataImage._replay_remove_delegation_token,
    "BeginTransactionRecord": MetadataImage._replay_begin_transaction,
    "EndTransactionRecord": MetadataImage._replay_end_transaction,
    "AbortTransactionRecord": MetadataImage._replay_abort_transaction,
    "NoOpRecord": MetadataImage._replay_nothing,
    "ZkMigrationStateRecord": MetadataImage._replay_nothing,
}


class MetadataDelta:
    """The difference between two images, gathered while records are replayed.

    - ``before`` and ``image``: the image it starts from, and the one it makes;
    - ``changed_partitions``: topic id → {partition number → its new image}, new topics and partitions included;
    - ``deleted_topics``: topic id → the topic as it was;
    - ``changed_brokers``: broker id → its new image, ``None`` if it was unregistered;
    - ``changed_configs``: the (resource type, resource name) pairs whose configs changed, as a dict for its order;
    - ``changed_features``: name → new level (0: switched off).

    ``changed_topics`` and ``created_topics`` are read off these.
    """

    __slots__ = (
        "before",
        "changed_brokers",
        "changed_configs",
        "changed_features",
        "changed_partitions",
        "deleted_topics",
        "image",
    )

    def __init__(self, before: MetadataImage) -> None:
        self.before = before
        self.image = before.copy()
        self.changed_partitions: dict[Uuid, dict[int, PartitionImage]] = {}
        self.deleted_topics: dict[Uuid, TopicImage] = {}
        self.changed_brokers: dict[int, BrokerImage | None] = {}
        self.changed_configs: dict[ConfigKey, None] = {}
        self.changed_features: dict[str, int] = {}

    @classmethod
    def between(cls, before: MetadataImage, after: MetadataImage) -> MetadataDelta:
        """The difference of two images, for a subscriber that comes late."""
        delta = cls(before)
        delta.image = after
        delta._compare()
        return delta

    @property
    def changed_topics(self) -> list[TopicImage]:
        """Topics with new or changed partitions, as they are now."""
        return [self.image.topics_by_id[topic_id] for topic_id in self.changed_partitions]

    @property
    def created_topics(self) -> list[TopicImage]:
        """Topics that were not there before."""
        return [topic for topic in self.changed_topics if topic.topic_id not in self.before.topics_by_id]

    def replay(self, record: Any, offset: int) -> None:
        """Apply one record and remember what it touched. Raises: ReplayError: see :meth:`MetadataImage.replay`."""
        name = record.NAME
        if name == "RemoveTopicRecord":
            self._before_remove_topic(record.topic_id)
        self.image.replay(record, offset)
        if name == "PartitionChangeRecord" or name == "PartitionRecord":
            partitions = self.image.topics_by_id[record.topic_id].partitions
            changed = self.changed_partitions.setdefault(record.topic_id, {})
            changed[record.partition_id] = partitions[record.partition_id]
        elif name == "TopicRecord":
            self.changed_partitions.setdefault(record.topic_id, {})
        elif name == "ConfigRecord":
            self.changed_configs[record.resource_type, record.resource_name] = None
        elif name == "FeatureLevelRecord":
            self.changed_features[record.name] = record.feature_level
        elif name in _BROKER_RECORDS:
            broker_id = record.id if name in ("FenceBrokerRecord", "UnfenceBrokerRecord") else record.broker_id
            self.changed_brokers[broker_id] = self.image.brokers.get(broker_id)
        elif name in ("ClearElrRecord", "AbortTransactionRecord"):
            self._compare()

    def _before_remove_topic(self, topic_id: Uuid) -> None:
        self.changed_partitions.pop(topic_id, None)
        existed = self.before.topics_by_id.get(topic_id)
        if existed is not None:
            self.deleted_topics[topic_id] = existed
        topic = self.image.topics_by_id.get(topic_id)
        if topic is not None and (TOPIC_RESOURCE, topic.name) in self.image.configs:
            self.changed_configs[TOPIC_RESOURCE, topic.name] = None

    def replace(self, records: Iterable[Any]) -> None:
        """Take a snapshot's records instead of what was there; the delta is then the difference of the two images."""
        image = MetadataImage()
        for record in records:
            image.replay(record)
        self.image = image
        self._compare()

    def _compare(self) -> None:
        before, image = self.before, self.image
        self.changed_partitions = {}
        for topic_id, topic in image.topics_by_id.items():
            old = before.topics_by_id.get(topic_id)
            if old is None:
                self.changed_partitions[topic_id] = dict(topic.partitions)
            elif old is not topic:
                changed = {
                    number: each for number, each in topic.partitions.items() if old.partitions.get(number) != each
                }
                if changed:
                    self.changed_partitions[topic_id] = changed
        self.deleted_topics = {
            topic_id: topic for topic_id, topic in before.topics_by_id.items() if topic_id not in image.topics_by_id
        }
        ids = {**before.brokers, **image.brokers}
        self.changed_brokers = {
            each: image.brokers.get(each) for each in ids if before.brokers.get(each) != image.brokers.get(each)
        }
        keys = {**before.configs, **image.configs}
        self.changed_configs = {key: None for key in keys if before.configs.get(key) != image.configs.get(key)}
        names = {**before.features, **image.features}
        self.changed_features = {
            name: image.features.get(name, 0) for name in names if before.features.get(name) != image.features.get(name)
        }

    def apply(self, offset: int, epoch: int) -> MetadataImage:
        """The image after the change, which stands at ``offset`` in ``epoch``. The delta is finished."""
        self.image.offset, self.image.epoch = offset, epoch
        return self.image


_BROKER_RECORDS = frozenset(
    (
        "RegisterBrokerRecord",
        "UnregisterBrokerRecord",
        "BrokerRegistrationChangeRecord",
        "FenceBrokerRecord",
        "UnfenceBrokerRecord",
    )
)

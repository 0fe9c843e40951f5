"""From a change of the metadata to what it does to the znodes.

What the writer relies on, and :mod:`engine.core.znodes.adoption` brings about in a tree that others wrote:
:data:`~engine.core.znodes.paths.PERSISTENT_ROOTS` are there, and beneath them there is a znode exactly where the image
has something to keep (and /config/topics/T for each topic, also one without configs: so does Kafka). Whether a znode is
created or set can therefore be read off the image before the change. If a multi fails for another reason than the
controller's epoch, somebody else wrote beneath the roots: read the tree again and adopt it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from engine.core.controller.image import TOPIC_RESOURCE, ConfigKey, MetadataDelta, MetadataImage, QuotaEntity
from engine.core.controller.topic_image import PartitionImage, TopicImage
from engine.core.znodes import paths, user_znodes
from engine.core.znodes.acl_znodes import AclResource, acl_changed, acl_nodes, resource_of
from engine.core.znodes.broker_znodes import encode_own_broker, encode_own_controller
from engine.core.znodes.cluster_znodes import encode_features, encode_producer_ids
from engine.core.znodes.config_znodes import CONFIG_ROOTS, config_path, encode_configs
from engine.core.znodes.notification_znodes import config_changed, token_changed
from engine.core.znodes.operations import Create, Delete, Operation, SetData
from engine.core.znodes.token_znodes import encode_token, token_path
from engine.core.znodes.topic_znodes import encode_state, encode_topic

_K = TypeVar("_K")
_V = TypeVar("_V")


def operations_of(delta: MetadataDelta, *, controller_epoch: int, now_ms: int) -> list[Operation]:
    """What a batch of records does to the znodes, for one multi, parents before children.

    ``controller_epoch`` is written into the states of partitions that changed, ``now_ms`` (wall clock) into
    registrations. Nothing here is done to /controller, /brokers/ids, /kconsole/metadata and /kconsole/log.
    """
    operations: list[Operation] = []
    for topic in delta.deleted_topics.values():
        operations += _topic_deleted(topic)
    for topic_id, changed in delta.changed_partitions.items():
        topic = delta.image.topics_by_id[topic_id]
        old = None if topic_id in delta.deleted_topics else delta.before.topics_by_id.get(topic_id)
        operations += _topic_changed(topic, old, changed, controller_epoch)
    operations += _configs(delta)
    operations += _registrations(delta, now_ms)
    operations += _users(delta.before, delta.image)
    operations += _acls(delta.before, delta.image)
    operations += _tokens(delta.before, delta.image)
    operations += _features_and_producer_ids(delta.before, delta.image)
    return operations


def _topic_deleted(topic: TopicImage) -> list[Operation]:
    operations: list[Operation] = []
    for number in topic.partitions:
        operations.append(Delete(paths.partition_state(topic.name, number)))
        operations.append(Delete(paths.partition(topic.name, number)))
    return [*operations, Delete(paths.partitions(topic.name)), Delete(paths.topic(topic.name))]


def _topic_changed(
    topic: TopicImage, old: TopicImage | None, changed: Mapping[int, PartitionImage], controller_epoch: int
) -> list[Operation]:
    operations: list[Operation] = []
    known: Mapping[int, PartitionImage] = {} if old is None else old.partitions
    if old is None:
        operations.append(Create(paths.topic(topic.name), encode_topic(topic)))
        operations.append(Create(paths.partitions(topic.name), b""))
    elif any(_assignment(known.get(number)) != _assignment(each) for number, each in changed.items()):
        operations.append(SetData(paths.topic(topic.name), encode_topic(topic)))
    for number, each in changed.items():
        path = paths.partition_state(topic.name, number)
        data = encode_state(each, controller_epoch)
        if number in known:
            operations.append(SetData(path, data))
        else:
            operations += (Create(paths.partition(topic.name, number), b""), Create(path, data))
    return operations


def _assignment(partition: PartitionImage | None) -> tuple[tuple[int, ...], ...] | None:
    return None if partition is None else (partition.replicas, partition.adding_replicas, partition.removing_replicas)


def _configs(delta: MetadataDelta) -> list[Operation]:
    before, image = delta.before, delta.image
    named = [topic.name for topic in (*delta.deleted_topics.values(), *delta.created_topics)]
    keys = dict.fromkeys((*((TOPIC_RESOURCE, name) for name in named), *delta.changed_configs))
    operations: list[Operation] = []
    for key in keys:
        if key[0] not in CONFIG_ROOTS:
            continue
        path = config_path(key)
        changes = _difference(_config_node(before, key, path), _config_node(image, key, path))
        operations += changes
        # Kafka's brokers hear of a topic's birth and death otherwise.
        if (changes and key[0] != TOPIC_RESOURCE) or any(isinstance(each, SetData) for each in changes):
            operations += _config_notification(path)
    return operations


def _config_node(image: MetadataImage, key: ConfigKey, path: str) -> dict[str, bytes]:
    resource_type, name = key
    configs = image.configs.get(key)
    if configs is None and not (resource_type == TOPIC_RESOURCE and name in image.topics_by_name):
        return {}
    return {path: encode_configs(configs or {})}


def _config_notification(path: str) -> list[Operation]:
    below = path.removeprefix("/config/")
    return [] if below == path else [config_changed(below)]


def _registrations(delta: MetadataDelta, now_ms: int) -> list[Operation]:
    operations: list[Operation] = []
    for number, broker in delta.changed_brokers.items():
        path = paths.own_broker(number)
        existed = number in delta.before.brokers
        if broker is not None:
            data = encode_own_broker(broker, changed_ms=now_ms)
            operations.append(SetData(path, data) if existed else Create(path, data))
        elif existed:
            operations.append(Delete(path))
    for number in _changed(delta.before.controllers, delta.image.controllers):
        operations += _difference(
            *(
                {paths.own_controller(number): encode_own_controller(found)}
                if (found := image.controllers.get(number)) is not None
                else {}
                for image in (delta.before, delta.image)
            )
        )
    return operations


def _users(before: MetadataImage, image: MetadataImage) -> list[Operation]:
    entities = _changed(before.client_quotas, image.client_quotas)
    users: dict[str | None, None] = {}
    others: list[QuotaEntity] = []
    for entity in entities:
        found = user_znodes.user_of(entity)
        if found is None:
            others.append(entity)
        else:
            users[found[0]] = None
    users |= {user: None for user, _ in _changed(before.scram_credentials, image.scram_credentials)}
    if not users and not others:
        return []
    changes = _difference(user_znodes.nodes_of_users(before, users), user_znodes.nodes_of_users(image, users))
    changes += _difference(
        user_znodes.nodes_without_user(before, others), user_znodes.nodes_without_user(image, others)
    )
    return _told(changes, _config_notification)


def _acls(before: MetadataImage, image: MetadataImage) -> list[Operation]:
    resources: dict[AclResource, None] = {}
    for each in _changed(before.acls, image.acls):
        resources |= {resource_of(acls[each]): None for acls in (before.acls, image.acls) if each in acls}
    operations = _difference(acl_nodes(before.acls, resources), acl_nodes(image.acls, resources))
    for resource in resources if operations else ():
        operations += acl_changed(resource)
    return operations


def _tokens(before: MetadataImage, image: MetadataImage) -> list[Operation]:
    operations: list[Operation] = []
    for token_id in _changed(before.delegation_tokens, image.delegation_tokens):
        path = token_path(token_id)
        operations += _difference(
            *(
                {path: encode_token(tokens[token_id])} if token_id in tokens else {}
                for tokens in (before.delegation_tokens, image.delegation_tokens)
            )
        )
        operations.append(token_changed(token_id))
    return operations


def _features_and_producer_ids(before: MetadataImage, image: MetadataImage) -> list[Operation]:
    operations = _difference(
        *({paths.OWN_FEATURES: encode_features(each)} if each else {} for each in (before.features, image.features))
    )
    if image.next_producer_id != before.next_producer_id:
        data = encode_producer_ids(image.next_producer_id, before.next_producer_id)
        operations.append(SetData(paths.PRODUCER_ID_BLOCK, data))
    return operations


def _changed(before: Mapping[_K, _V], after: Mapping[_K, _V]) -> list[_K]:
    """The keys whose values differ. Images share the dicts that nobody changed."""
    if before is after:
        return []
    return [key for key in {**before, **after} if before.get(key) != after.get(key)]


def _difference(before: Mapping[str, bytes], after: Mapping[str, bytes]) -> list[Operation]:
    """What makes the one set of znodes the other."""
    operations: list[Operation] = [Delete(path) for path in sorted(before, reverse=True) if path not in after]
    for path, data in sorted(after.items()):
        if path not in before:
            operations.append(Create(path, data))
        elif before[path] != data:
            operations.append(SetData(path, data))
    return operations


def _told(changes: list[Operation], tell: Callable[[str], Iterable[Operation]]) -> list[Operation]:
    """The changes, and a notification for each znode that has content."""
    told: list[Operation] = list(changes)
    for each in changes:
        if not isinstance(each, Create) or each.data:
            told += tell(each.path)
    return told

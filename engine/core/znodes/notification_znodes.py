"""Notifications: children with numbers that tell who watches their parent that something changed elsewhere.

Kafka 3.9's brokers read them, and its controller those of in-sync replicas and log directories. kconsole's nodes need
none of them; those of configs, ACLs and tokens are written for others that watch.
"""

from __future__ import annotations

from collections.abc import Iterable

from engine.core.znodes import paths
from engine.core.znodes.json_fields import json_bytes
from engine.core.znodes.operations import Create, Delete

# How many are left under each parent; Kafka deletes them when they are 15 minutes old.
NOTIFICATIONS_KEPT = 100
# The parents under which kconsole's controller writes, each with the names' beginning.
PREFIXES = {
    paths.CONFIG_CHANGES: paths.CONFIG_CHANGE_PREFIX,
    paths.LITERAL_ACL_CHANGES: paths.ACL_CHANGE_PREFIX,
    paths.EXTENDED_ACL_CHANGES: paths.ACL_CHANGE_PREFIX,
    paths.TOKEN_CHANGES: paths.TOKEN_CHANGE_PREFIX,
}


def config_changed(entity_path: str) -> Create:
    """``entity_path`` is below /config, as ``topics/orders`` (ConfigEntityChangeNotificationSequenceZNode)."""
    return _notification(paths.CONFIG_CHANGES, json_bytes({"version": 2, "entity_path": entity_path}))


def literal_acl_changed(resource_type: str, name: str) -> Create:
    """ACLs of a resource's name changed; ``resource_type`` as ``TOPIC`` (LiteralAclChangeStore)."""
    return _notification(paths.LITERAL_ACL_CHANGES, f"{resource_type}:{name}".encode())


def prefixed_acl_changed(resource_type: str, name: str) -> Create:
    """ACLs of names that begin so changed (ExtendedAclChangeStore)."""
    data = json_bytes({"version": 1, "resourceType": resource_type, "name": name, "patternType": "PREFIXED"})
    return _notification(paths.EXTENDED_ACL_CHANGES, data)


def token_changed(token_id: str) -> Create:
    """A delegation token was made, renewed or removed (DelegationTokenChangeNotificationSequenceZNode)."""
    return _notification(paths.TOKEN_CHANGES, token_id.encode())


def _notification(parent: str, data: bytes) -> Create:
    return Create(f"{parent}/{PREFIXES[parent]}", data, sequential=True)


def surplus_notifications(parent: str, names: Iterable[str]) -> list[Delete]:
    """Deletes the oldest of the children ``names`` of a parent in :data:`PREFIXES`, so that a hundred are left."""
    numbered = sorted(each for each in names if each.startswith(PREFIXES[parent]))
    return [Delete(f"{parent}/{each}") for each in numbered[:-NOTIFICATIONS_KEPT]]

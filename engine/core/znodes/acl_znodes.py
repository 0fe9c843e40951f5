"""Access control lists: one znode for each resource, with a list of its entries (ResourceZNode, AclEntry).

``/kafka-acl/<Type>/<name>`` for names, ``/kafka-acl-extended/prefixed/<Type>/<name>`` for beginnings of names. Kafka
writes the name as it is; one that cannot be part of a path (with a slash, say) is in /kconsole/acls. Entries in Kafka
4.3 have ids, Kafka 3.9's have none: a further field of ours, and where it is missing an id made of the entry.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from engine.core.controller.access_control import ALLOW, DENY, LITERAL, PREFIXED
from engine.core.znodes import paths
from engine.core.znodes.json_fields import JsonFields, ZnodeCorrupt, json_bytes
from engine.core.znodes.notification_znodes import literal_acl_changed, prefixed_acl_changed
from engine.core.znodes.operations import Create
from engine.model.ids import uuid_to_str
from engine.wire.messages.access_control_entry_record import AccessControlEntryRecord

_VERSION = 1
# SecurityUtils.resourceTypeName and its neighbours, by Kafka's numbers.
_TYPES = dict(enumerate(paths.ACL_RESOURCE_TYPES, 2))
_OPERATIONS = dict(
    enumerate(
        (
            "All",
            "Read",
            "Write",
            "Create",
            "Delete",
            "Alter",
            "Describe",
            "ClusterAction",
            "DescribeConfigs",
            "AlterConfigs",
            "IdempotentWrite",
            "CreateTokens",
            "DescribeTokens",
        ),
        2,
    )
)
_PERMISSIONS = {DENY: "Deny", ALLOW: "Allow"}
_TYPE_NUMBERS = {name: number for number, name in _TYPES.items()}
_OPERATION_NUMBERS = {name: number for number, name in _OPERATIONS.items()}
_PERMISSION_NUMBERS = {name: number for number, name in _PERMISSIONS.items()}
_ROOTS = {LITERAL: paths.LITERAL_ACLS, PREFIXED: paths.PREFIXED_ACLS}
_PATTERN_NAMES = {LITERAL: "literal", PREFIXED: "prefixed"}
_PATTERN_NUMBERS = {name: number for number, name in _PATTERN_NAMES.items()}
# ResourceType's own names, in notifications.
_ENUM_NAMES = dict(enumerate(("TOPIC", "GROUP", "CLUSTER", "TRANSACTIONAL_ID", "DELEGATION_TOKEN", "USER"), 2))


class AclResource(NamedTuple):
    """What entries are about, by Kafka's numbers."""

    resource_type: int
    name: str
    pattern_type: int


def resource_of(entry: AccessControlEntryRecord) -> AclResource:
    """What an entry is about."""
    return AclResource(entry.resource_type, entry.resource_name, entry.pattern_type)


def acl_path(resource: AclResource) -> str:
    """Where the entries of a resource are."""
    kind = _TYPES[resource.resource_type]
    if not _fits_in_path(resource.name):
        return f"{paths.OWN_ACLS}/{_PATTERN_NAMES[resource.pattern_type]}.{kind}.{paths.sanitized(resource.name)}"
    return f"{_ROOTS[resource.pattern_type]}/{kind}/{resource.name}"


def _fits_in_path(name: str) -> bool:
    """Whether ZooKeeper takes the name as one part of a path (PathUtils.validatePath)."""
    return name not in ("", ".", "..") and not any(
        each == "/" or each <= "\x1f" or "\x7f" <= each <= "\x9f" or "\ud800" <= each <= "\uf8ff" or each >= "\ufff0"
        for each in name
    )


def acl_nodes(acls: Mapping[bytes, AccessControlEntryRecord], resources: Iterable[AclResource]) -> dict[str, bytes]:
    """The znodes of these resources, by path: those that have entries."""
    entries: dict[AclResource, list[AccessControlEntryRecord]] = {each: [] for each in resources}
    for entry in acls.values():
        if (found := entries.get(resource_of(entry))) is not None:
            found.append(entry)
    return {acl_path(resource): encode_acls(found) for resource, found in entries.items() if found}


def acl_changed(resource: AclResource) -> list[Create]:
    """Tells Kafka's authorizers of a change, where they can know the resource."""
    if not _fits_in_path(resource.name):
        return []
    tell = literal_acl_changed if resource.pattern_type == LITERAL else prefixed_acl_changed
    return [tell(_ENUM_NAMES[resource.resource_type], resource.name)]


def encode_acls(entries: Iterable[AccessControlEntryRecord]) -> bytes:
    """The entries of one resource, in Kafka's order of fields."""
    return json_bytes(
        {
            "acls": [
                {
                    "principal": each.principal,
                    "permissionType": _PERMISSIONS[each.permission_type],
                    "host": each.host,
                    "operation": _OPERATIONS[each.operation],
                    "id": uuid_to_str(each.id),
                }
                for each in entries
            ],
            "version": _VERSION,
        }
    )


def decode_acls(path: str, data: bytes) -> list[AccessControlEntryRecord]:
    """The entries in a znode below one of the roots; an empty one has none. Raises: ZnodeCorrupt."""
    if not data:
        return []
    resource = _resource_at(path)
    fields = JsonFields.parse(path, data)
    if fields.integer("version") != _VERSION:
        fields.corrupt(f"version {fields.integer('version')} of ACLs is not known")
    return [_decoded(resource, each) for each in fields.objects("acls")]


def _resource_at(path: str) -> AclResource:
    pattern_type = next((each for each, root in _ROOTS.items() if path.startswith(f"{root}/")), None)
    if pattern_type is not None:
        kind, _, name = path.removeprefix(f"{_ROOTS[pattern_type]}/").partition("/")
    else:
        pattern, _, rest = paths.name_of(path).partition(".")
        kind, _, name = rest.partition(".")
        pattern_type = _PATTERN_NUMBERS.get(pattern)
        try:
            name = paths.desanitized(name)
        except ValueError as error:
            raise ZnodeCorrupt(path, f"its name is not UTF-8 ({error})") from None
    if kind not in _TYPE_NUMBERS or pattern_type is None:
        raise ZnodeCorrupt(path, "it is not the znode of a resource that Kafka knows")
    return AclResource(_TYPE_NUMBERS[kind], name, pattern_type)


def _decoded(resource: AclResource, fields: JsonFields) -> AccessControlEntryRecord:
    entry = AccessControlEntryRecord(
        resource_type=resource.resource_type,
        resource_name=resource.name,
        pattern_type=resource.pattern_type,
        principal=fields.text("principal"),
        host=fields.text("host"),
        operation=_number(fields, "operation", _OPERATION_NUMBERS),
        permission_type=_number(fields, "permissionType", _PERMISSION_NUMBERS),
    )
    entry.id = fields.uuid("id") if "id" in fields else _made_up_id(entry)
    return entry


def _number(fields: JsonFields, name: str, numbers: Mapping[str, int]) -> int:
    text = fields.text(name)
    if text not in numbers:
        fields.corrupt(f"{name} {text!r} is not known")
    return numbers[text]


def _made_up_id(entry: AccessControlEntryRecord) -> bytes:
    content = (*resource_of(entry), entry.principal, entry.host, entry.operation, entry.permission_type)
    return hashlib.sha256(repr(content).encode()).digest()[:16]

"""What scripts read of access, quotas, disks and producers: plain data under names that stay. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from console.viewmodel.acls import AclRow
from console.viewmodel.client_quotas import CLIENT_ID, IP, QUOTAS, USER, QuotaRow
from console.viewmodel.log_dirs import LogDirRow
from console.viewmodel.producers import ProducerRow
from console.viewmodel.scram_users import ScramRow

Row = dict[str, Any]


def acl_row(row: AclRow) -> Row:
    """One entry."""
    return {
        "principal": row.principal,
        "host": row.host,
        "permission": row.permission,
        "operation": row.operation,
        "resource": row.resource_type,
        "name": row.resource_name,
        "pattern": row.pattern_type,
    }


def user_row(row: ScramRow) -> Row:
    """One credential."""
    return {"user": row.user, "mechanism": row.mechanism, "iterations": row.iterations}


def quota_row(row: QuotaRow) -> Row:
    """One entity; of its parts ``<default>`` is the default of the type, ``None`` no part of it."""
    parts = {"user": row.part(USER), "client_id": row.part(CLIENT_ID), "ip": row.part(IP)}
    return {"entity": row.key, **parts, **{key: row.values.get(key) for key in QUOTAS}}


def log_dir_row(row: LogDirRow) -> Row:
    """One directory."""
    return {
        "broker": row.broker_id,
        "path": row.path,
        "size_bytes": row.size_bytes,
        "total_bytes": row.total_bytes,
        "usable_bytes": row.usable_bytes,
        "replicas": len(row.replicas),
        "future_replicas": row.futures,
        "error": row.error,
    }


def producer_row(row: ProducerRow) -> Row:
    """One producer of a partition."""
    return {
        "topic": row.topic,
        "partition": row.partition,
        "producer_id": row.producer_id,
        "producer_epoch": row.producer_epoch,
        "last_sequence": row.last_sequence if row.last_sequence >= 0 else None,
        "last_timestamp_ms": row.last_timestamp_ms if row.last_timestamp_ms >= 0 else None,
        "coordinator_epoch": row.coordinator_epoch if row.coordinator_epoch >= 0 else None,
        "transaction_start_offset": row.transaction_start_offset if row.is_open else None,
        "hangs": row.hangs,
    }


MAKERS: dict[str, Callable[[Any], Row]] = {
    "acls": acl_row,
    "users": user_row,
    "quotas": quota_row,
    "logdirs": log_dir_row,
    "producers": producer_row,
    "hanging": producer_row,
}
_PRODUCER_FIELDS = ("topic", "partition", "producer_id", "producer_epoch", "last_sequence", "transaction_start_offset")
# What people see of it.
FIELDS: dict[str, tuple[str, ...]] = {
    "acls": ("principal", "host", "permission", "operation", "resource", "name", "pattern"),
    "users": ("user", "mechanism", "iterations"),
    "quotas": ("entity", *QUOTAS),
    "logdirs": ("broker", "path", "size_bytes", "usable_bytes", "total_bytes", "replicas", "error"),
    "producers": _PRODUCER_FIELDS,
    "hanging": _PRODUCER_FIELDS,
}

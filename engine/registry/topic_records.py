"""The records of the topic ``_schemas``, byte for byte as Confluent's registry writes them. Pure.

Source: the classes ``SchemaKey``, ``ConfigKey`` and their like in Confluent's registry; the order of attributes counts,
since compaction compares keys as bytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from engine.registry.schema import AVRO, Reference, Schema

SCHEMA = "SCHEMA"
CONFIG = "CONFIG"
MODE = "MODE"
NOOP = "NOOP"
DELETE_SUBJECT = "DELETE_SUBJECT"
CLEAR_SUBJECT = "CLEAR_SUBJECT"
CONTEXT = "CONTEXT"

_MAGIC = {SCHEMA: 1}
_HIGHEST = (1 << 31) - 1


class Record(NamedTuple):
    """Key and value as bytes; no value takes back what was said under the key."""

    key: bytes
    value: bytes | None


class Key(NamedTuple):
    """A key that was understood; ``subject`` is ``None`` for what holds for all, ``version`` only of schemas."""

    keytype: str
    subject: str | None = None
    version: int = 0


class StoredSchema(NamedTuple):
    """One version of a subject."""

    subject: str
    version: int
    schema_id: int
    schema: Schema
    is_deleted: bool = False
    # Of the record, milliseconds since 1970.
    written_at_ms: int = 0


def key_bytes(key: Key) -> bytes:
    """Raises nothing: every key can be written."""
    found: dict[str, Any] = {"keytype": key.keytype}
    if key.keytype == CONTEXT:
        return _bytes({**found, "tenant": "default", "context": key.subject, "magic": 0})
    if key.subject is not None:
        found["subject"] = key.subject
    if key.keytype == SCHEMA:
        found["version"] = key.version
    return _bytes({**found, "magic": _MAGIC.get(key.keytype, 0)})


def read_key(data: bytes) -> Key:
    """Raises: ValueError: it is no key of a registry."""
    found = json.loads(data)
    if not isinstance(found, dict) or not isinstance(found.get("keytype"), str):
        raise ValueError(f"no key of a schema registry: {data[:200]!r}")
    kind = found["keytype"]
    subject = found.get("context") if kind == CONTEXT else found.get("subject")
    if kind in (SCHEMA, DELETE_SUBJECT, CLEAR_SUBJECT, CONTEXT) and not isinstance(subject, str):
        raise ValueError(f"a key {kind} without subject: {data[:200]!r}")
    version = found.get("version", 0)
    if not isinstance(version, int):
        raise ValueError(f"a version is a number: {data[:200]!r}")
    return Key(kind, subject, version)


def schema_record(stored: StoredSchema) -> Record:
    """One version of a subject, deleted softly or not."""
    schema = stored.schema
    found: dict[str, Any] = {"subject": stored.subject, "version": stored.version, "id": stored.schema_id}
    if schema.schema_type != AVRO:
        found["schemaType"] = schema.schema_type
    if schema.references:
        found["references"] = [each.as_json() for each in schema.references]
    if schema.metadata:
        found["metadata"] = schema.metadata
    if schema.rule_set:
        found["ruleSet"] = schema.rule_set
    found["schema"] = schema.text
    found["deleted"] = stored.is_deleted
    return Record(key_bytes(Key(SCHEMA, stored.subject, stored.version)), _bytes(found))


def read_schema(key: Key, data: bytes, written_at_ms: int) -> StoredSchema:
    """Raises: ValueError: it is none."""
    found = json.loads(data)
    try:
        references = tuple(
            Reference(str(each["name"]), str(each["subject"]), int(each["version"]))
            for each in found.get("references") or ()
        )
        schema = Schema(
            str(found.get("schemaType") or AVRO),
            str(found["schema"]),
            references,
            _mapping(found.get("metadata")),
            _mapping(found.get("ruleSet")),
        )
        schema_id = int(found["id"])
        if not 0 <= schema_id <= _HIGHEST or any(not -1 <= each.version <= _HIGHEST for each in references):
            raise ValueError(f"a number under {key} is beyond 32 bits")
        assert key.subject is not None, "keys of schemas have a subject"
        return StoredSchema(key.subject, key.version, schema_id, schema, bool(found.get("deleted")), written_at_ms)
    except (KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"no schema under {key}: {error!r}") from None


def tombstone(key: Key) -> Record:
    """Takes back what was said under a key."""
    return Record(key_bytes(key), None)


def config_record(subject: str | None, config: Mapping[str, Any]) -> Record:
    """Config of a subject, or of all."""
    return Record(key_bytes(Key(CONFIG, subject)), _bytes(_with_subject(subject, config)))


def mode_record(subject: str | None, mode: str) -> Record:
    """Mode of a subject, or of all."""
    return Record(key_bytes(Key(MODE, subject)), _bytes(_with_subject(subject, {"mode": mode})))


def delete_subject_record(subject: str, version: int) -> Record:
    """Deletes softly all versions of a subject up to one."""
    return Record(key_bytes(Key(DELETE_SUBJECT, subject)), _bytes({"subject": subject, "version": version}))


def clear_subject_record(subject: str) -> Record:
    """Forgets a subject whose versions were taken back."""
    return Record(key_bytes(Key(CLEAR_SUBJECT, subject)), _bytes({"subject": subject}))


def context_record(context: str) -> Record:
    """That there is a context."""
    return Record(key_bytes(Key(CONTEXT, context)), _bytes({"tenant": "default", "context": context}))


def noop_record() -> Record:
    """Says nothing; whoever has read it has read all before."""
    return Record(key_bytes(Key(NOOP)), None)


def ids_record(highest: Mapping[str, int]) -> Record:
    """The highest id that each context had, also of schemas that are gone: the topic is compacted, and what says of
    them alone goes with them. Other registries pass over whatever stands under this key."""
    return Record(key_bytes(Key(NOOP)), _bytes({"highestIds": dict(sorted(highest.items()))}))


def read_ids(data: bytes) -> dict[str, int]:
    """Raises: ValueError: it is no record of ids."""
    found = json.loads(data)
    ids = found.get("highestIds", {}) if isinstance(found, dict) else None
    if not isinstance(ids, dict) or not all(type(each) is int and 0 <= each <= _HIGHEST for each in ids.values()):
        raise ValueError(f"no record of ids: {data[:200]!r}")
    return ids


def _with_subject(subject: str | None, rest: Mapping[str, Any]) -> dict[str, Any]:
    return dict(rest) if subject is None else {"subject": subject, **rest}


def _mapping(value: Any) -> Mapping[str, Any] | None:
    # An empty one says as much as none, and is written as none.
    return value if isinstance(value, dict) and value else None


def _bytes(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()

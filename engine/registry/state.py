"""What a registry knows: the records of its topic, in order, and nothing else. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from engine.registry.schema import Schema
from engine.registry.subject_names import DEFAULT_CONTEXT, context_of, referred
from engine.registry.topic_records import (
    CLEAR_SUBJECT,
    CONFIG,
    CONTEXT,
    DELETE_SUBJECT,
    MODE,
    NOOP,
    SCHEMA,
    Key,
    StoredSchema,
    read_ids,
    read_key,
    read_schema,
)

_Version = tuple[str, int]


class RegistryState:
    """Subjects with their versions, configs and modes, and what finds schemas by id, text and reference."""

    def __init__(self) -> None:
        self.subjects: dict[str, dict[int, StoredSchema]] = {}
        self.configs: dict[str | None, dict[str, Any]] = {}
        self.modes: dict[str | None, str] = {}
        self.highest_ids: dict[str, int] = {}
        """The highest id that a context ever had, as far as the topic still tells."""
        self.had_ids_told = False
        """Whether the topic has a record of ids, as it gets one when a schema is deleted for good."""
        self._contexts: set[str] = {DEFAULT_CONTEXT}
        self._by_id: dict[tuple[str, int], dict[_Version, None]] = {}
        self._by_md5: dict[tuple[str, bytes], dict[_Version, None]] = {}
        self._by_guid: dict[str, dict[_Version, None]] = {}
        self._referrers: dict[_Version, dict[_Version, None]] = {}

    # -- records ------------------------------------------------------------------------------------------------

    def apply(self, key_data: bytes, value: bytes | None, written_at_ms: int = 0) -> Key:
        """Take in the next record; returns its key.

        Raises:
            ValueError: it is no record of a registry; nothing has changed.
        """
        key = read_key(key_data)
        if key.keytype == SCHEMA:
            assert key.subject is not None, "keys of schemas have a subject"
            stored = None if value is None else read_schema(key, value, written_at_ms)
            self._forget(key.subject, key.version)
            if stored is not None:
                self._learn(stored)
        elif key.keytype == NOOP and value is not None:
            for context, highest in read_ids(value).items():
                self.highest_ids[context] = max(self.highest_ids.get(context, 0), highest)
            self.had_ids_told = True
        elif key.keytype == CONFIG:
            self._set(self.configs, key.subject, None if value is None else _config(value))
        elif key.keytype == MODE:
            self._set(self.modes, key.subject, None if value is None else str(_object(value).get("mode", "")))
        elif key.keytype == DELETE_SUBJECT and value is not None:
            assert key.subject is not None, "keys of subjects have a subject"
            up_to = _object(value).get("version")
            if not isinstance(up_to, int):
                raise ValueError(f"the deletion of {key.subject} says no version")
            self._delete_softly(key.subject, up_to)
        elif key.keytype == CLEAR_SUBJECT and value is not None:
            assert key.subject is not None, "keys of subjects have a subject"
            for version, stored in list(self.subjects.get(key.subject, {}).items()):
                if stored.is_deleted:
                    self._forget(key.subject, version)
        elif key.keytype == CONTEXT and key.subject is not None:
            if value is None:
                self._contexts.discard(key.subject)
            else:
                self._contexts.add(key.subject)
        return key

    @staticmethod
    def _set(where: dict[str | None, Any], subject: str | None, value: Any) -> None:
        if value is None:
            where.pop(subject, None)
        else:
            where[subject] = value

    def _learn(self, stored: StoredSchema) -> None:
        version = stored.subject, stored.version
        context = context_of(stored.subject)
        self.subjects.setdefault(stored.subject, {})[stored.version] = stored
        self.highest_ids[context] = max(self.highest_ids.get(context, 0), stored.schema_id)
        self._contexts.add(context)
        md5 = stored.schema.md5
        self._by_id.setdefault((context, stored.schema_id), {})[version] = None
        self._by_md5.setdefault((context, md5), {})[version] = None
        self._by_guid.setdefault(stored.schema.guid, {})[version] = None
        for each in stored.schema.references:
            self._referrers.setdefault((referred(stored.subject, each.subject), each.version), {})[version] = None

    def _forget(self, subject: str, number: int) -> None:
        versions = self.subjects.get(subject, {})
        stored = versions.pop(number, None)
        if stored is None:
            return
        if not versions:
            del self.subjects[subject]
        version = subject, number
        context = context_of(subject)
        _discard(self._by_id, (context, stored.schema_id), version)
        _discard(self._by_md5, (context, stored.schema.md5), version)
        _discard(self._by_guid, stored.schema.guid, version)
        for each in stored.schema.references:
            _discard(self._referrers, (referred(subject, each.subject), each.version), version)

    def _delete_softly(self, subject: str, up_to: int) -> None:
        versions = self.subjects.get(subject, {})
        for number, stored in versions.items():
            if number <= up_to and not stored.is_deleted:
                versions[number] = stored._replace(is_deleted=True)

    # -- questions ----------------------------------------------------------------------------------------------

    @property
    def contexts(self) -> list[str]:
        """The contexts that there are, in order."""
        return sorted(self._contexts)

    def versions(self, subject: str, *, deleted: bool = False) -> list[StoredSchema]:
        """Versions of a subject, oldest first; with ``deleted`` also those that are deleted softly."""
        found = self.subjects.get(subject, {})
        return [found[number] for number in sorted(found) if deleted or not found[number].is_deleted]

    def with_id(self, context: str, schema_id: int) -> list[StoredSchema]:
        """All versions that have an id, deleted ones as well."""
        return [self.subjects[subject][number] for subject, number in self._by_id.get((context, schema_id), ())]

    def with_guid(self, guid: str) -> list[StoredSchema]:
        """All versions of the schema with a GUID, in all contexts."""
        return [self.subjects[subject][number] for subject, number in self._by_guid.get(guid, ())]

    def equal_to(self, context: str, schema: Schema) -> list[StoredSchema]:
        """All versions of exactly this schema in a context, deleted ones as well."""
        return [self.subjects[subject][number] for subject, number in self._by_md5.get((context, schema.md5), ())]

    def referrers(self, subject: str, version: int, *, deleted: bool = False) -> list[StoredSchema]:
        """Versions that refer to a version of a subject."""
        found = (self.subjects[name][number] for name, number in self._referrers.get((subject, version), ()))
        return [each for each in found if deleted or not each.is_deleted]

    def all_versions(self) -> Iterator[StoredSchema]:
        """Every version of every subject, deleted ones as well, subjects in order."""
        for subject in sorted(self.subjects):
            yield from self.versions(subject, deleted=True)


def _discard(where: dict[Any, dict[_Version, None]], key: Any, version: _Version) -> None:
    found = where.get(key, {})
    found.pop(version, None)
    if not found:
        where.pop(key, None)


def _object(value: bytes) -> dict[str, Any]:
    found = json.loads(value)
    if not isinstance(found, dict):
        raise ValueError(f"no value of a schema registry: {value[:200]!r}")
    return found


def _config(value: bytes) -> dict[str, Any]:
    found = _object(value)
    return {name: each for name, each in found.items() if name != "subject" and each is not None}

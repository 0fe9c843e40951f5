"""What can be done with a registry: register, look up, delete, compare, configure. REST stands before it."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from engine.registry import errors, topic_records
from engine.registry.errors import InvalidSchema, RegistryError
from engine.registry.modes import Compatibility, Mode
from engine.registry.schema import (
    AVRO,
    JSON,
    PROTOBUF,
    ParsedSchema,
    Reference,
    ResolvedReference,
    Schema,
    parse_schema,
)
from engine.registry.state import RegistryState
from engine.registry.subject_names import (
    DEFAULT_CONTEXT,
    check_scope,
    check_subject,
    context_of,
    referred,
    scopes,
    split,
)
from engine.registry.topic_records import Key, Record, StoredSchema

SCHEMA_TYPES = (JSON, PROTOBUF, AVRO)
LATEST = -1
_DEEPEST_REFERENCES = 50
_MOST_PARSED = 1000
# All values are 32-bit integers on the wire of serializers.
_HIGHEST_ID = (1 << 31) - 1

# What else Confluent's config has would change how schemas are registered or compared: refused, not ignored.
_CONFIG_KEYS = ("compatibilityLevel", "normalize")


class SchemaRegistry:
    """One registry over its state and whatever writes its records."""

    def __init__(
        self, append: Callable[[list[Record]], Awaitable[None]], settled: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        """
        Args:
            append: writes records and returns when the state has them.
            settled: returns when the state has all that was written, also what ``append`` could not say of whether
                it was; raises as ``append``. None where ``append`` always can.
        """
        self.state = RegistryState()
        self._append = append
        self._settled = settled
        self._changing = asyncio.Lock()
        self._parsed: OrderedDict[tuple[Schema, tuple[ResolvedReference, ...]], ParsedSchema] = OrderedDict()

    # -- understanding schemas ----------------------------------------------------------------------------------

    def resolved(self, subject: str, schema: Schema) -> tuple[ResolvedReference, ...]:
        """All that a schema refers to, what others need first. Soft deletion takes nothing away from who refers.

        Raises:
            InvalidSchema: a reference leads nowhere.
        """
        found: dict[str, ResolvedReference] = {}
        self._resolve(subject, schema, found, 0)
        return tuple(found.values())

    def _resolve(self, subject: str, schema: Schema, found: dict[str, ResolvedReference], depth: int) -> None:
        if depth > _DEEPEST_REFERENCES:
            raise InvalidSchema("schemas refer to each other without end")
        for reference in schema.references:
            if reference.name in found:
                continue
            name = referred(subject, reference.subject)
            versions = self.state.subjects.get(name, {})
            wanted = max(versions, default=0) if reference.version == LATEST else reference.version
            stored = versions.get(wanted)
            if stored is None:
                raise _no_reference(reference)
            self._resolve(name, stored.schema, found, depth + 1)
            found[reference.name] = ResolvedReference(reference.name, stored.schema.text)

    async def parsed(self, subject: str, schema: Schema, *, is_new: bool = False) -> ParsedSchema:
        """Understand a schema as it stands in a subject.

        Raises:
            InvalidSchema: it is none.
        """
        references = self.resolved(subject, schema)
        if schema.schema_type not in SCHEMA_TYPES:
            raise InvalidSchema(
                f"Invalid schema type {schema.schema_type}: this registry has {', '.join(SCHEMA_TYPES)}"
            )
        if is_new and schema.schema_type == AVRO:
            # More is looked at than for those that are known.
            return await asyncio.to_thread(parse_schema, schema.schema_type, schema.text, references, is_new=True)
        key = schema._replace(metadata=None, rule_set=None), references
        known = self._parsed.get(key)
        if known is None:
            # A compiler may run for it: others go on meanwhile.
            known = await asyncio.to_thread(parse_schema, schema.schema_type, schema.text, references)
            self._parsed[key] = known
            if len(self._parsed) > _MOST_PARSED:
                self._parsed.popitem(last=False)
        else:
            self._parsed.move_to_end(key)
        return known

    async def _understood(self, subject: str, schema: Schema, normalize: bool, *, is_new: bool) -> Schema:
        """The same in the text that is stored."""
        schema = self._with_numbered_references(subject, schema, living=is_new)
        parsed = await self.parsed(subject, schema, is_new=is_new)
        normalize = normalize or bool(self.config_in_scope(subject).get("normalize"))
        return schema._replace(text=parsed.normalized() if normalize else parsed.canonical)

    def _with_numbered_references(self, subject: str, schema: Schema, *, living: bool) -> Schema:
        """The numbers of "latest" (-1) instead of that word. Raises: InvalidSchema: a version that has to be living is
        there no more."""
        found = []
        for each in schema.references:
            name = referred(subject, each.subject)
            known = {stored.version for stored in self.state.versions(name)}
            version = max(known, default=LATEST) if each.version == LATEST else each.version
            if living and version not in known:
                raise _no_reference(each)
            found.append(each._replace(version=version))
        return schema._replace(references=tuple(found))

    # -- finding ------------------------------------------------------------------------------------------------

    def version(self, subject: str, number: int, *, deleted: bool = False) -> StoredSchema:
        """A version, ``LATEST`` for the newest.

        Raises:
            RegistryError: 40401 or 40402.
        """
        known = self.state.versions(subject, deleted=deleted)
        if not known:
            raise _no_subject(subject)
        if number == LATEST:
            return known[-1]
        for each in known:
            if each.version == number:
                return each
        raise RegistryError(errors.VERSION_NOT_FOUND, f"Version {number} not found.")

    async def look_up(
        self, subject: str, schema: Schema, *, normalize: bool = False, deleted: bool = False
    ) -> StoredSchema:
        """The version of a subject that has a schema.

        Raises:
            RegistryError: 40401, 40403, or it is no schema.
        """
        if not self.state.versions(subject, deleted=deleted):
            raise _no_subject(subject)
        understood = await self._understood(subject, schema, normalize, is_new=False)
        found = await self._equal_version(subject, understood, deleted=deleted)
        if found is None:
            raise RegistryError(errors.SCHEMA_NOT_FOUND, "Schema not found")
        return found

    async def _equal_version(self, subject: str, schema: Schema, *, deleted: bool) -> StoredSchema | None:
        known = self.state.versions(subject, deleted=deleted)
        equal = [each for each in known if each.schema == schema]
        if equal:
            return max(equal, key=lambda each: each.version)
        # In other words it may be the same schema: attributes in another order, a descriptor of Protobuf, the types of
        # Avro written out instead of references to them.
        wanted = ""
        for stored in known[::-1]:
            is_resolved = schema.schema_type == AVRO and not schema.references and bool(stored.schema.references)
            compared = stored.schema._replace(text="", references=() if is_resolved else stored.schema.references)
            if compared != schema._replace(text=""):
                continue
            wanted = wanted or (await self.parsed(subject, schema)).normalized()
            try:
                parsed = await self.parsed(subject, stored.schema)
                if is_resolved:
                    parsed = parse_schema(AVRO, parsed.formatted("resolved"))
            except InvalidSchema:
                continue  # what it refers to is gone
            if parsed.normalized() == wanted:
                return stored
        return None

    def by_id(self, schema_id: int, subject: str = "") -> StoredSchema:
        """A version that has an id: of ``subject``, of a subject called so in another context, or in the context of
        ``subject``.

        Raises:
            RegistryError: 40403.
        """
        context, name = split(subject)
        # Contexts count for themselves, serializers write the id alone, and readers may say the bare subject.
        others = self.state.contexts if name and context == DEFAULT_CONTEXT else []
        for searched in (context, *others):
            for stored in self.state.with_id(searched, schema_id):
                if split(stored.subject)[1] == name:
                    return stored
        found = self.state.with_id(context, schema_id)
        if not found:
            raise RegistryError(errors.SCHEMA_NOT_FOUND, f"Schema {schema_id} not found")
        return found[0]

    # -- changing -----------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _change(self) -> AsyncIterator[None]:
        """One change at a time, and none before the state has what the one before it wrote: an id would be given
        twice."""
        async with self._changing:
            if self._settled is not None:
                await self._settled()
            yield

    async def register(
        self,
        subject: str,
        schema: Schema,
        *,
        version: int = 0,
        schema_id: int = -1,
        normalize: bool = False,
    ) -> StoredSchema:
        """Have a schema as a version of a subject: the one that it is already, or a new one.

        Args:
            version: which number it gets; 0 for the next.
            schema_id: which id it gets, in mode IMPORT alone.

        Raises:
            RegistryError: as Confluent's registry; 40901 with all that keeps it from being compatible.
        """
        check_subject(subject)
        # Before anything else, also where nothing may be written: producers register what has long been there.
        known = await self._registered(subject, schema, version, schema_id, normalize)
        if known is not None:
            return known
        async with self._change():
            self._check_mode(subject, schema_id)
            is_import = self.mode_in_scope(subject) is Mode.IMPORT
            understood = await self._understood(subject, schema, normalize, is_new=schema_id < 0 and not is_import)
            if version == 0 and schema_id < 0:
                known = await self._equal_version(subject, understood, deleted=False)
                if known is not None:
                    return known
            equal = [each for each in self.state.equal_to(context_of(subject), understood) if each.schema == understood]
            if schema_id < 0 and equal:
                schema_id = equal[0].schema_id
            if not is_import:
                problems = await self.problems_with(subject, understood)
                if problems:
                    raise RegistryError(
                        errors.INCOMPATIBLE_SCHEMA,
                        "Schema being registered is incompatible with an earlier schema for subject "
                        f'"{subject}", details: [{", ".join(problems)}]',
                    )
            stored = self._numbered(subject, understood, version, schema_id, is_import)
            await self._append(self._records_of(stored))
            return self.state.subjects[subject][stored.version]

    async def _registered(
        self, subject: str, schema: Schema, version: int, schema_id: int, normalize: bool
    ) -> StoredSchema | None:
        """The version that is what shall be registered, with the number and the id that it shall have."""
        # For a new subject as well: what takes long to understand keeps no other change waiting.
        understood = await self._understood(subject, schema, normalize, is_new=False)
        if not self.state.versions(subject):
            return None
        if version == 0:
            found = await self._equal_version(subject, understood, deleted=False)
        else:
            found = self.state.subjects[subject].get(version)
            if found is not None and (found.is_deleted or found.schema != understood):
                return None
        return found if found is not None and schema_id in (-1, found.schema_id) else None

    def _numbered(self, subject: str, schema: Schema, version: int, schema_id: int, is_import: bool) -> StoredSchema:
        following = max(self.state.subjects.get(subject, {}), default=0) + 1
        if version > 0 and version != following and not is_import:
            raise InvalidSchema(f"version {version} is not the next one of {subject}, which is {following}")
        context = context_of(subject)
        if schema_id < 0:
            schema_id = self.state.highest_ids.get(context, 0) + 1
            if schema_id > _HIGHEST_ID:
                raise RegistryError(errors.STORE_FAILED, "all ids are taken")
        else:
            for each in self.state.with_id(context, schema_id):
                if each.schema != schema:
                    raise RegistryError(
                        errors.NOT_PERMITTED,
                        f"id {schema_id} is that of another schema in context {context} (subject {each.subject} "
                        f"version {each.version}): it cannot be overwritten",
                    )
        return StoredSchema(subject, version or following, schema_id, schema)

    def _records_of(self, stored: StoredSchema) -> list[Record]:
        records = []
        context = context_of(stored.subject)
        if context not in self.state.contexts:
            records.append(topic_records.context_record(context))
        for each in self.state.versions(stored.subject, deleted=True):
            # What was deleted softly lives on in its newest version.
            again = each.is_deleted and each.schema_id == stored.schema_id and each.version < stored.version
            if again and not self.state.referrers(each.subject, each.version, deleted=True):
                records.append(topic_records.tombstone(Key(topic_records.SCHEMA, each.subject, each.version)))
        records.append(topic_records.schema_record(stored))
        return records

    async def delete_version(self, subject: str, number: int, *, permanent: bool = False) -> int:
        """Delete one version, softly first; returns its number.

        Raises:
            RegistryError: 40401, 40402, 40406, 40407, 42205, 42206.
        """
        async with self._change():
            self._check_writable(subject)
            if not self.state.versions(subject, deleted=True):
                raise _no_subject(subject)
            stored = self.version(subject, number, deleted=permanent or number != LATEST)
            if stored.is_deleted and not permanent:
                raise RegistryError(
                    errors.VERSION_SOFT_DELETED,
                    f"Subject '{subject}' Version {stored.version} was soft deleted.Set permanent=true to delete "
                    "permanently",
                )
            if permanent and not stored.is_deleted:
                raise RegistryError(
                    errors.VERSION_NOT_SOFT_DELETED,
                    f"Subject '{subject}' Version {stored.version} was not deleted first before being permanently "
                    "deleted",
                )
            self._check_unreferred(stored, permanent=permanent, within=None)
            if permanent:
                records = [topic_records.tombstone(Key(topic_records.SCHEMA, subject, stored.version))]
                records += self._left_behind(subject) if len(self.state.subjects[subject]) == 1 else []
                records.append(topic_records.ids_record(self.state.highest_ids))
            else:
                records = [topic_records.schema_record(stored._replace(is_deleted=True))]
            await self._append(records)
            return stored.version

    async def delete_subject(self, subject: str, *, permanent: bool = False) -> list[int]:
        """Delete all versions, softly first; returns their numbers.

        Raises:
            RegistryError: 40401, 40404, 40405, 42205, 42206.
        """
        async with self._change():
            self._check_writable(subject)
            known = self.state.versions(subject, deleted=True)
            if not known:
                raise _no_subject(subject)
            living = [each for each in known if not each.is_deleted]
            if permanent and living:
                raise RegistryError(
                    errors.SUBJECT_NOT_SOFT_DELETED,
                    f"Subject '{subject}' was not deleted first before being permanently deleted",
                )
            if not permanent and not living:
                raise RegistryError(
                    errors.SUBJECT_SOFT_DELETED,
                    f"Subject '{subject}' was soft deleted.Set permanent=true to delete permanently",
                )
            doomed = known if permanent else living
            for each in doomed:
                self._check_unreferred(each, permanent=permanent, within=subject)
            if not permanent:
                await self._append([topic_records.delete_subject_record(subject, doomed[-1].version)])
            else:
                keys = [Key(topic_records.SCHEMA, subject, each.version) for each in reversed(doomed)]
                records = [*map(topic_records.tombstone, keys), *self._left_behind(subject)]
                await self._append([*records, topic_records.ids_record(self.state.highest_ids)])
            return [each.version for each in doomed]

    def _left_behind(self, subject: str) -> list[Record]:
        """Takes away what a subject without versions still has."""
        keys = [Key(topic_records.MODE, subject)] if subject in self.state.modes else []
        keys += [Key(topic_records.CONFIG, subject)] if subject in self.state.configs else []
        return [topic_records.tombstone(key) for key in keys]

    def _check_unreferred(self, stored: StoredSchema, *, permanent: bool, within: str | None) -> None:
        referrers = self.state.referrers(stored.subject, stored.version, deleted=permanent)
        others = [each for each in referrers if each.subject != within]
        if others:
            by = ", ".join(sorted({f"{each.subject} version {each.version}" for each in others})[:10])
            key = topic_records.key_bytes(Key(topic_records.SCHEMA, stored.subject, stored.version)).decode()
            raise RegistryError(errors.REFERENCE_EXISTS, f"One or more references exist to the schema {key}: from {by}")

    # -- compatibility ------------------------------------------------------------------------------------------

    async def problems_with(self, subject: str, schema: Schema, against: list[StoredSchema] | None = None) -> list[str]:
        """Why a schema may not follow; empty if it may. Source: "Schema Evolution and Compatibility".

        Args:
            schema: as it was understood.
            against: compare with these, instead of those that the level says.
        """
        said = self.config_in_scope(subject)["compatibilityLevel"]
        if said not in list(Compatibility):
            raise RegistryError(
                errors.INVALID_COMPATIBILITY, f"the topic has {said} as compatibility of {subject}: set another"
            )
        level = Compatibility(said)
        if level is Compatibility.NONE:
            return []
        if against is None:
            versions = self.state.versions(subject)
            against = versions if level.is_transitive else versions[-1:]
        new = await self.parsed(subject, schema)
        for each in reversed(against):
            problems: list[str] = []
            if each.schema.schema_type != schema.schema_type:
                problems.append(
                    f"{{errorType:'SCHEMA_TYPE_CHANGED', description:\"{schema.schema_type} does not follow "
                    f'{each.schema.schema_type}"}}'
                )
            else:
                old = await self.parsed(subject, each.schema)
                try:
                    if level.new_reads_old:
                        problems += await asyncio.to_thread(new.problems_reading, old)
                    if level.old_reads_new:
                        problems += await asyncio.to_thread(old.problems_reading, new)
                except RecursionError:
                    raise InvalidSchema("the schema is nested too deeply to be compared") from None
            if problems:
                problems.append(f"{{oldSchemaVersion: {each.version}}}")
                problems.append(f"{{oldSchema: '{each.schema.text}'}}")
                problems.append(f"{{compatibility: '{level}'}}")
                return problems
        return []

    async def compare(
        self, subject: str, schema: Schema, number: int | None = None, *, normalize: bool = False
    ) -> list[str]:
        """Whether a schema could be registered, or (``number``) follow one version.

        Raises:
            RegistryError: 40402, or it is no schema.
        """
        against: list[StoredSchema] | None = None
        if number is not None:
            known = self.state.versions(subject)
            against = known[-1:] if number == LATEST else [each for each in known if each.version == number]
            if not against and number != LATEST:
                raise RegistryError(errors.VERSION_NOT_FOUND, f"Version {number} not found.")
        understood = await self._understood(subject, schema, normalize, is_new=True)
        return await self.problems_with(subject, understood, against)

    # -- config and mode ----------------------------------------------------------------------------------------

    def config_in_scope(self, subject: str) -> dict[str, Any]:
        """What holds for a subject: its own, its context's, or that of all."""
        found: dict[str, Any] = {"compatibilityLevel": str(Compatibility.BACKWARD)}
        for scope in reversed(scopes(subject)):
            found |= self.state.configs.get(scope, {})
        return found

    async def set_config(self, subject: str | None, wanted: Mapping[str, Any]) -> None:
        """Set what is given of a config, and leave the rest.

        Raises:
            RegistryError: 42203, 42205, or something that this registry does not do.
        """
        check_scope(subject)
        wanted = {name: value for name, value in wanted.items() if name in _CONFIG_KEYS or value is not None}
        unknown = [name for name in wanted if name not in _CONFIG_KEYS]
        if unknown:
            raise RegistryError(
                errors.UNPROCESSABLE,
                f"{', '.join(unknown)}: this registry has {' and '.join(_CONFIG_KEYS)} alone as config",
            )
        level = wanted.get("compatibilityLevel")
        if level is not None and level not in list(Compatibility):
            raise RegistryError(
                errors.INVALID_COMPATIBILITY,
                f"Invalid compatibility level {level}. Valid values are "
                f"{', '.join(each.lower() for each in Compatibility)}",
            )
        async with self._change():
            self._check_writable(subject or "")
            config = {**self.state.configs.get(subject, {})}
            for name, value in wanted.items():
                config[name] = value
                if value is None:
                    del config[name]
            await self._append([topic_records.config_record(subject, config)])

    async def delete_config(self, subject: str | None) -> dict[str, Any]:
        """Back to what holds without; returns what was.

        Raises:
            RegistryError: 40401, 42205.
        """
        async with self._change():
            self._check_writable(subject or "")
            before = self.state.configs.get(subject)
            if before is None and subject is not None:
                raise _no_subject(subject)
            if before is not None:
                await self._append([topic_records.tombstone(Key(topic_records.CONFIG, subject))])
            return before or {"compatibilityLevel": str(Compatibility.BACKWARD)}

    def mode_in_scope(self, subject: str) -> Mode:
        """What may be done with a subject."""
        for_all = self.state.modes.get(None, Mode.READWRITE)
        if for_all == Mode.READONLY_OVERRIDE:
            return Mode.READONLY_OVERRIDE
        for scope in scopes(subject):
            found = self.state.modes.get(scope)
            if found is not None:
                # What a registry of somebody else's may say (FORWARD): it is not for us to write then.
                return Mode(found) if found in list(Mode) else Mode.READONLY
        return Mode.READWRITE

    async def set_mode(self, subject: str | None, wanted: str, *, force: bool = False) -> None:
        """Change what may be done; into IMPORT only where there are no schemas, unless forced.

        Raises:
            RegistryError: 42204, 42205.
        """
        check_scope(subject)
        if wanted not in list(Mode):
            raise RegistryError(
                errors.INVALID_MODE,
                f"Invalid mode {wanted}. Valid values are {', '.join(each.lower() for each in Mode)}",
            )
        async with self._change():
            records: list[Record] = []
            if wanted == Mode.IMPORT and self.mode_in_scope(subject or "") is not Mode.IMPORT and not force:
                records = self._cleared_for_import(subject)
            await self._append([*records, topic_records.mode_record(subject, wanted)])

    def _cleared_for_import(self, subject: str | None) -> list[Record]:
        reached = self.state.all_versions() if subject is None else self.state.versions(subject, deleted=True)
        versions = list(reached)
        if any(not each.is_deleted for each in versions):
            raise RegistryError(
                errors.NOT_PERMITTED, "Cannot import since found existing subjects: delete them, or use force=true"
            )
        for each in versions:
            self._check_unreferred(each, permanent=True, within=subject)
        records = [topic_records.tombstone(Key(topic_records.SCHEMA, each.subject, each.version)) for each in versions]
        return [*records, topic_records.ids_record(self.state.highest_ids)] if records else []

    async def delete_mode(self, subject: str | None) -> str:
        """Back to what holds without; returns what was.

        Raises:
            RegistryError: 40401.
        """
        async with self._change():
            before = self.state.modes.get(subject)
            if before is None and subject is not None:
                raise _no_subject(subject)
            if before is not None:
                await self._append([topic_records.tombstone(Key(topic_records.MODE, subject))])
            return before or Mode.READWRITE

    def _check_writable(self, subject: str) -> None:
        if self.mode_in_scope(subject) in (Mode.READONLY, Mode.READONLY_OVERRIDE):
            raise RegistryError(
                errors.NOT_PERMITTED, f"Subject {subject} in context {context_of(subject)} is in read-only mode"
            )

    def _check_mode(self, subject: str, schema_id: int) -> None:
        self._check_writable(subject)
        is_import = self.mode_in_scope(subject) is Mode.IMPORT
        where = f"Subject {subject} in context {context_of(subject)}"
        if schema_id >= 0 and not is_import:
            raise RegistryError(errors.NOT_PERMITTED, f"{where} is not in import mode")
        if schema_id < 0 and is_import:
            raise RegistryError(errors.NOT_PERMITTED, f"{where} is not in read-write mode")


def _no_reference(reference: Reference) -> InvalidSchema:
    where = f'subject "{reference.subject}" and version {reference.version}'
    return InvalidSchema(f"No schema reference found for {where}: register it first")


def _no_subject(subject: str) -> RegistryError:
    return RegistryError(errors.SUBJECT_NOT_FOUND, f"Subject '{subject}' not found.")

"""Reading and masking records by rules that were read when reading began."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import NamedTuple

from console.values.daemon_threads import in_thread
from console.values.masks import Masks, apply_masks
from console.values.registry import Registry, RegistryError, SchemaPlace
from console.values.schema_files import serde_of_file
from console.values.schemas import Schema, SchemaType, serde_of
from console.values.serde_words import AUTO, WITH_SCHEMA, SerdeWord
from console.values.serdes import SIMPLE, Serde, SerdeError
from console.values.wire_format import Framed, framed, named_by_header, unframed
from console.viewmodel.records import PartReading, Reading, RecordView

PARTS = ("key", "value")
NO_REGISTRY = "no registry is known: --registry URL, `registry:` in serdes.yaml, or in the cluster file"
_AUTO = SerdeWord(AUTO)
# Bytes that begin with a zero by chance: after so many ids that the registry does not know it is not asked for more.
_MOST_STRANGERS = 20
# So many records are read before others have their turn.
_TURN = 100


class Registered:
    """The serde of a registered schema: reads and writes what follows the schema's id."""

    def __init__(self, schema_id: int | str, schema: Schema) -> None:
        """Blocks while protoc runs. Raises: SerdeError."""
        self.schema_id = schema_id
        # Subjects that have it.
        self.places: tuple[SchemaPlace, ...] = ()
        word = str(schema.type).lower() if schema.type is not SchemaType.JSON else "json schema"
        self._name = f"{word}, schema {schema_id if isinstance(schema_id, int) else schema_id[:8]}"
        self._serde = serde_of(schema, self._name)

    def read(self, payload: bytes) -> tuple[bytes, str]:
        """Text or JSON, and what it was read as. Raises: SerdeError."""
        name_of: Callable[[bytes], str] | None = getattr(self._serde, "name_of", None)
        return self._serde.read(payload), self._serde.name if name_of is None else name_of(payload)

    def reading(self, name: str, topic: str, part: str) -> PartReading:
        """That it read a key or value of a topic as ``name``; of several subjects that is told which serializers
        call ``TOPIC-value``, else one that begins with the topic's name, else the first."""
        if isinstance(self.schema_id, str):
            return PartReading(name)
        wanted = f"{topic}-{part}"
        ranked = sorted(self.places, key=lambda at: (at.subject != wanted, not at.subject.startswith(f"{topic}-"), at))
        subject, version = ranked[0] if ranked else ("", None)
        return PartReading(name, schema_id=self.schema_id, subject=subject, version=version)

    def write(self, text: str, like: bytes | None = None) -> bytes:
        """With the magic byte and the id before it; as the message that ``like`` (a payload) is. Raises: SerdeError."""
        if isinstance(self.schema_id, str):
            raise SerdeError("a header names its schema: such values are read only")
        write_like: Callable[[str, bytes], bytes] | None = getattr(self._serde, "write_like", None)
        if like is None or write_like is None:
            return framed(self.schema_id, self._serde.write(text))
        return framed(self.schema_id, write_like(text, like))


class _Topic(NamedTuple):
    """What holds for one topic."""

    words: tuple[SerdeWord, SerdeWord]
    masks: Masks


class RegisteredSerdes:
    """The serdes of one registry's schemas, made once each."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self._made: dict[int | str, Registered | SerdeError] = {}

    def made(self, schema_id: int | str) -> Registered | SerdeError | None:
        """What was made before, or why it cannot be."""
        return self._made.get(schema_id)

    async def make(self, schema_id: int | str, schema: Schema | None = None) -> RegistryError | None:
        """Ask the registry (unless the ``schema`` is there) and make it. Returns why the registry does not tell."""
        try:
            found = schema or await self.registry.schema(schema_id)
        except RegistryError as error:
            return error
        places = asyncio.ensure_future(self._places(schema_id))
        try:
            made = await in_thread(lambda: Registered(schema_id, found))
            made.places = await places
            self._made[schema_id] = made
        except SerdeError as error:
            self._made[schema_id] = error
        finally:
            places.cancel()
        return None

    async def _places(self, schema_id: int | str) -> tuple[SchemaPlace, ...]:
        return () if isinstance(schema_id, str) else await self.registry.places(schema_id)


class ValueReader:
    """Reads records as rules said when it was made; several may be at work at a time."""

    def __init__(
        self, word_of: Callable[[str, str], SerdeWord], masks: Masks, registered: RegisteredSerdes | None
    ) -> None:
        """``word_of`` gives the serde of a topic's ``key`` or ``value``."""
        self._word_of = word_of
        self._masks = masks
        self._registered = registered
        self._fixed: dict[SerdeWord, Serde | SerdeError] = {}
        self._topics: dict[str, _Topic] = {}
        self._strangers: defaultdict[tuple[str, str], set[int | str]] = defaultdict(set)

    def _of(self, topic: str) -> _Topic:
        found = self._topics.get(topic)
        if found is None:
            words = (self._word_of(topic, "key"), self._word_of(topic, "value"))
            found = self._topics[topic] = _Topic(words, self._masks.of_topic(topic))
        return found

    async def read(self, records: list[RecordView]) -> list[RecordView]:
        """The same records, read and masked."""
        if all(self._is_plain(topic) for topic in {each.topic for each in records}):
            return records
        unknown = await self._prepare(records)
        made = []
        for at, record in enumerate(records):
            made.append(self._read(record, unknown))
            if at % _TURN == _TURN - 1:
                await asyncio.sleep(0)
        return made

    def _is_plain(self, topic: str) -> bool:
        """Whether nothing is to be done at all."""
        words, masks = self._of(topic)
        return words == (_AUTO, _AUTO) and self._registered is None and not masks.rules

    async def _prepare(self, records: list[RecordView]) -> dict[int | str, RegistryError]:
        """Have ready what reading needs. Returns the ids that have no schema now, and why."""
        wanted: dict[int | str, None] = {}
        for record in records:
            for part, word, data in self._parts(record):
                if word.file or word.name not in (AUTO, *WITH_SCHEMA):
                    if word not in self._fixed:
                        self._fixed[word] = await load(word)
                    continue
                found = _named(record, part, data) if self._registered is not None else None
                if found is None or found.schema_id in wanted:
                    continue
                assert self._registered is not None
                if self._registered.made(found.schema_id) is not None:
                    continue
                if word.name == AUTO:
                    strangers = self._strangers[record.topic, part]
                    if len(strangers) >= _MOST_STRANGERS and found.schema_id not in strangers:
                        continue
                    strangers.add(found.schema_id)
                wanted[found.schema_id] = None
        answers = await asyncio.gather(*(self._ask(each) for each in wanted))
        return {each: answer for each, answer in zip(wanted, answers, strict=True) if answer is not None}

    async def _ask(self, schema_id: int | str) -> RegistryError | None:
        assert self._registered is not None
        missing = await self._registered.make(schema_id)
        if missing is None or not missing.is_unknown:
            for strangers in self._strangers.values():
                strangers.discard(schema_id)
        return missing

    def _parts(self, record: RecordView) -> list[tuple[str, SerdeWord, bytes]]:
        """Key and value with their serdes, but for what is null, or what Kafka wrote for itself."""
        if record.meaning is not None or record.is_control or record.is_unreadable:
            return []
        words = self._of(record.topic).words
        pairs = zip(PARTS, words, (record.key, record.value), strict=True)
        return [(part, word, data) for part, word, data in pairs if data is not None]

    def _read(self, record: RecordView, unknown: Mapping[int | str, RegistryError]) -> RecordView:
        found: dict[str, tuple[bytes, PartReading]] = {}
        for part, word, data in self._parts(record):
            read = self._read_part(word, data, unknown, _named(record, part, data), (record.topic, part))
            if read is not None:
                found[part] = read
        if found:
            key, key_reading = found.get("key", (record.key, PartReading()))
            value, value_reading = found.get("value", (record.value, PartReading()))
            record = record._replace(meaning=(key, value), reading=Reading(key_reading, value_reading))
        masks = self._of(record.topic).masks
        return apply_masks(record, masks) if masks.rules else record

    def _read_part(
        self,
        word: SerdeWord,
        data: bytes,
        unknown: Mapping[int | str, RegistryError],
        found: Framed | None,
        where: tuple[str, str],
    ) -> tuple[bytes, PartReading] | None:
        """What the bytes say, or why they do not; ``None``: nothing is known of them. ``where``: topic and part."""
        if word.file or word.name not in (AUTO, *WITH_SCHEMA):
            return _by(self._fixed[word], data)
        if self._registered is None:
            return None if word.name == AUTO else (data, PartReading(problem=NO_REGISTRY))
        if found is None:
            if word.name == AUTO:
                return None
            return data, PartReading(problem="it does not begin with a zero byte and a schema's id")
        serde = self._registered.made(found.schema_id)
        if serde is None:
            missing = unknown.get(found.schema_id)
            if missing is None or (word.name == AUTO and missing.is_unknown):
                return None
            return data, PartReading(problem=str(missing))
        if isinstance(serde, SerdeError):
            return data, PartReading(problem=f"schema {found.schema_id}: {serde}")
        try:
            readable, name = serde.read(found.payload)
        except SerdeError as error:
            return data, PartReading(problem=str(error))
        return readable, serde.reading(name, *where)


def _named(record: RecordView, part: str, data: bytes) -> Framed | None:
    """By a header, or by what the bytes begin with."""
    return (named_by_header(record.headers, part, data) if record.headers else None) or unframed(data)


async def load(word: SerdeWord) -> Serde | SerdeError:
    """The serde of a name or a file, or why there is none."""
    try:
        if word.file:
            return await in_thread(lambda: serde_of_file(word))
        return SIMPLE[word.name]()
    except SerdeError as error:
        return error


def _by(serde: Serde | SerdeError, data: bytes) -> tuple[bytes, PartReading]:
    if isinstance(serde, SerdeError):
        return data, PartReading(problem=str(serde))
    try:
        return serde.read(data), PartReading(serde.name, is_text=serde.is_text)
    except SerdeError as error:
        return data, PartReading(problem=str(error))

"""How records are read: rules by topic, what can be told with certainty, and masks over all of it.

One :class:`Values` belongs to a console or a command. It reads its files anew whenever reading begins, so that what was
mended holds at once. What cannot be read stays bytes, with the reason; a file of masks that is wrong lets nothing be
read at all.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from console.values.daemon_threads import in_thread
from console.values.masking_file import parse_masking_file
from console.values.masks import Masks, apply_masks
from console.values.options import DEFAULT_VALUES, ValueOptions
from console.values.registry import Registry, RegistryConfig, RegistryError
from console.values.schema_files import serde_of_file
from console.values.schemas import Schema, SchemaType, serde_of
from console.values.serde_file import SerdeFile, SerdeRule, parse_serde_file
from console.values.serde_words import AUTO, WITH_SCHEMA, SerdeWord
from console.values.serdes import SIMPLE, Serde, SerdeError
from console.values.wire_format import framed, unframed
from console.viewmodel.records import PartReading, Reading, RecordView
from engine.supervisor.cluster_spec import SpecErrors

PARTS = ("key", "value")
NO_REGISTRY = "no registry is known: --registry URL, or `registry:` in serdes.yaml"
_AUTO = SerdeWord(AUTO)
# Bytes that begin with a zero by chance: after so many ids that the registry does not know it is not asked for more.
_MOST_STRANGERS = 20
# So many records are read before others have their turn.
_TURN = 100


class MaskingBroken(Exception):
    """The file of masks cannot be used, so nothing is shown. The message says what is wrong with it."""


class Registered:
    """The serde of a registered schema: reads and writes what follows the schema's id."""

    def __init__(self, schema_id: int, schema: Schema) -> None:
        """Blocks while protoc runs. Raises: SerdeError."""
        self.schema_id = schema_id
        word = str(schema.type).lower() if schema.type is not SchemaType.JSON else "json schema"
        self._name = f"{word}, schema {schema_id}"
        self._serde = serde_of(schema, self._name)

    def read(self, payload: bytes) -> tuple[bytes, str]:
        """Text or JSON, and what it was read as. Raises: SerdeError."""
        name_of: Callable[[bytes], str] | None = getattr(self._serde, "name_of", None)
        return self._serde.read(payload), self._serde.name if name_of is None else name_of(payload)

    def write(self, text: str, like: bytes | None = None) -> bytes:
        """With the magic byte and the id before it; as the message that ``like`` (a payload) is. Raises: SerdeError."""
        write_like: Callable[[str, bytes], bytes] | None = getattr(self._serde, "write_like", None)
        if like is None or write_like is None:
            return framed(self.schema_id, self._serde.write(text))
        return framed(self.schema_id, write_like(text, like))


class _Topic(NamedTuple):
    """What holds for one topic."""

    words: tuple[SerdeWord, SerdeWord]
    masks: Masks


class Values:
    """Reads and writes keys and values."""

    def __init__(
        self,
        options: ValueOptions = DEFAULT_VALUES,
        *,
        folder: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """``folder`` has the user's own ``serdes.yaml`` and ``masking.yaml``; without it there are none.

        Raises:
            SerdeError, ValueError: the options name what there is not.
        """
        self._environment = os.environ if environment is None else environment
        self.serdes_path = _path(options.serdes_file, folder, "serdes.yaml")
        self.masking_path = _path(options.masking_file, folder, "masking.yaml")
        self._masking_is_wanted = options.masking_file is not None
        self._registry_option = RegistryConfig.parse(options.registry) if options.registry else None
        self._option_rule = SerdeRule(
            "*",
            SerdeWord.parse(options.key_serde) if options.key_serde else None,
            SerdeWord.parse(options.value_serde) if options.value_serde else None,
        )
        self._session: dict[str, SerdeRule] = {}
        self._file = SerdeFile()
        self._masks = Masks()
        self._salt = secrets.token_bytes(16)
        self._registry: Registry | None = None
        self._registered: dict[int, Registered | SerdeError] = {}
        self._fixed: dict[SerdeWord, Serde | SerdeError] = {}
        self._topics: dict[str, _Topic] = {}
        self._strangers: defaultdict[tuple[str, str], set[int]] = defaultdict(set)
        # What is wrong with the file of serdes; then only what is certain is read.
        self.problem = ""

    # -- what holds ------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Read the files. Raises: MaskingBroken."""
        self._masks = self._read_masks()
        self.problem, self._file = "", SerdeFile()
        if self.serdes_path is not None:
            try:
                text = self.serdes_path.read_text(encoding="utf-8")
                self._file = parse_serde_file(text, self._environment, str(self.serdes_path.parent))
            except FileNotFoundError:
                pass
            except (OSError, UnicodeDecodeError) as error:
                self.problem = f"{self.serdes_path} cannot be read: {error}"
            except SpecErrors as error:
                self.problem = error.in_file(str(self.serdes_path)).splitlines()[0]
        config = self._registry_option or self._file.registry
        if config is None:
            self._registry = None
        elif self._registry is None or self._registry.config != config:
            self._registry, self._registered = Registry(config), {}
        self._topics.clear()
        self._fixed.clear()
        self._strangers.clear()

    def _read_masks(self) -> Masks:
        path = self.masking_path
        if path is None:
            return Masks()
        try:
            return parse_masking_file(path.read_text(encoding="utf-8"), self._environment, self._salt)
        except FileNotFoundError:
            if self._masking_is_wanted:
                raise MaskingBroken(f"there is no {path}: no record is shown without its masks") from None
            return Masks()
        except (OSError, UnicodeDecodeError) as error:
            raise MaskingBroken(f"{path} cannot be read, so no record is shown: {error}") from None
        except SpecErrors as error:
            first = error.in_file(str(path)).splitlines()[0]
            raise MaskingBroken(f"no record is shown while masks are wrong: {first}") from None

    @property
    def registry_url(self) -> str:
        """Of the registry that is asked; empty without one."""
        return "" if self._registry is None else self._registry.config.url

    def word(self, topic: str, part: str) -> SerdeWord:
        """How ``key`` or ``value`` of a topic is read: as said here, on the command line, in the file, or ``auto``."""
        session = self._session.get(topic)
        found: SerdeWord | None = getattr(session, part) if session is not None else None
        return found or getattr(self._option_rule, part) or self._file.word(topic, part) or _AUTO

    def use(self, topic: str, key: SerdeWord, value: SerdeWord) -> None:
        """From now on, until the console is left."""
        self._session[topic] = SerdeRule(topic, key, value)
        self._topics.clear()

    def is_masked(self, topic: str) -> bool:
        """Whether rules may take something out of a topic's records. Raises: MaskingBroken."""
        return bool(self._read_masks().of_topic(topic).rules)

    def _of(self, topic: str) -> _Topic:
        found = self._topics.get(topic)
        if found is None:
            words = (self.word(topic, "key"), self.word(topic, "value"))
            found = self._topics[topic] = _Topic(words, self._masks.of_topic(topic))
        return found

    # -- reading ---------------------------------------------------------------------------------------------------

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
        return words == (_AUTO, _AUTO) and self._registry is None and not masks.rules

    async def _prepare(self, records: list[RecordView]) -> dict[int, RegistryError]:
        """Have ready what reading needs. Returns the ids that have no schema now, and why."""
        wanted: dict[int, None] = {}
        for record in records:
            for part, word, data in self._parts(record):
                if word.file or word.name not in (AUTO, *WITH_SCHEMA):
                    if word not in self._fixed:
                        self._fixed[word] = await self._load(word)
                    continue
                found = unframed(data) if self._registry is not None else None
                if found is None or found.schema_id in self._registered or found.schema_id in wanted:
                    continue
                if word.name == AUTO:
                    strangers = self._strangers[record.topic, part]
                    if len(strangers) >= _MOST_STRANGERS and found.schema_id not in strangers:
                        continue
                    strangers.add(found.schema_id)
                wanted[found.schema_id] = None
        answers = await asyncio.gather(*(self._ask(each) for each in wanted))
        return {each: answer for each, answer in zip(wanted, answers, strict=True) if answer is not None}

    @staticmethod
    async def _load(word: SerdeWord) -> Serde | SerdeError:
        try:
            if word.file:
                return await in_thread(lambda: serde_of_file(word))
            return SIMPLE[word.name]()
        except SerdeError as error:
            return error

    async def _ask(self, schema_id: int) -> RegistryError | None:
        assert self._registry is not None
        try:
            schema = await self._registry.schema(schema_id)
        except RegistryError as error:
            return error
        try:
            self._registered[schema_id] = await in_thread(lambda: Registered(schema_id, schema))
        except SerdeError as error:
            self._registered[schema_id] = error
        for strangers in self._strangers.values():
            strangers.discard(schema_id)
        return None

    def _parts(self, record: RecordView) -> list[tuple[str, SerdeWord, bytes]]:
        """Key and value with their serdes, but for what is null, or what Kafka wrote for itself."""
        if record.meaning is not None or record.is_control or record.is_unreadable:
            return []
        words = self._of(record.topic).words
        pairs = zip(PARTS, words, (record.key, record.value), strict=True)
        return [(part, word, data) for part, word, data in pairs if data is not None]

    def _read(self, record: RecordView, unknown: Mapping[int, RegistryError]) -> RecordView:
        found: dict[str, tuple[bytes, PartReading]] = {}
        for part, word, data in self._parts(record):
            read = self._read_part(word, data, unknown)
            if read is not None:
                found[part] = read
        if found:
            key, key_reading = found.get("key", (record.key, PartReading()))
            value, value_reading = found.get("value", (record.value, PartReading()))
            record = record._replace(meaning=(key, value), reading=Reading(key_reading, value_reading))
        masks = self._of(record.topic).masks
        return apply_masks(record, masks) if masks.rules else record

    def _read_part(
        self, word: SerdeWord, data: bytes, unknown: Mapping[int, RegistryError]
    ) -> tuple[bytes, PartReading] | None:
        """What the bytes say, or why they do not; ``None``: nothing is known of them."""
        if word.file or word.name not in (AUTO, *WITH_SCHEMA):
            return _by(self._fixed[word], data)
        if self._registry is None:
            return None if word.name == AUTO else (data, PartReading(problem=NO_REGISTRY))
        found = unframed(data)
        if found is None:
            if word.name == AUTO:
                return None
            return data, PartReading(problem="it does not begin with a zero byte and a schema's id")
        serde = self._registered.get(found.schema_id)
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
        return readable, PartReading(name)

    # -- writing ---------------------------------------------------------------------------------------------------

    async def write(self, topic: str, part: str, text: str, like: bytes | None = None) -> bytes:
        """What is typed, as the topic's serde has it: of registered schemas that of ``like`` (bytes that were
        read), else the newest of the subject ``TOPIC-key`` or ``TOPIC-value``.

        Raises:
            SerdeError: it cannot be.
        """
        self.begin_writing()
        word = self.word(topic, part)
        if word.file or word.name not in (AUTO, *WITH_SCHEMA):
            serde = await self._load(word)
            if isinstance(serde, SerdeError):
                raise serde
            return serde.write(text)
        before = unframed(like) if like is not None and self._registry is not None else None
        if before is not None and before.schema_id not in self._registered:
            await self._ask(before.schema_id)
        of_before = self._registered.get(before.schema_id) if before is not None else None
        if isinstance(of_before, SerdeError):
            raise of_before
        if of_before is not None and before is not None:
            return of_before.write(text, before.payload)
        if word.name == AUTO:
            return text.encode()
        if self._registry is None:
            raise SerdeError(NO_REGISTRY)
        newest = await self._registry.latest(f"{topic}-{part}")
        if str(newest.schema.type).lower() != word.name:
            raise SerdeError(f"the newest schema of {topic}-{part} is {newest.schema.type}, not {word.name}")
        made = await in_thread(lambda: Registered(newest.schema_id, newest.schema))
        self._registered[newest.schema_id] = made
        return made.write(text)

    def begin_writing(self) -> None:
        """Before anything was read. Raises: SerdeError."""
        if self._registry is None and not self._topics:
            try:
                self.begin()
            except MaskingBroken as error:
                raise SerdeError(str(error)) from None


def _by(serde: Serde | SerdeError, data: bytes) -> tuple[bytes, PartReading]:
    if isinstance(serde, SerdeError):
        return data, PartReading(problem=str(serde))
    try:
        return serde.read(data), PartReading(serde.name, is_text=serde.is_text)
    except SerdeError as error:
        return data, PartReading(problem=str(error))


def _path(given: str | None, folder: Path | None, name: str) -> Path | None:
    if given is not None:
        return Path(given)
    return None if folder is None else folder / name

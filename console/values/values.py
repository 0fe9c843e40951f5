"""How records are read: rules by topic, what can be told with certainty, and masks over all of it.

One :class:`Values` belongs to a console or a command. It reads its files anew whenever reading begins, so that what was
mended holds at once. What cannot be read stays bytes, with the reason; a file of masks that is wrong lets nothing be
read at all.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from console.values.masking_file import parse_masking_file
from console.values.masks import Masks
from console.values.options import DEFAULT_VALUES, ValueOptions
from console.values.registry import Registry, RegistryConfig, RegistryError
from console.values.serde_file import SerdeFile, SerdeRule, parse_serde_file
from console.values.serde_words import AUTO, WITH_SCHEMA, SerdeWord
from console.values.serdes import SerdeError
from console.values.value_reader import NO_REGISTRY, Registered, RegisteredSerdes, ValueReader, load
from console.values.wire_format import unframed
from console.viewmodel.key_search import typed_key
from engine.supervisor.yaml_nodes import SpecErrors

_AUTO = SerdeWord(AUTO)


class MaskingBroken(Exception):
    """The file of masks cannot be used, so nothing is shown. The message says what is wrong with it."""


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
        # Of the embedded cluster itself: asked where nobody says another.
        self._cluster_registry: RegistryConfig | None = None
        self._option_rule = SerdeRule(
            "*",
            SerdeWord.parse(options.key_serde) if options.key_serde else None,
            SerdeWord.parse(options.value_serde) if options.value_serde else None,
        )
        self._session: dict[str, SerdeRule] = {}
        self._file = SerdeFile()
        self._salt = secrets.token_bytes(16)
        self._registered: RegisteredSerdes | None = None
        # What is wrong with the file of serdes; then only what is certain is read.
        self.problem = ""

    # -- what holds ------------------------------------------------------------------------------------------------

    def begin(self) -> ValueReader:
        """Read the files. Raises: MaskingBroken."""
        masks = self._read_masks()
        self.read_rules()
        return ValueReader(self.word, masks, self._registered)

    def cluster_has_registry(self, url: str) -> None:
        """The cluster's own schema registry, or none (empty): asked where neither options nor file name one."""
        self._cluster_registry = RegistryConfig.parse(url) if url else None

    def read_rules(self) -> None:
        """Read the file of serdes; ``problem`` says what is wrong with it."""
        self.problem, self._file = "", SerdeFile()
        if self.serdes_path is not None:
            try:
                text = self.serdes_path.read_text(encoding="utf-8")
                self._file = parse_serde_file(text, self._environment, str(self.serdes_path.parent))
                if self._file.has_secret and self.serdes_path.stat().st_mode & 0o077:
                    self._file = self._file._replace(registry=None)
                    self.problem = (
                        f"the registry's password stands in a file that others may read: write ${{NAME}} for a "
                        f"variable of the environment, or chmod 600 {self.serdes_path}"
                    )
            except FileNotFoundError:
                pass
            except (OSError, UnicodeDecodeError) as error:
                self.problem = f"{self.serdes_path} cannot be read: {error}"
            except SpecErrors as error:
                self.problem = error.in_file(str(self.serdes_path)).splitlines()[0]
        config = self._registry_option or self._file.registry or self._cluster_registry
        if config is None:
            self._registered = None
        elif self._registered is None or self._registered.registry.config != config:
            self._registered = RegisteredSerdes(Registry(config))

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
    def registry_config(self) -> RegistryConfig | None:
        """Of the registry that is asked, if there is one."""
        return None if self._registered is None else self._registered.registry.config

    @property
    def registry_url(self) -> str:
        """Of the registry that is asked; empty without one."""
        return "" if self._registered is None else self._registered.registry.config.url

    def word(self, topic: str, part: str) -> SerdeWord:
        """How ``key`` or ``value`` of a topic is read: as said here, on the command line, in the file, or ``auto``."""
        session = self._session.get(topic)
        found: SerdeWord | None = getattr(session, part) if session is not None else None
        return found or getattr(self._option_rule, part) or self._file.word(topic, part) or _AUTO

    def use(self, topic: str, key: SerdeWord, value: SerdeWord) -> None:
        """From now on, until the console is left."""
        self._session[topic] = SerdeRule(topic, key, value)

    def is_masked(self, topic: str) -> bool:
        """Whether rules may take something out of a topic's records. Raises: MaskingBroken."""
        return bool(self._read_masks().of_topic(topic).rules)

    # -- writing ---------------------------------------------------------------------------------------------------

    async def write(self, topic: str, part: str, text: str, like: bytes | None = None) -> bytes:
        """What is typed, as the topic's serde has it: of registered schemas that of ``like`` (bytes that were
        read), else the newest of the subject ``TOPIC-key`` or ``TOPIC-value``; where nothing is said of the topic and
        the registry has no such subject, the text itself.

        Raises:
            SerdeError: it cannot be.
        """
        self.read_rules()
        word, registered = self.word(topic, part), self._registered
        if word.file or word.name not in (AUTO, *WITH_SCHEMA):
            serde = await load(word)
            if isinstance(serde, SerdeError):
                raise serde
            return serde.write(text)
        before = unframed(like) if like is not None else None
        if before is not None and registered is not None:
            if registered.made(before.schema_id) is None:
                missing = await registered.make(before.schema_id)
                if missing is not None and not missing.is_unknown:
                    raise missing
            of_before = registered.made(before.schema_id)
            if isinstance(of_before, SerdeError):
                raise of_before
            if of_before is not None:
                return of_before.write(text, before.payload)
        if registered is None:
            if word.name == AUTO:
                return text.encode()
            raise SerdeError(NO_REGISTRY)
        try:
            newest = await registered.registry.latest(f"{topic}-{part}")
        except RegistryError as error:
            if word.name != AUTO:
                raise
            if error.is_unknown:
                return text.encode()
            # Text among values of a schema would stop whoever reads them.
            raise SerdeError(
                f"{error}; so nobody knows whether {topic}-{part} has a schema: text needs the serde string"
            ) from None
        if word.name not in (AUTO, str(newest.schema.type).lower()):
            raise SerdeError(f"the newest schema of {topic}-{part} is {newest.schema.type}, not {word.name}")
        if registered.made(newest.schema_id) is None:
            await registered.make(newest.schema_id, newest.schema)
        of_newest = registered.made(newest.schema_id)
        if isinstance(of_newest, SerdeError) or of_newest is None:
            raise of_newest or SerdeError(f"schema {newest.schema_id} is not there")
        return of_newest.write(text)

    def written_as(self, topic: str, part: str, data: bytes) -> str:
        """By which registered schema :meth:`write` made these bytes; empty if by none."""
        found = unframed(data)
        if found is None or self._registered is None:
            return ""
        made = self._registered.made(found.schema_id)
        try:
            # Read again: of several messages of Protobuf only the bytes tell which it is.
            return made.reading(made.read(found.payload)[1], topic, part).words if isinstance(made, Registered) else ""
        except SerdeError:
            return ""

    async def sought_key(self, topic: str, typed: str) -> bytes:
        """A key that somebody looks for, as :meth:`write` has it; ``0x…`` are bytes.

        Raises:
            ValueError, SerdeError: it is none.
        """
        return typed_key(typed) if typed.startswith("0x") else await self.write(topic, "key", typed)


def _path(given: str | None, folder: Path | None, name: str) -> Path | None:
    if given is not None:
        return Path(given)
    return None if folder is None else folder / name

"""Definitions of configs as Kafka has them: name, type, default, valid values, how they change at run time.

The rules of parsing and the words of refusals are those of org.apache.kafka.common.config.ConfigDef. The definitions
themselves stand in text tables (:mod:`engine.model.broker_config_table`, :mod:`engine.model.topic_config`), one config
in two lines, because some 150 objects with documentation would cost every broker start-up time and memory.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple, TypeAlias

ConfigValue: TypeAlias = bool | int | float | str | tuple[str, ...] | None


class ConfigType(StrEnum):
    """Types of ConfigDef.Type."""

    BOOLEAN = "boolean"
    STRING = "string"
    INT = "int"
    SHORT = "short"
    LONG = "long"
    DOUBLE = "double"
    LIST = "list"
    CLASS = "class"
    PASSWORD = "password"

    @property
    def id(self) -> int:
        """The number in DescribeConfigsResponse (org.apache.kafka.clients.admin.ConfigEntry.ConfigType)."""
        return _TYPE_IDS[self]


_TYPE_IDS = {
    ConfigType.BOOLEAN: 1,
    ConfigType.STRING: 2,
    ConfigType.INT: 3,
    ConfigType.SHORT: 4,
    ConfigType.LONG: 5,
    ConfigType.DOUBLE: 6,
    ConfigType.LIST: 7,
    ConfigType.CLASS: 8,
    ConfigType.PASSWORD: 9,
}

_INTEGER_BITS = {ConfigType.INT: 32, ConfigType.SHORT: 16, ConfigType.LONG: 64}


class UpdateMode(StrEnum):
    """How a broker config may change while the broker runs (KIP-226)."""

    READ_ONLY = "read-only"
    PER_BROKER = "per-broker"
    CLUSTER_WIDE = "cluster-wide"


class ConfigError(Exception):
    """One or more configs are wrong; ``errors`` has one sentence each, in Kafka's words."""

    def __init__(self, errors: Sequence[str]) -> None:
        assert errors, "an error without reason"
        super().__init__(*errors)
        self.errors = tuple(errors)

    def __str__(self) -> str:
        if len(self.errors) == 1:
            return self.errors[0]
        return f"{len(self.errors)} errors:" + "".join(f"\n  {error}" for error in self.errors)


# Marks a config without default: it has to be given.
REQUIRED = "!"


class ConfigKey(NamedTuple):
    """One config. ``default`` and values are texts as in a properties file; ``valid`` is ``*`` or a choice of literals
    and ``low..high`` ranges."""

    name: str
    type: ConfigType
    default: str | None
    valid: str
    update_mode: UpdateMode
    importance: str
    documentation: str

    @property
    def is_sensitive(self) -> bool:
        """Whether the value is a secret."""
        return self.type is ConfigType.PASSWORD

    @property
    def is_internal(self) -> bool:
        """Whether Kafka hides it from documentation."""
        return self.name.startswith("internal.")

    @property
    def attribute(self) -> str:
        """Name of the Python attribute."""
        return self.name.replace(".", "_")

    def parse(self, text: str) -> ConfigValue:
        """The typed value.

        Raises:
            ConfigError: in the words of ConfigDef.
        """
        value = self._parse(text)
        refusal = None if self.valid == "*" else self._refusal(value)
        if refusal is not None:
            raise ConfigError([f"Invalid value {text.strip()} for configuration {self.name}: {refusal}"])
        return value

    def _parse(self, text: str) -> ConfigValue:
        trimmed = text.strip()
        kind = self.type
        if kind in _INTEGER_BITS:
            bits = _INTEGER_BITS[kind]
            # Python reads more than Java does: underscores, blanks, other scripts' digits.
            if _INTEGER.fullmatch(trimmed):
                number = int(trimmed)
                if -(1 << bits - 1) <= number < 1 << bits - 1:
                    return number
            raise ConfigError([f"Invalid value {trimmed} for configuration {self.name}: {self._not_a_number()}"])
        if kind is ConfigType.BOOLEAN:
            lowered = trimmed.lower()
            if lowered in ("true", "false"):
                return lowered == "true"
            raise ConfigError(
                [f"Invalid value {trimmed} for configuration {self.name}: Expected value to be either true or false"]
            )
        if kind is ConfigType.DOUBLE:
            try:
                return float(trimmed)
            except ValueError:
                raise ConfigError(
                    [f"Invalid value {trimmed} for configuration {self.name}: {self._not_a_number()}"]
                ) from None
        if kind is ConfigType.LIST:
            return tuple(part.strip() for part in trimmed.split(",")) if trimmed else ()
        return trimmed if kind is not ConfigType.PASSWORD else text

    def _not_a_number(self) -> str:
        return f"Not a number of type {self.type.value.upper()}"

    def _refusal(self, value: ConfigValue) -> str | None:
        choices = self.valid.split("|")
        ranges = [choice for choice in choices if ".." in choice]
        if not ranges:
            values = value if isinstance(value, tuple) else (value,)
            if all(str(each) in choices for each in values):
                return None
            return f"String must be one of: {', '.join(choices)}"
        assert isinstance(value, int | float), "a range is of numbers"
        if str(value) in choices:
            return None
        low, _, high = ranges[0].partition("..")
        if len(choices) > 1:
            if float(low) <= value <= float(high):
                return None
            return f"Value must be between {low} and {high} or equal to {choices[-1]}"
        if low and value < float(low):
            return f"Value must be at least {low}"
        if high and value > float(high):
            return f"Value must be no more than {high}"
        return None


_INTEGER = re.compile(r"[+-]?[0-9]+", re.ASCII)


def parse_table(text: str, *, has_update_mode: bool) -> dict[str, ConfigKey]:
    """Read a table of definitions.

    A config is a line ``name type default valid [update-mode] importance`` and an indented line of documentation.
    Default ``-`` is null, ``""`` the empty text, ``!`` none at all; ``#`` starts a comment line.
    """
    keys: dict[str, ConfigKey] = {}
    lines = iter(text.splitlines())
    for line in lines:
        if not line or line[0] == "#":
            continue
        name, kind, default, valid, *rest = line.split()
        mode = UpdateMode(rest[0]) if has_update_mode else UpdateMode.CLUSTER_WIDE
        keys[name] = ConfigKey(
            name,
            ConfigType(kind),
            None if default == "-" else "" if default == '""' else default,
            valid,
            mode,
            rest[-1],
            next(lines).strip(),
        )
    return keys


def parse_all(keys: Mapping[str, ConfigKey], texts: Mapping[str, str], errors: list[str]) -> dict[str, ConfigValue]:
    """Typed values by name of those ``texts`` that have a definition; what is wrong goes to ``errors``."""
    values: dict[str, ConfigValue] = {}
    for name, text in texts.items():
        key = keys.get(name)
        if key is None:
            continue
        try:
            values[name] = key.parse(text)
        except ConfigError as error:
            errors.extend(error.errors)
    return values


def text_of(value: ConfigValue) -> str | None:
    """The text of a typed value, as Kafka shows it (ConfigDef.convertToString)."""
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return ",".join(value)
    return str(value)


def closest(name: str, names: Iterable[str]) -> str | None:
    """The most similar of ``names``, for "did you mean"; ``None`` if nothing is near."""
    # Only an error needs it, and it is not cheap to import.
    import difflib

    found = difflib.get_close_matches(name, list(names), n=1, cutoff=0.75)
    return found[0] if found else None

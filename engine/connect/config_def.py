"""What configs a plug-in has, and what is wrong with those it was given (``org.apache.kafka.common.config.ConfigDef``).

Messages are Kafka's, word for word where clients may look at them: REST's validation answers with them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from engine.connect.errors import ConfigError


class ConfigType(Enum):
    """``ConfigDef.Type``."""

    BOOLEAN = "BOOLEAN"
    STRING = "STRING"
    INT = "INT"
    SHORT = "SHORT"
    LONG = "LONG"
    DOUBLE = "DOUBLE"
    LIST = "LIST"
    CLASS = "CLASS"
    PASSWORD = "PASSWORD"


class Importance(Enum):
    """``ConfigDef.Importance``."""

    HIGH = "HIGH"
    MEDIUM = "MEDIUM"
    LOW = "LOW"


class Width(Enum):
    """``ConfigDef.Width``: for forms."""

    NONE = "NONE"
    SHORT = "SHORT"
    MEDIUM = "MEDIUM"
    LONG = "LONG"


class Password:
    """A secret that is not shown by accident (``org.apache.kafka.common.config.types.Password``)."""

    HIDDEN = "[hidden]"
    __slots__ = ("value",)

    def __init__(self, value: str) -> None:
        self.value = value

    def __str__(self) -> str:
        return self.HIDDEN

    __repr__ = __str__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Password) and other.value == self.value

    def __hash__(self) -> int:
        return hash(self.value)


class _NoDefault:
    def __repr__(self) -> str:
        return "NO_DEFAULT_VALUE"


NO_DEFAULT: Any = _NoDefault()
"""The config must be given."""

Validator = Callable[[str, Any], None]
"""``(name, value)``; raises ConfigError."""
Recommender = Callable[[str, Mapping[str, Any]], Iterable[Any]]
"""``(name, all values)``: what may be chosen."""
Visible = Callable[[str, Mapping[str, Any]], bool]


@dataclass(frozen=True, slots=True)
class ConfigKey:
    """One config (``ConfigDef.ConfigKey``)."""

    name: str
    type: ConfigType
    default: Any
    importance: Importance
    documentation: str
    validator: Validator | None = None
    group: str | None = None
    order_in_group: int = -1
    width: Width = Width.NONE
    display_name: str = ""
    dependents: tuple[str, ...] = ()
    recommender: Recommender | None = None
    visible: Visible | None = None
    internal: bool = False
    alternative: str | None = None

    @property
    def required(self) -> bool:
        """Whether there is no default."""
        return self.default is NO_DEFAULT


@dataclass(slots=True)
class ConfigValue:
    """What one config's value is, what it might be, and what is wrong with it (``ConfigValue``)."""

    name: str
    value: Any = None
    recommended: list[Any] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    visible: bool = True


class ConfigDef:
    """Configs by name, in the order in which they were defined."""

    def __init__(self, keys: Iterable[ConfigKey] = ()) -> None:
        self.keys: dict[str, ConfigKey] = {each.name: each for each in keys}

    def define(
        self,
        name: str,
        type: ConfigType,
        default: Any,
        importance: Importance,
        documentation: str,
        *,
        validator: Validator | None = None,
        group: str | None = None,
        width: Width = Width.NONE,
        display_name: str = "",
        dependents: Iterable[str] = (),
        recommender: Recommender | None = None,
        visible: Visible | None = None,
        internal: bool = False,
        order: int | None = None,
    ) -> ConfigDef:
        """Another config; gives these definitions.

        Args:
            order: in its group; one after those before it, if it is left out.

        Raises:
            ConfigError: it is defined twice, or its default cannot be.
        """
        if name in self.keys:
            raise ConfigError(name, why="it is defined twice")
        if default is not NO_DEFAULT and default is not None:
            default = parse_value(name, default, type)
            if validator is not None:
                validator(name, default)
        self.keys[name] = ConfigKey(
            name,
            type,
            default,
            importance,
            documentation,
            validator,
            group,
            order if order is not None else self._next_in(group) if group is not None else -1,
            width,
            display_name or name,
            tuple(dependents),
            recommender,
            visible,
            internal,
        )
        return self

    def _next_in(self, group: str) -> int:
        return 1 + sum(1 for each in self.keys.values() if each.group == group)

    def including(self, other: ConfigDef) -> ConfigDef:
        """These and those; of two with one name the other's."""
        return ConfigDef({**self.keys, **other.keys}.values())

    def parse(self, props: Mapping[str, Any]) -> dict[str, Any]:
        """Values by name, defaults included; what is not defined is left out.

        Raises:
            ConfigError: the first one that cannot be.
        """
        values: dict[str, Any] = {}
        for name, key in self.keys.items():
            if name in props and (props[name] is not None or key.required):
                values[name] = parse_value(name, props[name], key.type)
            elif key.required:
                raise _Missing(name)
            else:
                values[name] = key.default
            if key.validator is not None:
                key.validator(name, values[name])
        return values

    def validate(self, props: Mapping[str, str]) -> list[ConfigValue]:
        """Every config with all that is wrong with it; never raises (``ConfigDef.validate``)."""
        found = {name: self._read(name, props) for name in self.keys}
        values = {name: each.value for name, each in found.items()}
        for name, key in self.keys.items():
            if key.recommender is not None:
                found[name].recommended = list(key.recommender(name, values))
            if key.visible is not None:
                found[name].visible = key.visible(name, values)
        return list(found.values())

    def _read(self, name: str, props: Mapping[str, str]) -> ConfigValue:
        key, value = self.keys[name], ConfigValue(name)
        try:
            if name in props:
                value.value = parse_value(name, props[name], key.type)
            elif key.required:
                value.errors.append(str(_Missing(name)))
            else:
                value.value = key.default
        except ConfigError as error:
            value.errors.append(str(error))
        # Also of what could not be read, as in Java: a value that must be is not there then either.
        if key.validator is not None:
            try:
                key.validator(name, value.value)
            except ConfigError as error:
                value.errors.append(str(error))
        return value


class _Missing(ConfigError):
    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.args = (f'Missing required configuration "{name}" which has no default value.',)


_BITS = {ConfigType.SHORT: (15, "SHORT"), ConfigType.INT: (31, "INT"), ConfigType.LONG: (63, "LONG")}
_NUMBER = re.compile(r"[+-]?\d+")


def parse_value(name: str, value: Any, type: ConfigType) -> Any:
    """A config's text as what it means (``ConfigDef.parseType``).

    Raises:
        ConfigError: it is no such thing.
    """
    if value is None:
        return None
    text = value.strip() if isinstance(value, str) else None
    match type:
        case ConfigType.BOOLEAN:
            if isinstance(value, bool):
                return value
            if text is not None and text.lower() in ("true", "false"):
                return text.lower() == "true"
            raise ConfigError(name, value, "Expected value to be either true or false")
        case ConfigType.PASSWORD:
            if isinstance(value, Password):
                return value
            if text is not None:
                return Password(text)
            raise ConfigError(name, value, f"Expected value to be a string, but it was a {_kind(value)}")
        case ConfigType.STRING | ConfigType.CLASS:
            if text is not None:
                return text
            raise ConfigError(name, value, f"Expected value to be a string, but it was a {_kind(value)}")
        case ConfigType.SHORT | ConfigType.INT | ConfigType.LONG:
            bits, what = _BITS[type]
            number = value if isinstance(value, int) and not isinstance(value, bool) else None
            if text is not None and _NUMBER.fullmatch(text):
                number = int(text)
            if number is None or not -(1 << bits) <= number < (1 << bits):
                raise ConfigError(name, value, f"Not a number of type {what}")
            return number
        case ConfigType.DOUBLE:
            try:
                return float(text if text is not None else value)
            except (TypeError, ValueError):
                raise ConfigError(name, value, "Not a number of type DOUBLE") from None
        case ConfigType.LIST:
            if isinstance(value, (list, tuple)):
                return list(value)
            if text is not None:
                return [each.strip() for each in text.split(",")] if text else []
            raise ConfigError(name, value, "Expected a comma separated list.")


def _kind(value: object) -> str:
    return type(value).__name__


def between(least: float | None = None, most: float | None = None) -> Validator:
    """``ConfigDef.Range``."""

    def check(name: str, value: Any) -> None:
        if value is None:
            raise ConfigError(name, None, "Value must be non-null")
        if least is not None and value < least:
            raise ConfigError(name, value, f"Value must be at least {least}")
        if most is not None and value > most:
            raise ConfigError(name, value, f"Value must be no more than {most}")

    return check


def one_of(*allowed: str, ignore_case: bool = False) -> Validator:
    """``ConfigDef.ValidString``, or ``CaseInsensitiveValidString``."""
    known = {each.upper() for each in allowed} if ignore_case else set(allowed)
    shown = ", ".join(each.upper() for each in allowed) if ignore_case else ", ".join(allowed)

    def check(name: str, value: Any) -> None:
        if value is None or (value.upper() if ignore_case else value) not in known:
            case = " (case insensitive)" if ignore_case else ""
            raise ConfigError(name, value, f"String must be one of{case}: {shown}")

    return check


def non_empty(name: str, value: Any) -> None:
    """``ConfigDef.NonEmptyString``."""
    if value is not None and not value:
        raise ConfigError(name, value, "String must be non-empty")

"""Values of the console's own types as plain trees for JSON, by position, and back. Pure.

A tree is read with the schema that was written with it (the names of each type's fields, in order), so that a record
outlives fields that come and go: what is not known any more is left out, what was not there yet has its default.
"""

from __future__ import annotations

import base64
import dataclasses
import typing
from collections.abc import Callable, Mapping
from enum import Enum
from functools import cache
from operator import attrgetter
from types import NoneType, UnionType
from typing import Any, TypeAlias, Union, get_args, get_origin, get_type_hints

Schema = Mapping[str, list[str]]
# Rates are measurements: more digits would only be noise that does not compress.
_DIGITS = 4
_SEQUENCES = (list, tuple, set, frozenset)


class CodecError(Exception):
    """A tree is not of its type."""


def _is_record(kind: Any) -> bool:
    return isinstance(kind, type) and (dataclasses.is_dataclass(kind) or _is_named_tuple(kind))


def _is_named_tuple(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, tuple) and hasattr(kind, "_fields")


@cache
def field_names(kind: type) -> tuple[str, ...]:
    """Of a dataclass or a named tuple."""
    if _is_named_tuple(kind):
        return tuple(kind._fields)  # type: ignore[attr-defined]
    return tuple(each.name for each in dataclasses.fields(kind) if each.init)


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def schema_of(*kinds: type) -> dict[str, list[str]]:
    """The field names of these types and of all within them."""
    found: dict[str, list[str]] = {}
    waiting: list[Any] = list(kinds)
    while waiting:
        kind = waiting.pop()
        if _is_record(kind):
            if kind.__name__ not in found:
                found[kind.__name__] = list(field_names(kind))
                waiting += _hints(kind).values()
        else:
            waiting += get_args(kind)
    return found


# -- to trees ----------------------------------------------------------------------------------------------------------


@cache
def encoder(kind: Any) -> Callable[[Any], Any] | None:
    """What makes a tree of a value of a type; ``None`` if it is one already."""
    inner, optional = _optional(kind)
    if optional:
        make = encoder(inner)
        return None if make is None else lambda value: None if value is None else make(value)
    if _is_record(kind):
        return _record_encoder(kind)
    if kind is float:
        return _rounded
    if kind is bytes:
        return lambda value: base64.b64encode(value).decode()
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is not None and isinstance(origin, type) and issubclass(origin, Mapping):
        return _mapping_encoder(*arguments)
    if _is_sequence(origin):
        if origin is tuple and Ellipsis not in arguments:
            return _fixed_encoder(tuple(encoder(each) for each in arguments))
        each_one = encoder(arguments[0])
        ordered = not issubclass(origin, frozenset | set)
        if each_one is None:
            return None if ordered else sorted
        return lambda value: [each_one(each) for each in value]
    if isinstance(kind, type) and issubclass(kind, Enum):
        return lambda value: value.value
    return None


def _is_sequence(origin: Any) -> bool:
    return isinstance(origin, type) and (
        issubclass(origin, _SEQUENCES) or (origin.__module__ == "collections.abc" and origin.__name__ == "Sequence")
    )


def _rounded(value: float) -> float | int:
    if not value or value != value or value in (float("inf"), float("-inf")):
        return 0 if value == 0 else value
    return float(f"{value:.{_DIGITS}g}")


def _record_encoder(kind: type) -> Callable[[Any], Any]:
    names = field_names(kind)
    hints = _hints(kind)
    converted = [(at, make) for at, name in enumerate(names) if (make := encoder(hints[name])) is not None]
    get = attrgetter(*names) if len(names) > 1 else lambda value: (getattr(value, names[0]),)

    def encode(value: Any) -> list[Any]:
        tree = list(get(value))
        for at, make in converted:
            tree[at] = make(tree[at])
        return tree

    return encode


def _mapping_encoder(_: Any, kind: Any) -> Callable[[Any], Any]:
    make = encoder(kind)
    if make is None:
        return dict
    return lambda value: {name: make(each) for name, each in value.items()}


def _fixed_encoder(makers: tuple[Callable[[Any], Any] | None, ...]) -> Callable[[Any], Any] | None:
    if not any(makers):
        return None
    return lambda value: [each if make is None else make(each) for make, each in zip(makers, value, strict=True)]


def _optional(kind: Any) -> tuple[Any, bool]:
    if get_origin(kind) in (Union, UnionType):
        others = [each for each in get_args(kind) if each is not NoneType]
        # Of several the JSON itself tells which: numbers, texts.
        return (others[0] if len(others) == 1 else Any), True
    return kind, False


# -- from trees --------------------------------------------------------------------------------------------------------


Maker: TypeAlias = Callable[[Any], Any] | None


class Decoder:
    """Makes values of trees that were written with a schema."""

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        # ``None``: the tree is the value.
        self._made: dict[Any, Maker] = {}

    def decode(self, kind: Any, tree: Any) -> Any:
        """Raises: CodecError: the tree is not of that type."""
        try:
            make = self._of(kind)
            return tree if make is None else make(tree)
        except (TypeError, ValueError, KeyError, IndexError, AttributeError) as error:
            raise CodecError(f"{getattr(kind, '__name__', kind)}: {error}") from error

    def _of(self, kind: Any) -> Maker:
        if kind not in self._made:
            self._made[kind] = self._make(kind)
        return self._made[kind]

    def _make(self, kind: Any) -> Maker:
        inner, optional = _optional(kind)
        if optional:
            make = self._of(inner)
            return None if make is None else lambda tree: None if tree is None else make(tree)
        if _is_record(kind):
            return self._make_record(kind)
        if kind is bytes:
            return base64.b64decode
        origin, arguments = get_origin(kind), get_args(kind)
        if isinstance(origin, type) and issubclass(origin, Mapping):
            return self._make_mapping(*arguments)
        if _is_sequence(origin):
            return self._make_sequence(origin, arguments)
        if isinstance(kind, type) and issubclass(kind, Enum):
            return kind
        return None

    def _make_mapping(self, key: Any, value: Any) -> Maker:
        of_value = self._of(value)
        of_key = int if key is int else None
        return lambda tree: {
            (name if of_key is None else of_key(name)): (each if of_value is None else of_value(each))
            for name, each in tree.items()
        }

    def _make_sequence(self, origin: Any, arguments: tuple[Any, ...]) -> Maker:
        if origin is tuple and Ellipsis not in arguments:
            makers = tuple(self._of(each) for each in arguments)
            return lambda tree: tuple(
                each if make is None else make(each) for make, each in zip(makers, tree, strict=True)
            )
        build: Any = origin if origin in (list, tuple, set, frozenset) else tuple
        make = self._of(arguments[0])
        return build if make is None else lambda tree: build([make(each) for each in tree])

    def _make_record(self, kind: type) -> Maker:
        known = field_names(kind)
        written = self._schema.get(kind.__name__, list(known))
        hints = _hints(kind)
        if list(known) == written:
            converted = [(at, make) for at, name in enumerate(written) if (make := self._of(hints[name])) is not None]

            def build(tree: Any) -> Any:
                values = list(tree)
                for at, make in converted:
                    values[at] = make(values[at])
                return kind(*values)

            return build
        wanted = [(at, name, self._of(hints[name])) for at, name in enumerate(written) if name in known]
        # A field without default that was not written is not known.
        absent = {name: None for name in known if name not in written and not _has_default(kind, name)}
        return lambda tree: kind(
            **{name: tree[at] if make is None else make(tree[at]) for at, name, make in wanted}, **absent
        )


def _has_default(kind: type, name: str) -> bool:
    if _is_named_tuple(kind):
        return name in kind._field_defaults  # type: ignore[attr-defined]
    field = next(each for each in dataclasses.fields(kind) if each.name == name)
    return field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING


def answer_type(protocol: type, method: str) -> Any:
    """What an asynchronous method of a protocol answers."""
    return typing.get_type_hints(getattr(protocol, method))["return"]

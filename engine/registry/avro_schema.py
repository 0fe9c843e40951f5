"""Avro schemas: parsed by the specification's rules, written as Avro's Java library writes them.

Source: "Apache Avro 1.12 Specification"; the order of a text's keys is that of ``org.apache.avro.Schema.toString``,
so that a registry of Confluent's finds the same schema under the same hash.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from engine.registry.errors import InvalidSchema
from engine.registry.json_text import read_json
from engine.registry.schema import ParsedSchema, ResolvedReference

PRIMITIVES = ("null", "boolean", "int", "long", "float", "double", "bytes", "string")
_NAMED = ("record", "error", "enum", "fixed")
_ALL = (*PRIMITIVES, "record", "enum", "array", "map", "union", "fixed")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_RESERVED = frozenset(("doc", "fields", "items", "name", "namespace", "size", "symbols", "values", "type", "aliases"))
_FIELD_RESERVED = frozenset(("default", "doc", "name", "order", "type", "aliases"))
_ORDERS = ("ascending", "descending", "ignore")
_DEEPEST = 200
NO_DEFAULT: Any = object()


@dataclass(slots=True, eq=False)
class AvroField:
    """A field of a record."""

    name: str
    type: AvroType
    doc: str | None = None
    default: Any = NO_DEFAULT
    order: str = "ascending"
    aliases: tuple[str, ...] = ()
    properties: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class AvroType:
    """A type; which of the attributes mean something depends on ``kind``."""

    kind: str
    name: str = ""
    namespace: str = ""
    doc: str | None = None
    aliases: tuple[str, ...] = ()
    fields: list[AvroField] = field(default_factory=list)
    symbols: tuple[str, ...] = ()
    enum_default: str | None = None
    items: AvroType | None = None
    branches: list[AvroType] = field(default_factory=list)
    size: int = 0
    properties: dict[str, Any] = field(default_factory=dict)

    @property
    def full_name(self) -> str:
        """With its namespace; of a type without a name its kind."""
        if not self.name:
            return self.kind
        return f"{self.namespace}.{self.name}" if self.namespace else self.name


class AvroSchema:
    """A schema with all types that it refers to."""

    def __init__(self, root: AvroType, foreign: dict[str, AvroType]) -> None:
        """``foreign`` are the types that references bring."""
        self.root = root
        self._foreign = foreign
        self.canonical = _text(_Writer(foreign).write(root, ""))

    @classmethod
    def parse(cls, text: str, references: tuple[ResolvedReference, ...] = (), *, is_new: bool = False) -> AvroSchema:
        """Raises: InvalidSchema."""
        parser = _Parser()
        for reference in references:
            parser.parse(_loaded(reference.text, f"reference {reference.name}"), "")
        foreign = dict(parser.names)
        parser.is_new = is_new
        try:
            return cls(parser.parse(_loaded(text, "the schema"), ""), foreign)
        except RecursionError:
            raise InvalidSchema("the schema is nested too deeply") from None

    def normalized(self) -> str:
        """Full names, attributes in one order, properties sorted."""
        return _text(_Normalizer(self._foreign).write(self.root))

    def formatted(self, format_name: str) -> str:
        """``resolved`` has all types written out."""
        return _text(_Writer({}).write(self.root, "")) if format_name == "resolved" else self.canonical

    def problems_reading(self, writer: ParsedSchema) -> list[str]:
        """By :mod:`engine.registry.avro_compatibility`."""
        from engine.registry.avro_compatibility import incompatibilities

        assert isinstance(writer, AvroSchema), "both are of one type"
        return [str(each) for each in incompatibilities(self.root, writer.root)]


def _loaded(text: str, what: str) -> Any:
    try:
        return read_json(text)
    except ValueError as error:
        raise InvalidSchema(f"{what} is no JSON: {error}") from None


def _text(value: Any) -> str:
    """As Java writes it, whose floats look otherwise where they are very large or small."""
    floats: dict[str, str] = {}
    text = json.dumps(_without_floats(value, floats), ensure_ascii=False, separators=(",", ":"))
    return re.sub(r'"float [0-9a-f]{32}"', lambda found: floats.get(found[0], found[0]), text) if floats else text


def _without_floats(value: Any, floats: dict[str, str]) -> Any:
    if isinstance(value, float) and value and not 1e-3 <= abs(value) < 1e7:
        place = f"float {uuid.uuid4().hex}"
        floats[f'"{place}"'] = java_double(value)
        return place
    if isinstance(value, dict):
        return {name: _without_floats(each, floats) for name, each in value.items()}
    return [_without_floats(each, floats) for each in value] if isinstance(value, list) else value


def java_double(value: float) -> str:
    """A number as ``Double.toString`` shows it where it has an exponent."""
    _, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    assert isinstance(exponent, int), "JSON has no others"
    shown = "".join(map(str, digits))
    sign = "-" if value < 0 else ""
    return f"{sign}{shown[0]}.{shown[1:] or '0'}E{exponent + len(shown) - 1}"


# -- parsing ----------------------------------------------------------------------------------------------------------


class _Parser:
    def __init__(self) -> None:
        self.names: dict[str, AvroType] = {}
        # What is there already may have names and defaults that no registry should have taken.
        self.is_new = False
        self._depth = 0

    def parse(self, node: Any, space: str) -> AvroType:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise InvalidSchema(f"the schema is nested deeper than {_DEEPEST} types")
        try:
            if isinstance(node, str):
                return self._by_name(node, space)
            if isinstance(node, list):
                return self._union(node, space)
            if isinstance(node, dict):
                return self._object(node, space)
        finally:
            self._depth -= 1
        raise InvalidSchema(f"a type is a name, a list or an object, not {_shown(node)}")

    def _by_name(self, name: str, space: str) -> AvroType:
        if name in PRIMITIVES:
            return AvroType(name)
        full = name if "." in name or not space else f"{space}.{name}"
        found = self.names.get(full) or self.names.get(name)
        if found is None:
            raise InvalidSchema(f"undefined type {full!r}: define it, or add a reference to its subject")
        return found

    def _union(self, nodes: list[Any], space: str) -> AvroType:
        union = AvroType("union")
        seen: set[str] = set()
        for node in nodes:
            branch = self.parse(node, space)
            if branch.kind == "union":
                raise InvalidSchema("a union stands directly in another one")
            if branch.full_name in seen:
                raise InvalidSchema(f"{branch.full_name} stands twice in a union")
            seen.add(branch.full_name)
            union.branches.append(branch)
        return union

    def _object(self, node: dict[str, Any], space: str) -> AvroType:
        kind = node.get("type")
        if isinstance(kind, (dict, list)):
            if self.is_new:
                raise InvalidSchema(f"a 'type' that is no name stands where only a field has one: {_shown(node)}")
            return self.parse(kind, space)
        if not isinstance(kind, str):
            raise InvalidSchema(f"a type has no 'type': {_shown(node)}")
        properties = {name: value for name, value in node.items() if name not in _RESERVED}
        if kind in PRIMITIVES:
            return AvroType(kind, properties=properties)
        if kind in _NAMED:
            return self._named(kind, node, space, properties)
        if kind in ("array", "map"):
            inner = "items" if kind == "array" else "values"
            if inner not in node:
                raise InvalidSchema(f"a type {kind} has no {inner!r}")
            return AvroType(kind, items=self.parse(node[inner], space), properties=properties)
        return self._by_name(kind, space)

    def _named(self, kind: str, node: dict[str, Any], space: str, properties: dict[str, Any]) -> AvroType:
        name, namespace = self._name_of(kind, node, space)
        made = AvroType(kind, name, namespace, _doc(node, name), properties=properties)
        made.aliases = tuple(
            each if "." in each or not namespace else f"{namespace}.{each}" for each in _strings(node, "aliases", name)
        )
        if made.full_name in self.names:
            raise InvalidSchema(f"{made.full_name} is defined twice")
        if name in PRIMITIVES and not namespace:
            raise InvalidSchema(f"{name} is the name of one of Avro's own types")
        self.names[made.full_name] = made
        if kind == "fixed":
            size = node.get("size")
            if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size < _RANGES["int"]:
                raise InvalidSchema(f"fixed {made.full_name}: its size is a number of bytes, not {_shown(size)}")
            made.size = size
        elif kind == "enum":
            self._enum(made, node)
        else:
            self._record(made, node)
        return made

    def _enum(self, made: AvroType, node: dict[str, Any]) -> None:
        if not isinstance(node.get("symbols"), list):
            raise InvalidSchema(f"enum {made.full_name} has no symbols")
        made.symbols = tuple(_strings(node, "symbols", made.full_name))
        for symbol in made.symbols:
            self._check_name(symbol, f"a symbol of {made.full_name}")
        if len(set(made.symbols)) < len(made.symbols):
            raise InvalidSchema(f"enum {made.full_name} has a symbol twice")
        default = made.properties.pop("default", None)
        if default is not None and default not in made.symbols:
            raise InvalidSchema(f"enum {made.full_name}: the default {default!r} is none of its symbols")
        made.enum_default = default

    def _record(self, made: AvroType, node: dict[str, Any]) -> None:
        fields = node.get("fields")
        if not isinstance(fields, list):
            raise InvalidSchema(f"record {made.full_name} has no fields")
        seen: set[str] = set()
        for each in fields:
            if not isinstance(each, dict) or "type" not in each:
                raise InvalidSchema(f"record {made.full_name}: a field has name and type, not {_shown(each)}")
            found = self._field(made, each)
            if found.name in seen:
                raise InvalidSchema(f"record {made.full_name} has the field {found.name} twice")
            seen.add(found.name)
            made.fields.append(found)

    def _field(self, record: AvroType, node: dict[str, Any]) -> AvroField:
        name = node.get("name")
        self._check_name(name, f"a field of {record.full_name}")
        where = f"{record.full_name}.{name}"
        order = node.get("order", "ascending")
        if not isinstance(order, str) or order.lower() not in _ORDERS:
            raise InvalidSchema(f"{where}: the order is one of {', '.join(_ORDERS)}, not {_shown(order)}")
        found = AvroField(
            str(name),
            self.parse(node["type"], record.namespace),
            _doc(node, where),
            node.get("default", NO_DEFAULT),
            order.lower(),
            tuple(_strings(node, "aliases", where)),
            {each: value for each, value in node.items() if each not in _FIELD_RESERVED},
        )
        if self.is_new and found.default is not NO_DEFAULT and not is_value_of(found.type, found.default):
            raise InvalidSchema(f"{where}: the default {_shown(found.default)} is no {_what(found.type)}")
        return found

    def _name_of(self, kind: str, node: dict[str, Any], space: str) -> tuple[str, str]:
        name = node.get("name")
        if not isinstance(name, str) or not name:
            raise InvalidSchema(f"a type {kind} has no name")
        if "." in name:
            namespace, _, name = name.rpartition(".")
        else:
            given = node.get("namespace", space)
            if given is not None and not isinstance(given, str):
                raise InvalidSchema(f"{name}: a namespace is a text, not {_shown(given)}")
            namespace = given or ""
        self._check_name(name, f"a type {kind}")
        for part in namespace.split(".") if namespace else ():
            self._check_name(part, f"a part of the namespace {namespace!r}")
        return name, namespace

    def _check_name(self, name: Any, what: str) -> None:
        if not isinstance(name, str) or not name or (self.is_new and not _NAME.fullmatch(name)):
            raise InvalidSchema(f"{_shown(name)} is no name for {what}: letters, digits and _, no digit first")


def _doc(node: dict[str, Any], where: str) -> str | None:
    doc = node.get("doc")
    if doc is not None and not isinstance(doc, str):
        raise InvalidSchema(f"{where}: doc is a text, not {_shown(doc)}")
    return doc


def _strings(node: dict[str, Any], key: str, where: str) -> list[str]:
    found = node.get(key)
    if found is None:
        return []
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        raise InvalidSchema(f"{where}: {key} is a list of names, not {_shown(found)}")
    return list(dict.fromkeys(found)) if key == "aliases" else found


def _shown(value: Any) -> str:
    text = _text(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _what(type_: AvroType) -> str:
    return type_.kind if not type_.name else f"{type_.kind} {type_.full_name}"


_RANGES = {"int": 1 << 31, "long": 1 << 63}


def is_value_of(type_: AvroType, value: Any) -> bool:
    """Whether JSON is a default of a type; of a union that of any branch (Avro 1.12)."""
    kind = type_.kind
    if kind == "union":
        return any(is_value_of(each, value) for each in type_.branches)
    if kind == "null":
        return value is None
    if kind == "boolean":
        return isinstance(value, bool)
    if kind in _RANGES:
        limit = _RANGES[kind]
        whole = isinstance(value, int) and not isinstance(value, bool)
        return whole and -limit <= value < limit
    if kind in ("float", "double"):
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind in ("string", "bytes", "enum", "fixed"):
        return isinstance(value, str) and (kind != "enum" or value in type_.symbols)
    if kind in ("array", "map"):
        assert type_.items is not None, "arrays and maps have values"
        if kind == "array":
            return isinstance(value, list) and all(is_value_of(type_.items, each) for each in value)
        return isinstance(value, dict) and all(is_value_of(type_.items, each) for each in value.values())
    if not isinstance(value, dict):
        return False
    return all(
        is_value_of(each.type, value[each.name]) if each.name in value else each.default is not NO_DEFAULT
        for each in type_.fields
    )


# -- writing ----------------------------------------------------------------------------------------------------------


class _Writer:
    """A type is written out where it is met first, and named from then on."""

    def __init__(self, known: dict[str, AvroType]) -> None:
        self._known = set(known)

    def write(self, type_: AvroType, space: str) -> Any:
        kind = type_.kind
        if kind == "union":
            return [self.write(each, space) for each in type_.branches]
        if kind in PRIMITIVES:
            return {"type": kind, **type_.properties} if type_.properties else kind
        if kind in ("array", "map"):
            assert type_.items is not None, "arrays and maps have values"
            inner = "items" if kind == "array" else "values"
            return {"type": kind, inner: self.write(type_.items, space), **type_.properties}
        if type_.full_name in self._known:
            return type_.name if type_.namespace == space and type_.name not in _ALL else type_.full_name
        self._known.add(type_.full_name)
        return dict(self._named(type_, space))

    def _named(self, type_: AvroType, space: str) -> Iterator[tuple[str, Any]]:
        yield "type", type_.kind
        yield "name", type_.name
        if type_.namespace != space:
            yield "namespace", type_.namespace
        if type_.doc is not None:
            yield "doc", type_.doc
        if type_.kind == "fixed":
            yield "size", type_.size
        elif type_.kind == "enum":
            yield "symbols", list(type_.symbols)
            if type_.enum_default is not None:
                yield "default", type_.enum_default
        else:
            yield "fields", [dict(self._field(each, type_.namespace)) for each in type_.fields]
        yield from type_.properties.items()
        if type_.aliases:
            yield "aliases", [_relative(each, type_.namespace) for each in type_.aliases]

    def _field(self, found: AvroField, space: str) -> Iterator[tuple[str, Any]]:
        yield "name", found.name
        yield "type", self.write(found.type, space)
        if found.doc is not None:
            yield "doc", found.doc
        if found.default is not NO_DEFAULT:
            yield "default", found.default
        if found.order != "ascending":
            yield "order", found.order
        if found.aliases:
            yield "aliases", list(found.aliases)
        yield from found.properties.items()


def _relative(full_name: str, space: str) -> str:
    before, _, name = full_name.rpartition(".")
    return name if before == space else full_name


class _Normalizer:
    def __init__(self, known: dict[str, AvroType]) -> None:
        self._known = set(known)

    def write(self, type_: AvroType) -> Any:
        kind = type_.kind
        properties = dict(sorted(type_.properties.items()))
        if kind == "union":
            return [self.write(each) for each in type_.branches]
        if kind in PRIMITIVES:
            return {"type": kind, **properties} if properties else kind
        if kind in ("array", "map"):
            assert type_.items is not None, "arrays and maps have values"
            return {"type": kind, "items" if kind == "array" else "values": self.write(type_.items), **properties}
        if type_.full_name in self._known:
            return type_.full_name
        self._known.add(type_.full_name)
        return dict(self._named(type_, properties))

    def _named(self, type_: AvroType, properties: dict[str, Any]) -> Iterator[tuple[str, Any]]:
        yield "name", type_.full_name
        yield "type", type_.kind
        if type_.kind == "enum":
            yield "symbols", list(type_.symbols)
        elif type_.kind == "fixed":
            yield "size", type_.size
        else:
            yield "fields", [dict(self._field(each)) for each in type_.fields]
        if type_.doc:
            yield "doc", type_.doc
        if type_.aliases:
            yield "aliases", sorted(type_.aliases)
        if type_.enum_default is not None:
            yield "default", type_.enum_default
        yield from properties.items()

    def _field(self, found: AvroField) -> Iterator[tuple[str, Any]]:
        yield "name", found.name
        yield "type", self.write(found.type)
        yield "order", found.order
        if found.doc is not None:
            yield "doc", found.doc
        if found.aliases:
            yield "aliases", sorted(found.aliases)
        if found.default is not NO_DEFAULT:
            yield "default", found.default
        yield from sorted(found.properties.items())

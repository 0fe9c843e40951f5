"""Avro's schemas as Connect's, and values with them (``AvroData.toConnectSchema``, ``toConnectData``)."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from dataclasses import replace
from datetime import date, datetime, time
from typing import Any

from engine.connect import data
from engine.connect.converters.avro_names import (
    DEFAULT_NAME,
    DEFAULT_PRECISION,
    ENUM,
    ENUM_DEFAULT,
    ENUM_DOC,
    FIELD_DEFAULT,
    FIELD_DOC,
    FIXED_SIZE,
    MAP_ENTRY,
    NAMESPACE,
    PRECISION,
    RECORD_DOC,
    UNION,
    AvroOptions,
    scrubbed,
)
from engine.connect.converters.fitting import MOST_PARTS, checked, holds_itself, too_large
from engine.connect.data import DECIMAL_NAME, Field, Schema, Struct, Type, decimal_from_bytes
from engine.connect.errors import DataError

Read = Callable[[Any], Any]
"""What fastavro gives, as Connect's value; it takes null too."""

_PRIMITIVES = {
    "boolean": data.BOOLEAN,
    "bytes": data.BYTES,
    "double": data.FLOAT64,
    "float": data.FLOAT32,
    "int": data.INT32,
    "long": data.INT64,
    "string": data.STRING,
}
_LOGICAL = {
    ("int", "date"): data.DATE,
    ("int", "time-millis"): data.TIME,
    ("long", "timestamp-millis"): data.TIMESTAMP,
}
_SMALL = {"int8": data.INT8, "int16": data.INT16}
_NO_DEFAULT: Any = object()
_NAMED = ("record", "error", "enum", "fixed")
_KINDS = (*_NAMED, "array", "map")


def readable(avro: Any) -> Any:
    """A schema without those logical types that Connect's values have not, so that fastavro reads what is there.

    Without decimals too: their bytes are read here, whatever their precision says. Names are written in full, with a
    dot before those without a namespace (:func:`dotted`): fastavro does not find them within a namespace otherwise.
    """
    return _readable(avro, "", set())


def dotted(full_name: str) -> str:
    """A full name as fastavro is told it."""
    return full_name if "." in full_name else f".{full_name}"


def _readable(avro: Any, namespace: str, named: set[str]) -> Any:
    if isinstance(avro, list):
        return [_readable(each, namespace, named) for each in avro]
    if isinstance(avro, str):
        return avro if avro in _PRIMITIVES or avro == "null" else dotted(found_name(avro, namespace, named))
    if not isinstance(avro, dict):
        return avro
    own: dict[str, Any] = {}
    if avro.get("type") in _NAMED and "name" in avro:
        full = _full_name(avro, namespace)
        named.add(full)
        namespace = full.rpartition(".")[0]
        own["name"] = dotted(full)
    made = {
        key: _readable(value, namespace, named) if key in ("type", "items", "values") and value not in _KINDS else value
        for key, value in avro.items()
        if key != "namespace" and (key != "logicalType" or (avro.get("type"), value) in _LOGICAL)
    }
    if "fields" in made:
        made["fields"] = [_readable(each, namespace, named) for each in made["fields"]]
    return made | own


def found_name(name: str, namespace: str, named: Container[str]) -> str:
    """The full name of the type that a name within a namespace means (``org.apache.avro.Schema.Names``): where the
    namespace has none, the one without a namespace."""
    full = name if "." in name or not namespace else f"{namespace}.{name}"
    return name if full not in named and name in named else full


def connect_of(avro: Any, options: AvroOptions, version: int | None = None) -> tuple[Schema | None, Read]:
    """Connect's schema of Avro's JSON, and what makes values with it of what fastavro reads by :func:`readable`.

    Args:
        version: of the schema in its subject: the version of Connect's, if that has no other.

    Raises:
        DataError: Connect cannot have it.
    """
    if isinstance(avro, dict) and (avro.get("name"), avro.get("namespace")) in (
        ("Anything", NAMESPACE),
        (f"{NAMESPACE}.Anything", None),
    ):
        return None, _read_anything
    try:
        return _Reading(options).of(avro, "", version=version)
    except RecursionError:
        raise too_large("The Avro schema") from None


class _Reading:
    """Of one top-level schema."""

    def __init__(self, options: AvroOptions) -> None:
        self._options = options
        self._named: dict[str, Any] = {}
        self._open: list[str] = []
        self._parts = 0

    def of(
        self,
        avro: Any,
        namespace: str,
        *,
        optional: bool = False,
        default: Any = _NO_DEFAULT,
        version: int | None = None,
    ) -> tuple[Schema, Read]:
        self._parts += 1
        if self._parts > MOST_PARTS:
            raise too_large("The Avro schema")
        if isinstance(avro, list):
            return self._union(avro, namespace, default)
        if isinstance(avro, str) and avro not in _PRIMITIVES:
            if avro == "null":
                raise DataError("Standalone null schemas are not supported by this converter")
            full = found_name(avro, namespace, self._named)
            if full in self._open:
                raise holds_itself(full)
            if full not in self._named:
                raise DataError(f"The Avro schema has no type {full}")
            avro = self._named[full]
        if isinstance(avro, str):
            avro = {"type": avro}
        if not isinstance(avro, dict):
            raise DataError(f"Not an Avro schema: {avro}")
        kind = avro.get("type")
        if isinstance(kind, (dict, list)):
            return self.of(kind, namespace, optional=optional, default=default, version=version)
        full = ""
        if kind in _NAMED:
            full = _full_name(avro, namespace)
            namespace = full.rpartition(".")[0]
            # With its full name it means the same wherever it is used again.
            self._named[full] = {**avro, "name": full, "namespace": namespace}
        if kind == "array" and _is_map_entry(items := self._resolved(avro.get("items"), namespace)):
            schema, read = self._entries(items, namespace)
        elif kind == "array":
            schema, read = self._array(avro, namespace)
        elif kind == "map":
            value, read_value = self.of(avro.get("values"), namespace)
            schema, read = data.map_of(data.STRING, value), _map_reader(read_value)
        elif kind in ("record", "error"):
            schema, read = self._record(avro, full, namespace)
        elif kind == "enum":
            schema, read = self._enum(avro, full), _unwrapped
        else:
            schema, read = self._primitive(avro, str(kind))
        schema = self._with_properties(schema, avro, full, version, default)
        return _bound(replace(schema, optional=True) if optional else schema, read)

    def _resolved(self, avro: Any, namespace: str) -> Any:
        if isinstance(avro, str) and avro not in _PRIMITIVES:
            return self._named.get(found_name(avro, namespace, self._named), avro)
        return avro

    def _primitive(self, avro: Mapping[str, Any], kind: str) -> tuple[Schema, Read]:
        logical, small = avro.get("logicalType"), avro.get("connect.type")
        if kind in ("bytes", "fixed"):
            schema = data.BYTES
            read: Read = _unwrapped if kind == "fixed" else _as_is
            if logical == "decimal":
                scale, precision = avro.get("scale", 0), avro.get("precision", DEFAULT_PRECISION)
                if not isinstance(precision, int):
                    raise DataError("precision property must be a JSON Integer.")
                schema = data.decimal(scale if isinstance(scale, int) else 0)
                if precision != DEFAULT_PRECISION:
                    schema = _with_parameters(schema, {PRECISION: str(precision)})
                read = _decimal_reader(schema)
            if kind == "fixed":
                schema = _with_parameters(schema, {FIXED_SIZE: str(avro.get("size"))})
            return schema, read
        if kind not in _PRIMITIVES:
            raise DataError(f"Couldn't translate unsupported schema type {kind}.")
        if kind == "int" and logical is None and small is not None:
            if small not in _SMALL:
                raise DataError("Connect type annotation for Avro int field is null")
            schema = _SMALL[small]
            return schema, lambda value: None if value is None else checked(schema, value)
        return _LOGICAL.get((kind, str(logical)), _PRIMITIVES[kind]), _as_is

    def _array(self, avro: Mapping[str, Any], namespace: str) -> tuple[Schema, Read]:
        value, read_each = self.of(avro.get("items"), namespace)
        if read_each is _as_is:
            return data.array(value), _as_is
        return data.array(value), lambda each: None if each is None else [read_each(one) for one in each]

    def _entries(self, entry: Mapping[str, Any], namespace: str) -> tuple[Schema, Read]:
        full = _full_name(entry, namespace)
        self._named[full] = {**entry, "name": full, "namespace": full.rpartition(".")[0]}
        fields = {each["name"]: each["type"] for each in entry.get("fields", ())}
        if fields.keys() != {"key", "value"}:
            raise DataError(
                "Found map encoded as array of key-value pairs, but array elements do not match the expected format."
            )
        space = full.rpartition(".")[0]
        (key, read_key), (value, read_value) = self.of(fields["key"], space), self.of(fields["value"], space)
        schema = data.map_of(key, value)
        if entry.get("connect.internal.type") == MAP_ENTRY:
            schema = schema.named(full)

        def read(entries: Any) -> Any:
            if entries is None:
                return None
            return {read_key(each["key"]): read_value(each["value"]) for each in map(_unwrapped, entries)}

        return schema, read

    def _record(self, avro: Mapping[str, Any], full: str, namespace: str) -> tuple[Schema, Read]:
        self._open.append(full)
        parameters: dict[str, str] = {}
        metadata = self._options.metadata
        if metadata and avro.get("doc") is not None:
            parameters[RECORD_DOC] = avro["doc"]
        fields, readers = [], []
        for index, each in enumerate(avro.get("fields", ())):
            if metadata and each.get("doc") is not None:
                parameters[FIELD_DOC + each["name"]] = each["doc"]
            schema, read = self.of(each["type"], namespace, default=each.get("default", _NO_DEFAULT))
            if metadata and isinstance(each.get("connect.parameters"), dict):
                schema, read = _bound(_with_parameters(schema, each["connect.parameters"]), read)
            fields.append(Field(each["name"], index, schema))
            readers.append((each["name"], read))
        self._open.pop()
        made = Schema(Type.STRUCT, fields=tuple(fields), parameters=tuple(parameters.items()))
        return made, _StructReader(readers)

    def _enum(self, avro: Mapping[str, Any], full: str) -> Schema:
        parameters: dict[str, str] = {}
        if self._options.metadata:
            last = full.rpartition(".")[2]
            for prefix, what in ((ENUM_DOC, "doc"), (ENUM_DEFAULT, "default")):
                if avro.get(what) is not None:
                    parameters[prefix + last] = avro[what]
        parameters[ENUM] = full
        parameters.update((f"{ENUM}.{each}", each) for each in avro.get("symbols", ()))
        return _with_parameters(data.STRING, parameters)

    def _union(self, members: list[Any], namespace: str, default: Any) -> tuple[Schema, Read]:
        if len(members) == 1 and self._options.flatten_unions:
            return self.of(members[0], namespace)
        others = [each for each in members if each != "null" and each != {"type": "null"}]
        if len(members) == 2 and len(others) == 1:
            return self.of(others[0], namespace, optional=True)
        branches: list[tuple[str, str, Schema, Read]] = []
        for each in others:
            schema, read = self.of(each, namespace, optional=True)
            kind, full = self._kind(each, namespace)
            name = full if self._options.enhanced else full.rpartition(".")[2]
            branches.append((kind, full, schema, read))
            if any(name == self._member(other[1]) for other in branches[:-1]):
                raise DataError("Multiple union schemas map to the Connect union field name")
        fields = tuple(Field(self._member(full), index, schema) for index, (_, full, schema, _) in enumerate(branches))
        union = Schema(Type.STRUCT, len(others) < len(members), name=UNION, fields=fields)
        if default is not _NO_DEFAULT and self._options.metadata:
            union = _with_parameters(union, {FIELD_DEFAULT: "true"})
        return union, _UnionReader(union, branches)

    def _member(self, full: str) -> str:
        return full if self._options.enhanced else full.rpartition(".")[2]

    def _kind(self, avro: Any, namespace: str) -> tuple[str, str]:
        """What kind a member is, and its full name or else its kind."""
        avro = self._resolved(avro, namespace)
        if isinstance(avro, str):
            return avro, avro
        kind = str(avro.get("type"))
        return kind, _full_name(avro, namespace) if kind in _NAMED else kind

    def _with_properties(
        self, schema: Schema, avro: Mapping[str, Any], full: str, version: int | None, default: Any
    ) -> Schema:
        metadata = self._options.metadata
        changes: dict[str, Any] = {}
        if metadata and avro.get("connect.doc") is not None:
            changes["doc"] = avro["connect.doc"]
        own = avro.get("connect.version", version)
        if own is not None:
            if not isinstance(own, int):
                raise DataError(f"Invalid Connect version found: {own}")
            if schema.version is not None and schema.version != own:
                raise DataError(
                    f"Mismatched versions: version already added to SchemaBuilder ({schema.version}) differs from "
                    f"version in source schema ({own})"
                )
            changes["version"] = own
        parameters = dict(schema.parameters)
        if metadata and (more := avro.get("connect.parameters")) is not None:
            if not isinstance(more, dict) or not all(isinstance(each, str) for each in more.values()):
                raise DataError(f"Expected schema parameter values to be strings but found: {more}")
            parameters |= more
        parameters.update((key, str(each)) for key, each in avro.items() if key.startswith("avro"))
        name = avro.get("connect.name")
        if name is None and full and schema.name != DECIMAL_NAME:
            name = full
        if name is not None and not str(name).startswith(DEFAULT_NAME):
            if schema.name is not None and schema.name != name:
                raise DataError(
                    f"Mismatched names: name already added to SchemaBuilder ({schema.name}) differs from name in "
                    f"source schema ({name})"
                )
            changes["name"] = name
        if default is _NO_DEFAULT:
            default = avro.get("connect.default")
        elif metadata and "connect.default" not in avro:
            parameters[FIELD_DEFAULT] = "true"
        made = replace(schema, parameters=tuple(parameters.items()), **changes)
        if default is None:
            return made
        try:
            return made.with_default(_default(made, default, self._options))
        except (DataError, TypeError, ValueError, AttributeError, KeyError):
            return made  # a default that does not fit is none, as with Confluent's


def _bound(schema: Schema, read: Read) -> tuple[Schema, Read]:
    """Structs that are read get the schema as it has become."""
    if isinstance(read, (_StructReader, _UnionReader)):
        read.schema = schema
    return schema, read


def _full_name(avro: Mapping[str, Any], namespace: str) -> str:
    name = str(avro.get("name"))
    if "." in name:
        return name
    namespace = avro.get("namespace", namespace)
    return f"{namespace}.{name}" if namespace else name


def _is_map_entry(avro: Any) -> bool:
    if not isinstance(avro, dict) or avro.get("type") != "record":
        return False
    named = _full_name(avro, NAMESPACE) == f"{NAMESPACE}.{MAP_ENTRY}" and (
        "." in str(avro.get("name")) or avro.get("namespace") == NAMESPACE
    )
    return named or avro.get("connect.internal.type") == MAP_ENTRY


def _with_parameters(schema: Schema, more: Mapping[str, str]) -> Schema:
    return replace(schema, parameters=tuple({**dict(schema.parameters), **more}.items()))


def _default(schema: Schema, shown: Any, options: AvroOptions) -> Any:
    """A default from the JSON of Avro's schemas."""
    if shown is None:
        return None
    if schema.type is Type.BYTES:
        raw = shown.encode("latin-1")
        return decimal_from_bytes(schema, raw) if schema.name == DECIMAL_NAME else raw
    if schema.name == data.DATE_NAME:
        return data.date_from_days(shown)
    if schema.name == data.TIME_NAME:
        return data.time_from_ms(shown)
    if schema.name == data.TIMESTAMP_NAME:
        return data.timestamp_from_ms(shown)
    match schema.type:
        case Type.FLOAT32 | Type.FLOAT64:
            return float(shown)
        case Type.ARRAY:
            assert schema.value is not None
            return [_default(schema.value, each, options) for each in shown]
        case Type.MAP:
            assert schema.key is not None and schema.value is not None
            pairs = shown.items() if isinstance(shown, dict) else shown
            return {_default(schema.key, key, options): _default(schema.value, each, options) for key, each in pairs}
        case Type.STRUCT:
            made = Struct(schema)
            for field in schema.fields:
                each = _default(field.schema, shown.get(scrubbed(field.name, options)), options)
                made.put(field.name, field.schema.default if each is None else each)
            return made
    return shown


def _as_is(value: Any) -> Any:
    return value


def _unwrapped(value: Any) -> Any:
    """Of a named type in a union fastavro gives the name too."""
    return value[1] if type(value) is tuple else value


def _decimal_reader(schema: Schema) -> Read:
    return lambda value: None if value is None else decimal_from_bytes(schema, _unwrapped(value))


def _map_reader(read_value: Read) -> Read:
    if read_value is _as_is:
        return _as_is
    return lambda value: None if value is None else {key: read_value(each) for key, each in value.items()}


class _StructReader:
    """Records. Its schema is known only after the properties of the Avro schema were looked at."""

    def __init__(self, fields: list[tuple[str, Read]]) -> None:
        self.schema: Schema | None = None
        self._fields = fields

    def __call__(self, value: Any) -> Struct | None:
        if value is None:
            return None
        if type(value) is tuple:
            value = value[1]
        assert self.schema is not None
        return Struct.of(self.schema, [read(value[name]) for name, read in self._fields])


_CLASSES: dict[str, tuple[type, ...]] = {
    "boolean": (bool,),
    "int": (int, date, time),
    "long": (int, datetime),
    "float": (float,),
    "double": (float,),
    "string": (str,),
    "bytes": (bytes,),
    "array": (list,),
    "map": (dict,),
}


class _UnionReader:
    """Members of a union as fields of a struct, of which one is set."""

    def __init__(self, schema: Schema, branches: list[tuple[str, str, Schema, Read]]) -> None:
        self.schema = schema
        self._branches = branches

    def __call__(self, value: Any) -> Struct | None:
        if value is None:
            return None
        for index, (kind, full, schema, read) in enumerate(self._branches):
            if value[0] == dotted(full) if type(value) is tuple else self._is(kind, schema, value):
                values: list[Any] = [None] * len(self._branches)
                values[index] = read(value)
                return Struct.of(self.schema, values)
        raise DataError("Did not find matching union field for data")

    @staticmethod
    def _is(kind: str, schema: Schema, value: Any) -> bool:
        if schema.name in (data.DATE_NAME, data.TIME_NAME, data.TIMESTAMP_NAME):
            return type(value) is schema.fitting
        if kind == "int" and type(value) is int:
            return -(1 << 31) <= value < 1 << 31
        return type(value) in _CLASSES.get(kind, ())


def _read_anything(value: Any) -> Any:
    """A value without a schema from a record of ``Anything``."""
    value = _unwrapped(value)
    if value is None:
        return None
    for name in ("boolean", "bytes", "double", "float", "int", "long", "string"):
        if value.get(name) is not None:
            return value[name]
    if value.get("array") is not None:
        return [_read_anything(each) for each in value["array"]]
    if value.get("map") is not None:
        return {_read_anything(each["key"]): _read_anything(each["value"]) for each in map(_unwrapped, value["map"])}
    return None

"""JSON Schemas as Connect's, and values with them (``io.confluent.connect.json.JsonSchemaData``)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

from engine.connect import data
from engine.connect.converters.fitting import MOST_PARTS, holds_itself, too_large
from engine.connect.converters.json_schema_writing import (
    CONNECT_TYPES,
    ENUM,
    NULL_SYMBOL,
    ONE_OF,
    has_string_keys,
    is_union,
)
from engine.connect.converters.json_values import node_type, scalar_reader
from engine.connect.data import DECIMAL_NAME, Field, Schema, Struct, Type
from engine.connect.errors import DataError

Read = Callable[[Any], Any]
MISSING: Any = object()
"""A property that an object has not."""

_BY_NAME = {name: kind for kind, name in CONNECT_TYPES.items()} | {"bytes": Type.BYTES}
_DEEPEST = 200


def connect_schema_of(
    document: Any, documents: Mapping[str, Any], *, optional_unless_required: bool, version: int | None = None
) -> Schema:
    """Connect's schema of a JSON Schema.

    Args:
        documents: others to which it refers, by the name that it gives them.
        optional_unless_required: ``use.optional.for.nonrequired``.
        version: in its subject.

    Raises:
        DataError: Connect cannot have it.
    """
    try:
        return _Schemas(document, documents, optional_unless_required).of(document, document, version=version)
    except RecursionError:
        raise too_large("The JSON Schema") from None


class _Schemas:
    def __init__(self, document: Any, documents: Mapping[str, Any], optional_unless_required: bool) -> None:
        self._documents = documents
        self._optional_unless_required = optional_unless_required
        self._open: list[int] = []
        self._parts = 0

    def of(self, shown: Any, root: Any, *, optional: bool = False, version: int | None = None) -> Schema:
        if not isinstance(shown, dict) or not shown:
            raise DataError(f"Unsupported JSON Schema, which says nothing about values: {shown}")
        self._parts += 1
        if self._parts > MOST_PARTS or len(self._open) > _DEEPEST:
            raise too_large("The JSON Schema")
        if id(shown) in self._open:
            raise holds_itself(_called(shown))
        self._open.append(id(shown))
        try:
            return self._of(shown, root, optional, version)
        finally:
            self._open.pop()

    def _of(self, shown: dict[str, Any], root: Any, optional: bool, version: int | None) -> Schema:
        if "$ref" in shown:
            found, root = self._referred(str(shown["$ref"]), root)
            return self.of(found, root, optional=optional, version=version)
        if "allOf" in shown:
            return self.of(self._merged(shown, root), root, optional=optional, version=version)
        members = shown.get("oneOf", shown.get("anyOf"))
        kind = shown.get("type")
        if members is None and isinstance(kind, list):
            members = [{**shown, "type": each} for each in kind]
        if members is not None:
            if not all(isinstance(each, dict) for each in members):
                raise DataError("Unsupported JSON Schema: one of several is true or false")
            others = [each for each in members if each.get("type") != "null"]
            if len(others) == 1:
                nullable = len(members) > 1
                return self.of(others[0], root, optional=optional or nullable, version=version)
            fields = tuple(
                Field(f"{ONE_OF}.field.{index}", index, self.of(each, root, optional=True))
                for index, each in enumerate(others)
            )
            schema = Schema(Type.STRUCT, len(others) < len(members), name=ONE_OF, fields=fields)
        else:
            schema = self._plain(shown, kind, root)
        return self._with_properties(schema, shown, optional, version)

    def _plain(self, shown: dict[str, Any], kind: Any, root: Any) -> Schema:
        connect = shown.get("connect.type")
        if kind == "boolean":
            return data.BOOLEAN
        if kind in ("integer", "number"):
            if connect is None:
                return data.INT64 if kind == "integer" else data.FLOAT64
            if connect not in _BY_NAME:
                raise DataError(f"Unsupported type {connect}")
            return Schema(_BY_NAME[connect])
        if "enum" in shown or ("const" in shown and kind is None):
            symbols = [NULL_SYMBOL if each is None else str(each) for each in shown.get("enum", [shown.get("const")])]
            pairs = ((ENUM, ""), *((f"{ENUM}.{each}", each) for each in symbols))
            return Schema(Type.STRING, parameters=pairs)
        if kind == "string":
            return data.BYTES if connect == "bytes" else data.STRING
        if kind == "array" or (kind is None and "items" in shown):
            items = shown.get("items")
            if not isinstance(items, dict):
                raise DataError("Array schema did not specify the items type")
            entry = items.get("properties", {})
            if connect == "map" and {"key", "value"} <= entry.keys():
                return data.map_of(self.of(entry["key"], root), self.of(entry["value"], root))
            return data.array(self.of(items, root))
        if kind == "object" or (kind is None and "properties" in shown):
            if connect == "map":
                return data.map_of(data.STRING, self.of(shown.get("additionalProperties"), root))
            return self._struct(shown, root)
        raise DataError(f"Unsupported JSON Schema of type {kind}")

    def _struct(self, shown: dict[str, Any], root: Any) -> Schema:
        properties = list(shown.get("properties", {}).items())
        for name, each in properties:
            if not isinstance(each, dict):
                raise DataError(f"Unsupported JSON Schema: the property {name} is {each}, which says no type")
        places = {name: each.get("connect.index", place) for place, (name, each) in enumerate(properties)}
        properties.sort(key=lambda each: places[each[0]])
        required = shown.get("required", ())
        fields: list[Field] = []
        for name, each in properties:
            optional = self._optional_unless_required and name not in required
            fields.append(Field(name, len(fields), self.of(each, root, optional=optional)))
        return Schema(Type.STRUCT, fields=tuple(fields))

    def _merged(self, shown: dict[str, Any], root: Any) -> dict[str, Any]:
        """One schema of all of ``allOf``: properties of objects together, else what says most."""
        made = {key: value for key, value in shown.items() if key != "allOf"}
        for each in shown["allOf"]:
            within: list[int] = []
            home = root
            while isinstance(each, dict) and "$ref" in each:
                if id(each) in within:
                    raise holds_itself(_called(each))
                within.append(id(each))
                each, home = self._referred(str(each["$ref"]), home)
            if isinstance(each, dict) and "allOf" in each:
                if id(each) in self._open:
                    raise holds_itself(_called(each))
                self._open.append(id(each))
                each = self._merged(each, home)
                self._open.pop()
            if home is not root:
                # What it refers to within its own document is to be found from here, too.
                name = next((name for name, document in self._documents.items() if document is home), "")
                each = _referring_to(name, each)
            if isinstance(each, dict):
                properties = {**made.get("properties", {}), **each.get("properties", {})}
                required = [*made.get("required", ()), *each.get("required", ())]
                made = {**made, **each}
                if properties:
                    made |= {"properties": properties, "required": required}
        return made

    def _referred(self, reference: str, root: Any) -> tuple[Any, Any]:
        """What a reference leads to, and the document that it is in."""
        where, _, path = reference.partition("#")
        if where and where != root.get("$id"):
            if where not in self._documents:
                raise DataError(f"The JSON Schema refers to {where}, which is not among its references")
            root = self._documents[where]
        found = root
        for step in path.split("/"):
            step = step.replace("~1", "/").replace("~0", "~")
            if step:
                found = found.get(step) if isinstance(found, dict) else None
        if found is None:
            raise DataError(f"The JSON Schema has no {reference}")
        return found, root

    def _with_properties(self, schema: Schema, shown: dict[str, Any], optional: bool, version: int | None) -> Schema:
        changes: dict[str, Any] = {"optional": schema.optional or optional}
        if schema.name is None and shown.get("title") is not None:
            changes["name"] = shown["title"]
        own = shown.get("connect.version", version)
        if own is not None:
            changes["version"] = own
        if shown.get("description") is not None:
            changes["doc"] = shown["description"]
        parameters = shown.get("connect.parameters")
        if isinstance(parameters, dict):
            changes["parameters"] = (*schema.parameters, *((key, str(value)) for key, value in parameters.items()))
        made = replace(schema, **changes)
        if shown.get("default") is None:
            return made
        return made.with_default(value_reader(made)(shown["default"]))


def _referring_to(document: str, shown: Any) -> Any:
    """Part of a document as it stands in another one."""
    if isinstance(shown, list):
        return [_referring_to(document, each) for each in shown]
    if not isinstance(shown, dict):
        return shown
    made = {name: _referring_to(document, each) for name, each in shown.items()}
    if isinstance(made.get("$ref"), str) and made["$ref"].startswith("#"):
        made["$ref"] = document + made["$ref"]
    return made


def _called(shown: dict[str, Any]) -> str:
    name = shown.get("title") or shown.get("$ref")
    return f"The JSON Schema {name!r}" if name else "The JSON Schema"


def value_reader(schema: Schema) -> Read:
    """What makes values with a schema of JSON; it raises DataError for what does not fit."""
    read = _reader(schema)
    default, optional, name = schema.default, schema.optional, schema.type.name

    def read_or_null(shown: Any) -> Any:
        if shown is None or shown is MISSING:
            if default is None and shown is None and not optional:
                raise DataError(f"Invalid null value for required {name} field")
            return default
        return read(shown)

    return read_or_null


def _reader(schema: Schema) -> Read:
    match schema.type:
        case Type.ARRAY:
            assert schema.value is not None
            read_each = value_reader(schema.value)
            return lambda shown: [read_each(each) for each in _expect(schema, shown, list)]
        case Type.MAP:
            assert schema.key is not None and schema.value is not None
            read_key, read_value = value_reader(schema.key), value_reader(schema.value)
            if has_string_keys(schema):
                return lambda shown: {key: read_value(each) for key, each in _expect(schema, shown, dict).items()}
            return lambda shown: dict(_pair(each, read_key, read_value) for each in _expect(schema, shown, list))
        case Type.STRUCT if is_union(schema):
            return _UnionReader(schema)
        case Type.STRUCT:
            fields = [(each.name, value_reader(each.schema)) for each in schema.fields]
            return lambda shown: Struct.of(
                schema, [read(_expect(schema, shown, dict).get(name, MISSING)) for name, read in fields]
            )
    return scalar_reader(schema)


def _pair(shown: Any, read_key: Read, read_value: Read) -> tuple[Any, Any]:
    if not isinstance(shown, dict) or shown.keys() != {"key", "value"}:
        raise DataError(f"Found invalid map entry instead of object with key and value: {node_type(shown)}")
    return read_key(shown["key"]), read_value(shown["value"])


def _expect(schema: Schema, shown: Any, kind: type) -> Any:
    if isinstance(shown, kind):
        return shown
    what = "JSON objects" if kind is dict else "JSON arrays"
    raise DataError(f"{schema.type.name} should be encoded as {what}, but found {node_type(shown)}")


class _UnionReader:
    """The first member that a value can be; of several objects the one with most properties in common."""

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self._readers = [value_reader(each.schema) for each in schema.fields]

    def __call__(self, shown: Any) -> Struct:
        best, most = None, 0
        for field in self._schema.fields:
            if _is_simple(field.schema, shown):
                best = field.index
                break
            common = _in_common(field.schema, shown)
            if common > most:
                best, most = field.index, common
        if best is None:
            raise DataError("Did not find matching oneof field for data")
        values: list[Any] = [None] * len(self._readers)
        values[best] = self._readers[best](shown)
        return Struct.of(self._schema, values)


def _is_simple(schema: Schema, shown: Any) -> bool:
    number = isinstance(shown, (int, float, Decimal)) and not isinstance(shown, bool)
    match schema.type:
        case Type.INT8 | Type.INT16 | Type.INT32 | Type.INT64:
            return number and isinstance(shown, int)
        case Type.FLOAT32 | Type.FLOAT64:
            return number
        case Type.BOOLEAN:
            return isinstance(shown, bool)
        case Type.STRING:
            return isinstance(shown, str)
        case Type.ARRAY:
            return isinstance(shown, list)
        case Type.MAP:
            return isinstance(shown, (dict, list))
        case Type.BYTES:
            return isinstance(shown, str) or (schema.name == DECIMAL_NAME and number)
    return False


def _in_common(schema: Schema, shown: Any) -> int:
    if schema.type is not Type.STRUCT or not isinstance(shown, dict):
        return 0
    both = [each for each in schema.fields if each.name in shown]
    return len(both) + sum(_in_common(each.schema, shown[each.name]) for each in both)

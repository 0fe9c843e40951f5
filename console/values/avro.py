"""Avro's binary encoding by fastavro (extra ``serdes``)."""

from __future__ import annotations

import datetime
import decimal
import io
import json
import uuid
from collections.abc import Mapping
from typing import Any

from console.values.json_form import json_text
from console.values.schemas import Schema
from console.values.serdes import MissingExtra, SerdeError


class AvroSerde:
    """Values of one schema, without framing.

    What it reads is JSON with unions bare (``"x"``, not ``{"string": "x"}``), times in ISO 8601, and bytes as Avro's
    JSON encoding has them: each byte the character of that number.
    """

    is_text = False

    def __init__(self, schema: Schema, name: str) -> None:
        """Raises: SerdeError: it is no schema; fastavro is missing."""
        try:
            import fastavro
        except ImportError:
            raise MissingExtra("fastavro") from None
        self._fastavro = fastavro
        self._named: dict[str, Any] = {}
        try:
            for reference in schema.references:
                fastavro.parse_schema(json.loads(reference.text), named_schemas=self._named)
            parsed = fastavro.parse_schema(_loaded(schema.text), named_schemas=self._named)
            if schema.references:
                # The reader takes one schema: types of others stand in it whole.
                whole = _in_one(parsed, dict(self._named), set())
                self._named = {}
                parsed = fastavro.parse_schema(whole, named_schemas=self._named)
            self._schema: Any = parsed
        except (ValueError, KeyError, TypeError, fastavro.schema.SchemaParseException) as error:
            raise SerdeError(f"no Avro schema: {_said(error)}") from None
        full = str(self._schema.get("name", "")) if isinstance(self._schema, Mapping) else ""
        self.name = f"{name} {full.rpartition('.')[2]}".rstrip()

    def read(self, data: bytes) -> bytes:
        stream = io.BytesIO(data)
        try:
            found = self._fastavro.schemaless_reader(stream, self._schema, None)
        except Exception:
            # fastavro lets through whatever its readers stumble over.
            raise SerdeError(f"the bytes do not fit {self.name}") from None
        left = len(data) - stream.tell()
        if left:
            raise SerdeError(f"the bytes do not fit {self.name}: {left} are left over")
        return json_text(found, _latin)

    def write(self, text: str) -> bytes:
        try:
            value = _native(_typed(text, self._schema), self._schema, self._named, self._fastavro)
        except (ValueError, RecursionError) as error:
            raise SerdeError(f"no value of {self.name}: {_said(error)}") from None
        stream = io.BytesIO()
        try:
            self._fastavro.validate(value, self._schema, strict=True)
            self._fastavro.schemaless_writer(stream, self._schema, value)
        except Exception as error:
            raise SerdeError(f"no value of {self.name}: {_said(error)}") from None
        return stream.getvalue()


def _latin(data: bytes) -> str:
    return data.decode("latin-1")


def _typed(text: str, schema: Any) -> Any:
    """JSON; of a schema that is a string alone also the text without its quotes. Raises: ValueError."""
    is_string = (schema.get("type") if isinstance(schema, Mapping) else schema) == "string"
    try:
        value = json.loads(text)
    except ValueError:
        if is_string:
            return text
        raise
    return text if is_string and not isinstance(value, str) else value


def _loaded(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        # A registry may have a primitive type as its bare word.
        if text.strip().isidentifier():
            return text.strip()
        raise


def _said(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _in_one(schema: Any, known: Mapping[str, Any], seen: set[str]) -> Any:
    """Each named type is defined where it comes first, and named wherever else."""
    if isinstance(schema, list):
        return [_in_one(each, known, seen) for each in schema]
    if isinstance(schema, str):
        return _in_one(known[schema], known, seen) if schema in known and schema not in seen else schema
    made = {name: each for name, each in schema.items() if not str(name).startswith("__")}
    if made.get("type") in ("record", "error", "enum", "fixed"):
        full = str(made["name"])
        if full in seen:
            return full
        seen.add(full)
    if "fields" in made:
        made["fields"] = [{**each, "type": _in_one(each["type"], known, seen)} for each in made["fields"]]
    for inner in ("items", "values"):
        if inner in made:
            made[inner] = _in_one(made[inner], known, seen)
    if isinstance(made.get("type"), Mapping | list):
        made["type"] = _in_one(made["type"], known, seen)
    return made


def _native(value: Any, schema: Any, named: Mapping[str, Any], fastavro: Any) -> Any:
    """From JSON to what fastavro writes: text to bytes, times, decimals, UUIDs. Raises: ValueError."""
    if isinstance(schema, str) and schema in named:
        schema = named[schema]
    if isinstance(schema, list):
        return _branch(value, schema, named, fastavro)
    kind = schema.get("type") if isinstance(schema, Mapping) else schema
    logical = schema.get("logicalType") if isinstance(schema, Mapping) else None
    if isinstance(kind, Mapping | list):
        return _native(value, kind, named, fastavro)
    if kind in ("record", "error") and isinstance(value, Mapping):
        return _record(value, schema, named, fastavro)
    if kind == "array" and isinstance(value, list):
        return [_native(each, schema["items"], named, fastavro) for each in value]
    if kind == "map" and isinstance(value, Mapping):
        return {name: _native(each, schema["values"], named, fastavro) for name, each in value.items()}
    if logical and (isinstance(value, str) or logical == "decimal"):
        return _logical(value, logical)
    if kind in ("bytes", "fixed") and isinstance(value, str):
        return value.encode("latin-1")
    if kind in ("float", "double") and isinstance(value, str):
        return float(value)
    return value


def _record(value: Mapping[str, Any], schema: Mapping[str, Any], named: Mapping[str, Any], fastavro: Any) -> Any:
    fields = {each["name"]: each for each in schema["fields"]}
    strange = sorted(set(value) - set(fields))
    if strange:
        raise ValueError(f"there is no field {strange[0]}; it has {', '.join(fields)}")
    made = {}
    for name, field in fields.items():
        if name in value:
            made[name] = _native(value[name], field["type"], named, fastavro)
        elif "default" in field:
            made[name] = _native(field["default"], field["type"], named, fastavro)
        else:
            raise ValueError(f"the field {name} is missing and has no default")
    return made


def _branch(value: Any, union: list[Any], named: Mapping[str, Any], fastavro: Any) -> Any:
    """The first type of a union that takes the value."""
    problem = ValueError(f"no type of the union takes it: {json.dumps(union, default=str)[:100]}")
    for each in union:
        try:
            made = _native(value, each, named, fastavro)
            full = named.get(each, each) if isinstance(each, str) else each
            if isinstance(full, Mapping):
                # With fastavro's own marks of a schema whose types are known.
                full = {**full, **_marks(named, fastavro)}
            if fastavro.validate(made, full, strict=True, raise_errors=False):
                return made
        except ValueError as error:
            if isinstance(value, Mapping):
                problem = error
    raise problem


def _marks(named: Mapping[str, Any], fastavro: Any) -> dict[str, Any]:
    empty = {"type": "record", "name": "kconsole.Empty", "fields": []}
    made = fastavro.parse_schema(empty, named_schemas=dict(named))
    return {name: each for name, each in made.items() if name.startswith("__")}


def _logical(value: Any, logical: str) -> Any:
    if logical == "decimal":
        try:
            return decimal.Decimal(str(value))
        except decimal.InvalidOperation:
            raise ValueError(f"{str(value)[:40]!r} is no decimal") from None
    if logical.startswith(("timestamp-", "local-timestamp-")):
        return datetime.datetime.fromisoformat(value)
    if logical == "date":
        return datetime.date.fromisoformat(value)
    if logical.startswith("time-"):
        return datetime.time.fromisoformat(value)
    return uuid.UUID(value) if logical == "uuid" else value

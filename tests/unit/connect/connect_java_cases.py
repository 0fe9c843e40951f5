"""Schemas, values, conversions and transforms of which Java's answer is known: how they are shown, made and compared.

A schema is shown as its parts (``{"type": "INT8", "optional": false, …}``), a value as ``{tag: what is in it}``: ``i``
integer, ``f`` float (as text), ``b`` boolean, ``s`` text, ``x`` bytes in base64, ``n`` decimal, ``t`` milliseconds of a
date, time or timestamp, ``a`` list, ``m`` pairs of a map, ``o`` a struct's values in the schema's order. The peer is
tests/integration/java/ConnectConversions.java.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import math
from base64 import b64decode, b64encode
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

from engine.connect.converters.converter import Converter
from engine.connect.converters.simple_header import SimpleHeaderConverter
from engine.connect.data import (
    DATE_NAME,
    MS_PER_DAY,
    TIME_NAME,
    Field,
    Schema,
    Struct,
    Type,
    date_from_days,
    days_from_date,
    ms_from_time,
    ms_from_timestamp,
    time_from_ms,
    timestamp_from_ms,
)
from engine.connect.errors import ConfigError, ConnectError
from engine.connect.plugins import PluginType, find
from engine.connect.records import ConnectRecord, Headers, SinkRecord, SourceRecord
from engine.connect.transforms.transformation import Transformation

ROOT = Path(__file__).resolve().parents[3]
CORPUS = ROOT / "tests" / "golden" / "connect-4.3.1.json.gz"
JAVA_SOURCE = ROOT / "tests" / "integration" / "java" / "ConnectConversions.java"

Shown = Any
Case = dict[str, Any]


# Showing schemas and values, and making them of what is shown.


def show_schema(schema: Schema | None) -> Shown:
    """A schema as it is sent to Java."""
    if schema is None:
        return None
    shown: dict[str, Any] = {"type": schema.type.name, "optional": schema.optional}
    for name in ("name", "version", "doc"):
        if getattr(schema, name) is not None:
            shown[name] = getattr(schema, name)
    if schema.parameters:
        shown["parameters"] = [list(each) for each in schema.parameters]
    if schema.default is not None:
        shown["default"] = show_value(schema.default)
    if schema.type is Type.MAP:
        shown["key"] = show_schema(schema.key)
    if schema.type in (Type.MAP, Type.ARRAY):
        shown["value"] = show_schema(schema.value)
    if schema.type is Type.STRUCT:
        shown["fields"] = [[each.name, show_schema(each.schema)] for each in schema.fields]
    return shown


def make_schema(shown: Shown) -> Schema | None:
    """A schema from what was shown."""
    if shown is None:
        return None
    fields = []
    for index, (name, each) in enumerate(shown.get("fields", ())):
        made = make_schema(each)
        assert made is not None
        fields.append(Field(name, index, made))
    schema = Schema(
        Type[shown["type"]],
        shown["optional"],
        name=shown.get("name"),
        version=shown.get("version"),
        doc=shown.get("doc"),
        parameters=tuple((name, value) for name, value in shown.get("parameters", ())),
        fields=tuple(fields),
        key=make_schema(shown.get("key")),
        value=make_schema(shown.get("value")),
    )
    return schema.with_default(make_value(schema, shown["default"])) if "default" in shown else schema


def show_value(value: Any) -> Shown:
    """A value as it is sent to Java."""
    match value:
        case None:
            return None
        case bool():
            return {"b": value}
        case int():
            return {"i": value}
        case float():
            return {"f": "NaN" if math.isnan(value) else repr(value).replace("inf", "Infinity")}
        case Decimal():
            return {"n": str(value)}
        case str():
            return {"s": value}
        case bytes() | bytearray() | memoryview():
            return {"x": b64encode(value).decode()}
        case datetime():
            return {"t": ms_from_timestamp(value)}
        case date():
            return {"t": days_from_date(value) * MS_PER_DAY}
        case time():
            return {"t": ms_from_time(value)}
        case list() | tuple():
            return {"a": [show_value(each) for each in value]}
        case dict():
            return {"m": [[show_value(key), show_value(each)] for key, each in value.items()]}
        case Struct():
            return {"o": [show_value(each) for each in value.values]}
    raise AssertionError(value)


def make_value(schema: Schema | None, shown: Shown) -> Any:
    """A value from what was shown."""
    if shown is None:
        return None
    [(tag, inside)] = shown.items()
    match tag:
        case "i" | "b" | "s":
            return inside
        case "f":
            return float(inside)
        case "x":
            return b64decode(inside)
        case "n":
            return Decimal(inside)
        case "t":
            if schema is not None and schema.name == DATE_NAME:
                return date_from_days(inside // MS_PER_DAY)
            if schema is not None and schema.name == TIME_NAME:
                return time_from_ms(inside)
            return timestamp_from_ms(inside)
        case "a":
            return [make_value(None if schema is None else schema.value, each) for each in inside]
        case "m":
            keys, values = (None, None) if schema is None else (schema.key, schema.value)
            return {make_value(keys, key): make_value(values, each) for key, each in inside}
    assert schema is not None
    struct = Struct(schema)
    for field, each in zip(schema.fields, inside, strict=True):
        if each is not None:
            struct.put(field.name, make_value(field.schema, each))
    return struct


def make_record(shown: Shown) -> ConnectRecord:
    """A record from what was shown."""
    headers = Headers()
    for name, schema, value in shown["headers"]:
        of = make_schema(schema)
        headers.add(name, make_value(of, value), of)
    key_schema, value_schema = make_schema(shown["key_schema"]), make_schema(shown["value_schema"])
    common: dict[str, Any] = {
        "topic": shown["topic"],
        "partition": shown["partition"],
        "key_schema": key_schema,
        "key": make_value(key_schema, shown["key"]),
        "value_schema": value_schema,
        "value": make_value(value_schema, shown["value"]),
        "timestamp": shown["timestamp"],
        "headers": headers,
    }
    if shown["offset"] is None:
        return SourceRecord(source_partition={}, source_offset={}, **common)
    return SinkRecord(offset=shown["offset"], **common)


def show_record(record: ConnectRecord | None) -> Shown:
    """A record as Java shows it."""
    if record is None:
        return None
    return {
        "topic": record.topic,
        "partition": record.partition,
        "key_schema": show_schema(record.key_schema),
        "key": show_value(record.key),
        "value_schema": show_schema(record.value_schema),
        "value": show_value(record.value),
        "timestamp": record.timestamp,
        "headers": [[each.key, show_schema(each.schema), show_value(each.value)] for each in record.headers],
    }


# Our answers.


def answer(case: Case) -> Case:
    """What ours makes of a case."""
    try:
        return _answer(case)
    except ConnectError as error:
        return {
            "error": "ConfigException" if isinstance(error, ConfigError) else "DataException",
            "message": str(error),
        }


def _answer(case: Case) -> Case:
    schema = make_schema(case.get("schema"))
    match case["do"]:
        case "write":
            return _bytes(_converter(case).from_connect_data("t", None, schema, make_value(schema, case["value"])))
        case "read":
            read = _converter(case).to_connect_data("t", None, _raw(case))
            return {"schema": show_schema(read.schema), "value": show_value(read.value)}
        case "write_header":
            return _bytes(
                SimpleHeaderConverter().from_connect_header("t", "h", schema, make_value(schema, case["value"]))
            )
        case "read_header":
            read = SimpleHeaderConverter().to_connect_header("t", "h", _raw(case))
            return {"schema": show_schema(read.schema), "value": show_value(read.value)}
    name = f"org.apache.kafka.connect.transforms.{case['class']}"
    made: Transformation = find(name, PluginType.TRANSFORMATION)()
    made.configure(case["configs"])
    return {"record": show_record(made.apply(make_record(case["record"])))}


def _converter(case: Case) -> Converter:
    made: Converter = find(case["class"], PluginType.CONVERTER)()
    made.configure(case["configs"], False)
    return made


def _raw(case: Case) -> bytes | None:
    return None if case["bytes"] is None else case["bytes"].encode("latin-1")


def _bytes(value: bytes | None) -> Case:
    return {"bytes": None if value is None else value.decode("latin-1")}


# Comparing.


def difference(case: Case, theirs: Case, ours: Case) -> str | None:
    """What differs, or None. Where Java fails by accident (``NullPointerException``) ours may fail by any error."""
    if "error" in theirs or "error" in ours:
        if "error" in theirs and "error" in ours:
            same = theirs["error"] != "ConfigException" or ours["error"] == "ConfigException"
        else:
            same = stricter(case, theirs, ours)
    elif case["do"] == "write" and case["class"].endswith("JsonConverter"):
        same = _json(theirs["bytes"]) == _json(ours["bytes"])
    elif "bytes" in theirs:
        same = _same_text(theirs["bytes"], ours["bytes"])
    else:
        same = _canonical(theirs) == _canonical(ours)
    return None if same else f"{json.dumps(case)}\n  Java: {json.dumps(theirs)}\n  ours: {json.dumps(ours)}"


_STRICTER = {
    "write StringConverter": ("does not write bytes",),
    "read JsonConverter": ("Invalid JSON for", "Extra data", "should be encoded as JSON arrays", "Invalid bytes field"),
    "transform RegexRouter": ("No group", "classes of characters within classes"),
}


def stricter(case: Case, theirs: Case, ours: Case) -> bool:
    """Where ours differs on purpose; see decision 0035."""
    name = case.get("class", "").rsplit(".", 1)[-1]
    if "error" in ours and "outside the years 1 to 9999" in ours["message"]:
        return True
    if "error" in ours:
        return any(each in ours["message"] for each in _STRICTER.get(f"{case['do']} {name}", ()))
    # Java's cannot name a schema that is no struct's.
    return name.startswith("SetSchemaMetadata") and theirs["message"] == "Cannot list fields on non-struct type"


def _json(text: str | None) -> Any:
    return None if text is None else _loose(json.loads(text.encode("latin-1")))


def _loose(value: Any) -> Any:
    """JSON with floats of Java 17, whose texts are not always the shortest."""
    match value:
        case float():
            return f"{value:.15g}"
        case list():
            return [_loose(each) for each in value]
        case dict():
            return {key: _loose(each) for key, each in value.items()}
    return value


def _same_text(theirs: str | None, ours: str | None) -> bool:
    if theirs == ours:
        return True
    try:
        return theirs is not None and ours is not None and _shape(theirs) == _shape(ours)
    except ValueError:
        return False


def _shape(text: str) -> float:
    if "E" not in text and "." not in text:
        raise ValueError
    return float(text)


def _canonical(shown: Any) -> Any:
    """Without what Java leaves open: the order in maps, texts of floats."""
    if isinstance(shown, dict):
        if shown.keys() == {"m"}:
            return {"m": sorted((_canonical(each) for each in shown["m"]), key=json.dumps)}
        if shown.keys() == {"f"}:
            number = float(shown["f"])
            # What Java reads of -0.0 and of "NaN", which it writes.
            return {"f": repr(number) if number and math.isfinite(number) else "0.0"}
        made = {key: _canonical(each) for key, each in shown.items()}
        if isinstance(made.get("parameters"), list):
            made["parameters"] = sorted(made["parameters"])
        return made
    return [_canonical(each) for each in shown] if isinstance(shown, list) else shown


# The corpus.


def java_digest() -> str:
    """What tells whether the corpus was made by the Java program that is there."""
    return hashlib.sha256(JAVA_SOURCE.read_bytes()).hexdigest()


def write_corpus(corpus: Case) -> None:
    """Keep the corpus: the same bytes for the same content."""
    text = json.dumps(corpus, separators=(",", ":"), sort_keys=True)
    CORPUS.write_bytes(gzip.compress(text.encode(), 9, mtime=0))


def read_corpus() -> Case:
    """``version``, ``java``, ``cases``, and ``answers`` to them."""
    corpus: Case = json.loads(gzip.decompress(CORPUS.read_bytes()))
    return corpus

"""Cases for Kafka's converters and transforms and ours: every one of a hand-written list, and random ones by seed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from random import Random
from typing import Any

from engine.connect import data
from engine.connect.converters.json import JsonConverter
from engine.connect.data import Schema, Struct, Type
from engine.connect.errors import ConnectError
from tests.unit.connect.connect_java_cases import Case, show_schema, show_value

JSON = "org.apache.kafka.connect.json.JsonConverter"
STRING = "org.apache.kafka.connect.storage.StringConverter"

_INTEGERS = {Type.INT8: 7, Type.INT16: 15, Type.INT32: 31, Type.INT64: 63}
_TEXTS = (
    "",
    "a",
    "hello, world",
    "é€𝄞",
    'q"uo\\te',
    "1",
    "-129",
    "1.5",
    "true",
    "null",
    " x ",
    "[1]",
    "{}",
    "2024-02-29",
    "a\nb",
)
_FLOATS = (0.0, -0.0, 1.0, -1.5, 0.1, 1e7, 1.5e-5, 123456.789, 1e30, float("nan"), float("inf"), float("-inf"))
_NAMES = ("a", "b", "c", "d", "e", "f")


class Maker:
    """Random schemas and values with them."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)

    def schema(self, depth: int = 2, *, struct: bool = False) -> Schema:
        """A schema, at most so deep."""
        random = self.random
        kinds = [each for each in Type if each.is_primitive]
        if depth > 0:
            kinds += [Type.ARRAY, Type.MAP, Type.STRUCT, Type.STRUCT]
        kind = Type.STRUCT if struct else random.choice(kinds)
        optional = random.random() < 0.4
        if not struct and random.random() < 0.25:
            made = random.choice([data.decimal(random.randrange(4)), data.DATE, data.TIME, data.TIMESTAMP])
            made = made.as_optional() if optional else made
        elif kind is Type.ARRAY:
            made = data.array(self.schema(depth - 1), optional=optional)
        elif kind is Type.MAP:
            key = random.choice([data.STRING, data.STRING, data.INT32, data.BOOLEAN])
            made = data.map_of(key, self.schema(depth - 1), optional=optional)
        elif kind is Type.STRUCT:
            names = _NAMES[: random.randrange(3 if struct else 1, 6)]
            made = data.struct({name: self.schema(depth - 1) for name in names}, optional=optional)
        else:
            made = Schema(kind, optional)
        if made.name is None and random.random() < 0.15:
            made = made.named(
                random.choice(["org.example.Thing", "x"]), random.choice([None, 1, 3]), random.choice([None, "doc"])
            )
        if random.random() < 0.15 and made.type not in (Type.MAP, Type.STRUCT):
            made = made.with_default(self.value(made, may_be_null=False))
        return made

    def value(self, schema: Schema, *, may_be_null: bool = True) -> Any:
        """A value with a schema."""
        random = self.random
        if may_be_null and schema.optional and random.random() < 0.3:
            return None
        match schema.name:
            case data.DECIMAL_NAME:
                return Decimal(random.choice([0, 1, -1, 127, 128, -129, 99999999999])).scaleb(
                    -data.decimal_scale(schema)
                )
            case data.DATE_NAME:
                return date.fromordinal(date(1969, 12, 20).toordinal() + random.choice([0, 12, 13, 20000, -40000]))
            case data.TIME_NAME:
                return data.time_from_ms(random.choice([0, 1, 3723004, data.MS_PER_DAY - 1]))
            case data.TIMESTAMP_NAME:
                return data.timestamp_from_ms(random.choice([0, -1, 86400000, 1709168723004, -86400000, 1709164800000]))
        if schema.type in _INTEGERS:
            limit = 1 << _INTEGERS[schema.type]
            return random.choice([0, 1, -1, limit - 1, -limit, random.randrange(-limit, limit)])
        match schema.type:
            case Type.FLOAT32:
                return random.choice(
                    [0.0, -0.0, 1.0, -1.5, 0.10000000149011612, 1e7, 3.4028234663852886e38, float("nan")]
                )
            case Type.FLOAT64:
                return random.choice(_FLOATS)
            case Type.BOOLEAN:
                return random.random() < 0.5
            case Type.STRING:
                return random.choice(_TEXTS)
            case Type.BYTES:
                return random.choice([b"", b"\0\xff", b"abc"])
            case Type.ARRAY:
                assert schema.value is not None
                return [self.value(schema.value) for _ in range(random.randrange(4))]
            case Type.MAP:
                assert schema.key is not None and schema.value is not None
                return {self.value(schema.key): self.value(schema.value) for _ in range(random.randrange(2))}
        made = Struct(schema)
        for field in schema.fields:
            if not (field.schema.default is not None and random.random() < 0.3):
                made.put(field.name, self.value(field.schema))
        return made

    def schemaless(self, depth: int = 2) -> Any:
        """A value without a schema."""
        random = self.random
        kinds = ["null", "int", "float", "text", "bool"] + (["list", "dict", "dict"] if depth else [])
        match random.choice(kinds):
            case "null":
                return None
            case "int":
                return random.choice([0, 1, -1, 300, 1 << 40, -(1 << 63), 1709168723004])
            case "float":
                return random.choice(_FLOATS)
            case "text":
                return random.choice(_TEXTS)
            case "bool":
                return random.random() < 0.5
            case "list":
                return [self.schemaless(depth - 1) for _ in range(random.randrange(4))]
        return {name: self.schemaless(depth - 1) for name in _NAMES[: random.randrange(1, 5)]}


def _write(cls: str, schema: Schema | None, value: Any, configs: dict[str, str]) -> Case:
    return {"do": "write", "class": cls, "configs": configs, "schema": show_schema(schema), "value": show_value(value)}


def _read(cls: str, raw: str | None, configs: dict[str, str]) -> Case:
    text = None if raw is None else raw.encode().decode("latin-1")
    return {"do": "read", "class": cls, "configs": configs, "bytes": text}


JSON_CONFIGS: tuple[dict[str, str], ...] = (
    {"schemas.enable": "true"},
    {"schemas.enable": "false"},
    {"schemas.enable": "true", "decimal.format": "NUMERIC"},
    {"schemas.enable": "true", "replace.null.with.default": "false"},
    {"schemas.enable": "false", "decimal.format": "numeric", "replace.null.with.default": "false"},
)


def _converter_cases(maker: Maker) -> Iterator[Case]:
    random = maker.random
    for _ in range(60):
        schema = maker.schema()
        value = maker.value(schema)
        configs = random.choice(JSON_CONFIGS)
        yield _write(JSON, schema, value, configs)
        try:
            converter = JsonConverter()
            converter.configure(configs, False)
            raw = converter.from_connect_data("t", None, schema, value)
        except ConnectError:
            continue
        assert raw is not None
        yield _read(JSON, raw.decode(), configs)
        if configs["schemas.enable"] == "true":
            opening = raw.decode().partition(',"payload":')[0]
            payload = random.choice(["null", "1", "1.5", '"x"', "[]", "{}", "true"])
            yield _read(JSON, f'{opening},"payload":{payload}}}', configs)
    for _ in range(15):
        yield _write(JSON, None, maker.schemaless(), random.choice(JSON_CONFIGS))
        yield _read(JSON, _plain(maker), {"schemas.enable": "false"})
    for _ in range(20):
        schema = maker.schema()
        if not any(each in repr(schema) for each in ("MAP", "BYTES", "FLOAT")) and schema.type is not Type.BYTES:
            yield _write(STRING, schema, maker.value(schema), {})
    for _ in range(25):
        schema = maker.schema(1)
        yield {"do": "write_header", "schema": show_schema(schema), "value": show_value(maker.value(schema))}
        yield {"do": "read_header", "bytes": _header_text(maker, 2).encode().decode("latin-1")}


def _plain(maker: Maker) -> str:
    def finite(value: Any) -> Any:
        match value:
            case float():
                return value if abs(value) < 1e300 else 0.5
            case list():
                return [finite(each) for each in value]
            case dict():
                return {key: finite(each) for key, each in value.items()}
        return value

    return json.dumps(finite(maker.schemaless()))


_SCALARS = (
    "1",
    "-129",
    "70000",
    "1.5",
    "1e30",
    "true",
    "null",
    '"x"',
    '"2024-02-29"',
    "9223372036854775808",
    "x",
    "",
    " 7 ",
    '"a\\"b"',
)


def _header_text(maker: Maker, depth: int) -> str:
    random = maker.random
    kind = random.randrange(4)
    if depth == 0 or kind < 2:
        return random.choice(_SCALARS)
    inner = [_header_text(maker, depth - 1) for _ in range(random.randrange(4))]
    if kind == 2:
        return "[" + random.choice([",", " , "]).join(inner) + random.choice(["]", "]", "] ", ""])
    # Not both 1 and true, which are one key to Python.
    pairs = [f"{random.choice([each for each in _SCALARS if each != 'true'])}:{one}" for one in inner]
    return "{" + random.choice([",", ", "]).join(pairs) + "}"


# Transforms.


def _record(maker: Maker, schema: Schema | None, value: Any, key_schema: Schema | None = None, key: Any = None) -> Any:
    random = maker.random
    sink = random.random() < 0.5
    return {
        "topic": random.choice(["orders", "raw-orders", "db.public.t1"]),
        "partition": random.randrange(3) if sink or random.random() < 0.5 else None,
        "offset": random.randrange(1000) if sink else None,
        "key_schema": show_schema(key_schema),
        "key": show_value(key),
        "value_schema": show_schema(schema),
        "value": show_value(value),
        "timestamp": random.choice([None, 0, 1709168723004, 1709168723004]),
        "headers": random.choice(
            [[], [["h", show_schema(data.STRING), show_value("v")]], [["h", None, {"i": 1}], ["g", None, {"i": 2}]]]
        ),
    }


def _configs(maker: Maker, name: str, *, simple: bool) -> dict[str, str]:
    """For a transform of something that is no struct and no map (``simple``), or of one that is."""
    random = maker.random
    field, other = random.choice(_NAMES[:4]), random.choice(_NAMES)
    made: dict[str, str] = {}
    match name:
        case "Cast":
            kinds = ["int8", "int16", "int32", "int64", "float32", "float64", "boolean", "string"]
            kind = random.choice(kinds)
            specs = [f"{field}:{kind}"] * 2 + [f"{field}:{kind},{other}:{random.choice(kinds)}"]
            specs = [kind] * 6 if simple else specs * 2
            made["spec"] = random.choice([*specs, random.choice([kind, "bytes", "a:int31"])])
        case "ExtractField":
            made["field"] = random.choice([field] * 6 + ["a.b", "b.a", "`a`.b", "a.b.c", "nothing"])
            made["field.syntax.version"] = random.choice(["V1", "V2", "v2"])
        case "Flatten":
            made = random.choice([{}, {"delimiter": "_"}])
        case "HeaderFrom":
            made = {
                "fields": f"{field},{other}",
                "headers": random.choice(["x,y", "x"]),
                "operation": random.choice(["move", "copy"]),
            }
        case "HoistField":
            made["field"] = "all"
        case "InsertField":
            for config in ("topic.field", "partition.field", "offset.field", "timestamp.field"):
                if random.random() < 0.4:
                    made[config] = config[0] + random.choice(["1", "1?", "1!", ""])
            if random.random() < 0.5:
                made |= random.choice([{"static.field": "s", "static.value": "z"}, {"static.field": "s!"}])
        case "MaskField":
            made["fields"] = random.choice([field, f"{field},{other}", ""])
            if random.random() < 0.5:
                made["replacement"] = random.choice(["x", "7", "1.5", "300"])
        case "ReplaceField":
            made["exclude"] = random.choice(["", "", field])
            made["include"] = random.choice(["", "", f"{field},{other}"])
            made["renames"] = random.choice(["", f"{field}:z", "a:x,b:y", "a:x:y", "a"])
        case "SetSchemaMetadata":
            made = random.choice(
                [{"schema.name": "N"}, {"schema.version": "7"}, {"schema.name": "N", "schema.version": "1"}, {}]
            )
        case "TimestampConverter":
            made["target.type"] = random.choice(["string", "unix", "Date", "Time", "Timestamp"])
            made["field"] = random.choice(["", "", "", field] if simple else [field, field, field, ""])
            made["format"] = random.choice(
                ["", "yyyy-MM-dd", "yyyy-MM-dd'T'HH:mm:ss.SSSXXX", "EEE d MMM yy h:mm a", "yyyyMMdd"]
            )
            made["unix.precision"] = random.choice(["seconds", "milliseconds", "microseconds", "nanoseconds"])
        case "ValueToKey":
            made["fields"] = random.choice([field, "a,b", f"{field},{other}"])
        case "DropHeaders":
            made["headers"] = random.choice(["h", "g,h", ""])
        case "InsertHeader":
            made = {"header": "n", "value.literal": random.choice(["1", "x", "true", "[1,2]"])}
        case "RegexRouter":
            made["regex"] = random.choice(
                [".*", "raw-(.*)", "(.*)\\.(.*)\\.(.*)", "(?<a>r)aw.*", "orders", "[a-z&&[^b]]+", "("]
            )
            made["replacement"] = random.choice(["x", "$1", "$1_x", "$0-y", "\\$x", "${a}"])
        case "TimestampRouter":
            made = random.choice(
                [
                    {},
                    {"topic.format": "${timestamp}.${topic}.${topic}"},
                    {"timestamp.format": "yyyy/MM/dd HH:mm:ss.SSS"},
                ]
            )
    if name in _REPLACING and random.random() < 0.4:
        made["replace.null.with.default"] = "false"
    return made


_SIDED = (
    "Cast",
    "ExtractField",
    "Flatten",
    "HeaderFrom",
    "HoistField",
    "InsertField",
    "MaskField",
    "ReplaceField",
    "SetSchemaMetadata",
    "TimestampConverter",
)
_REPLACING = frozenset(_SIDED) - {"Flatten", "HoistField"} | {"ValueToKey"}
_OF_ANYTHING = ("Cast", "TimestampConverter", "SetSchemaMetadata", "HoistField")
"""Those that are not only for structs and maps."""
TRANSFORMS = (*_SIDED, "ValueToKey", "DropHeaders", "InsertHeader", "RegexRouter", "TimestampRouter", "Filter")


def _transform_cases(maker: Maker) -> Iterator[Case]:
    random = maker.random
    for name in TRANSFORMS:
        for _ in range({"Cast": 80, "TimestampConverter": 60}.get(name, 25 if name in _REPLACING else 8)):
            side = random.choice(["Key", "Value"])
            kind = random.randrange(6)
            if name not in _OF_ANYTHING and random.random() < 0.8:
                kind = random.choice([0, 4])
            if kind < 3:
                schema: Schema | None = maker.schema(random.choice([1, 1, 2]), struct=True)
                value = maker.value(schema) if schema else None
            elif kind == 3:
                schema = maker.schema(random.choice([0, 0, 1]))
                value = maker.value(schema)
            else:
                schema = None
                value = (
                    maker.schemaless(random.choice([0, 0, 2]))
                    if kind == 5
                    else {each: maker.schemaless(1) for each in _NAMES[:4]}
                )
            pair = {"key_schema": schema, "key": value} if side == "Key" and name in _SIDED else {}
            record = _record(maker, None, 1, **pair) if pair else _record(maker, schema, value)
            cls = f"{name}${side}" if name in _SIDED else name
            yield {
                "do": "transform",
                "class": cls,
                "configs": _configs(maker, name, simple=kind in (3, 5)),
                "record": record,
            }


# By hand.

_INT = '{"type":"int32","optional":false}'
_JSON_TEXTS = (
    None,
    "",
    "{",
    "1",
    "1 2",
    '{"a":1,"a":2}',
    '{"schema":null,"payload":1}',
    '{"schema":null,"payload":{"a":[1.5,null]}}',
    '{"payload":1,"schema":null}',
    f'{{"payload":1,"schema":{_INT}}}',
    f'{{"schema":{_INT},"payload":1,"x":2}}',
    f'{{"schema":{_INT}}}',
    f'{{"schema":{_INT},"payload":1.0}}',
    f'{{"schema":{_INT},"payload":1e2}}',
    f'{{"schema":{_INT},"payload":NaN}}',
    f'{{"schema":{_INT}, "payload": 1}}',
    '{"schema":{"type":"int8","optional":true},"payload":null}',
    '{"schema":{"type":"int8","optional":true,"default":5},"payload":null}',
    '{"schema":{"type":"int8","default":5},"payload":null}',
    '{"schema":{"type":"int8","default":null},"payload":1}',
    '{"schema":{"type":"int8","optional":"true"},"payload":null}',
    '{"schema":{"type":"int8","name":1,"version":"1","doc":2,"parameters":3},"payload":1}',
    '{"schema":{"type":"int8","parameters":{"a":1}},"payload":1}',
    '{"schema":{"type":"int8","parameters":{"a":"1","b":"2"},"version":2,"name":"n","doc":"d"},"payload":1}',
    '{"schema":{"type":"double"},"payload":1}',
    '{"schema":{"type":"float"},"payload":0.1}',
    '{"schema":{"type":"float"},"payload":1e300}',
    '{"schema":{"type":"double"},"payload":1e400}',
    '{"schema":{"type":"bytes"},"payload":"AQI="}',
    '{"schema":{"type":"bytes"},"payload":"*"}',
    '{"schema":{"type":"array"},"payload":[]}',
    '{"schema":{"type":"map","keys":{"type":"string"}},"payload":{}}',
    '{"schema":{"type":"map","keys":{"type":"int8"},"values":{"type":"int8"}},"payload":[[1,2]]}',
    '{"schema":{"type":"map","keys":{"type":"int8"},"values":{"type":"int8"}},"payload":[[1]]}',
    '{"schema":{"type":"map","keys":{"type":"int8"},"values":{"type":"int8"}},"payload":[1]}',
    '{"schema":{"type":"map","keys":{"type":"int8"},"values":{"type":"int8"}},"payload":{}}',
    '{"schema":{"type":"struct"},"payload":{}}',
    '{"schema":{"type":"struct","fields":[{"type":"int8"}]},"payload":{}}',
    '{"schema":{"type":"struct","fields":[{"type":"int8","field":"a"},{"type":"int8","field":"a"}]},"payload":{}}',
    '{"schema":{"type":"struct","fields":[{"type":"int8","field":"a","optional":true}]},"payload":{}}',
    '{"schema":{"type":"struct","fields":[{"type":"int8","field":"a"}]},"payload":{}}',
    '{"schema":{"type":"struct","fields":[{"type":"int8","field":"a"}]},"payload":{"a":1,"b":2}}',
    '{"schema":{"type":"none"},"payload":1}',
    '{"schema":{"type":1},"payload":1}',
    '{"schema":{},"payload":1}',
    '{"schema":1,"payload":1}',
    '{"schema":{"type":"bytes","name":"org.apache.kafka.connect.data.Decimal","version":1,"parameters":{"scale":"2"}},"payload":"AQ=="}',
    '{"schema":{"type":"bytes","name":"org.apache.kafka.connect.data.Decimal","version":1,"parameters":{"scale":"2"}},"payload":1.10}',
    '{"schema":{"type":"bytes","name":"org.apache.kafka.connect.data.Decimal","version":1},"payload":"AQ=="}',
    '{"schema":{"type":"int32","name":"org.apache.kafka.connect.data.Date"},"payload":1}',
    '{"schema":{"type":"int32","name":"org.apache.kafka.connect.data.Date"},"payload":1.5}',
    '{"schema":{"type":"int32","name":"org.apache.kafka.connect.data.Time"},"payload":86400001}',
    '{"schema":{"type":"int32","name":"org.apache.kafka.connect.data.Time"},"payload":-1}',
    '{"schema":{"type":"int64","name":"org.apache.kafka.connect.data.Timestamp"},"payload":"1"}',
    '{"schema":{"type":"int64","name":"org.apache.kafka.connect.data.Timestamp"},"payload":-1}',
)
_CONTENT = '{"type":"struct","fields":[{"type":"int32","field":"a"}]}'
_HEADERS = (
    None,
    "",
    " ",
    "null",
    "true",
    "TRUE",
    "true ",
    " true",
    "true}",
    "0",
    "127",
    "128",
    "-32769",
    "2147483648",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775809",
    "1.0",
    "1.5",
    "+1",
    "+",
    "-",
    "-.5",
    "1.",
    "1e3",
    "1e30",
    "1e39",
    "1e309",
    "0.1",
    "1e-400",
    "0x10",
    "1L",
    "١",
    "2024-02-29",
    "2023-02-29",
    "2024-2-299",
    "14:34:54.346Z",
    "14:34:54.346X",
    "2024-02-29T14:34:54.346Z",
    "2024-02-29T14\\:34\\:54.346Z",
    '"2024-02-29"',
    "[]",
    "[ ]",
    "[1]",
    "[1,]",
    "[,1]",
    "[1 2]",
    "[1,2",
    "[1,300,70000]",
    "[1,1.5]",
    "[1,null]",
    "[null]",
    "[null,null]",
    "[true,1]",
    '["a","b"]',
    '["a",1]',
    "[a]",
    "[[1],[2,300]]",
    "[[],[1]]",
    "[{}]",
    '["2024-02-29"]',
    "[2024-02-29]",
    "[14:34:54.346Z]",
    "{}",
    '{"a":1}',
    '{"a":1,"b":300}',
    '{"a":1,"b":"x"}',
    '{"a":null}',
    '{"a":1,"b":null}',
    "{1:2}",
    '{1:2,300:"x"}',
    "{null:1}",
    "{a:1}",
    '{"a"}',
    '{"a":}',
    '{"a":1,}',
    '{,"a":1}',
    '{"a":1 "b":2}',
    '{"a":{"b":[1,2]}}',
    '{"a":[1,2,"x"]}',
    "{}}",
    "[]]",
    "[1]x",
    '"quoted"',
    'a"b',
    '["a\\"b"]',
    '["a\\\\"]',
    "\\",
    "a\\,b",
    "http://host:80/path",
    "12:30",
    "1,2",
    "{1}",
    "[\n1,\t2]",
)
_NUMBERS = "org.apache.kafka.connect.converters."


_FORMATS = (
    (
        "yyyy-MM-dd'T'HH:mm:ss.SSSXXX",
        ("2024-02-29T14:34:54.346+02:00", "2024-02-29T14:34:54.346Z", "2024-02-29T14:34:54.346+02"),
    ),
    ("yyyy-MM-dd HH:mm:ss Z", ("2024-02-29 14:34:54 -0130", "2024-02-29 14:34:54 GMT+1:30", "2024-02-29 14:34:54")),
    ("dd/MM/yy", ("29/02/24", "29/02/70", "1/2/2024", "32/13/24", "a/b/c")),
    (
        "d MMM yyyy h:mm a",
        ("29 Feb 2024 2:34 PM", "29 february 2024 12:00 am", "29 Feb 2024 2:34", "29 Fxb 2024 2:34 PM"),
    ),
    ("MMMM d, yyyy", ("February 29, 2024", "Feb 29, 2024")),
    ("EEEE", ("Thursday", "Thu", "thu")),
    ("D yyyy", ("60 2024", "366 2023")),
    ("yyyyMMddHHmmss", ("20240229143454", "2024022914345", "2024-2-2914345")),
    ("HH:mm", ("25:61", " 1: 2", "1:2x")),
    ("kk:mm K", ("24:00 11", "0:0 0")),
    ("yyyy 'o''clock' G", ("2024 o'clock AD", "2024 oclock AD")),
    ("YYYY-'W'ww-u", ("2024-W09-4",)),
    ("F W", ("1 2",)),
    ("z", ("UTC", "GMT", "GMT-3")),
    ("yyyy-MM-dd'", ("2024-02-29",)),
    ("bogus", ("1",)),
    ("XXXX", ("Z",)),
)


def _moments() -> Iterator[Case]:
    """Texts by patterns, and patterns' texts."""
    for pattern, texts in _FORMATS:
        for text in texts if pattern not in ("YYYY-'W'ww-u", "F W", "EEEE") else ():
            yield _moment({"target.type": "unix", "format": pattern}, text)
        for ms in (1709217294346, 0, -1, 1735689599999, 951825600000):
            yield _moment({"target.type": "string", "format": pattern}, ms)


def _moment(configs: dict[str, str], value: Any) -> Case:
    record = {
        **{name: None for name in ("partition", "offset", "key_schema", "key", "value_schema", "timestamp")},
        **{"topic": "t", "value": show_value(value), "headers": []},
    }
    return {"do": "transform", "class": "TimestampConverter$Value", "configs": configs, "record": record}


def by_hand() -> Iterator[Case]:
    """Those that somebody thought of."""
    yield from _moments()
    for text in _JSON_TEXTS:
        yield _read(JSON, text, {"schemas.enable": "true"})
        yield _read(JSON, text, {"schemas.enable": "false"})
    for text in ('{"a":1}', '{"a":"x"}', f'{{"schema":{_CONTENT},"payload":{{"a":1}}}}', None, "", "{"):
        yield _read(JSON, text, {"schemas.enable": "true", "schema.content": _CONTENT})
        yield _read(JSON, text, {"schemas.enable": "false", "schema.content": _CONTENT})
    yield _read(JSON, "1", {"schemas.enable": "true", "schema.content": "{"})
    yield _read(JSON, "1", {"schemas.enable": "maybe"})
    yield _read(JSON, "1", {"decimal.format": "hex"})
    for text in _HEADERS:
        yield {"do": "read_header", "bytes": None if text is None else text.encode().decode("latin-1")}
    for kind, raw in (
        ("Short", "\1\2"),
        ("Integer", "\1\2\3\4"),
        ("Long", "\1" * 8),
        ("Float", "\1" * 4),
        ("Double", "\1" * 8),
    ):
        for each in (raw, raw[1:], "", None):
            yield _read(f"{_NUMBERS}{kind}Converter", each, {})
    for each in ("\0", "\1", "\2", "\0\0", "", None):
        yield _read(f"{_NUMBERS}BooleanConverter", each, {})
    for kind, schema, value in (
        ("Short", data.INT16, -2),
        ("Integer", data.INT32, -2),
        ("Integer", data.STRING, "x"),
        ("Long", data.INT64, -2),
        ("Float", data.FLOAT32, 1.5),
        ("Double", data.FLOAT64, 1.5),
        ("Double", data.STRING, "1.5"),
        ("Boolean", data.BOOLEAN, True),
        ("Boolean", data.STRING, "true"),
        ("Boolean", None, "true"),
        ("ByteArray", data.BYTES, b"\0\xff"),
        ("ByteArray", data.STRING, "x"),
        ("ByteArray", None, "x"),
    ):
        yield _write(f"{_NUMBERS}{kind}Converter", schema, value, {})
        yield _write(f"{_NUMBERS}{kind}Converter", schema, None, {})
    for value in (1, True, 1.5, 1e7, 1e-4, "x", None, [1, "a", None], {"a": 1}, {}, []):
        yield _write(STRING, None, value, {})
        yield _write(JSON, None, value, {"schemas.enable": "false"})
        yield {"do": "write_header", "schema": None, "value": show_value(value)}


def random_cases(seed: int) -> Iterator[Case]:
    """Some for everything, others for each seed."""
    maker = Maker(seed)
    yield from _converter_cases(maker)
    yield from _transform_cases(maker)


def cases(seeds: range) -> list[Case]:
    """All."""
    return [*by_hand(), *(each for seed in seeds for each in random_cases(seed))]

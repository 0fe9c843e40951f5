"""The files that an object store sink writes: Parquet, lines of JSON, CSV, Avro."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from engine.connect import data
from engine.connect.connectors.extras import needs_extra
from engine.connect.connectors.object_store import CSV, JSON_LINES
from engine.connect.connectors.storage_files import Place
from engine.connect.converters.json import JsonConverter
from engine.connect.data import Schema, Struct, Type
from engine.connect.errors import ConnectError, DataError

_ROW_GROUP = 50_000


class RecordFile(ABC):
    """A file on this machine that gets values of one schema, and is then put into the store."""

    extension: str

    def __init__(self, place: Place) -> None:
        handle, self.path = tempfile.mkstemp(dir=place.directory, prefix=place.prefix)
        os.close(handle)

    @abstractmethod
    def add(self, value: Any) -> None:
        """Another record.

        Raises:
            DataError: the format cannot have the value.
        """

    @abstractmethod
    def close(self) -> None:
        """Write what is left; to call it twice does no harm."""


def open_file(schema: Schema | None, values: Mapping[str, Any], place: Place) -> RecordFile:
    """A file of the format of the configs.

    Raises:
        DataError: the format wants a schema, or cannot have this one.
    """
    match values["format.class"]:
        case "json":
            return _JsonFile(schema, values, place)
        case "csv":
            return _CsvFile(schema, values, place)
        case "avro":
            return _AvroFile(schema, place)
    return _ParquetFile(schema, values["parquet.codec"], place)


def extension_of(values: Mapping[str, Any]) -> str:
    """The end of a file's name."""
    name = values["format.class"]
    return f"{name}.gz" if name in (JSON_LINES, CSV) and values["compression.type"] == "gzip" else str(name)


_ARROW: dict[Type, Any] = {
    Type.INT8: pa.int8(),
    Type.INT16: pa.int16(),
    Type.INT32: pa.int32(),
    Type.INT64: pa.int64(),
    Type.FLOAT32: pa.float32(),
    Type.FLOAT64: pa.float64(),
    Type.BOOLEAN: pa.bool_(),
    Type.STRING: pa.string(),
    Type.BYTES: pa.binary(),
}


def arrow_type(schema: Schema) -> Any:
    """The type of Arrow, and so of Parquet, for a schema's values."""
    match schema.name:
        case data.DECIMAL_NAME:
            scale = int(schema.parameter("scale") or 0)
            # What a NUMERIC without scale is (127): no engine reads so many digits as a number.
            return pa.decimal128(38, scale) if scale <= 38 else pa.string()
        case data.DATE_NAME:
            return pa.date32()
        case data.TIME_NAME:
            return pa.time32("ms")
        case data.TIMESTAMP_NAME:
            return pa.timestamp("ms", tz="UTC")
    if schema.type is Type.ARRAY and schema.value is not None:
        return pa.list_(arrow_type(schema.value))
    if schema.type is Type.MAP and schema.key is not None and schema.value is not None:
        return pa.map_(arrow_type(schema.key), arrow_type(schema.value))
    if schema.type is Type.STRUCT:
        return pa.struct([arrow_field(each.name, each.schema) for each in schema.fields])
    return _ARROW[schema.type]


def arrow_field(name: str, schema: Schema) -> Any:
    """A column; it may be null where the schema allows that, or has a default that a writer may leave out."""
    return pa.field(name, arrow_type(schema), nullable=schema.optional)


def _plain(schema: Schema, for_avro: bool = False) -> Callable[[Any], Any] | None:
    """How values become what Arrow, or fastavro, takes; None where they are that."""
    if schema.type is Type.STRUCT:
        fields = [(each.name, _plain(each.schema, for_avro)) for each in schema.fields]

        def struct(value: Struct | None) -> Any:
            if value is None:
                return None
            return {
                name: each if convert is None else convert(each)
                for (name, convert), (_, each) in zip(fields, value.items(), strict=True)
            }

        return struct
    if schema.name == data.DECIMAL_NAME and int(schema.parameter("scale") or 0) > 38 and not for_avro:
        return lambda value: None if value is None else format(value, "f")
    inside = _plain(schema.value, for_avro) if schema.value is not None else None
    if schema.type is Type.ARRAY:
        if inside is None:
            return None
        return lambda value: None if value is None else [inside(each) for each in value]
    if schema.type is Type.MAP:
        if for_avro and inside is None:
            return None
        convert = inside or (lambda each: each)
        if for_avro:
            return lambda value: None if value is None else {key: convert(each) for key, each in value.items()}
        return lambda value: None if value is None else [(key, convert(each)) for key, each in value.items()]
    return None


class _ParquetFile(RecordFile):
    extension = "parquet"

    def __init__(self, schema: Schema | None, codec: str, place: Place) -> None:
        if schema is None:
            raise DataError("Parquet needs a schema: use a converter that has schemas, or format.class=json")
        self._is_row = schema.type is Type.STRUCT
        fields = [(each.name, each.schema) for each in schema.fields] if self._is_row else [("value", schema)]
        self._schema = pa.schema([arrow_field(name, each) for name, each in fields])
        self._converts = [_plain(each) for _, each in fields]
        self._defaults = [each.default for _, each in fields]
        super().__init__(place)
        self._writer: Any = pq.ParquetWriter(self.path, self._schema, compression=codec)
        self._rows: list[Any] = []

    def add(self, value: Any) -> None:
        self._rows.append(value.values if self._is_row else (value,))
        if len(self._rows) >= _ROW_GROUP:
            self._write()

    def _write(self) -> None:
        rows, self._rows = self._rows, []
        columns = []
        # Column by column: Arrow makes each of one list.
        for column, convert, default, field in zip(
            zip(*rows, strict=True), self._converts, self._defaults, self._schema, strict=True
        ):
            values: Any = column
            if default is not None:
                values = [default if each is None else each for each in values]
            if convert is not None:
                values = [convert(each) for each in values]
            try:
                columns.append(pa.array(values, type=field.type))
            except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
                # It is one of many rows: none of them may be left out.
                raise ConnectError(f"the field {field.name} has a value that Parquet cannot have: {error}") from error
        self._writer.write_table(pa.Table.from_arrays(columns, schema=self._schema))

    def close(self) -> None:
        if self._writer is None:
            return
        if self._rows:
            self._write()
        self._writer.close()
        self._writer = None


class _TextFile(RecordFile):
    def __init__(self, values: Mapping[str, Any], place: Place) -> None:
        super().__init__(place)
        self.extension = extension_of(values)
        # No time in gzip's header: the same records make the same bytes.
        raw: Any = open(self.path, "wb")  # noqa: SIM115 - closed with the file
        self._raw = raw
        self._out: Any = gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) if "gz" in self.extension else raw

    def close(self) -> None:
        self._out.close()
        self._raw.close()


class _JsonFile(_TextFile):
    def __init__(self, schema: Schema | None, values: Mapping[str, Any], place: Place) -> None:
        super().__init__(values, place)
        converter = JsonConverter()
        converter.configure({"schemas.enable": "false", "decimal.format": "NUMERIC"}, False)
        self._encode = converter.encoder("", schema)

    def add(self, value: Any) -> None:
        self._out.write((self._encode(value) or b"null") + b"\n")


class _CsvFile(_TextFile):
    """A line of names first. What has parts (arrays, maps, structs) is JSON in its field; null is nothing."""

    def __init__(self, schema: Schema | None, values: Mapping[str, Any], place: Place) -> None:
        super().__init__(values, place)
        self._names = [each.name for each in schema.fields] if schema is not None and schema.fields else None
        self._schema = schema
        converter = JsonConverter()
        converter.configure({"schemas.enable": "false", "decimal.format": "NUMERIC"}, False)
        self._converter = converter
        self._text = io.TextIOWrapper(self._out, encoding="utf-8", newline="", write_through=True)
        self._rows = csv.writer(self._text, lineterminator="\n")
        self._began = False

    def add(self, value: Any) -> None:
        if isinstance(value, Struct):
            cells = {
                each.name: self._cell(each.schema, one)
                for each, one in zip(value.schema.fields, value.values, strict=True)
            }
        elif isinstance(value, dict):
            cells = {str(name): self._cell(None, each) for name, each in value.items()}
        else:
            cells = {"value": self._cell(self._schema, value)}
        if not self._began:
            self._began = True
            self._names = self._names or list(cells)
            self._rows.writerow(self._names)
        self._rows.writerow([cells.get(name, "") for name in self._names or ()])

    def _cell(self, schema: Schema | None, value: Any) -> Any:
        if value is None and schema is not None:
            value = schema.default
        if value is None:
            return ""
        if isinstance(value, bool):
            return str(value).lower()
        if isinstance(value, (str, int, float)):
            return value
        encoded = (self._converter.from_connect_data("", None, schema, value) or b"").decode()
        return json.loads(encoded) if encoded.startswith('"') else encoded

    def close(self) -> None:
        if not self._text.closed:
            self._text.close()
        super().close()


class _AvroFile(RecordFile):
    extension = "avro"

    def __init__(self, schema: Schema | None, place: Place) -> None:
        if schema is None:
            raise DataError("Avro needs a schema: use a converter that has schemas, or format.class=json")
        with needs_extra("serdes"):
            import fastavro
            import fastavro.write
        super().__init__(place)
        self._is_row = schema.type is Type.STRUCT
        named = schema if self._is_row else data.struct({"value": schema}, name="value")
        self._names = [each.name for each in named.fields]
        self._converts = [_plain(each.schema, for_avro=True) for each in named.fields]
        self._raw: Any = open(self.path, "wb")  # noqa: SIM115 - closed with the file
        # A fixed mark between blocks: the same records make the same bytes.
        self._writer: Any = fastavro.write.Writer(
            self._raw, fastavro.parse_schema(avro_schema(named)), codec="deflate", sync_marker=b"kconsole-storage"
        )

    def add(self, value: Any) -> None:
        values = [each for _, each in value.items()] if self._is_row else [value]
        row = {
            name: each if convert is None else convert(each)
            for name, convert, each in zip(self._names, self._converts, values, strict=True)
        }
        try:
            self._writer.write(row)
        except (TypeError, ValueError, OverflowError, AttributeError) as error:
            # A part of it may be in the file.
            raise ConnectError(f"Avro cannot have the value: {error}") from error

    def close(self) -> None:
        if not self._raw.closed:
            self._writer.flush()
            self._raw.close()


_AVRO_NAMES = {
    Type.INT8: "int", Type.INT16: "int", Type.INT32: "int", Type.INT64: "long", Type.FLOAT32: "float",
    Type.FLOAT64: "double", Type.BOOLEAN: "boolean", Type.STRING: "string", Type.BYTES: "bytes",
}  # fmt: skip


def avro_schema(schema: Schema, path: str = "Record") -> Any:
    """Avro's schema for a schema's values; maps have texts for keys, as Avro wants.

    Raises:
        DataError: a map has other keys.
    """
    made: Any
    match schema.name:
        case data.DECIMAL_NAME:
            scale = int(schema.parameter("scale") or 0)
            precision = (
                38 if scale <= 38 else scale + 38
            )  # of a NUMERIC without scale, there are digits before the point
            made = {"type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale}
        case data.DATE_NAME:
            made = {"type": "int", "logicalType": "date"}
        case data.TIME_NAME:
            made = {"type": "int", "logicalType": "time-millis"}
        case data.TIMESTAMP_NAME:
            made = {"type": "long", "logicalType": "timestamp-millis"}
        case _:
            made = _avro_type(schema, path)
    return ["null", made] if schema.optional else made


def _avro_type(schema: Schema, path: str) -> Any:
    if schema.type is Type.ARRAY and schema.value is not None:
        return {"type": "array", "items": avro_schema(schema.value, f"{path}_item")}
    if schema.type is Type.MAP and schema.key is not None and schema.value is not None:
        if schema.key.type is not Type.STRING:
            raise DataError(f"a map of Avro has texts for keys, not {schema.key.type.value}")
        return {"type": "map", "values": avro_schema(schema.value, f"{path}_value")}
    if schema.type is Type.STRUCT:
        fields = [
            {"name": each.name, "type": avro_schema(each.schema, f"{path}_{each.name}")} for each in schema.fields
        ]
        # Names of Connect's structs may have letters that Avro's have not, and may come twice.
        return {"type": "record", "name": path, "fields": fields}
    return _AVRO_NAMES[schema.type]

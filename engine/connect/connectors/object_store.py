"""A sink into files of an object store or file system: Parquet, lines of JSON, CSV, Avro; each record once.

The config names are those of Confluent's storage connectors, as far as they have one. A file is named by topic,
partition and the offset of its first record, so that a repetition writes over it; how far a partition came is kept in
the store, and read from there when the partition is opened.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from zoneinfo import ZoneInfo

from engine.connect.config_def import NO_DEFAULT, ConfigDef, ConfigType, Importance, between, non_empty, one_of
from engine.connect.connector import Props, SinkConnector, Task, TopicPartition
from engine.connect.connectors.extras import needs_extra
from engine.connect.connectors.sql_connection import timezone_name
from engine.connect.connectors.storage_partitioners import PARTITIONERS, make_partitioner, short_name
from engine.connect.errors import ConfigError, ConnectError

EXTRA = "connect-parquet"
PARQUET, JSON_LINES, CSV, AVRO = "parquet", "json", "csv", "avro"
_FORMATS = {PARQUET, JSON_LINES, CSV, AVRO}
_CLASSES = {"ParquetFormat": PARQUET, "JsonFormat": JSON_LINES, "AvroFormat": AVRO, "CsvFormat": CSV}
STORE_OPTION = "store.option."
"""Before options of fsspec's file systems: ``store.option.endpoint_url``."""


def format_name(value: str) -> str:
    """parquet, json, csv or avro, of such a name or of a class of Confluent's.

    Raises:
        ConfigError: it is none.
    """
    found = _CLASSES.get(value.rpartition(".")[2], value.lower())
    if found not in _FORMATS:
        raise ConfigError("format.class", value, f"it is none of {', '.join(sorted(_FORMATS))}")
    return found


def _format(name: str, value: str) -> None:
    format_name(value)


def _partitioner(name: str, value: str) -> None:
    short_name(value)


CONFIG = (
    ConfigDef()
    .define(
        "store.url",
        ConfigType.STRING,
        NO_DEFAULT,
        Importance.HIGH,
        "Where the files go: a directory, or a URL of fsspec: file:///data, s3://bucket, gs://bucket, sftp://host/path."
        " Options of its file system are store.option.NAME.",
        validator=non_empty,
        group="Store",
    )
    .define(
        "topics.dir",
        ConfigType.STRING,
        "topics",
        Importance.MEDIUM,
        "The directory there in which each topic has one.",
        group="Store",
    )
    .define(
        "format.class",
        ConfigType.STRING,
        PARQUET,
        Importance.HIGH,
        "parquet, json (a line each record), csv or avro; names of Confluent's classes are understood.",
        validator=_format,
        group="Store",
        recommender=lambda name, values: sorted(_FORMATS),
    )
    .define(
        "parquet.codec",
        ConfigType.STRING,
        "snappy",
        Importance.LOW,
        "How Parquet files are compressed.",
        validator=one_of("none", "snappy", "gzip", "brotli", "lz4", "zstd"),
        group="Store",
    )
    .define(
        "compression.type",
        ConfigType.STRING,
        "none",
        Importance.LOW,
        "How JSON and CSV files are compressed: none or gzip.",
        validator=one_of("none", "gzip"),
        group="Store",
    )
    .define(
        "filename.offset.zero.pad.width",
        ConfigType.INT,
        10,
        Importance.LOW,
        "How many digits an offset in a file's name has at least.",
        validator=between(0),
        group="Store",
    )
    .define(
        "flush.size",
        ConfigType.INT,
        10_000,
        Importance.HIGH,
        "After so many records of a partition its files are closed.",
        validator=between(1),
        group="Rotation",
    )
    .define(
        "flush.bytes",
        ConfigType.LONG,
        -1,
        Importance.MEDIUM,
        "After about so many bytes of a partition's records (as Kafka's consumer counts values) its files are closed; "
        "-1: whatever they have.",
        group="Rotation",
    )
    .define(
        "rotate.interval.ms",
        ConfigType.LONG,
        -1,
        Importance.HIGH,
        "A file has records of so many ms of record time; the next record closes it. -1: whatever they have.",
        group="Rotation",
    )
    .define(
        "rotate.schedule.interval.ms",
        ConfigType.LONG,
        -1,
        Importance.MEDIUM,
        "Files are closed every so many ms by the clock, aligned in the time zone, also when no record comes. Files do "
        "not depend on records alone then: after a crash a reader may see a file that was replaced later. -1: never.",
        group="Rotation",
    )
    .define(
        "schema.compatibility",
        ConfigType.STRING,
        "NONE",
        Importance.HIGH,
        "NONE: another schema begins another file. BACKWARD (FULL): records of an older schema are brought to the "
        "newer one. FORWARD: records of a newer schema are brought to that of the file.",
        validator=one_of("NONE", "BACKWARD", "FORWARD", "FULL", ignore_case=True),
        group="Rotation",
    )
    .define(
        "partitioner.class",
        ConfigType.STRING,
        "default",
        Importance.HIGH,
        "Directories below the topic's: default: partition=N; field: those of partition.field.name; time, daily, "
        "hourly: by time, as path.format says. Names of Confluent's classes are understood.",
        validator=_partitioner,
        group="Partitioner",
        recommender=lambda name, values: list(PARTITIONERS),
        dependents=("partition.field.name", "path.format"),
    )
    .define(
        "partition.field.name",
        ConfigType.LIST,
        "",
        Importance.MEDIUM,
        "Fields of the value; each is a directory NAME=VALUE.",
        group="Partitioner",
    )
    .define(
        "path.format",
        ConfigType.STRING,
        "'year'=YYYY/'month'=MM/'day'=dd/'hour'=HH",
        Importance.MEDIUM,
        "With partitioner.class=time: the directory, as Joda-Time's patterns have it.",
        group="Partitioner",
    )
    .define(
        "partition.duration.ms",
        ConfigType.LONG,
        3_600_000,
        Importance.MEDIUM,
        "With partitioner.class=time: times are rounded down to it, by the clock of the time zone.",
        validator=between(1),
        group="Partitioner",
    )
    .define(
        "timezone",
        ConfigType.STRING,
        "UTC",
        Importance.MEDIUM,
        "The time zone of directories and of scheduled rotation.",
        validator=timezone_name,
        group="Partitioner",
    )
    .define(
        "timestamp.extractor",
        ConfigType.STRING,
        "Record",
        Importance.MEDIUM,
        "A record's time: Record: its timestamp; RecordField: that of timestamp.field; Wallclock: when it is written.",
        validator=one_of("Record", "RecordField", "Wallclock", ignore_case=True),
        group="Partitioner",
    )
    .define(
        "timestamp.field",
        ConfigType.STRING,
        "timestamp",
        Importance.MEDIUM,
        "The field of timestamp.extractor=RecordField: a Timestamp, ms since 1970, or ISO 8601.",
        group="Partitioner",
    )
    .define(
        "behavior.on.null.values",
        ConfigType.STRING,
        "fail",
        Importance.LOW,
        "A record without value is left out (ignore) or an error (fail).",
        validator=one_of("ignore", "fail", ignore_case=True),
        group="Records",
    )
    .define(
        "retry.backoff.ms",
        ConfigType.LONG,
        5000,
        Importance.LOW,
        "After the store failed, how long to wait before the next try, in ms.",
        validator=between(0),
        group="Store",
    )
)


def parsed(props: Props) -> dict[str, Any]:
    """The configs, names in their short form, options of the file system in ``store.options``, the connector's own
    in ``connector.name``.

    Raises:
        ConfigError: one cannot be.
    """
    values = CONFIG.parse(props)
    values["format.class"] = format_name(values["format.class"])
    values["partitioner.class"] = short_name(values["partitioner.class"])
    values["schema.compatibility"] = values["schema.compatibility"].upper()
    values["timestamp.extractor"] = values["timestamp.extractor"].lower()
    values["connector.name"] = props.get("name", "")
    values["store.options"] = {
        name.removeprefix(STORE_OPTION): _option(value)
        for name, value in props.items()
        if name.startswith(STORE_OPTION)
    }
    make_partitioner(values, ZoneInfo(values["timezone"]))
    return values


def _option(text: str) -> Any:
    """JSON where it is some (true, 5, {…}), text otherwise."""
    try:
        return json.loads(text)
    except ValueError:
        return text


class ObjectStoreSinkConnector(SinkConnector):
    """Every task writes the partitions it has."""

    def start(self, props: Props) -> None:
        parsed(props)
        self._props = dict(props)

    @classmethod
    def task_class(cls) -> type[Task]:
        with needs_extra(EXTRA):
            from engine.connect.connectors.object_store_task import ObjectStoreSinkTask
        return ObjectStoreSinkTask

    def task_configs(self, max_tasks: int) -> list[dict[str, str]]:
        return [dict(self._props) for _ in range(max_tasks)]

    def stop(self) -> None:
        pass

    @classmethod
    def config(cls) -> ConfigDef:
        return CONFIG

    @classmethod
    def validate(cls, props: Props) -> dict[str, list[str]]:
        """Writes a small file into the store, and removes it."""
        try:
            CONFIG.parse(props)
        except ConfigError:
            return {}  # its definitions say that already
        try:
            values = parsed(props)
            with needs_extra(EXTRA):
                from engine.connect.connectors.storage_files import Store
            Store(values).check()
        except ConfigError as error:
            return {error.name: [str(error)]}
        except ConnectError as error:
            return {"store.url": [str(error)]}
        return {}

    def alter_offsets(self, props: Props, offsets: Mapping[TopicPartition, int | None]) -> bool:
        """The store remembers offsets too: it is told."""
        with needs_extra(EXTRA):
            from engine.connect.connectors.storage_files import Store
        store = Store(parsed(props))
        for partition, offset in offsets.items():
            store.forget_progress(partition) if offset is None else store.keep_progress(partition, offset)
        return True

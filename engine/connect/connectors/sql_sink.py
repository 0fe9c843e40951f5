"""A sink into a database's tables (the configs of Confluent's JDBC sink connector).

Each batch of records is one transaction. With ``insert.mode=upsert`` a record that comes again changes nothing, so that
delivery at least once leaves each row once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.connect.config_def import ConfigDef, ConfigType, Importance, between, non_empty, one_of
from engine.connect.connector import Props, SinkConnector, Task
from engine.connect.connectors.extras import needs_extra
from engine.connect.connectors.sql_connection import URL, define_connection
from engine.connect.connectors.sql_source import open_database
from engine.connect.errors import ConfigError, ConnectError

INSERT, UPSERT, UPDATE = "insert", "upsert", "update"
NONE, KAFKA, RECORD_KEY, RECORD_VALUE = "none", "kafka", "record_key", "record_value"
COORDINATES = ("__connect_topic", "__connect_partition", "__connect_offset")
"""The columns of ``pk.mode=kafka``, unless ``pk.fields`` names others."""

CONFIG = (
    define_connection(ConfigDef())
    .define(
        "insert.mode",
        ConfigType.STRING,
        INSERT,
        Importance.HIGH,
        "insert: every record is a new row. upsert: a row with the same key is changed. update: only rows that are "
        "there.",
        validator=one_of(INSERT, UPSERT, UPDATE, ignore_case=True),
        group="Writes",
    )
    .define(
        "batch.size",
        ConfigType.INT,
        3000,
        Importance.MEDIUM,
        "Most rows of one statement.",
        validator=between(1),
        group="Writes",
    )
    .define(
        "delete.enabled",
        ConfigType.BOOLEAN,
        False,
        Importance.MEDIUM,
        "A record without value deletes the row of its key; needs pk.mode=record_key.",
        group="Writes",
        dependents=("pk.mode",),
    )
    .define(
        "table.name.format",
        ConfigType.STRING,
        "${topic}",
        Importance.MEDIUM,
        "The table's name; ${topic} is the topic's. May be schema.table.",
        validator=non_empty,
        group="Data mapping",
    )
    .define(
        "pk.mode",
        ConfigType.STRING,
        NONE,
        Importance.HIGH,
        "Where the primary key comes from. none: there is none. kafka: topic, partition, offset. record_key: the "
        "record's key or fields of it. record_value: fields of the value.",
        validator=one_of(NONE, KAFKA, RECORD_KEY, RECORD_VALUE, ignore_case=True),
        group="Data mapping",
        dependents=("pk.fields",),
    )
    .define(
        "pk.fields",
        ConfigType.LIST,
        "",
        Importance.MEDIUM,
        "kafka: three names of columns. record_key: the column of a key that is one value, or fields of a struct; "
        "empty: all. record_value: fields of the value; empty: all.",
        group="Data mapping",
    )
    .define(
        "fields.whitelist",
        ConfigType.LIST,
        "",
        Importance.MEDIUM,
        "Only these fields of the value, besides the key's; empty: all.",
        group="Data mapping",
    )
    .define(
        "auto.create",
        ConfigType.BOOLEAN,
        False,
        Importance.MEDIUM,
        "Create a table that is absent, by the record's schema.",
        group="Tables",
    )
    .define(
        "auto.evolve",
        ConfigType.BOOLEAN,
        False,
        Importance.MEDIUM,
        "Add columns that a record has and the table lacks; columns are never changed or dropped.",
        group="Tables",
    )
    .define(
        "max.retries",
        ConfigType.INT,
        10,
        Importance.MEDIUM,
        "How often to try again what failed for a passing reason, such as a lost connection, before the task fails.",
        validator=between(0),
        group="Retries",
    )
    .define(
        "retry.backoff.ms",
        ConfigType.INT,
        3000,
        Importance.MEDIUM,
        "How long to wait before the next try, in ms.",
        validator=between(0),
        group="Retries",
    )
)


def parsed(props: Props) -> dict[str, Any]:
    """The configs, modes in small letters.

    Raises:
        ConfigError: one cannot be, alone or beside another.
    """
    values = CONFIG.parse(props)
    for name in ("insert.mode", "pk.mode"):
        values[name] = values[name].lower()
    mode = values["pk.mode"]
    if values["delete.enabled"] and mode != RECORD_KEY:
        raise ConfigError(
            "delete.enabled", True, "a record without value has only its key: it needs pk.mode=record_key"
        )
    if values["insert.mode"] in (UPSERT, UPDATE) and mode == NONE:
        raise ConfigError("pk.mode", mode, f"insert.mode {values['insert.mode']} needs a key")
    if mode == KAFKA and len(values["pk.fields"]) not in (0, 3):
        raise ConfigError(
            "pk.fields", values["pk.fields"], "pk.mode kafka needs three columns: topic, partition, offset"
        )
    return values


class SqlSinkConnector(SinkConnector):
    """Every task writes the partitions it has."""

    def start(self, props: Props) -> None:
        parsed(props)
        self._props = dict(props)

    @classmethod
    def task_class(cls) -> type[Task]:
        with needs_extra("connect-sql"):
            from engine.connect.connectors.sql_sink_task import SqlSinkTask
        return SqlSinkTask

    def task_configs(self, max_tasks: int) -> list[dict[str, str]]:
        return [dict(self._props) for _ in range(max_tasks)]

    def stop(self) -> None:
        pass

    @classmethod
    def config(cls) -> ConfigDef:
        return CONFIG

    @classmethod
    def validate(cls, props: Props) -> dict[str, list[str]]:
        """Opens the database."""
        try:
            CONFIG.parse(props)
        except ConfigError:
            return {}  # its definitions say that already
        try:
            values: Mapping[str, Any] = {**parsed(props), "connection.attempts": 1}
            database = open_database(values)
            try:
                database.connect().close()
            finally:
                database.close()
        except ConfigError as error:
            return {error.name: [str(error)]}
        except ConnectError as error:
            return {URL: [str(error)]}
        return {}

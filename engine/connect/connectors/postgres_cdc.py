"""A source of the changes in a PostgreSQL database, by logical replication (Debezium's configs, records and offsets).

First a snapshot of the tables, then the changes since, without a gap: a replication slot begins where the snapshot was
taken. The slot keeps PostgreSQL's log until Kafka has acknowledged the changes; how much it keeps is logged.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from engine.connect.config_def import NO_DEFAULT, ConfigDef, ConfigType, Importance, between, non_empty, one_of
from engine.connect.connector import ExactlyOnceSupport, Props, SourceConnector, Task
from engine.connect.connectors.extras import needs_extra
from engine.connect.errors import ConfigError, ConnectError

EXTRA = "connect-postgres"
INITIAL, INITIAL_ONLY, NEVER, NO_DATA = "initial", "initial_only", "never", "no_data"
FILTERED, ALL_TABLES, DISABLED = "filtered", "all_tables", "disabled"


def _patterns(name: str, value: list[str]) -> None:
    for each in value:
        try:
            re.compile(each)
        except re.error as error:
            raise ConfigError(name, each, f"it is no regular expression: {error}") from None


def _operations(name: str, value: list[str]) -> None:
    for each in value:
        one_of("c", "u", "d", "t", "none")(name, each)


def _slot(name: str, value: str) -> None:
    if not re.fullmatch(r"[a-z0-9_]{1,63}", value or ""):
        raise ConfigError(name, value, "a slot's name has small letters, digits and underscores only, 63 at most")


def _topic_prefix(name: str, value: str) -> None:
    if not re.fullmatch(r"[A-Za-z0-9._-]+", value or ""):
        raise ConfigError(name, value, "topics begin with it: letters, digits, dots, underscores and dashes only")


CONFIG = (
    ConfigDef()
    .define(
        "topic.prefix",
        ConfigType.STRING,
        NO_DEFAULT,
        Importance.HIGH,
        "The name of this server in topics: PREFIX.SCHEMA.TABLE.",
        validator=_topic_prefix,
        group="Database",
    )
    .define(
        "database.hostname",
        ConfigType.STRING,
        NO_DEFAULT,
        Importance.HIGH,
        "The host, or the directory of a Unix socket.",
        validator=non_empty,
        group="Database",
    )
    .define("database.port", ConfigType.INT, 5432, Importance.HIGH, "The port.", group="Database")
    .define(
        "database.user",
        ConfigType.STRING,
        NO_DEFAULT,
        Importance.HIGH,
        "A user who may replicate (ALTER ROLE … REPLICATION) and read the tables.",
        group="Database",
    )
    .define(
        "database.password",
        ConfigType.PASSWORD,
        None,
        Importance.HIGH,
        "The user's password; best a reference such as ${env:PGPASSWORD}.",
        group="Database",
    )
    .define("database.dbname", ConfigType.STRING, NO_DEFAULT, Importance.HIGH, "The database.", group="Database")
    .define(
        "database.sslmode",
        ConfigType.STRING,
        "prefer",
        Importance.MEDIUM,
        "Whether connections are encrypted, as libpq has it.",
        validator=one_of("disable", "allow", "prefer", "require", "verify-ca", "verify-full", ignore_case=True),
        group="Database",
    )
    .define(
        "plugin.name",
        ConfigType.STRING,
        "pgoutput",
        Importance.MEDIUM,
        "The output plug-in in PostgreSQL: pgoutput, which every PostgreSQL has.",
        validator=one_of("pgoutput"),
        group="Replication",
    )
    .define(
        "slot.name",
        ConfigType.STRING,
        "debezium",
        Importance.MEDIUM,
        "The replication slot: one a connector. It is created if it is absent.",
        validator=_slot,
        group="Replication",
    )
    .define(
        "slot.drop.on.stop",
        ConfigType.BOOLEAN,
        False,
        Importance.MEDIUM,
        "Drop the slot when the task stops: changes while it is stopped are lost. For tests.",
        group="Replication",
    )
    .define(
        "publication.name",
        ConfigType.STRING,
        "dbz_publication",
        Importance.MEDIUM,
        "The publication: which tables' changes PostgreSQL sends.",
        validator=non_empty,
        group="Replication",
    )
    .define(
        "publication.autocreate.mode",
        ConfigType.STRING,
        FILTERED,
        Importance.MEDIUM,
        "filtered: create it for the tables chosen here, and keep it so. all_tables: for all (needs a superuser). "
        "disabled: it must be there.",
        validator=one_of(FILTERED, ALL_TABLES, DISABLED, ignore_case=True),
        group="Replication",
    )
    .define(
        "status.update.interval.ms",
        ConfigType.INT,
        10_000,
        Importance.LOW,
        "How often to tell PostgreSQL which changes are safe, in ms.",
        validator=between(1),
        group="Replication",
    )
    .define(
        "schema.include.list",
        ConfigType.LIST,
        "",
        Importance.MEDIUM,
        "Regular expressions of schemas; empty: all.",
        validator=_patterns,
        group="Tables",
    )
    .define(
        "schema.exclude.list",
        ConfigType.LIST,
        "",
        Importance.MEDIUM,
        "Regular expressions of schemas to leave out.",
        validator=_patterns,
        group="Tables",
    )
    .define(
        "table.include.list",
        ConfigType.LIST,
        "",
        Importance.HIGH,
        "Regular expressions of tables as schema.table; empty: all.",
        validator=_patterns,
        group="Tables",
    )
    .define(
        "table.exclude.list",
        ConfigType.LIST,
        "",
        Importance.MEDIUM,
        "Regular expressions of tables to leave out, as schema.table.",
        validator=_patterns,
        group="Tables",
    )
    .define(
        "column.exclude.list",
        ConfigType.LIST,
        "",
        Importance.MEDIUM,
        "Regular expressions of columns to leave out, as schema.table.column.",
        validator=_patterns,
        group="Tables",
    )
    .define(
        "snapshot.mode",
        ConfigType.STRING,
        INITIAL,
        Importance.MEDIUM,
        "initial: all rows once, then changes. initial_only: all rows, then nothing. never (no_data): changes only, "
        "from the slot's place on.",
        validator=one_of(INITIAL, INITIAL_ONLY, NEVER, NO_DATA, ignore_case=True),
        group="Snapshot",
    )
    .define(
        "snapshot.fetch.size",
        ConfigType.INT,
        10_240,
        Importance.LOW,
        "How many rows to fetch at once in a snapshot.",
        validator=between(1),
        group="Snapshot",
    )
    .define(
        "tombstones.on.delete",
        ConfigType.BOOLEAN,
        True,
        Importance.MEDIUM,
        "After a deletion, a record without value, so that compaction forgets the key.",
        group="Records",
    )
    .define(
        "skipped.operations",
        ConfigType.LIST,
        "t",
        Importance.LOW,
        "Changes to leave out: c, u, d, t; none for none.",
        validator=_operations,
        group="Records",
    )
    .define(
        "decimal.handling.mode",
        ConfigType.STRING,
        "precise",
        Importance.MEDIUM,
        "NUMERIC as Connect's Decimal (precise), as double, or as string.",
        validator=one_of("precise", "double", "string", ignore_case=True),
        group="Records",
    )
    .define(
        "time.precision.mode",
        ConfigType.STRING,
        "adaptive",
        Importance.MEDIUM,
        "adaptive: Debezium's types, as exact as the column. adaptive_time_microseconds: the same, times of day always "
        "in microseconds. connect: Connect's own types, in ms.",
        validator=one_of("adaptive", "adaptive_time_microseconds", "connect", ignore_case=True),
        group="Records",
    )
    .define(
        "unavailable.value.placeholder",
        ConfigType.STRING,
        "__debezium_unavailable_value",
        Importance.LOW,
        "Stands for a large value that an update did not change: PostgreSQL's log does not have it.",
        group="Records",
    )
    .define(
        "max.batch.size",
        ConfigType.INT,
        2048,
        Importance.LOW,
        "Most records of one batch.",
        validator=between(1),
        group="Records",
    )
    .define(
        "heartbeat.interval.ms",
        ConfigType.INT,
        0,
        Importance.MEDIUM,
        "How often to write a record to the heartbeat topic, in ms; 0: never.",
        validator=between(0),
        group="Records",
    )
    .define(
        "topic.heartbeat.prefix",
        ConfigType.STRING,
        "__debezium-heartbeat",
        Importance.LOW,
        "The heartbeat topic is this, a dot, and topic.prefix.",
        group="Records",
    )
    .define(
        "retriable.restart.connector.wait.ms",
        ConfigType.LONG,
        10_000,
        Importance.LOW,
        "After a lost connection, how long to wait before the next try, in ms.",
        validator=between(0),
        group="Replication",
    )
)


class PostgresConnector(SourceConnector):
    """One task: a slot has one reader."""

    def start(self, props: Props) -> None:
        CONFIG.parse(props)
        self._props = dict(props)

    @classmethod
    def task_class(cls) -> type[Task]:
        with needs_extra(EXTRA):
            from engine.connect.connectors.postgres_cdc_task import PostgresTask
        return PostgresTask

    def task_configs(self, max_tasks: int) -> list[dict[str, str]]:
        return [dict(self._props)]

    def stop(self) -> None:
        pass

    @classmethod
    def config(cls) -> ConfigDef:
        return CONFIG

    @classmethod
    def validate(cls, props: Props) -> dict[str, list[str]]:
        """Connects, and asks whether the server and the user can replicate."""
        try:
            values = CONFIG.parse(props)
        except ConfigError:
            return {}  # its definitions say that already
        try:
            with needs_extra(EXTRA):
                from engine.connect.connectors.postgres_catalog import problems
        except ConnectError as error:
            return {"database.hostname": [str(error)]}
        return problems(values)

    def exactly_once_support(self, props: Props) -> ExactlyOnceSupport:
        """Each change once. A snapshot that was cut off begins again; see docs/connect.md."""
        return ExactlyOnceSupport.SUPPORTED

    def can_define_transaction_boundaries(self, props: Props) -> bool:
        """No transaction of PostgreSQL is in two of Kafka's, and the snapshot is in one."""
        return True

    def alter_offsets(self, props: Props, offsets: Mapping[Any, Mapping[str, Any] | None]) -> bool:
        for partition, offset in offsets.items():
            names = dict(partition)
            if set(names) != {"server"}:
                raise ConnectError(f'a partition is {{"server": "{props.get("topic.prefix", "")}"}}, not {names}')
            for name in ("lsn", "lsn_proc", "lsn_commit") if offset is not None else ():
                value = (offset or {}).get(name)
                if value is not None and type(value) is not int:
                    raise ConnectError(f"{name} of an offset is a whole number, not {value!r}")
        return True


class TableFilter:
    """Which tables and columns are read (``…include.list``, ``…exclude.list``); expressions match whole names."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        def matcher(name: str) -> re.Pattern[str] | None:
            patterns = values[name]
            return re.compile("|".join(f"(?:{each})" for each in patterns)) if patterns else None

        self._schemas = matcher("schema.include.list"), matcher("schema.exclude.list")
        self._tables = matcher("table.include.list"), matcher("table.exclude.list")
        self._columns = matcher("column.exclude.list")

    def has_table(self, schema: str, table: str) -> bool:
        """Whether the table is read."""
        return _passes(schema, *self._schemas) and _passes(f"{schema}.{table}", *self._tables)

    def has_column(self, schema: str, table: str, column: str) -> bool:
        """Whether the column is read."""
        return self._columns is None or self._columns.fullmatch(f"{schema}.{table}.{column}") is None


def _passes(name: str, include: re.Pattern[str] | None, exclude: re.Pattern[str] | None) -> bool:
    return (include is None or include.fullmatch(name) is not None) and (
        exclude is None or exclude.fullmatch(name) is None
    )

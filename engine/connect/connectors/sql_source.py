"""A source of a database's rows (the configs and offsets of Confluent's JDBC source connector).

Tables, or the rows of a query, are asked again and again for what is new: all rows (``bulk``), those with a higher
number (``incrementing``), with a later time (``timestamp``) or both. A thread looks for tables that come and go.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from engine.connect.config_def import ConfigDef, ConfigType, Importance, Width, between, one_of
from engine.connect.connector import ConnectorContext, ExactlyOnceSupport, Props, SourceConnector, Task
from engine.connect.connectors.extras import needs_extra
from engine.connect.connectors.sql_connection import URL, define_connection
from engine.connect.errors import ConfigError, ConnectError, DataError

if TYPE_CHECKING:
    from engine.connect.connectors.sql_database import Database, TableId

BULK, INCREMENTING, TIMESTAMP, BOTH = "bulk", "incrementing", "timestamp", "timestamp+incrementing"
TABLES = "tables"
"""Of a task: the tables it reads, as JSON: ``[[schema or null, name], …]``. A name may have any letter."""


def _table_types(name: str, value: list[str]) -> None:
    for each in value:
        one_of("TABLE", "VIEW", ignore_case=True)(name, each)


CONFIG = (
    define_connection(ConfigDef())
    .define(
        "mode",
        ConfigType.STRING,
        BULK,
        Importance.HIGH,
        "bulk: all rows each time. incrementing: rows whose number is higher than the last. timestamp: rows whose time "
        "is later than the last. timestamp+incrementing: both, which also tells rows of one time apart.",
        validator=one_of(BULK, INCREMENTING, TIMESTAMP, BOTH),
        group="Mode",
        dependents=("incrementing.column.name", "timestamp.column.name"),
        recommender=lambda name, values: (BULK, INCREMENTING, TIMESTAMP, BOTH),
    )
    .define(
        "incrementing.column.name",
        ConfigType.STRING,
        "",
        Importance.MEDIUM,
        "The column of a number that only grows; empty: the table's own, if it makes one itself.",
        group="Mode",
        visible=lambda name, values: values.get("mode") in (INCREMENTING, BOTH),
    )
    .define(
        "timestamp.column.name",
        ConfigType.LIST,
        "",
        Importance.MEDIUM,
        "The column of the time of a row's last change; of several the first that is not NULL counts.",
        group="Mode",
        visible=lambda name, values: values.get("mode") in (TIMESTAMP, BOTH),
    )
    .define(
        "timestamp.initial",
        ConfigType.LONG,
        None,
        Importance.LOW,
        "Without an offset, begin after this time (ms since 1970); -1: now; nothing: with all rows.",
        group="Mode",
    )
    .define(
        "timestamp.delay.interval.ms",
        ConfigType.LONG,
        0,
        Importance.HIGH,
        "Rows younger than this wait, so that transactions with an earlier time can end first.",
        validator=between(0),
        group="Mode",
    )
    .define(
        "validate.non.null",
        ConfigType.BOOLEAN,
        True,
        Importance.LOW,
        "Refuse tables whose columns of the mode may be NULL: such rows would never be told.",
        group="Mode",
    )
    .define(
        "query",
        ConfigType.STRING,
        "",
        Importance.MEDIUM,
        "Rows of this SELECT instead of those of tables; it may have a WHERE. topic.prefix is the topic's whole name.",
        group="Mode",
        width=Width.LONG,
    )
    .define(
        "table.whitelist",
        ConfigType.LIST,
        "",
        Importance.MEDIUM,
        "Only these tables: table or schema.table.",
        group="Tables",
    )
    .define(
        "table.blacklist",
        ConfigType.LIST,
        "",
        Importance.MEDIUM,
        "All tables but these; not together with table.whitelist.",
        group="Tables",
    )
    .define(
        "schema.pattern",
        ConfigType.STRING,
        None,
        Importance.MEDIUM,
        "The one schema whose tables are read; nothing: every one.",
        group="Tables",
    )
    .define(
        "table.types",
        ConfigType.LIST,
        "TABLE",
        Importance.LOW,
        "What is a table: TABLE, VIEW or both.",
        validator=_table_types,
        group="Tables",
    )
    .define(
        "table.poll.interval.ms",
        ConfigType.LONG,
        60_000,
        Importance.LOW,
        "How often to look for tables that came or went, in ms.",
        validator=between(1),
        group="Tables",
    )
    .define(
        "topic.prefix",
        ConfigType.STRING,
        "",
        Importance.HIGH,
        "Before the table's name, the topic's name; with query, the topic's name.",
        group="Records",
    )
    .define(
        "poll.interval.ms",
        ConfigType.INT,
        5000,
        Importance.HIGH,
        "How often to ask each table for new rows, in ms.",
        validator=between(0),
        group="Records",
    )
    .define(
        "batch.max.rows",
        ConfigType.INT,
        100,
        Importance.LOW,
        "Most rows of one batch; as long as batches are full, the next is asked for at once.",
        validator=between(1),
        group="Records",
    )
    .define(
        "numeric.mapping",
        ConfigType.STRING,
        "none",
        Importance.LOW,
        "none: NUMERIC is Connect's Decimal. precision_only: whole numbers by their precision are integers. best_fit: "
        "those and, as doubles, fractions of at most 15 digits. best_fit_eager_double: all fractions as doubles.",
        validator=one_of("none", "precision_only", "best_fit", "best_fit_eager_double", ignore_case=True),
        group="Records",
    )
)


def open_database(values: Mapping[str, Any]) -> Database:
    """The database that configs name.

    Raises:
        ConnectError: SQLAlchemy or the database's driver is not installed, or the URL cannot be.
    """
    with needs_extra("connect-sql"):
        from engine.connect.connectors.sql_database import Database
    return Database(values)


def selected_tables(database: Database, values: Mapping[str, Any]) -> list[TableId]:
    """The tables to read, by whitelist and blacklist.

    Raises:
        ConnectError: two tables of different schemas have one name, so would share a topic.
    """
    tables = database.tables(values["schema.pattern"], values["table.types"])
    named = {each: {str(each), each.name} for each in tables}
    if values["table.whitelist"]:
        wanted = {_unquoted(each) for each in values["table.whitelist"]}
        tables = [each for each in tables if named[each] & wanted]
    else:
        unwanted = {_unquoted(each) for each in values["table.blacklist"]}
        tables = [each for each in tables if not named[each] & unwanted]
    topics: dict[str, TableId] = {}
    for each in tables:
        other = topics.setdefault(each.name, each)
        if other != each:
            raise ConnectError(
                f"the tables {other} and {each} would share the topic {values['topic.prefix']}{each.name}: choose with "
                "table.whitelist, table.blacklist or schema.pattern"
            )
    return tables


def _unquoted(name: str) -> str:
    return name.replace('"', "").replace("`", "")


def check_columns(values: Mapping[str, Any]) -> None:
    """Whether the mode has the columns it needs.

    Raises:
        ConfigError: it has not; or both lists of tables, or one and a query, are there.
    """
    mode = values["mode"]
    if mode in (TIMESTAMP, BOTH) and not values["timestamp.column.name"]:
        raise ConfigError("timestamp.column.name", "", f"mode {mode} needs it")
    if mode in (INCREMENTING, BOTH) and values["query"] and not values["incrementing.column.name"]:
        raise ConfigError("incrementing.column.name", "", "a query has no column of its own that only grows: name it")
    if values["table.whitelist"] and values["table.blacklist"]:
        raise ConfigError("table.blacklist", values["table.blacklist"], "table.whitelist is given too: use only one")
    if values["query"] and (values["table.whitelist"] or values["table.blacklist"]):
        which = "table.whitelist" if values["table.whitelist"] else "table.blacklist"
        raise ConfigError(which, values[which], "query is given too, which names its tables itself")
    if values["query"] and not values["topic.prefix"]:
        raise ConfigError("topic.prefix", "", "with query it is the topic's name, and needed")


class _TableMonitor(threading.Thread):
    """Looks every ``table.poll.interval.ms`` which tables there are, and tells when they change."""

    def __init__(self, look: Callable[[], list[TableId]], context: ConnectorContext, interval_s: float) -> None:
        super().__init__(name="sql-table-monitor", daemon=True)
        self._look = look
        self._context = context
        self._interval_s = interval_s
        self._stopping = threading.Event()
        self.tables: list[TableId] = look()

    def run(self) -> None:
        while not self._stopping.wait(self._interval_s):
            try:
                found = self._look()
            except Exception as error:
                from engine.connect.connectors.sql_database import is_passing

                if is_passing(error) or (isinstance(error.__cause__, Exception) and is_passing(error.__cause__)):
                    continue
                self._context.raise_error(error)
                return
            if found != self.tables:
                self.tables = found
                self._context.request_task_reconfiguration()

    def stop(self) -> None:
        """End; does not wait for a look that is under way."""
        self._stopping.set()


class SqlSourceConnector(SourceConnector):
    """Shares the tables of a database among tasks; a query is for one task."""

    def start(self, props: Props) -> None:
        self._props = dict(props)
        values = CONFIG.parse(props)
        check_columns(values)
        self._monitor: _TableMonitor | None = None
        self._database = database = open_database(values)
        if values["query"]:
            database.connect().close()
            return
        interval_s = values["table.poll.interval.ms"] / 1000
        self._monitor = _TableMonitor(lambda: selected_tables(database, values), self.context, interval_s)
        self._monitor.start()

    @classmethod
    def task_class(cls) -> type[Task]:
        with needs_extra("connect-sql"):
            from engine.connect.connectors.sql_source_task import SqlSourceTask
        return SqlSourceTask

    def task_configs(self, max_tasks: int) -> list[dict[str, str]]:
        if self._monitor is None:
            return [{**self._props, TABLES: "[]"}]
        tables = self._monitor.tables
        groups = [tables[first::max_tasks] for first in range(min(max_tasks, len(tables)))]
        return [{**self._props, TABLES: json.dumps(each)} for each in groups]

    def stop(self) -> None:
        if self._monitor is not None:
            self._monitor.stop()
        self._database.close()

    @classmethod
    def config(cls) -> ConfigDef:
        return CONFIG

    @classmethod
    def validate(cls, props: Props) -> dict[str, list[str]]:
        """Opens the database, and looks for the tables and columns of the mode."""
        try:
            values = CONFIG.parse(props)
        except ConfigError:
            return {}  # its definitions say that already
        try:
            check_columns(values)
        except ConfigError as error:
            return {error.name: [str(error)]}
        return _looked_up(values)

    def exactly_once_support(self, props: Props) -> ExactlyOnceSupport:
        """Where the offset of a row tells which rows come after it; see docs/connect.md for rows that are seen late."""
        precise = CONFIG.parse(props)["mode"] in (INCREMENTING, BOTH)
        return ExactlyOnceSupport.SUPPORTED if precise else ExactlyOnceSupport.UNSUPPORTED

    def alter_offsets(self, props: Props, offsets: Mapping[Any, Mapping[str, Any] | None]) -> bool:
        for partition, offset in offsets.items():
            names = dict(partition)
            if not ("table" in names or "query" in names):
                raise ConnectError(f'the partition {names} names neither a "table" nor a "query"')
            if offset is None:
                continue
            for name, value in offset.items():
                if name not in ("incrementing", "timestamp", "timestamp_nanos"):
                    raise ConnectError(f"an offset has incrementing, timestamp and timestamp_nanos, not {name}")
                if type(value) is not int:
                    raise ConnectError(f"{name} of an offset is a whole number, not {value!r}")
        return True


def _looked_up(values: Mapping[str, Any]) -> dict[str, list[str]]:
    try:
        database = open_database({**values, "connection.attempts": 1})
    except ConfigError as error:
        return {error.name: [str(error)]}
    except ConnectError as error:
        return {URL: [str(error)]}
    try:
        if values["query"]:
            return _query_problems(database, values)
        tables = selected_tables(database, values)
        found = {name for each in tables for name in (str(each), each.name)}
        absent = [each for each in values["table.whitelist"] if _unquoted(each) not in found]
        if absent:
            return {
                "table.whitelist": [
                    f"Invalid value {each} for configuration table.whitelist: no such table" for each in absent
                ]
            }
        return _table_problems(database, tables, values)
    except ConnectError as error:
        return {URL: [str(error)]}
    finally:
        database.close()


def _query_problems(database: Database, values: Mapping[str, Any]) -> dict[str, list[str]]:
    from engine.connect.connectors.sql_relation import query_relation

    try:
        with database.connect() as connection:
            relation = query_relation(database, values["query"], values, connection)
    except Exception as error:
        why = str(getattr(error, "orig", None) or error).strip()
        return {"query": [f"Invalid value {values['query']} for configuration query: {why}"]}
    return _mode_problems([relation.problems(values)])


def _table_problems(database: Database, tables: Iterable[TableId], values: Mapping[str, Any]) -> dict[str, list[str]]:
    from engine.connect.connectors.sql_relation import table_relation

    problems = []
    with database.connect() as connection:
        for each in tables:
            try:
                problems.append(table_relation(database, each, values, connection).problems(values))
            except DataError:
                continue  # dropped since
    return _mode_problems(problems)


def _mode_problems(found: Iterable[list[ConfigError]]) -> dict[str, list[str]]:
    messages: dict[str, list[str]] = {}
    for problems in found:
        for each in problems:
            messages.setdefault(each.name, []).append(str(each))
    return messages

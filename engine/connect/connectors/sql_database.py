"""A database that SQLAlchemy reaches: opened, its tables listed and described. Needs ``kconsole[connect-sql]``."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.engine import Connection, Engine

from engine.connect.connectors.extras import needs_extra
from engine.connect.connectors.sql_connection import URL, translate_url
from engine.connect.errors import ConfigError, ConnectError

__all__ = ["Database", "JsonText", "TableId", "is_passing", "reason"]


class TableId(NamedTuple):
    """A table: its schema, where the database has several, and its name."""

    schema: str | None
    name: str

    def __str__(self) -> str:
        return self.name if self.schema is None else f"{self.schema}.{self.name}"

    @classmethod
    def parse(cls, text: str) -> TableId:
        """Of ``schema.table`` or ``table``; quotes around the parts are taken off."""
        parts = [each.strip('"`') for each in re.findall(r'"[^"]*"|`[^`]*`|[^.]+', text.strip())]
        if not parts:
            raise ConnectError(f"{text!r} is no table's name")
        return cls(parts[-2] if len(parts) > 1 else None, parts[-1])


class JsonText(str):
    """JSON that goes to a database as it is: through Python numbers would lose digits."""


def is_passing(error: Exception) -> bool:
    """Whether the same may work later: connections that break, locks, servers that start."""
    if isinstance(error, exc.DBAPIError):
        if type(error.orig).__module__.startswith("sqlite3"):
            # To SQLite a wrong statement is an operational error too.
            return any(each in str(error.orig) for each in ("locked", "busy", "unable to open", "disk I/O"))
        return error.connection_invalidated or isinstance(error, (exc.OperationalError, exc.InterfaceError))
    return isinstance(error, exc.TimeoutError)


def reason(error: BaseException) -> str:
    """What the database said, without statement and parameters."""
    return str(getattr(error, "orig", None) or error).strip()


class Database:
    """Connections to one database. ``zone`` is that of its times without one."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        """``values``: those of :func:`~engine.connect.connectors.sql_connection.define_connection`.

        Raises:
            ConfigError: the URL cannot be.
            ConnectError: its driver is not installed.
        """
        self.zone = ZoneInfo(values["db.timezone"])
        self.quote = str(values["quote.sql.identifiers"]).lower() == "always"
        self._attempts = int(values["connection.attempts"])
        self._backoff_s = values["connection.backoff.ms"] / 1000
        try:
            url = sa.make_url(translate_url(values[URL]))
        except (exc.ArgumentError, ValueError):  # the latter of a port that is no number
            raise ConfigError(URL, None, "SQLAlchemy cannot read it") from None
        if values["connection.user"] is not None:
            url = url.set(username=values["connection.user"])
        if values["connection.password"] is not None:
            url = url.set(password=values["connection.password"].value)
        if url.get_backend_name() == "sqlite" and "timeout" not in url.query:
            url = url.update_query_dict({"timeout": "30"})  # others write to the file too
        more: dict[str, Any] = {}
        self.takes_json_texts = url.get_backend_name() in ("postgresql", "sqlite", "mysql", "mariadb")
        if self.takes_json_texts:
            more["json_serializer"] = lambda value: str(value) if type(value) is JsonText else json.dumps(value)
        if url.get_backend_name() == "postgresql":
            more["json_deserializer"] = str  # JSON stays as the database writes it
        extra = "connect-postgres" if url.get_backend_name() == "postgresql" else "connect-sql"
        try:
            with needs_extra(extra):
                self.engine: Engine = sa.create_engine(url, pool_pre_ping=True, **more)
        except exc.NoSuchModuleError:
            raise ConfigError(URL, url.drivername, "SQLAlchemy has no such database") from None
        self.name = url.set(query={}).render_as_string(hide_password=True)

    @property
    def dialect(self) -> str:
        """``postgresql``, ``sqlite``, ``mysql``, …"""
        return self.engine.dialect.name

    def connect(self, stopping: threading.Event | None = None) -> Connection:
        """A connection, tried ``connection.attempts`` times.

        Raises:
            ConnectError: none could be had; says where and why.
        """
        for attempt in range(1, self._attempts + 1):
            try:
                return self.engine.connect()
            except exc.DBAPIError as error:
                if attempt == self._attempts or (stopping or _NEVER).wait(self._backoff_s):
                    why = str(error.orig).strip() if error.orig is not None else str(error)
                    raise ConnectError(f"no connection to {self.name}: {why}") from error
        raise AssertionError("connection.attempts is at least one")

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    def name_of(self, name: str) -> sa.sql.quoted_name:
        """An identifier, quoted as the config says."""
        return sa.sql.quoted_name(name, self.quote)

    def table_id(self, name: str) -> TableId:
        """Of a name that may have a schema before it; SQLite has none, so a dot is part of the name there."""
        return TableId(None, name) if self.dialect == "sqlite" else TableId.parse(name)

    def tables(self, schema: str | None = None, types: Iterable[str] = ("TABLE",)) -> list[TableId]:
        """All tables, in their order by name; ``types`` are of TABLE and VIEW.

        Where a database has schemas (PostgreSQL), all but its own are looked at, or the one.
        """
        kinds = {each.upper() for each in types}
        found: set[TableId] = set()
        with self.connect() as connection:
            inspector = sa.inspect(connection)
            schemas: list[str | None] = [schema]
            if schema is None and self.dialect == "postgresql":
                schemas = [
                    each
                    for each in inspector.get_schema_names()
                    if each != "information_schema" and not each.startswith("pg_")
                ]
            for each in schemas:
                if "TABLE" in kinds:
                    found.update(TableId(each, name) for name in inspector.get_table_names(each))
                if "VIEW" in kinds:
                    found.update(TableId(each, name) for name in inspector.get_view_names(each))
        return sorted(found, key=str)

    def describe(self, table: TableId, connection: Connection | None = None) -> sa.Table | None:
        """A table with its columns as they are now, or None if there is no such."""
        name = self.name_of(table.name)
        try:
            return sa.Table(name, sa.MetaData(), schema=table.schema, autoload_with=connection or self.engine)
        except exc.NoSuchTableError:
            return None

    def now(self, connection: Connection) -> datetime:
        """The database's clock, in UTC."""
        if self.dialect == "sqlite":
            text = connection.execute(sa.text(r"SELECT strftime('%Y-%m-%d %H\:%M\:%f', 'now')")).scalar_one()
            return datetime.fromisoformat(text).replace(tzinfo=UTC)
        return self.to_utc(connection.execute(sa.select(sa.func.current_timestamp())).scalar_one())

    def to_utc(self, moment: datetime) -> datetime:
        """A moment as the database gave it, in UTC."""
        try:
            return (moment if moment.tzinfo is not None else moment.replace(tzinfo=self.zone)).astimezone(UTC)
        except OverflowError:  # PostgreSQL's infinity is the last that Python has
            return moment.replace(tzinfo=UTC)

    def for_column(self, moment: datetime, column_type: Any) -> datetime:
        """A moment in UTC as a column keeps it: with a time zone, or without in the database's."""
        if getattr(column_type, "timezone", False):
            return moment
        return moment.astimezone(self.zone).replace(tzinfo=None)


_NEVER = threading.Event()

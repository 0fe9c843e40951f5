"""What a SQL source reads: a table, or a query in place of one; its columns, and rows as records' values."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import types
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import Connection

from engine.connect import data
from engine.connect.connectors.sql_database import Database, TableId
from engine.connect.connectors.sql_types import Convert, field_of, infer_convert, inferred
from engine.connect.data import Schema, Struct
from engine.connect.errors import ConfigError, DataError

# Types of a query's columns, by the OIDs of pg_type that psycopg2 tells.
_POSTGRESQL_TYPES: dict[int, Any] = {
    16: sa.Boolean(), 17: sa.LargeBinary(), 20: sa.BigInteger(), 21: sa.SmallInteger(), 23: sa.Integer(),
    25: sa.Text(), 114: sa.JSON(), 700: sa.REAL(), 701: sa.Double(), 1042: sa.Text(), 1043: sa.Text(), 1082: sa.Date(),
    1083: sa.Time(), 1114: sa.DateTime(), 1184: sa.DateTime(timezone=True), 1266: sa.Time(timezone=True),
    2950: sa.Uuid(), 3802: postgresql.JSONB(),
}  # fmt: skip


_log = logging.getLogger(__name__)


class Relation:
    """Columns of a table or query, with what they are in records."""

    def __init__(
        self,
        what: str,
        source: sa.FromClause,
        partition: Mapping[str, Any],
        topic: str,
        database: Database,
        values: Mapping[str, Any],
    ) -> None:
        """``what`` is its name for people, ``partition`` that of its source offsets."""
        self.what = what
        self.source = source
        self.partition = dict(partition)
        self.topic = topic
        self._database = database
        mapping = str(values["numeric.mapping"]).lower()
        self.columns: list[sa.ColumnElement[Any]] = []
        self.schema: Schema | None = None
        self._converts: list[Convert | None] = []
        self._fields: dict[str, Schema] = {}
        self._name = what if "query" not in partition else None
        self._inferring = any(isinstance(each.type, types.NullType) for each in source.c) and "query" in partition
        for column in source.c:
            if isinstance(column.type, types.JSON):
                # As the database writes it: no digit of a number is lost on the way through Python.
                self.columns.append(sa.type_coerce(column, sa.Text()).label(column.name))
                self._fields[column.name] = (
                    data.STRING.as_optional() if getattr(column, "nullable", True) else data.STRING
                )
                self._converts.append(None)
                continue
            if self._inferring:
                self.columns.append(column)
                continue
            primary = bool(getattr(column, "primary_key", False))
            field = field_of(column.type, bool(getattr(column, "nullable", True)) and not primary, database, mapping)
            if field is None:
                _log.warning("%s.%s is left out: Connect has no type for %s", what, column.name, column.type)
                continue
            self.columns.append(column)
            self._fields[column.name] = field.schema
            self._converts.append(field.convert)
        if not self._inferring:
            self.schema = data.struct(self._fields, name=self._name)
        # SQLite keeps whatever it is given in any column.
        self._checked = database.dialect == "sqlite"
        self.increment = self._find_increment(values)
        self.times = [self._find(each) for each in values["timestamp.column.name"] if "timestamp" in values["mode"]]

    def _find(self, name: str) -> sa.ColumnElement[Any]:
        for each in self.source.c:
            if each.name == name:
                return each
        for each in self.source.c:
            if each.name.lower() == name.lower():
                return each
        return sa.column(name)

    def _find_increment(self, values: Mapping[str, Any]) -> sa.ColumnElement[Any] | None:
        if "incrementing" not in values["mode"]:
            return None
        if values["incrementing.column.name"]:
            return self._find(values["incrementing.column.name"])
        for each in self.source.c:
            own = getattr(each, "identity", None) is not None or "nextval(" in _default_text(each)
            alone = getattr(each, "primary_key", False) and len(list(self.source.primary_key)) == 1
            if own or (alone and isinstance(each.type, types.Integer) and self._database.dialect != "postgresql"):
                return each
        return None

    def problems(self, values: Mapping[str, Any]) -> list[ConfigError]:
        """Why the mode cannot work here: columns that are absent, or may be NULL."""
        found: list[ConfigError] = []
        names = {each.name for each in self.source.c}
        if "incrementing" in values["mode"]:
            setting = "incrementing.column.name"
            if self.increment is None:
                found.append(
                    ConfigError(setting, "", f"{self.what} has no column of its own that only grows: name one")
                )
            elif self.increment.name not in names:
                found.append(ConfigError(setting, self.increment.name, f"{self.what} has no such column"))
            elif values["validate.non.null"] and self._may_be_null(self.increment):
                found.append(ConfigError(setting, self.increment.name, f"it may be NULL in {self.what}: {_NULLS}"))
        absent = [each.name for each in self.times if each.name not in names]
        for each in absent:
            found.append(ConfigError("timestamp.column.name", each, f"{self.what} has no such column"))
        if self.times and not absent and values["validate.non.null"] and all(map(self._may_be_null, self.times)):
            named = ", ".join(each.name for each in self.times)
            found.append(ConfigError("timestamp.column.name", named, f"it may be NULL in {self.what}: {_NULLS}"))
        return found

    def _may_be_null(self, column: Any) -> bool:
        if "query" in self.partition:
            return False  # no database says that of a query's columns
        return bool(column.nullable) and not column.primary_key

    def values(self, rows: Sequence[Sequence[Any]]) -> tuple[Schema, list[Struct]]:
        """Rows as structs, in their order.

        Raises:
            DataError: a value does not fit its column (SQLite); names both.
        """
        if self._inferring:
            self._infer(rows)
        assert self.schema is not None
        schema, converts = self.schema, self._converts
        if self._checked:
            return schema, [self._checked_struct(schema, row) for row in rows]
        if not any(converts):
            return schema, [Struct.of(schema, list(row)) for row in rows]
        return schema, [
            Struct.of(
                schema,
                [value if convert is None else convert(value) for value, convert in zip(row, converts, strict=True)],
            )
            for row in rows
        ]

    def _checked_struct(self, schema: Schema, row: Sequence[Any]) -> Struct:
        values = []
        for value, convert, field in zip(row, self._converts, schema.fields, strict=True):
            try:
                values.append(value if convert is None else convert(value))
                data.validate(field.schema, values[-1], f"{self.what}.{field.name}")
            except (TypeError, ValueError, DataError) as error:
                raise DataError(f"{self.what}.{field.name} has {value!r}: {error}") from error
        return Struct.of(schema, values)

    def _infer(self, rows: Sequence[Sequence[Any]]) -> None:
        """Take types of values; a column that was NULL so far is a string until it has one."""
        for position, column in enumerate(self.columns):
            known = self._fields.get(column.name)
            found = next((schema for row in rows if (schema := inferred(row[position])) is not None), None)
            if found is not None and (known is None or known.as_required() != found):
                self._fields[column.name] = found.as_optional()
            elif known is None:
                self._fields[column.name] = data.STRING.as_optional()
        schema = data.struct({each.name: self._fields[each.name] for each in self.columns}, name=self._name)
        if schema != self.schema:
            self.schema = schema
            self._converts = [infer_convert(each.schema, self._database) for each in schema.fields]


_NULLS = "such rows would never be told; make it NOT NULL, or set validate.non.null=false"


def _default_text(column: Any) -> str:
    default = getattr(column, "server_default", None)
    return str(getattr(getattr(default, "arg", None), "text", getattr(default, "arg", "")))


def table_relation(database: Database, table: TableId, values: Mapping[str, Any], connection: Connection) -> Relation:
    """A table as it is now.

    Raises:
        DataError: there is no such table.
    """
    found = database.describe(table, connection)
    if found is None:
        raise DataError(f"there is no table {table} in {database.name}")
    partition = {"protocol": "1", "table": str(table)}
    return Relation(table.name, found, partition, f"{values['topic.prefix']}{table.name}", database, values)


def query_relation(database: Database, query: str, values: Mapping[str, Any], connection: Connection) -> Relation:
    """A query's columns, as far as the database tells their types.

    Raises:
        sqlalchemy.exc.DBAPIError: the query is wrong.
    """
    query = query.strip().rstrip(";")
    # A colon would be a parameter's mark.
    # A comment at the end must not reach into what comes behind.
    text = sa.text(f"{query}\n".replace(":", "\\:"))
    columns = _query_columns(database, query, connection)
    source = text.columns(*columns).subquery("kconsole_query")
    return Relation("the query", source, {"query": query}, values["topic.prefix"], database, values)


def _query_columns(database: Database, query: str, connection: Connection) -> list[sa.ColumnClause[Any]]:
    if database.dialect == "sqlite":
        connection.exec_driver_sql("DROP VIEW IF EXISTS temp.kconsole_query")
        connection.exec_driver_sql(f"CREATE TEMP VIEW kconsole_query AS {query}")
        rows = connection.exec_driver_sql("PRAGMA temp.table_info(kconsole_query)").all()
        found = sa.inspect(connection).get_columns("kconsole_query", schema="temp")
        connection.exec_driver_sql("DROP VIEW temp.kconsole_query")
        # A column without a declared type is an expression: only its values tell.
        return [
            sa.column(each["name"], each["type"] if row[2] else types.NullType())
            for each, row in zip(found, rows, strict=True)
        ]
    plain = connection.execution_options(no_parameters=True)
    result = plain.exec_driver_sql(f"SELECT * FROM ({query}\n) AS kconsole_query LIMIT 0")
    described = result.cursor.description if result.cursor is not None else ()
    return [sa.column(each[0], _described_type(database, each)) for each in described]


def _described_type(database: Database, description: Any) -> Any:
    if database.dialect != "postgresql":
        return types.NullType()
    code, precision, scale = description[1], description[4], description[5]
    if code == 1700:
        return sa.Numeric(precision, scale) if precision not in (None, 65535) else sa.Numeric()
    return _POSTGRESQL_TYPES.get(code, sa.Text())

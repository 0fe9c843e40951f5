"""Statements of a SQL sink: rows inserted, put over others, changed, deleted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.engine import Connection

from engine.connect import data
from engine.connect.connectors.sql_database import Database
from engine.connect.connectors.sql_rows import Cell
from engine.connect.connectors.sql_sink import INSERT, UPSERT
from engine.connect.connectors.sql_types import bind
from engine.connect.data import Schema, Type
from engine.connect.records import SinkRecord

Row = dict[str, Any]


class Writer:
    """Rows of one table and set of columns; ``mode`` is that of ``insert.mode``, or ``delete``."""

    def __init__(
        self,
        table: sa.Table,
        columns: Sequence[sa.Column[Any]],
        cells: Sequence[Cell],
        mode: str,
        database: Database,
        batch_size: int,
    ) -> None:
        self._table = table
        self._mode = mode
        self._dialect = database.dialect
        self._batch_size = batch_size
        self._keys = [column for column, cell in zip(columns, cells, strict=True) if cell.is_key]
        self._others = [column for column, cell in zip(columns, cells, strict=True) if not cell.is_key]
        # "k0", "v1", …: a name of a column is no name of a parameter in every database.
        counted = {id(each): f"k{i}" for i, each in enumerate(self._keys)}
        counted |= {id(each): f"v{i}" for i, each in enumerate(self._others)}
        self._parameters = [
            (counted[id(column)], cell.get, _binder(cell.schema, column.type, database))
            for column, cell in zip(columns, cells, strict=True)
        ]
        self._bound = {
            each.name: sa.bindparam(counted[id(each)], type_=each.type) for each in (*self._keys, *self._others)
        }
        self._write = self._writing()

    def row(self, record: SinkRecord) -> Row:
        """A record's parameters.

        Raises:
            DataError: a value is nothing for its column.
        """
        return {name: get(record) if binder is None else binder(get(record)) for name, get, binder in self._parameters}

    def write(self, connection: Connection, rows: Sequence[Row]) -> None:
        """All rows, in a transaction that is begun.

        Raises:
            sqlalchemy.exc.DBAPIError: what the database said.
        """
        for first in range(0, len(rows), self._batch_size):
            self._write(connection, rows[first : first + self._batch_size])

    def _writing(self) -> Callable[[Connection, Sequence[Row]], None]:
        if self._mode == "delete":
            return _executing(sa.delete(self._table).where(*self._key_conditions()))
        if self._mode == INSERT:
            return _executing(sa.insert(self._table).values(self._bound))
        if self._mode == UPSERT:
            statement = self._upsert()
            return self._update_or_insert if statement is None else _executing(statement)
        return _executing(self._update()) if self._others else lambda connection, rows: None

    def _upsert(self) -> Any:
        names = [each.name for each in self._others]
        if self._dialect in ("postgresql", "sqlite"):
            make: Any = postgresql.insert if self._dialect == "postgresql" else sqlite.insert
            put = make(self._table).values(self._bound)
            keys = [each.name for each in self._keys]
            if not names:
                return put.on_conflict_do_nothing(index_elements=keys)
            return put.on_conflict_do_update(index_elements=keys, set_={each: put.excluded[each] for each in names})
        if self._dialect in ("mysql", "mariadb"):
            over = mysql.insert(self._table).values(self._bound)
            return over.on_duplicate_key_update({each: over.inserted[each] for each in names or [self._keys[0].name]})
        return None

    def _update_or_insert(self, connection: Connection, rows: Sequence[Row]) -> None:
        """For databases without a word for it: first changed, and inserted if there was nothing to change."""
        change, insert = self._update() if self._others else None, sa.insert(self._table).values(self._bound)
        there = sa.select(sa.literal(1)).select_from(self._table).where(*self._key_conditions())
        for row in rows:
            if connection.execute(there, row).first() is None:
                connection.execute(insert, row)
            elif change is not None:
                connection.execute(change, row)

    def _update(self) -> Any:
        changes = {each.name: self._bound[each.name] for each in self._others}
        return sa.update(self._table).where(*self._key_conditions()).values(changes)

    def _key_conditions(self) -> list[Any]:
        return [each == self._bound[each.name] for each in self._keys]


def _executing(statement: Any) -> Callable[[Connection, Sequence[Row]], None]:
    def execute(connection: Connection, rows: Sequence[Row]) -> None:
        connection.execute(statement, rows)

    return execute


_PLAIN = {Type.INT8, Type.INT16, Type.INT32, Type.INT64, Type.FLOAT32, Type.FLOAT64, Type.BOOLEAN, Type.STRING}


def _binder(schema: Schema | None, column_type: Any, database: Database) -> Callable[[Any], Any] | None:
    """None where values of the schema are a column's as they are."""
    if schema is not None and schema.name is None and schema.type in _PLAIN:
        if schema.type is Type.STRING and isinstance(column_type, sa.String):
            return None
        if schema.type is Type.BOOLEAN and isinstance(column_type, sa.Boolean):
            return None
        if schema.type not in (Type.STRING, Type.BOOLEAN) and isinstance(column_type, (sa.Integer, sa.Float)):
            return None
    if schema is not None and schema.name == data.DATE_NAME and isinstance(column_type, sa.Date):
        return None
    return lambda value: bind(value, schema, column_type, database)

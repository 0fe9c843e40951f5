"""Tables that a SQL sink writes: described, created, given more columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.engine import Connection
from sqlalchemy.schema import CreateColumn, CreateTable

from engine.connect.connectors.sql_database import Database, TableId
from engine.connect.connectors.sql_rows import Cell
from engine.connect.connectors.sql_types import column_type_for
from engine.connect.errors import ConnectError, DataError


class Tables:
    """What is known of the tables. Changes to them are transactions of their own."""

    def __init__(self, database: Database, values: Mapping[str, Any]) -> None:
        self._database = database
        self._create: bool = values["auto.create"]
        self._evolve: bool = values["auto.evolve"]
        self._known: dict[TableId, sa.Table] = {}

    def forget(self) -> None:
        """Look at all of them anew."""
        self._known.clear()

    def has(self, name: str) -> bool:
        """Whether there is such a table."""
        wanted = self._database.table_id(name)
        return wanted in self._known or self._look(wanted) is not None

    def fitting(self, name: str, cells: Sequence[Cell]) -> tuple[sa.Table, list[sa.Column[Any]]]:
        """A table that has a column for each cell, and those columns.

        Raises:
            ConnectError: there is no such table or column and it may not, or cannot, be made.
            DataError: no column can be made for a field.
        """
        wanted = self._database.table_id(name)
        table = self._known[wanted] if wanted in self._known else self._look(wanted)
        if table is None:
            table = self._created(wanted, cells)
        missing = [each for each in cells if _column(table, each.name) is None]
        if missing:
            # Somebody may have added them since.
            table = self._look(wanted)
            if table is None:
                raise ConnectError(f"the table {wanted} was dropped")
            missing = [each for each in cells if _column(table, each.name) is None]
        if missing:
            table = self._evolved(wanted, table, missing)
        columns = [_column(table, each.name) for each in cells]
        return table, [each for each in columns if each is not None]

    def _look(self, wanted: TableId) -> sa.Table | None:
        found = self._database.describe(wanted)
        if found is not None:
            self._known[wanted] = found
        return found

    def _created(self, wanted: TableId, cells: Sequence[Cell]) -> sa.Table:
        if not self._create:
            raise ConnectError(f"there is no table {wanted}: create it, or set auto.create=true")
        columns = [self._new_column(each, f"the table {wanted} cannot be created") for each in cells]
        name = self._database.name_of(wanted.name)
        made = sa.Table(name, sa.MetaData(), *columns, schema=wanted.schema)
        with self._database.connect() as connection:
            try:
                connection.execute(CreateTable(made, if_not_exists=True))
                connection.commit()
            except exc.DBAPIError:
                # Two tasks at once: PostgreSQL's IF NOT EXISTS may still clash in its catalog.
                connection.rollback()
                if self._database.describe(wanted, connection) is None:
                    raise
        found = self._look(wanted)
        if found is None:
            raise ConnectError(f"the table {wanted} was created, and is not there")
        return found

    def _evolved(self, wanted: TableId, table: sa.Table, missing: Sequence[Cell]) -> sa.Table:
        names = ", ".join(each.name for each in missing)
        if not self._evolve:
            raise ConnectError(f"the table {wanted} has no column for {names}: add it, or set auto.evolve=true")
        with self._database.connect() as connection:
            for each in missing:
                column = self._new_column(each, f"the table {wanted} cannot be given the column {each.name}")
                if not column.nullable and column.server_default is None:
                    raise DataError(
                        f"the table {wanted} cannot be given the column {each.name}: the field is neither optional nor "
                        "has a default"
                    )
                self._add(connection, wanted, table, column)
        found = self._look(wanted)
        if found is None:
            raise ConnectError(f"the table {wanted} was dropped")
        return found

    def _add(self, connection: Connection, wanted: TableId, table: sa.Table, column: sa.Column[Any]) -> None:
        sa.Table(table.name, sa.MetaData(), column, schema=table.schema)  # a column is compiled as a table's
        preparer = self._database.engine.dialect.identifier_preparer
        specification = CreateColumn(column).compile(dialect=self._database.engine.dialect)
        try:
            connection.exec_driver_sql(f"ALTER TABLE {preparer.format_table(table)} ADD COLUMN {specification}")
            connection.commit()
        except exc.DBAPIError:
            connection.rollback()
            now = self._database.describe(wanted, connection)
            if now is None or _column(now, column.name) is None:
                raise

    def _new_column(self, cell: Cell, what: str) -> sa.Column[Any]:
        if cell.schema is None:
            raise DataError(f"{what}: the record has no schema for {cell.name}; use a converter that has schemas")
        kind = column_type_for(cell.schema, self._database.dialect, cell.is_key)
        default = cell.schema.default
        return sa.Column(
            self._database.name_of(cell.name),
            kind,
            primary_key=cell.is_key,
            autoincrement=False,
            nullable=not cell.is_key and (cell.schema.optional or default is not None),
            server_default=None if default is None else sa.literal(default, kind),
        )


def _column(table: sa.Table, name: str) -> sa.Column[Any] | None:
    found = table.columns.get(name)
    if found is not None:
        return found
    return next((each for each in table.columns if each.name.lower() == name.lower()), None)

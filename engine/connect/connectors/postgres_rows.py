"""Rows of one PostgreSQL table, from texts to the values of its records."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from engine.connect.connector import Connector
from engine.connect.connectors.debezium_envelope import TableEnvelope
from engine.connect.connectors.pgoutput import UNCHANGED, Relation, Value
from engine.connect.connectors.postgres_catalog import Catalog, Column, Table
from engine.connect.connectors.postgres_cdc import TableFilter
from engine.connect.connectors.postgres_values import Field, field_of, optional, unavailable
from engine.connect.errors import DataError

_log = logging.getLogger(__name__)


class _Cell(NamedTuple):
    """A column that is told: where in the row it is, and what it is."""

    at: int
    name: str
    field: Field


class UnexpectedNull(Exception):
    """A row has NULL in a column that the catalog of now says cannot have it: the column became NOT NULL later."""

    def __init__(self, column: str) -> None:
        super().__init__(column)
        self.column = column


class TableRows:
    """The columns of a table that are told, and its envelope."""

    def __init__(self, table: Table, catalog: Catalog, chosen: TableFilter, values: Mapping[str, Any]) -> None:
        """``values``: the connector's configs."""
        self.table = table
        self._sources = (catalog, chosen, values)
        self._placeholder: str = values["unavailable.value.placeholder"]
        self._cells = list(_cells(table, catalog, chosen, values))
        row = {each.name: each.field.schema for each in self._cells}
        key = tuple(each for each in table.key if each in row)
        self.envelope = TableEnvelope(
            values["topic.prefix"],
            values["database.dbname"],
            table.schema,
            table.name,
            row,
            key if len(key) == len(table.key) else (),
            Connector.version,
        )

    @property
    def names(self) -> list[str]:
        """The columns that are told."""
        return [each.name for each in self._cells]

    def with_null_in(self, name: str) -> TableRows:
        """The same table with a column that may be NULL."""
        columns = tuple(each._replace(not_null=False) if each.name == name else each for each in self.table.columns)
        return TableRows(self.table._replace(columns=columns), *self._sources)

    def row(self, texts: Sequence[Value], old: Sequence[Value] | None = None, *, partial: bool = False) -> list[Any]:
        """A row's values. Those that an update did not change come of ``old``, if it is the whole old row.

        ``partial``: only some columns are there; the others are NULL or, where they cannot be, 0 and the like.

        Raises:
            DataError: a value has no place in its schema; names the column.
            UnexpectedNull: it is NULL, and its schema is not optional.
        """
        made = []
        for index, name, field in self._cells:
            text = texts[index]
            if text is UNCHANGED and old is not None:
                text = old[index]
            try:
                if isinstance(text, str):
                    made.append(field.decode(text))
                elif text is None:
                    if not (partial or field.schema.optional or name in self.table.key):
                        raise UnexpectedNull(name)
                    made.append(None if field.schema.optional else field.filler)
                elif text is UNCHANGED:
                    made.append(unavailable(field, self._placeholder))
                else:
                    raise DataError("it is in binary form, which was not asked for")
            except (DataError, ValueError, ArithmeticError) as error:
                raise DataError(f"{self.table.schema}.{self.table.name}.{name}: {error}") from error
        return made

    def snapshot_row(self, texts: Sequence[str | None]) -> list[Any]:
        """Of a row that has exactly :attr:`names`."""
        whole: list[Value] = [None] * (1 + max((each.at for each in self._cells), default=-1))
        for cell, text in zip(self._cells, texts, strict=True):
            whole[cell.at] = text
        return self.row(whole, partial=True)


def _cells(table: Table, catalog: Catalog, chosen: TableFilter, values: Mapping[str, Any]) -> Iterable[_Cell]:
    decimals, times = values["decimal.handling.mode"].lower(), values["time.precision.mode"].lower()
    for index, column in enumerate(table.columns):
        if not chosen.has_column(table.schema, table.name, column.name):
            continue
        kind = catalog.type(column.type_oid)
        field = None if kind is None else field_of(kind, column.modifier, decimals, times)
        if field is None:
            named = f"{table.schema}.{table.name}.{column.name}"
            _log.warning("%s is left out: no record can have the type %s", named, kind.name if kind else "that is gone")
            continue
        if not column.not_null and column.name not in table.key:
            field = optional(field)
        yield _Cell(index, column.name, field)


def table_of(relation: Relation, catalog: Catalog) -> Table:
    """A table as the stream describes it, with what only the catalog knows: which columns are NOT NULL, the key.

    The catalog is that of now: a column that is gone from there may be NULL.
    """
    now = catalog.table(relation.oid, relation.schema, relation.name)
    required = {each.name for each in now.columns if each.not_null}
    columns = tuple(
        Column(each.name, each.type_oid, each.type_modifier, each.name in required) for each in relation.columns
    )
    key = now.key
    if relation.replica_identity in "di":
        # Old rows have these columns and no others.
        identity = tuple(each.name for each in relation.columns if each.in_key)
        key = identity if identity and set(identity) != set(key) else key
    return Table(relation.oid, relation.schema, relation.name, columns, key)

"""The snapshot of a change source: all rows of the tables, as they were where the replication slot begins."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any

from psycopg2 import extensions, sql

from engine.connect.connectors.debezium_envelope import READ, Origin
from engine.connect.connectors.pgoutput import lsn_text, parse_lsn
from engine.connect.connectors.postgres_catalog import Catalog, Slot, Table, connect
from engine.connect.connectors.postgres_cdc import INITIAL_ONLY, TableFilter
from engine.connect.connectors.postgres_rows import TableRows
from engine.connect.errors import ConnectError, RetriableError
from engine.connect.records import SourceRecord

_log = logging.getLogger(__name__)


def free_slot(slot: Slot | None, values: Mapping[str, Any]) -> None:
    """Whether the slot can be had, or made.

    Raises:
        RetriableError: another session reads it.
        ConnectError: it is a slot for something else.
    """
    name = values["slot.name"]
    if slot is None:
        return
    if slot.database != values["database.dbname"] or slot.plugin != "pgoutput":
        raise ConnectError(
            f"the slot {name} is one of the database {slot.database} with {slot.plugin}: take another name"
        )
    if slot.active:
        raise RetriableError(f"the slot {name} is in use: by a task that ended just now, or by another connector")


class Snapshot:
    """Reads all chosen tables in one transaction that sees what the slot's begin sees."""

    def __init__(self, values: Mapping[str, Any], catalog: Catalog) -> None:
        """Makes publication and slot anew (not with ``snapshot.mode=initial_only``), so that both begin at one place.

        Raises:
            psycopg2.Error: what PostgreSQL said.
        """
        self._values = values
        self._filter = TableFilter(values)
        self._catalog = catalog
        tables = catalog.tables(self._filter)
        self._reader = connect(values)
        self._reader.set_session(isolation_level="REPEATABLE READ", readonly=True)
        if values["snapshot.mode"].lower() == INITIAL_ONLY:
            with self._reader.cursor() as cursor:
                cursor.execute("SELECT pg_current_wal_lsn()::text")
                self.lsn = parse_lsn((cursor.fetchone() or ("0/0",))[0])
        else:
            catalog.make_publication(values["publication.name"], values["publication.autocreate.mode"].lower(), tables)
            self.lsn = self._import(values["slot.name"])
        # To this transaction a table that is rewritten or truncated from now on would be empty.
        for each in tables:
            with self._reader.cursor() as cursor:
                cursor.execute(sql.SQL("LOCK TABLE {} IN ACCESS SHARE MODE").format(_in_sql(each)))
        # As the stream has them: what types write themselves, which a cast to text does not always give.
        # A domain's columns come under the type that it is made of.
        oids = {column.type_oid for each in tables for column in each.columns}
        oids |= {kind.oid for each in oids if (kind := catalog.type(each)) is not None}
        if oids:
            as_text = extensions.new_type(tuple(oids), "AS_TEXT", lambda text, cursor: text)
            extensions.register_type(as_text, self._reader)
        self._tables = [TableRows(each, catalog, self._filter, values) for each in tables]
        _log.info("snapshot of %d tables at %s", len(tables), lsn_text(self.lsn))

    def _import(self, slot: str) -> int:
        there = self._catalog.slot(slot)
        free_slot(there, self._values)
        if there is not None:
            # Of a snapshot that did not end: nothing of what it has was told. A new one begins where the rows are read.
            _log.info("the slot %s is made anew", slot)
            self._catalog.drop_slot(slot)
        with closing(connect(self._values, replication=True)) as exporting, exporting.cursor() as cursor:
            cursor.create_replication_slot(slot, output_plugin="pgoutput")  # type: ignore[attr-defined]
            _, point, name, _ = cursor.fetchone() or (None, "0/0", None, None)
            with self._reader.cursor() as reading:
                reading.execute("SET TRANSACTION SNAPSHOT %s", (name,))
        return parse_lsn(point)

    def records(self, partition: Mapping[str, Any]) -> Iterator[tuple[SourceRecord, bool]]:
        """Records with ``op: r``, and whether each is the last."""
        held: tuple[TableRows, list[Any]] | None = None
        for found in self._rows():
            if held is not None:
                yield self._record(*held, partition, last=False), False
            held = found
        if held is not None:
            yield self._record(*held, partition, last=True), True

    def _rows(self) -> Iterator[tuple[TableRows, list[Any]]]:
        for rows in self._tables:
            table, names = rows.table, rows.names
            columns = sql.SQL(", ").join(map(sql.Identifier, names))
            query = sql.SQL("SELECT {} FROM {}").format(columns, _in_sql(table))
            with self._reader.cursor("kconsole_snapshot") as cursor:
                cursor.itersize = self._values["snapshot.fetch.size"]
                cursor.execute(query)
                for texts in cursor:
                    yield rows, rows.snapshot_row(texts)

    def _record(self, rows: TableRows, row: list[Any], partition: Mapping[str, Any], last: bool) -> SourceRecord:
        now_ms = int(time.time() * 1000)
        origin = Origin(now_ms, "last" if last else "true", None, self.lsn, None)
        offset = {
            "snapshot": True,
            "last_snapshot_record": last,
            "lsn": self.lsn,
            "lsn_commit": self.lsn,
            "ts_usec": now_ms * 1000,
        }
        return rows.envelope.change(READ, None, row, origin, now_ms, partition, offset)

    def close(self) -> None:
        """End the transaction."""
        self._reader.close()


def _in_sql(table: Table) -> sql.Composable:
    """A partitioned table with its partitions; of others without the tables that inherit from them."""
    only = sql.SQL("" if table.is_partitioned else "ONLY ")
    return sql.SQL("{}{}").format(only, sql.Identifier(table.schema, table.name))

"""The task of a SQL sink: each ``put`` is one transaction, with a statement for each run of records of one kind."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from typing import Any

from sqlalchemy import exc
from sqlalchemy.engine import Connection

from engine.connect.connector import Props, SinkTask
from engine.connect.connectors.sql_database import Database, is_passing, reason
from engine.connect.connectors.sql_rows import cells_of, shape_of
from engine.connect.connectors.sql_sink import RECORD_KEY, parsed
from engine.connect.connectors.sql_statements import Row, Writer
from engine.connect.connectors.sql_tables import Tables
from engine.connect.errors import ConnectError, DataError, RetriableError
from engine.connect.records import SinkRecord

_log = logging.getLogger(__name__)


class SqlSinkTask(SinkTask):
    """Writes what it is given before ``put`` returns: there is nothing to flush."""

    def start(self, props: Props) -> None:
        self._values = values = parsed(props)
        self._database = Database(values)
        self._tables = Tables(self._database, values)
        self._writers: dict[tuple[Any, ...], Writer] = {}
        self._absent: set[str] = set()
        self._retries: int = values["max.retries"]
        self._left = self._retries
        self._reporter = self.context.errant_record_reporter()
        self._connection: Connection | None = None
        # SQLite has no decimal numbers: SQLAlchemy says so with each.
        warnings.filterwarnings("ignore", "Dialect sqlite.*does .*not.* support Decimal")

    def stop(self) -> None:
        self._disconnect()
        self._database.close()

    def put(self, records: Sequence[SinkRecord]) -> None:
        if not records:
            return
        try:
            self._put(records)
        except (exc.SQLAlchemyError, ConnectError) as error:
            self._disconnect()
            self._forget()
            if _is_passing(error):
                self._again(error)
            if isinstance(error, ConnectError):
                raise
            raise ConnectError(f"{_where(records)} cannot be written: {reason(error)}") from error
        self._left = self._retries

    def _again(self, error: Exception) -> None:
        if self._left <= 0:
            raise ConnectError(f"given up after {self._retries} retries: {reason(error)}") from error
        self._left -= 1
        self.context.timeout_ms(self._values["retry.backoff.ms"])
        raise RetriableError(f"{reason(error)}; {self._left} retries are left") from error

    def _put(self, records: Sequence[SinkRecord]) -> None:
        try:
            self._transaction(records)
        except (exc.SQLAlchemyError, ConnectError) as error:
            if self._reporter is None or _is_passing(error):
                raise
            self._disconnect()
            if len(records) == 1:
                told = error if isinstance(error, ConnectError) else ConnectError(reason(error))
                self._reporter.report(records[0], told)
                return
            # Somewhere among them is one that cannot be written: halves find it, and keep the order.
            middle = len(records) // 2
            self._put(records[:middle])
            self._put(records[middle:])

    def _transaction(self, records: Sequence[SinkRecord]) -> None:
        self._absent.clear()
        runs = self._runs(records)
        if self._connection is None:
            self._connection = self._database.connect()
        try:
            with self._connection.begin():
                for writer, rows in runs:
                    writer.write(self._connection, rows)
        except (ValueError, TypeError, ArithmeticError) as error:
            # Of the driver, which has no way to send a value: a NUL or half a surrogate in a text, a number too large.
            raise DataError(f"{_where(records)} cannot be written: {error}") from error

    def _runs(self, records: Sequence[SinkRecord]) -> list[tuple[Writer, list[Row]]]:
        """Records that follow each other and go to the same columns of one table, together."""
        runs: list[tuple[Writer, list[Row]]] = []
        last: SinkRecord | None = None
        writer: Writer | None = None
        rows: list[Row] = []
        keyed = self._values["pk.mode"] == RECORD_KEY
        for record in records:
            if (
                last is None
                or record.value_schema is not last.value_schema
                or record.key_schema is not last.key_schema
                or record.topic != last.topic
                or (record.value is None) != (last.value is None)
                or record.value_schema is None
                or (keyed and record.key_schema is None)
            ):
                found = self._writer(record)
                if found is not writer:
                    writer, rows = found, []
                    if writer is not None:
                        runs.append((writer, rows))
            last = record
            if writer is not None:
                rows.append(writer.row(record))
        return runs

    def _writer(self, record: SinkRecord) -> Writer | None:
        shape = shape_of(record) if record.value_schema is None or record.key_schema is None else ()
        kind = (record.topic, record.key_schema, record.value_schema, record.value is None, shape)
        known = self._writers.get(kind)
        if known is not None:
            return known
        if record.value is None and not self._values["delete.enabled"]:
            raise DataError(f"{_where([record])} has no value: drop such records, or set delete.enabled=true")
        name = self._values["table.name.format"].replace("${topic}", record.topic)
        if record.value is not None:
            self._absent.discard(name)
        elif name in self._absent or self._is_to_come(name):
            self._absent.add(name)
            return None
        cells = cells_of(record, self._values)
        table, columns = self._tables.fitting(name, cells)
        mode = "delete" if record.value is None else self._values["insert.mode"]
        made = Writer(table, columns, cells, mode, self._database, self._values["batch.size"])
        self._writers[kind] = made
        return made

    def _is_to_come(self, name: str) -> bool:
        """Whether a table will be made of the first row: there is nothing in it to delete."""
        return bool(self._values["auto.create"]) and not self._tables.has(name)

    def _forget(self) -> None:
        """Tables may have changed: look at them anew."""
        self._writers.clear()
        self._tables.forget()

    def _disconnect(self) -> None:
        if self._connection is not None:
            connection, self._connection = self._connection, None
            try:
                connection.close()
            except exc.SQLAlchemyError as error:
                _log.info("a broken connection was closed: %s", reason(error))


def _is_passing(error: Exception) -> bool:
    """Of what the database said, or why there is no connection to it."""
    said = error.__cause__ if isinstance(error, ConnectError) else error
    return isinstance(said, exc.SQLAlchemyError) and is_passing(said)


def _where(records: Sequence[SinkRecord]) -> str:
    first = records[0]
    what = f"{first.topic}-{first.partition}@{first.offset}"
    return what if len(records) == 1 else f"one of the {len(records)} records from {what} on"

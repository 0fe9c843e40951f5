"""The task of a SQL source: asks each of its tables, or its query, for new rows when their time has come.

Pages are found by what the last row had (its number, its time), not by an open cursor: a restart continues where the
committed offset says, and no transaction stays open in the database between two polls. Only ``bulk`` keeps a cursor.
"""

from __future__ import annotations

import heapq
import json
import logging
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.engine import Connection

from engine.connect.connector import Props, SourceTask
from engine.connect.connectors.sql_database import Database, TableId, is_passing, reason
from engine.connect.connectors.sql_relation import Relation, query_relation, table_relation
from engine.connect.connectors.sql_source import BOTH, BULK, CONFIG, INCREMENTING, TABLES, TIMESTAMP
from engine.connect.errors import ConnectError, DataError, RetriableError
from engine.connect.records import SourceRecord

_log = logging.getLogger(__name__)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_WAIT_S = 0.5  # poll() answers within a second, with records or without


class Position:
    """How far a table was read: Confluent's ``TimestampIncrementingOffset``. ``time`` is in UTC."""

    __slots__ = ("number", "time")

    def __init__(self, number: int | None = None, time: datetime | None = None) -> None:
        self.number = number
        self.time = time

    def as_offset(self) -> dict[str, Any]:
        """Of the form ``{"incrementing": 7, "timestamp": ms, "timestamp_nanos": within the second}``."""
        offset: dict[str, Any] = {}
        if self.number is not None:
            offset["incrementing"] = self.number
        if self.time is not None:
            offset["timestamp"] = (self.time - _EPOCH) // timedelta(milliseconds=1)
            offset["timestamp_nanos"] = self.time.microsecond * 1000
        return offset

    @classmethod
    def of(cls, offset: Mapping[str, Any]) -> Position:
        """Of an offset as it was committed, here or by Confluent's connector."""
        moment = None
        if offset.get("timestamp") is not None:
            moment = _EPOCH + timedelta(milliseconds=int(offset["timestamp"]))
            if offset.get("timestamp_nanos") is not None:
                moment = moment.replace(microsecond=int(offset["timestamp_nanos"]) // 1000)
        number = offset.get("incrementing")
        return cls(None if number is None else int(number), moment)


class Reader:
    """Pages of one table or query."""

    def __init__(self, relation: Relation, position: Position, database: Database, values: Mapping[str, Any]) -> None:
        self.relation = relation
        self.position = position
        self._database = database
        self._mode: str = values["mode"]
        self._rows: int = values["batch.max.rows"]
        self._delay = timedelta(milliseconds=values["timestamp.delay.interval.ms"])
        self._bulk: Iterator[Sequence[Any]] | None = None
        self._bulk_connection: Connection | None = None
        self._waiting: deque[SourceRecord] = deque()
        extra = [] if relation.increment is None else [relation.increment.label("kconsole_number")]
        if relation.times:
            moment = relation.times[0] if len(relation.times) == 1 else sa.func.coalesce(*relation.times)
            self._time = sortable(moment) if database.dialect == "sqlite" else moment
            extra.append(self._time.label("kconsole_time"))
        self._selected = sa.select(*relation.columns, *extra)

    def page(self, stopping: threading.Event) -> tuple[list[SourceRecord], bool]:
        """The next rows, and whether there may be more at once.

        Raises:
            sqlalchemy.exc.DBAPIError: what the database said.
        """
        if self._waiting:
            return self._from_waiting()
        if self._mode == BULK:
            return self._bulk_page(stopping)
        with self._database.connect(stopping) as connection:
            if self._mode == INCREMENTING:
                return self._by_number(connection)
            if self._mode == TIMESTAMP:
                return self._by_time(connection)
            return self._by_both(connection)

    def close(self) -> None:
        """Give up a cursor."""
        self._bulk = None
        if self._bulk_connection is not None:
            self._bulk_connection.close()
            self._bulk_connection = None

    def _bulk_page(self, stopping: threading.Event) -> tuple[list[SourceRecord], bool]:
        if self._bulk is None:
            self._bulk_connection = self._database.connect(stopping)
            streaming = self._bulk_connection.execution_options(stream_results=True, max_row_buffer=self._rows)
            self._bulk = streaming.execute(self._selected).partitions(self._rows)
        assert self._bulk is not None
        rows = next(self._bulk, None)
        if rows is None:
            self.close()
            return [], False
        schema, structs = self.relation.values(rows)
        return [self._record(schema, each, {}) for each in structs], True

    def _by_number(self, connection: Connection) -> tuple[list[SourceRecord], bool]:
        column = self.relation.increment
        assert column is not None
        query = self._selected.order_by(column).limit(self._rows)
        if self.position.number is not None:
            query = query.where(column > self.position.number)
        rows = connection.execute(query).all()
        return self._told(rows), len(rows) == self._rows

    def _by_both(self, connection: Connection) -> tuple[list[SourceRecord], bool]:
        number, moment = self.relation.increment, self._time
        assert number is not None
        query = self._selected.where(moment < self._bound(self._end(connection))).order_by(moment, number)
        if self.position.time is not None:
            last = self._bound(self.position.time)
            later = moment > last
            if self.position.number is not None:
                later = sa.or_(later, sa.and_(moment == last, number > self.position.number))
            query = query.where(later)
        rows = connection.execute(query.limit(self._rows)).all()
        return self._told(rows), len(rows) == self._rows

    def _by_time(self, connection: Connection) -> tuple[list[SourceRecord], bool]:
        """Rows of one time are told together: the offset moves past them with the last."""
        moment = self._time
        query = self._selected.where(moment < self._bound(self._end(connection))).order_by(moment)
        if self.position.time is not None:
            query = query.where(moment > self._bound(self.position.time))
        rows = list(connection.execute(query.limit(self._rows)).all())
        full = len(rows) == self._rows
        if full:
            last = self._time_of(rows[-1])
            rows = [each for each in rows if self._time_of(each) != last]
            rows += connection.execute(self._selected.where(moment == self._bound(last))).all()
        before = self.position
        times = [self._time_of(each) for each in rows]
        schema, structs = self.relation.values([each[: len(self.relation.columns)] for each in rows])
        for index, struct in enumerate(structs):
            if index + 1 == len(rows) or times[index + 1] != times[index]:
                before = Position(None, times[index])
            self._waiting.append(self._record(schema, struct, before.as_offset()))
        self.position = before
        records, more = self._from_waiting()
        return records, more or full

    def _from_waiting(self) -> tuple[list[SourceRecord], bool]:
        count = min(self._rows, len(self._waiting))
        return [self._waiting.popleft() for _ in range(count)], bool(self._waiting)

    def _told(self, rows: Sequence[Sequence[Any]]) -> list[SourceRecord]:
        if not rows:
            return []
        width = len(self.relation.columns)
        schema, structs = self.relation.values([each[:width] for each in rows])
        records = []
        for row, struct in zip(rows, structs, strict=True):
            moment = self._time_of(row) if self.relation.times else None
            self.position = Position(self._number_of(row[width]), moment)
            records.append(self._record(schema, struct, self.position.as_offset()))
        return records

    def _number_of(self, value: Any) -> int:
        if isinstance(value, int) or (isinstance(value, Decimal) and value == int(value)):
            return int(value)
        named = self.relation.increment.name if self.relation.increment is not None else ""
        raise DataError(f"{self.relation.what}.{named} has {value!r}: a column that increments has whole numbers")

    def _time_of(self, row: Sequence[Any]) -> datetime:
        moment = row[-1]
        with suppress(ValueError):  # told below
            moment = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
        if not isinstance(moment, datetime):
            named = ", ".join(each.name for each in self.relation.times)
            raise DataError(f"{self.relation.what}.{named} has {moment!r}, which is no point in time")
        return self._database.to_utc(moment)

    def _end(self, connection: Connection) -> datetime:
        return self._database.now(connection) - self._delay

    def _bound(self, moment: datetime) -> Any:
        if self._database.dialect == "sqlite":
            return self._database.for_column(moment, None).isoformat(" ", "microseconds")
        kind = self.relation.times[0].type
        kind = kind if isinstance(kind, sa.DateTime) else sa.DateTime()
        return sa.literal(self._database.for_column(moment, kind), kind)

    def _record(self, schema: Any, value: Any, offset: dict[str, Any]) -> SourceRecord:
        relation = self.relation
        return SourceRecord(
            source_partition=relation.partition,
            source_offset=offset,
            topic=relation.topic,
            value_schema=schema,
            value=value,
        )


def sortable(moment: Any) -> Any:
    """A time of SQLite's as a text with microseconds, which sorts as the time does.

    SQLite keeps times as the texts that it was given, of any length and with a blank or a T before the clock
    (``CURRENT_TIMESTAMP`` has whole seconds), and compares them letter by letter. Those with a zone must be in UTC.
    """
    text: Any = sa.type_coerce(moment, sa.Text())
    text = sa.func.replace(sa.func.replace(sa.func.rtrim(text, "Z"), "+00:00", ""), "T", " ")
    rest = sa.func.substr("0000-00-00 00:00:00.000000", sa.func.length(text) + 1)
    return sa.func.substr(text.concat(rest), 1, 26, type_=sa.Text())


class SqlSourceTask(SourceTask):
    """Reads its tables in turn, each every ``poll.interval.ms``."""

    def start(self, props: Props) -> None:
        self._stopping = threading.Event()
        self._reading = threading.Lock()
        values = dict(CONFIG.parse(props))
        self._values = values
        self._interval_s = values["poll.interval.ms"] / 1000
        self._database = Database(values)
        what: list[TableId | None]
        named = json.loads(props.get(TABLES, "[]"))
        what = [None] if values["query"] else [TableId(schema, name) for schema, name in named]
        self._due: list[tuple[float, int]] = [(0.0, index) for index in range(len(what))]
        self._what = what
        self._readers: dict[int, Reader] = {}

    def stop(self) -> None:
        self._stopping.set()
        with self._reading:
            for each in self._readers.values():
                each.close()
            self._database.close()

    def poll(self) -> Sequence[SourceRecord] | None:
        with self._reading:
            return self._next()

    def _next(self) -> list[SourceRecord] | None:
        until = time.monotonic() + _WAIT_S
        while not self._stopping.is_set():
            now = time.monotonic()
            due = self._due[0][0] if self._due else now + _WAIT_S
            if due > now:
                self._stopping.wait(min(due, until) - now)
                if due > until:
                    return None
                continue
            _, index = heapq.heappop(self._due)
            records, more = self._page(index)
            heapq.heappush(self._due, (now if more else now + self._interval_s, index))
            if records:
                return records
            if time.monotonic() >= until:
                return None
        return None

    def _page(self, index: int) -> tuple[list[SourceRecord], bool]:
        try:
            reader = self._readers.get(index) or self._begin(index)
            return reader.page(self._stopping)
        except (exc.SQLAlchemyError, ConnectError) as error:
            heapq.heappush(self._due, (time.monotonic() + self._interval_s, index))
            cause = error.__cause__ if isinstance(error, ConnectError) else error
            if index in self._readers:
                self._readers[index].close()
            if self._stopping.is_set():
                return [], False
            if isinstance(cause, exc.SQLAlchemyError) and is_passing(cause):
                raise RetriableError(f"{self._named(index)} cannot be read now: {reason(cause)}") from error
            if isinstance(error, ConnectError):
                raise
            raise ConnectError(f"{self._named(index)} cannot be read: {reason(error)}") from error
        except (ValueError, TypeError, ArithmeticError) as error:
            # Of the driver: PostgreSQL has years that Python has not, and SQLite numbers in columns of times.
            raise ConnectError(f"{self._named(index)} has a value that cannot be read: {error}") from error

    def _named(self, index: int) -> str:
        table = self._what[index]
        return f"the table {table}" if table is not None else "the query"

    def _begin(self, index: int) -> Reader:
        table, values = self._what[index], self._values
        with self._database.connect(self._stopping) as connection:
            if table is None:
                relation = query_relation(self._database, values["query"], values, connection)
            else:
                relation = table_relation(self._database, table, values, connection)
            problems = relation.problems(values)
            if problems:
                raise problems[0]
            position = self._committed(relation, table) or self._initial(connection)
        reader = Reader(relation, position, self._database, values)
        self._readers[index] = reader
        return reader

    def _committed(self, relation: Relation, table: TableId | None) -> Position | None:
        stored = self.context.offset_storage_reader()
        offset = stored.offset(relation.partition)
        if offset is None and table is not None:
            # What old versions of Confluent's connector wrote.
            offset = stored.offset({"table": table.name})
        return Position.of(offset) if offset else None

    def _initial(self, connection: Connection) -> Position:
        initial = self._values["timestamp.initial"]
        if initial is None or self._values["mode"] not in (TIMESTAMP, BOTH):
            return Position()
        if initial == -1:
            return Position(None, self._database.now(connection))
        return Position(None, _EPOCH + timedelta(milliseconds=initial))

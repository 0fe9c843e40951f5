"""The stream of a change source: transactions in the order of their commits, as records."""

from __future__ import annotations

import logging
import select
import time
from collections.abc import Callable, Mapping
from typing import Any

from psycopg2.extensions import connection as Connection

from engine.connect.connectors import debezium_envelope as debezium
from engine.connect.connectors import pgoutput
from engine.connect.connectors.debezium_envelope import Origin
from engine.connect.connectors.pgoutput import lsn_text
from engine.connect.connectors.postgres_catalog import Catalog
from engine.connect.connectors.postgres_cdc import TableFilter
from engine.connect.connectors.postgres_position import Position
from engine.connect.connectors.postgres_rows import TableRows, UnexpectedNull, table_of
from engine.connect.errors import DataError
from engine.connect.records import SourceRecord

_log = logging.getLogger(__name__)
_LOOK_AGAIN_S = 0.01


class Told:
    """Records of one change, or of the end of a transaction; ``flushed``: up to where all is told with the last."""

    __slots__ = ("flushed", "records")

    def __init__(self, records: list[SourceRecord], flushed: int | None = None) -> None:
        self.records = records
        self.flushed = flushed


class ChangeStream:
    """Reads a slot from a position on.

    The last change of a transaction is known only when its commit comes, and carries that the whole is told: so each
    change is held back until the next message.
    """

    def __init__(
        self,
        connection: Connection,
        catalog: Catalog,
        position: Position,
        values: Mapping[str, Any],
        partition: Mapping[str, Any],
        safe_lsn: int,
        all_arrived: Callable[[], bool],
    ) -> None:
        """Begins to stream.

        Args:
            position: What was told; it is not told again.
            safe_lsn: Up to where Kafka has everything; 0: up to where the slot is. Not beyond, or psycopg2 confirms
                by itself, with the first keep-alive, what is still on its way to Kafka.
            all_arrived: Whether Kafka has everything that was told.

        Raises:
            psycopg2.Error: another session reads the slot, or there is none.
        """
        self.position = position
        self._resumed = position
        self._all_arrived = all_arrived
        self._confirmed = 0
        self._began_early = False
        self._catalog = catalog
        self._filter = TableFilter(values)
        self._values = values
        self._partition = partition
        self._skipped = set(values["skipped.operations"])
        self._tombstones: bool = values["tombstones.on.delete"]
        self._tables: dict[int, TableRows | None] = {}
        self._partitions: set[int] = set()
        self._begin: pgoutput.Begin | None = None
        self._passing = False
        self._at = (0, 0)
        self._held: tuple[list[SourceRecord], Position] | None = None
        self._connection = connection
        cursor: Any = connection.cursor()
        self._cursor = cursor
        name = values["publication.name"].replace('"', '""')
        cursor.start_replication(
            slot_name=values["slot.name"],
            start_lsn=safe_lsn,
            decode=False,
            status_interval=max(1.0, values["status.update.interval.ms"] / 1000),
            options={"proto_version": "1", "publication_names": f'"{name}"'},
        )
        _log.info("the slot %s is read from %s on", values["slot.name"], lsn_text(safe_lsn))

    @property
    def idle_lsn(self) -> int | None:
        """Between two transactions: up to where PostgreSQL has looked through its log for us."""
        return None if self._begin is not None else int(self._cursor.wal_end)

    def confirm(self, lsn: int) -> None:
        """Tell PostgreSQL that everything before is safe."""
        self._confirmed = lsn
        self._cursor.send_feedback(write_lsn=lsn, flush_lsn=lsn, apply_lsn=lsn, force=True)

    def read(self, most: int, wait_s: float) -> list[Told]:
        """What came, of about ``most`` records; waits ``wait_s`` for the first.

        Raises:
            psycopg2.Error: the connection is lost.
            DataError: a message or a value cannot be read.
        """
        found: list[Told] = []
        count, deadline = 0, time.monotonic() + wait_s
        while count < most:
            if self._began_early:
                # To psycopg2 a message from before what was confirmed is one that was processed: a keep-alive in the
                # middle of such a transaction has it confirm all that is before the commit, wherever that is.
                if found or not self._all_arrived():
                    time.sleep(_LOOK_AGAIN_S)
                    break
                self._began_early = False
            message = self._cursor.read_message()
            if message is None:
                left = deadline - time.monotonic()
                if (found and self._held is None and self._begin is None) or left <= 0:
                    break
                select.select([self._connection], [], [], left)
                continue
            told = self._on(pgoutput.decode(message.payload), message.data_start)
            if told is not None:
                found.append(told)
                count += len(told.records)
        return found

    def _on(self, message: pgoutput.Message, lsn: int) -> Told | None:
        match message:
            case pgoutput.Begin():
                self._begin, self._at = message, (0, 0)
                self._began_early = lsn <= self._confirmed
                # A commit may begin where the one before it ends.
                self._passing = message.final_lsn < self._resumed.lsn_commit
            case pgoutput.Commit():
                return self._on_commit(message)
            case pgoutput.Relation():
                self._catalog.forget_types()
                self._tables[message.oid] = self._rows(message)
            case pgoutput.Insert() | pgoutput.Update() | pgoutput.Delete() | pgoutput.Truncate():
                return self._on_change(message, lsn)
        return None

    def _rows(self, relation: pgoutput.Relation) -> TableRows | None:
        """None of a table that is not chosen."""
        whole = self._catalog.partitioned_by(relation.oid)
        if whole is not None and self._filter.has_table(*whole):
            # The publication has not publish_via_partition_root; the snapshot has the rows under the whole's name.
            self._partitions.add(relation.oid)
            relation = relation._replace(schema=whole[0], name=whole[1])
        elif not self._filter.has_table(relation.schema, relation.name):
            return None
        return TableRows(table_of(relation, self._catalog), self._catalog, self._filter, self._values)

    def _on_change(
        self, message: pgoutput.Insert | pgoutput.Update | pgoutput.Delete | pgoutput.Truncate, lsn: int
    ) -> Told | None:
        begin = self._begin
        if begin is None:
            raise DataError(f"pgoutput sent a change outside of a transaction, at {lsn_text(lsn)}")
        index = self._at[1] + 1 if lsn == self._at[0] else 0
        self._at = (lsn, index)
        if self._passing or self._resumed.has(begin.xid, lsn, index):
            return None
        kind = type(message).__name__.upper()
        position = Position(self.position.lsn_commit, lsn, begin.xid, index, begin.commit_us, kind)
        records = self._records(message, position)
        if not records:
            return None
        return self._hold(records, position)

    def _hold(self, records: list[SourceRecord], position: Position) -> Told | None:
        released = self._release(None)
        # Of several records of one change only the last says that it is told.
        for each in records[:-1]:
            each.source_offset = self.position.offset()
        self._held = (records, position)
        return released

    def _release(self, end_lsn: int | None) -> Told | None:
        if self._held is None:
            return None
        (records, position), self._held = self._held, None
        if end_lsn is not None:
            position = position.committed(end_lsn)
        records[-1].source_offset = position.offset()
        self.position = position
        return Told(records, end_lsn)

    def _on_commit(self, message: pgoutput.Commit) -> Told | None:
        told = self._release(message.end_lsn)
        self._begin = None
        if not self._passing:
            self.position = self.position.committed(message.end_lsn)
        return told

    def _records(
        self, message: pgoutput.Insert | pgoutput.Update | pgoutput.Delete | pgoutput.Truncate, position: Position
    ) -> list[SourceRecord]:
        assert self._begin is not None
        origin = Origin(
            self._begin.commit_us // 1000, "false", self._begin.xid, position.lsn, position.lsn_commit or None
        )
        if isinstance(message, pgoutput.Truncate):
            if debezium.TRUNCATE in self._skipped:
                return []
            wholes = [each for each in message.relations if each not in self._partitions]
            truncated = [rows for oid in wholes if (rows := self._known(oid)) is not None]
            return [self._change(each, debezium.TRUNCATE, None, None, origin) for each in truncated]
        while (rows := self._known(message.relation)) is not None:
            try:
                return self._of_row(rows, message, origin)
            except UnexpectedNull as found:
                self._tables[message.relation] = rows.with_null_in(found.column)
        return []

    def _of_row(
        self, rows: TableRows, message: pgoutput.Insert | pgoutput.Update | pgoutput.Delete, origin: Origin
    ) -> list[SourceRecord]:
        if isinstance(message, pgoutput.Insert):
            if debezium.CREATE in self._skipped:
                return []
            return [self._change(rows, debezium.CREATE, None, rows.row(message.new), origin)]
        if isinstance(message, pgoutput.Delete):
            return self._deletion(rows, rows.row(message.old, partial=message.old_is_key), origin)
        return self._update(rows, message, origin)

    def _update(self, rows: TableRows, message: pgoutput.Update, origin: Origin) -> list[SourceRecord]:
        whole_old = None if message.old is None or message.old_is_key else message.old
        after = rows.row(message.new, whole_old)
        before = None if message.old is None else rows.row(message.old, partial=message.old_is_key)
        if before is not None and rows.envelope.key(before) != rows.envelope.key(after):
            # Another key is another row to who reads the topic.
            made = self._deletion(rows, before, origin)
            if debezium.CREATE not in self._skipped:
                made.append(self._change(rows, debezium.CREATE, None, after, origin))
            return made
        if debezium.UPDATE in self._skipped:
            return []
        return [self._change(rows, debezium.UPDATE, None if message.old_is_key else before, after, origin)]

    def _deletion(self, rows: TableRows, before: list[Any], origin: Origin) -> list[SourceRecord]:
        if debezium.DELETE in self._skipped:
            return []
        made = [self._change(rows, debezium.DELETE, before, None, origin)]
        if self._tombstones and rows.envelope.key_schema is not None:
            made.append(rows.envelope.tombstone(before, self._partition, {}))
        return made

    def _change(
        self, rows: TableRows, op: str, before: list[Any] | None, after: list[Any] | None, origin: Origin
    ) -> SourceRecord:
        now_ms = int(time.time() * 1000)
        return rows.envelope.change(op, before, after, origin, now_ms, self._partition, {})

    def _known(self, oid: int) -> TableRows | None:
        if oid not in self._tables:
            raise DataError(f"pgoutput sent a change of a table {oid} that it did not describe")
        return self._tables[oid]

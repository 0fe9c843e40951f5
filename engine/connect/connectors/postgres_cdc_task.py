"""The task of a PostgreSQL change source: snapshot, then stream; PostgreSQL hears of what Kafka has."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import islice

import psycopg2
from psycopg2 import errors
from psycopg2.extensions import connection as Connection

from engine.connect.connector import Props, SourceTask
from engine.connect.connectors.debezium_envelope import heartbeat
from engine.connect.connectors.postgres_catalog import Catalog, connect
from engine.connect.connectors.postgres_cdc import CONFIG, INITIAL, INITIAL_ONLY, TableFilter
from engine.connect.connectors.postgres_position import Acknowledged, Position
from engine.connect.connectors.postgres_snapshot import Snapshot, free_slot
from engine.connect.connectors.postgres_stream import ChangeStream, Told
from engine.connect.errors import ConnectError, RetriableError
from engine.connect.records import SourceRecord

_log = logging.getLogger(__name__)
_WAIT_S = 0.5
_LAG_REPORT_S = 60.0


class PostgresTask(SourceTask):
    """``slot_lag_bytes`` is how much of its log PostgreSQL keeps for the slot, as of the last minute."""

    slot_lag_bytes: int | None = None

    def start(self, props: Props) -> None:
        self._values = values = CONFIG.parse(props)
        self._partition = {"server": values["topic.prefix"]}
        self._stopping = threading.Event()
        self._working = threading.Lock()
        offset = self.context.offset_storage_reader().offset(self._partition)
        mode = values["snapshot.mode"].lower()
        unfinished = offset is None or (offset.get("snapshot") and not offset.get("last_snapshot_record"))
        self._wants_snapshot = mode in (INITIAL, INITIAL_ONLY) and bool(unfinished)
        self._snapshot_only = mode == INITIAL_ONLY
        self._position = None if offset is None or self._wants_snapshot else Position.of(offset)
        self._boundaries = self.context.transaction_context()
        self._acknowledged = Acknowledged()
        self._connections: list[Connection] = []
        self._catalog: Catalog | None = None
        self._snapshot: Snapshot | None = None
        self._snapshot_records: Iterator[tuple[SourceRecord, bool]] | None = None
        self._stream: ChangeStream | None = None
        self._confirmed = 0
        self._snapshot_told = False
        self._cut_off = False
        self._status_s = values["status.update.interval.ms"] / 1000
        self._beat_s = values["heartbeat.interval.ms"] / 1000
        now = time.monotonic()
        self._next_status, self._next_lag, self._next_beat = now, now, now + self._beat_s

    def stop(self) -> None:
        self._stopping.set()
        with self._working:
            self._disconnect()
            if self._values["slot.drop.on.stop"]:
                self._drop_slot()

    def poll(self) -> Sequence[SourceRecord] | None:
        with self._working:
            if self._stopping.is_set():
                return None
            try:
                return self._next()
            except psycopg2.Error as error:
                # A server that stops or starts, or a connection that is lost.
                lost = any(each.closed for each in self._connections)
                self._disconnect()
                if not lost and not isinstance(error, (psycopg2.OperationalError, psycopg2.InterfaceError)):
                    raise ConnectError(f"PostgreSQL refused: {str(error).strip()}") from error
                self._stopping.wait(self._values["retriable.restart.connector.wait.ms"] / 1000)
                raise RetriableError(f"PostgreSQL cannot be read now: {str(error).strip()}") from error
            except RetriableError:
                self._disconnect()
                self._stopping.wait(_WAIT_S)
                raise

    def commit_record(self, record: SourceRecord, offset: int | None) -> None:
        self._acknowledged.arrived(record)

    def commit(self) -> None:
        with self._working, suppress(psycopg2.Error):  # a lost connection is found by the next poll
            self._confirm()

    def _next(self) -> list[SourceRecord] | None:
        if self._wants_snapshot:
            records = self._from_snapshot()
            if records:
                return records
        if self._snapshot_only:
            self._stopping.wait(_WAIT_S)
            return None
        if self._stream is None:
            self._stream = self._begin_stream()
        # Before anything is read: what fails here must not take records with it.
        self._every_so_often()
        beat = self._heartbeat()
        told = self._stream.read(self._values["max.batch.size"], _WAIT_S)
        self._position = self._stream.position
        if beat is not None:
            told.insert(0, beat)
        self._count(told)
        return [record for each in told for record in each.records] or None

    def _count(self, told: list[Told]) -> None:
        whole: SourceRecord | None = None
        for each in told:
            for record in each.records[:-1]:
                self._acknowledged.sent(record, None)
            self._acknowledged.sent(each.records[-1], each.flushed)
            if each.flushed is not None:
                whole = each.records[-1]
        if whole is not None and self._boundaries is not None:
            # Several of PostgreSQL's transactions may be one of Kafka's; none is in two.
            self._boundaries.commit_transaction(whole)

    def _from_snapshot(self) -> list[SourceRecord]:
        if self._snapshot_records is None:
            self._snapshot = Snapshot(self._values, self._asking())
            self._snapshot_records = self._snapshot.records(self._partition)
        batch = list(islice(self._snapshot_records, self._values["max.batch.size"]))
        if batch and self._cut_off and self._boundaries is not None:
            # What the snapshot before told is in an open transaction of Kafka's: it ends there, with this record again.
            again = replace(batch[0][0])
            self._boundaries.abort_transaction(again)
            batch.insert(0, (again, False))
        self._cut_off = False
        # Nobody counts their acknowledgements: unless the last one's offset is committed, all of them come again.
        self._snapshot_told = self._snapshot_told or bool(batch)
        for record, last in batch:
            if last and self._boundaries is not None:
                self._boundaries.commit_transaction(record)
        if not batch or batch[-1][1]:
            assert self._snapshot is not None
            self._position = Position(self._snapshot.lsn, self._snapshot.lsn)
            self._snapshot.close()
            self._snapshot = self._snapshot_records = None
            self._wants_snapshot = False
            _log.info("the snapshot of %s is complete", self._values["topic.prefix"])
        return [record for record, _ in batch]

    def _begin_stream(self) -> ChangeStream:
        values, catalog = self._values, self._asking()
        name = values["slot.name"]
        tables = catalog.tables(TableFilter(values))
        catalog.make_publication(values["publication.name"], values["publication.autocreate.mode"].lower(), tables)
        slot = catalog.slot(name)
        free_slot(slot, values)
        if slot is not None and slot.is_lost:
            raise ConnectError(
                f"the slot {name} is lost: PostgreSQL has removed log that was not read yet (max_slot_wal_keep_size). "
                "Stop the connector and delete its offsets, and a snapshot is taken again"
            )
        connection = connect(values, replication=True)
        self._connections.append(connection)
        if slot is None:
            if self._position is not None and not values["slot.drop.on.stop"]:
                raise ConnectError(
                    f"the slot {name} is gone, and with it the changes since {self._position.offset()}: stop the "
                    "connector and delete its offsets, and a snapshot is taken again"
                )
            with connection.cursor() as cursor:
                cursor.create_replication_slot(name, output_plugin="pgoutput")  # type: ignore[attr-defined]
        position = self._position or Position(slot.confirmed_flush if slot is not None else 0, 0)
        safe = position.lsn_commit if self._all_arrived() else self._acknowledged.safe_lsn()
        try:
            return ChangeStream(connection, catalog, position, values, self._partition, safe, self._all_arrived)
        except errors.ObjectInUse as error:
            raise RetriableError(f"the slot {name} is in use: {str(error).strip()}") from error

    def _all_arrived(self) -> bool:
        self._acknowledged.safe_lsn()
        return self._acknowledged.idle

    def _asking(self) -> Catalog:
        if self._catalog is None:
            connection = connect(self._values)
            self._connections.append(connection)
            self._catalog = Catalog(connection)
        return self._catalog

    def _every_so_often(self) -> None:
        now = time.monotonic()
        if now >= self._next_status:
            self._next_status = now + self._status_s
            self._confirm()
        if now >= self._next_lag:
            self._next_lag = now + _LAG_REPORT_S
            self.slot_lag_bytes = self._asking().slot_lag_bytes(self._values["slot.name"])
            _log.info(
                "PostgreSQL keeps %s bytes of its log for the slot %s", self.slot_lag_bytes, self._values["slot.name"]
            )

    def _heartbeat(self) -> Told | None:
        """A record for the heartbeat topic, if its time has come and no transaction is half told."""
        now = time.monotonic()
        between = self._stream is not None and self._stream.idle_lsn is not None
        if not self._beat_s or now < self._next_beat or self._position is None or not between:
            return None
        self._next_beat = now + self._beat_s
        server = self._values["topic.prefix"]
        topic, offset = f"{self._values['topic.heartbeat.prefix']}.{server}", self._position.offset()
        beat = heartbeat(topic, server, int(time.time() * 1000), self._partition, offset)
        return Told([beat], self._position.lsn_commit)

    def _confirm(self) -> None:
        if self._stream is None:
            return
        safe = self._acknowledged.safe_lsn()
        idle = self._stream.idle_lsn
        if idle is not None and self._acknowledged.idle:
            # What other databases and tables write is nothing to us, and PostgreSQL need not keep it.
            safe = max(safe, idle)
        if safe > self._confirmed:
            self._stream.confirm(safe)
            self._confirmed = safe

    def _disconnect(self) -> None:
        if self._snapshot is not None:
            # It begins again: what it told comes once more.
            self._snapshot.close()
            self._snapshot = self._snapshot_records = None
            self._cut_off = self._snapshot_told or self._cut_off
        self._stream, self._catalog = None, None
        for each in self._connections:
            with suppress(psycopg2.Error):
                each.close()
        self._connections.clear()

    def _drop_slot(self) -> None:
        with suppress(psycopg2.Error):
            connection = connect(self._values)
            try:
                catalog = Catalog(connection)
                if catalog.slot(self._values["slot.name"]) is not None:
                    catalog.drop_slot(self._values["slot.name"])
            finally:
                connection.close()

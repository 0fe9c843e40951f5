"""Tasks that read the changes of a PostgreSQL, and what a worker would keep of them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from engine.connect.connector import TransactionContext
from engine.connect.connectors.postgres_cdc_task import PostgresTask
from engine.connect.errors import RetriableError
from engine.connect.records import SourceRecord
from tests.integration.postgres_server import USER, PostgresServer
from tests.unit.connect.task_contexts import Offsets, SourceContext


class Stopwatch(TransactionContext):
    """Where a task says that transactions end."""

    def __init__(self) -> None:
        self.ended: list[SourceRecord | None] = []
        self.aborted: list[SourceRecord | None] = []

    def commit_transaction(self, record: SourceRecord | None = None) -> None:
        self.ended.append(record)

    def abort_transaction(self, record: SourceRecord | None = None) -> None:
        self.aborted.append(record)


class Context(SourceContext):
    boundaries: Stopwatch | None = None

    def transaction_context(self) -> Stopwatch | None:
        return self.boundaries


class Reader:
    """Tasks over one database, one at a time, and the offsets that a worker would have."""

    def __init__(self, server: PostgresServer, database: str) -> None:
        self.server = server
        self.database = database
        self.offsets = Offsets()
        self.task: PostgresTask | None = None
        self.boundaries: Stopwatch | None = None

    def props(self, **more: str) -> dict[str, str]:
        own = {name.replace("__", "."): value for name, value in more.items()}
        return {
            "topic.prefix": "srv",
            "database.hostname": "127.0.0.1",
            "database.port": str(self.server.port),
            "database.user": USER,
            "database.dbname": self.database,
            "slot.name": f"slot_{self.database}",
            "retriable.restart.connector.wait.ms": "100",
            **own,
        }

    def start(self, **more: str) -> PostgresTask:
        self.stop()
        self.task = PostgresTask()
        context = Context(self.props(**more), self.offsets)
        context.boundaries = self.boundaries
        self.task.initialize(context)
        self.task.start(self.props(**more))
        return self.task

    def stop(self) -> None:
        if self.task is not None:
            self.task.stop()
            self.task = None

    def read(self, count: int, timeout_s: float = 15) -> list[SourceRecord]:
        """So many records, and whatever comes with the last."""
        assert self.task is not None
        found: list[SourceRecord] = []
        deadline = time.monotonic() + timeout_s
        while len(found) < count:
            assert time.monotonic() < deadline, f"{len(found)} of {count} records"
            try:
                found += self.task.poll() or ()
            except RetriableError:
                continue
        return found

    def acknowledge(self, records: list[SourceRecord]) -> None:
        """Kafka has them, and their offsets are committed."""
        assert self.task is not None
        for each in records:
            self.offsets.put(each.source_partition, json.loads(json.dumps(each.source_offset)))
            self.task.commit_record(each, 0)
        self.task.commit()

    def run(self, *statements: str) -> list[tuple[Any, ...]]:
        return self.server.run(*statements, database=self.database)

    def confirmed(self) -> int:
        query = f"SELECT confirmed_flush_lsn - '0/0' FROM pg_replication_slots WHERE slot_name = 'slot_{self.database}'"
        ((lsn,),) = self.run(query)
        return int(lsn)


def ops(records: list[SourceRecord]) -> list[str]:
    return ["-" if each.value is None else each.value["op"] for each in records]


def after(records: list[SourceRecord], field: str = "id") -> list[Any]:
    return [each.value["after"][field] for each in records]


def wait_until(holds: Callable[[], bool], timeout_s: float = 10) -> None:
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)

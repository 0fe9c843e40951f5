"""Records as Debezium makes them of a table's changes: keys, envelopes, tombstones.

A change's value is ``{before, after, source, op, ts_ms}``; ``op`` is c (insert), u, d, r (by a snapshot), t (truncate).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from engine.connect import data
from engine.connect.data import Schema, Struct
from engine.connect.records import SourceRecord

CREATE: Final = "c"
UPDATE: Final = "u"
DELETE: Final = "d"
READ: Final = "r"
TRUNCATE: Final = "t"

_SNAPSHOT = Schema(
    data.STRING.type,
    True,
    default="false",
    name="io.debezium.data.Enum",
    version=1,
    parameters=(("allowed", "true,first,first_in_data_collection,last_in_data_collection,last,false,incremental"),),
)
SOURCE_SCHEMA = data.struct(
    {
        "version": data.STRING,
        "connector": data.STRING,
        "name": data.STRING,
        "ts_ms": data.INT64,
        "snapshot": _SNAPSHOT,
        "db": data.STRING,
        "sequence": data.STRING.as_optional(),
        "schema": data.STRING,
        "table": data.STRING,
        "txId": data.INT64.as_optional(),
        "lsn": data.INT64.as_optional(),
        "xmin": data.INT64.as_optional(),
    },
    name="io.debezium.connector.postgresql.Source",
)


class Origin(NamedTuple):
    """Where a change comes from. Times in ms since 1970, LSNs as numbers; ``last_commit`` is that before this one."""

    ts_ms: int
    snapshot: str
    txid: int | None
    lsn: int
    last_commit: int | None


class TableEnvelope:
    """Schemas of one table's records, and records with them. ``key`` is None for a table without one."""

    def __init__(
        self,
        server: str,
        database: str,
        schema: str,
        table: str,
        row: Mapping[str, Schema],
        key: tuple[str, ...],
        version: str,
    ) -> None:
        # Tables' names may have letters that topics' have not.
        self.topic = re.sub(r"[^A-Za-z0-9._-]", "_", f"{server}.{schema}.{table}")
        self.table = f"{schema}.{table}"
        self.row_schema = data.struct(row, name=f"{self.topic}.Value")
        names = list(row)
        self.key_indexes = tuple(names.index(each) for each in key)
        self.key_schema = data.struct({each: row[each] for each in key}, name=f"{self.topic}.Key") if key else None
        optional = self.row_schema.as_optional()
        self.value_schema = data.struct(
            {
                "before": optional,
                "after": optional,
                "source": SOURCE_SCHEMA,
                "op": data.STRING,
                "ts_ms": data.INT64.as_optional(),
            },
            name=f"{self.topic}.Envelope",
            version=1,
        )
        self._row_schema = optional
        self._source = (version, "postgresql", server)
        self._where = (database, schema, table)

    def key(self, row: list[Any]) -> Struct | None:
        """The key of a row."""
        if self.key_schema is None:
            return None
        return Struct.of(self.key_schema, [row[each] for each in self.key_indexes])

    def change(
        self,
        op: str,
        before: list[Any] | None,
        after: list[Any] | None,
        origin: Origin,
        now_ms: int,
        partition: Mapping[str, Any],
        offset: Mapping[str, Any],
    ) -> SourceRecord:
        """A change's record; rows are lists in the columns' order."""
        row = after if after is not None else before
        sequence = json.dumps([None if origin.last_commit is None else str(origin.last_commit), str(origin.lsn)])
        database, schema, table = self._where
        source = Struct.of(
            SOURCE_SCHEMA,
            [
                *self._source,
                origin.ts_ms,
                origin.snapshot,
                database,
                sequence,
                schema,
                table,
                origin.txid,
                origin.lsn,
                None,
            ],
        )
        value = [
            None if before is None else Struct.of(self._row_schema, before),
            None if after is None else Struct.of(self._row_schema, after),
            source,
            op,
            now_ms,
        ]
        return SourceRecord(
            topic=self.topic,
            key_schema=self.key_schema if row is not None else None,
            key=None if row is None else self.key(row),
            value_schema=self.value_schema,
            value=Struct.of(self.value_schema, value),
            source_partition=partition,
            source_offset=offset,
        )

    def tombstone(self, row: list[Any], partition: Mapping[str, Any], offset: Mapping[str, Any]) -> SourceRecord:
        """A record of a row's key without value: compaction forgets the row."""
        return SourceRecord(
            topic=self.topic,
            key_schema=self.key_schema,
            key=self.key(row),
            source_partition=partition,
            source_offset=offset,
        )


HEARTBEAT_KEY = data.struct({"serverName": data.STRING}, name="io.debezium.connector.common.ServerNameKey", version=1)
HEARTBEAT_VALUE = data.struct({"ts_ms": data.INT64}, name="io.debezium.connector.common.Heartbeat", version=1)


def heartbeat(
    topic: str, server: str, now_ms: int, partition: Mapping[str, Any], offset: Mapping[str, Any]
) -> SourceRecord:
    """A record that says only that the connector lives, and moves its offset on."""
    return SourceRecord(
        topic=topic,
        partition=0,
        key_schema=HEARTBEAT_KEY,
        key=Struct.of(HEARTBEAT_KEY, [server]),
        value_schema=HEARTBEAT_VALUE,
        value=Struct.of(HEARTBEAT_VALUE, [now_ms]),
        source_partition=partition,
        source_offset=offset,
    )

"""PySpark reads the Parquet files of Connect's object store sink: rows, types, and directories as columns."""

from __future__ import annotations

import datetime
from decimal import Decimal
from pathlib import Path

from engine.connect import data
from engine.connect.connector import TopicPartition
from engine.connect.connectors.object_store_task import ObjectStoreSinkTask
from engine.connect.data import Struct, struct
from engine.connect.records import SinkRecord
from tests.spark.counting import IS_THERE, counted_by_spark
from tests.unit.connect.test_object_store_sink import Context

ROWS = 50_000
NOON = datetime.datetime(2026, 1, 2, 12, tzinfo=datetime.UTC)
ORDER = struct(
    {
        "id": data.INT64, "price": data.decimal(2), "at": data.TIMESTAMP, "tags": data.array(data.STRING),
        "note": data.STRING.as_optional(),
    }
)  # fmt: skip


def test_spark_counts_the_sinks_files(tmp_path: Path) -> None:
    assert IS_THERE, "PySpark is not there: `make spark` fetches it"
    props = {
        "store.url": str(tmp_path),
        "flush.size": "7000",
        "partitioner.class": "hourly",
        "rotate.interval.ms": "3600000",
    }
    task = ObjectStoreSinkTask()
    task.initialize(Context(props, None))
    task.start(props)
    task.open([TopicPartition("orders", 0)])
    records = []
    for number in range(ROWS):
        at = NOON + datetime.timedelta(milliseconds=number * 144)  # two hours
        value = {
            "id": number,
            "price": Decimal(number).scaleb(-2),
            "at": at,
            "tags": ["a"] * (number % 3),
            "note": None,
        }
        records.append(
            SinkRecord(
                topic="orders", partition=0, offset=number, value_schema=ORDER, value=Struct(ORDER, value),
                timestamp=int(at.timestamp() * 1000),
            )
        )  # fmt: skip
    task.put(records)
    written = task.pre_commit({})[TopicPartition("orders", 0)]
    assert written > ROWS * 0.8
    told = counted_by_spark(
        tmp_path / "topics" / "orders",
        "count(*) AS rows",
        "count(DISTINCT id) AS ids",
        "sum(price) AS price",
        "min(at) AS first",
        "sum(size(tags)) AS tags",
        "count_if(hour = 12) AS noon",
        "count(note) AS notes",
    )
    assert told == {
        "rows": str(written),
        "ids": str(written),
        "price": str(Decimal(sum(range(written))).scaleb(-2)),
        "first": "2026-01-02 12:00:00",
        "tags": str(sum(each % 3 for each in range(written))),
        "noon": "25000",
        "notes": "0",
        "columns": ["id", "price", "at", "tags", "note", "year", "month", "day", "hour"],
    }

"""The object store sink: names and directories of files, rotation, crashes at any step of a commit, formats."""

from __future__ import annotations

import csv
import datetime
import gzip
import json
import os
import resource
from collections import Counter
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import fastavro
import fsspec
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from engine.connect import data
from engine.connect.connector import TopicPartition
from engine.connect.connectors.object_store import ObjectStoreSinkConnector
from engine.connect.connectors.object_store_task import ObjectStoreSinkTask
from engine.connect.connectors.storage_files import Store
from engine.connect.connectors.storage_partitioners import joda_format
from engine.connect.connectors.storage_schemas import projected
from engine.connect.data import Schema, Struct, struct
from engine.connect.errors import ConfigError, ConnectError, DataError, RetriableError, SchemaProjectorError
from engine.connect.records import SinkRecord
from tests.unit.connect.task_contexts import Reporter, SinkContext

ORDER = struct({"id": data.INT64, "city": data.STRING.as_optional()})
NOON_MS = 1767355200000
TP = TopicPartition("orders", 0)
HOUR_MS = 3_600_000


class Context(SinkContext):
    def __init__(self, props: Mapping[str, str], reporter: Reporter | None) -> None:
        super().__init__(props, reporter)
        self.offsets: dict[TopicPartition, int] = {}

    def offset(self, offsets: Mapping[TopicPartition, int]) -> None:
        self.offsets.update(offsets)


def record(offset: int, schema: Schema | None = ORDER, value: Any = None, time_ms: int | None = NOON_MS) -> SinkRecord:
    if value is None:
        value = {"id": offset, "city": ("Rome", "Oslo", None)[offset % 3]}
    return SinkRecord(
        topic="orders",
        partition=0,
        offset=offset,
        value=Struct(schema, value) if schema is not None and schema.fields else value,
        value_schema=schema,
        timestamp=time_ms,
    )


class Sink:
    """Tasks over one directory, each as after a restart."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.reporter = Reporter()

    def props(self, **more: str) -> dict[str, str]:
        own = {name.replace("__", "."): value for name, value in more.items()}
        return {"store.url": str(self.root), "flush.size": "4", "filename.offset.zero.pad.width": "3", **own}

    def task(self, reporter: bool = False, **more: str) -> ObjectStoreSinkTask:
        task = ObjectStoreSinkTask()
        self.context = Context(self.props(**more), self.reporter if reporter else None)
        task.initialize(self.context)
        task.start(self.props(**more))
        task.open([TP])
        return task

    def files(self) -> list[str]:
        """All files that a reader sees."""
        found = (each.relative_to(self.root / "topics").as_posix() for each in self.root.rglob("*") if each.is_file())
        return sorted(each for each in found if not each.startswith("_"))

    def ids(self) -> list[int]:
        table = ds.dataset(str(self.root / "topics" / "orders"), format="parquet").to_table()
        return sorted(table.column("id").to_pylist())

    def leftovers(self) -> list[Path]:
        return list((self.root / "topics" / "_temporary").iterdir())


@pytest.fixture
def sink(tmp_path: Path) -> Sink:
    return Sink(tmp_path / "store")


def records(first: int, last: int) -> list[SinkRecord]:
    return [record(each) for each in range(first, last + 1)]


def test_files_are_named_by_the_offset_they_begin_at_and_appear_when_they_are_full(sink: Sink) -> None:
    task = sink.task()
    assert sink.context.offsets == {}
    task.put(records(0, 9))
    assert sink.files() == ["orders/partition=0/orders+0+000.parquet", "orders/partition=0/orders+0+004.parquet"]
    assert task.pre_commit({TP: 10}) == {TP: 8}
    assert sink.ids() == list(range(8))
    task.stop()
    assert sink.leftovers() == []
    sink.task()
    assert sink.context.offsets == {TP: 8}


def test_two_connectors_do_not_write_one_topic_into_one_directory(sink: Sink) -> None:
    """One would begin where the other came to, and remove the files that the other has just put."""
    sink.task(name="lake").put(records(0, 5))
    with pytest.raises(ConnectError, match=r"orders/0.json is of the connector lake: .* another topics.dir"):
        sink.task(name="copy", format__class="json")
    sink.task(name="copy", topics__dir="copies").put(records(0, 5))
    again = sink.task(name="lake")
    again.put(records(sink.context.offsets[TP], 9))
    assert sink.ids() == list(range(8))


def test_what_was_put_already_is_left_out(sink: Sink) -> None:
    task = sink.task()
    task.put(records(0, 5))
    task.put(records(3, 8))
    assert sink.ids() == list(range(8))


def test_a_topic_that_was_made_anew_is_told(sink: Sink) -> None:
    """Its first records would be left out, or be put over the files of the old one."""
    sink.task().put(records(0, 7))
    task = sink.task()
    with pytest.raises(ConnectError, match=r"orders-0 begins at 0, .* up to 8: was the topic made anew\?"):
        task.put(records(0, 9))
    later = sink.task()  # what brokers have deleted in between is no reason
    later.put(records(100, 103))
    assert sink.ids() == [*range(8), *range(100, 104)]


@pytest.mark.parametrize("partitioner", ["default", "field"])
@pytest.mark.parametrize("crash", range(12))
def test_a_crash_at_any_step_and_other_configs_afterwards_leave_each_record_once(
    sink: Sink, monkeypatch: pytest.MonkeyPatch, crash: int, partitioner: str
) -> None:
    """A store that dies at its n-th file, before or after it; the task is never told, and another one begins."""
    steps = iter(range(1_000))
    whole = Store.put

    class Died(BaseException):
        pass

    def put(store: Store, local: str, name: str) -> None:
        step = next(steps)
        if step == crash // 2 and crash % 2 == 0:
            raise Died
        whole(store, local, name)
        if step == crash // 2:
            raise Died

    monkeypatch.setattr(Store, "put", put)
    props = {"partitioner__class": partitioner, "partition__field__name": "city"}
    task = sink.task(**props)
    with pytest.raises(Died):
        task.put(records(0, 11))
    monkeypatch.setattr(Store, "put", whole)
    committed = sink.context.offsets.get(TP, 0)
    other = {"default": "field", "field": "default"}[partitioner]
    again = sink.task(partitioner__class=other, partition__field__name="city", flush__size="3")
    start = sink.context.offsets.get(TP, committed)
    again.put(records(start, start + 8))
    assert sink.ids() == list(range(start + 9))
    again.stop()
    assert sink.leftovers() == []


def test_a_store_that_fails_for_a_while_loses_nothing(sink: Sink, monkeypatch: pytest.MonkeyPatch) -> None:
    task = sink.task(retry__backoff__ms="7")
    failures = iter([False, True, True, False, True])
    whole = Store.put

    def put(store: Store, local: str, name: str) -> None:
        if next(failures, False):
            raise ConnectionResetError("the store is away")
        whole(store, local, name)

    monkeypatch.setattr(Store, "put", put)
    tries = 0
    while True:
        tries += 1
        try:
            task.put(records(0, 9))
            break
        except RetriableError as error:
            assert "the store is away" in str(error)
            assert sink.context.asked_timeout_ms == 7
    assert tries == 4
    assert sink.ids() == list(range(8))
    assert task.pre_commit({}) == {TP: 8}


def test_a_store_that_refuses_ends_the_task(sink: Sink, monkeypatch: pytest.MonkeyPatch) -> None:
    task = sink.task()

    def put(store: Store, local: str, name: str) -> None:
        raise PermissionError(13, "read-only")

    monkeypatch.setattr(Store, "put", put)
    with pytest.raises(ConnectError, match="refused") as caught:
        task.put(records(0, 9))
    assert not isinstance(caught.value, RetriableError)


@pytest.mark.parametrize(
    "props", [{}, {"format__class": "json"}, {"format__class": "json", "compression__type": "gzip"}], ids=str
)
def test_a_full_disk_ends_the_task_and_leaves_no_file_without_its_records(sink: Sink, props: dict[str, str]) -> None:
    large = [record(each, value={"id": each, "city": os.urandom(300).hex()}) for each in range(100)]
    task = sink.task(flush__size="100", **props)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (9000, hard))
    try:
        with pytest.raises(ConnectError, match=r"cannot be written.*File too large") as caught:
            task.put(large)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not isinstance(caught.value, RetriableError)
    task.stop()
    assert sink.files() == [] and sink.leftovers() == []
    again = sink.task(flush__size="100", **props)
    again.put(large[sink.context.offsets[TP] :])
    (name,) = sink.files()
    found = duckdb.sql(f"SELECT count(DISTINCT id) FROM '{sink.root}/topics/{name}'").fetchall()
    assert found == [(100,)]


def test_a_partition_that_goes_elsewhere_leaves_no_half_file(sink: Sink) -> None:
    task = sink.task()
    task.put(records(0, 5))
    task.close([TP])
    assert sink.leftovers() == []
    other = sink.task()
    assert sink.context.offsets == {TP: 4}
    other.put(records(4, 7))
    assert sink.ids() == list(range(8))


def test_files_of_time_have_directories_as_hive_names_them(sink: Sink) -> None:
    task = sink.task(
        partitioner__class="time", path__format="'year'=YYYY/'month'=MM/'day'=dd/'hour'=HH", flush__size="3"
    )
    task.put([record(0), record(1, time_ms=NOON_MS + HOUR_MS), record(2, time_ms=NOON_MS + HOUR_MS - 1)])
    day = "orders/year=2026/month=01/day=02"
    assert sink.files() == [f"{day}/hour=12/orders+0+000.parquet", f"{day}/hour=13/orders+0+001.parquet"]
    query = f"SELECT hour, count(*) FROM read_parquet('{sink.root}/topics/orders/**/*.parquet') GROUP BY 1 ORDER BY 1"
    assert duckdb.sql(query).fetchall() == [(12, 2), (13, 1)]


@pytest.mark.parametrize(
    ("props", "expected"),
    [
        ({"partitioner__class": "daily", "timezone": "Asia/Tokyo"}, "year=2026/month=01/day=02"),
        ({"partitioner__class": "x.HourlyPartitioner", "timezone": "Asia/Dhaka"}, "year=2026/month=01/day=02/hour=18"),
        ({"partitioner__class": "hourly", "timezone": "Asia/Kathmandu"}, "year=2026/month=01/day=02/hour=17"),
        ({"partitioner__class": "hourly", "timezone": "Pacific/Apia"}, "year=2026/month=01/day=03/hour=01"),
        ({"partitioner__class": "field", "partition__field__name": "city,id"}, "city=Rome/id=0"),
        ({"partitioner__class": "time", "path__format": "YY-MMM-d'T'HH''mm"}, "26-Jan-2T12'00"),
    ],
)  # fmt: skip
def test_partitioners(sink: Sink, props: dict[str, str], expected: str) -> None:
    sink.task(**props, flush__size="1").put([record(0)])
    assert sink.files() == [f"orders/{expected}/orders+0+000.parquet"]


@pytest.mark.parametrize("name", ["daily", "hourly"])
def test_days_and_hours_begin_by_the_clock_of_the_time_zone(sink: Sink, name: str) -> None:
    midnight = datetime.datetime(2026, 1, 2, tzinfo=ZoneInfo("Asia/Kolkata"))  # 18:30 in UTC
    times = [int(midnight.timestamp() * 1000) + each for each in (-1, 0, HOUR_MS - 1)]
    sink.task(partitioner__class=name, timezone="Asia/Kolkata", flush__size="3").put(
        [record(index, time_ms=each) for index, each in enumerate(times)]
    )
    ends = ("/hour=23", "/hour=00") if name == "hourly" else ("", "")
    assert sink.files() == [
        f"orders/year=2026/month=01/day=01{ends[0]}/orders+0+000.parquet",
        f"orders/year=2026/month=01/day=02{ends[1]}/orders+0+001.parquet",
    ]


def test_values_that_no_path_may_have_are_escaped(sink: Sink) -> None:
    task = sink.task(partitioner__class="field", partition__field__name="city", flush__size="1")
    task.put([record(0, value={"id": 0, "city": "../a=b c%/"}), record(2)])
    assert sink.files() == [
        "orders/city=..%2Fa%3Db c%25%2F/orders+0+000.parquet",
        "orders/city=__HIVE_DEFAULT_PARTITION__/orders+0+002.parquet",
    ]


def test_records_of_another_time_close_the_file(sink: Sink) -> None:
    task = sink.task(rotate__interval__ms="1000", flush__size="100")
    task.put([record(0), record(1, time_ms=NOON_MS + 999), record(2, time_ms=NOON_MS + 1000), record(3)])
    assert sink.files() == ["orders/partition=0/orders+0+000.parquet"]
    assert task.pre_commit({}) == {TP: 2}


def test_files_are_closed_by_the_clock_if_asked(sink: Sink, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [NOON_MS / 1000 + 1]
    monkeypatch.setattr("engine.connect.connectors.object_store_task.time.time", lambda: now[0])
    task = sink.task(rotate__schedule__interval__ms="60000", flush__size="100")
    task.put(records(0, 2))
    now[0] += 58
    task.put([])
    assert sink.files() == []
    now[0] += 1
    task.put([])
    assert sink.ids() == [0, 1, 2]


def test_files_are_closed_by_their_size(sink: Sink) -> None:
    task = sink.task(flush__bytes="2000", flush__size="1000")
    task.put([record(each, value={"id": each, "city": "x" * 492}) for each in range(9)])
    assert sink.ids() == list(range(8))


WIDE = struct({"id": data.INT64, "city": data.STRING.as_optional(), "n": data.INT32.with_default(7)})


@pytest.mark.parametrize(
    ("compatibility", "schemas", "starts"),
    [
        ("NONE", [ORDER, WIDE, ORDER, ORDER], [0, 1, 2]),
        ("BACKWARD", [ORDER, WIDE, ORDER, WIDE], [0, 1]),
        ("FORWARD", [ORDER, WIDE, ORDER, WIDE], [0]),
    ],
)
def test_other_schemas_begin_other_files_or_are_brought_to_one(
    sink: Sink, compatibility: str, schemas: Sequence[Schema], starts: list[int]
) -> None:
    task = sink.task(schema__compatibility=compatibility, flush__size="100", rotate__interval__ms="1000")
    task.put([record(each, schema, {"id": each}) for each, schema in enumerate(schemas)])
    task.put([record(4, schemas[-1], {"id": 4}, time_ms=NOON_MS + 2000)])
    assert sink.files() == [f"orders/partition=0/orders+0+{each:03}.parquet" for each in starts]
    if compatibility == "BACKWARD":
        table = pq.read_table(sink.root / "topics" / sink.files()[-1])
        assert table.column("n").to_pylist() == [7, 7, 7]


def test_the_types_of_connect_are_those_of_parquet_to_pyarrow_and_duckdb(sink: Sink) -> None:
    inner = struct({"a": data.INT32, "b": data.STRING.as_optional()}, optional=True)
    schema = struct(
        {
            "i8": data.INT8, "f": data.FLOAT32, "flag": data.BOOLEAN, "raw": data.BYTES.as_optional(),
            "amount": data.decimal(2), "long": data.decimal(127), "day": data.DATE, "clock": data.TIME,
            "at": data.TIMESTAMP, "list": data.array(data.STRING.as_optional()),
            "map": data.map_of(data.STRING, data.INT64), "in": inner,
        }
    )  # fmt: skip
    inside = Struct(inner, {"a": 1, "b": "x"})
    value = {
        "i8": -8, "f": 1.5, "flag": True, "raw": b"\x00", "amount": Decimal("12.34"), "long": Decimal("0.1"),
        "day": datetime.date(2026, 1, 2), "clock": datetime.time(1, 2, 3, 4000),
        "at": datetime.datetime(2026, 1, 2, 12, tzinfo=datetime.UTC), "list": ["a", None],
        "map": {"k": 5}, "in": inside,
    }  # fmt: skip
    sink.task(flush__size="2").put([record(0, schema, value), record(1, schema, {**value, "in": None, "raw": None})])
    (name,) = sink.files()
    first, second = pq.read_table(sink.root / "topics" / name).to_pylist()
    assert first == {**value, "in": {"a": 1, "b": "x"}, "map": [("k", 5)], "long": "0.1"}
    assert second["in"] is None and second["raw"] is None
    ((total, days, key),) = duckdb.sql(
        f"SELECT sum(amount), count(DISTINCT day), any_value(map['k']) FROM '{sink.root}/topics/{name}'"
    ).fetchall()
    assert (total, days, key) == (Decimal("24.68"), 1, 5)


def test_lines_of_json_need_no_schema(sink: Sink) -> None:
    task = sink.task(format__class="io.confluent.connect.s3.format.json.JsonFormat", compression__type="gzip")
    task.put([record(0, None, {"a": 1}), record(1, None, [1, "ü"]), *records(2, 5)])
    assert sink.files() == ["orders/partition=0/orders+0+000.json.gz", "orders/partition=0/orders+0+002.json.gz"]
    whole = [gzip.decompress((sink.root / "topics" / each).read_bytes()).decode() for each in sink.files()]
    assert [json.loads(line) for text in whole for line in text.splitlines()] == [
        {"a": 1},
        [1, "ü"],
        {"id": 2, "city": None},
        {"id": 3, "city": "Rome"},
        {"id": 4, "city": "Oslo"},
        {"id": 5, "city": None},
    ]


def test_csv_has_a_line_of_names(sink: Sink) -> None:
    schema = struct({"id": data.INT64, "text": data.STRING.as_optional(), "tags": data.array(data.STRING)})
    task = sink.task(format__class="csv")
    texts = ['say "hi", you', "two\nlines", None, "x"]
    task.put([record(each, schema, {"id": each, "text": text, "tags": ["a"]}) for each, text in enumerate(texts)])
    (name,) = sink.files()
    with (sink.root / "topics" / name).open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows == [["id", "text", "tags"], *([str(each), text or "", '["a"]'] for each, text in enumerate(texts))]


def test_avro_files_are_read_by_others(sink: Sink) -> None:
    inside = data.map_of(data.STRING, data.array(struct({"n": data.INT32}, name="N")))
    schema = struct(
        {
            "id": data.INT64,
            "amount": data.decimal(2),
            "numeric": data.decimal(127, optional=True),
            "m": data.map_of(data.STRING, data.INT32, optional=True),
            "deep": data.array(inside, optional=True),
        }
    )
    empty = {"id": 0, "amount": Decimal("1.50"), "numeric": None, "m": {}, "deep": [{}]}
    full = {"id": 1, "amount": Decimal("1.50"), "numeric": Decimal("12345.6" + 126 * "0"), "m": {"a": 1}}
    one = Struct(inside.value.value, {"n": 7})
    task = sink.task(format__class="avro", flush__size="2")
    task.put([record(0, schema, empty), record(1, schema, {**full, "deep": [{"k": [one]}, {}]})])
    (name,) = sink.files()
    assert name.endswith(".avro")
    with (sink.root / "topics" / name).open("rb") as file:
        rows = list(fastavro.reader(file))
    assert rows == [empty, {**full, "deep": [{"k": [{"n": 7}]}, {}]}]


def test_records_that_cannot_be_in_a_file_are_reported_or_end_the_task(sink: Sink) -> None:
    bad = [record(1, None, {"no": "schema"}), SinkRecord(topic="orders", partition=0, offset=2)]
    with pytest.raises(DataError, match=r"orders-0@1 cannot be written: Parquet needs a schema"):
        sink.task().put([record(0), *bad])
    task = sink.task(reporter=True)
    assert sink.context.offsets == {TP: 1}
    task.put([*bad, *records(3, 6)])
    assert [each.offset for each, _ in sink.reporter.reported] == [1, 2]
    assert sink.ids() == [0, 3, 4, 5, 6]
    task = sink.task(behavior__on__null__values="ignore")
    task.put([SinkRecord(topic="orders", partition=0, offset=7), *records(8, 11)])
    assert sink.ids() == [0, 3, 4, 5, 6, 8, 9, 10, 11]


def test_offsets_move_on_behind_records_that_are_left_out_or_reported(sink: Sink) -> None:
    """Else a partition that has nothing else is read anew, and reported anew, after each restart."""
    task = sink.task(reporter=True, behavior__on__null__values="ignore")
    task.put([SinkRecord(topic="orders", partition=0, offset=each) for each in range(3)])
    assert task.pre_commit({}) == {TP: 3}
    task.put([record(3, None, {"no": "schema"})])
    assert task.pre_commit({}) == {TP: 4} and len(sink.reporter.reported) == 1
    task.put([record(4), SinkRecord(topic="orders", partition=0, offset=5)])
    assert task.pre_commit({}) == {TP: 4}
    task.put(records(6, 8))
    assert task.pre_commit({}) == {TP: 9}


def test_any_file_system_of_fsspec_will_do(sink: Sink) -> None:
    task = sink.task(store__url="memory://bucket/data")
    task.put(records(0, 9))
    found = fsspec.filesystem("memory").find("/bucket/data")
    assert [each for each in found if "/_" not in each] == [
        "/bucket/data/topics/orders/partition=0/orders+0+000.parquet",
        "/bucket/data/topics/orders/partition=0/orders+0+004.parquet",
    ]
    sink.task(store__url="memory://bucket/data")
    assert sink.context.offsets == {TP: 8}


def test_offsets_that_are_edited_are_those_of_the_store_too(sink: Sink) -> None:
    sink.task().put(records(0, 9))
    connector = ObjectStoreSinkConnector()
    assert connector.alter_offsets(sink.props(), {TP: 4})
    task = sink.task(flush__size="2")
    assert sink.context.offsets == {TP: 4}
    task.put(records(4, 9))
    assert Counter(sink.ids()) == Counter(range(10))
    assert connector.alter_offsets(sink.props(), {TP: None})
    sink.task()
    assert sink.context.offsets == {}


@pytest.mark.parametrize(
    ("more", "name"),
    [
        ({"format.class": "orc"}, "format.class"),
        ({"partitioner.class": "field"}, "partition.field.name"),
        ({"partitioner.class": "time", "path.format": "QQ"}, "path.format"),
        ({"store.url": "nothing://at/all"}, "store.url"),
        ({"store.url": "/proc/nowhere"}, "store.url"),
        ({"timezone": "Mars"}, "timezone"),
    ],
)
def test_configs_that_cannot_work_are_named(sink: Sink, more: dict[str, str], name: str) -> None:
    props = sink.props() | more
    found = {each.name: each.errors for each in ObjectStoreSinkConnector.config().validate(props) if each.errors}
    found |= ObjectStoreSinkConnector.validate(props)
    assert list(found) == [name]
    assert ObjectStoreSinkConnector.validate(sink.props()) == {}


def test_patterns_of_joda() -> None:
    moment = datetime.datetime(2026, 1, 2, 3, 4, 5)
    assert joda_format("YYYY.yy/M-MM-MMM/d/H:m:s D 'it''s'")(moment) == "2026.26/1-01-Jan/2/3:4:5 2 it's"
    with pytest.raises(ConfigError):
        joda_format("")


def test_a_value_that_has_no_place_in_another_schema_is_refused() -> None:
    source = struct({"a": data.INT32})
    with pytest.raises(SchemaProjectorError, match="the field b is required"):
        projected(source, struct({"a": data.INT32, "b": data.STRING}), Struct(source, {"a": 1}))
    assert projected(data.INT32, data.FLOAT64, 3) == 3.0
    with pytest.raises(SchemaProjectorError):
        projected(data.INT64, data.INT32, 3)

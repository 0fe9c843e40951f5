"""The HTTP sink against a real server: bodies, keys, retries that send nothing twice, and records that are refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from engine.connect.connector import TopicPartition
from engine.connect.connectors.http_sink import HttpSinkTask, plain
from engine.connect.data import BYTES, INT32, STRING, TIMESTAMP, Struct, array, map_of, struct
from engine.connect.errors import ConnectError, DataError, RetriableError
from engine.connect.records import SinkRecord
from tests.unit.connect.http_servers import Answer, Request, Server, serving
from tests.unit.connect.task_contexts import Reporter, SinkContext

Start = Callable[..., HttpSinkTask]


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as running:
        yield running


@pytest.fixture
def start(server: Server) -> Iterator[Start]:
    tasks: list[HttpSinkTask] = []

    def starting(reporter: Reporter | None = None, **props: Any) -> HttpSinkTask:
        configs = {"url": f"{server.url}/in", "retry.backoff.ms": "10"}
        configs |= {name.replace("__", "."): value for name, value in props.items()}
        task = HttpSinkTask()
        tasks.append(task)
        task.initialize(SinkContext(configs, reporter))
        task.start(configs)
        return task

    yield starting
    for task in tasks:
        task.stop()


def records(*values: Any, topic: str = "t", partition: int = 0, first: int = 0) -> list[SinkRecord]:
    return [
        SinkRecord(topic=topic, partition=partition, offset=first + number, value=value)
        for number, value in enumerate(values)
    ]


def sent(server: Server) -> list[tuple[str, bytes]]:
    return [(each.headers["idempotency-key"], each.body) for each in server.requests]


def test_batches_are_arrays_of_one_partition_with_a_key_of_their_offsets(server: Server, start: Start) -> None:
    task = start(batch__max__records="2")
    task.put([*records("a", {"x": 1}, None, 3), *records(True, topic="u", partition=7, first=40)])
    task.put([])
    assert sent(server) == [("t-0-0-1", b'["a",{"x":1}]'), ("t-0-3", b"[3]"), ("u-7-40", b"[true]")]
    assert {each.method for each in server.requests} == {"POST"}
    assert {each.headers["content-type"] for each in server.requests} == {"application/json"}


@pytest.mark.parametrize(
    ("props", "expected", "kind"),
    [
        ({"body__format": "json-lines"}, [b'"{\\"a\\": 1}"\n{"\xc3\xa4":2}\n'], "application/x-ndjson"),
        ({"body__format": "json-lines", "values__are__json": "true"}, [b'{"a": 1}\n{"\xc3\xa4":2}\n'], None),
        ({"body__format": "single"}, [b'{"a": 1}', b'{"\xc3\xa4":2}'], None),
        ({"body__format": "single", "content__type": "text/x"}, [b'{"a": 1}', b'{"\xc3\xa4":2}'], "text/x"),
        ({"batch__max__bytes": "12"}, [b'["{\\"a\\": 1}"]', b'[{"\xc3\xa4":2}]'], "application/json"),
    ],
)
def test_bodies_have_the_configured_form(
    server: Server, start: Start, props: dict[str, str], expected: list[bytes], kind: str | None
) -> None:
    start(**props).put(records('{"a": 1}', {"ä": 2}))
    assert [each.body for each in server.requests] == expected
    if kind is not None:
        assert {each.headers["content-type"] for each in server.requests} == {kind}


def test_values_of_all_types_become_json() -> None:
    schema = struct({"id": INT32, "at": TIMESTAMP, "raw": BYTES, "tags": array(STRING), "more": map_of(INT32, STRING)})
    at = datetime(2026, 11, 26, 20, 0, 0, 5000, tzinfo=UTC)
    value = Struct(schema, {"id": 1, "at": at, "raw": b"\xff", "tags": ["x"], "more": {1: "one"}})
    assert plain([value, Decimal("1.10"), date(2026, 1, 2), None]) == [
        {"id": 1, "at": "2026-11-26T20:00:00.005Z", "raw": "/w==", "tags": ["x"], "more": {"1": "one"}},
        *("1.10", "2026-01-02", None),
    ]
    with pytest.raises(DataError, match="set cannot be told as JSON"):
        plain({1, 2})


def test_what_was_taken_is_not_sent_again_when_the_put_is_repeated(server: Server, start: Start) -> None:
    answers = [Answer(), Answer(b"busy", 503, {"Retry-After": "2"}), None, Answer(status=429)]
    server.answer = lambda _: answers.pop(0) if answers else Answer(status=201)
    task = start(batch__max__records="1", retries__max="3")
    batch = records("a", "b", "c")
    with pytest.raises(RetriableError, match=r"POST http://.*/in answered 503: busy"):
        task.put(batch)
    assert task.context.asked_timeout_ms == 2000  # type: ignore[attr-defined]
    for _ in range(2):
        with pytest.raises(RetriableError):
            task.put(batch)
    assert task.context.asked_timeout_ms < 100  # type: ignore[attr-defined]
    task.put(batch)
    keys = [key for key, _ in sent(server)]
    assert keys == ["t-0-0", *["t-0-1"] * 4, "t-0-2"]
    # Somebody set the offsets back: that is to be sent again.
    task.put(batch[:1])
    assert sent(server)[-1] == ("t-0-0", b'["a"]')


def test_partitions_that_come_back_are_sent_from_where_they_are(server: Server, start: Start) -> None:
    answers = [Answer(), Answer(status=500)]
    server.answer = lambda _: answers.pop(0) if answers else Answer()
    task = start(batch__max__records="1")
    with pytest.raises(RetriableError):
        task.put(records("a", "b"))
    task.close([TopicPartition("t", 0)])
    task.open([TopicPartition("t", 0)])
    task.put(records("a", "b"))
    assert [key for key, _ in sent(server)] == ["t-0-0", "t-0-1", "t-0-0", "t-0-1"]


def test_too_many_failures_in_a_row_end_the_task(server: Server, start: Start) -> None:
    server.answer = lambda _: Answer(status=500)
    task = start(retries__max="1")
    with pytest.raises(RetriableError):
        task.put(records("a"))
    with pytest.raises(ConnectError, match="2 tries in a row failed") as raised:
        task.put(records("a"))
    assert not isinstance(raised.value, RetriableError)


def refusing(*bad: str) -> Callable[[Request], Answer]:
    def answer(request: Request) -> Answer:
        values = json.loads(request.body)
        return Answer(b"bad value", 422) if set(bad) & set(values) else Answer()

    return answer


def test_refused_records_are_found_and_reported_and_the_others_get_through(server: Server, start: Start) -> None:
    server.answer = refusing("v3", "v17")
    reporter = Reporter()
    start(reporter).put(records(*(f"v{number}" for number in range(20))))
    assert [record.value for record, _ in reporter.reported] == ["v3", "v17"]
    assert "answered 422: bad value" in str(reporter.reported[0][1])
    taken = [value for each in server.requests for value in json.loads(each.body) if server.answer(each).status == 200]
    assert taken == [f"v{number}" for number in range(20) if number not in (3, 17)]


def test_a_refused_record_ends_the_task_where_nobody_takes_reports(server: Server, start: Start) -> None:
    server.answer = refusing("bad")
    with pytest.raises(ConnectError, match="answered 422: bad value"):
        start().put(records("bad"))


@pytest.mark.parametrize("status", [301, 401, 403, 404, 405, 501])
def test_what_is_wrong_with_the_address_is_not_reported_for_each_record(
    server: Server, start: Start, status: int
) -> None:
    server.answer = lambda _: Answer(status=status, headers={"Location": "/elsewhere"})
    reporter = Reporter()
    with pytest.raises(ConnectError, match=f"answered {status}"):
        start(reporter).put(records("a", "b"))
    assert not reporter.reported
    assert len(server.requests) == 1


def test_a_post_is_led_on_with_its_body(server: Server, start: Start) -> None:
    server.answer = lambda each: Answer(status=308, headers={"Location": "/new"}) if each.path == "/in" else Answer()
    start().put(records("a"))
    assert [(each.method, each.path, each.body) for each in server.requests] == [
        ("POST", "/in", b'["a"]'),
        ("POST", "/new", b'["a"]'),
    ]


def test_values_that_are_no_json_or_none_at_all_are_reported_once(server: Server, start: Start) -> None:
    answers = [Answer(status=503)]
    server.answer = lambda _: answers.pop(0) if answers else Answer()
    reporter = Reporter()
    task = start(reporter, values__are__json="true", null__values="fail")
    deep = "[" * 100_000
    batch = records("{", None, '{"good":\n0.1000000000000000055}', float("nan"), "[Infinity]", deep)
    with pytest.raises(RetriableError):
        task.put(batch)
    task.put(batch)
    assert [record.offset for record, _ in reporter.reported] == [0, 1, 3, 4, 5]
    assert sent(server) == [("t-0-2", b'[{"good": 0.1000000000000000055}]')] * 2
    sending = start(null__values="send", idempotency__header="")
    sending.put(records(None))
    assert server.requests[-1].body == b"[null]"
    assert "idempotency-key" not in server.requests[-1].headers

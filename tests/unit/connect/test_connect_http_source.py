"""The HTTP source against a real server: pages, offsets, validators, retries, and where secrets go."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from engine.connect.config_def import Password
from engine.connect.connectors.http_client import pointed
from engine.connect.connectors.http_source import HttpSourceConnector, HttpSourceTask, _next_link
from engine.connect.errors import ConfigError, ConnectError
from engine.connect.records import SourceRecord
from tests.unit.connect.http_servers import Answer, Request, Server, serving
from tests.unit.connect.task_contexts import Offsets, started

Start = Callable[..., HttpSourceTask]


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as running:
        yield running


@pytest.fixture
def start(server: Server) -> Iterator[Start]:
    tasks: list[HttpSourceTask] = []

    def starting(path: str = "/items", offsets: Offsets | None = None, **props: Any) -> HttpSourceTask:
        configs = {"url": server.url + path, "topic": "items", "interval.ms": "0", "retry.backoff.ms": "1"}
        configs |= {name.replace("__", "."): value for name, value in props.items()}
        tasks.append(started(HttpSourceTask(), configs, offsets))
        return tasks[-1]

    yield starting
    for task in tasks:
        task.stop()


def read(task: HttpSourceTask, records: int, polls: int = 30) -> list[SourceRecord]:
    found: list[SourceRecord] = []
    for _ in range(polls):
        found += task.poll() or ()
        if len(found) >= records:
            break
    return found


def values(records: list[SourceRecord]) -> list[Any]:
    return [each.value for each in records]


def answered(document: Any, **headers: str) -> Answer:
    return Answer(json.dumps(document).encode(), 200, headers)


ITEMS = [{"id": number, "name": f"item {number}"} for number in range(25)]


def paged(request: Request) -> Answer:
    """Ten items a page, and each way to the next that there is."""
    query = parse_qs(urlsplit(request.path).query)
    first = int(query.get("offset", query.get("cursor", ["0"]))[0])
    if "page" in query:
        first = (int(query["page"][0]) - 1) * 10
    behind = first + 10
    document: dict[str, Any] = {"data": {"items": ITEMS[first:behind]}, "next": None, "cursor": None}
    headers = {}
    if behind < len(ITEMS):
        document |= {"next": f"/items?offset={behind}", "cursor": behind}
        headers["Link"] = f'</first>; rel="first", <?offset={behind}>; rel="next last"; title="a, b"'
    return answered(document, **headers)


PAGINATIONS = {
    "link": {},
    "next": {"pagination__pointer": "/next"},
    "cursor": {"pagination__pointer": "/cursor", "pagination__parameter": "cursor"},
    "offset": {"pagination__parameter": "offset"},
}


@pytest.mark.parametrize("pagination", [*PAGINATIONS, "page"])
def test_pages_are_read_to_their_end(server: Server, start: Start, pagination: str) -> None:
    server.answer = paged
    more = PAGINATIONS.get(pagination, {"pagination__parameter": "page", "pagination__first": "1"})
    task = start(pagination=pagination, records__pointer="/data/items", key__pointer="/id", **more)
    records = read(task, 25)
    assert values(records) == ITEMS
    assert [each.key for each in records] == [str(number) for number in range(25)]
    assert records[0].source_partition == {"url": f"{server.url}/items"}


@pytest.mark.parametrize("pagination", PAGINATIONS)
@pytest.mark.parametrize("last", [0, 8, 9, 10, 23, 24])
def test_reading_goes_on_behind_any_record(server: Server, start: Start, pagination: str, last: int) -> None:
    server.answer = paged
    props = {"pagination": pagination, "records__pointer": "/data/items", "pagination__end": "stay"}
    props |= PAGINATIONS[pagination]
    (*_, at) = read(start(**props), 25)[: last + 1]
    offsets = Offsets()
    offsets.put(at.source_partition, at.source_offset)
    again = start(offsets=offsets, **props)
    rest = read(again, 24 - last)
    assert values(rest) == ITEMS[last + 1 :]
    assert not again.poll()


@pytest.mark.parametrize("pagination", PAGINATIONS)
def test_what_is_added_to_the_last_page_comes_alone(
    server: Server, start: Start, pagination: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    growing = list(ITEMS)
    monkeypatch.setitem(globals(), "ITEMS", growing)
    server.answer = paged
    props = {"pagination": pagination, "records__pointer": "/data/items", "pagination__end": "stay"}
    task = start(**props, **PAGINATIONS[pagination])
    assert len(read(task, 25)) == 25
    for number in range(25, 47):
        growing.append({"id": number})
        assert values(read(task, 1)) == [{"id": number}]
    assert not task.poll()


def test_without_pages_everything_comes_again_unless_nothing_has_changed(server: Server, start: Start) -> None:
    tag = "a"

    def answer(request: Request) -> Answer:
        if request.headers.get("if-none-match") == f'"{tag}"':
            assert request.headers["if-modified-since"] == "Thu, 26 Nov 2026 20:00:00 GMT"
            return Answer(status=304)
        return answered([tag, "x"], ETag=f'"{tag}"', **{"Last-Modified": "Thu, 26 Nov 2026 20:00:00 GMT"})

    server.answer = answer
    task = start()
    records = read(task, 2)
    assert values(records) == ["a", "x"]
    assert not task.poll() and not task.poll()
    tag = "b"
    assert values(read(task, 2)) == ["b", "x"]
    tag = "a"
    offsets = Offsets()
    offsets.put(records[1].source_partition, records[1].source_offset)
    assert not start(offsets=offsets).poll()
    # Of which not everything was given is asked for as a whole.
    offsets.put(records[0].source_partition, records[0].source_offset)
    assert values(read(start(offsets=offsets), 1)) == ["x"]


def test_the_interval_passes_between_two_readings(server: Server, start: Start) -> None:
    server.answer = lambda _: answered([1])
    task = start(interval__ms="150")
    began = time.monotonic()
    assert len(read(task, 2)) == 2
    assert time.monotonic() - began > 0.14


@pytest.mark.parametrize(
    ("props", "body", "expected"),
    [
        ({"records__pointer": "/a~1b/0"}, b'{"a/b": [{"x": 1}]}', [{"x": 1}]),
        ({"records__pointer": "/none"}, b'{"none": null}', []),
        ({"value__as": "text"}, '\ufeff[{"ä": 1.50}, "t"]'.encode(), ['{"ä":1.5}', '"t"']),
        ({"response__format": "json-lines"}, b'{"a": 1}\n\n[2]\n', [{"a": 1}, [2]]),
        ({"response__format": "json-lines"}, '{"a": "x\u2028y\x85"}\n'.encode(), [{"a": "x\u2028y\x85"}]),
        ({"response__format": "text"}, b"one\r\n\ntwo\x0cthree\nfour", ["one", "", "two\x0cthree", "four"]),
        ({"records__pointer": "/items"}, b"", []),
    ],
)
def test_records_are_found_in_answers(
    server: Server, start: Start, props: dict[str, str], body: bytes, expected: list[Any]
) -> None:
    server.answer = lambda _: Answer(body)
    assert values(read(start(**props), max(1, len(expected)), polls=2))[: len(expected) or None] == expected


@pytest.mark.parametrize("charset", ["iso-8859-1", "utf-16", "no-such-thing"])
def test_texts_are_in_the_charset_that_the_answer_names(server: Server, start: Start, charset: str) -> None:
    body = "Zürich\n".encode("utf-8" if charset == "no-such-thing" else charset)
    server.answer = lambda _: Answer(body, 200, {"Content-Type": f'text/plain; charset="{charset}"'})
    assert values(read(start(response__format="text"), 1)) == ["Zürich"]


def test_an_offset_that_somebody_wrote_and_that_counts_nothing_is_told(server: Server, start: Start) -> None:
    server.answer = paged
    offsets = Offsets()
    offsets.put({"url": f"{server.url}/items"}, {"url": f"{server.url}/items?from=3", "given": 0})
    task = start(offsets=offsets, pagination="offset", records__pointer="/data/items", pagination__parameter="offset")
    with pytest.raises(ConnectError, match="has no number in offset to count on from"):
        task.poll()


@pytest.mark.parametrize(
    ("props", "answer", "message"),
    [
        ({}, Answer(b"<html>", 200), "answered what is no JSON: .*<html>"),
        ({"records__pointer": "/data"}, answered({"date": []}), "the answer has nothing at /data: there is no 'data'"),
        ({"key__pointer": "/id"}, answered([{"ID": 1}]), "a record has no key at /id"),
        ({}, Answer(b"no such thing", 404), "GET http://.*/items answered 404: no such thing"),
        (
            {},
            Answer(b"", 302, {"Location": "file:///etc/passwd"}),
            "redirects to file:///etc/passwd, which is not HTTP",
        ),
        ({}, Answer(b"", 302, {"Location": "/items"}), "redirects more than 5 times"),
        ({"response__max__bytes": "10"}, Answer(b"x" * 11), "larger than response.max.bytes"),
    ],
)
def test_answers_that_cannot_be_read_end_the_task(
    server: Server, start: Start, props: dict[str, str], answer: Answer, message: str
) -> None:
    server.answer = lambda _: answer
    with pytest.raises(ConnectError, match=message):
        start(**props).poll()


def test_failures_are_retried_as_the_server_says(server: Server, start: Start) -> None:
    answers: list[Answer | None] = [Answer(status=503), None, Answer(status=429, headers={"Retry-After": "1"})]

    def answer(_: Request) -> Answer | None:
        return answers.pop(0) if answers else answered([1])

    server.answer = answer
    task = start(retries__max="3")
    began = time.monotonic()
    assert values(read(task, 1)) == [1]
    assert not answers
    assert time.monotonic() - began > 0.9


def test_too_many_failures_in_a_row_end_the_task(server: Server, start: Start) -> None:
    server.answer = lambda _: Answer(b"down for maintenance", 503)
    task = start(retries__max="2")
    with pytest.raises(ConnectError, match=r"answered 503: down for maintenance; 3 tries in a row failed"):
        read(task, 1)
    assert len(server.requests) == 3
    nobody = start(retries__max="0", url="http://127.0.0.1:9/x?token=hidden")
    with pytest.raises(ConnectError, match=r"GET http://127\.0\.0\.1:9/x: Cannot connect") as raised:
        read(nobody, 1)
    assert "hidden" not in str(raised.value)


def test_secrets_go_to_the_configured_host_alone(server: Server, start: Start) -> None:
    with serving() as elsewhere:
        server.answer = lambda _: Answer(status=307, headers={"Location": f"{elsewhere.url}/moved"})
        elsewhere.answer = lambda _: answered([1])
        task = start(auth__header__value=Password("Bearer sesame"), headers="X-Team: a | Accept-Language: de")
        assert values(read(task, 1)) == [1]
        (first,), (second,) = server.requests, elsewhere.requests
    assert first.headers["authorization"] == "Bearer sesame"
    assert "authorization" not in second.headers
    assert (first.headers["x-team"], second.headers["accept-language"]) == ("a", "de")
    server.answer = lambda _: answered([1])
    read(start(auth__user="me", auth__password=Password("pw")), 1)
    assert server.requests[-1].headers["authorization"] == "Basic bWU6cHc="


def test_stopping_ends_a_request_that_waits(server: Server, start: Start) -> None:
    asked, release = threading.Event(), threading.Event()

    def answer(_: Request) -> Answer:
        asked.set()
        release.wait(10)
        return Answer(b"[]")

    server.answer = answer
    task = start()
    polling = threading.Thread(target=task.poll, daemon=True)
    polling.start()
    assert asked.wait(5)
    task.stop()
    polling.join(2)
    release.set()
    assert not polling.is_alive()
    assert task.poll() is None


@pytest.mark.parametrize(
    ("props", "message"),
    [
        ({"url": "ftp://x"}, "Expected http://HOST"),
        ({"url": "http://me:secret@x/"}, "Credentials belong into auth.user and auth.password"),
        ({"headers": "no colon"}, "Expected Name: value"),
        ({"pagination": "cursor", "pagination.pointer": "/c"}, "pagination=cursor needs it"),
        ({"pagination": "next"}, "pagination=next needs it"),
        ({"pagination": "page", "pagination.parameter": "p", "pagination.end": "stay"}, "use pagination=offset"),
        ({"records.pointer": "data"}, "A JSON pointer begins with a slash"),
        ({"response.format": "text", "key.pointer": "/id"}, "Lines of text have no fields"),
    ],
)
def test_configs_that_cannot_be_are_refused(props: dict[str, str], message: str) -> None:
    all_props = {"url": "http://127.0.0.1/", "topic": "t", **props}
    with pytest.raises(ConfigError, match=message) as raised:
        HttpSourceConnector().start(all_props)
    assert "secret" not in str(raised.value)
    told = [error for each in HttpSourceConnector.config().validate(all_props) for error in each.errors]
    told += [error for errors in HttpSourceConnector.validate(all_props).values() for error in errors]
    assert any(message.split("(")[0] in each for each in told)


def test_offsets_can_be_set_to_a_page(server: Server) -> None:
    connector = HttpSourceConnector()
    key = (("url", "http://x"),)
    assert connector.alter_offsets({}, {key: {"url": "http://x?offset=20", "given": 3}, (("any", 1),): None})
    for offset in ({"given": 1}, {"url": "http://x", "given": -1}, {"url": 7}):
        with pytest.raises(ConnectError, match="Offset objects should contain the keys 'url'"):
            connector.alter_offsets({}, {key: offset})
    with pytest.raises(ConnectError, match="Partition objects should contain the key 'url'"):
        connector.alter_offsets({}, {(): {"url": "http://x"}})


def test_pointers_and_links_are_those_of_the_rfcs() -> None:
    document = {"foo": ["bar", "baz"], "": 0, "a/b": 1, "m~n": 8, " ": 7}  # RFC 6901, section 5
    assert [pointed(document, each) for each in ("", "/foo", "/foo/0", "/", "/a~1b", "/m~0n", "/ ")] == [
        *(document, ["bar", "baz"], "bar", 0, 1, 8, 7),
    ]
    for nowhere in ("/x", "/foo/2", "/foo/-1", "/a~1b/0"):
        with pytest.raises(LookupError):
            pointed(document, nowhere)
    assert _next_link("<a>; rel=prev, <b?x=1,2>;rel=next") == "b?x=1,2"
    assert _next_link('<a>; title="; rel=next"; rel="prev"') is None
    assert _next_link("") is None

"""The HTTP server of a worker: who is served, and what is said to the others."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from engine.streams import Materialized, Serdes, StreamsBuilder, StreamsError
from engine.streams.params import Consumed
from engine.streams.queries.catalogue import Catalogue
from engine.streams.queries.routes import Routes
from engine.streams.runtime.config import StreamsConfig, StreamsConfigError
from engine.streams.runtime.local_stores import LocalStores
from engine.streams.runtime.query_server import QueryServer
from engine.streams.runtime.store_gate import StoreGate

NEEDED = {"application.id": "app", "bootstrap.servers": "127.0.0.1:9092"}


def started(token: str = "") -> QueryServer:
    builder = StreamsBuilder()
    text = Serdes.string()
    builder.table("customers", Consumed(key_serde=text, value_serde=text), Materialized("customers"))
    topology = builder.build()
    catalogue = Catalogue(topology, topology.sub_topologies("app"), "app", {})
    local = LocalStores(catalogue, StoreGate(), {}, {}, list, lambda: True, lambda: True)

    def fails() -> Any:
        raise ZeroDivisionError("of the test")

    documents = {
        "/v1/status": lambda: {"state": "RUNNING"},
        "/v1/fails": fails,
        "/v1/half": lambda: {"half a character": "\ud83d", "a whole one": "😀"},
    }
    server = QueryServer("127.0.0.1", 0, token)
    server.start(local, Routes, lambda topic: 2, documents)
    return server


@pytest.fixture(scope="module")
def server() -> Iterator[QueryServer]:
    running = started()
    yield running
    running.close()


def ask(server: QueryServer, path: str, method: str = "GET", **headers: str) -> tuple[int, Any]:
    connection = http.client.HTTPConnection(*server.endpoint, timeout=5)
    try:
        connection.request(method, path, headers={name.capitalize(): value for name, value in headers.items()})
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/v1/stores/customers/key?key=a", 503, "STORE_NOT_READY"),
        ("/v1/stores/nobody/key?key=a", 404, "UNKNOWN_STORE"),
        ("/v1/stores/customers/window", 400, "WRONG_KIND"),
        ("/v1/stores/customers/keys", 400, "INVALID_QUERY"),
        ("/v1/stores/customers/range?limit=a", 400, "INVALID_QUERY"),
        ("/v1/stores/customers/range?partition=-1&local=true", 400, "INVALID_QUERY"),
        ("/v1/nothing", 404, "NOT_FOUND"),
        ("/v1/fails", 500, "UNKNOWN_SERVER_ERROR"),
    ],
)
def test_what_cannot_be_answered_has_a_code_and_a_sentence(
    server: QueryServer, path: str, status: int, code: str
) -> None:
    got, document = ask(server, path)
    assert (got, document["error_code"]) == (status, code)
    assert document["message"]


def test_half_a_character_is_answered_as_json_has_it(server: QueryServer) -> None:
    assert ask(server, "/v1/half") == (200, {"half a character": "\ud83d", "a whole one": "😀"})


def test_bytes_that_are_no_http_close_their_connection_and_fill_no_log(
    server: QueryServer, caplog: pytest.LogCaptureFixture
) -> None:
    for sent in (b"GET /v1/status HTTP/1.1\r\n\r\n", b"GET /" + bytes(10_000) + b" HTTP/1.1\r\n\r\n"):
        with socket.create_connection(server.endpoint, 5) as connection:
            connection.sendall(sent)
            assert connection.makefile("rb").readline().startswith(b"HTTP/1.0 400")
    assert ask(server, "/v1/status")[0] == 200
    assert caplog.records == []


def test_this_machine_is_served_under_its_own_names_and_other_pages_are_not(server: QueryServer) -> None:
    port = server.endpoint.port
    for host in (f"127.0.0.1:{port}", f"localhost:{port}", f"LOCALHOST:{port}", "[::1]"):
        assert ask(server, "/v1/status", host=host) == (200, {"state": "RUNNING"})
    for headers in ({"host": f"evil.example:{port}"}, {"host": f"127.0.0.1:{port}", "origin": "http://evil.example"}):
        status, document = ask(server, "/v1/status", **headers)
        assert (status, document["error_code"]) == (403, "UNAUTHORIZED")
    assert ask(server, "/v1/status", "POST")[1]["error_code"] == "METHOD_NOT_ALLOWED"


def test_with_a_token_only_who_sends_it_is_served() -> None:
    server = started("s3cret")
    try:
        assert ask(server, "/v1/status")[0] == 401
        status, document = ask(server, "/v1/status", authorization="Bearer s3cre")
        assert (status, "s3cret" in json.dumps(document)) == (401, False)
        assert ask(server, "/v1/status", authorization="Bearer s3cret", host="worker.example")[0] == 200
    finally:
        server.close()


def test_a_port_that_is_taken_is_named(server: QueryServer) -> None:
    with pytest.raises(StreamsError, match=f"cannot listen on 127.0.0.1:{server.endpoint.port}: .*choose another port"):
        QueryServer("127.0.0.1", server.endpoint.port, "")


def test_other_machines_are_let_in_with_a_token_only() -> None:
    for address in ("127.0.0.1:0", "localhost:1", "[::1]:0"):
        StreamsConfig({**NEEDED, "application.server": address})
    with pytest.raises(StreamsConfigError, match=r"set application\.server\.token"):
        StreamsConfig({**NEEDED, "application.server": "0.0.0.0:8080"})
    StreamsConfig({**NEEDED, "application.server": "worker-1:8080", "application.server.token": "s3cret"})

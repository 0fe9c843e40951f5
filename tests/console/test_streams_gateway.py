"""Workers asked over real sockets: what they answer, and what becomes of those that answer something else or nothing;
and which processes may be killed."""

from __future__ import annotations

import asyncio
import builtins
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import psutil
import pytest
from aiohttp import web
from sample_streams import TOPOLOGY, status, stores

from console.gateway import GatewayError
from console.gateway.readable import ReadableGateway
from console.gateway.streams_http import NO_ENDPOINTS, TOKEN, WorkersByHttp
from console.gateway.streams_processes import kill_worker, reason_against_kill
from console.viewmodel.store_queries import StoreQuery
from console.viewmodel.streams_told import WorkerTold, worker_told


class Answers:
    """A server of HTTP that answers what a test wants; ``asked`` has what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, str], str]] = []
        self.answers: dict[str, Any] = {}
        self.status = 200
        self.hangs = False
        self.endpoint = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(
            (request.raw_path.partition("?")[0], dict(request.query), request.headers.get("Authorization", ""))
        )
        if self.hangs:
            await asyncio.sleep(60)
        found = self.answers.get(request.path, {"error_code": "NOT_FOUND", "message": "there is nothing here"})
        if isinstance(found, web.StreamResponse):
            return found
        if isinstance(found, bytes):
            return web.Response(body=found, status=self.status)
        return web.json_response(found, status=self.status if request.path in self.answers else 404)


@asynccontextmanager
async def serving(*servers: Answers) -> AsyncIterator[list[str]]:
    runners = []
    for each in servers:
        application = web.Application()
        application.router.add_route("*", "/{rest:.*}", each.answer)
        runner = web.AppRunner(application, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        each.endpoint = f"127.0.0.1:{runner.addresses[0][1]}"
        runners.append(runner)
    try:
        yield [each.endpoint for each in servers]
    finally:
        for runner in runners:
            await runner.cleanup()


def nothing_forbidden() -> None:
    """It may be written."""


async def test_each_worker_has_a_time_out_of_its_own_and_the_others_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("console.gateway.streams_http._TIMEOUT_S", 0.3)
    good, hanging, other, broken = Answers(), Answers(), Answers(), Answers()
    good.answers["/v1/status"] = status(0, 1)
    hanging.hangs = True
    broken.answers["/v1/status"] = b"[" * 100_000
    async with serving(good, hanging, other, broken) as endpoints:
        workers = WorkersByHttp(nothing_forbidden)
        try:
            began = time.monotonic()
            answers = await workers.statuses([*endpoints, "127.0.0.1:1"])
            assert time.monotonic() - began < 3
        finally:
            await workers.close()
    told = answers[endpoints[0]]
    assert isinstance(told, WorkerTold) and told.pid == 41_200
    assert told.no_kill != ""
    assert answers[endpoints[1]] == f"{endpoints[1]} did not answer within 0.3 s"
    assert answers[endpoints[2]] == "there is nothing here"
    assert answers[endpoints[3]] == f"{endpoints[3]} is no worker of `kconsole streams`: it answers 200"
    assert answers["127.0.0.1:1"] == "127.0.0.1:1 cannot be reached: Connection refused"


async def test_a_query_is_put_to_the_next_worker_unless_the_question_itself_is_wrong() -> None:
    first, second = Answers(), Answers()
    first.status = 503
    first.answers["/v1/stores/a/b %/range"] = {"message": "store: (1 RESTORING); ask again", "state": "RESTORING"}
    second.answers["/v1/stores/a/b %/range"] = {"entries": [{"key": 1, "value": 2, "partition": 0}], "truncated": True}
    query = StoreQuery("a/b %", "range", low="x&y", limit=5, reverse=True)
    async with serving(first, second) as endpoints:
        workers = WorkersByHttp(nothing_forbidden)
        try:
            found = await workers.query(endpoints, query, ())
            assert found.truncated and found.rows[0].value == 2
            assert second.asked == [
                ("/v1/stores/a%2Fb%20%25/range", {"from": "x&y", "limit": "5", "reverse": "true"}, "")
            ]
            with pytest.raises(GatewayError, match=r"^store: \(1 RESTORING\)$"):
                await workers.query([endpoints[0], "127.0.0.1:1"], query, ())
            with pytest.raises(GatewayError, match=r"^no worker answers: 127\.0\.0\.1:\d cannot be reached"):
                await workers.query(["127.0.0.1:1", "127.0.0.1:2"], query, ())
            first.status = 400
            with pytest.raises(GatewayError, match="store: "):
                await workers.query(endpoints, query, ())
            assert len(second.asked) == 1, "another worker would not know better"
            with pytest.raises(GatewayError, match="no worker tells where it answers"):
                await workers.query([], query, ())
            with pytest.raises(GatewayError, match=r"application\.server"):
                await workers.topology([])
            assert NO_ENDPOINTS
        finally:
            await workers.close()


async def test_a_worker_that_hangs_holds_up_one_query_and_not_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("console.gateway.streams_http._QUERY_TIMEOUT_S", 0.2)
    hanging, good = Answers(), Answers()
    hanging.hangs = True
    good.answers["/v1/stores/a/range"] = {"entries": []}
    async with serving(hanging, good) as endpoints:
        workers = WorkersByHttp(nothing_forbidden)
        try:
            for _ in range(3):
                assert (await workers.query(endpoints, StoreQuery("a", "range"), ())).rows == ()
            assert (len(hanging.asked), len(good.asked)) == (1, 3)
        finally:
            await workers.close()


async def test_an_answer_is_bounded_and_leads_nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("console.gateway.streams_http._MOST_BYTES", 1_000)
    large, leading, goal = Answers(), Answers(), Answers()
    large.answers["/v1/topology"] = b"[" + b"1," * 2_000 + b"1]"
    goal.answers["/v1/topology"] = TOPOLOGY
    async with serving(large, leading, goal) as endpoints:
        leading.answers["/v1/topology"] = web.Response(
            status=302, headers={"Location": f"http://{endpoints[2]}/v1/topology"}
        )
        workers = WorkersByHttp(nothing_forbidden)
        try:
            with pytest.raises(GatewayError, match="answers more than") as caught:
                await workers.topology(endpoints[:2])
            assert "it answers 302" in str(caught.value) and not goal.asked
        finally:
            await workers.close()


async def test_stores_and_topology_come_from_whoever_answers() -> None:
    first, second = Answers(), Answers()
    first.answers = {"/v1/stores": stores(0), "/v1/topology": {"nodes": []}}
    second.answers = {"/v1/stores": [{"name": "x"}], "/v1/topology": TOPOLOGY}
    async with serving(first, second) as endpoints:
        workers = WorkersByHttp(nothing_forbidden)
        try:
            answers = await workers.stores(endpoints)
            assert [each.name for each in answers[endpoints[0]]] == ["counts", "words-by-minute"]  # type: ignore[union-attr]
            assert answers[endpoints[1]] == "what it answers is no list of stores"
            topology = await workers.topology(endpoints)
            assert [name for name, _ in topology.parts] == ["0", "1"]
        finally:
            await workers.close()


async def test_a_token_is_sent_where_it_is_set_and_asked_for_where_it_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Answers()
    server.status = 401
    server.answers["/v1/status"] = {"error_code": "UNAUTHORIZED", "message": "the token is missing"}
    async with serving(server) as (endpoint,):
        workers = WorkersByHttp(nothing_forbidden)
        try:
            monkeypatch.delenv(TOKEN, raising=False)
            answers = await workers.statuses([endpoint])
            assert answers[endpoint] == f"{endpoint} wants its application.server.token: put it into {TOKEN}"
            monkeypatch.setenv(TOKEN, "swordfish")
            answers = await workers.statuses([endpoint])
            assert answers[endpoint] == f"{endpoint} does not take the token of {TOKEN}: the token is missing"
            assert [each[2] for each in server.asked] == ["", "Bearer swordfish"]
        finally:
            await workers.close()


async def test_without_aiohttp_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *arguments: Any, **options: Any) -> Any:
        if name == "aiohttp":
            raise ImportError(name)
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(GatewayError, match=r"pip install 'kconsole\[streams\]'"):
        await WorkersByHttp(nothing_forbidden).statuses(["127.0.0.1:1"])


async def test_stores_made_of_a_masked_topic_are_not_shown() -> None:
    class Masks:
        masking_path = "masking.yaml"

        def is_masked(self, topic: str) -> bool:
            return topic == "customers"

    class Inner:
        streams = WorkersByHttp(nothing_forbidden)

    gateway = ReadableGateway(Inner(), Masks())  # type: ignore[arg-type]
    query = StoreQuery("counts", "range")
    with pytest.raises(GatewayError, match="customers is masked: stores made of it are not shown"):
        await gateway.streams.query(["127.0.0.1:1"], query, ["clicks", "customers"])
    with pytest.raises(GatewayError, match="cannot be reached"):
        await gateway.streams.query(["127.0.0.1:1"], query, ["clicks"])
    await Inner.streams.close()


# -- processes --------------------------------------------------------------------------------------------------------

# Listens as a worker does, under a command line of a test's choice.
LISTENER = """
import socket, time
listening = socket.create_server(("127.0.0.1", 0))
print(listening.getsockname()[1], flush=True)
time.sleep(60)
"""


def worker_of(process: subprocess.Popen[bytes], port: int, **changed: Any) -> WorkerTold:
    told = worker_told(f"127.0.0.1:{port}", status(0, 0))
    return told._replace(pid=process.pid, started_ms=int(time.time() * 1000), **changed)


@contextmanager
def listener(*words: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    process = subprocess.Popen([sys.executable, "-c", LISTENER, *words], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        yield process, int(process.stdout.readline())
    finally:
        process.kill()
        process.communicate()


def test_a_process_is_killed_that_is_a_worker_and_listens_where_it_answered() -> None:
    with listener("-m", "engine.streams.runtime") as (process, port):
        worker = worker_of(process, port)
        assert reason_against_kill(worker) == ""
        kill_worker(worker)
        assert process.wait(10) == -9
        with pytest.raises(GatewayError, match="there is no process"):
            kill_worker(worker)


def test_no_other_process_is_killed_whatever_a_worker_tells() -> None:
    with listener("something", "else") as (process, port):
        assert "is no worker of `kconsole streams`" in reason_against_kill(worker_of(process, port))
        with pytest.raises(GatewayError, match="is no worker"):
            kill_worker(worker_of(process, port))
        assert process.poll() is None
    with listener("-m", "engine.streams.runtime") as (process, port):
        for changed, said in (
            ({"endpoint": "127.0.0.1:1"}, "does not listen on"),
            ({"endpoint": f"192.0.2.7:{port}"}, "another machine: 192.0.2.7"),
            ({"pid": None}, "does not tell its process"),
            ({"pid": os.getpid()}, "is no worker"),
            ({"pid": 2**22 + 1}, "there is no process"),
            ({"started_ms": int((psutil.Process(process.pid).create_time() - 60) * 1000)}, "is younger"),
        ):
            worker = worker_of(process, port)._replace(**changed)
            assert said in reason_against_kill(worker), changed
            with pytest.raises(GatewayError, match=said):
                kill_worker(worker)
        assert process.poll() is None


async def test_nothing_is_killed_where_nothing_may_be_done() -> None:
    def forbidden() -> None:
        raise GatewayError("the console was opened with --read-only")

    with listener("-m", "engine.streams.runtime") as (process, port):
        with pytest.raises(GatewayError, match="read-only"):
            await WorkersByHttp(forbidden).kill(worker_of(process, port))
        assert process.poll() is None

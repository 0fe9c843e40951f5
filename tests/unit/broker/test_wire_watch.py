"""A broker tells who is connected and what passes on its wire, while somebody looks."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from engine.broker import questions, wire_watch
from engine.broker.questions import Questions
from engine.wire.messages.api_versions_request import ApiVersionsRequest
from tests.unit.broker.broker_requests import batch, create_topic, fetch_one, produce, produce_ok, produce_request
from tests.unit.broker.in_process_cluster import InProcessCluster

SECRET = b"what users wrote"
PRODUCE, FETCH = 0, 1


class Asking:
    """The supervisor's side."""

    def __init__(self, cluster: InProcessCluster) -> None:
        self.broker = cluster[1]
        self.questions = Questions(self.broker)
        self._published: list[dict[str, Any]] = []
        self.broker.publisher.publish = self._publish  # type: ignore[method-assign, assignment]

    def _publish(self, fact_type: str, /, **fields: Any) -> None:
        if fact_type == "answer":
            self._published.append(json.loads(json.dumps(fields)))

    def ask(self, question: str, **more: Any) -> dict[str, Any]:
        self.questions.ask(json.dumps({"id": 5, "question": question, **more}).encode())
        answer = self._published.pop()
        assert answer["id"] == 5
        return dict(answer["answer"])


async def test_requests_are_kept_only_while_somebody_looks_and_without_contents(
    broker: InProcessCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(questions, "_LOOKING_S", 600)
    asking = Asking(broker)
    await create_topic(broker, "t")
    assert asking.broker.router.watch is None
    watch = asking.ask("wire", after=0, limit=100)["watch"]
    await produce_ok(broker, 1, "t", SECRET)
    await fetch_one(broker, 1, "t")
    await produce(broker, 1, "missing")
    connection = await broker.connection(1)
    connection.post(produce_request("t", batch(SECRET), 0), version=12, expect_answer=False)
    await produce_ok(broker, 1, "t", SECRET)
    found = asking.ask("wire", watch=watch, after=0, limit=100)
    rows = [each for each in found["rows"] if each[4] == "PLAINTEXT" and each[6] in (PRODUCE, FETCH)]
    produced, _, refused, quiet, _ = rows
    assert [each[6] for each in rows] == [PRODUCE, FETCH, PRODUCE, PRODUCE, PRODUCE]
    assert produced[3] == refused[3] != "" and produced[8] > 0 and produced[9] > len(SECRET)
    assert produced[15] == [] and refused[15] == ["UNKNOWN_TOPIC_OR_PARTITION"]
    assert quiet[10] is None and quiet[16] == "needs no answer"
    # Queued, handled, sent: all of it is known, since it was looked at when they came.
    assert all(each is not None for each in produced[11:14])
    for row in rows:
        whole = asking.ask("message", watch=watch, number=row[0])
        kept = base64.b64decode(whole["request"]) + base64.b64decode(whole["response"])
        assert SECRET not in kept and (b"t" in kept or b"missing" in kept)
    assert asking.ask("wire", watch=watch, after=found["last"], limit=100)["rows"] == []
    # What is held stays, and nothing is added.
    asking.ask("wire", watch=watch, after=found["last"], limit=100, hold=True)
    await produce_ok(broker, 1, "t", SECRET)
    held = asking.ask("wire", watch=watch, after=found["last"], limit=100)
    assert PRODUCE not in [each[6] for each in held["rows"]] and held["unseen"] >= 1
    assert "row" in asking.ask("message", watch=watch, number=produced[0])
    monkeypatch.setattr(questions, "_LOOKING_S", 0.05)
    asking.ask("wire", watch=watch, after=0, limit=1)
    # Nobody asks any more: what was kept is gone, and numbers begin anew.
    await broker.until(lambda: asking.broker.router.watch is None, "nobody looks")
    await produce_ok(broker, 1, "t", SECRET)
    again = asking.ask("wire", watch=watch, after=found["last"], limit=100)
    assert again["rows"] == [] and again["last"] == 0 and again["watch"] != watch
    assert asking.ask("message", watch=watch, number=produced[0]) == {"gone": True}


async def test_of_more_than_anybody_reads_some_are_kept_and_the_others_counted(
    broker: InProcessCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire_watch, "_MOST_A_WINDOW", 3)
    monkeypatch.setattr(wire_watch, "_WINDOW_NS", 1 << 62)
    asking = Asking(broker)
    await create_topic(broker, "t")
    watch = asking.ask("wire", after=0, limit=100)["watch"]
    for _ in range(5):
        await produce_ok(broker, 1, "t", SECRET)
    found = asking.ask("wire", watch=watch, after=0, limit=100)
    assert 1 <= len(found["rows"]) <= 3 and found["unseen"] >= 2
    assert asking.ask("wire", watch=watch, after=found["last"], limit=100)["unseen"] == 0


async def test_connections_tell_who_and_how_much(broker: InProcessCluster) -> None:
    asking = Asking(broker)
    connection = await broker.connection(1)
    named = ApiVersionsRequest(client_software_name="librdkafka", client_software_version="2.16")
    await connection.send(named, version=3)
    found = asking.ask("connections")
    rows = {(each[2], each[4]): each for each in found["connections"]}
    row = rows["PLAINTEXT", "librdkafka"]
    assert row[3] == connection.client_id and row[5] == "2.16"
    assert row[7] >= 1 and row[8] > 0 and row[9] > 0 and row[10] == 0
    assert found["total"] == len(found["connections"]) == len(asking.broker.router.connections)
    # Nobody looked at the wire for that.
    assert asking.broker.router.watch is None


async def test_what_is_no_question_is_passed_over(broker: InProcessCluster) -> None:
    asking = Asking(broker)
    for line in (b"\n", b"[]\n", b'{"id": 1, "question": "password"}\n', b'{"question": "wire"}\n', b"\xff"):
        asking.questions.ask(line)
    assert asking._published == []

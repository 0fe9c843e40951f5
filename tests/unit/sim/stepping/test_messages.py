"""Frames out of pieces, answers with their questions, a line for every message that there is."""

from __future__ import annotations

import random
from typing import Any, cast

import pytest

from engine.sim.stepping.decoding import Decoded, decode_crossing, message_lines
from engine.sim.stepping.summaries import summary_of
from engine.sim.stepping.wire_log import Crossing, WireLog
from engine.wire.api_table import APIS
from engine.wire.apis import request_class, request_header_version, response_class, version_range
from engine.wire.codec import encode
from engine.wire.messages.metadata_request import MetadataRequest, MetadataRequestTopic
from engine.wire.messages.request_header import RequestHeader


class End:
    """One end of a connection, as far as the log looks at it."""

    def __init__(self, machine: str, peer_machine: str) -> None:
        self.machine, self.peer_machine = machine, peer_machine
        self.peer: Any = None

    def is_closing(self) -> bool:
        return False


def connection() -> tuple[Any, Any]:
    client, server = End("client-1", "broker-1"), End("broker-1", "client-1")
    client.peer, server.peer = server, client
    return client, server


def framed(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


def question(correlation_id: int) -> bytes:
    header = RequestHeader(3, 12, correlation_id, "someone")
    body = MetadataRequest(topics=[MetadataRequestTopic(name="orders")])
    return framed(encode(header, request_header_version(3, 12)) + encode(body, 12))


def answer(correlation_id: int) -> bytes:
    return framed(correlation_id.to_bytes(4, "big") + b"\0" + encode(response_class(3)(), 12))


@pytest.mark.parametrize("seed", range(5))
def test_frames_come_out_of_pieces_of_any_size(seed: int) -> None:
    rng = random.Random(seed)
    client, server = connection()
    log = WireLog()
    found: list[Crossing] = []

    def arrive(end: Any, stream: bytes, at_s: float) -> None:
        while stream:
            size = rng.randint(1, 40)
            piece, stream = stream[:size], stream[size:]
            found.extend(log.on_arrival(end, piece, at_s, len(found) + 1))

    arrive(server, b"".join(question(each) for each in range(3)), 1.0)
    arrive(client, b"".join(answer(each) for each in range(3)), 1.5)
    assert [each.number for each in found] == [1, 2, 3, 4, 5, 6]
    assert [each.is_request for each in found] == [True] * 3 + [False] * 3
    assert [each.answers for each in found] == [-1] * 3 + [1, 2, 3]
    assert {each.took_s for each in found[3:]} == {0.5}
    assert {(each.api, each.version, each.connection) for each in found} == {("Metadata", 12, 1)}
    decoded = decode_crossing(found[0])
    assert decoded.client_id == "someone"
    assert summary_of(found[0], decoded, str) == "orders"


def test_a_question_without_answer_does_not_take_that_of_another() -> None:
    client, server = connection()
    log = WireLog()
    log.on_arrival(server, question(1) + question(2), 1.0, 1)
    (found,) = log.on_arrival(client, answer(2), 2.0, 3)
    assert found.answers == 2
    assert log.on_arrival(client, answer(1), 2.0, 4) == [], "it was for acks=0: nothing answers it any more"


def test_what_is_no_frame_ends_that_stream_without_a_word() -> None:
    _, server = connection()
    assert WireLog().on_arrival(server, b"\xff" * 8, 1.0, 1) == []


@pytest.mark.parametrize("key", sorted(APIS), ids=lambda key: APIS[key][0])
def test_every_message_has_its_line_and_its_fields(key: int) -> None:
    low, high = version_range(key)
    for is_request in (True, False):
        message = request_class(key)() if is_request else response_class(key)()
        for version in {low, high}:
            crossing = cast(Any, Crossing)(1, 0.0, "a", "b", 1, is_request, key, version, 1, memoryview(b""), -1, 0.0)
            assert summary_of(crossing, Decoded(message, ""), lambda _: "topic")
            assert message_lines(message, version, lambda _: "topic") is not None


def test_bytes_that_are_no_message_are_told_as_such() -> None:
    crossing = Crossing(1, 0.0, "a", "b", 1, True, 3, 12, 1, memoryview(b"\0\3\0\x0c\0\0\0\1\xff\xff\x7f"), -1, 0.0)
    decoded = decode_crossing(crossing)
    assert decoded.message is None and decoded.problem
    assert summary_of(crossing, decoded, str).startswith("cannot be decoded")

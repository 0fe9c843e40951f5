"""Bytes of Connect's embedded group protocol, made by Kafka 4.3.1 (``IncrementalCooperativeConnectProtocol``)."""

from __future__ import annotations

import pytest

from engine.connect.runtime.group_protocol import (
    Assignment,
    ProtocolError,
    Work,
    WorkerState,
    decode_assignment,
    decode_state,
    encode_assignment,
    encode_state,
)
from engine.connect.runtime.herder import TaskId

FULL = Assignment(
    0,
    "connect-1-ab",
    "http://127.0.0.1:8083/",
    17,
    Work(("src", "käse"), (TaskId("src", 0), TaskId("src", 1), TaskId("snk", 3))),
    Work(("old",), (TaskId("old", 0),)),
    2500,
)
NONE = Assignment(1, "connect-1-ab", "http://127.0.0.1:8083/", 17)
ASSIGNMENTS = {
    "full": (
        "00020000000c636f6e6e6563742d312d61620016687474703a2f2f3132372e302e302e313a383038332f000000000000"
        "001100000003000373726300000003ffffffff000000000000000100056bc3a4736500000001ffffffff0003736e6b00"
        "000001000000030000000100036f6c6400000002ffffffff00000000000009c4"
    ),
    "none": (
        "00020001000c636f6e6e6563742d312d61620016687474703a2f2f3132372e302e302e313a383038332f000000000000"
        "0011000000000000000000000000"
    ),
}
STATES = {
    "full": (
        "00020016687474703a2f2f3132372e302e302e313a383038342f00000000000000150000008000020000000c636f6e6e"
        "6563742d312d61620016687474703a2f2f3132372e302e302e313a383038332f00000000000000110000000300037372"
        "6300000003ffffffff000000000000000100056bc3a4736500000001ffffffff0003736e6b0000000100000003000000"
        "0100036f6c6400000002ffffffff00000000000009c4"
    ),
    "none": ("00020016687474703a2f2f3132372e302e302e313a383038342fffffffffffffffffffffffff"),
}


def test_an_assignment_has_kafkas_bytes() -> None:
    for each, name in ((FULL, "full"), (NONE, "none")):
        data = bytes.fromhex(ASSIGNMENTS[name])
        assert encode_assignment(each, 2) == data
        assert decode_assignment(data) == each
        # Version 1 has another number at the front.
        assert encode_assignment(each, 1) == b"\0\1" + data[2:]


def test_a_workers_state_has_kafkas_bytes() -> None:
    for state, name in (
        (WorkerState("http://127.0.0.1:8084/", 21, FULL), "full"),
        (WorkerState("http://127.0.0.1:8084/", -1), "none"),
    ):
        data = bytes.fromhex(STATES[name])
        assert encode_state(state, 2) == data
        assert decode_state(data) == state


@pytest.mark.parametrize("cut", [0, 1, 5, 30, 60])
def test_bytes_that_end_in_the_middle_are_refused(cut: int) -> None:
    with pytest.raises(ProtocolError, match="in the middle"):
        decode_assignment(bytes.fromhex(ASSIGNMENTS["full"])[:cut])

"""What crossed the wire: pieces of streams gathered to frames, each with its API, and answers with their questions."""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

from engine.sim.network import SimTransport
from engine.wire.api_table import APIS
from engine.wire.framing import FrameError, FrameSplitter

_REQUEST_HEAD = Struct(">hhi")
_CORRELATION = Struct(">i")
_MOST_BYTES = 1 << 28
_KEPT_DIRECTIONS = 400


class Crossing(NamedTuple):
    """One whole frame that arrived. ``connection`` numbers connections in the order of their first frames; an answer
    has the number of its question in ``answers``, and how long that was ago."""

    number: int
    at_s: float
    source: str
    target: str
    connection: int
    is_request: bool
    api_key: int
    version: int
    correlation_id: int
    frame: memoryview
    answers: int
    took_s: float

    @property
    def api(self) -> str:
        """Kafka's name of the API."""
        return APIS[self.api_key][0] if self.api_key in APIS else f"API {self.api_key}"

    @property
    def is_between_brokers(self) -> bool:
        """Whether no client has a part in it."""
        return is_broker(self.source) and is_broker(self.target)


def is_broker(machine: str) -> bool:
    """Whether a broker runs on the machine."""
    return machine.startswith("broker-")


class _Asked(NamedTuple):
    number: int
    at_s: float
    api_key: int
    version: int


class _Direction:
    """One way of a connection."""

    __slots__ = ("asked", "connection", "is_requests", "splitter")

    def __init__(self, connection: int, asked: dict[int, _Asked], is_requests: bool) -> None:
        self.splitter = FrameSplitter(_MOST_BYTES)
        self.connection = connection
        self.asked = asked
        self.is_requests = is_requests


class WireLog:
    """Takes pieces as they arrive, gives frames as they are complete."""

    def __init__(self) -> None:
        self._directions: dict[SimTransport, _Direction] = {}
        self._connections = 0

    def on_arrival(self, end: SimTransport, piece: bytes, at_s: float, next_number: int) -> list[Crossing]:
        """The frames that ``piece`` completes at ``end``, numbered from ``next_number`` on."""
        direction = self._directions.get(end) or self._open(end)
        try:
            frames = direction.splitter.feed(piece)
        except FrameError:
            # Nothing after it can be told apart either.
            return []
        found: list[Crossing] = []
        for frame in frames:
            crossing = self._crossing(direction, end, frame, at_s, next_number + len(found))
            if crossing is not None:
                found.append(crossing)
        return found

    def _open(self, end: SimTransport) -> _Direction:
        if len(self._directions) > _KEPT_DIRECTIONS:
            self._directions = {each: way for each, way in self._directions.items() if not each.is_closing()}
        other = self._directions.get(end.peer) if end.peer is not None else None
        if other is None:
            # Who connects asks first.
            self._connections += 1
            direction = _Direction(self._connections, {}, True)
        else:
            direction = _Direction(other.connection, other.asked, not other.is_requests)
        self._directions[end] = direction
        return direction

    @staticmethod
    def _crossing(
        direction: _Direction, end: SimTransport, frame: memoryview, at_s: float, number: int
    ) -> Crossing | None:
        if len(frame) < (_REQUEST_HEAD.size if direction.is_requests else _CORRELATION.size):
            return None
        if direction.is_requests:
            api_key, version, correlation_id = _REQUEST_HEAD.unpack_from(frame)
            direction.asked[correlation_id] = _Asked(number, at_s, api_key, version)
            asked, took_s = -1, 0.0
        else:
            (correlation_id,) = _CORRELATION.unpack_from(frame)
            question = direction.asked.pop(correlation_id, None)
            if question is None:
                return None
            # Answers come in the order of their questions: those before have none (acks=0).
            for each in [each for each, other in direction.asked.items() if other.number < question.number]:
                del direction.asked[each]
            api_key, version = question.api_key, question.version
            asked, took_s = question.number, at_s - question.at_s
        return Crossing(
            number,
            at_s,
            end.peer_machine,
            end.machine,
            direction.connection,
            direction.is_requests,
            api_key,
            version,
            correlation_id,
            frame,
            asked,
            took_s,
        )

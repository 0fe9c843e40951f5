"""What is wrong with the network between brokers and clients: cuts, delays, and requests that come late or twice.

Nodes are broker ids, and :data:`~engine.model.broker_faults.CLIENTS` for everybody else. Who sends a request stands in
its client.id: brokers use
the names that Kafka's brokers use (``broker-1-fetcher-2``, ``broker-1-to-controller``, ``raft-client-1``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from struct import Struct
from typing import Literal, NamedTuple

from engine.model.broker_faults import node_of
from engine.wire.apis import ApiKey
from engine.wire.framing import FrameError

# Clients whose Produce requests may come twice: the broker has to know a batch again (promises T1 and T2).
IDEMPOTENT_PREFIX = "idempotent"

_HEAD = Struct(">hhih")
_APIS = frozenset(map(int, ApiKey))
_MAX_CLIENT_ID = 32767


class Request(NamedTuple):
    """A request on its way; ``frame`` has everything behind the size."""

    source: int
    target: int
    api_key: int
    client_id: str
    frame: memoryview


def read_request(frame: memoryview, target: int) -> Request:
    """The head of a request. Raises: FrameError: it is none of Kafka's."""
    if len(frame) < _HEAD.size:
        raise FrameError("a request is shorter than its header")
    api_key, version, _, length = _HEAD.unpack_from(frame)
    if api_key not in _APIS or version < 0 or not -1 <= length <= min(_MAX_CLIENT_ID, len(frame) - _HEAD.size):
        raise FrameError(f"api key {api_key} in version {version} with a client.id of {length} bytes is no request")
    client_id = bytes(frame[_HEAD.size : _HEAD.size + max(0, length)]).decode(errors="replace")
    return Request(node_of(client_id), target, api_key, client_id, frame)


def may_come_late(request: Request) -> bool:
    """Whether its sender may be gone, and have sent newer ones elsewhere, before it arrives.

    Kafka fences old offset commits of past generations only: a late one of the same generation sets the offset back,
    in Kafka as here. Nobody is promised more, so the proxy loses these with their connection.
    """
    return request.api_key != ApiKey.OFFSET_COMMIT


def may_come_twice(request: Request) -> bool:
    """Whether a second copy of the request must have no effect that clients may see.

    A batch without a producer id is appended again, rightly; a topic that was created again after it was deleted, or
    deleted again, is what the second request asks for.
    """
    if request.api_key == ApiKey.PRODUCE:
        return request.client_id.startswith(IDEMPOTENT_PREFIX)
    return request.api_key not in (ApiKey.OFFSET_COMMIT, ApiKey.CREATE_TOPICS, ApiKey.DELETE_TOPICS)


@dataclass(slots=True, eq=False)
class Tampering:
    """What becomes of the next ``left`` requests that ``matches``.

    ``hold``: the request stands still, and all behind it on its connection. If the sender has given up by
    ``after_s``, the requests arrive then over a connection of their own, and nobody reads the answers: what happens
    when a network delivers late (KAFKA-17754). With ``resets`` the sender's connection is lost at once, so that it
    comes again over another one long before that.

    ``repeat``: it passes, and arrives once more ``after_s`` later over a connection of its own.
    """

    kind: Literal["hold", "repeat"]
    matches: Callable[[Request], bool]
    after_s: float
    left: int = 1
    resets: bool = False

    def takes(self, request: Request) -> bool:
        """Whether it applies to the request."""
        is_harmless = may_come_twice(request) if self.kind == "repeat" else may_come_late(request)
        return self.left > 0 and is_harmless and self.matches(request)


@dataclass(slots=True, eq=False)
class NetworkFaults:
    """The present state of the network. ``done`` counts what happened to requests."""

    cuts: set[tuple[int, int]] = field(default_factory=set)
    """Nothing passes from the first to the second."""
    delays_s: dict[tuple[int, int], float] = field(default_factory=dict)
    tamperings: list[Tampering] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)

    def is_cut(self, source: int, target: int) -> bool:
        """Whether bytes from one node to the other stand still."""
        return (source, target) in self.cuts

    def delay_s(self, source: int, target: int) -> float:
        """How much longer than usual bytes take."""
        return self.delays_s.get((source, target), 0.0)

    def tampering_with(self, request: Request) -> Tampering | None:
        """What is to be done to the request; it counts as done."""
        for tampering in self.tamperings:
            if tampering.takes(request):
                tampering.left -= 1
                if not tampering.left:
                    self.tamperings.remove(tampering)
                self.done["held" if tampering.kind == "hold" else "duplicated"] += 1
                return tampering
        return None

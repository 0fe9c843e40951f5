"""Faults of whole messages: one frame of a connection is held and arrives late, or comes once more on a connection of
its own.

What TCP allows: bytes that a network holds arrive in their order behind everything that waits with them, and may do so
long after the client gave the connection up, for the server then still has it open. The server acts on the request and
its answer goes nowhere (KAFKA-17754). TCP never doubles anything: a frame that comes twice stands for a client that
sent it again over another connection while the network kept the first one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from engine.sim.loop import Incarnation
from engine.wire.apis import ApiKey

if TYPE_CHECKING:
    from engine.sim.network import Fabric, SimTransport

# A frame: its size in 4 bytes, then the api key in 2.
_KEY_AT = 4
_HEADER_BYTES = 6
# A connection that carries one repeated frame is closed after so long.
_REPEAT_CONNECTION_S = 5.0


class FrameFault:
    """Strikes one frame, the next one from ``source`` to ``target`` (None: any machine) with one of ``keys``.

    ``hold_s``: the frame and what follows on its connection arrive so much later. ``repeat_s``: a copy of the frame
    arrives over another connection so much later. ``on_struck`` is told what was hit.
    """

    __slots__ = ("hold_s", "keys", "on_struck", "repeat_s", "source", "target")

    def __init__(
        self,
        keys: Collection[int],
        on_struck: Callable[[str], None],
        *,
        source: str | None = None,
        target: str | None = None,
        hold_s: float | None = None,
        repeat_s: float | None = None,
    ) -> None:
        self.keys = keys
        self.on_struck = on_struck
        self.source = source
        self.target = target
        self.hold_s = hold_s
        self.repeat_s = repeat_s

    def hits(self, stream: SimTransport, frame: bytes) -> bool:
        """Whether it is meant: clients write a frame a piece."""
        return (
            stream.is_client
            and len(frame) >= _HEADER_BYTES
            and (self.source is None or self.source == stream.machine)
            and (self.target is None or self.target == stream.peer_machine)
            and stream.machine != stream.peer_machine
            and int.from_bytes(frame[_KEY_AT:_HEADER_BYTES], "big") in self.keys
        )

    def strike(self, fabric: Fabric, stream: SimTransport, frame: bytes) -> None:
        """Do it; the frame itself is sent by the caller, after this."""
        name = ApiKey(int.from_bytes(frame[_KEY_AT:_HEADER_BYTES], "big")).name
        where = f"{stream.machine}>{stream.peer_machine}"
        if self.hold_s is not None:
            stream.hold(self.hold_s)
            self.on_struck(f"hold {name} {where} for {self.hold_s:.2f} s")
        if self.repeat_s is not None:
            source, address = stream.machine, stream.peer_address
            fabric.loop.call_later(self.repeat_s, lambda: repeat_frame(fabric, source, address, frame))
            self.on_struck(f"repeat {name} {where} after {self.repeat_s:.2f} s")


class _Deaf:
    """The client's side of a connection whose answers nobody waits for."""

    def connection_made(self, transport: object) -> None:
        pass

    def data_received(self, data: bytes) -> None:
        pass

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, error: Exception | None) -> None:
        pass

    def pause_writing(self) -> None:
        pass

    def resume_writing(self) -> None:
        pass


def repeat_frame(fabric: Fabric, source: str, address: tuple[str, int], frame: bytes) -> bool:
    """Send the frame over a new connection from ``source``; whether there was anybody to take it."""
    client = Incarnation(f"{source}#again")
    stream = fabric.open_stream(client, address, _Deaf)
    if stream is None:
        return False
    stream.write(frame)
    fabric.loop.call_later(_REPEAT_CONNECTION_S, stream.abort)
    return True

"""Streams of bytes between simulated processes, with asyncio's transports and protocols: delayed, cut, broken, held.

A connection is two one-way streams. A cut direction delivers nothing until it heals, as TCP sends anew; a process that
is killed resets its connections (SIGKILL) or leaves them silent (loss of power). What was on its way when a client
closed may still arrive: a server then acts on a request whose client has long turned to another connection.
"""

from __future__ import annotations

import asyncio
import errno
import random
import ssl
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from engine.sim.frame_faults import FrameFault
from engine.sim.loop import Incarnation, SimLoop, current_incarnation
from engine.world import Listener

_HIGH_WATER_BYTES = 64 * 1024
_LOOPBACK_S = 0.00002


class LinkTiming:
    """How long a piece of a stream is on its way: uniform, and now and then much longer. Seconds."""

    __slots__ = ("hiccup_chance", "hiccup_s", "longest_s", "shortest_s")

    def __init__(
        self, shortest_s: float = 0.0001, longest_s: float = 0.002, hiccup_chance: float = 0.0, hiccup_s: float = 0.5
    ) -> None:
        self.shortest_s = shortest_s
        self.longest_s = longest_s
        self.hiccup_chance = hiccup_chance
        self.hiccup_s = hiccup_s


class Fabric:
    """All listeners and streams of a simulation, and the faults between its machines."""

    def __init__(self, loop: SimLoop, rng: random.Random, timing: LinkTiming | None = None) -> None:
        self.loop = loop
        self.rng = rng
        self.timing = timing or LinkTiming()
        self._listeners: dict[tuple[str, int], tuple[Incarnation, Callable[[], asyncio.BaseProtocol]]] = {}
        # Directions (from machine, to machine) that deliver nothing now.
        self._cut: dict[tuple[str, str], None] = {}
        # Machines whose servers accept connections and never get an answer out.
        self._mute: dict[str, None] = {}
        self._frame_faults: dict[FrameFault, None] = {}
        # Whether what is sent has to be looked at before it goes.
        self.is_disturbed = False
        self._streams: dict[SimTransport, None] = {}
        self._next_port = 40_000
        # Called with (from machine, to machine, bytes) for each piece that arrives.
        self.on_delivered: Callable[[str, str, bytes], None] | None = None
        # The same for who tells connections apart: the end at which it arrives, and the bytes.
        self.on_arrival: Callable[[SimTransport, bytes], None] | None = None

    # -- faults -------------------------------------------------------------------------------------------------

    def cut(self, source: str, target: str) -> None:
        """Nothing from ``source`` reaches ``target`` any more."""
        self._cut[source, target] = None
        self.is_disturbed = True

    def mute(self, machine: str) -> None:
        """Connections to the machine open and its servers' answers stay away, until :meth:`unmute`."""
        self._mute[machine] = None
        self.is_disturbed = True

    def unmute(self, machine: str) -> None:
        """What was held arrives now."""
        self._mute.pop(machine, None)
        self._disturbance_ended()

    def arm(self, fault: FrameFault) -> None:
        """The next frame that it is meant for is struck."""
        self._frame_faults[fault] = None
        self.is_disturbed = True

    def disarm(self, fault: FrameFault) -> bool:
        """Whether it had not struck yet."""
        was_armed = fault in self._frame_faults
        self._frame_faults.pop(fault, None)
        self._disturbance_ended()
        return was_armed

    def strike(self, stream: SimTransport, frame: bytes) -> None:
        """A frame is about to be sent: perhaps something happens to it."""
        for fault in self._frame_faults:
            if fault.hits(stream, frame):
                del self._frame_faults[fault]
                self._look_for_disturbances()
                fault.strike(self, stream, frame)
                return

    def blocks(self, stream: SimTransport) -> bool:
        """Whether nothing that the stream sends arrives now."""
        return (stream.machine, stream.peer_machine) in self._cut or (
            not stream.is_client and stream.machine in self._mute and stream.machine != stream.peer_machine
        )

    def _look_for_disturbances(self) -> None:
        self.is_disturbed = bool(self._cut or self._mute or self._frame_faults)

    def _disturbance_ended(self) -> None:
        self._look_for_disturbances()
        for stream in list(self._streams):
            stream.deliver_held()

    def heal(self, source: str | None = None, target: str | None = None) -> None:
        """The direction works again, or all of them; what was sent meanwhile arrives now."""
        healed = [
            each
            for each in self._cut
            if (source is None or each[0] == source) and (target is None or each[1] == target)
        ]
        for each in healed:
            del self._cut[each]
        self._disturbance_ended()

    def heal_all(self) -> None:
        """No fault lies in wait, no direction is cut, nothing is held; ends of a connection that was lost are told."""
        self._mute.clear()
        self._frame_faults.clear()
        self.heal()
        for stream in list(self._streams):
            stream.heal()

    def is_cut(self, source: str, target: str) -> bool:
        """Whether the direction is cut."""
        return (source, target) in self._cut

    @property
    def cuts(self) -> list[tuple[str, str]]:
        """The directions that are cut now."""
        return list(self._cut)

    def on_process_died(self, incarnation: Incarnation, *, silently: bool) -> None:
        """Its listeners are gone; its peers see a reset, or (``silently``) nothing at all."""
        for address in [each for each, (owner, _) in self._listeners.items() if owner is incarnation]:
            del self._listeners[address]
        for stream in [each for each in self._streams if each.owner is incarnation]:
            stream.on_owner_died(silently=silently)

    def reset_connections(self, first: str, second: str) -> int:
        """Break every connection between two machines; how many."""
        found = self.streams_between(first, second)
        for stream in found:
            stream.reset_by_network()
        return len(found)

    def streams_between(self, first: str, second: str) -> list[SimTransport]:
        """The first machine's ends of all open connections with the second."""
        return [
            stream
            for stream in self._streams
            if stream.machine == first and stream.peer_machine == second and not stream.is_closing()
        ]

    # -- streams ------------------------------------------------------------------------------------------------

    def delay_s(self, source: str, target: str) -> float:
        """How long the next piece is on its way."""
        if source == target:
            return _LOOPBACK_S
        timing = self.timing
        if timing.hiccup_chance and self.rng.random() < timing.hiccup_chance:
            return self.rng.uniform(timing.longest_s, timing.hiccup_s)
        # As random.uniform.
        shortest_s = timing.shortest_s
        return shortest_s + (timing.longest_s - shortest_s) * self.rng.random()

    def listen(
        self, incarnation: Incarnation, host: str, port: int, factory: Callable[[], asyncio.BaseProtocol]
    ) -> SimListener:
        """Bind. Raises ``OSError``: the address is in use."""
        if port == 0:
            self._next_port += 1
            port = self._next_port
        if (host, port) in self._listeners:
            raise OSError(errno.EADDRINUSE, "Address already in use")
        self._listeners[host, port] = (incarnation, factory)
        return SimListener(self, (host, port))

    def unlisten(self, address: tuple[str, int]) -> None:
        """Stop accepting."""
        self._listeners.pop(address, None)

    async def connect(
        self, client: Incarnation, host: str, port: int, factory: Callable[[], Any], timeout_ms: float
    ) -> tuple[SimTransport, Any]:
        """Open a stream. Raises ``ConnectionRefusedError``, or ``TimeoutError`` where nothing answers."""
        source, target = machine_of(client), host
        deadline = self.loop.time() + timeout_ms / 1000
        wait_s = 0.05
        await asyncio.sleep(self.delay_s(source, target))
        while self.is_cut(source, target) or self.is_cut(target, source) or self._is_silent(host):
            left_s = deadline - self.loop.time()
            if left_s <= 0:
                raise TimeoutError(f"no answer from {host}:{port}")
            await asyncio.sleep(min(wait_s, left_s))
            wait_s *= 2
        found = self._listeners.get((host, port))
        if found is None:
            await asyncio.sleep(self.delay_s(target, source))
            raise ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
        near = self._open(client, (host, port), found, factory)
        await asyncio.sleep(self.delay_s(target, source))
        return near, near.get_protocol()

    def _open(
        self,
        client: Incarnation,
        address: tuple[str, int],
        listener: tuple[Incarnation, Callable[[], asyncio.BaseProtocol]],
        factory: Callable[[], Any],
    ) -> SimTransport:
        source = machine_of(client)
        server, server_factory = listener
        self._next_port += 1
        client_address = (source, self._next_port)
        near = SimTransport(self, client, client_address, address, address[0], is_client=True)
        far = SimTransport(self, server, address, client_address, source, is_client=False)
        near.peer, far.peer = far, near
        self._streams[near] = self._streams[far] = None
        near.start(factory())
        # The server learns of it a little later, in its own time.
        self.loop.call_later(
            self.delay_s(source, address[0]), lambda: far.start(server_factory()), context=server.context.copy()
        )
        return near

    def open_stream(
        self, client: Incarnation, address: tuple[str, int], factory: Callable[[], Any]
    ) -> SimTransport | None:
        """A connection that is open at once, for what is no process's; None: nobody listens, or is reached."""
        source, target = machine_of(client), address[0]
        found = self._listeners.get(address)
        if found is None or self._is_silent(target) or self.is_cut(source, target) or self.is_cut(target, source):
            return None
        return self._open(client, address, found, factory)

    def _is_silent(self, host: str) -> bool:
        """A machine without power answers nothing, not even with a refusal."""
        return host in self.dark_machines

    dark_machines: set[str] = set()  # noqa: RUF012  replaced, never changed

    def forget(self, stream: SimTransport) -> None:
        """The stream has ended."""
        self._streams.pop(stream, None)


def machine_of(incarnation: Incarnation) -> str:
    """The machine that a process runs on: its name up to the life's number."""
    return incarnation.name.partition("#")[0]


class SimListener:
    """A listening socket."""

    __slots__ = ("_fabric", "address")

    def __init__(self, fabric: Fabric, address: tuple[str, int]) -> None:
        self._fabric = fabric
        self.address = address

    async def close(self) -> None:
        self._fabric.unlisten(self.address)


class SimTransport(asyncio.Transport):
    """One end of a connection."""

    def __init__(
        self,
        fabric: Fabric,
        owner: Incarnation,
        address: tuple[str, int],
        peer: tuple[str, int],
        peer_machine: str,
        *,
        is_client: bool,
    ) -> None:
        super().__init__({"peername": peer, "sockname": address})
        self._fabric = fabric
        self.owner = owner
        self.machine = machine_of(owner)
        self.peer_machine = peer_machine
        self.peer_address = peer
        self.is_client = is_client
        self.peer: SimTransport | None = None
        # Of what this end's protocol is told.
        self._context = owner.context.copy()
        self._protocol: Any = None
        self._closing = False
        self._lost = False
        self._is_reading = True
        self._high = _HIGH_WATER_BYTES
        self._low = _HIGH_WATER_BYTES // 4
        self._writing_paused = False
        # Bytes that this end wrote and the other did not take yet.
        self._unsent = 0
        # What arrived and was not handed over: pieces, then None for the end of the stream.
        self._inbox: deque[bytes | None] = deque()
        # What was sent into a direction that is cut, or is held; _RESET: this end gave up.
        self._held: deque[Any] = deque()
        # The network holds what this end sends; it has lost the connection, and drops it.
        self._is_held = False
        self._is_lost_in_network = False
        # Any of the three.
        self._is_disturbed = False
        self._last_arrival = 0.0
        self._handing = False

    # -- asyncio.Transport --------------------------------------------------------------------------------------

    def start(self, protocol: Any) -> None:
        """The connection is open for this end's protocol."""
        self._protocol = protocol
        self._in_owner(lambda: protocol.connection_made(self))
        self._hand_over_soon()

    def get_protocol(self) -> Any:
        return self._protocol

    def set_protocol(self, protocol: Any) -> None:
        self._protocol = protocol

    def is_closing(self) -> bool:
        return self._closing

    def get_write_buffer_size(self) -> int:
        return self._unsent

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._high = _HIGH_WATER_BYTES if high is None else high
        self._low = self._high // 4 if low is None else low

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._closing or self._lost or not len(data):
            return
        self._send(bytes(data))

    def writelines(self, list_of_data: Any) -> None:
        self.write(b"".join(list_of_data))

    def can_write_eof(self) -> bool:
        return False

    def pause_reading(self) -> None:
        self._is_reading = False

    def resume_reading(self) -> None:
        self._is_reading = True
        self._hand_over_soon()

    def is_reading(self) -> bool:
        return self._is_reading

    def close(self) -> None:
        if self._closing:
            return
        self._closing = True
        self._send(None)
        self._fabric.loop.call_soon(self._lose, None, context=self.owner.context.copy())

    def abort(self) -> None:
        if self._lost:
            return
        self._closing = True
        self._inbox.clear()
        self._send_reset()
        self._fabric.loop.call_soon(self._lose, None, context=self.owner.context.copy())

    # -- sending ------------------------------------------------------------------------------------------------

    def _send(self, piece: bytes | None) -> None:
        if piece is not None:
            self._unsent += len(piece)
            if self._unsent > self._high and not self._writing_paused:
                self._writing_paused = True
                self._protocol.pause_writing()
        if self._is_disturbed or self._fabric.is_disturbed:
            self._send_disturbed(piece)
        else:
            self._launch(piece)

    def _send_disturbed(self, piece: bytes | None) -> None:
        if self._is_lost_in_network:
            return
        if piece is not None and not self._is_held and not self._held:
            self._fabric.strike(self, piece)
        if self._is_held or self._held or self._fabric.blocks(self):
            self._held.append(piece)
            self._is_disturbed = True
        else:
            self._launch(piece)

    def _send_reset(self) -> None:
        """Tell the other end that this one is gone, if the network lets it."""
        peer = self.peer
        if peer is None or self._is_lost_in_network:
            return
        if self._is_held:
            self._held.append(_RESET)
        elif self._fabric.is_disturbed and self._fabric.blocks(self):
            # A kernel does not send resets again, nor what an aborted connection had not sent.
            self._held.clear()
        else:
            self._after_delay(peer.on_reset)

    def hold(self, seconds: float) -> None:
        """The network holds what this end sends for so long, and lets it go in its order: also when this end has given
        the connection up meanwhile, of which the other one then may learn or not."""
        self._is_held = self._is_disturbed = True
        self._fabric.loop.call_later(seconds, self._release, context=_NOBODY)

    def _release(self) -> None:
        self._is_held = False
        if self._lost and self._held and self._held[-1] is _RESET and self._fabric.rng.random() < 0.5:
            self._held.pop()
        self.deliver_held()

    def lose_in_network(self) -> None:
        """From now on nothing that either end sends arrives: a middlebox forgot the connection, and says nothing."""
        for end in (self, self.peer):
            if end is not None:
                end._is_lost_in_network = end._is_disturbed = True
                end._held.clear()

    def heal(self) -> None:
        """What the network holds it lets go; if it has lost the connection, this end learns of it."""
        if self._is_held:
            self._release()
        if self._is_lost_in_network:
            self.on_reset()

    def deliver_held(self) -> None:
        """The direction may have healed."""
        if self._held and not self._is_held and not self._fabric.blocks(self):
            held, self._held = self._held, deque()
            for piece in held:
                self._launch(piece)
        self._is_disturbed = bool(self._held or self._is_held or self._is_lost_in_network)

    def _launch(self, piece: Any) -> None:
        peer = self.peer
        assert peer is not None
        if piece is _RESET:
            self._after_delay(peer.on_reset)
        else:
            self._after_delay(peer.on_arrived, piece)

    def _after_delay(self, arrive: Callable[..., None], *piece: bytes | None) -> None:
        """Pieces of a stream arrive in their order. The arrival is nobody's callback: a kernel takes it."""
        fabric = self._fabric
        loop = fabric.loop
        at = loop.time() + fabric.delay_s(self.machine, self.peer_machine)
        if at < self._last_arrival:
            at = self._last_arrival
        self._last_arrival = at
        loop.call_at(at, arrive, *piece, context=_NOBODY)

    # -- receiving ----------------------------------------------------------------------------------------------

    def on_arrived(self, piece: bytes | None) -> None:
        """The kernel of this end has it."""
        if not self.owner.is_alive:
            if self.machine not in self._fabric.dark_machines:
                # The machine is back and knows of no such connection.
                self._send_reset()
            return
        if self._lost:
            if piece is not None:
                # Nobody takes it: what TCP says to that.
                self._send_reset()
            return
        if piece is not None and self._fabric.on_delivered is not None:
            self._fabric.on_delivered(self.peer_machine, self.machine, piece)
        if piece is not None and self._fabric.on_arrival is not None:
            self._fabric.on_arrival(self, piece)
        self._inbox.append(piece)
        if self.owner.is_paused:
            self._hand_over_soon()
        elif not self._handing and self._protocol is not None:
            # At once: a callback of its own for each piece would be every seventh.
            self._context.run(self._hand_over)

    def _hand_over_soon(self) -> None:
        if self._inbox and not self._handing and self._protocol is not None:
            self._handing = True
            self._fabric.loop.call_soon(self._hand_over, context=self._context)

    def _hand_over(self) -> None:
        """The process reads: all that is there, or as much as a socket buffer gives it at once."""
        self._handing = False
        inbox = self._inbox
        while inbox and self._is_reading and not self._lost:
            piece = inbox.popleft()
            if piece is None:
                if not self._closing:
                    keep_open = self._protocol.eof_received()
                    if not keep_open:
                        self.close()
                return
            if self.peer is not None:
                self.peer.on_taken(len(piece))
            if not self._closing:
                self._protocol.data_received(piece)

    def on_taken(self, count: int) -> None:
        """The other end read ``count`` bytes."""
        self._unsent -= count
        if self._writing_paused and self._unsent <= self._low and not self._lost:
            self._writing_paused = False
            self._in_owner(self._protocol.resume_writing)

    def _in_owner(self, callback: Callable[[], None]) -> None:
        if current_incarnation() is self.owner:
            callback()
        else:
            self._fabric.loop.call_soon(callback, context=self.owner.context.copy())

    # -- ends ---------------------------------------------------------------------------------------------------

    def _lose(self, error: Exception | None) -> None:
        if self._lost:
            return
        self._lost = True
        self._closing = True
        self._fabric.forget(self)
        if self._protocol is not None:
            self._protocol.connection_lost(error)

    def on_reset(self) -> None:
        """The other end is gone. What arrived before is read first, or is lost with it, as the seed has it."""
        if self._lost or not self.owner.is_alive:
            return
        if self._inbox and self._fabric.rng.random() < 0.5:
            self._inbox.clear()
        error = ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")
        self._fabric.loop.call_soon(self._lose, error, context=self.owner.context.copy())

    def reset_by_network(self) -> None:
        """Both ends see a reset."""
        for end in (self, self.peer):
            if end is not None:
                end.on_reset()

    def on_owner_died(self, *, silently: bool) -> None:
        """This end's process is dead."""
        self._lost = self._closing = True
        self._fabric.forget(self)
        if not silently:
            self._send_reset()


class NodeNetwork:
    """The network as one process sees it (engine.world.Network)."""

    __slots__ = ("_fabric", "_incarnation")

    def __init__(self, fabric: Fabric, incarnation: Incarnation) -> None:
        self._fabric = fabric
        self._incarnation = incarnation

    async def listen(
        self,
        host: str,
        port: int,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        *,
        tls: ssl.SSLContext | None = None,
    ) -> Listener:
        return self._fabric.listen(self._incarnation, host, port, protocol_factory)

    async def connect(
        self,
        host: str,
        port: int,
        protocol_factory: Callable[[], Any],
        *,
        timeout_ms: float,
        tls: ssl.SSLContext | None = None,
    ) -> tuple[asyncio.Transport, Any]:
        return await self._fabric.connect(self._incarnation, host, port, protocol_factory, timeout_ms)


def _no_context() -> Any:
    import contextvars

    return contextvars.Context()


# The context of what belongs to no process: deliveries go on while processes are paused or dead.
_NOBODY = _no_context()
_RESET = object()

__all__: Sequence[str] = ["Fabric", "LinkTiming", "NodeNetwork", "SimTransport", "machine_of"]

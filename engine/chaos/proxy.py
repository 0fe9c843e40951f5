"""A proxy in front of every listener of a cluster, which reads Kafka's frames and lets a network misbehave.

Brokers advertise its doors, and the voters' addresses are its doors, so that everything but a test's own look passes
through it. A connection is a :class:`Link` of two sockets and two pipes, one a direction. What cannot pass stands still
in its pipe, as TCP would have it: it arrives when the network has healed, in order, even if the sender has left
meanwhile; the end of the connection waits behind it. A link is opened towards the broker once its first request has
said who sends it.

While nothing listens behind a door, the door is closed too: a client has to be refused, not to be accepted and hung up
on.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import deque
from collections.abc import Iterable
from struct import Struct
from typing import cast

from engine.chaos.network import NetworkFaults, Request, Tampering, may_come_late, read_request
from engine.wire.framing import FrameError, FrameSplitter

Address = tuple[str, int]

_SIZE = Struct(">i")
_MAX_FRAME_BYTES = 128 << 20
# A pipe that stands still takes no more than this: then its sender feels it, as with full socket buffers.
_MAX_WAITING_BYTES = 16 << 20
# How often a closed door looks whether somebody listens again.
_KNOCK_S = 0.02
_KNOCKING_S = 1.0
# Answers to a request whose sender is gone are waited for so long, and thrown away.
_LATE_ANSWERS_S = 5.0


class _End(asyncio.Protocol):
    """One of the two sockets of a link."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have the methods, not the base class.
        self.transport = cast(asyncio.Transport, transport)
        self._link.on_open(self)

    def data_received(self, data: bytes) -> None:
        self._link.on_data(self, data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        self._link.on_lost(self)

    def pause_writing(self) -> None:
        self._link.other(self).pause("its peer does not read")

    def resume_writing(self) -> None:
        self._link.other(self).resume("its peer does not read")

    _paused: frozenset[str] = frozenset()

    def pause(self, why: str) -> None:
        """Read no more, for one reason of several."""
        if not self._paused and self.transport is not None:
            self.transport.pause_reading()
        self._paused |= {why}

    def resume(self, why: str) -> None:
        """One reason is gone."""
        if self._paused == {why} and self.transport is not None:
            self.transport.resume_reading()
        self._paused -= {why}

    def abort(self) -> None:
        """Reset the connection."""
        if self.transport is not None:
            self.transport.abort()


class _Pipe:
    """One direction of a link: what waits, and whether it may pass."""

    def __init__(self, link: Link, sender: _End, receiver: _End) -> None:
        self._link = link
        self._sender = sender
        self._receiver = receiver
        self._timer: asyncio.TimerHandle | None = None
        self._bytes = 0
        self.waiting: deque[tuple[float, bytes | Request]] = deque()
        self.held_until: float | None = None
        self.is_finished = False

    def put(self, item: bytes | Request, delay_s: float) -> None:
        """Pass it on, now or later."""
        loop = asyncio.get_running_loop()
        self.waiting.append((loop.time() + delay_s, item))
        self._bytes += len(item.frame) if isinstance(item, Request) else len(item)
        self.flush()
        if self._bytes > _MAX_WAITING_BYTES:
            self._sender.pause("too much waits")

    def finish(self) -> None:
        """The sender is gone: so will be the receiver's connection, when all has passed."""
        self.is_finished = True
        self.flush()

    def flush(self) -> None:
        """Let pass what may pass."""
        transport = self._receiver.transport
        if transport is None:
            return
        is_cut = self._link.is_cut(self)
        while self.waiting and not is_cut:
            due, item = self.waiting[0]
            until = max(due, self.held_until or 0.0)
            loop = asyncio.get_running_loop()
            if until > loop.time():
                if self._timer is not None:
                    self._timer.cancel()
                self._timer = loop.call_at(until, self.flush)
                return
            self.held_until = None
            self.waiting.popleft()
            if isinstance(item, Request):
                self._bytes -= len(item.frame)
                transport.writelines([_SIZE.pack(len(item.frame)), item.frame])
            else:
                self._bytes -= len(item)
                transport.write(item)
        if not self.waiting:
            self._sender.resume("too much waits")
            if self.is_finished and not is_cut:
                transport.close()

    def drop(self) -> None:
        """Nobody is there to receive."""
        self.waiting.clear()
        self._bytes = 0
        if self._timer is not None:
            self._timer.cancel()


class Link:
    """A connection through the proxy: ``near`` is its client's socket, ``far`` the broker's."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._faults = door.proxy.faults
        self.source: int | None = None
        self.target = door.target
        self.near = _End(self)
        self.far = _End(self)
        self.requests = _Pipe(self, self.near, self.far)
        self.answers = _Pipe(self, self.far, self.near)
        self._splitter = FrameSplitter(_MAX_FRAME_BYTES)
        self._opening: asyncio.Task[None] | None = None

    def other(self, end: _End) -> _End:
        """The socket on the other side."""
        return self.far if end is self.near else self.near

    def is_between(self, one: int, other: int) -> bool:
        """Whether these two nodes are its ends."""
        return {self.source, self.target} == {one, other}

    def is_cut(self, pipe: _Pipe) -> bool:
        """Whether nothing passes in this direction now."""
        if self.source is None:
            return False
        if pipe is self.requests:
            return self._faults.is_cut(self.source, self.target)
        return self._faults.is_cut(self.target, self.source)

    # -- what happens on the sockets ----------------------------------------------------------------------------

    def on_open(self, end: _End) -> None:
        """A socket is there."""
        if end is self.near:
            self._door.links.add(self)
        else:
            self.flush()

    def on_data(self, end: _End, data: bytes) -> None:
        """Bytes came."""
        if end is self.far:
            assert self.source is not None, "the broker is connected to once the sender is known"
            self.answers.put(data, self._faults.delay_s(self.target, self.source))
            return
        try:
            for frame in self._splitter.feed(data):
                self._on_request(read_request(frame, self.target))
        except FrameError:
            # Whoever sends this cannot be told from a broken connection: only this one ends.
            self._door.proxy.faults.done["closed for garbage"] += 1
            self.abort()

    def _on_request(self, request: Request) -> None:
        if self.near.transport is None:
            return  # reset by a tampering with a request that came in the same piece
        if self.source is None:
            self.source = request.source
            self._opening = asyncio.ensure_future(self._open())
        tampering = self._faults.tampering_with(request)
        if tampering is not None:
            self._tamper(tampering, request)
        self.requests.put(request, self._faults.delay_s(self.source, self.target))
        if tampering is not None and tampering.resets:
            self.near.abort()

    def _tamper(self, tampering: Tampering, request: Request) -> None:
        if tampering.kind == "repeat":
            self._door.deliver([request], tampering.after_s)
        else:
            self.requests.held_until = asyncio.get_running_loop().time() + tampering.after_s

    async def _open(self) -> None:
        """Connect to the broker; a SYN does not pass a cut, nor does its answer."""
        assert self.source is not None
        while self._faults.is_cut(self.source, self.target) or self._faults.is_cut(self.target, self.source):
            await asyncio.sleep(_KNOCK_S)
            if self.near.transport is None:
                self._door.links.discard(self)
                return
        try:
            await asyncio.get_running_loop().create_connection(lambda: self.far, *self._door.listener)
        except OSError:
            self.abort()
            self._door.look()

    def on_lost(self, end: _End) -> None:
        """A socket is gone."""
        if end is self.far:
            self.requests.drop()
            self.answers.finish()
            self._door.look()
        else:
            self.answers.drop()
            self._sender_left()
        if self.near.transport is None and self.far.transport is None:
            self._door.links.discard(self)

    def _sender_left(self) -> None:
        """What it sent and what waits arrives late, or never."""
        waiting = self.requests.waiting
        late = [(due, item) for due, item in waiting if isinstance(item, Request) and may_come_late(item)]
        held_until = self.requests.held_until
        if held_until is not None and late:
            self.requests.drop()
            self.requests.finish()
            self.far.abort()
            self._faults.done["released late"] += 1
            after_s = max(0.0, held_until - asyncio.get_running_loop().time())
            self._door.deliver([item for _, item in late], after_s)
            return
        waiting.clear()
        waiting.extend(late)
        self.requests.finish()

    # -- what the proxy does to it ------------------------------------------------------------------------------

    def flush(self) -> None:
        """The network is another one."""
        self.requests.flush()
        self.answers.flush()

    def abort(self) -> None:
        """Both sides see a reset."""
        self.requests.drop()
        self.answers.drop()
        if self._opening is not None and self.far.transport is None:
            self._opening.cancel()
        self.near.abort()
        self.far.abort()
        if self.near.transport is None and self.far.transport is None:
            self._door.links.discard(self)


class Door:
    """The proxy's place for one listener of one broker."""

    def __init__(self, proxy: Proxy, target: int, address: Address, listener: Address) -> None:
        self.proxy = proxy
        self.target = target
        self.address = address
        self.listener = listener
        self.links: set[Link] = set()
        self._server: asyncio.Server | None = None
        self._closed = False
        self._look = asyncio.Event()
        self._late: set[asyncio.Task[None]] = set()
        self._watching = asyncio.ensure_future(self._watch())

    @property
    def is_open(self) -> bool:
        """Whether clients can connect."""
        return self._server is not None

    def look(self) -> None:
        """Find out whether somebody still listens."""
        self._look.set()

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        while not self._closed:
            self._look.clear()
            if await self._is_answered():
                if self._server is None:
                    self._server = await loop.create_server(
                        lambda: Link(self).near, *self.address, reuse_address=True, backlog=512
                    )
                await self._look.wait()
            elif self._server is not None:
                self._server.close()
                self._server = None
            else:
                await asyncio.sleep(_KNOCK_S)

    async def _is_answered(self) -> bool:
        loop = asyncio.get_running_loop()
        with socket.socket() as knocking:
            knocking.setblocking(False)
            try:
                async with asyncio.timeout(_KNOCKING_S):
                    await loop.sock_connect(knocking, self.listener)
            except TimeoutError:
                return True  # its backlog is full: it stands still, and is there
            except OSError:
                return False
            return True

    def deliver(self, requests: list[Request], after_s: float) -> None:
        """Let requests arrive later, over a connection of their own; nobody reads the answers."""
        task = asyncio.ensure_future(self._deliver(requests, after_s))
        self._late.add(task)
        task.add_done_callback(self._late.discard)

    async def _deliver(self, requests: list[Request], after_s: float) -> None:
        await asyncio.sleep(after_s)
        faults = self.proxy.faults
        while any(faults.is_cut(each.source, self.target) for each in requests):
            await self.proxy.healed.wait()
        with contextlib.suppress(OSError):
            reader, writer = await asyncio.open_connection(*self.listener)
            for request in requests:
                writer.writelines([_SIZE.pack(len(request.frame)), request.frame])
            faults.done["delivered late or again"] += len(requests)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LATE_ANSWERS_S):
                    while await reader.read(1 << 16):
                        pass
            writer.close()

    async def close(self) -> None:
        """Close the door and everything that goes through it."""
        self._closed = True
        self._look.set()
        tasks = [self._watching, *self._late]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._server is not None:
            self._server.close()
            self._server = None
        for link in list(self.links):
            link.abort()


class Proxy:
    """All doors of a cluster, and the network behind them."""

    def __init__(self) -> None:
        self.faults = NetworkFaults()
        self.healed = asyncio.Event()
        self.doors: list[Door] = []

    def add_door(self, target: int, address: Address, listener: Address) -> Door:
        """``address`` leads to ``listener`` of broker ``target``, as soon as something listens there."""
        door = Door(self, target, address, listener)
        self.doors.append(door)
        return door

    @property
    def links(self) -> Iterable[Link]:
        """All connections."""
        return [link for door in self.doors for link in door.links]

    def cut(self, source: int, target: int, *, one_way: bool = False) -> None:
        """Nothing passes any more from one node to the other, and back. Nobody is told."""
        assert source != target, "a node reaches itself"
        self.healed.clear()
        self.faults.cuts.add((source, target))
        if not one_way:
            self.faults.cuts.add((target, source))

    def isolate(self, node: int, others: Iterable[int], *, one_way: bool = False) -> None:
        """Cut a node off from others; one way: it still hears them, and they do not hear it."""
        for other in others:
            self.cut(node, other, one_way=one_way)

    def heal(self, *, resets: bool = False) -> None:
        """End all cuts and delays. What stood still arrives; with ``resets`` its connections are lost instead."""
        before = set(self.faults.cuts)
        self.faults.cuts.clear()
        self.faults.delays_s.clear()
        self.healed.set()
        for link in self.links:
            ends = (link.source, link.target)
            if resets and link.source is not None and (ends in before or ends[::-1] in before):
                link.abort()
            else:
                link.flush()

    def delay(self, one: int, other: int, seconds: float) -> None:
        """Bytes between the two take longer, in both directions."""
        self.faults.delays_s[one, other] = self.faults.delays_s[other, one] = seconds

    def reset(self, one: int, other: int) -> int:
        """Lose all connections between two nodes; how many there were."""
        found = [link for link in self.links if link.is_between(one, other)]
        for link in found:
            link.abort()
        return len(found)

    def tamper(self, tampering: Tampering) -> None:
        """Do this to the requests that match, from now on."""
        self.faults.tamperings.append(tampering)

    async def close(self) -> None:
        """Close everything."""
        await asyncio.gather(*(door.close() for door in self.doors))


__all__ = ["Door", "Link", "Proxy", "Tampering"]

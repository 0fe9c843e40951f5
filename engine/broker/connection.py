"""One client's connection: bytes to frames, frames to the router, answers back in the order of the requests.

Requests of one connection are handled one at a time as Kafka does (SocketServer mutes the channel), except where an
API's handler does its ordered work before it first waits (Produce): those overlap, and only their answers queue.
All answers that one socket read makes leave in one write.

A client that sends much or reads little must not be felt by the others: after a few milliseconds of its requests the
others have their turn, requests wait in the kernel while answers are not taken, and what a fetch found stays in the
log's files (:class:`~engine.storage.file_slice.FileSlice`) until the socket takes it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, cast

from engine.storage.failure import LogCorrupt
from engine.storage.file_slice import FileSlice
from engine.wire.framing import FrameError, FrameSplitter

if TYPE_CHECKING:
    from engine.broker.fetch_sessions import FetchScope
    from engine.broker.router import Router
    from engine.world import Buffer

# Above this many bytes of unsent answers a connection's requests are left unread.
_WRITE_BUFFER_HIGH_BYTES = 256 * 1024
# Files are read in pieces of this size: a stuck reader costs one of them, and the write buffer.
_PIECE_BYTES = 256 * 1024
# Requests of a connection are handled for so long, or so many, before others get their turn.
_TURN_MS = 2.0
_TURN_REQUESTS = 64
# A connection that is closed has this long to take what was already written to it.
_LINGER_S = 10.0
# A connection may have this many answers outstanding before its next requests wait (pipelined Produce).
_MAX_OUTSTANDING = 64


Answer: TypeAlias = "list[Buffer | FileSlice]"


class CloseConnection(Exception):
    """The request cannot be answered on this connection: close it. The text says why, for the log."""


class RequestHead(NamedTuple):
    """What follows the correlation id in a request's header, and what it says."""

    tail: bytes
    client_id: str | None
    position: int


class _Slot:
    """The place of one answer in the order of answers."""

    __slots__ = ("done", "parts")

    def __init__(self) -> None:
        self.done = False
        self.parts: Answer | None = None


class ServerConnection(asyncio.Protocol):
    """The server's side of a connection (protocol of asyncio)."""

    __slots__ = (
        "_advance_scheduled",
        "_arrivals",
        "_blocked",
        "_frames",
        "_has_slices",
        "_muted",
        "_out",
        "_out_bytes",
        "_reading",
        "_router",
        "_slots",
        "_splitter",
        "_tasks",
        "_write_paused",
        "arrived_ns",
        "bytes_received",
        "bytes_sent",
        "client_id",
        "client_software",
        "closed",
        "connection_id",
        "fetch_session",
        "is_controller_listener",
        "is_held",
        "last_active_ms",
        "listener_name",
        "on_close",
        "opened_at_ms",
        "peer_host",
        "peer_port",
        "request_heads",
        "requests",
        "transport",
    )

    def __init__(self, router: Router, listener_name: str, is_controller_listener: bool, max_frame_bytes: int) -> None:
        self._router = router
        self.listener_name = listener_name
        self.is_controller_listener = is_controller_listener
        # Requests wait: the broker is starting (Kafka accepts connections before it answers as well).
        self.is_held = False
        self._splitter = FrameSplitter(max_frame_bytes)
        self._frames: deque[memoryview] = deque()
        self._slots: deque[_Slot] = deque()
        self._out: deque[Buffer | FileSlice] = deque()
        self._out_bytes = 0
        self._has_slices = False
        # An ordered set: the order of iteration must replay.
        self._tasks: dict[asyncio.Task[Any], None] = {}
        # By API key and version: the last request's.
        self.request_heads: dict[tuple[int, int], RequestHead] = {}
        self._blocked = False
        self._advance_scheduled = False
        self._write_paused = False
        self._reading = True
        # Until when its requests are left alone: the client is over its quota.
        self._muted: asyncio.TimerHandle | None = None
        self.transport: asyncio.Transport | None = None
        self.peer_host = ""
        self.peer_port = 0
        self.closed = False
        self.last_active_ms = 0.0
        self.opened_at_ms = 0
        self.client_software = ("", "")
        # Of its last request.
        self.client_id: str | None = None
        self.requests = self.bytes_received = self.bytes_sent = 0
        # While somebody looks at the wire: when frames that wait arrived (0: before anybody looked), and the one that
        # is handled now, monotonic nanoseconds.
        self._arrivals: deque[int] = deque()
        self.arrived_ns = 0
        # The one that is used over this connection, kept by FetchSessions.
        self.fetch_session: FetchScope | None = None
        # Called once when the connection is gone.
        self.on_close: list[Any] = []
        self.connection_id = 0

    # -- asyncio ------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have the methods, not the base class.
        stream = cast(asyncio.Transport, transport)
        self.transport = stream
        peer = stream.get_extra_info("peername")
        if peer:
            self.peer_host, self.peer_port = str(peer[0]), int(peer[1])
        stream.set_write_buffer_limits(high=_WRITE_BUFFER_HIGH_BYTES)
        self._router.connection_opened(self)

    def data_received(self, data: bytes) -> None:
        if self.closed:
            return
        try:
            frames = self._splitter.feed(data)
        except FrameError as error:
            self.close(str(error))
            return
        self._router.bytes_received += len(data)
        self.bytes_received += len(data)
        if frames:
            if self._router.watch is not None:
                unknown = len(self._frames) - len(self._arrivals)
                self._arrivals.extend((0,) * unknown + (self._router.watch.now_ns(),) * len(frames))
            self._frames.extend(frames)
            self._advance()

    def eof_received(self) -> bool:
        return False

    def pause_writing(self) -> None:
        self._write_paused = True

    def resume_writing(self) -> None:
        self._write_paused = False
        self.last_active_ms = self._router.now_ms()
        self._advance()

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        if self._muted is not None:
            self._muted.cancel()
        self._frames.clear()
        self._slots.clear()
        self._out.clear()
        self._out_bytes = 0
        # Not in this turn: what was read in it begins first, and is called off where it waits.
        loop = asyncio.get_running_loop()
        for task in tuple(self._tasks):
            loop.call_soon(task.cancel)
        self._router.connection_closed(self)
        callbacks, self.on_close = self.on_close, []
        for callback in callbacks:
            callback()

    @property
    def is_busy(self) -> bool:
        """Whether a request is waiting for its answer (a long poll, say): such a connection is not idle."""
        return bool(self._slots or self._frames or self._muted)

    # -- requests -----------------------------------------------------------------------------------------------

    def release(self) -> None:
        """Requests are answered from now on."""
        if self.is_held:
            self.is_held = False
            self._advance()

    def mute(self, milliseconds: float) -> None:
        """Leave further requests alone for that long at least, and in the kernel what was not read (KIP-219). Answers
        leave meanwhile."""
        if self.closed:
            return
        loop = asyncio.get_running_loop()
        until = loop.time() + milliseconds / 1000
        if self._muted is not None:
            if self._muted.when() >= until:
                return
            self._muted.cancel()
        self._muted = loop.call_at(until, self._unmute)
        self._regulate_reading()

    def shun(self, milliseconds: float, why: str) -> None:
        """Answer nothing, and close after so long: who is refused comes back no sooner (KIP-612)."""
        self.is_held = True
        self._regulate_reading()
        asyncio.get_running_loop().call_later(milliseconds / 1000, self.close, why)

    def _unmute(self) -> None:
        self._muted = None
        self.last_active_ms = self._router.now_ms()
        self._advance()

    def _advance(self) -> None:
        """Handle requests that may be handled now, then write every answer that is due."""
        self._advance_scheduled = False
        frames, slots = self._frames, self._slots
        self._write()
        left, began_ms = _TURN_REQUESTS, 0.0
        while frames and not (self._blocked or self._write_paused or self.closed or self.is_held or self._muted):
            # What is not pipelined sees the world as it is when its turn comes, not as it was when it arrived: metadata
            # behind an append that waits for a failover must name the new leader.
            if slots and (len(slots) >= _MAX_OUTSTANDING or not self._router.is_pipelined(frames[0])):
                break
            if not left or (began_ms and self.last_active_ms - began_ms > _TURN_MS):
                self._advance_soon()
                break
            left -= 1
            self._handle(frames.popleft())
            began_ms = began_ms or self.last_active_ms
            if self._out_bytes > _WRITE_BUFFER_HIGH_BYTES:
                self._write()
        self._write()
        self._regulate_reading()

    def _advance_soon(self) -> None:
        if not (self.closed or self._advance_scheduled):
            self._advance_scheduled = True
            asyncio.get_running_loop().call_soon(self._advance)

    def _regulate_reading(self) -> None:
        """Leave further requests in the kernel while some wait here: memory stays bounded by one read and one frame."""
        transport = self.transport
        if transport is None or self.closed:
            return
        wanted = len(self._frames) < _MAX_OUTSTANDING and not self.is_held and self._muted is None
        if wanted != self._reading:
            self._reading = wanted
            if wanted:
                transport.resume_reading()
            else:
                transport.pause_reading()

    @property
    def in_flight(self) -> int:
        """Requests that came and are not answered yet."""
        return len(self._slots) + len(self._frames)

    def _handle(self, frame: memoryview) -> None:
        self.arrived_ns = self._arrivals.popleft() if self._arrivals else 0
        try:
            answer, pipelined = self._router.dispatch(self, frame)
        except CloseConnection as error:
            self.close(str(error))
            return
        if answer is None:
            return
        if isinstance(answer, list):
            if self._slots:
                slot = _Slot()
                slot.done, slot.parts = True, answer
                self._slots.append(slot)
            else:
                self._take(answer)
            return
        slot = _Slot()
        self._slots.append(slot)
        if not pipelined:
            self._blocked = True
        task = asyncio.ensure_future(self._complete(answer, slot, pipelined))
        self._tasks[task] = None
        task.add_done_callback(lambda done: self._tasks.pop(done, None))

    async def _complete(self, answer: Awaitable[Answer | None], slot: _Slot, pipelined: bool) -> None:
        try:
            slot.parts = await answer
        except CloseConnection as error:
            self.close(str(error))
            return
        slot.done = True
        if not pipelined:
            self._blocked = False
        # Several answers often become due in one turn of the loop (the high watermark moved): one write for all.
        self._advance_soon()

    # -- answers ------------------------------------------------------------------------------------------------

    def _take(self, parts: Answer) -> None:
        self._out += parts
        size = sum(map(len, parts))
        self._out_bytes += size
        self._router.bytes_sent += size
        self.bytes_sent += size
        if self._router.watch is not None:
            self._router.watch.queued(parts)
        # Fetch leaves nothing in the files of an answer that is smaller.
        if size > _WRITE_BUFFER_HIGH_BYTES:
            self._has_slices = True

    def _write(self) -> None:
        """Write the answers whose turn it is, as far as the transport takes them."""
        slots = self._slots
        while slots and slots[0].done:
            parts = slots.popleft().parts
            if parts is not None:
                self._take(parts)
        out, transport = self._out, self.transport
        if not out or self._write_paused or self.closed or transport is None:
            return
        if not self._has_slices:
            self._out, self._out_bytes = deque(), 0
            transport.writelines(cast("deque[Buffer]", out))
            if self._router.watch is not None:
                self._router.watch.drained(self)
            return
        try:
            while out and not self._write_paused:
                transport.writelines(self._next_piece())
            self._has_slices = bool(out)
            if not out and self._router.watch is not None:
                self._router.watch.drained(self)
        except (OSError, EOFError, LogCorrupt) as error:
            # The client has the size of the answer already: there is nothing else that can be said.
            self._out.clear()
            self.close(f"what a fetch found cannot be read any more: {error}")

    def _next_piece(self) -> list[Buffer]:
        out = self._out
        piece: list[Buffer] = []
        size = 0
        while out and size < _PIECE_BYTES:
            part = out[0]
            if isinstance(part, FileSlice):
                data: Buffer = part.read(_PIECE_BYTES)
                if not part.left:
                    out.popleft()
            else:
                data = part
                out.popleft()
            piece.append(data)
            size += len(data)
        self._out_bytes -= size
        return piece

    # -- the end ------------------------------------------------------------------------------------------------

    def close(self, why: str = "") -> None:
        """Close; answers that were already made leave before. ``why`` is logged by the router (rate-limited)."""
        if self.closed:
            return
        self.closed = True
        if why:
            self._router.log_closed(self, why)
        transport = self.transport
        if transport is None:
            return
        if any(isinstance(part, FileSlice) for part in self._out):
            transport.abort()
            return
        if self._out:
            out, self._out = self._out, deque()
            transport.writelines(cast("deque[Buffer]", out))
        transport.close()
        if transport.get_write_buffer_size():
            # Its reader may be stuck for good.
            asyncio.get_running_loop().call_later(_LINGER_S, transport.abort)

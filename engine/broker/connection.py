"""One client's connection: bytes to frames, frames to the router, answers back in the order of the requests.

Requests of one connection are handled one at a time as Kafka does (SocketServer mutes the channel), except where an
API's handler does its ordered work before it first waits (Produce): those overlap, and only their answers queue.
All answers that one socket read makes leave in one write.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any, cast

from engine.wire.framing import FrameError, FrameSplitter

if TYPE_CHECKING:
    from engine.broker.router import Router
    from engine.world import Buffer

# Above this many bytes of unsent answers a connection's requests are left unread (a stuck reader costs this at most,
# plus one fetch).
_WRITE_BUFFER_HIGH_BYTES = 1 << 20
# A connection may have this many answers outstanding before its next requests wait (pipelined Produce).
_MAX_OUTSTANDING = 64


class CloseConnection(Exception):
    """The request cannot be answered on this connection: close it. The text says why, for the log."""


class _Slot:
    """The place of one answer in the order of answers."""

    __slots__ = ("done", "parts")

    def __init__(self) -> None:
        self.done = False
        self.parts: list[Buffer] | None = None


class ServerConnection(asyncio.Protocol):
    """The server's side of a connection (protocol of asyncio)."""

    __slots__ = (
        "_advance_scheduled",
        "_blocked",
        "_frames",
        "_out",
        "_reading",
        "_router",
        "_slots",
        "_splitter",
        "_tasks",
        "_write_paused",
        "client_software",
        "closed",
        "connection_id",
        "is_controller_listener",
        "last_active_ms",
        "listener_name",
        "on_close",
        "peer_host",
        "peer_port",
        "session",
        "transport",
    )

    def __init__(self, router: Router, listener_name: str, is_controller_listener: bool, max_frame_bytes: int) -> None:
        self._router = router
        self.listener_name = listener_name
        self.is_controller_listener = is_controller_listener
        self._splitter = FrameSplitter(max_frame_bytes)
        self._frames: deque[memoryview] = deque()
        self._slots: deque[_Slot] = deque()
        self._out: list[Buffer] = []
        self._tasks: set[asyncio.Task[Any]] = set()
        self._blocked = False
        self._advance_scheduled = False
        self._write_paused = False
        self._reading = True
        self.transport: asyncio.Transport | None = None
        self.peer_host = ""
        self.peer_port = 0
        self.closed = False
        self.last_active_ms = 0.0
        self.client_software = ("", "")
        self.session: Any = None
        # Called once when the connection is gone; the broker's session tracking hangs on it.
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
        if frames:
            self._frames.extend(frames)
            self._advance()

    def eof_received(self) -> bool:
        return False

    def pause_writing(self) -> None:
        self._write_paused = True

    def resume_writing(self) -> None:
        self._write_paused = False
        self._advance()

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        self._frames.clear()
        self._slots.clear()
        self._out.clear()
        for task in tuple(self._tasks):
            task.cancel()
        self._router.connection_closed(self)
        callbacks, self.on_close = self.on_close, []
        for callback in callbacks:
            callback()

    @property
    def is_busy(self) -> bool:
        """Whether a request is waiting for its answer (a long poll, say): such a connection is not idle."""
        return bool(self._slots or self._frames)

    # -- requests -----------------------------------------------------------------------------------------------

    def _advance(self) -> None:
        """Handle requests that may be handled now, then write every answer that is due."""
        self._advance_scheduled = False
        frames, slots = self._frames, self._slots
        self._collect()
        while frames and not (self._blocked or self._write_paused or self.closed):
            # What is not pipelined sees the world as it is when its turn comes, not as it was when it arrived: metadata
            # behind an append that waits for a failover must name the new leader.
            if slots and (len(slots) >= _MAX_OUTSTANDING or not self._router.is_pipelined(frames[0])):
                break
            self._handle(frames.popleft())
        self._write()
        self._regulate_reading()

    def _regulate_reading(self) -> None:
        """Leave further requests in the kernel while some wait here: memory stays bounded by one read and one frame."""
        transport = self.transport
        if transport is None or self.closed:
            return
        wanted = len(self._frames) < _MAX_OUTSTANDING
        if wanted != self._reading:
            self._reading = wanted
            if wanted:
                transport.resume_reading()
            else:
                transport.pause_reading()

    def _handle(self, frame: memoryview) -> None:
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
                self._out += answer
            return
        slot = _Slot()
        self._slots.append(slot)
        if not pipelined:
            self._blocked = True
        task = asyncio.ensure_future(self._complete(answer, slot, pipelined))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _complete(self, answer: Awaitable[list[Buffer] | None], slot: _Slot, pipelined: bool) -> None:
        try:
            slot.parts = await answer
        except CloseConnection as error:
            self.close(str(error))
            return
        slot.done = True
        if not pipelined:
            self._blocked = False
        # Several answers often become due in one turn of the loop (the high watermark moved): one write for all.
        if not (self.closed or self._advance_scheduled):
            self._advance_scheduled = True
            asyncio.get_running_loop().call_soon(self._advance)

    def _collect(self) -> None:
        """Take the answers whose turn it is."""
        slots = self._slots
        while slots and slots[0].done:
            parts = slots.popleft().parts
            if parts is not None:
                self._out += parts

    def _write(self) -> None:
        self._collect()
        out = self._out
        if not out or self.closed or self.transport is None:
            return
        self._out = []
        self._router.bytes_sent += sum(map(len, out))
        self.transport.writelines(out)

    def close(self, why: str = "") -> None:
        """Close at once; ``why`` is logged by the router (rate-limited)."""
        if self.closed:
            return
        self.closed = True
        if why:
            self._router.log_closed(self, why)
        if self.transport is not None:
            self._write_last()
            self.transport.close()

    def _write_last(self) -> None:
        """Answers that were already made leave before the connection closes."""
        if self._out and self.transport is not None:
            out, self._out = self._out, []
            self.transport.writelines(out)

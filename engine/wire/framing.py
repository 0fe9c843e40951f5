"""Splitting a stream into frames: a signed 32-bit size, then so many bytes."""

from __future__ import annotations

from struct import Struct

_SIZE = Struct(">i")
# Smaller pieces of a frame are copied together: each on its own would cost many times its size, and keep alive all that
# was received with it.
_SMALL_BYTES = 4096


class FrameError(Exception):
    """The stream claims a frame that may not be; its connection must be closed."""


class FrameSplitter:
    """Gathers bytes into frames. A frame's memory is taken as its bytes arrive, never on the word of its size field."""

    __slots__ = ("_chunks", "_gathered", "_head", "_max_bytes", "_wanted")

    def __init__(self, max_bytes: int) -> None:
        """``max_bytes`` bounds a frame (socket.request.max.bytes)."""
        self._max_bytes = max_bytes
        self._head = b""
        # While a frame is incomplete: its size, and the pieces that came so far.
        self._wanted = -1
        self._chunks: list[bytes | bytearray | memoryview] = []
        self._gathered = 0

    def feed(self, data: bytes | bytearray | memoryview) -> list[memoryview]:
        """Take received bytes; returns the frames that are complete now, each a view of bytes that nobody will change.

        Raises:
            FrameError: a size below zero or above the bound; nothing more may be fed.
        """
        if not isinstance(data, bytes):
            data = bytes(data)
        frames: list[memoryview] = []
        view = memoryview(data)
        position, length = 0, len(view)
        if self._wanted >= 0:
            position = self._gather(view, 0, frames)
        while position < length:
            if self._head:
                missing = 4 - len(self._head)
                head = self._head + bytes(view[position : position + missing])
                position += missing
                if len(head) < 4:
                    self._head = head
                    break
                self._head = b""
                (size,) = _SIZE.unpack(head)
            elif length - position < 4:
                self._head = bytes(view[position:])
                break
            else:
                (size,) = _SIZE.unpack_from(view, position)
                position += 4
            if not 0 <= size <= self._max_bytes:
                raise FrameError(f"a frame claims {size} bytes; 0 to {self._max_bytes} are allowed")
            end = position + size
            if end <= length:
                frames.append(view[position:end])
                position = end
            else:
                self._wanted = size
                self._chunks = []
                self._gathered = 0
                position = self._gather(view, position, frames)
        return frames

    def _gather(self, view: memoryview, position: int, frames: list[memoryview]) -> int:
        piece = view[position : position + self._wanted - self._gathered]
        chunks = self._chunks
        if len(piece) >= _SMALL_BYTES:
            chunks.append(piece)
        elif chunks and type(chunks[-1]) is bytearray:
            chunks[-1] += piece
        else:
            chunks.append(bytearray(piece))
        self._gathered += len(piece)
        if self._gathered == self._wanted:
            frames.append(memoryview(b"".join(chunks)))
            self._wanted = -1
            self._chunks = []
        return position + len(piece)

    @property
    def buffered_bytes(self) -> int:
        """Bytes held of an incomplete frame."""
        return self._gathered if self._wanted >= 0 else len(self._head)

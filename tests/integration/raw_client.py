"""Requests as bytes over a plain socket: what a client library would never send."""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from types import TracebackType
from typing import Any

from engine.wire import apis, codec
from engine.wire.message import Message
from engine.wire.messages.request_header import RequestHeader

Address = tuple[str, int]
WAIT_S = 20.0


def parse_address(text: str) -> Address:
    """``host:port``."""
    host, _, port = text.rpartition(":")
    return host, int(port)


def framed(payload: bytes) -> bytes:
    """The payload behind its size."""
    return struct.pack(">i", len(payload)) + payload


def header_bytes(key: int, version: int, correlation_id: int = 1, client_id: str | None = "hostile") -> bytes:
    """A request's header; for keys and versions that do not exist, in the form of header version 1."""
    header = RequestHeader(
        request_api_key=key, request_api_version=version, correlation_id=correlation_id, client_id=client_id
    )
    try:
        low, high = apis.version_range(key)
        header_version = apis.request_header_version(key, version) if low <= version <= high else 1
    except KeyError:
        header_version = 1
    return codec.encode(header, header_version)


def request_bytes(request: Message, version: int, correlation_id: int = 1) -> bytes:
    """Header and body, without the size."""
    return header_bytes(request.API_KEY, version, correlation_id) + codec.encode(request, version)


class RawConnection:
    """A socket, with time-outs on everything."""

    def __init__(self, address: Address, *, receive_buffer_bytes: int | None = None, timeout_s: float = WAIT_S) -> None:
        self.socket = socket.socket()
        if receive_buffer_bytes is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        self.socket.settimeout(timeout_s)
        try:
            self.socket.connect(address)
        except OSError:
            self.socket.close()
            raise

    def __enter__(self) -> RawConnection:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        """Send bytes as they are; that the peer has closed already is no error."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.socket.sendall(data)

    def receive_frame(self) -> bytes:
        """The next answer without its size. Raises ``ConnectionError`` if the peer closes instead."""
        (size,) = struct.unpack(">i", self._receive(4))
        return self._receive(size)

    def _receive(self, size: int) -> bytes:
        parts = []
        while size:
            data = self.socket.recv(min(size, 1 << 20))
            if not data:
                raise ConnectionError("closed by the peer")
            parts.append(data)
            size -= len(data)
        return b"".join(parts)

    def ask(self, request: Message, version: int, correlation_id: int = 1) -> Any:
        """Send one request and decode its answer."""
        self.send(framed(request_bytes(request, version, correlation_id)))
        return decode_answer(request.API_KEY, version, self.receive_frame(), correlation_id)

    def is_closed_by_peer(self, within_s: float = WAIT_S) -> bool:
        """Whether the peer closes within the time, without having said anything."""
        self.socket.settimeout(within_s)
        try:
            data = self.socket.recv(1)
        except ConnectionResetError:
            return True
        except TimeoutError:
            return False
        finally:
            self.socket.settimeout(WAIT_S)
        assert not data, "an answer instead of the end of the connection"
        return True


def decode_answer(key: int, version: int, frame: bytes, correlation_id: int) -> Any:
    """The response in a frame, its correlation id checked."""
    (got,) = struct.unpack_from(">i", frame)
    assert got == correlation_id, f"the answer to {got} came, not to {correlation_id}"
    offset = 4
    if apis.response_header_version(key, version) >= 1:
        assert frame[4] == 0, "the response's header has tagged fields"
        offset = 5
    response, _ = codec.decode(apis.response_class(key, version), version, frame, offset)
    return response


def wait_until(what: str, holds: Any, timeout_s: float = 30) -> Any:
    """Poll ``holds()`` until it is true and return it; fail naming ``what``."""
    deadline = time.monotonic() + timeout_s
    while not (value := holds()):
        assert time.monotonic() < deadline, f"{what}: not within {timeout_s} s"
        time.sleep(0.02)
    return value

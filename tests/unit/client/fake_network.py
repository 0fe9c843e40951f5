"""A network in memory and scripted brokers on it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from engine.wire import apis, codec
from engine.wire.api_table import APIS
from engine.wire.apis import ApiKey
from engine.wire.framing import FrameSplitter
from engine.wire.messages.api_versions_response import ApiVersion, ApiVersionsResponse
from engine.wire.messages.request_header import RequestHeader
from engine.wire.messages.response_header import ResponseHeader

Address = tuple[str, int]


class Close(Exception):
    """A handler raises it to end the connection."""


class Later:
    """A handler's answer that is made after a while."""

    def __init__(self, delay_s: float, make: Callable[[], Any]) -> None:
        self.delay_s = delay_s
        self.make = make


class FakeClock:
    def now_ms(self) -> int:
        return 1_700_000_000_000 + int(self.monotonic_ms())

    def monotonic_ms(self) -> float:
        return asyncio.get_running_loop().time() * 1000

    def monotonic_ns(self) -> int:
        return int(self.monotonic_ms() * 1e6)


class FakeRandom:
    def random(self) -> float:
        return 0.5


class FakeWorld:
    def __init__(self) -> None:
        self.clock: Any = FakeClock()
        self.random: Any = FakeRandom()
        self.disk: Any = None
        self.network: Any = FakeNetwork()

    def environment(self) -> Any:
        return ()


class FakeNetwork:
    def __init__(self) -> None:
        self.peers: dict[Address, FakePeer] = {}
        self.connects: list[Address] = []

    async def connect(self, host: str, port: int, protocol_factory: Any, *, timeout_ms: float, tls: Any = None) -> Any:
        self.connects.append((host, port))
        await asyncio.sleep(0)
        peer = self.peers.get((host, port))
        if peer is None or peer.down:
            raise ConnectionRefusedError(111, "Connection refused")
        if peer.deaf:
            await asyncio.sleep(timeout_ms / 1000)
            raise TimeoutError
        transport = FakeTransport(peer, protocol_factory())
        peer.transports.append(transport)
        transport.protocol.connection_made(transport)
        return transport, transport.protocol


class FakeTransport(asyncio.Transport):
    """The client's side; what it writes goes to the peer."""

    def __init__(self, peer: FakePeer, protocol: Any) -> None:
        super().__init__()
        self.peer = peer
        self.protocol = protocol
        self.splitter = FrameSplitter(1 << 30)
        self.ended = False

    def write(self, data: Any) -> None:
        if not self.ended:
            for frame in self.splitter.feed(data):
                self.peer.received(self, frame)

    def writelines(self, list_of_data: Any) -> None:
        self.write(b"".join(list_of_data))

    def answer(self, data: bytes) -> None:
        asyncio.get_running_loop().call_soon(self._deliver, len(data).to_bytes(4, "big") + data)

    def raw(self, data: bytes) -> None:
        asyncio.get_running_loop().call_soon(self._deliver, data)

    def _deliver(self, data: bytes) -> None:
        if not self.ended:
            self.protocol.data_received(data)

    def is_closing(self) -> bool:
        return self.ended

    def close(self) -> None:
        self.end(None)

    def abort(self) -> None:
        self.end(None)

    def end(self, error: Exception | None) -> None:
        if not self.ended:
            self.ended = True
            asyncio.get_running_loop().call_soon(self.protocol.connection_lost, error)


class FakePeer:
    """A broker. ``on(key, handler)``: ``handler(request, version)`` returns the response, or ``None`` for no answer."""

    def __init__(self, network: FakeNetwork, address: Address, versions: dict[int, tuple[int, int]] | None = None):
        self.address = address
        self.versions = versions or {key: (low, high) for key, (_, low, high, *_) in APIS.items()}
        self.transports: list[FakeTransport] = []
        self.requests: list[tuple[RequestHeader, Any]] = []
        self.down = False
        self.deaf = False
        self.silent = False
        self._handlers: dict[int, Callable[[Any, int], Any]] = {}
        network.peers[address] = self

    def on(self, key: int, handler: Callable[[Any, int], Any]) -> None:
        self._handlers[int(key)] = handler

    def kill(self) -> None:
        self.down = True
        for transport in self.transports:
            transport.end(None)
        self.transports.clear()

    def received(self, transport: FakeTransport, frame: memoryview) -> None:
        key, version = int.from_bytes(frame[:2], "big"), int.from_bytes(frame[2:4], "big")
        correlation_id = int.from_bytes(frame[4:8], "big")
        if self.silent:
            return
        if key == ApiKey.API_VERSIONS and version > self.versions[key][1]:
            self._send(transport, key, 0, correlation_id, self._api_versions(35))
            return
        header, at = codec.decode(RequestHeader, apis.request_header_version(key, version), frame)
        request, end = codec.decode(apis.request_class(key), version, frame, at)
        assert end == len(frame), "bytes are left over"
        low, high = self.versions.get(key, (0, -1))
        assert low <= version <= high, f"{ApiKey(key).name} v{version} was not advertised"
        self.requests.append((header, request))
        try:
            if key == ApiKey.API_VERSIONS and key not in self._handlers:
                response: Any = self._api_versions(0)
            else:
                response = self._handlers[key](request, version)
        except Close:
            transport.end(None)
            return
        if isinstance(response, Later):
            later = response
            asyncio.get_running_loop().call_later(
                later.delay_s, lambda: self._send(transport, key, version, correlation_id, later.make())
            )
        elif response is not None:
            self._send(transport, key, version, correlation_id, response)

    def _api_versions(self, error_code: int) -> ApiVersionsResponse:
        return ApiVersionsResponse(
            error_code=error_code,
            api_keys=[
                ApiVersion(api_key=key, min_version=low, max_version=high) for key, (low, high) in self.versions.items()
            ],
        )

    def _send(self, transport: FakeTransport, key: int, version: int, correlation_id: int, response: Any) -> None:
        header = codec.encode(ResponseHeader(correlation_id=correlation_id), apis.response_header_version(key, version))
        transport.answer(header + codec.encode(response, version))

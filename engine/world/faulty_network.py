"""A real network with a switch: what some peers send is not heard, or late. Connections stay open meanwhile.

Off, bytes go from the sockets to their protocols as ever. While something is wrong, a gate stands in front of the
protocol of each connection that it concerns (``set_protocol`` of asyncio's transports) and keeps what comes, in order,
until it may be heard. Who opened a connection to us is told by the client.id of its first request, whom we opened one
to by the address.

Both ends of a cut have to be told: each of them only closes its ears.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Callable
from struct import Struct
from typing import Any, cast

from engine.model.broker_faults import BrokerFaults, node_of
from engine.world.interface import Listener
from engine.world.real import RealNetwork

# Size, API key, version, correlation id, length of the client.id.
_HEAD = Struct(">ihhih")
_MAX_CLIENT_ID = 32_767
# Connections that are gone are forgotten when so many more were made.
_FORGET_EACH = 64

ClientIdOf = Callable[[asyncio.BaseProtocol], "str | None"]


class FaultyNetwork(RealNetwork):
    """TCP by asyncio (or uvloop), as well as it is told to be."""

    __slots__ = ("_client_id_of", "_faults", "_forget_at", "_links")

    def __init__(self, client_id_of: ClientIdOf) -> None:
        """``client_id_of`` knows the client.id that a connection's requests have, once there was one."""
        self._client_id_of = client_id_of
        self._faults = BrokerFaults()
        self._links: list[_Link] = []
        self._forget_at = _FORGET_EACH

    def set(self, faults: BrokerFaults) -> None:
        """From now on this is wrong, and nothing else."""
        self._faults = faults
        self._forget()
        for link in self._links:
            self._regulate(link)

    async def listen(
        self,
        host: str,
        port: int,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        *,
        tls: ssl.SSLContext | None = None,
    ) -> Listener:
        return await super().listen(host, port, lambda: _Newcomer(self, protocol_factory()), tls=tls)

    async def connect(
        self,
        host: str,
        port: int,
        protocol_factory: Callable[[], Any],
        *,
        timeout_ms: float,
        tls: ssl.SSLContext | None = None,
    ) -> tuple[asyncio.Transport, Any]:
        transport, protocol = await super().connect(host, port, protocol_factory, timeout_ms=timeout_ms, tls=tls)
        self.add(_Link(transport, protocol, f"{host}:{port}"))
        return transport, protocol

    def add(self, link: _Link) -> None:
        """A connection is there."""
        self._links.append(link)
        if len(self._links) > self._forget_at:
            self._forget()
        if self._faults.has_links:
            self._regulate(link)

    def _forget(self) -> None:
        self._links = [link for link in self._links if not link.is_gone]
        self._forget_at = len(self._links) + _FORGET_EACH

    def _regulate(self, link: _Link) -> None:
        """A gate where one is needed, as open as it should be."""
        if link.gate is not None:
            link.gate.let_through()
        elif self._faults.has_links and not link.is_gone and self.wait_ms(link) != 0:
            link.gate = _Gate(self, link)
            link.transport.set_protocol(link.gate)

    def node(self, link: _Link) -> int | None:
        """Who is at the other end; ``None``: not known yet."""
        if link.address:
            return self._faults.addresses.get(link.address, -1)
        client_id = link.client_id if link.client_id is not None else self._client_id_of(link.protocol)
        return None if client_id is None else node_of(client_id)

    def wait_ms(self, link: _Link) -> float | None:
        """How long what comes now has to wait; ``None``: until something changes."""
        faults = self._faults
        if not faults.has_links:
            return 0.0
        node = self.node(link)
        if node is None or node in faults.cut_from:
            return None
        return faults.delays_ms.get(node, 0.0)


class _Link:
    """One connection. ``address`` is that of the other end if it was opened here, else it is empty."""

    __slots__ = ("address", "client_id", "gate", "protocol", "transport")

    def __init__(self, transport: asyncio.Transport, protocol: Any, address: str) -> None:
        self.transport = transport
        self.protocol = protocol
        self.address = address
        # Found in a request that waits.
        self.client_id: str | None = None
        self.gate: _Gate | None = None

    @property
    def is_gone(self) -> bool:
        return self.transport.is_closing() and self.gate is None


class _Newcomer(asyncio.Protocol):
    """Learns of a connection that somebody opened, and steps aside."""

    def __init__(self, network: FaultyNetwork, protocol: asyncio.BaseProtocol) -> None:
        self._network = network
        self._protocol = protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have the methods, not the base class.
        stream = cast(asyncio.Transport, transport)
        stream.set_protocol(self._protocol)
        self._protocol.connection_made(stream)
        self._network.add(_Link(stream, self._protocol, ""))


class _Gate(asyncio.Protocol):
    """Stands before a protocol, and keeps what comes until it may be heard: bytes, the end, and the loss."""

    def __init__(self, network: FaultyNetwork, link: _Link) -> None:
        self._network = network
        self._link = link
        # When it may be heard (``None``: when something changes), and the call that tells it.
        self._waiting: deque[tuple[float | None, Callable[[], Any]]] = deque()
        self._head = bytearray()
        self._timer: asyncio.TimerHandle | None = None

    def data_received(self, data: bytes) -> None:
        link = self._link
        if not link.address and link.client_id is None and self._network.node(link) is None:
            self._head += data
            self._read_head()
        self._keep(lambda: link.protocol.data_received(data))

    def eof_received(self) -> bool:
        def tell() -> None:
            if not self._link.protocol.eof_received():
                self._link.transport.close()

        self._keep(tell)
        # Stay open: the other side is silent, not gone.
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self._keep(lambda: self._link.protocol.connection_lost(exc))

    def pause_writing(self) -> None:
        self._link.protocol.pause_writing()

    def resume_writing(self) -> None:
        self._link.protocol.resume_writing()

    def _read_head(self) -> None:
        if len(self._head) < _HEAD.size:
            return
        length = _HEAD.unpack_from(self._head)[4]
        if length > _MAX_CLIENT_ID:
            length = 0
        if len(self._head) >= _HEAD.size + length:
            self._link.client_id = bytes(self._head[_HEAD.size : _HEAD.size + max(0, length)]).decode(errors="replace")
            self._head.clear()
            self.let_through()

    def _keep(self, tell: Callable[[], Any]) -> None:
        wait_ms = self._network.wait_ms(self._link)
        now = asyncio.get_running_loop().time()
        self._waiting.append((None if wait_ms is None else now + wait_ms / 1000, tell))
        self._go_on()

    def let_through(self) -> None:
        """Something changed: what was kept until then is heard, or waits as long as what comes now would."""
        wait_ms = self._network.wait_ms(self._link)
        now = asyncio.get_running_loop().time()
        most = None if wait_ms is None else now + wait_ms / 1000
        self._waiting = deque(
            (most if until is None or most is None else min(until, most), tell) for until, tell in self._waiting
        )
        self._go_on()

    def _go_on(self) -> None:
        """Tell what is due, and leave when nothing waits and nothing will."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        loop = asyncio.get_running_loop()
        waiting = self._waiting
        while waiting:
            until = waiting[0][0]
            if until is None:
                return
            if until > loop.time():
                self._timer = loop.call_at(until, self._go_on)
                return
            waiting.popleft()[1]()
        if self._network.wait_ms(self._link) == 0 and self._link.gate is self:
            self._link.gate = None
            if not self._link.transport.is_closing():
                self._link.transport.set_protocol(self._link.protocol)

"""The network between the brokers of a test: loopback TCP that can be cut between any two of them.

Every connection between two brokers is opened by one of them, through its :class:`BrokerNetwork`, which therefore
knows both ends. A cut is what a network does when it fails, not what a process does when it ends: nothing arrives any
more, in either direction, and nobody is told. Bytes that are sent wait here (TCP would send them again and again),
bytes from the other side wait in the kernel, connections that one side closes stay open for the other, and new ones are
not answered until they time out. Healing lets all of that through, late. Clients connect to the brokers' listeners by
themselves and never notice.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
from collections.abc import Callable, Mapping
from typing import Any

from engine.world import Buffer, Listener
from engine.world.real import RealListener, RealNetwork

Address = tuple[str, int]
Pair = frozenset[int]


class Ports:
    """Addresses that belong to the cluster from its start to its end.

    The system gives the ports out, and they are bound all the time: by a listening broker, or by a socket that does not
    listen (whoever connects is refused) while the broker is down, so that it finds its port free when it comes back.
    """

    def __init__(self) -> None:
        self._held: dict[Address, socket.socket] = {}

    def reserve(self, host: str) -> Address:
        """A port that nobody has."""
        held = self._bound((host, 0))
        address = held.getsockname()[:2]
        self._held[address] = held
        return address  # type: ignore[no-any-return]

    @staticmethod
    def _bound(address: Address) -> socket.socket:
        held = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            held.bind(address)
        except OSError:
            held.close()
            raise
        return held

    def take(self, address: Address) -> socket.socket:
        """The socket to listen on; it is the caller's now."""
        return self._held.pop(address, None) or self._bound(address)

    def hold(self, address: Address) -> None:
        """The listener is closed: keep the port. One that another program has snatched shows when it is taken."""
        if address not in self._held:
            with contextlib.suppress(OSError):
                self._held[address] = self._bound(address)

    def close(self) -> None:
        """Give all ports back."""
        while self._held:
            self._held.popitem()[1].close()


class Limbo:
    """Connections whose one side has closed them while the other cannot hear of it."""

    def __init__(self) -> None:
        self._descriptors: list[int] = []

    def keep(self, transport: asyncio.BaseTransport) -> None:
        """A second descriptor keeps the connection open when ``transport`` closes its own."""
        stream = transport.get_extra_info("socket")
        if stream is not None and stream.fileno() >= 0:
            self._descriptors.append(os.dup(stream.fileno()))

    def release(self) -> None:
        """Let the other sides hear of it."""
        while self._descriptors:
            os.close(self._descriptors.pop())


class Link(asyncio.Transport, asyncio.Protocol):
    """A connection from this broker to another, between the transport below and the protocol above."""

    def __init__(self, network: BrokerNetwork, peer: int | None, protocol: asyncio.Protocol) -> None:
        super().__init__()
        self._network = network
        self.peer = peer
        self.protocol = protocol
        self._stream: asyncio.Transport | None = None
        self._is_cut = False
        self._wants_to_read = True
        self._unsent: list[Buffer] = []
        self._unread: list[bytes] = []

    # -- cut and heal -------------------------------------------------------------------------------------------

    def cut(self) -> None:
        """Nothing passes any more."""
        self._is_cut = True
        self._regulate()

    def heal(self) -> None:
        """What waited passes."""
        self._is_cut = False
        unsent, self._unsent = self._unsent, []
        if unsent and self._stream is not None:
            self._stream.writelines(unsent)
        unread, self._unread = self._unread, []
        for data in unread:
            self.protocol.data_received(data)
        self._regulate()

    def _regulate(self) -> None:
        stream = self._stream
        if stream is None or stream.is_closing():
            return
        if self._is_cut or not self._wants_to_read:
            if stream.is_reading():
                stream.pause_reading()
        elif not stream.is_reading():
            stream.resume_reading()

    # -- the protocol below ---------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have the methods, not the base class.
        self._stream = transport  # type: ignore[assignment]
        self._network.links[self] = None
        self.protocol.connection_made(self)

    def data_received(self, data: bytes) -> None:
        if self._is_cut:
            self._unread.append(data)
        else:
            self.protocol.data_received(data)

    def eof_received(self) -> bool | None:
        return self.protocol.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._network.links.pop(self, None)
        self._unsent.clear()
        self._unread.clear()
        self.protocol.connection_lost(exc)

    def pause_writing(self) -> None:
        self.protocol.pause_writing()

    def resume_writing(self) -> None:
        self.protocol.resume_writing()

    # -- the transport above ----------------------------------------------------------------------------------------

    def _below(self) -> asyncio.Transport:
        assert self._stream is not None, "there is no connection yet"
        return self._stream

    def write(self, data: Buffer) -> None:
        if self._is_cut:
            self._unsent.append(bytes(data))
        else:
            self._below().write(data)

    def writelines(self, list_of_data: Any) -> None:
        if self._is_cut:
            self._unsent += [bytes(data) for data in list_of_data]
        else:
            self._below().writelines(list_of_data)

    def close(self) -> None:
        if self._is_cut:
            self.abort()
        else:
            self._below().close()

    def abort(self) -> None:
        if self._is_cut and not self._below().is_closing():
            self._network.limbo.keep(self._below())
        self._below().abort()

    def is_closing(self) -> bool:
        return self._below().is_closing()

    def is_reading(self) -> bool:
        return self._wants_to_read and not self.is_closing()

    def pause_reading(self) -> None:
        self._wants_to_read = False
        self._regulate()

    def resume_reading(self) -> None:
        self._wants_to_read = True
        self._regulate()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._below().get_extra_info(name, default)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._below().set_write_buffer_limits(high, low)

    def get_write_buffer_size(self) -> int:
        return self._below().get_write_buffer_size() + sum(map(len, self._unsent))

    def can_write_eof(self) -> bool:
        return False


class BrokerNetwork(RealNetwork):
    """The network as one broker sees it during one life. Belongs to the broker's thread."""

    __slots__ = ("_cut_from", "_healed", "_is_dead", "_listeners", "_nodes", "_ports", "limbo", "links")

    def __init__(self, ports: Ports, nodes: Mapping[Address, int], limbo: Limbo, cut_from: frozenset[int]) -> None:
        """``nodes`` says whose each address is; ``cut_from`` are the brokers that are out of reach from the start."""
        self._ports = ports
        self._nodes = nodes
        self.limbo = limbo
        # A dict for its order.
        self.links: dict[Link, None] = {}
        self._cut_from = cut_from
        self._healed = asyncio.Event()
        self._listeners: list[RealListener] = []
        self._is_dead = False

    def set_cut(self, cut_from: frozenset[int]) -> None:
        """These brokers are out of reach from now on, all others are not."""
        before, self._cut_from = self._cut_from, cut_from
        for link in list(self.links):
            if link.peer in cut_from and link.peer not in before:
                link.cut()
            elif link.peer in before and link.peer not in cut_from:
                link.heal()
        self._healed.set()
        self._healed = asyncio.Event()

    def die(self) -> None:
        """All sockets close at once. Where the network is cut the other side does not hear of it."""
        self._is_dead = True
        for listener in self._listeners:
            listener._server.close()
        for link in list(self.links):
            link.abort()

    async def listen(
        self,
        host: str,
        port: int,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        *,
        tls: ssl.SSLContext | None = None,
    ) -> Listener:
        stream = self._ports.take((host, port))
        server = await asyncio.get_running_loop().create_server(protocol_factory, sock=stream, backlog=1024, ssl=tls)
        listener = RealListener(server, (host, port))
        self._listeners.append(listener)
        if self._is_dead:
            server.close()
        return listener

    async def connect(
        self,
        host: str,
        port: int,
        protocol_factory: Callable[[], Any],
        *,
        timeout_ms: float,
        tls: ssl.SSLContext | None = None,
    ) -> tuple[asyncio.Transport, Any]:
        peer = self._nodes.get((host, port))
        async with asyncio.timeout(timeout_ms / 1000):
            while peer in self._cut_from:
                await self._healed.wait()
        link = Link(self, peer, protocol_factory())
        try:
            await super().connect(host, port, lambda: link, timeout_ms=timeout_ms, tls=tls)
        except BaseException:
            # Given up just after the connection was made, uvloop closes it and tells the protocol nothing.
            self.links.pop(link, None)
            raise
        if self._is_dead:
            link.abort()
        elif peer in self._cut_from:
            link.cut()
        return link, link.protocol

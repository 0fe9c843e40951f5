"""The real world for one broker of a cluster in one process, with faults: a disk that fails or stalls, a network that
refuses, and an end that is as abrupt as SIGKILL.

Addresses are names of hosts and ports as the configuration has them; behind each listens a real socket on the loopback
interface at a port that the system chose.
"""

from __future__ import annotations

import asyncio
import errno
import threading
import weakref
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from engine.world import Buffer, DiskLock, File, Listener
from engine.world.real import RealClock, RealDisk, RealFile, RealNetwork, RealRandom

T = TypeVar("T")
Address = tuple[str, int]


class Died(OSError):
    """The process that asked is gone."""


class Faults:
    """What goes wrong on one broker's disk. Paths are matched by a part of them."""

    def __init__(self) -> None:
        self.failing_syncs: str | None = None
        self.failing_appends: str | None = None
        self.failing_reads: str | None = None
        # Syncs of matching paths wait for the event.
        self.stalled: str | None = None
        self.go_on = threading.Event()
        self.waiting = 0
        self.syncs: list[str] = []
        self.dead = False

    def check(self, path: str) -> None:
        """Whether the broker still lives."""
        if self.dead:
            raise Died(errno.EIO, "the broker was killed", path)

    def on_append(self, path: str) -> None:
        self.check(path)
        if self.failing_appends is not None and self.failing_appends in path:
            raise OSError(errno.EIO, "Input/output error", path)

    def on_read(self, path: str) -> None:
        self.check(path)
        if self.failing_reads is not None and self.failing_reads in path:
            raise OSError(errno.EIO, "Input/output error", path)

    def on_sync(self, path: str) -> None:
        self.check(path)
        self.syncs.append(path)
        if self.stalled is not None and self.stalled in path:
            self.waiting += 1
            self.go_on.wait(10)
            self.waiting -= 1
        if self.failing_syncs is not None and self.failing_syncs in path:
            raise OSError(errno.EIO, "Input/output error", path)

    def stall(self, part: str) -> None:
        """Syncs of paths that contain ``part`` wait from now on."""
        self.go_on.clear()
        self.stalled = part

    def release(self) -> None:
        """All that waits goes on."""
        self.stalled = None
        self.go_on.set()


class FaultyFile(RealFile):
    """A real file behind the faults. Pages are not forced to the device: nobody cuts the power here."""

    __slots__ = ("__weakref__", "_faults")

    def __init__(self, file: RealFile, faults: Faults) -> None:
        super().__init__(file.path, file._fd, file._append)
        self._faults = faults

    def append(self, parts: Sequence[Buffer]) -> int:
        self._faults.on_append(self.path)
        return super().append(parts)

    def pread(self, length: int, offset: int) -> bytes:
        self._faults.on_read(self.path)
        return super().pread(length, offset)

    def pwrite(self, data: Buffer, offset: int) -> None:
        self._faults.check(self.path)
        super().pwrite(data, offset)

    def truncate(self, size: int) -> None:
        self._faults.check(self.path)
        super().truncate(size)

    def sync(self) -> None:
        self._faults.on_sync(self.path)


class FaultyDisk(RealDisk):
    """A real disk behind the faults."""

    __slots__ = ("_faults", "_files", "_locks", "_threads", "_working")

    def __init__(self, faults: Faults) -> None:
        super().__init__()
        self._faults = faults
        self._files: weakref.WeakSet[FaultyFile] = weakref.WeakSet()
        self._locks: list[DiskLock] = []
        self._threads = ThreadPoolExecutor(4, thread_name_prefix="disk")
        self._working: set[asyncio.Future[Any]] = set()

    def open(self, path: str, *, append: bool = False, create: bool = False, read_only: bool = False) -> File:
        self._faults.check(path)
        opened = super().open(path, append=append, create=create, read_only=read_only)
        assert isinstance(opened, RealFile)
        file = FaultyFile(opened, self._faults)
        self._files.add(file)
        return file

    def write_atomic(self, path: str, data: Buffer) -> None:
        self._faults.on_append(path)
        self._faults.on_sync(path)
        beside = path + ".tmp"
        with open(beside, "wb") as file:
            file.write(data)
        super().rename(beside, path)

    def sync_dir(self, path: str) -> None:
        self._faults.on_sync(path)

    def rename(self, source: str, target: str) -> None:
        self._faults.check(source)
        super().rename(source, target)

    def remove(self, path: str) -> None:
        self._faults.check(path)
        super().remove(path)

    def remove_tree(self, path: str) -> None:
        self._faults.check(path)
        super().remove_tree(path)

    def lock(self, path: str) -> DiskLock:
        lock = super().lock(path)
        self._locks.append(lock)
        return lock

    def run_blocking(self, work: Callable[[], T]) -> Awaitable[T]:
        loop = asyncio.get_running_loop()
        heard: asyncio.Future[T] = loop.create_future()

        def tell(done: asyncio.Future[T]) -> None:
            self._working.discard(done)
            # After the broker's death nobody is there to hear of it.
            if self._faults.dead or heard.done():
                return
            error = done.exception()
            if error is None:
                heard.set_result(done.result())
            else:
                heard.set_exception(error)

        if not self._faults.dead:
            working = loop.run_in_executor(self._threads, work)
            self._working.add(working)
            working.add_done_callback(tell)
        return heard

    async def die(self) -> None:
        """Nothing more is written; what threads are in the middle of comes to its end."""
        self._faults.dead = True
        self._faults.release()
        working = list(self._working)
        await asyncio.get_running_loop().run_in_executor(None, lambda: self._threads.shutdown(cancel_futures=True))
        await asyncio.gather(*working, return_exceptions=True)
        for file in list(self._files):
            file.close()
        for lock in self._locks:
            lock.release()

    def close(self) -> None:
        """After an orderly end."""
        self._threads.shutdown(wait=False)


class AdvanceableClock(RealClock):
    """The real clock, which a test may set ahead."""

    __slots__ = ("monotonic_offset_ms",)

    def __init__(self) -> None:
        self.monotonic_offset_ms = 0.0

    def monotonic_ms(self) -> float:
        return super().monotonic_ms() + self.monotonic_offset_ms


class Loopback:
    """Who listens where, and which hosts do not reach each other. Shared by all brokers of a cluster."""

    def __init__(self) -> None:
        self.ports: dict[Address, Address] = {}
        # (from, to): a connection between them is refused.
        self.cut: set[tuple[str, str]] = set()


class LoopbackNetwork(RealNetwork):
    """One host's sockets."""

    __slots__ = ("_connections", "_listeners", "_loopback", "host", "is_dead")

    def __init__(self, loopback: Loopback, host: str) -> None:
        self._loopback = loopback
        self.host = host
        self.is_dead = False
        self._listeners: dict[Address, Listener] = {}
        self._connections: list[tuple[str, asyncio.Transport]] = []

    async def listen(self, host: str, port: int, protocol_factory: Any, *, tls: Any = None) -> Listener:
        address = (host, port)
        if address in self._loopback.ports:
            raise OSError(errno.EADDRINUSE, "Address already in use")
        listener = await super().listen("127.0.0.1", 0, protocol_factory, tls=tls)
        self._loopback.ports[address] = listener.address
        self._listeners[address] = listener
        return _Listener(self, address)

    async def connect(
        self, host: str, port: int, protocol_factory: Any, *, timeout_ms: float, tls: Any = None
    ) -> tuple[asyncio.Transport, Any]:
        real = self._loopback.ports.get((host, port))
        if self.is_dead or real is None or (self.host, host) in self._loopback.cut:
            await asyncio.sleep(0)
            raise ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
        transport, protocol = await super().connect(*real, protocol_factory, timeout_ms=timeout_ms, tls=tls)
        if self.is_dead:
            transport.abort()
            raise ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
        self._connections = [each for each in self._connections if not each[1].is_closing()]
        self._connections.append((host, transport))
        return transport, protocol

    def cut_from(self, host: str) -> None:
        """No connection from here to ``host`` any more, and those that are open break."""
        self._loopback.cut.add((self.host, host))
        for to, transport in self._connections:
            if to == host:
                transport.abort()

    async def close(self, address: Address) -> None:
        listener = self._listeners.pop(address, None)
        if listener is not None:
            self._loopback.ports.pop(address, None)
            await listener.close()

    def die(self) -> None:
        """All sockets close at once, unread bytes and all."""
        self.is_dead = True
        for address, listener in self._listeners.items():
            self._loopback.ports.pop(address, None)
            listener._server.close()  # type: ignore[attr-defined]
        for _, transport in self._connections:
            transport.abort()


class _Listener:
    def __init__(self, network: LoopbackNetwork, address: Address) -> None:
        self._network = network
        self.address = address

    async def close(self) -> None:
        await self._network.close(self.address)


class LoopbackWorld:
    """One host."""

    def __init__(self, loopback: Loopback, host: str) -> None:
        self.faults = Faults()
        self.clock = AdvanceableClock()
        self.random = RealRandom()
        self.disk = FaultyDisk(self.faults)
        self.network = LoopbackNetwork(loopback, host)

    def environment(self) -> Iterable[tuple[str, str]]:
        return ()

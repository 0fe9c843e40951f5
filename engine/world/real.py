"""The world of production: the system's clocks, sockets of asyncio, a real disk."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import random
import shutil
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from engine.world.interface import Buffer, Clock, Disk, DiskLock, File, Listener, Network, Random, World
from engine.world.replacement import replace_file

T = TypeVar("T")

# More parts than this in one writev is EINVAL (IOV_MAX on Linux).
_IOV_MAX = 1024


class RealClock:
    """The system's clocks."""

    __slots__ = ()

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic_ms(self) -> float:
        return time.monotonic_ns() / 1e6

    def monotonic_ns(self) -> int:
        return time.monotonic_ns()


class RealRandom:
    """The operating system's randomness."""

    __slots__ = ("_random",)

    def __init__(self) -> None:
        self._random = random.SystemRandom()

    def uuid(self) -> bytes:
        while True:
            raw = bytearray(os.urandom(16))
            raw[6] = (raw[6] & 0x0F) | 0x40
            raw[8] = (raw[8] & 0x3F) | 0x80
            # Kafka avoids ids whose base64 form starts with a dash: they look like options on a command line.
            if raw[0] >> 2 != 62:
                return bytes(raw)

    def randint(self, low: int, high: int) -> int:
        return self._random.randint(low, high)

    def random(self) -> float:
        return self._random.random()


class RealFile:
    """A file descriptor."""

    __slots__ = ("_append", "_fd", "path")

    def __init__(self, path: str, fd: int, append: bool) -> None:
        self.path = path
        self._fd = fd
        self._append = append

    def size(self) -> int:
        return os.fstat(self._fd).st_size

    def pread(self, length: int, offset: int) -> bytes:
        data = os.pread(self._fd, length, offset)
        if len(data) == length or not data:
            return data
        parts = [data]
        read = len(data)
        while read < length:
            more = os.pread(self._fd, length - read, offset + read)
            if not more:
                break
            parts.append(more)
            read += len(more)
        return b"".join(parts)

    def append(self, parts: Sequence[Buffer]) -> int:
        assert self._append, "the file was not opened for appending"
        if len(parts) == 1:
            wanted = len(parts[0])
            written = os.write(self._fd, parts[0])
        else:
            if len(parts) > _IOV_MAX:
                parts = [b"".join(parts)]
            wanted = sum(map(len, parts))
            written = os.writev(self._fd, parts)
        if written != wanted:
            rest = memoryview(b"".join(parts))[written:]
            while rest:
                rest = rest[os.write(self._fd, rest) :]
        return wanted

    def pwrite(self, data: Buffer, offset: int) -> None:
        view = memoryview(data)
        while view:
            written = os.pwrite(self._fd, view, offset)
            view = view[written:]
            offset += written

    def truncate(self, size: int) -> None:
        os.ftruncate(self._fd, size)

    def sync(self) -> None:
        os.fdatasync(self._fd)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class RealDiskLock:
    """flock(2), and the lock of fcntl(2) that Java takes: of a broker here and Apache Kafka only one can have a
    log directory. Released by the kernel when the process ends, however it ends."""

    __slots__ = ("_fd",)

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def release(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def open_descriptor(path: str, *, append: bool, create: bool, read_only: bool) -> int:
    """The descriptor of a file that is opened as :meth:`engine.world.Disk.open` says. Raises ``OSError``."""
    flags = os.O_RDONLY if read_only else os.O_RDWR
    if append:
        flags |= os.O_APPEND
    if create:
        flags |= os.O_CREAT
    return os.open(path, flags | os.O_CLOEXEC, 0o644)


class RealDisk:
    """The operating system's file system."""

    __slots__ = ("_executor",)

    def __init__(self) -> None:
        self._executor: ThreadPoolExecutor | None = None

    def open(self, path: str, *, append: bool = False, create: bool = False, read_only: bool = False) -> File:
        return RealFile(path, open_descriptor(path, append=append, create=create, read_only=read_only), append)

    def read(self, path: str) -> bytes:
        with open(path, "rb") as file:
            return file.read()

    def write_atomic(self, path: str, data: Buffer) -> None:
        replace_file(self, path, data)

    def exists(self, path: str) -> bool:
        return os.path.exists(path)

    def is_dir(self, path: str) -> bool:
        return os.path.isdir(path)

    def file_size(self, path: str) -> int:
        return os.stat(path).st_size

    def list_dir(self, path: str) -> list[str]:
        return sorted(os.listdir(path))

    def make_dirs(self, path: str) -> None:
        os.makedirs(path, exist_ok=True)

    def rename(self, source: str, target: str) -> None:
        os.replace(source, target)

    def remove(self, path: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.remove(path)

    def remove_tree(self, path: str) -> None:
        shutil.rmtree(path, ignore_errors=False)

    def sync_dir(self, path: str) -> None:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def free_bytes(self, path: str) -> int:
        stat = os.statvfs(path)
        return stat.f_bavail * stat.f_frsize

    def total_bytes(self, path: str) -> int:
        stat = os.statvfs(path)
        return stat.f_blocks * stat.f_frsize

    def lock(self, path: str) -> DiskLock:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            # Either alone is not enough: fcntl's does not exclude another owner in the same process, flock not Java.
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(fd)
            if error.errno == errno.EACCES:
                raise BlockingIOError(error.errno, error.strerror, path) from error
            raise
        return RealDiskLock(fd)

    def run_blocking(self, work: Callable[[], T]) -> Awaitable[T]:
        if self._executor is None:
            self._executor = ThreadPoolExecutor(4, thread_name_prefix="disk")
        return asyncio.get_running_loop().run_in_executor(self._executor, work)


class RealListener:
    """A listening socket of asyncio."""

    __slots__ = ("_server", "address")

    def __init__(self, server: asyncio.Server, address: tuple[str, int]) -> None:
        self._server = server
        self.address = address

    async def close(self) -> None:
        self._server.close()


def _no_delay(transport: asyncio.BaseTransport) -> None:
    raw = transport.get_extra_info("socket")
    if raw is not None and raw.family in (socket.AF_INET, socket.AF_INET6):
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


class RealNetwork:
    """TCP by asyncio (or uvloop, when the process installed it)."""

    __slots__ = ()

    async def listen(
        self,
        host: str,
        port: int,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        *,
        tls: ssl.SSLContext | None = None,
    ) -> Listener:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(
            protocol_factory, host or None, port, ssl=tls, backlog=1024, reuse_address=True
        )
        name = server.sockets[0].getsockname()
        return RealListener(server, (name[0], name[1]))

    async def connect(
        self,
        host: str,
        port: int,
        protocol_factory: Callable[[], Any],
        *,
        timeout_ms: float,
        tls: ssl.SSLContext | None = None,
    ) -> tuple[asyncio.Transport, Any]:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(timeout_ms / 1000):
            transport, protocol = await loop.create_connection(protocol_factory, host, port, ssl=tls)
        _no_delay(transport)
        return transport, protocol


class RealWorld:
    """All of the real outside."""

    __slots__ = ("clock", "disk", "network", "random")

    def __init__(self) -> None:
        self.clock: Clock = RealClock()
        self.random: Random = RealRandom()
        self.disk: Disk = RealDisk()
        self.network: Network = RealNetwork()

    def environment(self) -> Iterable[tuple[str, str]]:
        return sorted(os.environ.items())


def real_world() -> World:
    """The world of production."""
    return RealWorld()

"""The interface of the world: what a broker may ask of its surroundings, and nothing else."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Protocol, TypeAlias, TypeVar

Buffer: TypeAlias = bytes | bytearray | memoryview
T = TypeVar("T")


class Clock(Protocol):
    """Time. Wall time may jump; durations and deadlines use the monotonic clock only."""

    def now_ms(self) -> int:
        """Wall-clock time, milliseconds since the Unix epoch."""

    def monotonic_ms(self) -> float:
        """Milliseconds since an arbitrary point; never goes back."""

    def monotonic_ns(self) -> int:
        """The same clock in nanoseconds, comparable between the processes of one machine."""


class Random(Protocol):
    """Randomness: seeded in the simulator."""

    def uuid(self) -> bytes:
        """16 random bytes that are neither all zero nor start as a reserved Kafka id (Uuid.randomUuid)."""

    def randint(self, low: int, high: int) -> int:
        """A uniform integer, both ends included."""

    def random(self) -> float:
        """A uniform number in [0, 1)."""


class File(Protocol):
    """An open file. Calls block for as long as the page cache needs; only :meth:`sync` waits for the device."""

    path: str

    def size(self) -> int:
        """Length in bytes."""

    def pread(self, length: int, offset: int) -> bytes:
        """Up to ``length`` bytes at ``offset``; shorter at the end of the file."""

    def append(self, parts: Sequence[Buffer]) -> int:
        """Write all parts at the end, in one system call where possible, and return the number of bytes.

        A short write is completed or raises ``OSError``; the file is opened in append mode.
        """

    def pwrite(self, data: Buffer, offset: int) -> None:
        """Write all of ``data`` at ``offset`` (files not opened for appending)."""

    def truncate(self, size: int) -> None:
        """Set the length."""

    def sync(self) -> None:
        """fdatasync: block until the data is on the device. Raises ``OSError``; a failed sync must never be retried."""

    def close(self) -> None:
        """Close; calling it twice is fine."""


class DiskLock(Protocol):
    """An exclusive advisory lock on a file, held until :meth:`release` or the end of the process."""

    def release(self) -> None: ...


class Disk(Protocol):
    """A file system. Paths are absolute strings."""

    def open(self, path: str, *, append: bool = False, create: bool = False, read_only: bool = False) -> File:
        """Open a file for reading and writing. Raises ``FileNotFoundError`` unless ``create``."""

    def read(self, path: str) -> bytes:
        """The whole file. Raises ``FileNotFoundError``."""

    def write_atomic(self, path: str, data: Buffer) -> None:
        """Replace a small file so that a crash leaves the old or the new one: write beside, sync, rename, sync the
        directory."""

    def exists(self, path: str) -> bool: ...

    def is_dir(self, path: str) -> bool: ...

    def file_size(self, path: str) -> int:
        """Length in bytes. Raises ``FileNotFoundError``."""

    def list_dir(self, path: str) -> list[str]:
        """Names in a directory, sorted. Raises ``FileNotFoundError``."""

    def make_dirs(self, path: str) -> None: ...

    def rename(self, source: str, target: str) -> None: ...

    def remove(self, path: str) -> None:
        """Remove a file; one that is not there is no error."""

    def remove_tree(self, path: str) -> None: ...

    def sync_dir(self, path: str) -> None:
        """fsync of a directory: makes creations, renames and removals in it durable."""

    def free_bytes(self, path: str) -> int: ...

    def total_bytes(self, path: str) -> int: ...

    def lock(self, path: str) -> DiskLock:
        """Take an exclusive lock on ``path`` (created if absent). Raises ``BlockingIOError`` if another holds it."""

    def run_blocking(self, work: Callable[[], T]) -> Awaitable[T]:
        """Run disk work that may wait for the device (fsync, a cold read) away from the event loop.

        In the simulator it runs after a virtual delay. Work of one call is never run twice.
        """


class Listener(Protocol):
    """A listening socket."""

    address: tuple[str, int]

    async def close(self) -> None:
        """Stop accepting. Connections already accepted stay."""


class Network(Protocol):
    """Streams of bytes between named addresses, with asyncio's transport and protocol semantics."""

    async def listen(
        self,
        host: str,
        port: int,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        *,
        tls: ssl.SSLContext | None = None,
    ) -> Listener:
        """Bind and accept. Port 0 picks a free one. Raises ``OSError`` if the address is in use."""

    async def connect(
        self,
        host: str,
        port: int,
        protocol_factory: Callable[[], Any],
        *,
        timeout_ms: float,
        tls: ssl.SSLContext | None = None,
    ) -> tuple[asyncio.Transport, Any]:
        """Open a stream. Raises ``OSError`` (refused, unreachable) or ``TimeoutError``."""


class World(Protocol):
    """All of the outside in one value."""

    clock: Clock
    random: Random
    disk: Disk
    network: Network

    def environment(self) -> Iterable[tuple[str, str]]:
        """Environment variables, for diagnostics."""

"""The disk of one broker in a test: the operating system's, without waiting for devices, and silent after death.

Nothing here can cut the power, so whatever is in the page cache is as durable as on a device: fsync does nothing, and
work that might wait for a device runs on the event loop, in its next turn, instead of in a thread. A killed broker must
write nothing more; what its tasks still do while they are unwound is dropped without an error, as nobody is left to see
one.
"""

from __future__ import annotations

import asyncio
import os
import weakref
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from engine.world import Buffer, DiskLock, File
from engine.world.real import RealDisk, RealFile, open_descriptor

T = TypeVar("T")


class BrokerFile(RealFile):
    """A file of one broker."""

    __slots__ = ("__weakref__", "_disk")

    def __init__(self, path: str, fd: int, append: bool, disk: BrokerDisk) -> None:
        super().__init__(path, fd, append)
        self._disk = disk

    def append(self, parts: Sequence[Buffer]) -> int:
        if self._disk.is_dead:
            return sum(map(len, parts))
        return super().append(parts)

    def pwrite(self, data: Buffer, offset: int) -> None:
        if not self._disk.is_dead:
            super().pwrite(data, offset)

    def truncate(self, size: int) -> None:
        if not self._disk.is_dead:
            super().truncate(size)

    def sync(self) -> None:
        """Nothing: see above."""


class BrokerDisk(RealDisk):
    """The file system as one broker sees it during one life."""

    __slots__ = ("_files", "_locks", "is_dead")

    def __init__(self) -> None:
        super().__init__()
        self._files: weakref.WeakSet[BrokerFile] = weakref.WeakSet()
        self._locks: list[DiskLock] = []
        self.is_dead = False

    def open(self, path: str, *, append: bool = False, create: bool = False, read_only: bool = False) -> File:
        place = os.devnull if self.is_dead else path
        descriptor = open_descriptor(place, append=append, create=create, read_only=read_only)
        file = BrokerFile(path, descriptor, append, self)
        self._files.add(file)
        return file

    def write_atomic(self, path: str, data: Buffer) -> None:
        if self.is_dead:
            return
        beside = path + ".tmp"
        with open(beside, "wb") as file:
            file.write(data)
        os.replace(beside, path)

    def make_dirs(self, path: str) -> None:
        if not self.is_dead:
            super().make_dirs(path)

    def rename(self, source: str, target: str) -> None:
        if not self.is_dead:
            super().rename(source, target)

    def remove(self, path: str) -> None:
        if not self.is_dead:
            super().remove(path)

    def remove_tree(self, path: str) -> None:
        if not self.is_dead:
            super().remove_tree(path)

    def sync_dir(self, path: str) -> None:
        """Nothing: see above."""

    def lock(self, path: str) -> DiskLock:
        lock = super().lock(path)
        self._locks.append(lock)
        return lock

    def run_blocking(self, work: Callable[[], T]) -> Awaitable[T]:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()

        def run() -> None:
            try:
                result = work()
            except BaseException as error:
                if not done.done():
                    done.set_exception(error)
            else:
                if not done.done():
                    done.set_result(result)

        loop.call_soon(run)
        return done

    def close(self) -> None:
        """Close whatever is still open, as the end of a process does."""
        for file in list(self._files):
            file.close()
        for lock in self._locks:
            lock.release()

"""A disk in memory that forgets at a loss of power what was not synced, and fails when it is told to."""

from __future__ import annotations

import errno
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from engine.world import Buffer, DiskLock, File

T = TypeVar("T")


class Inode:
    """A file's bytes: as they are, and as they were when they were last synced."""

    __slots__ = ("data", "synced")

    def __init__(self) -> None:
        self.data = bytearray()
        self.synced = b""


class MemoryFile:
    """An open file."""

    def __init__(self, disk: MemoryDisk, path: str, inode: Inode) -> None:
        self.path = path
        self._disk = disk
        self._inode = inode

    def size(self) -> int:
        return len(self._inode.data)

    def pread(self, length: int, offset: int) -> bytes:
        return bytes(self._inode.data[offset : offset + length])

    def append(self, parts: Sequence[Buffer]) -> int:
        data = b"".join(parts)
        room = self._disk.free
        if room is not None:
            if len(data) > room:
                self._inode.data += data[:room]
                raise OSError(errno.ENOSPC, "No space left on device", self.path)
            self._disk.free = room - len(data)
        self._inode.data += data
        return len(data)

    def pwrite(self, data: Buffer, offset: int) -> None:
        self._inode.data[offset : offset + len(data)] = data

    def truncate(self, size: int) -> None:
        del self._inode.data[size:]
        self._inode.data += bytes(size - len(self._inode.data))

    def sync(self) -> None:
        self._disk.syncs += 1
        if self._disk.fails_syncs:
            raise OSError(errno.EIO, "Input/output error", self.path)
        self._inode.synced = bytes(self._inode.data)

    def close(self) -> None:
        pass


class MemoryLock:
    """A lock."""

    def __init__(self, disk: MemoryDisk, path: str) -> None:
        self._disk = disk
        self._path = path

    def release(self) -> None:
        self._disk.locked.discard(self._path)


class MemoryDisk:
    """Satisfies :class:`engine.world.Disk`."""

    def __init__(self) -> None:
        self.files: dict[str, Inode] = {}
        # The names that a loss of power leaves, by directory.
        self.durable: dict[str, dict[str, Inode]] = {}
        self.directories: set[str] = {"/"}
        self.locked: set[str] = set()
        self.fails_syncs = False
        self.free: int | None = None
        self.syncs = 0

    # -- faults -------------------------------------------------------------------------------------------------

    def after_power_loss(self, rng: random.Random) -> MemoryDisk:
        """The disk as it may be found afterwards: every change that was not synced happened, or did not, or partly."""
        found = MemoryDisk()
        found.directories = set(self.directories)
        for directory in sorted(self.directories):
            now = {path: inode for path, inode in self.files.items() if path.rpartition("/")[0] == directory}
            before = self.durable.get(directory, {})
            # Changes of names are in the file system's journal: some of the first ones are there, or all, or none.
            names = before if rng.random() < 0.5 else now
            for path, inode in sorted(names.items()):
                kept = found.files[path] = Inode()
                kept.data = bytearray(_torn(inode, rng))
                kept.synced = bytes(kept.data)
            found.durable[directory] = {
                path: inode for path, inode in found.files.items() if path.rpartition("/")[0] == directory
            }
        return found

    # -- the interface ------------------------------------------------------------------------------------------

    def open(self, path: str, *, append: bool = False, create: bool = False, read_only: bool = False) -> File:
        if path not in self.files:
            if not create:
                raise FileNotFoundError(errno.ENOENT, "No such file", path)
            self.files[path] = Inode()
        return MemoryFile(self, path, self.files[path])

    def read(self, path: str) -> bytes:
        if path not in self.files:
            raise FileNotFoundError(errno.ENOENT, "No such file", path)
        return bytes(self.files[path].data)

    def write_atomic(self, path: str, data: Buffer) -> None:
        inode = Inode()
        inode.data = bytearray(data)
        MemoryFile(self, path, inode).sync()
        self.files[path] = inode
        self.sync_dir(path.rpartition("/")[0])

    def exists(self, path: str) -> bool:
        return path in self.files or path in self.directories

    def is_dir(self, path: str) -> bool:
        return path in self.directories

    def file_size(self, path: str) -> int:
        return len(self.read(path))

    def list_dir(self, path: str) -> list[str]:
        if path not in self.directories:
            raise FileNotFoundError(errno.ENOENT, "No such directory", path)
        return sorted(
            each.rpartition("/")[2]
            for each in [*self.files, *self.directories]
            if each.rpartition("/")[0] == path and each != "/"
        )

    def make_dirs(self, path: str) -> None:
        while path:
            self.directories.add(path)
            path = path.rpartition("/")[0]

    def rename(self, source: str, target: str) -> None:
        if source in self.directories:
            for path in [each for each in self.files if each.startswith(source + "/")]:
                self.files[target + path[len(source) :]] = self.files.pop(path)
            # What was synced in it stays so.
            names = self.durable.pop(source, {})
            self.durable[target] = {target + path[len(source) :]: inode for path, inode in names.items()}
            self.directories.remove(source)
            self.directories.add(target)
        elif source in self.files:
            self.files[target] = self.files.pop(source)
        else:
            raise FileNotFoundError(errno.ENOENT, "No such file", source)

    def remove(self, path: str) -> None:
        self.files.pop(path, None)

    def remove_tree(self, path: str) -> None:
        for each in [each for each in self.files if each.startswith(path + "/")]:
            del self.files[each]
        self.directories = {each for each in self.directories if each != path and not each.startswith(path + "/")}

    def sync_dir(self, path: str) -> None:
        if self.fails_syncs:
            raise OSError(errno.EIO, "Input/output error", path)
        self.durable[path] = {each: inode for each, inode in self.files.items() if each.rpartition("/")[0] == path}

    def free_bytes(self, path: str) -> int:
        return 1 << 40

    def total_bytes(self, path: str) -> int:
        return 1 << 40

    def lock(self, path: str) -> DiskLock:
        if path in self.locked:
            raise BlockingIOError(errno.EAGAIN, "locked", path)
        self.locked.add(path)
        return MemoryLock(self, path)

    def run_blocking(self, work: Callable[[], T]) -> Awaitable[T]:
        raise NotImplementedError


def _torn(inode: Inode, rng: random.Random) -> bytes:
    data, synced = bytes(inode.data), inode.synced
    if not data.startswith(synced):
        # Cut, and perhaps written anew.
        return synced if rng.random() < 0.5 else data
    tail = bytearray(data[len(synced) :])
    if tail and rng.random() < 0.7:
        place = rng.randrange(len(tail))
        if rng.random() < 0.5:
            del tail[place:]
        elif rng.random() < 0.5:
            # The size was written, the bytes were not.
            tail[place:] = bytes(len(tail) - place)
        else:
            # A sector was not written.
            tail[place : place + 16] = bytes(len(tail[place : place + 16]))
    return synced + bytes(tail)

"""A disk in memory: it forgets at a loss of power what was not synced, and fails, fills up and slows down when told to.

What survives a loss of power: bytes up to a file's last sync, names up to their directory's last sync. Everything later
happened wholly, partly or not at all, as the seed has it: a tail may be cut, read as zeroes, or miss a sector.
"""

from __future__ import annotations

import asyncio
import contextvars
import errno
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from engine.world import Buffer, DiskLock, File, replacement

T = TypeVar("T")

_SECTOR_BYTES = 512
_NEVER_FULL_BYTES = 1 << 40
# How long work waits for a device that is well: shortest and longest, seconds.
USUAL_DELAY_S = (0.0001, 0.002)


class _Inode:
    """A file's bytes. ``synced_size`` bytes of them were synced; ``lost_tail`` is what followed those when they were,
    and was cut or overwritten since."""

    __slots__ = ("data", "lost_tail", "synced_size")

    def __init__(self) -> None:
        self.data = bytearray()
        self.synced_size = 0
        self.lost_tail = b""

    def changes_from(self, position: int) -> None:
        """Bytes from ``position`` on are about to change."""
        if position < self.synced_size:
            self.lost_tail = bytes(self.data[position : self.synced_size]) + self.lost_tail
            self.synced_size = position

    def sync(self) -> None:
        self.synced_size = len(self.data)
        self.lost_tail = b""


class SimFile:
    """An open file. After the process that opened it died, nothing can be written through it any more."""

    __slots__ = ("_disk", "_generation", "_inode", "path")

    def __init__(self, disk: SimDisk, path: str, inode: _Inode) -> None:
        self.path = path
        self._disk = disk
        self._inode = inode
        self._generation = disk.generation

    def size(self) -> int:
        return len(self._inode.data)

    def pread(self, length: int, offset: int) -> bytes:
        self._disk.check("read", self.path)
        return bytes(self._inode.data[offset : offset + length])

    def append(self, parts: Sequence[Buffer]) -> int:
        self._check_write()
        data = b"".join(parts)
        room = self._disk.take_room(len(data))
        self._inode.data += data[:room]
        if room < len(data):
            raise OSError(errno.ENOSPC, "No space left on device", self.path)
        return len(data)

    def pwrite(self, data: Buffer, offset: int) -> None:
        self._check_write()
        self._inode.changes_from(offset)
        self._inode.data[offset : offset + len(data)] = data

    def truncate(self, size: int) -> None:
        self._check_write()
        self._inode.changes_from(size)
        del self._inode.data[size:]
        self._inode.data += bytes(size - len(self._inode.data))

    def sync(self) -> None:
        self._disk.syncs += 1
        self._disk.check("sync", self.path)
        self._inode.sync()

    def _check_write(self) -> None:
        assert self._generation == self._disk.generation, f"{self.path} was opened by a process that is dead"
        self._disk.check("write", self.path)

    def close(self) -> None:
        pass


class _Lock:
    def __init__(self, disk: SimDisk, path: str) -> None:
        self._disk = disk
        self._path = path
        self._generation = disk.generation

    def release(self) -> None:
        if self._generation == self._disk.generation:
            self._disk.locked.discard(self._path)


class SimDisk:
    """The disk of one machine; it outlives the processes that use it.

    ``failing`` names the operations that raise EIO now, on files below ``failing_under``: "read", "write", "sync".
    ``room_bytes`` is what may still be written before ENOSPC, None without bound. ``delay_s``: the shortest and longest
    time of work that waits for the device.
    """

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        # Directory to its entries; the ones that a loss of power leaves.
        self._entries: dict[str, dict[str, _Inode]] = {"/": {}}
        self._durable: dict[str, dict[str, _Inode]] = {}
        self.locked: set[str] = set()
        self.failing: set[str] = set()
        self.failing_under = ""
        self.room_bytes: int | None = None
        self.delay_s = USUAL_DELAY_S
        # Work that waits for a device which hangs; None: it does not.
        self._stuck: list[Callable[[], None]] | None = None
        self.syncs = 0
        self.generation = 0

    # -- faults -------------------------------------------------------------------------------------------------

    def check(self, operation: str, path: str) -> None:
        """Raise ``OSError`` if the operation fails now."""
        if operation in self.failing and (path == self.failing_under or path.startswith(self.failing_under + "/")):
            raise OSError(errno.EIO, "Input/output error", path)

    def hang(self) -> None:
        """The device does nothing until :meth:`go_on`; whoever waits for it waits."""
        if self._stuck is None:
            self._stuck = []

    def go_on(self) -> None:
        """The device does what it was asked meanwhile."""
        stuck, self._stuck = self._stuck, None
        for each in stuck or ():
            each()

    def take_room(self, wanted: int) -> int:
        """How much of a write fits."""
        if self.room_bytes is None:
            return wanted
        granted = min(wanted, self.room_bytes)
        self.room_bytes -= granted
        return granted

    def on_process_died(self) -> None:
        """Locks are gone, open files as well; what was written stays."""
        self.generation += 1
        self.locked = set()
        if self._stuck is not None:
            self._stuck = []

    def on_power_lost(self) -> None:
        """The process died with its machine: what was not synced happened, or did not, or partly."""
        self.on_process_died()
        rng = self._rng
        for directory in sorted(self._entries):
            now, before = self._entries[directory], self._durable.get(directory, {})
            # Changes of names stand in the file system's journal: the later ones may be lost.
            names = dict(now if rng.random() < 0.5 else before)
            for name in sorted(names):
                inode = names[name]
                kept = names[name] = _Inode()
                kept.data = bytearray(_torn(inode, rng))
                kept.sync()
            self._entries[directory] = names
            self._durable[directory] = dict(names)

    def flip_bit(self, path: str, position: int | None = None) -> None:
        """One bit of a file rots, of the byte at ``position`` or of any."""
        data = self._inode(path).data
        if data:
            at = self._rng.randrange(len(data)) if position is None else position
            data[at] ^= 1 << self._rng.randrange(8)

    def paths(self) -> list[str]:
        """All files, sorted."""
        return sorted(f"{directory}/{name}" for directory, names in self._entries.items() for name in names)

    # -- the interface of engine.world.Disk ---------------------------------------------------------------------

    def _split(self, path: str) -> tuple[str, str]:
        directory, _, name = path.rpartition("/")
        return directory or "/", name

    def _inode(self, path: str) -> _Inode:
        directory, name = self._split(path)
        try:
            return self._entries[directory][name]
        except KeyError:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", path) from None

    def open(self, path: str, *, append: bool = False, create: bool = False, read_only: bool = False) -> File:
        directory, name = self._split(path)
        if create and name not in self._entries.get(directory, {}):
            self.check("write", path)
            if directory not in self._entries:
                raise FileNotFoundError(errno.ENOENT, "No such file or directory", path)
            self._entries[directory][name] = _Inode()
        return SimFile(self, path, self._inode(path))

    def read(self, path: str) -> bytes:
        self.check("read", path)
        return bytes(self._inode(path).data)

    def write_atomic(self, path: str, data: Buffer) -> None:
        replacement.replace_file(self, path, data)

    def exists(self, path: str) -> bool:
        directory, name = self._split(path)
        return path in self._entries or name in self._entries.get(directory, {})

    def is_dir(self, path: str) -> bool:
        return path in self._entries

    def file_size(self, path: str) -> int:
        return len(self._inode(path).data)

    def list_dir(self, path: str) -> list[str]:
        if path not in self._entries:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", path)
        prefix = path.rstrip("/") + "/"
        below = [each[len(prefix) :] for each in self._entries if each.startswith(prefix) and each != "/"]
        return sorted([*self._entries[path], *(each for each in below if each and "/" not in each)])

    def make_dirs(self, path: str) -> None:
        while path and path not in self._entries:
            self._entries[path] = {}
            path = path.rpartition("/")[0]

    def rename(self, source: str, target: str) -> None:
        self.check("write", source)
        if source in self._entries:
            for each in [each for each in self._entries if each == source or each.startswith(source + "/")]:
                self._entries[target + each[len(source) :]] = self._entries.pop(each)
                if each in self._durable:
                    self._durable[target + each[len(source) :]] = self._durable.pop(each)
            return
        inode = self._inode(source)
        directory, name = self._split(source)
        del self._entries[directory][name]
        directory, name = self._split(target)
        self._entries[directory][name] = inode

    def remove(self, path: str) -> None:
        directory, name = self._split(path)
        self._entries.get(directory, {}).pop(name, None)

    def remove_tree(self, path: str) -> None:
        if path not in self._entries:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", path)
        for each in [each for each in self._entries if each == path or each.startswith(path + "/")]:
            del self._entries[each]
            self._durable.pop(each, None)

    def sync_dir(self, path: str) -> None:
        self.check("sync", path)
        self._durable[path] = dict(self._entries.get(path, {}))

    def free_bytes(self, path: str) -> int:
        return _NEVER_FULL_BYTES if self.room_bytes is None else self.room_bytes

    def total_bytes(self, path: str) -> int:
        return _NEVER_FULL_BYTES

    def lock(self, path: str) -> DiskLock:
        if path in self.locked:
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable", path)
        self.locked.add(path)
        return _Lock(self, path)

    def run_blocking(self, work: Callable[[], T]) -> Awaitable[T]:
        """The work happens at the beginning or at the end of its time, as the seed has it."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()
        if self._stuck is not None:
            context = contextvars.copy_context()
            self._stuck.append(lambda: context.run(self._do_later, work, done, loop))
        else:
            self._do_later(work, done, loop)
        return done

    def _do_later(self, work: Callable[[], T], done: asyncio.Future[T], loop: asyncio.AbstractEventLoop) -> None:
        delay_s = self._rng.uniform(*self.delay_s)
        if self._rng.random() < 0.5:
            outcome = _outcome(work)
            loop.call_later(delay_s, lambda: _settle(done, outcome))
        else:
            loop.call_later(delay_s, lambda: _settle(done, _outcome(work)))


def _outcome(work: Callable[[], T]) -> tuple[T | None, BaseException | None]:
    try:
        return work(), None
    except Exception as error:
        return None, error


def _settle(done: asyncio.Future[T], outcome: tuple[T | None, BaseException | None]) -> None:
    if done.cancelled():
        return
    result, error = outcome
    if error is not None:
        done.set_exception(error)
    else:
        done.set_result(result)  # type: ignore[arg-type]


def _torn(inode: _Inode, rng: random.Random) -> bytes:
    data = bytes(inode.data)
    synced = data[: inode.synced_size]
    if inode.lost_tail:
        # A cut, and perhaps new bytes, that were not synced: they are there, or the old ones are.
        return synced + inode.lost_tail if rng.random() < 0.5 else data
    tail = bytearray(data[inode.synced_size :])
    if tail and rng.random() < 0.7:
        place = rng.randrange(len(tail))
        kind = rng.random()
        if kind < 0.5:
            del tail[place:]
        elif kind < 0.75:
            # The size was written, the bytes were not.
            tail[place:] = bytes(len(tail) - place)
        else:
            end = min(len(tail), place + _SECTOR_BYTES)
            tail[place:end] = bytes(end - place)
    return synced + bytes(tail)

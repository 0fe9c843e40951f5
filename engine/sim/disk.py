"""A disk in memory: it forgets at a loss of power what was not synced, and fails, fills up and slows down when told to.

What survives a loss of power: bytes up to a file's last sync, names (of files and of directories) up to the last sync
of the directory that they stand in. Everything later happened wholly, partly or not at all, as the seed has it: a tail
may be cut, read as zeroes, or miss a sector; of the changes of a directory's names the first ones are there, as a file
system's journal has them.
"""

from __future__ import annotations

import asyncio
import contextvars
import errno
import random
from collections.abc import Awaitable, Callable, Sequence
from enum import Enum
from typing import NamedTuple, TypeAlias, TypeVar

from engine.world import Buffer, DiskLock, File, replacement

T = TypeVar("T")

_SECTOR_BYTES = 512
_NEVER_FULL_BYTES = 1 << 40
# How long work waits for a device that is well: shortest and longest, seconds.
USUAL_DELAY_S = (0.0001, 0.002)


class Survivors(Enum):
    """What of the changes that were not synced a loss of power leaves."""

    SOME = "some"  # as the seed has it, each file and directory for itself
    NONE = "none"
    ALL = "all"


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

    def copy(self, copies: dict[int, _Node]) -> _Inode:
        known = copies.get(id(self))
        if known is None:
            known = copies[id(self)] = _Inode()
            known.data, known.synced_size, known.lost_tail = bytearray(self.data), self.synced_size, self.lost_tail
        assert isinstance(known, _Inode)
        return known


class _Directory:
    """A directory's names; those of its last sync; and the changes since, in their order."""

    __slots__ = ("changes", "durable", "names")

    def __init__(self) -> None:
        self.names: dict[str, _Node] = {}
        self.durable: dict[str, _Node] = {}
        self.changes: list[_Change] = []

    def change(self, gone: str | None, come: str | None, node: _Node | None) -> None:
        """A name goes, another comes for ``node``: one step of the journal."""
        self._apply(self.names, change := _Change(gone, come, node))
        self.changes.append(change)

    @staticmethod
    def _apply(names: dict[str, _Node], change: _Change) -> None:
        if change.gone is not None:
            names.pop(change.gone, None)
        if change.come is not None and change.node is not None:
            names[change.come] = change.node

    def sync(self) -> None:
        for change in self.changes:
            self._apply(self.durable, change)
        self.changes = []

    def after(self, count: int) -> dict[str, _Node]:
        """The names after the first ``count`` changes since the last sync."""
        names = dict(self.durable)
        for change in self.changes[:count]:
            self._apply(names, change)
        return names

    def copy(self, copies: dict[int, _Node]) -> _Directory:
        known = copies.get(id(self))
        if known is None:
            copied = copies[id(self)] = _Directory()
            copied.names = {name: node.copy(copies) for name, node in self.names.items()}
            copied.durable = {name: node.copy(copies) for name, node in self.durable.items()}
            copied.changes = [
                each._replace(node=None if each.node is None else each.node.copy(copies)) for each in self.changes
            ]
            return copied
        assert isinstance(known, _Directory)
        return known


_Node: TypeAlias = _Inode | _Directory


class _Change(NamedTuple):
    gone: str | None
    come: str | None
    node: _Node | None


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
        if self._disk.on_operation is not None:
            # The kernel may have taken a part of it only.
            self._disk.on_operation("append", self.path)
            half = min(room, len(data) // 2)
            self._inode.data += data[:half]
            self._disk.on_operation("append, half", self.path)
            del self._inode.data[len(self._inode.data) - half :]
        self._inode.data += data[:room]
        if room < len(data):
            raise OSError(errno.ENOSPC, "No space left on device", self.path)
        return len(data)

    def pwrite(self, data: Buffer, offset: int) -> None:
        self._check_write()
        self._disk.about_to("pwrite", self.path)
        self._inode.changes_from(offset)
        self._inode.data[offset : offset + len(data)] = data

    def truncate(self, size: int) -> None:
        self._check_write()
        self._disk.about_to("truncate", self.path)
        self._inode.changes_from(size)
        del self._inode.data[size:]
        self._inode.data += bytes(size - len(self._inode.data))

    def sync(self) -> None:
        self._disk.syncs += 1
        self._disk.check("sync", self.path)
        self._disk.about_to("sync", self.path)
        if not self._disk.lies("sync", self.path):
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
    time of work that waits for the device. ``lying`` names what does nothing and says that it did: "sync", "sync_dir",
    or "sync .log" for files of such names only.
    ``on_operation(kind, path)`` is told of each change before it is made, and in the middle of those that can be cut
    in two; it may look at the disk, and :meth:`fork` it.
    """

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._root = _Directory()
        # All that there are, by path.
        self._directories: dict[str, _Directory] = {"/": self._root}
        self.lying: set[str] = set()
        self.on_operation: Callable[[str, str], None] | None = None
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

    def on_power_lost(self, survivors: Survivors = Survivors.SOME) -> None:
        """The process died with its machine: what was not synced happened, or did not, or partly."""
        self.on_process_died()
        torn: dict[int, _Inode] = {}
        for _, directory in sorted(self._recoverable().items()):
            names = self._surviving(directory, survivors)
            for name in sorted(names):
                node = names[name]
                if isinstance(node, _Inode):
                    found = torn.get(id(node))
                    if found is None:
                        found = torn[id(node)] = _Inode()
                        found.data = bytearray(_torn(node, self._rng, survivors))
                        found.sync()
                    names[name] = found
            directory.names = names
            directory.durable = dict(names)
            directory.changes = []
        self._directories = {"/": self._root}
        self._index("/", self._root)

    def _surviving(self, directory: _Directory, survivors: Survivors) -> dict[str, _Node]:
        if survivors is not Survivors.SOME:
            return dict(directory.names if survivors is Survivors.ALL else directory.durable)
        chance = self._rng.random()
        # Changes of names stand in the file system's journal: the later ones may be lost.
        if chance < 0.5:
            return dict(directory.names)
        if chance < 0.75 or not directory.changes:
            return dict(directory.durable)
        return directory.after(self._rng.randrange(len(directory.changes) + 1))

    def _recoverable(self) -> dict[str, _Directory]:
        """Every directory that may be found again, those that were removed as well, each by a path of its own."""
        found = dict(self._directories)
        known = {id(each) for each in found.values()}
        waiting = list(found.items())
        while waiting:
            path, directory = waiting.pop()
            changed = [(each.come or "", each.node) for each in directory.changes]
            for name, node in [*directory.durable.items(), *changed]:
                if isinstance(node, _Directory) and id(node) not in known:
                    known.add(id(node))
                    removed = f"{path}/{name}"
                    while removed in found:
                        removed += "'"
                    found[removed] = node
                    waiting.append((removed, node))
        return found

    def _index(self, path: str, directory: _Directory) -> None:
        for name, node in directory.names.items():
            if isinstance(node, _Directory):
                below = f"{path.rstrip('/')}/{name}"
                self._directories[below] = node
                self._index(below, node)

    def fork(self, rng: random.Random) -> SimDisk:
        """The same disk once more, in another world: what happens to one does not happen to the other. Files that are
        open stay this disk's."""
        forked = SimDisk(rng)
        copies: dict[int, _Node] = {}
        forked._root = self._root.copy(copies)
        forked._directories = {"/": forked._root}
        forked._index("/", forked._root)
        forked.lying = set(self.lying)
        return forked

    def about_to(self, kind: str, path: str) -> None:
        """Tell who watches that this is done next."""
        if self.on_operation is not None:
            self.on_operation(kind, path)

    def lies(self, kind: str, path: str) -> bool:
        """Whether a sync is not done."""
        return any(
            each == kind or (each.startswith(f"{kind} ") and path.endswith(each[len(kind) + 1 :]))
            for each in self.lying
        )

    def flip_bit(self, path: str, position: int | None = None) -> None:
        """One bit of a file rots, of the byte at ``position`` or of any."""
        data = self._inode(path).data
        if data:
            at = self._rng.randrange(len(data)) if position is None else position
            data[at] ^= 1 << self._rng.randrange(8)

    def paths(self) -> list[str]:
        """All files, sorted."""
        return sorted(
            f"{path}/{name}"
            for path, directory in self._directories.items()
            for name, node in directory.names.items()
            if isinstance(node, _Inode)
        )

    # -- the interface of engine.world.Disk ---------------------------------------------------------------------

    def _split(self, path: str) -> tuple[str, str]:
        directory, _, name = path.rpartition("/")
        return directory or "/", name

    def _inode(self, path: str) -> _Inode:
        directory, name = self._split(path)
        try:
            node = self._directories[directory].names[name]
        except KeyError:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", path) from None
        if isinstance(node, _Directory):
            raise IsADirectoryError(errno.EISDIR, "Is a directory", path)
        return node

    def open(self, path: str, *, append: bool = False, create: bool = False, read_only: bool = False) -> File:
        directory, name = self._split(path)
        if create:
            parent = self._directories.get(directory)
            if parent is None or name not in parent.names:
                self.check("write", path)
                if parent is None:
                    raise FileNotFoundError(errno.ENOENT, "No such file or directory", path)
                self.about_to("create", path)
                parent.change(None, name, _Inode())
        return SimFile(self, path, self._inode(path))

    def read(self, path: str) -> bytes:
        self.check("read", path)
        return bytes(self._inode(path).data)

    def write_atomic(self, path: str, data: Buffer) -> None:
        replacement.replace_file(self, path, data)

    def exists(self, path: str) -> bool:
        directory, name = self._split(path)
        parent = self._directories.get(directory)
        return path == "/" or (parent is not None and name in parent.names)

    def is_dir(self, path: str) -> bool:
        return path in self._directories

    def file_size(self, path: str) -> int:
        return len(self._inode(path).data)

    def list_dir(self, path: str) -> list[str]:
        directory = self._directories.get(path)
        if directory is None:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", path)
        return sorted(directory.names)

    def make_dirs(self, path: str) -> None:
        directory = self._root
        made = ""
        for name in path.strip("/").split("/"):
            made += f"/{name}"
            if made not in self._directories:
                self.about_to("make_dirs", made)
                self._directories[made] = _Directory()
                directory.change(None, name, self._directories[made])
            directory = self._directories[made]

    def rename(self, source: str, target: str) -> None:
        self.check("write", source)
        directory, name = self._split(source)
        moved: _Node = self._directories[source] if source in self._directories else self._inode(source)
        self.about_to("rename", source)
        target_directory, target_name = self._split(target)
        if directory == target_directory:
            self._directories[directory].change(name, target_name, moved)
        else:
            self._directories[directory].change(name, None, None)
            self._directories[target_directory].change(None, target_name, moved)
        if isinstance(moved, _Directory):
            for each in [each for each in self._directories if each == source or each.startswith(source + "/")]:
                self._directories[target + each[len(source) :]] = self._directories.pop(each)

    def remove(self, path: str) -> None:
        directory, name = self._split(path)
        parent = self._directories.get(directory)
        if parent is not None and isinstance(parent.names.get(name), _Inode):
            self.about_to("remove", path)
            parent.change(name, None, None)

    def remove_tree(self, path: str) -> None:
        doomed = self._directories.get(path)
        if doomed is None:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", path)
        for name, node in list(doomed.names.items()):
            if isinstance(node, _Directory):
                self.remove_tree(f"{path}/{name}")
            else:
                self.remove(f"{path}/{name}")
        self.about_to("remove_tree", path)
        directory, name = self._split(path)
        self._directories[directory].change(name, None, None)
        del self._directories[path]

    def sync_dir(self, path: str) -> None:
        self.check("sync", path)
        directory = self._directories.get(path)
        if directory is None:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", path)
        self.about_to("sync_dir", path)
        if not self.lies("sync_dir", path):
            directory.sync()

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


def _torn(inode: _Inode, rng: random.Random, survivors: Survivors) -> bytes:
    data = bytes(inode.data)
    synced = data[: inode.synced_size]
    if survivors is not Survivors.SOME:
        return data if survivors is Survivors.ALL else synced + inode.lost_tail
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

"""A real disk with a switch: fsyncs that take long or fail, and no room left.

Off, files and disk are exactly :mod:`engine.world.real`'s: a fault puts its methods into the class of this disk's
files (open ones included) and takes them out again. What the engine meets is what it would meet of a device:
``OSError`` with EIO or ENOSPC, or a thread that waits.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Sequence
from typing import Any

from engine.model.broker_faults import BrokerFaults
from engine.world.interface import Buffer, File
from engine.world.real import RealDisk, RealFile, open_descriptor

_SWITCHED = ("sync", "append", "pwrite")


class FaultyDisk(RealDisk):
    """The operating system's file system, as well as it is told to be."""

    __slots__ = ("_faults", "_files")

    def __init__(self) -> None:
        super().__init__()
        self._faults = BrokerFaults()
        # A class of its own: faults of one disk are no other's.
        self._files: type[RealFile] = type("FaultyFile", (RealFile,), {"__slots__": ()})

    def set(self, faults: BrokerFaults) -> None:
        """From now on this is wrong, and nothing else. May be called while other threads use the files."""
        self._faults = faults
        for name, method in self._methods(faults).items():
            if method is not None:
                setattr(self._files, name, method)
            elif name in self._files.__dict__:
                delattr(self._files, name)

    def _methods(self, faults: BrokerFaults) -> dict[str, Callable[..., Any] | None]:
        def sync(file: RealFile) -> None:
            self._before_sync(file.path)
            RealFile.sync(file)

        def append(file: RealFile, parts: Sequence[Buffer]) -> int:
            raise _no_space(file.path)

        def pwrite(file: RealFile, data: Buffer, offset: int) -> None:
            raise _no_space(file.path)

        found: dict[str, Callable[..., Any] | None] = dict.fromkeys(_SWITCHED)
        if faults.fsync_fails or faults.fsync_delay_ms:
            found["sync"] = sync
        if faults.is_full:
            found |= {"append": append, "pwrite": pwrite}
        return found

    def _before_sync(self, path: str) -> None:
        faults = self._faults
        if faults.fsync_delay_ms:
            time.sleep(faults.fsync_delay_ms / 1000)
        if faults.fsync_fails:
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)

    def _needs_room(self, path: str) -> None:
        if self._faults.is_full:
            raise _no_space(path)

    # -- what a disk does, and a file does not --------------------------------------------------------------------

    def open(self, path: str, *, append: bool = False, create: bool = False, read_only: bool = False) -> File:
        if create and not os.path.exists(path):
            self._needs_room(path)
        return self._files(path, open_descriptor(path, append=append, create=create, read_only=read_only), append)

    def make_dirs(self, path: str) -> None:
        if not os.path.isdir(path):
            self._needs_room(path)
        super().make_dirs(path)

    def sync_dir(self, path: str) -> None:
        self._before_sync(path)
        super().sync_dir(path)

    def free_bytes(self, path: str) -> int:
        return 0 if self._faults.is_full else super().free_bytes(path)


def _no_space(path: str) -> OSError:
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)

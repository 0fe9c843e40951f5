"""The directory of an application's stores: ``<state.dir>/<application.id>/<task>/``, one task one process.

A task's directory is locked while it is in use (``.lock``, as Kafka Streams names it; the lock goes with the process).
Where two workers have one task, an active one and a standby, or one that was stopped in the midst and one that has the
task since, the second has a directory beside it, ``<task>-2``: each is a state as of its own offset.
Directories of tasks that have gone elsewhere are deleted when nothing in them changed for ``state.cleanup.delay.ms``.

Nothing is wiped after an unclean end, under exactly-once neither: a store's data and its changelog offset are one
commit, which comes after the transaction that covers them (docs/decisions/0032).
"""

from __future__ import annotations

import fcntl
import itertools
import os
import re
import shutil
from pathlib import Path
from types import TracebackType
from typing import Final

from engine.streams.stores.errors import StateStoreError, TaskLockedError

LOCK_FILE: Final = ".lock"
_TASK: Final = re.compile(r"\d+_\d+(-\d+)?|global")


class TaskDirectory:
    """The locked directory of one task; give :attr:`path` to the StreamTask, :meth:`release` it after its close."""

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self._lock: int | None = lock

    def wipe(self) -> None:
        """Delete all files of the task's stores, which must be closed."""
        for each in self.path.iterdir():
            if each.name == LOCK_FILE:
                continue
            if each.is_dir():
                shutil.rmtree(each)
            else:
                each.unlink()

    def release(self) -> None:
        """Let another process have the task. Again is nothing."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> TaskDirectory:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.release()


class StateDirectory:
    """What ``root``, ``<state.dir>/<application.id>``, holds."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def tasks(self) -> list[str]:
        """The tasks that have a directory here, whoever has them."""
        if not self.root.is_dir():
            return []
        return sorted(each.name for each in self.root.iterdir() if each.is_dir() and _TASK.fullmatch(each.name))

    def acquire(self, task: str, *, beside: bool = False) -> TaskDirectory:
        """Make and lock a task's directory (``0_1``, or ``global``), the one that changed last if there are several.

        With ``beside`` another one where all of them are in use.

        Raises:
            TaskLockedError: another worker has it.
            StateStoreError: it cannot be made or written to.
        """
        mine = [each for each in self.tasks() if each.partition("-")[0] == task]
        mine.sort(key=lambda each: _last_change_ms(self.root / each), reverse=True)
        refused: TaskLockedError | None = None
        for each in mine or [task]:
            try:
                return self._lock(each)
            except TaskLockedError as error:
                refused = refused or error
        assert refused is not None
        if not beside:
            raise refused
        number = next(each for each in itertools.count(2) if f"{task}-{each}" not in mine)
        return self._lock(f"{task}-{number}")

    def _lock(self, task: str) -> TaskDirectory:
        path = self.root / task
        while True:
            try:
                path.mkdir(parents=True, exist_ok=True)
                lock = os.open(path / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o644)
            except FileNotFoundError:
                continue  # a clean-up took the directory between the two
            except OSError as error:
                raise StateStoreError(
                    f"cannot use {path}: {error.strerror}; set state.dir to a directory that can be written to"
                ) from error
            try:
                # flock(2) excludes others in this process as well, the lock of fcntl(2) excludes Java.
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except (BlockingIOError, PermissionError):
                holder = os.pread(lock, 32, 0).decode(errors="replace").strip()
                os.close(lock)
                raise TaskLockedError(
                    f"task {task} of {self.root.name} is in use by process {holder or '?'} ({path}); wait until that "
                    "worker has given it up, or give this one a state.dir of its own"
                ) from None
            if self._is_current(path, lock):
                os.ftruncate(lock, 0)
                os.pwrite(lock, str(os.getpid()).encode(), 0)
                return TaskDirectory(path, lock)
            os.close(lock)

    @staticmethod
    def _is_current(path: Path, lock: int) -> bool:
        """Whether the locked file is still that of the directory: a clean-up may have deleted it meanwhile."""
        try:
            return os.path.samestat(os.fstat(lock), (path / LOCK_FILE).stat())
        except FileNotFoundError:
            return False

    def clean(self, now_ms: int, delay_ms: int) -> list[str]:
        """Delete directories of tasks that nobody has and that did not change for ``delay_ms``; which were."""
        gone = []
        for task in self.tasks():
            path = self.root / task
            if _last_change_ms(path) + delay_ms > now_ms:
                continue
            try:
                directory = self._lock(task)
            except TaskLockedError:
                continue
            with directory:
                # The lock's own file was written just now, the stores were not.
                if _last_change_ms(path) + delay_ms > now_ms:
                    continue
                directory.wipe()
                (path / LOCK_FILE).unlink()
                path.rmdir()
            gone.append(task)
        return gone


def _last_change_ms(path: Path) -> int:
    """When a file of the task's stores was last written, or its directory made."""
    files = [each for each in path.rglob("*") if each.name != LOCK_FILE and each.is_file()]
    newest = 0
    for each in files or [path]:
        try:
            newest = max(newest, each.stat().st_mtime_ns)
        except FileNotFoundError:
            continue  # a store's files come and go
    return newest // 1_000_000

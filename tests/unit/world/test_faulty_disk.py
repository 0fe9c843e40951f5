"""The switch of a real disk: what it does to files that are open already, and that nothing of it stays."""

from __future__ import annotations

import errno
import time
from pathlib import Path

import pytest

from engine.model.broker_faults import SOUND, BrokerFaults
from engine.world.faulty_disk import FaultyDisk
from engine.world.real import RealFile


def test_a_full_disk_takes_nothing_more_and_is_read_as_ever(tmp_path: Path) -> None:
    disk = FaultyDisk()
    path = str(tmp_path / "log")
    file = disk.open(path, append=True, create=True)
    file.append((b"before",))
    index = disk.open(str(tmp_path / "index"), create=True)
    disk.set(BrokerFaults(is_full=True))
    for write in (
        lambda: file.append((b"x",)),
        lambda: index.pwrite(b"x", 0),
        lambda: disk.open(str(tmp_path / "new"), append=True, create=True),
        lambda: disk.write_atomic(path, b"x"),
        lambda: disk.make_dirs(str(tmp_path / "dir")),
    ):
        with pytest.raises(OSError) as caught:
            write()
        assert caught.value.errno == errno.ENOSPC
    assert file.pread(100, 0) == b"before"
    assert disk.free_bytes(str(tmp_path)) == 0
    disk.set(SOUND)
    file.append((b" after",))
    assert file.pread(100, 0) == b"before after"
    assert disk.free_bytes(str(tmp_path)) > 0


def test_fsyncs_fail_or_take_longer_and_only_on_that_disk(tmp_path: Path) -> None:
    disk, other = FaultyDisk(), FaultyDisk()
    file, elsewhere = (each.open(str(tmp_path / name), create=True) for each, name in ((disk, "a"), (other, "b")))
    disk.set(BrokerFaults(fsync_fails=True))
    for sync in (file.sync, lambda: disk.sync_dir(str(tmp_path)), lambda: disk.write_atomic(str(tmp_path / "c"), b"")):
        with pytest.raises(OSError) as caught:
            sync()
        assert caught.value.errno == errno.EIO
    elsewhere.sync()
    disk.set(BrokerFaults(fsync_delay_ms=30))
    began = time.monotonic()
    file.sync()
    assert time.monotonic() - began >= 0.03


def test_off_the_files_are_those_of_the_real_disk(tmp_path: Path) -> None:
    disk = FaultyDisk()
    file = disk.open(str(tmp_path / "log"), append=True, create=True)
    disk.set(BrokerFaults(is_full=True, fsync_fails=True))
    disk.set(SOUND)
    for name in ("append", "pwrite", "sync"):
        assert getattr(type(file), name) is getattr(RealFile, name)

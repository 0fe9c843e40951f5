"""A task's directory has one owner at a time, and goes when nobody has wanted it for long."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine.streams.stores.errors import StateStoreError, TaskLockedError
from engine.streams.stores.kinds import engines_named
from engine.streams.stores.sqlite import SqliteEngines
from engine.streams.stores.state_directory import StateDirectory

DAY_MS = 86_400_000


def test_one_process_has_a_task_until_it_ends(tmp_path: Path) -> None:
    state = StateDirectory(tmp_path / "app")
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import fcntl, os, sys\n"
            "os.makedirs(sys.argv[1]); f = open(sys.argv[1] + '/.lock', 'w'); f.write(str(os.getpid())); f.flush()\n"
            "fcntl.flock(f, fcntl.LOCK_EX); print('locked', flush=True); sys.stdin.read()",
            str(tmp_path / "app" / "0_1"),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"locked\n"
    with pytest.raises(TaskLockedError, match=f"task 0_1 of app is in use by process {holder.pid} "):
        state.acquire("0_1")
    holder.kill()
    holder.communicate()
    with state.acquire("0_1") as directory:
        assert directory.path == tmp_path / "app" / "0_1"
        with pytest.raises(TaskLockedError, match=f"by process {os.getpid()} "):
            state.acquire("0_1")
    state.acquire("0_1").release()


def test_who_cannot_wait_for_a_directory_gets_one_beside_it_and_the_newest_is_taken_again(tmp_path: Path) -> None:
    state = StateDirectory(tmp_path)
    with state.acquire("0_1", beside=True) as first, state.acquire("0_1", beside=True) as second:
        assert [each.path.name for each in (first, second)] == ["0_1", "0_1-2"]
        with state.acquire("0_1", beside=True) as third:
            assert third.path.name == "0_1-3"
        for each, changed in ((first, 1), (second, 2), (third, 0)):
            (each.path / "store").touch()
            os.utime(each.path / "store", (0, changed))
    assert state.tasks() == ["0_1", "0_1-2", "0_1-3"]
    with state.acquire("0_1") as again:
        assert again.path == second.path
        assert state.clean(10 * DAY_MS, DAY_MS) == ["0_1", "0_1-3"], "nobody has them"


def test_a_clean_up_takes_what_nobody_has_and_nobody_changed(tmp_path: Path) -> None:
    state = StateDirectory(tmp_path / "app")
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "notes").mkdir()
    now_ms = 1_000 * DAY_MS
    for task, age_ms in [("0_0", 2 * DAY_MS), ("0_1", 2 * DAY_MS), ("0_2", DAY_MS // 2)]:
        with state.acquire(task) as directory:
            engine = SqliteEngines().key_value("counts", directory.path)
            engine.put(b"k", b"v")
            engine.commit(1)
            engine.close()
            for each in directory.path.rglob("*"):
                os.utime(each, (0, (now_ms - age_ms) / 1000))
    with state.acquire("0_1"):
        assert state.clean(now_ms, DAY_MS) == ["0_0"]
    assert state.tasks() == ["0_1", "0_2"]
    assert state.clean(now_ms, DAY_MS) == ["0_1"]
    assert (tmp_path / "app" / "notes").is_dir()


def test_a_wipe_leaves_the_lock(tmp_path: Path) -> None:
    with StateDirectory(tmp_path / "app").acquire("1_0") as directory:
        SqliteEngines().key_value("counts", directory.path).close()
        directory.wipe()
        assert [each.name for each in directory.path.iterdir()] == [".lock"]


def test_a_place_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    (tmp_path / "app").write_text("a file")
    with pytest.raises(StateStoreError, match=r"set state\.dir to a directory that can be written to"):
        StateDirectory(tmp_path / "app").acquire("0_0")


def test_engines_by_kafkas_names_and_ours(tmp_path: Path) -> None:
    for name, persistent in [("in_memory", False), ("memory", False), ("sqlite", True), ("rocksDB", True)]:
        engine = engines_named(name).key_value(name, tmp_path)
        assert engine.persistent is persistent
        engine.close()
    with pytest.raises(StateStoreError, match="no store engine 'oracle'; known are memory, rocksdb, sqlite"):
        engines_named("oracle")

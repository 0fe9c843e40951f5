"""Temporary directories go with their cluster, or with the next one; directories that are given stay."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from engine.model.configs import ConfigError
from engine.testing import KafkaCluster, KafkaClusterError, Topic
from engine.testing import directory as place
from engine.testing.disk import BrokerDisk


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary directories are made."""
    monkeypatch.setattr(place, "_base", lambda: str(tmp_path))
    return tmp_path


def make_old(path: Path) -> None:
    long_ago = time.time() - 3600
    os.utime(path, (long_ago, long_ago))


def test_a_temporary_directory_goes_with_its_cluster(base: Path) -> None:
    directory = place.ClusterDirectory(None)
    directory.format([1, 2])
    assert Path(directory.log_dir(2), "meta.properties").exists()
    directory.close()
    assert list(base.iterdir()) == []


def test_what_a_killed_process_left_is_removed_by_the_next_cluster(base: Path) -> None:
    script = f"""
import os
from engine.testing import directory
directory._base = lambda: {str(base)!r}
directory.ClusterDirectory(None).format([1])
os._exit(9)
"""
    subprocess.run([sys.executable, "-c", script], check=False)
    (left,) = base.iterdir()
    first = place.ClusterDirectory(None)
    assert left.exists(), "too young to be judged"
    make_old(left)
    second = place.ClusterDirectory(None)
    assert not left.exists()
    first.close()
    second.close()


def test_the_directory_of_a_cluster_that_runs_is_nobody_elses(base: Path) -> None:
    first = place.ClusterDirectory(None)
    make_old(Path(first.path))
    second = place.ClusterDirectory(None)
    assert Path(first.path).exists()
    first.close()
    second.close()
    with KafkaCluster(1, data_dir=base / "given"), pytest.raises(KafkaClusterError, match="another cluster uses"):
        KafkaCluster(1, data_dir=base / "given")


def test_a_directory_that_is_given_stays_with_its_records(tmp_path: Path) -> None:
    for _ in range(2):
        with KafkaCluster(3, data_dir=tmp_path, topics=[Topic("kept", 2)]) as cluster:
            assert cluster.topics() == {"kept": 2}
            assert cluster.data_dir == str(tmp_path)
    assert all((tmp_path / f"broker-{each}" / ".kafka_cleanshutdown").exists() for each in (1, 2, 3))


def test_a_cluster_that_cannot_be_made_leaves_nothing(base: Path) -> None:
    descriptors = len(os.listdir("/proc/self/fd"))
    with pytest.raises(ConfigError, match=r"num\.partitions"):
        KafkaCluster(configs={"num.partitions": "many"})
    with pytest.raises(ValueError, match=r"log\.dirs: the cluster sets this itself"):
        KafkaCluster(broker_configs={2: {"log.dirs": "/tmp"}})
    assert list(base.iterdir()) == []
    assert len(os.listdir("/proc/self/fd")) == descriptors


def test_a_dead_disk_takes_everything_and_writes_nothing(tmp_path: Path) -> None:
    disk = BrokerDisk()
    path = str(tmp_path / "log")
    file = disk.open(path, append=True, create=True)
    file.append([b"alive"])
    disk.is_dead = True
    assert file.append([b"dead", b"!"]) == 5
    file.truncate(0)
    disk.write_atomic(path, b"replaced")
    disk.remove(path)
    disk.rename(path, path + ".moved")
    disk.remove_tree(str(tmp_path))
    disk.make_dirs(str(tmp_path / "more"))
    disk.open(str(tmp_path / "new"), create=True).append([b"x"])
    assert [each.name for each in tmp_path.iterdir()] == ["log"]
    assert file.pread(100, 0) == b"alive"
    disk.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        file.pread(1, 0)

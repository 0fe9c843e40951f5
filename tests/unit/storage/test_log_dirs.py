"""Log directories: whose they are, what they remember, what is left of them after crashes and failures."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from memory_disk import MemoryDisk
from storage_harness import NOW_MS, append, config, everything, records

from engine.model.errors import ErrorCode, KafkaError
from engine.model.ids import uuid_from_str, uuid_to_str
from engine.model.topic_partition import TopicPartition
from engine.storage.checkpoints import (
    CheckpointCorrupt,
    read_clean_shutdown,
    read_meta_properties,
    read_offsets,
    read_partition_metadata,
    write_offsets,
)
from engine.storage.failure import LogDirFailure
from engine.storage.log import Log
from engine.storage.log_dirs import LogDirs
from engine.world.real import RealDisk

CLUSTER = "MkU3OEVBNTcwNTJENDM2Qk"
TOPIC_ID = bytes(range(16))
A, B = TopicPartition("a", 0), TopicPartition("b", 12)
PATHS = ("/one", "/two")


class SeededRandom:
    """World.random."""

    def __init__(self) -> None:
        self._random = random.Random(1)

    def uuid(self) -> bytes:
        return self._random.randbytes(16)


def world(disk: Any) -> Any:
    return SimpleNamespace(disk=disk, random=SeededRandom())


def open_dirs(
    disk: Any, *paths: str, cluster_id: str | None = CLUSTER, node_id: int = 1, loads: bool = True
) -> LogDirs:
    dirs = LogDirs.open(world(disk), paths or PATHS, node_id=node_id, cluster_id=cluster_id)
    if loads:
        dirs.load(lambda topic: config(segment_bytes=400), NOW_MS)
    return dirs


def create(dirs: LogDirs, topic_partition: TopicPartition = A, topic_id: bytes = TOPIC_ID) -> Log:
    return dirs.get_or_create(topic_partition, topic_id, config(segment_bytes=400), NOW_MS)


def crash(disk: MemoryDisk) -> MemoryDisk:
    """The process is gone."""
    disk.locked.clear()
    return disk


def test_directories_are_given_their_identity_once() -> None:
    disk = MemoryDisk()
    dirs = open_dirs(disk)
    ids = dirs.directory_ids
    assert len(set(ids.values())) == 2 and dirs.cluster_id == CLUSTER
    assert not dirs.clean_shutdown and dirs.previous_broker_epoch == -1
    properties = read_meta_properties(disk, "/one")
    assert properties == (CLUSTER, 1, ids["/one"], 1)
    dirs.close(clean=True, broker_epoch=17)
    assert disk.read("/one/.kafka_cleanshutdown") == b'{"version":0,"brokerEpoch":17}'
    again = open_dirs(disk, cluster_id=None)
    assert again.directory_ids == ids and again.cluster_id == CLUSTER
    assert again.clean_shutdown and again.previous_broker_epoch == 17
    assert not disk.exists("/one/.kafka_cleanshutdown"), "what ends this process is not known yet"
    again = open_dirs(crash(disk))
    assert not again.clean_shutdown and again.previous_broker_epoch == -1


def test_what_kafka_and_the_supervisor_format_is_taken_as_it_is() -> None:
    disk = MemoryDisk()
    disk.make_dirs("/one")
    lines = ("#", "#Tue Nov 24 10:00:00 UTC 2026", "node.id=1", "directory.id=AAECAwQFBgcICQoLDA0ODw", "version=1")
    text = "\n".join((*lines, f"cluster.id={CLUSTER}", ""))
    disk.write_atomic("/one/meta.properties", text.encode())
    dirs = open_dirs(disk, "/one", cluster_id=None)
    assert dirs.directory_ids == {"/one": uuid_from_str("AAECAwQFBgcICQoLDA0ODw")}
    assert disk.read("/one/meta.properties") == text.encode()


def test_directories_of_others_are_refused() -> None:
    disk = MemoryDisk()
    open_dirs(disk, "/one").close(clean=True)
    with pytest.raises(ValueError, match=r"belongs to node 1.*node\.id"):
        open_dirs(disk, "/one", node_id=2)
    with pytest.raises(ValueError, match="belongs to cluster"):
        open_dirs(disk, "/one", cluster_id="another")
    with pytest.raises(ValueError, match="not formatted"):
        open_dirs(disk, "/three", cluster_id=None)
    disk.make_dirs("/copy")
    disk.write_atomic("/copy/meta.properties", disk.read("/one/meta.properties"))
    with pytest.raises(ValueError, match=r"same directory\.id"):
        open_dirs(disk, "/one", "/copy")
    assert not disk.locked, "a refusal gives the locks back"
    open_dirs(disk, "/one")
    with pytest.raises(OSError, match=r"/one is used by another process.*log\.dirs"):
        open_dirs(disk, "/one")


def test_who_may_begin_a_cluster_does_so_in_empty_directories_only() -> None:
    disk = MemoryDisk()
    ours = world(disk)
    founded = LogDirs.open(ours, ["/one", "/two"], node_id=1, may_found_cluster=True)
    cluster_id = founded.cluster_id
    assert len(cluster_id) == 22
    founded.close(clean=True)
    again = LogDirs.open(ours, ["/one", "/two"], node_id=1, may_found_cluster=True)
    assert again.cluster_id == cluster_id
    again.close(clean=True)
    # A second directory that is new joins the cluster of the first.
    wider = LogDirs.open(ours, ["/three", "/one"], node_id=1, may_found_cluster=True)
    assert wider.cluster_id == cluster_id


def test_a_lock_holds_against_another_process(tmp_path: Path) -> None:
    disk = RealDisk()
    path = str(tmp_path / "data")
    dirs = open_dirs(disk, path)
    with pytest.raises(OSError, match="used by another process"):
        open_dirs(disk, path)
    create(dirs)
    dirs.close(clean=True, broker_epoch=3)
    assert open_dirs(disk, path).logs.keys() == {A}


def test_a_lock_of_java_holds_against_ours(tmp_path: Path) -> None:
    """A FileLock of Java's is a lock of fcntl, which flock knows nothing of."""
    path = str(tmp_path / "data")
    open_dirs(RealDisk(), path).close(clean=True)
    hold = "import fcntl, sys; f = open(sys.argv[1], 'r+'); fcntl.lockf(f, fcntl.LOCK_EX); print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", hold, f"{path}/.lock"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(OSError, match="used by another process"):
            open_dirs(RealDisk(), path)
        holder.communicate(b"\n")
    ours = open_dirs(RealDisk(), path)
    seek = "import fcntl, sys; fcntl.lockf(open(sys.argv[1], 'r+'), fcntl.LOCK_EX | fcntl.LOCK_NB)"
    done = subprocess.run([sys.executable, "-c", seek, f"{path}/.lock"], capture_output=True)
    assert b"BlockingIOError" in done.stderr
    ours.close(clean=True)


@pytest.mark.parametrize(
    "content", [b"", b"version=0\n", b"version=1\nnode.id=x\ncluster.id=y\n", b"version=1\nnode.id=1\n", b"\xff"]
)
def test_damaged_meta_properties_are_refused(content: bytes) -> None:
    disk = MemoryDisk()
    disk.make_dirs("/one")
    disk.write_atomic("/one/meta.properties", content)
    with pytest.raises(CheckpointCorrupt, match=r"meta\.properties"):
        open_dirs(disk, "/one")


def test_logs_are_spread_and_found_again() -> None:
    disk = MemoryDisk()
    dirs = open_dirs(disk)
    partitions = [TopicPartition("t", number) for number in range(6)]
    for each in partitions:
        append(create(dirs, each), epoch=2)
    assert [dirs.path_of(each) for each in partitions] == ["/one", "/two"] * 3
    assert dirs.directory_id_of(partitions[1]) == dirs.directory_ids["/two"]
    assert disk.read("/one/t-0/partition.metadata") == b"version: 0\ntopic_id: AAECAwQFBgcICQoLDA0ODw"
    assert create(dirs, partitions[0]) is dirs.get(partitions[0])
    again = open_dirs(crash(disk))
    assert sorted(again.logs) == partitions
    assert {each.topic_id for each in again.logs.values()} == {TOPIC_ID}
    assert all(each.log_end_offset == 2 and each.leader_epochs.latest_epoch == 2 for each in again.logs.values())
    with pytest.raises(KafkaError) as caught:
        create(again, partitions[0], bytes(16)[:-1] + b"x")
    assert caught.value.code is ErrorCode.INCONSISTENT_TOPIC_ID


def test_other_directories_are_left_alone_and_deleted_ones_removed() -> None:
    disk = MemoryDisk()
    for name in ("__cluster_metadata-0", "lost+found", "a-0-stray", "x-0.00112233445566778899aabbccddeeff-delete"):
        disk.make_dirs(f"/one/{name}")
    dirs = open_dirs(disk)
    assert not dirs.logs
    assert [name for name in disk.list_dir("/one") if disk.is_dir(f"/one/{name}")] == [
        "__cluster_metadata-0",
        "a-0-stray",
        "lost+found",
    ]


def test_checkpoints_hold_what_they_should_and_come_back() -> None:
    disk = MemoryDisk()
    dirs = open_dirs(disk)
    a, b = create(dirs, A), create(dirs, B)
    for _ in range(10):
        append(a)
        append(b)
    a.flush()
    a.set_high_watermark(20)
    b.set_high_watermark(7)
    a.increment_log_start_offset(5)
    dirs.checkpoint(dirs.checkpoint_values())
    assert disk.read("/one/recovery-point-offset-checkpoint") == b"0\n1\na 0 20\n"
    assert disk.read("/two/recovery-point-offset-checkpoint") == b"0\n1\nb 12 0\n"
    assert disk.read("/two/replication-offset-checkpoint") == b"0\n1\nb 12 7\n"
    assert disk.read("/one/log-start-offset-checkpoint") == b"0\n1\na 0 5\n"
    assert disk.read("/two/log-start-offset-checkpoint") == b"0\n0\n"
    again = open_dirs(crash(disk))
    assert (again.logs[A].log_start_offset, again.logs[A].high_watermark, again.logs[A].recovery_point) == (5, 20, 20)
    assert (again.logs[B].high_watermark, again.logs[B].recovery_point) == (7, 0)
    assert again.checkpointed_high_watermark(B) == 7
    assert again.checkpointed_high_watermark(TopicPartition("never", 0)) == 0


def test_a_clean_end_recovers_nothing() -> None:
    disk = MemoryDisk()
    dirs = open_dirs(disk)
    append(create(dirs))
    dirs.close(clean=True, broker_epoch=5)
    again = open_dirs(disk)
    assert again.logs[A].durable_end_offset == 2
    assert everything(again.logs[A])
    append(again.logs[A])
    assert again.logs[A].durable_end_offset == 2
    again.close(clean=False)
    assert read_clean_shutdown(disk, "/one") is None
    again = open_dirs(disk)
    assert (again.logs[A].durable_end_offset, again.logs[A].log_end_offset) == (2, 4)


def test_offset_checkpoints_are_read_as_written_and_not_otherwise() -> None:
    disk = MemoryDisk()
    offsets = {TopicPartition("x.y_z-1", 3): 2**60, A: 0}
    disk.make_dirs("/d")
    write_offsets(disk, "/d/c", offsets)
    assert read_offsets(disk, "/d/c") == offsets
    assert read_offsets(disk, "/d/none") == {}
    # As Kafka leaves it until it has something to write.
    disk.write_atomic("/d/empty", b"")
    assert read_offsets(disk, "/d/empty") == {}
    for content in (b"0\n", b"1\n0\n", b"0\n2\na 0 1\n", b"0\n1\na 0\n", b"0\n1\na 0 x\n", b"0\nx\n", b"\xff\xfe"):
        disk.write_atomic("/d/c", content)
        with pytest.raises(CheckpointCorrupt):
            read_offsets(disk, "/d/c")


@pytest.mark.parametrize("content", [b"rubbish", b""])
def test_lost_checkpoints_cost_time_only(content: bytes) -> None:
    disk = MemoryDisk()
    dirs = open_dirs(disk)
    for _ in range(10):
        append(create(dirs))
    dirs.logs[A].flush()
    dirs.checkpoint()
    for name in ("recovery-point", "replication", "log-start"):
        disk.write_atomic(f"/one/{name}-offset-checkpoint", content)
    again = open_dirs(crash(disk))
    assert again.logs[A].log_end_offset == 20
    assert read_offsets(disk, "/one/recovery-point-offset-checkpoint") == {A: 0}
    for content in (b"", b"{}", b"[]", b'{"version":0,"brokerEpoch":"x"}', b"\xff"):
        disk.write_atomic("/one/.kafka_cleanshutdown", content)
        assert read_clean_shutdown(disk, "/one") == -1
    for content in (b"", b"version: 1\ntopic_id: AAECAwQFBgcICQoLDA0ODw", b"version: 0\ntopic_id: x", b"\xff"):
        disk.write_atomic("/one/partition.metadata", content)
        with pytest.raises(CheckpointCorrupt):
            read_partition_metadata(disk, "/one")


def test_a_corrupt_log_is_offline_and_the_others_are_not() -> None:
    disk = MemoryDisk()
    dirs = open_dirs(disk)
    for each in (A, B):
        append(create(dirs, each))
        dirs.logs[each].flush()
    dirs.checkpoint()
    disk.files[f"/one/{A}/{0:020d}.log"].data[70] ^= 1
    again = open_dirs(crash(disk))
    assert list(again.logs) == [B] and list(again.offline_logs) == [A]
    with pytest.raises(KafkaError) as caught:
        create(again, A)
    assert caught.value.code is ErrorCode.KAFKA_STORAGE_ERROR
    again.checkpoint()
    assert read_offsets(disk, "/one/recovery-point-offset-checkpoint") == {A: 2}, "it must not be forgotten"


def test_a_partition_that_is_deleted_is_gone_at_once_and_its_bytes_later() -> None:
    disk = MemoryDisk()
    dirs = open_dirs(disk, "/one")
    for _ in range(5):
        append(create(dirs))
    dirs.logs[A].flush()
    dirs.checkpoint()
    dirs.delete(A, NOW_MS)
    dirs.delete(A, NOW_MS)
    assert dirs.get(A) is None
    renamed = [name for name in disk.list_dir("/one") if name.endswith("-delete")]
    assert len(renamed) == 1 and renamed[0].startswith("a-0.") and len(renamed[0]) == len("a-0.-delete") + 32
    assert dirs.remove_deleted(NOW_MS + 59_999) == 0
    # One of the same name knows nothing of it, whenever the process ends.
    another = create(dirs, A, bytes(15) + b"2")
    assert (another.log_start_offset, another.log_end_offset, another.high_watermark) == (0, 0, 0)
    assert read_offsets(disk, "/one/recovery-point-offset-checkpoint") == {}
    append(another)
    del disk.files[f"/one/{A}/{0:020d}.log"].data[-1:]
    assert open_dirs(crash(disk), "/one").logs[A].log_end_offset == 0
    assert disk.list_dir("/one") and not [name for name in disk.list_dir("/one") if name.endswith("-delete")]


def test_deleted_directories_are_removed_when_they_are_due() -> None:
    disk = MemoryDisk()
    dirs = open_dirs(disk, "/one")
    long_name = TopicPartition("n" * 249, 100)
    append(create(dirs, long_name))
    dirs.delete(long_name, NOW_MS)
    (renamed,) = [name for name in disk.list_dir("/one") if name.endswith("-delete")]
    assert len(renamed) == 255
    assert dirs.remove_deleted(NOW_MS + 60_000) == 1
    assert not [name for name in disk.list_dir("/one") if name.endswith("-delete")]
    assert dirs.remove_deleted(NOW_MS + 60_000) == 0


def test_a_cut_lowers_the_recovery_point_on_the_disk_first() -> None:
    disk = MemoryDisk()
    dirs = open_dirs(disk, "/one")
    log = create(dirs)
    for _ in range(5):
        append(log)
    log.flush()
    values = dirs.checkpoint_values()
    dirs.checkpoint()
    log.truncate_to(4)
    assert read_offsets(disk, "/one/recovery-point-offset-checkpoint") == {A: 4}
    dirs.checkpoint(values)
    assert read_offsets(disk, "/one/recovery-point-offset-checkpoint") == {A: 4}, "what was gathered before is old"
    append(log, epoch=1)
    del disk.files[f"/one/{A}/{0:020d}.log"].data[-1:]
    assert open_dirs(crash(disk), "/one").logs[A].log_end_offset == 4


def test_retention_runs_over_all_logs_and_silent_producers_go() -> None:
    disk = MemoryDisk()
    dirs = open_dirs(disk)
    for each in (A, B):
        log = create(dirs, each)
        for number in range(8):
            append(log, records(producer_id=5, producer_epoch=0, base_sequence=2 * number))
        log.set_high_watermark(16)
        log.update_config(config(segment_bytes=400, retention_ms=1000))
    later = NOW_MS + 10 * 86_400_000
    assert dirs.enforce_retention(later) >= 4
    assert all(each.log_start_offset == 16 and not each.producers.entries for each in dirs.logs.values())


def test_a_directory_that_fails_takes_only_its_logs() -> None:
    disk = MemoryDisk()
    dirs = open_dirs(disk)
    for each in (A, B):
        append(create(dirs, each))
    disk.fails_syncs = True
    with pytest.raises(LogDirFailure):
        dirs.logs[A].flush()
    disk.fails_syncs = False
    assert dirs.mark_offline("/one", "EIO") == [A]
    assert dirs.get(A) is None and dirs.get(B) is not None
    assert dirs.offline_directories == {"/one": "EIO"}
    assert dirs.online_directory_ids == [dirs.directory_ids["/two"]]
    assert dirs.path_of(A) == "/one"
    with pytest.raises(KafkaError):
        create(dirs, A)
    create(dirs, TopicPartition("c", 0))
    assert dirs.path_of(TopicPartition("c", 0)) == "/two"
    dirs.close(clean=True, broker_epoch=4)
    assert read_clean_shutdown(disk, "/one") is None and read_clean_shutdown(disk, "/two") == 4
    dirs = open_dirs(disk)
    assert sorted(dirs.logs) == [A, B, TopicPartition("c", 0)]
    dirs.mark_offline("/one", "EIO")
    dirs.mark_offline("/two", "EIO")
    with pytest.raises(KafkaError):
        create(dirs, TopicPartition("d", 0))


def test_a_partition_with_records_in_two_directories_takes_the_second_offline() -> None:
    disk = MemoryDisk()
    dirs = open_dirs(disk)
    append(create(dirs))
    disk.make_dirs(f"/two/{A}")
    disk.write_atomic(f"/two/{A}/{0:020d}.log", records())
    again = open_dirs(crash(disk))
    assert list(again.offline_directories) == ["/two"]
    assert again.path_of(A) == "/one" and again.get(A) is not None


@pytest.mark.parametrize("empty", PATHS)
def test_an_empty_log_makes_way_for_its_twin_in_another_directory(empty: str) -> None:
    """It was being made when its disk failed."""
    disk = MemoryDisk()
    for path in PATHS:
        disk.make_dirs(f"{path}/{A}")
        disk.write_atomic(f"{path}/{A}/{0:020d}.log", b"" if path == empty else records())
    dirs = open_dirs(disk)
    assert not dirs.offline_directories
    assert dirs.path_of(A) != empty
    assert dirs.logs[A].log_end_offset == 2
    assert not disk.is_dir(f"{empty}/{A}")
    dirs.close(clean=True, broker_epoch=4)


def test_a_log_that_could_not_be_made_is_not_made_elsewhere() -> None:
    disk = MemoryDisk()
    dirs = open_dirs(disk)
    disk.free = 0
    with pytest.raises(LogDirFailure):
        create(dirs)
    disk.free = None
    assert list(dirs.offline_directories) == ["/one"]
    with pytest.raises(KafkaError, match="KAFKA_STORAGE_ERROR"):
        create(dirs)
    assert dirs.path_of(A) == "/one"
    assert not open_dirs(crash(disk)).offline_directories


def test_under_zookeeper_directories_are_of_kafkas_version_0_and_a_quorums_are_refused() -> None:
    disk = MemoryDisk()
    ours = world(disk)

    def under_zookeeper(*paths: str) -> LogDirs:
        return LogDirs.open(ours, paths, node_id=1, cluster_id=CLUSTER, under_zookeeper=True)

    made = under_zookeeper("/one").directory_ids["/one"]
    made_text = disk.read("/one/meta.properties").decode()
    assert made_text.split("\n")[1:-1] == [
        "broker.id=1",
        f"cluster.id={CLUSTER}",
        f"directory.id={uuid_to_str(made)}",
        "version=0",
    ]
    crash(disk)
    # One that Kafka made has no directory.id; what else it says stays.
    disk.make_dirs("/kafkas")
    disk.write_atomic("/kafkas/meta.properties", f"#\nbroker.id=1\nversion=0\ncluster.id={CLUSTER}\n".encode())
    dirs = under_zookeeper("/one", "/kafkas")
    assert dirs.directory_ids["/one"] == made
    assert read_meta_properties(disk, "/kafkas") == (CLUSTER, 1, dirs.directory_ids["/kafkas"], 0)
    crash(disk)
    with pytest.raises(ValueError, match=r"/one belongs to a cluster that ZooKeeper.*kconsole zookeeper migrate"):
        open_dirs(disk, "/one")
    # Kafka moves clusters to KRaft and leaves version 0 there.
    disk.make_dirs("/one/__cluster_metadata-0")
    open_dirs(disk, "/one", loads=False).close(clean=True)
    assert disk.read("/one/meta.properties").decode() == made_text
    open_dirs(disk, "/quorums").close(clean=True)
    with pytest.raises(ValueError, match=r"/quorums belongs to a cluster that its own quorum.*no cluster goes back"):
        under_zookeeper("/quorums")

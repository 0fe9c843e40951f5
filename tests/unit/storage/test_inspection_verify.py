"""``kconsole storage verify``: what is right is told so and counted, what is not is found, with its file and place."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from log_scenario import (
    NOW_MS,
    TOPIC_ID,
    open_scenario_log,
    operations,
    perform,
)
from memory_disk import MemoryDisk
from storage_harness import append, open_log

from console.cli import main
from engine.broker.quorum.batches import leader_change_batch, metadata_batch
from engine.broker.quorum.snapshot_files import encode_bootstrap, encode_snapshot
from engine.model.topic_partition import TopicPartition
from engine.record.batch import iter_batches
from engine.record.builder import NewRecord, build_batch
from engine.record.compression import Compression
from engine.record.control import build_end_transaction_marker
from engine.storage.checkpoints import (
    HIGH_WATERMARKS,
    RECOVERY_POINTS,
    MetaProperties,
    write_clean_shutdown,
    write_meta_properties,
    write_offsets,
    write_partition_metadata,
)
from engine.storage.cleaner import clean, run
from engine.storage.cleaner_plan import plan
from engine.storage.inspection.verify import verify
from engine.wire.messages.topic_record import TopicRecord
from engine.wire.record_frames import encode_metadata_record
from engine.world.real import RealDisk

DISK = RealDisk()
PARTITION = TopicPartition("golden", 0)
END = 79
METADATA = "__cluster_metadata-0"


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log directory of a broker that was stopped in order: aborted transactions, changes of leader, six segments."""
    root = tmp_path_factory.mktemp("sound")
    log = open_scenario_log(root, PARTITION)
    for each in operations():
        perform(log, each)
    assert log.log_end_offset == END
    log.close()
    for name in (RECOVERY_POINTS, HIGH_WATERMARKS):
        write_offsets(DISK, str(root / name), {PARTITION: END})
    write_clean_shutdown(DISK, str(root), 5)
    write_meta_properties(DISK, str(root), MetaProperties("MkU3OEVBNTcwNTJENDM2Qk", 1, bytes(range(16))))
    records = [TopicRecord("orders", TOPIC_ID), TopicRecord("clicks", bytes(range(1, 17)))]
    (root / "bootstrap.checkpoint").write_bytes(encode_bootstrap(records, NOW_MS))
    metadata = root / METADATA
    metadata.mkdir()
    batches = [leader_change_batch(1, [1], [1], timestamp_ms=NOW_MS)]
    values = [encode_metadata_record(each) for each in records]
    batches.append(metadata_batch(values, base_offset=1, epoch=0, timestamp_ms=NOW_MS))
    (metadata / f"{0:020d}.log").write_bytes(b"".join(batches))
    snapshot = encode_snapshot(records, epoch=0, last_contained_log_timestamp_ms=NOW_MS, now_ms=NOW_MS)
    (metadata / f"{3:020d}-{0:010d}.checkpoint").write_bytes(b"".join(snapshot))
    (metadata / "quorum-state").write_text(
        '{"clusterId":"","leaderId":1,"leaderEpoch":0,"votedId":1,"appliedOffset":0,"currentVoters":[{"voterId":1}],'
        '"data_version":0}'
    )
    write_partition_metadata(DISK, str(metadata), bytes(15) + b"\x01")
    return root


@pytest.fixture
def copy(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "data"))


def found(path: Path, kind: str = "finding") -> list[dict[str, Any]]:
    return [each for each in verify(DISK, str(path)) if each["kind"] == kind]


def test_a_sound_directory_is_told_so_with_its_counts(sound: Path) -> None:
    done = CliRunner().invoke(main, ["storage", "verify", str(sound), "--deep", "--json"])
    assert done.exit_code == 0, done.output
    entries = [json.loads(line) for line in done.stdout.splitlines()]
    assert [each["kind"] for each in entries] == ["partition", "partition", "total"]
    counts = {each["topic"]: (each["records"], each["controlRecords"], each["logEndOffset"]) for each in entries[:2]}
    assert counts == {"golden": (74, 5, END), "__cluster_metadata": (2, 1, 3)}
    assert entries[2]["records"] == 76 and entries[2]["findings"] == 0
    done = CliRunner().invoke(main, ["storage", "verify", str(sound / "golden-0")])
    assert done.exit_code == 0 and "74 records and 5 control records in 46 batches" in done.stdout
    for path, sentence in ((sound / "none", "does not exist"), (sound / "meta.properties", "is no directory")):
        done = CliRunner().invoke(main, ["storage", "verify", str(path)])
        assert done.exit_code == 2 and sentence in done.output


# Base offset, length, leader epoch and magic are outside of a batch's checksum.
PREFIX_BYTES = 17
# Kinds of files of which every bit is covered, by a checksum or by what must agree; and from which byte on.
CHECKED = {
    "golden-0/00000000000000000034.log": 0,
    "golden-0/00000000000000000034.snapshot": 0,
    "golden-0/00000000000000000034.index": 0,
    "golden-0/00000000000000000034.txnindex": 0,
    f"{METADATA}/00000000000000000000.log": 0,
    f"{METADATA}/00000000000000000003-0000000000.checkpoint": 0,
    "bootstrap.checkpoint": 0,
}


@pytest.mark.parametrize("name", CHECKED)
def test_a_flipped_bit_is_found_in_each_kind_of_file(copy: Path, name: str) -> None:
    """Wherever it is. What a batch's checksum covers is found at that batch; what is outside, where it contradicts
    something else."""
    path = copy / name
    whole = path.read_bytes()
    is_log = path.suffix in (".log", ".checkpoint")
    starts = _batch_starts(whole) if is_log else [0]
    for at in range(CHECKED[name], len(whole), 1 + len(whole) // 120):
        bad = bytearray(whole)
        bad[at] ^= 1 << at % 8
        path.write_bytes(bad)
        findings = found(copy)
        assert findings, (name, at)
        assert all(each["remedy"] for each in findings)
        own = [each["position"] for each in findings if each["file"] == str(path)]
        start = max(each for each in starts if each <= at)
        if is_log and at - start > PREFIX_BYTES:
            assert start in own, (name, at, findings)
        elif not is_log:
            assert own, (name, at, findings)
    path.write_bytes(whole)


def _batch_starts(data: bytes) -> list[int]:
    starts = [0]
    for header, _ in iter_batches(data):
        starts.append(starts[-1] + header.size_in_bytes)
    return starts[:-1]


def _drop(name: str) -> Callable[[Path], None]:
    return lambda root: (root / name).unlink()


def _write(name: str, text: str) -> Callable[[Path], None]:
    return lambda root: (root / name).write_text(text) and None


def _cut(name: str, keep: int) -> Callable[[Path], None]:
    return lambda root: (root / name).write_bytes((root / name).read_bytes()[:keep]) and None


LAST = f"golden-0/{76:020d}.log"
DAMAGES: list[tuple[Callable[[Path], None], str, str]] = [
    (_drop("golden-0/partition.metadata"), "partition.metadata", "it is missing"),
    (_drop("golden-0/leader-epoch-checkpoint"), "leader-epoch-checkpoint", "it is missing"),
    (_drop(f"golden-0/{34:020d}.index"), f"{34:020d}.index", "it is missing"),
    (_drop(f"golden-0/{34:020d}.txnindex"), f"{34:020d}.txnindex", "the file is missing"),
    (_drop(f"{METADATA}/quorum-state"), "quorum-state", "says whom this node voted for"),
    (_write("golden-0/leader-epoch-checkpoint", "0\n2\n3 0\n2 5\n"), "leader-epoch-checkpoint", "does not ascend"),
    (
        _write("golden-0/leader-epoch-checkpoint", "0\n1\n3 0\n"),
        "leader-epoch-checkpoint",
        "it has epoch 3 for offset 0",
    ),
    (_write(RECOVERY_POINTS, "0\n1\ngolden 0 80\n"), f"{76:020d}.log", "before the recovery point 80"),
    (_write(HIGH_WATERMARKS, "0\n1\ngolden 0 99\n"), f"{76:020d}.log", "before the high watermark 99"),
    (_write(HIGH_WATERMARKS, "0\n2\ngolden 0 9\n"), HIGH_WATERMARKS, "announces 2 lines and has 1"),
    (_write("meta.properties", "version=1\nnode.id=1\n"), "meta.properties", "has no cluster.id"),
    (_write(f"{METADATA}/quorum-state", "{"), "quorum-state", "it cannot be read"),
    (_cut(f"{METADATA}/{3:020d}-{0:010d}.checkpoint", 150), ".checkpoint", "are no batches"),
    (_cut(LAST, 200), f"{76:020d}.log", "are no batches"),
    (_cut(LAST, 0), f"{76:020d}.log", "the log ends at offset 76"),
    (_cut(f"golden-0/{34:020d}.log", 700), f"{34:020d}.log", "are no batches"),
    (_cut(f"golden-0/{34:020d}.snapshot", 60), f"{34:020d}.snapshot", "the CRC of the file"),
    (_cut(f"golden-0/{34:020d}.timeindex", 13), f"{34:020d}.timeindex", "no whole number of entries"),
]


@pytest.mark.parametrize("number", range(len(DAMAGES)))
def test_what_is_missing_cut_or_contradicted_is_found(copy: Path, number: int) -> None:
    damage, file, sentence = DAMAGES[number]
    damage(copy)
    findings = found(copy)
    assert any(each["file"].endswith(file) and sentence in each["what"] for each in findings), findings
    done = CliRunner().invoke(main, ["storage", "verify", str(copy), "-q"])
    assert done.exit_code == 1 and "remedy: " in done.stdout


def test_the_end_that_a_running_broker_writes_is_a_note(copy: Path) -> None:
    (copy / ".kafka_cleanshutdown").unlink()
    path = copy / LAST
    whole = path.read_bytes()
    for tail in (whole[:30], whole[:70], bytes(1000)):
        path.write_bytes(whole + tail)
        assert not found(copy)
        (note,) = found(copy, "note")
        assert note["position"] == len(whole) and "the tail is not complete" in note["what"]
    # Apache Kafka maps more of an index than it uses, and ours wait in memory.
    path.write_bytes(whole)
    for suffix in ("index", "timeindex"):
        index = copy / f"golden-0/{76:020d}.{suffix}"
        index.write_bytes(index.read_bytes() + bytes(12 * 800))
        assert not found(copy)
        index.unlink()
        assert not found(copy)
    # What was synced is another matter.
    path.write_bytes(whole[:-5])
    assert found(copy)


def test_several_brokers_are_compared(sound: Path, tmp_path: Path) -> None:
    for number in (1, 2):
        data = Path(shutil.copytree(sound, tmp_path / f"broker-{number}" / "data"))
        directory_id = bytes([number]) * 16
        write_meta_properties(DISK, str(data), MetaProperties("MkU3OEVBNTcwNTJENDM2Qk", number, directory_id))
    assert not found(tmp_path)
    (total,) = found(tmp_path, "total")
    assert (total["directories"], total["partitions"], total["records"]) == (2, 4, 152)
    write_partition_metadata(DISK, str(tmp_path / "broker-2/data/golden-0"), bytes(range(3, 19)))
    write_meta_properties(DISK, str(data), MetaProperties("another", 2, bytes([1]) * 16))
    said = [each["what"] for each in found(tmp_path)]
    assert len(said) == 3 and "belongs to cluster another" in said[0] and "one is a copy" in said[1], said
    assert "it says that golden has id" in said[2]


@pytest.mark.parametrize("seed", range(8))
def test_compacted_logs_with_transactions_are_sound(seed: int) -> None:
    """Compaction leaves gaps, batches without records, and index entries of transactions whose records are gone."""
    rng = random.Random(seed)
    disk = MemoryDisk()
    log = open_log(disk, cleanup_policy="compact", segment_bytes=400, index_interval_bytes=100, delete_retention_ms=0)
    sequences = {1: 0, 2: 0}
    cleaned = False
    for step in range(120):
        producer_id, count = rng.choice((1, 2)), rng.randrange(1, 4)
        new = [NewRecord(b"k%d" % rng.randrange(5), b"v%d" % step, timestamp=NOW_MS + step * 10) for _ in range(count)]
        if rng.random() < 0.5:
            append(log, build_batch(new, compression=rng.choice(list(Compression))), epoch=step // 40)
        else:
            sequence = sequences[producer_id]
            sequences[producer_id] += count
            options = {"producer_id": producer_id, "producer_epoch": 0, "base_sequence": sequence}
            append(log, build_batch(new, is_transactional=True, **options), epoch=step // 40)
        if step % 7 == 6:
            # The others stay open, until a segment is to be cleaned.
            for each in sequences if step % 35 == 34 else (producer_id,):
                marker = build_end_transaction_marker(
                    committed=rng.random() < 0.5,
                    producer_id=each,
                    producer_epoch=0,
                    coordinator_epoch=1,
                    timestamp=NOW_MS + step * 10,
                )
                append(log, marker, epoch=step // 40, origin="coordinator")
        if step % 35 == 34:
            log.roll(NOW_MS)
            log.flush()
            log.set_high_watermark(log.log_end_offset)
            to_clean = plan(log, NOW_MS + step * 100)
            if to_clean.end_offset > to_clean.first_dirty_offset:
                done = run(clean(to_clean, NOW_MS + step * 100, 1 << 20))
                assert done is not None
                log.first_dirty_offset = done.end_offset
                cleaned = True
    log.flush()
    log.close()
    for name in (RECOVERY_POINTS, HIGH_WATERMARKS):
        write_offsets(disk, f"/data/{name}", {TopicPartition("orders", 0): log.log_end_offset})
    write_clean_shutdown(disk, "/data", 5)
    write_meta_properties(disk, "/data", MetaProperties("MkU3OEVBNTcwNTJENDM2Qk", 1, bytes(range(16))))
    entries = list(verify(disk, "/data", deep=True))
    assert not [each for each in entries if each["kind"] == "finding"]
    assert cleaned and any("compaction removes records" in each["what"] for each in entries if each["kind"] == "note")


def test_a_transaction_whose_begin_was_compacted_away_is_no_finding() -> None:
    """The last stable offset in the index is that of a record that is gone."""
    disk = MemoryDisk()
    log = open_log(disk, cleanup_policy="compact", delete_retention_ms=1_000_000)
    for sequence, producer_id in ((0, 1), (1, 1), (0, 2)):
        options = {"producer_id": producer_id, "producer_epoch": 0, "base_sequence": sequence}
        append(log, build_batch([NewRecord(b"k", b"v", timestamp=NOW_MS)], is_transactional=True, **options))
    for producer_id in (2, 1):
        marker = build_end_transaction_marker(
            committed=False, producer_id=producer_id, producer_epoch=0, coordinator_epoch=1, timestamp=NOW_MS
        )
        append(log, marker, origin="coordinator")
    log.roll(NOW_MS)
    log.flush()
    log.set_high_watermark(log.log_end_offset)
    assert [each.last_stable_offset for each in log.aborted_transactions(0, 5)] == [0, 5]
    assert run(clean(plan(log, NOW_MS), NOW_MS, 1 << 20)) is not None
    log.close()
    write_clean_shutdown(disk, "/data", 5)
    entries = list(verify(disk, "/data/orders-0"))
    assert [(each["batches"], each["records"]) for each in entries if each["kind"] == "partition"] == [(4, 0)]
    assert not [each for each in entries if each["kind"] == "finding"]

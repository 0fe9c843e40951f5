"""Opening logs after crashes: the longest valid prefix stays, and what was synced is never cut (L2, L3, L4)."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from memory_disk import MemoryDisk
from storage_harness import DIRECTORY, NOW_MS, append, everything, open_log, records

from engine.record.batch import iter_batches, read_header
from engine.record.builder import NewRecord, build_batch
from engine.record.control import build_end_transaction_marker
from engine.storage.failure import LogCorrupt
from engine.storage.log import Log

FIRST = f"{DIRECTORY}/{0:020d}"


def test_whatever_is_cut_off_the_end_the_whole_batches_before_stay() -> None:
    disk = MemoryDisk()
    log = open_log(disk)
    ends = [0]
    for number in range(5):
        append(log, records(3, size=10 * number), epoch=number // 2)
        ends.append(log.size_bytes)
    batches = everything(log)
    content = disk.read(FIRST + ".log")
    for size in range(ends[2], len(content) + 1):
        disk.files[FIRST + ".log"].data[:] = content[:size]
        opened = open_log(disk)
        whole = sum(end <= size for end in ends) - 1
        assert everything(opened) == batches[:whole]
        assert opened.log_end_offset == 3 * whole
        assert opened.size_bytes == ends[whole] == disk.file_size(FIRST + ".log")
        assert opened.leader_epochs.latest_epoch == (whole - 1) // 2
        assert append(opened, epoch=9) == 3 * whole
        disk.files[FIRST + ".log"].data[:] = content


def test_any_changed_byte_of_the_last_batches_ends_the_log_before_it() -> None:
    disk = MemoryDisk()
    log = open_log(disk)
    for _ in range(4):
        append(log)
    batches = everything(log)
    content = disk.read(FIRST + ".log")
    size = len(content) // 4
    for place in range(2 * size, 4 * size):
        # Base offset and leader epoch are not covered by the CRC.
        if place % size < 8 or 12 <= place % size < 16:
            continue
        disk.files[FIRST + ".log"].data[:] = content
        disk.files[FIRST + ".log"].data[place] ^= 0x41
        assert everything(open_log(disk)) == batches[: place // size]


def test_bytes_that_were_synced_are_never_cut() -> None:
    disk = MemoryDisk()
    log = open_log(disk, segment_bytes=300)
    for _ in range(9):
        append(log)
    log.flush()
    assert log.segment_count > 2 and log.durable_end_offset == 18
    last = f"{DIRECTORY}/{log.segments[-1].base_offset:020d}.log"
    for path in (last, FIRST + ".log"):
        content = bytes(disk.files[path].data)
        for damaged in (content[:-1], b""):
            if path != last and not damaged:
                continue
            disk.files[path].data[:] = damaged
            with pytest.raises(LogCorrupt):
                open_log(disk, segment_bytes=300, recovery_point=18)
            assert disk.read(path) == damaged, "the file must stay as it was"
        disk.files[path].data[:] = content
    content = bytes(disk.files[last].data)
    disk.files[last].data[70] ^= 1
    with pytest.raises(LogCorrupt):
        open_log(disk, segment_bytes=300, recovery_point=18)
    disk.files[last].data[:] = content
    assert open_log(disk, segment_bytes=300, recovery_point=18).log_end_offset == 18


def test_a_torn_end_after_a_clean_shutdown_is_corruption() -> None:
    disk = MemoryDisk()
    log = open_log(disk)
    append(log)
    append(log)
    log.flush()
    log.close()
    del disk.files[FIRST + ".log"].data[-3:]
    with pytest.raises(LogCorrupt):
        open_log(disk, clean_shutdown=True, recovery_point=4)


def test_segments_behind_lost_bytes_go_too() -> None:
    disk = MemoryDisk()
    log = open_log(disk, segment_bytes=300)
    for _ in range(9):
        append(log)
    bases = [each.base_offset for each in log.segments]
    second = f"{DIRECTORY}/{bases[1]:020d}.log"
    del disk.files[second].data[-1:]
    opened = open_log(disk, segment_bytes=300)
    assert opened.segment_count == 2
    assert bases[1] < opened.log_end_offset < bases[2]
    assert not [name for name in disk.list_dir(DIRECTORY) if name.startswith(f"{bases[2]:020d}")]


def test_a_gap_between_segments_that_were_not_synced_ends_the_log() -> None:
    disk = MemoryDisk()
    log = open_log(disk, segment_bytes=300)
    append(log)
    log.flush()
    for _ in range(8):
        append(log)
    bases = [each.base_offset for each in log.segments]
    # The first segment lost a whole batch, the second is there.
    path = FIRST + ".log"
    del disk.files[path].data[log.segments[0].position_of(bases[1] - 2) :]
    opened = open_log(disk, segment_bytes=300, recovery_point=2)
    assert opened.log_end_offset == bases[1] - 2 and opened.segment_count == 1


def test_lost_indexes_are_made_again_as_they_were() -> None:
    disk = MemoryDisk()
    log = open_log(disk, segment_bytes=4000, index_interval_bytes=200)
    for number in range(100):
        append(log, records(timestamp=NOW_MS + 7 * number % 40))
    log.close()
    names = [name for name in disk.list_dir(DIRECTORY) if name.endswith("index")]
    contents = {name: disk.read(f"{DIRECTORY}/{name}") for name in names}
    closed_segments = {name for name in names if not name.startswith(f"{log.segments[-1].base_offset:020d}")}
    assert len(closed_segments) >= 4
    for damage in ("removed", "cut", "garbled", "zeros"):
        for name in names:
            path = f"{DIRECTORY}/{name}"
            if damage == "removed":
                disk.remove(path)
            elif damage == "cut":
                del disk.files[path].data[-3:]
            elif damage == "garbled":
                disk.files[path].data[:] = bytes(reversed(contents[name]))
            else:
                disk.files[path].data[:] = bytes(len(contents[name]))
        opened = open_log(disk, segment_bytes=4000, index_interval_bytes=200, clean_shutdown=True, recovery_point=200)
        assert len(everything(opened)) == 100
        for offset in range(0, 200, 3):
            assert opened.read(offset, 1)[:8] == (offset - offset % 2).to_bytes(8, "big")
        opened.close()
        for name in closed_segments:
            assert disk.read(f"{DIRECTORY}/{name}") == contents[name], (damage, name)


def test_a_time_index_that_lost_more_than_its_offset_index_is_made_again() -> None:
    """The segment was flushed and complete when the process was killed; its indexes were synced by nobody."""
    for kept in (0, 12):
        disk = MemoryDisk()
        log = open_log(disk, index_interval_bytes=1)
        for number in (0, 1000, 5000, 2000):
            append(log, records(timestamp=NOW_MS + number))
        log.flush()
        log.roll(NOW_MS)
        expected = log.offset_for_timestamp(NOW_MS + 5000, 8)
        killed = open_log(disk, index_interval_bytes=1, recovery_point=8)
        append(killed, epoch=1)
        killed.flush()
        recovery_point = killed.recovery_point
        assert recovery_point == 10
        # What the second process flushed it will not look at again.
        found = disk.after_power_loss(random.Random(0))
        opened = open_log(found, index_interval_bytes=1, recovery_point=recovery_point)
        assert opened.offset_for_timestamp(NOW_MS + 5000, 10) == expected is not None
        # Without a start between: the recovery point is the segment's end.
        del disk.files[FIRST + ".timeindex"].data[kept:]
        opened = open_log(disk, index_interval_bytes=1, recovery_point=8)
        assert opened.offset_for_timestamp(NOW_MS + 5000, 10) == expected


def test_indexes_that_are_made_again_survive_a_loss_of_power_or_are_made_once_more() -> None:
    for seed in range(20):
        disk = MemoryDisk()
        log = open_log(disk, index_interval_bytes=1)
        for number in (0, 5000, 2000, 1000):
            append(log, records(timestamp=NOW_MS + number))
        log.roll(NOW_MS)
        append(log)
        log.flush()
        expected = log.offset_for_timestamp(NOW_MS + 5000, 10)
        for name in (".index", ".timeindex"):
            disk.remove(FIRST + name)
        opened = open_log(disk, index_interval_bytes=1, recovery_point=10)
        assert opened.offset_for_timestamp(NOW_MS + 5000, 10) == expected
        found = open_log(disk.after_power_loss(random.Random(seed)), index_interval_bytes=1, recovery_point=10)
        assert found.offset_for_timestamp(NOW_MS + 5000, 10) == expected


def test_aborted_transactions_are_found_again_after_a_crash() -> None:
    disk = MemoryDisk()
    log = open_log(disk, segment_bytes=600)
    for number in range(6):
        transaction = {"producer_id": number, "producer_epoch": 0, "is_transactional": True}
        append(log, records(base_sequence=0, **transaction))
        append(log)
        marker = build_end_transaction_marker(
            committed=number % 2 == 1, producer_id=number, producer_epoch=0, coordinator_epoch=0, timestamp=NOW_MS
        )
        append(log, marker, origin="coordinator")
    aborted = log.aborted_transactions(0, log.log_end_offset)
    assert [each.producer_id for each in aborted] == [0, 2, 4]
    for recovery_point in (0, 10, 30):
        for path in [each for each in disk.files if each.endswith(".txnindex")]:
            if int(path[-29:-9]) >= recovery_point:
                disk.remove(path)
        opened = open_log(disk, segment_bytes=600, recovery_point=recovery_point)
        assert opened.aborted_transactions(0, opened.log_end_offset) == aborted
        opened.set_high_watermark(opened.log_end_offset)
        assert opened.last_stable_offset == opened.log_end_offset


def test_lost_transaction_indexes_and_snapshots_are_made_again_as_they_were() -> None:
    disk = MemoryDisk()
    log = open_log(disk, segment_bytes=600)
    for number in range(12):
        transaction = {"producer_id": number, "producer_epoch": 0, "is_transactional": True}
        append(log, records(base_sequence=0, **transaction))
        append(log)
        marker = build_end_transaction_marker(
            committed=number not in (1, 2, 9),
            producer_id=number,
            producer_epoch=0,
            coordinator_epoch=0,
            timestamp=NOW_MS,
        )
        append(log, marker, origin="coordinator")
    end = log.log_end_offset
    log.flush()
    log.close()
    files = {path: bytes(inode.data) for path, inode in disk.files.items()}
    indexes = [path for path in files if path.endswith(".txnindex")]
    snapshots = [path for path in files if path.endswith(".snapshot")]
    assert len(indexes) == log.segment_count > 5 and sum(map(bool, map(files.get, indexes))) == 2
    for clean_shutdown, recovery_point in ((True, end), (False, end), (False, 20), (False, 0)):
        for lost in (indexes, indexes[:2], indexes[-1:], indexes + snapshots, snapshots, snapshots[-1:]):
            for path in lost:
                disk.remove(path)
            opened = open_log(disk, segment_bytes=600, clean_shutdown=clean_shutdown, recovery_point=recovery_point)
            assert [each.producer_id for each in opened.aborted_transactions(0, end)] == [1, 2, 9]
            opened.close()
            found = {path: bytes(inode.data) for path, inode in disk.files.items()}
            assert {path: found.get(path) for path in indexes} == {path: files[path] for path in indexes}
            assert {path: found.get(path) for path in snapshots} == {path: files[path] for path in snapshots}


@pytest.mark.parametrize("clean", [True, False])
def test_each_bit_of_a_transaction_index(clean: bool) -> None:
    """It bears no checksum: its entries are held against the batches that they speak of."""
    disk = MemoryDisk()
    log = open_log(disk)
    for producer_id in (7, 8, 9):
        append(log, records(producer_id=producer_id, base_sequence=0, producer_epoch=0, is_transactional=True))
    for producer_id in (8, 7, 9):
        marker = build_end_transaction_marker(
            committed=producer_id == 9,
            producer_id=producer_id,
            producer_epoch=0,
            coordinator_epoch=0,
            timestamp=NOW_MS,
        )
        append(log, marker, origin="coordinator")
    log.flush()
    log.close(clean=True)
    path = FIRST + ".txnindex"
    content, files = disk.read(path), {name: bytes(inode.data) for name, inode in disk.files.items()}
    wanted = [(8, 2, 6, 0), (7, 0, 7, 4)]
    assert len(content) == 2 * 34
    for at in range(len(content)):
        for bit in range(8):
            for name, data in files.items():
                disk.files[name].data[:] = data
            disk.files[path].data[at] ^= 1 << bit
            opened = open_log(disk, clean_shutdown=clean, recovery_point=9)
            found = [tuple(each) for each in opened.aborted_transactions(0, 9)]
            # What ends the search sooner or later than need be is no harm here.
            assert [each[:3] for each in found] == [each[:3] for each in wanted], (at, bit)
            assert all(each[3] <= each[2] for each in found)
            opened.close()


def test_a_corrupt_transaction_index_is_made_again() -> None:
    disk = MemoryDisk()
    log = open_log(disk)
    append(log, records(producer_id=1, producer_epoch=0, base_sequence=0, is_transactional=True))
    marker = build_end_transaction_marker(
        committed=False, producer_id=1, producer_epoch=0, coordinator_epoch=0, timestamp=NOW_MS
    )
    append(log, marker, origin="coordinator")
    aborted = log.aborted_transactions(0, 3)
    log.flush()
    log.close()
    del disk.files[FIRST + ".txnindex"].data[-1:]
    opened = open_log(disk, clean_shutdown=True, recovery_point=3)
    assert opened.aborted_transactions(0, 3) == aborted != []


@pytest.mark.parametrize("content", [None, b"", b"1\n0\n", b"0\n2\n0 0\n", b"0\n2\n3 4\n2 5\n", b"0\n1\nx y\n"])
def test_lost_leader_epochs_are_made_again(content: bytes | None) -> None:
    disk = MemoryDisk()
    log = open_log(disk, segment_bytes=300)
    for epoch in (0, 0, 2, 2, 3, 7):
        append(log, epoch=epoch)
    entries = list(log.leader_epochs.entries)
    log.flush()
    log.close()
    path = f"{DIRECTORY}/leader-epoch-checkpoint"
    saved = disk.read(path)
    if content is None:
        disk.remove(path)
    else:
        disk.files[path].data[:] = content
    opened = open_log(disk, segment_bytes=300, clean_shutdown=True, recovery_point=12)
    assert opened.leader_epochs.entries == entries
    assert opened.leader_epochs.is_unsaved
    opened.save_epochs()
    assert disk.read(path) == saved


def test_epochs_behind_the_end_and_before_the_start_go() -> None:
    disk = MemoryDisk()
    log = open_log(disk)
    for epoch in range(4):
        append(log, epoch=epoch)
    disk.files[FIRST + ".log"].data[-1] ^= 1
    opened = open_log(disk, log_start_offset=3)
    assert opened.leader_epochs.entries == [(1, 3), (2, 4)]
    assert (opened.log_start_offset, opened.log_end_offset) == (3, 6)


def test_segments_that_are_back_after_a_loss_of_power_have_their_epochs() -> None:
    disk = MemoryDisk()
    log = open_log(disk, segment_bytes=300)
    for epoch in (0, 0, 2, 2, 3, 7):
        append(log, epoch=epoch)
    entries = list(log.leader_epochs.entries)
    log.flush()
    log.set_high_watermark(12)
    # Epochs are on the device at once; that files are gone and where the log starts may be lost.
    log.leader_epochs.truncate_from_start(6)
    assert log.leader_epochs.entries != entries
    opened = open_log(disk, segment_bytes=300, recovery_point=12)
    assert opened.log_start_offset == 0
    assert opened.leader_epochs.entries == entries


def test_a_segment_that_a_killed_process_made_survives_the_power_after_it_was_flushed() -> None:
    """The process died before it synced the directory: whoever goes on in that segment has to."""
    for seed in range(8):
        disk = MemoryDisk()
        log = open_log(disk, segment_bytes=300)
        append(log)
        log.flush()
        append(log)
        append(log)
        assert len(log.segments) == 2
        opened = open_log(disk, segment_bytes=300, recovery_point=2)
        append(opened)
        assert len(opened.segments) == 2
        opened.flush()
        found = open_log(disk.after_power_loss(random.Random(seed)), segment_bytes=300)
        assert everything(found) == everything(opened)


def test_a_log_that_ends_before_its_start_begins_anew() -> None:
    disk = MemoryDisk()
    log = open_log(disk)
    append(log)
    opened = open_log(disk, log_start_offset=50)
    assert (opened.log_start_offset, opened.log_end_offset, opened.size_bytes) == (50, 50, 0)
    assert opened.leader_epochs.entries == []
    assert append(opened) == 50


def test_an_interrupted_compaction_is_finished_or_undone() -> None:
    for first, second in ((".cleaned", False), (".swap", True)):
        disk = MemoryDisk()
        log = open_log(disk, segment_bytes=300)
        for _ in range(9):
            append(log)
        log.flush()
        batches = everything(log)
        bases = [each.base_offset for each in log.segments]
        # The first two segments are to become one with only the last batch of the second.
        kept = log.segments[1].read(log.segments[1].position_of(bases[2] - 1), 1000)
        for suffix, content in ((".log", kept), (".index", b""), (".timeindex", b"")):
            disk.make_dirs(DIRECTORY)
            file = disk.open(FIRST + suffix + first, append=True, create=True)
            file.append([content])
        disk.open(f"{DIRECTORY}/{bases[3]:020d}.log.deleted", create=True)
        opened = open_log(disk, segment_bytes=300, recovery_point=18, cleanup_policy="compact")
        assert not [name for name in disk.list_dir(DIRECTORY) if name.endswith((".cleaned", ".swap", ".deleted"))]
        if second:
            assert everything(opened) == [each for each in batches if each[0] >= bases[2] - 2]
            assert opened.read(0, 1)[:8] == (bases[2] - 2).to_bytes(8, "big")
        else:
            assert everything(opened) == batches


def test_index_files_without_a_log_go() -> None:
    disk = MemoryDisk()
    open_log(disk)
    disk.open(f"{DIRECTORY}/{7:020d}.index", create=True)
    disk.open(f"{DIRECTORY}/{7:020d}.txnindex", create=True)
    open_log(disk)
    assert disk.list_dir(DIRECTORY) == [f"{0:020d}.log", "partition.metadata"]


STEPS = st.lists(
    st.tuples(
        st.sampled_from(("append", "append", "append", "append", "flush", "roll", "truncate", "checkpoint", "epoch")),
        st.integers(0, 1000),
    ),
    max_size=40,
)


class Model:
    """What the log should hold, and what was promised to be on the device."""

    def __init__(self) -> None:
        self.batches: list[tuple[int, bytes]] = []
        self.recovery_point = 0
        self.durable = 0


def walk(disk: MemoryDisk, steps: list[tuple[str, int]]) -> tuple[Log, Model]:
    log = open_log(disk, segment_bytes=700, index_interval_bytes=150)
    model = Model()
    epoch = 0

    def checkpoint() -> None:
        model.recovery_point = log.recovery_point

    log.before_truncation = checkpoint
    sequences: dict[int, int] = {}
    for name, number in steps:
        if name == "append":
            producer_id = number % 3
            count = 1 + number % 4
            sequence = sequences.get(producer_id, 0)
            base = append(
                log,
                records(count, size=number % 90, producer_id=producer_id, producer_epoch=0, base_sequence=sequence),
                epoch,
            )
            sequences[producer_id] = sequence + count
            model.batches.append((base, bytes(log.read(base, 1))))
        elif name == "flush":
            log.flush()
            model.durable = log.log_end_offset
        elif name == "roll":
            log.roll(NOW_MS)
        elif name == "checkpoint":
            checkpoint()
        elif name == "epoch":
            epoch += 1
        elif model.batches:
            base = model.batches[number % len(model.batches)][0]
            log.truncate_to(base)
            model.batches = [each for each in model.batches if each[0] < base]
            model.durable = min(model.durable, base)
            epoch += 1
            sequences = {key: entry.last_sequence + 1 for key, entry in log.producers.entries.items()}
    return log, model


def epochs_of(batches: list[tuple[int, bytes]]) -> list[tuple[int, int]]:
    entries: list[tuple[int, int]] = []
    for base, batch in batches:
        epoch = read_header(batch).partition_leader_epoch
        if not entries or entries[-1][0] != epoch:
            entries.append((epoch, base))
    return entries


def check(opened: Log, model: Model, log: Log) -> None:
    found = everything(opened)
    assert found == model.batches[: len(found)]
    assert opened.log_end_offset >= model.durable
    assert log.durable_end_offset <= opened.log_end_offset
    assert opened.leader_epochs.entries == epochs_of(found)


@settings(max_examples=300, deadline=None)
@given(STEPS, st.integers(0, 2**32))
def test_a_loss_of_power_takes_only_what_was_not_flushed(steps: list[tuple[str, int]], seed: int) -> None:
    disk = MemoryDisk()
    log, model = walk(disk, steps)
    found = disk.after_power_loss(random.Random(seed))
    opened = open_log(found, segment_bytes=700, index_interval_bytes=150, recovery_point=model.recovery_point)
    check(opened, model, log)
    base = append(opened, epoch=99)
    assert everything(opened)[-1][0] == base


@settings(max_examples=200, deadline=None)
@given(STEPS, st.booleans())
def test_a_killed_process_loses_nothing(steps: list[tuple[str, int]], clean: bool) -> None:
    disk = MemoryDisk()
    log, model = walk(disk, steps)
    if clean:
        log.flush()
        log.close()
    opened = open_log(
        disk,
        segment_bytes=700,
        index_interval_bytes=150,
        clean_shutdown=clean,
        recovery_point=log.recovery_point if clean else model.recovery_point,
    )
    assert everything(opened) == model.batches
    assert opened.log_end_offset == log.log_end_offset
    assert opened.leader_epochs.entries == log.leader_epochs.entries
    assert {key: entry.batches for key, entry in opened.producers.entries.items()} == {
        key: entry.batches for key, entry in log.producers.entries.items()
    }
    for offset in range(0, log.log_end_offset, 3):
        assert opened.read(offset, 100) == log.read(offset, 100) if not clean else True


def replicated(base_offset: int, leader_epoch: int = 0) -> bytes:
    return build_batch([NewRecord(b"k", b"v" * 50)], base_offset=base_offset, leader_epoch=leader_epoch)


def test_a_hole_in_what_was_not_synced_is_no_gap_of_compaction() -> None:
    disk = MemoryDisk()
    log = open_log(disk, segment_bytes=300, cleanup_policy="compact")
    for offset in (0, 3, 5, 6, 9, 10):
        log.append_as_follower(replicated(offset))
    first, second = log.segments[0], log.segments[1]
    assert (second.base_offset, log.log_end_offset) == (4, 11) and log.first_dirty_offset == 0
    log.close()
    end = first.position_of(3)
    del disk.files[first.log_path].data[end:]
    # The power went: the end of the first segment was never synced, the second one was lucky.
    opened = open_log(disk, segment_bytes=300, cleanup_policy="compact", first_dirty_offset=0, recovery_point=0)
    assert opened.log_end_offset == 1
    assert not [each for each in disk.list_dir(DIRECTORY) if each.startswith("00000000000000000004.")]


def test_a_gap_that_compaction_made_stays() -> None:
    disk = MemoryDisk()
    log = open_log(disk, segment_bytes=300, cleanup_policy="compact")
    for offset in (0, 3, 5, 6, 9, 10):
        log.append_as_follower(replicated(offset))
    first = log.segments[0]
    log.close()
    del disk.files[first.log_path].data[first.position_of(3) :]
    for first_dirty_offset, recovery_point in ((4, 0), (0, 4)):
        opened = open_log(
            disk,
            segment_bytes=300,
            cleanup_policy="compact",
            first_dirty_offset=first_dirty_offset,
            recovery_point=recovery_point,
        )
        assert opened.log_end_offset == 11
        opened.close()


def test_a_segment_of_a_past_that_was_cut_does_not_come_back() -> None:
    """A recovery removed it, which was not synced; what came in its place ends where it begins."""
    disk = MemoryDisk()
    log = open_log(disk, segment_bytes=300)
    for offset in range(6):
        log.append_as_follower(replicated(offset, 7))
    assert [each.base_offset for each in log.segments] == [0, 2, 4]
    back = {path: bytes(each.data) for path, each in disk.files.items() if "/00000000000000000004." in path}
    log.truncate_to(3)
    log.append_as_follower(replicated(3, 9))
    log.close()
    for path, content in back.items():
        disk.write_atomic(path, content)
    opened = open_log(disk, segment_bytes=300)
    assert opened.log_end_offset == 4
    assert [header.partition_leader_epoch for header, _ in iter_batches(opened.read(3, 1 << 20))] == [9]

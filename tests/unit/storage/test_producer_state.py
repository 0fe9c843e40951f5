"""Idempotence: sequences, epochs, repetitions, over restarts, cuts and snapshots (KIP-98, KIP-360, KIP-890)."""

from __future__ import annotations

import pytest
from memory_disk import MemoryDisk
from storage_harness import DIRECTORY, NOW_MS, append, everything, open_log, records

from engine.model.errors import ErrorCode, KafkaError
from engine.record.batch import MAX_SEQUENCE
from engine.record.control import build_end_transaction_marker
from engine.storage.log import Log
from engine.storage.producer_snapshot import SnapshotCorrupt, SnapshotEntry, decode, encode


def write(log: Log, sequence: int, *, epoch: int = 0, count: int = 2, producer_id: int = 1, **options: object) -> int:
    batch = records(count, producer_id=producer_id, producer_epoch=epoch, base_sequence=sequence, **options)
    return append(log, batch)


def refusal(log: Log, sequence: int, **options: object) -> ErrorCode:
    before = log.log_end_offset
    with pytest.raises(KafkaError) as caught:
        write(log, sequence, **options)
    assert log.log_end_offset == before
    return caught.value.code


def test_the_last_five_batches_may_come_again() -> None:
    log = open_log()
    for number in range(7):
        assert write(log, 2 * number) == 2 * number
    for number in (6, 2, 4, 3, 5, 2):
        batch = records(2, producer_id=1, producer_epoch=0, base_sequence=2 * number)
        info = log.append_as_leader(batch, 0, now_ms=NOW_MS)
        assert (info.base_offset, info.last_offset, info.is_duplicate) == (2 * number, 2 * number + 1, True)
    assert log.log_end_offset == 14 and len(everything(log)) == 7
    assert refusal(log, 2) is ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
    assert refusal(log, 0) is ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
    # The same first sequence with another number of records is no repetition.
    assert refusal(log, 12, count=3) is ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
    assert write(log, 14) == 14


def test_gaps_and_old_epochs_are_refused_and_a_new_epoch_begins_with_zero() -> None:
    log = open_log()
    write(log, 0, epoch=3)
    assert refusal(log, 3, epoch=3) is ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
    assert refusal(log, 2, epoch=2) is ErrorCode.INVALID_PRODUCER_EPOCH
    assert refusal(log, 2, epoch=4) is ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
    assert write(log, 0, epoch=4) == 2
    assert refusal(log, 2, epoch=3) is ErrorCode.INVALID_PRODUCER_EPOCH
    assert write(log, 2, epoch=4) == 4


def test_a_producer_that_is_not_known_may_go_on_anywhere() -> None:
    log = open_log()
    assert write(log, 1000) == 0
    assert refusal(log, 1000, count=1) is ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
    assert write(log, 1002) == 2


def test_sequences_wrap() -> None:
    log = open_log()
    write(log, MAX_SEQUENCE - 1)
    assert refusal(log, 1) is ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
    assert write(log, 0) == 2
    log = open_log()
    write(log, MAX_SEQUENCE)
    assert refusal(log, 0) is ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
    assert write(log, 1) == 2
    assert write(log, MAX_SEQUENCE) == 0, "a repetition whose sequences wrap"


def test_batches_of_one_request_count_on() -> None:
    log = open_log()

    def batch(sequence: int) -> bytes:
        return records(2, producer_id=1, producer_epoch=0, base_sequence=sequence)

    assert append(log, batch(0) + batch(2) + batch(4)) == 0
    with pytest.raises(KafkaError):
        append(log, batch(6) + batch(10))
    assert append(log, batch(6) + batch(8)) == 6
    assert log.producers.entries[1].last_sequence == 9


def test_state_survives_restarts_and_lost_or_torn_snapshots() -> None:
    disk = MemoryDisk()
    log = open_log(disk, segment_bytes=600)
    for number in range(6):
        for producer_id in (1, 2):
            write(log, 2 * number, producer_id=producer_id)
    log.flush()
    batches = {key: entry.batches for key, entry in log.producers.entries.items()}
    log.close()
    snapshots = [name for name in disk.list_dir(DIRECTORY) if name.endswith(".snapshot")]
    assert len(snapshots) >= 3
    files = {path: bytes(inode.data) for path, inode in disk.files.items()}
    for damage in ("none", "last", "torn", "all"):
        for name in snapshots:
            path = f"{DIRECTORY}/{name}"
            if damage == "all" or (damage == "last" and name == snapshots[-1]):
                disk.remove(path)
            elif damage == "torn":
                del disk.files[path].data[-5:]
        for clean_shutdown, recovery_point in ((True, 24), (False, 24), (False, 10), (False, 0)):
            opened = open_log(disk, segment_bytes=600, clean_shutdown=clean_shutdown, recovery_point=recovery_point)
            assert {key: entry.batches for key, entry in opened.producers.entries.items()} == batches
            assert write(opened, 4, producer_id=2) == 10, "a repetition of the fourth but last batch"
            for path, content in files.items():
                disk.open(path, create=True)
                disk.files[path].data[:] = content


def test_state_follows_a_cut() -> None:
    log = open_log(segment_bytes=300)
    for number in range(6):
        write(log, 2 * number)
    log.truncate_to(6)
    assert log.producers.entries[1].last_sequence == 5
    assert refusal(log, 8) is ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
    assert write(log, 2) == 2, "still known as a repetition"
    assert write(log, 6) == 6
    log.truncate_to(0)
    assert not log.producers.entries
    log.truncate_fully_and_start_at(100)
    assert write(log, 50) == 100


def test_silent_producers_are_forgotten_unless_they_have_a_transaction_open() -> None:
    log = open_log()
    write(log, 0)
    write(log, 0, producer_id=2, is_transactional=True)
    assert log.producers.remove_expired(NOW_MS + 86_400_000) == 0, "the newest record is one millisecond younger"
    assert log.producers.remove_expired(NOW_MS + 86_400_001) == 1
    assert list(log.producers.entries) == [2]
    assert write(log, 77) == 4


def marker(log: Log, epoch: int, *, version: int = 1, coordinator_epoch: int = 0, committed: bool = True) -> int:
    batch = build_end_transaction_marker(
        committed=committed,
        producer_id=1,
        producer_epoch=epoch,
        coordinator_epoch=coordinator_epoch,
        timestamp=NOW_MS,
    )
    return append(log, batch, origin="coordinator", transaction_version=version)


def test_markers_of_old_epochs_and_old_coordinators_are_refused() -> None:
    log = open_log()
    write(log, 0, epoch=5, is_transactional=True)
    for arguments, code in (
        ({"epoch": 4}, ErrorCode.INVALID_PRODUCER_EPOCH),
        ({"epoch": 4, "version": 2}, ErrorCode.INVALID_PRODUCER_EPOCH),
        # With TV2 the end comes in the next epoch.
        ({"epoch": 5, "version": 2}, ErrorCode.INVALID_PRODUCER_EPOCH),
    ):
        with pytest.raises(KafkaError) as caught:
            marker(log, **arguments)  # type: ignore[arg-type]
        assert caught.value.code is code
    assert marker(log, 6, version=2, coordinator_epoch=3) == 2
    assert not log.producers.has_ongoing_transaction(1, 6)
    with pytest.raises(KafkaError) as caught:
        marker(log, 6, version=2, coordinator_epoch=2)
    assert caught.value.code is ErrorCode.TRANSACTION_COORDINATOR_FENCED
    # A marker that was written and is sent again ends nothing (KAFKA-19999).
    assert marker(log, 6, version=2, coordinator_epoch=3) == 3
    assert write(log, 0, epoch=6, is_transactional=True) == 4
    assert log.producers.has_ongoing_transaction(1, 6)
    with pytest.raises(KafkaError):
        marker(log, 6, version=2, coordinator_epoch=3)


def test_records_outside_of_the_producers_open_transaction_are_refused() -> None:
    log = open_log()
    write(log, 0, is_transactional=True)
    assert refusal(log, 2) is ErrorCode.INVALID_TXN_STATE
    marker(log, 0)
    assert write(log, 2) == 3


def test_a_coordinators_records_need_no_sequences() -> None:
    log = open_log()
    batch = records(2, producer_id=1, producer_epoch=3, base_sequence=-1, is_transactional=True)
    assert append(log, batch, origin="coordinator") == 0
    assert append(log, batch, origin="coordinator") == 2
    old = records(2, producer_id=1, producer_epoch=2, base_sequence=-1, is_transactional=True)
    with pytest.raises(KafkaError) as caught:
        append(log, old, origin="coordinator")
    assert caught.value.code is ErrorCode.INVALID_PRODUCER_EPOCH
    log.set_high_watermark(4)
    assert log.last_stable_offset == 0
    marker(log, 3)
    log.set_high_watermark(5)
    assert log.last_stable_offset == 5


def test_open_transactions_survive_restarts() -> None:
    disk = MemoryDisk()
    log = open_log(disk, segment_bytes=300)
    append(log)
    write(log, 0, is_transactional=True)
    write(log, 0, producer_id=2, is_transactional=True)
    for _ in range(4):
        append(log)
    log.flush()
    log.close()
    for clean_shutdown in (True, False):
        opened = open_log(
            disk, segment_bytes=300, clean_shutdown=clean_shutdown, recovery_point=log.recovery_point * clean_shutdown
        )
        opened.set_high_watermark(opened.log_end_offset)
        assert opened.last_stable_offset == 2
        marker(opened, 0, committed=False)
        opened.set_high_watermark(opened.log_end_offset)
        assert opened.last_stable_offset == 4
        assert [each.first_offset for each in opened.aborted_transactions(0, 100)] == [2]
        opened.truncate_to(opened.log_end_offset - 1)
        assert opened.aborted_transactions(0, 100) == []
        assert opened.last_stable_offset == 2
        opened.close()


def test_snapshots_are_read_as_they_were_written_and_not_otherwise() -> None:
    entries = [
        SnapshotEntry(1, 2, 3, 4, 5, 6, 7, 8),
        SnapshotEntry(2**62, 0, MAX_SEQUENCE, 2**60, 0, NOW_MS, -1, -1),
    ]
    content = encode(entries)
    assert decode("x", content) == entries
    assert decode("x", encode([])) == []
    assert encode([]) == bytes.fromhex("0001") + bytes.fromhex("48674bc7") + bytes(4)
    for place in range(len(content)):
        damaged = bytearray(content)
        damaged[place] ^= 0x10
        with pytest.raises(SnapshotCorrupt):
            decode("x", bytes(damaged))
        with pytest.raises(SnapshotCorrupt):
            decode("x", content[:place])
    with pytest.raises(SnapshotCorrupt):
        decode("x", content + b"\x00")

from __future__ import annotations

from typing import Any

from engine.connect.batches import SourceBatch
from engine.connect.records import SourceRecord
from engine.connect.runtime.submitted_records import SubmittedRecords, last_offsets


def record(partition: dict[str, Any], position: int) -> SourceRecord:
    return SourceRecord(topic="t", source_partition=partition, source_offset={"position": position})


def offsets(found: Any) -> dict[str, Any]:
    return {partition["file"]: offset["position"] for partition, offset in found.values()}


def test_an_offset_waits_for_all_records_of_its_batch() -> None:
    submitted = SubmittedRecords()
    batch = submitted.submit([record({"file": "a"}, 1), record({"file": "a"}, 2)], 2)
    batch.pending -= 1
    assert submitted.committable().offsets == {}
    batch.pending -= 1
    assert offsets(submitted.committable().offsets) == {"a": 2}
    assert submitted.committable().offsets == {}


def test_an_offset_waits_for_the_batches_before_it() -> None:
    submitted = SubmittedRecords()
    first = submitted.submit([record({"file": "a"}, 1)], 1)
    second = submitted.submit([record({"file": "a"}, 2)], 1)
    second.pending -= 1
    told = submitted.committable()
    assert told.offsets == {} and told.pending == 1
    first.pending -= 1
    assert offsets(submitted.committable().offsets) == {"a": 2}


def test_dropped_records_do_not_hold_up_offsets() -> None:
    submitted = SubmittedRecords()
    submitted.submit([record({"file": "a"}, 1), record({"file": "b"}, 5)], 0)
    assert offsets(submitted.committable().offsets) == {"a": 1, "b": 5}


def test_after_a_lost_record_nothing_is_committed_any_more() -> None:
    submitted = SubmittedRecords()
    first = submitted.submit([record({"file": "a"}, 1)], 1)
    submitted.fail()
    first.pending -= 1
    assert submitted.committable().offsets == {}


def test_the_last_offset_counts_also_where_equal_partitions_are_different_objects() -> None:
    one, other = {"file": "a", "inode": 7}, {"inode": 7, "file": "a"}
    records = [record(one, 1), record(other, 2), record(one, 3)]
    assert offsets(last_offsets(records)) == {"a": 3}
    assert offsets(last_offsets([record(one, 1), record(one, 2), record(other, 3)])) == {"a": 3}


def test_a_batch_of_values_is_asked_for_its_last_offset_alone() -> None:
    asked: list[int] = []

    def offset_at(index: int) -> dict[str, Any]:
        asked.append(index)
        return {"position": index}

    batch = SourceBatch("t", None, ["x", "y", "z"], None, {"file": "a"}, offset_at)
    assert offsets(last_offsets(batch)) == {"a": 2}
    assert asked == [2]

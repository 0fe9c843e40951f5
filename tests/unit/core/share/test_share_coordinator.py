"""The share coordinator's shard: state, fencing, snapshots and the log that is not needed any more."""

from __future__ import annotations

from typing import Any

import pytest

from engine.core.now import Now
from engine.core.share.records import LogToPrune, ShareEffects, SharePartitionKey, ShareState
from engine.core.share.shard import ShareCoordinatorLimits, ShareCoordinatorShard, WrittenState
from engine.core.share.state_batches import StateBatch
from engine.model.errors import ErrorCode, KafkaError
from engine.wire.record_frames import decode_coordinator_record, encode_coordinator_key, encode_coordinator_value

WALL_MS = 1_750_000_000_000
TOPIC = bytes(range(16))
P0, P1, GONE = (SharePartitionKey("g", TOPIC, number) for number in (0, 1, 9))


class Harness:
    """A shard, its log, and the law after every input."""

    def __init__(self, limits: ShareCoordinatorLimits | None = None) -> None:
        self.limits = limits or ShareCoordinatorLimits()
        self.now_ms = 0.0
        self.log: list[tuple[bytes, bytes | None]] = []
        self.sent: list[LogToPrune] = []
        self.replies: dict[object, Any] = {}
        self.shard = self._new()
        self.perform(self.shard.on_loaded(self.now))

    @property
    def now(self) -> Now:
        return Now(self.now_ms, WALL_MS + int(self.now_ms))

    def _new(self) -> ShareCoordinatorShard:
        return ShareCoordinatorShard(self.limits, lambda topic_id, number: topic_id == TOPIC and number < 4)

    def replayed(self, first: int = 0) -> ShareCoordinatorShard:
        shard = self._new()
        for offset, (key, value) in enumerate(self.log):
            decoded = decode_coordinator_record(key, value, "share")
            assert decoded is not None
            if offset >= first:
                shard.replay(*decoded, record_offset=offset)
        return shard

    def perform(self, effects: ShareEffects) -> None:
        for record in effects.append:
            value = None if record.value is None else encode_coordinator_value(record.value, record.value_version)
            self.log.append((encode_coordinator_key(record.key), value))
        self.sent += effects.send
        for token, response in effects.reply:
            self.replies[token] = response
        assert self.replayed().durable_state() == self.shard.durable_state()

    def ask(self, what: str, *arguments: Any) -> Any:
        token = object()
        timed = () if what in ("delete", "read_summary") else (self.now,)
        self.perform(getattr(self.shard, f"handle_{what}")(*arguments, *timed, token))
        answer = self.replies[token]
        if isinstance(answer, KafkaError):
            raise answer
        return answer

    def write(self, *batches: StateBatch, start: int = -1, leader_epoch: int = 1, key: SharePartitionKey = P0) -> None:
        self.ask("write", key, WrittenState(1, leader_epoch, start, 0, batches))

    def pass_time(self, ms: float) -> None:
        self.now_ms += ms
        self.perform(self.shard.on_timer(self.now))


def refused(error: pytest.ExceptionInfo[KafkaError]) -> ErrorCode:
    return error.value.code


def test_what_a_leader_wrote_is_read_by_the_next_one() -> None:
    harness = Harness()
    harness.ask("initialize", P0, 1, -1)
    assert harness.ask("read", P0, 1).start_offset == -1
    harness.write(StateBatch(0, 9, 2, 1), StateBatch(10, 19, 0, 2), start=0)
    harness.write(StateBatch(12, 13, 4, 5), start=10)
    state: ShareState = harness.ask("read", P0, 2)
    assert state.start_offset == 10
    assert state.batches == (StateBatch(10, 11, 0, 2), StateBatch(12, 13, 4, 5), StateBatch(14, 19, 0, 2))


def test_a_leader_of_the_past_writes_and_reads_no_more() -> None:
    harness = Harness()
    harness.ask("initialize", P0, 1, 0)
    harness.ask("read", P0, 5)
    for what in ("write", "read"):
        with pytest.raises(KafkaError) as error:
            harness.write(leader_epoch=4) if what == "write" else harness.ask("read", P0, 4)
        assert refused(error) is ErrorCode.FENCED_LEADER_EPOCH
    # The epoch is in the log: the next coordinator fences as well.
    harness.shard = harness.replayed()
    with pytest.raises(KafkaError) as error:
        harness.write(leader_epoch=4)
    assert refused(error) is ErrorCode.FENCED_LEADER_EPOCH


def test_a_state_epoch_of_the_past_is_fenced() -> None:
    harness = Harness()
    harness.ask("initialize", P0, 3, 0)
    with pytest.raises(KafkaError) as error:
        harness.write()
    assert refused(error) is ErrorCode.FENCED_STATE_EPOCH
    with pytest.raises(KafkaError) as error:
        harness.ask("initialize", P0, 2, 0)
    assert refused(error) is ErrorCode.FENCED_STATE_EPOCH


def test_what_nobody_initialized_is_neither_read_nor_written() -> None:
    harness = Harness()
    for what in ("write", "read"):
        with pytest.raises(KafkaError) as error:
            harness.write() if what == "write" else harness.ask("read", P0, 1)
        assert refused(error) is ErrorCode.INVALID_REQUEST
    assert harness.ask("read_summary", P0).start_offset == -1
    harness.ask("delete", P0)
    with pytest.raises(KafkaError) as error:
        harness.ask("initialize", GONE, 1, 0)
    assert refused(error) is ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    assert not harness.log


def test_a_deleted_share_partition_is_gone() -> None:
    harness = Harness()
    harness.ask("initialize", P0, 1, 0)
    harness.write(StateBatch(0, 1, 2, 1), start=0)
    harness.ask("delete", P0)
    with pytest.raises(KafkaError) as error:
        harness.ask("read", P0, 9)
    assert refused(error) is ErrorCode.INVALID_REQUEST
    assert harness.ask("read_summary", P0).start_offset == -1


def test_a_snapshot_comes_after_so_many_updates() -> None:
    harness = Harness(ShareCoordinatorLimits(snapshot_update_records_per_snapshot=3))
    harness.ask("initialize", P0, 1, 0)
    for number in range(5):
        harness.write(StateBatch(number, number, 2, 1), start=0)
    kinds = [int.from_bytes(key[:2], "big") for key, _ in harness.log]
    assert kinds == [0, 1, 1, 1, 0, 1]
    # Everything is in what came from the last snapshot on.
    assert harness.replayed(first=4).durable_state()["states"] == harness.shard.durable_state()["states"]
    assert harness.ask("read", P0, 1).batches == (StateBatch(0, 4, 2, 1),)


def test_the_log_is_cut_before_the_oldest_snapshot_that_counts() -> None:
    limits = ShareCoordinatorLimits(2, state_topic_prune_interval_ms=1000, cold_partition_snapshot_interval_ms=5000)
    harness = Harness(limits)
    harness.ask("initialize", P0, 1, 0)
    harness.ask("initialize", P1, 1, 0)
    for number in range(3):
        harness.write(StateBatch(number, number, 2, 1), start=0)
    harness.pass_time(1000)
    assert harness.sent.pop().offset == 1, "P0's first record is not needed, P1's is"
    harness.pass_time(4000)
    # P1 was cold and has a later snapshot now.
    [pruned] = harness.sent
    assert harness.replayed(pruned.offset).durable_state()["states"] == harness.shard.durable_state()["states"]
    assert pruned.offset > 1
    size = len(harness.log)
    harness.pass_time(5000)
    harness.pass_time(5000)
    assert len(harness.log) == size, "nothing moved: no snapshots of snapshots"

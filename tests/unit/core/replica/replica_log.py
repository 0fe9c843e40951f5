"""A replica's log as the tests see it: records with their leader epochs, and the history of epochs beside it."""

from __future__ import annotations

from bisect import bisect_right
from typing import NamedTuple

from engine.core.replica.truncation import EpochEnd, diverging_epoch, truncation_for


class Record(NamedTuple):
    """The epoch it was written in, and something to tell it from others."""

    epoch: int
    value: int


class ReplicaLog:
    """Implements :class:`engine.core.replica.truncation.EpochHistory` like Kafka's LeaderEpochFileCache."""

    def __init__(self, *records: Record) -> None:
        self.records: list[Record] = []
        self.starts: list[tuple[int, int]] = []
        for each in records:
            self.append(each)

    @property
    def end(self) -> int:
        return len(self.records)

    @property
    def last_epoch(self) -> int:
        """The epoch of the last record, -1 if there is none: what a follower says when it fetches."""
        return self.records[-1].epoch if self.records else -1

    def append(self, record: Record) -> None:
        self.start_epoch(record.epoch, self.end)
        self.records.append(record)

    def start_epoch(self, epoch: int, offset: int) -> None:
        """Note that an epoch begins; entries that contradict it go."""
        if self.starts and self.starts[-1][0] == epoch and self.starts[-1][1] <= offset:
            return
        while self.starts and (self.starts[-1][0] >= epoch or self.starts[-1][1] >= offset):
            self.starts.pop()
        self.starts.append((epoch, offset))

    def truncate(self, end: int) -> None:
        del self.records[end:]
        while self.starts and self.starts[-1][1] >= end:
            self.starts.pop()

    def end_offset_for(self, epoch: int) -> tuple[int, int]:
        if epoch < 0 or not self.starts or epoch > self.starts[-1][0]:
            return -1, -1
        if epoch == self.starts[-1][0]:
            return epoch, self.end
        index = bisect_right([each for each, _ in self.starts], epoch)
        return (epoch if index == 0 else self.starts[index - 1][0]), self.starts[index][1]

    def common_prefix(self, other: ReplicaLog) -> int:
        """How many records both logs begin with."""
        for offset, (mine, theirs) in enumerate(zip(self.records, other.records, strict=False)):
            if mine != theirs:
                return offset
        return min(self.end, other.end)


def log_of(*epochs: int) -> ReplicaLog:
    """A log with one record of each of these epochs, in order: the same record for the same epoch and offset."""
    return ReplicaLog(*(Record(epoch, offset) for offset, epoch in enumerate(epochs)))


def follow(follower: ReplicaLog, leader: ReplicaLog, *, high_watermark: int = 0) -> list[int]:
    """Fetch until the follower has the leader's log; returns where it was truncated on the way."""
    cuts = []
    for _ in range(20):
        diverging = diverging_epoch(leader, follower.last_epoch, follower.end, 0)
        if diverging is None:
            for record in leader.records[follower.end :]:
                follower.append(record)
            return cuts
        cut = truncation_for(follower, follower.end, high_watermark, EpochEnd(*diverging))
        assert cut.offset <= follower.end
        cuts.append(cut.offset)
        follower.truncate(cut.offset)
    raise AssertionError(f"no end after 20 truncations at {cuts}")

"""Where logs diverge, told by leader epochs only (KIP-101, KIP-279, KIP-320, KIP-595).

Leader: does the follower's last record belong to this log's history? Follower: how much of the own log must go?
Never by the high watermark: a follower hears it late, and truncating to it loses committed records (KIP-101).
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from engine.model.errors import ErrorCode, KafkaError

UNDEFINED_EPOCH = -1
UNDEFINED_OFFSET = -1


class EpochEnd(NamedTuple):
    """The largest epoch not above the one asked for, and where it ends (exclusive); (-1, -1): not known."""

    epoch: int
    end_offset: int


class EpochHistory(Protocol):
    """Which leader epoch begins where in a log (LeaderEpochFileCache)."""

    def end_offset_for(self, epoch: int) -> tuple[int, int]:
        """The largest epoch ≤ ``epoch`` in the log and the offset where it ends. ``epoch`` beyond the latest or below
        any history: (-1, -1); below the first entry: (``epoch``, the first entry's start)."""


class Truncation(NamedTuple):
    """Cut the log at ``offset``. ``is_complete``: no further question to the leader is needed to be sure."""

    offset: int
    is_complete: bool


def diverging_epoch(
    epochs: EpochHistory, last_fetched_epoch: int, fetch_offset: int, log_start_offset: int
) -> EpochEnd | None:
    """Leader: the end of the last epoch that both logs share, or None if the follower may just go on.

    ``last_fetched_epoch`` is that of the follower's last record, -1 if it does not say.

    Raises:
        KafkaError: OFFSET_OUT_OF_RANGE if the epoch is not known here, or the offset is before the log's start.
    """
    if last_fetched_epoch < 0:
        return None
    epoch, end_offset = epochs.end_offset_for(last_fetched_epoch)
    if epoch == UNDEFINED_EPOCH or end_offset == UNDEFINED_OFFSET:
        raise KafkaError(
            ErrorCode.OFFSET_OUT_OF_RANGE, f"where the last fetched epoch {last_fetched_epoch} ends is not known here"
        )
    if fetch_offset < log_start_offset:
        raise KafkaError(
            ErrorCode.OFFSET_OUT_OF_RANGE, f"offset {fetch_offset} is before the log start offset {log_start_offset}"
        )
    if epoch < last_fetched_epoch or end_offset < fetch_offset:
        return EpochEnd(epoch, end_offset)
    return None


def truncation_for(epochs: EpochHistory, log_end_offset: int, high_watermark: int, leader: EpochEnd) -> Truncation:
    """Follower: where to cut the own log after the leader said that its last common epoch ends at ``leader``.

    If the follower does not have the leader's epoch, the logs parted before it: cut to the end of the next smaller one
    and ask again (KIP-279, fast leader fail-overs).
    """
    if leader.end_offset == UNDEFINED_OFFSET:
        # The leader has no history that far back; all that is left is what is known to be committed.
        return Truncation(min(high_watermark, log_end_offset), True)
    if leader.epoch == UNDEFINED_EPOCH:
        return Truncation(min(leader.end_offset, log_end_offset), True)
    own_epoch, own_end = epochs.end_offset_for(leader.epoch)
    if own_epoch == UNDEFINED_EPOCH or own_end == UNDEFINED_OFFSET:
        return Truncation(min(leader.end_offset, log_end_offset), True)
    if own_epoch != leader.epoch:
        return Truncation(min(own_end, log_end_offset), False)
    return Truncation(min(own_end, leader.end_offset, log_end_offset), True)

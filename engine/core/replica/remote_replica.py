"""What a leader knows of one follower (kafka.cluster.Replica)."""

from __future__ import annotations

from engine.model.ids import Uuid

UNKNOWN_OFFSET = -1
# "Never" on a monotonic clock that may start anywhere.
NEVER_MS = float("-inf")


class RemoteReplica:
    """A follower's position, and when it was last level with the leader. Times: monotonic milliseconds.

    ``last_caught_up_ms`` is the largest time t such that the follower's latest fetch offset is at or beyond what the
    leader's log end was at t. Kafka only learns it from fetches; here an append also fixes it (``on_leader_append``),
    so that a follower need not repeat its position for partitions where nothing happens.
    """

    __slots__ = (
        "broker_epoch",
        "broker_id",
        "directory_id",
        "last_caught_up_ms",
        "last_fetch_leader_end_offset",
        "last_fetch_ms",
        "log_end_offset",
        "log_start_offset",
    )

    def __init__(self, broker_id: int) -> None:
        self.broker_id = broker_id
        # Its log directory there, as far as the metadata knows it.
        self.directory_id: Uuid | None = None
        self.log_start_offset = UNKNOWN_OFFSET
        self.log_end_offset = UNKNOWN_OFFSET
        self.last_fetch_leader_end_offset = UNKNOWN_OFFSET
        self.last_fetch_ms = NEVER_MS
        self.last_caught_up_ms = NEVER_MS
        # None: no fetch was heard under this leadership.
        self.broker_epoch: int | None = None

    def on_new_leader_epoch(self, leader_end_offset: int, now_ms: float, *, leads_anew: bool, is_in_sync: bool) -> None:
        """The local broker leads in another epoch; ``leads_anew`` if it did not lead in the one before.

        A member of the ISR gets replica.lag.time.max.ms from now to show up; others must not hold the high watermark
        back before they have been heard, and may have thrown away what they had (a log that was corrupt).
        """
        self.last_caught_up_ms = now_ms if is_in_sync else NEVER_MS
        if leads_anew or not is_in_sync:
            self.log_start_offset = self.log_end_offset = self.last_fetch_leader_end_offset = UNKNOWN_OFFSET
            self.last_fetch_ms = NEVER_MS
            self.broker_epoch = None
        else:
            self.last_fetch_leader_end_offset = leader_end_offset
            self.last_fetch_ms = now_ms

    def on_fetch(
        self, fetch_offset: int, log_start_offset: int, leader_end_offset: int, broker_epoch: int, now_ms: float
    ) -> None:
        """The follower has everything before ``fetch_offset``; the leader's log ended at ``leader_end_offset``."""
        if fetch_offset >= leader_end_offset:
            if now_ms > self.last_caught_up_ms:
                self.last_caught_up_ms = now_ms
        elif fetch_offset >= self.last_fetch_leader_end_offset and self.last_fetch_ms > self.last_caught_up_ms:
            # It reads as fast as the leader writes, one fetch behind: that is in sync.
            self.last_caught_up_ms = self.last_fetch_ms
        self.log_start_offset = log_start_offset
        self.log_end_offset = fetch_offset
        if leader_end_offset > self.last_fetch_leader_end_offset:
            self.last_fetch_leader_end_offset = leader_end_offset
        self.last_fetch_ms = now_ms
        self.broker_epoch = broker_epoch

    def on_leader_append(self, old_end_offset: int, now_ms: float) -> None:
        """The leader's log grew from ``old_end_offset``: a follower that had all of it was level until now."""
        if self.log_end_offset >= old_end_offset and now_ms > self.last_caught_up_ms:
            self.last_caught_up_ms = now_ms

    def is_caught_up(self, leader_end_offset: int, now_ms: float, max_lag_ms: float) -> bool:
        """Whether the follower belongs in the ISR (replica.lag.time.max.ms)."""
        return self.log_end_offset == leader_end_offset or now_ms - self.last_caught_up_ms <= max_lag_ms

    def __repr__(self) -> str:
        return (
            f"RemoteReplica({self.broker_id}, log_end_offset={self.log_end_offset}, "
            f"last_caught_up_ms={self.last_caught_up_ms}, broker_epoch={self.broker_epoch})"
        )

"""The ISR as a leader knows it: committed by the controller, or with one change on its way (KIP-497).

While a change is pending nobody can say which of the two sets the controller holds, so the leader counts the replicas
of both: the *maximal ISR*. It contains every replica that may now be elected, whatever became of the request.

    Committed ──propose──▶ PendingExpand | PendingShrink ──accepted──▶ Committed
        ▲                                  │
        └──── refused for certain ─────────┘        any other refusal: stay pending until new metadata comes
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from engine.model.errors import ErrorCode

# The controller says: the partition epoch was right and nothing was written, by any controller, ever.
REFUSED_FOR_CERTAIN = frozenset({ErrorCode.OPERATION_NOT_ATTEMPTED, ErrorCode.INELIGIBLE_REPLICA})
# This leader is behind the metadata, which will come: until then nobody knows what was written.
AWAIT_METADATA = frozenset(
    {
        ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
        ErrorCode.UNKNOWN_TOPIC_ID,
        ErrorCode.FENCED_LEADER_EPOCH,
        ErrorCode.INVALID_UPDATE_VERSION,
        ErrorCode.INVALID_REQUEST,
        ErrorCode.NEW_LEADER_ELECTED,
    }
)


class CommittedIsr(NamedTuple):
    """What the controller last committed."""

    isr: frozenset[int]

    @property
    def maximal_isr(self) -> frozenset[int]:
        """The same: nothing is on its way."""
        return self.isr

    @property
    def committed(self) -> CommittedIsr:
        """The last committed state."""
        return self


class PendingExpandIsr(NamedTuple):
    """One replica is to join. It counts for the high watermark already: the controller may have taken it in."""

    committed: CommittedIsr
    joining: int
    reason: str

    @property
    def isr(self) -> frozenset[int]:
        """The committed ISR: what min.insync.replicas is held against."""
        return self.committed.isr

    @property
    def maximal_isr(self) -> frozenset[int]:
        """With the one that joins."""
        return self.committed.isr | {self.joining}

    @property
    def proposed_isr(self) -> frozenset[int]:
        """What the controller is asked for."""
        return self.committed.isr | {self.joining}


class PendingShrinkIsr(NamedTuple):
    """Some are to leave. They count until the controller has said so: they may still be elected."""

    committed: CommittedIsr
    leaving: frozenset[int]
    reason: str

    @property
    def isr(self) -> frozenset[int]:
        """The committed ISR."""
        return self.committed.isr

    @property
    def maximal_isr(self) -> frozenset[int]:
        """Those that are to leave included."""
        return self.committed.isr

    @property
    def proposed_isr(self) -> frozenset[int]:
        """What the controller is asked for."""
        return self.committed.isr - self.leaving


PendingIsr: TypeAlias = PendingExpandIsr | PendingShrinkIsr
IsrState: TypeAlias = CommittedIsr | PendingExpandIsr | PendingShrinkIsr

"""What a partition's machine is at present: the leader, with what it knows of its followers, or a follower."""

from __future__ import annotations

from collections import deque

from engine.core.replica.isr_state import CommittedIsr, IsrState
from engine.core.replica.outputs import AlterPartition
from engine.core.replica.remote_replica import RemoteReplica


class Leader:
    """The role of the broker that takes appends."""

    __slots__ = (
        "counted",
        "epoch_start_offset",
        "isr_size",
        "isr_state",
        "local_id",
        "maximal_isr",
        "proposal",
        "replicas",
        "uncounted",
        "waiting",
        "without_position",
    )

    def __init__(self, local_id: int, epoch_start_offset: int) -> None:
        self.local_id = local_id
        self.epoch_start_offset = epoch_start_offset
        self.replicas: dict[int, RemoteReplica] = {}
        # The request on its way for a pending isr_state.
        self.proposal: AlterPartition | None = None
        # Appends that wait for the high watermark: (offset that it must reach, token), by offset.
        self.waiting: deque[tuple[int, object]] = deque()
        self.enter(CommittedIsr(frozenset()))

    def enter(self, state: IsrState) -> None:
        """Change the state of the ISR. Must be called after a change of ``replicas`` as well."""
        self.isr_state: IsrState = state
        self.isr_size = len(state.isr)
        self.maximal_isr = maximal_isr = state.maximal_isr
        # For the high watermark: followers that count, those that do not, and whether there are members of the ISR
        # that are no replicas (any more), so that nothing can be known to be committed.
        self.counted = tuple(each for each in self.replicas.values() if each.broker_id in maximal_isr)
        self.uncounted = tuple(each for each in self.replicas.values() if each.broker_id not in maximal_isr)
        self.without_position = len(self.counted) != len(maximal_isr - {self.local_id})


class Follower:
    """The role of a broker that copies. ``leader_id`` is -1 while there is no leader."""

    __slots__ = ("leader_id",)

    def __init__(self, leader_id: int) -> None:
        self.leader_id = leader_id

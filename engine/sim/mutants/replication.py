"""Changes of how partitions are replicated."""

from __future__ import annotations

import asyncio
from typing import Any

from engine.sim.mutants.mutant import CRASHES, Mutant, Undo, all_of, replace


def _leader_commits_alone() -> Undo:
    from engine.core.replica.partition import Partition

    return replace(Partition, "_committed_offset", lambda self, role, now_ms: self.durable_end_offset)


def _acks_before_commit() -> Undo:
    from engine.core.replica.partition import Partition

    return replace(Partition, "wait_until_committed", lambda self, offset, token: self._committed(self.leader_role()))


def _joins_isr_behind() -> Undo:
    from engine.core.replica.isr_state import CommittedIsr
    from engine.core.replica.partition import Partition

    def may_expand(self: Any, role: Any, replica: Any) -> bool:
        return type(role.isr_state) is CommittedIsr and self.view.may_join_isr(replica.broker_id, replica.broker_epoch)

    return replace(Partition, "_may_expand", may_expand)


def _keeps_divergent_tail() -> Undo:
    from engine.broker.replica_manager import ReplicaManager

    return replace(ReplicaManager, "truncate", lambda self, replica, offset, reason: None)


def _ignores_divergence() -> Undo:
    from engine.broker.apis import fetch

    return replace(fetch, "diverging_epoch", lambda *_: None)


def _accepts_stale_epochs() -> Undo:
    from engine.core.replica.partition import Partition

    def check_epoch(self: Any, current_leader_epoch: int, *, leader_only: bool) -> None:
        if leader_only:
            self.leader_role()

    undo_epoch = replace(Partition, "check_epoch", check_epoch)
    undo_divergence = _ignores_divergence()

    return all_of(undo_epoch, undo_divergence)


def _does_not_count_who_joins() -> Undo:
    from engine.core.replica.isr_state import PendingExpandIsr

    return replace(PendingExpandIsr, "maximal_isr", PendingExpandIsr.isr)


def _does_not_count_who_leaves() -> Undo:
    from engine.core.replica.isr_state import PendingShrinkIsr

    return replace(PendingShrinkIsr, "maximal_isr", PendingShrinkIsr.proposed_isr)


def _ignores_the_minimum() -> Undo:
    from engine.core.replica.partition import Partition

    def settle(self: Any) -> None:
        self.effective_min_isr = 1

    return replace(Partition, "_settle_min_isr", settle)


def _takes_the_high_watermark_back() -> Undo:
    """A follower that believes a new leader, which knows less of the followers than the old one did."""
    from engine.core.replica.partition import Partition

    def on_follower_append(self: Any, end: int, durable: int, leader_high_watermark: int) -> None:
        self.log_end_offset, self.durable_end_offset = end, durable
        self.high_watermark = min(leader_high_watermark, end)

    return replace(Partition, "on_follower_append", on_follower_append)


def _follower_gives_up() -> Undo:
    """A fetcher that lost its connection never asks again, whatever the metadata says."""
    from engine.broker.replica_fetchers import ReplicaFetcher

    async def pause(self: Any, pause_ms: float | None) -> None:
        if pause_ms is None:
            await before(self, pause_ms)
        else:
            await asyncio.sleep(1e6)

    before = ReplicaFetcher._pause
    return replace(ReplicaFetcher, "_pause", pause)


MUTANTS = (
    Mutant("leader commits alone", ("R2", "R9", "R5"), _leader_commits_alone, CRASHES),
    Mutant("acks=all before the commit", ("R2", "R9"), _acks_before_commit, CRASHES),
    Mutant("joins the ISR from behind", ("R2", "R3", "R9"), _joins_isr_behind, CRASHES),
    Mutant("keeps a divergent tail", ("R1", "R5", "R9"), _keeps_divergent_tail, CRASHES),
    Mutant("ignores divergence", ("R1", "R5", "R6"), _ignores_divergence, CRASHES),
    Mutant("accepts stale epochs", ("R1", "R6"), _accepts_stale_epochs, CRASHES),
    Mutant("does not count who joins", ("R4",), _does_not_count_who_joins, CRASHES),
    Mutant("does not count who leaves", ("R4",), _does_not_count_who_leaves, CRASHES),
    Mutant("ignores min.insync.replicas", ("R7",), _ignores_the_minimum, CRASHES),
    Mutant("takes the high watermark back", ("R5",), _takes_the_high_watermark_back, CRASHES),
    Mutant("a follower gives up", ("V1",), _follower_gives_up, CRASHES),
)

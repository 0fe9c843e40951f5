"""For each promise a change that breaks it: seeds must notice, or the simulation checks nothing."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import replica_simulation
from test_replica_simulation import chaos

from engine.core.effects import Effects
from engine.core.replica.cluster_view import ClusterView, PartitionState
from engine.core.replica.isr_state import PendingExpandIsr, PendingIsr, PendingShrinkIsr
from engine.core.replica.outputs import NOTHING, AlterPartition, PartitionEffects
from engine.core.replica.partition import Partition
from engine.core.replica.remote_replica import RemoteReplica
from engine.core.replica.roles import Leader
from engine.core.replica.truncation import EpochEnd, EpochHistory, Truncation
from engine.model.errors import ErrorCode

Change = Callable[[pytest.MonkeyPatch], None]

# -- R4: the maximal ISR ----------------------------------------------------------------------------------------


def does_not_count_a_replica_that_is_proposed_to_join(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(PendingExpandIsr, "maximal_isr", PendingExpandIsr.isr)


def does_not_count_replicas_that_are_proposed_to_leave(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(PendingShrinkIsr, "maximal_isr", PendingShrinkIsr.proposed_isr)


def takes_any_refusal_for_certain(patch: pytest.MonkeyPatch) -> None:
    def refused(
        self: Partition, role: Leader, pending: PendingIsr, proposal: AlterPartition, error: ErrorCode
    ) -> PartitionEffects:
        role.enter(pending.committed)
        role.proposal = None
        return NOTHING

    patch.setattr(Partition, "_refused", refused)


def takes_its_own_proposal_for_the_answer(patch: pytest.MonkeyPatch) -> None:
    """It goes on as if the controller had agreed at once."""
    original = Partition._propose

    def propose(self: Partition, role: Leader, pending: PendingIsr, effects: PartitionEffects) -> None:
        original(self, role, pending, effects)
        role.enter(type(pending.committed)(pending.proposed_isr))

    patch.setattr(Partition, "_propose", propose)
    patch.setattr(Partition, "on_alter_partition_response", lambda self, *answer: NOTHING)


# -- R3: who may be in the ISR ----------------------------------------------------------------------------------


def lets_replicas_join_that_are_behind_the_high_watermark(patch: pytest.MonkeyPatch) -> None:
    original = Partition._may_expand

    def may_expand(self: Partition, role: Leader, replica: RemoteReplica) -> bool:
        before, self.high_watermark = self.high_watermark, 0
        start, role.epoch_start_offset = role.epoch_start_offset, 0
        try:
            return original(self, role, replica)
        finally:
            self.high_watermark, role.epoch_start_offset = before, start

    patch.setattr(Partition, "_may_expand", may_expand)


def lets_replicas_join_that_are_before_the_start_of_the_epoch(patch: pytest.MonkeyPatch) -> None:
    original = Partition._may_expand

    def may_expand(self: Partition, role: Leader, replica: RemoteReplica) -> bool:
        start, role.epoch_start_offset = role.epoch_start_offset, 0
        try:
            return original(self, role, replica)
        finally:
            role.epoch_start_offset = start

    patch.setattr(Partition, "_may_expand", may_expand)


def remembers_positions_from_an_earlier_leadership(patch: pytest.MonkeyPatch) -> None:
    positions: dict[int, RemoteReplica] = {}
    original = RemoteReplica.on_new_leader_epoch

    def on_new_leader_epoch(
        self: RemoteReplica, end: int, now_ms: float, *, leads_anew: bool, is_in_sync: bool
    ) -> None:
        before = positions.get(self.broker_id)
        original(self, end, now_ms, leads_anew=False, is_in_sync=is_in_sync)
        if leads_anew and before is not None:
            self.log_end_offset = before.log_end_offset
        positions[self.broker_id] = self

    patch.setattr(RemoteReplica, "on_new_leader_epoch", on_new_leader_epoch)


def trusts_positions_across_several_elections(patch: pytest.MonkeyPatch) -> None:
    """One delta of the metadata may hide that another led in between."""
    original = Partition.on_become_leader

    def on_become_leader(self: Partition, state: PartitionState, now_ms: float) -> PartitionEffects:
        if self.is_leader and state.leader_epoch > self.leader_epoch:
            self.leader_epoch = state.leader_epoch - 1
        return original(self, state, now_ms)

    patch.setattr(Partition, "on_become_leader", on_become_leader)


def believes_what_past_incarnations_say(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ClusterView, "is_stale", lambda self, broker_id, broker_epoch: False)
    patch.setattr(
        ClusterView,
        "may_join_isr",
        lambda self, broker_id, broker_epoch, directory_id=None: (
            broker_epoch is not None and not self.brokers[broker_id].fenced
        ),
    )
    original = Partition._propose

    def propose(self: Partition, role: Leader, pending: PendingIsr, effects: PartitionEffects) -> None:
        original(self, role, pending, effects)
        assert role.proposal is not None
        role.proposal = role.proposal._replace(new_isr=tuple((each, -1) for each, _ in role.proposal.new_isr))
        effects.send[-1] = role.proposal

    patch.setattr(Partition, "_propose", propose)


# -- R5, R7: the high watermark ---------------------------------------------------------------------------------


def lets_a_new_leader_take_the_high_watermark_back(patch: pytest.MonkeyPatch) -> None:
    def on_follower_append(self: Partition, end: int, durable: int, leader_high_watermark: int) -> None:
        self.log_end_offset, self.durable_end_offset = end, durable
        self.high_watermark = min(leader_high_watermark, end)

    patch.setattr(Partition, "on_follower_append", on_follower_append)


def commits_with_fewer_replicas_than_the_minimum(patch: pytest.MonkeyPatch) -> None:
    def settle(self: Partition) -> None:
        self.effective_min_isr = 1

    patch.setattr(Partition, "_settle_min_isr", settle)


def acks_when_the_leader_has_it(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Partition, "wait_until_committed", lambda self, offset, token: self._committed(self.leader_role()))


def vouches_for_what_is_not_durable(patch: pytest.MonkeyPatch) -> None:
    original = Partition.on_append

    def on_append(self: Partition, end: int, durable: int, now_ms: float) -> PartitionEffects:
        return original(self, end, end, now_ms)

    patch.setattr(Partition, "on_append", on_append)


# -- R1, R6: truncation -----------------------------------------------------------------------------------------


def truncates_to_its_high_watermark(patch: pytest.MonkeyPatch) -> None:
    """As Kafka did before KIP-101."""

    def truncation(epochs: EpochHistory, end: int, high_watermark: int, leader: EpochEnd) -> Truncation:
        return Truncation(min(high_watermark, end), True)

    patch.setattr(replica_simulation, "truncation_for", truncation)


def truncates_a_restarted_replica_to_its_high_watermark(patch: pytest.MonkeyPatch) -> None:
    """The first scenario of KIP-101."""
    original = replica_simulation.Simulation.start

    def start(self: replica_simulation.Simulation, broker_id: int) -> None:
        broker = self.brokers[broker_id]
        self._cut(broker, min(broker.checkpoint, broker.log.end))
        original(self, broker_id)

    patch.setattr(replica_simulation.Simulation, "start", start)


def truncates_where_the_leader_says_whatever_epoch_that_is(patch: pytest.MonkeyPatch) -> None:
    """KIP-101 without KIP-279."""

    def truncation(epochs: EpochHistory, end: int, high_watermark: int, leader: EpochEnd) -> Truncation:
        return Truncation(min(leader.end_offset, end), True)

    patch.setattr(replica_simulation, "truncation_for", truncation)


def never_looks_for_divergence(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(replica_simulation, "diverging_epoch", lambda epochs, epoch, offset, start: None)


def does_not_note_where_its_epoch_begins(patch: pytest.MonkeyPatch) -> None:
    """The other half of KIP-279."""
    original = Partition.on_become_leader

    def on_become_leader(self: Partition, *arguments: object) -> PartitionEffects:
        effects = original(self, *arguments)  # type: ignore[arg-type]
        return Effects(send=effects.send, reply=effects.reply, notes=effects.notes)

    patch.setattr(Partition, "on_become_leader", on_become_leader)


def serves_whoever_believes_in_another_epoch(patch: pytest.MonkeyPatch) -> None:
    def check_epoch(self: Partition, current_leader_epoch: int, *, leader_only: bool) -> None:
        self.leader_role()

    patch.setattr(Partition, "check_epoch", check_epoch)


CHANGES: list[tuple[Change, dict[str, object]]] = [
    (does_not_count_a_replica_that_is_proposed_to_join, {}),
    (does_not_count_replicas_that_are_proposed_to_leave, {}),
    (takes_any_refusal_for_certain, {"slow": 0.1}),
    (takes_its_own_proposal_for_the_answer, {}),
    (lets_replicas_join_that_are_behind_the_high_watermark, {}),
    (lets_replicas_join_that_are_before_the_start_of_the_epoch, {}),
    (remembers_positions_from_an_earlier_leadership, {}),
    (trusts_positions_across_several_elections, {}),
    (believes_what_past_incarnations_say, {"slow": 0.2}),
    (lets_a_new_leader_take_the_high_watermark_back, {}),
    (commits_with_fewer_replicas_than_the_minimum, {}),
    (acks_when_the_leader_has_it, {}),
    (vouches_for_what_is_not_durable, {"flushes": True, "min_isr": 1}),
    (truncates_to_its_high_watermark, {}),
    (truncates_a_restarted_replica_to_its_high_watermark, {}),
    (truncates_where_the_leader_says_whatever_epoch_that_is, {"min_isr": 1}),
    (never_looks_for_divergence, {}),
    (does_not_note_where_its_epoch_begins, {}),
    (serves_whoever_believes_in_another_epoch, {"slow": 0.1}),
]


@pytest.mark.parametrize(("change", "world"), CHANGES, ids=[change.__name__ for change, _ in CHANGES])
def test_the_simulation_notices_a_replica_that(
    change: Change, world: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    change(monkeypatch)
    for seed in range(150):
        try:
            chaos(seed, **world)  # type: ignore[arg-type]
        except (AssertionError, IndexError):
            return
    pytest.fail(f"150 seeds did not notice {change.__name__}")

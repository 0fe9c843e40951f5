"""For each promise changes that break it: a few seeds must notice and name it, or the simulation checks nothing.

G5 is the consumer protocol's (KIP-848), which the classic machine does not speak.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from coordinator_world import Waiting
from group_promises import Violation
from group_simulation import GroupSimulation

from engine.core.group import offset_requests, shard
from engine.core.group.classic_group import ClassicGroup
from engine.core.group.context import ClientContext, Now
from engine.core.group.join import Joins
from engine.core.group.member import GroupMember
from engine.core.group.membership import Membership
from engine.core.group.offset_requests import OffsetRequests
from engine.core.group.offsets import OffsetAndMetadata, OffsetTable
from engine.core.group.rebalance import Rebalances
from engine.core.group.records import GroupEffects
from engine.core.group.states import GroupState
from engine.model.errors import ErrorCode, KafkaError
from engine.wire.messages.group_metadata_value import GroupMetadataValue
from engine.wire.messages.offset_commit_request import OffsetCommitRequest
from engine.wire.messages.sync_group_request import SyncGroupRequest

SEEDS = 60

Patch = pytest.MonkeyPatch

# -- G1: a partition has one owner ------------------------------------------------------------------------------


def takes_commits_before_the_assignment(patch: Patch) -> None:
    def validate(group: ClassicGroup, member_id: str, instance_id: str | None, generation_id: int) -> None:
        state = group.state
        if state is GroupState.COMPLETING_REBALANCE:
            group.state = GroupState.STABLE
        try:
            original(group, member_id, instance_id, generation_id)
        finally:
            group.state = state

    original = ClassicGroup.validate_offset_commit
    patch.setattr(ClassicGroup, "validate_offset_commit", validate)


def takes_the_assignment_of_an_earlier_generation(patch: Patch) -> None:
    def validate(self: Membership, request: SyncGroupRequest) -> ClassicGroup:
        group = self._group(request.group_id)
        group.validate_member(request.member_id, request.group_instance_id)
        return group

    patch.setattr(Membership, "_validate_sync", validate)


def keeps_the_number_of_the_generation(patch: Patch) -> None:
    def init_next_generation(self: ClassicGroup, now: Now) -> None:
        original(self, now)
        if self.generation_id > 1:
            self.generation_id -= 1

    original = ClassicGroup.init_next_generation
    patch.setattr(ClassicGroup, "init_next_generation", init_next_generation)


def counts_generations_anew_after_a_failover(patch: Patch) -> None:
    def group_from_value(group_id: str, value: GroupMetadataValue) -> ClassicGroup:
        group = original(group_id, value)
        group.generation_id = 0
        return group

    original = shard.group_from_value
    patch.setattr(shard, "group_from_value", group_from_value)


def lets_every_member_assign(patch: Patch) -> None:
    def handle_sync(self: Membership, request: SyncGroupRequest, now: Now, token: object, out: GroupEffects) -> None:
        group = self._rebalances.groups.get(request.group_id)
        if group is not None and request.member_id in group.members:
            group.leader_id = request.member_id
        original(self, request, now, token, out)

    original = Membership.handle_sync
    patch.setattr(Membership, "handle_sync", handle_sync)


def lets_a_former_self_go_on(patch: Patch) -> None:
    def replace(self: ClassicGroup, group_instance_id: str, new_member_id: str) -> GroupMember:
        old_member_id = self.static_members[group_instance_id]
        member = original(self, group_instance_id, new_member_id)
        ghost = GroupMember(
            old_member_id,
            None,
            member.client_id,
            member.client_host,
            member.rebalance_timeout_ms,
            member.session_timeout_ms,
            member.protocol_type,
            member.protocols,
            member.assignment,
        )
        self.add(ghost)
        return member

    def validate_member(self: ClassicGroup, member_id: str, group_instance_id: str | None) -> None:
        if member_id not in self.members:
            raise KafkaError(ErrorCode.UNKNOWN_MEMBER_ID, f"member {member_id} is not in the group")

    original = ClassicGroup.replace_static_member
    patch.setattr(ClassicGroup, "replace_static_member", replace)
    patch.setattr(ClassicGroup, "validate_member", validate_member)


def does_not_write_down_who_took_a_place(patch: Patch) -> None:
    """After a failover the former self has its place back, and the present one is fenced."""

    def replace(self: Joins, group: ClassicGroup, instance_id: str, member_id: str, join: Any) -> None:
        original(self, group, instance_id, member_id, join)
        join.out.append.clear()

    original = Joins._replace_static_member
    patch.setattr(Joins, "_replace_static_member", replace)


# -- G2: whoever is out does not commit -------------------------------------------------------------------------


def forgets_the_generation_of_a_commit(patch: Patch) -> None:
    def validate(group: ClassicGroup, member_id: str, instance_id: str | None, generation_id: int) -> None:
        current = generation_id if generation_id < 0 else group.generation_id
        original(group, member_id, instance_id, current)

    original = ClassicGroup.validate_offset_commit
    patch.setattr(ClassicGroup, "validate_offset_commit", validate)


def forgets_who_commits(patch: Patch) -> None:
    def validate(self: OffsetRequests, _context: ClientContext, request: OffsetCommitRequest, _now: Now) -> None:
        group = self._rebalances.groups.get(request.group_id)
        generation_id = request.generation_id_or_member_epoch
        if group is not None and not group.is_empty and generation_id != group.generation_id:
            raise KafkaError(ErrorCode.ILLEGAL_GENERATION, "another generation")
        if group is not None and group.state is GroupState.COMPLETING_REBALANCE:
            raise KafkaError(ErrorCode.REBALANCE_IN_PROGRESS, "not assigned yet")

    patch.setattr(OffsetRequests, "_validate_commit", validate)


def takes_commits_of_bystanders(patch: Patch) -> None:
    def validate(self: OffsetRequests, context: ClientContext, request: OffsetCommitRequest, now: Now) -> None:
        if request.generation_id_or_member_epoch >= 0:
            original(self, context, request, now)

    original = OffsetRequests._validate_commit
    patch.setattr(OffsetRequests, "_validate_commit", validate)


# -- G3: what was committed is fetched --------------------------------------------------------------------------


def answers_before_it_is_committed(patch: Patch) -> None:
    patch.setattr(GroupSimulation, "must_hold", lambda self, request: False)


def tells_offsets_before_they_are_committed(patch: Patch) -> None:
    def must_hold(self: GroupSimulation, request: Waiting) -> bool:
        return request.kind != "fetch" and original(self, request)

    original = GroupSimulation.must_hold
    patch.setattr(GroupSimulation, "must_hold", must_hold)


def does_not_load_the_end_of_the_log(patch: Patch) -> None:
    patch.setattr(GroupSimulation, "loadable", lambda self: self.log[:-5])


def lets_offsets_expire_that_are_in_use(patch: Patch) -> None:
    def init_next_generation(self: ClassicGroup, now: Now) -> None:
        original(self, now)
        self.subscribed_topics = frozenset()

    original = ClassicGroup.init_next_generation
    patch.setattr(ClassicGroup, "init_next_generation", init_next_generation)


def drops_a_commit_that_it_has_taken(patch: Patch) -> None:
    def commit(self: OffsetRequests, context: ClientContext, request: OffsetCommitRequest, now: Now) -> Any:
        response, records = original(self, context, request, now)
        return response, records[:2]

    original = OffsetRequests.commit
    patch.setattr(OffsetRequests, "commit", commit)


# -- G4: the group comes to rest --------------------------------------------------------------------------------


def forgets_sessions(patch: Patch) -> None:
    patch.setattr(Rebalances, "on_session_expired", lambda *arguments: None)


def waits_for_ever_for_pending_members(patch: Patch) -> None:
    def on_session_expired(self: Rebalances, group_id: str, member_id: str, now: Now, out: GroupEffects) -> None:
        group = self.groups.get(group_id)
        if group is not None and member_id not in group.pending_join_members:
            original(self, group_id, member_id, now, out)

    original = Rebalances.on_session_expired
    patch.setattr(Rebalances, "on_session_expired", on_session_expired)


def lets_rebalances_take_their_time(patch: Patch) -> None:
    def on_join_timer(self: Rebalances, group_id: str, now: Now, out: GroupEffects) -> None:
        group = self.groups.get(group_id)
        if group is not None and group.previous_state is GroupState.EMPTY:
            original(self, group_id, now, out)

    original = Rebalances.on_join_timer
    patch.setattr(Rebalances, "on_join_timer", on_join_timer)


def waits_for_ever_for_the_assignment(patch: Patch) -> None:
    patch.setattr(Rebalances, "on_sync_timer", lambda *arguments: None)


def leaves_followers_without_an_answer(patch: Patch) -> None:
    def propagate(self: Rebalances, group: ClassicGroup, error: ErrorCode, now: Now, out: GroupEffects) -> None:
        if error is not ErrorCode.NONE:
            original(self, group, error, now, out)
            return
        for member in group.members.values():
            if not group.is_leader(member.member_id):
                parked, member.awaiting_sync = member.awaiting_sync, None
                original(self, group, error, now, out)
                member.awaiting_sync = parked

    original = Rebalances._propagate_assignments
    patch.setattr(Rebalances, "_propagate_assignments", propagate)


def calls_a_former_self_unknown(patch: Patch) -> None:
    """Two processes with one instance id throw each other out for ever, where the older has to stop."""

    def validate_member(self: ClassicGroup, member_id: str, group_instance_id: str | None) -> None:
        if member_id not in self.members:
            raise KafkaError(ErrorCode.UNKNOWN_MEMBER_ID, f"member {member_id} is not in the group")

    patch.setattr(ClassicGroup, "validate_member", validate_member)


# -- G6: nothing is skipped -------------------------------------------------------------------------------------


def inherits_the_offsets_of_a_deleted_topic(patch: Patch) -> None:
    patch.setattr(offset_requests, "is_mismatched_topic_id", lambda stored, requested: False)


def never_takes_a_position_back(patch: Patch) -> None:
    def put(self: OffsetTable, group_id: str, topic: str, partition: int, offset: OffsetAndMetadata) -> None:
        before = self.get(group_id, topic, partition)
        if before is None or before.topic_id != offset.topic_id or before.committed_offset < offset.committed_offset:
            original(self, group_id, topic, partition, offset)

    original = OffsetTable.put
    patch.setattr(OffsetTable, "put", put)


def keeps_the_offsets_of_a_deleted_group(patch: Patch) -> None:
    patch.setattr(OffsetRequests, "delete_all", lambda self, group_id: [])


CHANGES: list[tuple[Callable[[Patch], None], str]] = [
    (takes_commits_before_the_assignment, "G1"),
    (takes_the_assignment_of_an_earlier_generation, "G1"),
    (keeps_the_number_of_the_generation, "G1"),
    (counts_generations_anew_after_a_failover, "G1"),
    (lets_every_member_assign, "G1"),
    (lets_a_former_self_go_on, "G1"),
    (does_not_write_down_who_took_a_place, "G1"),
    (forgets_the_generation_of_a_commit, "G2"),
    (forgets_who_commits, "G2"),
    (takes_commits_of_bystanders, "G2"),
    (answers_before_it_is_committed, "G3"),
    (tells_offsets_before_they_are_committed, "G3"),
    (does_not_load_the_end_of_the_log, "G3"),
    (lets_offsets_expire_that_are_in_use, "G3"),
    (drops_a_commit_that_it_has_taken, "G3"),
    (forgets_sessions, "G4"),
    (waits_for_ever_for_pending_members, "G4"),
    (lets_rebalances_take_their_time, "G4"),
    (waits_for_ever_for_the_assignment, "G4"),
    (leaves_followers_without_an_answer, "G4"),
    (calls_a_former_self_unknown, "G4"),
    (inherits_the_offsets_of_a_deleted_topic, "G6"),
    (never_takes_a_position_back, "G6"),
    (keeps_the_offsets_of_a_deleted_group, "G6"),
]


@pytest.mark.parametrize(("change", "promise"), CHANGES, ids=[change.__name__ for change, _ in CHANGES])
def test_the_simulation_notices_a_coordinator_that(
    change: Callable[[Patch], None], promise: str, monkeypatch: Patch
) -> None:
    change(monkeypatch)
    # That replay gives the same state is a law of the machine: here the promises alone must notice.
    monkeypatch.setattr(GroupSimulation, "check_law", lambda self: None)
    noticed = []
    for seed in range(SEEDS):
        try:
            GroupSimulation(seed).play()
        except Violation as violation:
            noticed.append(str(violation))
            if noticed[-1].startswith(promise):
                return
    pytest.fail(f"{SEEDS} seeds did not notice that {promise} is broken, only: {noticed}")

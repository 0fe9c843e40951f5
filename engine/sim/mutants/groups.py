"""Changes of the coordinator of groups, and of what is given out but once."""

from __future__ import annotations

from typing import Any

from engine.sim.mutants.mutant import CRASHES, Mutant, Undo, all_of, replace


def _tells_uncommitted_offsets() -> Undo:
    from engine.broker.coordinator_runtime import CoordinatorRuntime

    before = CoordinatorRuntime._queue

    def queue(self: Any, partition: Any, effects: Any) -> None:
        before(self, partition, effects)
        for token, response in effects.reply:
            self._deliver(partition, token, response)

    return replace(CoordinatorRuntime, "_queue", queue)


def _loses_commits_at_takeover() -> Undo:
    from engine.broker.coordinator_runtime import CoordinatorRuntime

    return replace(CoordinatorRuntime, "_replay_chunk", lambda self, shard, chunk, offset: (offset, 0))


def _gives_everything_to_everybody() -> Undo:
    from engine.core.group.rebalance import Rebalances

    def become_stable(self: Any, group: Any, assignments: Any, now: Any, out: Any) -> None:
        longest = max(assignments.values(), key=len, default=b"")
        before(self, group, dict.fromkeys(assignments, longest), now, out)

    before = Rebalances.become_stable
    return replace(Rebalances, "become_stable", become_stable)


def _takes_commits_of_the_past() -> Undo:
    from engine.core.group.classic_group import ClassicGroup

    def validate(self: Any, member_id: str, group_instance_id: str | None, generation_id: int) -> None:
        before(self, member_id, group_instance_id, self.generation_id if generation_id >= 0 else generation_id)

    before = ClassicGroup.validate_offset_commit
    return replace(ClassicGroup, "validate_offset_commit", validate)


def _gives_what_others_have_not_given_up() -> Undo:
    from engine.core.group.consumer_group import ConsumerGroup
    from engine.core.group.reconciliation import NOT_OWNED

    return replace(ConsumerGroup, "owner_epoch", lambda self, topic_id, partition: NOT_OWNED)


def _takes_commits_of_any_epoch() -> Undo:
    from engine.core.group.consumer_group import ConsumerGroup

    return replace(ConsumerGroup, "validate_offset_commit", lambda self, *arguments, **named: None)


def _lets_member_epochs_go_back() -> Undo:
    """Now and then a member is taken back to the epoch that it came from."""
    from engine.core.group import consumer_groups

    def reconcile(member: Any, **arguments: Any) -> Any:
        counted[0] += 1
        after = before(member, **arguments)
        back = counted[0] % 10 == 0 and after.member_epoch > 2
        return after._replace(member_epoch=after.member_epoch - 2) if back else after

    counted = [0]
    before = vars(consumer_groups)["reconcile"]
    return replace(consumer_groups, "reconcile", reconcile)


def _waits_for_members_for_ever() -> Undo:
    from engine.core.group.rebalance import Rebalances

    undo_join = replace(Rebalances, "on_join_timer", lambda self, group_id, now, out: None)
    undo_session = replace(Rebalances, "on_session_expired", lambda self, group_id, member_id, now, out: None)
    return all_of(undo_join, undo_session)


def _resumes_behind_what_was_committed() -> Undo:
    """A committed offset that is told as the one after it: a record is skipped."""
    from engine.core.group.offset_requests import OffsetRequests

    def fetched(self: Any, *arguments: Any) -> Any:
        answer = before(self, *arguments)
        if answer.committed_offset >= 0:
            answer.committed_offset += 1
        return answer

    before = OffsetRequests._fetched
    return replace(OffsetRequests, "_fetched", fetched)


def _gives_producer_ids_again() -> Undo:
    from engine.core.controller.producer_id_control import ProducerIdControl

    def allocate(self: Any, step: Any, request: Any) -> Any:
        answer = before(self, step, request)
        step.records.clear()
        return answer

    before = ProducerIdControl.allocate
    return replace(ProducerIdControl, "allocate", allocate)


def _forgets_to_answer() -> Undo:
    from engine.broker.coordinator_runtime import CoordinatorRuntime

    counted = [0]
    before = CoordinatorRuntime._deliver

    def deliver(partition: Any, token: Any, response: Any) -> None:
        counted[0] += 1
        if counted[0] % 50:
            before(partition, token, response)

    return replace(CoordinatorRuntime, "_deliver", staticmethod(deliver))


MUTANTS = (
    Mutant("gives everything to everybody", ("G1",), _gives_everything_to_everybody, CRASHES),
    Mutant("takes commits of the past", ("G2",), _takes_commits_of_the_past, CRASHES),
    Mutant("gives what others have not given up", ("G1",), _gives_what_others_have_not_given_up, CRASHES),
    Mutant("takes commits of any epoch", ("G2",), _takes_commits_of_any_epoch, CRASHES),
    Mutant("lets member epochs go back", ("G5",), _lets_member_epochs_go_back, CRASHES),
    Mutant("tells offsets that are not committed", ("G3",), _tells_uncommitted_offsets, CRASHES),
    Mutant("loses commits at a takeover", ("G3",), _loses_commits_at_takeover, CRASHES),
    Mutant("waits for members for ever", ("G4",), _waits_for_members_for_ever, CRASHES),
    Mutant("resumes behind what was committed", ("G6",), _resumes_behind_what_was_committed, CRASHES),
    Mutant("gives producer ids again", ("T8",), _gives_producer_ids_again, CRASHES),
    Mutant("forgets to answer", ("V2",), _forgets_to_answer, CRASHES),
)

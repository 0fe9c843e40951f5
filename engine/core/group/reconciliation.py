"""Bringing a member from what it has to what it shall have, one heartbeat at a time (Kafka: CurrentAssignmentBuilder).

First a member gives up what it shall not have, in the epoch that it is in; only when it says that it did, the
coordinator lets it into the target's epoch and gives it what nobody else may still own. So a partition has one owner at
any time (promises G1, G5).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from engine.core.group.consumer_member import (
    OWNS_NOTHING,
    ConsumerMember,
    MemberState,
    OwnedPartitions,
    Partitions,
)
from engine.model.errors import ErrorCode, KafkaError
from engine.model.ids import Uuid

NOT_OWNED = -1


def reconcile(
    member: ConsumerMember,
    *,
    target_epoch: int,
    target: Partitions,
    subscribed: Collection[Uuid],
    subscription_changed: bool,
    owner_epoch: Callable[[Uuid, int], int],
    reported: Partitions | None,
) -> ConsumerMember:
    """The member's next state; the member itself where nothing can go on.

    ``subscribed`` are the ids of topics that it is subscribed to now (and so may get), ``owner_epoch`` gives the member
    epoch of a partition's owner or :data:`NOT_OWNED`, ``reported`` is what the member says that it owns, None if it
    said nothing.

    Raises:
        KafkaError: FENCED_MEMBER_EPOCH for a state that a later version wrote, unless the member owns nothing.
    """
    step = _Step(member, target_epoch, target, subscribed, owner_epoch, reported)
    match member.state:
        case MemberState.STABLE if member.member_epoch != target_epoch:
            return step.next_assignment(member.member_epoch)
        case MemberState.UNREVOKED_PARTITIONS if not step.still_owns(member.pending_revocation):
            return step.next_assignment(member.member_epoch)
        case MemberState.STABLE | MemberState.UNREVOKED_PARTITIONS:
            return step.without_unsubscribed() if subscription_changed else member
        case MemberState.UNRELEASED_PARTITIONS:
            return step.next_assignment(member.member_epoch)
        case _:
            if reported is None or reported:
                raise KafkaError(
                    ErrorCode.FENCED_MEMBER_EPOCH,
                    "The consumer group member is in a unknown state. The member must abandon all its partitions and "
                    "rejoin.",
                )
            return step.next_assignment(target_epoch)


class _Step:
    __slots__ = ("member", "owner_epoch", "reported", "subscribed", "target", "target_epoch")

    def __init__(
        self,
        member: ConsumerMember,
        target_epoch: int,
        target: Partitions,
        subscribed: Collection[Uuid],
        owner_epoch: Callable[[Uuid, int], int],
        reported: Partitions | None,
    ) -> None:
        self.member = member
        self.target_epoch = target_epoch
        self.target = target
        self.subscribed = subscribed
        self.owner_epoch = owner_epoch
        self.reported = reported

    def still_owns(self, revoked: OwnedPartitions) -> bool:
        """Whether the member has not said that it gave all of these up; saying nothing is not saying it."""
        if self.reported is None:
            return True
        return any(
            not numbers.isdisjoint(revoked[topic_id])
            for topic_id, numbers in self.reported.items()
            if topic_id in revoked
        )

    def without_unsubscribed(self) -> ConsumerMember:
        """Revoke topics that the member has just unsubscribed from, before there is a new target."""
        member = self.member
        assigned: dict[Uuid, Mapping[int, int]] = {}
        pending: dict[Uuid, Mapping[int, int]] = dict(member.pending_revocation)
        for topic_id, epochs in member.assigned.items():
            if topic_id in self.subscribed:
                assigned[topic_id] = epochs
            else:
                pending[topic_id] = {**pending.get(topic_id, {}), **epochs}
        if len(assigned) == len(member.assigned):
            return member
        if self.still_owns(pending):
            return member.with_epoch(member.member_epoch)._replace(
                state=MemberState.UNREVOKED_PARTITIONS, assigned=assigned, pending_revocation=pending
            )
        return member.with_epoch(member.member_epoch)._replace(assigned=assigned)

    def next_assignment(self, member_epoch: int) -> ConsumerMember:
        member = self.member
        assigned: dict[Uuid, Mapping[int, int]] = {}
        revoked: dict[Uuid, Mapping[int, int]] = {}
        added: dict[Uuid, list[int]] = {}
        unreleased = False
        for topic_id in sorted({*self.target, *member.assigned}):
            current = member.assigned.get(topic_id, {})
            wanted = self.target.get(topic_id, frozenset()) if topic_id in self.subscribed else frozenset()
            kept = {number: epoch for number, epoch in current.items() if number in wanted}
            gone = {number: epoch for number, epoch in current.items() if number not in wanted}
            free = [number for number in sorted(wanted) if number not in kept and self._is_free(topic_id, number)]
            unreleased = unreleased or len(kept) + len(free) < len(wanted)
            if kept:
                assigned[topic_id] = kept
            if gone:
                revoked[topic_id] = gone
            if free:
                added[topic_id] = free
        if revoked and self.still_owns(revoked):
            return member.with_epoch(member_epoch)._replace(
                state=MemberState.UNREVOKED_PARTITIONS, assigned=assigned, pending_revocation=revoked
            )
        for topic_id, numbers in added.items():
            assigned[topic_id] = {**assigned.get(topic_id, {}), **dict.fromkeys(numbers, self.target_epoch)}
        return member.with_epoch(self.target_epoch)._replace(
            state=MemberState.UNRELEASED_PARTITIONS if unreleased else MemberState.STABLE,
            assigned=assigned,
            pending_revocation=OWNS_NOTHING,
        )

    def _is_free(self, topic_id: Uuid, number: int) -> bool:
        # What the member itself is giving up counts as free: it just said that it does not own it any more.
        return self.owner_epoch(topic_id, number) == NOT_OWNED or number in self.member.pending_revocation.get(
            topic_id, {}
        )

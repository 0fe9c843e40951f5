"""A share group and its members (Kafka: ShareGroup, ShareGroupMember, KIP-932). No timers, no replies.

Members share partitions: several may have the same one, and nobody has to give up anything before somebody else gets
it, so that a member is always where its target is. What a group reads must first be known to the share coordinator:
partitions are initializing until it has said so, then initialized, and only those are assigned. Only records change a
group: see :mod:`engine.core.group.share_records`.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple

from engine.core.group.consumer_group import INITIAL_EPOCH
from engine.core.group.consumer_member import NO_PARTITIONS, Partitions
from engine.model.errors import ErrorCode, KafkaError
from engine.model.ids import Uuid
from engine.model.notes import Detail


class ShareGroupState(StrEnum):
    """Named as ListGroups and ShareGroupDescribe name them."""

    EMPTY = "Empty"
    STABLE = "Stable"


class ShareMember(NamedTuple):
    """One member."""

    member_id: str
    member_epoch: int = 0
    previous_member_epoch: int = -1
    rack_id: str | None = None
    client_id: str = ""
    client_host: str = ""
    subscribed_topics: frozenset[str] = frozenset()
    assigned: Partitions = NO_PARTITIONS


class StateTopic(NamedTuple):
    """Partitions of a topic whose state the share coordinator has, or shall have."""

    name: str
    partitions: frozenset[int]


StateTopics = Mapping[Uuid, StateTopic]
"""By topic id. Never changed."""


class ShareGroup:
    """State of one group. Members are kept in the order in which they joined."""

    __slots__ = (
        "assignment_epoch",
        "assignment_timestamp_ms",
        "deleting",
        "group_epoch",
        "group_id",
        "initialized",
        "initializing",
        "members",
        "metadata_hash",
        "targets",
    )

    def __init__(self, group_id: str) -> None:
        self.group_id = group_id
        self.group_epoch = INITIAL_EPOCH
        self.metadata_hash = 0
        self.assignment_epoch = INITIAL_EPOCH
        # Wall clock; 0 before the first assignment.
        self.assignment_timestamp_ms = 0
        self.members: dict[str, ShareMember] = {}
        self.targets: dict[str, Partitions] = {}
        self.initializing: StateTopics = {}
        self.initialized: StateTopics = {}
        # Names of topics whose state is being deleted, by id.
        self.deleting: Mapping[Uuid, str] = {}

    @property
    def state(self) -> ShareGroupState:
        return ShareGroupState.STABLE if self.members else ShareGroupState.EMPTY

    @property
    def is_empty(self) -> bool:
        return not self.members

    def detail(self) -> Detail:
        """What notes tell of the group."""
        return {"group_epoch": self.group_epoch, "members": len(self.members)}

    def member(self, member_id: str) -> ShareMember:
        """Raises: KafkaError: UNKNOWN_MEMBER_ID."""
        found = self.members.get(member_id)
        if found is None:
            raise KafkaError(
                ErrorCode.UNKNOWN_MEMBER_ID, f"Member {member_id} is not a member of group {self.group_id}."
            )
        return found

    def subscribed_topics(self) -> set[str]:
        """Names of all topics that some member subscribes to."""
        return {name for member in self.members.values() for name in member.subscribed_topics}

    def assigned_anywhere(self) -> dict[Uuid, set[int]]:
        """Partitions that are in some target."""
        found: dict[Uuid, set[int]] = {}
        for target in self.targets.values():
            for topic_id, numbers in target.items():
                found.setdefault(topic_id, set()).update(numbers)
        return found

    def validate_delete(self) -> None:
        """Raises: KafkaError: NON_EMPTY_GROUP unless the group is empty."""
        if self.members:
            raise KafkaError(ErrorCode.NON_EMPTY_GROUP, f"Group {self.group_id} is not empty.")

    def durable_state(self) -> Mapping[str, object]:
        """What records say of the group, in a form that compares."""
        return {
            "epochs": (self.group_epoch, self.assignment_epoch, self.assignment_timestamp_ms, self.metadata_hash),
            "members": dict(sorted(self.members.items())),
            "targets": dict(sorted(self.targets.items())),
            "state": (
                dict(sorted(self.initializing.items())),
                dict(sorted(self.initialized.items())),
                dict(sorted(self.deleting.items())),
            ),
        }

    def __repr__(self) -> str:
        return f"ShareGroup({self.group_id!r}, {self.state}, group_epoch={self.group_epoch})"

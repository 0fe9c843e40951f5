"""A classic group: members, generation, state (Kafka: ClassicGroup). No timers, no records, no replies."""

from __future__ import annotations

from collections.abc import Iterable

from engine.core.group.consumer_protocol import PROTOCOL_TYPE, subscribed_topics
from engine.core.group.context import Now
from engine.core.group.member import GroupMember, Protocols
from engine.core.group.states import LEGAL_PREDECESSORS, GroupState
from engine.model.errors import ErrorCode, KafkaError


class ClassicGroup:
    """State of one group.

    Members are kept in the order in which they joined, so that a new leader and the leader's list of members are the
    same in every run. ``protocol_type`` is None for a group that has never had members (a *simple* group, which only
    commits offsets).
    """

    __slots__ = (
        "current_state_timestamp_ms",
        "generation_id",
        "group_id",
        "initial_rebalance_remaining_ms",
        "leader_id",
        "members",
        "new_member_added",
        "num_members_awaiting_join",
        "pending_join_members",
        "pending_sync_members",
        "previous_state",
        "protocol_name",
        "protocol_type",
        "rebalance_reason",
        "state",
        "static_members",
        "subscribed_topics",
        "supported_protocols",
    )

    def __init__(self, group_id: str, state: GroupState, current_state_timestamp_ms: int | None) -> None:
        self.group_id = group_id
        self.state = state
        self.previous_state = GroupState.DEAD
        self.current_state_timestamp_ms = current_state_timestamp_ms
        self.protocol_type: str | None = None
        self.protocol_name: str | None = None
        self.generation_id = 0
        self.leader_id: str | None = None
        self.members: dict[str, GroupMember] = {}
        self.static_members: dict[str, str] = {}
        # Member ids that were handed out (MEMBER_ID_REQUIRED, KIP-394) and have not come back with a JoinGroup yet.
        # Dictionaries used as ordered sets.
        self.pending_join_members: dict[str, None] = {}
        self.pending_sync_members: dict[str, None] = {}
        self.num_members_awaiting_join = 0
        self.supported_protocols: dict[str, int] = {}
        # None: unknown, so that every topic counts as subscribed in a consumer group.
        self.subscribed_topics: frozenset[str] | None = None
        self.new_member_added = False
        self.initial_rebalance_remaining_ms = 0
        self.rebalance_reason = ""

    # -- questions ----------------------------------------------------------------------------------------------

    @property
    def is_empty(self) -> bool:
        return self.state is GroupState.EMPTY

    @property
    def uses_consumer_protocol(self) -> bool:
        """The members are consumers (and not, say, Connect workers)."""
        return self.protocol_type == PROTOCOL_TYPE

    def is_leader(self, member_id: str) -> bool:
        return self.leader_id == member_id

    @property
    def can_rebalance(self) -> bool:
        return self.state in LEGAL_PREDECESSORS[GroupState.PREPARING_REBALANCE]

    @property
    def has_all_members_joined(self) -> bool:
        """Everyone who is known, pending member ids included, waits in a JoinGroup."""
        return len(self.members) == self.num_members_awaiting_join and not self.pending_join_members

    @property
    def rebalance_timeout_ms(self) -> int:
        """The longest rebalance timeout of the members (KIP-62)."""
        return max((member.rebalance_timeout_ms for member in self.members.values()), default=0)

    def supports_protocols(self, protocol_type: str, names: Iterable[str]) -> bool:
        """Whether a member with these protocols may join: one of them must be supported by everyone else."""
        names = list(names)
        if self.is_empty:
            return protocol_type != "" and bool(names)
        if self.protocol_type != protocol_type:
            return False
        return any(self.supported_protocols.get(name, 0) == len(self.members) for name in names)

    def is_subscribed_to(self, topic: str) -> bool:
        """Whether offsets of the topic are in use; unknown subscriptions of a consumer group count as yes."""
        if self.subscribed_topics is None:
            return self.uses_consumer_protocol
        return topic in self.subscribed_topics

    # -- checks -------------------------------------------------------------------------------------------------

    def validate_member(self, member_id: str, group_instance_id: str | None) -> None:
        """Check a request of a member.

        Raises:
            KafkaError: UNKNOWN_MEMBER_ID, or FENCED_INSTANCE_ID when another member holds the instance id (KIP-345).
        """
        if group_instance_id is not None:
            holder = self.static_members.get(group_instance_id)
            if holder is None:
                raise KafkaError(ErrorCode.UNKNOWN_MEMBER_ID, f"instance {group_instance_id} is not in the group")
            if holder != member_id:
                raise KafkaError(
                    ErrorCode.FENCED_INSTANCE_ID, f"instance {group_instance_id} is held by member {holder}"
                )
        if member_id not in self.members:
            raise KafkaError(ErrorCode.UNKNOWN_MEMBER_ID, f"member {member_id} is not in the group")

    def validate_offset_commit(
        self, member_id: str, group_instance_id: str | None, generation_id: int, *, is_transactional: bool = False
    ) -> None:
        """Check who commits (promises G1, G2).

        A transactional commit may name no member, for producers before KIP-447 do not know theirs: they are fenced by
        their transactional id. It may also come while the group waits for its leader's assignment.

        Raises:
            KafkaError: UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID, ILLEGAL_GENERATION or REBALANCE_IN_PROGRESS.
        """
        if generation_id < 0 and self.is_empty:
            return  # the admin client, or a consumer that assigns partitions to itself
        if generation_id >= 0 or member_id or group_instance_id is not None:
            self.validate_member(member_id, group_instance_id)
            if generation_id != self.generation_id:
                raise KafkaError(
                    ErrorCode.ILLEGAL_GENERATION, f"generation {generation_id} is not {self.generation_id}"
                )
        elif not is_transactional:
            raise KafkaError(ErrorCode.UNKNOWN_MEMBER_ID, "the group has members and the commit names none")
        if self.state is GroupState.COMPLETING_REBALANCE and not is_transactional:
            # The member knows the new generation but not its assignment: it must not commit for what it may have lost.
            raise KafkaError(ErrorCode.REBALANCE_IN_PROGRESS, "the group waits for its leader's assignment")

    def validate_delete(self) -> None:
        """Raises: KafkaError: NON_EMPTY_GROUP unless the group is empty."""
        if not self.is_empty:
            raise KafkaError(ErrorCode.NON_EMPTY_GROUP, f"group {self.group_id} is {self.state}")

    def validate_offset_delete(self) -> None:
        """Offsets of a group with members can be deleted only where subscriptions are known (KIP-496).

        Raises:
            KafkaError: NON_EMPTY_GROUP.
        """
        if not self.is_empty and not self.uses_consumer_protocol:
            raise KafkaError(ErrorCode.NON_EMPTY_GROUP, f"group {self.group_id} is {self.state}")

    # -- members ------------------------------------------------------------------------------------------------

    def add(self, member: GroupMember, awaiting_join: object | None = None) -> None:
        """Take a member in; the first one becomes the leader and gives the group its protocol type."""
        member_id = member.member_id
        assert member_id not in self.members, f"{member_id} is already in group {self.group_id}"
        if member.group_instance_id is not None:
            assert member.group_instance_id not in self.static_members, (
                f"instance {member.group_instance_id} is already in group {self.group_id}"
            )
            self.static_members[member.group_instance_id] = member_id
        if not self.members:
            self.protocol_type = member.protocol_type
        assert self.protocol_type == member.protocol_type, f"protocol types differ in group {self.group_id}"
        if self.leader_id is None:
            self.leader_id = member_id
        self.members[member_id] = member
        self._count_protocols(member, 1)
        member.awaiting_join = awaiting_join
        if awaiting_join is not None:
            self.num_members_awaiting_join += 1
        self.pending_join_members.pop(member_id, None)

    def remove(self, member_id: str) -> None:
        """Let a member (or a pending member id) go; the longest-standing member inherits the lead."""
        member = self.members.pop(member_id, None)
        if member is not None:
            self._count_protocols(member, -1)
            if member.awaiting_join is not None:
                self.num_members_awaiting_join -= 1
            if member.group_instance_id is not None:
                del self.static_members[member.group_instance_id]
        if self.leader_id == member_id:
            self.leader_id = next(iter(self.members), None)
        self.pending_join_members.pop(member_id, None)
        self.pending_sync_members.pop(member_id, None)

    def replace_static_member(self, group_instance_id: str, new_member_id: str) -> GroupMember:
        """Give a static member's place to a new member id; the caller has answered the old one's parked requests."""
        old_member_id = self.static_members[group_instance_id]
        old = self.members.pop(old_member_id)
        assert old.awaiting_join is None and old.awaiting_sync is None, f"{old_member_id} still waits for an answer"
        new = GroupMember(
            new_member_id,
            old.group_instance_id,
            old.client_id,
            old.client_host,
            old.rebalance_timeout_ms,
            old.session_timeout_ms,
            old.protocol_type,
            old.protocols,
            old.assignment,
        )
        self.members[new_member_id] = new
        self.static_members[group_instance_id] = new_member_id
        if self.leader_id == old_member_id:
            self.leader_id = new_member_id
        if old_member_id in self.pending_sync_members:
            del self.pending_sync_members[old_member_id]
            self.pending_sync_members[new_member_id] = None
        return new

    def update_member(
        self,
        member: GroupMember,
        protocols: Protocols,
        rebalance_timeout_ms: int,
        session_timeout_ms: int,
        awaiting_join: object,
    ) -> None:
        """Take over what a rejoining member says of itself and park its request."""
        assert member.awaiting_join is None, f"{member.member_id} already waits in a JoinGroup"
        self._count_protocols(member, -1)
        member.protocols = protocols
        self._count_protocols(member, 1)
        member.rebalance_timeout_ms = rebalance_timeout_ms
        member.session_timeout_ms = session_timeout_ms
        member.awaiting_join = awaiting_join
        self.num_members_awaiting_join += 1

    def take_awaiting_join(self, member: GroupMember) -> object | None:
        """The token of the member's parked JoinGroup, which is now the caller's to answer; None if there is none."""
        token = member.awaiting_join
        if token is not None:
            member.awaiting_join = None
            self.num_members_awaiting_join -= 1
        return token

    # -- generations --------------------------------------------------------------------------------------------

    def transition_to(self, state: GroupState, now: Now) -> None:
        """Enter a state; an illegal predecessor is a bug."""
        assert self.state in LEGAL_PREDECESSORS[state], f"group {self.group_id}: {self.state} -> {state}"
        self.previous_state = self.state
        self.state = state
        self.current_state_timestamp_ms = now.wall_ms

    def maybe_elect_new_joined_leader(self) -> bool:
        """Make sure that the leader is a member that rejoined; False if nobody did."""
        if self.leader_id is None:
            return False
        leader = self.members.get(self.leader_id)
        if leader is not None and leader.awaiting_join is not None:
            return True
        for member in self.members.values():
            if member.awaiting_join is not None:
                self.leader_id = member.member_id
                return True
        return False

    def init_next_generation(self, now: Now) -> None:
        """Start the next generation: CompletingRebalance with members, Empty without."""
        self.generation_id += 1
        self.protocol_name = self.select_protocol() if self.members else None
        self.compute_subscribed_topics()
        self.transition_to(GroupState.COMPLETING_REBALANCE if self.members else GroupState.EMPTY, now)
        self.pending_sync_members.clear()

    def select_protocol(self) -> str:
        """The protocol that all support and most prefer; at a tie the one that an older member prefers."""
        candidates = {name for name, count in self.supported_protocols.items() if count == len(self.members)}
        votes: dict[str, int] = {}
        for member in self.members.values():
            choice = member.vote(candidates)
            votes[choice] = votes.get(choice, 0) + 1
        return max(votes, key=votes.__getitem__)

    def compute_subscribed_topics(self) -> None:
        """Read the topics out of the members' metadata."""
        if not self.uses_consumer_protocol:
            self.subscribed_topics = None
            return
        if not self.members:
            self.subscribed_topics = frozenset()
            return
        self.subscribed_topics = None
        if self.protocol_name is None:
            return
        topics: set[str] = set()
        for member in self.members.values():
            of_member = subscribed_topics(member.metadata(self.protocol_name))
            if of_member is None:
                return
            topics |= of_member
        self.subscribed_topics = frozenset(topics)

    def _count_protocols(self, member: GroupMember, step: int) -> None:
        for name, _ in member.protocols:
            count = self.supported_protocols.get(name, 0) + step
            if count:
                self.supported_protocols[name] = count
            else:
                self.supported_protocols.pop(name, None)

    def __repr__(self) -> str:
        return f"ClassicGroup({self.group_id!r}, {self.state}, generation_id={self.generation_id})"

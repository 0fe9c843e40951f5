"""One member of a classic group (Kafka: ClassicGroupMember, KIP-345 for static members)."""

from __future__ import annotations

from collections.abc import Collection
from typing import TypeAlias

Protocols: TypeAlias = tuple[tuple[str, bytes], ...]
"""Supported protocols with their metadata, in the member's order of preference; names are unique."""

NO_ASSIGNMENT = b""


class GroupMember:
    """What the coordinator knows of a member. Timeouts in milliseconds.

    ``awaiting_join`` and ``awaiting_sync`` hold the token of a parked request, or None. ``is_new`` is true until the
    member has had its first JoinGroup answer: until then it has no session, and its parked request may expire.
    """

    __slots__ = (
        "assignment",
        "awaiting_join",
        "awaiting_sync",
        "client_host",
        "client_id",
        "group_instance_id",
        "is_new",
        "member_id",
        "protocol_type",
        "protocols",
        "rebalance_timeout_ms",
        "session_timeout_ms",
    )

    def __init__(
        self,
        member_id: str,
        group_instance_id: str | None,
        client_id: str,
        client_host: str,
        rebalance_timeout_ms: int,
        session_timeout_ms: int,
        protocol_type: str,
        protocols: Protocols,
        assignment: bytes = NO_ASSIGNMENT,
    ) -> None:
        self.member_id = member_id
        self.group_instance_id = group_instance_id
        self.client_id = client_id
        self.client_host = client_host
        self.rebalance_timeout_ms = rebalance_timeout_ms
        self.session_timeout_ms = session_timeout_ms
        self.protocol_type = protocol_type
        self.protocols = protocols
        self.assignment = assignment
        self.awaiting_join: object | None = None
        self.awaiting_sync: object | None = None
        self.is_new = False

    @property
    def is_static(self) -> bool:
        """Has a ``group.instance.id``: its place outlives a restart of the client."""
        return self.group_instance_id is not None

    def metadata(self, protocol_name: str) -> bytes:
        """The member's metadata for a protocol that it supports."""
        for name, metadata in self.protocols:
            if name == protocol_name:
                return metadata
        raise AssertionError(f"member {self.member_id} does not support protocol {protocol_name}")

    def vote(self, candidates: Collection[str]) -> str:
        """The candidate that the member likes best."""
        for name, _ in self.protocols:
            if name in candidates:
                return name
        raise AssertionError(f"member {self.member_id} supports none of {sorted(candidates)}")

    def has_satisfied_heartbeat(self) -> bool:
        """A member whose request is parked here is alive, unless it is new (see the class)."""
        return not self.is_new and (self.awaiting_join is not None or self.awaiting_sync is not None)

    def __repr__(self) -> str:
        instance = f", group_instance_id={self.group_instance_id!r}" if self.group_instance_id is not None else ""
        return f"GroupMember({self.member_id!r}{instance})"

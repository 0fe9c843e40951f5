"""What DescribeGroups and ListGroups say of groups."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

from engine.core.group.classic_group import ClassicGroup
from engine.core.group.consumer_group import ConsumerGroup
from engine.core.group.consumer_protocol import PROTOCOL_TYPE
from engine.core.group.share_group import ShareGroup
from engine.core.group.states import GroupState
from engine.core.group.streams_group import StreamsGroup
from engine.model.errors import ErrorCode
from engine.wire.messages.describe_groups_response import DescribedGroup, DescribedGroupMember
from engine.wire.messages.list_groups_response import ListedGroup

AnyGroup: TypeAlias = ClassicGroup | ConsumerGroup | ShareGroup | StreamsGroup

# Kafka's tools write them with a capital; on the wire they are in lower case (GroupType).
_CLASSIC = "classic"
_CONSUMER = "consumer"
_SHARE = "share"
_STREAMS = "streams"
_FIRST_DESCRIBE_VERSION_WITH_NOT_FOUND = 6


def described(group: ClassicGroup | None, group_id: str, api_version: int) -> DescribedGroup:
    """One group of a DescribeGroups response (versions 0-6).

    A group that is not there is Dead; version 6 says GROUP_ID_NOT_FOUND besides (KIP-1043). Metadata of members is told
    only while the group is Stable, as Kafka does.
    """
    if group is None:
        answer = DescribedGroup(group_id=group_id, group_state=str(GroupState.DEAD))
        if api_version >= _FIRST_DESCRIBE_VERSION_WITH_NOT_FOUND:
            answer.error_code = int(ErrorCode.GROUP_ID_NOT_FOUND)
            answer.error_message = f"Group {group_id} not found."
        return answer
    protocol = group.protocol_name if group.state is GroupState.STABLE else None
    return DescribedGroup(
        group_id=group_id,
        group_state=str(group.state),
        protocol_type=group.protocol_type or "",
        protocol_data=protocol or "",
        members=[
            DescribedGroupMember(
                member_id=member.member_id,
                group_instance_id=member.group_instance_id,
                client_id=member.client_id,
                client_host=member.client_host,
                member_metadata=b"" if protocol is None else member.metadata(protocol),
                member_assignment=member.assignment,
            )
            for member in group.members.values()
        ],
    )


def listed(groups: Iterable[AnyGroup], states_filter: list[str], types_filter: list[str]) -> list[ListedGroup]:
    """Groups of a ListGroups response (versions 0-5), by id."""
    states = {state.lower() for state in states_filter}
    types = {kind.lower() for kind in types_filter}
    return [
        ListedGroup(
            group_id=group.group_id,
            protocol_type=_protocol_type_of(group),
            group_state=str(group.state),
            group_type=_type_of(group),
        )
        for group in sorted(groups, key=lambda each: each.group_id)
        if (not states or group.state.lower() in states) and (not types or _type_of(group) in types)
    ]


def _protocol_type_of(group: AnyGroup) -> str:
    if isinstance(group, ClassicGroup):
        return group.protocol_type or ""
    return PROTOCOL_TYPE if isinstance(group, ConsumerGroup) else _type_of(group)


def _type_of(group: AnyGroup) -> str:
    if isinstance(group, ShareGroup):
        return _SHARE
    if isinstance(group, StreamsGroup):
        return _STREAMS
    return _CONSUMER if isinstance(group, ConsumerGroup) else _CLASSIC

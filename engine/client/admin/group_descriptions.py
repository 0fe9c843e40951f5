"""What a coordinator says of its groups: classic, consumer (KIP-848), share (KIP-932) and streams groups (KIP-1071)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from engine.client.admin.base import AdminBase
from engine.client.admin.classic_streams import PROTOCOL_NAME, host_and_port, read_member
from engine.client.admin.outcome import Failure, refusal
from engine.client.errors import ClientError, UnsupportedApi
from engine.model.errors import ErrorCode, KafkaError
from engine.wire import codec
from engine.wire.message import Message
from engine.wire.messages import (
    consumer_group_describe_response,
    describe_groups_response,
    share_group_describe_response,
    streams_group_describe_response,
)
from engine.wire.messages.consumer_group_describe_request import ConsumerGroupDescribeRequest
from engine.wire.messages.consumer_protocol_assignment import ConsumerProtocolAssignment
from engine.wire.messages.describe_groups_request import DescribeGroupsRequest
from engine.wire.messages.share_group_describe_request import ShareGroupDescribeRequest
from engine.wire.messages.streams_group_describe_request import StreamsGroupDescribeRequest

_MEMBER_PROTOCOLS = {0: "classic", 1: "consumer"}


class StreamsTasks(NamedTuple):
    """Tasks of a member of a streams group: by kind, the partitions of each subtopology."""

    active: dict[str, tuple[int, ...]]
    standby: dict[str, tuple[int, ...]]
    warmup: dict[str, tuple[int, ...]]


class Subtopology(NamedTuple):
    """A part of a streams application whose tasks are alike. Names of topics, each tuple sorted."""

    subtopology_id: str
    source_topics: tuple[str, ...]
    repartition_source_topics: tuple[str, ...]
    repartition_sink_topics: tuple[str, ...]
    changelog_topics: tuple[str, ...]


class StreamsTopology(NamedTuple):
    """``subtopologies`` is ``None`` while the group is not ready: source topics are missing, or partitioned in ways
    that do not fit."""

    epoch: int
    subtopologies: tuple[Subtopology, ...] | None


class MemberDescription(NamedTuple):
    """A member. ``assignment`` is ``None`` for a protocol whose bytes are not Kafka's consumer protocol, and for a
    streams group, which has ``tasks``.

    The rest is not told of classic groups (but ``tasks``, ``process_id`` and ``user_endpoint`` of applications of
    ``engine.streams``): ``target`` (``target_tasks``) is what the member shall have, ``protocol``
    the one that it speaks, empty where the broker does not tell. Share groups have no target of their own.
    ``user_endpoint`` is where a member of a streams group answers questions (``application.server``, ``host:port``).
    """

    member_id: str
    instance_id: str | None
    client_id: str
    host: str
    assignment: dict[str, tuple[int, ...]] | None
    member_epoch: int | None = None
    target: dict[str, tuple[int, ...]] | None = None
    protocol: str = ""
    tasks: StreamsTasks | None = None
    target_tasks: StreamsTasks | None = None
    process_id: str = ""
    user_endpoint: str = ""


class GroupDescription(NamedTuple):
    """A group with its members."""

    group_id: str
    state: str
    group_type: str
    protocol_type: str
    protocol: str
    coordinator: int
    members: tuple[MemberDescription, ...]
    group_epoch: int | None = None
    assignment_epoch: int | None = None
    topology: StreamsTopology | None = None

    @property
    def is_streams(self) -> bool:
        """Whether it is an application over streams, under either protocol."""
        return self.group_type == "streams" or self.protocol == PROTOCOL_NAME


class GroupDescriptions(AdminBase):
    """Each type of group has a request of its own; a broker that lacks one has no groups of that type to describe."""

    async def describe_groups_of(
        self, broker_id: int, types: Mapping[str, str], *, timeout_ms: float | None = None
    ) -> dict[str, GroupDescription | Failure]:
        """Describe groups (id to type) by one broker, their coordinator. Those of type ``""`` are asked for as a
        classic group first and, where there is none, as one of each other type."""
        by_type: dict[str, list[str]] = {}
        for group_id, kind in types.items():
            by_type.setdefault(kind or "classic", []).append(group_id)
        outcomes: dict[str, GroupDescription | Failure] = {
            group_id: UnsupportedApi(f"groups of type {kind} are not known here")
            for kind, group_ids in by_type.items()
            if kind not in _PROTOCOLS
            for group_id in group_ids
        }
        for group_type in _PROTOCOLS:
            sought = [each for each, kind in types.items() if not kind and _is_not_there(outcomes.get(each))]
            wanted = [*by_type.get(group_type, ()), *sought]
            if wanted:
                answers = await self._describe_as(group_type, broker_id, wanted, timeout_ms)
                # Of one that no type knows stays what was said of it first.
                outcomes.update(
                    (each, answer)
                    for each, answer in answers.items()
                    if each not in sought or isinstance(answer, GroupDescription)
                )
        return outcomes

    async def _describe_as(
        self, group_type: str, broker_id: int, group_ids: list[str], timeout_ms: float | None
    ) -> dict[str, GroupDescription | Failure]:
        request, read = _PROTOCOLS[group_type]
        try:
            response = await self.brokers.send(broker_id, request(group_ids), timeout_ms=timeout_ms)
        except ClientError as error:
            return dict.fromkeys(group_ids, error)
        found: dict[str, GroupDescription | Failure] = {
            group.group_id: refusal(group.error_code, group.error_message) or read(group, broker_id)
            for group in response.groups
        }
        return {
            each: found.get(each) or KafkaError(ErrorCode.GROUP_ID_NOT_FOUND, f"group {each} was not answered")
            for each in group_ids
        }


def _is_not_there(outcome: object) -> bool:
    return isinstance(outcome, KafkaError) and outcome.code is ErrorCode.GROUP_ID_NOT_FOUND


def _classic(group: describe_groups_response.DescribedGroup, broker_id: int) -> GroupDescription | KafkaError:
    if group.group_state == "Dead":
        # Before version 6 an unknown group is described as dead.
        return KafkaError(ErrorCode.GROUP_ID_NOT_FOUND, f"group {group.group_id} does not exist")
    return GroupDescription(
        group.group_id,
        group.group_state,
        "classic",
        group.protocol_type,
        group.protocol_data,
        broker_id,
        tuple(_classic_member(each, group) for each in _by_id(group.members)),
        topology=_classic_topology(group),
    )


def _classic_topology(group: describe_groups_response.DescribedGroup) -> StreamsTopology | None:
    """As the first member tells it: all have the same."""
    if group.protocol_data != PROTOCOL_NAME or not group.members:
        return None
    parts = read_member(bytes(group.members[0].member_metadata), b"").parts
    return StreamsTopology(0, tuple(Subtopology(*each) for each in sorted(parts)))


def _classic_member(
    member: describe_groups_response.DescribedGroupMember, group: describe_groups_response.DescribedGroup
) -> MemberDescription:
    described = MemberDescription(
        member.member_id,
        member.group_instance_id,
        member.client_id,
        member.client_host,
        _assignment(member.member_assignment) if group.protocol_type == "consumer" else None,
    )
    if group.protocol_data != PROTOCOL_NAME:
        return described
    told = read_member(bytes(member.member_metadata), bytes(member.member_assignment))
    return described._replace(
        tasks=StreamsTasks(dict(told.active), dict(told.standby), {}),
        process_id=told.process_id,
        user_endpoint=told.endpoint,
    )


def _consumer(group: consumer_group_describe_response.DescribedGroup, broker_id: int) -> GroupDescription:
    return GroupDescription(
        group.group_id,
        group.group_state,
        "consumer",
        "consumer",
        group.assignor_name,
        broker_id,
        tuple(
            MemberDescription(
                each.member_id,
                each.instance_id,
                each.client_id,
                each.client_host,
                _partitions(each.assignment.topic_partitions),
                each.member_epoch,
                _partitions(each.target_assignment.topic_partitions),
                _MEMBER_PROTOCOLS.get(each.member_type, ""),
            )
            for each in _by_id(group.members)
        ),
        group.group_epoch,
        group.assignment_epoch,
    )


def _share(group: share_group_describe_response.DescribedGroup, broker_id: int) -> GroupDescription:
    return GroupDescription(
        group.group_id,
        group.group_state,
        "share",
        "share",
        group.assignor_name,
        broker_id,
        tuple(
            MemberDescription(
                each.member_id,
                None,
                each.client_id,
                each.client_host,
                _partitions(each.assignment.topic_partitions),
                each.member_epoch,
                protocol="share",
            )
            for each in _by_id(group.members)
        ),
        group.group_epoch,
        group.assignment_epoch,
    )


def _streams(group: streams_group_describe_response.DescribedGroup, broker_id: int) -> GroupDescription:
    return GroupDescription(
        group.group_id,
        group.group_state,
        "streams",
        "streams",
        "",
        broker_id,
        tuple(
            MemberDescription(
                each.member_id,
                each.instance_id,
                each.client_id,
                each.client_host,
                None,
                each.member_epoch,
                protocol="classic" if each.is_classic else "streams",
                tasks=_tasks(each.assignment),
                target_tasks=_tasks(each.target_assignment),
                process_id=each.process_id,
                user_endpoint=_endpoint(each.user_endpoint),
            )
            for each in _by_id(group.members)
        ),
        group.group_epoch,
        group.assignment_epoch,
        _topology(group.topology) if group.topology is not None else None,
    )


# How to ask for groups of a type, and how to read one of the answer.
_PROTOCOLS: dict[str, tuple[Callable[[list[str]], Message], Callable[[Any, int], GroupDescription | KafkaError]]] = {
    "classic": (lambda ids: DescribeGroupsRequest(groups=ids), _classic),
    "consumer": (lambda ids: ConsumerGroupDescribeRequest(group_ids=ids), _consumer),
    "share": (lambda ids: ShareGroupDescribeRequest(group_ids=ids), _share),
    "streams": (lambda ids: StreamsGroupDescribeRequest(group_ids=ids), _streams),
}


def _by_id(members: list[Any]) -> list[Any]:
    return sorted(members, key=lambda each: each.member_id)


def _partitions(
    parts: Iterable[consumer_group_describe_response.TopicPartitions | share_group_describe_response.TopicPartitions],
) -> dict[str, tuple[int, ...]]:
    return {part.topic_name: tuple(sorted(part.partitions)) for part in sorted(parts, key=lambda part: part.topic_name)}


def _tasks(assignment: streams_group_describe_response.Assignment) -> StreamsTasks:
    def of(tasks: list[streams_group_describe_response.TaskIds]) -> dict[str, tuple[int, ...]]:
        ordered = sorted(tasks, key=lambda each: each.subtopology_id)
        return {each.subtopology_id: tuple(sorted(each.partitions)) for each in ordered if each.partitions}

    return StreamsTasks(of(assignment.active_tasks), of(assignment.standby_tasks), of(assignment.warmup_tasks))


def _endpoint(endpoint: streams_group_describe_response.Endpoint | None) -> str:
    if endpoint is None:
        return ""
    return host_and_port(endpoint.host, endpoint.port)


def _topology(topology: streams_group_describe_response.Topology) -> StreamsTopology:
    if topology.subtopologies is None:
        return StreamsTopology(topology.epoch, None)
    return StreamsTopology(
        topology.epoch,
        tuple(
            Subtopology(
                each.subtopology_id,
                tuple(sorted(each.source_topics)),
                tuple(sorted(topic.name for topic in each.repartition_source_topics)),
                tuple(sorted(each.repartition_sink_topics)),
                tuple(sorted(topic.name for topic in each.state_changelog_topics)),
            )
            for each in sorted(topology.subtopologies, key=lambda each: each.subtopology_id)
        ),
    )


def _assignment(data: bytes) -> dict[str, tuple[int, ...]] | None:
    """A member's share in Kafka's consumer protocol: version as int16, then ConsumerProtocolAssignment."""
    if not data:
        return {}
    version = int.from_bytes(data[:2], "big", signed=True)
    try:
        # A later version only adds at the end.
        highest = ConsumerProtocolAssignment.MAX_VERSION
        assignment, _ = codec.decode(ConsumerProtocolAssignment, max(0, min(version, highest)), data, 2)
    except codec.DecodeError:
        return None
    return {
        each.topic: tuple(sorted(each.partitions))
        for each in sorted(assignment.assigned_partitions, key=lambda each: each.topic)
    }

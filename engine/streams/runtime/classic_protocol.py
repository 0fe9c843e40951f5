"""What members of a classic group tell each other: subscriptions to the leader, assignments from it. Pure.

To brokers and tools they are consumers: the embedded bytes are ConsumerProtocolSubscription and …Assignment, so that
offsets of subscribed topics do not expire and ``kafka-consumer-groups.sh`` shows who reads what. What is ours is JSON
in their user data, under a protocol name of our own: a worker of Kafka Streams in Java does not get into the group.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from engine.client.admin.classic_streams import PROTOCOL_NAME as PROTOCOL_NAME
from engine.core.group.consumer_protocol import PROTOCOL_TYPE as PROTOCOL_TYPE
from engine.core.group.consumer_protocol import read_assignment, read_subscription, write_assignment
from engine.model.errors import KafkaError
from engine.streams.errors import StreamsError
from engine.streams.queries.routes import Endpoint
from engine.streams.runtime.group_topology import NO_TASKS, Assignment, TaskId, Tasks
from engine.wire import codec
from engine.wire.messages.consumer_protocol_assignment import ConsumerProtocolAssignment
from engine.wire.messages.consumer_protocol_assignment import TopicPartition as AssignedPartitions
from engine.wire.messages.consumer_protocol_subscription import ConsumerProtocolSubscription
from engine.wire.messages.streams_group_heartbeat_request import Topology as GroupTopology

_VERSION = 1
_SUBSCRIPTION_VERSION = 1


@dataclass(frozen=True, slots=True)
class Subscription:
    """What a member says when it joins. ``generation`` is the one in which it got what it has."""

    process_id: str
    topology: str
    """:func:`fingerprint` of its topology."""
    has: Assignment = NO_TASKS
    generation: int = 0
    endpoint: Endpoint | None = None
    standbys: int = 0
    """``num.standby.replicas``; the leader takes the largest."""


@dataclass(frozen=True, slots=True)
class MemberAssignment:
    """What the leader says to a member."""

    tasks: Assignment = NO_TASKS
    status: str = ""
    """What the group waits for."""
    error: str = ""
    """Why this member cannot work, ever."""
    partitions: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """What the active tasks read: for tools."""
    routes: tuple[Mapping[str, Any], ...] = ()


def fingerprint(topology: GroupTopology) -> str:
    """The same for equal topologies only."""
    return hashlib.sha256(codec.encode(_request(topology), 0)).hexdigest()[:32]


def _request(topology: GroupTopology) -> Any:
    from engine.wire.messages.streams_group_heartbeat_request import StreamsGroupHeartbeatRequest

    return StreamsGroupHeartbeatRequest(topology=topology)


def write(subscription: Subscription, topics: Iterable[str], topology: GroupTopology | None = None) -> bytes:
    """The metadata of a JoinGroup request. ``topology`` is for those who describe the group."""
    document = {
        "version": _VERSION,
        "process_id": subscription.process_id,
        "topology": subscription.topology,
        "generation": subscription.generation,
        "standbys": subscription.standbys,
        **_tasks_document(subscription.has),
    }
    if subscription.endpoint is not None:
        document["endpoint"] = list(subscription.endpoint)
    if topology is not None:
        document["subtopologies"] = [_part(each) for each in topology.subtopologies]
    message = ConsumerProtocolSubscription(topics=sorted(topics), user_data=_dump(document))
    return _SUBSCRIPTION_VERSION.to_bytes(2, "big") + codec.encode(message, _SUBSCRIPTION_VERSION)


def _part(subtopology: Any) -> dict[str, Any]:
    return {
        "id": subtopology.subtopology_id,
        "sources": list(subtopology.source_topics),
        "repartition_sources": [each.name for each in subtopology.repartition_source_topics],
        "repartition_sinks": list(subtopology.repartition_sink_topics),
        "changelogs": [each.name for each in subtopology.state_changelog_topics],
    }


def read(metadata: bytes) -> Subscription:
    """What a member said.

    Raises:
        StreamsError: it is no such subscription.
    """
    document = _load(lambda: read_subscription(metadata).user_data)
    try:
        endpoint = document.get("endpoint")
        return Subscription(
            str(document["process_id"]),
            str(document["topology"]),
            _tasks(document),
            int(document["generation"]),
            None if endpoint is None else Endpoint(str(endpoint[0]), int(endpoint[1])),
            int(document["standbys"]),
        )
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise StreamsError(f"a member's subscription cannot be read: {error!r}") from error


def write_member_assignment(assignment: MemberAssignment) -> bytes:
    """The assignment of a SyncGroup request."""
    document = {
        "version": _VERSION,
        "status": assignment.status,
        "error": assignment.error,
        "routes": list(assignment.routes),
        **_tasks_document(assignment.tasks),
    }
    message = ConsumerProtocolAssignment(
        assigned_partitions=[
            AssignedPartitions(topic=topic, partitions=list(numbers))
            for topic, numbers in sorted(assignment.partitions.items())
        ],
        user_data=_dump(document),
    )
    return write_assignment(message, _SUBSCRIPTION_VERSION.to_bytes(2, "big"))


def read_member_assignment(data: bytes) -> MemberAssignment:
    """What the leader said; nothing at all from a leader that knew of no such member.

    Raises:
        StreamsError: it is no such assignment.
    """
    if not data:
        return MemberAssignment(status="the leader has assigned nothing")
    document = _load(lambda: read_assignment(data).user_data)
    try:
        return MemberAssignment(
            _tasks(document), str(document["status"]), str(document["error"]), routes=tuple(document["routes"])
        )
    except (KeyError, TypeError, ValueError) as error:
        raise StreamsError(f"the leader's assignment cannot be read: {error!r}") from error


def _load(read_user_data: Any) -> dict[str, Any]:
    try:
        document = json.loads(bytes(read_user_data() or b""))
    except (KafkaError, ValueError) as error:
        raise StreamsError(f"the group is not one of engine.streams: {error}") from error
    if not isinstance(document, dict) or document.get("version") != _VERSION:
        raise StreamsError("the group has workers of another version: stop them, or take another application.id")
    return document


def _dump(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


def _tasks_document(tasks: Assignment) -> dict[str, Any]:
    return {"active": _named(tasks.active), "standby": _named(tasks.standby)}


def _named(tasks: Tasks) -> list[list[int]]:
    return [list(each) for each in sorted(tasks)]


def _tasks(document: Mapping[str, Any]) -> Assignment:
    active, standby = (
        frozenset(TaskId(int(sub_topology), int(number)) for sub_topology, number in document[kind])
        for kind in ("active", "standby")
    )
    return Assignment(active, standby)

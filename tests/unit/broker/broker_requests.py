"""The requests that the tests of the broker send, with the defaults that most of them want."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from engine.broker.replica import Replica
from engine.model.errors import ErrorCode
from engine.record.batch import iter_batches
from engine.record.builder import NewRecord, build_batch
from engine.record.reader import read_records
from engine.wire.messages.alter_partition_reassignments_request import (
    AlterPartitionReassignmentsRequest,
    ReassignablePartition,
    ReassignableTopic,
)
from engine.wire.messages.create_topics_request import (
    CreatableReplicaAssignment,
    CreatableTopic,
    CreatableTopicConfig,
    CreateTopicsRequest,
)
from engine.wire.messages.delete_topics_request import DeleteTopicsRequest, DeleteTopicState
from engine.wire.messages.elect_leaders_request import ElectLeadersRequest
from engine.wire.messages.elect_leaders_request import TopicPartitions as ElectableTopic
from engine.wire.messages.fetch_request import FetchPartition, FetchRequest, FetchTopic, ReplicaState
from engine.wire.messages.fetch_response import FetchResponse, PartitionData
from engine.wire.messages.incremental_alter_configs_request import (
    AlterableConfig,
    AlterConfigsResource,
    IncrementalAlterConfigsRequest,
)
from engine.wire.messages.init_producer_id_request import InitProducerIdRequest
from engine.wire.messages.list_offsets_request import ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic
from engine.wire.messages.produce_request import PartitionProduceData, ProduceRequest, TopicProduceData
from engine.wire.messages.produce_response import PartitionProduceResponse
from tests.unit.broker.in_process_cluster import InProcessCluster

NONE = ErrorCode.NONE
PREFERRED, UNCLEAN = 0, 1
TOPIC, BROKER = 2, 4
SET, DELETE = 0, 1


def batch(*values: bytes, **options: Any) -> bytes:
    """A record batch as a producer builds it."""
    options.setdefault("timestamp", int(time.time() * 1000))
    return build_batch([NewRecord(None, each) for each in values or (b"v",)], **options)


def values(records: Any) -> list[bytes]:
    """The values of the records in a fetch's answer."""
    return [
        bytes(record.value or b"") for _, each in iter_batches(records or b"") for record in read_records(bytes(each))
    ]


# -- topics ------------------------------------------------------------------------------------------------------


async def create_topic(
    cluster: InProcessCluster,
    name: str,
    assignments: int | Sequence[Sequence[int]] = 1,
    configs: Mapping[str, str] | None = None,
) -> bytes:
    """Create a topic and return its id once every broker serves it. ``assignments``: a number of partitions, or the
    brokers of each, the leader first."""
    topic = CreatableTopic(
        name, -1, -1, configs=[CreatableTopicConfig(key, value) for key, value in (configs or {}).items()]
    )
    if isinstance(assignments, int):
        topic.num_partitions = assignments
    else:
        topic.assignments = [CreatableReplicaAssignment(number, list(each)) for number, each in enumerate(assignments)]
    node_id = next(iter(cluster.incarnations))
    response = await cluster.ask(node_id, CreateTopicsRequest([topic], timeout_ms=5000), 7)
    (result,) = response.topics
    assert result.error_code == NONE, (ErrorCode(result.error_code), result.error_message)
    await cluster.until(
        lambda: all(result.topic_id in broker.metadata.image.topics_by_id for broker in cluster), "the topic is known"
    )
    return bytes(result.topic_id)


async def delete_topic(cluster: InProcessCluster, name: str) -> None:
    """Delete a topic."""
    request = DeleteTopicsRequest(topics=[DeleteTopicState(name)], timeout_ms=5000)
    # Not over a connection on which an append may be waiting.
    response = await cluster.ask(list(cluster.incarnations)[-1], request, 6)
    assert [each.error_code for each in response.responses] == [NONE]


async def alter_config(
    cluster: InProcessCluster, name: str, value: str | None, resource: str, kind: int = TOPIC
) -> None:
    """Set a dynamic config (``None``: go back to the default), and wait until every broker has it."""
    change = AlterableConfig(name, DELETE if value is None else SET, value)
    request = IncrementalAlterConfigsRequest([AlterConfigsResource(kind, resource, [change])])
    # Not over a connection on which an append may be waiting.
    response = await cluster.ask(
        list(cluster.incarnations)[-1] if kind != BROKER or not resource else int(resource), request, 1
    )
    (result,) = response.responses
    assert result.error_code == NONE, (ErrorCode(result.error_code), result.error_message)
    await cluster.until(
        lambda: all(broker.metadata.image.config(kind, resource).get(name) == value for broker in cluster)
    )


async def reassign(cluster: InProcessCluster, topic: str, replicas: Sequence[int], partition: int = 0) -> None:
    """Move a partition to other brokers; returns when the controller has accepted it."""
    asked = ReassignableTopic(topic, [ReassignablePartition(partition, list(replicas))])
    response = await cluster.ask(
        next(iter(cluster.incarnations)), AlterPartitionReassignmentsRequest(5000, topics=[asked]), 0
    )
    assert response.error_code == NONE
    assert [each.error_code for topic in response.responses for each in topic.partitions] == [NONE]


async def elect_preferred(cluster: InProcessCluster, topic: str, partition: int = 0) -> None:
    """Make the first replica the leader."""
    request = ElectLeadersRequest(PREFERRED, [ElectableTopic(topic, [partition])], 5000)
    await cluster.ask(next(iter(cluster.incarnations)), request, 2)


def state_of(cluster: InProcessCluster, topic: str, partition: int = 0, *, at: int | None = None) -> Any:
    """The partition as some broker's metadata has it."""
    broker = cluster[next(iter(cluster.incarnations)) if at is None else at]
    return broker.metadata.image.topics_by_name[topic].partitions[partition]


async def until_in_sync(cluster: InProcessCluster, topic: str, count: int, partition: int = 0) -> None:
    """Wait until the ISR has ``count`` members, at every broker."""
    await cluster.until(
        lambda: all(len(state_of(cluster, topic, partition, at=each).isr) == count for each in cluster.incarnations),
        f"{count} in sync",
    )


async def until_led_by(cluster: InProcessCluster, topic: str, leader: int, partition: int = 0) -> None:
    """Wait until every broker knows the leader."""
    await cluster.until(
        lambda: all(state_of(cluster, topic, partition, at=each).leader == leader for each in cluster.incarnations),
        f"{leader} leads",
    )


def replica_of(cluster: InProcessCluster, node_id: int, topic: str, partition: int = 0) -> Replica:
    """The replica on a broker."""
    replica = cluster[node_id].replicas.get(topic, partition)
    assert replica is not None
    return replica


def pause_follower(cluster: InProcessCluster, node_id: int, topic: str, partition: int = 0) -> None:
    """A follower copies nothing any more; what is under way to it is not taken."""
    fetchers = cluster[node_id].replicas.fetchers
    assert fetchers is not None
    replica = replica_of(cluster, node_id, topic, partition)
    paused = cluster.paused.get(node_id)
    if paused is None or paused[0] is not fetchers:
        replicas: set[Replica] = set()
        cluster.paused[node_id] = paused = (fetchers, replicas)
        assign = fetchers.assign
        fetchers.assign = lambda image, wanted: assign(  # type: ignore[method-assign]
            image, [each for each in wanted if each not in replicas]
        )
    paused[1].add(replica)
    fetchers.remove(replica)


def resume_follower(cluster: InProcessCluster, node_id: int, topic: str, partition: int = 0) -> None:
    """The follower goes on."""
    fetchers, replicas = cluster.paused[node_id]
    replica = replica_of(cluster, node_id, topic, partition)
    replicas.discard(replica)
    fetchers.assign(cluster[node_id].metadata.image, [replica])


def resume_all(cluster: InProcessCluster) -> None:
    """Every follower that still runs goes on."""
    for node_id in [each for each in cluster.paused if each in cluster.incarnations]:
        fetchers, replicas = cluster.paused.pop(node_id)
        resumed = list(replicas)
        replicas.clear()
        fetchers.assign(cluster[node_id].metadata.image, resumed)


# -- records -----------------------------------------------------------------------------------------------------


def produce_request(
    topic: str | bytes, records: bytes | None, acks: int = -1, *, partition: int = 0, timeout_ms: int = 5000
) -> ProduceRequest:
    """One batch for one partition; a topic's id is for version 13, its name for those before."""
    name, topic_id = ("", topic) if isinstance(topic, bytes) else (topic, bytes(16))
    data = TopicProduceData(name, topic_id, [PartitionProduceData(partition, records)])
    return ProduceRequest(None, acks, timeout_ms, [data])


async def produce(
    cluster: InProcessCluster, node_id: int, topic: str, records: bytes | None = None, acks: int = -1, **options: Any
) -> PartitionProduceResponse:
    """Append a batch through a broker; the partition's answer."""
    version = options.pop("version", 12)
    records = batch() if records is None else records
    response = await cluster.ask(node_id, produce_request(topic, records, acks, **options), version)
    return response.responses[0].partition_responses[0]  # type: ignore[no-any-return]


async def produce_ok(cluster: InProcessCluster, node_id: int, topic: str, *records: bytes, **options: Any) -> int:
    """Append, which must succeed; the base offset."""
    answer = await produce(cluster, node_id, topic, batch(*records), **options)
    assert answer.error_code == NONE, (ErrorCode(answer.error_code), answer.error_message)
    return answer.base_offset


async def new_producer_id(cluster: InProcessCluster, node_id: int) -> int:
    """An idempotent producer's id."""
    answer = await cluster.ask(node_id, InitProducerIdRequest(None, 60_000), 4)
    assert answer.error_code == NONE
    return int(answer.producer_id)


def fetch_request(
    topic: str | bytes,
    offset: int | Mapping[int, int] = 0,
    *,
    max_wait_ms: int = 0,
    min_bytes: int = 1,
    max_bytes: int = 1 << 20,
    partition_max_bytes: int = 1 << 20,
    leader_epoch: int = -1,
    last_fetched_epoch: int = -1,
    replica: int = -1,
    replica_epoch: int = -1,
    session: tuple[int, int] = (0, -1),
    forgotten: Sequence[Any] = (),
    isolation_level: int = 0,
    rack_id: str = "",
) -> FetchRequest:
    """One topic's partitions: partition 0 at an offset, or many at the offsets given. ``session``: id and epoch."""
    offsets = {0: offset} if isinstance(offset, int) else offset
    name, topic_id = ("", topic) if isinstance(topic, bytes) else (topic, bytes(16))
    partitions = [
        FetchPartition(number, leader_epoch, at, last_fetched_epoch, 0, partition_max_bytes)
        for number, at in offsets.items()
    ]
    return FetchRequest(
        replica_state=ReplicaState(replica, replica_epoch),
        max_wait_ms=max_wait_ms,
        min_bytes=min_bytes,
        max_bytes=max_bytes,
        isolation_level=isolation_level,
        session_id=session[0],
        session_epoch=session[1],
        topics=[FetchTopic(name, topic_id, partitions)] if partitions else [],
        forgotten_topics_data=list(forgotten),
        rack_id=rack_id,
    )


async def fetch(
    cluster: InProcessCluster, node_id: int, topic: str | bytes, offset: int | Mapping[int, int] = 0, **options: Any
) -> FetchResponse:
    """What a broker has: version 13 for a topic's id, 12 for its name."""
    version = options.pop("version", 13 if isinstance(topic, bytes) else 12)
    request = fetch_request(topic, offset, **options)
    if version < 15:
        request.replica_id, request.replica_state = request.replica_state.replica_id, ReplicaState()
    return await cluster.ask(node_id, request, version)  # type: ignore[no-any-return]


async def fetch_one(cluster: InProcessCluster, node_id: int, topic: str | bytes, **options: Any) -> PartitionData:
    """The only partition of the answer."""
    response = await fetch(cluster, node_id, topic, **options)
    assert response.error_code == NONE, ErrorCode(response.error_code)
    (answer,) = response.responses[0].partitions
    return answer


async def list_offset(
    cluster: InProcessCluster,
    node_id: int,
    topic: str,
    timestamp: int,
    *,
    version: int = 11,
    replica_id: int = -1,
    isolation_level: int = 0,
    leader_epoch: int = -1,
) -> Any:
    """The answer for partition 0."""
    asked = ListOffsetsTopic(topic, [ListOffsetsPartition(0, leader_epoch, timestamp)])
    request = ListOffsetsRequest(replica_id, isolation_level, [asked])
    response = await cluster.ask(node_id, request, version)
    return response.topics[0].partitions[0]

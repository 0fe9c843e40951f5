"""Metadata and DescribeCluster: brokers, topics, partitions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from engine.client.admin.base import AdminBase
from engine.client.admin.outcome import check, refusal
from engine.client.errors import UnsupportedApi
from engine.model.errors import KafkaError
from engine.model.ids import ZERO_UUID
from engine.model.topic_partition import TopicPartition
from engine.wire.messages.describe_cluster_request import DescribeClusterRequest
from engine.wire.messages.describe_cluster_response import DescribeClusterResponse
from engine.wire.messages.describe_topic_partitions_request import (
    Cursor,
    DescribeTopicPartitionsRequest,
    TopicRequest,
)
from engine.wire.messages.describe_topic_partitions_response import DescribeTopicPartitionsResponse
from engine.wire.messages.metadata_request import MetadataRequest, MetadataRequestTopic
from engine.wire.messages.metadata_response import MetadataResponse

# partitions asked for at a time (max.request.partition.size.limit's default)
_PAGE = 2000


class BrokerNode(NamedTuple):
    """A broker's advertised address. ``is_fenced`` is ``None`` where the API does not tell."""

    broker_id: int
    host: str
    port: int
    rack: str | None
    is_fenced: bool | None = None


class PartitionMetadata(NamedTuple):
    """A partition as the answering broker knows it; ``leader`` is -1 when there is none."""

    partition: int
    leader: int
    leader_epoch: int
    replicas: tuple[int, ...]
    isr: tuple[int, ...]
    offline_replicas: tuple[int, ...]
    eligible_leader_replicas: tuple[int, ...] = ()
    error: KafkaError | None = None


class TopicMetadata(NamedTuple):
    """A topic; ``error`` where the broker does not know it or may not tell."""

    name: str
    topic_id: bytes
    is_internal: bool
    partitions: tuple[PartitionMetadata, ...]
    error: KafkaError | None = None


class ClusterMetadata(NamedTuple):
    """Brokers that are not fenced, and topics by name.

    ``controller_id`` is no news of the active controller: KRaft brokers put any living broker there.
    """

    cluster_id: str
    controller_id: int
    brokers: dict[int, BrokerNode]
    topics: dict[str, TopicMetadata]

    def partition(self, topic_partition: TopicPartition) -> PartitionMetadata | None:
        """The partition, if it is known."""
        topic = self.topics.get(topic_partition.topic)
        for each in topic.partitions if topic else ():
            if each.partition == topic_partition.partition:
                return each
        return None


class ClusterDescription(NamedTuple):
    """The cluster's id and all registered brokers, the fenced ones too where the cluster can tell."""

    cluster_id: str
    controller_id: int
    brokers: dict[int, BrokerNode]


class MetadataAdmin(AdminBase):
    """Reading what is where."""

    metadata_cache: ClusterMetadata | None = None

    async def metadata(
        self, topics: Iterable[str] | None = None, *, broker_id: int | None = None, timeout_ms: float | None = None
    ) -> ClusterMetadata:
        """Brokers and topics (``None``: all), by any broker or by ``broker_id``. Topics are never created by it.

        Raises:
            ClientError: nobody answers.
            KafkaError: the whole request is refused.
        """
        asked = None if topics is None else [MetadataRequestTopic(name=name) for name in topics]
        request = MetadataRequest(topics=asked, allow_auto_topic_creation=False)
        response: MetadataResponse
        if broker_id is None:
            response = await self.brokers.send_any(request, timeout_ms=timeout_ms, doubt=_knows_no_broker)
        else:
            response = await self.brokers.send(broker_id, request, timeout_ms=timeout_ms)
        check(response.error_code)
        metadata = _metadata_of(response)
        self.brokers.learn({**self.brokers.nodes, **{e.broker_id: (e.host, e.port) for e in metadata.brokers.values()}})
        if topics is None:
            self.metadata_cache = metadata
        return metadata

    async def cached_metadata(self) -> ClusterMetadata:
        """The last answer for all topics, asked for if there is none."""
        return self.metadata_cache or await self.metadata()

    async def describe_cluster(self, *, timeout_ms: float | None = None) -> ClusterDescription:
        """DescribeCluster with fenced brokers; Metadata where the cluster has not that API.

        Raises:
            ClientError: nobody answers.
            KafkaError: refused.
        """
        request = DescribeClusterRequest(endpoint_type=1, include_fenced_brokers=True)
        try:
            response: DescribeClusterResponse = await self.brokers.send_any(
                request, timeout_ms=timeout_ms, doubt=_knows_no_broker
            )
        except UnsupportedApi:
            metadata = await self.metadata([], timeout_ms=timeout_ms)
            return ClusterDescription(metadata.cluster_id, metadata.controller_id, metadata.brokers)
        check(response.error_code, response.error_message)
        brokers = {
            each.broker_id: BrokerNode(each.broker_id, each.host, each.port, each.rack, each.is_fenced)
            for each in response.brokers
        }
        self.brokers.learn(
            {**self.brokers.nodes, **{e.broker_id: (e.host, e.port) for e in brokers.values() if e.host}}
        )
        return ClusterDescription(response.cluster_id, response.controller_id, brokers)

    async def describe_topics(
        self, names: Iterable[str], *, timeout_ms: float | None = None
    ) -> dict[str, TopicMetadata]:
        """Topics with their eligible leader replicas (KIP-966) where the cluster tells them.

        Raises:
            ClientError: nobody answers.
        """
        wanted = sorted(set(names))
        found: dict[str, list[PartitionMetadata]] = {}
        heads: dict[str, TopicMetadata] = {}
        cursor: Cursor | None = None
        while wanted:
            request = DescribeTopicPartitionsRequest(
                topics=[TopicRequest(name=name) for name in wanted], response_partition_limit=_PAGE, cursor=cursor
            )
            try:
                response: DescribeTopicPartitionsResponse = await self.brokers.send_any(request, timeout_ms=timeout_ms)
            except UnsupportedApi:
                return (await self.metadata(wanted, timeout_ms=timeout_ms)).topics
            for topic in response.topics:
                name = topic.name or ""
                heads[name] = TopicMetadata(name, topic.topic_id, topic.is_internal, (), refusal(topic.error_code))
                found.setdefault(name, []).extend(
                    PartitionMetadata(
                        each.partition_index,
                        each.leader_id,
                        each.leader_epoch,
                        tuple(each.replica_nodes),
                        tuple(each.isr_nodes),
                        tuple(each.offline_replicas),
                        tuple(each.eligible_leader_replicas or ()),
                        refusal(each.error_code),
                    )
                    for each in topic.partitions
                )
            following = response.next_cursor
            if following is None:
                break
            cursor = Cursor(topic_name=following.topic_name, partition_index=following.partition_index)
            wanted = [name for name in wanted if name >= following.topic_name]
        return {
            name: head._replace(partitions=tuple(sorted(found[name], key=lambda each: each.partition)))
            for name, head in heads.items()
        }


def _knows_no_broker(response: MetadataResponse | DescribeClusterResponse) -> str:
    # Not even itself: it has just started, and has not read the cluster's metadata. Its topics are none, too.
    return "" if response.brokers else "has not joined the cluster yet"


def _metadata_of(response: MetadataResponse) -> ClusterMetadata:
    brokers = {each.node_id: BrokerNode(each.node_id, each.host, each.port, each.rack) for each in response.brokers}
    topics: dict[str, TopicMetadata] = {}
    for topic in response.topics:
        partitions = [
            PartitionMetadata(
                each.partition_index,
                each.leader_id,
                each.leader_epoch,
                tuple(each.replica_nodes),
                tuple(each.isr_nodes),
                tuple(each.offline_replicas),
                (),
                refusal(each.error_code),
            )
            for each in topic.partitions
        ]
        partitions.sort(key=lambda each: each.partition)
        name = topic.name or ""
        topics[name] = TopicMetadata(
            name, topic.topic_id or ZERO_UUID, topic.is_internal, tuple(partitions), refusal(topic.error_code)
        )
    return ClusterMetadata(response.cluster_id or "", response.controller_id, brokers, topics)

"""What the supervisor asks its cluster by Kafka's protocol: has each partition a leader, make topics, who leads."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from engine.client.connection import ClientError, Connection
from engine.model.errors import ErrorCode
from engine.supervisor.server_properties import Address
from engine.supervisor.snapshot import PROBE_TOPIC
from engine.supervisor.spec_types import TopicSpec
from engine.wire.messages.create_topics_request import (
    CreatableReplicaAssignment,
    CreatableTopic,
    CreatableTopicConfig,
    CreateTopicsRequest,
)
from engine.wire.messages.describe_cluster_request import DescribeClusterRequest
from engine.wire.messages.describe_configs_request import DescribeConfigsRequest, DescribeConfigsResource
from engine.wire.messages.describe_quorum_request import DescribeQuorumRequest, PartitionData, TopicData
from engine.wire.messages.elect_leaders_request import ElectLeadersRequest, TopicPartitions
from engine.wire.messages.incremental_alter_configs_request import (
    AlterableConfig,
    AlterConfigsResource,
    IncrementalAlterConfigsRequest,
)
from engine.wire.messages.metadata_request import MetadataRequest
from engine.wire.messages.metadata_response import MetadataResponse
from engine.wire.messages.unregister_broker_request import UnregisterBrokerRequest
from engine.world import World

_POLL_S = 0.02
# Of ConfigResource.Type, and of AlterConfigOp.
_TOPIC_RESOURCE = 2
# Of DescribeCluster's endpoint types (KIP-919).
_CONTROLLERS = 2
_SET, _DELETE = 0, 1
_TIMEOUT_MS = 5_000
_CONTROLLER_TIMEOUT_MS = 1_000
_RETRIED = (ErrorCode.NOT_CONTROLLER, ErrorCode.REQUEST_TIMED_OUT, ErrorCode.INVALID_REPLICATION_FACTOR)


class Lead(NamedTuple):
    """A partition and who leads it (-1: nobody)."""

    topic: str
    partition: int
    leader: int


class ClusterAdminError(Exception):
    """The cluster refused, or did not come to it in time."""


class ClusterAdmin:
    """Connections to the brokers, opened when they are needed."""

    def __init__(self, world: World, addresses: Mapping[int, Address], *, has_quorum: bool = True) -> None:
        """``has_quorum``: a metadata quorum coordinates it, not ZooKeeper."""
        self._world = world
        self._has_quorum = has_quorum
        self._addresses = dict(addresses)
        self._connections: dict[int, Connection] = {}

    def learn(self, broker_id: int, address: Address | None) -> None:
        """A broker came (or, with ``None``, left for good)."""
        if address is not None:
            self._addresses[broker_id] = address
            return
        self._addresses.pop(broker_id, None)
        connection = self._connections.pop(broker_id, None)
        if connection is not None:
            connection.close()

    async def replicas_of(self, broker_id: int, asked: Iterable[int]) -> int:
        """How many replicas a broker has, by the first of the ``asked`` brokers that answers.

        Raises:
            ClusterAdminError: none does.
        """
        reason = "no broker runs"
        for each in asked:
            try:
                metadata = await self.metadata(each)
            except ClientError as error:
                reason = str(error)
                continue
            return sum(
                broker_id in partition.replica_nodes for topic in metadata.topics for partition in topic.partitions
            )
        raise ClusterAdminError(f"no broker tells what broker {broker_id} has: {reason}")

    async def unregister(self, broker_id: int, asked: Iterable[int]) -> None:
        """Have the cluster forget a broker that is down (KIP-500).

        Raises:
            ClusterAdminError: it is refused, or nobody answers.
        """
        reason = "no broker runs"
        for each in asked:
            try:
                connection = await self._connection(each)
                response = await connection.send(UnregisterBrokerRequest(broker_id=broker_id), timeout_ms=_TIMEOUT_MS)
            except ClientError as error:
                reason = str(error)
                continue
            code = ErrorCode(response.error_code)
            if code in (ErrorCode.NONE, ErrorCode.BROKER_ID_NOT_REGISTERED):
                return
            reason = f"{code.name}: {response.error_message}"
        raise ClusterAdminError(f"broker {broker_id} is still registered: {reason}")

    async def _connection(self, broker_id: int) -> Connection:
        connection = self._connections.get(broker_id)
        if connection is None or connection.closed:
            address = self._addresses[broker_id]
            connection = await Connection.open(
                self._world, address.host, address.port, client_id="kconsole-supervisor", timeout_ms=_TIMEOUT_MS
            )
            self._connections[broker_id] = connection
        return connection

    async def metadata(self, broker_id: int) -> MetadataResponse:
        """All topics as one broker sees them. Raises: ClientError."""
        connection = await self._connection(broker_id)
        response: MetadataResponse = await connection.send(MetadataRequest(topics=None), timeout_ms=_TIMEOUT_MS)
        return response

    async def leaders(self, broker_ids: Iterable[int]) -> list[Lead]:
        """Who leads what, by the first of the brokers that answers.

        Raises:
            ClusterAdminError: none does.
        """
        reason = "no broker runs"
        for broker_id in broker_ids:
            try:
                metadata = await self.metadata(broker_id)
            except ClientError as error:
                reason = str(error)
                continue
            return [
                Lead(topic.name or "", partition.partition_index, partition.leader_id)
                for topic in metadata.topics
                for partition in topic.partitions
            ]
        raise ClusterAdminError(f"no broker tells who leads what: {reason}")

    async def controller(self, broker_ids: Iterable[int]) -> int:
        """The active controller; -1 if no broker knows it soon. Of a metadata quorum that is its leader.

        Metadata's ``controller_id`` is no answer: Kafka's KRaft brokers put any living broker there.
        """
        if not self._has_quorum:
            return await self._elected_by_zookeeper(broker_ids)
        partition = PartitionData(partition_index=0)
        request = DescribeQuorumRequest(topics=[TopicData(topic_name="__cluster_metadata", partitions=[partition])])
        for broker_id in broker_ids:
            try:
                connection = await self._connection(broker_id)
                response = await connection.send(request, timeout_ms=_CONTROLLER_TIMEOUT_MS)
            except ClientError:
                continue
            for topic in response.topics:
                for found in topic.partitions:
                    if not found.error_code:
                        return int(found.leader_id)
        return -1

    async def _elected_by_zookeeper(self, broker_ids: Iterable[int]) -> int:
        """As the brokers' controllers know it: they have read the znode."""
        for broker_id in broker_ids:
            address = self._addresses[broker_id]
            try:
                connection = await Connection.open(
                    self._world,
                    address.host,
                    address.controller_port,
                    client_id="kconsole-supervisor",
                    timeout_ms=_CONTROLLER_TIMEOUT_MS,
                )
            except ClientError:
                continue
            try:
                request = DescribeClusterRequest(endpoint_type=_CONTROLLERS)
                response = await connection.send(request, timeout_ms=_CONTROLLER_TIMEOUT_MS)
            except ClientError:
                continue
            finally:
                connection.close()
            if not response.error_code and response.controller_id >= 0:
                return int(response.controller_id)
        return -1

    async def wait_for_leaders(self, broker_ids: Iterable[int], topics: Iterable[str]) -> None:
        """Wait until each broker knows all brokers and ``topics``, and a leader of every partition it knows."""
        wanted_brokers, wanted_topics = set(broker_ids), set(topics)
        for broker_id in sorted(wanted_brokers):
            while True:
                try:
                    metadata = await self.metadata(broker_id)
                except ClientError:
                    await asyncio.sleep(_POLL_S)
                    continue
                known = {broker.node_id for broker in metadata.brokers}
                if (
                    wanted_brokers <= known
                    and wanted_topics <= {topic.name for topic in metadata.topics if not topic.error_code}
                    and all(partition.leader_id >= 0 for topic in metadata.topics for partition in topic.partitions)
                ):
                    break
                await asyncio.sleep(_POLL_S)

    async def create_topics(self, broker_ids: Iterable[int], topics: Iterable[TopicSpec]) -> None:
        """Create topics; one that exists is fine.

        Raises:
            ClusterAdminError: one was refused.
        """
        await self._create(
            broker_ids,
            [
                CreatableTopic(
                    name=topic.name,
                    num_partitions=topic.partitions,
                    replication_factor=topic.replication_factor,
                    configs=[CreatableTopicConfig(name, value) for name, value in topic.configs.items()],
                )
                for topic in topics
            ],
        )

    async def create_probe_topic(self, broker_ids: list[int]) -> None:
        """One partition led by each broker, replicated to the two after it.

        Raises:
            ClusterAdminError: it was refused.
        """
        factor = min(3, len(broker_ids))
        assignments = [
            CreatableReplicaAssignment(
                partition_index=at, broker_ids=[broker_ids[(at + step) % len(broker_ids)] for step in range(factor)]
            )
            for at in range(len(broker_ids))
        ]
        topic = CreatableTopic(
            name=PROBE_TOPIC,
            num_partitions=-1,
            replication_factor=-1,
            assignments=assignments,
            configs=[CreatableTopicConfig("retention.ms", "3600000")],
        )
        await self._create(broker_ids, [topic])

    async def _create(self, broker_ids: Iterable[int], topics: list[CreatableTopic]) -> None:
        waiting = {topic.name: topic for topic in topics}
        ids = list(broker_ids)
        attempt = 0
        while waiting:
            request = CreateTopicsRequest(topics=list(waiting.values()), timeout_ms=10_000)
            try:
                connection = await self._connection(ids[attempt % len(ids)])
                response = await connection.send(request, timeout_ms=15_000)
            except ClientError as error:
                if attempt >= 20:
                    raise ClusterAdminError(f"topics cannot be created: {error}") from error
            else:
                for result in response.topics:
                    code = ErrorCode(result.error_code)
                    if code in (ErrorCode.NONE, ErrorCode.TOPIC_ALREADY_EXISTS):
                        waiting.pop(result.name, None)
                    elif code not in _RETRIED or attempt >= 50:
                        raise ClusterAdminError(
                            f"topic {result.name} cannot be created: {code.name}: {result.error_message}"
                        )
            attempt += 1
            if waiting:
                await asyncio.sleep(_POLL_S * 2)

    async def elect_preferred(self, broker_ids: Iterable[int], topic: str, partition: int) -> None:
        """Ask for the preferred leader; whether it works shows in :meth:`leaders`."""
        request = ElectLeadersRequest(
            election_type=0,
            topic_partitions=[TopicPartitions(topic=topic, partitions=[partition])],
            timeout_ms=_TIMEOUT_MS,
        )
        for broker_id in broker_ids:
            try:
                await (await self._connection(broker_id)).send(request, timeout_ms=_TIMEOUT_MS)
            except ClientError:
                continue
            return

    async def topic_config(self, broker_ids: Iterable[int], topic: str, name: str) -> str:
        """The value that a config of a topic has, wherever it comes from; empty if no broker tells."""
        resource = DescribeConfigsResource(
            resource_type=_TOPIC_RESOURCE, resource_name=topic, configuration_keys=[name]
        )
        for broker_id in broker_ids:
            try:
                connection = await self._connection(broker_id)
                response = await connection.send(DescribeConfigsRequest(resources=[resource]), timeout_ms=_TIMEOUT_MS)
            except ClientError:
                continue
            for result in response.results:
                for config in result.configs:
                    return str(config.value or "")
        return ""

    async def set_topic_config(self, broker_ids: Iterable[int], topic: str, name: str, value: str | None) -> None:
        """Set a config of a topic (``None``: none of its own), and wait until a broker has it.

        Raises:
            ClusterAdminError: it is refused, or nobody answers.
        """
        ids = list(broker_ids)
        change = AlterableConfig(name, _DELETE if value is None else _SET, value)
        request = IncrementalAlterConfigsRequest([AlterConfigsResource(_TOPIC_RESOURCE, topic, [change])])
        for broker_id in ids:
            try:
                response = await (await self._connection(broker_id)).send(request, timeout_ms=_TIMEOUT_MS)
            except ClientError:
                continue
            (result,) = response.responses
            if result.error_code:
                raise ClusterAdminError(f"{name}={value} of {topic}: {result.error_message}")
            if value is not None:
                await self._wait_for_config(broker_id, topic, name, value)
            return
        raise ClusterAdminError(f"no broker sets {name} of {topic}")

    async def _wait_for_config(self, broker_id: int, topic: str, name: str, value: str) -> None:
        while await self.topic_config([broker_id], topic, name) not in ("", value):  # noqa: ASYNC110  it is another's
            await asyncio.sleep(_POLL_S)

    def close(self) -> None:
        """Close all connections."""
        for connection in self._connections.values():
            connection.close()
        self._connections.clear()

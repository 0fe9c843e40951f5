"""Three scripted brokers that answer as one small cluster: metadata, offsets, fetches, groups."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from engine.record.batch import iter_batches
from engine.record.builder import NewRecord, build_batch
from engine.wire import codec
from engine.wire.apis import ApiKey
from engine.wire.messages import (
    consumer_group_describe_response,
    consumer_protocol_assignment,
    describe_cluster_response,
    describe_configs_response,
    describe_groups_response,
    describe_log_dirs_response,
    describe_quorum_response,
    describe_share_group_offsets_response,
    describe_topic_partitions_response,
    fetch_response,
    find_coordinator_response,
    list_groups_response,
    list_offsets_response,
    metadata_response,
    offset_fetch_response,
    share_group_describe_response,
    streams_group_describe_response,
)
from engine.wire.messages.consumer_protocol_assignment import ConsumerProtocolAssignment
from tests.unit.client.fake_network import FakePeer, FakeWorld, Later

NOT_LEADER, OUT_OF_RANGE, UNKNOWN_TOPIC, NOT_COORDINATOR = 6, 1, 3, 16


@dataclass
class FakePartition:
    leader: int
    replicas: list[int]
    isr: list[int]
    epoch: int = 0
    start: int = 0
    end: int = 0
    batches: list[bytes] = field(default_factory=list)
    # Of single replicas, where they differ.
    ends: dict[int, int] = field(default_factory=dict)
    high_watermarks: dict[int, int] = field(default_factory=dict)
    starts: dict[int, int] = field(default_factory=dict)
    aborted: list[tuple[int, int]] = field(default_factory=list)

    def append(self, *values: bytes, timestamp: int = 1_000, **more: Any) -> None:
        records = [NewRecord(b"k", value) for value in values]
        self.batches.append(
            build_batch(records, base_offset=self.end, timestamp=timestamp, leader_epoch=self.epoch, **more)
        )
        self.end += len(values)


@dataclass
class FakeGroup:
    coordinator: int
    state: str = "Stable"
    members: dict[str, dict[str, list[int]]] = field(default_factory=dict)
    offsets: dict[tuple[str, int], int] = field(default_factory=dict)
    kind: str = "Classic"
    # Of a share group.
    lags: dict[tuple[str, int], int] = field(default_factory=dict)
    # Of a streams group: source topics by subtopology, and tasks of members by kind.
    sources: dict[str, list[str]] | None = None
    tasks: dict[str, tuple[dict[str, list[int]], ...]] = field(default_factory=dict)


class FakeCluster:
    def __init__(self, world: FakeWorld, brokers: tuple[int, ...] = (1, 2, 3)) -> None:
        self.world = world
        self.topics: dict[str, list[FakePartition]] = {}
        self.groups: dict[str, FakeGroup] = {}
        self.fenced: set[int] = set()
        self.controller = brokers[0]
        self.controller_epoch = 1
        self.peers = {each: FakePeer(world.network, (f"b{each}", 9092)) for each in brokers}
        for broker_id, peer in self.peers.items():
            self._serve(broker_id, peer)

    @property
    def bootstrap(self) -> list[tuple[str, int]]:
        return [peer.address for peer in self.peers.values()]

    def add_topic(self, name: str, partitions: int = 1) -> list[FakePartition]:
        ids = sorted(self.peers)
        self.topics[name] = [
            FakePartition(ids[at % len(ids)], ids[at % len(ids) :] + ids[: at % len(ids)], list(ids))
            for at in range(partitions)
        ]
        return self.topics[name]

    def kill(self, broker_id: int, *, elect: bool = True) -> None:
        """The process is gone; with ``elect`` the controller notices."""
        self.peers[broker_id].kill()
        if elect:
            self.fail_over(broker_id)

    def fail_over(self, broker_id: int) -> None:
        self.fenced.add(broker_id)
        for partition in self._all():
            if broker_id in partition.isr:
                partition.isr = [each for each in partition.isr if each != broker_id]
            if partition.leader == broker_id:
                partition.leader = partition.isr[0] if partition.isr else -1
                partition.epoch += 1

    def _all(self) -> list[FakePartition]:
        return [partition for topic in self.topics.values() for partition in topic]

    def _serve(self, broker_id: int, peer: FakePeer) -> None:
        for key, handler in {
            ApiKey.METADATA: self._metadata,
            ApiKey.DESCRIBE_CLUSTER: self._describe_cluster,
            ApiKey.DESCRIBE_QUORUM: self._describe_quorum,
            ApiKey.DESCRIBE_TOPIC_PARTITIONS: self._describe_topics,
            ApiKey.DESCRIBE_CONFIGS: self._describe_configs,
            ApiKey.FIND_COORDINATOR: self._find_coordinator,
            ApiKey.LIST_OFFSETS: self._list_offsets,
            ApiKey.FETCH: self._fetch,
            ApiKey.LIST_GROUPS: self._list_groups,
            ApiKey.DESCRIBE_GROUPS: self._describe_groups,
            ApiKey.CONSUMER_GROUP_DESCRIBE: self._describe_consumer_groups,
            ApiKey.OFFSET_FETCH: self._offset_fetch,
            ApiKey.SHARE_GROUP_DESCRIBE: self._describe_share_groups,
            ApiKey.DESCRIBE_SHARE_GROUP_OFFSETS: self._describe_share_offsets,
            ApiKey.STREAMS_GROUP_DESCRIBE: self._describe_streams_groups,
            ApiKey.DESCRIBE_LOG_DIRS: self._describe_log_dirs,
        }.items():
            peer.on(key, lambda request, version, handler=handler: handler(broker_id, request))

    def _metadata(self, broker_id: int, request: Any) -> Any:
        r = metadata_response
        names = sorted(self.topics) if request.topics is None else [each.name for each in request.topics]
        return r.MetadataResponse(
            brokers=[
                r.MetadataResponseBroker(each, *self.peers[each].address)
                for each in self.peers
                if each not in self.fenced
            ],
            cluster_id="fake",
            controller_id=broker_id,
            topics=[
                r.MetadataResponseTopic(
                    error_code=0 if name in self.topics else UNKNOWN_TOPIC,
                    name=name,
                    topic_id=name.encode().ljust(16, b"_")[:16],
                    partitions=[
                        r.MetadataResponsePartition(
                            0, index, p.leader, p.epoch, p.replicas, p.isr, [e for e in p.replicas if e in self.fenced]
                        )
                        for index, p in enumerate(self.topics.get(name, []))
                    ],
                )
                for name in names
            ],
        )

    def _describe_cluster(self, broker_id: int, request: Any) -> Any:
        r = describe_cluster_response
        return r.DescribeClusterResponse(
            cluster_id="fake",
            controller_id=broker_id,
            brokers=[
                r.DescribeClusterBroker(each, *peer.address, None, each in self.fenced)
                for each, peer in self.peers.items()
                if request.include_fenced_brokers or each not in self.fenced
            ],
        )

    def _describe_quorum(self, broker_id: int, request: Any) -> Any:
        r = describe_quorum_response
        partition = r.PartitionData(
            leader_id=self.controller,
            leader_epoch=self.controller_epoch,
            high_watermark=100,
            current_voters=[r.ReplicaState(replica_id=each, log_end_offset=100) for each in self.peers],
        )
        return r.DescribeQuorumResponse(topics=[r.TopicData("__cluster_metadata", [partition])])

    def _describe_topics(self, broker_id: int, request: Any) -> Any:
        r = describe_topic_partitions_response
        return r.DescribeTopicPartitionsResponse(
            topics=[
                r.DescribeTopicPartitionsResponseTopic(
                    0 if each.name in self.topics else UNKNOWN_TOPIC,
                    each.name,
                    partitions=[
                        r.DescribeTopicPartitionsResponsePartition(0, index, p.leader, p.epoch, p.replicas, p.isr)
                        for index, p in enumerate(self.topics.get(each.name, []))
                    ],
                )
                for each in request.topics
            ]
        )

    def _describe_configs(self, broker_id: int, request: Any) -> Any:
        r = describe_configs_response
        values = [("min.insync.replicas", "2", 4), ("retention.ms", "5", 1), ("segment.ms", "7", 5)]
        return r.DescribeConfigsResponse(
            results=[
                r.DescribeConfigsResult(
                    resource_type=each.resource_type,
                    resource_name=each.resource_name,
                    configs=[
                        r.DescribeConfigsResourceResult(name=name, value=value, config_source=source)
                        for name, value, source in values
                    ],
                )
                for each in request.resources
            ]
        )

    def _find_coordinator(self, broker_id: int, request: Any) -> Any:
        r = find_coordinator_response
        return r.FindCoordinatorResponse(
            coordinators=[
                r.Coordinator(key, self.groups[key].coordinator, *self.peers[self.groups[key].coordinator].address)
                if key in self.groups
                else r.Coordinator(key, min(self.peers), *self.peers[min(self.peers)].address)
                for key in request.coordinator_keys
            ]
        )

    def _list_offsets(self, broker_id: int, request: Any) -> Any:
        r = list_offsets_response

        def one(topic: str, asked: Any) -> Any:
            known = self.topics.get(topic)
            if known is None or asked.partition_index >= len(known):
                return r.ListOffsetsPartitionResponse(asked.partition_index, UNKNOWN_TOPIC)
            p = known[asked.partition_index]
            if request.replica_id != -2 and p.leader != broker_id:
                return r.ListOffsetsPartitionResponse(asked.partition_index, NOT_LEADER)
            if asked.timestamp == -1:
                offset = p.ends.get(broker_id, p.end) if request.replica_id == -2 else p.end
            elif asked.timestamp == -2:
                offset = p.start
            else:
                headers = [header for batch in p.batches for header, _ in iter_batches(batch)]
                later = [each.base_offset for each in headers if each.max_timestamp >= asked.timestamp]
                offset = min(later, default=-1)
            return r.ListOffsetsPartitionResponse(asked.partition_index, 0, -1, offset, p.epoch)

        return r.ListOffsetsResponse(
            topics=[
                r.ListOffsetsTopicResponse(topic.name, [one(topic.name, each) for each in topic.partitions])
                for topic in request.topics
            ]
        )

    def _fetch(self, broker_id: int, request: Any) -> Any:
        r = fetch_response

        def one(topic: str, asked: Any) -> Any:
            known = self.topics.get(topic)
            if known is None:
                return r.PartitionData(asked.partition, UNKNOWN_TOPIC)
            p = known[asked.partition]
            if broker_id not in p.replicas:
                return r.PartitionData(asked.partition, NOT_LEADER)
            start, end = p.starts.get(broker_id, p.start), p.ends.get(broker_id, p.end)
            if not start <= asked.fetch_offset <= end:
                return r.PartitionData(asked.partition, OUT_OF_RANGE)
            data = b"".join(
                batch
                for batch in p.batches
                for header, _ in iter_batches(batch)
                if header.next_offset > asked.fetch_offset
            )
            aborted = [r.AbortedTransaction(*each) for each in p.aborted] if request.isolation_level else None
            hw = p.high_watermarks.get(broker_id, end)
            return r.PartitionData(asked.partition, 0, hw, hw, start, aborted_transactions=aborted, records=data)

        def make() -> Any:
            return r.FetchResponse(
                responses=[
                    r.FetchableTopicResponse(
                        topic.topic, partitions=[one(topic.topic, each) for each in topic.partitions]
                    )
                    for topic in request.topics
                ]
            )

        now = make()
        if any(each.records or each.error_code for topic in now.responses for each in topic.partitions):
            return now
        return Later(request.max_wait_ms / 1000, make)

    def _list_groups(self, broker_id: int, request: Any) -> Any:
        r = list_groups_response
        return r.ListGroupsResponse(
            groups=[
                r.ListedGroup(group_id, "consumer", group.state, group.kind.lower())
                for group_id, group in sorted(self.groups.items())
                if group.coordinator == broker_id
            ]
        )

    def _describe_groups(self, broker_id: int, request: Any) -> Any:
        r = describe_groups_response

        def one(group_id: str) -> Any:
            group = self._found(group_id, "Classic")
            if group is None:
                return r.DescribedGroup(69, f"Group {group_id} not found.", group_id, "Dead")
            if group.coordinator != broker_id:
                return r.DescribedGroup(NOT_COORDINATOR, None, group_id)
            members = [
                r.DescribedGroupMember(member_id, None, "client", "/h", b"", _assignment(share))
                for member_id, share in group.members.items()
            ]
            return r.DescribedGroup(0, None, group_id, group.state, "consumer", "range", members)

        return r.DescribeGroupsResponse(groups=[one(each) for each in request.groups])

    def _found(self, group_id: str, kind: str) -> FakeGroup | None:
        group = self.groups.get(group_id)
        return group if group is not None and group.kind == kind else None

    def _describe_consumer_groups(self, broker_id: int, request: Any) -> Any:
        r = consumer_group_describe_response
        return r.ConsumerGroupDescribeResponse(
            groups=[r.DescribedGroup(69, f"Group {each} not found.", each) for each in request.group_ids]
        )

    def _describe_share_groups(self, broker_id: int, request: Any) -> Any:
        r = share_group_describe_response

        def one(group_id: str) -> Any:
            group = self._found(group_id, "Share")
            if group is None:
                return r.DescribedGroup(69, f"Group {group_id} not found.", group_id)
            members = [
                r.Member(
                    member_id,
                    None,
                    4,
                    "client",
                    "/h",
                    assignment=r.Assignment(
                        [r.TopicPartitions(topic_name=each, partitions=share[each]) for each in share]
                    ),
                )
                for member_id, share in group.members.items()
            ]
            return r.DescribedGroup(0, None, group_id, group.state, 4, 4, "simple", members)

        return r.ShareGroupDescribeResponse(groups=[one(each) for each in request.group_ids])

    def _describe_share_offsets(self, broker_id: int, request: Any) -> Any:
        r = describe_share_group_offsets_response

        def one(group_id: str) -> Any:
            group = self._found(group_id, "Share")
            if group is None:
                return r.DescribeShareGroupOffsetsResponseGroup(group_id, [], 69)
            topics: dict[str, Any] = {}
            for (topic, partition), start in group.offsets.items():
                lag = group.lags.get((topic, partition), -1)
                topics.setdefault(topic, r.DescribeShareGroupOffsetsResponseTopic(topic)).partitions.append(
                    r.DescribeShareGroupOffsetsResponsePartition(partition, start, 0, lag)
                )
            return r.DescribeShareGroupOffsetsResponseGroup(group_id, list(topics.values()))

        return r.DescribeShareGroupOffsetsResponse(groups=[one(each.group_id) for each in request.groups])

    def _describe_streams_groups(self, broker_id: int, request: Any) -> Any:
        r = streams_group_describe_response

        def assigned(kinds: tuple[dict[str, list[int]], ...]) -> Any:
            return r.Assignment(*([r.TaskIds(each, kind[each]) for each in kind] for kind in kinds))

        def one(group_id: str) -> Any:
            group = self._found(group_id, "Streams")
            if group is None:
                return r.DescribedGroup(69, f"Group {group_id} not found.", group_id)
            parts = group.sources and [r.Subtopology(each, topics) for each, topics in group.sources.items()]
            members = [
                r.Member(member_id, 5, assignment=assigned(kinds), target_assignment=assigned(kinds))
                for member_id, kinds in group.tasks.items()
            ]
            return r.DescribedGroup(0, None, group_id, group.state, 5, 5, r.Topology(2, parts), members)

        return r.StreamsGroupDescribeResponse(groups=[one(each) for each in request.group_ids])

    def _offset_fetch(self, broker_id: int, request: Any) -> Any:
        r = offset_fetch_response

        def one(group_id: str) -> Any:
            group = self.groups.get(group_id)
            if group is not None and group.coordinator != broker_id:
                return r.OffsetFetchResponseGroup(group_id, [], NOT_COORDINATOR)
            topics: dict[str, Any] = {}
            for (topic, partition), offset in (group.offsets if group else {}).items():
                topics.setdefault(topic, r.OffsetFetchResponseTopics(topic)).partitions.append(
                    r.OffsetFetchResponsePartitions(partition, offset, -1, "", 0)
                )
            return r.OffsetFetchResponseGroup(group_id, list(topics.values()))

        return r.OffsetFetchResponse(groups=[one(each.group_id) for each in request.groups])

    def _describe_log_dirs(self, broker_id: int, request: Any) -> Any:
        r = describe_log_dirs_response
        return r.DescribeLogDirsResponse(
            results=[
                r.DescribeLogDirsResult(
                    log_dir=f"/data/{broker_id}",
                    total_bytes=1000,
                    usable_bytes=400,
                    topics=[
                        r.DescribeLogDirsTopic(
                            name,
                            [
                                r.DescribeLogDirsPartition(index, 10 * p.end, 0)
                                for index, p in enumerate(partitions)
                                if broker_id in p.replicas
                            ],
                        )
                        for name, partitions in self.topics.items()
                    ],
                )
            ]
        )


def _assignment(share: dict[str, list[int]]) -> bytes:
    parts = [consumer_protocol_assignment.TopicPartition(topic, indexes) for topic, indexes in share.items()]
    return b"\x00\x01" + codec.encode(ConsumerProtocolAssignment(assigned_partitions=parts), 1)

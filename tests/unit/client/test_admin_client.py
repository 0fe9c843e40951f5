"""The admin client against scripted brokers: who is asked, what one dead broker does to the rest."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from engine.client.admin import AdminClient
from engine.client.admin.configs import ConfigChange, ConfigOp, ConfigResource, ConfigSource, ResourceType
from engine.client.admin.group_descriptions import GroupDescription, StreamsTasks, Subtopology
from engine.client.admin.offsets import CommittedOffset, OffsetAt, OffsetSpec
from engine.client.admin.replicas import ReplicaWatermarks
from engine.client.admin.share_offsets import ShareOffset
from engine.client.admin.topics import CreatedTopic, NewTopic
from engine.client.errors import ClientError, ConnectionLost, NotReady, RequestTimedOut, UnsupportedApi
from engine.model.errors import ErrorCode, KafkaError
from engine.model.topic_partition import TopicPartition
from engine.wire.apis import ApiKey
from engine.wire.messages import create_topics_response, incremental_alter_configs_response
from engine.wire.messages.describe_cluster_response import DescribeClusterResponse
from engine.wire.messages.metadata_response import MetadataResponse
from tests.unit.client.fake_cluster import FakeCluster, FakeGroup
from tests.unit.client.fake_network import FakeWorld
from tests.unit.client.virtual_time import virtual_time

A0, A1, A2 = (TopicPartition("a", index) for index in range(3))


def made() -> tuple[FakeCluster, AdminClient]:
    world = FakeWorld()
    cluster = FakeCluster(world)
    cluster.add_topic("a", 3)
    return cluster, AdminClient(world, cluster.bootstrap, request_timeout_ms=2_000)


def now() -> float:
    return asyncio.get_running_loop().time() - 1_000


def keys_seen(cluster: FakeCluster, broker_id: int) -> list[ApiKey]:
    return [
        ApiKey(header.request_api_key)
        for header, _ in cluster.peers[broker_id].requests
        if header.request_api_key != 18
    ]


@virtual_time
async def test_metadata_has_brokers_topics_and_errors_of_single_topics() -> None:
    _, admin = made()
    metadata = await admin.metadata(["a", "nope"])
    assert metadata.cluster_id == "fake" and sorted(metadata.brokers) == [1, 2, 3]
    assert [each.leader for each in metadata.topics["a"].partitions] == [1, 2, 3]
    assert metadata.partition(A2) and metadata.partition(TopicPartition("a", 9)) is None
    error = metadata.topics["nope"].error
    assert error is not None and error.code is ErrorCode.UNKNOWN_TOPIC_OR_PARTITION


@virtual_time
async def test_a_dead_bootstrap_address_costs_no_time() -> None:
    cluster, admin = made()
    cluster.kill(1)
    assert (await admin.metadata()).cluster_id == "fake"
    assert now() == 0


@virtual_time
async def test_a_broker_that_does_not_answer_is_overtaken_by_the_next() -> None:
    cluster, admin = made()
    cluster.peers[1].silent = True
    assert (await admin.metadata()).cluster_id == "fake"
    assert now() == pytest.approx(0.3)
    before = now()
    await admin.metadata()
    assert now() == before, "who answered last is asked first"


@virtual_time
async def test_a_broker_that_has_not_joined_the_cluster_yet_is_passed_over() -> None:
    cluster, admin = made()
    for key, answer in (
        (ApiKey.METADATA, MetadataResponse(cluster_id="fake", controller_id=-1)),
        (ApiKey.DESCRIBE_CLUSTER, DescribeClusterResponse(cluster_id="fake", controller_id=-1)),
    ):
        cluster.peers[1].on(key, lambda request, version, answer=answer: answer)
    assert sorted((await admin.metadata()).topics) == ["a"]
    assert sorted((await admin.describe_cluster()).brokers) == [1, 2, 3]
    cluster.kill(2)
    cluster.kill(3)
    with pytest.raises(NotReady, match="b1:9092 has not joined the cluster yet"):
        await admin.metadata()


@virtual_time
async def test_when_nobody_answers_the_last_reason_is_told_within_the_timeout() -> None:
    cluster, admin = made()
    for broker_id in cluster.peers:
        cluster.peers[broker_id].silent = True
    with pytest.raises(RequestTimedOut, match="did not answer MetadataRequest within 2000 ms"):
        await admin.metadata()
    assert now() < 2.7
    for broker_id in cluster.peers:
        cluster.kill(broker_id, elect=False)
    with pytest.raises(ConnectionLost, match="refused"):
        await admin.metadata()


@virtual_time
async def test_a_change_is_sent_once_even_if_its_broker_is_slow() -> None:
    cluster, admin = made()
    for peer in cluster.peers.values():
        peer.on(ApiKey.CREATE_TOPICS, lambda request, version: None)
    with pytest.raises(RequestTimedOut):
        await admin.create_topics([NewTopic("b")], timeout_ms=3_000)
    assert sum(keys_seen(cluster, each).count(ApiKey.CREATE_TOPICS) for each in cluster.peers) == 1
    assert now() == pytest.approx(4.0)


@virtual_time
async def test_each_topic_that_is_created_has_its_own_outcome() -> None:
    cluster, admin = made()
    r = create_topics_response

    def create(request: Any, version: int) -> Any:
        topics = [
            r.CreatableTopicResult(each.name, bytes(16), 36, "exists")
            if each.name == "a"
            else r.CreatableTopicResult(each.name, b"i" * 16, 0, None, 0, each.num_partitions, 3)
            for each in request.topics
        ]
        return r.CreateTopicsResponse(topics=topics)

    cluster.peers[1].on(ApiKey.CREATE_TOPICS, create)
    outcomes = await admin.create_topics([NewTopic("a"), NewTopic("b", 4, 3, {"retention.ms": "1"})])
    assert outcomes["b"] == CreatedTopic("b", b"i" * 16, 4, 3)
    refused = outcomes["a"]
    assert isinstance(refused, KafkaError) and refused.code is ErrorCode.TOPIC_ALREADY_EXISTS


@virtual_time
async def test_offsets_are_asked_of_leaders_and_asked_again_where_the_leader_moved() -> None:
    cluster, admin = made()
    cluster.topics["a"][1].append(b"x", b"y")
    cluster.topics["a"][2].leader = -1
    await admin.metadata()
    cluster.topics["a"][1].leader = 3
    found = await admin.list_offsets(dict.fromkeys((A0, A1, A2, TopicPartition("no", 0)), OffsetSpec.LATEST))
    assert found[A0] == OffsetAt(0, -1, 0)
    assert found[A1] == OffsetAt(2, -1, 0)
    for each in (found[A2], found[TopicPartition("no", 0)]):
        assert isinstance(each, KafkaError) and each.code is ErrorCode.LEADER_NOT_AVAILABLE


@virtual_time
async def test_offsets_of_a_dead_leader_fail_alone() -> None:
    cluster, admin = made()
    await admin.metadata()
    cluster.kill(2, elect=False)
    found = await admin.list_offsets(dict.fromkeys((A0, A1, A2), OffsetSpec.EARLIEST))
    assert isinstance(found[A1], ClientError)
    assert found[A0] == found[A2] == OffsetAt(0, -1, 0)


@virtual_time
async def test_a_replica_tells_its_own_log_end() -> None:
    cluster, admin = made()
    cluster.topics["a"][0].append(b"x", b"y", b"z")
    cluster.topics["a"][0].ends = {3: 1}
    await admin.metadata()
    assert (await admin.list_offsets_of(3, {A0: OffsetSpec.LATEST}))[A0] == OffsetAt(1, -1, 0)
    assert (await admin.list_offsets_of(2, {A0: OffsetSpec.LATEST}))[A0] == OffsetAt(3, -1, 0)


@virtual_time
async def test_a_follower_tells_where_its_own_log_begins_and_is_committed() -> None:
    cluster, admin = made()
    partition = cluster.topics["a"][0]
    partition.append(b"x", b"y", b"z")
    partition.ends, partition.high_watermarks, partition.starts = {3: 2}, {3: 1, 2: 3}, {3: 1}
    await admin.metadata()
    began = now()
    assert await admin.replica_watermarks_of(3, {A0: 2}) == {A0: ReplicaWatermarks(1, 1)}
    assert await admin.replica_watermarks_of(2, {A0: 3}) == {A0: ReplicaWatermarks(0, 3)}
    # A fetch that waits for records would wait for those that the leader has not sent yet.
    assert now() == began
    refused = (await admin.replica_watermarks_of(3, {A0: 3}))[A0]
    assert isinstance(refused, KafkaError) and refused.code is ErrorCode.OFFSET_OUT_OF_RANGE


@virtual_time
async def test_groups_come_from_all_brokers_and_a_dead_one_is_named() -> None:
    cluster, admin = made()
    cluster.groups = {"g1": FakeGroup(1), "g2": FakeGroup(2), "g3": FakeGroup(3)}
    await admin.metadata()
    cluster.kill(2)
    listing = await admin.list_groups()
    assert [(each.group_id, each.coordinator) for each in listing.groups] == [("g1", 1), ("g3", 3)]
    assert list(listing.failures) == [2] and isinstance(listing.failures[2], ConnectionLost)


@virtual_time
async def test_a_group_whose_coordinator_moved_is_found_again() -> None:
    cluster, admin = made()
    cluster.groups["g"] = FakeGroup(1, members={"m": {"a": [2, 0]}}, offsets={("a", 0): 7})
    await admin.metadata()
    first = (await admin.describe_groups(["g"]))["g"]
    assert isinstance(first, GroupDescription) and first.coordinator == 1
    assert first.members[0].assignment == {"a": (0, 2)}
    cluster.groups["g"].coordinator = 3
    second = (await admin.describe_groups({"g": "classic"}))["g"]
    assert isinstance(second, GroupDescription) and second.coordinator == 3
    cluster.groups["g"].coordinator = 2
    assert (await admin.list_group_offsets(["g"]))["g"] == {A0: CommittedOffset(7, -1, "")}


@virtual_time
async def test_a_group_that_does_not_exist_fails_alone() -> None:
    cluster, admin = made()
    cluster.groups["g"] = FakeGroup(2)
    cluster.peers[1].versions[ApiKey.CONSUMER_GROUP_DESCRIBE] = (9, 9)
    await admin.metadata()
    outcomes = await admin.describe_groups({"g": "classic", "zz": "classic", "new": "quorum"})
    assert isinstance(outcomes["g"], GroupDescription)
    missing = outcomes["zz"]
    assert isinstance(missing, KafkaError) and missing.code is ErrorCode.GROUP_ID_NOT_FOUND
    assert isinstance(outcomes["new"], UnsupportedApi)


@virtual_time
async def test_each_type_of_group_is_described_in_its_own_way_and_found_where_its_type_is_not_known() -> None:
    cluster, admin = made()
    cluster.groups["sh"] = FakeGroup(1, members={"m": {"a": [1, 0]}}, offsets={("a", 0): 7}, kind="Share")
    cluster.groups["st"] = FakeGroup(
        1, kind="Streams", sources={"0": ["b", "a"]}, tasks={"m": ({"0": [1]}, {"0": [2]})}
    )
    await admin.metadata()
    for asked in ({"sh": "share", "st": "streams"}, ["sh", "st"]):
        outcomes = await admin.describe_groups(asked)
        share, streams = outcomes["sh"], outcomes["st"]
        assert isinstance(share, GroupDescription) and (share.group_type, share.group_epoch) == ("share", 4)
        assert share.members[0].assignment == {"a": (0, 1)} and share.members[0].protocol == "share"
        assert isinstance(streams, GroupDescription) and streams.topology is not None
        assert streams.topology.subtopologies == (Subtopology("0", ("a", "b"), (), (), ()),)
        assert streams.members[0].tasks == StreamsTasks({"0": (1,)}, {"0": (2,)}, {})
        assert streams.members[0].assignment is None and streams.members[0].member_epoch == 5


@virtual_time
async def test_share_groups_of_a_broker_without_their_requests_fail_alone() -> None:
    cluster, admin = made()
    cluster.groups["g"] = FakeGroup(1)
    cluster.groups["sh"] = FakeGroup(1, kind="Share", offsets={("a", 0): 7})
    # As Kafka 4.1 is: no lag in version 0 of the one, and of the other only a version of early access.
    cluster.peers[1].versions[ApiKey.DESCRIBE_SHARE_GROUP_OFFSETS] = (0, 0)
    cluster.peers[1].versions[ApiKey.SHARE_GROUP_DESCRIBE] = (0, 0)
    await admin.metadata()
    outcomes = await admin.describe_groups({"g": "classic", "sh": "share"})
    assert isinstance(outcomes["g"], GroupDescription) and isinstance(outcomes["sh"], UnsupportedApi)
    assert await admin.list_share_group_offsets_of(1, ["sh"]) == {"sh": {A0: ShareOffset(7, 0, None)}}


@virtual_time
async def test_configs_of_one_broker_are_asked_of_it_and_a_dead_one_fails_alone() -> None:
    cluster, admin = made()
    await admin.metadata()
    topic, broker = ConfigResource(ResourceType.TOPIC, "a"), ConfigResource(ResourceType.BROKER, "3")
    dead = ConfigResource(ResourceType.BROKER, "2")
    cluster.kill(2)
    found = await admin.describe_configs([topic, broker, dead])
    entries = found[topic]
    assert isinstance(entries, list)
    assert [(each.name, each.source) for each in entries] == [
        ("min.insync.replicas", ConfigSource.STATIC_BROKER_CONFIG),
        ("retention.ms", ConfigSource.DYNAMIC_TOPIC_CONFIG),
        ("segment.ms", ConfigSource.DEFAULT_CONFIG),
    ]
    assert isinstance(found[broker], list) and isinstance(found[dead], ConnectionLost)
    assert keys_seen(cluster, 3) == [ApiKey.DESCRIBE_CONFIGS]


@virtual_time
async def test_config_changes_are_incremental() -> None:
    cluster, admin = made()
    seen: list[Any] = []
    r = incremental_alter_configs_response

    def alter(request: Any, version: int) -> Any:
        seen.extend(request.resources)
        return r.IncrementalAlterConfigsResponse(
            responses=[r.AlterConfigsResourceResponse(40, "no such config", 2, "a")]
        )

    cluster.peers[1].on(ApiKey.INCREMENTAL_ALTER_CONFIGS, alter)
    resource = ConfigResource(ResourceType.TOPIC, "a")
    outcome = await admin.alter_configs(
        {resource: [ConfigChange("x", ConfigOp.SET, "1"), ConfigChange("y", ConfigOp.DELETE)]}
    )
    assert [(each.name, each.config_operation, each.value) for each in seen[0].configs] == [
        ("x", 0, "1"),
        ("y", 1, None),
    ]
    assert isinstance(outcome[resource], KafkaError)


@virtual_time
async def test_log_dirs_of_several_brokers_come_together() -> None:
    cluster, admin = made()
    cluster.topics["a"][0].append(b"x")
    await admin.metadata()
    cluster.peers[3].silent = True
    found = await admin.describe_log_dirs([1, 2, 3])
    assert isinstance(found[3], RequestTimedOut) and now() == pytest.approx(2.0)
    directories = found[1]
    assert isinstance(directories, tuple)
    assert (directories[0].path, directories[0].total_bytes, directories[0].usable_bytes) == ("/data/1", 1000, 400)
    assert directories[0].replicas[A0].size_bytes == 10


@virtual_time
async def test_an_api_that_the_cluster_has_not_is_said_so() -> None:
    cluster, admin = made()
    for peer in cluster.peers.values():
        del peer.versions[ApiKey.DESCRIBE_QUORUM]
        del peer.versions[ApiKey.DESCRIBE_CLUSTER]
        del peer.versions[ApiKey.DESCRIBE_TOPIC_PARTITIONS]
    with pytest.raises(UnsupportedApi, match="DESCRIBE_QUORUM"):
        await admin.describe_quorum()
    assert sorted((await admin.describe_cluster()).brokers) == [1, 2, 3]
    assert list(await admin.describe_topics(["a"])) == ["a"]


@virtual_time
async def test_after_close_everything_is_refused() -> None:
    cluster, admin = made()
    await admin.metadata()
    admin.close()
    with pytest.raises(ConnectionLost):
        await admin.metadata()
    assert all(transport.ended for peer in cluster.peers.values() for transport in peer.transports)

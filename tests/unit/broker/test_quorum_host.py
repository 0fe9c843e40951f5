"""The metadata quorum in its shell: elections, forwarding, snapshots, restarts, and disks that fail under it."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from engine.broker.quorum.batches import MetadataNotUnderstood
from engine.broker.quorum.snapshot_files import SnapshotCorrupt, decode_snapshot, encode_bootstrap
from engine.core.controller.feature_control import bootstrap_records
from engine.model.errors import ErrorCode, KafkaError
from engine.wire.messages.allocate_producer_ids_request import AllocateProducerIdsRequest
from engine.wire.messages.create_topics_request import CreatableTopic, CreateTopicsRequest
from engine.wire.messages.describe_quorum_request import DescribeQuorumRequest, PartitionData, TopicData
from engine.wire.messages.fetch_request import FetchRequest
from tests.unit.broker.broker_requests import create_topic, new_producer_id, produce_ok, state_of
from tests.unit.broker.in_process_cluster import CONTROLLER_PORT, InProcessCluster

METADATA = "__cluster_metadata-0"
SMALL_SNAPSHOTS = {"metadata.log.max.record.bytes.between.snapshots": "500", "metadata.log.segment.bytes": "8388608"}


def snapshots_of(cluster: InProcessCluster, node_id: int) -> list[str]:
    directory = Path(cluster.log_dir(node_id), METADATA)
    return sorted(each for each in os.listdir(directory) if each.endswith(".checkpoint"))


async def until_same_metadata(cluster: InProcessCluster) -> None:
    """Wait until all have applied the same; then their images must be the same too."""
    await cluster.until(lambda: len({each.metadata.image.offset for each in cluster}) == 1)
    images = [sorted(map(repr, each.metadata.image.to_records())) for each in cluster]
    assert all(each == images[0] for each in images)


async def test_three_nodes_elect_one_leader_and_each_knows_it(cluster: InProcessCluster) -> None:
    leader = cluster.controller_id
    await cluster.until(lambda: {each.quorum.leader_and_epoch.leader_id for each in cluster} == {leader})
    assert [each.quorum.is_leader for each in cluster].count(True) == 1
    await until_same_metadata(cluster)


async def test_when_the_leader_dies_another_one_acts_at_once_and_nothing_is_lost(cluster: InProcessCluster) -> None:
    await create_topic(cluster, "before", [[1, 2, 3]])
    for _ in range(3):
        dead = cluster.controller_id
        epoch = cluster[dead].quorum.leader_and_epoch.epoch
        started = asyncio.get_running_loop().time()
        await cluster.kill(dead)
        await cluster.until(lambda: any(each.controller and each.controller.is_active for each in cluster))
        assert asyncio.get_running_loop().time() - started < 1
        alive = next(iter(cluster))
        assert alive.quorum.leader_and_epoch.epoch > epoch
        await create_topic(cluster, f"without-{dead}-{epoch}", [[each for each in cluster.incarnations]])
        await cluster.start(dead)
        await until_same_metadata(cluster)
        assert "before" in cluster[dead].metadata.image.topics_by_name


async def test_a_leader_that_stops_hands_over_before_it_goes(cluster: InProcessCluster) -> None:
    leaving = cluster.controller_id
    await cluster.stop(leaving)
    assert cluster.notes("quorum_leader_resigned")
    await cluster.until(lambda: any(each.controller and each.controller.is_active for each in cluster), timeout_s=1)


async def test_requests_for_the_controller_may_be_sent_to_any_broker(cluster: InProcessCluster) -> None:
    for node_id in cluster.node_ids:
        request = CreateTopicsRequest([CreatableTopic(f"t{node_id}", 1, 3)], timeout_ms=3000)
        response = await cluster.ask(node_id, request, 7)
        assert response.topics[0].error_code == 0
    # On the controllers' own listener only the active one answers.
    for node_id in cluster.node_ids:
        connection = await cluster.connection(node_id, port=CONTROLLER_PORT)
        request = CreateTopicsRequest([CreatableTopic(f"c{node_id}", 1, 3)], timeout_ms=3000)
        response = await connection.send(request, version=7)
        code = ErrorCode(response.topics[0].error_code)
        assert code is (ErrorCode.NONE if node_id == cluster.controller_id else ErrorCode.NOT_CONTROLLER)


async def test_a_request_waits_for_the_next_controller_when_the_old_one_dies(cluster: InProcessCluster) -> None:
    dead = cluster.controller_id
    asked = next(each for each in cluster.node_ids if each != dead)
    kill = asyncio.ensure_future(cluster.kill(dead))
    request = CreateTopicsRequest([CreatableTopic("t", 1, 2)], timeout_ms=5000)
    response = await cluster.ask(asked, request, 7)
    assert ErrorCode(response.topics[0].error_code) is ErrorCode.NONE
    await kill


async def test_without_a_majority_requests_time_out_with_an_error(cluster: InProcessCluster) -> None:
    for node_id in (1, 2):
        await cluster.kill(node_id)
    request = CreateTopicsRequest([CreatableTopic("t", 1, 1)], timeout_ms=300)
    response = await cluster.ask(3, request, 7)
    assert ErrorCode(response.topics[0].error_code) in (ErrorCode.NOT_CONTROLLER, ErrorCode.REQUEST_TIMED_OUT)


async def test_snapshots_are_written_and_a_node_that_starts_again_loads_the_newest(tmp_path: Path) -> None:
    async with InProcessCluster(tmp_path, configs=SMALL_SNAPSHOTS) as cluster:
        for number in range(12):
            await create_topic(cluster, f"t{number}", [[1, 2, 3]])
        await cluster.until(lambda: snapshots_of(cluster, 2))
        assert cluster.notes("snapshot_written")
        await cluster.kill(2)
        await cluster.start(2)
        host = cluster[2].quorum
        assert host.machine.log.snapshot_ids
        await until_same_metadata(cluster)
        for number in range(12):
            assert state_of(cluster, f"t{number}", at=2).replicas == (1, 2, 3)
        await produce_ok(cluster, 1, "t0", b"x")


async def test_a_node_that_missed_what_was_cleaned_away_fetches_the_snapshot(tmp_path: Path) -> None:
    configs = {**SMALL_SNAPSHOTS, "metadata.max.retention.bytes": "100", "metadata.max.retention.ms": "1"}
    async with InProcessCluster(tmp_path, configs=configs) as cluster:
        await create_topic(cluster, "early", [[1, 2, 3]])
        behind = next(each for each in cluster.node_ids if each != cluster.controller_id)
        await cluster.kill(behind)
        for number in range(25):
            await create_topic(cluster, f"t{number}", [[each for each in cluster.incarnations]])
        leader = cluster[cluster.controller_id]
        await cluster.until(lambda: leader.quorum.machine.log.start_offset > 0, "the log was cleaned")
        await cluster.start(behind)
        assert cluster[behind].quorum.machine.log.start_offset > 0
        await until_same_metadata(cluster)
        assert "early" in cluster[behind].metadata.image.topics_by_name
        # Its replicas know of their topics as well.
        await create_topic(cluster, "late", [[behind]])
        await produce_ok(cluster, behind, "late", b"x")


async def test_all_nodes_may_be_killed_at_once(cluster: InProcessCluster) -> None:
    await create_topic(cluster, "t", [[1, 2, 3]])
    await produce_ok(cluster, 1, "t", b"x")
    for node_id in cluster.node_ids:
        await cluster.kill(node_id)
    await cluster.start()
    await cluster.until(lambda: state_of(cluster, "t").leader > 0)
    assert await produce_ok(cluster, state_of(cluster, "t").leader, "t", b"y") == 1


async def test_blocks_of_producer_ids_never_overlap(cluster: InProcessCluster) -> None:
    given = [await new_producer_id(cluster, node_id) for node_id in cluster.node_ids for _ in range(3)]
    dead = cluster.controller_id
    await cluster.kill(dead)
    await cluster.start(dead)
    given += [await new_producer_id(cluster, node_id) for node_id in cluster.node_ids for _ in range(3)]
    assert len(set(given)) == len(given) == 18


async def test_producer_ids_are_refused_to_brokers_of_the_past(cluster: InProcessCluster) -> None:
    epoch = cluster[1].lifecycle.broker_epoch  # type: ignore[union-attr]
    for broker_epoch, expected in ((epoch - 1, ErrorCode.STALE_BROKER_EPOCH), (epoch, ErrorCode.NONE)):
        response = await cluster.ask_controller(AllocateProducerIdsRequest(1, broker_epoch), 0)
        assert ErrorCode(response.error_code) is expected


async def test_the_quorum_is_described_by_whoever_is_asked(cluster: InProcessCluster) -> None:
    request = DescribeQuorumRequest([TopicData("__cluster_metadata", [PartitionData(0)])])
    for node_id in cluster.node_ids:
        response = await cluster.ask(node_id, request, 2)
        (described,) = response.topics[0].partitions
        assert (response.error_code, described.error_code, described.leader_id) == (0, 0, cluster.controller_id)
        assert {each.replica_id for each in described.current_voters} == {1, 2, 3}


async def test_fetches_of_strangers_on_the_controllers_listener_are_refused(cluster: InProcessCluster) -> None:
    connection = await cluster.connection(1, port=CONTROLLER_PORT)
    response = await connection.send(FetchRequest(), version=12)
    assert ErrorCode(response.error_code) is ErrorCode.INVALID_REQUEST
    response = await connection.send(FetchRequest(cluster_id="another"), version=12)
    assert ErrorCode(response.error_code) is ErrorCode.INCONSISTENT_CLUSTER_ID


@pytest.mark.parametrize("fault", ["failing_appends", "failing_syncs"])
async def test_a_disk_that_fails_under_the_quorum_ends_the_node_and_not_the_cluster(
    cluster: InProcessCluster, fault: str
) -> None:
    broken = cluster.controller_id
    broker = cluster[broken]
    setattr(cluster.faults(broken), fault, METADATA)
    asked = next(each for each in cluster.node_ids if each != broken)
    request = CreateTopicsRequest([CreatableTopic("t", 1, 2)], timeout_ms=5000)
    asking = asyncio.ensure_future(cluster.ask(asked, request, 7))
    await asyncio.wait_for(broker.failed.wait(), 2)
    assert broker.controller is not None
    # A process would end now; whatever is asked of it before, it says nothing that could be untrue.
    await cluster.stop(broken, controlled=False)
    # The request is asked again of the next controller, which may know the first one's work.
    assert ErrorCode((await asking).topics[0].error_code) in (ErrorCode.NONE, ErrorCode.TOPIC_ALREADY_EXISTS)
    await cluster.start(broken)
    await until_same_metadata(cluster)


async def test_no_vote_is_told_before_it_is_on_the_disk(cluster: InProcessCluster) -> None:
    leader = cluster.controller_id
    others = [each for each in cluster.node_ids if each != leader]
    for each in others:
        cluster.faults(each).stall("quorum-state")
    epoch = cluster[leader].quorum.leader_and_epoch.epoch
    await cluster.kill(leader)
    await cluster.until(lambda: any(cluster.faults(each).waiting for each in others))
    await asyncio.sleep(0.1)
    assert not any(cluster[each].quorum.is_leader for each in others)
    for each in others:
        cluster.faults(each).release()
    await cluster.until(lambda: any(cluster[each].quorum.is_leader for each in others))
    assert cluster[others[0]].quorum.leader_and_epoch.epoch > epoch


async def test_no_metadata_is_committed_before_a_majority_has_it_on_the_disk(cluster: InProcessCluster) -> None:
    for each in cluster.node_ids:
        cluster.faults(each).stall(f"{METADATA}/")
    request = CreateTopicsRequest([CreatableTopic("t", 1, 3)], timeout_ms=5000)
    asking = asyncio.ensure_future(cluster.ask(1, request, 7))
    await cluster.until(lambda: cluster.faults(cluster.controller_id).waiting)
    await asyncio.sleep(0.05)
    assert not asking.done() and not any("t" in each.metadata.image.topics_by_name for each in cluster)
    for each in cluster.node_ids:
        cluster.faults(each).release()
    assert ErrorCode((await asking).topics[0].error_code) is ErrorCode.NONE


async def test_a_broker_that_is_no_voter_follows_the_quorum_and_serves(tmp_path: Path) -> None:
    async with InProcessCluster(tmp_path, 4) as cluster:
        assert cluster[4].controller is None and not cluster[4].quorum.machine.is_voter
        await create_topic(cluster, "t", [[4, 1]])
        assert await produce_ok(cluster, 4, "t", b"x") == 0
        request = DescribeQuorumRequest([TopicData("__cluster_metadata", [PartitionData(0)])])
        described = (await cluster.ask(4, request, 2)).topics[0].partitions[0]
        assert [each.replica_id for each in described.observers] == [4]
        # The controller moves, and it goes along.
        await cluster.kill(cluster.controller_id)
        await cluster.until(lambda: any(each.controller and each.controller.is_active for each in cluster))
        await create_topic(cluster, "u", [[4]])
        assert await produce_ok(cluster, 4, "u", b"x") == 0
        await cluster.kill(4)
        await cluster.start(4)
        assert await produce_ok(cluster, 4, "u", b"y") == 1
        assert await new_producer_id(cluster, 4) >= 0


def test_a_bit_that_flips_in_a_snapshot_is_no_other_metadata() -> None:
    content = bytearray(encode_bootstrap(bootstrap_records(), now_ms=1_000))
    assert decode_snapshot(content)
    flipped = 0
    for at in range(0, len(content), 7):
        content[at] ^= 1
        try:
            assert decode_snapshot(content) == bootstrap_records(), f"byte {at} is another, and so is the metadata"
        except (KafkaError, SnapshotCorrupt, MetadataNotUnderstood):
            flipped += 1
        content[at] ^= 1
    assert flipped

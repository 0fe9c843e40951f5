"""Controllers that join the quorum of running brokers and leave it (KIP-853): requests, the log, restarts."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from engine.broker.quorum.voters import read_voters
from engine.model.errors import ErrorCode
from engine.wire.messages import add_raft_voter_request
from engine.wire.messages.add_raft_voter_request import AddRaftVoterRequest
from engine.wire.messages.api_versions_request import ApiVersionsRequest
from engine.wire.messages.describe_quorum_request import DescribeQuorumRequest, PartitionData, TopicData
from engine.wire.messages.remove_raft_voter_request import RemoveRaftVoterRequest
from engine.wire.messages.update_features_request import FeatureUpdateKey, UpdateFeaturesRequest
from engine.world.real import RealDisk
from tests.unit.broker.broker_requests import create_topic, produce_ok
from tests.unit.broker.in_process_cluster import CONTROLLER_PORT, PORT, InProcessCluster

# Voters tell a new leader what they can do after the fetch timeout, which must be longer than a fetch waits.
FAST = {"controller.quorum.fetch.timeout.ms": "900", "controller.quorum.request.timeout.ms": "8000"}
# What makes the fourth node a controller that finds the quorum by asking the first three.
CONTROLLER_4 = {
    "process.roles": "broker,controller",
    "listeners": f"PLAINTEXT://broker-4:{PORT},CONTROLLER://broker-4:{CONTROLLER_PORT}",
    "controller.quorum.voters": "",
    "controller.quorum.bootstrap.servers": ",".join(f"broker-{each}:{CONTROLLER_PORT}" for each in (1, 2, 3)),
}


class Cluster(InProcessCluster):
    """Three voters, and a controller that is none yet."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, 4, FAST)
        self.own_configs[4] = dict(CONTROLLER_4)

    def directory_id(self, node_id: int) -> bytes:
        return self[node_id].quorum.local.directory_id

    async def upgrade(self) -> None:
        """kraft.version 1, once every voter told the leader what it can do."""

        async def try_it() -> Any:
            update = FeatureUpdateKey(feature="kraft.version", max_version_level=1, upgrade_type=1)
            return await self.ask(1, UpdateFeaturesRequest(feature_updates=[update]), 2)

        for _ in range(100):
            answer = await try_it()
            if answer.error_code == 0:
                return
            assert "not all of the voters support it" in answer.error_message, answer.error_message
            await asyncio.sleep(0.02)
        raise AssertionError(answer.error_message)

    async def add(self, node_id: int, at: int = 1, **changed: Any) -> Any:
        values = {
            "cluster_id": None,
            "voter_id": node_id,
            "voter_directory_id": self.directory_id(4),
            "listeners": [add_raft_voter_request.Listener("CONTROLLER", f"broker-{node_id}", CONTROLLER_PORT)],
        }
        return await self.change(at, AddRaftVoterRequest(**{**values, **changed}), 1)

    async def remove(self, node_id: int, at: int = 1, directory_id: bytes | None = None) -> Any:
        request = RemoveRaftVoterRequest(
            cluster_id=None,
            voter_id=node_id,
            voter_directory_id=self.directory_id(node_id) if directory_id is None else directory_id,
        )
        return await self.change(at, request, 0)

    async def change(self, at: int, request: Any, version: int) -> Any:
        """The answer; asks again while a new leader is not known or has committed nothing, as Kafka's clients do."""
        for _ in range(200):
            answer = await self.ask(at, request, version)
            if answer.error_code != ErrorCode.NOT_LEADER_OR_FOLLOWER and "HWM" not in (answer.error_message or ""):
                break
            await asyncio.sleep(0.02)
        return answer

    async def active(self) -> int:
        """The node of the one controller that is active, once there is one."""
        await self.until(lambda: [each.controller.is_active for each in self if each.controller].count(True) == 1)
        return self.controller_id

    async def until_voters(self, *node_ids: int) -> None:
        """Wait until each node that runs knows that these vote."""
        await self.until(lambda: all(each.quorum.voters.ids == node_ids for each in self), f"the voters are {node_ids}")

    async def describe(self, at: int = 1) -> Any:
        request = DescribeQuorumRequest(topics=[TopicData("__cluster_metadata", [PartitionData(0)])])
        return await self.ask(at, request, 2)


@pytest.fixture
async def cluster(tmp_path: Path) -> Any:
    async with Cluster(tmp_path) as started:
        yield started


async def test_a_controller_becomes_a_voter_and_others_leave(cluster: Cluster) -> None:
    await create_topic(cluster, "t", [[1, 2, 3]])
    assert (await cluster.add(4)).error_code == ErrorCode.UNSUPPORTED_VERSION
    assert (await cluster.remove(3)).error_code == ErrorCode.UNSUPPORTED_VERSION
    await cluster.upgrade()
    await cluster.upgrade()  # again: nothing to do
    versions = await cluster.ask(2, ApiVersionsRequest("x", "1"), 4)
    assert [each.max_version_level for each in versions.finalized_features if each.name == "kraft.version"] == [1]

    answer = await cluster.add(4, at=2)
    assert (answer.error_code, answer.error_message) == (0, None)
    await cluster.until_voters(1, 2, 3, 4)
    described = await cluster.describe(3)
    voters = described.topics[0].partitions[0].current_voters
    assert [(each.replica_id, each.replica_directory_id) for each in voters] == [
        (each, cluster.directory_id(each)) for each in (1, 2, 3, 4)
    ]
    assert [(each.node_id, each.listeners[0].host) for each in described.nodes] == [
        (each, f"broker-{each}") for each in (1, 2, 3, 4)
    ]
    assert (await cluster.add(4)).error_code == ErrorCode.DUPLICATE_VOTER

    # Everybody may go, the leader too, until one is left.
    for _ in range(3):
        leader = await cluster.active()
        answer = await cluster.remove(leader)
        assert answer.error_code == 0, answer.error_message
        await cluster.until(lambda leader=leader: leader not in cluster[leader].quorum.voters)
        await cluster.until(
            lambda leader=leader: [
                each for each in cluster if each.controller.is_active and each.config.node_id != leader
            ]
        )
        await produce_ok(cluster, 1, "t", b"x")
    # Broker 1 may be none of the voters any more, and hear of the last change a moment later.
    await cluster.until(lambda: len(cluster[1].quorum.voters) == 1)
    (last,) = cluster[1].quorum.voters.ids
    assert (await cluster.remove(last)).error_code == ErrorCode.VOTER_NOT_FOUND, "the last voter stays"
    await create_topic(cluster, "by-the-last", [[1, 2, 3]])
    await cluster.until_voters(last)


async def test_what_is_refused(cluster: Cluster) -> None:
    await cluster.upgrade()
    elsewhere = add_raft_voter_request.Listener("ELSEWHERE", "broker-4", CONTROLLER_PORT)
    cases = {
        "voter_id": (-1, ErrorCode.INVALID_REQUEST, "didn't include a valid voter"),
        "voter_directory_id": (bytes(16), ErrorCode.INVALID_REQUEST, "didn't include a valid voter"),
        "listeners": ([elsewhere], ErrorCode.INVALID_REQUEST, "for the default listener"),
        "cluster_id": ("another", ErrorCode.INCONSISTENT_CLUSTER_ID, "doesn't match the cluster id"),
    }
    for name, (value, code, said) in cases.items():
        answer = await cluster.add(4, **{name: value})
        assert answer.error_code == code and said in answer.error_message, (name, answer.error_message)
    # Nobody fetches with this directory, so it has not caught up.
    answer = await cluster.add(4, voter_directory_id=b"?" * 16)
    assert answer.error_code == ErrorCode.REQUEST_TIMED_OUT and "lagging behind" in answer.error_message
    answer = await cluster.remove(3, directory_id=b"?" * 16)
    assert answer.error_code == ErrorCode.VOTER_NOT_FOUND
    # Nobody is there to say what it can do.
    nowhere = [add_raft_voter_request.Listener("CONTROLLER", "nowhere", 1)]
    answer = await cluster.add(9, voter_directory_id=b"?" * 16, listeners=nowhere)
    assert answer.error_code == ErrorCode.REQUEST_TIMED_OUT and "not ready" in answer.error_message
    # On the controllers' own listener only the leader answers.
    controller = await cluster.active()
    follower = next(each for each in (1, 2, 3) if each != controller)
    connection = await cluster.connection(follower, port=CONTROLLER_PORT)
    request = RemoveRaftVoterRequest(cluster_id=None, voter_id=4, voter_directory_id=b"?" * 16)
    assert (await connection.send(request, version=0)).error_code == ErrorCode.NOT_LEADER_OR_FOLLOWER
    await cluster.until_voters(1, 2, 3)


async def test_the_voters_are_those_of_the_log_after_a_restart_and_in_snapshots(cluster: Cluster) -> None:
    await cluster.upgrade()
    assert (await cluster.add(4)).error_code == 0
    controller = await cluster.active()
    gone = next(each for each in (1, 2, 3) if each != controller)
    assert (await cluster.remove(gone)).error_code == 0
    left = tuple(each for each in (1, 2, 3, 4) if each != gone)
    await cluster.until_voters(*left)
    quorum = cluster[4].quorum
    await cluster.until(lambda: quorum.applied_offset == quorum.high_watermark)
    task = quorum.make_snapshot("the test wants one")
    assert task is not None
    await task
    for node_id in cluster.node_ids:
        await cluster.kill(node_id)
    for node_id in left:
        newest = read_voters(RealDisk(), cluster.log_dir(node_id))[-1]
        assert newest.kraft_version == 1 and newest.voters.ids == left
    # The properties of the first three still name them all.
    await cluster.start()
    await cluster.until_voters(*left)
    assert await cluster.active() in left
    await create_topic(cluster, "t", [[1, 2, 3]])


async def test_a_voter_that_moved_says_where_it_is(cluster: Cluster) -> None:
    await cluster.upgrade()
    assert (await cluster.add(4)).error_code == 0
    await cluster.until_voters(1, 2, 3, 4)
    await cluster.kill(4)
    moved = CONTROLLER_PORT + 1
    cluster.own_configs[4]["listeners"] = f"PLAINTEXT://broker-4:{PORT},CONTROLLER://broker-4:{moved}"
    await cluster.start(4)
    await cluster.until(lambda: all(each.quorum.voters.endpoint(4).port == moved for each in cluster))

"""flush.messages=1: nothing counts before its fsync returned, and what failed once is never trusted again (L4)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from engine.model.errors import ErrorCode
from engine.wire.messages.describe_log_dirs_request import DescribeLogDirsRequest
from tests.unit.broker.broker_requests import (
    alter_config,
    batch,
    create_topic,
    delete_topic,
    fetch_one,
    pause_follower,
    produce,
    produce_ok,
    produce_request,
    replica_of,
    resume_all,
    resume_follower,
    state_of,
    until_in_sync,
    until_led_by,
    values,
)
from tests.unit.broker.in_process_cluster import InProcessCluster

FSYNC = {"log.flush.interval.messages": "1"}


@pytest.fixture
async def durable(tmp_path: Path) -> AsyncIterator[InProcessCluster]:
    """Three brokers that sync every append."""
    async with InProcessCluster(tmp_path, configs=FSYNC) as cluster:
        yield cluster


@pytest.fixture
async def two_disks(tmp_path: Path) -> AsyncIterator[InProcessCluster]:
    """Three brokers with two log directories each; the metadata is in the first."""
    async with InProcessCluster(tmp_path, log_dirs=2) as cluster:
        yield cluster


def directory_of(cluster: InProcessCluster, node_id: int, topic: str) -> str:
    return cluster[node_id].log_dirs.path_of(replica_of(cluster, node_id, topic).topic_partition)


async def create_in(cluster: InProcessCluster, index: int, node_id: int, replicas: list[int]) -> str:
    """A topic whose replica on ``node_id`` is in the log directory of that number."""
    for number in range(4):
        name = f"t{number}-in-{index}"
        await create_topic(cluster, name, [replicas])
        if directory_of(cluster, node_id, name) == cluster.log_dir(node_id, index):
            return name
    raise AssertionError("no topic came to that directory")


@pytest.mark.parametrize("acks", [-1, 1])
async def test_no_acknowledgement_leaves_before_the_leaders_sync(durable: InProcessCluster, acks: int) -> None:
    await create_topic(durable, "t", [[1, 2, 3]])
    durable.faults(1).stall("/t-0/0000")
    waiting = asyncio.ensure_future(produce(durable, 1, "t", acks=acks))
    await durable.until(lambda: durable.faults(1).waiting)
    await asyncio.sleep(0.05)
    assert not waiting.done()
    replica = replica_of(durable, 1, "t")
    assert (replica.log.log_end_offset, replica.partition.high_watermark) == (1, 0)
    durable.faults(1).release()
    answer = await waiting
    assert (answer.error_code, answer.base_offset) == (0, 0)


async def test_no_acknowledgement_leaves_before_the_followers_syncs(durable: InProcessCluster) -> None:
    await create_topic(durable, "t", [[1, 2, 3]])
    durable.faults(3).stall("/t-0/0000")
    waiting = asyncio.ensure_future(produce(durable, 1, "t"))
    await durable.until(lambda: durable.faults(3).waiting)
    await asyncio.sleep(0.05)
    # It has the record, but does not say so.
    assert replica_of(durable, 3, "t").log.log_end_offset == 1 and not waiting.done()
    durable.faults(3).release()
    assert (await waiting).error_code == 0


async def test_a_sync_covers_all_that_was_appended_before_it(durable: InProcessCluster) -> None:
    await create_topic(durable, "t", [[1]])
    durable.faults(1).stall("/t-0/0000")
    connection = await durable.connect(1)
    answers = [connection.post(produce_request("t", batch(b"%d" % each)), version=12) for each in range(50)]
    await durable.until(lambda: replica_of(durable, 1, "t").log.log_end_offset == 50)
    before = len(durable.faults(1).syncs)
    durable.faults(1).release()
    assert [(await each).responses[0].partition_responses[0].base_offset for each in answers] == list(range(50))
    # One that was under way when most of them came, one for all of these (and what the metadata log needs).
    syncs = [each for each in durable.faults(1).syncs[before:] if "/t-0/0000" in each]
    assert len(syncs) <= 2
    connection.close()


async def test_syncing_can_be_switched_on_and_off_at_run_time(cluster: InProcessCluster) -> None:
    await create_topic(cluster, "t", [[1, 2]])

    async def syncs_of_an_append() -> int:
        before = len(cluster.faults(1).syncs)
        await produce_ok(cluster, 1, "t", b"x")
        return len([each for each in cluster.faults(1).syncs[before:] if "/t-0/0000" in each])

    assert await syncs_of_an_append() == 0
    await alter_config(cluster, "flush.messages", "1", "t")
    await cluster.until(lambda: replica_of(cluster, 1, "t").log.durable_end_offset == 1, "what was there is synced")
    assert await syncs_of_an_append() >= 1
    assert replica_of(cluster, 1, "t").durable
    cluster.faults(1).stall("/t-0/0000")
    waiting = asyncio.ensure_future(produce(cluster, 1, "t"))
    await cluster.until(lambda: cluster.faults(1).waiting)
    # Who waits for a sync is answered when it is not needed any more.
    await alter_config(cluster, "flush.messages", None, "t")
    assert (await waiting).error_code == 0
    cluster.faults(1).release()
    assert await syncs_of_an_append() == 0


async def test_every_so_many_messages_are_synced_without_being_waited_for(broker: InProcessCluster) -> None:
    await create_topic(broker, "t", configs={"flush.messages": "3"})
    for number in range(2):
        await produce_ok(broker, 1, "t", b"%d" % number)
    await asyncio.sleep(0.02)
    assert replica_of(broker, 1, "t").log.durable_end_offset == 0
    await produce_ok(broker, 1, "t", b"2")
    await broker.until(lambda: replica_of(broker, 1, "t").log.durable_end_offset == 3)


async def test_a_segment_that_is_full_is_synced(broker: InProcessCluster) -> None:
    # Otherwise a recovery would have to read everything that was written since the last start.
    await create_topic(broker, "t", configs={"segment.bytes": "1048576"})
    for _ in range(3):
        await produce_ok(broker, 1, "t", b"x" * 600_000)
    await broker.until(lambda: replica_of(broker, 1, "t").log.durable_end_offset >= 2)


async def test_a_failing_sync_takes_the_directory_offline_and_is_never_acknowledged(tmp_path: Path) -> None:
    async with InProcessCluster(tmp_path, configs=FSYNC, log_dirs=2) as cluster:
        name = await create_in(cluster, 1, 1, [1, 2, 3])
        await produce_ok(cluster, 1, name, b"good")
        cluster.faults(1).failing_syncs = "/data-1/"
        answer = await produce(cluster, 1, name, batch(b"bad"))
        assert ErrorCode(answer.error_code) in (ErrorCode.KAFKA_STORAGE_ERROR, ErrorCode.NOT_LEADER_OR_FOLLOWER)
        # The disk works again, but nobody knows what it kept.
        cluster.faults(1).failing_syncs = None
        again = await produce(cluster, 1, name, batch(b"again"))
        assert ErrorCode(again.error_code) is ErrorCode.KAFKA_STORAGE_ERROR
        fetched = await fetch_one(cluster, 1, name)
        assert ErrorCode(fetched.error_code) is ErrorCode.KAFKA_STORAGE_ERROR
        assert not cluster[1].failed.is_set()
        await cluster.until(lambda: state_of(cluster, name, at=2).leader in (2, 3), "another leads")
        leader = state_of(cluster, name, at=2).leader
        await produce_ok(cluster, leader, name, b"elsewhere")
        assert 1 not in state_of(cluster, name, at=2).isr
        # The other directory serves on.
        other = await create_in(cluster, 0, 2, [2, 1])
        await produce_ok(cluster, 2, other, b"x")
        (note,) = cluster.notes("log_dir_failed", cluster.log_dir(1, 1))
        assert note["broker"] == 1 and cluster.notes("log_dir_failed", "broker 1")
        await cluster.stop(1)
        await cluster.start(1)
        await until_in_sync(cluster, name, 3)


async def test_a_failing_append_takes_the_directory_offline(two_disks: InProcessCluster) -> None:
    cluster = two_disks
    name = await create_in(cluster, 1, 1, [1, 2, 3])
    cluster.faults(1).failing_appends = "/data-1/"
    answer = await produce(cluster, 1, name, batch(b"bad"))
    assert ErrorCode(answer.error_code) is ErrorCode.KAFKA_STORAGE_ERROR
    await cluster.until(lambda: state_of(cluster, name, at=2).leader in (2, 3), "another leads")


async def test_a_follower_whose_disk_fails_leaves_the_isr(two_disks: InProcessCluster) -> None:
    cluster = two_disks
    name = await create_in(cluster, 1, 2, [1, 2, 3])
    cluster.faults(2).failing_appends = "/data-1/"
    await produce(cluster, 1, name, timeout_ms=2000)
    await cluster.until(lambda: set(state_of(cluster, name).isr) == {1, 3})
    assert cluster.notes("log_dir_failed") and not cluster[2].failed.is_set()
    await produce_ok(cluster, 1, name, b"on")


async def test_a_disk_that_fails_while_a_log_is_cut_goes_offline(two_disks: InProcessCluster) -> None:
    cluster = two_disks
    name = await create_in(cluster, 1, 1, [1, 2, 3])
    for each in (2, 3):
        pause_follower(cluster, each, name)
    for _ in range(3):
        await produce(cluster, 1, name, acks=1)
    await cluster.kill(1)
    resume_all(cluster)
    await cluster.until(lambda: state_of(cluster, name, at=2).leader in (2, 3))
    leader = state_of(cluster, name, at=2).leader
    await produce_ok(cluster, leader, name, b"kept")
    incarnation = cluster.prepare(1)
    incarnation.world.faults.failing_syncs = f"/data-1/{name}-0/00000000000000000000.log"
    await incarnation.run(incarnation.broker.start())
    await cluster.until(lambda: cluster.notes("log_dir_failed"), "the directory is offline")
    assert 1 not in state_of(cluster, name, at=leader).isr


async def test_a_disk_that_fails_when_a_leader_begins_its_epoch_goes_offline(two_disks: InProcessCluster) -> None:
    cluster = two_disks
    name = await create_in(cluster, 1, 2, [1, 2])
    cluster.faults(2).failing_appends = f"/{name}-0/leader-epoch-checkpoint"
    await cluster.stop(1)
    await cluster.until(lambda: cluster.notes("log_dir_failed"), "the directory is offline")
    assert not cluster[2].failed.is_set()


async def test_a_disk_that_fails_while_its_only_partition_is_deleted_is_told(two_disks: InProcessCluster) -> None:
    cluster = two_disks
    name = await create_in(cluster, 1, 1, [1])
    cluster.faults(1).failing_syncs = "/data-1"
    await delete_topic(cluster, name)
    await cluster.until(lambda: cluster.log_dir(1, 1) in cluster[1].offline_log_dirs)


async def test_a_broker_whose_every_directory_failed_stops(cluster: InProcessCluster) -> None:
    await create_topic(cluster, "t", [[1, 2, 3]])
    cluster.faults(1).failing_appends = "/t-0/"
    answer = await produce(cluster, 1, "t")
    assert ErrorCode(answer.error_code) is ErrorCode.KAFKA_STORAGE_ERROR
    await asyncio.wait_for(cluster[1].failed.wait(), 1)
    await cluster.stop(1, controlled=False)
    await cluster.start(1)
    assert not cluster[1].log_dirs.clean_shutdown
    await until_in_sync(cluster, "t", 3)


def flip_a_bit(log_dir: Path, name: str) -> None:
    """In a log that was closed in order: every byte of it was synced."""
    content = bytearray((log_dir / name).read_bytes())
    content[70] ^= 1
    (log_dir / name).write_bytes(content)
    (log_dir / ".kafka_cleanshutdown").unlink()


async def test_a_corrupt_log_is_not_served_and_goes_alone(two_disks: InProcessCluster) -> None:
    cluster = two_disks
    name = await create_in(cluster, 1, 1, [1, 2, 3])
    for number in range(3):
        await produce_ok(cluster, 1, name, b"%d" % number)
    await cluster.stop(1)
    flip_a_bit(Path(cluster.log_dir(1, 1)), f"{name}-0/00000000000000000000.log")
    await cluster.start(1)
    await cluster.until(lambda: cluster.notes("replica_begun_anew", f"{name}-0"))
    assert not cluster[1].offline_log_dirs
    leader = state_of(cluster, name, at=2).leader
    assert leader in (2, 3)
    await produce_ok(cluster, leader, name, b"3")
    assert values((await fetch_one(cluster, leader, name)).records) == [b"0", b"1", b"2", b"3"]
    await until_in_sync(cluster, name, 3)
    assert values(replica_of(cluster, 1, name).log.read(0, 1 << 20)) == [b"0", b"1", b"2", b"3"]


async def test_the_pending_appends_of_a_directory_that_fails_are_answered(tmp_path: Path) -> None:
    async with InProcessCluster(tmp_path, configs=FSYNC, log_dirs=2) as cluster:
        name = await create_in(cluster, 1, 1, [1, 2])
        pause_follower(cluster, 2, name)
        waiting = asyncio.ensure_future(produce(cluster, 1, name, timeout_ms=5000))
        await cluster.until(lambda: replica_of(cluster, 1, name).partition.leader_role().waiting)
        cluster.faults(1).failing_appends = "/data-1/"
        second = await cluster.connect(1)
        failed = await second.send(produce_request(name, batch()), version=12)
        assert ErrorCode(failed.responses[0].partition_responses[0].error_code) is ErrorCode.KAFKA_STORAGE_ERROR
        assert ErrorCode((await waiting).error_code) is ErrorCode.KAFKA_STORAGE_ERROR
        second.close()


async def test_a_flush_that_an_unclean_restart_needs_is_made_before_anything_is_claimed(
    durable: InProcessCluster,
) -> None:
    await create_topic(durable, "t", [[1, 2]])
    await produce_ok(durable, 1, "t", b"x")
    await durable.kill(2)
    await produce_ok(durable, 1, "t", b"y")
    await durable.start(2)
    await until_in_sync(durable, "t", 2)
    assert replica_of(durable, 2, "t").log.durable_end_offset == 2
    pause_follower(durable, 2, "t")
    resume_follower(durable, 2, "t")
    await durable.stop(1)
    await until_led_by(durable, "t", 2)
    await produce_ok(durable, 2, "t", b"z")


async def test_log_directories_are_described_and_those_that_failed_say_so(two_disks: InProcessCluster) -> None:
    cluster = two_disks
    name = await create_in(cluster, 1, 1, [1, 2])
    await produce_ok(cluster, 1, name, b"x" * 1000)

    async def described() -> dict[str, tuple[ErrorCode, list[tuple[str, int]]]]:
        response = await cluster.ask(1, DescribeLogDirsRequest(topics=None), 4)
        return {
            each.log_dir: (
                ErrorCode(each.error_code),
                [(topic.name, part.partition_size) for topic in each.topics for part in topic.partitions],
            )
            for each in response.results
        }

    size = replica_of(cluster, 1, name).log.size_bytes
    assert (name, size) in (await described())[cluster.log_dir(1, 1)][1]
    cluster.faults(1).failing_appends = "/data-1/"
    await produce(cluster, 1, name)
    found = await described()
    assert found[cluster.log_dir(1, 1)] == (ErrorCode.KAFKA_STORAGE_ERROR, [])
    assert found[cluster.log_dir(1, 0)][0] is ErrorCode.NONE


async def test_no_second_log_is_made_while_the_first_ones_directory_is_offline(two_disks: InProcessCluster) -> None:
    """It would be an empty log of a broker that may be the last member of the ISR."""
    cluster = two_disks
    name = await create_in(cluster, 1, 1, [1, 2])
    await produce_ok(cluster, 1, name, b"kept")
    await cluster.stop(2)
    await cluster.until(lambda: state_of(cluster, name, at=1).isr == (1,))
    await cluster.stop(1)
    checkpoint = Path(cluster.log_dir(1, 1)) / "replication-offset-checkpoint"
    content = checkpoint.read_bytes()
    checkpoint.unlink()
    checkpoint.mkdir()
    await cluster.start(2)
    await cluster.start(1)
    await cluster.until(lambda: cluster.log_dir(1, 1) in cluster[1].offline_log_dirs)
    await cluster.until(lambda: not cluster[3].metadata.image.brokers[1].fenced)
    await asyncio.sleep(0.2)
    assert state_of(cluster, name, at=3).leader == -1
    assert not (Path(cluster.log_dir(1, 0)) / f"{name}-0").exists()
    await cluster.stop(1)
    checkpoint.rmdir()
    checkpoint.write_bytes(content)
    await cluster.start(1)
    await until_led_by(cluster, name, 1)
    assert values((await fetch_one(cluster, 1, name)).records) == [b"kept"]


async def test_a_disk_that_hangs_keeps_no_other_waiting(tmp_path: Path) -> None:
    async with InProcessCluster(tmp_path, 1, FSYNC, log_dirs=2) as broker:
        slow, quick = await create_in(broker, 1, 1, [1]), await create_in(broker, 0, 1, [1])
        broker.faults(1).stall(f"/data-1/{slow}-0/0000")
        connection = await broker.connect(1)
        waiting = connection.post(produce_request(slow, batch()), version=12)
        await broker.until(lambda: broker.faults(1).waiting)
        await produce_ok(broker, 1, quick, b"x")
        assert not waiting.done()
        broker.faults(1).release()
        assert (await waiting).responses[0].partition_responses[0].error_code == 0
        connection.close()

"""What a broker finds when it starts again: its past in the metadata log, and directories of topics that are gone."""

from __future__ import annotations

import asyncio
import os

import pytest

from engine.model.errors import ErrorCode
from tests.unit.broker.broker_requests import (
    create_topic,
    delete_topic,
    fetch_one,
    list_offset,
    produce,
    produce_ok,
    reassign,
    replica_of,
    state_of,
    until_in_sync,
    until_led_by,
    values,
)
from tests.unit.broker.in_process_cluster import InProcessCluster


async def move(cluster: InProcessCluster, topic: str, to: int) -> None:
    await reassign(cluster, topic, [to])
    await cluster.until(lambda: tuple(state_of(cluster, topic).replicas) == (to,), f"{topic} is on {to} alone")
    await until_led_by(cluster, topic, to)


@pytest.mark.parametrize("is_killed", [False, True])
async def test_the_past_is_not_lived_again(cluster: InProcessCluster, is_killed: bool) -> None:
    # The partition left broker 1 once and came back. Who acts on the metadata log record by record deletes it.
    await create_topic(cluster, "t", [[1]])
    await produce_ok(cluster, 1, "t", b"first")
    await move(cluster, "t", 2)
    await move(cluster, "t", 1)
    await produce_ok(cluster, 1, "t", b"second")
    if is_killed:
        await cluster.kill(1)
    else:
        await cluster.stop(1)
    await cluster.start(1)
    await until_led_by(cluster, "t", 1)
    assert values((await fetch_one(cluster, 1, "t")).records) == [b"first", b"second"]
    assert await produce_ok(cluster, 1, "t", b"third") == 2


async def test_a_single_broker_finds_everything_again_after_a_kill(broker: InProcessCluster) -> None:
    for number in range(5):
        await create_topic(broker, f"t{number}")
        await produce_ok(broker, 1, f"t{number}", b"%d" % number)
    await delete_topic(broker, "t0")
    await create_topic(broker, "t0")
    await produce_ok(broker, 1, "t0", b"another")
    for _ in range(3):
        await broker.kill(1)
        await broker.start(1)
        assert values((await fetch_one(broker, 1, "t0")).records) == [b"another"]
        for number in range(1, 5):
            assert values((await fetch_one(broker, 1, f"t{number}")).records) == [b"%d" % number]
            assert (await list_offset(broker, 1, f"t{number}", -1)).offset == 1


async def test_directories_of_topics_that_were_deleted_meanwhile_are_set_aside(cluster: InProcessCluster) -> None:
    await create_topic(cluster, "gone", [[1, 2, 3]])
    await create_topic(cluster, "moved", [[1]])
    await create_topic(cluster, "kept", [[1, 2, 3]])
    await produce_ok(cluster, 1, "gone", b"x")
    await cluster.stop(1)
    await delete_topic(cluster, "gone")
    await cluster.start(1)
    names = os.listdir(cluster.log_dir(1))
    assert "gone-0" not in names and {"kept-0", "moved-0"} <= set(names)
    assert [each for each in names if each.startswith("gone-0.") and each.endswith("-stray")]
    assert cluster[1].replicas.get("gone", 0) is None


async def test_a_topic_of_the_same_name_that_was_made_meanwhile_gets_an_empty_log(cluster: InProcessCluster) -> None:
    await create_topic(cluster, "t", [[2, 1, 3]])
    await produce_ok(cluster, 2, "t", b"of the first")
    await cluster.stop(1)
    await delete_topic(cluster, "t")
    await create_topic(cluster, "t", [[2, 1, 3]])
    await produce_ok(cluster, 2, "t", b"of the second")
    await cluster.start(1)
    await until_in_sync(cluster, "t", 3)
    follower = replica_of(cluster, 1, "t")
    assert follower.log.log_end_offset == 1 and not cluster[1].failed.is_set()
    assert not cluster[1].offline_log_dirs
    assert values(follower.log.read(0, 1 << 20)) == [b"of the second"]


async def test_a_start_that_fails_leaves_nothing_behind(broker: InProcessCluster) -> None:
    await broker.stop(1)
    # Somebody else has the clients' address.
    taken = await broker.world.network.listen("broker-1", 9092, asyncio.Protocol)
    incarnation = broker.prepare(1)
    with pytest.raises(OSError, match="cannot listen on PLAINTEXT://broker-1:9092"):
        await incarnation.run(incarnation.broker.start())
    await asyncio.sleep(0.01)
    assert not incarnation.tasks
    await taken.close()
    await broker.start(1)
    await create_topic(broker, "t")
    assert (await produce(broker, 1, "t")).error_code == 0


async def test_a_directory_that_another_process_uses_is_named_and_left_alone(broker: InProcessCluster) -> None:
    second = broker.incarnations[1]
    incarnation = broker.prepare(1)
    with pytest.raises(OSError, match="is used by another process"):
        await incarnation.run(incarnation.broker.start())
    broker.incarnations[1] = second
    await create_topic(broker, "t")
    assert ErrorCode((await produce(broker, 1, "t")).error_code) is ErrorCode.NONE


async def test_a_broker_may_be_stopped_in_the_middle_of_its_start(cluster: InProcessCluster) -> None:
    for node_id in (2, 3):
        await cluster.stop(node_id)
    await cluster.kill(1)
    # Alone it has no quorum: it never comes up.
    incarnation = cluster.prepare(1)
    starting = incarnation.run(incarnation.broker.start())
    await asyncio.sleep(0.05)
    assert not starting.done()
    starting.cancel()
    await asyncio.wait((starting,))
    await cluster.stop(1)
    await cluster.start()
    await create_topic(cluster, "t", [[1, 2, 3]])
    assert await produce_ok(cluster, 1, "t", b"x") == 0


async def test_a_second_start_finds_the_logs_clean_after_a_stop_and_not_after_a_kill(broker: InProcessCluster) -> None:
    await create_topic(broker, "t")
    await produce_ok(broker, 1, "t", b"x")
    await broker.stop(1)
    await broker.start(1)
    assert broker[1].log_dirs.clean_shutdown and broker[1].log_dirs.previous_broker_epoch >= 0
    await broker.kill(1)
    await broker.start(1)
    assert not broker[1].log_dirs.clean_shutdown and broker[1].log_dirs.previous_broker_epoch == -1

"""Fetch without sessions: what is read, how much of it, how long an answer waits, and what is refused."""

from __future__ import annotations

import asyncio
import inspect
from types import SimpleNamespace

import pytest

from engine.broker.apis import fetch as fetch_api
from engine.broker.context import RequestContext
from engine.client.connection import ConnectionLost
from engine.model.errors import ErrorCode
from engine.record.batch import iter_batches
from engine.wire.apis import ApiKey
from tests.unit.broker.broker_requests import (
    batch,
    create_topic,
    delete_topic,
    fetch,
    fetch_one,
    fetch_request,
    pause_follower,
    produce,
    produce_ok,
    produce_request,
    replica_of,
    resume_follower,
    values,
)
from tests.unit.broker.in_process_cluster import InProcessCluster


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_records_are_read_as_they_were_written_with_their_offsets(broker: InProcessCluster) -> None:
    topic_id = await create_topic(broker, "t")
    for number in range(3):
        await produce_ok(broker, 1, "t", b"a%d" % number, b"b%d" % number)
    for topic, version in (("t", 4), ("t", 12), (topic_id, 13), (topic_id, 18)):
        answer = await fetch_one(broker, 1, topic, version=version)
        assert (answer.high_watermark, answer.last_stable_offset) == (6, 6)
        assert [header.base_offset for header, _ in iter_batches(answer.records or b"")] == [0, 2, 4]
        assert values(answer.records) == [b"a0", b"b0", b"a1", b"b1", b"a2", b"b2"]
    # The batch that holds the offset comes whole.
    answer = await fetch_one(broker, 1, "t", offset=3)
    assert [header.base_offset for header, _ in iter_batches(answer.records or b"")] == [2, 4]


async def test_a_fetch_at_the_end_waits_for_the_next_record(broker: InProcessCluster) -> None:
    await create_topic(broker, "t")
    started = now()
    waiting = asyncio.ensure_future(fetch_one(broker, 1, "t", max_wait_ms=5000))
    await asyncio.sleep(0.03)
    assert not waiting.done()
    producer = await broker.connect(1)
    await producer.send(produce_request("t", batch(b"here")), version=12)
    assert values((await waiting).records) == [b"here"]
    assert now() - started < 1
    producer.close()


async def test_a_record_that_comes_before_the_wait_has_begun_ends_it(broker: InProcessCluster) -> None:
    await create_topic(broker, "t")
    context = RequestContext(
        broker[1], SimpleNamespace(listener_name="", is_controller_listener=False), ApiKey.FETCH, 12, 0, None
    )  # type: ignore[arg-type]
    answer = fetch_api.handle(context, fetch_request("t", max_wait_ms=60_000))
    # As a request of another connection that is handled in the same turn of the loop.
    await produce_ok(broker, 1, "t", b"here")
    assert inspect.isawaitable(answer)
    async with asyncio.timeout(5):
        (found,) = (await answer).responses[0].partitions
    assert values(found.records) == [b"here"]


async def test_a_fetch_that_finds_nothing_is_answered_after_max_wait(broker: InProcessCluster) -> None:
    await create_topic(broker, "t")
    started = now()
    answer = await fetch_one(broker, 1, "t", max_wait_ms=60)
    assert 0.05 <= now() - started < 1
    assert answer.error_code == 0 and not answer.records


async def test_min_bytes_are_gathered_before_the_answer_leaves(broker: InProcessCluster) -> None:
    await create_topic(broker, "t")
    size = len(batch(b"x" * 100))
    consumer = await broker.connect(1)
    waiting = consumer.post(fetch_request("t", min_bytes=2 * size + 1, max_wait_ms=5000), version=12)
    for _ in range(2):
        await produce_ok(broker, 1, "t", b"x" * 100)
    await asyncio.sleep(0.02)
    assert not waiting.done()
    await produce_ok(broker, 1, "t", b"x" * 100)
    response = await waiting
    assert len(response.responses[0].partitions[0].records) == 3 * size
    consumer.close()


async def test_min_bytes_above_max_bytes_do_not_wait(broker: InProcessCluster) -> None:
    await create_topic(broker, "t")
    for _ in range(10):
        await produce_ok(broker, 1, "t", b"x" * 100)
    started = now()
    answer = await fetch_one(broker, 1, "t", min_bytes=100_000, max_bytes=400, max_wait_ms=5000)
    assert answer.records and now() - started < 1


async def test_an_answer_that_its_limits_filled_does_not_wait_for_more(broker: InProcessCluster) -> None:
    await create_topic(broker, "t")
    for _ in range(10):
        await produce_ok(broker, 1, "t", b"x" * 100)
    size = len(batch(b"x" * 100))
    started = now()
    # Two batches fit and are less than min_bytes: what is left over could never join them.
    answer = await fetch_one(broker, 1, "t", min_bytes=3 * size - 1, max_bytes=3 * size - 1, max_wait_ms=5000)
    assert len(answer.records or b"") == 2 * size and now() - started < 1


async def test_one_batch_larger_than_every_limit_is_sent_all_the_same(broker: InProcessCluster) -> None:
    await create_topic(broker, "t")
    await produce_ok(broker, 1, "t", b"x" * 5000)
    await produce_ok(broker, 1, "t", b"next")
    for limits in ({"max_bytes": 10}, {"partition_max_bytes": 10}, {"max_bytes": 0}, {"partition_max_bytes": -1}):
        answer = await fetch_one(broker, 1, "t", **limits)
        assert values(answer.records) == [b"x" * 5000], limits


async def test_max_bytes_holds_for_all_partitions_together(broker: InProcessCluster) -> None:
    await create_topic(broker, "t", 3)
    for number in range(3):
        for _ in range(4):
            await produce_ok(broker, 1, "t", b"x" * 1000, partition=number)
    size = len(batch(b"x" * 1000))
    response = await fetch(broker, 1, "t", dict.fromkeys(range(3), 0), max_bytes=6 * size)
    assert [len(each.records) // size for each in response.responses[0].partitions] == [4, 2, 0]
    # A batch too large for what is left is not squeezed in behind others.
    response = await fetch(broker, 1, "t", dict.fromkeys(range(3), 0), max_bytes=size + 10)
    assert [len(each.records) // size for each in response.responses[0].partitions] == [1, 0, 0]


async def test_consumers_read_up_to_the_high_watermark_only(cluster: InProcessCluster) -> None:
    await create_topic(cluster, "t", [[1, 2]])
    await produce_ok(cluster, 1, "t", b"committed")
    pause_follower(cluster, 2, "t")
    await produce(cluster, 1, "t", batch(b"not yet"), acks=1)
    answer = await fetch_one(cluster, 1, "t")
    assert values(answer.records) == [b"committed"] and answer.high_watermark == 1
    for offset in (1, 2):
        answer = await fetch_one(cluster, 1, "t", offset=offset)
        assert (answer.error_code, values(answer.records)) == (0, [])
    waiting = asyncio.ensure_future(fetch_one(cluster, 1, "t", offset=1, max_wait_ms=5000))
    await asyncio.sleep(0.02)
    resume_follower(cluster, 2, "t")
    assert values((await waiting).records) == [b"not yet"]


async def test_offsets_outside_the_log_are_out_of_range(broker: InProcessCluster) -> None:
    await create_topic(broker, "t", configs={"retention.bytes": "700000", "segment.bytes": "1048576"})
    for _ in range(3):
        await produce_ok(broker, 1, "t", b"x" * 600_000)
    broker[1].replicas.enforce_retention()
    start = replica_of(broker, 1, "t").log.log_start_offset
    assert start == 1
    for offset in (0, 4, 1 << 40, -1):
        answer = await fetch_one(broker, 1, "t", offset=offset, max_wait_ms=5000)
        assert ErrorCode(answer.error_code) is ErrorCode.OFFSET_OUT_OF_RANGE, offset
        assert (answer.high_watermark, answer.log_start_offset) == (-1, -1)
    assert (await fetch_one(broker, 1, "t", offset=3)).error_code == 0


async def test_what_is_not_here_is_told_by_its_error(cluster: InProcessCluster) -> None:
    topic_id = await create_topic(cluster, "t", [[1]])
    assert ErrorCode((await fetch_one(cluster, 1, "missing")).error_code) is ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    unknown = await fetch_one(cluster, 1, b"not a topic's id")
    assert ErrorCode(unknown.error_code) is ErrorCode.UNKNOWN_TOPIC_ID
    response = await fetch(cluster, 1, topic_id, {5: 0})
    assert ErrorCode(response.responses[0].partitions[0].error_code) is ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    elsewhere = await fetch_one(cluster, 2, topic_id)
    assert ErrorCode(elsewhere.error_code) is ErrorCode.NOT_LEADER_OR_FOLLOWER


async def test_leader_epochs_of_the_past_and_of_the_future_are_refused(cluster: InProcessCluster) -> None:
    await create_topic(cluster, "t", [[1, 2, 3]])
    await cluster.stop(1)
    await cluster.start(1)
    leader = replica_of(cluster, 2, "t").partition
    await cluster.until(lambda: leader.is_leader or replica_of(cluster, 3, "t").partition.is_leader)
    at = 2 if leader.is_leader else 3
    epoch = replica_of(cluster, at, "t").partition.leader_epoch
    assert epoch > 0
    old = await fetch_one(cluster, at, "t", leader_epoch=epoch - 1)
    assert ErrorCode(old.error_code) is ErrorCode.FENCED_LEADER_EPOCH
    new = await fetch_one(cluster, at, "t", leader_epoch=epoch + 1)
    assert ErrorCode(new.error_code) is ErrorCode.UNKNOWN_LEADER_EPOCH
    assert (await fetch_one(cluster, at, "t", leader_epoch=epoch)).error_code == 0


async def test_followers_serve_consumers_from_version_11_on(quick_cluster: InProcessCluster) -> None:
    cluster = quick_cluster
    await create_topic(cluster, "t", [[1, 2, 3]])
    await produce_ok(cluster, 1, "t", b"everywhere")
    await cluster.until(lambda: replica_of(cluster, 2, "t").partition.high_watermark == 1)
    assert values((await fetch_one(cluster, 2, "t", version=11)).records) == [b"everywhere"]
    refused = await fetch_one(cluster, 2, "t", version=10)
    assert ErrorCode(refused.error_code) is ErrorCode.NOT_LEADER_OR_FOLLOWER
    waiting = asyncio.ensure_future(fetch_one(cluster, 2, "t", offset=1, max_wait_ms=5000))
    await asyncio.sleep(0.01)
    await produce_ok(cluster, 1, "t", b"later")
    assert values((await waiting).records) == [b"later"]


async def test_a_refused_consumer_is_told_the_new_leader(cluster: InProcessCluster) -> None:
    topic_id = await create_topic(cluster, "t", [[2, 1, 3]])
    # A follower's request goes to leaders only.
    response = await fetch(cluster, 1, topic_id, version=16, replica=3)
    (answer,) = response.responses[0].partitions
    assert ErrorCode(answer.error_code) is ErrorCode.NOT_LEADER_OR_FOLLOWER
    assert (answer.current_leader.leader_id, answer.current_leader.leader_epoch) == (2, 0)
    assert [(each.node_id, each.host) for each in response.node_endpoints] == [(2, "broker-2")]
    response = await fetch(cluster, 1, "t", version=12, replica=3)
    assert response.responses[0].partitions[0].current_leader.leader_id == 2 and not response.node_endpoints


async def test_a_fetcher_whose_last_record_is_of_another_history_is_told_where_it_diverges(
    cluster: InProcessCluster,
) -> None:
    await create_topic(cluster, "t", [[1, 2, 3]])
    await produce_ok(cluster, 1, "t", b"epoch 0")
    await cluster.stop(1)
    leader = await cluster.until(
        lambda: next((each for each in (2, 3) if replica_of(cluster, each, "t").partition.is_leader), None)
    )
    await produce_ok(cluster, leader, "t", b"epoch 1")
    # It has two records of epoch 0, this log has one.
    answer = await fetch_one(cluster, leader, "t", offset=2, last_fetched_epoch=0)
    assert (answer.error_code, answer.diverging_epoch.epoch, answer.diverging_epoch.end_offset) == (0, 0, 1)
    assert not answer.records
    answer = await fetch_one(cluster, leader, "t", offset=1, last_fetched_epoch=0)
    assert answer.diverging_epoch.end_offset == -1 and values(answer.records) == [b"epoch 1"]


async def test_a_wait_ends_when_the_topic_is_deleted_or_led_elsewhere(cluster: InProcessCluster) -> None:
    await create_topic(cluster, "t", [[1, 2, 3]])
    await create_topic(cluster, "gone", [[1]])
    moved, gone = await cluster.connect(1), await cluster.connect(1)
    waits = [
        moved.post(fetch_request("t", max_wait_ms=5000), version=10),
        gone.post(fetch_request("gone", max_wait_ms=5000), version=12),
    ]
    await asyncio.sleep(0.01)
    await delete_topic(cluster, "gone")
    assert await cluster[1].lifecycle.controlled_shutdown(3000)  # type: ignore[union-attr]
    codes = [ErrorCode((await each).responses[0].partitions[0].error_code) for each in waits]
    assert codes == [ErrorCode.NOT_LEADER_OR_FOLLOWER, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION]


async def test_fetches_leave_no_watches_behind(broker: InProcessCluster) -> None:
    await create_topic(broker, "t")
    replica = replica_of(broker, 1, "t")
    await fetch_one(broker, 1, "t", max_wait_ms=10)
    await fetch_one(broker, 1, "t")
    assert not replica.consumer_watches
    connection = await broker.connect(1)
    waiting = connection.post(fetch_request("t", max_wait_ms=60_000), version=12)
    await broker.until(lambda: replica.consumer_watches)
    connection.close()
    with pytest.raises(ConnectionLost):
        await waiting
    await broker.until(lambda: not replica.consumer_watches)


async def test_a_disk_that_cannot_be_read_is_a_storage_error_of_that_partition(tmp_path) -> None:  # type: ignore[no-untyped-def]
    async with InProcessCluster(tmp_path, 1, log_dirs=2) as broker:
        await create_topic(broker, "t")
        await produce_ok(broker, 1, "t", b"x" * 100)
        broker.faults(1).failing_reads = "/t-0/"
        answer = await fetch_one(broker, 1, "t")
        assert ErrorCode(answer.error_code) is ErrorCode.KAFKA_STORAGE_ERROR
        assert broker.notes("log_dir_failed")

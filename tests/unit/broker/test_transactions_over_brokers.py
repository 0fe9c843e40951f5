"""Transactions over real replicas: coordinators and leaders that die, and what leaders verify before they append."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from engine.model.errors import ErrorCode
from engine.wire.messages.add_offsets_to_txn_request import AddOffsetsToTxnRequest
from engine.wire.messages.add_partitions_to_txn_request import (
    AddPartitionsToTxnRequest,
    AddPartitionsToTxnTopic,
    AddPartitionsToTxnTransaction,
)
from engine.wire.messages.describe_transactions_request import DescribeTransactionsRequest
from engine.wire.messages.end_txn_request import EndTxnRequest
from engine.wire.messages.find_coordinator_request import FindCoordinatorRequest
from engine.wire.messages.init_producer_id_request import InitProducerIdRequest
from engine.wire.messages.list_transactions_request import ListTransactionsRequest
from engine.wire.messages.update_features_request import FeatureUpdateKey, UpdateFeaturesRequest
from tests.unit.broker.broker_requests import create_topic, delete_topic, replica_of, state_of
from tests.unit.broker.in_process_cluster import InProcessCluster
from tests.unit.broker.transaction_requests import (
    CONFIGS,
    NONE,
    V0,
    V1,
    V2,
    TransactionalProducer,
    committed_values,
    coordinator_of,
    markers,
    transaction_state,
    until_state,
)

VERSIONS = pytest.mark.parametrize("versions", [V2, V1, V0], ids=["v2", "v1", "v0"])


@pytest.fixture
async def txn_cluster(tmp_path: Path) -> AsyncIterator[InProcessCluster]:
    """Three brokers with few partitions of ``__transaction_state``."""
    async with InProcessCluster(tmp_path, configs=CONFIGS) as running:
        yield running


@pytest.fixture
async def one(tmp_path: Path) -> AsyncIterator[InProcessCluster]:
    """One broker, which coordinates and leads everything."""
    configs = CONFIGS | {
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": "2",
    }
    async with InProcessCluster(tmp_path, 1, configs) as running:
        yield running


@VERSIONS
async def test_transactions_are_committed_and_aborted_in_all_of_their_partitions(
    txn_cluster: InProcessCluster, versions: tuple[int, int]
) -> None:
    await create_topic(txn_cluster, "t", [[1, 2, 3], [2, 3, 1], [3, 1, 2]])
    producer = TransactionalProducer(txn_cluster, "p", versions)
    assert (await producer.init()).error_code == NONE
    for value, committed in ((b"a", True), (b"b", False), (b"c", True)):
        for partition in range(3):
            await producer.write(value, "t", partition)
        assert await producer.end(committed) is NONE
    await until_state(txn_cluster, "p", "CompleteCommit")
    epochs = [1, 2, 3] if versions is V2 else [0, 0, 0]
    for partition in range(3):
        assert await markers(txn_cluster, "t", partition) == list(zip(epochs, [True, False, True], strict=True))
        assert await committed_values(txn_cluster, "t", partition) == [b"a", b"c"]


@pytest.mark.parametrize("committed", [True, False])
async def test_a_coordinator_that_dies_after_its_decision_leaves_it_to_the_next_one(
    txn_cluster: InProcessCluster, committed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    producer = TransactionalProducer(txn_cluster, "p")
    await create_topic(txn_cluster, "t", 1)
    await producer.init()
    coordinator = await coordinator_of(txn_cluster, "p")
    await producer.write(b"v", "t")
    before = txn_cluster[coordinator].transactions
    # What is decided is in the log, and the broker dies before it has told anybody.
    monkeypatch.setattr(before._markers, "add", lambda number, sent: None)
    assert await producer.end(committed) is NONE
    assert await transaction_state(txn_cluster, "p") == ("PrepareCommit" if committed else "PrepareAbort")
    assert await markers(txn_cluster, "t") == []
    await txn_cluster.kill(coordinator)
    assert await coordinator_of(txn_cluster, "p") != coordinator
    await until_state(txn_cluster, "p", "CompleteCommit" if committed else "CompleteAbort")
    assert await markers(txn_cluster, "t") == [(1, committed)]
    # The transaction after it is not touched by what comes back.
    await producer.write(b"w", "t")
    await txn_cluster.start(coordinator)
    assert await producer.end(True) is NONE
    await until_state(txn_cluster, "p", "CompleteCommit")
    assert await markers(txn_cluster, "t") == [(1, committed), (2, True)]
    assert await committed_values(txn_cluster, "t") == ([b"v", b"w"] if committed else [b"w"])


async def test_markers_find_the_leader_that_took_over(txn_cluster: InProcessCluster) -> None:
    producer = TransactionalProducer(txn_cluster, "p")
    await producer.init()
    coordinator = await coordinator_of(txn_cluster, "p")
    others = [each for each in txn_cluster.node_ids if each != coordinator]
    await create_topic(txn_cluster, "t", [[*others, coordinator]])
    await producer.write(b"v", "t")
    await txn_cluster.kill(others[0])
    assert await producer.end(True) is NONE
    await until_state(txn_cluster, "p", "CompleteCommit")
    assert state_of(txn_cluster, "t").leader != others[0]
    assert await markers(txn_cluster, "t") == [(1, True)]


async def test_a_partition_that_was_deleted_holds_nothing_up(one: InProcessCluster) -> None:
    await create_topic(one, "gone", 1)
    await create_topic(one, "t", 1)
    producer = TransactionalProducer(one, "p")
    await producer.init()
    await producer.write(b"v", "gone")
    await producer.write(b"v", "t")
    await delete_topic(one, "gone")
    assert await producer.end(True) is NONE
    await until_state(one, "p", "CompleteCommit")
    assert await committed_values(one, "t") == [b"v"]


async def test_a_partition_that_was_not_added_is_refused_in_the_words_of_the_version(one: InProcessCluster) -> None:
    await create_topic(one, "t", 2)
    for name, versions, error in (
        ("p1", V1, ErrorCode.TRANSACTION_ABORTABLE),
        ("p0", V0, ErrorCode.INVALID_TXN_STATE),
    ):
        producer = TransactionalProducer(one, name, versions)
        await producer.init()
        assert await producer.add("t", 1) is NONE
        assert (await producer.produce(b"v", "t", 0)).error_code == error
        assert (await producer.produce(b"v", "t", 1)).error_code == NONE
        assert await producer.end(False) is NONE
    assert not replica_of(one, 1, "t", 0).log.log_end_offset


async def test_what_does_not_exist_or_is_internal_is_added_to_no_transaction(one: InProcessCluster) -> None:
    await create_topic(one, "t", 1)
    producer = TransactionalProducer(one, "p", V1)
    await producer.init()
    assert await producer.add("t", 1) is ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    assert await producer.add("__transaction_state") is ErrorCode.TOPIC_AUTHORIZATION_FAILED
    assert await transaction_state(one, "p") == "Empty"


async def test_a_fenced_producer_is_told_so_in_every_version(one: InProcessCluster) -> None:
    await create_topic(one, "t", 1)
    zombie = TransactionalProducer(one, "p")
    await zombie.init()
    await TransactionalProducer(one, "p").init()
    identity = ("p", zombie.producer_id, zombie.epoch)
    topics = [AddPartitionsToTxnTopic("t", [0])]

    def told(response: Any) -> int:
        for each in getattr(response, "results_by_topic_v3_and_below", ()):
            return int(each.results_by_partition[0].partition_error_code)
        for each in getattr(response, "results_by_transaction", ()):
            return int(each.topic_results[0].results_by_partition[0].partition_error_code)
        return int(response.error_code)

    for request, versions, first_with_fenced in (
        (InitProducerIdRequest("p", 60_000, 99, 0), range(3, 6), 4),
        (AddPartitionsToTxnRequest([], *identity, topics), range(4), 2),
        (AddPartitionsToTxnRequest([AddPartitionsToTxnTransaction(*identity, False, topics)]), range(4, 6), 4),
        (AddPartitionsToTxnRequest([AddPartitionsToTxnTransaction(*identity, True, topics)]), range(4, 6), 4),
        (AddOffsetsToTxnRequest(*identity, "group"), range(5), 2),
        (EndTxnRequest(*identity, True), range(6), 2),
    ):
        for version in versions:
            expected = ErrorCode.PRODUCER_FENCED
            if version < first_with_fenced:
                expected = ErrorCode.INVALID_PRODUCER_EPOCH
            code = ErrorCode(told(await one.ask(1, request, version)))
            assert code is expected, f"{type(request).__name__} version {version}"


async def test_the_offsets_of_a_group_take_part_in_a_transaction(one: InProcessCluster) -> None:
    producer = TransactionalProducer(one, "p", V1)
    await producer.init()
    await one.ask(1, FindCoordinatorRequest(key_type=0, coordinator_keys=["g"]), 6)
    request = AddOffsetsToTxnRequest("p", producer.producer_id, producer.epoch, "g")
    assert (await one.ask(1, request, 3)).error_code == NONE
    (described,) = (await one.ask(1, DescribeTransactionsRequest(["p"]), 0)).transaction_states
    assert [each.topic for each in described.topics] == ["__consumer_offsets"]
    assert await producer.end(True) is NONE
    await until_state(one, "p", "CompleteCommit")


async def test_transactional_ids_are_listed_by_pattern(one: InProcessCluster) -> None:
    for name in ("orders-1", "orders-2", "payments"):
        await TransactionalProducer(one, name).init()

    async def listed(pattern: str | None) -> list[str] | ErrorCode:
        response = await one.ask(1, ListTransactionsRequest(transactional_id_pattern=pattern), 2)
        found = sorted(each.transactional_id for each in response.transaction_states)
        return ErrorCode(response.error_code) if response.error_code else found

    assert await listed("orders-.*") == ["orders-1", "orders-2"]
    assert await listed("orders") == []
    assert await listed(None) == await listed("") == ["orders-1", "orders-2", "payments"]
    assert await listed("(") is ErrorCode.INVALID_REGULAR_EXPRESSION


async def test_a_late_batch_of_the_transaction_before_does_not_hang(one: InProcessCluster) -> None:
    """KIP-890: without verification it would begin a transaction that nobody ends."""
    await create_topic(one, "t", 1)
    for name, versions, error in (
        ("p1", V1, ErrorCode.TRANSACTION_ABORTABLE),
        ("p2", V2, ErrorCode.INVALID_PRODUCER_EPOCH),
    ):
        producer = TransactionalProducer(one, name, versions)
        await producer.init()
        await producer.write(b"v", "t")
        late = producer.batch(b"late", "t")
        assert await producer.end(False) is NONE
        await until_state(one, name, "CompleteAbort")
        assert (await producer.produce(b"", "t", records=late)).error_code == error
    partition = replica_of(one, 1, "t")
    assert partition.log.last_stable_offset == partition.log.log_end_offset


async def test_with_verification_switched_off_old_clients_are_taken_at_their_word(tmp_path: Path) -> None:
    configs = CONFIGS | {
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "transaction.partition.verification.enable": "false",
    }
    async with InProcessCluster(tmp_path, 1, configs) as cluster:
        await create_topic(cluster, "t", 1)
        producer = TransactionalProducer(cluster, "p", V1)
        await producer.init()
        assert (await producer.produce(b"v", "t")).error_code == NONE


async def test_batches_behind_one_that_is_verified_keep_their_order(one: InProcessCluster) -> None:
    await create_topic(one, "t", 1)
    producer = TransactionalProducer(one, "p")
    await producer.init()
    answers = await asyncio.gather(*(producer.produce(b"%d" % number, "t") for number in range(5)))
    assert [each.error_code for each in answers] == [NONE] * 5
    assert [each.base_offset for each in answers] == [0, 1, 2, 3, 4]
    assert await producer.end(True) is NONE
    await until_state(one, "p", "CompleteCommit")
    assert await committed_values(one, "t") == [b"0", b"1", b"2", b"3", b"4"]


async def test_a_transaction_does_not_begin_behind_a_batch_that_is_missing(one: InProcessCluster) -> None:
    await create_topic(one, "t", 1)
    producer = TransactionalProducer(one, "p")
    await producer.init()
    ahead = producer.batch(b"second", "t", sequence=1)
    answer = await producer.produce(b"", "t", records=ahead)
    assert answer.error_code == ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
    assert (await producer.produce(b"first", "t")).error_code == NONE
    assert (await producer.produce(b"", "t", records=ahead)).error_code == NONE


@pytest.mark.parametrize("level", [0, 1])
async def test_a_cluster_with_a_lower_level_serves_older_clients(one: InProcessCluster, level: int) -> None:
    update = FeatureUpdateKey(feature="transaction.version", max_version_level=level, upgrade_type=2)
    response = await one.ask_controller(UpdateFeaturesRequest(timeout_ms=5000, feature_updates=[update]), 2)
    assert response.error_code == NONE, response.error_message
    await one.until(lambda: one[1].transactions.transaction_version() == level, "the level is known")
    await create_topic(one, "t", 1)
    zombie = TransactionalProducer(one, "p", V1)
    await zombie.init()
    await zombie.write(b"of the zombie", "t")
    heir = TransactionalProducer(one, "p", V1)
    assert (await heir.init()).producer_epoch == 2
    assert await zombie.end(True) is ErrorCode.PRODUCER_FENCED
    await heir.write(b"of the heir", "t")
    assert await heir.end(True) is NONE
    await until_state(one, "p", "CompleteCommit")
    assert await markers(one, "t") == [(1, False), (2, True)]
    assert await committed_values(one, "t") == [b"of the heir"]

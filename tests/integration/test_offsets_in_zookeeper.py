"""Committed offsets kept by a real ZooKeeper: the group coordinator's service over it, and a whole broker with
librdkafka and clients as old as Kafka 0.8, killed together with ZooKeeper."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer

from bench.clusters import free_port
from engine.broker.coordinator_log import KeyValue, TransactionalProducer, TransactionMarker
from engine.broker.group_coordinator_service import GroupCoordinatorService
from engine.broker.offsets_in_zookeeper import OffsetsInZooKeeper
from engine.core.group.context import ClientContext, GroupLimits
from engine.core.group.shard import GroupCoordinatorShard
from engine.core.znodes.consumer_offsets import offset_path
from engine.model.broker_config import BrokerConfig
from engine.model.errors import ErrorCode
from engine.record.batch import read_header
from engine.record.builder import NewRecord, build_batch
from engine.record.control import build_end_transaction_marker
from engine.record.reader import read_records
from engine.wire.messages.api_versions_request import ApiVersionsRequest
from engine.wire.messages.list_groups_request import ListGroupsRequest
from engine.wire.messages.offset_commit_request import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
)
from engine.wire.messages.offset_delete_request import (
    OffsetDeleteRequest,
    OffsetDeleteRequestPartition,
    OffsetDeleteRequestTopic,
)
from engine.wire.messages.offset_fetch_request import OffsetFetchRequestGroup, OffsetFetchRequestTopics
from engine.wire.messages.retired import offset_commit_request as old_commit
from engine.wire.messages.retired import offset_fetch_request as old_fetch
from engine.wire.messages.txn_offset_commit_request import (
    TxnOffsetCommitRequest,
    TxnOffsetCommitRequestPartition,
    TxnOffsetCommitRequestTopic,
)
from engine.wire.record_frames import decode_coordinator_record
from engine.world.real import real_world
from engine.zookeeper.config import ZooKeeperConfig
from engine.zookeeper.session import ZooKeeperSession
from tests.integration.lone_broker import Alone, properties_of, write_properties
from tests.integration.raw_client import RawConnection
from tests.integration.zookeeper_server import ZooKeeperEnsemble, zookeeper

pytestmark = pytest.mark.integration

CLIENT = ClientContext(9, "test", "/127.0.0.1")
PRODUCER = TransactionalProducer(7, 0)
PARTITIONS = 2


class Logs:
    """CoordinatorLogs of one node, which outlive the coordinator: what is appended is committed at once."""

    def __init__(self) -> None:
        self.batches: dict[int, list[bytes]] = {number: [] for number in range(PARTITIONS)}
        self.ends = dict.fromkeys(range(PARTITIONS), 0)

    def log_start_offset(self, partition: int) -> int:
        return 0

    def log_end_offset(self, partition: int) -> int:
        return self.ends[partition]

    def high_watermark(self, partition: int) -> int:
        return self.ends[partition]

    def max_batch_bytes(self, partition: int) -> int:
        return 1 << 20

    def read(self, partition: int, offset: int, max_bytes: int) -> bytes:
        return b"".join(batch for batch in self.batches[partition] if read_header(batch).last_offset >= offset)

    def check_append(self, partition: int) -> None:
        """Always."""

    def append(
        self,
        partition: int,
        leader_epoch: int,
        records: list[KeyValue],
        timeout_ms: int,
        producer: TransactionalProducer | None = None,
    ) -> Coroutine[Any, Any, None]:
        new = [NewRecord(key, value, timestamp=0) for key, value in records]
        of: dict[str, Any] = {}
        if producer is not None:
            of = {"producer_id": producer.producer_id, "producer_epoch": 0, "is_transactional": True}
        return self._add(partition, build_batch(new, base_offset=self.ends[partition], **of))

    def append_marker(
        self, partition: int, leader_epoch: int, marker: TransactionMarker, timeout_ms: int
    ) -> Coroutine[Any, Any, None]:
        end = self.ends[partition]
        batch = build_end_transaction_marker(
            committed=marker.committed,
            producer_id=marker.producer_id,
            producer_epoch=0,
            coordinator_epoch=0,
            timestamp=0,
            base_offset=end,
        )
        return self._add(partition, batch)

    def _add(self, partition: int, batch: bytes) -> Coroutine[Any, Any, None]:
        self.batches[partition].append(batch)
        self.ends[partition] = read_header(batch).last_offset + 1

        async def committed() -> None:
            return

        return committed()

    def replay_into(self, shard: GroupCoordinatorShard, partition: int) -> None:
        for batch in self.batches[partition]:
            for record in read_records(batch):
                decoded = decode_coordinator_record(record.key or b"", record.value, "group")
                assert decoded is not None
                shard.replay(*decoded, record_offset=record.offset)

    def on_high_watermark_advanced(self, listener: Any) -> None:
        """It never lags."""


@pytest.fixture(scope="module")
def ensemble(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ZooKeeperEnsemble]:
    with zookeeper(tmp_path_factory.mktemp("zk")) as ensemble:
        yield ensemble


@pytest.fixture
async def session(ensemble: ZooKeeperEnsemble, tmp_path: Path) -> AsyncIterator[ZooKeeperSession]:
    session = ZooKeeperSession(ZooKeeperConfig.of_connect(f"{ensemble.connect}/{tmp_path.name}"))
    await session.connect()
    yield session
    await session.close()


@asynccontextmanager
async def coordinator(
    session: ZooKeeperSession, logs: Logs, epoch: int, storage: str = "zookeeper"
) -> AsyncIterator[GroupCoordinatorService]:
    """A broker's group coordinator, from its election to its end."""
    config = BrokerConfig.from_properties(
        {
            "broker.id": "1",
            "zookeeper.connect": "unused",
            "listeners": "PLAINTEXT://:9092,CONTROLLER://:9093",
            "controller.listener.names": "CONTROLLER",
            "offsets.topic.num.partitions": str(PARTITIONS),
            "offsets.storage": storage,
        }
    )
    offsets = OffsetsInZooKeeper(session, logs, 1, is_in_use=config.offsets_storage == "zookeeper")
    service = GroupCoordinatorService(real_world(), config, 1, logs, lambda notes: None, offsets)
    for number in range(PARTITIONS):
        service.runtime.on_elected(number, epoch)
    await until_loaded(service)
    yield service
    await service.shutdown()


async def until_loaded(service: GroupCoordinatorService) -> None:
    async with asyncio.timeout(10):
        while True:
            if not service.runtime.is_loading():
                return
            await asyncio.sleep(0.005)


async def until_kept(session: ZooKeeperSession, offset: bytes) -> None:
    async with asyncio.timeout(10):
        while True:
            if (await session.get(offset_path("g", "t", 0))).data == offset:
                return
            await asyncio.sleep(0.005)


async def commit(service: GroupCoordinatorService, group: str, topic: str, offsets: dict[int, int], **more: Any) -> int:
    partitions = [OffsetCommitRequestPartition(number, offset, **more) for number, offset in offsets.items()]
    request = OffsetCommitRequest(group_id=group, topics=[OffsetCommitRequestTopic(name=topic, partitions=partitions)])
    response = await service.commit_offsets(CLIENT, request)
    (code,) = {each.error_code for topic_ in response.topics for each in topic_.partitions}
    return code


async def fetched(service: GroupCoordinatorService, group: str, topic: str | None = None) -> dict[int, tuple[int, str]]:
    topics = None if topic is None else [OffsetFetchRequestTopics(name=topic, partition_indexes=[0, 1, 2])]
    response = await service.fetch_offsets(OffsetFetchRequestGroup(group_id=group, topics=topics), False)
    assert response.error_code == 0
    return {
        each.partition_index: (each.committed_offset, each.metadata or "")
        for found in response.topics
        for each in found.partitions
        if each.committed_offset != -1
    }


async def test_what_was_acknowledged_is_there_for_the_next_coordinator(session: ZooKeeperSession) -> None:
    logs = Logs()
    async with coordinator(session, logs, 0) as service:
        assert await commit(service, "g", "t", {0: 5, 2: 7}, committed_metadata="mé", committed_leader_epoch=3) == 0
        assert await commit(service, "a/b %é", "t", {0: 1}) == 0
        # Together, and in order.
        codes = await asyncio.gather(*(commit(service, "g", "t", {0: offset}) for offset in range(10, 60)))
        assert set(codes) == {0}
        assert (await session.get("/consumers/g/offsets/t/0")).data == b"59"
        # More than one request to ZooKeeper holds, and an id that is none of its paths.
        assert await commit(service, "much", "t", dict.fromkeys(range(50), 1), committed_metadata="\0" * 4096) == 0
        assert await commit(service, "g" * 5000, "t", {0: 1}) == ErrorCode.INVALID_GROUP_ID
        assert logs.ends == {0: 0, 1: 0}
        assert [each.error_code for each in await service.delete_groups(["much"])] == [0]
    async with coordinator(session, logs, 1) as service:
        assert await fetched(service, "g", "t") == {0: (59, ""), 2: (7, "mé")} == await fetched(service, "g")
        assert await fetched(service, "a/b %é") == {0: (1, "")}
        assert sorted(await session.children("/consumers")) == ["a%2Fb %25é", "g"]
        listed = service.list_groups(ListGroupsRequest())
        assert sorted(each.group_id for each in listed.groups) == ["a/b %é", "g"]
        assert [each.error_code for each in await service.delete_groups(["g", "a/b %é"])] == [0, 0]
    assert await session.children("/consumers") == []
    assert await session.children("/kconsole/offsets") == []
    async with coordinator(session, logs, 2) as service:
        assert await fetched(service, "g") == {}


async def test_a_coordinator_that_was_replaced_writes_nothing_more(session: ZooKeeperSession) -> None:
    old_logs, logs = Logs(), Logs()
    async with coordinator(session, old_logs, 3) as old:
        assert await commit(old, "g", "t", {0: 5}) == 0
        async with coordinator(session, logs, 4) as new:
            assert await commit(new, "g", "t", {0: 100}) == 0
            assert await commit(old, "g", "t", {0: 6}) == ErrorCode.NOT_COORDINATOR
            assert await fetched(new, "g", "t") == {0: (100, "")}
            # It looked, and gave up.
            await until_loaded(old)
            assert old.runtime.active_partitions() != [0, 1]


async def test_what_others_set_and_delete_in_zookeeper_counts(session: ZooKeeperSession) -> None:
    logs = Logs()
    async with coordinator(session, logs, 0) as service:
        storage = service.offset_storage
        assert storage is not None
        assert await commit(service, "g", "t", {0: 5, 1: 6}, committed_metadata="m") == 0
        await storage.commit_directly("g", "t", 0, 5)
        assert await fetched(service, "g", "t") == {0: (5, ""), 1: (6, "m")}
        await storage.commit_directly("g", "t", 0, 3)
        await storage.commit_directly("g", "t", 2, 8)
        await session.delete(offset_path("g", "t", 1))
        assert await fetched(service, "g", "t") == {0: (3, ""), 2: (8, "")}
        assert await commit(service, "g", "t", {0: 9, 1: 9, 2: 9}, committed_metadata="n") == 0
        assert await storage.committed_directly("g", "t", 2) == 9
        assert await storage.committed_directly("g", "t", 3) is None
        # Made, and deleted with all above it, before the coordinator knows of it.
        await storage.commit_directly("h", "t", 0, 1)
        assert await commit(service, "h", "t", {0: 2, 1: 2}) == 0
        for path in ("t/0", "t/1", "t"):
            await session.delete(f"/consumers/h/offsets/{path}")
        assert await commit(service, "h", "t", {1: 4}) == 0
        assert await fetched(service, "h") == {1: (4, "")}
        await session.delete(offset_path("g", "t", 1))
        request = OffsetDeleteRequest(
            "g", [OffsetDeleteRequestTopic("t", [OffsetDeleteRequestPartition(n) for n in (0, 1)])]
        )
        assert (await service.delete_offsets(request)).error_code == 0
    async with coordinator(session, logs, 1) as service:
        assert await fetched(service, "g") == {2: (9, "n")}


async def commit_in_transaction(service: GroupCoordinatorService, offset: int) -> None:
    request = TxnOffsetCommitRequest(
        transactional_id="x",
        group_id="g",
        producer_id=PRODUCER.producer_id,
        producer_epoch=0,
        topics=[TxnOffsetCommitRequestTopic("t", [TxnOffsetCommitRequestPartition(0, offset)])],
    )
    response = await service.commit_offsets_in_transaction(CLIENT, request)
    assert response.topics[0].partitions[0].error_code == 0


def ended(committed: bool) -> TransactionMarker:
    return TransactionMarker(PRODUCER.producer_id, 0, 0, committed, 2)


async def test_offsets_of_transactions_count_in_the_order_of_commits(session: ZooKeeperSession) -> None:
    logs = Logs()
    async with coordinator(session, logs, 0) as service:
        number = service.partition_for("g")
        for offset in range(1, 6):
            assert await commit(service, "g", "t", {0: offset}) == 0
        await commit_in_transaction(service, 50)
        assert await fetched(service, "g") == {0: (5, "")}
        await service.complete_transaction(number, ended(False))
        assert await fetched(service, "g") == {0: (5, "")}
        await commit_in_transaction(service, 60)
        await service.complete_transaction(number, ended(True))
        assert await fetched(service, "g") == {0: (60, "")}
        await until_kept(session, b"60")
        assert await commit(service, "g", "t", {0: 61}) == 0
        # A later plain commit stays, as it would in a log.
        await commit_in_transaction(service, 70)
        assert await commit(service, "g", "t", {0: 71}) == 0
        await service.complete_transaction(number, ended(True))
        assert await fetched(service, "g") == {0: (71, "")}
        await commit_in_transaction(service, 80)
    async with coordinator(session, logs, 1) as service:
        assert await fetched(service, "g") == {0: (71, "")}
    # The marker comes into the log, and the coordinator dies before ZooKeeper hears of it.
    await logs.append_marker(number, 1, ended(True), 0)
    async with coordinator(session, logs, 2) as service:
        assert await fetched(service, "g") == {0: (80, "")}
        await until_kept(session, b"80")


async def test_offsets_go_along_when_the_storage_is_another(session: ZooKeeperSession) -> None:
    logs = Logs()
    async with coordinator(session, logs, 0, "kafka") as service:
        assert await commit(service, "g", "t", {0: 5, 1: 5}) == 0
        assert logs.ends[service.partition_for("g")] == 2
    async with coordinator(session, logs, 1) as service:
        assert await fetched(service, "g") == {0: (5, ""), 1: (5, "")}
        assert await commit(service, "g", "t", {0: 6}) == 0
    async with coordinator(session, logs, 2, "kafka") as service:
        assert await fetched(service, "g") == {0: (6, ""), 1: (5, "")}
        # Apache Kafka would see the same in the log.
        shard = GroupCoordinatorShard(GroupLimits(), lambda: bytes(16))
        logs.replay_into(shard, service.partition_for("g"))
        assert [offset.committed_offset for *_, offset in shard.offsets.committed.of_group("g")] == [6, 5]
        assert await commit(service, "g", "t", {0: 7}) == 0
    async with coordinator(session, logs, 3) as service:
        assert await fetched(service, "g") == {0: (7, ""), 1: (5, "")}
        await until_kept(session, b"7")


def read(bootstrap: str, count: int) -> list[bytes]:
    """The next values of a group, which are committed; librdkafka also says with which leader epoch."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "orders-group",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
        }
    )
    consumer.subscribe(["orders"])
    messages = consumer.consume(count, 20)
    assert [message.error() for message in messages] == [None] * count
    consumer.commit(asynchronous=False)
    consumer.close()
    return [message.value() for message in messages]


def committed_before(
    connection: RawConnection, group: str, topic: str = "orders", numbers: tuple[int, ...] = (0,)
) -> list[tuple[int, int]]:
    request = old_fetch.OffsetFetchRequest(group, [old_fetch.OffsetFetchRequestTopic(topic, list(numbers))])
    return [(each.committed_offset, each.error_code) for each in connection.ask(request, 0).topics[0].partitions]


def commit_before(connection: RawConnection, group: str, offset: int, version: int, metadata: str = "") -> list[int]:
    partitions = [
        old_commit.OffsetCommitRequestPartition(number, offset, committed_metadata=metadata, commit_timestamp=-1)
        for number in (0, 9)
    ]
    request = old_commit.OffsetCommitRequest(group, topics=[old_commit.OffsetCommitRequestTopic("orders", partitions)])
    response = connection.ask(request, version)
    return [each.error_code for each in response.topics[0].partitions]


def test_consumers_go_on_where_they_were_when_everything_was_killed(
    ensemble: ZooKeeperEnsemble, tmp_path: Path
) -> None:
    port, controller_port = free_port(), free_port()
    properties = properties_of(tmp_path, port, controller_port, offsets_storage="zookeeper")
    for name in ("process.roles", "node.id", "controller.quorum.voters"):
        del properties[name]
    properties |= {
        "broker.id": "7",
        "zookeeper.connect": f"{ensemble.connect}/whole",
        "zookeeper.session.timeout.ms": "1000",
    }
    file = write_properties(tmp_path / "server.properties", properties)
    unknown = int(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
    broker = Alone(file, ("127.0.0.1", port))
    try:
        producer = Producer({"bootstrap.servers": broker.bootstrap})
        for number in range(20):
            producer.produce("orders", str(number).encode(), partition=0)
        assert producer.flush(20) == 0
        assert read(broker.bootstrap, 7) == [b"%d" % number for number in range(7)]
        with RawConnection(broker.address) as old:
            served = {each.api_key: each.min_version for each in old.ask(ApiVersionsRequest(), 0).api_keys}
            assert (served[8], served[9]) == (0, 0)
            assert committed_before(old, "old", numbers=(0, 9)) == [(-1, unknown)] * 2
            assert committed_before(old, "old", "none") == [(-1, unknown)]
            # Partition 9 is none.
            assert commit_before(old, "old", 11, 0) == [unknown, 0]
            assert commit_before(old, "old-but-coordinated", 12, 1) == [unknown, 0]
            assert committed_before(old, "orders-group") == [(7, 0)]
            # As Kafka 3.9.1 answers.
            assert commit_before(old, "any", -5, 0) == [unknown, 0]
            assert commit_before(old, "any", 6, 0, "x" * 4097) == [unknown, int(ErrorCode.OFFSET_METADATA_TOO_LARGE)]
            assert committed_before(old, "any") == [(-5, 0)]
        broker.kill()
        for server in ensemble.servers.values():
            server.kill()
            server.start()
            server.wait_until_it_serves()
        broker = Alone(file, broker.address)
        assert read(broker.bootstrap, 7) == [b"%d" % number for number in range(7, 14)]
        with RawConnection(broker.address) as old:
            assert committed_before(old, "old") == [(11, 0)]
            assert committed_before(old, "old-but-coordinated") == [(12, 0)]
            # It goes back, as a person would have it: the coordinator believes ZooKeeper.
            assert commit_before(old, "orders-group", 2, 0) == [unknown, 0]
        assert read(broker.bootstrap, 2) == [b"2", b"3"]
    finally:
        broker.kill()

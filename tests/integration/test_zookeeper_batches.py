"""What a controller writes to a real ZooKeeper at once, where there is more than that takes, and what it tidies up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from engine.broker.zookeeper_admin_znodes import AdminZnodes
from engine.broker.zookeeper_coordinator import ZooKeeperCoordinator
from engine.core.controller.image import MetadataImage
from engine.core.raft.identity import OffsetAndEpoch
from engine.core.znodes import paths
from engine.core.znodes.reading import SUBTREES, image_of
from engine.model.broker_config import BrokerConfig
from engine.model.errors import ErrorCode, KafkaError
from engine.wire.message import Message
from engine.wire.messages.config_record import ConfigRecord
from engine.wire.messages.partition_change_record import PartitionChangeRecord
from engine.wire.messages.partition_record import PartitionRecord
from engine.wire.messages.remove_topic_record import RemoveTopicRecord
from engine.wire.messages.topic_record import TopicRecord
from engine.world.real import real_world
from engine.zookeeper.config import ZooKeeperConfig
from engine.zookeeper.session import ZooKeeperSession
from tests.integration.zookeeper_server import ZooKeeperEnsemble, zookeeper

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]


class Listener:
    """The metadata as they were handed on."""

    def __init__(self) -> None:
        self.image = MetadataImage()
        self.batches: list[int] = []
        self.leads = asyncio.Event()

    def on_committed(self, base_offset: int, epoch: int, append_time_ms: int, records: list[Message]) -> None:
        self.batches.append(len(records))
        for offset, record in enumerate(records, base_offset):
            self.image.replay(record, offset)

    def on_snapshot_loaded(self, snapshot_id: OffsetAndEpoch, records: list[Message]) -> None:
        self.image = MetadataImage()
        for record in records:
            self.image.replay(record)

    def on_leader_changed(
        self, leader_id: int | None, epoch: int, became_leader: bool, epoch_start_offset: int
    ) -> None:
        if became_leader:
            self.leads.set()

    def on_sessions_changed(self) -> None:
        """No broker is here."""


@pytest.fixture(scope="module")
def ensemble(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ZooKeeperEnsemble]:
    with zookeeper(tmp_path_factory.mktemp("zookeeper")) as servers:
        yield servers


@asynccontextmanager
async def controller(connect: str) -> AsyncIterator[tuple[ZooKeeperCoordinator, Listener]]:
    """A controller that may write 8 KiB at once."""
    config = BrokerConfig.from_properties(
        {
            "broker.id": "1",
            "zookeeper.connect": connect,
            "listeners": "PLAINTEXT://127.0.0.1:1,CONTROLLER://127.0.0.1:2",
            "controller.listener.names": "CONTROLLER",
            "kconsole.zookeeper.multi.max.bytes": "8192",
        }
    )
    session = ZooKeeperSession(ZooKeeperConfig.of_broker(config), on_state=lambda state: None)
    await session.connect()
    listener = Listener()

    async def handle(api_key: int, request: Message, version: int) -> Any:
        raise AssertionError("nobody asks for anything")

    coordinator = ZooKeeperCoordinator(
        real_world(),
        config,
        session,
        listener,
        image=lambda: listener.image,
        controller_endpoint=lambda: ("127.0.0.1", 1),
        admin=AdminZnodes(session, handle),
    )
    await coordinator.start()
    try:
        await listener.leads.wait()
        yield coordinator, listener
    finally:
        await coordinator.stop()


async def write(coordinator: ZooKeeperCoordinator, records: list[Any]) -> None:
    epoch = coordinator.leader_and_epoch.epoch
    await coordinator.wait_committed(coordinator.propose(records, epoch=epoch), epoch)


def topic(name: str) -> list[Any]:
    topic_id = name.encode() * 16
    partitions = [
        PartitionRecord(topic_id=topic_id, partition_id=number, replicas=[1, 2], isr=[1, 2], leader=1, leader_epoch=0)
        for number in range(9)
    ]
    return [TopicRecord(name=name, topic_id=topic_id), *partitions]


async def test_what_is_too_much_at_once_is_several_batches_or_refused_whole(ensemble: ZooKeeperEnsemble) -> None:
    names = "abcdefgh"
    async with controller(f"{ensemble.connect}/batches") as (coordinator, listener):
        for name in names:
            await write(coordinator, topic(name))
        before, written = coordinator.log_end_offset, len(listener.batches)

        # As when broker 2 dies: each says something for itself.
        gone = [
            PartitionChangeRecord(topic_id=name.encode() * 16, partition_id=number, isr=[1])
            for name in names
            for number in range(9)
        ]
        await write(coordinator, gone)
        assert len(listener.batches) > written + 1 and sum(listener.batches[written:]) == len(gone)
        assert all(each.isr == (1,) for each in listener.image.topics_by_name["h"].partitions.values())

        # What stands or falls together is refused, and nothing of it is done.
        with pytest.raises(KafkaError, match=r"kconsole\.zookeeper\.multi\.max\.bytes") as caught:
            coordinator.propose([*topic("x"), *topic("y")], epoch=coordinator.leader_and_epoch.epoch)
        assert caught.value.code is ErrorCode.RECORD_LIST_TOO_LARGE
        assert coordinator.log_end_offset == before + len(gone)

        await write(coordinator, [RemoveTopicRecord(topic_id=name.encode() * 16) for name in names])
        tree = await coordinator.session.read_tree(SUBTREES)
        assert image_of(tree) == listener.image and not listener.image.topics_by_name


async def test_notifications_of_changes_do_not_pile_up(ensemble: ZooKeeperEnsemble) -> None:
    async with controller(f"{ensemble.connect}/notifications") as (coordinator, _):
        for number in range(160):
            record = ConfigRecord(resource_type=4, resource_name="1", name="a", value=str(number))
            await write(coordinator, [record])
        session = coordinator.session
        while len(left := await session.children(paths.CONFIG_CHANGES)) > 110:  # noqa: ASYNC110  ZooKeeper is asked
            await asyncio.sleep(0.02)
        # The newest are those that are left.
        assert f"{paths.CONFIG_CHANGE_PREFIX}0000000159" in left and len(left) >= 100

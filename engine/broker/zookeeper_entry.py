"""A node's session with ZooKeeper, and what is asked of it before the log directories are opened."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from engine.broker.coordination import CoordinationRefused
from engine.broker.metadata_listener import MetadataListener
from engine.broker.offsets_in_zookeeper import OffsetsInZooKeeper
from engine.broker.zookeeper_admin_znodes import AdminZnodes
from engine.broker.zookeeper_coordinator import ZooKeeperCoordinator
from engine.core.znodes import paths
from engine.core.znodes.cluster_znodes import decode_cluster_id, encode_cluster_id
from engine.core.znodes.json_fields import ZnodeCorrupt
from engine.model.ids import uuid_to_str
from engine.zookeeper.config import ZooKeeperConfig
from engine.zookeeper.errors import NodeExists, ZooKeeperError
from engine.zookeeper.session import SessionState, ZooKeeperSession

if TYPE_CHECKING:
    from engine.broker.broker import Broker
    from engine.broker.coordinator_log import CoordinatorLogs
    from engine.model.broker_config import BrokerConfig
    from engine.wire.message import Message


class ZooKeeperEntry:
    """This node's session with ZooKeeper, and whom it tells of its state."""

    def __init__(self, session: ZooKeeperSession, cluster_id: str) -> None:
        self.session = session
        self.cluster_id = cluster_id
        self.coordinator: ZooKeeperCoordinator | None = None

    @classmethod
    async def open(cls, broker: Broker, proposed_cluster_id: str | None) -> ZooKeeperEntry:
        """Connect, and find out which cluster this is: the first node of it names it, by ``proposed_cluster_id`` where
        that is given.

        Raises: CoordinationRefused: ZooKeeper is not there within zookeeper.connection.timeout.ms, or refuses.
        """
        entry: ZooKeeperEntry | None = None

        def on_state(state: SessionState) -> None:
            if entry is not None and entry.coordinator is not None:
                entry.coordinator.on_session_state(state)

        session = ZooKeeperSession(ZooKeeperConfig.of_broker(broker.config), on_state=on_state)
        try:
            await session.connect()
            proposed = proposed_cluster_id or uuid_to_str(broker.world.random.uuid())
            cluster_id = await session.retrying(lambda: _cluster_id(session, proposed))
        except (ZooKeeperError, ZnodeCorrupt) as error:
            await session.close()
            raise CoordinationRefused(f"zookeeper.connect={broker.config.zookeeper_connect}: {error}") from error
        except BaseException:
            await session.close()
            raise
        entry = cls(session, cluster_id)
        return entry

    def make_coordinator(self, broker: Broker) -> ZooKeeperCoordinator:
        """The node's part in what ZooKeeper coordinates; not started."""

        async def handle(api_key: int, request: Message, version: int) -> Message:
            assert broker.controller is not None, "every broker is a controller where ZooKeeper coordinates"
            return await broker.controller.handle(api_key, request, version)

        self.coordinator = ZooKeeperCoordinator(
            broker.world,
            broker.config,
            self.session,
            MetadataListener(broker),
            image=lambda: broker.metadata.image,
            controller_endpoint=broker.controller_endpoint,
            admin=AdminZnodes(self.session, handle, image=lambda: broker.metadata.image),
            on_fatal=broker.on_fatal,
        )
        return self.coordinator

    def offset_storage(self, config: BrokerConfig, logs: CoordinatorLogs) -> OffsetsInZooKeeper:
        """Where committed offsets go."""
        is_in_use = config.offsets_storage == "zookeeper"
        return OffsetsInZooKeeper(self.session, logs, config.node_id, is_in_use=is_in_use)


async def _cluster_id(session: ZooKeeperSession, proposed: str) -> str:
    """Kafka: KafkaZkClient.createOrGetClusterId."""
    with contextlib.suppress(NodeExists):
        await session.create(paths.CLUSTER_ID, encode_cluster_id(proposed), make_parents=True)
        return proposed
    return decode_cluster_id((await session.get(paths.CLUSTER_ID)).data)

"""All that a broker has for share groups (KIP-932), put together.

Coordinator of share partitions' state, the groups' side, and the share partitions of what this broker leads.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from engine.broker.coordinator_topic_creation import make_sure_of_topic
from engine.broker.group_logs import TopicLogs
from engine.broker.peer_channels import PeerChannels
from engine.broker.share_coordinator_service import SHARE_STATE_TOPIC, ShareCoordinatorService
from engine.broker.share_fetching import ShareFetching
from engine.broker.share_group_offsets import ShareGroupOffsets
from engine.broker.share_group_service import ShareGroupService
from engine.broker.share_partitions import SharePartitions
from engine.broker.share_state_client import ShareStateClient
from engine.core.controller.image import GROUP_RESOURCE, MetadataDelta, MetadataImage
from engine.record.compression import Compression

if TYPE_CHECKING:
    from engine.broker.broker import Broker
    from engine.client.channel import Address


class ShareServices:
    """One for a broker. Subscribe :meth:`on_metadata` behind the replica manager and the group coordinator."""

    def __init__(self, broker: Broker, address_of: Callable[[int], Address | None]) -> None:
        """``address_of(broker_id)`` as for :class:`PeerChannels`."""
        config, world = broker.config, broker.world
        self._replicas = broker.replicas
        codec = Compression(config.share_coordinator_state_topic_compression_codec)
        self.coordinator = ShareCoordinatorService(
            world,
            config,
            broker.metadata,
            TopicLogs(world, broker.replicas, SHARE_STATE_TOPIC, codec),
            self._prune,
            broker.publisher.notes,
        )
        client_id = f"broker-{config.node_id}-to-share-coordinator"
        self._peers = PeerChannels(world, client_id, broker.metadata, address_of)
        self.client = ShareStateClient(
            world,
            config.node_id,
            broker.metadata,
            self._peers,
            self.coordinator,
            lambda: make_sure_of_topic(broker, SHARE_STATE_TOPIC),
            request_timeout_ms=config.request_timeout_ms,
        )
        self.groups = ShareGroupService(broker.groups, self.client)
        self.offsets = ShareGroupOffsets(
            broker.groups,
            self.client,
            broker.metadata,
            broker.replicas,
            self._peers,
            request_timeout_ms=config.request_timeout_ms,
        )
        self.partitions = SharePartitions(
            world,
            config,
            broker.replicas,
            self.client,
            lambda group_id: broker.metadata.image.config(GROUP_RESOURCE, group_id),
        )
        self.fetching = ShareFetching(world, config, self.partitions)

    def on_metadata(self, image: MetadataImage, delta: MetadataDelta) -> None:
        """Follow elections."""
        self.coordinator.on_metadata(image, delta)
        self.partitions.on_metadata(image, delta)

    async def shutdown(self) -> None:
        """Answer all who wait and stop."""
        await self.partitions.shutdown()
        await self.groups.shutdown()
        self._peers.close()
        await self.coordinator.shutdown()

    def _prune(self, number: int, offset: int) -> None:
        """Cut a log of the state's topic. Raises: KafkaError: NOT_LEADER_OR_FOLLOWER."""
        replica = self._replicas.find(SHARE_STATE_TOPIC, None, number)
        replica.partition.leader_role()
        self._replicas.move_log_start(replica, min(offset, replica.log.high_watermark))

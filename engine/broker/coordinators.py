"""Which coordination a node takes part in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.broker.coordination import Coordinator
from engine.broker.metadata_listener import MetadataListener
from engine.broker.quorum.voters import own_voter
from engine.broker.quorum_host import QuorumHost
from engine.client.channel import Channel
from engine.core.raft.identity import ReplicaKey

if TYPE_CHECKING:
    from engine.broker.broker import Broker
    from engine.broker.zookeeper_entry import ZooKeeperEntry
    from engine.model.ids import Uuid


def make_coordinator(
    broker: Broker, metadata_dir: str, directory_id: Uuid, entry: ZooKeeperEntry | None
) -> Coordinator:
    """The node's part in the quorum, or in what ZooKeeper coordinates; not started."""
    config, world = broker.config, broker.world
    if entry is not None:
        return entry.make_coordinator(broker)

    def open_voter_channel(node_id: int) -> Channel:
        return Channel(
            world,
            lambda: quorum.book.address(node_id),
            f"raft-client-{config.node_id}",
            backoff_ms=10,
            backoff_max_ms=200,
            connect_timeout_ms=config.controller_quorum_request_timeout_ms,
        )

    quorum = QuorumHost(
        world,
        config,
        metadata_dir,
        config.node_id,
        directory_id,
        config.quorum_voters,
        open_voter_channel,
        MetadataListener(broker),
        local_voter=own_voter(config, ReplicaKey(config.node_id, directory_id)),
        cluster_id=broker.cluster_id,
        on_notes=broker.publisher.notes,
        on_fatal=broker.on_fatal,
    )
    return quorum

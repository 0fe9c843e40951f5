"""All that a broker has for transactions, put together: the coordinator, and how leaders verify what is written."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from engine.broker.append_verification import OffsetsVerification
from engine.broker.group_logs import TopicLogs
from engine.broker.peer_channels import PeerChannels
from engine.broker.transaction_coordinator_service import TRANSACTION_TOPIC, TransactionCoordinatorService
from engine.broker.transaction_verification import TransactionVerification
from engine.record.compression import Compression

if TYPE_CHECKING:
    from engine.broker.broker import Broker
    from engine.client.channel import Address


def make_transaction_services(
    broker: Broker, undo: contextlib.AsyncExitStack, address_of: Callable[[int], Address | None]
) -> None:
    """Set the broker's ``transactions`` and ``verification``; ``undo`` ends them, ``address_of(broker_id)`` is as for
    :class:`PeerChannels`."""
    from engine.broker.apis.add_partitions_to_txn import add_or_verify
    from engine.broker.apis.write_txn_markers import write_markers

    config, world = broker.config, broker.world
    # Markers wait until they are committed: who is asked about transactions must not wait behind them.
    leaders, coordinators = (
        PeerChannels(world, f"broker-{config.node_id}-to-{kind}", broker.metadata, address_of)
        for kind in ("leader", "coordinator")
    )
    undo.callback(leaders.close)
    undo.callback(coordinators.close)
    broker.transactions = TransactionCoordinatorService(
        world,
        config,
        broker.metadata,
        TopicLogs(world, broker.replicas, TRANSACTION_TOPIC, Compression.NONE),
        broker.producer_ids,
        leaders,
        lambda request: write_markers(broker, request),
        broker.publisher.notes,
    )
    undo.push_async_callback(broker.transactions.shutdown)
    broker.verification = TransactionVerification(
        config.node_id,
        broker.metadata,
        coordinators,
        broker.transactions.partition_for,
        lambda request: add_or_verify(broker, request),
        request_timeout_ms=config.request_timeout_ms,
    )
    undo.push_async_callback(broker.verification.shutdown)
    broker.groups.verify_transaction = OffsetsVerification(broker)

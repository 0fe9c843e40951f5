"""What a broker tells its supervisor of itself: counters, and the leaders that it knows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.core.controller.image import MetadataDelta, MetadataImage

if TYPE_CHECKING:
    from engine.broker.broker import Broker


def counters_of(broker: Broker) -> dict[str, float]:
    """Totals since the start, and figures of now."""
    router = broker.router
    values: dict[str, float] = {
        "connections": len(router.connections),
        "requests": router.requests_total,
        "network_bytes_in": router.bytes_received,
        "network_bytes_out": router.bytes_sent,
        "closed_on_bad_input": router.closed_on_bad_input,
        "metadata_offset": broker.metadata.image.offset,
    }
    if broker.config.is_broker:
        replicas = broker.replicas
        values |= {
            "bytes_in": replicas.bytes_in,
            "bytes_out": replicas.bytes_out,
            "batches_in": replicas.batches_in,
            "replication_bytes_in": replicas.replication_bytes_in,
            "replication_bytes_out": replicas.replication_bytes_out,
            **replicas.counts(),
        }
    return values


def leader_changes(image: MetadataImage, delta: MetadataDelta) -> list[dict[str, str | int]]:
    """Of each partition whose leader or leader epoch changed, what they are now."""
    changes: list[dict[str, str | int]] = []
    for topic_id, partitions in delta.changed_partitions.items():
        name = image.topics_by_id[topic_id].name
        for number, state in partitions.items():
            before = delta.before.partition_by_id(topic_id, number)
            if before is None or before.leader_epoch != state.leader_epoch or before.leader != state.leader:
                changes.append(
                    {"topic": name, "partition": number, "leader": state.leader, "leader_epoch": state.leader_epoch}
                )
    return changes

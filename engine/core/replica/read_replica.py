"""Which replica a consumer had better read from (KIP-392). Kafka: RackAwareReplicaSelector."""

from __future__ import annotations

from engine.core.replica.partition import Partition
from engine.core.replica.roles import Leader


def preferred_read_replica(partition: Partition, rack: str, fetch_offset: int) -> int | None:
    """Who in the consumer's rack has ``fetch_offset``: a living member of the ISR, the one that is furthest. ``None``:
    the leader, which is this broker, because it is in that rack, or nobody else is who has it."""
    role, view = partition.role, partition.view
    if not isinstance(role, Leader):
        return None
    own = view.brokers.get(view.local_broker_id)
    if own is None or own.rack == rack:
        return None
    best = None
    for each in role.replicas.values():
        broker = view.brokers.get(each.broker_id)
        if (
            broker is None
            or broker.fenced
            or broker.rack != rack
            or each.broker_id not in role.isr_state.isr
            or not each.log_start_offset <= fetch_offset <= each.log_end_offset
        ):
            continue
        order = (each.log_end_offset, each.last_caught_up_ms, each.broker_id)
        if best is None or order > best:
            best = order
    return None if best is None else best[2]

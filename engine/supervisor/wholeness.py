"""Whether a cluster is whole: every broker runs, sees all others, and every replica is in sync in its eyes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from engine.client.errors import ClientError
from engine.supervisor.broker_supervision import BrokerSupervision
from engine.supervisor.cluster_admin import ClusterAdmin
from engine.supervisor.snapshot import ProcessState

_POLL_S = 0.03
_LOOK_S = 1.0
_UP = (ProcessState.STARTING, ProcessState.RUNNING)


async def what_is_missing(admin: ClusterAdmin, brokers: Mapping[int, BrokerSupervision]) -> str:
    """What keeps the cluster from being whole in the eyes of each broker; empty: all replicas are in sync."""
    for broker_id, broker in sorted(brokers.items()):
        if broker.state not in _UP:
            return f"broker {broker_id} is {broker.state}"
        try:
            async with asyncio.timeout(_LOOK_S):
                metadata = await admin.metadata(broker_id)
        except (ClientError, TimeoutError):
            return f"broker {broker_id} does not answer"
        there = {each.node_id for each in metadata.brokers}
        if there != brokers.keys():
            return f"broker {broker_id} does not see {sorted(brokers.keys() - there)}"
        for topic in metadata.topics:
            for each in topic.partitions:
                if each.leader_id < 0 or set(each.isr_nodes) != set(each.replica_nodes):
                    return (
                        f"{topic.name}-{each.partition_index} has replicas {sorted(each.replica_nodes)}, "
                        f"in sync {sorted(each.isr_nodes)}, says broker {broker_id}"
                    )
    return ""


async def wait_until_whole(admin: ClusterAdmin, brokers: Mapping[int, BrokerSupervision], timeout_s: float) -> str:
    """Wait until nothing is missing; what still was at the end of the time, or nothing."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_s
    while True:
        missing = await what_is_missing(admin, brokers)
        if not missing or loop.time() > deadline:
            return missing
        await asyncio.sleep(_POLL_S)

"""The top of the znodes that a broker finds, or makes, before it takes part."""

from __future__ import annotations

import asyncio
import contextlib

from engine.broker.coordination import CoordinationRefused
from engine.core.znodes import paths
from engine.core.znodes.cluster_znodes import decode_controller
from engine.core.znodes.operations import Create
from engine.zookeeper.errors import NodeExists, NoNode
from engine.zookeeper.session import ZooKeeperSession


async def enter(session: ZooKeeperSession) -> None:
    """Make what every cluster has, where it is not there, unless the cluster is somebody else's.

    Kafka: KafkaZkClient.createTopLevelPaths, maybeCreateControllerEpochZNode.

    Raises:
        CoordinationRefused: Apache Kafka rules here, or the cluster was moved to KRaft.
        ZooKeeperError, ZnodeCorrupt.
    """
    await refuse_if_moved(session)
    roots = (*paths.PERSISTENT_ROOTS, Create(paths.CONTROLLER_EPOCH, b"0"), Create(paths.EPOCH, b""))
    done = await asyncio.gather(*(session.create(*each[:2]) for each in roots), return_exceptions=True)
    for each in done:
        if isinstance(each, BaseException) and not isinstance(each, NodeExists):
            raise each
    with contextlib.suppress(NoNode):
        controller = decode_controller((await session.get(paths.CONTROLLER)).data)
        if controller.address is None:
            raise CoordinationRefused(
                f"Apache Kafka's broker {controller.broker_id} is the controller of the cluster at "
                f"zookeeper.connect={session.config}: stop its brokers first, or give this cluster a chroot of its own"
            )


async def refuse_if_moved(session: ZooKeeperSession) -> None:
    """Raises: CoordinationRefused: the cluster was moved to KRaft; ZooKeeperError."""
    if await session.exists(paths.MIGRATED) is not None:
        raise CoordinationRefused(
            f"the metadata at zookeeper.connect={session.config} was moved to KRaft (the znode {paths.MIGRATED} says "
            "so): start the nodes with the files that `kconsole zookeeper migrate` wrote"
        )

"""When all is quiet: the znodes are those that the metadata call for, the log beside them ends where they do, and every
broker answers with what stands there."""

from __future__ import annotations

import asyncio

from engine.chaos.cluster import ChaosCluster, PartitionView, View
from engine.core.controller.image import MetadataImage
from engine.core.znodes import paths
from engine.core.znodes.adoption import adoption_of
from engine.core.znodes.cluster_znodes import decode_mark
from engine.core.znodes.json_fields import ZnodeCorrupt
from engine.core.znodes.reading import SUBTREES, image_of
from engine.record.batch import iter_batches
from engine.zookeeper.config import ZooKeeperConfig
from engine.zookeeper.errors import ZooKeeperError
from engine.zookeeper.session import ZooKeeperSession

_POLL_S = 0.2


async def wait_tree_agrees(cluster: ChaosCluster, timeout_s: float) -> str:
    """Wait until it is so; what was wrong at the end, or nothing. Nothing too for a cluster without ZooKeeper."""
    if cluster.zookeeper is None:
        return ""
    session = ZooKeeperSession(ZooKeeperConfig.of_connect(cluster.zookeeper.connect))
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_s
    try:
        await session.connect()
        while True:
            wrong = await _look(session, cluster)
            if not wrong or loop.time() > deadline:
                return wrong
            await asyncio.sleep(_POLL_S)
    except ZooKeeperError as error:
        return f"ZooKeeper's tree cannot be read: {error}"
    finally:
        await session.close()


async def _look(session: ZooKeeperSession, cluster: ChaosCluster) -> str:
    before = await session.get(paths.METADATA)
    tree = await session.read_tree(SUBTREES)
    names = sorted(await session.children(paths.LOG))
    last = (await session.get(f"{paths.LOG}/{names[-1]}")).data if names else b""
    views = {each: await cluster.view(each) for each in cluster.alive()}
    if (await session.get(paths.METADATA)).version != before.version:
        return "the metadata do not come to rest"
    try:
        mark = decode_mark(before.data)
        image = image_of(tree)
        lacking = adoption_of(tree, controller_epoch=mark.epoch, now_ms=0)
    except ZnodeCorrupt as error:
        return str(error)
    if lacking:
        return f"the metadata call for other znodes than those that are there: {lacking[:3]}"
    if names and (
        int(names[0]) != mark.first or max(each.last_offset for each, _ in iter_batches(last)) != mark.offset
    ):
        return f"the log from {names[0]} to {names[-1]} is not that of {mark}"
    for broker_id, view in views.items():
        if view is None or not _agrees(view, image):
            return f"broker {broker_id} answers with something else than ZooKeeper holds"
    return ""


def _agrees(view: View, image: MetadataImage) -> bool:
    held = {
        (topic.name, number): PartitionView(each.leader, each.replicas, tuple(sorted(each.isr)))
        for topic in image.topics_by_name.values()
        for number, each in topic.partitions.items()
    }
    told = {
        name: PartitionView(each.leader, each.replicas, tuple(sorted(each.isr)))
        for name, each in view.partitions.items()
    }
    return held == told

"""What a cluster's metadata become below a chroot of a real ZooKeeper, read by Apache Kafka 3.9.1's own classes."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest

from engine.core.controller.image import MetadataDelta, MetadataImage
from engine.core.znodes import paths
from engine.core.znodes.operations import Create, Operation, Znode
from engine.core.znodes.reading import SUBTREES, image_of
from engine.core.znodes.writing import operations_of
from engine.zookeeper.config import ZooKeeperConfig
from engine.zookeeper.session import ZooKeeperSession
from tests.integration.record_zookeeper_trees import GOLDEN
from tests.integration.zookeeper_kafka import read_by_kafka
from tests.integration.zookeeper_server import zookeeper

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]


def recorded(name: str) -> list[dict[str, Any]]:
    """The znodes that a real Kafka 3.9.1 had made."""
    trees: dict[str, Any] = json.loads(GOLDEN.read_text())
    return [each for each in trees[name]["tree"] if each["path"] != "/"]


async def put(connect: str, operations: list[Operation]) -> None:
    session = ZooKeeperSession(ZooKeeperConfig.of_connect(connect))
    await session.connect()
    try:
        await session.multi(operations)
    finally:
        await session.close()


async def read(connect: str) -> dict[str, Znode]:
    session = ZooKeeperSession(ZooKeeperConfig.of_connect(connect))
    await session.connect()
    try:
        return await session.read_tree(SUBTREES)
    finally:
        await session.close()


def test_kafka_reads_what_we_write_of_a_cluster_as_what_it_had_written_itself(tmp_path: Path) -> None:
    """``broker 2 dead``: something of every kind, a reassignment under way, a topic that is to be deleted."""
    theirs = [Create(each["path"], (each["data"] or "").encode()) for each in recorded("broker 2 dead")]
    with zookeeper(tmp_path) as ensemble:
        asyncio.run(put(f"{ensemble.connect}/theirs", list(theirs)))
        tree = asyncio.run(read(f"{ensemble.connect}/theirs"))
        delta = MetadataDelta(MetadataImage())
        for offset, record in enumerate(image_of(tree).to_records()):
            delta.replay(record, offset)
        ours = operations_of(delta, controller_epoch=2, now_ms=0)
        # What a controller and a broker write beside metadata.
        beside = (
            "/controller",
            "/controller_epoch",
            "/brokers/ids/1",
            "/cluster/id",
            "/admin/delete_topics/waits-for-deletion",
        )
        ours += [each for each in theirs if each.path in beside]
        asyncio.run(put(f"{ensemble.connect}/ours", [*paths.PERSISTENT_ROOTS, *ours]))
        expected, found = read_by_kafka(f"{ensemble.connect}/theirs"), read_by_kafka(f"{ensemble.connect}/ours")
        assert len(expected) > 120
        assert list(map(_metadata, found)) == list(map(_metadata, expected))


def _metadata(line: str) -> str:
    """Without what is none: by whom a state was written, and which block of producer ids was the last."""
    block = re.search(r"firstProducerId=(\d+), size=(\d+)", line)
    if block is not None:
        return f"next producer id {int(block[1]) + int(block[2])}"
    return line.partition(" by controller epoch ")[0]

"""Znodes by which third-party tools ask the controller for something are acted on: on a real ZooKeeper, by the real
controller's machine."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager

import pytest

from engine.broker.zookeeper_admin_znodes import AdminZnodes
from engine.core.controller.error_responses import error_response
from engine.core.znodes.paths import DELETE_TOPICS, ISR_CHANGES, PREFERRED_ELECTION, REASSIGN_PARTITIONS
from engine.model.errors import ErrorCode
from engine.wire.message import Message
from engine.zookeeper.config import ZooKeeperConfig
from engine.zookeeper.errors import NoNode
from engine.zookeeper.session import ZooKeeperSession
from tests.integration.zookeeper_server import ZooKeeperEnsemble, zookeeper
from tests.unit.core.controller.controller_harness import ControllerHarness

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]


@pytest.fixture(scope="module")
def ensemble(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ZooKeeperEnsemble]:
    with zookeeper(tmp_path_factory.mktemp("zookeeper")) as servers:
        yield servers


class Cluster:
    """A controller, three brokers that are only told of, and what a tool would use."""

    def __init__(self, tool: ZooKeeperSession, session: ZooKeeperSession) -> None:
        self.tool = tool
        self.harness = ControllerHarness()
        self.harness.start(1, 2, 3)
        self.refusals: list[ErrorCode] = []
        self.failures: list[Exception] = []
        self.znodes = AdminZnodes(session, self.handle, image=lambda: self.harness.image)

    async def handle(self, api_key: int, request: Message, version: int) -> Message:
        if self.failures:
            raise self.failures.pop()
        if self.refusals:
            code = self.refusals.pop(0)
            refused: Message = error_response(api_key, request, code, "not now")
            return refused
        answer: Message = self.harness.handle(api_key, request, version)
        return answer

    async def put(self, path: str, value: object) -> None:
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        await self.tool.create(path, data, make_parents=True)

    async def is_gone(self, path: str) -> bool:
        return await self.tool.exists(path) is None


async def until(what: str, holds: Callable[[], Awaitable[bool]]) -> None:
    for _ in range(1000):
        if await holds():
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"never: {what}")


@asynccontextmanager
async def cluster(ensemble: ZooKeeperEnsemble, name: str) -> AsyncIterator[Cluster]:
    config = ZooKeeperConfig.of_connect(f"{ensemble.connect}/{name}")
    tool, session = ZooKeeperSession(config), ZooKeeperSession(config)
    await tool.connect()
    await session.connect()
    made = Cluster(tool, session)
    try:
        yield made
    finally:
        made.znodes.stop()
        await tool.close()
        await session.close()


async def test_topics_that_a_tool_marks_are_deleted(ensemble: ZooKeeperEnsemble) -> None:
    async with cluster(ensemble, "delete") as there:
        for topic in ("before", "later", "stays"):
            there.harness.create(topic, [1, 2])
        # One waits when the controller begins, one comes when nobody has made the directory yet.
        await there.put(f"{DELETE_TOPICS}/before", b"")
        there.znodes.start()
        await until("the first is gone", lambda: there.is_gone(f"{DELETE_TOPICS}/before"))
        await there.put(f"{DELETE_TOPICS}/later", b"")
        await there.put(f"{DELETE_TOPICS}/never-was", b"")
        await until("the others are gone", lambda: nothing_below(there, DELETE_TOPICS))
        assert list(there.harness.image.topics_by_name) == ["stays"]


async def nothing_below(there: Cluster, path: str) -> bool:
    try:
        return await there.tool.children(path) == []
    except NoNode:
        return True


async def test_what_cannot_be_done_now_is_done_later(ensemble: ZooKeeperEnsemble) -> None:
    async with cluster(ensemble, "later") as there:
        there.harness.create("orders", [1, 2])
        there.refusals = [ErrorCode.REQUEST_TIMED_OUT]
        there.failures = [RuntimeError("the machine failed")]
        await there.put(f"{DELETE_TOPICS}/orders", b"")
        there.znodes.start()
        await until("it is gone", lambda: there.is_gone(f"{DELETE_TOPICS}/orders"))
        assert there.refusals == [] and not there.harness.image.topics_by_name


async def test_preferred_leaders_are_elected(ensemble: ZooKeeperEnsemble) -> None:
    async with cluster(ensemble, "elect") as there:
        there.harness.create("orders", [1, 2], [2, 1])
        there.harness.fence(1)
        there.harness.start(1)
        rejoin(there.harness, "orders", 0, 1)
        assert there.harness.partition("orders", 0).leader == 2
        there.znodes.start()
        partitions = [{"topic": "orders", "partition": 0}, {"topic": "unknown", "partition": 3}]
        await there.put(PREFERRED_ELECTION, {"version": 1, "partitions": partitions})
        await until("it was acted on", lambda: there.is_gone(PREFERRED_ELECTION))
        assert there.harness.partition("orders", 0).leader == 1
        # What nobody understands goes too: it would stand in the way of the next.
        for nonsense in (b"all", b"[]", b"\xff", b'{"partitions":[{"topic":"t","partition":1e999}]}', b"[" * 9999):
            await there.put(PREFERRED_ELECTION, nonsense)
            await until("it was dropped", lambda: there.is_gone(PREFERRED_ELECTION))


async def test_replicas_move_and_the_znode_goes_with_the_last(ensemble: ZooKeeperEnsemble) -> None:
    async with cluster(ensemble, "reassign") as there:
        there.harness.create("orders", [1, 2], [2, 1])
        there.znodes.start()
        moves = [
            {"topic": "orders", "partition": 0, "replicas": [3, 2], "log_dirs": ["any", "any"]},
            {"topic": "orders", "partition": 1, "replicas": [1, 2]},
            {"topic": "unknown", "partition": 0, "replicas": [1]},
        ]
        await there.put(REASSIGN_PARTITIONS, {"version": 1, "partitions": moves})

        async def only_the_first_is_left() -> bool:
            try:
                left = json.loads((await there.tool.get(REASSIGN_PARTITIONS)).data)["partitions"]
            except NoNode:
                return False
            return left == [{"topic": "orders", "partition": 0, "replicas": [3, 2]}]

        # The second is only another order of its replicas, the third is nowhere.
        await until("what is done left", only_the_first_is_left)
        assert there.harness.partition("orders", 1).replicas == (1, 2)
        rejoin(there.harness, "orders", 0, 3)
        await until("it moved", lambda: there.is_gone(REASSIGN_PARTITIONS))
        assert there.harness.partition("orders", 0).replicas == (3, 2)


async def test_the_next_controller_goes_on_with_what_the_last_one_began(ensemble: ZooKeeperEnsemble) -> None:
    async with cluster(ensemble, "next") as there:
        there.harness.create("orders", [1, 2])
        there.znodes.start()
        moves = [{"topic": "orders", "partition": 0, "replicas": [3, 2]}]
        await there.put(REASSIGN_PARTITIONS, {"version": 1, "partitions": moves})
        await until("it has begun", lambda: adds_replicas(there))
        there.znodes.stop()
        rejoin(there.harness, "orders", 0, 3)
        await there.put(f"{DELETE_TOPICS}/orders-not", b"")
        there.znodes.start()
        await until("it ended", lambda: there.is_gone(REASSIGN_PARTITIONS))
        await until("and all else was done", lambda: nothing_below(there, DELETE_TOPICS))


async def adds_replicas(there: Cluster) -> bool:
    return there.harness.partition("orders", 0).adding_replicas == (3,)


async def test_in_sync_replicas_that_somebody_wrote_are_taken_over(ensemble: ZooKeeperEnsemble) -> None:
    async with cluster(ensemble, "isr") as there:
        there.harness.create("orders", [1, 2, 3])
        partition = there.harness.partition("orders", 0)
        state = {"controller_epoch": 1, "leader": 1, "version": 1, "leader_epoch": partition.leader_epoch}
        there.znodes.start()
        await there.put("/brokers/topics/orders/partitions/0/state", state | {"isr": [1, 3]})
        notified = {"version": 1, "partitions": [{"topic": "orders", "partition": 0}]}
        await there.put(f"{ISR_CHANGES}/isr_change_0000000000", notified)
        await until("it was acted on", lambda: nothing_below(there, ISR_CHANGES))
        assert there.harness.partition("orders", 0).isr == (1, 3)


def rejoin(harness: ControllerHarness, topic: str, number: int, broker_id: int) -> None:
    """The partition's leader takes a broker into the ISR."""
    partition = harness.partition(topic, number)
    harness.alter_partition(partition.leader, [*partition.isr, broker_id], name=topic, number=number)

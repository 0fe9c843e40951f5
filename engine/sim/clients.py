"""Clients for the simulator: small, deterministic, over the engine's own codec, doing what the big ones do.

A :class:`Cluster client <SimClient>` finds leaders and coordinators and keeps one connection a broker. Nothing here is
fast; everything is told to a history by its callers.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from engine.client.channel import Channel
from engine.client.errors import ClientError
from engine.model.errors import ErrorCode
from engine.wire.messages.find_coordinator_request import FindCoordinatorRequest
from engine.wire.messages.metadata_request import MetadataRequest, MetadataRequestTopic
from engine.wire.messages.metadata_response import MetadataResponse

if TYPE_CHECKING:
    from engine.sim.cluster import SimCluster
    from engine.sim.loop import Incarnation
    from engine.wire.message import Message
    from engine.world import World

_METADATA_VERSION = 12
_FIND_COORDINATOR_VERSION = 4
RETRY_S = 0.05

Address = tuple[str, int]


class Unavailable(Exception):
    """Nobody answered, or not usefully: whether anything happened is not known."""


class SimClient:
    """What every client needs: metadata, connections, coordinators."""

    def __init__(self, cluster: SimCluster, name: str) -> None:
        self.name = name
        self.told = cluster.told
        self._bootstrap = cluster.bootstrap
        self.process: Incarnation
        self.world: World
        self.process, self.world = cluster.client(name)
        self.nodes: dict[int, Address] = {}
        # (topic, partition) to (leader id, leader epoch).
        self.leaders: dict[tuple[str, int], tuple[int, int]] = {}
        self.topic_ids: dict[str, bytes] = {}
        self._channels: dict[Address, Channel] = {}
        self._next_bootstrap = self.world.random.randint(0, len(self._bootstrap) - 1)

    def _channel(self, address: Address) -> Channel:
        channel = self._channels.get(address)
        if channel is None:
            channel = self._channels[address] = Channel(
                self.world, lambda: address, self.name, connect_timeout_ms=1000, backoff_ms=20, backoff_max_ms=200
            )
        return channel

    async def ask_address(self, address: Address, request: Message, version: int, timeout_s: float) -> Any:
        """One request to one address. Raises: Unavailable."""
        channel = self._channel(address)
        asked_s = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(timeout_s):
                return await channel.send(request, version=version, timeout_ms=0)
        except TimeoutError:
            channel.drop()
            self.told.on_unanswered(f"{type(request).__name__} of {self.name} to {address[0]}", asked_s)
            raise Unavailable(f"{address[0]} did not answer within {timeout_s} s") from None
        except ClientError as error:
            raise Unavailable(str(error)) from None

    async def ask(self, node_id: int, request: Message, version: int, timeout_s: float = 5.0) -> Any:
        """One request to one broker. Raises: Unavailable."""
        address = self.nodes.get(node_id)
        if address is None:
            raise Unavailable(f"broker {node_id} is not known")
        return await self.ask_address(address, request, version, timeout_s)

    async def tell(self, node_id: int, request: Message, version: int) -> None:
        """A request that nobody answers (acks=0). Raises: Unavailable: there is no connection."""
        address = self.nodes.get(node_id)
        if address is None:
            raise Unavailable(f"broker {node_id} is not known")
        try:
            async with asyncio.timeout(2.0):
                connection = await self._channel(address).connection()
        except (TimeoutError, ClientError) as error:
            raise Unavailable(str(error)) from None
        written = connection.post(request, version=version, expect_answer=False)
        if written.exception() is not None:
            raise Unavailable(str(written.exception()))

    async def ask_any(self, request: Message, version: int, timeout_s: float = 2.0) -> Any:
        """One request to whichever broker answers; each is tried once. Raises: Unavailable."""
        addresses = self._bootstrap[self._next_bootstrap :] + self._bootstrap[: self._next_bootstrap]
        last = Unavailable("no broker")
        for address in addresses:
            try:
                return await self.ask_address(address, request, version, timeout_s)
            except Unavailable as error:
                last = error
                self._next_bootstrap = (self._next_bootstrap + 1) % len(self._bootstrap)
        raise last

    async def refresh(self, topics: list[str]) -> None:
        """Learn brokers and leaders. Raises: Unavailable."""
        request = MetadataRequest(
            topics=[MetadataRequestTopic(name=each) for each in topics], allow_auto_topic_creation=False
        )
        answer: MetadataResponse = await self.ask_any(request, _METADATA_VERSION)
        self.nodes = {each.node_id: (each.host, each.port) for each in answer.brokers}
        for topic in answer.topics:
            if not topic.error_code:
                self.topic_ids[topic.name or ""] = topic.topic_id
            for each in topic.partitions:
                known = self.leaders.get((topic.name or "", each.partition_index))
                # A broker that is behind must not take a client back.
                if known is None or each.leader_epoch >= known[1]:
                    self.leaders[topic.name or "", each.partition_index] = (each.leader_id, each.leader_epoch)

    async def leader(self, topic: str, partition: int) -> tuple[int, int]:
        """The leader's id and epoch, asked for if it is not known. Raises: Unavailable."""
        found = self.leaders.get((topic, partition))
        if found is None or found[0] < 0 or found[0] not in self.nodes:
            await self.refresh([topic])
            found = self.leaders.get((topic, partition))
        if found is None or found[0] < 0:
            raise Unavailable(f"{topic}-{partition} has no leader")
        return found

    def forget_leader(self, topic: str, partition: int) -> None:
        """Ask again before the next use."""
        known = self.leaders.get((topic, partition))
        if known is not None:
            self.leaders[topic, partition] = (-1, known[1])

    async def coordinator(self, key: str, key_type: int = 0) -> int:
        """The coordinator of a group, or of a transactional id (``key_type`` 1). Raises: Unavailable."""
        request = FindCoordinatorRequest(key_type=key_type, coordinator_keys=[key])
        answer = (await self.ask_any(request, _FIND_COORDINATOR_VERSION, timeout_s=5.0)).coordinators[0]
        if answer.error_code:
            raise Unavailable(ErrorCode(answer.error_code).name)
        self.nodes[answer.node_id] = (answer.host, answer.port)
        return int(answer.node_id)

    def close(self) -> None:
        """Close all connections."""
        for channel in self._channels.values():
            channel.close()
        self._channels.clear()

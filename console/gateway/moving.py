"""Moving replicas for the console: the plan as it is shown, the moves under way, and who sees them through."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

from console.gateway.protocol import GatewayError
from console.viewmodel.moves import BrokerLoad, DiskRoom, MovePlan, MoveRow, PlannedMove
from console.viewmodel.reassigning import How, PlacementWish
from engine.client.admin import AdminClient
from engine.client.admin.configs import ConfigResource, ResourceType
from engine.client.admin.outcome import failure_text
from engine.client.admin.topics import ElectionType, is_not_needed
from engine.client.errors import ClientError
from engine.model.errors import KafkaError
from engine.model.topic_partition import TopicPartition
from engine.supervisor import replica_moves
from engine.supervisor.placement_plan import (
    Move,
    PlanError,
    loads_of,
    plan_as_told,
    plan_balance,
    plan_drain,
    plan_leaders,
    plan_onto,
)
from engine.supervisor.replica_moves import Survey


class Mover:
    """Makes plans, and has the cluster carry them out. Raises what the admin client raises, and GatewayError."""

    def __init__(self, admin: Callable[[], Awaitable[AdminClient]]) -> None:
        self._admin = admin
        self._watching: asyncio.Task[None] | None = None

    async def plan(self, drained: Sequence[int]) -> MovePlan:
        """Off the ``drained`` brokers; without any, evenly over all.

        Raises:
            GatewayError: there is no such plan, or something moves already.
        """
        try:
            found = await replica_moves.survey(await self._admin())
            if found.under_way:
                raise GatewayError(f"{len(found.under_way)} partitions move already: let them end, or cancel them")
            brokers, partitions = found.brokers, found.partitions
            moves = plan_drain(brokers, partitions, drained) if drained else plan_balance(brokers, partitions)
        except (PlanError, replica_moves.MovesRefused) as error:
            raise GatewayError(str(error)) from error
        return shown_plan(found, moves, {})

    async def plan_placement(self, wish: PlacementWish) -> MovePlan:
        """Chosen partitions as they are wished.

        Raises:
            GatewayError: there is no such plan, or one of them moves already.
        """
        admin = await self._admin()
        try:
            found = await replica_moves.survey(admin)
            moves = wished_moves(found, wish)
        except (PlanError, replica_moves.MovesRefused) as error:
            raise GatewayError(str(error)) from error
        moving = [each.topic_partition for each in moves if each.topic_partition in found.under_way]
        if moving:
            raise GatewayError(f"{moving[0]} moves already: let it end, or cancel it (:moves, x)")
        return shown_plan(found, moves, await _min_isr(admin, {each.topic_partition.topic for each in moves}))

    async def elect_unclean(self, partitions: Sequence[tuple[str, int]]) -> int:
        """Raises: GatewayError: none of them could be given a leader."""
        admin = await self._admin()
        outcomes = await admin.elect_leaders(
            [TopicPartition(*each) for each in partitions], election_type=ElectionType.UNCLEAN
        )
        refused = [
            f"{each}: {failure_text(why)}"
            for each, why in outcomes.items()
            if why is not None and not is_not_needed(why)
        ]
        if refused:
            raise GatewayError("; ".join(refused[:3]))
        return sum(why is None for why in outcomes.values())

    async def begin(self, plan: MovePlan, throttle_bytes: int | None) -> None:
        """Raises: GatewayError: some of it is refused."""
        moves = [
            Move(TopicPartition(each.topic, each.partition), each.before, each.after, each.copied_bytes)
            for each in plan.moves
        ]
        admin = await self._admin()
        try:
            await replica_moves.begin(admin, moves, throttle_bytes)
        except replica_moves.MovesRefused as error:
            raise GatewayError(str(error)) from error
        self.close()
        self._watching = asyncio.ensure_future(self._see_through(admin, moves))

    async def _see_through(self, admin: AdminClient, moves: Sequence[Move]) -> None:
        """Lift the throttle and elect who comes first now. Whoever else is there can do it when this console is not."""
        while True:
            try:
                async for _ in replica_moves.watch(admin):
                    pass
                await replica_moves.elect_preferred(admin, moves)
            except (ClientError, KafkaError, replica_moves.MovesRefused):
                await asyncio.sleep(1)
                continue
            return

    async def under_way(self) -> list[MoveRow]:
        """The moves that anybody began."""
        return [
            MoveRow(
                *each.topic_partition, each.replicas, each.adding, each.removing, each.copied_bytes, each.size_bytes
            )
            for each in await replica_moves.progress(await self._admin())
        ]

    async def cancel(self, partitions: Sequence[tuple[str, int]] | None) -> int:
        """How many were brought back. Raises: GatewayError: some go on."""
        wanted = None if partitions is None else [TopicPartition(*each) for each in partitions]
        try:
            return len(await replica_moves.cancel(await self._admin(), wanted))
        except replica_moves.MovesRefused as error:
            raise GatewayError(str(error)) from error

    def close(self) -> None:
        """Stop watching; the cluster goes on."""
        if self._watching is not None:
            self._watching.cancel()
            self._watching = None


def wished_moves(found: Survey, wish: PlacementWish) -> list[Move]:
    """The moves that do what is wished. Raises: PlanError."""
    chosen = {TopicPartition(*each) for each in wish.partitions}
    unknown = sorted(chosen - {each.topic_partition for each in found.partitions})
    if unknown:
        raise PlanError(f"there is no partition {unknown[0]}")
    match wish.how:
        case How.PROPOSE:
            return plan_onto(found.brokers, found.partitions, chosen, wish.brokers, wish.factor)
        case How.LEADERS:
            return plan_leaders(found.brokers, found.partitions, chosen, wish.brokers)
        case How.LIST:
            return plan_as_told(found.brokers, found.partitions, dict.fromkeys(chosen, wish.brokers))
        case How.FILE:
            wanted = {TopicPartition(*each): replicas for each, replicas in wish.wanted.items()}
            return plan_as_told(found.brokers, found.partitions, wanted)


def shown_plan(found: Survey, moves: Sequence[Move], min_isr: Mapping[str, int]) -> MovePlan:
    """A plan with all that one wants to see of it before it is done."""
    brokers, partitions = found.brokers, found.partitions
    before, after = loads_of(brokers, partitions), loads_of(brokers, partitions, moves)
    planned = [
        PlannedMove(
            *each.topic_partition,
            each.before,
            each.after,
            each.copied_bytes,
            found.leaders[each.topic_partition],
            found.isr[each.topic_partition],
            min_isr.get(each.topic_partition.topic),
        )
        for each in moves
    ]
    loads = [
        BrokerLoad(
            now.broker_id,
            (now.replicas, then.replicas),
            (now.preferred_leaders, then.preferred_leaders),
            (now.size_bytes, then.size_bytes),
        )
        for now, then in zip(before, after, strict=True)
    ]
    rooms = [
        DiskRoom(broker_id, each.path, each.usable_bytes)
        for broker_id, known in sorted(found.rooms.items())
        for each in known
    ]
    return MovePlan(tuple(planned), tuple(loads), tuple(rooms))


async def _min_isr(admin: AdminClient, topics: set[str]) -> dict[str, int]:
    """min.insync.replicas of topics, where they are told."""
    resources = [ConfigResource(ResourceType.TOPIC, each) for each in sorted(topics)]
    found: dict[str, int] = {}
    for resource, entries in (await admin.describe_configs(resources)).items() if resources else ():
        for each in entries if isinstance(entries, list) else ():
            if each.name == "min.insync.replicas" and each.value:
                found[resource.name] = int(each.value)
    return found

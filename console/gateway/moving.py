"""Moving replicas for the console: the plan as it is shown, the moves under way, and who sees them through."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from console.gateway.protocol import GatewayError
from console.viewmodel.moves import BrokerLoad, MovePlan, MoveRow, PlannedMove
from engine.client.admin import AdminClient
from engine.client.errors import ClientError
from engine.model.errors import KafkaError
from engine.model.topic_partition import TopicPartition
from engine.supervisor import replica_moves
from engine.supervisor.placement_plan import Move, PlanError, loads_of, plan_balance, plan_drain


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
        before, after = loads_of(brokers, partitions), loads_of(brokers, partitions, moves)
        return MovePlan(
            tuple(PlannedMove(*each.topic_partition, each.before, each.after, each.copied_bytes) for each in moves),
            tuple(
                BrokerLoad(
                    now.broker_id,
                    (now.replicas, then.replicas),
                    (now.preferred_leaders, then.preferred_leaders),
                    (now.size_bytes, then.size_bytes),
                )
                for now, then in zip(before, after, strict=True)
            ),
        )

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

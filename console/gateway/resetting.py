"""Setting a group's offsets anew for the console: asks what a plan is made of, and commits what was shown."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

from console.gateway.protocol import GatewayError
from console.viewmodel.resets import (
    LogFacts,
    Place,
    ResetError,
    ResetPlan,
    ResetWish,
    Rule,
    check_wish,
    partitions_of,
    plan_reset,
    refusal,
    time_of,
)
from engine.client.admin import AdminClient
from engine.client.admin.group_descriptions import GroupDescription
from engine.client.admin.offsets import CommittedOffset, OffsetAt, OffsetSpec
from engine.model.errors import ErrorCode, KafkaError
from engine.model.topic_partition import TopicPartition

_NOT_THERE = (ErrorCode.GROUP_ID_NOT_FOUND, ErrorCode.UNSUPPORTED_VERSION)


class Resetter:
    """Raises what the admin client raises, and GatewayError."""

    def __init__(self, admin: Callable[[], Awaitable[AdminClient]], now_ms: Callable[[], int]) -> None:
        self._admin = admin
        self._now_ms = now_ms

    async def plan(self, wish: ResetWish) -> ResetPlan:
        """Changes nothing.

        Raises:
            GatewayError: the wish cannot be granted; the group has members.
        """
        admin = await self._admin()
        try:
            check_wish(wish)
            await self._check_inactive(admin, wish.group)
            groups = [wish.group, *([wish.value] if wish.rule is Rule.GROUP else [])]
            committed = {each: await self._committed(admin, each) for each in groups}
            metadata = await admin.metadata()
            existing = {name: [each.partition for each in topic.partitions] for name, topic in metadata.topics.items()}
            followed = committed[groups[-1]] if wish.rule is Rule.GROUP else {}
            partitions = partitions_of(wish, committed[wish.group], followed, existing)
            starts = await self._offsets(admin, partitions, OffsetSpec.EARLIEST)
            ends = await self._offsets(admin, partitions, OffsetSpec.LATEST)
            at_ms = time_of(wish, self._now_ms())
            at_time: Mapping[Place, int | None] = {}
            if at_ms is not None:
                found = await self._offsets(admin, partitions, at_ms)
                at_time = {place: offset if offset >= 0 else None for place, offset in found.items()}
            return plan_reset(wish, partitions, LogFacts(committed[wish.group], starts, ends, at_time, followed))
        except ResetError as error:
            raise GatewayError(str(error)) from error

    async def execute(self, plan: ResetPlan) -> int:
        """Commit what the plan shows; how many partitions. The group is looked at once more before, and its coordinator
        refuses a commit for a group with members on its own.

        Raises:
            GatewayError: the group has members by now, or other offsets than those of the plan; or a commit failed.
        """
        admin = await self._admin()
        group = plan.wish.group
        await self._check_inactive(admin, group)
        now = await self._committed(admin, group)
        moved = [each for each in plan.offsets if now.get((each.topic, each.partition)) != each.before]
        if moved:
            raise GatewayError(
                f"{group} committed since the plan was made ({moved[0].topic}-{moved[0].partition}): make it anew"
            )
        wanted = {TopicPartition(each.topic, each.partition): each.after for each in plan.offsets}
        outcomes = await admin.alter_group_offsets(group, wanted)
        failed = {place: error for place, error in outcomes.items() if error is not None}
        if failed:
            place, error = next(iter(sorted(failed.items())))
            if error.code is ErrorCode.UNKNOWN_MEMBER_ID:
                raise GatewayError(f"{group} has members again: nothing was committed")
            more = f", and {len(failed) - 1} more" if len(failed) > 1 else ""
            raise GatewayError(f"{place} was not committed: {error.code.name}{more}")
        return len(outcomes)

    async def _check_inactive(self, admin: AdminClient, group: str) -> None:
        found = (await admin.describe_groups([group]))[group]
        if isinstance(found, KafkaError) and found.code in _NOT_THERE:
            return
        if not isinstance(found, GroupDescription):
            raise found
        members = [f"{each.client_id}{each.host.replace('/', '@', 1)}" for each in found.members]
        reason = refusal(group, found.group_type, found.state, members)
        if reason:
            raise GatewayError(reason)

    async def _committed(self, admin: AdminClient, group: str) -> dict[Place, int]:
        found = (await admin.list_group_offsets([group]))[group]
        if isinstance(found, KafkaError) and found.code in _NOT_THERE:
            return {}
        if not isinstance(found, dict):
            raise found
        committed: dict[Place, int] = {}
        for place, each in found.items():
            if not isinstance(each, CommittedOffset):
                raise each
            committed[place.topic, place.partition] = each.offset
        return committed

    @staticmethod
    async def _offsets(admin: AdminClient, partitions: Sequence[Place], spec: int) -> dict[Place, int]:
        outcomes = await admin.list_offsets({TopicPartition(*each): spec for each in partitions})
        found: dict[Place, int] = {}
        for place, outcome in outcomes.items():
            if not isinstance(outcome, OffsetAt):
                why = outcome.code.name if isinstance(outcome, KafkaError) else str(outcome)
                raise GatewayError(f"{place}: its leader does not tell where its log begins and ends: {why}")
            found[place.topic, place.partition] = outcome.offset
        return found

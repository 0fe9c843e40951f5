"""Share groups on their coordinator: heartbeats, and what they need of share coordinators (Kafka: the part of
GroupCoordinatorService for share groups).

Groups themselves are machines in the group coordinator's shards; the state of what they read is at the share
coordinators, which are asked through :class:`~engine.broker.share_state_client.ShareStateClient`.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from engine.broker.group_coordinator_service import GroupCoordinatorService
from engine.broker.share_state_client import ShareStateClient
from engine.core.controller.feature_control import SHARE_FEATURE
from engine.core.group.context import ClientContext
from engine.core.group.records import ShareStatesToInitialize
from engine.core.group.share_group import StateTopic
from engine.core.share.records import NO_OFFSET, SharePartitionKey
from engine.model.errors import ErrorCode, KafkaError
from engine.model.ids import Uuid
from engine.wire.messages.share_group_describe_response import DescribedGroup
from engine.wire.messages.share_group_heartbeat_request import ShareGroupHeartbeatRequest
from engine.wire.messages.share_group_heartbeat_response import ShareGroupHeartbeatResponse

if TYPE_CHECKING:
    from engine.core.controller.image import MetadataImage

log = logging.getLogger(__name__)


def serves_share_groups(image: MetadataImage) -> bool:
    """Whether share groups are switched on (share.version)."""
    return image.features.get(SHARE_FEATURE, 0) > 0


class ShareGroupService:
    """One for a broker."""

    def __init__(self, groups: GroupCoordinatorService, client: ShareStateClient) -> None:
        self._groups = groups
        self._client = client
        # An ordered set: the order of iteration must replay.
        self._tasks: dict[asyncio.Task[None], None] = {}
        groups.initialize_share_states = self._begin_initializing

    async def shutdown(self) -> None:
        """Ask no more."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # -- membership ---------------------------------------------------------------------------------------------

    async def heartbeat(
        self, context: ClientContext, request: ShareGroupHeartbeatRequest
    ) -> ShareGroupHeartbeatResponse:
        """ShareGroupHeartbeat; returns when what it changed is committed."""
        try:
            answer: ShareGroupHeartbeatResponse = await self._groups.runtime.submit(
                self._groups.partition_for(request.group_id),
                lambda shard, now, token: shard.handle_share_group_heartbeat(context, request, now, token),
                # A member that says more than that it lives will make records; others seldom do.
                writes=request.member_epoch <= 0 or request.subscribed_topic_names is not None,
            )
        except KafkaError as error:
            return ShareGroupHeartbeatResponse(error_code=int(error.code), error_message=error.message)
        return answer

    def describe(self, group_ids: list[str]) -> list[DescribedGroup]:
        """ShareGroupDescribe, in the order asked."""
        answers = []
        for group_id in group_ids:
            if not group_id:
                answers.append(DescribedGroup(error_code=int(ErrorCode.INVALID_GROUP_ID)))
                continue
            try:
                shard = self._groups.runtime.shard(self._groups.partition_for(group_id))
            except KafkaError as error:
                answers.append(DescribedGroup(group_id=group_id, error_code=int(error.code)))
            else:
                answers += shard.describe_share_groups([group_id])
        return answers

    # -- state of partitions ------------------------------------------------------------------------------------

    def _begin_initializing(self, number: int, states: ShareStatesToInitialize) -> None:
        task = asyncio.ensure_future(self._initialize(number, states))
        self._tasks[task] = None
        task.add_done_callback(lambda done: self._tasks.pop(done, None))

    async def _initialize(self, number: int, states: ShareStatesToInitialize) -> None:
        done: dict[Uuid, Any] = {}
        wanted = [
            (topic_id, topic.name, partition)
            for topic_id, topic in states.topics.items()
            for partition in sorted(topic.partitions)
        ]
        errors = await asyncio.gather(
            *(
                self._initialize_one(
                    SharePartitionKey(states.group_id, topic_id, partition), states.state_epoch, NO_OFFSET
                )
                for topic_id, _, partition in wanted
            )
        )
        for (topic_id, name, partition), error in zip(wanted, errors, strict=True):
            if error is None:
                before = done.get(topic_id, StateTopic(name, frozenset()))
                done[topic_id] = StateTopic(name, before.partitions | {partition})
            else:
                log.info("the state of %s-%d for %s was not begun: %s", name, partition, states.group_id, error)
        if not done:
            return
        try:
            self._groups.runtime.run(
                number, lambda shard, now: shard.on_share_states_initialized(states.group_id, done), writes=True
            )
        except KafkaError as error:
            # Whoever coordinates the group next, or a later heartbeat, asks again.
            log.info("what was begun for %s is not written down: %s", states.group_id, error)

    async def _initialize_one(self, key: SharePartitionKey, state_epoch: int, start_offset: int) -> KafkaError | None:
        try:
            await self._client.initialize(key, state_epoch, start_offset)
        except KafkaError as error:
            return error
        return None

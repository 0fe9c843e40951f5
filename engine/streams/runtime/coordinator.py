"""The group's coordinator as a worker speaks to it: found, found again, and asked with patience."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from engine.client.errors import ConnectionLost
from engine.client.group_channel import MOVED, GroupChannel
from engine.model.errors import ErrorCode, KafkaError
from engine.wire.messages.describe_configs_request import DescribeConfigsRequest, DescribeConfigsResource
from engine.wire.messages.incremental_alter_configs_request import (
    AlterableConfig,
    AlterConfigsResource,
    IncrementalAlterConfigsRequest,
)
from engine.wire.messages.offset_commit_request import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
)
from engine.wire.messages.offset_fetch_request import (
    OffsetFetchRequest,
    OffsetFetchRequestGroup,
    OffsetFetchRequestTopics,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from engine.client.channel import Address
    from engine.world import World

Partition = tuple[str, int]

# Version 10 names topics by id.
_OFFSETS_BY_NAME = 9
_GROUP_RESOURCE = 32
_RETRY_S = 0.1
_PASSING = MOVED | {
    ErrorCode.UNSTABLE_OFFSET_COMMIT,
    ErrorCode.REQUEST_TIMED_OUT,
    ErrorCode.NETWORK_EXCEPTION,
    ErrorCode.NOT_ENOUGH_REPLICAS,
    ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
}


class Committed(NamedTuple):
    """The next offset to process, and what was committed beside it."""

    offset: int
    metadata: str = ""


class GroupCoordinator(GroupChannel):
    """The coordinator of a streams application's group. All methods belong to one event loop."""

    def __init__(
        self, world: World, bootstrap: list[Address], group_id: str, client_id: str, request_timeout_ms: int
    ) -> None:
        super().__init__(world, bootstrap, group_id, client_id, min(request_timeout_ms, 10_000))

    async def set_group_config(self, name: str, value: str) -> None:
        """Set a config of the group.

        Raises:
            KafkaError: the cluster refuses.
            ClientError: nobody answers.
        """
        resource = AlterConfigsResource(
            resource_type=_GROUP_RESOURCE,
            resource_name=self.group_id,
            configs=[AlterableConfig(name=name, config_operation=0, value=value)],
        )
        answer = await self._pool.send_any(IncrementalAlterConfigsRequest(resources=[resource]))
        for each in answer.responses:
            if each.error_code:
                raise KafkaError(ErrorCode(each.error_code), each.error_message or ErrorCode(each.error_code).name)

    async def group_config(self, name: str) -> str | None:
        """A config of the group as it is in force, None where brokers do not tell.

        Raises:
            ClientError: nobody answers.
        """
        resource = DescribeConfigsResource(
            resource_type=_GROUP_RESOURCE, resource_name=self.group_id, configuration_keys=[name]
        )
        answer = await self._pool.send_any(DescribeConfigsRequest(resources=[resource]))
        told = {each.name: each.value for result in answer.results for each in result.configs}
        return told.get(name)

    async def fetch_offsets(self, partitions: Iterable[Partition]) -> dict[Partition, Committed]:
        """Committed offsets, of partitions that have one, once no transaction is about to change them.

        Asked as nobody in particular: a member's epoch may be another one when the question arrives.

        Raises:
            ClientError, KafkaError: as :meth:`commit_offsets`.
        """
        by_topic: dict[str, list[int]] = {}
        for topic, partition in partitions:
            by_topic.setdefault(topic, []).append(partition)
        group = OffsetFetchRequestGroup(
            group_id=self.group_id,
            topics=[OffsetFetchRequestTopics(name=name, partition_indexes=each) for name, each in by_topic.items()],
        )
        request = OffsetFetchRequest(groups=[group], require_stable=True)
        answer = await self.send(request, max_version=_OFFSETS_BY_NAME)
        found: dict[Partition, Committed] = {}
        told = answer.groups[0]
        self._check(told.error_code)
        for topic in told.topics:
            for each in topic.partitions:
                self._check(each.error_code)
                if each.committed_offset >= 0:
                    found[topic.name, each.partition_index] = Committed(each.committed_offset, each.metadata or "")
        return found

    async def commit_offsets(self, offsets: Mapping[Partition, Committed], member_id: str, member_epoch: int) -> None:
        """Commit as a member of the group.

        Raises:
            ClientError: no answer, or one that another try may change.
            KafkaError: UNKNOWN_MEMBER_ID, STALE_MEMBER_EPOCH and other refusals.
        """
        by_topic: dict[str, list[OffsetCommitRequestPartition]] = {}
        for (topic, partition), (offset, metadata) in offsets.items():
            by_topic.setdefault(topic, []).append(
                OffsetCommitRequestPartition(
                    partition_index=partition, committed_offset=offset, committed_metadata=metadata
                )
            )
        request = OffsetCommitRequest(
            group_id=self.group_id,
            generation_id_or_member_epoch=member_epoch,
            member_id=member_id,
            topics=[OffsetCommitRequestTopic(name=name, partitions=each) for name, each in by_topic.items()],
        )
        answer = await self.send(request, max_version=_OFFSETS_BY_NAME)
        for topic in answer.topics:
            for each in topic.partitions:
                self._check(each.error_code)

    def _check(self, error_code: int) -> None:
        if not error_code:
            return
        code = ErrorCode(error_code)
        if code in _PASSING:
            if code in MOVED:
                self.forget()
            raise ConnectionLost(f"the coordinator of {self.group_id} answered {code.name}")
        raise KafkaError(code, f"group {self.group_id}: {code.name}")


def is_passing(error_code: int) -> bool:
    """Whether another try may bring another answer."""
    return error_code in _PASSING


async def pause() -> None:
    """Between two tries."""
    await asyncio.sleep(_RETRY_S)

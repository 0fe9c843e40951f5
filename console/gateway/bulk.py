"""Many records at once, of any cluster: the admin client's part, and producers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence

from console.gateway.bulk_protocol import Kept, Sender, SenderOptions
from console.gateway.bulk_sending import BulkSender
from console.gateway.protocol import GatewayError
from engine.client.admin import AdminClient
from engine.client.admin.configs import ConfigResource, ResourceType
from engine.client.admin.offsets import CommittedOffset, OffsetAt
from engine.client.errors import ClientError
from engine.model.errors import ErrorCode, KafkaError
from engine.model.topic_partition import TopicPartition

_NOT_THERE = (ErrorCode.GROUP_ID_NOT_FOUND, ErrorCode.UNSUPPORTED_VERSION)
_COORDINATOR_S = 15.0
# A leader that hangs is not waited for.
_ANSWER_MS = 2_000.0
# Questions for times that are under way together.
_AT_ONCE = 8


class Bulk:
    """See :class:`~console.gateway.bulk_protocol.BulkRecords`."""

    def __init__(
        self,
        admin: Callable[[], Awaitable[AdminClient]],
        servers: Callable[[], Awaitable[str]],
        config: Mapping[str, str],
        check_writable: Callable[[], None],
    ) -> None:
        self._admin = admin
        self._servers = servers
        self._config = config
        self._check_writable = check_writable

    async def partition_count(self, topic: str) -> int:
        """Raises: GatewayError: there is no such topic, or nobody answers."""
        try:
            found = (await (await self._admin()).metadata([topic])).topics.get(topic)
        except (ClientError, KafkaError) as error:
            raise GatewayError(f"{topic}: {error}") from error
        if found is None or found.error is not None:
            code = found.error.code if found is not None and found.error is not None else None
            if code is None or code is ErrorCode.UNKNOWN_TOPIC_OR_PARTITION:
                raise GatewayError(f"there is no topic {topic}")
            raise GatewayError(f"{topic}: {code.name}")
        return len(found.partitions)

    async def sender(self, options: SenderOptions) -> Sender:
        """Raises: GatewayError: read-only; no producer can be made."""
        self._check_writable()
        sender = BulkSender(await self._servers(), self._config, options)
        await sender.open()
        return sender

    async def kept_offsets(self, group: str) -> dict[TopicPartition, Kept]:
        """Raises: GatewayError: its coordinator does not tell."""
        deadline = time.monotonic() + _COORDINATOR_S
        while True:
            try:
                found = (await (await self._admin()).list_group_offsets([group]))[group]
            except (ClientError, KafkaError) as error:
                raise GatewayError(f"{group}: {error}") from error
            # The first question about any group has the offsets topic created, and is refused meanwhile.
            if not (isinstance(found, KafkaError) and found.code.retriable) or time.monotonic() >= deadline:
                break
            await asyncio.sleep(0.2)
        if isinstance(found, KafkaError) and found.code in _NOT_THERE:
            return {}
        if not isinstance(found, dict):
            raise GatewayError(f"the offsets of {group} are not told: {found}")
        kept: dict[TopicPartition, Kept] = {}
        for place, each in found.items():
            if not isinstance(each, CommittedOffset):
                raise GatewayError(f"the offset of {group} in {place} is not told: {each.code.name}")
            kept[place] = Kept(each.offset, each.metadata)
        return kept

    async def offsets_retention_minutes(self) -> int | None:
        """As a broker has it; ``None`` if it does not tell, or may not."""
        name = "offsets.retention.minutes"
        try:
            admin = await self._admin()
            brokers = (await admin.metadata(())).brokers
            resource = ConfigResource(ResourceType.BROKER, str(min(brokers)))
            outcome = (await admin.describe_configs([resource])).get(resource)
        except (ClientError, KafkaError, ValueError):
            return None
        values = [each.value for each in outcome if each.name == name] if isinstance(outcome, list) else []
        return int(values[0]) if values and values[0] and values[0].isdigit() else None

    async def offsets_for_times(
        self, partitions: Sequence[TopicPartition], times_ms: Sequence[int]
    ) -> list[dict[TopicPartition, tuple[int, int]]]:
        """A ListOffsets for each time and leader: the brokers look into their time indexes, no record is read."""
        admin = await self._admin()
        room = asyncio.Semaphore(_AT_ONCE)

        async def at(time_ms: int) -> dict[TopicPartition, tuple[int, int]]:
            async with room:
                outcomes = await admin.list_offsets(dict.fromkeys(partitions, time_ms), timeout_ms=_ANSWER_MS)
            return {
                place: (each.offset, each.timestamp) for place, each in outcomes.items() if isinstance(each, OffsetAt)
            }

        return list(await asyncio.gather(*map(at, times_ms)))

"""The scripted cluster's side of acts on many records: what is sent is kept, nothing else happens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from console.gateway import GatewayError
from console.gateway.bulk_protocol import Kept, SenderOptions
from console.viewmodel.outgoing import Outgoing
from engine.model.topic_partition import TopicPartition


class ScriptedSender:
    """Acknowledges at once, up to ``fails_after`` records."""

    def __init__(self, bulk: ScriptedBulk, options: SenderOptions) -> None:
        self._bulk = bulk
        self.options = options
        self._pending: list[Outgoing] = []
        self.acknowledged = self.sent = 0

    async def send(self, records: Sequence[Outgoing]) -> None:
        for each in records:
            if self._bulk.fails_after is not None and self.sent >= self._bulk.fails_after:
                raise GatewayError(f"{each.topic}: NOT_ENOUGH_REPLICAS")
            self.sent += 1
            (self._pending if self.options.transactional_id else self._bulk.sent).append(each)
            self.acknowledged += 1
        if self._bulk.on_send is not None:
            self._bulk.on_send()

    async def flush(self) -> None:
        pass

    async def commit(self, offsets: Mapping[TopicPartition, Kept]) -> None:
        self._bulk.sent += self._pending
        self._pending.clear()
        self._bulk.kept.setdefault(self.options.group, {}).update(offsets)

    def latencies_ms(self) -> Sequence[float]:
        return [1.0 + number % 20 for number in range(self.acknowledged)]

    async def close(self) -> None:
        self._bulk.closed += 1


class ScriptedBulk:
    """Of topics as the picture has them; of times what ``times`` answers."""

    def __init__(self, gateway: Any) -> None:
        self._gateway = gateway
        self.sent: list[Outgoing] = []
        self.kept: dict[str, dict[TopicPartition, Kept]] = {}
        self.senders: list[SenderOptions] = []
        self.fails_after: int | None = None
        self.on_send: Any = None
        self.closed = 0

    async def partition_count(self, topic: str) -> int:
        for each in self._gateway.snapshot.topics:
            if each.name == topic:
                return len(each.partitions)
        raise GatewayError(f"there is no topic {topic}")

    async def sender(self, options: SenderOptions) -> ScriptedSender:
        if self._gateway.capabilities.read_only:
            raise GatewayError("the console was opened with --read-only")
        self.senders.append(options)
        return ScriptedSender(self, options)

    async def kept_offsets(self, group: str) -> dict[TopicPartition, Kept]:
        return dict(self.kept.get(group, {}))

    async def offsets_retention_minutes(self) -> int | None:
        return 10_080

    async def offsets_for_times(
        self, partitions: Sequence[TopicPartition], times_ms: Sequence[int]
    ) -> list[dict[TopicPartition, tuple[int, int]]]:
        self._gateway.calls.append(("offsets_for_times", tuple(times_ms)))
        return [{place: self._at(place, time_ms) for place in partitions} for time_ms in times_ms]

    def _at(self, place: TopicPartition, time_ms: int) -> tuple[int, int]:
        records = [each for each in self._gateway.records if (each.topic, each.partition) == place]
        if time_ms == -3:
            return max(((each.offset, each.timestamp_ms) for each in records), default=(-1, -1), key=lambda at: at[1])
        if time_ms == -2:
            return min((each.offset for each in records), default=0), -1
        if time_ms == -1:
            return max((each.offset + 1 for each in records), default=0), -1
        for each in records:
            if each.timestamp_ms >= time_ms:
                return each.offset, each.timestamp_ms
        return -1, -1

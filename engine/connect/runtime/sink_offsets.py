"""A sink's offsets, which are those of its consumer group: read, altered, reset (KIP-875)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from engine.client.admin import AdminClient
from engine.client.errors import ClientError
from engine.connect.connector import TopicPartition
from engine.connect.errors import ConnectError
from engine.connect.runtime.herder import BadRequest
from engine.model.errors import ErrorCode, KafkaError
from engine.model.topic_partition import TopicPartition as ModelPartition

TOPIC, PARTITION, OFFSET = "kafka_topic", "kafka_partition", "kafka_offset"
_PATIENCE_MS = 30_000
_STILL_RUNNING = (
    "Failed to {what} consumer group offsets for connector {name} either because its tasks haven't stopped completely "
    "yet or the connector was resumed before the request to {what} its offsets could be successfully completed. If the "
    "connector is in a stopped state, this operation can be safely retried. If it doesn't eventually succeed, the "
    "Connect cluster may need to be restarted to get rid of the zombie sink tasks."
)
_PARTITION_BITS, _OFFSET_BITS = 32, 64
_BUSY = (ErrorCode.UNKNOWN_MEMBER_ID, ErrorCode.NON_EMPTY_GROUP, ErrorCode.GROUP_SUBSCRIBED_TO_TOPIC)

Pairs = Sequence[tuple[Mapping[str, Any], Mapping[str, Any] | None]]


def parsed(offsets: Pairs) -> dict[TopicPartition, int | None]:
    """What REST was given (``SinkUtils.parseSinkConnectorOffsets``).

    Raises:
        BadRequest: it cannot be.
    """
    found: dict[TopicPartition, int | None] = {}
    for partition, offset in offsets:
        if not isinstance(partition, Mapping):
            raise BadRequest("The partition for a sink connector offset cannot be null or missing")
        if TOPIC not in partition or PARTITION not in partition:
            raise BadRequest(
                f"The partition for a sink connector offset must contain the keys '{TOPIC}' and '{PARTITION}'"
            )
        if partition[TOPIC] is None:
            raise BadRequest("Kafka topic names must be valid strings and may not be null")
        if partition[PARTITION] is None:
            raise BadRequest("Kafka partitions must be valid numbers and may not be null")
        number = _number(
            partition[PARTITION],
            _PARTITION_BITS,
            "Failed to parse the following Kafka partition value in the provided offsets: '{}'. Partition values for "
            "sink connectors need to be integers.",
        )
        at = TopicPartition(str(partition[TOPIC]), number)
        if offset is None:
            found[at] = None
            continue
        if OFFSET not in offset:
            raise BadRequest(f"The offset for a sink connector should either be null or contain the key '{OFFSET}'")
        found[at] = _number(
            offset[OFFSET],
            _OFFSET_BITS,
            "Failed to parse the following Kafka offset value in the provided offsets: '{}'. Offset values for sink "
            "connectors need to be integers.",
        )
    return found


def _number(value: Any, bits: int, message: str) -> int:
    try:
        number = int(str(value))
        if isinstance(value, bool) or not -(1 << bits - 1) <= number < 1 << bits - 1:
            raise ValueError
        return number
    except ValueError:
        raise BadRequest(message.format(value)) from None


class SinkOffsets:
    """Of one sink."""

    def __init__(self, admin: AdminClient, name: str, group_id: str) -> None:
        """The caller closes ``admin``."""
        self._admin = admin
        self._name = name
        self._group_id = group_id

    async def read(self) -> dict[TopicPartition, int]:
        """The committed ones.

        Raises:
            ConnectError: they cannot be had.
        """
        told = (await self._admin.list_group_offsets([self._group_id], timeout_ms=_PATIENCE_MS))[self._group_id]
        if isinstance(told, dict):
            return {TopicPartition(*at): each.offset for at, each in told.items() if not isinstance(each, KafkaError)}
        if isinstance(told, KafkaError) and told.code is ErrorCode.GROUP_ID_NOT_FOUND:
            return {}
        raise ConnectError(f"Failed to retrieve consumer group offsets for sink connector {self._name}: {told}")

    async def alter(self, offsets: Mapping[TopicPartition, int | None]) -> None:
        """Set them; None deletes one.

        Raises:
            ConnectError: the cluster refuses.
        """
        if any(offset is not None and offset < 0 for offset in offsets.values()):
            raise ConnectError(f"Failed to modify offsets for sink connector {self._name}")
        setting = {ModelPartition(*at): offset for at, offset in offsets.items() if offset is not None}
        deleting = [ModelPartition(*at) for at, offset in offsets.items() if offset is None]
        try:
            if setting:
                self._check("alter", await self._admin.alter_group_offsets(self._group_id, setting))
            if deleting:
                self._check("alter", await self._admin.delete_group_offsets(self._group_id, deleting))
        except (KafkaError, ClientError) as error:
            self._check("alter", {"": error})

    async def reset(self) -> None:
        """Delete the group.

        Raises:
            ConnectError: the cluster refuses.
        """
        self._check("reset", await self._admin.delete_groups([self._group_id], timeout_ms=_PATIENCE_MS))

    def _check(self, what: str, outcomes: Mapping[Any, KafkaError | ClientError | None]) -> None:
        for error in outcomes.values():
            if error is None or (isinstance(error, KafkaError) and error.code is ErrorCode.GROUP_ID_NOT_FOUND):
                continue
            if isinstance(error, KafkaError) and error.code in _BUSY:
                raise ConnectError(_STILL_RUNNING.format(what=what, name=self._name)) from error
            raise ConnectError(
                f"Failed to {what} consumer group offsets for connector {self._name}: {error}"
            ) from error

"""What the console asks of a cluster about many records at once; every method raises GatewayError with a sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from console.viewmodel.outgoing import Outgoing
from engine.model.topic_partition import TopicPartition


class SenderOptions(NamedTuple):
    """How records are sent. With a ``transactional_id`` all of it is in transactions: the first record after a commit
    begins one, and other producers with that id are fenced."""

    acks: str = "all"
    compression: str = "none"
    linger_ms: int = 5
    transactional_id: str = ""
    # Offsets of this group are committed with the records.
    group: str = ""


class Kept(NamedTuple):
    """A committed offset, with what was said beside it."""

    offset: int
    metadata: str


class Sender(Protocol):
    """A producer for many records. What could not be delivered is raised by the next call."""

    @property
    def acknowledged(self) -> int:
        """How many records the cluster has acknowledged."""

    @property
    def sent(self) -> int:
        """How many were given to it."""

    async def send(self, records: Sequence[Outgoing]) -> None:
        """Returns when they are on their way; waits while too much is."""

    async def flush(self) -> None:
        """Returns when all of it is acknowledged."""

    async def commit(self, offsets: Mapping[TopicPartition, Kept]) -> None:
        """End the transaction: its records and these offsets, or nothing."""

    def latencies_ms(self) -> Sequence[float]:
        """From giving a record away to its acknowledgement, of those since the last call."""

    async def close(self) -> None:
        """Let go; what is not acknowledged may be lost, an open transaction is aborted."""


class BulkRecords(Protocol):
    """What needs no more than the Kafka protocol."""

    async def partition_count(self, topic: str) -> int:
        """How many partitions a topic has."""

    async def sender(self, options: SenderOptions) -> Sender:
        """A producer; refused when read-only."""

    async def kept_offsets(self, group: str) -> dict[TopicPartition, Kept]:
        """What a group committed; nothing if there is no such group."""

    async def offsets_retention_minutes(self) -> int | None:
        """How long a group's offsets are kept when it has no members; ``None`` if nobody tells."""

    async def offsets_for_times(
        self, partitions: Sequence[TopicPartition], times_ms: Sequence[int]
    ) -> list[dict[TopicPartition, tuple[int, int]]]:
        """For each time, of each partition that answers: offset and time of the first record that is as young (-1, -1:
        none is). :class:`~engine.client.admin.offsets.OffsetSpec`'s negative numbers are times, too."""


class NoBulkRecords:
    """Of a cluster whose records are not for the console to move. ``reason`` says why."""

    def __init__(self, reason: str) -> None:
        self._reason = reason

    async def partition_count(self, topic: str) -> int:
        raise self._error()

    async def sender(self, options: SenderOptions) -> Sender:
        raise self._error()

    async def kept_offsets(self, group: str) -> dict[TopicPartition, Kept]:
        raise self._error()

    async def offsets_retention_minutes(self) -> int | None:
        raise self._error()

    async def offsets_for_times(
        self, partitions: Sequence[TopicPartition], times_ms: Sequence[int]
    ) -> list[dict[TopicPartition, tuple[int, int]]]:
        raise self._error()

    def _error(self) -> Exception:
        from console.gateway.protocol import GatewayError

        return GatewayError(self._reason)

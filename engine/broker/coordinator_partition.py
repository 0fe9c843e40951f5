"""What a coordinator's runtime keeps of each partition that it acts for: the machine, and what waits for the log."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, Generic, Protocol, TypeVar

from engine.broker.coordinator_log import KeyValue
from engine.core.effects import Effects, Reply
from engine.core.now import Now
from engine.model.errors import ErrorCode

# A bound on a record's own framing inside a batch, and on the batch's header.
RECORD_OVERHEAD_BYTES = 32
BATCH_OVERHEAD_BYTES = 64


class CoordinatorShard(Protocol):
    """A machine that the runtime can run."""

    def replay(self, key: Any, value: Any, *, record_offset: int, producer_id: int) -> None: ...

    def replay_end_transaction_marker(self, producer_id: int, committed: bool) -> None: ...

    def on_loaded(self, now: Now) -> Effects[Any, Any]: ...

    def on_unloaded(self, error: ErrorCode) -> Effects[Any, Any]: ...

    def on_timer(self, now: Now) -> Effects[Any, Any]: ...

    def next_deadline_ms(self) -> float | None: ...


Shard = TypeVar("Shard", bound=CoordinatorShard)


class Write:
    """A batch on its way into the log, and the replies and sends that wait for it.

    ``required_offset`` is set when only the high watermark can tell that it is committed.
    """

    __slots__ = ("committed", "records", "replies", "required_offset", "sends", "size_bytes", "started")

    def __init__(self) -> None:
        self.records: list[KeyValue] = []
        self.size_bytes = BATCH_OVERHEAD_BYTES
        self.replies: list[Reply] = []
        self.sends: list[Any] = []
        self.started = False
        self.committed = False
        self.required_offset: int | None = None


class Partition(Generic[Shard]):
    """One led partition."""

    __slots__ = (
        "active",
        "closed",
        "high_watermark",
        "leader_epoch",
        "loading",
        "max_batch_bytes",
        "number",
        "outstanding",
        "shard",
        "timer",
        "timer_at_ms",
        "writes",
    )

    def __init__(self, number: int, leader_epoch: int, shard: Shard) -> None:
        self.number = number
        self.leader_epoch = leader_epoch
        self.shard = shard
        self.active = False
        self.closed = False
        # As last heard of: only compared with the offsets that a write waits for.
        self.high_watermark = -1
        self.max_batch_bytes = 0
        self.loading: asyncio.Task[None] | None = None
        # Every request without an answer; a dictionary used as an ordered set.
        self.outstanding: dict[asyncio.Future[Any], None] = {}
        self.writes: deque[Write] = deque()
        self.timer: asyncio.TimerHandle | None = None
        self.timer_at_ms = 0.0

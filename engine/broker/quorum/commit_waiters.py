"""Who waits for which offset of the metadata log to be committed and applied."""

from __future__ import annotations

import asyncio
import heapq

from engine.model.errors import ErrorCode, KafkaError


class CommitWaiters:
    """Futures by offset, lowest first."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, asyncio.Future[None]]] = []
        self._sequence = 0

    def add(self, offset: int) -> asyncio.Future[None]:
        """A future that is done once the record at ``offset`` was applied, or fails when leadership is lost."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sequence += 1
        heapq.heappush(self._heap, (offset, self._sequence, future))
        return future

    def on_applied(self, end_offset: int) -> None:
        """Everything below ``end_offset`` was applied."""
        while self._heap and self._heap[0][0] < end_offset:
            _, _, future = heapq.heappop(self._heap)
            if not future.done():
                future.set_result(None)

    def fail(self, why: str) -> None:
        """Nobody knows any more whether the rest will be committed."""
        waiting, self._heap = self._heap, []
        for _, _, future in waiting:
            if not future.done():
                future.set_exception(KafkaError(ErrorCode.NOT_CONTROLLER, why))
                # Whoever proposed may have given up waiting; that is no error of its own.
                future.exception()

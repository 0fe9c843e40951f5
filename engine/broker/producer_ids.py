"""Producer ids out of blocks that the controller allocates (Kafka: RPCProducerIdManager).

The controller writes each block to the metadata log before it answers, so no id is ever given out twice (promise T8): a
broker that dies loses the rest of its block, and nobody minds.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from engine.model.errors import ErrorCode, KafkaError
from engine.wire.messages.allocate_producer_ids_request import AllocateProducerIdsRequest
from engine.wire.messages.allocate_producer_ids_response import AllocateProducerIdsResponse

# The next block is asked for when this part of the current one is used up, so that no producer waits for it.
_PREFETCH_THRESHOLD = 0.90
_TIMEOUT_MS = 5_000

Allocate = Callable[[AllocateProducerIdsRequest], Awaitable[AllocateProducerIdsResponse]]


class ProducerIds:
    """The ids that this broker may give out."""

    def __init__(self, broker_id: int, broker_epoch: Callable[[], int], allocate: Allocate) -> None:
        """``allocate`` sends AllocateProducerIds to the active controller.

        ``broker_epoch`` is read at each request: it changes when the broker registers anew.
        """
        self._broker_id = broker_id
        self._broker_epoch = broker_epoch
        self._allocate = allocate
        self._blocks: deque[range] = deque()
        self._last_block_length = 0
        self._fetching: asyncio.Task[None] | None = None

    async def next_producer_id(self) -> int:
        """An id that nobody has had.

        Raises:
            KafkaError: COORDINATOR_LOAD_IN_PROGRESS when the controller gave no block in time; clients retry it.
        """
        while not self._blocks:
            fetching = self._fetch()
            try:
                await asyncio.shield(fetching)
            except KafkaError as error:
                # The code that idempotent producers of every age retry (RPCProducerIdManager does the same).
                raise KafkaError(ErrorCode.COORDINATOR_LOAD_IN_PROGRESS, error.message) from error
        block = self._blocks[0]
        producer_id = block.start
        if len(block) > 1:
            self._blocks[0] = block[1:]
        else:
            self._blocks.popleft()
        left = sum(map(len, self._blocks))
        if left <= self._last_block_length * (1 - _PREFETCH_THRESHOLD) and self._fetching is None:
            self._fetch()
        return producer_id

    async def shutdown(self) -> None:
        """Stop asking."""
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.gather(self._fetching, return_exceptions=True)

    def _fetch(self) -> asyncio.Task[None]:
        if self._fetching is None:
            self._fetching = asyncio.ensure_future(self._fetch_block())
            self._fetching.add_done_callback(_take_failure)
        return self._fetching

    async def _fetch_block(self) -> None:
        request = AllocateProducerIdsRequest(broker_id=self._broker_id, broker_epoch=self._broker_epoch())
        try:
            async with asyncio.timeout(_TIMEOUT_MS / 1000):
                response = await self._allocate(request)
        except KafkaError:
            raise
        except (TimeoutError, OSError) as error:
            raise KafkaError(ErrorCode.REQUEST_TIMED_OUT, f"no producer ids from the controller: {error!r}") from error
        except Exception as error:
            raise KafkaError(ErrorCode.NETWORK_EXCEPTION, f"no producer ids from the controller: {error!r}") from error
        finally:
            self._fetching = None
        if response.error_code:
            code = ErrorCode(response.error_code)
            raise KafkaError(code, f"the controller refused producer ids: {code.name}")
        if response.producer_id_start < 0 or response.producer_id_len <= 0:
            raise KafkaError(ErrorCode.UNKNOWN_SERVER_ERROR, "the controller sent an empty block of producer ids")
        self._last_block_length = response.producer_id_len
        self._blocks.append(range(response.producer_id_start, response.producer_id_start + response.producer_id_len))


def _take_failure(task: asyncio.Task[None]) -> None:
    """A failed prefetch is nobody's problem: it is tried again when the ids run out."""
    if not task.cancelled():
        task.exception()

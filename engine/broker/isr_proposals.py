"""Changes of ISRs on their way to the active controller (Kafka: AlterPartitionManager, KIP-497).

One request is under way at a time and carries what came up meanwhile, one proposal a partition. The controller's answer
goes back to the partition's machine; when nobody answered, the request goes to whoever is the controller then.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from engine.client.errors import ClientError
from engine.core.replica.outputs import AlterPartition
from engine.model.errors import ErrorCode, KafkaError
from engine.model.ids import Uuid
from engine.wire.messages.alter_partition_request import AlterPartitionRequest, BrokerState, PartitionData, TopicData
from engine.wire.messages.alter_partition_response import AlterPartitionResponse
from engine.wire.messages.alter_partition_response import PartitionData as PartitionAnswer

if TYPE_CHECKING:
    from engine.broker.replica import Replica

log = logging.getLogger(__name__)

_VERSION = 3
_RETRY_MS = 50
# Errors of the request as a whole after which the same request may succeed.
_TRY_AGAIN = frozenset({ErrorCode.NOT_CONTROLLER, ErrorCode.STALE_BROKER_EPOCH, ErrorCode.REQUEST_TIMED_OUT})


class IsrProposals:
    """The queue of proposals of this broker's leaders."""

    def __init__(
        self,
        broker_id: int,
        broker_epoch: Callable[[], int],
        send: Callable[[AlterPartitionRequest, int], Awaitable[Any]],
        on_answer: Callable[[Replica, AlterPartition, ErrorCode, PartitionAnswer | None], None],
    ) -> None:
        """``send(request, version)`` asks the active controller; ``on_answer`` is told what became of a proposal."""
        self._broker_id = broker_id
        self._broker_epoch = broker_epoch
        self._send = send
        self._on_answer = on_answer
        self._waiting: dict[tuple[Uuid, int], tuple[Replica, AlterPartition]] = {}
        self._task: asyncio.Task[None] | None = None
        self._said = ""

    def submit(self, replica: Replica, proposal: AlterPartition) -> None:
        """Ask for another ISR; a newer proposal of the same partition takes the place of one that was not sent yet."""
        self._waiting[proposal.topic_id, proposal.topic_partition.partition] = (replica, proposal)
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())

    def stop(self) -> None:
        """Send nothing more."""
        self._waiting.clear()
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        try:
            while self._waiting:
                under_way, self._waiting = self._waiting, {}
                if not await self._exchange(under_way):
                    # What came up meanwhile is newer.
                    self._waiting = {**under_way, **self._waiting}
                    await asyncio.sleep(_RETRY_MS / 1000)
        finally:
            self._task = None

    async def _exchange(self, under_way: dict[tuple[Uuid, int], tuple[Replica, AlterPartition]]) -> bool:
        topics: dict[Uuid, TopicData] = {}
        for (topic_id, number), (_, proposal) in under_way.items():
            topic = topics.setdefault(topic_id, TopicData(topic_id=topic_id))
            topic.partitions.append(
                PartitionData(
                    partition_index=number,
                    leader_epoch=proposal.leader_epoch,
                    partition_epoch=proposal.partition_epoch,
                    new_isr_with_epochs=[BrokerState(broker_id=each, broker_epoch=at) for each, at in proposal.new_isr],
                )
            )
        request = AlterPartitionRequest(
            broker_id=self._broker_id, broker_epoch=self._broker_epoch(), topics=list(topics.values())
        )
        try:
            response: AlterPartitionResponse = await self._send(request, _VERSION)
        except (ClientError, OSError, TimeoutError, KafkaError) as error:
            log.debug("the controller was not reached with a change of ISRs: %s", error)
            return False
        except Exception as error:
            # This node's own controller failed over it: the partitions must not stay without an answer.
            if repr(error) != self._said:
                self._said = repr(error)
                log.error("a change of ISRs failed at the controller: %r", error)
            return False
        code = ErrorCode(response.error_code)
        if code in _TRY_AGAIN:
            return False
        answers = {
            (topic.topic_id, each.partition_index): each for topic in response.topics for each in topic.partitions
        }
        refused: list[tuple[Replica, AlterPartition, ErrorCode]] = []
        for key, (replica, proposal) in under_way.items():
            answer = answers.get(key)
            if code is not ErrorCode.NONE:
                refused.append((replica, proposal, code))
            elif answer is None:
                refused.append((replica, proposal, ErrorCode.UNKNOWN_SERVER_ERROR))
            elif answer.error_code:
                refused.append((replica, proposal, ErrorCode(answer.error_code)))
            else:
                self._on_answer(replica, proposal, ErrorCode.NONE, answer)
        if refused:
            # What is refused may be proposed again at once: not in a tight loop.
            await asyncio.sleep(_RETRY_MS / 1000)
        for replica, proposal, refusal in refused:
            self._on_answer(replica, proposal, refusal, None)
        return True

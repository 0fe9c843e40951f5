"""What the controller must hear of log directories: where each replica is (Kafka: AssignmentsManager, KIP-858).

Only brokers with several directories have something to tell; the controller knows the only one of the others. Without
it nobody would move a leader away from a directory that failed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from itertools import islice
from typing import TYPE_CHECKING, Any

from engine.client.errors import ClientError
from engine.model.errors import ErrorCode, KafkaError
from engine.wire.messages.assign_replicas_to_dirs_request import (
    AssignReplicasToDirsRequest,
    DirectoryData,
    PartitionData,
    TopicData,
)

if TYPE_CHECKING:
    from engine.model.ids import Uuid
    from engine.wire.messages.assign_replicas_to_dirs_response import AssignReplicasToDirsResponse

log = logging.getLogger(__name__)

_RETRY_MS = 100
# AssignReplicasToDirsRequest.MAX_ASSIGNMENTS_PER_REQUEST
_MAX_IN_A_REQUEST = 2250


class DirectoryAssignments:
    """Tells again and again until the controller has answered, one request at a time."""

    def __init__(
        self,
        broker_id: int,
        broker_epoch: Callable[[], int],
        send: Callable[[AssignReplicasToDirsRequest, int], Awaitable[Any]],
    ) -> None:
        """``send(request, version)`` asks the active controller."""
        self._broker_id = broker_id
        self._broker_epoch = broker_epoch
        self._send = send
        self._waiting: dict[tuple[Uuid, int], Uuid] = {}
        self._task: asyncio.Task[None] | None = None

    def submit(self, topic_id: Uuid, partition: int, directory_id: Uuid) -> None:
        """The replica is in that directory, and the metadata says something else."""
        self._waiting[topic_id, partition] = directory_id
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
                under_way = dict(islice(self._waiting.items(), _MAX_IN_A_REQUEST))
                if not await self._exchange(under_way):
                    await asyncio.sleep(_RETRY_MS / 1000)
                    continue
                for key, directory_id in under_way.items():
                    if self._waiting.get(key) == directory_id:
                        del self._waiting[key]
        finally:
            self._task = None

    async def _exchange(self, under_way: dict[tuple[Uuid, int], Uuid]) -> bool:
        directories: dict[Uuid, dict[Uuid, TopicData]] = {}
        for (topic_id, number), directory_id in under_way.items():
            topics = directories.setdefault(directory_id, {})
            topics.setdefault(topic_id, TopicData(topic_id)).partitions.append(PartitionData(number))
        request = AssignReplicasToDirsRequest(
            self._broker_id,
            self._broker_epoch(),
            [DirectoryData(directory_id, list(topics.values())) for directory_id, topics in directories.items()],
        )
        try:
            response: AssignReplicasToDirsResponse = await self._send(request, 0)
        except (ClientError, OSError, TimeoutError, KafkaError) as error:
            log.debug("the controller was not reached with directories of replicas: %s", error)
            return False
        if response.error_code:
            log.debug("the controller refused directories of replicas: %s", ErrorCode(response.error_code).name)
            return False
        return True

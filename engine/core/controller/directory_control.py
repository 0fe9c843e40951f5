"""Which log directory a replica lives in, as its broker says (AssignReplicasToDirs, KIP-858).

Of a broker with one directory the controller knows it. One with several chooses by itself and tells: when a directory
fails, its replicas must be known, so that others lead them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.core.controller.leadership import Leadership
from engine.core.controller.state import ControllerState, Step
from engine.model.errors import ErrorCode
from engine.wire.messages.assign_replicas_to_dirs_request import AssignReplicasToDirsRequest
from engine.wire.messages.assign_replicas_to_dirs_response import (
    AssignReplicasToDirsResponse,
    DirectoryData,
    PartitionData,
    TopicData,
)

if TYPE_CHECKING:
    from engine.model.ids import Uuid


class DirectoryControl:
    """Takes note of directories."""

    def __init__(self, state: ControllerState, leadership: Leadership) -> None:
        self._state = state
        self._leadership = leadership

    def assign(self, step: Step, request: AssignReplicasToDirsRequest) -> AssignReplicasToDirsResponse:
        """Note the directories; a replica in one that is offline leads no more and is not in sync.

        Raises:
            KafkaError: STALE_BROKER_EPOCH.
        """
        self._state.check_broker_epoch(request.broker_id, request.broker_epoch)
        response = AssignReplicasToDirsResponse()
        for directory in request.directories:
            topics = []
            for topic in directory.topics:
                answers = [
                    PartitionData(
                        each.partition_index,
                        int(self._assign(step, request.broker_id, directory.id, topic.topic_id, each.partition_index)),
                    )
                    for each in topic.partitions
                ]
                topics.append(TopicData(topic.topic_id, answers))
            response.directories.append(DirectoryData(directory.id, topics))
        return response

    def _assign(self, step: Step, broker_id: int, directory_id: Uuid, topic_id: Uuid, number: int) -> ErrorCode:
        topic = self._state.image.topics_by_id.get(topic_id)
        if topic is None:
            return ErrorCode.UNKNOWN_TOPIC_ID
        partition = topic.partitions.get(number)
        if partition is None:
            return ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
        if broker_id not in partition.replicas:
            return ErrorCode.NOT_LEADER_OR_FOLLOWER
        self._leadership.move_to_directory(step, topic, number, broker_id, directory_id)
        return ErrorCode.NONE

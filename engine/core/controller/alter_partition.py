"""AlterPartition: a leader asks for another ISR, and the controller decides (ReplicationControlManager.alterPartition).

The leader counts the replicas of both the old and the asked-for ISR until it hears the answer (maximal ISR), so every
answer but success and INVALID_UPDATE_VERSION/OPERATION_NOT_ATTEMPTED must leave the ISR unchanged: nothing is written
for a partition whose request is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.core.controller.leadership import Leadership
from engine.core.controller.state import ControllerState, Step
from engine.core.controller.topic_image import NO_LEADER_CHANGE, RECOVERED, RECOVERING, TopicImage
from engine.model.errors import ErrorCode
from engine.model.notes import NoteKind
from engine.wire.messages.alter_partition_request import AlterPartitionRequest
from engine.wire.messages.alter_partition_response import AlterPartitionResponse
from engine.wire.messages.alter_partition_response import PartitionData as PartitionAnswer
from engine.wire.messages.alter_partition_response import TopicData as TopicAnswer

if TYPE_CHECKING:
    from engine.wire.messages.alter_partition_request import PartitionData

_TOLD_BY_LEADER = frozenset((NoteKind.ISR_SHRUNK, NoteKind.ISR_EXPANDED))


class AlterPartition:
    """Judges ISR changes."""

    def __init__(self, state: ControllerState, leadership: Leadership) -> None:
        self._state = state
        self._leadership = leadership

    def alter_partition(self, step: Step, request: AlterPartitionRequest, version: int) -> AlterPartitionResponse:
        """Apply what is right and refuse the rest, partition by partition.

        Raises:
            KafkaError: STALE_BROKER_EPOCH, the asking broker is not registered with its epoch.
        """
        self._state.check_broker_epoch(request.broker_id, request.broker_epoch)
        response = AlterPartitionResponse()
        for asked in request.topics:
            answer = TopicAnswer(topic_id=asked.topic_id)
            response.topics.append(answer)
            topic = self._state.image.topics_by_id.get(asked.topic_id)
            for data in asked.partitions:
                if topic is None:
                    answer.partitions.append(_refused(data, ErrorCode.UNKNOWN_TOPIC_ID))
                else:
                    answer.partitions.append(self._alter(step, topic, data, request.broker_id, version))
        return response

    def _alter(
        self, step: Step, topic: TopicImage, data: PartitionData, broker_id: int, version: int
    ) -> PartitionAnswer:
        new_isr = _new_isr(data, version)
        refusal = self._judge(topic, data, broker_id, new_isr)
        if refusal is not ErrorCode.NONE:
            return _refused(data, refusal)
        number = data.partition_index
        change = self._leadership.change(topic, number, self._leadership.default_election(topic.name))
        change.target_isr = tuple(each for each, _ in new_isr)
        change.target_recovery_state = data.leader_recovery_state
        partition = change.partition
        first, noted = len(step.records), len(step.notes)
        if self._leadership.add(step, change, topic.name, f"asked for by leader {broker_id}"):
            # The leader tells of it itself: it knows why, and the numbers behind it.
            step.notes[noted:] = [each for each in step.notes[noted:] if each.kind not in _TOLD_BY_LEADER]
            record = step.records[first]
            partition = partition.merge(record)
            if record.leader not in (broker_id, NO_LEADER_CHANGE):
                # The new ISR ended a reassignment that takes the leader away: the one case that writes and refuses.
                return _refused(data, ErrorCode.NEW_LEADER_ELECTED)
        return PartitionAnswer(
            partition_index=number,
            error_code=int(ErrorCode.NONE),
            leader_id=partition.leader,
            leader_epoch=partition.leader_epoch,
            isr=list(partition.isr),
            leader_recovery_state=partition.leader_recovery_state,
            partition_epoch=partition.partition_epoch,
        )

    def _judge(
        self, topic: TopicImage, data: PartitionData, broker_id: int, new_isr: list[tuple[int, int]]
    ) -> ErrorCode:
        partition = topic.partitions.get(data.partition_index)
        if partition is None:
            return ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
        # A leader that knows more than this controller has most likely heard of a newer one.
        if data.leader_epoch > partition.leader_epoch or data.partition_epoch > partition.partition_epoch:
            return ErrorCode.NOT_CONTROLLER
        if data.leader_epoch < partition.leader_epoch:
            return ErrorCode.FENCED_LEADER_EPOCH
        if broker_id != partition.leader:
            return ErrorCode.INVALID_REQUEST
        if data.partition_epoch < partition.partition_epoch:
            return ErrorCode.INVALID_UPDATE_VERSION
        ids = [each for each, _ in new_isr]
        if not ids or len(set(ids)) != len(ids) or not set(ids) <= set(partition.replicas):
            return ErrorCode.INVALID_REQUEST
        if partition.leader not in ids:
            return ErrorCode.INVALID_REQUEST
        if data.leader_recovery_state not in (RECOVERED, RECOVERING):
            return ErrorCode.INVALID_REQUEST
        if data.leader_recovery_state == RECOVERING and (len(ids) > 1 or partition.leader_recovery_state == RECOVERED):
            return ErrorCode.INVALID_REQUEST
        for replica, broker_epoch in new_isr:
            broker = self._state.image.brokers.get(replica)
            if broker is None or not broker.is_active or broker_epoch not in (-1, broker.broker_epoch):
                return ErrorCode.INELIGIBLE_REPLICA
        return ErrorCode.NONE


def _new_isr(data: PartitionData, version: int) -> list[tuple[int, int]]:
    """Replicas with their broker epochs; -1 where the version carries none or the leader did not know it."""
    if version < 3:
        return [(each, -1) for each in data.new_isr]
    return [(each.broker_id, each.broker_epoch) for each in data.new_isr_with_epochs]


def _refused(data: PartitionData, code: ErrorCode) -> PartitionAnswer:
    return PartitionAnswer(partition_index=data.partition_index, error_code=int(code))

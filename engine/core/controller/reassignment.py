"""Moving replicas between brokers: AlterPartitionReassignments and its listing (KIP-455)."""

from __future__ import annotations

from engine.core.controller.leadership import Leadership
from engine.core.controller.partition_change import Reassignment
from engine.core.controller.state import ControllerState, Step
from engine.core.controller.topic_control import TopicControl
from engine.core.controller.topic_image import TopicImage
from engine.model.errors import ErrorCode, KafkaError
from engine.wire.messages.alter_partition_reassignments_request import (
    AlterPartitionReassignmentsRequest,
    ReassignablePartition,
)
from engine.wire.messages.alter_partition_reassignments_response import (
    AlterPartitionReassignmentsResponse,
    ReassignablePartitionResponse,
    ReassignableTopicResponse,
)
from engine.wire.messages.list_partition_reassignments_request import ListPartitionReassignmentsRequest
from engine.wire.messages.list_partition_reassignments_response import (
    ListPartitionReassignmentsResponse,
    OngoingPartitionReassignment,
    OngoingTopicReassignment,
)


class ReassignmentControl:
    """Starts, cancels and lists reassignments; AlterPartition completes them."""

    def __init__(self, state: ControllerState, leadership: Leadership, topics: TopicControl) -> None:
        self._state = state
        self._leadership = leadership
        self._topics = topics

    def alter(self, step: Step, request: AlterPartitionReassignmentsRequest) -> AlterPartitionReassignmentsResponse:
        """Start a reassignment per partition, or cancel it (replicas null). Raises: KafkaError: POLICY_VIOLATION."""
        response = AlterPartitionReassignmentsResponse(
            error_code=0,
            error_message=None,
            allow_replication_factor_change=request.allow_replication_factor_change,
        )
        for asked in request.topics:
            answer = ReassignableTopicResponse(name=asked.name)
            response.responses.append(answer)
            for wanted in asked.partitions:
                code, message = ErrorCode.NONE, None
                try:
                    self._alter_one(step, asked.name, wanted, request.allow_replication_factor_change)
                except KafkaError as error:
                    code, message = error.code, error.message
                answer.partitions.append(
                    ReassignablePartitionResponse(
                        partition_index=wanted.partition_index, error_code=int(code), error_message=message
                    )
                )
        step.check_size()
        return response

    def _alter_one(self, step: Step, name: str, wanted: ReassignablePartition, factor_may_change: bool) -> None:
        topic = self._state.image.topics_by_name.get(name)
        if topic is None:
            raise KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, f"Unable to find a topic named {name}.")
        if wanted.partition_index not in topic.partitions:
            raise KafkaError(
                ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, f"Unable to find partition {name}:{wanted.partition_index}."
            )
        if wanted.replicas is None:
            self._cancel(step, topic, wanted.partition_index)
        else:
            self._start(step, topic, wanted.partition_index, list(wanted.replicas), factor_may_change)

    def _start(self, step: Step, topic: TopicImage, number: int, target: list[int], factor_may_change: bool) -> None:
        self._topics.check_manual_assignment(target, None)
        partition = topic.partitions[number]
        # An unfinished reassignment counts as finished.
        staying = [each for each in partition.replicas if each not in partition.removing_replicas]
        if not factor_may_change and len(target) != len(staying):
            raise KafkaError(
                ErrorCode.INVALID_REPLICATION_FACTOR,
                f"The replication factor is changed from {len(staying)} to {len(target)}",
            )
        between = Reassignment.between(partition.replicas, target)
        change = self._leadership.change(topic, number)
        change.target_replicas = between.replicas
        # As in Kafka, what an unfinished reassignment was adding or removing is replaced only by something.
        change.target_adding = between.adding or change.target_adding
        change.target_removing = between.removing or change.target_removing
        change.target_adding = tuple(each for each in change.target_adding if each in target)
        change.target_removing = tuple(each for each in change.target_removing if each not in target)
        self._leadership.add(step, change, topic.name, "reassignment asked for")

    def _cancel(self, step: Step, topic: TopicImage, number: int) -> None:
        partition = topic.partitions[number]
        if not partition.is_reassigning:
            raise KafkaError(ErrorCode.NO_REASSIGNMENT_IN_PROGRESS, "No partition reassignment is in progress.")
        replicas = tuple(each for each in partition.replicas if each not in partition.adding_replicas)
        isr = tuple(each for each in partition.isr if each not in partition.adding_replicas)
        if not replicas:
            raise KafkaError(
                ErrorCode.INVALID_REPLICA_ASSIGNMENT,
                "Invalid replica assignment: addingReplicas contains all replicas.",
            )
        if not isr:
            if not self._state.is_unclean_election_enabled(topic.name):
                raise KafkaError(
                    ErrorCode.INVALID_REPLICA_ASSIGNMENT,
                    f"Unable to revert partition assignment for {topic.name}:{number} because it would require an "
                    "unclean leader election.",
                )
            isr = replicas[:1]
        change = self._leadership.change(topic, number, self._leadership.default_election(topic.name))
        change.target_isr = isr
        change.target_replicas = replicas
        change.target_adding = change.target_removing = ()
        self._leadership.add(step, change, topic.name, "reassignment cancelled")

    def list(self, request: ListPartitionReassignmentsRequest) -> ListPartitionReassignmentsResponse:
        """What is being moved: of the named partitions, or of all."""
        image = self._state.image
        response = ListPartitionReassignmentsResponse(error_code=0, error_message=None)
        if request.topics is None:
            wanted = [(topic, list(topic.partitions)) for topic in image.topics_by_name.values()]
        else:
            wanted = [
                (image.topics_by_name[each.name], list(each.partition_indexes))
                for each in request.topics
                if each.name in image.topics_by_name
            ]
        for topic, numbers in wanted:
            ongoing = [
                OngoingPartitionReassignment(
                    partition_index=number,
                    replicas=list(partition.replicas),
                    adding_replicas=list(partition.adding_replicas),
                    removing_replicas=list(partition.removing_replicas),
                )
                for number in numbers
                for partition in (topic.partitions.get(number),)
                if partition is not None and partition.is_reassigning
            ]
            if ongoing:
                response.topics.append(OngoingTopicReassignment(name=topic.name, partitions=ongoing))
        return response

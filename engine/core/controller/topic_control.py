"""Creating and deleting topics, and adding partitions (ReplicationControlManager, ControllerApis)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from engine.core.controller.config_control import ConfigControl
from engine.core.controller.state import ControllerState, Step
from engine.core.controller.topic_image import PartitionImage, TopicImage
from engine.core.controller.topic_names import (
    CLUSTER_METADATA_TOPIC,
    check_topic_name,
    has_collision_chars,
    unify_collision_chars,
)
from engine.model.errors import ErrorCode, KafkaError
from engine.model.ids import ZERO_UUID, Uuid
from engine.model.notes import Note, NoteKind
from engine.wire.messages.create_partitions_request import CreatePartitionsRequest, CreatePartitionsTopic
from engine.wire.messages.create_partitions_response import CreatePartitionsResponse, CreatePartitionsTopicResult
from engine.wire.messages.create_topics_request import CreatableTopic, CreateTopicsRequest
from engine.wire.messages.create_topics_response import (
    CreatableTopicConfigs,
    CreatableTopicResult,
    CreateTopicsResponse,
)
from engine.wire.messages.delete_topics_request import DeleteTopicsRequest
from engine.wire.messages.delete_topics_response import DeletableTopicResult, DeleteTopicsResponse
from engine.wire.messages.remove_topic_record import RemoveTopicRecord
from engine.wire.messages.topic_record import TopicRecord


class TopicControl:
    """Topics come and go."""

    def __init__(self, state: ControllerState, configs: ConfigControl) -> None:
        self._state = state
        self._configs = configs

    # -- create -------------------------------------------------------------------------------------------------

    def create_topics(self, step: Step, request: CreateTopicsRequest) -> CreateTopicsResponse:
        """Create each topic that can be; with ``validate_only`` nothing is written.

        Raises:
            KafkaError: POLICY_VIOLATION, the request makes more records than one operation may.
        """
        names = [topic.name for topic in request.topics]
        duplicates = [name for name in dict.fromkeys(names) if names.count(name) > 1]
        collisions: dict[str, str] = {}
        for name in self._state.image.topics_by_name:
            if has_collision_chars(name):
                collisions.setdefault(unify_collision_chars(name), name)
        response = CreateTopicsResponse()
        for topic in request.topics:
            if topic.name in duplicates or topic.name == CLUSTER_METADATA_TOPIC:
                continue
            one = Step()
            try:
                response.topics.append(self._create_topic(one, topic, collisions, step.charge))
            except KafkaError as error:
                response.topics.append(_failed(topic.name, error.code, error.message))
            else:
                step.records += one.records
                step.notes += one.notes
                step.check_size()
        for name in duplicates:
            response.topics.append(_failed(name, ErrorCode.INVALID_REQUEST, "Duplicate topic name."))
        if CLUSTER_METADATA_TOPIC in names and CLUSTER_METADATA_TOPIC not in duplicates:
            message = f"Creation of internal topic {CLUSTER_METADATA_TOPIC} is prohibited."
            response.topics.append(_failed(CLUSTER_METADATA_TOPIC, ErrorCode.INVALID_REQUEST, message))
        if request.validate_only:
            step.records.clear()
            step.notes.clear()
        return response

    def _create_topic(
        self, step: Step, topic: CreatableTopic, collisions: dict[str, str], charge: Callable[[int], None]
    ) -> CreatableTopicResult:
        state = self._state
        check_topic_name(topic.name)
        if topic.name in state.image.topics_by_name:
            raise KafkaError(ErrorCode.TOPIC_ALREADY_EXISTS, f"Topic '{topic.name}' already exists.")
        if has_collision_chars(topic.name):
            colliding = collisions.get(unify_collision_chars(topic.name))
            if colliding is not None:
                raise KafkaError(
                    ErrorCode.INVALID_TOPIC_EXCEPTION,
                    f"Topic '{topic.name}' collides with existing topic: {colliding}",
                )
        config_records = self._configs.records_for_new_topic(topic)
        partitions = self._manual_partitions(topic) if topic.assignments else self._placed_partitions(topic)
        charge(len(partitions))
        topic_id = state.random.uuid()
        step.records.append(TopicRecord(name=topic.name, topic_id=topic_id))
        step.records += config_records
        step.records += [each.to_record(topic_id, number) for number, each in enumerate(partitions)]
        replication_factor = len(partitions[0].replicas)
        step.notes.append(
            Note(
                NoteKind.TOPIC_CREATED,
                topic.name,
                f"{len(partitions)} partitions, replication factor {replication_factor}",
                {
                    "topic": topic.name,
                    "partitions": len(partitions),
                    "replication_factor": replication_factor,
                },
            )
        )
        overrides = {each.name: each.value for each in topic.configs if each.value is not None}
        return CreatableTopicResult(
            name=topic.name,
            topic_id=topic_id,
            error_code=int(ErrorCode.NONE),
            error_message=None,
            topic_config_error_code=int(ErrorCode.NONE),
            num_partitions=len(partitions),
            replication_factor=replication_factor,
            configs=[
                CreatableTopicConfigs(
                    name=each.name,
                    value=each.value,
                    read_only=False,
                    config_source=each.source,
                    is_sensitive=each.is_sensitive,
                )
                for each in self._configs.effective_topic_configs(overrides)
            ],
        )

    def _manual_partitions(self, topic: CreatableTopic) -> list[PartitionImage]:
        if topic.replication_factor != -1:
            raise KafkaError(
                ErrorCode.INVALID_REQUEST,
                "A manual partition assignment was specified, but replication factor was not set to -1.",
            )
        if topic.num_partitions != -1:
            raise KafkaError(
                ErrorCode.INVALID_REQUEST,
                "A manual partition assignment was specified, but numPartitions was not set to -1.",
            )
        replication_factor: int | None = None
        partitions: dict[int, PartitionImage] = {}
        for assignment in topic.assignments:
            number = assignment.partition_index
            if number in partitions:
                raise KafkaError(
                    ErrorCode.INVALID_REPLICA_ASSIGNMENT,
                    f"Found multiple manual partition assignments for partition {number}",
                )
            self.check_manual_assignment(assignment.broker_ids, replication_factor)
            replication_factor = len(assignment.broker_ids)
            partitions[number] = self._manual_partition(number, assignment.broker_ids)
        if sorted(partitions) != list(range(len(partitions))):
            raise KafkaError(
                ErrorCode.INVALID_REPLICA_ASSIGNMENT, "partitions should be a consecutive 0-based integer sequence"
            )
        return [partitions[number] for number in sorted(partitions)]

    def _manual_partition(self, number: int, replicas: Sequence[int]) -> PartitionImage:
        partition = self._new_partition(replicas)
        if partition is None:
            raise KafkaError(
                ErrorCode.INVALID_REPLICA_ASSIGNMENT,
                f"All brokers specified in the manual partition assignment for partition {number} are fenced or in "
                "controlled shutdown.",
            )
        return partition

    def _placed_partitions(self, topic: CreatableTopic) -> list[PartitionImage]:
        config = self._state.config
        if topic.replication_factor < -1 or topic.replication_factor == 0:
            raise KafkaError(
                ErrorCode.INVALID_REPLICATION_FACTOR,
                "Replication factor must be larger than 0, or -1 to use the default value.",
            )
        if topic.num_partitions < -1 or topic.num_partitions == 0:
            raise KafkaError(
                ErrorCode.INVALID_PARTITIONS, "Number of partitions was set to an invalid non-positive value."
            )
        count = config.num_partitions if topic.num_partitions == -1 else topic.num_partitions
        factor = config.default_replication_factor if topic.replication_factor == -1 else topic.replication_factor
        return self._place(count, factor)

    def _place(self, count: int, replication_factor: int) -> list[PartitionImage]:
        # Kafka checks the same bound only after placing; a huge count must not cost the placing first.
        if count > _MAX_PARTITIONS_PER_OP:
            raise KafkaError(ErrorCode.POLICY_VIOLATION, "Excessively large number of partitions per request.")
        try:
            assignments = self._state.placer().place(count, replication_factor)
        except KafkaError as error:
            raise _unable(replication_factor, error.message) from None
        partitions = []
        for replicas in assignments:
            partition = self._new_partition(replicas)
            if partition is None:
                raise _unable(replication_factor, "All brokers are currently fenced or in controlled shutdown.")
            partitions.append(partition)
        return partitions

    def _new_partition(self, replicas: Sequence[int]) -> PartitionImage | None:
        """A partition with the active replicas in sync and the first of them leading; None if none is active."""
        isr = tuple(each for each in replicas if self._state.is_active(each))
        if not isr:
            return None
        return PartitionImage(
            replicas=tuple(replicas),
            isr=isr,
            leader=isr[0],
            leader_epoch=0,
            partition_epoch=0,
            directories=tuple(self._state.default_directory(each) for each in replicas),
        )

    def check_manual_assignment(self, replicas: Sequence[int], replication_factor: int | None) -> None:
        """Raises: KafkaError: INVALID_REPLICA_ASSIGNMENT (validateManualPartitionAssignment)."""
        problem = None
        if not replicas:
            problem = "includes an empty replica list."
        previous: int | None = None
        for broker_id in sorted(replicas):
            if broker_id not in self._state.image.brokers:
                problem = problem or f"includes broker {broker_id}, but no such broker is registered."
            elif broker_id == previous:
                problem = problem or f"includes the broker {broker_id} more than once."
            previous = broker_id
        if problem is None and replication_factor is not None and len(replicas) != replication_factor:
            problem = (
                f"includes a partition with {len(replicas)} replica(s), but this is not consistent with previous "
                f"partitions, which have {replication_factor} replica(s)."
            )
        if problem is not None:
            raise KafkaError(ErrorCode.INVALID_REPLICA_ASSIGNMENT, f"The manual partition assignment {problem}")

    # -- add partitions -----------------------------------------------------------------------------------------

    def create_partitions(self, step: Step, request: CreatePartitionsRequest) -> CreatePartitionsResponse:
        """Give topics more partitions. Raises: KafkaError: POLICY_VIOLATION."""
        names = [topic.name for topic in request.topics]
        duplicates = [name for name in dict.fromkeys(names) if names.count(name) > 1]
        response = CreatePartitionsResponse()
        for name in duplicates:
            response.results.append(_partitions_failed(name, ErrorCode.INVALID_REQUEST, "Duplicate topic name."))
        for topic in request.topics:
            if topic.name in duplicates:
                continue
            try:
                self._add_partitions(step, topic)
            except KafkaError as error:
                response.results.append(_partitions_failed(topic.name, error.code, error.message))
            else:
                response.results.append(
                    CreatePartitionsTopicResult(name=topic.name, error_code=int(ErrorCode.NONE), error_message=None)
                )
        step.check_size()
        if request.validate_only:
            step.records.clear()
            step.notes.clear()
        return response

    def _add_partitions(self, step: Step, wanted: CreatePartitionsTopic) -> None:
        topic = self._state.image.topics_by_name.get(wanted.name)
        if topic is None:
            raise KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, "This server does not host this topic-partition.")
        count = len(topic.partitions)
        if wanted.count == count:
            raise KafkaError(ErrorCode.INVALID_PARTITIONS, f"Topic already has {count} partition(s).")
        if wanted.count < count:
            raise KafkaError(
                ErrorCode.INVALID_PARTITIONS,
                f"The topic {wanted.name} currently has {count} partition(s); {wanted.count} would not be an increase.",
            )
        additional = wanted.count - count
        step.charge(additional)
        replication_factor = len(topic.partitions[min(topic.partitions)].replicas)
        if wanted.assignments is not None:
            if len(wanted.assignments) != additional:
                raise KafkaError(
                    ErrorCode.INVALID_REPLICA_ASSIGNMENT,
                    f"Attempted to add {additional} additional partition(s), but only {len(wanted.assignments)} "
                    "assignment(s) were specified.",
                )
            partitions = []
            for number, assignment in enumerate(wanted.assignments, count):
                self.check_manual_assignment(assignment.broker_ids, replication_factor)
                partitions.append(self._manual_partition(number, assignment.broker_ids))
        else:
            partitions = self._place(additional, replication_factor)
        step.records += [each.to_record(topic.topic_id, number) for number, each in enumerate(partitions, count)]
        step.notes.append(
            Note(
                NoteKind.PARTITIONS_ADDED,
                topic.name,
                f"partitions {count}→{wanted.count}",
                {"topic": topic.name, "from": count, "to": wanted.count},
            )
        )

    # -- delete -------------------------------------------------------------------------------------------------

    def delete_topics(self, step: Step, request: DeleteTopicsRequest, version: int) -> DeleteTopicsResponse:
        """Delete topics by name or id.

        Raises:
            KafkaError: TOPIC_DELETION_DISABLED (INVALID_REQUEST before version 3), delete.topic.enable is false.
        """
        if not self._state.config.delete_topic_enable:
            if version < 3:
                raise KafkaError(ErrorCode.INVALID_REQUEST, "Topic deletion is disabled.")
            raise KafkaError(ErrorCode.TOPIC_DELETION_DISABLED, "Topic deletion is disabled.")
        response = DeleteTopicsResponse()
        names: list[str] = list(request.topic_names)
        ids: list[Uuid] = []

        def refuse(name: str | None, topic_id: Uuid, code: ErrorCode, message: str) -> None:
            response.responses.append(
                DeletableTopicResult(name=name, topic_id=topic_id, error_code=int(code), error_message=message)
            )

        for asked in request.topics:
            if asked.name is not None and asked.topic_id != ZERO_UUID:
                message = "You may not specify both topic name and topic id."
                refuse(asked.name, asked.topic_id, ErrorCode.INVALID_REQUEST, message)
            elif asked.name is not None:
                names.append(asked.name)
            elif asked.topic_id == ZERO_UUID:
                message = "Neither topic name nor id were specified."
                refuse(None, ZERO_UUID, ErrorCode.INVALID_REQUEST, message)
            else:
                ids.append(asked.topic_id)
        image = self._state.image
        doomed: dict[Uuid, TopicImage] = {}
        for topic_id in dict.fromkeys(ids):
            topic = image.topics_by_id.get(topic_id)
            if ids.count(topic_id) > 1:
                refuse(None, topic_id, ErrorCode.INVALID_REQUEST, "Duplicate topic id.")
            elif topic is None:
                refuse(None, topic_id, ErrorCode.UNKNOWN_TOPIC_ID, "This server does not host this topic ID.")
            else:
                doomed[topic_id] = topic
        for name in dict.fromkeys(names):
            topic = image.topics_by_name.get(name)
            if names.count(name) > 1:
                refuse(name, ZERO_UUID, ErrorCode.INVALID_REQUEST, "Duplicate topic name.")
            elif topic is None:
                message = "This server does not host this topic-partition."
                refuse(name, ZERO_UUID, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, message)
            elif topic.topic_id in ids:
                doomed.pop(topic.topic_id, None)
                message = "The provided topic name maps to an ID that was already supplied."
                refuse(name, topic.topic_id, ErrorCode.INVALID_REQUEST, message)
            else:
                doomed[topic.topic_id] = topic
        for topic_id, topic in doomed.items():
            try:
                step.charge(len(topic.partitions))
            except KafkaError as error:
                refuse(topic.name, topic_id, error.code, error.message)
                continue
            step.records.append(RemoveTopicRecord(topic_id=topic_id))
            step.notes.append(
                Note(
                    NoteKind.TOPIC_DELETED,
                    topic.name,
                    f"{len(topic.partitions)} partitions removed",
                    {"topic": topic.name, "partitions": len(topic.partitions)},
                )
            )
            response.responses.append(
                DeletableTopicResult(name=topic.name, topic_id=topic_id, error_code=int(ErrorCode.NONE))
            )
        step.check_size()
        return response


_MAX_PARTITIONS_PER_OP = 10_000


def _unable(replication_factor: int, why: str) -> KafkaError:
    return KafkaError(
        ErrorCode.INVALID_REPLICATION_FACTOR,
        f"Unable to replicate the partition {replication_factor} time(s): {why}",
    )


def _failed(name: str, code: ErrorCode, message: str) -> CreatableTopicResult:
    return CreatableTopicResult(name=name, error_code=int(code), error_message=message)


def _partitions_failed(name: str, code: ErrorCode, message: str) -> CreatePartitionsTopicResult:
    return CreatePartitionsTopicResult(name=name, error_code=int(code), error_message=message)

"""Leaders and in-sync replicas: what fencing, unfencing, shutdown and elections do (ReplicationControlManager)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from engine.core.controller.change_notes import partition_notes
from engine.core.controller.directory_ids import LOST
from engine.core.controller.partition_change import Election, PartitionChange
from engine.core.controller.state import ControllerState, Step
from engine.core.controller.topic_image import NO_LEADER, PartitionImage, TopicImage
from engine.model.errors import ErrorCode, KafkaError
from engine.model.ids import Uuid
from engine.model.notes import Note, NoteKind
from engine.wire.messages.broker_registration_change_record import BrokerRegistrationChangeRecord
from engine.wire.messages.elect_leaders_request import ElectLeadersRequest
from engine.wire.messages.elect_leaders_response import (
    ElectLeadersResponse,
    PartitionResult,
    ReplicaElectionResult,
)
from engine.wire.messages.unregister_broker_record import UnregisterBrokerRecord

# Elections of one timer (ReplicationControlManager.MAX_ELECTIONS_PER_IMBALANCE).
MAX_ELECTIONS_PER_TIMER = 1_000

FENCE, UNFENCE = 1, -1
ELECT_PREFERRED, ELECT_UNCLEAN = 0, 1

Place = tuple[TopicImage, int, PartitionImage]


class Leadership:
    """Changes of leaders and ISRs that follow from what happens to brokers."""

    def __init__(self, state: ControllerState) -> None:
        self._state = state

    # -- partitions ---------------------------------------------------------------------------------------------

    def _partitions(self, wanted: Callable[[PartitionImage], bool]) -> Iterator[Place]:
        for topic in self._state.image.topics_by_id.values():
            for number, partition in topic.partitions.items():
                if wanted(partition):
                    yield topic, number, partition

    def has_leaderships(self, broker_id: int) -> bool:
        """Whether the broker leads any partition."""
        return next(self._partitions(lambda each: each.leader == broker_id), None) is not None

    def count_leaderless(self) -> int:
        """Partitions without leader."""
        return sum(1 for _ in self._partitions(lambda each: not each.has_leader))

    def change(
        self,
        topic: TopicImage,
        number: int,
        election: Election = Election.ONLINE,
        acceptable: Callable[[int], bool] | None = None,
    ) -> PartitionChange:
        """A change of one partition, to be given targets and built. ``acceptable`` replaces "the broker is active"."""
        state = self._state
        partition = topic.partitions[number]
        is_alive = state.is_active if acceptable is None else acceptable

        def is_acceptable(broker_id: int) -> bool:
            if not is_alive(broker_id):
                return False
            if broker_id not in partition.replicas:
                return True
            return state.has_online_directory(broker_id, partition.directory(broker_id))

        return PartitionChange(
            partition,
            topic.topic_id,
            number,
            is_acceptable_leader=is_acceptable,
            default_directory=state.default_directory,
            min_isr=state.effective_min_isr(topic.name),
            elr_enabled=state.is_elr_enabled,
            election=election,
        )

    def default_election(self, topic: str) -> Election:
        """Unclean where the topic's config allows it."""
        return Election.UNCLEAN if self._state.is_unclean_election_enabled(topic) else Election.ONLINE

    def _update(
        self,
        step: Step,
        places: Iterable[Place],
        cause: str,
        *,
        remove: int = NO_LEADER,
        add: int = NO_LEADER,
        unclean_shutdown: int = NO_LEADER,
    ) -> None:
        """Take ``remove`` and ``unclean_shutdown`` out of ISRs and leaderships; count ``add`` as alive already."""
        state = self._state

        def is_alive(broker_id: int) -> bool:
            if broker_id in (remove, unclean_shutdown):
                return False
            return broker_id == add or state.is_active(broker_id)

        for topic, number, partition in places:
            change = self.change(topic, number, self.default_election(topic.name), is_alive)
            change.target_isr = tuple(each for each in partition.isr if each not in (remove, unclean_shutdown))
            if unclean_shutdown != NO_LEADER:
                change.unclean_shutdown_replicas = (unclean_shutdown,)
            self.add(step, change, topic.name, cause)

    def add(self, step: Step, change: PartitionChange, topic: str, cause: str) -> bool:
        """Build the change into the step. Returns whether there was one."""
        record = change.build()
        if record is None:
            return False
        step.records.append(record)
        step.notes += partition_notes(topic, change.number, change.partition, record, cause)
        return True

    # -- brokers ------------------------------------------------------------------------------------------------

    def fence(self, step: Step, broker_id: int, cause: str) -> None:
        """Fence the broker: first the partitions go to others, then the registration says so."""
        broker = self._state.image.brokers[broker_id]
        led = sum(1 for _ in self._partitions(lambda each: each.leader == broker_id))
        step.notes.append(
            Note(
                NoteKind.BROKER_FENCED,
                f"broker {broker_id}",
                cause,
                {"broker_id": broker_id, "broker_epoch": broker.broker_epoch, "led": led},
            )
        )
        self._update(
            step,
            self._partitions(lambda each: broker_id in each.isr or each.leader == broker_id),
            f"broker {broker_id} fenced",
            remove=broker_id,
        )
        step.records.append(
            BrokerRegistrationChangeRecord(broker_id=broker_id, broker_epoch=broker.broker_epoch, fenced=FENCE)
        )

    def unfence(self, step: Step, broker_id: int) -> None:
        """Let the broker in again; partitions without leader may find one in it."""
        broker = self._state.image.brokers[broker_id]
        step.records.append(
            BrokerRegistrationChangeRecord(broker_id=broker_id, broker_epoch=broker.broker_epoch, fenced=UNFENCE)
        )
        step.notes.append(
            Note(
                NoteKind.BROKER_UNFENCED,
                f"broker {broker_id}",
                f"caught up with its registration at offset {broker.broker_epoch}",
                {"broker_id": broker_id, "broker_epoch": broker.broker_epoch},
            )
        )
        self._update(
            step, self._partitions(lambda each: not each.has_leader), f"broker {broker_id} unfenced", add=broker_id
        )

    def begin_controlled_shutdown(self, step: Step, broker_id: int) -> None:
        """Move the broker's leaderships away and take it out of every ISR that has others."""
        broker = self._state.image.brokers[broker_id]
        if not broker.in_controlled_shutdown:
            step.records.append(
                BrokerRegistrationChangeRecord(
                    broker_id=broker_id, broker_epoch=broker.broker_epoch, in_controlled_shutdown=1
                )
            )
        step.notes.append(
            Note(
                NoteKind.BROKER_SHUTDOWN_STARTED,
                f"broker {broker_id}",
                "asked for a controlled shutdown: its leaders move first",
                {"broker_id": broker_id, "broker_epoch": broker.broker_epoch},
            )
        )
        self._update(
            step,
            self._partitions(lambda each: broker_id in each.isr),
            f"broker {broker_id} is shutting down",
            remove=broker_id,
        )

    def forget_incarnation(self, step: Step, broker_id: int, *, is_clean_shutdown: bool) -> None:
        """A new process registers under this id: what the old one had may be lost (KIP-966, KAFKA-12602).

        With ELR a clean shutdown keeps everything and an unclean one nothing; without ELR the broker is treated as one
        that was fenced: out of the ISR wherever there are others, the last member stays.
        """
        if self._state.is_elr_enabled and not is_clean_shutdown:
            self._update(
                step,
                self._partitions(lambda each: broker_id in each.isr or broker_id in each.elr),
                f"broker {broker_id} came back after an unclean shutdown",
                unclean_shutdown=broker_id,
            )
        else:
            self._update(
                step,
                self._partitions(lambda each: broker_id in each.isr),
                f"broker {broker_id} was started anew",
                remove=broker_id,
            )

    def unregister(self, step: Step, broker_id: int) -> None:
        """Remove the broker for good. Raises: KafkaError: BROKER_ID_NOT_REGISTERED."""
        broker = self._state.image.brokers.get(broker_id)
        if broker is None:
            raise KafkaError(ErrorCode.BROKER_ID_NOT_REGISTERED, f"Broker ID {broker_id} is not currently registered")
        self._update(
            step,
            self._partitions(lambda each: broker_id in each.isr or broker_id in each.elr),
            f"broker {broker_id} unregistered",
            remove=broker_id,
            unclean_shutdown=broker_id,
        )
        step.records.append(UnregisterBrokerRecord(broker_id=broker_id, broker_epoch=broker.broker_epoch))
        step.notes.append(
            Note(NoteKind.BROKER_UNREGISTERED, f"broker {broker_id}", "removed on request", {"broker_id": broker_id})
        )

    def directories_offline(self, step: Step, broker_id: int, lost: list[Uuid]) -> None:
        """The broker lost some of its log directories: its replicas there neither lead nor are in sync any more."""
        broker = self._state.image.brokers[broker_id]
        self._update(
            step,
            self._partitions(
                lambda each: broker_id in each.replicas and each.directory(broker_id) in lost and broker_id in each.isr
            ),
            f"a log directory of broker {broker_id} failed",
            remove=broker_id,
        )
        left = [each for each in broker.log_dirs if each not in lost]
        step.records.append(
            BrokerRegistrationChangeRecord(broker_id=broker_id, broker_epoch=broker.broker_epoch, log_dirs=left)
        )
        step.notes.append(
            Note(
                NoteKind.LOG_DIR_FAILED,
                f"broker {broker_id}",
                f"{len(lost)} log directories offline, {len(left)} left",
                {"broker_id": broker_id},
            )
        )

    def move_to_directory(self, step: Step, topic: TopicImage, number: int, broker_id: int, directory_id: Uuid) -> None:
        """The broker's replica is in that log directory, which may have failed already."""
        is_online = self._state.has_online_directory(broker_id, directory_id)
        change = self.change(topic, number, self.default_election(topic.name))
        others = change.is_acceptable_leader

        def is_acceptable(each: int) -> bool:
            return (is_online and self._state.is_active(each)) if each == broker_id else others(each)

        change.is_acceptable_leader = is_acceptable
        change.target_directories[broker_id] = directory_id
        cause = f"broker {broker_id} has its replica in another log directory"
        if not is_online:
            change.target_isr = tuple(each for each in change.target_isr if each != broker_id)
            cause = f"a log directory of broker {broker_id} failed"
        if directory_id == LOST and topic.partitions[number].directory(broker_id) != LOST:
            # What it had is gone for good: it comes back with nothing, in the same broker epoch.
            cause = f"the replica on broker {broker_id} is corrupt"
            change.unclean_shutdown_replicas = (broker_id,)
            change.bumps_leader_epoch = True
        self.add(step, change, topic.name, cause)

    # -- elections ----------------------------------------------------------------------------------------------

    def balance_preferred_leaders(self, step: Step) -> bool:
        """Elect preferred leaders where others lead; returns whether more may be left to do."""
        elected = 0
        for topic, number, _ in self._partitions(lambda each: not each.has_preferred_leader):
            if elected >= MAX_ELECTIONS_PER_TIMER:
                return True
            change = self.change(topic, number, Election.PREFERRED)
            elected += self.add(step, change, topic.name, "preferred leader balanced")
        return False

    def elect_unclean_leaders(self, step: Step) -> bool:
        """Elect leaders for leaderless partitions of topics that allow it; returns whether more may be left to do."""
        elected = 0
        for topic, number, _ in self._partitions(lambda each: not each.has_leader):
            if elected >= MAX_ELECTIONS_PER_TIMER:
                return True
            if self._state.is_unclean_election_enabled(topic.name):
                change = self.change(topic, number, Election.UNCLEAN)
                elected += self.add(step, change, topic.name, "unclean.leader.election.enable")
        return False

    def elect_leaders(self, step: Step, request: ElectLeadersRequest) -> ElectLeadersResponse:
        """ElectLeaders: preferred (0) or unclean (1), for the named partitions or for all.

        Raises:
            KafkaError: INVALID_REQUEST for another kind of election.
        """
        if request.election_type not in (ELECT_PREFERRED, ELECT_UNCLEAN):
            raise KafkaError(ErrorCode.INVALID_REQUEST, f"Unknown election type {request.election_type}")
        response = ElectLeadersResponse()
        if request.topic_partitions is None:
            for topic in self._state.image.topics_by_name.values():
                results = [
                    result
                    for number in topic.partitions
                    for result in (self._elect(step, topic.name, number, request.election_type),)
                    # What needs no election is left out when all are asked for.
                    if result.error_code != ErrorCode.ELECTION_NOT_NEEDED
                ]
                response.replica_election_results.append(
                    ReplicaElectionResult(topic=topic.name, partition_result=results)
                )
        else:
            for wanted in request.topic_partitions:
                results = [
                    self._elect(step, wanted.topic, number, request.election_type) for number in wanted.partitions
                ]
                response.replica_election_results.append(
                    ReplicaElectionResult(topic=wanted.topic, partition_result=results)
                )
        step.check_size()
        return response

    def _elect(self, step: Step, name: str, number: int, election_type: int) -> PartitionResult:
        topic = self._state.image.topics_by_name.get(name)
        if topic is None:
            return _failed(number, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, f"No such topic as {name}")
        partition = topic.partitions.get(number)
        if partition is None:
            return _failed(number, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, f"No such partition as {name}-{number}")
        preferred = election_type == ELECT_PREFERRED
        if partition.has_preferred_leader if preferred else partition.has_leader:
            return _failed(number, ErrorCode.ELECTION_NOT_NEEDED, "Leader election not needed for topic partition.")
        change = self.change(topic, number, Election.PREFERRED if preferred else Election.UNCLEAN)
        cause = "preferred leader elected on request" if preferred else "unclean election on request"
        if self.add(step, change, name, cause):
            return PartitionResult(partition_id=number, error_code=int(ErrorCode.NONE), error_message=None)
        if preferred:
            return _failed(
                number,
                ErrorCode.PREFERRED_LEADER_NOT_AVAILABLE,
                "The preferred leader was not available.",
            )
        return _failed(
            number, ErrorCode.ELIGIBLE_LEADERS_NOT_AVAILABLE, "Eligible topic partition leaders are not available."
        )


def _failed(number: int, code: ErrorCode, message: str) -> PartitionResult:
    return PartitionResult(partition_id=number, error_code=int(code), error_message=message)

"""One controller, virtual time, a log in memory: what the tests of the controller stand on.

Requests and responses pass through the wire codec. After every input the harness checks what must always hold: the law
(an image built only by replaying the log equals the machine's), and the promises K10, T8 and those of a partition's
state (see :func:`check_partition`).
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

from engine.core.controller.controller import Controller
from engine.core.controller.feature_control import SUPPORTED_FEATURES
from engine.core.controller.image import BrokerImage, MetadataImage, PartitionImage
from engine.core.controller.kafka_config_schema import KafkaConfigSchema
from engine.core.controller.state import ControllerEffects
from engine.core.controller.topic_image import NO_LEADER, RECOVERING
from engine.model.broker_config import BrokerConfig
from engine.model.ids import ZERO_UUID
from engine.model.notes import Note, NoteKind
from engine.wire import codec
from engine.wire.apis import ApiKey, latest_version
from engine.wire.message import Message
from engine.wire.messages.allocate_producer_ids_request import AllocateProducerIdsRequest
from engine.wire.messages.alter_partition_request import AlterPartitionRequest, BrokerState, PartitionData, TopicData
from engine.wire.messages.broker_heartbeat_request import BrokerHeartbeatRequest
from engine.wire.messages.broker_registration_request import BrokerRegistrationRequest, Feature, Listener
from engine.wire.messages.create_topics_request import (
    CreatableReplicaAssignment,
    CreatableTopic,
    CreatableTopicConfig,
    CreateTopicsRequest,
)
from engine.wire.messages.elect_leaders_request import ElectLeadersRequest, TopicPartitions
from engine.wire.messages.unregister_broker_request import UnregisterBrokerRequest
from engine.wire.messages.update_features_request import FeatureUpdateKey, UpdateFeaturesRequest
from engine.wire.record_frames import decode_metadata_record, encode_metadata_record

CLUSTER_ID = "cluster-of-the-tests"
NODE_ID = 100
SESSION_MS = 9_000
GRACE_MS = 300
ELR = "eligible.leader.replicas.version"


class SeededRandom:
    """The machine's randomness."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def randint(self, low: int, high: int) -> int:
        return self._random.randint(low, high)

    def uuid(self) -> bytes:
        return b"topic" + self._random.getrandbits(88).to_bytes(11, "big")


def through_the_wire(message: Message, version: int) -> Any:
    """What arrives at the other end."""
    decoded, _ = codec.decode(type(message), version, codec.encode(message, version))
    return decoded


def directory_of(broker_id: int, number: int = 0) -> bytes:
    """The id of a log directory of a broker."""
    return b"directory" + bytes((0, 0, 0, 0, 0, broker_id, number))


def incarnation_of(broker_id: int, number: int) -> bytes:
    return b"incarnation" + bytes((0, 0, 0, broker_id, number))


class ControllerHarness:
    """Feeds a controller and keeps what comes out."""

    def __init__(
        self, properties: Mapping[str, str] | None = None, *, seed: int = 1, bootstrap: Sequence[object] = ()
    ) -> None:
        self.config = BrokerConfig.from_properties(
            {
                "node.id": str(NODE_ID),
                "process.roles": "controller",
                "controller.listener.names": "CONTROLLER",
                "listeners": "CONTROLLER://localhost:9093",
                "controller.quorum.voters": f"{NODE_ID}@localhost:9093",
                "auto.leader.rebalance.enable": "false",
                "broker.session.timeout.ms": str(SESSION_MS),
                "kconsole.connection.loss.grace.ms": str(GRACE_MS),
                **(properties or {}),
            }
        )
        self.random = SeededRandom(seed)
        self.now_ms = 1_000.0
        self.log: list[Message] = []
        self.notes: list[Note] = []
        self.replayed = MetadataImage()
        self.incarnations: dict[int, int] = {}
        self.blocks: list[tuple[int, int]] = []
        self.last: list[Any] = []
        # Without eligible leader replicas no ISR is ever empty; one that was emptied with them stays so without.
        self.had_elr = False
        # The request that is being answered, -1: none.
        self.api_key = -1
        self.machine = self._new_machine()
        self.perform(self.machine.activate(bootstrap))

    def _new_machine(self) -> Controller:
        return Controller(
            node_id=NODE_ID,
            cluster_id=CLUSTER_ID,
            config=self.config,
            schema=KafkaConfigSchema(self.config),
            random=self.random,
            image=self.replayed.copy(),
            next_offset=len(self.log),
            now_ms=self.now_ms,
        )

    def fail_over(self) -> None:
        """Another node becomes the active controller: it knows what is in the log, and no broker's session."""
        self.machine = self._new_machine()
        self.perform(self.machine.activate())

    # -- outputs ------------------------------------------------------------------------------------------------

    @property
    def image(self) -> MetadataImage:
        return self.machine.image

    def perform(self, effects: ControllerEffects) -> ControllerEffects:
        assert not effects.send, "a controller sends nothing"
        before = self.replayed.copy()
        self.last = []
        for record in effects.append:
            decoded: Any = decode_metadata_record(encode_metadata_record(record))[0]
            old = None
            if decoded.NAME == "PartitionChangeRecord":
                old = self.replayed.partition_by_id(decoded.topic_id, decoded.partition_id)
            self.replayed.replay(decoded, len(self.log))
            if old is not None:
                self.check_election(decoded.topic_id, decoded.partition_id, old)
            self.log.append(decoded)
            self.last.append(decoded)
        self.notes += effects.notes
        self.check(before)
        return effects

    def check(self, before: MetadataImage) -> None:
        """What must hold after every input."""
        self.had_elr = self.had_elr or self.image.features.get(ELR, 0) > 0
        assert self.machine.next_offset == len(self.log)
        assert self.replayed == self.image, "replay of the log does not make the machine's image"
        again = MetadataImage()
        for record in self.image.to_records():
            again.replay(record)
        assert again == self.image, "a snapshot does not make the same image"
        for topic_id, topic in self.image.topics_by_id.items():
            assert sorted(topic.partitions) == list(range(len(topic.partitions)))
            for number, partition in topic.partitions.items():
                check_partition(partition, self.image.brokers, may_be_empty=self.had_elr, at=topic.name)
                old = before.partition_by_id(topic_id, number)
                if old is not None:
                    check_epochs(old, partition)

    def handle(self, api_key: int, request: Message, version: int | None = None) -> Any:
        """Let the machine answer a request as it arrives on the wire."""
        if version is None:
            version = latest_version(api_key)
        token = object()
        self.api_key = api_key
        effects = self.machine.handle(api_key, through_the_wire(request, version), version, self.now_ms, token)
        self.perform(effects)
        self.api_key = -1
        [reply] = effects.reply
        assert reply.token is token
        return through_the_wire(reply.response, version)

    def check_election(self, topic_id: bytes, number: int, old: PartitionImage) -> None:
        """R2 as far as the controller answers for it: nobody leads who was not in sync or eligible, unless allowed to
        be elected uncleanly, and then the partition says so."""
        new = self.replayed.partition_by_id(topic_id, number)
        assert new is not None
        if new.leader in (NO_LEADER, old.leader, *old.isr, *old.elr):
            return
        if self.api_key in (ApiKey.ALTER_PARTITION, ApiKey.ALTER_PARTITION_REASSIGNMENTS):
            return  # the new leader came into the ISR with this very change
        assert new.leader_recovery_state == RECOVERING, f"{old} → {new}: an unclean election that nobody is told of"
        name = self.replayed.topics_by_id[topic_id].name
        assert (
            self.api_key == ApiKey.ELECT_LEADERS
            or old.last_known_elr == (new.leader,)
            or self.machine._state.is_unclean_election_enabled(name)
        ), f"{old} → {new}: an unclean election that nobody allowed"

    def kinds(self) -> list[NoteKind]:
        return [note.kind for note in self.notes]

    def names_of_last(self) -> list[str]:
        """The types of the records that the last input wrote."""
        return [record.NAME for record in self.last]

    # -- time ---------------------------------------------------------------------------------------------------

    def advance(self, milliseconds: float) -> None:
        """Let time pass, stopping at every deadline."""
        until = self.now_ms + milliseconds
        while (deadline := self.machine.next_deadline_ms()) <= until:
            self.now_ms = max(self.now_ms, deadline)
            self.perform(self.machine.on_timer(self.now_ms))
        self.now_ms = until

    # -- brokers ------------------------------------------------------------------------------------------------

    def register(
        self,
        broker_id: int,
        *,
        rack: str | None = None,
        incarnation: int | None = None,
        log_dirs: Sequence[bytes] | None = None,
        cluster_id: str = CLUSTER_ID,
        features: Mapping[str, tuple[int, int]] | None = None,
        previous_epoch: int = -1,
        is_migrating: bool = False,
        version: int | None = None,
    ) -> Any:
        """A process registers; without ``incarnation`` it is one that was never seen before."""
        if incarnation is None:
            incarnation = self.incarnations.get(broker_id, 0) + 1
        self.incarnations[broker_id] = max(incarnation, self.incarnations.get(broker_id, 0))
        ranges = SUPPORTED_FEATURES if features is None else features
        request = BrokerRegistrationRequest(
            broker_id=broker_id,
            cluster_id=cluster_id,
            incarnation_id=incarnation_of(broker_id, incarnation),
            listeners=[Listener(name="PLAINTEXT", host="localhost", port=9000 + broker_id, security_protocol=0)],
            features=[
                Feature(name=name, min_supported_version=low, max_supported_version=high)
                for name, (low, high) in ranges.items()
            ],
            rack=rack,
            is_migrating_zk_broker=is_migrating,
            log_dirs=[directory_of(broker_id)] if log_dirs is None else list(log_dirs),
            previous_broker_epoch=previous_epoch,
        )
        return self.handle(ApiKey.BROKER_REGISTRATION, request, version)

    def heartbeat(
        self,
        broker_id: int,
        *,
        epoch: int | None = None,
        offset: int | None = None,
        want_fence: bool = False,
        want_shut_down: bool = False,
        offline: Sequence[bytes] = (),
        cordoned: Sequence[bytes] | None = None,
    ) -> Any:
        """A heartbeat; without ``offset`` of a broker that has read everything."""
        request = BrokerHeartbeatRequest(
            broker_id=broker_id,
            broker_epoch=self.broker(broker_id).broker_epoch if epoch is None else epoch,
            current_metadata_offset=len(self.log) - 1 if offset is None else offset,
            want_fence=want_fence,
            want_shut_down=want_shut_down,
            offline_log_dirs=list(offline),
            cordoned_log_dirs=None if cordoned is None else list(cordoned),
        )
        return self.handle(ApiKey.BROKER_HEARTBEAT, request)

    def start(self, *broker_ids: int, racks: Mapping[int, str] | None = None) -> None:
        """Brokers register and are unfenced."""
        for broker_id in broker_ids:
            assert self.register(broker_id, rack=(racks or {}).get(broker_id)).error_code == 0
            assert not self.heartbeat(broker_id).is_fenced

    def fence(self, *broker_ids: int) -> None:
        """Brokers ask to be fenced."""
        for broker_id in broker_ids:
            self.heartbeat(broker_id, want_fence=True)
            assert self.broker(broker_id).fenced

    def unregister(self, broker_id: int) -> Any:
        return self.handle(ApiKey.UNREGISTER_BROKER, UnregisterBrokerRequest(broker_id=broker_id))

    def broker(self, broker_id: int) -> BrokerImage:
        return self.image.brokers[broker_id]

    # -- topics and partitions ----------------------------------------------------------------------------------

    def create_topics(self, *topics: CreatableTopic, validate_only: bool = False, version: int | None = None) -> Any:
        request = CreateTopicsRequest(topics=list(topics), timeout_ms=1_000, validate_only=validate_only)
        return self.handle(ApiKey.CREATE_TOPICS, request, version)

    def create(
        self, name: str, *assignments: Sequence[int], configs: Mapping[str, str] | None = None, **counts: int
    ) -> None:
        """Create a topic that must not fail: with these replicas per partition, or with ``partitions``, ``factor``."""
        response = self.create_topics(topic(name, *assignments, configs=configs, **counts))
        assert [each.error_code for each in response.topics] == [0], response

    def partition(self, name: str, number: int = 0) -> PartitionImage:
        found = self.image.partition(name, number)
        assert found is not None
        return found

    def alter_partition(
        self,
        leader: int,
        isr: Sequence[int] | Sequence[tuple[int, int]],
        *,
        name: str = "t",
        number: int = 0,
        topic_id: bytes | None = None,
        leader_epoch: int | None = None,
        partition_epoch: int | None = None,
        broker_epoch: int | None = None,
        recovery_state: int = 0,
        version: int = 3,
    ) -> Any:
        """A leader asks for another ISR, with what the metadata says where nothing else is given."""
        current = self.image.partition(name, number)
        epochs = {each: broker.broker_epoch for each, broker in self.image.brokers.items()}
        members = [each if isinstance(each, tuple) else (each, epochs.get(each, -1)) for each in isr]
        data = PartitionData(
            partition_index=number,
            leader_epoch=current.leader_epoch if leader_epoch is None and current else leader_epoch or 0,
            partition_epoch=current.partition_epoch if partition_epoch is None and current else partition_epoch or 0,
            leader_recovery_state=recovery_state,
        )
        if version < 3:
            data.new_isr = [each for each, _ in members]
        else:
            data.new_isr_with_epochs = [BrokerState(broker_id=each, broker_epoch=epoch) for each, epoch in members]
        if topic_id is None:
            topic_id = self.image.topics_by_name[name].topic_id
        request = AlterPartitionRequest(
            broker_id=leader,
            broker_epoch=epochs.get(leader, -1) if broker_epoch is None else broker_epoch,
            topics=[TopicData(topic_id=topic_id, partitions=[data])],
        )
        response = self.handle(ApiKey.ALTER_PARTITION, request, version)
        return response.topics[0].partitions[0] if response.topics else response

    def elect(self, election_type: int, wanted: Mapping[str, Sequence[int]] | None) -> dict[tuple[str, int], int]:
        """ElectLeaders: error codes by partition."""
        request = ElectLeadersRequest(
            election_type=election_type,
            topic_partitions=None
            if wanted is None
            else [TopicPartitions(topic=name, partitions=list(numbers)) for name, numbers in wanted.items()],
        )
        response = self.handle(ApiKey.ELECT_LEADERS, request)
        assert response.error_code == 0
        return {
            (each.topic, result.partition_id): result.error_code
            for each in response.replica_election_results
            for result in each.partition_result
        }

    # -- the rest -----------------------------------------------------------------------------------------------

    def allocate(self, broker_id: int, epoch: int | None = None) -> Any:
        """Ask for a block of producer ids. T8: no id is given out twice."""
        broker_epoch = self.broker(broker_id).broker_epoch if epoch is None else epoch
        request = AllocateProducerIdsRequest(broker_id=broker_id, broker_epoch=broker_epoch)
        response = self.handle(ApiKey.ALLOCATE_PRODUCER_IDS, request)
        if not response.error_code:
            first, end = response.producer_id_start, response.producer_id_start + response.producer_id_len
            assert first >= 0 and end > first
            for other_first, other_end in self.blocks:
                assert end <= other_first or first >= other_end, "T8: a producer id was given out twice"
            self.blocks.append((first, end))
        return response

    def update_feature(
        self, name: str, level: int, *, kind: int = 1, validate_only: bool = False, version: int = 2
    ) -> Any:
        update = FeatureUpdateKey(feature=name, max_version_level=level)
        if version == 0:
            update.allow_downgrade = kind != 1
        else:
            update.upgrade_type = kind
        request = UpdateFeaturesRequest(feature_updates=[update], validate_only=validate_only)
        return self.handle(ApiKey.UPDATE_FEATURES, request, version)


def topic(
    name: str,
    *assignments: Sequence[int],
    configs: Mapping[str, str | None] | None = None,
    partitions: int = -1,
    factor: int = -1,
) -> CreatableTopic:
    """One topic of a CreateTopics request."""
    return CreatableTopic(
        name=name,
        num_partitions=partitions,
        replication_factor=factor,
        assignments=[
            CreatableReplicaAssignment(partition_index=number, broker_ids=list(replicas))
            for number, replicas in enumerate(assignments)
        ],
        configs=[CreatableTopicConfig(name=key, value=value) for key, value in (configs or {}).items()],
    )


def check_partition(
    partition: PartitionImage, brokers: Mapping[int, BrokerImage], *, may_be_empty: bool, at: str
) -> None:
    """What holds of a partition's state in the metadata at any time."""
    replicas, isr, leader = partition.replicas, partition.isr, partition.leader
    assert replicas and len(set(replicas)) == len(replicas) == len(partition.directories), at
    assert len(set(isr)) == len(isr) and set(isr) <= set(replicas), f"{at}: ISR {isr} of {replicas}"
    assert isr or may_be_empty, f"{at}: the ISR is empty"
    assert not set(isr) & set(partition.elr), f"{at}: ISR {isr} and ELR {partition.elr} overlap"
    assert set(partition.adding_replicas) <= set(replicas) and set(partition.removing_replicas) <= set(replicas), at
    assert not set(partition.adding_replicas) & set(partition.removing_replicas), at
    assert leader == NO_LEADER or leader in isr, f"{at}: leader {leader} is not in the ISR {isr}"
    # K10 FencedNotInISR: a last member stays even if it is fenced, but then it leads nobody.
    active = [each for each in isr if each in brokers and brokers[each].is_active]
    assert active == list(isr) or (len(isr) == 1 and leader == NO_LEADER), f"{at}: K10: ISR {isr}, active {active}"
    if leader != NO_LEADER:
        assert brokers[leader].has_online_directory(partition.directory(leader)), f"{at}: the leader's disk is gone"


def check_epochs(old: PartitionImage, new: PartitionImage) -> None:
    """Epochs never go back, and a change of the state or the leader shows in them."""
    assert new.leader_epoch >= old.leader_epoch and new.partition_epoch >= old.partition_epoch
    assert new.partition_epoch - old.partition_epoch >= new.leader_epoch - old.leader_epoch
    if new._replace(partition_epoch=0, leader_epoch=0) != old._replace(partition_epoch=0, leader_epoch=0):
        assert new.partition_epoch > old.partition_epoch, "a change without another partition epoch"
    if new.leader != old.leader:
        assert new.leader_epoch > old.leader_epoch, "another leader in the same leader epoch"


assert len(ZERO_UUID) == len(directory_of(1)) == len(incarnation_of(1, 1)) == 16

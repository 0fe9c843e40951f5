"""What the parts of the controller machine share: the state, the step they work on, and questions about brokers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from engine.core.controller.directory_ids import UNASSIGNED
from engine.core.controller.image import BROKER_RESOURCE, TOPIC_RESOURCE, BrokerImage, MetadataImage
from engine.core.controller.placement import RandomSource, ReplicaPlacer, UsableBroker
from engine.core.controller.sessions import BrokerSessions, IsSessionAlive
from engine.core.effects import Effects
from engine.model.errors import ErrorCode, KafkaError
from engine.model.ids import Uuid
from engine.model.notes import Note

if TYPE_CHECKING:
    from engine.core.controller.config_schema import ConfigSchema
    from engine.model.broker_config import BrokerConfig

# Effects of the controller: metadata records to append, nothing to send, one reply, notes.
ControllerEffects: TypeAlias = Effects[Any, Any]

# Kafka's bound on the records of one user operation (QuorumController.MAX_RECORDS_PER_USER_OP).
MAX_RECORDS_PER_USER_OP = 10_000
# A batch of the metadata log holds 8 MiB; a character may take three bytes.
MAX_CONFIG_CHARACTERS_PER_USER_OP = 1 << 20
ELR_FEATURE = "eligible.leader.replicas.version"
MIN_INSYNC_REPLICAS = "min.insync.replicas"


class Step:
    """The outputs of one input while it is worked on: records in order, and notes."""

    __slots__ = ("charge", "notes", "records")

    def __init__(self, charge: Callable[[int], None] | None = None) -> None:
        """``charge`` takes the partitions that are made or removed, and may raise (controller_mutation_rate)."""
        self.records: list[Any] = []
        self.notes: list[Note] = []
        self.charge: Callable[[int], None] = _free if charge is None else charge

    def check_size(self) -> None:
        """Raises: KafkaError: POLICY_VIOLATION if a user's operation makes too many records, or too large ones for one
        batch of the log."""
        config_bytes = sum(len(each.value or "") for each in self.records if each.NAME == "ConfigRecord")
        if len(self.records) > MAX_RECORDS_PER_USER_OP or config_bytes > MAX_CONFIG_CHARACTERS_PER_USER_OP:
            raise KafkaError(ErrorCode.POLICY_VIOLATION, "Unable to perform excessively large batch operation.")


def _free(partitions: int) -> None:
    """Without a quota."""


class CoordinationFacts(Protocol):
    """What the controller must know of who coordinates the cluster that is no record of the metadata: kraft.version,
    and which brokers have a session."""

    @property
    def kraft_version(self) -> int: ...

    def check_kraft_version(self, level: int) -> bool:
        """Whether going to ``level`` changes anything. Raises KafkaError if it cannot be."""

    def is_session_alive(self, broker_id: int, incarnation_id: Uuid) -> bool | None:
        """Whether this incarnation of a broker has a session; None where heartbeats are all that is known."""


def _unknown(broker_id: int, incarnation_id: Uuid) -> bool | None:
    """Nobody keeps sessions."""
    return None


class ControllerState:
    """The metadata with all that was proposed so far, and the soft state beside it.

    ``next_offset`` is where the next record will stand in the log.
    """

    def __init__(
        self,
        *,
        node_id: int,
        cluster_id: str,
        config: BrokerConfig,
        schema: ConfigSchema,
        random: RandomSource,
        image: MetadataImage,
        next_offset: int,
        quorum: CoordinationFacts | None = None,
    ) -> None:
        self.quorum = quorum
        self.node_id = node_id
        self.cluster_id = cluster_id
        self.config = config
        self.schema = schema
        self.random = random
        self.image = image
        self.next_offset = next_offset
        grace_ms = (
            config.kconsole_connection_loss_grace_ms if config.kconsole_connection_loss_detection_enable else None
        )
        is_alive: IsSessionAlive = _unknown if quorum is None else quorum.is_session_alive
        self.sessions = BrokerSessions(config.broker_session_timeout_ms, grace_ms, is_alive)

    # -- brokers ------------------------------------------------------------------------------------------------

    def is_active(self, broker_id: int) -> bool:
        """Whether the broker may lead and be in sync: registered, not fenced, not on its way out."""
        broker = self.image.brokers.get(broker_id)
        return broker is not None and broker.is_active

    def has_online_directory(self, broker_id: int, directory_id: Uuid) -> bool:
        """Whether a replica in that directory of the broker can work."""
        broker = self.image.brokers.get(broker_id)
        return broker is not None and broker.has_online_directory(directory_id)

    def default_directory(self, broker_id: int) -> Uuid:
        """Where a new replica on the broker goes."""
        broker = self.image.brokers.get(broker_id)
        return UNASSIGNED if broker is None else broker.default_directory

    def check_broker_epoch(self, broker_id: int, broker_epoch: int) -> BrokerImage:
        """The broker, if it is registered with that epoch. Raises: KafkaError: STALE_BROKER_EPOCH."""
        broker = self.image.brokers.get(broker_id)
        if broker is None:
            raise KafkaError(ErrorCode.STALE_BROKER_EPOCH, f"No broker registration found for broker id {broker_id}")
        if broker.broker_epoch != broker_epoch:
            raise KafkaError(
                ErrorCode.STALE_BROKER_EPOCH,
                f"Expected broker epoch {broker.broker_epoch}, but got broker epoch {broker_epoch}",
            )
        return broker

    def placer(self) -> ReplicaPlacer:
        """A placer over the brokers that may take new replicas: not shutting down, not cordoned."""
        usable = [
            UsableBroker(broker.broker_id, broker.rack, broker.fenced)
            for _, broker in sorted(self.image.brokers.items())
            if not (broker.in_controlled_shutdown and not broker.fenced) and not broker.is_fully_cordoned
        ]
        return ReplicaPlacer(self.random, usable)

    # -- configs that the controller itself obeys ---------------------------------------------------------------

    def topic_config(self, topic: str, name: str, static_value: Any) -> str:
        """A topic's effective value: its own, this node's dynamic one, the cluster's, the static one."""
        for resource in (
            (TOPIC_RESOURCE, topic),
            (BROKER_RESOURCE, str(self.node_id)),
            (BROKER_RESOURCE, ""),
        ):
            value = self.image.config(*resource).get(name)
            if value is not None:
                return value
        return str(static_value).lower() if isinstance(static_value, bool) else str(static_value)

    def is_unclean_election_enabled(self, topic: str) -> bool:
        """unclean.leader.election.enable for the topic."""
        static_value = self.config.unclean_leader_election_enable
        return self.topic_config(topic, "unclean.leader.election.enable", static_value).strip().lower() == "true"

    def effective_min_isr(self, topic: str) -> int:
        """min.insync.replicas of the topic, at most its replication factor."""
        min_isr = int(self.topic_config(topic, MIN_INSYNC_REPLICAS, self.config.min_insync_replicas))
        partitions = self.image.topics_by_name[topic].partitions
        first = partitions.get(0)
        return min_isr if first is None else min(min_isr, len(first.replicas))

    @property
    def is_elr_enabled(self) -> bool:
        """Whether eligible leader replicas (KIP-966) are switched on."""
        return self.image.features.get(ELR_FEATURE, 0) >= 1

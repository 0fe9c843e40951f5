"""The metadata controller as one pure machine (Kafka: QuorumController).

Inputs are requests, the time, and lost connections; each returns :class:`~engine.core.effects.Effects` whose ``append``
is *one atomic batch* of metadata records. The machine has already applied them to its own image when it returns: it
runs ahead of the log. So its shell

- proposes each batch to the quorum, in order, before the next input;
- holds the replies and notes of an input back until all records appended so far are committed, those of earlier inputs
  included: an answer never tells of something that a failover could take back;
- throws the machine away when a proposal fails or the leadership is lost.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from engine.core.controller.access_control import AclControl
from engine.core.controller.alter_partition import AlterPartition
from engine.core.controller.client_quotas import ClientQuotaControl
from engine.core.controller.cluster_control import ClusterControl
from engine.core.controller.config_control import ConfigControl
from engine.core.controller.directory_control import DirectoryControl
from engine.core.controller.error_responses import error_response
from engine.core.controller.feature_control import FeatureControl
from engine.core.controller.image import MetadataImage
from engine.core.controller.leadership import Leadership
from engine.core.controller.producer_id_control import ProducerIdControl
from engine.core.controller.reassignment import ReassignmentControl
from engine.core.controller.scram_credentials import ScramControl
from engine.core.controller.state import ControllerEffects, ControllerState, CoordinationFacts, Step
from engine.core.controller.topic_control import TopicControl
from engine.core.effects import Effects, Reply
from engine.model.errors import KafkaError
from engine.wire.apis import ApiKey

if TYPE_CHECKING:
    from engine.core.controller.config_schema import ConfigSchema
    from engine.core.controller.placement import RandomSource
    from engine.model.broker_config import BrokerConfig

# unclean.leader.election.interval.ms, Kafka's default.
_UNCLEAN_ELECTION_INTERVAL_MS = 300_000

Handler = Callable[[Step, Any, int, float], Any]


class Controller:
    """The active controller's state and what it answers.

    All times are monotonic milliseconds of one clock.
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
        now_ms: float,
        quorum: CoordinationFacts | None = None,
    ) -> None:
        """``image`` holds all records below the start of this controller's epoch; it is taken over, pass a copy.

        ``quorum`` knows kraft.version, which stays as it is without, and the brokers' sessions where somebody keeps
        them.
        """
        self._state = state = ControllerState(
            node_id=node_id,
            cluster_id=cluster_id,
            config=config,
            schema=schema,
            random=random,
            image=image,
            next_offset=next_offset,
            quorum=quorum,
        )
        self._leadership = Leadership(state)
        self._alter_partition = AlterPartition(state, self._leadership)
        self._cluster = ClusterControl(state, self._leadership)
        self._directories = DirectoryControl(state, self._leadership)
        self._configs = ConfigControl(state)
        self._topics = TopicControl(state, self._configs)
        self._reassignments = ReassignmentControl(state, self._leadership, self._topics)
        self._features = FeatureControl(state)
        self._producer_ids = ProducerIdControl(state)
        self._quotas = ClientQuotaControl(state)
        self._scram = ScramControl(state)
        self._acls = AclControl(state)
        self._balance_interval_ms = config.leader_imbalance_check_interval_seconds * 1000.0
        self._next_balance_ms: float | None = None
        if config.auto_leader_rebalance_enable:
            self._next_balance_ms = now_ms + self._balance_interval_ms
        self._next_unclean_ms = now_ms + _UNCLEAN_ELECTION_INTERVAL_MS
        state.sessions.assume_alive(image, now_ms)
        self._handlers: dict[int, Handler] = {
            ApiKey.CREATE_TOPICS: lambda step, request, version, now: self._topics.create_topics(step, request),
            ApiKey.DELETE_TOPICS: lambda step, request, version, now: self._topics.delete_topics(
                step, request, version
            ),
            ApiKey.CREATE_PARTITIONS: lambda step, request, version, now: self._topics.create_partitions(step, request),
            ApiKey.ALTER_CONFIGS: lambda step, request, version, now: self._configs.alter_configs(step, request),
            ApiKey.INCREMENTAL_ALTER_CONFIGS: lambda step, request, version, now: (
                self._configs.incremental_alter_configs(step, request)
            ),
            ApiKey.ELECT_LEADERS: lambda step, request, version, now: self._leadership.elect_leaders(step, request),
            ApiKey.ALTER_PARTITION: lambda step, request, version, now: self._alter_partition.alter_partition(
                step, request, version
            ),
            ApiKey.ALTER_PARTITION_REASSIGNMENTS: lambda step, request, version, now: self._reassignments.alter(
                step, request
            ),
            ApiKey.LIST_PARTITION_REASSIGNMENTS: lambda step, request, version, now: self._reassignments.list(request),
            ApiKey.BROKER_REGISTRATION: lambda step, request, version, now: self._cluster.register_broker(
                step, request, now
            ),
            ApiKey.BROKER_HEARTBEAT: lambda step, request, version, now: self._cluster.heartbeat(step, request, now),
            ApiKey.UNREGISTER_BROKER: lambda step, request, version, now: self._cluster.unregister_broker(
                step, request
            ),
            ApiKey.CONTROLLER_REGISTRATION: lambda step, request, version, now: self._cluster.register_controller(
                step, request
            ),
            ApiKey.UPDATE_FEATURES: lambda step, request, version, now: self._features.update_features(
                step, request, version
            ),
            ApiKey.ASSIGN_REPLICAS_TO_DIRS: lambda step, request, version, now: self._directories.assign(step, request),
            ApiKey.ALTER_CLIENT_QUOTAS: lambda step, request, version, now: self._quotas.alter(step, request),
            ApiKey.ALTER_USER_SCRAM_CREDENTIALS: lambda step, request, version, now: self._scram.alter(step, request),
            ApiKey.CREATE_ACLS: lambda step, request, version, now: self._acls.create(step, request),
            ApiKey.DELETE_ACLS: lambda step, request, version, now: self._acls.delete(step, request),
            ApiKey.ALLOCATE_PRODUCER_IDS: lambda step, request, version, now: self._producer_ids.allocate(
                step, request
            ),
        }

    # -- what others may read -----------------------------------------------------------------------------------

    @property
    def image(self) -> MetadataImage:
        """The metadata with everything that was appended, committed or not."""
        return self._state.image

    @property
    def next_offset(self) -> int:
        """Where the next record goes. The shell sets it when others wrote to the log (control records, no-ops)."""
        return self._state.next_offset

    @next_offset.setter
    def next_offset(self, offset: int) -> None:
        assert offset >= self._state.next_offset, "the log of a leader does not shrink"
        self._state.next_offset = offset

    def handles(self, api_key: int) -> bool:
        """Whether :meth:`handle` answers this API."""
        return api_key in self._handlers

    # -- inputs -------------------------------------------------------------------------------------------------

    def activate(self, bootstrap: Sequence[Any] = ()) -> ControllerEffects:
        """The first step: on an empty log, the records that every cluster starts with. ``bootstrap`` are those of the
        directory's bootstrap.checkpoint.

        Raises:
            FeatureNotSupported: they ask for a feature level that is not known here.
        """
        step = Step()
        if self._state.image.is_empty:
            self._features.bootstrap(step, bootstrap)
        return self._effects(step)

    def handle(
        self,
        api_key: int,
        request: Any,
        version: int,
        now_ms: float,
        token: object = None,
        charge: Callable[[int], None] | None = None,
    ) -> ControllerEffects:
        """Answer one request. What fails as a whole is answered in the API's own way; nothing is written then.
        ``charge``: what the client pays with for partitions (:class:`~engine.core.controller.state.Step`)."""
        step = Step(charge)
        try:
            response = self._handlers[api_key](step, request, version, now_ms)
        except KafkaError as error:
            step = Step()
            response = error_response(api_key, request, error.code, error.message)
        effects = self._effects(step)
        effects.reply.append(Reply(token, response))
        if any(record.NAME == "ConfigRecord" and record.name == _UNCLEAN_CONFIG for record in effects.append):
            self._next_unclean_ms = now_ms
        return effects

    def on_broker_connection_lost(
        self, broker_id: int, broker_epoch: int, now_ms: float, *, is_refusing: bool = False
    ) -> bool:
        """The connection that a broker heartbeats over dropped, or (``is_refusing``) its listener refuses connections.

        The broker is fenced unless it is heard of within kconsole.connection.loss.grace.ms; one that refuses is fenced
        with the next :meth:`on_timer`, which is due then. Returns whether there is something to wait for: False if
        another incarnation took the broker's place, it is fenced already, or the detection is off.
        """
        broker = self._state.image.brokers.get(broker_id)
        if broker is None or broker.broker_epoch != broker_epoch or broker.fenced:
            return False
        return self._state.sessions.connection_lost(broker_id, now_ms, is_refusing=is_refusing)

    def on_timer(self, now_ms: float) -> ControllerEffects:
        """Do what is due: fence silent brokers, balance preferred leaders, elect unclean ones where allowed."""
        effects: ControllerEffects = Effects()
        step = Step()
        while self._cluster.fence_one_stale(step, now_ms):
            effects.merge(self._effects(step))
            step = Step()
        if now_ms >= self._next_unclean_ms:
            more = self._leadership.elect_unclean_leaders(step)
            self._next_unclean_ms = now_ms if more else now_ms + _UNCLEAN_ELECTION_INTERVAL_MS
            effects.merge(self._effects(step))
            step = Step()
        if self._next_balance_ms is not None and now_ms >= self._next_balance_ms:
            more = self._leadership.balance_preferred_leaders(step)
            self._next_balance_ms = now_ms if more else now_ms + self._balance_interval_ms
            effects.merge(self._effects(step))
        return effects

    def next_deadline_ms(self) -> float:
        """When :meth:`on_timer` has something to do."""
        deadlines = [self._next_unclean_ms]
        if self._next_balance_ms is not None:
            deadlines.append(self._next_balance_ms)
        expiry_ms = self._state.sessions.next_expiry_ms(self._state.image)
        if expiry_ms is not None:
            deadlines.append(expiry_ms)
        return min(deadlines)

    def _effects(self, step: Step) -> ControllerEffects:
        state = self._state
        for record in step.records:
            state.image.replay(record, state.next_offset)
            state.next_offset += 1
        return Effects(append=step.records, notes=step.notes)


_UNCLEAN_CONFIG = "unclean.leader.election.enable"

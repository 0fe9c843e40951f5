"""The shell of the controller on one node: coordination, timers and connections around the pure machine.

The node is active while it leads (the quorum, or by its znode /controller). The machine is made from the committed
image when the leadership is announced, and runs ahead of the log from there; answers and notes wait for the commit. It
is thrown away when the leadership is lost.

A broker's death is noticed by its connection: each broker heartbeats over one connection of its own. When that drops
the machine is told, and the host knocks at the broker's listener: if it refuses, no process is there any more. A new
controller has no such connections yet, so it knocks at every broker that it has not heard of.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from engine.broker.knocking import KNOCK_INTERVAL_MS, knock
from engine.core.controller.controller import Controller
from engine.core.controller.error_responses import error_response
from engine.core.controller.feature_control import KRAFT_VERSION
from engine.core.controller.image import MetadataImage
from engine.core.controller.kafka_config_schema import KafkaConfigSchema
from engine.core.controller.state import ControllerEffects
from engine.model.errors import ErrorCode, KafkaError
from engine.model.notes import Note, NoteKind
from engine.wire.apis import ApiKey

if TYPE_CHECKING:
    from engine.broker.connection import ServerConnection
    from engine.broker.context import RequestContext
    from engine.broker.coordination import MetadataLogWriter
    from engine.core.controller.config_schema import ConfigSchema
    from engine.model.broker_config import BrokerConfig
    from engine.wire.message import Message
    from engine.world import World

log = logging.getLogger(__name__)

# How often brokers that a new controller has not heard of are knocked at.
_PROBE_INTERVAL_MS = 500
# Requests without a timeout of their own wait this long for their commit.
_DEFAULT_TIMEOUT_MS = 30_000
_BROKER_REQUESTS = frozenset((ApiKey.BROKER_HEARTBEAT, ApiKey.BROKER_REGISTRATION))


class ControllerHost:
    """Answers the controller's requests while this node is the active controller.

    Wire it to the quorum's listener *behind* the metadata cache: ``image`` must already hold what
    :meth:`on_leader_changed` and :meth:`on_committed` speak of.
    """

    def __init__(
        self,
        world: World,
        config: BrokerConfig,
        quorum: MetadataLogWriter,
        *,
        node_id: int,
        cluster_id: str,
        image: Callable[[], MetadataImage],
        on_notes: Callable[[list[Note]], None],
        schema: ConfigSchema | None = None,
    ) -> None:
        """``image`` returns the committed metadata; ``on_notes`` is given facts once they are committed."""
        self._world = world
        self._config = config
        self._quorum = quorum
        self._node_id = node_id
        self._cluster_id = cluster_id
        self._image = image
        self._on_notes = on_notes
        self._schema = KafkaConfigSchema(config) if schema is None else schema
        self._machine: Controller | None = None
        self._epoch = -1
        self._leads = False
        self._stopped = False
        # The last offset that anything was appended at: answers wait for it.
        self._last_offset = -1
        # Why the last records were not taken by who still leads.
        self._refused: KafkaError | None = None
        self._uncommitted_notes: deque[tuple[int, list[Note]]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at_ms = float("inf")
        # The connection that each broker speaks over.
        self._connections: dict[int, ServerConnection] = {}
        # An ordered set: the order of iteration must replay.
        self._tasks: dict[asyncio.Task[None], None] = {}

    # -- what others may read -----------------------------------------------------------------------------------

    @property
    def is_active(self) -> bool:
        """Whether requests are answered here."""
        return self._machine is not None

    @property
    def epoch(self) -> int:
        """The epoch of the quorum that this host last heard of: the controller's epoch while active."""
        return self._epoch

    @property
    def machine(self) -> Controller | None:
        """The machine while active, for inspection."""
        return self._machine

    def stop(self) -> None:
        """Be inactive for good. Call it before connections are closed: their end must fence nobody."""
        self._stopped = True
        self._deactivate()

    # -- from the quorum ----------------------------------------------------------------------------------------

    def on_leader_changed(
        self, leader_id: int | None, epoch: int, became_leader: bool, epoch_start_offset: int
    ) -> None:
        """The quorum has another leader, or none; ``became_leader``: it is this node and all before was applied."""
        self._deactivate()
        self._epoch = epoch
        if became_leader and not self._stopped:
            self._leads = True
            # Not at once: the quorum is in the middle of telling its listeners.
            asyncio.get_running_loop().call_soon(self._activate, epoch, self._quorum.election)

    def on_committed(self, base_offset: int, epoch: int, append_time_ms: int, records: list[Message]) -> None:
        """A batch is committed: what was noted of it may be told."""
        last_offset = base_offset + max(len(records), 1) - 1
        waiting = self._uncommitted_notes
        while waiting and waiting[0][0] <= last_offset:
            self._on_notes(waiting.popleft()[1])

    def _activate(self, epoch: int, why: str) -> None:
        if not self._leads or self._stopped or epoch != self._epoch or self._machine is not None:
            return
        now_ms = self._world.clock.monotonic_ms()
        machine = Controller(
            node_id=self._node_id,
            cluster_id=self._cluster_id,
            config=self._config,
            schema=self._schema,
            random=self._world.random,
            image=self._image().copy(),
            next_offset=self._quorum.log_end_offset,
            now_ms=now_ms,
            quorum=self._quorum,
        )
        self._machine = machine
        self._last_offset = machine.next_offset - 1
        effects = machine.activate(self._quorum.bootstrap_records)
        effects.notes.append(
            Note(
                NoteKind.CONTROLLER_ACTIVATED,
                f"controller {self._node_id}",
                f"epoch {epoch}: {why}",
                {"controller_id": self._node_id, "epoch": epoch, "metadata_offset": machine.next_offset - 1},
            )
        )
        if self._perform(effects):
            log.info("controller %d is active in epoch %d", self._node_id, epoch)
            if self._config.kconsole_connection_loss_detection_enable:
                self._start(self._probe_silent_brokers(machine))
            self._arm_timer()

    def _deactivate(self) -> None:
        if self._machine is not None:
            log.info("controller %d is not active any more", self._node_id)
        self._machine = None
        self._leads = False
        self._uncommitted_notes.clear()
        self._connections.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for task in tuple(self._tasks):
            task.cancel()

    # -- requests -----------------------------------------------------------------------------------------------

    async def handle(self, api_key: int, request: Any, version: int, context: RequestContext | None = None) -> Message:
        """Answer a request once its records are committed.

        Errors are answers of the API: NOT_CONTROLLER when this node is not (or no longer) active, REQUEST_TIMED_OUT
        when the commit takes longer than the request allows.
        """
        if api_key in _BROKER_REQUESTS and self._machine is not None:
            await self._look_for_session(self._machine, api_key, request)
        machine, epoch = self._machine, self._epoch
        if machine is None:
            return self._not_controller(api_key, request)
        try:
            machine.next_offset = self._quorum.log_end_offset
            charge = None if context is None else context.broker.client_throttle.mutating(context)
            effects = machine.handle(api_key, request, version, self._world.clock.monotonic_ms(), charge=charge)
        except Exception as error:
            self._rebuild(error)
            raise
        if not self._perform(effects):
            refused = self._refused
            if refused is not None:
                return self._failed(api_key, request, refused.code, refused.message)
            return self._not_controller(api_key, request)
        (reply,) = effects.reply
        response: Any = reply.response
        if charge is not None and charge.throttle_ms:
            response.throttle_time_ms = charge.throttle_ms
        if api_key == ApiKey.UPDATE_FEATURES:
            self._upgrade_kraft_version(request, response)
        if api_key in _BROKER_REQUESTS and context is not None and response.error_code == ErrorCode.NONE:
            self._watch(request.broker_id, context.connection)
        self._arm_timer()
        timeout_ms = getattr(request, "timeout_ms", _DEFAULT_TIMEOUT_MS)
        try:
            async with asyncio.timeout(max(0, timeout_ms) / 1000):
                await self._quorum.wait_committed(self._last_offset, epoch)
        except KafkaError as error:
            return self._failed(api_key, request, error.code, error.message)
        except TimeoutError:
            return self._failed(api_key, request, ErrorCode.REQUEST_TIMED_OUT, f"not committed within {timeout_ms} ms")
        return response  # type: ignore[no-any-return]

    async def _look_for_session(self, machine: Controller, api_key: int, request: Any) -> None:
        """Where brokers have sessions: one that is just beginning is to be seen before its broker is answered."""
        broker = machine.image.brokers.get(request.broker_id)
        is_new = api_key == ApiKey.BROKER_REGISTRATION
        incarnation_id = request.incarnation_id if is_new else None if broker is None else broker.incarnation_id
        if incarnation_id is not None and self._quorum.is_session_alive(request.broker_id, incarnation_id) is False:
            await self._quorum.refresh_sessions()

    def on_sessions_changed(self) -> None:
        """Sessions of brokers began or ended: those without one are fenced now."""
        if self._machine is not None:
            self._on_due()

    def _upgrade_kraft_version(self, request: Any, response: Any) -> None:
        """Write the kraft.version that the machine agreed to, behind its records."""
        if response.error_code or request.validate_only or any(each.error_code for each in response.results):
            return
        for update in request.feature_updates:
            if update.feature == KRAFT_VERSION and update.max_version_level > self._quorum.kraft_version:
                self._last_offset = self._quorum.upgrade_kraft_version(update.max_version_level)

    def _not_controller(self, api_key: int, request: Any) -> Message:
        return self._failed(api_key, request, ErrorCode.NOT_CONTROLLER, "This is not the correct controller.")

    @staticmethod
    def _failed(api_key: int, request: Any, code: ErrorCode, message: str) -> Message:
        response: Message = error_response(api_key, request, code, message)
        return response

    # -- effects ------------------------------------------------------------------------------------------------

    def _perform(self, effects: ControllerEffects) -> bool:
        """Propose the records and queue the notes behind them; returns whether they were taken."""
        self._refused = None
        if effects.append:
            assert self._machine is not None
            try:
                last_offset = self._quorum.propose(effects.append, epoch=self._epoch)
            except KafkaError as error:
                if error.code is ErrorCode.NOT_CONTROLLER:
                    self._deactivate()
                else:
                    self._refused = error
                    self._rebuild(error)
                return False
            assert last_offset == self._machine.next_offset - 1, "the machine and the log count differently"
            self._last_offset = last_offset
        if effects.notes:
            self._uncommitted_notes.append((self._last_offset, effects.notes))
        return True

    def _rebuild(self, error: BaseException) -> None:
        """The machine failed in the middle of a step, or is ahead of what could be proposed: make another from what is
        committed, when all that was proposed is."""
        log.error("the controller failed and is made anew from the log", exc_info=error)
        epoch, leads = self._epoch, self._leads
        self._deactivate()
        if leads and not self._stopped:
            self._leads = True
            self._start(self._activate_when_committed(epoch))

    async def _activate_when_committed(self, epoch: int) -> None:
        try:
            await self._quorum.wait_committed(self._quorum.log_end_offset - 1, epoch)
        except KafkaError:
            return
        self._activate(epoch, "made anew after a failure")

    def _start(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks[task] = None
        task.add_done_callback(lambda done: self._tasks.pop(done, None))

    # -- timers -------------------------------------------------------------------------------------------------

    def _arm_timer(self) -> None:
        if self._machine is None:
            return
        deadline_ms = self._machine.next_deadline_ms()
        # Deadlines mostly move back with every heartbeat: an early wake-up is cheaper than a new timer each time.
        if self._timer is not None:
            if self._timer_at_ms <= deadline_ms:
                return
            self._timer.cancel()
        delay_ms = max(0.0, deadline_ms - self._world.clock.monotonic_ms())
        self._timer_at_ms = deadline_ms
        self._timer = asyncio.get_running_loop().call_later(delay_ms / 1000, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._on_due()

    def _on_due(self) -> None:
        machine = self._machine
        if machine is None:
            return
        now_ms = self._world.clock.monotonic_ms()
        if now_ms >= machine.next_deadline_ms():
            try:
                machine.next_offset = self._quorum.log_end_offset
                effects = machine.on_timer(now_ms)
            except Exception as error:
                self._rebuild(error)
                return
            self._perform(effects)
        self._arm_timer()

    # -- connections of brokers ---------------------------------------------------------------------------------

    def _watch(self, broker_id: int, connection: ServerConnection) -> None:
        if self._connections.get(broker_id) is connection:
            return
        self._connections[broker_id] = connection
        if connection.closed:
            self._connection_closed(broker_id, connection)
        else:
            connection.on_close.append(lambda: self._connection_closed(broker_id, connection))

    def _connection_closed(self, broker_id: int, connection: ServerConnection) -> None:
        if self._machine is None or self._connections.get(broker_id) is not connection:
            return
        del self._connections[broker_id]
        broker = self._machine.image.brokers.get(broker_id)
        if broker is not None:
            self.on_broker_connection_lost(broker_id, broker.broker_epoch)

    def on_broker_connection_lost(self, broker_id: int, broker_epoch: int, *, is_refusing: bool = False) -> None:
        """A broker's connection dropped: fence it unless it is heard of within the grace; at once if it refuses."""
        machine = self._machine
        if machine is None or not machine.on_broker_connection_lost(
            broker_id, broker_epoch, self._world.clock.monotonic_ms(), is_refusing=is_refusing
        ):
            return
        self._arm_timer()
        if not is_refusing:
            self._start(self._knock(machine, broker_id, broker_epoch))

    async def _knock(self, machine: Controller, broker_id: int, broker_epoch: int) -> None:
        """Find out within the grace whether the process is still there."""
        knocks = int(self._config.kconsole_connection_loss_grace_ms / KNOCK_INTERVAL_MS)
        for _ in range(knocks):
            await asyncio.sleep(KNOCK_INTERVAL_MS / 1000)
            broker = machine.image.brokers.get(broker_id)
            if (
                self._machine is not machine
                or broker is None
                or broker.fenced
                or broker.broker_epoch != broker_epoch
                or broker_id in self._connections
            ):
                return
            await self._probe(broker_id, broker_epoch, broker.listeners)

    async def _probe_silent_brokers(self, machine: Controller) -> None:
        """Knock at every unfenced broker that was not heard of since the activation, until all were."""
        while self._machine is machine:
            silent = [
                broker
                for broker_id, broker in sorted(machine.image.brokers.items())
                if not broker.fenced and broker_id not in self._connections and broker_id != self._node_id
            ]
            if not silent:
                return
            probes = [self._probe(broker.broker_id, broker.broker_epoch, broker.listeners) for broker in silent]
            await asyncio.gather(*probes)
            await asyncio.sleep(_PROBE_INTERVAL_MS / 1000)

    async def _probe(self, broker_id: int, broker_epoch: int, listeners: dict[str, Any]) -> None:
        for endpoint in listeners.values():
            try:
                why = await knock(self._world, endpoint.host, endpoint.port)
            except TimeoutError:
                return
            if why and broker_id not in self._connections:
                log.info("broker %d cannot be reached: %s", broker_id, why)
                self.on_broker_connection_lost(broker_id, broker_epoch, is_refusing=True)
            return

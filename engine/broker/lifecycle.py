"""A broker's standing with the controller: registration, heartbeats, unfencing, controlled shutdown.

Kafka: BrokerLifecycleManager. One connection of its own to the active controller's listener carries all of it; the
controller takes the end of that connection for the end of the broker, so a broker that lives opens the next at once.
Between heartbeats (broker.heartbeat.interval.ms) nothing runs; what happens in the metadata makes the next one early:
the broker's own registration or fencing seen there, another broker's controlled shutdown (which waits for everyone to
know of the new leaders).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from enum import Enum
from typing import TYPE_CHECKING

from engine.broker.coordination import BoundListener
from engine.client.connection import Connection
from engine.client.errors import ClientError, ConnectionLost
from engine.core.controller.feature_control import SUPPORTED_FEATURES
from engine.model.errors import ErrorCode
from engine.wire.messages import broker_registration_request, controller_registration_request
from engine.wire.messages.broker_heartbeat_request import BrokerHeartbeatRequest
from engine.wire.messages.broker_heartbeat_response import BrokerHeartbeatResponse
from engine.wire.messages.broker_registration_request import BrokerRegistrationRequest
from engine.wire.messages.broker_registration_response import BrokerRegistrationResponse
from engine.wire.messages.controller_registration_request import ControllerRegistrationRequest

if TYPE_CHECKING:
    from engine.core.controller.image import MetadataDelta, MetadataImage
    from engine.model.broker_config import BrokerConfig
    from engine.model.ids import Uuid
    from engine.world import World

log = logging.getLogger(__name__)

_RETRY_MS = 20
_RETRY_MAX_MS = 500
# A controlled shutdown asks this often whether it is done; the others hurry by themselves.
_SHUTDOWN_POLL_MS = 25
_REGISTRATION_VERSION = 4
_HEARTBEAT_VERSION = 2


class LifecycleState(Enum):
    """Kafka's BrokerState."""

    NOT_RUNNING = "not running"
    STARTING = "starting"  # not registered, or not caught up with the registration
    RECOVERY = "recovery"  # caught up, still fenced
    RUNNING = "running"
    PENDING_CONTROLLED_SHUTDOWN = "pending controlled shutdown"
    SHUTTING_DOWN = "shutting down"


class BrokerLifecycle:
    """Keeps this broker registered and alive in the controller's eyes."""

    def __init__(
        self,
        world: World,
        config: BrokerConfig,
        *,
        cluster_id: str,
        listeners: Iterable[BoundListener],
        controller_listeners: Iterable[BoundListener] = (),
        log_dir_ids: Iterable[Uuid],
        controller_address: Callable[[], tuple[str, int] | None],
        metadata_offset: Callable[[], int],
        previous_broker_epoch: int = -1,
        on_state: Callable[[LifecycleState], None] | None = None,
        on_connection_lost: Callable[[], None] = lambda: None,
    ) -> None:
        """Nothing is sent before :meth:`start`.

        Args:
            listeners: of brokers and clients, with the ports that were really bound.
            controller_listeners: of this node's controller; empty on a node that is none.
            log_dir_ids: ``directory.id`` of each log directory that works.
            controller_address: the active controller's listener, None while there is none.
            metadata_offset: offset of the last metadata record that this broker has applied.
            previous_broker_epoch: the epoch that the clean-shutdown file holds, -1 without one.
            on_connection_lost: called when the connection to the active controller drops, or cannot be made.
        """
        self._world = world
        self._config = config
        self._cluster_id = cluster_id
        self._listeners = list(listeners)
        self._controller_listeners = list(controller_listeners)
        self._log_dirs = sorted(log_dir_ids)
        self._offline_dirs: list[Uuid] = []
        # None as long as none ever was: controllers that do not know of such a thing are not told.
        self._cordoned_dirs: list[Uuid] | None = None
        self._controller_address = controller_address
        self._metadata_offset = metadata_offset
        self._previous_broker_epoch = previous_broker_epoch
        self._on_state = on_state
        self._on_connection_lost = on_connection_lost
        self.incarnation_id: Uuid = world.random.uuid()
        self.broker_epoch = -1
        self.state = LifecycleState.NOT_RUNNING
        self.is_fenced = True
        self.registered = asyncio.Event()
        self.unfenced = asyncio.Event()
        self._ready = False
        self._want_shut_down = False
        self._may_shut_down = asyncio.Event()
        self._controller_registered = not self._controller_listeners
        self._failures = 0
        self._wake = asyncio.Event()
        self._address: tuple[str, int] | None = None
        self._task: asyncio.Task[None] | None = None
        self._exchange: asyncio.Task[float] | None = None
        self._connection: Connection | None = None
        self._stopping = False

    # -- life ---------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Register as soon as there is an active controller."""
        assert self._task is None, "started twice"
        self._become(LifecycleState.STARTING)
        self._task = asyncio.get_running_loop().create_task(self._run())

    def set_ready_to_unfence(self) -> None:
        """The logs are recovered and the listeners open: clients may come."""
        self._ready = True
        self._hurry()

    async def controlled_shutdown(self, timeout_ms: float) -> bool:
        """Have the leaders moved away and the broker fenced; returns whether the controller agreed in time."""
        if self._task is None or self.broker_epoch < 0:
            return False
        self._want_shut_down = True
        self._become(LifecycleState.PENDING_CONTROLLED_SHUTDOWN)
        self._hurry()
        try:
            async with asyncio.timeout(timeout_ms / 1000):
                await self._may_shut_down.wait()
        except TimeoutError:
            log.warning("no leave from the controller within %.0f ms: leaving without", timeout_ms)
        return self._may_shut_down.is_set()

    async def stop(self) -> None:
        """Close the connection and send nothing more."""
        self._become(LifecycleState.SHUTTING_DOWN)
        self._stopping = True
        self._drop_connection()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))
            self._task = None
        self._become(LifecycleState.NOT_RUNNING)

    def set_cordoned(self, directory_ids: list[Uuid]) -> None:
        """Have the controller know which directories take no new replicas (KIP-1066)."""
        if directory_ids or self._cordoned_dirs is not None:
            self._cordoned_dirs = directory_ids
            self._hurry()

    def report_offline_log_dir(self, directory_id: Uuid) -> None:
        """A log directory failed: the controller moves what is in it (KIP-858)."""
        if directory_id not in self._offline_dirs:
            self._offline_dirs.append(directory_id)
            self._hurry()

    # -- events -------------------------------------------------------------------------------------------------

    def on_controller_changed(self) -> None:
        """The quorum has another leader, or none: go there now, whatever is still waited for elsewhere."""
        address = self._controller_address()
        if address != self._address:
            self._address = address
            self._drop_connection()
            if self._exchange is not None:
                self._exchange.cancel()
        self._failures = 0
        self._hurry()

    def on_metadata(self, image: MetadataImage, delta: MetadataDelta) -> None:
        """Subscriber of the metadata cache: some changes must not wait for the next heartbeat."""
        for broker_id, broker in delta.changed_brokers.items():
            if broker_id == self._config.node_id:
                fenced = broker is None or broker.fenced
                if fenced is not self.is_fenced or (fenced and self._ready):
                    self._hurry()
            elif broker is not None and broker.in_controlled_shutdown and not broker.fenced:
                self._hurry()

    def _hurry(self) -> None:
        self._wake.set()

    # -- the loop -----------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            pause_ms: float | None = None
            if self._controller_address() is not None:
                self._exchange = asyncio.get_running_loop().create_task(self._communicate())
                try:
                    pause_ms = await self._exchange
                    self._failures = 0
                except ClientError as error:
                    self._on_connection_lost()
                    # A controller that went without a word never answers on this connection.
                    self._drop_connection()
                    pause_ms = self._back_off(str(error))
                except _Refused as refusal:
                    pause_ms = self._back_off(refusal.code.name)
                except asyncio.CancelledError:
                    # Called off because the controller moved, unless this task was cancelled as well.
                    current = asyncio.current_task()
                    if self._stopping or current is None or current.cancelling() or not self._exchange.cancelled():
                        raise
                    pause_ms = 0.0
                except Exception as error:
                    log.error("the exchange with the controller failed", exc_info=error)
                    pause_ms = self._back_off(repr(error))
                finally:
                    self._exchange = None
            try:
                async with asyncio.timeout(None if pause_ms is None else pause_ms / 1000):
                    await self._wake.wait()
            except TimeoutError:
                pass

    async def _connected(self) -> Connection:
        address = self._controller_address()
        connection = self._connection
        if connection is not None and not connection.closed and connection.address == address:
            return connection
        self._drop_connection()
        if address is None:
            raise ConnectionLost("there is no active controller")
        self._address = address
        connection = await Connection.open(
            self._world,
            *address,
            client_id=f"broker-{self._config.node_id}-lifecycle",
            timeout_ms=self._timeout_ms,
            negotiate=False,
        )
        self._connection = connection
        connection.on_lost(lambda: self._connection_lost(connection))
        return connection

    def _connection_lost(self, connection: Connection) -> None:
        if connection is self._connection:
            self._connection = None
            self._on_connection_lost()
            self._hurry()

    def _drop_connection(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _back_off(self, why: str) -> float:
        self._failures += 1
        if self._failures in (1, 10, 100):
            log.info(
                "the controller did not take our %s: %s", "heartbeat" if self._is_registered else "registration", why
            )
        pause_ms = min(_RETRY_MS * 2.0 ** min(self._failures - 1, 10), _RETRY_MAX_MS)
        return pause_ms * (0.8 + 0.4 * self._world.random.random())

    @property
    def _is_registered(self) -> bool:
        return self.broker_epoch >= 0

    async def _communicate(self) -> float:
        """One exchange with the controller; how long to wait before the next if nothing happens."""
        if not self._is_registered:
            await self._register()
            return 0.0
        if not self._controller_registered:
            await self._register_controller()
        await self._heartbeat()
        if self._want_shut_down:
            return float(_SHUTDOWN_POLL_MS)
        # Being fenced although ready means that the metadata has not caught up: on_metadata says when it has.
        return float(self._config.broker_heartbeat_interval_ms)

    @property
    def _timeout_ms(self) -> float:
        return self._config.broker_session_timeout_ms / 2

    async def _register(self) -> None:
        request = BrokerRegistrationRequest(
            broker_id=self._config.node_id,
            cluster_id=self._cluster_id,
            incarnation_id=self.incarnation_id,
            listeners=[
                broker_registration_request.Listener(
                    name=each.name, host=each.host, port=each.port, security_protocol=each.security_protocol
                )
                for each in self._listeners
            ],
            features=[
                broker_registration_request.Feature(
                    name=name, min_supported_version=each.min_version, max_supported_version=each.max_version
                )
                for name, each in SUPPORTED_FEATURES.items()
            ],
            rack=self._config.broker_rack,
            is_migrating_zk_broker=False,
            log_dirs=list(self._log_dirs),
            previous_broker_epoch=self._previous_broker_epoch,
        )
        response: BrokerRegistrationResponse = await (await self._connected()).send(
            request, version=_REGISTRATION_VERSION, timeout_ms=self._timeout_ms
        )
        if response.error_code:
            raise _Refused(response.error_code)
        self.broker_epoch = response.broker_epoch
        log.info("registered broker %d with epoch %d", self._config.node_id, self.broker_epoch)
        self.registered.set()

    async def _register_controller(self) -> None:
        request = ControllerRegistrationRequest(
            controller_id=self._config.node_id,
            incarnation_id=self.incarnation_id,
            zk_migration_ready=False,
            listeners=[
                controller_registration_request.Listener(
                    name=each.name, host=each.host, port=each.port, security_protocol=each.security_protocol
                )
                for each in self._controller_listeners
            ],
            features=[
                controller_registration_request.Feature(
                    name=name, min_supported_version=each.min_version, max_supported_version=each.max_version
                )
                for name, each in SUPPORTED_FEATURES.items()
            ],
        )
        response = await (await self._connected()).send(request, version=0, timeout_ms=self._timeout_ms)
        if response.error_code:
            raise _Refused(response.error_code)
        self._controller_registered = True

    async def _heartbeat(self) -> None:
        request = BrokerHeartbeatRequest(
            broker_id=self._config.node_id,
            broker_epoch=self.broker_epoch,
            current_metadata_offset=self._metadata_offset(),
            want_fence=not self._ready,
            want_shut_down=self._want_shut_down,
            offline_log_dirs=list(self._offline_dirs),
            cordoned_log_dirs=self._cordoned_dirs,
        )
        response: BrokerHeartbeatResponse = await (await self._connected()).send(
            request, version=_HEARTBEAT_VERSION, timeout_ms=self._timeout_ms
        )
        if response.error_code == ErrorCode.STALE_BROKER_EPOCH:
            # Unregistered, or another process took the id: ask again, the controller decides.
            self.broker_epoch = -1
        if response.error_code:
            raise _Refused(response.error_code)
        if response.should_shut_down and self._want_shut_down:
            self._may_shut_down.set()
        self.is_fenced = response.is_fenced
        if not response.is_fenced:
            self.unfenced.set()
        if self.state in (LifecycleState.STARTING, LifecycleState.RECOVERY, LifecycleState.RUNNING):
            if not response.is_fenced:
                self._become(LifecycleState.RUNNING)
            elif response.is_caught_up:
                self._become(LifecycleState.RECOVERY)

    def _become(self, state: LifecycleState) -> None:
        if state is not self.state:
            self.state = state
            if self._on_state is not None:
                self._on_state(state)


class _Refused(Exception):
    """The controller answered with an error."""

    def __init__(self, error_code: int) -> None:
        super().__init__(error_code)
        self.code = ErrorCode(error_code)

"""One node: its log directories, the quorum and controller, the replicas and coordinators, and the sockets before them.

Kafka: KafkaRaftServer, BrokerServer, ControllerServer in one. Start-up: lock and read the log directories; open the
controller's listener and take part in the quorum; open the logs; bind the clients' listeners; register; catch up with
the metadata; lead and follow, answer clients; be unfenced; say "ready". A controlled shutdown goes the same way back,
leaders first.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from engine.broker.api_modules import api_modules
from engine.broker.client_throttle import ClientThrottle
from engine.broker.controller_host import ControllerHost
from engine.broker.coordination import BoundListener, BrokerSession, Coordinator
from engine.broker.coordinators import make_coordinator
from engine.broker.enveloping import seal, unseal
from engine.broker.fetch_sessions import FetchSessions
from engine.broker.group_coordinator_service import OFFSETS_TOPIC, GroupCoordinatorService
from engine.broker.group_logs import TopicLogs
from engine.broker.lifecycle import BrokerLifecycle, LifecycleState
from engine.broker.log_cleaner import LogCleaner
from engine.broker.metadata_cache import MetadataCache
from engine.broker.metadata_log import write_bootstrap
from engine.broker.producer_ids import ProducerIds
from engine.broker.publisher import Publisher
from engine.broker.quorum.batches import MetadataNotUnderstood
from engine.broker.quorum.quorum_state_file import QuorumStateError
from engine.broker.quorum.snapshot_files import SnapshotCorrupt
from engine.broker.quorum.voters import ANYWHERE
from engine.broker.quorum_host import QuorumHost
from engine.broker.refusals import Refusals
from engine.broker.replica_fetchers import ReplicaFetchers
from engine.broker.replica_manager import ReplicaManager
from engine.broker.router import Router
from engine.broker.server import Server
from engine.broker.share_services import ShareServices
from engine.broker.streams_topics import StreamsTopics
from engine.broker.telemetry import ClientTelemetry
from engine.broker.told_facts import counters_of, leader_changes
from engine.broker.transaction_coordinator_service import TransactionCoordinatorService
from engine.broker.transaction_services import make_transaction_services
from engine.broker.transaction_verification import TransactionVerification
from engine.broker.upkeep import Upkeep
from engine.client.channel import Channel
from engine.client.errors import ConnectionLost
from engine.core.controller.feature_control import (
    KRAFT_VERSION,
    SUPPORTED_FEATURES,
    FeatureNotSupported,
    bootstrap_records,
    check_features,
    feature_levels,
)
from engine.core.controller.image import BROKER_RESOURCE, MetadataDelta, MetadataImage
from engine.model.configs import ConfigError
from engine.model.errors import ErrorCode, KafkaError
from engine.model.notes import Note, NoteKind
from engine.model.topic_config import LogConfig
from engine.record.compression import Compression
from engine.storage.failure import LogDirFailure
from engine.storage.log_dirs import LogDirs

if TYPE_CHECKING:
    from engine.broker.context import RequestContext
    from engine.broker.zookeeper_entry import ZooKeeperEntry
    from engine.model.broker_config import BrokerConfig
    from engine.wire.message import Message
    from engine.world import World

log = logging.getLogger(__name__)

# A controlled shutdown gives up after this long: the controller may be going down as well.
_CONTROLLED_SHUTDOWN_MS = 10_000
_FORWARD_TIMEOUT_MS = 30_000
_NO_LIMIT = 0x7FFFFFFF


class LogDirsRefused(Exception):
    """The log directories are not this node's, or not to be understood; the message says why, and what to do."""


class Broker:
    """A node in the roles that its process.roles names."""

    def __init__(
        self,
        world: World,
        config: BrokerConfig,
        *,
        sink: Callable[[bytes], bool] | None = None,
        cluster_id: str | None = None,
        connection_limit: int = _NO_LIMIT,
    ) -> None:
        """Nothing is opened before :meth:`start`.

        Args:
            sink: takes the facts for a supervisor, one line each.
            cluster_id: the id of the cluster, for log directories that were never formatted.
            connection_limit: how many connections each kind of listener may have, whatever max.connections says:
                descriptors must be left for the logs.
        """
        self.world = world
        self.config = config
        self.connection_limit = connection_limit
        self._given_cluster_id = cluster_id
        self.failed = asyncio.Event()
        self.publisher = Publisher(world, config.node_id, sink)
        self.metadata = MetadataCache(world.clock, config.kconsole_fenced_broker_linger_ms)
        self.router = Router(self, api_modules(config))
        self.telemetry = ClientTelemetry(self)
        self.refusals = Refusals(world.clock, self.publisher.notes)
        self.fetch_sessions = FetchSessions(world, config.max_incremental_fetch_session_cache_slots)
        self.client_throttle = ClientThrottle(world.clock, config, self.metadata)
        self.offline_log_dirs: set[str] = set()
        self.controller: ControllerHost | None = None
        self._server = Server(
            world, self.router, max_frame_bytes=config.socket_request_max_bytes, idle_ms=config.connections_max_idle_ms
        )
        self._controller_channel = Channel(
            world, self._controller_address, f"broker-{config.node_id}-to-controller", backoff_ms=20, backoff_max_ms=200
        )
        self._starting: asyncio.Task[Any] | None = None
        self._stopped = False
        self._started = False
        self._controllers: list[BoundListener] = []
        # What stop() has to undo, last first.
        self._undo = contextlib.AsyncExitStack()
        # Made by start(), in this order.
        self.log_dirs: LogDirs
        self.coordinator: Coordinator
        self.zookeeper: ZooKeeperEntry | None = None
        self.replicas: ReplicaManager
        self.groups: GroupCoordinatorService
        self.streams_topics: StreamsTopics
        self.producer_ids: ProducerIds
        self.transactions: TransactionCoordinatorService
        self.verification: TransactionVerification
        self.sharing: ShareServices
        self.lifecycle: BrokerLifecycle | None = None

    # -- answers for handlers -----------------------------------------------------------------------------------

    @property
    def cluster_id(self) -> str:
        """The cluster's id, from meta.properties."""
        cluster_id: str = self.log_dirs.cluster_id
        return cluster_id

    def features(self) -> tuple[list[tuple[str, int, int]], list[tuple[str, int]], int]:
        """Supported features (name, lowest, highest level), finalized ones (name, level), and the epoch of these."""
        image = self.metadata.image
        supported = [(name, each.min_version, each.max_version) for name, each in sorted(SUPPORTED_FEATURES.items())]
        levels = dict(image.features)
        if self.coordinator.kraft_version:
            levels[KRAFT_VERSION] = self.coordinator.kraft_version
        return supported, sorted(levels.items()), image.offset if image.features else -1

    async def forward_to_controller(self, request: Message, version: int) -> Any:
        """The active controller's answer.

        Raises:
            ClientError: it was not reached.
            KafkaError, TimeoutError: as the controller's own.
        """
        controller = self.controller
        if controller is not None and controller.is_active:
            return await controller.handle(request.API_KEY, request, version)
        return await self._controller_channel.send(request, version=version, timeout_ms=_FORWARD_TIMEOUT_MS)

    async def forward_for(self, context: RequestContext, request: Message) -> Any:
        """Another node's answer, the active controller's, to a client's request in an envelope. Raises as above."""
        envelope = await self._controller_channel.send(seal(context, request), timeout_ms=_FORWARD_TIMEOUT_MS)
        return unseal(context, envelope)

    @property
    def quorum(self) -> QuorumHost:
        """The metadata quorum. Raises: KafkaError: UNSUPPORTED_VERSION where ZooKeeper coordinates instead."""
        if not isinstance(self.coordinator, QuorumHost):
            raise KafkaError(ErrorCode.UNSUPPORTED_VERSION, "this cluster is coordinated by ZooKeeper, not by a quorum")
        return self.coordinator

    def _controller_address(self) -> tuple[str, int] | None:
        return self.coordinator.controller_address()

    def controller_endpoint(self) -> tuple[str, int]:
        """Where others reach this node as a controller: as advertised.listeners says, else at its listener."""
        bound, config = self._controllers[0], self.config
        said = next((each for each in config.advertised_controller_listeners if each.name == bound.name), bound)
        host = config.advertised_listeners[0].host if said.host in ANYWHERE else said.host
        return host or bound.host, said.port or bound.port

    def _broker_epoch(self) -> int:
        return -1 if self.lifecycle is None else self.lifecycle.broker_epoch

    def _inter_broker_address(self, broker_id: int) -> tuple[str, int] | None:
        known = self.metadata.image.brokers.get(broker_id)
        endpoint = None if known is None else known.listeners.get(self.config.inter_broker_listener_name)
        return None if endpoint is None else (endpoint.host, endpoint.port)

    # -- start --------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Start and return when clients are served. Whatever ends it early, nothing is left running.

        Raises:
            OSError: an address is taken, or a log directory cannot be used.
            LogDirsRefused: a log directory belongs to another node or cluster, or its metadata cannot be understood.
        """
        self._starting = asyncio.current_task()
        try:
            await self._start()
        except (Exception, asyncio.CancelledError):
            self._starting = None
            await self.stop(controlled=False)
            raise
        self._starting = None

    async def _start(self) -> None:
        config, world = self.config, self.world
        for warning in config.warnings:
            log.warning("%s", warning)
        cluster_id = self._given_cluster_id
        if config.coordination == "zookeeper":
            # Needs the extra, and half a second of imports: only where it is used.
            from engine.broker.zookeeper_entry import ZooKeeperEntry

            self.zookeeper = await ZooKeeperEntry.open(self, cluster_id)
            self._undo.push_async_callback(self.zookeeper.session.close)
            cluster_id = self.zookeeper.cluster_id
        try:
            self.log_dirs = LogDirs.open(
                world,
                config.log_dirs,
                node_id=config.node_id,
                cluster_id=cluster_id,
                # A voter that is alone has nobody to be at odds with.
                may_found_cluster=list(config.quorum_voters) == [config.node_id],
                under_zookeeper=self.zookeeper is not None,
                producer_id_expiration_ms=config.producer_id_expiration_ms,
            )
        except ValueError as error:
            raise LogDirsRefused(str(error)) from error
        self._undo.callback(self._close_log_dirs)
        self._undo.callback(self._server.close_connections)
        self._undo.callback(self._controller_channel.close)
        directory_ids = self.log_dirs.directory_ids
        metadata_dir = config.metadata_log_dir
        directory_id = directory_ids.get(metadata_dir) or next(iter(directory_ids.values()))
        self.coordinator = make_coordinator(self, metadata_dir, directory_id, self.zookeeper)
        self._undo.push_async_callback(self.coordinator.stop)
        if config.is_controller:
            self.controller = ControllerHost(
                world,
                config,
                self.coordinator,
                node_id=config.node_id,
                cluster_id=self.cluster_id,
                image=lambda: self.metadata.image,
                on_notes=self.publisher.notes,
            )
            self._undo.callback(self.controller.stop)
        if self.zookeeper is not None:
            # Who is elected says at once where it answers.
            self._controllers = await self._listen_as_controller()
        else:
            write_bootstrap(world.disk, metadata_dir, bootstrap_records(), world.clock.now_ms())
        try:
            await self.coordinator.start()
            check_features(feature_levels(self.coordinator.bootstrap_records))
        except LogDirFailure as error:
            # The disk may work the next time: nothing is wrong with what it holds.
            raise OSError(errno.EIO, error.message, metadata_dir) from error
        except (FeatureNotSupported, MetadataNotUnderstood, QuorumStateError, SnapshotCorrupt, KafkaError) as error:
            raise LogDirsRefused(f"{metadata_dir}: {error}") from error
        if self.zookeeper is None:
            self._controllers = await self._listen_as_controller()
        if config.is_broker:
            await self._start_broker(self._controllers)
        self._started = True
        self.publisher.publish("ready")
        self.publisher.start_counters(lambda: counters_of(self))

    async def _listen_as_controller(self) -> list[BoundListener]:
        return [await self._listen(each.name, each.host, each.port) for each in self.config.controller_listeners]

    async def _listen(self, name: str, host: str, port: int) -> BoundListener:
        is_controller = name in self.config.controller_listener_names
        bound = await self._server.listen(name, host, port, is_controller=is_controller)
        return BoundListener(name, host or bound[0], bound[1])

    async def _start_broker(self, controllers: list[BoundListener]) -> None:
        config, world = self.config, self.world
        defaults = LogConfig.from_(config, {})
        now_ms = world.clock.now_ms()
        # Recovery may read much: in a worker thread, while this node votes already.
        await world.disk.run_blocking(lambda: self.log_dirs.load(lambda topic: defaults, now_ms))
        for path, reason in self.log_dirs.offline_directories.items():
            self._on_log_dir_failed(path, OSError(reason))
        self.replicas = ReplicaManager(
            world,
            config,
            self.log_dirs,
            send_to_controller=self.forward_to_controller,
            broker_epoch=self._broker_epoch,
            publish=self.publisher.notes,
            on_log_dir_failed=self._on_log_dir_failed,
        )
        self.replicas.fetchers = ReplicaFetchers(world, self.replicas, self._inter_broker_address)
        self._undo.push_async_callback(self.replicas.stop)
        codec = Compression(config.offsets_topic_compression_codec)
        logs = TopicLogs(world, self.replicas, OFFSETS_TOPIC, codec)
        offsets = None if self.zookeeper is None else self.zookeeper.offset_storage(config, logs)
        self.groups = GroupCoordinatorService(world, config, config.node_id, logs, self.publisher.notes, offsets)
        self._undo.push_async_callback(self.groups.shutdown)
        self.streams_topics = StreamsTopics(world, self.forward_to_controller, config.request_timeout_ms)
        self._undo.push_async_callback(self.streams_topics.shutdown)
        self.producer_ids = ProducerIds(config.node_id, self._broker_epoch, self._allocate_producer_ids)
        self._undo.push_async_callback(self.producer_ids.shutdown)
        make_transaction_services(self, self._undo, self._inter_broker_address)
        self.sharing = ShareServices(self, self._inter_broker_address)
        self._undo.push_async_callback(self.sharing.shutdown)
        bound = {
            each.name: each
            for each in [await self._listen(each.name, each.host, each.port) for each in config.broker_listeners]
        }
        advertised = [
            BoundListener(each.name, each.host or bound[each.name].host, each.port or bound[each.name].port)
            for each in config.advertised_listeners
        ]
        self.lifecycle = lifecycle = BrokerLifecycle(
            world,
            config,
            cluster_id=self.cluster_id,
            listeners=advertised,
            controller_listeners=controllers,
            log_dir_ids=[
                each for path, each in self.log_dirs.directory_ids.items() if path not in self.offline_log_dirs
            ],
            controller_address=self._controller_address,
            metadata_offset=lambda: self.metadata.image.offset,
            previous_broker_epoch=self.log_dirs.previous_broker_epoch,
            on_state=self._on_lifecycle_state,
            on_connection_lost=self.coordinator.suspect_controller,
        )
        await self.coordinator.register_broker(
            BrokerSession(config.node_id, lifecycle.incarnation_id, tuple(advertised), config.broker_rack)
        )
        self.metadata.subscribe(lifecycle.on_metadata)
        self._undo.push_async_callback(lifecycle.stop)
        lifecycle.start()
        await lifecycle.registered.wait()
        while self._own_epoch_in_metadata() != lifecycle.broker_epoch:
            await self.metadata.wait_for_change(1000)
        self._act_on_metadata()
        self._server.answer_clients()
        lifecycle.set_ready_to_unfence()
        await lifecycle.unfenced.wait()
        while not self._is_unfenced_in_metadata():
            await self.metadata.wait_for_change(1000)
        log.info("broker %d serves clients", config.node_id)

    def _act_on_metadata(self) -> None:
        """Lead, follow and coordinate from now on.

        Not before this broker's own registration was seen: until then the metadata is of the past, in which partitions
        went away that came back later, and topics had the names of others.
        """
        image = self.metadata.image
        self.replicas.set_strays_aside(image)
        self.replicas.moves.resume_interrupted()
        known = MetadataDelta.between(MetadataImage(), image)
        for subscriber in (
            self._use_dynamic_configs,
            self.replicas.on_metadata,
            self.groups.on_metadata,
            self.transactions.on_metadata,
            self.sharing.on_metadata,
            self._on_metadata,
        ):
            self.metadata.subscribe(subscriber)
            subscriber(image, known)
        upkeep = Upkeep(self.world, self.replicas, self.log_dirs)
        self._undo.push_async_callback(upkeep.stop)
        upkeep.start()
        cleaner = LogCleaner(self.world, self.replicas, self.log_dirs)
        self._undo.push_async_callback(cleaner.stop)
        cleaner.start()

    def _own_epoch_in_metadata(self) -> int:
        own = self.metadata.image.brokers.get(self.config.node_id)
        return -1 if own is None else own.broker_epoch

    def _is_unfenced_in_metadata(self) -> bool:
        own = self.metadata.image.brokers.get(self.config.node_id)
        return own is not None and not own.fenced

    async def _allocate_producer_ids(self, request: Any) -> Any:
        deadline_ms = self.world.clock.monotonic_ms() + _FORWARD_TIMEOUT_MS
        while True:
            response = None
            with contextlib.suppress(ConnectionLost):
                response = await self.forward_to_controller(request, 0)
            if response is not None and response.error_code != ErrorCode.NOT_CONTROLLER:
                return response
            if self.world.clock.monotonic_ms() >= deadline_ms:
                raise KafkaError(ErrorCode.REQUEST_TIMED_OUT, "there was no active controller")
            await asyncio.sleep(0.02)

    # -- events -------------------------------------------------------------------------------------------------

    def on_leader_changed(self) -> None:
        """The quorum has another leader, or none."""
        # A controller that hangs answers nothing: what waits for it asks the next one.
        self._controller_channel.on_moved()
        if self.lifecycle is not None:
            self.lifecycle.on_controller_changed()

    def _use_dynamic_configs(self, image: MetadataImage, delta: MetadataDelta) -> None:
        """First of the subscribers: what this broker is told to be while it runs (KIP-226)."""
        node_id = str(self.config.node_id)
        if (BROKER_RESOURCE, "") not in delta.changed_configs and (
            BROKER_RESOURCE,
            node_id,
        ) not in delta.changed_configs:
            return
        try:
            self.config = self.config.with_dynamic(
                image.config(BROKER_RESOURCE, ""), image.config(BROKER_RESOURCE, node_id)
            )
        except ConfigError as error:
            log.error("dynamic configs of this broker are passed over: %s", error)
            return
        self.log_dirs.cordoned = self.config.cordoned_paths
        self.log_dirs.use_producer_id_expiration(self.config.producer_id_expiration_ms)
        if self.lifecycle is not None:
            ids = self.log_dirs.directory_ids
            self.lifecycle.set_cordoned([ids[path] for path in ids if path in self.config.cordoned_paths])

    def _on_metadata(self, image: MetadataImage, delta: MetadataDelta) -> None:
        """Last of the subscribers: tell the supervisor what this broker now knows of leaders."""
        if changes := leader_changes(image, delta):
            self.publisher.publish("metadata_applied", offset=image.offset, changes=changes)

    def _on_lifecycle_state(self, state: LifecycleState) -> None:
        log.info("broker %d is %s", self.config.node_id, state.value)
        if state is LifecycleState.PENDING_CONTROLLED_SHUTDOWN:
            note = Note(
                NoteKind.BROKER_SHUTDOWN_STARTED,
                f"broker {self.config.node_id}",
                "asked to stop: leaders move to other brokers first",
                {"broker_id": self.config.node_id},
            )
            self.publisher.notes([note])

    def on_fatal(self, error: BaseException) -> None:
        """This node cannot go on: whoever runs it ends it."""
        log.critical("this node cannot go on: %s", error)
        self.failed.set()

    def _on_log_dir_failed(self, directory: str, error: BaseException) -> None:
        if directory in self.offline_log_dirs:
            return
        self.offline_log_dirs.add(directory)
        if directory == self.config.metadata_log_dir or len(self.offline_log_dirs) == len(self.log_dirs.directory_ids):
            self.on_fatal(error)
            return
        directory_id = self.log_dirs.directory_ids.get(directory)
        if directory_id is not None and self.lifecycle is not None:
            self.lifecycle.report_offline_log_dir(directory_id)

    # -- the end ------------------------------------------------------------------------------------------------

    async def stop(self, *, controlled: bool) -> None:
        """Stop; ``controlled`` moves the leaders away first (controlled.shutdown.enable)."""
        if self._stopped:
            return
        self._stopped = True
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.wait((self._starting,))
        lifecycle = self.lifecycle
        is_sound = not self.failed.is_set()
        if controlled and is_sound and lifecycle is not None and self.config.controlled_shutdown_enable:
            await lifecycle.controlled_shutdown(_CONTROLLED_SHUTDOWN_MS)
        self.publisher.stop()
        await self._server.stop_accepting()
        try:
            await self._undo.aclose()
        except Exception:
            # The rest was undone nevertheless.
            log.exception("this node did not leave in order")
            self.failed.set()

    def _close_log_dirs(self) -> None:
        # Only a node that knew all of its logs may say that they are whole.
        clean = self._started and not self.failed.is_set() and not self.offline_log_dirs
        try:
            self.log_dirs.close(clean=clean, broker_epoch=self._broker_epoch())
        except (OSError, KafkaError) as error:
            log.error("log directories could not be closed in order, they are recovered next time: %s", error)
            self.failed.set()

"""The replicas of this broker: made, led, followed and dropped as the metadata says (Kafka: ReplicaManager).

The manager keeps each replica's machine (:class:`~engine.core.replica.partition.Partition`) and its log in step: it
appends to the log first, then tells the machine, writes the high watermark that results to the log, and performs the
machine's effects. All of it runs on the event loop; only fsyncs, checkpoints and retention run in worker threads.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from engine.broker.corrupt_replicas import CorruptReplicas
from engine.broker.departing_replicas import DepartingReplicas
from engine.broker.directory_assignments import DirectoryAssignments
from engine.broker.isr_proposals import IsrProposals
from engine.broker.log_dir_moves import LogDirMoves
from engine.broker.log_flusher import LogFlusher
from engine.broker.replica import CommitWaiter, Replica
from engine.broker.replication_throttle import ReplicationThrottle
from engine.broker.suspects import SuspectedLeaders
from engine.core.controller.image import BROKER_RESOURCE, TOPIC_RESOURCE
from engine.core.replica.cluster_view import ClusterView
from engine.core.replica.outputs import AlterPartition, PartitionEffects
from engine.core.replica.partition import Partition
from engine.model.configs import ConfigError
from engine.model.errors import ErrorCode, KafkaError
from engine.model.ids import ZERO_UUID, Uuid
from engine.model.notes import Note
from engine.model.topic_config import LogConfig
from engine.model.topic_partition import TopicPartition
from engine.storage.failure import LogCorrupt, LogDirFailure
from engine.storage.log_appends import AppendInfo

if TYPE_CHECKING:
    from engine.broker.replica_fetchers import ReplicaFetchers
    from engine.core.controller.image import MetadataDelta, MetadataImage
    from engine.core.controller.topic_image import PartitionImage, TopicImage
    from engine.model.broker_config import BrokerConfig
    from engine.storage.log import Log
    from engine.storage.log_dirs import LogDirs
    from engine.storage.producer_state import VerificationStateEntry
    from engine.wire.message import Message
    from engine.wire.messages.alter_partition_response import PartitionData as PartitionAnswer
    from engine.world import Buffer, World

log = logging.getLogger(__name__)


HighWatermarkListener = Callable[[int, int], None]
SendToController = Callable[["Message", int], Awaitable[Any]]


class ReplicaManager(DepartingReplicas):
    """Subscribe :meth:`on_metadata` to the metadata before anything that asks for replicas."""

    def __init__(
        self,
        world: World,
        config: BrokerConfig,
        log_dirs: LogDirs,
        *,
        send_to_controller: SendToController,
        broker_epoch: Callable[[], int],
        publish: Callable[[Iterable[Note]], None],
        on_log_dir_failed: Callable[[str, BaseException], None],
    ) -> None:
        """``send_to_controller(request, version)`` answers as the active controller; ``on_log_dir_failed`` hears of a
        directory once."""
        self._world = world
        self._clock = world.clock
        self.config = config
        self.log_dirs = log_dirs
        self._broker_epoch = broker_epoch
        self._publish = publish
        self._on_log_dir_failed = on_log_dir_failed
        self.view = ClusterView(config.node_id)
        self._replicas: dict[tuple[str, int], Replica] = {}
        self._by_id: dict[tuple[Uuid, int], Replica] = {}
        self._image: MetadataImage | None = None
        self._high_watermark_listeners: dict[str, list[HighWatermarkListener]] = {}
        self.proposals = IsrProposals(config.node_id, broker_epoch, send_to_controller, self._on_isr_answer)
        self._directories = DirectoryAssignments(config.node_id, broker_epoch, send_to_controller)
        self.corrupt = CorruptReplicas(config.node_id, log_dirs, self._directories, publish)
        self.flusher = LogFlusher(world, on_flushed=self._on_flushed, on_failed=self.on_disk_failed)
        self.fetchers: ReplicaFetchers | None = None
        self.moves = LogDirMoves(world, self)
        self.leader_throttle = ReplicationThrottle(
            world.clock, config, lambda: self.config.leader_replication_throttled_rate
        )
        self.follower_throttle = ReplicationThrottle(
            world.clock, config, lambda: self.config.follower_replication_throttled_rate
        )
        self._failed_log_dirs: set[str] = set()
        self.suspects = SuspectedLeaders(world.clock)
        # Totals for the console: what clients wrote and read, in bytes of record batches.
        self.bytes_in = 0
        self.bytes_out = 0
        self.replication_bytes_in = 0
        self.replication_bytes_out = 0
        self.batches_in = 0

    # -- answers ------------------------------------------------------------------------------------------------

    @property
    def replicas(self) -> Mapping[tuple[str, int], Replica]:
        """All of them by topic and partition."""
        return self._replicas

    def get(self, topic: str, partition: int) -> Replica | None:
        """The replica on this broker, if there is one."""
        return self._replicas.get((topic, partition))

    def find(self, topic: str, topic_id: Uuid | None, partition: int) -> Replica:
        """The replica that a request means, by id if it has one.

        Raises:
            KafkaError: UNKNOWN_TOPIC_ID, UNKNOWN_TOPIC_OR_PARTITION; NOT_LEADER_OR_FOLLOWER if other brokers have it;
                KAFKA_STORAGE_ERROR if its log directory failed.
        """
        found = self._replicas.get((topic, partition)) if topic_id is None else self._by_id.get((topic_id, partition))
        if found is None:
            raise KafkaError(self._why_absent(topic, topic_id, partition))
        if found.is_offline:
            raise KafkaError(ErrorCode.KAFKA_STORAGE_ERROR, f"{found.topic_partition} is offline, or its log directory")
        return found

    def _why_absent(self, topic: str, topic_id: Uuid | None, partition: int) -> ErrorCode:
        image = self._image
        known = None
        if image is not None:
            known = image.topics_by_name.get(topic) if topic_id is None else image.topics_by_id.get(topic_id)
        if known is None:
            return ErrorCode.UNKNOWN_TOPIC_OR_PARTITION if topic_id is None else ErrorCode.UNKNOWN_TOPIC_ID
        state = known.partitions.get(partition)
        if state is None:
            return ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
        if (
            self.config.node_id in state.replicas
            and TopicPartition(known.name, partition) in self.log_dirs.offline_logs
        ):
            return ErrorCode.KAFKA_STORAGE_ERROR
        return ErrorCode.NOT_LEADER_OR_FOLLOWER

    def counts(self) -> dict[str, int]:
        """How many replicas there are, and how many of them are led here, under-replicated, or below min ISR."""
        partitions = [each.partition for each in self._replicas.values()]
        return {
            "replicas": len(partitions),
            "leaders": sum(each.is_leader for each in partitions),
            "under_replicated": sum(each.is_under_replicated for each in partitions),
            "under_min_isr": sum(each.is_under_min_isr for each in partitions),
        }

    def on_high_watermark_advanced(self, topic: str, listener: HighWatermarkListener) -> None:
        """Have ``listener(partition, high_watermark)`` called when a high watermark of the topic advances."""
        self._high_watermark_listeners.setdefault(topic, []).append(listener)

    # -- the leader's appends -----------------------------------------------------------------------------------

    def append(
        self,
        replica: Replica,
        records: Buffer,
        required_acks: int,
        *,
        origin: str = "client",
        transaction_version: int = 0,
        verification: VerificationStateEntry | None = None,
    ) -> AppendInfo:
        """Append as the leader; who wants acks=all then calls ``replica.partition.wait_until_committed``, who wants
        acks=1 :meth:`wait_until_synced`. The last three arguments are those of ``Log.append_as_leader``.

        Raises:
            KafkaError: what ``Partition.check_append`` and ``Log.append_as_leader`` raise.
        """
        partition = replica.partition
        partition.check_append(required_acks)
        now_ms = self._clock.monotonic_ms()
        try:
            info = replica.log.append_as_leader(
                records,
                partition.leader_epoch,
                now_ms=self._clock.now_ms(),
                origin=origin,
                transaction_version=transaction_version,
                verification=verification,
                verifies=self.config.transaction_partition_verification_enable,
            )
        except LogDirFailure as failure:
            self._log_dir_failed(replica.log_dir, failure)
            raise
        if not info.is_duplicate:
            end_offset = replica.log.log_end_offset
            durable_end_offset = end_offset
            if replica.durable:
                durable_end_offset = partition.durable_end_offset
                self.flusher.ask(replica)
            elif end_offset - replica.log.durable_end_offset >= replica.flush_messages:
                self.flusher.ask(replica)
            self._after(replica, partition.on_append(end_offset, durable_end_offset, now_ms))
            replica.on_log_grew()
        return info

    def wait_until_synced(self, replica: Replica, required_offset: int, waiter: CommitWaiter) -> bool:
        """Whether ``waiter`` has to wait until the log is synced up to there: Kafka syncs within the append, so that
        acks=1 is answered afterwards too."""
        if not replica.durable or replica.log.durable_end_offset >= required_offset:
            return False
        replica.sync_waiters.append((required_offset, waiter))
        return True

    def _on_flushed(self, replica: Replica) -> None:
        now_ms = replica.last_flush_ms = self._clock.monotonic_ms()
        durable = min(replica.log.durable_end_offset, replica.partition.log_end_offset)
        self._after(replica, replica.partition.on_flushed(durable, now_ms))
        if replica.sync_waiters:
            self._answer_synced(replica, durable, ErrorCode.NONE)
        if replica.durable and replica.log.durable_end_offset < replica.log.log_end_offset:
            # A truncation came between, or appends that asked already.
            self.flusher.ask(replica)

    def flush_old(self) -> None:
        """Sync what was not for longer than flush.ms (log.flush.scheduler.interval.ms)."""
        now_ms = self._clock.monotonic_ms()
        for replica in self._replicas.values():
            files = replica.log
            if (
                files.durable_end_offset < files.log_end_offset
                and now_ms - replica.last_flush_ms >= files.config.flush_ms
            ):
                self.flusher.ask(replica)

    # -- the machines' outputs ----------------------------------------------------------------------------------

    def _after(self, replica: Replica, effects: PartitionEffects) -> None:
        """Bring the log's high watermark up to the machine's and perform what the machine asks for."""
        self._follow_high_watermark(replica)
        if effects:
            self._perform(replica, effects)

    def _follow_high_watermark(self, replica: Replica) -> None:
        high_watermark = replica.partition.high_watermark
        if high_watermark != replica.log.high_watermark:
            self._moved(replica, high_watermark)

    def _moved(self, replica: Replica, high_watermark: int) -> None:
        replica.log.set_high_watermark(high_watermark)
        replica.on_high_watermark_moved()
        listeners = self._high_watermark_listeners.get(replica.topic_partition.topic)
        if listeners is not None:
            for listener in listeners:
                listener(replica.topic_partition.partition, high_watermark)

    def _perform(self, replica: Replica, effects: PartitionEffects) -> None:
        for start in effects.append:
            replica.log.leader_epochs.assign(start.leader_epoch, start.start_offset)
            self._epoch_began(replica)
        for proposal in effects.send:
            self.proposals.submit(replica, proposal)
        if effects.reply:
            self._reply(effects)
        if effects.notes:
            self._publish(effects.notes)

    def _epoch_began(self, replica: Replica) -> None:
        # Every append is flushed, and the epoch saved with its first one: nobody waits for thousands of other epochs.
        if not replica.durable:
            self.flusher.ask_to_save_epochs(replica)

    def _on_isr_answer(
        self, replica: Replica, proposal: AlterPartition, error: ErrorCode, answer: PartitionAnswer | None
    ) -> None:
        leader_epoch, partition_epoch = -1, -1
        isr: tuple[int, ...] = ()
        if answer is not None:
            leader_epoch, partition_epoch, isr = answer.leader_epoch, answer.partition_epoch, tuple(answer.isr)
        effects = replica.partition.on_alter_partition_response(
            proposal, error, leader_epoch, partition_epoch, isr, self._clock.monotonic_ms()
        )
        self._after(replica, effects)

    # -- followers of replicas that are led here ----------------------------------------------------------------

    def on_follower_fetch(
        self, replica: Replica, replica_id: int, broker_epoch: int, fetch_offset: int, log_start_offset: int
    ) -> None:
        """A follower has everything before ``fetch_offset``. Raises: KafkaError: ``Partition.on_follower_fetch``."""
        partition = replica.partition
        effects = partition.on_follower_fetch(
            replica_id,
            broker_epoch,
            fetch_offset,
            log_start_offset,
            partition.log_end_offset,
            self._clock.monotonic_ms(),
        )
        self._after(replica, effects)
        if replica.start_watches:
            replica.on_starts_moved()

    # -- replicas that follow -----------------------------------------------------------------------------------

    def append_as_follower(self, replica: Replica, records: Buffer, leader_high_watermark: int) -> None:
        """Take the leader's batches. Raises: KafkaError: they do not fit the log, or the disk failed."""
        try:
            if records:
                replica.log.append_as_follower(records)
        except LogDirFailure as failure:
            self._log_dir_failed(replica.log_dir, failure)
            raise
        if replica.log.leader_epochs.is_unsaved:
            self._epoch_began(replica)
        end_offset = replica.log.log_end_offset
        replica.partition.on_follower_append(
            end_offset,
            replica.partition.durable_end_offset if replica.durable else end_offset,
            leader_high_watermark,
        )
        self._follow_high_watermark(replica)

    def truncate(self, replica: Replica, offset: int, reason: str) -> None:
        """Cut a follower's log at ``offset``, which is where it parts from the leader's. Raises: LogDirFailure."""
        with self._watching(replica):
            replica.log.truncate_to(offset)
        self.moves.on_truncated(replica)
        self._after(replica, replica.partition.on_truncated(replica.log.log_end_offset, reason))

    def start_log_at(self, replica: Replica, offset: int, reason: str) -> None:
        """Throw a follower's log away and begin at ``offset``: the leader's log starts after the follower's ends.

        Raises: LogDirFailure.
        """
        with self._watching(replica):
            replica.log.truncate_fully_and_start_at(offset)
        self.moves.on_truncated(replica)
        self._after(replica, replica.partition.on_truncated(offset, reason))
        replica.partition.on_start_offset_moved(offset)
        self._moved(replica, replica.partition.high_watermark)

    def move_log_start(self, replica: Replica, offset: int) -> None:
        """The leader's log starts at ``offset`` now. Raises: LogDirFailure."""
        if offset > replica.log.log_start_offset:
            with self._watching(replica):
                replica.log.increment_log_start_offset(min(offset, replica.log.log_end_offset))
            replica.partition.on_start_offset_moved(replica.log.log_start_offset)

    @contextmanager
    def _watching(self, replica: Replica) -> Iterator[None]:
        """Take the directory offline if its disk fails in the block."""
        try:
            yield
        except LogDirFailure as failure:
            self._log_dir_failed(replica.log_dir, failure)
            raise

    def is_throttled_follower(self, replica: Replica) -> bool:
        """Whether this broker copies the replica no faster than follower.replication.throttled.rate: it is named, and
        not in sync."""
        number = replica.topic_partition.partition
        if not self.follower_throttle.names(replica.log.config.follower_replication_throttled_replicas, number):
            return False
        state = None if self._image is None else self._image.partition_by_id(replica.topic_id, number)
        return state is not None and self.config.node_id not in state.isr

    # -- metadata -----------------------------------------------------------------------------------------------

    def set_strays_aside(self, image: MetadataImage) -> None:
        """Before the first metadata is applied: logs of partitions that this broker does not have any more, because
        they were deleted or moved while it was down, are renamed (LogManager.isStrayKraftReplica)."""
        for topic_partition, files in list(self.log_dirs.logs.items()):
            topic = image.topics_by_name.get(topic_partition.topic)
            state = None if topic is None else topic.partitions.get(topic_partition.partition)
            if (
                topic is not None
                and state is not None
                and files.topic_id in (topic.topic_id, ZERO_UUID)
                and self.config.node_id in state.replicas
            ):
                continue
            try:
                path = self.log_dirs.set_aside(topic_partition)
            except LogDirFailure as failure:
                self._log_dir_failed(failure.directory, failure)
                continue
            log.warning("%s is of no partition of this broker any more: its files are in %s", topic_partition, path)

    def on_metadata(self, image: MetadataImage, delta: MetadataDelta) -> None:
        """Apply what changed: brokers first, since who may join an ISR depends on them."""
        self._image = image
        self.view.brokers = image.brokers
        self.view.local_broker_epoch = self._broker_epoch()
        for topic in delta.deleted_topics.values():
            for number in topic.partitions:
                self._drop(TopicPartition(topic.name, number), topic.topic_id, "the topic was deleted")
        touched: list[Replica] = []
        for topic_id, partitions in delta.changed_partitions.items():
            topic = image.topics_by_id[topic_id]
            for number, state in partitions.items():
                replica = self._follow_metadata(topic, number, state)
                if replica is not None:
                    touched.append(replica)
        if delta.changed_configs:
            self._apply_configs(image, delta)
        if delta.changed_brokers:
            now_ms = self._clock.monotonic_ms()
            for replica in self._replicas.values():
                if replica.partition.is_leader:
                    self._after(replica, replica.partition.on_cluster_changed(now_ms))
                    replica.on_starts_moved()
        if self.fetchers is not None and (touched or delta.changed_brokers or delta.deleted_topics):
            self.fetchers.assign(image, touched)

    def _follow_metadata(self, topic: TopicImage, number: int, state: PartitionImage) -> Replica | None:
        topic_partition = TopicPartition(topic.name, number)
        if self.config.node_id not in state.replicas:
            self._drop(topic_partition, topic.topic_id, "the partition was moved to other brokers")
            return None
        replica = self._replicas.get(topic_partition)
        if replica is not None and replica.topic_id != topic.topic_id:
            self._drop(topic_partition, replica.topic_id, "a topic of the same name took its place")
            replica = None
        if replica is not None and replica.is_offline and self.corrupt.may_begin_anew(topic.topic_id, number, state):
            self._forget(replica)
            replica = None
        if replica is None:
            replica = self._make(topic, topic_partition)
            if replica is None:
                return None
        if replica.is_offline:
            return None
        self._tell_directory(topic.topic_id, number, state, replica.log_dir)
        before_leader = replica.partition.leader_id
        before_epoch = replica.partition.leader_epoch
        if state.leader == self.config.node_id:
            effects = replica.partition.on_become_leader(state, self._clock.monotonic_ms())
        else:
            effects = replica.partition.on_become_follower(state)
        self._after(replica, effects)
        if replica.partition.leader_epoch != before_epoch or replica.partition.leader_id != before_leader:
            if replica.sync_waiters and not replica.partition.is_leader:
                self._answer_synced(replica, float("inf"), ErrorCode.NOT_LEADER_OR_FOLLOWER)
            replica.on_changed()
        return replica

    def _make(self, topic: TopicImage, topic_partition: TopicPartition) -> Replica | None:
        config = self._log_config(topic.name)
        if self._is_out_of_reach(topic, topic_partition):
            return None
        state = topic.partitions[topic_partition.partition]
        if self.corrupt.may_begin_anew(topic.topic_id, topic_partition.partition, state):
            try:
                self.corrupt.begin_anew(topic_partition, topic.topic_id, state.leader)
            except LogDirFailure as failure:
                self._log_dir_failed(self.log_dirs.path_of(topic_partition), failure)
                return None
        elif self.log_dirs.is_corrupt(topic_partition):
            self.corrupt.on_found(topic_partition, topic.topic_id, self.log_dirs.offline_logs[topic_partition])
            return None
        try:
            files = self.log_dirs.get_or_create(topic_partition, topic.topic_id, config, self._clock.now_ms())
        except (KafkaError, OSError, ValueError) as failure:
            log.error("%s cannot be opened: %s", topic_partition, failure)
            # Another replica must lead, and nothing must be served from here: the directory goes, as in Kafka.
            log_dir = self._log_dir_of(topic_partition, failure)
            if log_dir is not None:
                number = topic_partition.partition
                self._tell_directory(topic.topic_id, number, topic.partitions[number], log_dir)
                self._log_dir_failed(log_dir, failure)
            return None
        files.update_config(config)
        partition = Partition(
            topic_partition,
            topic.topic_id,
            self.view,
            lag_max_ms=self.config.replica_lag_time_max_ms,
            min_insync_replicas=config.min_insync_replicas,
            log_end_offset=files.log_end_offset,
            high_watermark=max(files.log_start_offset, self.log_dirs.checkpointed_high_watermark(topic_partition)),
        )
        replica = Replica(topic_partition, topic.topic_id, partition, files, self.log_dirs.path_of(topic_partition))
        replica.last_flush_ms = self._clock.monotonic_ms()
        self._listen_to(replica, files)
        files.set_high_watermark(partition.high_watermark)
        if files.leader_epochs.is_unsaved:
            self._epoch_began(replica)
        if replica.durable:
            # What the last process wrote may not be on the device yet.
            partition.durable_end_offset = files.durable_end_offset
            if files.log_end_offset:
                self.flusher.ask_in_background(replica)
        self._replicas[topic_partition] = replica
        self._by_id[topic.topic_id, topic_partition.partition] = replica
        self.moves.on_made(replica)
        return replica

    def _listen_to(self, replica: Replica, files: Log) -> None:
        files.after_roll = lambda: self.flusher.ask(replica)
        files.on_corrupt = lambda corrupt: self._on_corrupt_later(replica, corrupt)

    def on_log_moved(self, replica: Replica, files: Log, log_dir: str) -> None:
        """The replica's log is in another directory now, and on the device."""
        replica.log, replica.log_dir = files, log_dir
        self._listen_to(replica, files)
        replica.use_config()
        self._on_flushed(replica)
        number = replica.topic_partition.partition
        state = None if self._image is None else self._image.partition_by_id(replica.topic_id, number)
        if state is not None:
            self._tell_directory(replica.topic_id, number, state, log_dir)

    def _log_config(self, topic: str) -> LogConfig:
        overrides = self._image.config(TOPIC_RESOURCE, topic) if self._image is not None else {}
        try:
            return LogConfig.from_(self.config, overrides)
        except ConfigError as error:
            # The controller checked them; a controller of another version may know other values.
            log.error("configs of topic %s are passed over: %s", topic, error)
            return LogConfig.from_(self.config, {})

    def _apply_configs(self, image: MetadataImage, delta: MetadataDelta) -> None:
        node_id = str(self.config.node_id)
        of_all = any(kind == BROKER_RESOURCE and name in ("", node_id) for kind, name in delta.changed_configs)
        if of_all:
            default, own = image.config(BROKER_RESOURCE, ""), image.config(BROKER_RESOURCE, node_id)
            try:
                self.config = self.config.with_dynamic(default, own)
            except ConfigError as error:
                log.error("dynamic configs of this broker are passed over: %s", error)
        topics = {name for kind, name in delta.changed_configs if kind == TOPIC_RESOURCE}
        configs: dict[str, LogConfig] = {}
        now_ms = self._clock.monotonic_ms()
        for (topic, _), replica in self._replicas.items():
            if not (of_all or topic in topics):
                continue
            config = configs.get(topic)
            if config is None:
                config = configs[topic] = self._log_config(topic)
            replica.log.update_config(config)
            replica.use_config()
            self._after(replica, replica.partition.on_min_insync_replicas(config.min_insync_replicas, now_ms))
            if replica.durable:
                self.flusher.ask(replica)
            else:
                self._after(replica, replica.partition.on_flushed(replica.log.log_end_offset, now_ms))
                self._answer_synced(replica, replica.log.log_end_offset, ErrorCode.NONE)

    # -- upkeep -------------------------------------------------------------------------------------------------

    def check_isrs(self) -> None:
        """Look for followers that lag (every half of replica.lag.time.max.ms)."""
        now_ms = self._clock.monotonic_ms()
        for replica in list(self._replicas.values()):
            self._after(replica, replica.partition.on_isr_check(now_ms))

    def enforce_retention(self) -> None:
        """Remove what is too old or too much (log.retention.check.interval.ms)."""
        now_ms = self._clock.now_ms()
        for replica in list(self._replicas.values()):
            if replica.is_offline:
                continue
            try:
                replica.log.delete_old_segments(now_ms)
                replica.log.producers.remove_expired(now_ms)
            except LogCorrupt as corrupt:
                self.on_corrupt(replica, corrupt)
                continue
            except (LogDirFailure, OSError) as failure:
                self._log_dir_failed(replica.log_dir, failure)
                continue
            replica.partition.on_start_offset_moved(replica.log.log_start_offset)
            self._follow_high_watermark(replica)

    # -- the end ------------------------------------------------------------------------------------------------

    async def stop(self) -> None:
        """Answer all who wait; nothing is appended any more."""
        await self.moves.stop()
        self.proposals.stop()
        self._directories.stop()
        if self.fetchers is not None:
            await self.fetchers.stop()
        for replica in list(self._replicas.values()):
            self._end(replica, ErrorCode.NOT_LEADER_OR_FOLLOWER)
        await self.flusher.stop()

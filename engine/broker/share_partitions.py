"""The share partitions of the partitions that this broker leads (Kafka: SharePartitionManager, SharePartitionCache).

Each is a pure machine (:class:`~engine.core.share.partition.SharePartition`) with its shell: it is loaded from the
share coordinator when a group first reads the partition here, what it sends is persisted there, and its locks run out
by a timer. It ends with the leader epoch that it was loaded in, or when the coordinator says that another leader is
later.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from engine.broker.share_state_client import ShareStateClient
from engine.core.now import Now
from engine.core.share.partition import (
    AcknowledgedRange,
    SharePartition,
    SharePartitionEffects,
    SharePartitionLimits,
    StateToWrite,
)
from engine.core.share.records import NO_OFFSET, SharePartitionKey
from engine.model.errors import ErrorCode, KafkaError
from engine.model.group_config import reset_duration_ms

if TYPE_CHECKING:
    from collections.abc import Mapping

    from engine.broker.replica import FetchWatch, Replica
    from engine.broker.replica_manager import ReplicaManager
    from engine.core.controller.image import MetadataDelta, MetadataImage
    from engine.model.broker_config import BrokerConfig
    from engine.world import World

log = logging.getLogger(__name__)

# After these the state here is not what the coordinator has: it is read anew by whoever leads then.
_FENCING = frozenset(
    {
        ErrorCode.FENCED_LEADER_EPOCH,
        ErrorCode.FENCED_STATE_EPOCH,
        ErrorCode.INVALID_REQUEST,
        ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
    }
)


def _client_error(error: KafkaError) -> KafkaError:
    """What a consumer is told when its acknowledgement could not be persisted (SharePartition.fetchPersisterError)."""
    match error.code:
        case ErrorCode.NOT_COORDINATOR | ErrorCode.COORDINATOR_NOT_AVAILABLE | ErrorCode.COORDINATOR_LOAD_IN_PROGRESS:
            return KafkaError(ErrorCode.COORDINATOR_NOT_AVAILABLE, error.message)
        case ErrorCode.FENCED_LEADER_EPOCH | ErrorCode.FENCED_STATE_EPOCH | ErrorCode.NOT_LEADER_OR_FOLLOWER:
            return KafkaError(ErrorCode.NOT_LEADER_OR_FOLLOWER, error.message)
        case ErrorCode.GROUP_ID_NOT_FOUND | ErrorCode.UNKNOWN_TOPIC_OR_PARTITION:
            return error
        case _:
            return KafkaError(ErrorCode.UNKNOWN_SERVER_ERROR, error.message)


class LedSharePartition:
    """One share partition on its leader. ``machine`` is None while it is being loaded."""

    __slots__ = (
        "_owner",
        "closed",
        "failure",
        "key",
        "leader_epoch",
        "loading",
        "machine",
        "replica",
        "timer",
        "timer_at_ms",
        "watches",
    )

    def __init__(self, owner: SharePartitions, key: SharePartitionKey, replica: Replica) -> None:
        self._owner = owner
        self.key = key
        self.replica = replica
        self.leader_epoch: int = replica.partition.leader_epoch
        self.machine: SharePartition | None = None
        self.loading: asyncio.Task[None] | None = None
        # Why it could not be loaded; whoever asks next is told, then it is tried anew.
        self.failure: KafkaError | None = None
        self.closed = False
        # Fetches that wait for something to become available, each with the key that it knows this by.
        self.watches: dict[FetchWatch, Any] = {}
        self.timer: asyncio.TimerHandle | None = None
        self.timer_at_ms = 0.0

    def acknowledge(self, member_id: str, ranges: Sequence[AcknowledgedRange]) -> asyncio.Future[KafkaError | None]:
        """What a member says of its records; the future is None or an error once it is known."""
        return self._owner.run(self, lambda machine, now, token: machine.acknowledge(member_id, ranges, now, token))

    def release(self, member_id: str) -> asyncio.Future[KafkaError | None]:
        """A member is gone."""
        return self._owner.run(self, lambda machine, now, token: machine.release(member_id, token))


class SharePartitions:
    """All of this broker."""

    def __init__(
        self,
        world: World,
        config: BrokerConfig,
        manager: ReplicaManager,
        client: ShareStateClient,
        group_config: Callable[[str], Mapping[str, str]],
    ) -> None:
        """``group_config(group_id)`` is what is set for a group."""
        self._clock = world.clock
        self._config = config
        self._manager = manager
        self._client = client
        self._group_config = group_config
        self._led: dict[SharePartitionKey, LedSharePartition] = {}
        # An ordered set: the order of iteration must replay.
        self._tasks: dict[asyncio.Task[None], None] = {}
        self._stopped = False

    # -- configs ------------------------------------------------------------------------------------------------

    def limits(self, group_id: str) -> SharePartitionLimits:
        """The group's own configs, or the broker's."""
        own, config = self._group_config(group_id), self._config

        def limit(short: str) -> int:
            name = f"group_share_{{}}{short.replace('.', '_')}"
            low, value, high = (int(getattr(config, name.format(each))) for each in ("min_", "", "max_"))
            text = own.get(f"share.{short}")
            return value if text is None else min(max(int(text), low), high)

        return SharePartitionLimits(
            limit("delivery.count.limit"), limit("record.lock.duration.ms"), limit("partition.max.record.locks")
        )

    def reads_committed(self, group_id: str) -> bool:
        """share.isolation.level of the group."""
        return self._group_config(group_id).get("share.isolation.level") == "read_committed"

    def may_renew(self, group_id: str) -> bool:
        """share.renew.acknowledge.enable of the group."""
        return self._group_config(group_id).get("share.renew.acknowledge.enable", "true").strip().lower() == "true"

    # -- finding ------------------------------------------------------------------------------------------------

    def find(self, key: SharePartitionKey) -> LedSharePartition | None:
        """The share partition as it is, loaded or not."""
        found = self._led.get(key)
        return None if found is None or self._is_past(found) else found

    def get(self, key: SharePartitionKey) -> LedSharePartition:
        """The share partition, which begins to be loaded if need be.

        Raises:
            KafkaError: as ``ReplicaManager.find``, NOT_LEADER_OR_FOLLOWER, or why it could not be loaded.
        """
        found = self._led.get(key)
        if found is not None and found.failure is None and not self._is_past(found):
            return found
        if found is not None:
            self._close(found)
            if found.failure is not None:
                raise found.failure
        replica = self._manager.find("", key.topic_id, key.partition)
        replica.partition.leader_role()
        led = self._led[key] = LedSharePartition(self, key, replica)
        led.loading = self._start(self._load(led))
        return led

    def _is_past(self, led: LedSharePartition) -> bool:
        partition = led.replica.partition
        return (
            led.closed
            or led.replica.is_offline
            or not partition.is_leader
            or partition.leader_epoch != led.leader_epoch
        )

    def on_metadata(self, image: MetadataImage, delta: MetadataDelta) -> None:
        """Let go of what is not led here any more. Behind the replica manager."""
        if delta.changed_partitions or delta.deleted_topics:
            for led in list(self._led.values()):
                if self._is_past(led):
                    self._close(led)

    def _close(self, led: LedSharePartition) -> None:
        if self._led.get(led.key) is led:
            del self._led[led.key]
        led.closed = True
        if led.timer is not None:
            led.timer.cancel()
        self._wake(led)

    def forget_group(self, group_id: str) -> None:
        """Nobody of the group reads here any more: its next member finds what the coordinator has, which may be set
        anew meanwhile (AlterShareGroupOffsets)."""
        for led in [each for key, each in self._led.items() if key.group_id == group_id]:
            self._close(led)

    async def shutdown(self) -> None:
        """Stop; whoever still waits for an acknowledgement is told with the end of its connection."""
        self._stopped = True
        for led in list(self._led.values()):
            self._close(led)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def read_failed(self, replica: Replica, error: OSError) -> KafkaError:
        """The answer when a log could not be read."""
        return self._manager.read_failed(replica, error)

    # -- loading ------------------------------------------------------------------------------------------------

    async def _load(self, led: LedSharePartition) -> None:
        key = led.key
        try:
            state = await self._client.read(key, led.leader_epoch)
            start_offset = state.start_offset
            if start_offset == NO_OFFSET:
                start_offset = self._first_offset(key.group_id, led.replica)
        except (KafkaError, OSError) as error:
            log.info("%s could not be loaded: %s", key, error)
            known = error if isinstance(error, KafkaError) else KafkaError(ErrorCode.KAFKA_STORAGE_ERROR, str(error))
            led.failure = _client_error(known)
            self._wake(led)
            return
        led.machine = SharePartition(
            start_offset=start_offset,
            state_epoch=state.state_epoch,
            leader_epoch=led.leader_epoch,
            batches=state.batches,
            limits=self.limits(key.group_id),
        )
        self._wake(led)

    def _first_offset(self, group_id: str, replica: Replica) -> int:
        """Where a group begins (share.auto.offset.reset)."""
        strategy = self._group_config(group_id).get("share.auto.offset.reset", "latest")
        files = replica.log
        end = files.last_stable_offset if self.reads_committed(group_id) else files.high_watermark
        if strategy == "earliest":
            return files.log_start_offset
        duration_ms = reset_duration_ms(strategy)
        if duration_ms is not None:
            found = files.offset_for_timestamp(self._clock.now_ms() - duration_ms, files.log_end_offset)
            if found is not None and found[1] < end:
                return found[1]
        return end

    # -- running ------------------------------------------------------------------------------------------------

    def run(
        self, led: LedSharePartition, operation: Callable[[SharePartition, Now, object], SharePartitionEffects]
    ) -> asyncio.Future[KafkaError | None]:
        """Run an input whose reply comes as the future's result."""
        future: asyncio.Future[KafkaError | None] = asyncio.get_running_loop().create_future()
        if led.machine is None or self._is_past(led):
            future.set_result(
                KafkaError(ErrorCode.NOT_LEADER_OR_FOLLOWER, f"{led.replica.topic_partition} is not led here any more")
            )
            return future
        led.machine.limits = self.limits(led.key.group_id)
        self._perform(led, operation(led.machine, self.now(), future))
        return future

    def now(self) -> Now:
        """For inputs without reply."""
        return Now(self._clock.monotonic_ms(), self._clock.now_ms())

    def _perform(self, led: LedSharePartition, effects: SharePartitionEffects) -> None:
        for each in effects.send:
            self._start(self._write(led, each))
        for token, response in effects.reply:
            assert isinstance(token, asyncio.Future)
            if not token.done():
                token.set_result(response)
        self.arm(led)
        self._wake(led)

    async def _write(self, led: LedSharePartition, wanted: StateToWrite) -> None:
        failure: KafkaError | None = None
        try:
            await self._client.write(led.key, wanted.written)
        except KafkaError as error:
            log.info("the state of %s was not persisted: %s", led.key, error)
            failure = _client_error(error)
            if error.code in _FENCING:
                self._close(led)
        assert led.machine is not None
        self._perform(led, led.machine.on_written(wanted.number, failure))

    def arm(self, led: LedSharePartition) -> None:
        """Set the timer for the lock that runs out next."""
        deadline_ms = None if led.machine is None or led.closed else led.machine.next_deadline_ms()
        if deadline_ms is None:
            return
        if led.timer is not None:
            if led.timer_at_ms <= deadline_ms:
                return
            led.timer.cancel()
        led.timer_at_ms = deadline_ms
        delay_ms = max(deadline_ms - self._clock.monotonic_ms(), 0.0)
        led.timer = asyncio.get_running_loop().call_later(delay_ms / 1000, self._on_timer, led)

    def _on_timer(self, led: LedSharePartition) -> None:
        led.timer = None
        if not led.closed and led.machine is not None:
            self._perform(led, led.machine.on_timer(self.now()))

    @staticmethod
    def _wake(led: LedSharePartition) -> None:
        for watch, key in list(led.watches.items()):
            watch.on_moved(key)

    def _start(self, work: Any) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.ensure_future(work)
        self._tasks[task] = None
        task.add_done_callback(lambda done: self._tasks.pop(done, None))
        return task

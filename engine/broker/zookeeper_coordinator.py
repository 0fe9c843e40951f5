"""Coordination by ZooKeeper: Kafka 3.9's znodes, and beside them the log of metadata records that everybody follows.

Kafka: KafkaController, KafkaZkClient (3.9). What differs, and why, stands in docs/decisions/0024.

- *Election*: who makes the ephemeral znode /controller, and counts up /controller_epoch in the same multi, is the
  controller of that epoch. Every later write of a controller checks /controller_epoch, so that one who was deposed
  writes nothing any more, whatever it believes.
- *Log*: each batch of records is one multi: the check, the new end in /kconsole/metadata, the batch itself under
  /kconsole/log, and what it means for Kafka's own znodes. The last :data:`RING_BATCHES` batches are kept; the others
  watch /kconsole/metadata and read what is new, in order. Who has missed more, or is new, reads the tree, which is the
  snapshot.
- *Sessions*: a broker is alive while its ephemeral znode /brokers/ids/N is there.
- A session that is suspended may be over without our knowing: the controller stops at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from engine.broker.coordination import CoordinationListener, CoordinationRefused, WithoutQuorum
from engine.broker.knocking import find_refusal
from engine.broker.quorum.batches import decode_batch, encode_records, metadata_batch
from engine.broker.quorum.commit_waiters import CommitWaiters
from engine.broker.zookeeper_notifications import NotificationUpkeep
from engine.broker.zookeeper_roots import enter, refuse_if_moved
from engine.broker.zookeeper_sessions import BrokerZnodes
from engine.core.controller.feature_control import bootstrap_records
from engine.core.controller.image import MetadataDelta, MetadataImage
from engine.core.raft.identity import LeaderAndEpoch, OffsetAndEpoch
from engine.core.znodes import paths
from engine.core.znodes.adoption import adoption_of, portions
from engine.core.znodes.cluster_znodes import (
    MetadataMark,
    decode_controller,
    decode_controller_epoch,
    decode_mark,
    encode_controller,
    encode_controller_epoch,
    encode_mark,
)
from engine.core.znodes.operations import Check, Create, Delete, Operation, SetData, Znode
from engine.core.znodes.reading import SUBTREES, records_of
from engine.core.znodes.writing import operations_of
from engine.model.errors import ErrorCode, KafkaError
from engine.record.batch import iter_batches
from engine.wire.messages.no_op_record import NoOpRecord
from engine.zookeeper.errors import BadVersion, MultiFailed, NoNode, TooLarge, ZooKeeperError
from engine.zookeeper.session import SessionState, ZooKeeperSession

if TYPE_CHECKING:
    from engine.broker.coordination import Address, BrokerSession
    from engine.broker.zookeeper_admin_znodes import AdminZnodes
    from engine.model.broker_config import BrokerConfig
    from engine.model.ids import Uuid
    from engine.wire.message import Message
    from engine.world import World

log = logging.getLogger(__name__)

# So many batches of the log are kept; who has missed more reads the tree.
RING_BATCHES = 512
# How long to wait before another try of what ZooKeeper did not do.
_RETRY_MS = 50
_RETRY_MAX_MS = 1000
# Records that say something each for itself: Kafka's controller too may write many of them as several batches, and one
# that dies in between has its successor find the rest to do (ControllerResult.of, not atomicOf).
_INDEPENDENT = frozenset(("PartitionChangeRecord", "BrokerRegistrationChangeRecord", "RemoveTopicRecord"))


class ZooKeeperCoordinator(WithoutQuorum):
    """One broker's part in a cluster that ZooKeeper coordinates."""

    def __init__(
        self,
        world: World,
        config: BrokerConfig,
        session: ZooKeeperSession,
        listener: CoordinationListener,
        *,
        image: Callable[[], MetadataImage],
        controller_endpoint: Callable[[], Address],
        admin: AdminZnodes,
        on_fatal: Callable[[BaseException], None] | None = None,
    ) -> None:
        """Nothing is read or written before :meth:`start`.

        Args:
            session: connected; it is closed by :meth:`stop`.
            image: what the listener has made of all that it was handed.
            controller_endpoint: where this node answers as controller.
            admin: does what tools ask for by znodes, while this node is the controller.
            on_fatal: called once if the coordination is not to be understood; the node must stop then.
        """
        self._world = world
        self._config = config
        self._node_id = config.node_id
        self._session = session
        self._listener = listener
        self._image = image
        self._controller_endpoint = controller_endpoint
        self._admin = admin
        self._on_fatal = on_fatal
        self._stopping = False
        self._loaded = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._knocking: asyncio.Task[None] | None = None
        # What is to be looked at.
        self._wake = asyncio.Event()
        self._is_controller_stale = True
        self._is_metadata_stale = True
        self._is_expired = False
        # Election.
        self._leader_id: int | None = None
        self._leader_address: Address | None = None
        self._epoch = 0
        self._epoch_version = -1
        self._leads = False
        # The epoch whose controller is known to be dead.
        self._dead_epoch = -1
        # One number for each time of leading: answers to what an earlier one wrote mean nothing.
        self._term = 0
        self._needs_tree = False
        # The log, as it was applied and, of the leader, as it was proposed.
        self._applied = 0
        self._end = 0
        self._ahead = MetadataImage()
        self._metadata_version = -1
        self._ring: deque[int] = deque()
        self._waiters = CommitWaiters()
        self._brokers = BrokerZnodes(
            session, world.clock, config.zookeeper_session_timeout_ms, self._wake.set, self._on_sessions_read
        )
        self._notifications = NotificationUpkeep(session)
        self.bootstrap_records: list[Message] = list(bootstrap_records())

    # -- life ---------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Load the metadata if there is any; follow it and stand for election from then on.

        Raises:
            CoordinationRefused: another kind of controller rules here, or the cluster was moved to KRaft.
            ZooKeeperError: ZooKeeper cannot be used.
        """
        await self._session.retrying(lambda: enter(self._session))
        self._look_at_everything()
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """Stop leading, end the broker's session; others are elected at once."""
        if self._stopping:
            return
        self._stopping = True
        if self._leads:
            self._step_down("the node is shutting down")
        self._waiters.fail("the node is shutting down")
        for task in (self._task, self._knocking):
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
        await self._brokers.close()
        await self._notifications.close()
        await self._session.close()

    def on_session_state(self, state: SessionState) -> None:
        """The session's ``on_state``."""
        if self._stopping:
            return
        if state is SessionState.CONNECTED:
            self._look_at_everything()
            return
        if self._leads:
            # Somebody else may be elected without our hearing of it.
            self._step_down(f"the session with ZooKeeper is {state.name.lower()}")
        if state is SessionState.EXPIRED:
            self._is_expired = True
            self._wake.set()

    def _look_at_everything(self) -> None:
        self._is_controller_stale = self._is_metadata_stale = self._brokers.is_stale = True
        self._wake.set()

    # -- what others may read -----------------------------------------------------------------------------------

    @property
    def session(self) -> ZooKeeperSession:
        """The session with ZooKeeper."""
        return self._session

    @property
    def election(self) -> str:
        """Who made /controller is elected; the session, as ZooKeeper writes it."""
        return f"/controller was made by session {self._session.session_id & (1 << 64) - 1:#x}"

    @property
    def leader_and_epoch(self) -> LeaderAndEpoch:
        """Who made /controller, as far as this node knows, and /controller_epoch."""
        return LeaderAndEpoch(self._leader_id, self._epoch)

    @property
    def is_leader(self) -> bool:
        """Whether this node is the controller."""
        return self._leads

    @property
    def log_end_offset(self) -> int:
        """Where the next record goes."""
        return self._end if self._leads else self._applied

    @property
    def applied_offset(self) -> int:
        """Records below were handed to the listener."""
        return self._applied

    def controller_address(self) -> Address | None:
        """Where the controller said that it answers."""
        return self._controller_endpoint() if self._leads else self._leader_address

    def controller_nodes(self) -> list[tuple[int, str, int]]:
        """Brokers that registered as controllers."""
        found = []
        for controller_id, each in sorted(self._image().controllers.items()):
            for endpoint in each.listeners.values():
                found.append((controller_id, endpoint.host, endpoint.port))
                break
        return found

    # -- proposals ----------------------------------------------------------------------------------------------

    def propose(self, records: list[Message], *, epoch: int) -> int:
        """Append records as one batch and what it means for Kafka's znodes, in one multi; the offset of the last one.

        More than ZooKeeper takes at once, as when a broker with thousands of partitions dies, become several batches.

        Raises:
            KafkaError: NOT_CONTROLLER if this node does not lead ``epoch``; RECORD_LIST_TOO_LARGE if records that stand
                or fall together are above kconsole.zookeeper.multi.max.bytes.
        """
        if not self._leads or epoch != self._epoch or self._stopping:
            raise KafkaError(ErrorCode.NOT_CONTROLLER, f"broker {self._node_id} is not the controller of epoch {epoch}")
        if not records:
            return self._end - 1
        try:
            return self._propose_at_once(records, epoch)
        except TooLarge as error:
            if len(records) == 1 or any(each.NAME not in _INDEPENDENT for each in records):
                raise KafkaError(ErrorCode.RECORD_LIST_TOO_LARGE, str(error)) from error
        half = len(records) // 2
        self.propose(records[:half], epoch=epoch)
        return self.propose(records[half:], epoch=epoch)

    def _propose_at_once(self, records: list[Message], epoch: int) -> int:
        """Raises: TooLarge: for one multi; nothing was done."""
        now_ms = self._world.clock.now_ms()
        base, last = self._end, self._end + len(records) - 1
        delta = MetadataDelta(self._ahead)
        for offset, record in enumerate(records, base):
            delta.replay(record, offset)
        batch = metadata_batch(encode_records(records), base_offset=base, epoch=epoch, timestamp_ms=now_ms)
        meant = operations_of(delta, controller_epoch=epoch, now_ms=now_ms)
        dropped = len(self._ring) + 1 - RING_BATCHES
        gone = [self._ring[index] for index in range(max(0, dropped))]
        first = self._ring[len(gone)] if len(self._ring) > len(gone) else base
        operations: list[Operation] = [
            Check(paths.CONTROLLER_EPOCH, self._epoch_version),
            SetData(paths.METADATA, encode_mark(MetadataMark(last, epoch, first)), self._metadata_version),
            Create(paths.log_entry(base), batch),
            *meant,
            *(Delete(paths.log_entry(each)) for each in gone),
        ]
        written = self._session.submit(operations)
        self._notifications.wrote(meant)
        self._ahead = delta.apply(last, epoch)
        self._end = last + 1
        self._metadata_version += 1
        for _ in gone:
            self._ring.popleft()
        self._ring.append(base)
        term = self._term
        written.add_done_callback(lambda done: self._on_written(done, term, base, epoch, now_ms, records))
        return last

    def _on_written(
        self, done: asyncio.Future[Any], term: int, base: int, epoch: int, now_ms: int, records: list[Message]
    ) -> None:
        error = None if done.cancelled() else done.exception()
        if term != self._term or not self._leads:
            return
        if done.cancelled() or error is not None:
            if isinstance(error, MultiFailed) and not isinstance(error.error, BadVersion):
                # Somebody changed a znode of ours: what we believe of the tree is not true any more.
                log.error("ZooKeeper refused a change of the metadata, which is read anew: %s", error)
                self._needs_tree = True
            self._step_down(f"a write to ZooKeeper failed: {error!r}")
            self._look_at_everything()
            return
        assert base == self._applied, (base, self._applied)
        self._apply(base, epoch, now_ms, records)
        self._waiters.on_applied(self._applied)

    def _apply(self, base: int, epoch: int, now_ms: int, records: list[Message]) -> None:
        self._applied = base + len(records)
        try:
            self._listener.on_committed(base, epoch, now_ms, records)
        except Exception as error:
            self._fail(error)

    async def wait_committed(self, offset: int, epoch: int) -> None:
        """Return once ZooKeeper acknowledged the batch with ``offset``, and it was applied here.

        Raises:
            KafkaError: NOT_CONTROLLER when leadership was lost before: whether it will be committed is not known.
        """
        if offset < self._applied:
            return
        if not self._leads or self._epoch != epoch:
            raise KafkaError(ErrorCode.NOT_CONTROLLER, f"broker {self._node_id} is not the controller of epoch {epoch}")
        await self._waiters.add(offset)

    def _step_down(self, why: str) -> None:
        log.info("broker %d is not the controller any more: %s", self._node_id, why)
        self._leads = False
        self._term += 1
        self._leader_id = self._leader_address = None
        self._is_controller_stale = self._is_metadata_stale = True
        self._waiters.fail(f"broker {self._node_id} lost the leadership of epoch {self._epoch}: {why}")
        self._listener.on_leader_changed(None, self._epoch, False, -1)
        self._admin.stop()

    def _fail(self, error: BaseException) -> None:
        if self._stopping:
            return
        self._stopping = True
        # A refusal says all there is to say, and the node tells it when it stops.
        if not isinstance(error, CoordinationRefused):
            log.critical("this broker does not understand what ZooKeeper holds, and stops", exc_info=error)
        self._waiters.fail(f"the coordination failed on this node: {error}")
        if self._on_fatal is not None:
            self._on_fatal(error)

    # -- the loop -----------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        failures = 0
        while not self._stopping:
            await self._wake.wait()
            self._wake.clear()
            try:
                if self._is_expired:
                    await self._session.renew()
                    self._is_expired, self._brokers.lacks_own = False, True
                if self._brokers.lacks_own:
                    await refuse_if_moved(self._session)
                    await self._brokers.begin_again()
                    self._look_at_everything()
                await self._look()
                failures = 0
            except (ZooKeeperError, OSError) as error:
                # What was not looked at stays stale. Without a connection its return wakes us.
                failures += 1
                if failures in (1, 10, 100):
                    log.info("ZooKeeper did not answer as it should: %r", error)
                await asyncio.sleep(min(_RETRY_MS * 2 ** min(failures - 1, 5), _RETRY_MAX_MS) / 1000)
                if self._session.state is SessionState.CONNECTED or self._is_expired:
                    self._look_at_everything()
            except Exception as error:
                self._fail(error)

    async def _look(self) -> None:
        if self._session.state is not SessionState.CONNECTED:
            return
        if not self._loaded.is_set() and not self._leads:
            await self._load_if_founded()
        if self._is_controller_stale:
            await self._read_controller()
        if self._is_metadata_stale and not self._leads:
            await self._follow()
        if self._brokers.is_stale and self._leads:
            await self._brokers.refresh()

    def _on_controller(self, event: object = None) -> None:
        self._is_controller_stale = True
        self._wake.set()

    def _on_metadata(self, event: object) -> None:
        self._is_metadata_stale = True
        self._wake.set()

    # -- election -----------------------------------------------------------------------------------------------

    async def _read_controller(self) -> None:
        self._is_controller_stale = False
        # Before /controller: who is elected in between is not taken for the one that was.
        epoch_known = await self._session.get(paths.CONTROLLER_EPOCH)
        try:
            znode = await self._session.get(paths.CONTROLLER, watch=self._on_controller)
        except NoNode:
            if self._leads:
                self._step_down("its znode /controller was deleted")
                self._is_controller_stale = False
            await self._session.exists(paths.CONTROLLER, watch=self._on_controller)
            await self._campaign(epoch_known, is_taken=False)
            return
        if znode.ephemeral_owner == self._session.session_id:
            if not self._leads:
                # It was ours before the connection was lost, or the answer to our election was: a new epoch tells
                # what we had written before from what we write now.
                await self._campaign(epoch_known, is_taken=True)
            return
        if self._leads:
            self._step_down("another was elected")
            self._is_controller_stale = False
        controller = decode_controller(znode.data)
        if controller.address is None:
            raise CoordinationRefused(
                f"Apache Kafka's broker {controller.broker_id} took the place of the controller in ZooKeeper: one "
                "cluster cannot have both kinds of brokers at once"
            )
        epoch = decode_controller_epoch(epoch_known.data)
        leader_id, address = controller.broker_id, controller.address
        if epoch == self._dead_epoch or address == self._controller_endpoint():
            # A process of the past that answered where we do now is dead as well.
            await self._campaign(epoch_known, is_taken=True)
            return
        if (leader_id, epoch) != (self._leader_id, self._epoch) or address != self._leader_address:
            self._leader_id, self._leader_address, self._epoch = leader_id, address, epoch
            self._listener.on_leader_changed(leader_id, epoch, False, -1)

    async def _campaign(self, known: Znode, *, is_taken: bool) -> None:
        """Stand for election after the epoch that is known; a /controller that is taken goes in the same multi."""
        epoch, term = decode_controller_epoch(known.data) + 1, self._term
        is_foreign = (await self._session.get(paths.EPOCH)).data != known.data
        host, port = self._controller_endpoint()
        content = encode_controller(self._node_id, timestamp_ms=self._world.clock.now_ms(), address=(host, port))
        operations: list[Operation] = [Delete(paths.CONTROLLER)] if is_taken else []
        operations += [
            Create(paths.CONTROLLER, content, ephemeral=True),
            # In the same multi: who was deposed writes nothing more, and of two who depose only one does.
            SetData(paths.CONTROLLER_EPOCH, encode_controller_epoch(epoch), known.version),
        ]
        if not is_foreign:
            # What others did is to be read by whoever comes next, until one has done it.
            operations.append(SetData(paths.EPOCH, encode_controller_epoch(epoch)))
        try:
            await self._session.multi(operations)
        except MultiFailed as error:
            log.info("broker %d was not elected controller of epoch %d: %s", self._node_id, epoch, error)
            self._on_controller()
            return
        if is_foreign:
            log.info("what controllers of another kind did up to epoch %d is read from the tree", epoch - 1)
            self._needs_tree = True
        await self._session.get(paths.CONTROLLER, watch=self._on_controller)
        # All that earlier controllers wrote is seen now, and nothing of them comes after.
        await self._session.sync(paths.KCONSOLE)
        await self._catch_up(epoch, known.version + 1)
        await self._brokers.read()
        if self._term != term or self._session.state is not SessionState.CONNECTED:
            self._on_controller()
            return
        self._leads = True
        self._leader_id, self._leader_address = self._node_id, (host, port)
        self._epoch, self._epoch_version = epoch, known.version + 1
        self._end = self._applied
        self._ahead = self._image().copy()
        log.info("broker %d was elected controller of epoch %d", self._node_id, epoch)
        self._listener.on_leader_changed(self._node_id, epoch, True, self._applied)
        # The first word of the epoch: all see who speaks.
        self.propose([NoOpRecord()], epoch=epoch)
        self._admin.start()

    async def _catch_up(self, epoch: int, epoch_version: int) -> None:
        """Be where the log ends; found it where there is none, or another kind of controller ruled meanwhile."""
        known: Znode | None = None
        with contextlib.suppress(NoNode):
            known = await self._session.get(paths.METADATA)
        if known is not None and not self._needs_tree:
            await self._follow()
            known = await self._session.get(paths.METADATA)
            if self._applied == decode_mark(known.data).offset + 1:
                self._metadata_version = known.version
                self._ring = deque(sorted(map(int, await self._session.children(paths.LOG))))
                return
        tree = await self._session.read_tree(SUBTREES)
        records = records_of(tree)
        offset = max(len(records) - 1, -1 if known is None else decode_mark(known.data).offset + 1)
        now_ms = self._world.clock.now_ms()
        guard = Check(paths.CONTROLLER_EPOCH, epoch_version)
        lacking = adoption_of(tree, controller_epoch=epoch, now_ms=now_ms)
        for portion in portions(lacking, self._config.kconsole_zookeeper_multi_max_bytes // 2):
            await self._session.multi([guard, *portion])
        stale = sorted(await self._session.children(paths.LOG))
        content = encode_mark(MetadataMark(offset, epoch, offset + 1))
        founding: list[Operation] = [
            guard,
            Create(paths.METADATA, content) if known is None else SetData(paths.METADATA, content, known.version),
            SetData(paths.EPOCH, encode_controller_epoch(epoch)),
            *(Delete(f"{paths.LOG}/{each}") for each in stale),
        ]
        await self._session.multi(founding)
        self._metadata_version = 0 if known is None else known.version + 1
        self._ring = deque()
        self._needs_tree = False
        self._load(offset, epoch, records)

    # -- following ----------------------------------------------------------------------------------------------

    async def _load_if_founded(self) -> None:
        """The first load; without any metadata it waits for the controller that founds it."""
        with contextlib.suppress(NoNode):
            await self._session.get(paths.METADATA)
            await self._load_tree()

    async def _load_tree(self) -> None:
        """Read the tree as it is at one offset."""
        found = await self._session.get(paths.METADATA)
        tree = await self._session.read_tree(SUBTREES)
        if found.version != (await self._session.get(paths.METADATA)).version:
            # It changed while it was read. Where it is large, or much is written, it would again and again.
            found, tree = await self._session.read_tree_as_of(paths.METADATA, SUBTREES, is_leaf=paths.is_leaf)
        mark = decode_mark(found.data)
        self._load(mark.offset, mark.epoch, records_of(tree))

    def _load(self, offset: int, epoch: int, records: list[Message]) -> None:
        self._applied = offset + 1
        self._loaded.set()
        if offset >= 0:
            self._listener.on_snapshot_loaded(OffsetAndEpoch(offset + 1, epoch), records)

    async def _follow(self) -> None:
        """Read what is new in the log, in order."""
        self._is_metadata_stale = False
        try:
            end = decode_mark((await self._session.get(paths.METADATA, watch=self._on_metadata)).data)
        except NoNode:
            await self._session.exists(paths.METADATA, watch=self._on_metadata)
            return
        if not self._loaded.is_set() or end.first > self._applied or end.offset + 1 < self._applied:
            await self._load_tree()
        while self._applied <= end.offset:
            try:
                znode = await self._session.get(paths.log_entry(self._applied))
            except NoNode:
                # The ring went on meanwhile.
                await self._load_tree()
                continue
            self._apply_batch(znode.data)

    def _apply_batch(self, data: bytes) -> None:
        for header, batch in iter_batches(data):
            records = decode_batch(batch)
            self._apply(header.base_offset, header.partition_leader_epoch, header.max_timestamp, records)

    # -- sessions of brokers ------------------------------------------------------------------------------------

    async def register_broker(self, session: BrokerSession) -> None:
        """Make /brokers/ids/N, which is there as long as this broker's session.

        Raises: CoordinationRefused, ZooKeeperError.
        """
        await self._brokers.begin(session)

    def is_session_alive(self, broker_id: int, incarnation_id: Uuid) -> bool | None:
        """Whether /brokers/ids/N was there, made by this incarnation, when it was looked last."""
        return self._brokers.is_alive(broker_id, incarnation_id)

    async def refresh_sessions(self) -> None:
        """Look at /brokers/ids anew; the look begins after this call. Nothing is known better without ZooKeeper."""
        with contextlib.suppress(ZooKeeperError):
            await self._brokers.refresh()

    def _on_sessions_read(self) -> None:
        if self._leads:
            self._listener.on_sessions_changed()

    # -- a controller that is dead ------------------------------------------------------------------------------

    def suspect_controller(self) -> None:
        """The connection to the controller was lost: knock at its listener. If it refuses there is no process, and its
        session need not be waited for: to depose one that lives would be safe as well, for epochs fence."""
        if self._leads or self._stopping or self._knocking is not None or self._leader_address is None:
            return
        if self._config.kconsole_connection_loss_detection_enable:
            self._knocking = asyncio.get_running_loop().create_task(self._knock(self._leader_address, self._epoch))

    async def _knock(self, address: Address, epoch: int) -> None:
        grace_ms = self._config.kconsole_connection_loss_grace_ms
        why = await find_refusal(self._world, address, grace_ms, lambda: self._leads or self._epoch != epoch)
        self._knocking = None
        if why:
            log.info("the controller, broker %s, cannot be reached: %s", self._leader_id, why)
            self._dead_epoch = epoch
            self._on_controller()

"""A member of a streams group (KIP-1071): joins, tells the topology, takes tasks and gives them up, leaves.

It lives on an event loop in a thread of its own, so that heartbeats go on while the worker processes. The two meet in
few words: :attr:`Membership.wanted` is what the group wants the worker to have, :meth:`Membership.report` says what it
has. Kafka's ``StreamsGroupHeartbeatRequestManager`` and ``StreamsMembershipManager`` are the models.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
import uuid
from collections.abc import Callable, Coroutine, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from engine.client.errors import AuthenticationFailed, ClientError, UnsupportedApi
from engine.model.errors import ErrorCode, KafkaError
from engine.streams.errors import StreamsError
from engine.streams.queries.routes import Endpoint, Routes
from engine.streams.runtime.config import StreamsConfigError
from engine.streams.runtime.coordinator import Committed, GroupCoordinator, Partition, is_passing, pause
from engine.streams.runtime.group_topology import NO_TASKS, Assignment, owned, tasks_of
from engine.wire.messages.streams_group_heartbeat_request import Endpoint as UserEndpoint
from engine.wire.messages.streams_group_heartbeat_request import StreamsGroupHeartbeatRequest

if TYPE_CHECKING:
    from engine.wire.messages.streams_group_heartbeat_request import Topology as GroupTopology

log = logging.getLogger(__name__)

T = TypeVar("T")

_JOIN, _LEAVE = 0, -1
_WAITING_INTERVAL_S = 0.3
_FENCED = (ErrorCode.UNKNOWN_MEMBER_ID, ErrorCode.FENCED_MEMBER_EPOCH)
# Kinds of a heartbeat's status.
_STALE_TOPOLOGY, _MISSING_SOURCES, _WRONG_PARTITIONS, _MISSING_INTERNAL, _SHUTDOWN, _DELAYED = range(6)
_STATUS_NAMES = (
    "STALE_TOPOLOGY",
    "MISSING_SOURCE_TOPICS",
    "INCORRECTLY_PARTITIONED_TOPICS",
    "MISSING_INTERNAL_TOPICS",
    "SHUTDOWN_APPLICATION",
    "ASSIGNMENT_DELAYED",
)
# What another start of the worker would not change.
_WRONG_USE = (
    ErrorCode.GROUP_ID_NOT_FOUND,
    ErrorCode.INCONSISTENT_GROUP_PROTOCOL,
    ErrorCode.INVALID_REQUEST,
    ErrorCode.STREAMS_INVALID_TOPOLOGY,
    ErrorCode.UNSUPPORTED_VERSION,
)
_REMEDIES = {
    ErrorCode.GROUP_AUTHORIZATION_FAILED: "the user needs READ on the group",
    ErrorCode.TOPIC_AUTHORIZATION_FAILED: "the user needs DESCRIBE on the topics, and CREATE on internal ones",
    ErrorCode.GROUP_ID_NOT_FOUND: "a group of another protocol has this name: choose another application.id",
    ErrorCode.INCONSISTENT_GROUP_PROTOCOL: "a group of another protocol has this name: choose another application.id",
    ErrorCode.GROUP_MAX_SIZE_REACHED: "raise group.streams.max.size, or start fewer workers",
    ErrorCode.INVALID_REQUEST: "a topology that changed needs another application.id, or the group deleted once it is "
    "empty (kafka-streams-groups.sh --delete --group)",
    ErrorCode.UNSUPPORTED_VERSION: "set the feature streams.version to 1 (kafka-features.sh upgrade)",
    ErrorCode.STREAMS_INVALID_TOPOLOGY: "look at topics and co-partitioning of the topology",
}


class MembershipLost(StreamsError):
    """The group took the member for dead: its tasks may run elsewhere, what is not committed must be dropped."""


class Membership:
    """One member. Made and used from the worker's thread; everything with ``_`` belongs to the loop's thread."""

    def __init__(
        self,
        make_coordinator: Callable[[], GroupCoordinator],
        topology: GroupTopology,
        *,
        process_id: str,
        rebalance_timeout_ms: int,
        rack_id: str | None = None,
        group_configs: Mapping[str, str] | None = None,
    ) -> None:
        self.member_id = str(uuid.uuid4())
        self.member_epoch = _JOIN
        self.wanted = NO_TASKS
        """What the worker shall have; replaced, never changed."""
        self.lost = threading.Event()
        """Set when the member was fenced; it joins again after :meth:`report` of no tasks."""
        self.failure: BaseException | None = None
        """Why the application cannot go on."""
        self.shutdown = threading.Event()
        """Set when a member asked the whole application to stop."""
        self.status = ""
        """What the group waits for, empty when for nothing."""
        self.changed = threading.Event()
        """Set when the worker should look at all this."""
        self.busy_since = time.monotonic()
        """When the worker last came by; beyond max.poll.interval.ms the member leaves."""
        self.endpoint: Endpoint | None = None
        """Where the worker answers queries; told when it joins."""
        self.routes = Routes()
        """Where the others answer, and what they have; replaced, never changed."""
        self._make_coordinator = make_coordinator
        self._topology = topology
        self._process_id = process_id
        self._rebalance_timeout_ms = rebalance_timeout_ms
        self._rack_id = rack_id
        self._group_configs = dict(group_configs or {})
        self._owned = NO_TASKS
        self._told: Assignment | None = None
        self._endpoint_epoch = -1
        self._left = False
        self._closing = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="streams-membership", daemon=True)
        self._ready = threading.Event()

    # -- the worker's side --------------------------------------------------------------------------------------

    def start(self) -> None:
        """Join, in the background."""
        self._thread.start()
        self._ready.wait()

    @property
    def is_settled(self) -> bool:
        """Whether the member is in the group, which waits for nothing."""
        return self.member_epoch > _JOIN and not self.status

    def report(self, has: Assignment) -> None:
        """The worker has these tasks now, all others it has given up."""

        def take() -> None:
            self._owned = has
            if self.lost.is_set() and has == NO_TASKS:
                self.lost.clear()
            self._wake.set()

        self._loop.call_soon_threadsafe(take)

    def fetch_offsets(self, partitions: list[Partition], timeout_s: float) -> Future[dict[Partition, Committed]]:
        """Ask for committed offsets. Tries until ``timeout_s`` is over, as long as the membership is not lost.

        The future fails with ClientError, KafkaError or MembershipLost.
        """
        return self._ask(lambda: self._coordinator.fetch_offsets(partitions), timeout_s)

    def commit_offsets(self, offsets: Mapping[Partition, Committed], timeout_s: float) -> None:
        """Commit as this member, in its present epoch.

        Raises:
            MembershipLost: the group has no such member in this epoch any more.
            ClientError, KafkaError: no luck.
        """

        async def commit() -> None:
            async with self._still:
                await self._coordinator.commit_offsets(offsets, self.member_id, self.member_epoch)

        try:
            self._ask(commit, timeout_s).result()
        except KafkaError as error:
            if error.code in (*_FENCED, ErrorCode.STALE_MEMBER_EPOCH, ErrorCode.ILLEGAL_GENERATION):
                self.abandon(f"its commit was refused with {error.code.name}")
                raise MembershipLost(str(error)) from error
            raise

    def _ask(self, make: Callable[[], Coroutine[Any, Any, T]], timeout_s: float) -> Future[T]:
        async def work() -> T:
            until = self._loop.time() + timeout_s
            while True:
                if self.lost.is_set():
                    raise MembershipLost(f"member {self.member_id} of {self._coordinator.group_id} was fenced")
                try:
                    return await make()
                except (AuthenticationFailed, UnsupportedApi):
                    raise
                except ClientError:
                    if self._loop.time() > until:
                        raise
                await pause()

        return asyncio.run_coroutine_threadsafe(work(), self._loop)

    @contextmanager
    def standing_still(self) -> Iterator[int]:
        """While this is open the member's epoch, which is given, does not change: no heartbeat is under way.

        A commit that overtakes a heartbeat would come in the epoch before and be taken for a zombie's.
        """
        asyncio.run_coroutine_threadsafe(self._still.acquire(), self._loop).result()
        try:
            yield self.member_epoch
        finally:
            self._loop.call_soon_threadsafe(self._still.release)

    def abandon(self, why: str) -> None:
        """Something showed that the group goes on without this member."""
        self._loop.call_soon_threadsafe(self._fenced, why)
        self.lost.wait(5)

    def close(self, timeout_s: float = 5.0) -> None:
        """Leave the group, if it can be reached, and end the thread."""
        self._loop.call_soon_threadsafe(self._close)
        self._thread.join(timeout_s)

    # -- the loop's side ----------------------------------------------------------------------------------------

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._live())
        finally:
            self._loop.close()

    def _close(self) -> None:
        self._closing = True
        self._wake.set()

    async def _live(self) -> None:
        self._wake = asyncio.Event()
        self._still = asyncio.Lock()
        self._coordinator = self._make_coordinator()
        self._ready.set()
        try:
            await self._configure_group()
            while not self._closing:
                try:
                    delay_s = await self._beat()
                except (UnsupportedApi, AuthenticationFailed, StreamsError, KafkaError) as error:
                    self._fail(error)
                    break
                except ClientError as error:
                    log.info("heartbeat of %s: %s", self.member_id, error)
                    delay_s = 0.1
                await self._sleep(delay_s)
            # Commits of the worker's last moments may still come.
            while not self._closing:
                await self._sleep(1.0)
            await self._leave()
        except Exception as error:
            self._fail(error)
        finally:
            self._coordinator.close()

    async def _configure_group(self) -> None:
        for name, value in self._group_configs.items():
            while not self._closing:
                try:
                    await self._coordinator.set_group_config(name, value)
                    break
                except ClientError as error:
                    log.info("setting %s of the group: %s", name, error)
                    await pause()

    async def _sleep(self, delay_s: float) -> None:
        try:
            async with asyncio.timeout(delay_s):
                await self._wake.wait()
        except TimeoutError:
            pass
        self._wake.clear()

    def _fail(self, error: BaseException) -> None:
        self.failure = error
        self.changed.set()

    async def _beat(self) -> float:
        """One heartbeat; seconds until the next."""
        if self.lost.is_set():
            return 1.0  # until the worker has put down its tasks
        idle_s = time.monotonic() - self.busy_since
        if idle_s * 1000 > self._rebalance_timeout_ms:
            if not self._left:
                log.error("no poll for %.0f s, beyond max.poll.interval.ms: the member leaves its group", idle_s)
                await self._leave()
                self._fenced("the worker did not come by within max.poll.interval.ms")
            return 1.0
        self._left = False
        async with self._still:
            joins = self.member_epoch == _JOIN
            has = self._owned
            request = StreamsGroupHeartbeatRequest(
                group_id=self._coordinator.group_id,
                member_id=self.member_id,
                member_epoch=self.member_epoch,
                endpoint_information_epoch=self._endpoint_epoch,
            )
            if joins:
                request.topology = self._topology
                request.process_id = self._process_id
                request.rack_id = self._rack_id
                request.rebalance_timeout_ms = self._rebalance_timeout_ms
                request.client_tags = []
                if self.endpoint is not None:
                    request.user_endpoint = UserEndpoint(host=self.endpoint.host, port=self.endpoint.port)
            if joins or has != self._told:
                tasks = NO_TASKS if joins else has
                request.active_tasks = owned(tasks.active)
                request.standby_tasks = owned(tasks.standby)
                request.warmup_tasks = owned(tasks.warmup)
            try:
                answer = await self._coordinator.send(request)
            except ClientError:
                # Whether it was heard is unknown: what the member has is said again.
                self._told = None
                raise
            return self._take(answer, has)

    def _take(self, answer: Any, has: Assignment) -> float:
        if answer.error_code:
            self._told = None
            code = ErrorCode(answer.error_code)
            if code in _FENCED:
                self._fenced(answer.error_message or code.name)
                return 0.0
            if is_passing(code):
                self._coordinator.forget()
                return 0.1
            remedy = _REMEDIES.get(code)
            hint = f" ({remedy})" if remedy else ""
            kind = StreamsConfigError if code in _WRONG_USE else StreamsError
            raise kind(f"group {self._coordinator.group_id}: {code.name}: {answer.error_message}{hint}")
        self._told = has
        self.member_epoch = answer.member_epoch
        self._endpoint_epoch = answer.endpoint_information_epoch
        if answer.partitions_by_user_endpoint is not None:
            self.routes = Routes(answer.partitions_by_user_endpoint)
        if answer.active_tasks is not None:
            self.wanted = Assignment(
                tasks_of(answer.active_tasks), tasks_of(answer.standby_tasks), tasks_of(answer.warmup_tasks)
            )
            self.changed.set()
        self._take_statuses(answer.status or ())
        interval_s: float = answer.heartbeat_interval_ms / 1000
        # What the group waits for is mostly there soon, internal topics above all.
        return min(_WAITING_INTERVAL_S, interval_s) if self.status else interval_s

    def _take_statuses(self, statuses: Any) -> None:
        told = []
        for each in statuses:
            if each.status_code == _SHUTDOWN:
                self.shutdown.set()
                self.changed.set()
            elif each.status_code == _WRONG_PARTITIONS:
                raise StreamsError(f"group {self._coordinator.group_id}: {each.status_detail}")
            name = _STATUS_NAMES[each.status_code] if 0 <= each.status_code < len(_STATUS_NAMES) else "?"
            told.append(f"{name}: {each.status_detail}")
        status = "; ".join(told)
        if status and status != self.status:
            log.warning("%s", status)
        self.status = status

    def _fenced(self, why: str) -> None:
        if self.lost.is_set():
            return
        log.warning("member %s is fenced: %s", self.member_id, why)
        self.member_epoch = _JOIN
        self.wanted = NO_TASKS
        self._told = None
        self._endpoint_epoch = -1
        self.lost.set()
        self.changed.set()

    async def _leave(self) -> None:
        self._left = True
        if self.member_epoch == _JOIN:
            return
        request = StreamsGroupHeartbeatRequest(
            group_id=self._coordinator.group_id, member_id=self.member_id, member_epoch=_LEAVE
        )
        for _ in range(3):
            try:
                answer = await self._coordinator.send(request, timeout_ms=2_000)
                if not is_passing(answer.error_code):
                    break
                self._coordinator.forget()
            except ClientError as error:
                log.info("leaving the group: %s", error)
            await pause()
        self.member_epoch = _JOIN

"""What a worker's membership in its group is, whatever the protocol; the worker's side and the life of the thread.

It lives on an event loop in a thread of its own, so that heartbeats go on while the worker processes. The two meet in
few words: :attr:`Membership.wanted` is what the group wants the worker to have, :meth:`Membership.report` says what it
has. Protocols: :mod:`engine.streams.runtime.streams_membership` (KIP-1071), and
:mod:`engine.streams.runtime.classic_membership`.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, TypeVar

from engine.client.errors import AuthenticationFailed, ClientError, ConnectionLost, UnsupportedApi
from engine.model.errors import ErrorCode, KafkaError
from engine.streams.errors import StreamsError
from engine.streams.queries.routes import Endpoint, Routes
from engine.streams.runtime.coordinator import Committed, GroupCoordinator, Partition, is_passing, pause
from engine.streams.runtime.group_topology import NO_TASKS, Assignment
from engine.wire.message import Message

log = logging.getLogger(__name__)

T = TypeVar("T")

JOIN = 0
"""The epoch, or generation, of who is not in the group."""
FENCED = (ErrorCode.UNKNOWN_MEMBER_ID, ErrorCode.FENCED_MEMBER_EPOCH)
REMEDIES = {
    ErrorCode.GROUP_AUTHORIZATION_FAILED: "the user needs READ on the group",
    ErrorCode.TOPIC_AUTHORIZATION_FAILED: "the user needs DESCRIBE on the topics, and CREATE on internal ones",
    ErrorCode.GROUP_ID_NOT_FOUND: "a group of another protocol has this name: choose another application.id, or set "
    "group.protocol as it was",
    ErrorCode.INCONSISTENT_GROUP_PROTOCOL: "a group of another protocol has this name: choose another application.id, "
    "or set group.protocol as it was",
    ErrorCode.GROUP_MAX_SIZE_REACHED: "raise group.max.size or group.streams.max.size, or start fewer workers",
    ErrorCode.INVALID_REQUEST: "a topology that changed needs another application.id, or the group deleted once it is "
    "empty (kafka-streams-groups.sh --delete --group)",
    ErrorCode.UNSUPPORTED_VERSION: "set the feature streams.version to 1 (kafka-features.sh upgrade)",
    ErrorCode.STREAMS_INVALID_TOPOLOGY: "look at topics and co-partitioning of the topology",
}


class MembershipLost(StreamsError):
    """The group took the member for dead: its tasks may run elsewhere, what is not committed must be dropped."""


class Membership(ABC):
    """One member. Made and used from the worker's thread; everything with ``_`` belongs to the loop's thread."""

    def __init__(
        self, make_coordinator: Callable[[], GroupCoordinator], *, process_id: str, rebalance_timeout_ms: int
    ) -> None:
        self.member_id = ""
        self.member_epoch = JOIN
        """Under the classic protocol the group's generation."""
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
        self.session_s = 45.0
        """How long the group waits for a member that says nothing, before it gives its tasks to others."""
        self.heard_s = time.monotonic()
        """When the group last said that this is a member."""
        self.busy_since = time.monotonic()
        """When the worker last came by; beyond max.poll.interval.ms the member leaves."""
        self.endpoint: Endpoint | None = None
        """Where the worker answers queries; told when it joins."""
        self.routes = Routes()
        """Where the others answer, and what they have; replaced, never changed."""
        self.predecessor = ""
        """A member that is dead for certain, so that the group need not wait for its session to end."""
        self.on_member_id: Callable[[str], object] = lambda _: None
        """Told, in the loop's thread, where the group gives the member its id."""
        self._make_coordinator = make_coordinator
        self._process_id = process_id
        self._rebalance_timeout_ms = rebalance_timeout_ms
        self._owned = NO_TASKS
        self._left = False
        self._closing = False
        self._loop: asyncio.AbstractEventLoop
        self._thread = threading.Thread(target=self._run, name="streams-membership", daemon=True)
        self._ready = threading.Event()

    # -- what a protocol says -----------------------------------------------------------------------------------

    @abstractmethod
    async def _beat(self) -> float:
        """Tell the group that this member lives, join it first where that is due; seconds until the next time."""

    @abstractmethod
    async def _leave(self) -> None:
        """Leave the group, if that is possible."""

    @abstractmethod
    def _leave_request(self, member_id: str) -> Message:
        """What says that a member has left."""

    @abstractmethod
    def _forget_group(self) -> None:
        """The member was fenced: it begins anew."""

    async def _prepare(self) -> None:  # noqa: B027  a protocol may have nothing to do
        """Before the first beat."""

    def _release(self) -> None:  # noqa: B027
        """Close what the protocol has opened."""

    def _passes_with_the_rebalance(self, code: ErrorCode) -> bool:
        """Whether a commit that was refused so is to be tried again."""
        return False

    async def _stand_still(self) -> None:
        """Take the lock that epochs change under."""
        await self._still.acquire()

    @property
    def may_commit(self) -> bool:
        """Whether a commit is sure to be taken for this member's now."""
        return True

    # -- the worker's side --------------------------------------------------------------------------------------

    def start(self) -> None:
        """Join, in the background."""
        self._loop = asyncio.new_event_loop()
        self._thread.start()
        self._ready.wait()

    @property
    def is_settled(self) -> bool:
        """Whether the member is in the group, which waits for nothing."""
        return self.member_epoch > JOIN and not self.status

    @property
    def is_sure(self) -> bool:
        """Whether nobody else can have this member's tasks: not after a pause, or without the group, of a session."""
        return not self.lost.is_set() and time.monotonic() - self.heard_s < self.session_s

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
                try:
                    await self._coordinator.commit_offsets(offsets, self.member_id, self.member_epoch)
                except KafkaError as error:
                    if self._passes_with_the_rebalance(error.code):
                        raise ConnectionLost(f"{error}: the group is rebalanced") from error
                    raise

        try:
            self._ask(commit, timeout_s).result()
        except KafkaError as error:
            if error.code in (*FENCED, ErrorCode.STALE_MEMBER_EPOCH, ErrorCode.ILLEGAL_GENERATION):
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
        asyncio.run_coroutine_threadsafe(self._stand_still(), self._loop).result()
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
        if not self._thread.is_alive():
            return
        self._loop.call_soon_threadsafe(self._close)
        self._thread.join(timeout_s)

    # -- the loop's side ----------------------------------------------------------------------------------------

    def _run(self) -> None:
        # Whoever waits for an answer is told when the thread ends: what is under way is cancelled.
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._live())

    def _close(self) -> None:
        self._closing = True
        self._wake.set()

    async def _live(self) -> None:
        self._wake = asyncio.Event()
        self._still = asyncio.Lock()
        self._coordinator = self._make_coordinator()
        self._ready.set()
        try:
            await self._prepare()
            while not self._closing:
                try:
                    delay_s = await self._beat()
                except (UnsupportedApi, AuthenticationFailed, StreamsError, KafkaError) as error:
                    self._fail(error)
                    break
                except ClientError as error:
                    log.info("heartbeat of %s: %s", self.member_id, error)
                    delay_s = 0.1
                except Exception as error:  # the worker is told, and finds a loop that still runs
                    self._fail(error)
                    break
                await self._sleep(delay_s)
            # Commits of the worker's last moments may still come.
            while not self._closing:
                await self._sleep(1.0)
            await self._leave()
        except Exception as error:
            self._fail(error)
        finally:
            self._release()
            self._coordinator.close()

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

    def _is_idle(self) -> bool:
        """Whether the worker has not come by for longer than it may."""
        return (time.monotonic() - self.busy_since) * 1000 > self._rebalance_timeout_ms

    async def _leave_for_idleness(self) -> None:
        if not self._left:
            idle_s = time.monotonic() - self.busy_since
            log.error("no poll for %.0f s, beyond max.poll.interval.ms: the member leaves its group", idle_s)
            self._left = True
            await self._leave()
            self._fenced("the worker did not come by within max.poll.interval.ms")

    async def _say_that_left(self, member_id: str) -> None:
        request = self._leave_request(member_id)
        for _ in range(3):
            try:
                answer = await self._coordinator.send(request, timeout_ms=2_000)
                if not is_passing(answer.error_code):
                    break
                self._coordinator.forget()
            except ClientError as error:
                log.info("leaving the group: %s", error)
            await pause()

    def _fenced(self, why: str) -> None:
        if self.lost.is_set():
            return
        log.warning("member %s is fenced: %s", self.member_id, why)
        self.member_epoch = JOIN
        self.wanted = NO_TASKS
        self._forget_group()
        self.lost.set()
        self.changed.set()

    def _tell_status(self, status: str) -> None:
        if status and status != self.status:
            log.warning("%s", status)
        self.status = status

"""A worker's membership in its group: joins, is told its work, tells that it lives, leaves (``WorkerCoordinator``).

Kafka's classic group protocol with protocol type ``connect``. What the messages carry is
:mod:`engine.connect.runtime.group_protocol`'s.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple

from engine.client.errors import AuthenticationFailed, ClientError, UnsupportedApi
from engine.client.group_channel import MOVED, GroupChannel
from engine.connect.errors import ConnectError
from engine.connect.runtime.group_protocol import PROTOCOL_TYPE
from engine.model.errors import ErrorCode, KafkaError
from engine.wire.messages.heartbeat_request import HeartbeatRequest
from engine.wire.messages.join_group_request import JoinGroupRequest, JoinGroupRequestProtocol
from engine.wire.messages.leave_group_request import LeaveGroupRequest, MemberIdentity
from engine.wire.messages.sync_group_request import SyncGroupRequest, SyncGroupRequestAssignment

log = logging.getLogger(__name__)

_RETRY_S = 0.1
_LATE_MS = 5_000
# Another try may bring another answer.
_PASSING = MOVED | {ErrorCode.REQUEST_TIMED_OUT, ErrorCode.NETWORK_EXCEPTION, ErrorCode.NOT_ENOUGH_REPLICAS}
_FORGOTTEN = (ErrorCode.UNKNOWN_MEMBER_ID, ErrorCode.ILLEGAL_GENERATION, ErrorCode.FENCED_INSTANCE_ID)

Protocols = Sequence[tuple[str, bytes]]
Assign = Callable[[str, str, Mapping[str, bytes]], Awaitable[Mapping[str, bytes]]]
"""``(protocol, leader's member id, metadata by member)`` → assignments by member."""


class Joined(NamedTuple):
    """A round of the group is complete."""

    generation: int
    protocol: str
    assignment: bytes


class CoordinatorLost(ConnectError):
    """The group goes on without this member."""


class GroupMember:
    """One member. All methods belong to one event loop."""

    def __init__(
        self,
        channel: GroupChannel,
        *,
        session_timeout_ms: int,
        rebalance_timeout_ms: int,
        heartbeat_interval_ms: int,
        on_change: Callable[[], None],
    ) -> None:
        """``on_change`` is called when :attr:`must_join` or :attr:`is_lost` may have changed."""
        self.member_id = ""
        self.generation = -1
        self.last_completed_generation = -1
        self.must_join = True
        """Whether the group is in another round, or does not know the member any more."""
        self.heard_at = 0.0
        """When the coordinator answered last, by the loop's clock."""
        self._channel = channel
        self._session_timeout_ms = session_timeout_ms
        self._rebalance_timeout_ms = rebalance_timeout_ms
        self._interval_s = heartbeat_interval_ms / 1000
        self._on_change = on_change
        self._beating: asyncio.Task[None] | None = None

    @property
    def is_lost(self) -> bool:
        """Whether the coordinator has not been heard for so long that it must take this member for dead."""
        now = asyncio.get_running_loop().time()
        return self.heard_at > 0 and (now - self.heard_at) * 1000 > self._session_timeout_ms

    def request_join(self) -> None:
        """Join again, soon."""
        self.must_join = True
        self._on_change()

    async def join(self, protocols: Callable[[], Protocols], assign: Assign) -> Joined:
        """Take part in a round, and in those after it until one is complete.

        Args:
            protocols: this member's metadata by protocol, the preferred one first; asked anew for each round.
            assign: called if this member leads the round.

        Raises:
            CoordinatorLost: it is not to be found, and :attr:`is_lost` holds.
            KafkaError: the group refuses the member for good.
            AuthenticationFailed, UnsupportedApi: so do the brokers.
        """
        await self._stop_beating()
        while True:
            try:
                joined = await self._round(protocols, assign)
            except (AuthenticationFailed, UnsupportedApi):
                raise
            except ClientError as error:
                log.info("joining group %s: %s", self._channel.group_id, error)
                joined = None
                if self.is_lost:
                    raise CoordinatorLost(f"group {self._channel.group_id}: {error}") from error
                await asyncio.sleep(_RETRY_S)
            if joined is not None:
                self.must_join = False
                self.heard_at = asyncio.get_running_loop().time()
                self.last_completed_generation = self.generation
                self._beating = asyncio.get_running_loop().create_task(self._beat())
                return joined

    async def _round(self, protocols: Callable[[], Protocols], assign: Assign) -> Joined | None:
        request = JoinGroupRequest(
            group_id=self._channel.group_id,
            session_timeout_ms=self._session_timeout_ms,
            rebalance_timeout_ms=self._rebalance_timeout_ms,
            member_id=self.member_id,
            protocol_type=PROTOCOL_TYPE,
            protocols=[JoinGroupRequestProtocol(name=name, metadata=data) for name, data in protocols()],
        )
        answer = await self._channel.send(request, timeout_ms=self._rebalance_timeout_ms + _LATE_MS)
        code = ErrorCode(answer.error_code)
        if code is ErrorCode.MEMBER_ID_REQUIRED:
            self.member_id = answer.member_id
            return None
        if not await self._took(code, "joining"):
            return None
        self.member_id, self.generation = answer.member_id, answer.generation_id
        self.heard_at = asyncio.get_running_loop().time()
        assignments: Mapping[str, bytes] = {}
        if answer.leader == self.member_id and not answer.skip_assignment:
            told = {each.member_id: bytes(each.metadata) for each in answer.members}
            assignments = await assign(answer.protocol_name or "", answer.leader, told)
        sync = SyncGroupRequest(
            group_id=self._channel.group_id,
            generation_id=self.generation,
            member_id=self.member_id,
            protocol_type=PROTOCOL_TYPE,
            protocol_name=answer.protocol_name,
            assignments=[
                SyncGroupRequestAssignment(member_id=member, assignment=data) for member, data in assignments.items()
            ],
        )
        synced = await self._channel.send(sync, timeout_ms=self._rebalance_timeout_ms + _LATE_MS)
        if not await self._took(ErrorCode(synced.error_code), "syncing"):
            return None
        return Joined(self.generation, answer.protocol_name or "", bytes(synced.assignment))

    async def _took(self, code: ErrorCode, what: str) -> bool:
        if code is ErrorCode.NONE:
            return True
        if code in _FORGOTTEN:
            self._forget()
        elif code in MOVED:
            self._channel.forget()
            await asyncio.sleep(_RETRY_S)
        elif code not in _PASSING and code is not ErrorCode.REBALANCE_IN_PROGRESS:
            raise KafkaError(code, f"{what} group {self._channel.group_id}: {code.name}")
        else:
            await asyncio.sleep(_RETRY_S if code in _PASSING else 0)
        return False

    def _forget(self) -> None:
        self.member_id = ""
        self.generation = -1
        self.must_join = True

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._interval_s)
            request = HeartbeatRequest(
                group_id=self._channel.group_id, generation_id=self.generation, member_id=self.member_id
            )
            try:
                answer = await self._channel.send(request)
            except (ClientError, KafkaError) as error:
                log.info("heartbeat to group %s: %s", self._channel.group_id, error)
                self._on_change()
                continue
            code = ErrorCode(answer.error_code)
            if code is ErrorCode.NONE:
                self.heard_at = asyncio.get_running_loop().time()
            elif code is ErrorCode.REBALANCE_IN_PROGRESS:
                self.heard_at = asyncio.get_running_loop().time()
                self.request_join()
                # It counts as alive as long as the round lasts; a worker that is late goes on saying so.
            elif code in _FORGOTTEN:
                log.warning("group %s does not know this member any more: %s", self._channel.group_id, code.name)
                self._forget()
                self._on_change()
                return
            elif code in MOVED:
                self._channel.forget()
            else:
                log.warning("heartbeat to group %s: %s", self._channel.group_id, code.name)

    async def _stop_beating(self) -> None:
        beating, self._beating = self._beating, None
        if beating is not None:
            beating.cancel()
            await asyncio.gather(beating, return_exceptions=True)

    async def leave(self) -> None:
        """Leave the group, if it can be reached."""
        await self._stop_beating()
        if self.member_id:
            # A round that was under way would be answered first.
            self._channel.hang_up()
            request = LeaveGroupRequest(
                group_id=self._channel.group_id,
                members=[MemberIdentity(member_id=self.member_id, reason="the worker is shutting down")],
            )
            try:
                await self._channel.send(request, timeout_ms=2_000)
            except (ClientError, KafkaError) as error:
                log.info("leaving group %s: %s", self._channel.group_id, error)
        self._forget()
        self._channel.close()

"""A member of a streams group (KIP-1071): tells the topology, takes tasks and gives them up; the broker assigns them.

Kafka's ``StreamsGroupHeartbeatRequestManager`` and ``StreamsMembershipManager`` are the models.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from engine.client.errors import ClientError
from engine.model.errors import ErrorCode
from engine.streams.errors import StreamsError
from engine.streams.queries.routes import Routes
from engine.streams.runtime.config import StreamsConfigError
from engine.streams.runtime.coordinator import GroupCoordinator, is_passing, pause
from engine.streams.runtime.group_topology import NO_TASKS, Assignment, owned, tasks_of, wrong_partitions
from engine.streams.runtime.membership import FENCED, JOIN, REMEDIES, Membership
from engine.wire.messages.streams_group_heartbeat_request import Endpoint as UserEndpoint
from engine.wire.messages.streams_group_heartbeat_request import StreamsGroupHeartbeatRequest

if TYPE_CHECKING:
    from engine.wire.messages.streams_group_heartbeat_request import Topology as GroupTopology

log = logging.getLogger(__name__)

_LEAVE = -1
_WAITING_INTERVAL_S = 0.3
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


class StreamsMembership(Membership):
    """A membership under ``group.protocol=streams``."""

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
        """``group_configs`` are set before the member joins."""
        super().__init__(make_coordinator, process_id=process_id, rebalance_timeout_ms=rebalance_timeout_ms)
        self.member_id = str(uuid.uuid4())
        self._topology = topology
        self._rack_id = rack_id
        self._group_configs = dict(group_configs or {})
        self._told: Assignment | None = None
        self._endpoint_epoch = -1

    async def _prepare(self) -> None:
        for name, value in self._group_configs.items():
            while not self._closing:
                try:
                    await self._coordinator.set_group_config(name, value)
                    break
                except ClientError as error:
                    log.info("setting %s of the group: %s", name, error)
                    await pause()
        try:
            told = await self._coordinator.group_config("streams.session.timeout.ms")
            self.session_s = int(told) / 1000 if told else self.session_s
        except (ClientError, ValueError) as error:
            log.info("the session's time is taken to be %.0f s: %s", self.session_s, error)
        if self.predecessor:
            await self._say_that_left(self.predecessor)

    async def _beat(self) -> float:
        """One heartbeat; seconds until the next."""
        if self.lost.is_set():
            return 1.0  # until the worker has put down its tasks
        if self._is_idle():
            await self._leave_for_idleness()
            return 1.0
        self._left = False
        async with self._still:
            joins = self.member_epoch == JOIN
            has, asked_s = self._owned, time.monotonic()
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
            if self.member_epoch != request.member_epoch:
                return 0.0  # it was abandoned meanwhile, and joins anew: what the group says to it is over
            if not answer.error_code:
                self.heard_s = asked_s
            return self._take(answer, has)

    def _take(self, answer: Any, has: Assignment) -> float:
        if answer.error_code:
            self._told = None
            code = ErrorCode(answer.error_code)
            if code in FENCED:
                self._fenced(answer.error_message or code.name)
                return 0.0
            if is_passing(code):
                self._coordinator.forget()
                return 0.1
            remedy = REMEDIES.get(code)
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
                refused = wrong_partitions(each.status_detail)
                raise StreamsConfigError(f"group {self._coordinator.group_id}: {refused}")
            name = _STATUS_NAMES[each.status_code] if 0 <= each.status_code < len(_STATUS_NAMES) else "?"
            told.append(f"{name}: {each.status_detail}")
        self._tell_status("; ".join(told))

    def _forget_group(self) -> None:
        self._told = None
        self._endpoint_epoch = -1

    async def _leave(self) -> None:
        if self.member_epoch == JOIN:
            return
        await self._say_that_left(self.member_id)
        self.member_epoch = JOIN

    def _leave_request(self, member_id: str) -> StreamsGroupHeartbeatRequest:
        return StreamsGroupHeartbeatRequest(
            group_id=self._coordinator.group_id, member_id=member_id, member_epoch=_LEAVE
        )

"""A member of a classic group: JoinGroup, SyncGroup, Heartbeat, LeaveGroup; one of the members assigns.

For clusters without streams groups: Apache Kafka before 4.2. Kafka's
``StreamsPartitionAssignor`` and ``ConsumerCoordinator`` are the models.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from engine.client.admin.client import AdminClient
from engine.client.admin.topics import NewTopic
from engine.client.errors import ClientError
from engine.model.errors import ErrorCode, KafkaError
from engine.streams.errors import StreamsError
from engine.streams.queries.routes import Routes
from engine.streams.runtime.classic_leader import assignments, plan, required_topics, revokes
from engine.streams.runtime.classic_protocol import (
    PROTOCOL_NAME,
    PROTOCOL_TYPE,
    MemberAssignment,
    Subscription,
    fingerprint,
    read,
    read_member_assignment,
    write,
    write_member_assignment,
)
from engine.streams.runtime.config import StreamsConfigError
from engine.streams.runtime.coordinator import GroupCoordinator, is_passing, pause
from engine.streams.runtime.group_topology import NO_TASKS
from engine.streams.runtime.membership import FENCED, JOIN, REMEDIES, Membership
from engine.wire.messages.heartbeat_request import HeartbeatRequest
from engine.wire.messages.join_group_request import JoinGroupRequest, JoinGroupRequestProtocol
from engine.wire.messages.leave_group_request import LeaveGroupRequest, MemberIdentity
from engine.wire.messages.sync_group_request import SyncGroupRequest, SyncGroupRequestAssignment

if TYPE_CHECKING:
    from engine.core.group.streams_topology import InternalTopic
    from engine.wire.messages.streams_group_heartbeat_request import Topology as GroupTopology

log = logging.getLogger(__name__)

_BEGIN_AGAIN = (*FENCED, ErrorCode.ILLEGAL_GENERATION, ErrorCode.FENCED_INSTANCE_ID)
# A leader looks again for topics that were missing, and for partitions that were added.
_MISSING_AGAIN_S = 1.0
_TOPICS_AGAIN_S = 30.0
_TOPICS_TIMEOUT_S = 30.0
_JOIN_LEEWAY_MS = 5_000
# A transaction's offsets wait for a rebalance; it must not time out meanwhile.
_JOIN_PATIENCE_S = 5.0
_GIVING_UP_S = 0.5


class ClassicMembership(Membership):
    """A membership under ``group.protocol=classic``."""

    def __init__(
        self,
        make_coordinator: Callable[[], GroupCoordinator],
        make_admin: Callable[[], AdminClient],
        topology: GroupTopology,
        *,
        process_id: str,
        rebalance_timeout_ms: int,
        session_timeout_ms: int,
        heartbeat_interval_ms: int,
        standbys: int,
    ) -> None:
        super().__init__(make_coordinator, process_id=process_id, rebalance_timeout_ms=rebalance_timeout_ms)
        self._make_admin = make_admin
        self._topology = topology
        self._fingerprint = fingerprint(topology)
        self._session_timeout_ms = session_timeout_ms
        self.session_s = session_timeout_ms / 1000
        self._heartbeat_s = heartbeat_interval_ms / 1000
        self._standbys = standbys
        self._must_join = True
        self._joining = False
        self._generation = JOIN
        self._leads = False
        self._look_at = 0.0
        self._counts: dict[str, int] = {}

    @property
    def may_commit(self) -> bool:
        """Not while the member joins: whether a commit is of the old or the new generation is the broker's secret."""
        return not self._joining

    def _passes_with_the_rebalance(self, code: ErrorCode) -> bool:
        joins = self._joining or self._must_join
        return code is ErrorCode.REBALANCE_IN_PROGRESS or (code is ErrorCode.ILLEGAL_GENERATION and joins)

    async def _stand_still(self) -> None:
        until = time.monotonic() + _JOIN_PATIENCE_S
        await self._still.acquire()
        while self._joining and time.monotonic() < until:
            self._still.release()
            await asyncio.sleep(0.02)
            await self._still.acquire()

    async def _prepare(self) -> None:
        # A broker answers the requests of a connection one after the other: commits do not queue behind a join.
        self._group = self._make_coordinator()
        self._admin = self._make_admin()
        if self.predecessor:
            await self._say_that_left(self.predecessor)

    def _release(self) -> None:
        self._group.close()
        self._admin.close()

    async def _beat(self) -> float:
        if self.lost.is_set():
            return 1.0  # until the worker has put down its tasks
        if self._is_idle():
            await self._leave_for_idleness()
            return 1.0
        self._left = False
        if self._leads and time.monotonic() >= self._look_at:
            await self._look_at_topics()
        # What the group has assigned last is taken up, or given up, before anything else is asked for.
        if self._must_join and self._owned == self.wanted:
            await self._rebalance()
            return 0.0 if self._must_join else self._next_s()
        if self.member_epoch != JOIN:
            await self._heartbeat()
        return min(_GIVING_UP_S, self._heartbeat_s) if self._must_join else self._next_s()

    def _next_s(self) -> float:
        if not self._leads:
            return self._heartbeat_s
        return max(0.01, min(self._heartbeat_s, self._look_at - time.monotonic()))

    async def _heartbeat(self) -> None:
        asked_s = time.monotonic()
        answer = await self._coordinator.send(
            HeartbeatRequest(
                group_id=self._coordinator.group_id, generation_id=self._generation, member_id=self.member_id
            )
        )
        code = ErrorCode(answer.error_code)
        if not code or code is ErrorCode.REBALANCE_IN_PROGRESS:
            self.heard_s = asked_s
        if code is ErrorCode.REBALANCE_IN_PROGRESS:
            self._must_join = True
        elif code in _BEGIN_AGAIN:
            self._fenced(f"its heartbeat was refused with {code.name}")
        elif is_passing(code):
            self._coordinator.forget()
        elif code:
            raise self._refused(code)

    # -- a rebalance --------------------------------------------------------------------------------------------

    async def _rebalance(self) -> None:
        self._joining = True
        try:
            joined = await self._join()
            if joined is None:
                return
            # From here on commits must be of the new generation, and are taken once the group is synced.
            async with self._still:
                await self._sync(joined)
        finally:
            self._joining = False

    async def _join(self) -> Any:
        subscription = Subscription(
            self._process_id, self._fingerprint, self._owned, self._generation, self.endpoint, self._standbys
        )
        sources = {
            name
            for each in self._topology.subtopologies
            for name in (*each.source_topics, *(topic.name for topic in each.repartition_source_topics))
        }
        metadata = write(subscription, sources, self._topology)
        request = JoinGroupRequest(
            group_id=self._group.group_id,
            session_timeout_ms=self._session_timeout_ms,
            rebalance_timeout_ms=self._rebalance_timeout_ms,
            member_id=self.member_id,
            protocol_type=PROTOCOL_TYPE,
            protocols=[JoinGroupRequestProtocol(name=PROTOCOL_NAME, metadata=metadata)],
        )
        answer = await self._until_closing(request, self._rebalance_timeout_ms + _JOIN_LEEWAY_MS)
        if answer is None:
            return None
        code = ErrorCode(answer.error_code)
        if code is ErrorCode.MEMBER_ID_REQUIRED:
            self._is_called(answer.member_id)
            return None
        if code in _BEGIN_AGAIN:
            self.member_id = ""
            if self._owned != NO_TASKS:
                self._fenced(f"its join was refused with {code.name}")
            return None
        if is_passing(code) or code is ErrorCode.REBALANCE_IN_PROGRESS:
            self._group.forget()
            await pause()
            return None
        if code:
            raise self._refused(code)
        self._is_called(answer.member_id)
        return answer

    def _is_called(self, member_id: str) -> None:
        if member_id != self.member_id:
            self.member_id = member_id
            self.on_member_id(member_id)

    async def _sync(self, joined: Any) -> None:
        generation = joined.generation_id
        self._leads = joined.leader == joined.member_id
        told: dict[str, MemberAssignment] = {}
        if self._leads:
            told = await self._assign({each.member_id: bytes(each.metadata) for each in joined.members})
        request = SyncGroupRequest(
            group_id=self._group.group_id,
            generation_id=generation,
            member_id=self.member_id,
            protocol_type=PROTOCOL_TYPE,
            protocol_name=joined.protocol_name,
            assignments=[
                SyncGroupRequestAssignment(member_id=member_id, assignment=write_member_assignment(each))
                for member_id, each in told.items()
            ],
        )
        asked_s = time.monotonic()
        answer = await self._until_closing(request, self._rebalance_timeout_ms + _JOIN_LEEWAY_MS)
        if answer is None:
            return
        code = ErrorCode(answer.error_code)
        if code is ErrorCode.REBALANCE_IN_PROGRESS:
            return  # somebody came or went meanwhile: join again
        if code in _BEGIN_AGAIN:
            self._fenced(f"its sync was refused with {code.name}")
            return
        if is_passing(code):
            self._group.forget()
            return
        if code:
            raise self._refused(code)
        self.member_epoch = self._generation = generation
        self.heard_s = asked_s
        self._take(read_member_assignment(bytes(answer.assignment)))

    def _take(self, assignment: MemberAssignment) -> None:
        if assignment.error:
            raise StreamsConfigError(f"group {self._group.group_id}: {assignment.error}")
        # Whoever gives something up joins again, so that others get it.
        self._must_join = revokes(self._owned, assignment.tasks)
        self._tell_status(assignment.status)
        self.routes = Routes(_route(each) for each in assignment.routes)
        self.wanted = assignment.tasks
        self.changed.set()
        if self._leads:
            self._look_at = time.monotonic() + (_MISSING_AGAIN_S if assignment.status else _TOPICS_AGAIN_S)

    async def _until_closing(self, request: Any, timeout_ms: float) -> Any:
        """Ask the coordinator; None when the worker ends meanwhile, or does not come by any more."""
        asked = asyncio.ensure_future(self._group.send(request, timeout_ms=timeout_ms))
        looked_s = time.monotonic()
        try:
            while not asked.done():
                # A group that waits for others to join keeps those who have, unless they were stopped meanwhile.
                before_s, looked_s = looked_s, time.monotonic()
                if self.is_sure and looked_s - before_s < self.session_s:
                    self.heard_s = looked_s
                if self._closing or self.lost.is_set() or self._is_idle():
                    return None
                await asyncio.wait((asked,), timeout=0.1)
            return asked.result()
        finally:
            if not asked.done():
                asked.cancel()
                self._group.hang_up()

    # -- the leader ---------------------------------------------------------------------------------------------

    async def _assign(self, metadata: Mapping[str, bytes]) -> dict[str, MemberAssignment]:
        members = {member_id: read(each) for member_id, each in metadata.items()}
        try:
            async with asyncio.timeout(_TOPICS_TIMEOUT_S):
                self._counts = await self._topics()
        except (TimeoutError, ClientError) as error:
            log.warning("the leader cannot look at topics: %s", error or "no answer")
            self._counts = {}
        return assignments(self._topology, self._counts, members)

    async def _topics(self) -> dict[str, int]:
        """Partitions by topic; internal topics that are missing are created."""
        counts = await self._known()
        to_create = plan(self._topology, counts).to_create
        if not to_create:
            return counts
        made = await self._admin.create_topics([_new_topic(each) for each in to_create])
        for name, outcome in made.items():
            if isinstance(outcome, KafkaError) and outcome.code is not ErrorCode.TOPIC_ALREADY_EXISTS:
                log.error("internal topic %s cannot be created: %s", name, outcome)
        wanted = {each.name for each in to_create if not isinstance(made.get(each.name), KafkaError)}
        while not wanted <= (counts := await self._known()).keys():
            await pause()  # brokers hear of topics one after the other
        return counts

    async def _known(self) -> dict[str, int]:
        names = required_topics(self._topology)
        found = await self._admin.metadata(sorted(names))
        return {each.name: len(each.partitions) for each in found.topics.values() if each.partitions}

    async def _look_at_topics(self) -> None:
        """Another rebalance where other topics, or more partitions, are there now."""
        self._look_at = time.monotonic() + (_MISSING_AGAIN_S if self.status else _TOPICS_AGAIN_S)
        counts = await self._known()
        if counts != self._counts:
            log.info("topics have changed: the group is rebalanced")
            self._must_join = True

    # -- the end ------------------------------------------------------------------------------------------------

    def _refused(self, code: ErrorCode) -> StreamsError:
        remedy = REMEDIES.get(code)
        hint = f" ({remedy})" if remedy else ""
        kind = StreamsConfigError if code is ErrorCode.INCONSISTENT_GROUP_PROTOCOL else StreamsError
        return kind(f"group {self._group.group_id}: {code.name}{hint}")

    def _forget_group(self) -> None:
        self.member_id = ""
        self._generation = JOIN
        self._must_join = True
        self._leads = False

    async def _leave(self) -> None:
        """Kafka Streams waits for the time-out (``internal.leave.group.on.close``); here others take over at once."""
        if self.member_id:
            await self._say_that_left(self.member_id)
        self.member_epoch = JOIN
        self.member_id = ""

    def _leave_request(self, member_id: str) -> LeaveGroupRequest:
        return LeaveGroupRequest(group_id=self._coordinator.group_id, members=[MemberIdentity(member_id=member_id)])


def _new_topic(topic: InternalTopic) -> NewTopic:
    return NewTopic(topic.name, topic.partitions, topic.replication_factor or -1, configs=dict(topic.configs))


def _route(told: Mapping[str, Any]) -> SimpleNamespace:
    """In the form of a heartbeat's answer."""
    host, port = told["endpoint"]
    active, standby = (
        [SimpleNamespace(topic=topic, partitions=numbers) for topic, numbers in told[kind]]
        for kind in ("active", "standby")
    )
    return SimpleNamespace(
        user_endpoint=SimpleNamespace(host=host, port=port), active_partitions=active, standby_partitions=standby
    )

"""Znodes by which tools ask the controller for something, as Kafka's own tools did before there were requests for it.

The active controller watches them (Kafka 3.9: KafkaController) and does what they say by the controller's requests:

``/admin/delete_topics/<topic>``        the topic is deleted; the znode goes with it, or because nothing can be deleted
``/admin/preferred_replica_election``   preferred leaders of the partitions named are elected; the znode goes
``/admin/reassign_partitions``          replicas move; what is done leaves the znode, which goes with the last partition
``/isr_change_notification/*``          in-sync replicas that somebody wrote into a partition's state are taken over

A request that is not understood goes too, with a line in the log: nobody would ever do it. One that the controller
could not answer in time stays, and is tried again; so is everything by the next controller, when this one is none.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any

from engine.core.znodes.admin_znodes import decode_partitions, decode_reassignment, encode_reassignment
from engine.core.znodes.json_fields import JsonFields, ZnodeCorrupt
from engine.core.znodes.paths import (
    DELETE_TOPICS,
    ISR_CHANGES,
    PREFERRED_ELECTION,
    REASSIGN_PARTITIONS,
    partition_state,
)
from engine.model.errors import ErrorCode
from engine.model.topic_partition import TopicPartition
from engine.wire.apis import ApiKey
from engine.wire.messages.alter_partition_reassignments_request import (
    AlterPartitionReassignmentsRequest,
    ReassignablePartition,
    ReassignableTopic,
)
from engine.wire.messages.alter_partition_request import AlterPartitionRequest, BrokerState, PartitionData, TopicData
from engine.wire.messages.delete_topics_request import DeleteTopicsRequest, DeleteTopicState
from engine.wire.messages.elect_leaders_request import ElectLeadersRequest, TopicPartitions
from engine.wire.messages.list_partition_reassignments_request import (
    ListPartitionReassignmentsRequest,
    ListPartitionReassignmentsTopics,
)
from engine.zookeeper.errors import NoNode, SessionExpired, ZooKeeperError

if TYPE_CHECKING:
    from engine.core.controller.image import MetadataImage
    from engine.wire.message import Message
    from engine.zookeeper.session import ZooKeeperSession

log = logging.getLogger(__name__)

_PATHS = (DELETE_TOPICS, PREFERRED_ELECTION, REASSIGN_PARTITIONS, ISR_CHANGES)

# Versions of the requests that are asked with.
_DELETE_TOPICS, _ELECT_LEADERS, _ALTER_REASSIGNMENTS, _LIST_REASSIGNMENTS, _ALTER_PARTITION = 6, 2, 1, 0, 3
_TIMEOUT_MS = 30_000
# How often replicas that move are looked at, and what could not be done is tried again.
_POLL_S = 0.5
_NOT_YET = frozenset((ErrorCode.NOT_CONTROLLER, ErrorCode.REQUEST_TIMED_OUT))
_PREFERRED = 0

Handle = Callable[[int, "Message", int], Awaitable["Message"]]


class AdminZnodes:
    """Does what these znodes ask for, from :meth:`start` to :meth:`stop`: while this node is the active controller."""

    def __init__(
        self, session: ZooKeeperSession, handle: Handle, *, image: Callable[[], MetadataImage] | None = None
    ) -> None:
        """``handle`` answers a controller's request (API key, request, version). ``image`` is the metadata: without it
        in-sync replicas that others wrote are not taken over."""
        self._session = session
        self._handle = handle
        self._image = image
        self._task: asyncio.Task[None] | None = None
        # An ordered set: paths that somebody touched and nobody has looked at since.
        self._touched: dict[str, None] = {}
        self._wake = asyncio.Event()
        # One watch a path, always the same object: a watch that is set twice fires once.
        self._watches = {path: self._watch_of(path) for path in _PATHS}
        # Partitions that move for /admin/reassign_partitions.
        self._moving: list[TopicPartition] = []

    def start(self) -> None:
        """Look at all of them, then at those that change."""
        if self._task is None:
            self._touched = dict.fromkeys(_PATHS)
            self._moving = []
            self._wake.set()
            self._task = asyncio.get_running_loop().create_task(self._run())

    def stop(self) -> None:
        """Touch nothing any more. What is half done is the next controller's."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()

    def _watch_of(self, path: str) -> Callable[..., None]:
        def touched(*_: object) -> None:
            self._touched[path] = None
            self._wake.set()

        return touched

    async def _run(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_POLL_S if self._moving or self._touched else None):
                    await self._wake.wait()
            self._wake.clear()
            due, self._touched = self._touched, {}
            try:
                for path in due:
                    if not await self._look(path):
                        self._touched[path] = None
                if self._moving:
                    await self._follow_moves()
            except SessionExpired:
                return
            except ZooKeeperError as error:
                # It is looked at again, all of it: a watch may have been lost.
                log.info("requests in ZooKeeper cannot be read now: %s", error)
                self._touched = dict.fromkeys(_PATHS)
            except Exception:
                # The controller failed at one, and is made anew: the others must not wait for ever.
                log.exception("what %s ask for failed, and is tried again", ", ".join(due))
                self._touched = dict.fromkeys(_PATHS)
                await asyncio.sleep(_POLL_S)

    async def _look(self, path: str) -> bool:
        """Do what the znode asks for now, and watch it; ``False``: it has to be looked at again."""
        watch = self._watches[path]
        try:
            if path == DELETE_TOPICS:
                return await self._delete_topics(await self._session.children(path, watch))
            if path == ISR_CHANGES:
                return await self._take_over_isrs(await self._session.children(path, watch))
            if await self._session.exists(path, watch) is None:
                self._moving = [] if path == REASSIGN_PARTITIONS else self._moving
                return True
            data = (await self._session.get(path)).data
        except NoNode:
            # Nobody made it yet; it is told when somebody does.
            return await self._session.exists(path, watch) is None
        return await (self._elect(data) if path == PREFERRED_ELECTION else self._reassign(data))

    async def _delete(self, path: str) -> None:
        with contextlib.suppress(NoNode):
            await self._session.delete(path)

    # -- topics that are to go ----------------------------------------------------------------------------------

    async def _delete_topics(self, names: list[str]) -> bool:
        if not names:
            return True
        request = DeleteTopicsRequest(
            topics=[DeleteTopicState(name=name) for name in sorted(names)], timeout_ms=_TIMEOUT_MS
        )
        response: Any = await self._handle(ApiKey.DELETE_TOPICS, request, _DELETE_TOPICS)
        is_done = True
        for each in response.responses:
            if each.error_code in _NOT_YET:
                is_done = False
                continue
            if each.error_code:
                log.warning("%s/%s: not deleted: %s", DELETE_TOPICS, each.name, _reason(each))
            await self._delete(f"{DELETE_TOPICS}/{each.name}")
        return is_done

    # -- preferred leaders --------------------------------------------------------------------------------------

    async def _elect(self, data: bytes) -> bool:
        partitions = _partitions_in(PREFERRED_ELECTION, data)
        if partitions:
            request = ElectLeadersRequest(
                election_type=_PREFERRED,
                topic_partitions=[
                    TopicPartitions(topic=topic, partitions=numbers) for topic, numbers in _by_topic(partitions).items()
                ],
                timeout_ms=_TIMEOUT_MS,
            )
            response: Any = await self._handle(ApiKey.ELECT_LEADERS, request, _ELECT_LEADERS)
            if response.error_code in _NOT_YET:
                return False
            for topic in response.replica_election_results:
                for each in topic.partition_result:
                    if each.error_code not in (ErrorCode.NONE, ErrorCode.ELECTION_NOT_NEEDED):
                        log.warning("preferred leader of %s-%d: %s", topic.topic, each.partition_id, _reason(each))
        await self._delete(PREFERRED_ELECTION)
        return True

    # -- replicas that are to move ------------------------------------------------------------------------------

    async def _reassign(self, data: bytes) -> bool:
        wanted = _partitions_in(REASSIGN_PARTITIONS, data)
        new = {each: replicas for each, replicas in wanted.items() if each not in self._moving}
        if new:
            request = AlterPartitionReassignmentsRequest(
                timeout_ms=_TIMEOUT_MS,
                topics=[
                    ReassignableTopic(
                        name=topic,
                        partitions=[
                            ReassignablePartition(
                                partition_index=number, replicas=new[TopicPartition(topic, number)] or []
                            )
                            for number in numbers
                        ],
                    )
                    for topic, numbers in _by_topic(new).items()
                ],
            )
            response: Any = await self._handle(ApiKey.ALTER_PARTITION_REASSIGNMENTS, request, _ALTER_REASSIGNMENTS)
            if response.error_code in _NOT_YET:
                return False
            if response.error_code:
                log.warning("%s: %s", REASSIGN_PARTITIONS, _reason(response))
            for topic in response.responses:
                for each in topic.partitions:
                    if each.error_code:
                        log.warning("replicas of %s-%d: %s", topic.name, each.partition_index, _reason(each))
        self._moving = list(wanted)
        await self._follow_moves()
        return True

    async def _follow_moves(self) -> None:
        """Take what moves no more out of the znode; it goes with the last of them."""
        request = ListPartitionReassignmentsRequest(
            timeout_ms=_TIMEOUT_MS,
            topics=[
                ListPartitionReassignmentsTopics(name=topic, partition_indexes=numbers)
                for topic, numbers in _by_topic(self._moving).items()
            ],
        )
        if self._moving:
            response: Any = await self._handle(ApiKey.LIST_PARTITION_REASSIGNMENTS, request, _LIST_REASSIGNMENTS)
            if response.error_code:
                return
            ongoing = {
                TopicPartition(topic.name, each.partition_index)
                for topic in response.topics
                for each in topic.partitions
            }
        else:
            ongoing = set()
        left = [each for each in self._moving if each in ongoing]
        if left and left == self._moving:
            return
        try:
            znode = await self._session.get(REASSIGN_PARTITIONS)
            # What somebody added meanwhile stays in it.
            done = set(self._moving) - ongoing
            wanted = _partitions_in(REASSIGN_PARTITIONS, znode.data)
            rest = {each: replicas for each, replicas in wanted.items() if each not in done}
            if rest:
                await self._session.set(REASSIGN_PARTITIONS, encode_reassignment(rest), version=znode.version)
            else:
                await self._session.delete(REASSIGN_PARTITIONS, version=znode.version)
        except NoNode:
            pass
        self._moving = left

    # -- in-sync replicas that others wrote ---------------------------------------------------------------------

    async def _take_over_isrs(self, notifications: list[str]) -> bool:
        is_done = True
        for name in sorted(notifications):
            path = f"{ISR_CHANGES}/{name}"
            try:
                data = (await self._session.get(path)).data
            except NoNode:
                continue
            named = [await self._take_over(each) for each in _partitions_in(path, data)]
            if all(named):
                await self._delete(path)
            else:
                is_done = False
        return is_done

    async def _take_over(self, partition: TopicPartition) -> bool:
        """Have the controller change the ISR to that of the partition's znode, as its leader would ask for it."""
        image = None if self._image is None else self._image()
        topic = None if image is None else image.topics_by_name.get(partition.topic)
        known = None if topic is None else topic.partitions.get(partition.partition)
        if image is None or topic is None or known is None:
            return True
        path = partition_state(partition.topic, partition.partition)
        try:
            state = JsonFields.parse(path, (await self._session.get(path)).data)
            isr, leader, leader_epoch = state.integers("isr"), state.integer("leader"), state.integer("leader_epoch")
        except NoNode:
            return True
        except ZnodeCorrupt as error:
            log.warning("%s", error)
            return True
        broker = image.brokers.get(leader)
        is_of_now = leader == known.leader and leader_epoch == known.leader_epoch and broker is not None
        if not is_of_now or isr == list(known.isr):
            return True
        assert broker is not None
        data = PartitionData(
            partition_index=partition.partition,
            leader_epoch=leader_epoch,
            new_isr_with_epochs=[BrokerState(broker_id=each) for each in isr],
            leader_recovery_state=known.leader_recovery_state,
            partition_epoch=known.partition_epoch,
        )
        request = AlterPartitionRequest(
            broker_id=leader,
            broker_epoch=broker.broker_epoch,
            topics=[TopicData(topic_id=topic.topic_id, partitions=[data])],
        )
        response: Any = await self._handle(ApiKey.ALTER_PARTITION, request, _ALTER_PARTITION)
        codes = [response.error_code, *(each.error_code for topic in response.topics for each in topic.partitions)]
        if any(code in _NOT_YET for code in codes):
            return False
        if any(codes):
            log.warning("the in-sync replicas %s that %s has are not taken over: %s", isr, path, _name(max(codes)))
        return True


# -- what stands in them ----------------------------------------------------------------------------------------


def _partitions_in(path: str, data: bytes) -> dict[TopicPartition, list[int] | None]:
    """Partitions that a znode names, with their replicas where it gives some; none of what is not understood."""
    try:
        if path == REASSIGN_PARTITIONS:
            return dict(decode_reassignment(data))
        return dict.fromkeys(decode_partitions(JsonFields.parse(path, data)))
    except ZnodeCorrupt as error:
        log.warning("%s is not understood, and dropped: %s", path, error.why)
        return {}


def _by_topic(partitions: Iterable[TopicPartition]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for topic, number in partitions:
        found.setdefault(topic, []).append(number)
    return found


def _reason(answer: Any) -> str:
    return str(answer.error_message or _name(answer.error_code))


def _name(code: int) -> str:
    try:
        return ErrorCode(code).name
    except ValueError:
        return str(code)

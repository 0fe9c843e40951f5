"""The harness of the group coordinator with topics and with members of the consumer protocol (KIP-848)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from engine.core.group.consumer_group import ConsumerGroup
from engine.core.group.context import ClientContext, GroupLimits
from engine.core.group.group_topics import GroupTopic
from engine.core.group.shard import GroupCoordinatorShard
from engine.model.errors import ErrorCode
from engine.wire.messages.consumer_group_heartbeat_request import ConsumerGroupHeartbeatRequest, TopicPartitions
from tests.unit.core.group.group_harness import GroupHarness

Partition = tuple[str, int]


def topic_id(name: str, incarnation: int = 0) -> bytes:
    """A topic's id, that tells its name."""
    return bytes([incarnation]) + name.encode().ljust(15, b"\0")


class Topics:
    """Topics with so many partitions."""

    def __init__(self, counts: Mapping[str, int], version: int, configs: Mapping[str, Mapping[str, str]]) -> None:
        self.counts = dict(counts)
        self.version = version
        self._configs = configs

    def by_name(self, name: str) -> GroupTopic | None:
        count = self.counts.get(name)
        return None if count is None else GroupTopic(topic_id(name), name, count)

    def by_id(self, wanted: bytes) -> GroupTopic | None:
        return self.by_name(wanted[1:].rstrip(b"\0").decode())

    def racks(self, name: str) -> Sequence[Sequence[str]]:
        return ()

    def names(self) -> Collection[str]:
        return self.counts.keys()

    def group_config(self, group_id: str) -> Mapping[str, str]:
        return self._configs.get(group_id, {})


NO_DELAYS = GroupLimits(
    group_initial_rebalance_delay_ms=0,
    group_consumer_assignment_interval_ms=0,
    group_consumer_session_timeout_ms=45_000,
)


class ConsumerHarness(GroupHarness):
    """Members are named by their ids; topics change with :meth:`set_topics`."""

    def __init__(self, limits: GroupLimits = NO_DELAYS, **counts: int) -> None:
        self.configs: dict[str, dict[str, str]] = {}
        self.topics = Topics(counts, 1, self.configs)
        super().__init__(limits)

    def _new_shard(self) -> GroupCoordinatorShard:
        return GroupCoordinatorShard(self.limits, self._uuid, self.topics)

    def set_topics(self, **counts: int) -> None:
        """Other numbers of partitions; 0 deletes a topic."""
        after = {name: count for name, count in {**self.topics.counts, **counts}.items() if count}
        changed = {name for name in {**after, **self.topics.counts} if after.get(name) != self.topics.counts.get(name)}
        has_new = not after.keys() <= self.topics.counts.keys()
        self.topics = Topics(after, self.topics.version + 1, self.configs)
        self.shard.on_topics(self.topics, changed, has_new)

    @property
    def group(self) -> ConsumerGroup:
        return self.shard.consumer_groups["g"]

    def check_law(self) -> None:
        super().check_law()
        live: Any = self.shard.durable_state()["consumer_groups"]
        assert live == self.replayed().durable_state()["consumer_groups"]

    def beat(
        self,
        member_id: str,
        epoch: int,
        *,
        topics: Sequence[str] | None = None,
        regex: str | None = None,
        owned: Collection[Partition] | None = None,
        instance: str | None = None,
        assignor: str | None = None,
        rack: str | None = None,
        rebalance_ms: int = -1,
        group: str = "g",
        version: int = 1,
    ) -> Any:
        """One ConsumerGroupHeartbeat; its answer."""
        token = self.token()
        by_topic: dict[str, list[int]] = {}
        for name, number in owned or ():
            by_topic.setdefault(name, []).append(number)
        request = ConsumerGroupHeartbeatRequest(
            group_id=group,
            member_id=member_id,
            member_epoch=epoch,
            instance_id=instance,
            rack_id=rack,
            rebalance_timeout_ms=rebalance_ms,
            subscribed_topic_names=None if topics is None else list(topics),
            subscribed_topic_regex=regex,
            server_assignor=assignor,
            topic_partitions=None
            if owned is None
            else [TopicPartitions(topic_id=topic_id(name), partitions=numbers) for name, numbers in by_topic.items()],
        )
        context = ClientContext(version, "c", "/127.0.0.1")
        self.perform(self.shard.handle_consumer_group_heartbeat(context, request, self.now, token))
        return self.replies[token]

    def enter(self, member_id: str, *topics: str, **more: Any) -> Any:
        """Join; the answer must be one of success."""
        answer = self.beat(member_id, 0, topics=topics or ("t",), owned=(), rebalance_ms=60_000, **more)
        assert answer.error_code == ErrorCode.NONE, answer.error_message
        return answer

    def describe(self, group: str = "g") -> Any:
        return self.shard.describe_consumer_groups([group])[0]


def assigned(answer: Any) -> set[Partition] | None:
    """Partitions of a heartbeat's answer; None if it tells of none."""
    if answer.assignment is None:
        return None
    return {
        (each.topic_id[1:].rstrip(b"\0").decode(), number)
        for each in answer.assignment.topic_partitions
        for number in each.partitions
    }


def error(answer: Any) -> ErrorCode:
    return ErrorCode(answer.error_code)


class Consumer:
    """A client that does what KIP-848 asks of it: gives up what it is told to, and says what it owns.

    One that ``lingers`` gives up only before its next heartbeat, as one that has records to finish.
    """

    def __init__(
        self, h: ConsumerHarness, member_id: str, topics: Sequence[str] = ("t",), *, lingers: bool = False, **more: Any
    ) -> None:
        self.lingers = lingers
        self._wanted: set[Partition] | None = None
        self.h = h
        self.member_id = member_id
        self.topics = topics
        self.more = more
        self.epoch = 0
        self.owned: set[Partition] = set()
        self._told: set[Partition] | None = None
        self.errors: list[ErrorCode] = []

    def beat(self) -> None:
        """One heartbeat, and what follows from its answer."""
        if self._wanted is not None:
            self.owned, self._wanted = self._wanted, None
        if self.epoch == 0:
            answer = self.h.beat(self.member_id, 0, topics=self.topics, owned=(), rebalance_ms=60_000, **self.more)
        else:
            owned = self.owned if self.owned != self._told else None
            answer = self.h.beat(self.member_id, self.epoch, owned=owned, **self._identity())
            self._told = set(self.owned)
        code = error(answer)
        if code is not ErrorCode.NONE:
            self.errors.append(code)
            self.epoch, self.owned, self._told, self._wanted = 0, set(), None, None
            return
        assert answer.member_epoch >= self.epoch, "member epochs do not go back (G5)"
        self.epoch = answer.member_epoch
        told = assigned(answer)
        if told is not None and self.lingers and not self.owned <= told:
            self.owned, self._wanted = self.owned | told, told
        elif told is not None:
            self.owned = told

    def _identity(self) -> dict[str, Any]:
        return {"instance": self.more["instance"]} if "instance" in self.more else {}

    def leave(self, epoch: int = -1) -> None:
        self.h.beat(self.member_id, epoch, **self._identity())
        self.epoch, self.owned, self._told = 0, set(), None

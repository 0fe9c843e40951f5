"""The harness of the group coordinator with members of streams groups (KIP-1071)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from engine.core.group.context import ClientContext, GroupLimits
from engine.core.group.streams_group import StreamsGroup
from engine.core.group.streams_heartbeat import StreamsAnswer
from engine.model.errors import ErrorCode
from engine.wire.messages.streams_group_heartbeat_request import (
    CopartitionGroup,
    Endpoint,
    KeyValue,
    StreamsGroupHeartbeatRequest,
    Subtopology,
    TaskIds,
    TopicInfo,
    Topology,
)
from tests.unit.core.group.consumer_harness import ConsumerHarness

Task = tuple[str, int]

NO_DELAYS = GroupLimits(
    group_initial_rebalance_delay_ms=0,
    group_streams_initial_rebalance_delay_ms=0,
    group_streams_assignment_interval_ms=0,
)


def subtopology(
    name: str,
    *sources: str,
    repartition: Sequence[TopicInfo] = (),
    sinks: Sequence[str] = (),
    changelogs: Sequence[str] = (),
    copartition: Sequence[CopartitionGroup] = (),
) -> Subtopology:
    """A subtopology that reads ``sources``."""
    return Subtopology(
        subtopology_id=name,
        source_topics=list(sources),
        repartition_source_topics=list(repartition),
        repartition_sink_topics=list(sinks),
        state_changelog_topics=[topic(each) for each in changelogs],
        copartition_groups=list(copartition),
    )


def topic(name: str, partitions: int = 0, replication: int = 0, **configs: str) -> TopicInfo:
    """An internal topic."""
    return TopicInfo(
        name=name,
        partitions=partitions,
        replication_factor=replication,
        topic_configs=[KeyValue(key=key, value=value) for key, value in configs.items()],
    )


def topology(*subtopologies: Subtopology, epoch: int = 0) -> Topology:
    return Topology(epoch=epoch, subtopologies=list(subtopologies))


PLAIN = topology(subtopology("0", "t"))
"""One subtopology without state."""

STATEFUL = topology(subtopology("0", "t", changelogs=["g-store-changelog"]))

WORD_COUNT = topology(
    subtopology("0", "t", sinks=["g-words-repartition"]),
    subtopology("1", repartition=[topic("g-words-repartition")], changelogs=["g-counts-changelog"]),
)


class StreamsHarness(ConsumerHarness):
    """Members are named by their ids; each is a process of its own unless told otherwise."""

    def __init__(self, limits: GroupLimits = NO_DELAYS, **counts: int) -> None:
        # The law is looked at with every so many inputs: it takes as long as the log is.
        self.law_every = 1
        self._inputs = 0
        super().__init__(limits, **counts)

    def check_law(self) -> None:
        self._inputs += 1
        if self._inputs % self.law_every:
            return
        super().check_law()
        live: Any = self.shard.durable_state()["streams_groups"]
        assert live == self.replayed().durable_state()["streams_groups"]

    @property
    def streams(self) -> StreamsGroup:
        return self.shard.streams_groups["g"]

    def pulse(
        self,
        member_id: str,
        epoch: int,
        *,
        topology: Topology | None = None,
        owned: Mapping[str, Sequence[int]] | None = None,
        standby: Mapping[str, Sequence[int]] | None = None,
        process: str | None = None,
        rebalance_ms: int = -1,
        group: str = "g",
        endpoint: tuple[str, int] | None = None,
        endpoint_epoch: int = 0,
        shutdown: bool = False,
        **more: Any,
    ) -> StreamsAnswer:
        """One StreamsGroupHeartbeat; its answer."""
        token = self.token()
        says = owned is not None or standby is not None
        request = StreamsGroupHeartbeatRequest(
            group_id=group,
            member_id=member_id,
            member_epoch=epoch,
            rebalance_timeout_ms=rebalance_ms,
            topology=topology,
            active_tasks=_task_ids(owned or {}) if says else None,
            standby_tasks=_task_ids(standby or {}) if says else None,
            warmup_tasks=[] if says else None,
            process_id=process,
            user_endpoint=None if endpoint is None else Endpoint(host=endpoint[0], port=endpoint[1]),
            endpoint_information_epoch=endpoint_epoch,
            shutdown_application=shutdown,
            **more,
        )
        context = ClientContext(0, "c", "/127.0.0.1")
        self.perform(self.shard.handle_streams_group_heartbeat(context, request, self.now, token))
        answer: StreamsAnswer = self.replies[token]
        return answer

    def begin(self, member_id: str, told: Topology = PLAIN, **more: Any) -> StreamsAnswer:
        """Join; the answer must be one of success."""
        more.setdefault("process", f"process-{member_id}")
        answer = self.pulse(member_id, 0, topology=told, owned={}, rebalance_ms=60_000, **more)
        assert answer.response.error_code == ErrorCode.NONE, answer.response.error_message
        return answer

    def create_internal(self, answer: StreamsAnswer) -> None:
        """What the shell does with topics that are to be created."""
        self.set_topics(**{each.name: each.partitions for each in answer.to_create})

    def described(self, group: str = "g") -> Any:
        return self.shard.describe_streams_groups([group])[0]


class Thread:
    """A thread of Kafka Streams: gives up what it is told to, and says what it has."""

    def __init__(
        self, h: StreamsHarness, member_id: str, told: Topology = PLAIN, *, process: str = "", lingers: bool = False
    ) -> None:
        self.h = h
        self.member_id = member_id
        self.told = told
        self.process = process or f"process-{member_id}"
        self.lingers = lingers
        self.epoch = 0
        self.active: set[Task] = set()
        self.standby: set[Task] = set()
        self._wanted: tuple[set[Task], set[Task]] | None = None
        self.errors: list[ErrorCode] = []

    def beat(self) -> None:
        """One heartbeat, and what follows from its answer."""
        if self._wanted is not None:
            (self.active, self.standby), self._wanted = self._wanted, None
        if self.epoch == 0:
            answer = self.h.pulse(
                self.member_id, 0, topology=self.told, owned={}, rebalance_ms=60_000, process=self.process
            )
        else:
            answer = self.h.pulse(
                self.member_id, self.epoch, owned=_by_subtopology(self.active), standby=_by_subtopology(self.standby)
            )
        response = answer.response
        code = ErrorCode(response.error_code)
        if code is not ErrorCode.NONE:
            self.errors.append(code)
            self.lost()
            return
        self.h.create_internal(answer)
        assert response.member_epoch >= self.epoch, "member epochs do not go back (G5)"
        self.epoch = response.member_epoch
        if response.active_tasks is None:
            return
        active, standby = tasks(response.active_tasks), tasks(response.standby_tasks)
        if self.lingers and not (self.active <= active and self.standby <= standby):
            self._wanted = (active, standby)
        else:
            self.active, self.standby = active, standby

    def leave(self) -> None:
        self.h.pulse(self.member_id, -1)
        self.lost()

    def lost(self) -> None:
        """It is no member any more."""
        self.epoch, self.active, self.standby, self._wanted = 0, set(), set(), None


def tasks(listed: Sequence[Any] | None) -> set[Task]:
    """Tasks of an answer."""
    return {(each.subtopology_id, number) for each in listed or () for number in each.partitions}


def active(answer: StreamsAnswer) -> set[Task] | None:
    """Active tasks of an answer; None if it tells of none."""
    return None if answer.response.active_tasks is None else tasks(answer.response.active_tasks)


def error(answer: StreamsAnswer) -> ErrorCode:
    return ErrorCode(answer.response.error_code)


def statuses(answer: StreamsAnswer) -> dict[int, str]:
    return {each.status_code: each.status_detail for each in answer.response.status or ()}


def _by_subtopology(listed: set[Task]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for name, number in sorted(listed):
        found.setdefault(name, []).append(number)
    return found


def _task_ids(listed: Mapping[str, Sequence[int]]) -> list[TaskIds]:
    return [TaskIds(subtopology_id=name, partitions=list(numbers)) for name, numbers in listed.items()]

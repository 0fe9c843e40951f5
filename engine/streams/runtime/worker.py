"""A worker: one process of an application, which takes tasks from the group, processes, commits, and gives them up.

One turn after the other in the thread that calls :meth:`Worker.run` (Kafka's ``StreamThread``): the group's wishes,
restores, a fetch, the tasks, punctuators, a commit when it is time. Heartbeats go on in a thread of their own.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, KafkaException, TopicPartition

from engine.client.security.world import secured
from engine.model.errors import KafkaError
from engine.streams.errors import StreamsError
from engine.streams.global_task import GlobalTask
from engine.streams.runtime.clients import Partition, Topics, input_records, is_end, is_out_of_range, make_consumer
from engine.streams.runtime.config import StreamsConfig
from engine.streams.runtime.coordinator import GroupCoordinator
from engine.streams.runtime.error_policy import error_handlers
from engine.streams.runtime.global_reader import GlobalReader
from engine.streams.runtime.group_topology import NO_TASKS, Assignment, TaskId, group_topology
from engine.streams.runtime.membership import Membership, MembershipLost
from engine.streams.runtime.output import Output, TransactionLost, group_metadata
from engine.streams.runtime.process_id import ProcessId
from engine.streams.runtime.restore import ChangelogReader
from engine.streams.runtime.worker_task import Phase, WorkerTask
from engine.streams.stores.errors import TaskLockedError
from engine.streams.stores.kinds import engines_by_name, engines_named
from engine.streams.stores.memory import MemoryEngines
from engine.streams.stores.state_directory import StateDirectory, TaskDirectory
from engine.streams.task import StreamTask
from engine.streams.topology import SourceSpec, Topology
from engine.world.real import real_world

log = logging.getLogger(__name__)

_FETCH = 2_000
_PROCESS = 1_000
_DURATION = re.compile(r"by_duration:P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?")


class WorkerState(StrEnum):
    """As ``KafkaStreams.State``."""

    CREATED = "CREATED"
    REBALANCING = "REBALANCING"
    RUNNING = "RUNNING"
    PENDING_SHUTDOWN = "PENDING_SHUTDOWN"
    NOT_RUNNING = "NOT_RUNNING"
    ERROR = "ERROR"


class Worker:
    """One worker of an application."""

    def __init__(
        self,
        topology: Topology,
        config: StreamsConfig,
        *,
        on_state: Callable[[WorkerState], None] | None = None,
    ) -> None:
        """Nothing runs before :meth:`run`.

        Raises:
            StreamsConfigError: the topology asks for what is not built.
            StreamsError: state.dir cannot be used.
        """
        self.topology = topology
        self.config = config
        self.state = WorkerState.CREATED
        self.tasks: dict[TaskId, WorkerTask] = {}
        self._engines = engines_named(config["default.dsl.store"])
        self._engines_by_type = engines_by_name()
        self._on_state = on_state
        self._stop = threading.Event()
        self._sub_topologies = {
            each.id: each
            for each in topology.sub_topologies(
                config.application_id, config["windowstore.changelog.additional.retention.ms"]
            )
        }
        described = group_topology(self._sub_topologies.values(), config["replication.factor"])
        self._resets = self._reset_policies()
        self._directory = StateDirectory(config.state_directory)
        self._directories: dict[TaskId, TaskDirectory] = {}
        self._process_id = ProcessId(config.state_directory)
        process_id = self._process_id.value
        self.client_id = config["client.id"] or f"{config.application_id}-{process_id}"
        self._topics = Topics(config, self.client_id)
        self._handlers = error_handlers(config, lambda topic, records: self._output.send(topic, records))
        self._output = Output(
            config,
            self.client_id,
            f"{config.application_id}-{process_id}-1",
            self._topics.partitions_of,
            self._handlers,
        )
        self._consumer: Any = None
        self._changelogs = ChangelogReader(config, self._topics, self.client_id)
        self._global_task = GlobalTask(
            topology, config.for_tasks(), engines=MemoryEngines(), directory=None, handlers=self._handlers
        )
        self._globals = GlobalReader(config, self._topics, self.client_id, self._global_task)
        self.membership = self._make_membership(described)
        self._assigned = NO_TASKS
        self._unmade: dict[TaskId, str] = {}
        self._next_commit = 0.0
        self._next_purge = 0.0
        self._next_clean_up = 0.0
        self._to_purge: dict[Partition, int] = {}

    def _make_membership(self, described: Any) -> Membership:
        config = self.config
        world = secured(real_world(), config.security)
        standbys = config["num.standby.replicas"]
        server = config["application.server"]
        host, _, port = server.rpartition(":")
        return Membership(
            lambda: GroupCoordinator(
                world, config.bootstrap, config.application_id, self.client_id, config["request.timeout.ms"]
            ),
            described,
            process_id=self._process_id.value,
            rebalance_timeout_ms=config["max.poll.interval.ms"],
            rack_id=config["client.rack"],
            endpoint=(host, int(port)) if server else None,
            group_configs={} if standbys is None else {"streams.num.standby.replicas": str(standbys)},
        )

    def _reset_policies(self) -> dict[str, str]:
        """Where to begin with a topic that has no committed offset."""
        found = {}
        for spec in self.topology.nodes.values():
            if isinstance(spec, SourceSpec):
                policy = spec.offset_reset or self.config["auto.offset.reset"]
                for topic in spec.topics:
                    # Repartition topics are the application's own: from their beginning, always.
                    mine = topic in self.topology.internal_topics
                    name = self.topology.topic_name(topic, self.config.application_id)
                    found[name] = "earliest" if mine else policy
        return found

    # -- life ---------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """End gracefully, soon; for signal handlers and other threads."""
        self._stop.set()

    def run(self) -> None:
        """Work until :meth:`stop`, until the application is shut down, or until an error.

        Raises:
            StreamsError: what stopped the worker; KafkaError, KafkaException for what brokers refuse.
        """
        failed = True
        try:
            self._output.open()
            self._consumer = make_consumer(self.config, "main", self.client_id)
            self._become(WorkerState.REBALANCING)
            self._globals.open(self._stop.is_set)
            self.membership.start()
            self._next_commit = time.monotonic() + self.config["commit.interval.ms"] / 1000
            while not self._stop.is_set():
                self._guarded(self._turn)
                if self.membership.failure is not None:
                    raise self.membership.failure
                if self.membership.shutdown.is_set():
                    log.warning("a member asked the whole application to stop")
                    break
            failed = False
        finally:
            self._shut_down(failed)

    def _guarded(self, work: Callable[[], None]) -> bool:
        """Do it; what the group or a transaction has lost is dropped, and begun anew. Whether nothing was lost."""
        try:
            work()
        except MembershipLost as error:
            log.warning("%s", error)
        except TransactionLost as error:
            log.warning("the transaction is lost, its tasks begin anew: %s", error)
            self._drop_all()
        if self.membership.lost.is_set():
            self._drop_all()
            self.membership.report(NO_TASKS)
            self._wait(lambda: not self.membership.lost.is_set(), 1.0)
            return False
        return True

    def _wait(self, holds: Callable[[], bool], timeout_s: float) -> None:
        until = time.monotonic() + timeout_s
        while not holds() and time.monotonic() < until:
            time.sleep(0.002)

    def _shut_down(self, failed: bool) -> None:
        self._become(WorkerState.PENDING_SHUTDOWN)
        try:
            if not failed and self._consumer is not None:
                clean = self._guarded(lambda: self._close_tasks(list(self.tasks.values())))
                log.info("stopped %s", "cleanly" if clean else "after its tasks were lost")
        except (StreamsError, KafkaException, KafkaError) as error:
            log.error("the last commit failed: %s", error)
            failed = True
        finally:
            self._drop_all(reopen=False)
            self.membership.close()
            self._changelogs.close()
            self._globals.close()
            if self._consumer is not None:
                self._consumer.close()
            self._output.close()
            self._topics.close()
            self._process_id.release()
            self._become(WorkerState.ERROR if failed else WorkerState.NOT_RUNNING)

    def _become(self, state: WorkerState) -> None:
        if state is not self.state:
            log.info("state %s -> %s", self.state, state)
            self.state = state
            if self._on_state is not None:
                self._on_state(state)

    # -- turns --------------------------------------------------------------------------------------------------

    def _turn(self) -> None:
        self.membership.busy_since = time.monotonic()
        if self.membership.lost.is_set():
            return
        if self.membership.wanted != self._assigned:
            self._reconcile(self.membership.wanted)
        elif self._unmade:
            self._make_tasks()
        restored = self._changelogs.poll(0.1 if self._waits_for_restore() else 0)
        self._advance_tasks()
        self._globals.poll(0)
        self._fetch(0 if restored else self._poll_s())
        self._process()
        self._output.poll()
        now = time.monotonic()
        if now >= self._next_commit:
            self._next_commit = now + self.config["commit.interval.ms"] / 1000
            self._commit(self._active())
            self._clean_up()
        ready = (
            not self._unmade
            and all(each.phase is Phase.RUNNING for each in self._active())
            and self.membership.is_settled
        )
        self._become(WorkerState.RUNNING if ready else WorkerState.REBALANCING)

    def _active(self) -> list[WorkerTask]:
        return [each for each in self.tasks.values() if each.is_active]

    def _waits_for_restore(self) -> bool:
        active = self._active()
        return bool(active) and all(each.phase is not Phase.RUNNING for each in active)

    def _poll_s(self) -> float:
        """How long a fetch may wait: until something else is due."""
        if any(each.phase is not Phase.RUNNING for each in self.tasks.values()):
            return 0.005
        wait_s: float = self.config["poll.ms"] / 1000
        wait_s = min(wait_s, max(0.0, self._next_commit - time.monotonic()))
        if self.config["max.task.idle.ms"] > 0 and any(sum(each.task.buffered().values()) for each in self._active()):
            wait_s = min(wait_s, 0.01)
        return max(wait_s, 0.001)

    # -- tasks come and go --------------------------------------------------------------------------------------

    def _reconcile(self, wanted: Assignment) -> None:
        roles = {
            **dict.fromkeys(wanted.warmup, "warmup"),
            **dict.fromkeys(wanted.standby, "standby"),
            **dict.fromkeys(wanted.active, "active"),
        }
        gone = [
            each
            for each in self.tasks.values()
            if each.id not in roles or (each.is_active and roles[each.id] != "active")
        ]
        if gone:
            log.info("gives up %s", _named(each.id for each in gone))
            self._close_tasks(gone)
        for task_id, role in sorted(roles.items()):
            has = self.tasks.get(task_id)
            if has is None:
                self._unmade[task_id] = role
            elif role == "active" and not has.is_active:
                has.role, has.phase = role, Phase.CREATED
            else:
                has.role = role
        self._unmade = {task_id: role for task_id, role in self._unmade.items() if task_id in roles}
        self._make_tasks()
        self._assigned = wanted
        self.membership.report(wanted)
        log.info(
            "has active %s, standby %s, warm-up %s",
            _named(wanted.active),
            _named(wanted.standby),
            _named(wanted.warmup),
        )

    def _make_tasks(self) -> None:
        """Make what is wanted and not there yet; a task whose directory somebody else still has waits for it."""
        for task_id, role in list(self._unmade.items()):
            try:
                self.tasks[task_id] = self._make_task(task_id, role)
            except TaskLockedError as error:
                log.info("%s", error)
            else:
                del self._unmade[task_id]

    def _make_task(self, task_id: TaskId, role: str) -> WorkerTask:
        sub_topology = self._sub_topologies[task_id.sub_topology]
        directory: Path | None = None
        if sub_topology.stores:
            held = self._directories[task_id] = self._directory.acquire(str(task_id))
            directory = held.path
        task = StreamTask(
            self.topology,
            self.config.for_tasks(),
            sub_topology=task_id.sub_topology,
            partition=task_id.partition,
            collector=self._output,
            engines=self._engines,
            engines_by_type=self._engines_by_type,
            directory=directory,
            handlers=self._handlers,
            global_stores=self._global_task.stores,
            cache_max_bytes=self.config["statestore.cache.max.bytes"],
        )
        inputs = [
            (topic, task_id.partition)
            for topic in dict.fromkeys(sub_topology.source_topics)
            if task_id.partition < self._topics.partitions_of(topic)
        ]
        return WorkerTask(task_id, role, task, inputs)

    def _advance_tasks(self) -> None:
        for each in self.tasks.values():
            if each.phase is Phase.CREATED:
                self._begin(each)
            if each.phase is Phase.RESTORING and self._changelogs.is_restored(each):
                self._start(each)

    def _begin(self, each: WorkerTask) -> None:
        """Committed offsets first, then the ends of changelogs: so no commit is missed in between."""
        if not each.is_active:
            self._changelogs.add(each)
            each.phase = Phase.RUNNING
            return
        if each.offsets is None:
            each.offsets = self.membership.fetch_offsets(list(each.inputs), self.config["task.timeout.ms"] / 1000)
        if not each.offsets.done():
            return
        each.resume(each.offsets.result())
        each.offsets = None
        if self._changelogs.follows(each):
            self._changelogs.promote(each)
        else:
            self._changelogs.add(each)
        each.phase = Phase.RESTORING

    def _start(self, each: WorkerTask) -> None:
        each.log_ends = {}
        self._output.changelog_ends.update(self._changelogs.finish(each))
        each.task.init(_now_ms())
        each.phase = Phase.RUNNING
        if each.inputs:
            self._consumer.incremental_assign(
                [TopicPartition(*at, self._begin_at(at, each.committed.get(at))) for at in sorted(each.inputs)]
            )

    def _begin_at(self, at: Partition, committed: int | None) -> int:
        return committed if committed is not None else self._reset(at, "no offset is committed")

    def _reset(self, at: Partition, why: str) -> int:
        policy = self._resets[at[0]]
        if policy == "earliest":
            return int(OFFSET_BEGINNING)
        if policy == "latest":
            return int(OFFSET_END)
        found = _DURATION.fullmatch(policy)
        if found is not None:
            days, hours, minutes, seconds = (float(each or 0) for each in found.groups())
            back = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
            time_ms = _now_ms() - int(back.total_seconds() * 1000)
            asked = TopicPartition(*at, time_ms)
            (answer,) = self._consumer.offsets_for_times([asked], timeout=10)
            return int(answer.offset)
        raise StreamsError(
            f"{at[0]}-{at[1]}: {why}, and auto.offset.reset is {policy}: commit one "
            "(kafka-consumer-groups.sh --reset-offsets), or set earliest or latest"
        )

    def _close_tasks(self, gone: list[WorkerTask]) -> None:
        """Commit and let go. Under exactly-once a transaction is the worker's, so all tasks are committed."""
        self._commit(self._active() if self.config.exactly_once else [each for each in gone if each.is_active])
        for each in gone:
            if not each.is_active:
                each.task.committed(self._changelogs.positions(each))
            self._let_go(each)

    def _let_go(self, each: WorkerTask) -> None:
        self._changelogs.remove(each)
        if each.offsets is not None:
            each.offsets.cancel()
        if each.is_active and each.phase is Phase.RUNNING and each.inputs:
            self._consumer.incremental_unassign([TopicPartition(*at) for at in each.inputs])
        each.task.close()
        del self.tasks[each.id]
        held = self._directories.pop(each.id, None)
        if held is not None:
            held.release()

    def _drop_all(self, *, reopen: bool = True) -> None:
        """Put everything down without a commit; stores go back to their last one."""
        for each in list(self.tasks.values()):
            self._let_go(each)
        self._assigned = NO_TASKS
        self._unmade.clear()
        self._to_purge.clear()
        if reopen or self._output.in_transaction:
            self._output.abort()

    # -- records ------------------------------------------------------------------------------------------------

    def _fetch(self, timeout_s: float) -> None:
        by_input = {at: each for each in self._active() if each.phase is Phase.RUNNING for at in each.inputs}
        if not by_input:
            self._wait(lambda: self.membership.changed.is_set() or self._stop.is_set(), timeout_s)
            self.membership.changed.clear()
            return
        # What is there is taken at once: a consume() that may wait waits until it has all that it was asked for.
        messages = self._consumer.consume(_FETCH, 0)
        if not messages and timeout_s > 0:
            messages = self._consumer.consume(1, timeout_s)
        records, told = input_records(messages)
        for at, batch in records.items():
            each = by_input.get(at)
            if each is None:
                continue
            each.at_end.discard(at)
            each.task.add_records(*at, batch)
            each.positions[at] = batch[-1].offset + 1
        for at, message in told:
            each = by_input.get(at)
            if each is not None:
                self._told(each, at, message)

    def _told(self, each: WorkerTask, at: Partition, message: Any) -> None:
        if is_end(message):
            each.at_end.add(at)
            each.log_ends[at] = message.offset()
            each.positions[at] = max(each.positions.get(at, 0), message.offset())
        elif is_out_of_range(message):
            offset = self._reset(at, "its offset is not in the log any more")
            log.warning("%s-%d: the offset is not in the log any more, begins at %s", *at, self._resets[at[0]])
            each.positions.pop(at, None)
            self._consumer.incremental_unassign([TopicPartition(*at)])
            self._consumer.incremental_assign([TopicPartition(*at, offset)])
        elif message.error().fatal():
            raise KafkaException(message.error())
        else:
            log.info("%s-%d: %s", *at, message.error())

    def _process(self) -> None:
        idle_ms, limit = self.config["max.task.idle.ms"], self.config["buffered.records.per.partition"]
        for each in self._active():
            if each.phase is not Phase.RUNNING:
                continue
            task = each.task
            now_ms = _now_ms()
            while each.may_process(idle_ms) and task.process(now_ms, _PROCESS):
                while task.punctuate_stream_time(now_ms):
                    pass
                self._output.poll()
                now_ms = _now_ms()
            task.punctuate_wall_clock(now_ms)
            self._hold_back(each, limit)

    def _hold_back(self, each: WorkerTask, limit: int) -> None:
        """Read no more of partitions whose records wait for those of others.

        What could be processed is processed by now: a pause before that would cost a fetch, as librdkafka drops what
        it has prefetched of a partition that is paused.
        """
        waiting = each.task.buffered()
        held = {at for at, count in waiting.items() if count > limit}
        if held == each.paused:
            return
        if held - each.paused:
            self._consumer.pause([TopicPartition(*at) for at in held - each.paused])
        if each.paused - held:
            self._consumer.resume([TopicPartition(*at) for at in each.paused - held])
        each.paused = held

    # -- commits ------------------------------------------------------------------------------------------------

    def _commit(self, tasks: list[WorkerTask]) -> None:
        running = [each for each in tasks if each.phase is Phase.RUNNING]
        for each in running:
            each.task.prepare_commit()
        offsets = {at: committed for each in running for at, committed in each.to_commit().items()}
        if self.config.exactly_once:
            if self._output.in_transaction and not offsets:
                # A punctuator wrote: without offsets in it brokers could not tell a zombie's transaction.
                offsets = {at: committed for each in running for at, committed in each.to_commit(always=True).items()}
            if offsets or self._output.in_transaction:
                self._output.commit_transaction(offsets, self._send_offsets)
        elif running:
            self._output.flush(self.config["task.timeout.ms"] / 1000)
            if offsets:
                self.membership.commit_offsets(offsets, self.config["task.timeout.ms"] / 1000)
        for each in running:
            each.committed.update({at: offsets[at].offset for at in each.inputs if at in offsets})
            ends = self._output.changelog_ends
            each.task.committed(
                {
                    store: ends[topic, each.id.partition]
                    for store, topic in each.task.changelog_topics().items()
                    if (topic, each.id.partition) in ends
                }
            )
        for each in self.tasks.values():
            if not each.is_active:
                each.task.committed(self._changelogs.positions(each))
        self._purge({at: each.offset for at, each in offsets.items()})

    def _send_offsets(self, send: Callable[[bytes], None]) -> None:
        with self.membership.standing_still() as epoch:
            if epoch <= 0:
                raise MembershipLost("the group has no such member any more")
            send(group_metadata(self.config.application_id, self.membership.member_id, epoch))

    def _clean_up(self) -> None:
        """Delete what tasks left here that have long been elsewhere."""
        now = time.monotonic()
        if now >= self._next_clean_up:
            delay_ms = self.config["state.cleanup.delay.ms"]
            self._next_clean_up = now + delay_ms / 1000
            self._directory.clean(_now_ms(), delay_ms)

    def _purge(self, offsets: Mapping[Partition, int]) -> None:
        """What was read of repartition topics is needed by nobody any more."""
        mine = {topic for each in self._sub_topologies.values() for topic in each.repartition_sources}
        self._to_purge.update({at: offset for at, offset in offsets.items() if at[0] in mine})
        now = time.monotonic()
        if self._to_purge and now >= self._next_purge:
            if self._next_purge:
                self._topics.delete_records(self._to_purge)
                self._to_purge.clear()
            self._next_purge = now + self.config["repartition.purge.interval.ms"] / 1000

    def snapshot(self) -> dict[str, Any]:
        """What is shown of the worker; for other threads too, in which case it may be a moment old."""
        return {
            "application_id": self.config.application_id,
            "client_id": self.client_id,
            "member_id": self.membership.member_id,
            "member_epoch": self.membership.member_epoch,
            "state": self.state.value,
            "waits_for": self.membership.status,
            "tasks": [
                {**each.snapshot(), "restore": self._changelogs.progress(each)} for each in list(self.tasks.values())
            ],
        }


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _named(tasks: Iterable[TaskId]) -> str:
    return ", ".join(str(each) for each in sorted(tasks)) or "none"

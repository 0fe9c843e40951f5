"""A worker: one process of an application, which takes tasks from the group, processes, commits, and gives them up.

One turn after the other in the thread that calls :meth:`Worker.run` (Kafka's ``StreamThread``): the group's wishes,
restores, a fetch, the tasks, punctuators, a commit when it is time. Heartbeats go on in a thread of their own.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaException

from engine.client.errors import ClientError
from engine.model.errors import KafkaError
from engine.streams.errors import ProcessingError, StreamsError
from engine.streams.global_task import GlobalTask
from engine.streams.queries.catalogue import Catalogue
from engine.streams.queries.routes import Endpoint
from engine.streams.runtime import showing
from engine.streams.runtime.clients import Partition, PartitionUnknown, Topics
from engine.streams.runtime.config import STREAMS, StreamsConfig
from engine.streams.runtime.error_policy import error_handlers
from engine.streams.runtime.global_reader import GlobalReader
from engine.streams.runtime.group_protocols import choose_protocol, make_membership
from engine.streams.runtime.group_topology import NO_TASKS, Assignment, TaskId, group_topology
from engine.streams.runtime.input_reader import InputReader
from engine.streams.runtime.left_standbys import LeftStandbys
from engine.streams.runtime.local_stores import LocalStores
from engine.streams.runtime.membership import Membership, MembershipLost
from engine.streams.runtime.offset_reset import OffsetReset
from engine.streams.runtime.output import Output, TransactionLost, group_metadata
from engine.streams.runtime.process_id import ProcessId
from engine.streams.runtime.query_server import QueryServer
from engine.streams.runtime.repartition_purge import RepartitionPurge
from engine.streams.runtime.restore import ChangelogReader
from engine.streams.runtime.store_gate import StoreGate
from engine.streams.runtime.store_view import ReadOnlyStore
from engine.streams.runtime.task_directories import TaskDirectories
from engine.streams.runtime.worker_state import WorkerState, WorkerStopped
from engine.streams.runtime.worker_task import Phase, WorkerTask
from engine.streams.stores.errors import TaskLockedError
from engine.streams.stores.kinds import engines_by_name, engines_named
from engine.streams.stores.memory import MemoryEngines
from engine.streams.task import StreamTask
from engine.streams.topology import Topology

log = logging.getLogger(__name__)

# A commit waits for a rebalance that is under way, but no transaction may time out over it.
_REBALANCE_PATIENCE_S = 5.0
_LOOK_AT_ENDS_S = 0.5
_PROCESS_S = 0.5
"""So long a turn processes when there is more than that to do: then the group, commits and fetches have theirs."""


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
        self.sub_topologies = {
            each.id: each
            for each in topology.sub_topologies(
                config.application_id, config["windowstore.changelog.additional.retention.ms"]
            )
        }
        self._group_topology = group_topology(self.sub_topologies.values(), config["replication.factor"])
        self._resets = OffsetReset(topology, config)
        self._directories = TaskDirectories(config.state_directory, config["state.cleanup.delay.ms"])
        self._process_id = ProcessId(config.state_directory)
        process_id = self.process_id = self._process_id.value
        self.client_id = config["client.id"] or f"{config.application_id}-{process_id}"
        self._topics = Topics(config, self.client_id, self._stop.is_set)
        self._handlers = error_handlers(config, lambda topic, records: self._output.send(topic, records))
        self._output = Output(
            config,
            self.client_id,
            f"{config.application_id}-{process_id}-1",
            self._topics.partitions_of,
            self._handlers,
            topology.versioned_changelogs(config.application_id),
        )
        self._reader: InputReader | None = None
        self.changelogs = ChangelogReader(config, self._topics, self.client_id)
        self.global_task = GlobalTask(
            topology, config.for_tasks(), engines=MemoryEngines(), directory=None, handlers=self._handlers
        )
        self._globals = GlobalReader(config, self._topics, self.client_id, self.global_task)
        self.membership = self._make_membership(config["group.protocol"] or STREAMS)
        self._assigned = NO_TASKS
        self.unmade: dict[TaskId, str] = {}
        self._left_standbys = LeftStandbys()
        self._turns = 0
        self._is_behind = False
        """Whether records waited at the end of the last turn that could have been processed."""
        self._next_commit = 0.0
        self._next_look = 0.0
        mine = {topic for each in self.sub_topologies.values() for topic in each.repartition_sources}
        self._purge = RepartitionPurge(self._topics, mine, config["repartition.purge.interval.ms"] / 1000)
        self.committed_ms: int | None = None
        """When the last commit was."""
        self.totals = showing.Totals()
        self._gate = StoreGate()
        self._works = False
        self.local_stores = LocalStores(
            Catalogue(topology, self.sub_topologies.values(), config.application_id, config.for_tasks()),
            self._gate,
            self.tasks,
            self.global_task.stores,
            lambda: [at for at, role in list(self.unmade.items()) if role == "active"],
            lambda: self._works,
            lambda: self.membership.is_sure,
        )
        self._server: QueryServer | None = None

    @property
    def endpoint(self) -> Endpoint | None:
        """Where the worker answers queries, None while it does not."""
        return None if self._server is None else self._server.endpoint

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
            self._gate.take()
            if not self.config["group.protocol"]:
                self.membership = self._make_membership(choose_protocol(self.config, self.client_id, self._stop.is_set))
            self._open_server()
            self._output.open(self._stop.is_set)
            self._reader = InputReader(self.config, self.client_id, self._resets, self._gate)
            self._become(WorkerState.REBALANCING)
            self._globals.open(self._stop.is_set)
            self._works = True
            self.membership.predecessor = self._process_id.replace_member(self.membership.member_id)
            self.membership.on_member_id = self._process_id.replace_member
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
        except WorkerStopped as error:
            if self.tasks:  # in the midst of a batch: no commit may cover half of it
                raise
            log.info("stopped before it began: %s", error)
            failed = False
        finally:
            self._shut_down(failed)

    def _make_membership(self, protocol: str) -> Membership:
        return make_membership(protocol, self.config, self.client_id, self.process_id, self._group_topology)

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
        with self._gate.gap():
            while not holds() and time.monotonic() < until:
                time.sleep(0.002)

    def _shut_down(self, failed: bool) -> None:
        self._become(WorkerState.PENDING_SHUTDOWN)
        try:
            if not failed and self._reader is not None:
                clean = self._guarded(lambda: self._close_tasks(list(self.tasks.values())))
                log.info("stopped %s", "cleanly" if clean else "after its tasks were lost")
        except (StreamsError, KafkaException, KafkaError, ClientError) as error:
            failed = True
            raise StreamsError(f"the last commit failed: {error}") from error
        finally:
            try:
                self._drop_all(reopen=False)
            except BaseException:
                failed = True
                raise
            finally:
                self._release(failed)

    def _release(self, failed: bool) -> None:
        self._works = False
        if self._server is not None:
            self._server.close()
        self.membership.close()
        self.changelogs.close()
        self._globals.close()
        if self._reader is not None:
            self._reader.close()
        self._output.close()
        self._topics.close()
        self._process_id.replace_member("")
        self._process_id.release()
        self._gate.give()
        self._become(WorkerState.ERROR if failed else WorkerState.NOT_RUNNING)

    def _open_server(self) -> None:
        """Listen, and let the group know where."""
        address = self.config["application.server"]
        if not address:
            return
        host, _, port = address.rpartition(":")
        self._server = QueryServer(host, int(port), self.config["application.server.token"])
        self._server.start(
            self.local_stores,
            lambda: self.membership.routes,
            self._topics.partitions_of,
            {
                "/v1/status": lambda: showing.status(self),
                "/v1/topology": lambda: showing.topology(self),
                "/v1/stores": lambda: showing.stores(self),
            },
        )
        self.membership.endpoint = self._server.endpoint
        log.info("answers queries on http://%s", self._server.endpoint)

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
        elif self.unmade:
            self._make_tasks()
        restored = self.changelogs.poll(0.1 if self._waits_for_restore() else 0)
        self._advance_tasks()
        self._globals.poll(0)
        self._fetch(0 if restored or self._is_behind else self._poll_s())
        self._process()
        self._output.poll()
        now = time.monotonic()
        if now >= self._next_commit and (
            self.membership.may_commit or now >= self._next_commit + _REBALANCE_PATIENCE_S
        ):
            self._next_commit = now + self.config["commit.interval.ms"] / 1000
            self._commit(self._active())
            self._directories.clean()
        if now >= self._next_look:
            self._next_look = now + _LOOK_AT_ENDS_S
            self._end_left_standbys()
            running = [each for each in self._active() if each.phase is Phase.RUNNING]
            self._input.look(running)
            if self.membership.may_commit:
                self._renew([each for each in running if each.inputs != self._inputs(each.id)])
        ready = (
            self.membership.wanted == self._assigned
            and not self.unmade
            and all(each.phase is Phase.RUNNING for each in self._active())
            and self.membership.is_settled
        )
        self._become(WorkerState.RUNNING if ready else WorkerState.REBALANCING)

    @property
    def _input(self) -> InputReader:
        assert self._reader is not None
        return self._reader

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
                self.unmade[task_id] = role
            elif role == "active" and not has.is_active:
                has.role, has.phase = role, Phase.CREATED
            else:
                has.role = role
        for task_id in self.unmade.keys() - roles.keys():
            del self.unmade[task_id]
            self._directories.forget(task_id)
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
        """Make what is wanted and not there yet.

        A task whose directory somebody else still has waits for it, one whose partition is not seen yet for that.
        """
        for task_id, role in list(self.unmade.items()):
            try:
                self.tasks[task_id] = self._make_task(task_id, role)
            except (TaskLockedError, PartitionUnknown):
                continue
            del self.unmade[task_id]

    def _inputs(self, task_id: TaskId) -> frozenset[Partition]:
        """What a task reads, as far as is known of topics: those of a sub-topology may differ in their partitions."""
        topics = self.sub_topologies[task_id.sub_topology].source_topics
        return frozenset(
            (topic, task_id.partition) for topic in topics if task_id.partition < self._topics.partitions_of(topic)
        )

    def _renew(self, grown: list[WorkerTask]) -> None:
        """Begin tasks anew that have more to read than when they began: a topic has got partitions."""
        if grown:
            log.info("begins %s anew: their topics have more partitions", _named(each.id for each in grown))
            self._close_tasks(grown)
            self.unmade |= {each.id: each.role for each in grown}

    def _make_task(self, task_id: TaskId, role: str) -> WorkerTask:
        sub_topology = self.sub_topologies[task_id.sub_topology]
        self._topics.expect(sub_topology.source_topics, task_id.partition)
        directory: Path | None = None
        if sub_topology.stores:
            directory = self._directories.acquire(task_id, is_active=role == "active")
        left = self._left_standbys.take_back(task_id, role)
        if left is not None:
            return left
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
            global_stores=self.global_task.stores,
            cache_max_bytes=self.config["statestore.cache.max.bytes"],
        )
        return WorkerTask(task_id, role, task, self._inputs(task_id))

    def _advance_tasks(self) -> None:
        for each in self.tasks.values():
            if each.phase is Phase.CREATED:
                self._begin(each)
            if each.phase is Phase.RESTORING and self.changelogs.is_restored(each):
                self._start(each)

    def _begin(self, each: WorkerTask) -> None:
        """Committed offsets first, then the ends of changelogs: so no commit is missed in between."""
        if not each.is_active:
            self.changelogs.add(each)
            each.phase = Phase.RUNNING
            return
        if each.offsets is None:
            each.offsets = self.membership.fetch_offsets(list(each.inputs), self.config["task.timeout.ms"] / 1000)
        if not each.offsets.done():
            return
        each.resume(each.offsets.result())
        each.offsets = None
        if self.changelogs.follows(each):
            self.changelogs.promote(each)
        else:
            self.changelogs.add(each)
        each.phase = Phase.RESTORING

    def _start(self, each: WorkerTask) -> None:
        each.log_ends = {}
        each.restored = sum(store["restored"] for store in self.changelogs.progress(each))
        self._output.changelog_ends.update(self.changelogs.finish(each))
        each.task.init(_now_ms())
        each.phase = Phase.RUNNING
        self._input.begin(each)

    def _close_tasks(self, gone: list[WorkerTask]) -> None:
        """Commit and let go. Under exactly-once a transaction is the worker's, so all tasks are committed."""
        self._commit(self._active() if self.config.exactly_once else [each for each in gone if each.is_active])
        for each in gone:
            if not each.is_active:
                each.task.committed(self.changelogs.positions(each))
            self._let_go(each, keeps=self._left_standbys.keeps(each))

    def _let_go(self, each: WorkerTask, *, keeps: bool = False) -> None:
        if each.offsets is not None:
            each.offsets.cancel()
        if each.is_active and each.phase is Phase.RUNNING:
            self._input.end(each)
        self.totals.leave(self.tasks, each)
        try:
            if not keeps:
                self.changelogs.remove(each)
                each.task.close()
        finally:
            self._directories.release(each.id)

    def _end_left_standbys(self, *, everything: bool = False) -> None:
        for each in self._left_standbys.over(everything=everything):
            self.changelogs.remove(each)
            each.task.close()

    def _drop_all(self, *, reopen: bool = True) -> None:
        """Put everything down without a commit; stores go back to their last one."""
        for each in list(self.tasks.values()):
            try:
                self._let_go(each)
            except ProcessingError as error:
                log.warning("%s", error)
        self._end_left_standbys(everything=True)
        self._assigned = NO_TASKS
        self.unmade.clear()
        self._purge.clear()
        self._output.abort(reopen=reopen)

    # -- records ------------------------------------------------------------------------------------------------

    def _fetch(self, timeout_s: float) -> None:
        by_input = {at: each for each in self._active() if each.phase is Phase.RUNNING for at in each.inputs}
        if not by_input:
            self._wait(lambda: self.membership.changed.is_set() or self._stop.is_set(), timeout_s)
            self.membership.changed.clear()
            return
        self._input.fetch(by_input, timeout_s)

    def _process(self) -> None:
        """All that waits, unless it takes so long that something else is due; then another task is first next time."""
        idle_ms, limit = self.config["max.task.idle.ms"], self.config["buffered.records.per.partition"]
        running = [each for each in self._active() if each.phase is Phase.RUNNING]
        until = min(time.monotonic() + _PROCESS_S, self._next_commit)
        self._is_behind = False
        self._turns += 1
        first = self._turns % len(running) if running else 0
        for each in (*running[first:], *running[:first]):
            task = each.task
            now_ms = _now_ms()
            while each.may_process(idle_ms) and (count := task.process(now_ms, each.batch)):
                while task.punctuate_stream_time(now_ms):
                    pass
                self._output.poll()
                self._gate.let_in()
                began_ms, now_ms = now_ms, _now_ms()
                each.fit_batch(count, now_ms - began_ms)
                if time.monotonic() >= until:
                    self._is_behind = True
                    break
            task.punctuate_wall_clock(now_ms)
            self._input.hold_back(each, limit)

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
                with self._gate.gap():
                    self._output.commit_transaction(offsets, self._send_offsets)
        elif running:
            with self._gate.gap():
                self._output.flush(self.config["task.timeout.ms"] / 1000)
                if offsets:
                    self.membership.commit_offsets(offsets, self.config["task.timeout.ms"] / 1000)
        if running:
            self.committed_ms = _now_ms()
        for each in running:
            each.committed.update({at: offsets[at].offset for at in each.inputs if at in offsets})
            # A table's source topic may be its changelog, too.
            ends = {**self._output.changelog_ends, **each.committed}
            each.task.committed(
                {
                    store: ends[topic, each.id.partition]
                    for store, topic in each.task.changelog_topics().items()
                    if (topic, each.id.partition) in ends
                }
            )
        for each in self.tasks.values():
            if not each.is_active:
                each.task.committed(self.changelogs.positions(each))
        self._purge.note({at: each.offset for at, each in offsets.items()})

    def _send_offsets(self, send: Callable[[bytes], None]) -> None:
        with self.membership.standing_still() as epoch:
            if epoch <= 0:
                raise MembershipLost("the group has no such member any more")
            send(group_metadata(self.config.application_id, self.membership.member_id, epoch))

    # -- shown to others ----------------------------------------------------------------------------------------

    def snapshot(self) -> dict[str, Any]:
        """What is shown of the worker; for other threads too, in which case it may be a moment old."""
        return showing.status(self)

    def store(self, name: str) -> ReadOnlyStore:
        """The partitions of a store that are here, for reading in other threads (``KafkaStreams.store``).

        Raises:
            UnknownStore: the topology has no such store.
        """
        return ReadOnlyStore(self.local_stores, self.local_stores.catalogue[name])


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _named(tasks: Iterable[TaskId]) -> str:
    return ", ".join(str(each) for each in sorted(tasks)) or "none"

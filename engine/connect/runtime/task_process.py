"""``python -m engine.connect.runtime.task_process FD``: one task in a process of its own.

The descriptor is its end of the pair of sockets that its worker made: configs come this way, states go back.
"""

from __future__ import annotations

import faulthandler
import logging
import signal
import socket
import sys
import traceback
from collections.abc import Mapping, Sequence
from typing import Any

from engine.connect import plugins
from engine.connect.connector import (
    Connector,
    OffsetStorageReader,
    Props,
    SinkConnector,
    SinkTask,
    SourceTask,
    SourceTaskContext,
    TransactionContext,
)
from engine.connect.errors import ConnectError
from engine.connect.plugins import PluginType
from engine.connect.runtime.client_settings import LIBRDKAFKA_LOG, librdkafka_settings
from engine.connect.runtime.connector_config import SINK_CONFIG, SOURCE_CONFIG
from engine.connect.runtime.dead_letters import DeadLetterQueue
from engine.connect.runtime.error_operator import ErrorOperator, LogReporter, Reporter
from engine.connect.runtime.exactly_once_source import Boundaries, ExactlyOnceSourceLoop, transactional_id
from engine.connect.runtime.plugin_setup import make_converters
from engine.connect.runtime.sink_loop import CONSUMER_DEFAULTS, SinkLoop
from engine.connect.runtime.source_loop import PRODUCER_DEFAULTS, SourceLoop
from engine.connect.runtime.stages import SinkStages, SourceStages
from engine.connect.runtime.submitted_records import Offsets
from engine.connect.runtime.task_control import TaskControl
from engine.connect.runtime.task_pipe import TaskEnd
from engine.connect.runtime.topic_creation import TopicCreation, create_topic
from engine.connect.runtime.worker_config import WorkerConfig
from engine.connect.transforms.chain import TransformationChain

log = logging.getLogger(__name__)
# Reading may have to wait for somebody's open transaction.
_OFFSETS_S = 100.0


class _OffsetReader(OffsetStorageReader):
    """Asks the worker, who reads to the end of what was committed first."""

    def __init__(self, pipe: TaskEnd) -> None:
        self._pipe = pipe

    def offset(self, partition: Mapping[str, Any]) -> dict[str, Any] | None:
        return self.offsets([partition])[0]

    def offsets(self, partitions: Sequence[Mapping[str, Any]]) -> list[dict[str, Any] | None]:
        asked = [dict(each) for each in partitions]
        found: list[dict[str, Any] | None] = self._pipe.ask("read_offsets", _OFFSETS_S, partitions=asked)
        return found


class _SourceContext(SourceTaskContext):
    def __init__(self, configs: Props, reader: OffsetStorageReader, boundaries: Boundaries | None) -> None:
        self._configs, self._reader, self._boundaries = configs, reader, boundaries

    def configs(self) -> Props:
        return self._configs

    def offset_storage_reader(self) -> OffsetStorageReader:
        return self._reader

    def transaction_context(self) -> TransactionContext | None:
        return self._boundaries


class TaskProcess:
    """One task, from its configs to its end."""

    def __init__(self, pipe: TaskEnd) -> None:
        self._pipe = pipe
        self._control: TaskControl | None = None
        self._task: SourceTask | SinkTask | None = None
        self._operator: ErrorOperator | None = None

    def _heard(self, message: dict[str, Any]) -> None:
        control = self._control
        assert control is not None, "the worker speaks after the start only"
        match message["do"]:
            case "stop":
                control.stop()
                if self._operator is not None:
                    self._operator.stop()
                if isinstance(self._task, SourceTask):
                    # It may be waiting in poll; another thread may tell it.
                    self._stop_source(self._task)
            case "target":
                control.set_paused(message["state"] != "STARTED")
            case "forget_topics":
                control.forget_topics()

    _stopped = False

    def _stop_source(self, task: SourceTask) -> None:
        if not self._stopped:
            self._stopped = True
            task.stop()

    def run(self, start: Mapping[str, Any]) -> int:
        """The task's whole life; 0 when it was stopped, 1 when it failed."""
        name, number = start["connector_name"], start["task"]
        control = self._control = TaskControl(
            f"{name}-{number}", self._pipe, paused=start["target"] != "STARTED", tracks_topics=start["tracks_topics"]
        )
        self._pipe.listen(self._heard)
        try:
            worker = WorkerConfig(start["worker"])
            connector = worker.transformer.resolve(start["connector"])
            configs = worker.transformer.resolve(start["configs"])
            connector_class: type[Connector] = plugins.find(
                connector["connector.class"], PluginType.SOURCE, PluginType.SINK
            )
            task = connector_class.task_class()()
            if issubclass(connector_class, SinkConnector) != isinstance(task, SinkTask):
                raise ConnectError(f"{connector_class.__name__} and its tasks are of different kinds")
            assert isinstance(task, (SourceTask, SinkTask))
            self._task = task
            if isinstance(task, SinkTask):
                self._run_sink(task, name, number, worker, connector, configs, control)
            else:
                self._run_source(task, name, number, worker, connector, configs, control, start["exactly_once"])
        except BaseException as error:
            if control.stopping and isinstance(error, KeyboardInterrupt):
                return 0
            log.error("%s failed", control.name, exc_info=error)
            control.tell_counters()
            control.status("FAILED", "".join(traceback.format_exception(error)))
            return 1
        control.tell_counters()
        return 0

    def _error_operator(self, values: Mapping[str, Any], control: TaskControl) -> tuple[ErrorOperator, list[Reporter]]:
        operator = self._operator = ErrorOperator(
            retry_timeout_ms=values["errors.retry.timeout"],
            retry_delay_max_ms=values["errors.retry.delay.max.ms"],
            tolerates=values["errors.tolerance"] == "all",
        )
        reporters: list[Reporter] = []
        if values["errors.log.enable"]:
            reporters.append(LogReporter(control.name, with_record=values["errors.log.include.messages"]))
        operator.reporters = reporters
        return operator, reporters

    # -- sources ------------------------------------------------------------------------------------------------

    def _run_source(
        self,
        task: SourceTask,
        name: str,
        number: int,
        worker: WorkerConfig,
        connector: Mapping[str, str],
        configs: Mapping[str, str],
        control: TaskControl,
        exactly_once: bool,
    ) -> None:
        values = SOURCE_CONFIG.parse(connector)
        operator, _ = self._error_operator(values, control)
        stages = SourceStages(TransformationChain.of(connector), make_converters(connector, worker), operator)
        topics = TopicCreation(
            librdkafka_settings(worker.client_props("admin", connector)),
            connector,
            enabled=worker["topic.creation.enable"],
        )
        settings = {
            **PRODUCER_DEFAULTS,
            "client.id": f"connector-producer-{name}-{number}",
            **librdkafka_settings(worker.client_props("producer", connector)),
        }
        boundary = values["transaction.boundary"].lower()
        boundaries = Boundaries()
        loop: SourceLoop | ExactlyOnceSourceLoop
        if exactly_once:
            settings |= {"enable.idempotence": "true", "acks": "all"}
            settings.setdefault("transactional.id", transactional_id(worker["group.id"], name, number))
            timeout_ms = settings.setdefault("transaction.timeout.ms", "60000")
            # In a transaction, librdkafka wants messages to be given up before it is.
            settings["delivery.timeout.ms"] = timeout_ms
            loop = ExactlyOnceSourceLoop(
                task,
                stages,
                operator,
                topics,
                control,
                settings,
                connector=name,
                offsets_topic=connector.get("offsets.storage.topic") or worker["offset.storage.topic"],
                boundary=boundary,
                boundaries=boundaries,
                interval_ms=values["transaction.boundary.interval.ms"]
                if values["transaction.boundary.interval.ms"] is not None
                else worker["offset.flush.interval.ms"],
            )
            loop.prepare(lambda: self._pipe.ask("still_mine"))
        else:
            loop = SourceLoop(
                task,
                stages,
                operator,
                topics,
                control,
                settings,
                write_offsets=self._write_offsets,
                commit_interval_ms=worker["offset.flush.interval.ms"],
                commit_timeout_ms=worker["offset.flush.timeout.ms"],
            )
        try:
            if control.paused:
                control.pause(lambda: None)
            if control.stopping:
                return
            said = boundaries if exactly_once and boundary == "connector" else None
            task.initialize(_SourceContext(configs, _OffsetReader(self._pipe), said))
            try:
                task.start(configs)
                control.status("RUNNING")
                loop.run()
            finally:
                self._stop_source(task)
        finally:
            loop.close()
            operator.close()

    def _write_offsets(self, offsets: Offsets) -> None:
        self._pipe.ask("write_offsets", offsets=[[dict(each), value] for each, value in offsets.values()])

    # -- sinks --------------------------------------------------------------------------------------------------

    def _run_sink(
        self,
        task: SinkTask,
        name: str,
        number: int,
        worker: WorkerConfig,
        connector: Mapping[str, str],
        configs: Mapping[str, str],
        control: TaskControl,
    ) -> None:
        values = SINK_CONFIG.parse(connector)
        operator, reporters = self._error_operator(values, control)
        dead_letters = self._dead_letter_queue(name, number, worker, connector, values)
        if dead_letters is not None:
            reporters.append(dead_letters)
        converters = make_converters(connector, worker)
        given = worker.client_props("consumer", connector)
        settings = {
            **CONSUMER_DEFAULTS,
            "group.id": f"connect-{name}",
            "client.id": f"connector-consumer-{name}-{number}",
            **librdkafka_settings(given),
        }
        loop = SinkLoop(
            task,
            configs,
            SinkStages(TransformationChain.of(connector), converters, operator),
            converters,
            operator,
            control,
            settings,
            dead_letters=dead_letters,
            batch_size=int(given.get("max.poll.records", 500)),
            commit_interval_ms=worker["offset.flush.interval.ms"],
        )
        try:
            loop.subscribe()
            task.initialize(loop.context)
            try:
                task.start(configs)
                control.status("PAUSED" if control.paused else "RUNNING")
                loop.run()
            finally:
                task.stop()
        finally:
            loop.close()
            operator.close()

    def _dead_letter_queue(
        self, name: str, number: int, worker: WorkerConfig, connector: Mapping[str, str], values: Mapping[str, Any]
    ) -> DeadLetterQueue | None:
        topic = values["errors.deadletterqueue.topic.name"].strip()
        if not topic:
            return None
        create_topic(
            librdkafka_settings(worker.client_props("admin", connector)),
            topic,
            1,
            values["errors.deadletterqueue.topic.replication.factor"],
            {},
        )
        settings = {
            **PRODUCER_DEFAULTS,
            "client.id": f"connector-dlq-producer-{name}-{number}",
            **librdkafka_settings(worker.client_props("producer", connector)),
        }
        return DeadLetterQueue(
            settings,
            topic,
            name,
            number,
            with_headers=values["errors.deadletterqueue.context.headers.enable"],
            logger=LIBRDKAFKA_LOG,
        )


def main() -> int:
    """Serve the worker at the other end."""
    faulthandler.enable()
    # The worker decides when a task ends: a Ctrl-C at its terminal is for the worker.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    pipe = TaskEnd(socket.socket(fileno=int(sys.argv[1])))
    start = pipe.first()
    logging.basicConfig(
        level=start["log_level"],
        format=f"%(asctime)s %(levelname)s [{start['connector_name']}|task-{start['task']}] %(message)s",
        stream=sys.stderr,
    )
    LIBRDKAFKA_LOG.setLevel(logging.ERROR)
    sys.path[:0] = [each for each in start["path"] if each not in sys.path]
    return TaskProcess(pipe).run(start)


if __name__ == "__main__":
    sys.exit(main())

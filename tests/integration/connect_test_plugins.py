"""Connectors that use what the API offers, to see that a worker does it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from engine.connect.config_def import NO_DEFAULT, ConfigDef, ConfigType, Importance
from engine.connect.connector import (
    ExactlyOnceSupport,
    Props,
    SinkConnector,
    SinkTask,
    SourceConnector,
    SourceTask,
    TopicPartition,
)
from engine.connect.data import STRING
from engine.connect.errors import ConnectError, RetriableError
from engine.connect.records import SinkRecord, SourceRecord

BATCH, LAST = 10, 99


class NumberSource(SourceConnector):
    """Numbers to 99. Says itself where transactions end: behind each twentieth; those from 40 on to 59 are aborted."""

    def start(self, props: Props) -> None:
        self._props = dict(props)

    def stop(self) -> None: ...

    @classmethod
    def task_class(cls) -> type[SourceTask]:
        return NumberTask

    def task_configs(self, max_tasks: int) -> list[dict[str, str]]:
        return [self._props]

    @classmethod
    def config(cls) -> ConfigDef:
        return ConfigDef().define("topic", ConfigType.STRING, NO_DEFAULT, Importance.HIGH, "Where numbers go.")

    def exactly_once_support(self, props: Props) -> ExactlyOnceSupport:
        return ExactlyOnceSupport.SUPPORTED

    def can_define_transaction_boundaries(self, props: Props) -> bool:
        return True


class NumberTask(SourceTask):
    def start(self, props: Props) -> None:
        self._topic = props["topic"]
        offset = self.context.offset_storage_reader().offset({"numbers": "all"})
        self._next = 0 if offset is None else int(offset["last"]) + 1

    def poll(self) -> Sequence[SourceRecord] | None:
        if self._next > LAST:
            return None
        numbers = range(self._next, self._next + BATCH)
        self._next += BATCH
        records = [
            SourceRecord(
                topic=self._topic,
                value_schema=STRING,
                value=str(each),
                source_partition={"numbers": "all"},
                source_offset={"last": each},
            )
            for each in numbers
        ]
        transactions = self.context.transaction_context()
        if transactions is not None:
            for record, number in zip(records, numbers, strict=True):
                if number % 20 == 19:
                    if 40 <= number < 60:
                        transactions.abort_transaction(record)
                    else:
                        transactions.commit_transaction(record)
        return records

    def stop(self) -> None: ...


class DemandingSink(SinkConnector):
    """Begins at the third record, after a while; takes nothing at first, refuses one record, pauses once more."""

    def start(self, props: Props) -> None:
        self._props = dict(props)

    def stop(self) -> None: ...

    @classmethod
    def task_class(cls) -> type[SinkTask]:
        return DemandingTask

    def task_configs(self, max_tasks: int) -> list[dict[str, str]]:
        return [self._props]

    @classmethod
    def config(cls) -> ConfigDef:
        return ConfigDef().define("file", ConfigType.STRING, NO_DEFAULT, Importance.HIGH, "Where values go.")


class DemandingTask(SinkTask):
    def start(self, props: Props) -> None:
        self._file = Path(props["file"])
        self._refused = 0
        self._idle = 0
        self._told: list[str] = []

    def _say(self, what: str) -> None:
        with self._file.open("a") as file:
            file.write(f"{what}\n")

    def open(self, partitions: Sequence[TopicPartition]) -> None:
        self._say(f"open {sorted(each.partition for each in partitions)}")
        self.context.offset({each: 2 for each in partitions})
        self.context.pause(*partitions)
        self._told.append("open")

    def close(self, partitions: Sequence[TopicPartition]) -> None:
        self._say(f"close {sorted(each.partition for each in partitions)}")

    def put(self, records: Sequence[SinkRecord]) -> None:
        if not records:
            self._idle += 1
            if self._idle == 3 and self._told:
                self.context.resume(*self.context.assignment())
                self._say("resume")
                self._told.clear()
            return
        if self._refused < 2:
            self._refused += 1
            self.context.timeout_ms(100)
            self._say(f"refuse {records[0].value}")
            raise RetriableError("busy")
        for record in records:
            if record.value == "bad":
                reporter = self.context.errant_record_reporter()
                assert reporter is not None
                reporter.report(record, ConnectError("the other system does not like it"))
            else:
                self._say(f"take {record.value}")
            if record.value == "pause":
                self._idle = 0
                self._told.append("pause")
                self.context.pause(*self.context.assignment())

    def pre_commit(self, offsets: Mapping[TopicPartition, int]) -> Mapping[TopicPartition, int]:
        # The last one is never safe.
        return {each: offset - 1 for each, offset in offsets.items()}

    def stop(self) -> None:
        self._say("stop")

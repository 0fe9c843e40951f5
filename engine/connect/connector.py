"""What a connector is: subclass these (``org.apache.kafka.connect.connector``, ``source``, ``sink``).

A connector's life: ``start(props)``, ``task_configs(max_tasks)``, ``stop()``. A task's: ``start(props)``, then
``poll()`` again and again (source) or ``put(records)`` (sink), ``stop()``.
All of a task's methods but ``stop()`` of a source are called by one thread; a source's ``stop()`` may come from
another while ``poll()`` waits, which then ends soon.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, ClassVar, NamedTuple

from engine.connect.config_def import ConfigDef
from engine.connect.records import SinkRecord, SourceRecord

Props = Mapping[str, str]
"""Configs as they were given: names and texts."""


class TopicPartition(NamedTuple):
    """A partition of a topic."""

    topic: str
    partition: int


class ConnectorContext(ABC):
    """What a running connector may ask of its worker."""

    @abstractmethod
    def request_task_reconfiguration(self) -> None:
        """``task_configs`` would answer otherwise now: ask it again, soon. From any thread."""

    @abstractmethod
    def raise_error(self, error: Exception) -> None:
        """The connector fails; from any thread."""

    def offset_storage_reader(self) -> OffsetStorageReader:
        """Of source connectors."""
        raise NotImplementedError("only a source connector has source offsets")


class Connector(ABC):
    """Knows what there is to copy, and shares it among tasks."""

    version: ClassVar[str] = "0.1.0"
    context: ConnectorContext

    def initialize(self, context: ConnectorContext) -> None:
        """Before :meth:`start`."""
        self.context = context

    @abstractmethod
    def start(self, props: Props) -> None:
        """Begin; raises ConnectError if that cannot be."""

    def reconfigure(self, props: Props) -> None:
        """Other configs."""
        self.stop()
        self.start(props)

    @classmethod
    @abstractmethod
    def task_class(cls) -> type[Task]:
        """What its tasks are."""

    @abstractmethod
    def task_configs(self, max_tasks: int) -> list[dict[str, str]]:
        """Configs of at most ``max_tasks`` tasks, one each."""

    @abstractmethod
    def stop(self) -> None:
        """End."""

    @classmethod
    @abstractmethod
    def config(cls) -> ConfigDef:
        """Its configs, besides those that all connectors have."""

    @classmethod
    def validate(cls, props: Props) -> dict[str, list[str]]:
        """What is wrong with configs beyond their definitions: messages by config's name."""
        return {}


class ExactlyOnceSupport(Enum):
    """Whether a source can tell each record once (KIP-618)."""

    SUPPORTED = "supported"
    UNSUPPORTED = "unsupported"


class SourceConnector(Connector):
    """From elsewhere to topics."""

    def exactly_once_support(self, props: Props) -> ExactlyOnceSupport | None:
        """None: nobody knows."""
        return None

    def can_define_transaction_boundaries(self, props: Props) -> bool:
        """Whether its tasks use :class:`TransactionContext`."""
        return False

    def alter_offsets(self, props: Props, offsets: Mapping[Any, Mapping[str, Any] | None]) -> bool:
        """Somebody edits source offsets: ``{partition as a tuple of items: offset or None}``. Whether it was looked at.

        Raises:
            ConnectError: an offset that cannot be.
        """
        return False


class SinkConnector(Connector):
    """From topics to elsewhere."""

    def alter_offsets(self, props: Props, offsets: Mapping[TopicPartition, int | None]) -> bool:
        """Somebody edits the group's offsets."""
        return False


class Task(ABC):
    """One of a connector's hands."""

    version: ClassVar[str] = "0.1.0"

    @abstractmethod
    def start(self, props: Props) -> None:
        """Begin."""

    @abstractmethod
    def stop(self) -> None:
        """End; nothing of the task is called later but, for a sink, ``close``."""


class OffsetStorageReader(ABC):
    """Source offsets that were committed (``OffsetStorageReader``)."""

    @abstractmethod
    def offset(self, partition: Mapping[str, Any]) -> dict[str, Any] | None:
        """Of one source partition, or None if nothing was committed."""

    @abstractmethod
    def offsets(self, partitions: Sequence[Mapping[str, Any]]) -> list[dict[str, Any] | None]:
        """Of several, in their order."""


class TransactionContext(ABC):
    """With ``transaction.boundary=connector``: where transactions end (KIP-618)."""

    @abstractmethod
    def commit_transaction(self, record: SourceRecord | None = None) -> None:
        """After this record, or after the batch that ``poll`` gives next."""

    @abstractmethod
    def abort_transaction(self, record: SourceRecord | None = None) -> None:
        """Discard what came since the last commit, this record or batch included."""


class SourceTaskContext(ABC):
    """What a source's task may ask of its worker."""

    @abstractmethod
    def configs(self) -> Props:
        """The task's configs."""

    @abstractmethod
    def offset_storage_reader(self) -> OffsetStorageReader:
        """Where it came to."""

    def transaction_context(self) -> TransactionContext | None:
        """None unless ``transaction.boundary=connector``."""
        return None


class SourceTask(Task):
    """Reads elsewhere."""

    context: SourceTaskContext

    def initialize(self, context: SourceTaskContext) -> None:
        """Before :meth:`start`."""
        self.context = context

    @abstractmethod
    def poll(self) -> Sequence[SourceRecord] | None:
        """What is new; None after a while (a second at most) without anything.

        Raises:
            RetriableError: try again soon. Anything else ends the task.
        """

    def commit(self) -> None:
        """Offsets of everything that brokers have acknowledged are committed now."""

    def commit_record(self, record: SourceRecord, offset: int | None) -> None:
        """A record is in its topic at ``offset`` (-1: nobody said where), or a transform has dropped it (None)."""


class ErrantRecordReporter(ABC):
    """Where a sink's task sends records that the other system refuses (KIP-610)."""

    @abstractmethod
    def report(self, record: SinkRecord, error: Exception) -> None:
        """To the dead-letter queue, if there is one; raises if ``errors.tolerance=none``."""


class SinkTaskContext(ABC):
    """What a sink's task may ask of its worker."""

    @abstractmethod
    def configs(self) -> Props:
        """The task's configs."""

    @abstractmethod
    def offset(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Continue at these offsets: what the other system remembers, where exactly once is its doing."""

    @abstractmethod
    def timeout_ms(self, timeout_ms: int) -> None:
        """After a RetriableError, wait so long before the next try."""

    @abstractmethod
    def assignment(self) -> set[TopicPartition]:
        """The partitions that the task has."""

    @abstractmethod
    def pause(self, *partitions: TopicPartition) -> None:
        """Give no more records of these."""

    @abstractmethod
    def resume(self, *partitions: TopicPartition) -> None:
        """Give them again."""

    @abstractmethod
    def request_commit(self) -> None:
        """Commit offsets soon."""

    def errant_record_reporter(self) -> ErrantRecordReporter | None:
        """None where no error is tolerated or reported."""
        return None


class SinkTask(Task):
    """Writes elsewhere."""

    context: SinkTaskContext

    def initialize(self, context: SinkTaskContext) -> None:
        """Before :meth:`start`."""
        self.context = context

    def open(self, partitions: Sequence[TopicPartition]) -> None:
        """The task has these partitions now, besides those that it had."""

    def close(self, partitions: Sequence[TopicPartition]) -> None:
        """It has them no more; ``pre_commit`` was called before."""

    @abstractmethod
    def put(self, records: Sequence[SinkRecord]) -> None:
        """Take these; maybe none.

        Raises:
            RetriableError: the same records are handed over again. Anything else ends the task.
        """

    def flush(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Write everything that was put, up to these offsets (exclusive)."""

    def pre_commit(self, offsets: Mapping[TopicPartition, int]) -> Mapping[TopicPartition, int]:
        """What may be committed: of the next offsets those that are safe elsewhere. Those left out stay."""
        self.flush(offsets)
        return offsets

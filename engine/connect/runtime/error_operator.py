"""What becomes of a record that cannot be converted, transformed or written (``RetryWithToleranceOperator``)."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any, Protocol, TypeVar

from engine.connect import plugins
from engine.connect.errors import ConnectError, RetriableError

log = logging.getLogger(__name__)
T = TypeVar("T")

_FIRST_PAUSE_MS = 300


class Stage(Enum):
    """Where in a record's way something happens; names are what the dead-letter queue's headers say."""

    TASK_POLL = "TASK_POLL"
    KAFKA_CONSUME = "KAFKA_CONSUME"
    KAFKA_PRODUCE = "KAFKA_PRODUCE"
    TRANSFORMATION = "TRANSFORMATION"
    HEADER_CONVERTER = "HEADER_CONVERTER"
    KEY_CONVERTER = "KEY_CONVERTER"
    VALUE_CONVERTER = "VALUE_CONVERTER"
    TASK_PUT = "TASK_PUT"


_TOLERABLE = frozenset((Stage.TRANSFORMATION, Stage.HEADER_CONVERTER, Stage.KEY_CONVERTER, Stage.VALUE_CONVERTER))


class Failed:
    """A record's failure: ``original`` is the message or source record that it was."""

    __slots__ = ("attempts", "error", "executing", "original", "stage")

    def __init__(self, original: Any, stage: Stage, executing: type, error: BaseException, attempts: int = 1) -> None:
        self.original = original
        self.stage = stage
        self.executing = executing
        self.error = error
        self.attempts = attempts


class Reporter(Protocol):
    """Is told of each failure."""

    def report(self, failed: Failed) -> None:
        """One."""

    def close(self) -> None:
        """No more."""


class ToleranceExceeded(ConnectError):
    """A failure that is not tolerated; its cause says what it was."""


class ErrorOperator:
    """Tries again, tolerates or does not, and reports."""

    def __init__(
        self,
        *,
        retry_timeout_ms: int,
        retry_delay_max_ms: int,
        tolerates: bool,
        now_ms: Callable[[], float] = lambda: time.monotonic() * 1000,
    ) -> None:
        self.tolerates = tolerates
        """``errors.tolerance=all``."""
        self.reporters: Sequence[Reporter] = ()
        self.failures = 0
        self.skipped = 0
        self.retries = 0
        self._retry_timeout_ms = retry_timeout_ms
        self._retry_delay_max_ms = retry_delay_max_ms
        self._now_ms = now_ms
        self._stopped = threading.Event()

    def stop(self) -> None:
        """Wait for no further try."""
        self._stopped.set()

    def again(
        self, original: Any, stage: Stage, executing: type, call: Callable[[], T], error: Exception
    ) -> tuple[bool, T | None]:
        """An operation failed at its first try: whether another succeeds, and with what. False: skip the record.

        Raises:
            ToleranceExceeded: the task fails.
        """
        attempts, began = 1, self._now_ms()
        until = began + self._retry_timeout_ms if self._retry_timeout_ms >= 0 else float("inf")
        while isinstance(error, RetriableError) and self._now_ms() < until:
            self._pause(attempts, until)
            self.retries += 1
            if self._stopped.is_set():
                break
            attempts += 1
            try:
                return True, call()
            except Exception as next_error:
                error = next_error
        self.failures += 1
        self._report(Failed(original, stage, executing, error, attempts))
        if stage not in _TOLERABLE and not isinstance(error, RetriableError):
            raise ToleranceExceeded("Unhandled exception in error handler") from error
        if not self.tolerates:
            raise ToleranceExceeded("Tolerance exceeded in error handler") from error
        self.skipped += 1
        return False, None

    def failed(self, original: Any, stage: Stage, executing: type, error: BaseException) -> None:
        """A record failed for good, as somebody else found (``executeFailed``).

        Raises:
            ToleranceExceeded: the task fails.
        """
        self.failures += 1
        self._report(Failed(original, stage, executing, error))
        if not self.tolerates:
            raise ToleranceExceeded("Tolerance exceeded in error handler") from error

    def _report(self, failed: Failed) -> None:
        for each in self.reporters:
            each.report(failed)

    def _pause(self, attempts: int, until: float) -> None:
        delay = float(_FIRST_PAUSE_MS << min(attempts - 1, 40))
        if delay > self._retry_delay_max_ms:
            delay = random.uniform(0, self._retry_delay_max_ms)
        self._stopped.wait(max(0.0, min(delay, until - self._now_ms())) / 1000)

    def close(self) -> None:
        """Close the reporters."""
        for each in self.reporters:
            each.close()


class LogReporter:
    """``errors.log.enable``: errors in the worker's log; never a record's content."""

    def __init__(self, task: str, *, with_record: bool) -> None:
        self._task = task
        self._with_record = with_record

    def report(self, failed: Failed) -> None:
        record = f", where {_told(failed.original)}" if self._with_record else ""
        log.error(
            "Error encountered in task %s. Executing stage '%s' with class '%s'%s.",
            self._task,
            failed.stage.value,
            class_name(failed.executing),
            record,
            exc_info=failed.error,
        )

    def close(self) -> None:
        """Nothing to close."""


def _told(original: Any) -> str:
    if hasattr(original, "source_partition"):
        return (
            f"source record is = SourceRecord{{sourcePartition={dict(original.source_partition)}, "
            f"sourceOffset={dict(original.source_offset)}, topic='{original.topic}'}}"
        )
    kind, when = original.timestamp()
    stamp = "LogAppendTime" if kind == 2 else "CreateTime"
    return (
        f"consumed record is {{topic='{original.topic()}', partition={original.partition()}, "
        f"offset={original.offset()}, timestamp={when}, timestampType={stamp}}}"
    )


def class_name(kind: type) -> str:
    """A class as logs and headers name it: by Java's name where it stands for one of Kafka's."""
    java = getattr(kind, "java_name", None)
    return java if isinstance(java, str) else plugins.listed_name(f"{kind.__module__}.{kind.__qualname__}")

"""The dead-letter queue: records that a sink could not take, and what was wrong (``DeadLetterQueueReporter``)."""

from __future__ import annotations

import logging
import threading
import traceback
from typing import Any

from confluent_kafka import KafkaException, Producer

from engine.connect import errors
from engine.connect.errors import ConnectError
from engine.connect.runtime.error_operator import Failed, class_name

log = logging.getLogger(__name__)

HEADER_PREFIX = "__connect.errors."
_FLUSH_S = 30.0
_PACKAGE = "org.apache.kafka.connect.errors."
# What readers of such headers know.
_JAVA = {
    errors.ConnectError: f"{_PACKAGE}ConnectException",
    errors.DataError: f"{_PACKAGE}DataException",
    errors.SchemaBuilderError: f"{_PACKAGE}SchemaBuilderException",
    errors.SchemaProjectorError: f"{_PACKAGE}SchemaProjectorException",
    errors.RetriableError: f"{_PACKAGE}RetriableException",
    errors.NotFoundError: f"{_PACKAGE}NotFoundException",
    errors.AlreadyExistsError: f"{_PACKAGE}AlreadyExistsException",
    errors.ConfigError: "org.apache.kafka.common.config.ConfigException",
}


def error_headers(failed: Failed, connector: str, task: int) -> list[tuple[str, bytes | None]]:
    """The headers, in Kafka's order."""
    original, error = failed.original, failed.error
    told: list[tuple[str, str]] = [
        ("topic", original.topic()),
        ("partition", str(original.partition())),
        ("offset", str(original.offset())),
        ("connector.name", connector),
        ("task.id", str(task)),
        ("stage", failed.stage.value),
        ("class.name", class_name(failed.executing)),
        ("exception.class.name", error_name(type(error))),
        ("exception.message", str(error)),
        ("exception.stacktrace", "".join(traceback.format_exception(error))),
    ]
    return [(HEADER_PREFIX + name, text.encode()) for name, text in told]


def error_name(kind: type[BaseException]) -> str:
    """An error's class: Java's name for those of the Connect API."""
    return _JAVA.get(kind) or f"{kind.__module__}.{kind.__qualname__}"


class DeadLetterQueue:
    """Writes to the topic. ``report`` may be called by any thread."""

    def __init__(
        self, settings: dict[str, Any], topic: str, connector: str, task: int, *, with_headers: bool, logger: Any
    ) -> None:
        self._producer = Producer(settings, logger=logger)
        self._topic = topic
        self._connector = connector
        self._task = task
        self._with_headers = with_headers
        self._lock = threading.Lock()
        self._failure: str = ""
        self.reported = 0

    def report(self, failed: Failed) -> None:
        original = failed.original
        headers = list(original.headers() or ())
        if self._with_headers:
            headers += error_headers(failed, self._connector, self._task)
        when = original.timestamp()[1]
        while True:
            try:
                self._producer.produce(
                    self._topic,
                    original.value(),
                    original.key(),
                    headers=headers or None,
                    timestamp=when if when > 0 else 0,
                    on_delivery=self._delivered,
                )
                break
            except BufferError:
                self._producer.poll(0.05)
            except KafkaException as error:
                self._failure = str(error)
                break
        self.reported += 1
        self._producer.poll(0)

    def _delivered(self, error: Any, message: Any) -> None:
        if error is not None:
            log.error("Could not produce message to dead letter queue. topic=%s: %s", self._topic, error)
            self._failure = str(error)

    def flush(self) -> None:
        """Wait until all is written: before offsets behind these records are committed.

        Raises:
            ConnectError: something is not.
        """
        left = self._producer.flush(_FLUSH_S)
        if self._failure or left:
            # Told every time from now on: a task that failed of it commits once more as it closes.
            why = self._failure or f"{left} records are not acknowledged"
            raise ConnectError(f"Could not write to the dead letter queue topic {self._topic}: {why}")

    def close(self) -> None:
        """Write what is left."""
        self._producer.flush(_FLUSH_S)

"""Handlers of an application's config, and the topic that takes what they give up on (KIP-1034)."""

from __future__ import annotations

import traceback
from collections.abc import Callable

from engine.streams.error_handlers import ErrorContext, ErrorHandlers, Handler
from engine.streams.records import OutputRecord
from engine.streams.runtime.config import StreamsConfig

Send = Callable[[str, list[OutputRecord]], None]


def error_handlers(config: StreamsConfig, send: Send) -> ErrorHandlers:
    """The three handlers. With ``errors.dead.letter.queue.topic.name`` what fails is written there first.

    What cannot be written there stops the application, whatever the handler says.
    """
    topic = config["errors.dead.letter.queue.topic.name"]

    def handler(kind: str) -> Handler:
        decide: Handler = config[f"{kind}.exception.handler"]
        if not topic:
            return decide

        def handled(context: ErrorContext, error: Exception) -> bool:
            if context.sink_topic == topic:
                return False  # a dead letter that cannot be written: one about it could not be, either
            send(topic, [dead_letter(context, error)])
            return decide(context, error)

        return handled

    return ErrorHandlers(handler("deserialization"), handler("processing"), handler("production"))


def dead_letter(context: ErrorContext, error: Exception) -> OutputRecord:
    """The record as it was fetched, with Kafka's headers that tell what happened to it.

    A record of a punctuation was never fetched: then key and value are empty. Of a record that could not be written
    it is the bytes that were to be written.
    """
    headers = [
        ("__streams.errors.exception", type(error).__name__.encode()),
        ("__streams.errors.message", str(error).encode()),
        ("__streams.errors.stacktrace", "".join(traceback.format_exception(error)).encode()),
        ("__streams.errors.topic", (context.topic or "").encode()),
        ("__streams.errors.partition", str(context.partition).encode()),
        ("__streams.errors.offset", str(context.offset).encode()),
    ]
    source = context.source
    if source is not None:
        key, value, before = source.key, source.value, source.headers
    else:
        key = context.key if isinstance(context.key, bytes) else None
        value = context.value if isinstance(context.value, bytes) else None
        before = context.headers
    return OutputRecord(key, value, max(context.timestamp, 0), [*before, *headers])

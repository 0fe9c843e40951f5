"""What goes wrong in a streams application, under Kafka Streams' names (``org.apache.kafka.streams.errors``)."""

from __future__ import annotations


class StreamsError(Exception):
    """A streams application cannot go on, or was written or asked wrongly (Kafka's ``StreamsException``)."""


class TopologyError(StreamsError):
    """The topology contradicts itself: a name twice, a store that nobody added (``TopologyException``)."""


class SerdeMissingError(StreamsError):
    """No serde was given for a key or a value, and the config has no default (``ConfigException`` in Kafka)."""


class StreamsSerializationError(StreamsError):
    """Bytes that a serde cannot read, or a value that it cannot write (``SerializationException``)."""


class ProcessingError(StreamsError):
    """A function of the user failed on a record, and the handler said to fail.

    ``node`` is the name of the node; the cause is the function's own exception.
    """

    def __init__(self, message: str, node: str) -> None:
        super().__init__(message)
        self.node = node


class InvalidStateStoreError(StreamsError):
    """A store was asked for that is closed, not there, or of another kind (``InvalidStateStoreException``)."""

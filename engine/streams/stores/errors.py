"""What goes wrong with files of stores."""

from __future__ import annotations

from engine.streams.errors import StreamsError


class StateStoreError(StreamsError):
    """A store's files cannot be opened, read or written (Kafka's ``ProcessorStateException``)."""


class TaskLockedError(StateStoreError):
    """Another process has the task's directory (Kafka's ``LockException``)."""

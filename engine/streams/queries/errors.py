"""What can be wrong with a query, as an HTTP status and words for who asked."""

from __future__ import annotations

from typing import Any

from engine.streams.errors import StreamsError


class QueryError(StreamsError):
    """A query that gets no answer. ``status`` is HTTP's, ``error_code`` a word for programs."""

    status = 400
    error_code = "INVALID_QUERY"

    def document(self) -> dict[str, Any]:
        """What is sent in its place."""
        return {"error_code": self.error_code, "message": str(self)}


class InvalidQuery(QueryError):
    """A parameter is wrong or missing."""


class UnknownStore(QueryError):
    """The topology has no such store."""

    status = 404
    error_code = "UNKNOWN_STORE"


class WrongKind(QueryError):
    """The store is not asked in this way (a window of a key-value store)."""

    error_code = "WRONG_KIND"


class NotReady(QueryError):
    """Nobody can say now (Kafka's ``InvalidStateStoreException`` and its kin): ask again. ``state`` says why."""

    status = 503
    error_code = "STORE_NOT_READY"

    def __init__(self, message: str, state: str, retry_after_ms: int = 200) -> None:
        super().__init__(message)
        self.state = state
        self.retry_after_ms = retry_after_ms

    def document(self) -> dict[str, Any]:
        """What is sent in its place."""
        return {
            **super().document(),
            "error": str(self),
            "state": self.state,
            "retry_after_ms": self.retry_after_ms,
        }

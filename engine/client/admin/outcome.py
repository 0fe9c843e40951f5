"""What became of one item of a request."""

from __future__ import annotations

from typing import TypeAlias

from engine.client.errors import ClientError
from engine.model.errors import ErrorCode, KafkaError

# The broker's refusal, or no answer from the broker that the item belongs to.
Failure: TypeAlias = KafkaError | ClientError


def failure_text(failure: Failure) -> str:
    """One line for people."""
    return str(failure)


def refusal(error_code: int, message: str | None = None) -> KafkaError | None:
    """``None`` for NONE."""
    return KafkaError(ErrorCode(error_code), message or "") if error_code else None


def check(error_code: int, message: str | None = None) -> None:
    """Raises:
    KafkaError: unless the code is NONE.
    """
    if error_code:
        raise KafkaError(ErrorCode(error_code), message or "")

"""The engine's errors as sentences of the console."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from console.gateway.protocol import GatewayError
from engine.client.errors import ClientError
from engine.model.errors import KafkaError


@contextmanager
def plain_errors() -> Iterator[None]:
    """Raises: GatewayError: in place of the client's errors."""
    try:
        yield
    except KafkaError as error:
        raise GatewayError(f"{error.code.name}: {error.message}" if error.message else error.code.name) from error
    except ClientError as error:
        raise GatewayError(str(error)) from error


def raise_failures(outcomes: Iterable[object]) -> None:
    """Raises: KafkaError, ClientError: the first of the outcomes that is one."""
    for outcome in outcomes:
        if isinstance(outcome, KafkaError | ClientError):
            raise outcome

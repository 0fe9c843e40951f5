"""What a broker says of an API that it implements: key, versions, listeners."""

from __future__ import annotations

from typing import NamedTuple

from engine.wire.apis import ApiKey


class ApiSpec(NamedTuple):
    """One implemented API. ApiVersions advertises exactly these, nothing else.

    ``listeners`` has ``"broker"`` (where clients connect) or ``"controller"`` or both, as in the ``listeners`` of
    Kafka's schemas. ``pipelined`` lets the next request of a connection start while this one waits for its answer:
    right only for handlers that do all their ordered work before they return what is waited for (Produce); one that
    returns a coroutine is waited for after all.
    """

    key: ApiKey
    min_version: int
    max_version: int
    listeners: tuple[str, ...] = ("broker",)
    pipelined: bool = False

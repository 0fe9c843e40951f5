"""What a broker says of an API that it implements: key, versions, listeners."""

from __future__ import annotations

from typing import NamedTuple

from engine.wire.apis import ApiKey


class ApiSpec(NamedTuple):
    """One implemented API. ApiVersions advertises exactly these, nothing else.

    ``listeners`` has ``"broker"`` (where clients connect) or ``"controller"`` or both, as in the ``listeners`` of
    Kafka's schemas. ``pipelined`` lets the next request of a connection start while this one waits for its answer:
    right only for handlers that do all their ordered work before they return what is waited for (Produce); one that
    returns a coroutine is waited for after all. ``zookeeper_min_version`` is the lowest version where the cluster's
    coordination is ZooKeeper, if it is not ``min_version``: such a cluster serves clients as old as Kafka 3.9 did.
    """

    key: ApiKey
    min_version: int
    max_version: int
    listeners: tuple[str, ...] = ("broker",)
    pipelined: bool = False
    zookeeper_min_version: int | None = None

    def with_zookeeper(self) -> ApiSpec:
        """The same API of a broker whose coordination is ZooKeeper."""
        low = self.zookeeper_min_version
        return self if low is None else self._replace(min_version=low)

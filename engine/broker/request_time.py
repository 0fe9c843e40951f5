"""How long a request keeps the broker busy: the time of its handler without what it waits for (KIP-124).

Kafka counts the time of its request and network threads; here one thread does all, and what it does for one request is
measured step by step.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from typing import TYPE_CHECKING, Any, TypeVar

from engine.wire.apis import ApiKey

if TYPE_CHECKING:
    from engine.broker.context import RequestContext

_T = TypeVar("_T")

# What only brokers ask of brokers.
_OF_BROKERS = frozenset(
    {
        ApiKey.WRITE_TXN_MARKERS,
        ApiKey.INITIALIZE_SHARE_GROUP_STATE,
        ApiKey.READ_SHARE_GROUP_STATE,
        ApiKey.WRITE_SHARE_GROUP_STATE,
        ApiKey.DELETE_SHARE_GROUP_STATE,
        ApiKey.READ_SHARE_GROUP_STATE_SUMMARY,
    }
)
# AddPartitionsToTxn comes from brokers from this version on (KIP-890).
_VERIFYING_FROM = 4


class Stopwatch:
    """Adds up the steps of one request."""

    def __init__(self, now_ms: Callable[[], float]) -> None:
        self._now_ms = now_ms
        self.elapsed_ms = 0.0

    def call(self, function: Callable[..., _T], *arguments: Any) -> _T:
        """Call and measure."""
        began_ms = self._now_ms()
        try:
            return function(*arguments)
        finally:
            self.elapsed_ms += self._now_ms() - began_ms

    def following(self, awaitable: Awaitable[_T]) -> Awaitable[_T]:
        """The same to be awaited: what it does between its waits is measured."""
        return _Followed(awaitable, self)


class _Followed(Awaitable[_T]):
    def __init__(self, awaitable: Awaitable[_T], watch: Stopwatch) -> None:
        self._awaitable = awaitable
        self._watch = watch

    def __await__(self) -> Generator[Any, Any, _T]:
        steps = self._awaitable.__await__()
        call = self._watch.call
        try:
            waits_for = call(next, steps)
            while True:
                try:
                    yield waits_for
                except GeneratorExit:
                    close = getattr(steps, "close", None)
                    if close is not None:
                        close()
                    raise
                except BaseException as error:
                    waits_for = call(steps.throw, error)
                else:
                    waits_for = call(next, steps)
        except StopIteration as stop:
            value: _T = stop.value
            return value


def is_of_the_cluster(context: RequestContext, request: Any) -> bool:
    """Whether another broker asks, which has no quota: a follower's fetch, or what no client asks for."""
    if context.api_key in _OF_BROKERS:
        return True
    if context.api_key == ApiKey.ADD_PARTITIONS_TO_TXN:
        return context.api_version >= _VERIFYING_FROM
    replica_state = getattr(request, "replica_state", None)
    follower: int = max(getattr(request, "replica_id", -1), getattr(replica_state, "replica_id", -1))
    return follower >= 0

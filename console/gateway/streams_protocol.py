"""What the console asks workers of applications over streams, each by the endpoint that it tells (``host:port``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from console.viewmodel.store_queries import Entries, StoreQuery, StoreTold
from console.viewmodel.streams_told import WorkerTold
from console.viewmodel.streams_topology import TopologyTold


class StreamsQuestions(Protocol):
    """Workers are asked at the same time, each with a connection and a time-out of its own. All methods raise
    GatewayError, those that give answers by endpoint only where nobody at all can be asked."""

    async def statuses(self, endpoints: Sequence[str]) -> Mapping[str, WorkerTold | str]:
        """What each worker tells of itself; text says why it does not."""

    async def topology(self, endpoints: Sequence[str]) -> TopologyTold:
        """As the first one tells it that answers."""

    async def stores(self, endpoints: Sequence[str]) -> Mapping[str, Sequence[StoreTold] | str]:
        """The stores that each worker has."""

    async def query(self, endpoints: Sequence[str], query: StoreQuery, topics: Sequence[str]) -> Entries:
        """Entries of a store, by whichever worker answers: it asks the others. ``topics`` are those that the store is
        made of, for who has to know whether their values may be seen."""

    async def kill(self, worker: WorkerTold) -> None:
        """SIGKILL, of a worker on this machine that really is one."""

"""Which worker has which partitions, as the group's coordinator tells every member (KIP-1071)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple


class Endpoint(NamedTuple):
    """Where a worker answers (``application.server``)."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Routes:
    """Endpoints by partition of the topics that tasks read."""

    def __init__(self, told: Iterable[Any] = ()) -> None:
        """``told`` is ``partitions_by_user_endpoint`` of a heartbeat's answer."""
        self.endpoints: list[Endpoint] = []
        self._active: dict[tuple[str, int], Endpoint] = {}
        self._standby: dict[tuple[str, int], list[Endpoint]] = {}
        for each in told:
            endpoint = Endpoint(each.user_endpoint.host, each.user_endpoint.port)
            self.endpoints.append(endpoint)
            for topic in each.active_partitions:
                self._active.update(((topic.topic, number), endpoint) for number in topic.partitions)
            for topic in each.standby_partitions:
                for number in topic.partitions:
                    self._standby.setdefault((topic.topic, number), []).append(endpoint)

    def active(self, topics: Iterable[str], partition: int) -> Endpoint | None:
        """Who processes the task that reads ``partition`` of these topics (some of them may have fewer)."""
        return next((self._active[topic, partition] for topic in topics if (topic, partition) in self._active), None)

    def standbys(self, topics: Iterable[str], partition: int) -> list[Endpoint]:
        """Who follows it."""
        found = (self._standby.get((topic, partition), []) for topic in topics)
        return list(dict.fromkeys(endpoint for endpoints in found for endpoint in endpoints))

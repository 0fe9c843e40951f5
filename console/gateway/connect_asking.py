"""Workers of Kafka Connect, asked for the console: connectors, tasks, offsets, and what changes them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from console.gateway.connect_http import NOBODY, ConnectPlace, ConnectRefused, ConnectRest, NoConnectWorker
from console.gateway.protocol import GatewayError
from console.viewmodel.connect_told import ConnectorTold, connector_told
from console.viewmodel.connectors import ConnectorRow, ConnectTaskRow, OffsetRow, TaskCount
from console.viewmodel.keeping import Told

_LOOK_S = 3.0
_ACT_S = 95.0

Counts = dict[tuple[str, int], TaskCount]


class ConnectAsking:
    """:class:`console.gateway.connect_protocol.ConnectQuestions` of any cluster."""

    def __init__(self, places: Callable[[], Mapping[str, ConnectPlace]], check_writable: Callable[[], None]) -> None:
        """
        Args:
            places: where workers are, by group, as far as is known now; may read files.
            check_writable: raises GatewayError where nothing may be done.
        """
        self._places = places
        self._check_writable = check_writable

    async def groups(self) -> Sequence[str]:
        return list(await asyncio.to_thread(self._places))

    async def connectors(self) -> Told:
        places = await asyncio.to_thread(self._places)
        if not places:
            raise GatewayError(NOBODY)
        answers = await asyncio.gather(*(self._of_group(each, place) for each, place in places.items()))
        problems = [problem for _, found in answers for problem in found]
        return Told({group: rows for group, (rows, _) in zip(places, answers, strict=True)}, tuple(problems))

    async def tasks(self, group: str, name: str) -> Told:
        place = await self._place(group)
        status, info, counts = await asyncio.gather(
            self._get(place, ("connectors", name, "status")),
            self._get(place, ("connectors", name)),
            self._counts(place),
        )
        told = _read(status, info)
        row = _row(group, told, await self._topics(place, name), counts)
        return Told({"": [row, *(ConnectTaskRow(each, row.counts.get(each.number)) for each in told.tasks)]})

    async def offsets(self, group: str, name: str) -> Told:
        found = await self._get(await self._place(group), ("connectors", name, "offsets"))
        try:
            return Told({"": [OffsetRow(dict(each["partition"]), each["offset"]) for each in found["offsets"]]})
        except (KeyError, TypeError, ValueError) as error:
            raise GatewayError(f"these are no offsets: {error!r}") from None

    async def ask(
        self, group: str, method: str, path: Sequence[str], body: Any = None, query: Mapping[str, str] | None = None
    ) -> Any:
        if method != "GET" and path[-1:] != ("validate",) and list(path[-1:]) != ["validate"]:
            self._check_writable()
        return await _asked(ConnectRest(await self._place(group), _ACT_S), method, path, body, query)

    # -- one group ------------------------------------------------------------------------------------------------

    async def _place(self, group: str) -> ConnectPlace:
        place = (await asyncio.to_thread(self._places)).get(group)
        if place is None:
            raise GatewayError(f"no workers of {group} are known any more")
        return place

    @staticmethod
    async def _get(place: ConnectPlace, path: Sequence[str], query: Sequence[tuple[str, str]] = ()) -> Any:
        return await _asked(ConnectRest(place, _LOOK_S), "GET", path, None, query)

    async def _of_group(self, group: str, place: ConnectPlace) -> tuple[list[ConnectorRow] | None, list[str]]:
        try:
            found, counts = await asyncio.gather(
                self._get(place, ("connectors",), [("expand", "status"), ("expand", "info")]), self._counts(place)
            )
            told = [_read(each.get("status") or {"name": name}, each.get("info") or {}) for name, each in found.items()]
            topics = await asyncio.gather(*(self._topics(place, each.name) for each in told))
        except (GatewayError, AttributeError) as error:
            return None, [f"{group}: {error}"]
        return [_row(group, each, used, counts) for each, used in zip(told, topics, strict=True)], []

    async def _topics(self, place: ConnectPlace, name: str) -> tuple[str, ...] | None:
        """None where workers do not keep them."""
        try:
            found = await self._get(place, ("connectors", name, "topics"))
            return tuple(sorted(map(str, found[name]["topics"])))
        except (GatewayError, KeyError, TypeError):
            return None

    async def _counts(self, place: ConnectPlace) -> Counts:
        """What each worker tells of its tasks; Java's worker tells nothing."""
        counts: Counts = {}

        async def of(url: str) -> None:
            try:
                for each in await self._get(place._replace(urls=(url,)), ("kconsole", "tasks")):
                    count = TaskCount(int(each["records"]), float(each["records_per_s"]), each.get("pid"))
                    counts[str(each["connector"]), int(each["task"])] = count
            except (GatewayError, KeyError, TypeError, ValueError):
                pass

        await asyncio.gather(*map(of, place.urls))
        return counts


async def _asked(
    rest: ConnectRest,
    method: str,
    path: Sequence[str],
    body: Any,
    query: Mapping[str, str] | Sequence[tuple[str, str]] | None,
) -> Any:
    try:
        return await asyncio.to_thread(rest.ask, method, path, body, query or ())
    except (ConnectRefused, NoConnectWorker) as error:
        raise GatewayError(str(error)) from None


def _read(status: Any, info: Any) -> ConnectorTold:
    try:
        return connector_told(status, info)
    except ValueError as error:
        raise GatewayError(str(error)) from None


def _row(group: str, told: ConnectorTold, topics: tuple[str, ...] | None, counts: Counts) -> ConnectorRow:
    own = {task: count for (name, task), count in counts.items() if name == told.name}
    return ConnectorRow(group, told, topics, own)

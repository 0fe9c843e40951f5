"""Queries of any partition, whichever worker has it: read here, asked of others, and put together.

A key is looked for where Kafka's hash says. Where that is not certain (a topic that others write, or what a processor
of the user's keeps) and it is not there, every partition is asked. Kafka leaves all of this to the application.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor
from typing import Any, Protocol, TypeVar
from urllib.parse import quote

from engine.streams.errors import StreamsError
from engine.streams.queries.answers import Answers, joined, merged
from engine.streams.queries.catalogue import StoreInfo
from engine.streams.queries.errors import NotReady, QueryError
from engine.streams.queries.query import Kind, Query, Wishes, read_query, write_query
from engine.streams.queries.routes import Endpoint, Routes
from engine.streams.runtime.local_stores import LocalStores

T = TypeVar("T")

_COUNT_S = 1.0
_UNREACHABLE = "UNREACHABLE"
_ABSENT = "ABSENT"
_RESTORING = "RESTORING"
_WORDS = {
    _RESTORING: "is being restored",
    _UNREACHABLE: "was with a worker that does not answer, and nobody has it yet",
    "UNSURE": "is with a worker that has not heard of its group for longer than a session, another may have it",
    "BUSY": "is with a worker that has no time",
    "STANDBY": "has a standby only",
    _ABSENT: "is with nobody now",
}


class Fetch(Protocol):
    """How another worker is asked."""

    async def __call__(self, endpoint: Endpoint, path: str, parameters: Mapping[str, str]) -> tuple[int, Any]:
        """HTTP's status and the document; OSError when nobody answers."""


class QueryService:
    """What a worker's HTTP server answers about stores. Belongs to one event loop."""

    def __init__(
        self,
        local: LocalStores,
        endpoint: Endpoint,
        routes: Callable[[], Routes],
        partitions_of: Callable[[str], int],
        fetch: Fetch,
        executor: Executor,
    ) -> None:
        self._local = local
        self._endpoint = endpoint
        self._routes = routes
        self._partitions_of = partitions_of
        self._fetch = fetch
        self._executor = executor
        self._counting: dict[str, asyncio.Future[int]] = {}

    async def answer(self, store: str, kind: Kind, given: Mapping[str, str]) -> dict[str, Any]:
        """The document that answers a request.

        Raises:
            QueryError: there is none.
        """
        info = self._local.catalogue[store]
        query, wishes = await self._in_thread(lambda: read_query(info, kind, given))
        answers = await self._answers(info, query, wishes)
        if answers.missing and not (wishes.partial or (kind is Kind.KEY and _has_entries(answers))):
            raise _not_ready(info, answers)
        entries, truncated = merged(query, answers)
        stale = any(each.stale for each in answers.found.values())
        missing = [{"partition": each, "state": state} for each, state in sorted(answers.missing.items())]
        if kind is not Kind.KEY:
            return {"entries": entries, "truncated": truncated, "stale": stale, "missing": missing}
        where = next((of for of, each in answers.found.items() if each.entries), None)
        if where is None:
            # Who asks for a key wants it back also when there is none.
            asked = next(iter(answers.found), None)
            worker = answers.found[asked].worker if asked is not None else str(self._endpoint)
            of = None if info.is_global else asked
            nothing = {"found": False, "key": given.get("key"), "value": None, "partition": of, "worker": worker}
            return {**nothing, "missing": missing} if missing else nothing
        return {"found": True, **entries[0], "worker": answers.found[where].worker, "stale": stale}

    async def parts(self, store: str, kind: Kind, given: Mapping[str, str]) -> dict[str, Any]:
        """What this worker alone can say, for the one that was asked.

        Raises:
            QueryError.
        """
        info = self._local.catalogue[store]
        query, wishes = await self._in_thread(lambda: read_query(info, kind, given))
        return (await self._here(query, wishes.partitions, wishes.stale)).document()

    async def routes(self) -> dict[str, list[dict[str, Any]]]:
        """Who has which partition of each store, as far as the group has told this worker.

        Raises:
            QueryError.
        """
        routes, found = self._routes(), {}
        for name, info in self._local.catalogue.stores.items():
            if info.is_global:
                found[name] = [
                    {"partition": None, "host": each.host, "port": each.port, "active": True}
                    for each in routes.endpoints
                ]
                continue
            found[name] = []
            for partition in range(await self._partitions(info)):
                active = routes.active(info.source_topics, partition)
                standbys = routes.standbys(info.source_topics, partition)
                for each in ([active] if active is not None else []) + standbys:
                    is_active = each is active
                    found[name].append(
                        {"partition": partition, "host": each.host, "port": each.port, "active": is_active}
                    )
        return found

    async def _answers(self, info: StoreInfo, query: Query, wishes: Wishes) -> Answers:
        if info.is_global:
            return await self._here(query, None, wishes.stale)
        if wishes.local and wishes.partitions is None:
            return await self._here(query, None, wishes.stale)
        count = await self._partitions(info)
        wrong = [each for each in wishes.partitions or () if not 0 <= each < count]
        if wrong:
            raise QueryError(f"store {info.name} has no partition {wrong[0]}, only 0 to {count - 1}")
        if wishes.local:
            return await self._here(query, wishes.partitions, wishes.stale)
        if wishes.partitions is not None:
            return await self._everywhere(info, query, wishes.partitions, wishes.stale)
        if query.key is None:
            return await self._everywhere(info, query, range(count), wishes.stale)
        first = info.partition_of(query.key, count)
        answers = await self._everywhere(info, query, [first], wishes.stale)
        if info.is_placed or _has_entries(answers):
            return answers
        others = [each for each in range(count) if each != first]
        return joined((answers, await self._everywhere(info, query, others, wishes.stale)))

    async def _everywhere(self, info: StoreInfo, query: Query, partitions: Iterable[int], stale: bool) -> Answers:
        routes = self._routes()
        asked: dict[Endpoint, list[int]] = {}
        missing: dict[int, str] = {}
        for partition in partitions:
            if self._local.has(info, partition):
                asked.setdefault(self._endpoint, []).append(partition)
                continue
            endpoint = routes.active(info.source_topics, partition)
            if endpoint is None or endpoint == self._endpoint:
                missing[partition] = _ABSENT
            else:
                asked.setdefault(endpoint, []).append(partition)
        answers = await self._ask(query, asked, stale)
        answers = joined((answers, Answers({}, missing)))
        # The group's word may be late: whoever has taken over since says so. Standbys answer if they may.
        sought = [each for each, state in answers.missing.items() if stale or state != _RESTORING]
        if sought:
            others = [each for each in dict.fromkeys((*routes.endpoints, self._endpoint))]
            more = {each: [at for at in sought if at not in asked.get(each, ())] for each in others}
            answers = joined((answers, await self._ask(query, more, stale)))
        return answers

    async def _ask(self, query: Query, asked: Mapping[Endpoint, list[int]], stale: bool) -> Answers:
        work = [
            self._here(query, partitions, stale)
            if endpoint == self._endpoint
            else self._there(endpoint, query, partitions, stale)
            for endpoint, partitions in asked.items()
            if partitions
        ]
        return joined(await asyncio.gather(*work))

    async def _here(self, query: Query, partitions: Iterable[int] | None, stale: bool) -> Answers:
        worker = str(self._endpoint)
        return await self._in_thread(lambda: self._local.read(query, partitions, worker, stale=stale))

    async def _there(self, endpoint: Endpoint, query: Query, partitions: list[int], stale: bool) -> Answers:
        path = f"/v1/parts/{quote(query.store, safe='')}/{query.kind}"
        parameters = write_query(query, Wishes(stale=stale, partitions=tuple(partitions)))
        try:
            status, document = await self._fetch(endpoint, path, parameters)
            if status == 200:
                return Answers.of(document)
            state = str(document.get("state", _UNREACHABLE)) if isinstance(document, dict) else _UNREACHABLE
        except (OSError, TimeoutError, ValueError):
            state = _UNREACHABLE
        return Answers({}, dict.fromkeys(partitions, state))

    async def _partitions(self, info: StoreInfo) -> int:
        """How many tasks the store's sub-topology has."""
        return max(await asyncio.gather(*map(self._count, info.source_topics)))

    async def _count(self, topic: str) -> int:
        counting = self._counting.get(topic)
        if counting is None:
            # It waits for brokers that are away, and is asked once at a time.
            counting = asyncio.get_running_loop().run_in_executor(self._executor, self._partitions_of, topic)
            self._counting[topic] = counting
            counting.add_done_callback(lambda done: self._counted(topic, done))
        try:
            async with asyncio.timeout(_COUNT_S):
                return await asyncio.shield(counting)
        except TimeoutError:
            raise NotReady(f"brokers do not tell the partitions of {topic}", "CREATED") from None
        except StreamsError as error:
            raise NotReady(str(error), "CREATED") from error

    def _counted(self, topic: str, done: asyncio.Future[int]) -> None:
        del self._counting[topic]
        if not done.cancelled():
            done.exception()  # nobody may be waiting for it any more

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)


def _has_entries(answers: Answers) -> bool:
    return any(each.entries for each in answers.found.values())


def _not_ready(info: StoreInfo, answers: Answers) -> NotReady:
    states = set(answers.missing.values())
    state = next((each for each in _WORDS if each in states), _RESTORING)
    parts = ", ".join(
        f"partition {partition} {_WORDS.get(word, word)}" for partition, word in sorted(answers.missing.items())
    )
    return NotReady(
        f"store {info.name}: {parts}; ask again, or with stale=true where there are standbys, or with partial=true",
        state,
    )

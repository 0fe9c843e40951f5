"""Workers of applications over streams, asked by HTTP (docs/streams.md): what they tell, and entries of their stores.

Where they answer is what a group's members say, so an answer is read as anybody's: bounded, and followed nowhere else.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from console.gateway.protocol import GatewayError
from console.gateway.streams_processes import kill_worker, reason_against_kill
from console.viewmodel.store_queries import Entries, StoreQuery, StoreTold, entries_told, store_told
from console.viewmodel.streams_told import WorkerTold, worker_told
from console.viewmodel.streams_topology import TopologyTold, topology_told

if TYPE_CHECKING:
    from aiohttp import ClientSession

T = TypeVar("T")

NEEDS_AIOHTTP = "asking workers needs aiohttp: pip install 'kconsole[streams]'"
NO_ENDPOINTS = "no worker tells where it answers: application.server, which `kconsole streams run` sets, has it listen"
TOKEN = "KCONSOLE_STREAMS_TOKEN"
_TIMEOUT_S = 1.5
# A worker asks others in turn to answer a query.
_QUERY_TIMEOUT_S = 4.0
_MOST_BYTES = 16 << 20


class _NoAnswer(Exception):
    """Why there is no answer. ``is_told``: the worker said so itself; ``is_final``: no other one would say anything
    else."""

    def __init__(self, reason: str, *, is_told: bool = False, is_final: bool = False) -> None:
        super().__init__(reason)
        self.is_told = is_told
        self.is_final = is_final


class WorkersByHttp:
    """:class:`console.gateway.streams_protocol.StreamsQuestions` of any cluster."""

    def __init__(self, check_writable: Callable[[], None]) -> None:
        """``check_writable`` raises GatewayError where nothing may be done."""
        self._check_writable = check_writable
        self._open: ClientSession | None = None
        # Those that did not answer a query, to be asked after the others.
        self._silent: set[str] = set()

    async def close(self) -> None:
        """Let go of all connections."""
        if self._open is not None:
            await self._open.close()
            self._open = None

    def _session(self) -> ClientSession:
        try:
            import aiohttp
        except ImportError:
            raise GatewayError(NEEDS_AIOHTTP) from None
        if self._open is None:
            self._open = aiohttp.ClientSession(trust_env=False, cookie_jar=aiohttp.DummyCookieJar())
        return self._open

    async def statuses(self, endpoints: Sequence[str]) -> Mapping[str, WorkerTold | str]:
        answers = await self._of_each(endpoints, ("v1", "status"), worker_told)
        for endpoint, answer in answers.items():
            if not isinstance(answer, str):
                reason = await asyncio.to_thread(reason_against_kill, answer)
                answers[endpoint] = answer._replace(no_kill=reason)
        return answers

    async def topology(self, endpoints: Sequence[str]) -> TopologyTold:
        answers = await self._of_each(endpoints, ("v1", "topology"), lambda _, document: topology_told(document))
        found = next((each for each in answers.values() if not isinstance(each, str)), None)
        if found is None:
            raise GatewayError(_reasons(answers) or NO_ENDPOINTS)
        return found

    async def stores(self, endpoints: Sequence[str]) -> Mapping[str, Sequence[StoreTold] | str]:
        def read(_: str, document: Any) -> Sequence[StoreTold]:
            return [store_told(each) for each in document]

        answers = await self._of_each(endpoints, ("v1", "stores"), read)
        if not answers:
            raise GatewayError(NO_ENDPOINTS)
        return answers

    async def query(self, endpoints: Sequence[str], query: StoreQuery, topics: Sequence[str]) -> Entries:
        if not endpoints:
            raise GatewayError(NO_ENDPOINTS)
        told, silent = "", ""
        for endpoint in sorted(endpoints, key=self._silent.__contains__):
            try:
                document = await self._get(endpoint, query.path, query.parameters, _QUERY_TIMEOUT_S)
                self._silent.discard(endpoint)
                return entries_told(document)
            except _NoAnswer as error:
                if error.is_final:
                    raise GatewayError(str(error)) from None
                if error.is_told:
                    told = told or str(error)
                else:
                    self._silent.add(endpoint)
                    silent = silent or str(error)
            except ValueError as error:
                told = told or f"{endpoint}: {error}"
        raise GatewayError(told or (silent if len(endpoints) == 1 else f"no worker answers: {silent}"))

    async def kill(self, worker: WorkerTold) -> None:
        self._check_writable()
        await asyncio.to_thread(kill_worker, worker)

    # -- one worker -----------------------------------------------------------------------------------------------

    async def _of_each(
        self, endpoints: Sequence[str], path: Sequence[str], read: Callable[[str, Any], T]
    ) -> dict[str, T | str]:
        self._session()

        async def ask(endpoint: str) -> T | str:
            try:
                return read(endpoint, await self._get(endpoint, path, {}, _TIMEOUT_S))
            except (_NoAnswer, ValueError, TypeError) as error:
                return str(error)

        return dict(zip(endpoints, await asyncio.gather(*map(ask, endpoints)), strict=True))

    async def _get(self, endpoint: str, path: Sequence[str], parameters: Mapping[str, str], timeout_s: float) -> Any:
        """Raises: _NoAnswer, GatewayError."""
        session = self._session()
        import aiohttp
        from yarl import URL

        token = os.environ.get(TOKEN, "")
        try:
            # Names of stores may hold what parts a path.
            url = URL(f"http://{endpoint}/{'/'.join(quote(each, safe='') for each in path)}", encoded=True)
            async with session.get(
                url.update_query(parameters),
                headers={"Authorization": f"Bearer {token}"} if token else None,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=timeout_s),
            ) as response:
                data = await response.content.read(_MOST_BYTES + 1)
                while data and not response.content.at_eof() and len(data) <= _MOST_BYTES:
                    data += await response.content.read(_MOST_BYTES + 1 - len(data))
                status = response.status
        except TimeoutError:
            raise _NoAnswer(f"{endpoint} did not answer within {timeout_s:g} s") from None
        except aiohttp.ClientConnectorError as error:
            raise _NoAnswer(f"{endpoint} cannot be reached: {_words(error.os_error)}") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise _NoAnswer(f"{endpoint} does not answer in HTTP: {error}") from None
        if len(data) > _MOST_BYTES:
            raise _NoAnswer(f"{endpoint} answers more than {_MOST_BYTES >> 20} MiB: ask for less (limit=…)")
        try:
            document = json.loads(data)
        except (ValueError, RecursionError):
            document = None
        if status == 200 and document is not None:
            return document
        raise _refusal(endpoint, status, document)


def _words(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)


def _refusal(endpoint: str, status: int, document: Any) -> _NoAnswer:
    told = document if isinstance(document, dict) else {}
    said = str(told.get("message") or told.get("error") or "")
    if status in (401, 403) and not os.environ.get(TOKEN):
        return _NoAnswer(f"{endpoint} wants its application.server.token: put it into {TOKEN}")
    if status in (401, 403):
        return _NoAnswer(f"{endpoint} does not take the token of {TOKEN}{f': {said}' if said else ''}")
    if status == 503:
        # What a program could do about it stands behind a semicolon.
        return _NoAnswer(said.partition(";")[0] or "the store is being restored, or moves", is_told=True)
    if not said:
        return _NoAnswer(f"{endpoint} is no worker of `kconsole streams`: it answers {status}")
    # What is wrong with the question is wrong with it everywhere.
    return _NoAnswer(said, is_told=True, is_final=status in (400, 404))


def _reasons(answers: Mapping[str, object]) -> str:
    return "; ".join(dict.fromkeys(each for each in answers.values() if isinstance(each, str)))

"""Requests that another worker has to answer: the leader, or who has the task (``HerderRequestHandler``)."""

from __future__ import annotations

import json
import logging

from aiohttp import ClientError, ClientSession, ClientTimeout, web
from yarl import URL

from engine.connect.rest.answers import error
from engine.connect.runtime.request_signature import ALGORITHM, SIGNATURE

_log = logging.getLogger(__name__)
_NO_LEADER = "Cannot complete request momentarily due to no known leader URL, likely because a rebalance was underway."
_TOO_FAR = "Cannot complete request because of a conflicting operation (e.g. worker rebalance)"
_PASSED_ON = ("Authorization", "Content-Type", "Accept", SIGNATURE, ALGORITHM)


class Forwarding:
    """Asks other workers; :meth:`close` it."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout = ClientTimeout(total=timeout_s)
        self._session: ClientSession | None = None

    async def close(self) -> None:
        """Give up what is under way."""
        if self._session is not None:
            await self._session.close()

    async def forward(self, request: web.Request, url: str | None) -> web.Response:
        """The answer of the worker at ``url``; two hops at most, then somebody is mistaken."""
        told = request.query.get("forward")
        if told is not None and told.lower() != "true":
            return error(409, _TOO_FAR)
        if url is None:
            return error(409, _NO_LEADER)
        if self._session is None:
            self._session = ClientSession(timeout=self._timeout, auto_decompress=True)
        query = {name: value for name, value in request.query.items() if name != "forward"}
        target = url.rstrip("/") + request.rel_url.raw_path
        headers = {name: request.headers[name] for name in _PASSED_ON if name in request.headers}
        try:
            async with self._session.request(
                request.method,
                URL(target, encoded=True),
                params={**query, "forward": "true" if told is None else "false"},
                data=await request.read() or None,
                headers=headers,
                allow_redirects=False,
            ) as got:
                body = await got.read()
        except (ClientError, TimeoutError) as failure:
            _log.warning("the worker at %s did not answer %s %s: %s", url, request.method, request.path, failure)
            return error(500, f"IO Error trying to forward REST request: {failure}")
        if got.status >= 400 and not _is_json(body):
            return error(got.status, f"The worker at {url} answered {got.status}")
        answer = web.Response(status=got.status, body=body or None)
        for name in ("Content-Type", "Location"):
            if name in got.headers:
                answer.headers[name] = got.headers[name]
        return answer


def _is_json(body: bytes) -> bool:
    try:
        return isinstance(json.loads(body), dict)
    except ValueError:
        return False

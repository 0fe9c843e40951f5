"""Sends the machine's requests to peers and hands back what they answer, or that they are gone.

Two connections to a peer: one for fetches, which the leader holds back for up to half a second, and one for the short
requests, which must not wait behind them. Answers keep their order on a connection.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

from engine.broker.quorum.address_book import AddressBook
from engine.broker.quorum.wire_requests import encode_request
from engine.broker.quorum.wire_responses import UnusableResponse, decode_response
from engine.client.errors import ClientError, ConnectionLost
from engine.core.raft.identity import Endpoint
from engine.core.raft.messages import FetchRequest, FetchSnapshotRequest, Response, SupportedVersionsRequest
from engine.core.raft.outputs import Send
from engine.wire.message import Message

log = logging.getLogger(__name__)


class PeerChannel(Protocol):
    """What is needed of :class:`engine.client.channel.Channel`."""

    async def send(self, request: Message, *, version: int | None = None, timeout_ms: float = 30_000) -> Message: ...

    def close(self) -> None: ...


class Peers:
    """Connections to the other voters, opened when first needed."""

    def __init__(
        self,
        endpoint: Endpoint | None,
        book: AddressBook,
        cluster_id: str | None,
        open_channel: Callable[[int], PeerChannel],
        *,
        on_response: Callable[[Send, Response], None],
        on_connection_lost: Callable[[int], None],
        on_request_failed: Callable[[Send], None],
    ) -> None:
        """``endpoint``: this node's controller listener; ``open_channel(node_id)`` makes a channel of its own to that
        of another one."""
        self._endpoint = endpoint
        self._book = book
        self._cluster_id = cluster_id
        self._open_channel = open_channel
        self._on_response = on_response
        self._on_connection_lost = on_connection_lost
        self._on_request_failed = on_request_failed
        self._channels: dict[tuple[int, bool], PeerChannel] = {}
        # An ordered set: the order of iteration must replay.
        self._tasks: dict[asyncio.Task[None], None] = {}
        self._said: dict[int, str] = {}
        self._closed = False

    def send(self, send: Send, timeout_ms: float) -> None:
        """Start a request; one of the callbacks will follow, unless :meth:`close` comes first."""
        if self._closed:
            return
        task = asyncio.get_running_loop().create_task(self._exchange(send, timeout_ms))
        self._tasks[task] = None
        task.add_done_callback(lambda done: self._tasks.pop(done, None))

    async def _exchange(self, send: Send, timeout_ms: float) -> None:
        is_fetch = isinstance(send.request, (FetchRequest, FetchSnapshotRequest))
        key = (send.node_id, is_fetch)
        if isinstance(send.request, SupportedVersionsRequest):
            # Whoever wants it to vote says where it is.
            self._book.note(send.node_id, send.request.endpoint.host, send.request.endpoint.port)
        channel = self._channels.get(key)
        if channel is None:
            channel = self._channels[key] = self._open_channel(send.node_id)
        message = encode_request(send.request, self._cluster_id, self._endpoint)
        try:
            try:
                answer = await channel.send(message, timeout_ms=timeout_ms)
            except ConnectionLost:
                # A connection can end for many reasons; a process that is gone refuses the next one as well. All
                # requests of the quorum may be repeated.
                try:
                    answer = await channel.send(message, timeout_ms=timeout_ms)
                except ConnectionLost:
                    self._book.on_unreachable(send.node_id)
                    self._on_connection_lost(send.node_id)
                    raise
            for each in getattr(answer, "node_endpoints", ()):
                self._book.note(each.node_id, each.host, each.port)
            response = decode_response(answer)
        except (ClientError, OSError, TimeoutError, UnusableResponse) as error:
            self._say(send.node_id, f"{type(error).__name__}: {error}")
            self._on_request_failed(send)
        else:
            self._said.pop(send.node_id, None)
            self._on_response(send, response)

    def _say(self, node_id: int, what: str) -> None:
        """Log a failure once, not at every repetition."""
        if self._said.get(node_id) != what:
            self._said[node_id] = what
            log.info("quorum: request to node %d failed: %s", node_id, what)

    def close(self) -> None:
        """Drop all connections and requests, and start no more."""
        self._closed = True
        for task in list(self._tasks):
            task.cancel()
        for key in sorted(self._channels):
            self._channels[key].close()
        self._channels.clear()

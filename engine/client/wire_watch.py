"""What this process asks brokers and what they answer, while somebody looks (``Connection.watch``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.wire.tap import Asker, Exchange, Tap

if TYPE_CHECKING:
    from engine.client.connection import Connection
    from engine.wire.message import Message
    from engine.world import Clock


class ClientWatch:
    """The client's side of :class:`engine.wire.tap.Tap`. What a broker does with a request it cannot tell apart: from
    being asked to being answered, all is handling."""

    def __init__(self, clock: Clock, tap: Tap | None = None) -> None:
        self._clock = clock
        self.tap = tap or Tap()

    def asked(
        self, connection: Connection, request: Message, version: int, correlation_id: int, head: bytes, body: bytes
    ) -> Exchange:
        """A request was written: ``head`` and ``body`` are its frame."""
        peer = f"{connection.address[0]}:{connection.address[1]}"
        asker = Asker(connection.number, peer, "", connection.client_id)
        exchange = Exchange(asker, request.API_KEY, version, correlation_id, self._clock.now_ms())
        exchange.began_ns = self._clock.monotonic_ns()
        self.tap.asked(exchange, head + body, len(head), request)
        return exchange

    def answered(self, exchange: Exchange, response: Message, version: int, frame: memoryview, body_at: int) -> None:
        """Its answer came, in ``version``: that of ApiVersions may be another than was asked."""
        exchange.version = version
        self.tap.answered(exchange, response, [frame[body_at:]], len(frame) + 4, self._clock.monotonic_ns())
        self.tap.over(exchange)

    def unanswered(self, exchange: Exchange, why: str) -> None:
        """No answer comes."""
        self.tap.over(exchange, 0, why)

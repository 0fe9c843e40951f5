"""What passes between this broker and who asks it, while somebody looks: the tap that router and connections feed.

Nobody looks most of the time, and then nothing of this exists (``Router.watch`` is ``None``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engine.broker.connection import Answer
from engine.wire.message import Message
from engine.wire.tap import Asker, Exchange, Tap

if TYPE_CHECKING:
    from engine.broker.connection import ServerConnection
    from engine.broker.context import RequestContext
    from engine.storage.file_slice import FileSlice
    from engine.world import Buffer, Clock


# Of so many requests in a tenth of a second all is kept; those beyond are counted. Nobody reads more, and a broker that
# is busy has other things to do than to copy what passes.
_MOST_A_WINDOW = 100
_WINDOW_NS = 100_000_000


class WatchedAnswer(list["Buffer | FileSlice"]):
    """An answer that knows whose it is."""

    __slots__ = ("exchange",)

    exchange: Exchange


class WireWatch:
    """The shell of :class:`engine.wire.tap.Tap`: it has the clock, and knows connections."""

    def __init__(self, clock: Clock, tap: Tap | None = None) -> None:
        self._clock = clock
        self.tap = tap or Tap()
        self.now_ns = clock.monotonic_ns
        self._window, self._in_window = 0, 0
        # Who looks wants what is there to stay there.
        self.is_held = False

    def asked(self, context: RequestContext, frame: memoryview, body_at: int, request: Message) -> None:
        """A request was read, and is handled next."""
        if self.is_held:
            self.tap.passed_over += 1
            return
        began_ns = self.now_ns()
        window = began_ns // _WINDOW_NS
        if window != self._window:
            self._window, self._in_window = window, 0
        self._in_window += 1
        if self._in_window > _MOST_A_WINDOW:
            self.tap.passed_over += 1
            return
        connection = context.connection
        asker = Asker(
            connection.connection_id,
            f"{connection.peer_host}:{connection.peer_port}",
            connection.listener_name,
            context.client_id or "",
        )
        exchange = Exchange(asker, context.api_key, context.api_version, context.correlation_id, self._clock.now_ms())
        exchange.arrived_ns = connection.arrived_ns
        exchange.began_ns = began_ns
        self.tap.asked(exchange, frame, body_at, request)
        context.exchange = exchange

    def answered(self, exchange: Exchange, response: Any, head: bytes, parts: Answer, size: int) -> WatchedAnswer:
        """Its answer was made: the frame to be sent."""
        message = response if isinstance(response, Message) else None
        self.tap.answered(exchange, message, parts, size + len(head), self.now_ns())
        answer = WatchedAnswer([head, *parts])
        answer.exchange = exchange
        return answer

    def over(self, exchange: Exchange, note: str) -> None:
        """It gets no answer."""
        self.tap.over(exchange, 0, note)

    def queued(self, answer: Answer) -> None:
        """An answer's turn has come; one that was made before anybody looked is not known."""
        if isinstance(answer, WatchedAnswer):
            self.tap.queued(answer.exchange)

    def drained(self, connection: ServerConnection) -> None:
        """The socket has taken all that was queued for a connection."""
        self.tap.drained(connection.connection_id, self.now_ns())

    def lost(self, connection: ServerConnection) -> None:
        """A connection is gone."""
        self.tap.lost(connection.connection_id)

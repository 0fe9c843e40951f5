"""What the supervisor may ask a broker of itself, over the broker's standard input: one JSON object a line.

``{"id": N, "question": "connections"}``       who is connected
``{"id": N, "question": "wire", "after": K, "limit": L}``  requests that were answered after number K; with ``"hold":
true`` none, and none are kept until it is asked without: those that are there stay
``{"id": N, "question": "message", "number": K}``          one of them whole, without what must not be kept
``{"id": N, "question": "expire_session"}``    have ZooKeeper expire the broker's own session, as if it had lapsed: the
broker takes it over by a second connection and ends it, which only who has its password can

Answers are facts of type ``answer`` with the same ``id``, for the supervisor alone.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
from typing import TYPE_CHECKING, Any

from engine.broker.wire_watch import WireWatch
from engine.wire.tap import row_of
from engine.zookeeper.errors import ZooKeeperError

if TYPE_CHECKING:
    from engine.broker.broker import Broker

log = logging.getLogger(__name__)

# Who looks at the wire asks a few times a second; so long after the last time nobody looks any more.
_LOOKING_S = 5.0
_MOST_ROWS = 500
_MOST_CONNECTIONS = 2_000


def is_question(line: bytes) -> bool:
    """Whether a line of standard input asks something, and is for :class:`Questions`."""
    return line.startswith(b'{"id"')


class Questions:
    """Answers questions, and takes the tap away when nobody asks any more."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._lapse: asyncio.TimerHandle | None = None
        # A tap that was taken away and put there anew begins anew: numbers of the one before mean nothing then.
        self._watches = 0
        self._expiring: asyncio.Task[None] | None = None

    def ask(self, line: bytes) -> None:
        """One line of standard input. What is no question is passed over, with a line in the log."""
        try:
            asked = json.loads(line)
            number, question = asked["id"], asked["question"]
            if question == "expire_session":
                self._expiring = asyncio.ensure_future(self._expire(number))
                return
            answers = {"connections": self._connections, "wire": self._wire, "message": self._message}
            answer = answers[question](asked)
        except (ValueError, KeyError, TypeError) as error:
            log.warning("a line of standard input is no question: %r", error)
            return
        self._broker.publisher.publish("answer", id=number, answer=answer)

    async def _expire(self, number: int) -> None:
        entry = self._broker.zookeeper
        if entry is None:
            answer = {"error": "its cluster is coordinated by KRaft: it has no session with ZooKeeper"}
        else:
            session_id = entry.session.session_id
            try:
                await entry.session.expire()
                answer = {"session": f"{session_id & (1 << 64) - 1:#x}"}
            except ZooKeeperError as error:
                answer = {"error": str(error)}
        self._broker.publisher.publish("answer", id=number, answer=answer)

    def _connections(self, asked: dict[str, Any]) -> dict[str, Any]:
        found = sorted(self._broker.router.connections, key=lambda each: each.connection_id)
        now_ms = self._broker.router.now_ms()
        rows = [
            [
                each.connection_id,
                f"{each.peer_host}:{each.peer_port}",
                each.listener_name,
                each.client_id or "",
                *each.client_software,
                each.opened_at_ms,
                each.requests,
                each.bytes_received,
                each.bytes_sent,
                each.in_flight,
                round(max(0.0, now_ms - each.last_active_ms)),
            ]
            for each in found[:_MOST_CONNECTIONS]
        ]
        return {"connections": rows, "total": len(found)}

    def _wire(self, asked: dict[str, Any]) -> dict[str, Any]:
        watch = self._looked_at()
        watch.is_held, tap = bool(asked.get("hold")), watch.tap
        after = int(asked["after"]) if asked.get("watch") == self._watches else 0
        if watch.is_held:
            return {"watch": self._watches, "rows": [], "last": after, "unseen": 0}
        rows = tap.since(after, min(int(asked["limit"]), _MOST_ROWS))
        passed_over, tap.passed_over = tap.passed_over, 0
        return {
            "watch": self._watches,
            "rows": [row_of(each) for each in rows],
            "last": tap.last_number,
            # That passed since, and are not among them.
            "unseen": max(0, tap.last_number - after - len(rows)) + passed_over,
        }

    def _message(self, asked: dict[str, Any]) -> dict[str, Any]:
        found = self._looked_at().tap.find(int(asked["number"])) if asked.get("watch") == self._watches else None
        if found is None:
            return {"gone": True}
        return {
            "row": row_of(found),
            "request": base64.b64encode(found.request).decode(),
            "response": base64.b64encode(found.response).decode(),
        }

    def _looked_at(self) -> WireWatch:
        router = self._broker.router
        if router.watch is None:
            self._watches += 1
            router.watch = WireWatch(self._broker.world.clock)
        if self._lapse is not None:
            self._lapse.cancel()
        self._lapse = asyncio.get_running_loop().call_later(_LOOKING_S, self._look_away)
        return router.watch

    def _look_away(self) -> None:
        self._lapse = None
        self._broker.router.watch = None

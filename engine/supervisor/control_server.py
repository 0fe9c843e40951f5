"""The control socket: JSON lines over a unix socket that only this user can open.

A request is ``{"id": N, "command": "kill", "args": {"brokers": [2]}}``; its answer carries the same id and either
``"result"`` or ``"error"`` (a sentence). Requests are handled side by side. ``subscribe`` is answered, and from then on
facts come as ``{"fact": {…}}`` lines, those of the past first (see :mod:`engine.supervisor.facts`).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from engine.supervisor.broker_supervision import CommandError
from engine.supervisor.facts import FactBus

Handler: TypeAlias = Callable[[str, dict[str, Any]], Awaitable[Any]]

_MAX_REQUEST_BYTES = 1 << 20


class ControlServer:
    """Listens until :meth:`close`."""

    def __init__(self, bus: FactBus, handle: Handler, on_subscribed: Callable[[], None] = lambda: None) -> None:
        """``handle`` takes a command and its arguments; it raises CommandError with a sentence for people."""
        self._bus = bus
        self._handle = handle
        self._on_subscribed = on_subscribed
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.path = ""

    async def start(self, path: str) -> None:
        """Listen on ``path``, mode 0600 from the first moment."""
        mask = os.umask(0o177)
        try:
            self._server = await asyncio.start_unix_server(self._serve, path, limit=_MAX_REQUEST_BYTES)
        finally:
            os.umask(mask)
        self.path = path

    async def close(self) -> None:
        """Close all connections and remove the socket."""
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self.path:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.path)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        requests: set[asyncio.Task[None]] = set()
        try:
            while line := await reader.readline():
                each = asyncio.ensure_future(self._answer(line, writer))
                requests.add(each)
                each.add_done_callback(requests.discard)
        except (ConnectionError, ValueError, asyncio.CancelledError):
            # Gone, or a line beyond the limit; or the supervisor leaves.
            pass
        finally:
            self._tasks.discard(task)
            # A command that was asked for is finished even if nobody waits for its answer; streams are not.
            for each in requests:
                if each.get_name() == "stream":
                    each.cancel()
            writer.close()

    async def _answer(self, line: bytes, writer: asyncio.StreamWriter) -> None:
        request_id: Any = None
        try:
            request = json.loads(line)
            request_id, command, arguments = request.get("id"), request["command"], request.get("args") or {}
            if not isinstance(command, str) or not isinstance(arguments, dict):
                raise TypeError
        except (ValueError, KeyError, TypeError, AttributeError):
            await self._write(writer, {"id": request_id, "error": "this is no request"})
            return
        if command == "subscribe":
            await self._stream(request_id, writer)
            return
        try:
            result = await self._handle(command, arguments)
        except CommandError as error:
            await self._write(writer, {"id": request_id, "error": str(error)})
        except Exception as error:
            await self._write(writer, {"id": request_id, "error": f"the supervisor failed: {error!r}"})
            raise
        else:
            await self._write(writer, {"id": request_id, "result": result})

    async def _stream(self, request_id: Any, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.set_name("stream")
        subscription = self._bus.subscribe()
        self._on_subscribed()
        try:
            await self._write(writer, {"id": request_id, "result": {}})
            while facts := await subscription.get():
                writer.write(b"".join(_line({"fact": fact}) for fact in facts))
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            self._bus.unsubscribe(subscription)
            writer.close()

    @staticmethod
    async def _write(writer: asyncio.StreamWriter, message: dict[str, Any]) -> None:
        with contextlib.suppress(ConnectionError):
            writer.write(_line(message))
            await writer.drain()


def _line(message: dict[str, Any]) -> bytes:
    return json.dumps(message, separators=(",", ":"), default=str).encode() + b"\n"

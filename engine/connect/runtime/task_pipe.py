"""What a worker and a task's process say to each other: JSON after its length, over a pair of sockets.

Configs with secrets go this way: neither the command line nor the environment of a process is private. The worker's
side is of its event loop, the task's side blocks; either notices at once when the other is gone.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import struct
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from engine.connect.errors import ConnectError

_LENGTH = struct.Struct(">I")
_MAX_BYTES = 256 << 20


def encoded(message: dict[str, Any]) -> bytes:
    """A message's bytes on the wire."""
    body = json.dumps(message, separators=(",", ":")).encode()
    return _LENGTH.pack(len(body)) + body


class WorkerEnd:
    """The worker's end."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @staticmethod
    async def open(mine: socket.socket) -> WorkerEnd:
        """Over this socket."""
        mine.setblocking(False)
        reader, writer = await asyncio.open_connection(sock=mine, limit=1 << 20)
        return WorkerEnd(reader, writer)

    def send(self, message: dict[str, Any]) -> None:
        """Say something; whether it is heard is another matter."""
        if not self._writer.is_closing():
            self._writer.write(encoded(message))

    async def receive(self) -> dict[str, Any] | None:
        """What the task says next, or None: it is gone."""
        try:
            (length,) = _LENGTH.unpack(await self._reader.readexactly(4))
            if length > _MAX_BYTES:
                return None
            found: dict[str, Any] = json.loads(await self._reader.readexactly(length))
            return found
        except (asyncio.IncompleteReadError, ConnectionError, ValueError):
            return None

    def close(self) -> None:
        """No more."""
        self._writer.close()


class TaskEnd:
    """The end of a task's process. Methods may be called by any thread.

    When the worker is gone the process ends, at once: others may have its work already.
    """

    def __init__(self, mine: socket.socket) -> None:
        self._socket = mine
        self._file = mine.makefile("rb")
        self._lock = threading.Lock()
        self._questions: dict[int, Future[Any]] = {}
        self._next = 0

    def first(self) -> dict[str, Any]:
        """The worker's first message, before :meth:`listen`."""
        return self._receive()

    def listen(self, on_message: Callable[[dict[str, Any]], None]) -> None:
        """From now on a thread hands what the worker says to ``on_message``."""
        threading.Thread(target=self._read, args=(on_message,), name="worker-pipe", daemon=True).start()

    def send(self, message: dict[str, Any]) -> None:
        """Say something."""
        data = encoded(message)
        with self._lock:
            try:
                self._socket.sendall(data)
            except OSError:
                os._exit(1)

    def ask(self, what: str, timeout_s: float = 60.0, **arguments: Any) -> Any:
        """What the worker answers.

        Raises:
            ConnectError: it cannot, or does not within the time.
        """
        answer: Future[Any] = Future()
        with self._lock:
            self._next += 1
            number = self._next
            self._questions[number] = answer
        self.send({"ask": number, "what": what, **arguments})
        try:
            return answer.result(timeout_s)
        except TimeoutError:
            raise ConnectError(f"The worker did not answer {what} within {timeout_s:.0f} s") from None
        finally:
            self._questions.pop(number, None)

    def _receive(self) -> dict[str, Any]:
        try:
            (length,) = _LENGTH.unpack(self._file.read(4))
            message: dict[str, Any] = json.loads(self._file.read(length))
        except (OSError, ValueError, struct.error):
            os._exit(1)
        return message

    def _read(self, on_message: Callable[[dict[str, Any]], None]) -> None:
        while True:
            message = self._receive()
            number = message.get("answer")
            if number is None:
                on_message(message)
                continue
            waiting = self._questions.get(number)
            if waiting is None:
                continue
            if "error" in message:
                waiting.set_exception(ConnectError(message["error"]))
            else:
                waiting.set_result(message.get("result"))

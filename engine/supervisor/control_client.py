"""Both clients of the control socket: a blocking one for the command line, an asynchronous one for the console."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio

_MAX_LINE_BYTES = 64 << 20


class ControlError(Exception):
    """The supervisor refused; the message is its sentence."""


class NoSupervisor(Exception):
    """Nobody listens on the control socket."""


class ControlClient:
    """One command after the other, blocking."""

    def __init__(self, path: str, *, timeout_s: float = 90) -> None:
        """Connect. Raises: NoSupervisor."""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(timeout_s)
        try:
            self._socket.connect(path)
        except OSError as error:
            self._socket.close()
            raise NoSupervisor(f"no supervisor listens on {path}: {error.strerror}") from error
        self._file = self._socket.makefile("rb")
        self._next_id = 0

    def call(self, command: str, **arguments: Any) -> Any:
        """Send a command and wait for its result.

        Raises:
            ControlError: it was refused.
            NoSupervisor: the supervisor is gone, or did not answer in time.
        """
        self._next_id += 1
        request = {"id": self._next_id, "command": command, "args": arguments}
        try:
            self._socket.sendall(json.dumps(request).encode() + b"\n")
            line = self._file.readline()
        except OSError as error:
            raise NoSupervisor(f"the supervisor does not answer: {error}") from error
        if not line:
            raise NoSupervisor("the supervisor left before it answered")
        answer = json.loads(line)
        if "error" in answer:
            raise ControlError(str(answer["error"]))
        return answer["result"]

    def close(self) -> None:
        """Close the connection."""
        self._file.close()
        self._socket.close()

    def __enter__(self) -> ControlClient:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class AsyncControl:
    """Commands side by side, and the stream of facts. Made by :meth:`open`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        import asyncio

        self._writer = writer
        self._reader = reader
        self._next_id = 0
        self._pending: dict[int, asyncio.Future[Any]] = {}
        self._facts: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self._task = asyncio.ensure_future(self._read())
        self.closed = False

    @classmethod
    async def open(cls, path: str) -> AsyncControl:
        """Connect. Raises: NoSupervisor."""
        import asyncio

        try:
            reader, writer = await asyncio.open_unix_connection(path, limit=_MAX_LINE_BYTES)
        except OSError as error:
            raise NoSupervisor(f"no supervisor listens on {path}: {error.strerror}") from error
        return cls(reader, writer)

    async def call(self, command: str, **arguments: Any) -> Any:
        """Send a command and wait for its result. Raises: ControlError, NoSupervisor."""
        import asyncio

        if self.closed:
            raise NoSupervisor("the supervisor is gone")
        self._next_id += 1
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._pending[self._next_id] = future
        request = {"id": self._next_id, "command": command, "args": arguments}
        self._writer.write(json.dumps(request).encode() + b"\n")
        return await future

    async def facts(self) -> AsyncIterator[dict[str, Any]]:
        """Facts, those of the past first; ends when the supervisor leaves. One reader only."""
        await self.call("subscribe")
        while (fact := await self._facts.get()) is not None:
            yield fact

    async def _read(self) -> None:
        try:
            while line := await self._reader.readline():
                message = json.loads(line)
                if "fact" in message:
                    self._facts.put_nowait(message["fact"])
                    continue
                future = self._pending.pop(message.get("id"), None)
                if future is None or future.done():
                    continue
                if "error" in message:
                    future.set_exception(ControlError(str(message["error"])))
                else:
                    future.set_result(message.get("result"))
        except (OSError, ValueError):
            pass
        finally:
            self.closed = True
            for future in self._pending.values():
                if not future.done():
                    future.set_exception(NoSupervisor("the supervisor left before it answered"))
            self._pending.clear()
            self._facts.put_nowait(None)

    async def close(self) -> None:
        """Close the connection."""
        import asyncio
        import contextlib

        self._writer.close()
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

"""The process that a simulated run lives in: commands to it, frames from it. It ends with the console."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import sys
import tempfile
from collections.abc import Callable
from typing import Any

from console.gateway.protocol import GatewayError

# A frame of a large cluster after a long replay is a few megabytes.
_LONGEST_LINE = 1 << 28
_PATIENCE_S = 2.0


class RunProcess:
    """Start it, send, and have ``on_frame`` called with what it tells."""

    def __init__(self, first: dict[str, Any], on_frame: Callable[[dict[str, Any]], None]) -> None:
        """``first`` says what to run (:mod:`engine.sim.stepping.process`)."""
        self._first = first
        self._on_frame = on_frame
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._asked: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._numbers = itertools.count(1)
        self._early: list[dict[str, Any]] = []
        self._errors: Any = None
        self.is_closed = False
        # Why it is gone, if it is.
        self.failure = ""

    async def start(self) -> None:
        """Raises: GatewayError."""
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  closed in close()
        try:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "engine.sim.stepping.process",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=self._errors,
                limit=_LONGEST_LINE,
            )
        except OSError as error:
            raise GatewayError(f"the simulation's process cannot be started: {error}") from error
        self._write(self._first)
        early, self._early = self._early, []
        for command in early:
            self._write(command)
        self._reader = asyncio.ensure_future(self._read())

    def _write(self, data: dict[str, Any]) -> None:
        assert self._process is not None and self._process.stdin is not None
        self._process.stdin.write(json.dumps(data).encode() + b"\n")

    def send(self, **command: Any) -> None:
        """A command. Raises: GatewayError: the process is gone."""
        if self.failure:
            raise GatewayError(self.failure)
        if self._process is None:
            # A key was hit before the process was there.
            self._early.append(command)
        else:
            self._write(command)

    async def ask(self, **command: Any) -> dict[str, Any]:
        """A command that is answered. Raises: GatewayError."""
        number = next(self._numbers)
        answer = self._asked[number] = asyncio.get_running_loop().create_future()
        try:
            self.send(**command, ask=number)
            return await answer
        finally:
            self._asked.pop(number, None)

    async def _read(self) -> None:
        assert self._process is not None and self._process.stdout is not None
        while line := await self._process.stdout.readline():
            data = json.loads(line)
            if data["type"] == "frame":
                self._on_frame(data)
                continue
            answer = self._asked.get(data["ask"])
            if answer is not None and not answer.done():
                answer.set_result(data)
        code = await self._process.wait()
        if not self.is_closed:
            self._errors.seek(0)
            last = self._errors.read().decode(errors="replace").strip().splitlines()[-1:]
            self._gone(f"the simulation's process ended with code {code}{': ' + last[0] if last else ''}")

    def _gone(self, why: str) -> None:
        self.failure = why
        for answer in self._asked.values():
            if not answer.done():
                answer.set_exception(GatewayError(why))
        self._on_frame({"type": "gone"})

    async def close(self) -> None:
        """End it: soon by itself, else by force."""
        self.is_closed = True
        process = self._process
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        try:
            async with asyncio.timeout(_PATIENCE_S):
                await process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)
        self._errors.close()

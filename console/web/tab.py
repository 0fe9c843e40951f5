"""One tab: a console in a process of its own, whose terminal is in the browser."""

from __future__ import annotations

import asyncio
import contextlib
from asyncio.subprocess import PIPE, Process
from collections.abc import Awaitable, Callable, Sequence

from textual_serve.app_service import AppService
from textual_serve.download_manager import DownloadManager

from engine.supervisor.broker_process import child_environment

_READY = b"__GANGLION__\n"
# A console that hangs is not waited for longer.
_LEAVE_S = 5.0


class Tab(AppService):
    """Textual-serve's pipes to a console, which is started without a shell, and whose last words are shown."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        write_bytes: Callable[[bytes], Awaitable[None]],
        write_str: Callable[[str], Awaitable[None]],
        close: Callable[[], Awaitable[object]],
        download_manager: DownloadManager,
    ) -> None:
        super().__init__(
            " ".join(command),
            write_bytes=write_bytes,
            write_str=write_str,
            close=close,  # type: ignore[arg-type]
            download_manager=download_manager,
        )
        self._words = tuple(command)

    def _build_environment(self, width: int = 80, height: int = 24) -> dict[str, str]:
        return {
            **child_environment(),
            **{
                name: value for name, value in super()._build_environment(width, height).items() if name != "PYTHONPATH"
            },
            "TEXTUAL_DRIVER": "console.web.tab_driver:TabDriver",
        }

    async def _open_app_process(self, width: int = 80, height: int = 24) -> Process:
        self._process = process = await asyncio.create_subprocess_exec(
            *self._words,
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            env=self._build_environment(width, height),
            # ctrl-c of the server's terminal is the server's: it has its tabs leave.
            start_new_session=True,
        )
        self._stdin = process.stdin
        return process

    async def run(self) -> None:
        """Hand on what the console writes until it ends; what it said last is shown, if it ended with a failure."""
        assert self._process is not None and self._process.stdout is not None and self._process.stderr is not None
        stdout = self._process.stdout
        said = asyncio.ensure_future(self._process.stderr.read())
        try:
            if await stdout.readline() == _READY:
                await self._hand_on(stdout)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        code = await self._process.wait()
        with contextlib.suppress(ConnectionError):
            if code:
                await self.remote_write_bytes((await said).replace(b"\n", b"\r\n"))
            await self.remote_close()
        await said

    async def _hand_on(self, stdout: asyncio.StreamReader) -> None:
        """Packets: a letter, four bytes of length, and so many bytes."""
        while True:
            head = await stdout.readexactly(5)
            payload = await stdout.readexactly(int.from_bytes(head[1:], "big"))
            match head[:1]:
                case b"D":
                    await self.on_data(payload)
                case b"M":
                    await self.on_meta(payload)
                case b"P":
                    await self.on_packed(payload)

    async def stop(self) -> None:
        """Have the console leave; it is killed if it does not."""
        if self._process is None:
            return
        task, self._task = self._task, None
        if task is None:
            return
        await self._download_manager.cancel_app_downloads(app_service_id=self.app_service_id)
        if not task.done():
            await self.send_meta({"type": "quit"})
            done, _ = await asyncio.wait((task,), timeout=_LEAVE_S)
            if not done:
                with contextlib.suppress(ProcessLookupError):
                    self._process.kill()
        await asyncio.gather(task, return_exceptions=True)

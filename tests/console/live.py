"""The console over a cluster that really runs, driven in Textual's pilot: keys in, screen out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from console.app import KConsole
from console.gateway import Gateway
from console.recording.options import Recording
from tests.console.frames import text_of_screen

_NAMES = {
    " ": "space",
    "/": "slash",
    "-": "minus",
    ".": "full_stop",
    "=": "equals_sign",
    ",": "comma",
    "_": "underscore",
}


class LiveConsole:
    """What a person does: press keys, look, wait until something is to be seen."""

    def __init__(self, app: KConsole, pilot: Any) -> None:
        self.app = app
        self._pilot = pilot

    async def press(self, *keys: str) -> None:
        await self._pilot.press(*keys)

    async def type(self, text: str) -> None:
        await self.press(*(_NAMES.get(character, character) for character in text))

    async def command(self, line: str) -> None:
        await self.press("colon")
        await self.type(line)
        await self.press("enter")

    @property
    def text(self) -> str:
        return "\n".join(text_of_screen(self.app))

    async def until(self, what: str, holds: Callable[[str], Any], timeout_s: float = 30) -> Any:
        """Look at the screen until ``holds(text)`` is true, and return what it answered."""
        deadline = time.monotonic() + timeout_s
        while True:
            text = self.text
            found = holds(text)
            if found:
                return found
            if time.monotonic() > deadline:
                done = "\n".join(f"{each.what}: {each.outcome}" for each in self.app.acts.log)
                raise AssertionError(f"{what}: not within {timeout_s} s\n{text}\n{done}")
            await asyncio.sleep(0.05)
            await self._pilot.pause()


@asynccontextmanager
async def live(
    gateway: Gateway, width: int = 100, height: int = 30, record: Path | None = None
) -> AsyncIterator[LiveConsole]:
    """The console at work, as in a terminal of that size."""
    app = KConsole(gateway, recording=None if record is None else Recording(str(record)))
    async with app.run_test(size=(width, height)) as pilot:
        try:
            yield LiveConsole(app, pilot)
        finally:
            await gateway.close()

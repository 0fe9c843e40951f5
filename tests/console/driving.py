"""The console over the scripted cluster, driven by keys."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import Any

from frames import text_of_screen
from scripted import EMBEDDED
from tests_frame import make_app, populate, settle

from console.gateway import Capabilities

READ_ONLY = EMBEDDED._replace(read_only=True)


class Driver:
    """Keys in, screen out."""

    def __init__(self, app: Any, gateway: Any, pilot: Any) -> None:
        self.app, self.gateway, self.pilot = app, gateway, pilot

    async def press(self, *keys: str) -> None:
        for key in keys:
            await self.pilot.press(key)
            await settle(self.app, self.pilot)

    async def type(self, text: str) -> None:
        names = {
            " ": "space",
            "/": "slash",
            "-": "minus",
            ".": "full_stop",
            "=": "equals_sign",
            ",": "comma",
            "!": "exclamation_mark",
            "_": "underscore",
        }
        for character in text:
            await self.pilot.press(names.get(character, character))
        await settle(self.app, self.pilot)

    async def command(self, line: str) -> None:
        await self.press("colon")
        await self.type(line)
        await self.press("enter")

    async def settle(self) -> None:
        await settle(self.app, self.pilot)

    @property
    def view(self) -> Any:
        return self.app.view

    @property
    def title(self) -> str:
        return str(self.view.border_title)

    @property
    def keys(self) -> list[str]:
        return [self.view.key_of(row) for row in self.view.table.shown]

    @property
    def flash(self) -> str:
        return self.app.flash_message.text if self.app.flash_message is not None else ""

    @property
    def screen(self) -> str:
        return "\n".join(text_of_screen(self.app))

    def calls(self, name: str) -> list[tuple[Any, ...]]:
        return [call for call in self.gateway.calls if call[0] == name]


@asynccontextmanager
async def driving(capabilities: Capabilities = EMBEDDED, size: tuple[int, int] = (100, 30)):
    app, gateway = make_app(capabilities)
    async with app.run_test(size=size) as pilot:
        await populate(app, gateway, pilot)
        yield Driver(app, gateway, pilot)
        assert app.failure == "" or gateway.failing


def screen_lines(app: Any) -> list[str]:
    from frames import text_of_screen

    return text_of_screen(app)

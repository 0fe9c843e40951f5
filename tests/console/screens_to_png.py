"""Draws screens of the scripted cluster as PNG, for eyes: python tests/console/screens_to_png.py DIR [WxH …]"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[2])]

from tests_frame import populate, settle  # noqa: E402

from tools.take_screenshots import png_of  # noqa: E402


async def draw(directory: Path, width: int, height: int, theme: str, wanted: list[str]) -> None:
    from tests_frame import SHOTS, make_app

    for name, keys in SHOTS.items():
        if wanted and name not in wanted:
            continue
        app, gateway = make_app(theme=theme)
        async with app.run_test(size=(width, height)) as pilot:
            await populate(app, gateway, pilot)
            for key in keys:
                if key.startswith("!"):
                    await getattr(gateway, key[1:])([2])
                elif key.startswith("~"):
                    app.main.run_command(key[1:])
                else:
                    await pilot.press(key)
                await settle(app, pilot)
            svg = app.export_screenshot(title="kconsole")
        path = directory / f"{name}-{width}x{height}-{theme}.png"
        path.write_bytes(png_of(svg, 17 if width < 120 else 14))


async def main() -> None:
    directory = Path(sys.argv[1])
    sizes = [argument for argument in sys.argv[2:] if "x" in argument and argument[0].isdigit()]
    themes = [argument[6:] for argument in sys.argv[2:] if argument.startswith("theme=")] or ["dark"]
    wanted = [argument for argument in sys.argv[2:] if argument[0].isalpha() and "=" not in argument]
    for size in sizes or ["80x24", "160x48"]:
        width, height = map(int, size.split("x"))
        for theme in themes:
            await draw(directory, width, height, theme, wanted)


if __name__ == "__main__":
    Path(sys.argv[1]).mkdir(parents=True, exist_ok=True)
    asyncio.run(main())

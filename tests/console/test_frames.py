"""Screens in particular situations as text, compared with what was looked at and found good; each screen as it usually
is stands in test_states.py.

After a change that is meant: KCONSOLE_UPDATE_FRAMES=1 pytest tests/console/test_frames.py, and look at the difference.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from frames import text_of_screen
from tests_frame import SHOTS, make_app, populate, settle

FRAMES = Path(__file__).parent / "frames"
SIZES = ((80, 24), (160, 48))
COMPARED = (
    "cluster-killed",
    "partitions-killed",
    "batch",
    "records-over-time",
    "record-detail",
    "groups-newer",
    "share-group",
    "streams-tasks",
    "events",
    "failover",
    "acts",
    "plan",
    "reset",
    "impact-majority",
    "faults",
    "fault-preview",
    "moves",
    "reassign",
    "plots",
    "plots-failover",
    "config-diff",
    "log",
    "help",
    "produce",
    "delete",
)


async def frame(name: str, width: int, height: int) -> list[str]:
    app, gateway = make_app()
    async with app.run_test(size=(width, height)) as pilot:
        await populate(app, gateway, pilot)
        for key in SHOTS[name]:
            if key.startswith("!"):
                await getattr(gateway, key[1:])([2])
            elif key.startswith("~"):
                app.main.run_command(key[1:])
            else:
                await pilot.press(key)
            await settle(app, pilot)
        return text_of_screen(app)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("name", COMPARED)
async def test_the_screen_looks_as_it_did(name: str, size: tuple[int, int]) -> None:
    lines = await frame(name, *size)
    for line in (*lines[:3], lines[-1]):
        assert "…" not in line.replace("mZy7kQ…VxWcd4A", ""), f"clipped: {line}"
    text = "\n".join(lines) + "\n"
    path = FRAMES / f"{name}-{size[0]}x{size[1]}.txt"
    if os.environ.get("KCONSOLE_UPDATE_FRAMES"):
        FRAMES.mkdir(exist_ok=True)
        path.write_text(text)
    assert text == path.read_text(), f"{path.name} differs"

"""Takes the pictures of the README: the console over a real cluster, one of whose brokers is killed meanwhile.

    python tools/take_screenshots.py [DIRECTORY]      docs/images if none is given

The sample cluster runs in a temporary directory, on ports of its own; nothing but the pictures is left.
"""

from __future__ import annotations

import asyncio
import html
import io
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cairosvg
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from console.app import KConsole  # noqa: E402
from console.gateway.embedded import EmbeddedGateway  # noqa: E402
from console.gateway.simulated import SimulatedGateway  # noqa: E402
from engine.sim.options import options_from  # noqa: E402
from engine.supervisor.control_client import ControlClient  # noqa: E402
from engine.supervisor.scenario_file import parse_scenario  # noqa: E402

KCONSOLE = Path(sys.executable).parent / "kconsole"
# Pixels of a cell, which is 12.2 wide in Rich's SVG: a whole number, or rounded letters run short of the line.
_CELL = {160: 11, 80: 13}
_COLOURS = 48
# Column and line of the dots of a Braille pattern, by the bits of its code.
_BRAILLE = ((0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (0, 3), (1, 3))


def png_of(svg: str, cell: int) -> bytes:
    """A screenshot as a picture: Rich's SVG, drawn with a font that is there, in few colours."""
    # The font that the SVG asks for is not installed everywhere; this one is as wide at a slightly larger size, so
    # that the lengths that it also asks for (cairosvg takes them for those of the ink) are not needed.
    svg = svg.replace("Fira Code", "DejaVu Sans Mono").replace("font-size: 20px", "font-size: 20.264px")
    svg = re.sub(' textLength="[0-9.]+"', "", svg)
    svg = re.sub(
        r'<text class="([^"]+)" x="([0-9.]+)" y="([0-9.]+)"[^>]*>([^<]*[\u2801-\u28ff][^<]*)</text>', _dotted, svg
    )
    return cairosvg.svg2png(svg.encode(), scale=cell / 12.2)


def _dotted(found: re.Match[str]) -> str:
    """A text with Braille patterns, whose dots are drawn: the font has none of them."""
    tone, x, y, said = found[1], float(found[2]), float(found[3]), html.unescape(found[4])
    dots = []
    for at, character in enumerate(said):
        for bit, (column, line) in enumerate(_BRAILLE):
            if "\u2800" <= character <= "\u28ff" and ord(character) >> bit & 1:
                left, top = x + at * 12.2 + column * 6.1 + 1.2, y - 17.6 + line * 6.1
                dots.append(f'<rect class="{tone}" x="{left:.1f}" y="{top:.1f}" width="3.7" height="3.7"/>')
    rest = "".join(" " if "\u2800" <= each <= "\u28ff" else each for each in said).replace(" ", "&#160;")
    return f'<text class="{tone}" x="{x}" y="{y}">{rest}</text>{"".join(dots)}'


def write_small(drawn: bytes, path: Path) -> None:
    """A picture in few colours."""
    picture = Image.open(io.BytesIO(drawn)).convert("RGBA")
    picture.quantize(_COLOURS, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"{path}  {picture.width}x{picture.height}  {path.stat().st_size / 1024:.0f} KiB")


class Photographer:
    """Presses keys, waits for what is worth a picture, takes it."""

    def __init__(self, app: KConsole, pilot: Any, directory: Path) -> None:
        self._app = app
        self._pilot = pilot
        self._directory = directory
        self._taken: list[tuple[str, int, Path]] = []

    async def press(self, *keys: str) -> None:
        await self._pilot.press(*keys)

    async def wait(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self._pilot.pause()

    async def until(self, what: str, holds: Callable[[KConsole], object], timeout_s: float = 60) -> None:
        deadline = time.monotonic() + timeout_s
        while not holds(self._app):
            if time.monotonic() > deadline:
                raise SystemExit(f"{what}: not within {timeout_s} s")
            await self.wait(0.05)

    def take(self, name: str) -> None:
        # What has just been done is told for a while; it is not what the picture is about.
        self._app.flash_message = None
        self._app.main.refresh_all()
        # Drawn later: it takes a second, in which the console would see nothing.
        screen = self._app.export_screenshot(title="kconsole")
        self._taken.append((screen, _CELL[self._app.size.width], self._directory / f"{name}.png"))

    def develop(self) -> None:
        """Draw what was taken."""
        for screen, cell, path in self._taken:
            write_small(png_of(screen, cell), path)


async def take_all(control_socket: str, directory: Path) -> None:
    """The story of the README in pictures."""
    gateway = EmbeddedGateway(control_socket, read_only=False)
    app = KConsole(gateway)
    async with app.run_test(size=(160, 48)) as pilot:
        photographer = Photographer(app, pilot, directory)
        try:
            await story(photographer, app, pilot, ControlClient(control_socket))
        finally:
            await gateway.close()
    photographer.develop()


async def take_simulation(directory: Path) -> None:
    """An election of a simulated cluster whose controller was killed."""
    scenario = parse_scenario((ROOT / "docs" / "scenarios" / "controller_lost_twice.yaml").read_text())
    options = dict(scenario.options)
    gateway = SimulatedGateway(options_from(options.pop("seed"), **options), scenario.planned)
    app = KConsole(gateway, now_ms=gateway.now_ms)
    async with app.run_test(size=(160, 48)) as pilot:
        photographer = Photographer(app, pilot, directory)
        try:
            for _ in range(2):
                await photographer.until("a pause", lambda app: gateway.simulation.state.mode == "paused")
                await photographer.press("N")
                await photographer.wait(2)
            photographer.take("simulation")
        finally:
            await gateway.close()
    photographer.develop()


async def story(photographer: Photographer, app: KConsole, pilot: Any, control: ControlClient) -> None:
    """Records and a lagging group; the death of a leader's broker, and of the controller; the cluster, whole again."""
    press, until, wait, take = photographer.press, photographer.until, photographer.wait, photographer.take
    await until("the cluster", lambda app: app.snapshot is not None and app.snapshot.brokers_up == 3)
    # Rates and lags need some seconds until their courses can be drawn.
    await wait(15)
    await press("2", "j", "j", "l")
    await until("records", lambda app: app.view is not None and app.view.table.total > 80)
    take("records")

    # A burst of orders for a single consumer: a group that falls behind.
    await press("3", "j", "r", "r")
    control.call("set_rate", producer="shop", rate=900)
    await wait(9)
    await press("enter")
    await wait(2)
    take("group")
    control.call("set_rate", producer="shop", rate=20)
    await press("a", "a")

    await kill(photographer, "colon", *"partitions", "space", *"orders", "enter", take_after=3)
    await press("5")
    await until("the ledger", is_measured)
    await press("s")
    await until("whole ISRs", is_whole)
    await wait(2)
    # The second victim is the controller.
    await kill(photographer, "5")
    await until("the ledger", is_measured)
    await wait(1)
    take("failover")
    await press("1", "v", *"jjjjj")
    await wait(2)
    take("plots")
    await pilot.resize_terminal(80, 24)
    await press("1")
    await wait(2)
    take("cluster-80x24")
    await pilot.resize_terminal(160, 48)
    await press("5", "s")
    await until("whole ISRs", is_whole)
    await press("1", "E")
    await wait(20)
    take("cluster")
    # Of all topics a few partitions are enough for a picture.
    app.main.run_command("events /orders-[0-2]|process |broker (un)?fenced|quorum leader|controller activated")
    await wait(1)
    take("events")


_OVER_ZOOKEEPER = """
coordination: zookeeper
zookeeper: {servers: 3}
durability: page-cache
brokers: [{id: 1}, {id: 2}, {id: 3}]
topics: [{name: orders, partitions: 3}, {name: payments, partitions: 3}]
"""


async def take_zookeeper(control_socket: str, directory: Path) -> None:
    """A cluster over ZooKeeper: the server that led is killed, a broker too; who leads a partition now."""
    gateway = EmbeddedGateway(control_socket, read_only=False)
    app = KConsole(gateway)
    async with app.run_test(size=(160, 48)) as pilot:
        photographer = Photographer(app, pilot, directory)
        press, until, wait = photographer.press, photographer.until, photographer.wait
        try:
            await until("the cluster", lambda app: app.snapshot is not None and app.snapshot.brokers_up == 3)
            app.main.run_command("zookeeper")
            await wait(4)
            await press("shift+tab")
            leading = next(at for at, row in enumerate(app.view.table.shown) if row.server.mode == "leader")
            await press("g", *("j" * leading), "ctrl+k")
            await wait(0.5)
            await press("y")
            await wait(2)
            app.main.run_command("kill 2")
            await until("another leader", lambda app: app.snapshot is not None and app.snapshot.under_replicated > 0)
            await wait(4)
            await press("tab")
            for below in ("topics", "orders", "partitions", "0", "state"):
                await press("right")
                await wait(0.7)
                path = app.view.table.cursor_key if below != "topics" else "/brokers"
                app.view.table.select(f"{path}/{below}")
            await wait(1.5)
            photographer.take("zookeeper")
        finally:
            await gateway.close()
    photographer.develop()


async def kill(photographer: Photographer, *keys: str, take_after: float = 0) -> None:
    """Go to a screen and kill what it kills."""
    await photographer.press(*keys)
    await photographer.wait(3)
    await photographer.press("ctrl+k")
    await photographer.until("a failover", lambda app: app.snapshot is not None and app.snapshot.under_replicated > 0)
    if take_after:
        await photographer.wait(take_after)
        photographer.take("partitions")


def is_measured(app: KConsole) -> bool:
    """The last kill is."""
    return app.snapshot is not None and bool(app.snapshot.acts) and app.snapshot.acts[-1].finished


def is_whole(app: KConsole) -> bool:
    """Every ISR is."""
    return app.snapshot is not None and app.snapshot.brokers_up == 3 and app.snapshot.under_replicated == 0


def take_web(data_dir: str, directory: Path) -> None:
    """The same cluster in a browser, at its last failover."""
    if not shutil.which("chromium") or not shutil.which("chromedriver"):
        print("web.png stays as it is: chromium and chromedriver are missing (make tools)")
        return
    from tests.integration.browser import Browser

    command = [str(KCONSOLE), "web", "--port", "0", "--json", "--data-dir", data_dir]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        address = json.loads(server.stdout.readline())["url"]
        with tempfile.TemporaryDirectory(prefix="kconsole-profile-") as profile:
            browser = Browser(Path(profile))
            try:
                browser.open(address)
                browser.wait_for("the cluster", lambda text: text.count("● running") == 3)
                browser.type("5")
                browser.wait_for("the stopwatch", lambda text: "first fetch" in text and "acked" in text)
                time.sleep(1)
                write_small(browser.screenshot(), directory / "web.png")
            finally:
                browser.close()
    finally:
        server.terminate()
        server.wait(30)


def main() -> None:
    """Start the sample cluster, take the pictures, stop it; the same with one over ZooKeeper."""
    directory = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "images"
    directory.mkdir(parents=True, exist_ok=True)
    asyncio.run(take_simulation(directory))
    with tempfile.TemporaryDirectory(prefix="kconsole-pictures-") as data_dir:
        over_zookeeper = Path(data_dir) / "cluster.yaml"
        over_zookeeper.write_text(_OVER_ZOOKEEPER)
        with_cluster(over_zookeeper, lambda control_socket, _: asyncio.run(take_zookeeper(control_socket, directory)))

    def take(control_socket: str, data_dir: str) -> None:
        asyncio.run(take_all(control_socket, directory))
        take_web(data_dir, directory)

    with_cluster(ROOT / "sample_cluster.yaml", take)


def with_cluster(config: Path, take: Callable[[str, str], None]) -> None:
    """Have a cluster while pictures are taken, of its control socket and data directory."""
    with tempfile.TemporaryDirectory(prefix="kconsole-pictures-") as data_dir:
        up = [str(KCONSOLE), "up", "--json", "--config", str(config), "--data-dir", data_dir]
        process = subprocess.Popen(up, stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line:
                raise SystemExit("the cluster did not start")
            take(json.loads(line)["control_socket"], data_dir)
        finally:
            process.terminate()
            process.wait(60)


if __name__ == "__main__":
    main()

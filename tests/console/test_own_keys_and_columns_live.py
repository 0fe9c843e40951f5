"""Keys and columns of the user's own, in the console: they work, hints and help show them, and they are read again."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from driving import Driver
from scripted import FrozenClock, ScriptedGateway
from tests_frame import settle

from console.app import KConsole
from console.key_layers import add_keys, use_own_keys
from console.own_columns import OwnColumns
from console.own_keys import OwnKeys


@pytest.fixture(autouse=True)
def usual_keys_afterwards() -> Iterator[None]:
    yield
    use_own_keys({})
    add_keys(())


@asynccontextmanager
async def console_of(directory: Path, keys: str = "", columns: str = "", plugins: str = "") -> AsyncIterator[Driver]:
    (directory / "keys.yaml").write_text(keys)
    (directory / "columns.yaml").write_text(columns)
    (directory / "plugins.yaml").write_text(plugins)
    clock = FrozenClock()
    gateway = ScriptedGateway(clock)
    app = KConsole(
        gateway,
        now_ms=clock.now_ms,
        monotonic_ms=clock.monotonic_ms,
        refresh_s=0,
        keys=OwnKeys(directory / "keys.yaml"),
        columns=OwnColumns(directory / "columns.yaml"),
        plugins=directory / "plugins.yaml",
    )
    async with app.run_test(size=(120, 66)) as pilot:
        await settle(app, pilot)
        yield Driver(app, gateway, pilot)


async def test_keys_of_ones_own_work_and_are_the_ones_that_are_shown(tmp_path: Path) -> None:
    keys = "cluster: {stop: f5}\nglobal: {groups: f7, help: f1}\ntable: {down: [J, down]}\n"
    async with console_of(tmp_path, keys) as console:
        assert "f5 stop" in console.screen and "f1 help" in console.screen and "f7 groups" in console.screen
        await console.press("J", "x")
        assert not console.calls("stop")
        await console.press("f5")
        assert console.calls("stop") == [("stop", 2)]
        await console.press("f1")
        assert "f5        stop" in console.screen and "J ↓       down" in console.screen
        await console.press("escape", "f7")
        assert console.title.startswith("groups")
        (tmp_path / "keys.yaml").write_text("global: {help: f2}\n")
        await console.command("reload")
        assert "f2 help" in console.screen and "3 groups" in console.screen
        await console.press("1", "j", "x")
        assert console.title.startswith("brokers") and len(console.calls("stop")) == 2


async def test_a_clash_is_told_at_the_start_and_kconsoles_keys_hold(tmp_path: Path) -> None:
    async with console_of(tmp_path, "cluster: {kill: x}\n") as console:
        assert "keys.yaml: x is cluster: kill and cluster: stop" in console.flash
        await console.press("x")
        assert console.calls("stop") and not console.calls("kill")


async def test_columns_are_chosen_live_and_kept(tmp_path: Path) -> None:
    columns = "topics: {show: [size, name], sort: name}\n"
    async with console_of(tmp_path, columns=columns) as console:
        await console.press("2")
        head = console.screen.splitlines()[4]
        assert head.split()[1:3] == ["SIZE", "NAME↑"] and "HEALTH" not in head
        names = console.keys
        await console.command("columns")
        assert "columns of topics" in console.screen and "all: name, health" in console.screen
        await console.press("ctrl+u")
        await console.type("name,lagg")
        await console.press("ctrl+s")
        assert "topics has no column lagg" in console.screen
        await console.press(*["backspace"] * 5, "tab", "home", "minus", "tab")
        await console.type("name=40")
        await console.press("ctrl+s")
        head = console.screen.splitlines()[4]
        assert head.split()[1:3] == ["NAME↓", "│"] and console.keys == names[::-1]
        assert (
            tmp_path / "columns.yaml"
        ).read_text() == "topics:\n  show:\n  - name\n  widths:\n    name: 40\n  sort: -name\n"
        await console.press("3", "2")
        assert console.keys == names[::-1]
        (tmp_path / "columns.yaml").write_text("topics: {show: [nam]}\n")
        await console.command("reload")
        assert "topics has no column nam: did you mean name?" in console.flash


PLUGINS = """
told:
  key: ctrl-y
  screens: [topics, partitions, records, groups, cluster]
  label: tell all
  ask: false
  changes: false
  command: 'echo "<$TOPIC|$PARTITION|$GROUP|$BROKER|$OFFSET|$BOOTSTRAP|$NAME>"'
danger:
  key: f6
  screens: [topics]
  command: 'echo $TOPIC > FILE; exit 3'
"""


async def test_a_command_of_ones_own_has_what_is_selected(tmp_path: Path) -> None:
    async with console_of(tmp_path, plugins=PLUGINS) as console:
        servers = console.gateway.capabilities.bootstrap_servers
        await console.press("question_mark")
        assert "ctrl-y    tell all" in console.screen
        await console.press("escape")
        for keys, said in (
            ("1", f"<|||1||{servers}|1>"),
            ("3", f"<||analytics|||{servers}|analytics>"),
        ):
            await console.press(keys, "g", "ctrl+y")
            assert said in console.screen
            await console.press("escape")
        await console.command("partitions orders")
        await console.press("g", "ctrl+y")
        assert f"<orders|0||||{servers}|" in console.screen
        await console.press("escape", "8")
        assert f'echo "<orders|0||||{servers}|' in console.screen and "exit code 0" in console.screen


async def test_a_command_of_ones_own_asks_and_is_refused_where_nothing_may_be_changed(tmp_path: Path) -> None:
    written = tmp_path / "written"
    plugins = PLUGINS.replace("FILE", str(written))
    async with console_of(tmp_path, plugins=plugins) as console:
        await console.press("2", "g", "f6")
        topic = console.keys[0]
        assert f"$ echo {topic} >" in console.screen and not written.exists()
        await console.press("n")
        assert not written.exists()
        await console.press("f6", "y")
        assert written.read_text() == f"{topic}\n" and console.flash == "danger: exit code 3"
        written.unlink()
        console.gateway._capabilities = console.gateway.capabilities._replace(read_only=True)
        await console.press("f6")
        assert console.flash == "danger: the console was opened with --read-only" and not written.exists()
        await console.press("ctrl+y")
        assert f"|{topic}>" in console.screen

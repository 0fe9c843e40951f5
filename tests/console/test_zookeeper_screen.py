"""The ensemble's screen by keys: the tree, sessions, acts that are asked first, and what stays when nobody answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from driving import READ_ONLY, Driver, driving
from sample_zookeeper import SESSIONS, coordinated, sample_ensemble
from scripted import ATTACHED, EMBEDDED
from test_time_travel import until
from tests_frame import make_app, populate, settle

from console.modals.confirm import Confirm
from console.recording.options import Recording
from engine.supervisor.zookeeper_snapshot import ZnodesSeen


async def coordinate(driver: Driver, **how: Any) -> None:
    """From now on ZooKeeper coordinates the cluster; its screen is open."""
    gateway = driver.gateway
    gateway.show(coordinated(gateway.snapshot, sample_ensemble(gateway.clock.at_ms, **how)))
    await settle(driver.app, driver.pilot)
    await driver.command("zk")
    await settle(driver.app, driver.pilot)


def paths(driver: Driver) -> list[str]:
    return [row.path for row in driver.view.table.shown]


async def test_znodes_are_opened_closed_and_shown_whole() -> None:
    async with driving() as driver:
        await coordinate(driver)
        assert paths(driver)[:5] == ["/", "/admin", "/brokers", "/brokers/ids", "/brokers/ids/1"]
        driver.view.table.select("/brokers/topics")
        await driver.press("right")
        assert "/brokers/topics/orders" in paths(driver)
        await driver.press("j", "enter", "j", "enter", "j", "enter", "j")
        assert driver.view.table.cursor_key == "/brokers/topics/orders/partitions/0/state"
        assert "leader 1 · ISR 1,2,3" in driver.screen
        await driver.press("d")
        assert "who leads a partition, and its ISR" in driver.screen
        assert "replicas that have all that is committed" in driver.screen
        await driver.press("escape", "left", "left")
        assert driver.view.table.cursor_key == "/brokers/topics/orders/partitions"
        driver.view.table.select("/config")
        await driver.press("enter", "j", "enter", "j", "d")
        assert "(not shown)" in driver.screen, "credentials are nobody's to see"
        assert "stored_key" not in driver.screen


async def test_from_an_ephemeral_znode_to_its_session_and_back() -> None:
    async with driving() as driver:
        await coordinate(driver)
        driver.view.table.select("/controller")
        await driver.press("o")
        assert driver.view.table.cursor_row.session.session_id == SESSIONS[2]
        assert "★ broker 2" in driver.screen
        await driver.press("o")
        assert driver.view.table.cursor_key == "/brokers/ids/2"


async def test_a_server_is_killed_and_a_session_expired_only_after_y() -> None:
    async with driving() as driver:
        await coordinate(driver)
        await driver.press("ctrl+k")
        assert "select a server" in driver.flash
        await driver.press("G", "ctrl+k")
        assert isinstance(driver.app.screen, Confirm)
        assert "It leads: the others elect another" in driver.screen
        await driver.press("n")
        assert driver.calls("zookeeper_servers") == []
        await driver.press("ctrl+k", "y")
        assert driver.calls("zookeeper_servers") == [("zookeeper_servers", "kill", [3])]
        entry = driver.app.acts.log[-1]
        assert (entry.what, entry.command) == ("kill ZooKeeper server 3", "kconsole zookeeper kill 3")
        await driver.press("tab", "tab", "j", "X", "y")
        assert driver.calls("expire_session") == [("expire_session", 2)]
        assert driver.app.acts.log[-1].what == f"expire session {SESSIONS[2]:#x} of broker 2"


async def test_what_nobody_tells_any_more_stays_and_grows_old() -> None:
    async with driving() as driver:
        await coordinate(driver)
        before = paths(driver)
        gateway = driver.gateway
        gateway.refusing = "ZooKeeper did not answer within 2,000 ms"
        gateway.clock.advance(8_000)
        gateway.show(coordinated(gateway.snapshot, sample_ensemble(gateway.clock.at_ms, down=3)))
        await driver.press("right")
        assert paths(driver) == before
        assert "! ZooKeeper did not answer within 2,000 ms, the tree is 8s old" in driver.screen
        assert "✗ killed" in driver.screen
        assert "was leader" in driver.screen


async def test_a_chroot_that_is_not_there_is_named() -> None:
    async with driving() as driver:

        async def nothing(opened: Any, wanted: Any) -> ZnodesSeen:
            return ZnodesSeen(dict.fromkeys((*opened, *wanted)), driver.gateway.clock.at_ms)

        driver.gateway.znodes = nothing
        await coordinate(driver)
        assert "there is no /kafka in this ZooKeeper" in driver.screen


async def test_kraft_says_so_and_acts_are_grey_where_they_cannot_be_done() -> None:
    async with driving() as driver:
        await driver.command("zookeeper")
        assert "this cluster is coordinated by KRaft" in driver.screen
    async with driving(ATTACHED) as driver:
        await coordinate(driver)
        await driver.command("quorum")
        assert "ZooKeeper coordinates this cluster: controller 2 for 95s · epoch 7, since 2026-" in driver.screen
        await driver.command("zk")
        assert driver.view.check_action("server", ("kill",)) is None
        await driver.press("X")
        assert "needs the processes of an embedded cluster" in driver.flash
    async with driving(READ_ONLY) as driver:
        await coordinate(driver)
        await driver.press("tab", "tab", "ctrl+k")
        assert "read-only" in driver.flash
        assert driver.calls("zookeeper_servers") == []


async def test_in_the_past_servers_are_as_they_were_and_the_tree_of_now_is_not_taken_for_theirs(tmp_path: Path) -> None:
    app, gateway = make_app(EMBEDDED, recording=Recording(str(tmp_path / "recording.db")))
    async with app.run_test(size=(100, 30)) as pilot:
        await populate(app, gateway, pilot)
        driver = Driver(app, gateway, pilot)
        await coordinate(driver)
        gateway.clock.advance(5_000)
        gateway.tell("zookeeper_killed", "ZooKeeper server 3", "SIGKILL, asked for", "supervisor")
        gateway.clock.advance(500)
        gateway.show(coordinated(gateway.snapshot, sample_ensemble(gateway.clock.at_ms, down=3)))
        await driver.settle()
        assert "✗ killed" in driver.screen and "▾ brokers" in driver.screen
        await until(driver, lambda screen: "◀ PAST" in screen and "★ leader" in screen, "left_parenthesis")
        assert "▾ brokers" not in driver.screen
        assert "this is the past: ~ goes back to now" in driver.screen
        await until(driver, lambda screen: "✗ killed" in screen and "▾ brokers" in screen, "tilde")

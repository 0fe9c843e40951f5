"""Every screen where there is nothing, where all is well, and where a broker is dead and what is asked is refused.

After a change that is meant: KCONSOLE_UPDATE_FRAMES=1 pytest tests/console/test_states.py, and look at the difference.
"""

from __future__ import annotations

import inspect
import os
from pathlib import Path
from typing import Any

import pytest
from frames import text_of_screen
from sample_snapshots import newer_groups
from sample_streams import APPLICATION, feed, with_workers
from sample_zookeeper import coordinated, sample_ensemble
from scripted import FrozenClock, ScriptedGateway
from tests_frame import make_app, populate, settle

from console.screens import VIEWS
from engine.supervisor.zookeeper_snapshot import ZooKeeperState

STATES = Path(__file__).parent / "states"
SIZES = ((80, 24), (160, 48))
REFUSAL = "broker 2 did not answer within 2,000 ms"
# The command that leads to a screen, and keys after it.
ROUTES: dict[str, tuple[str, ...]] = {
    "cluster": ("cluster",),
    "topics": ("topics",),
    "partitions": ("partitions orders",),
    "records": ("records orders",),
    "segments": ("segments orders 0",),
    "batches": ("segments orders 0", "enter"),
    "groups": ("groups",),
    "group": ("groups billing",),
    "events": ("events",),
    "log": ("log 1",),
    "failover": ("failover",),
    "workload": ("workload",),
    "quorum": ("quorum",),
    "moves": ("moves",),
    "impact": ("impact 1",),
    "transactions": ("transactions",),
    "configs": ("configs orders",),
    "commands": ("commands",),
    "contexts": ("ctx",),
    "faults": ("faults",),
    "plots": ("plots",),
    "acls": ("acls",),
    "users": ("users",),
    "quotas": ("quotas",),
    "log-dirs": ("logdirs",),
    "log-dir": ("logdirs", "enter"),
    "producers": ("producers orders",),
    "hanging": ("hanging",),
    "connections": ("connections",),
    "wire": ("wire",),
    "compare": ("configs orders payments",),
    "connect": ("connect",),
    "connector": ("connect", "enter"),
    "connector-offsets": ("connect", "enter", "o"),
    # From there on there is an application over streams.
    "streams": ("streams",),
    # From there on Python workers run it.
    "application": (f"streams {APPLICATION}",),
    "topology": (f"topology {APPLICATION}",),
    "stores": (f"stores {APPLICATION}",),
    "store": (f"stores {APPLICATION}", "enter"),
    # Last: from there on ZooKeeper coordinates the cluster.
    "zookeeper": ("zookeeper",),
    # Of a registry, whatever coordinates the cluster.
    "schemas": ("schemas",),
    "schema": ("schemas orders-value",),
}
# Screens of another world, with tests of their own.
ELSEWHERE = {"simulation", "difference"}


def emptied(answer: Any) -> Any:
    """The same kind of answer, with nothing in it."""
    if isinstance(answer, list | dict):
        return type(answer)()
    if isinstance(answer, tuple) and hasattr(answer, "_fields"):
        return type(answer)(*(type(each)() if isinstance(each, tuple | list | dict) else each for each in answer))
    return answer


def empty(held: Any) -> None:
    """From now on all that is asked of it is answered with nothing."""
    for name, method in inspect.getmembers(held, inspect.iscoroutinefunction):

        async def answer(*arguments: Any, _method: Any = method, **named: Any) -> Any:
            return emptied(await _method(*arguments, **named))

        setattr(held, name, answer)


async def bring_about(state: str, app: Any, gateway: ScriptedGateway, pilot: Any) -> None:
    if state == "empty":
        gateway.show(gateway.snapshot.with_facts(topics=(), groups=(), workload=None, acts=()))
        for held in (gateway, gateway.administration, gateway.streams, gateway.schemas, gateway.connect):
            empty(held)
        await settle(app, pilot)
        return
    await populate(app, gateway, pilot)
    if state == "degraded":
        await gateway.kill_brokers([2])
        await settle(app, pilot)
        gateway.refusing = REFUSAL
        gateway.clock.advance(7_000)


def ensemble(state: str, gateway: ScriptedGateway) -> ZooKeeperState:
    """The cluster's screen of ZooKeeper is for clusters that it coordinates."""
    at_ms = gateway.clock.at_ms
    whole = sample_ensemble(at_ms, down=3 if state == "degraded" else 0)
    if state == "empty":
        return ZooKeeperState(whole.connect, whole.chroot)
    return whole


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("state", ["empty", "healthy", "degraded"])
async def test_every_screen_in_every_state(state: str, size: tuple[int, int]) -> None:
    assert set(ROUTES) | ELSEWHERE == set(VIEWS), "a screen that no route leads to"
    app, gateway = make_app(clock=FrozenClock())
    different = []
    async with app.run_test(size=size) as pilot:
        await bring_about(state, app, gateway, pilot)
        for name, (command, *keys) in ROUTES.items():
            if name == "streams" and state != "empty":
                gateway.show(newer_groups(gateway.snapshot))
                await settle(app, pilot)
            if name == "application" and state != "empty":
                feed(app, gateway)
                gateway.show(with_workers(gateway.snapshot))
                await settle(app, pilot)
            if name == "zookeeper":
                gateway.show(coordinated(gateway.snapshot, ensemble(state, gateway)))
                await settle(app, pilot)
            app.main.run_command(command)
            await settle(app, pilot)
            for key in keys:
                await pilot.press(key)
                await settle(app, pilot)
            text = "\n".join(text_of_screen(app)) + "\n"
            path = STATES / f"{state}-{name}-{size[0]}x{size[1]}.txt"
            if os.environ.get("KCONSOLE_UPDATE_FRAMES"):
                STATES.mkdir(exist_ok=True)
                path.write_text(text)
            if not path.exists() or text != path.read_text():
                different.append(f"{path.name} differs:\n{text}")
    assert not different, "\n".join(different)

"""The supervisor's schema registry: one that cannot be, or must not be started again, says so."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.supervisor import registry_process
from engine.supervisor.broker_questions import CommandError
from engine.supervisor.data_dir import DataDir
from engine.supervisor.facts import FactBus
from engine.supervisor.registry_process import RegistryProcess, missing_modules
from engine.supervisor.snapshot import ProcessState
from engine.supervisor.spec_types import RestartSpec
from engine.world.real import real_world


def process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str) -> RegistryProcess:
    """A registry whose program is ``code``."""
    monkeypatch.setattr(registry_process, "python_command", lambda *_: [sys.executable, "-c", code])
    world = real_world()
    restart = RestartSpec("on-failure", 10, 20, 3, 60_000)
    return RegistryProcess(
        world, FactBus(world.clock), DataDir(world, str(tmp_path)), 1, lambda: "127.0.0.1:1", restart
    )


async def until(holds: Callable[[], bool]) -> None:
    for _ in range(1_000):
        if holds():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("not within 20 s")


def test_what_is_not_installed_is_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    assert missing_modules() == ""
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "jsonschema" else find(name))
    assert missing_modules().startswith("a schema registry needs jsonschema: pip install 'kconsole[registry]'")


async def test_one_that_was_fenced_is_not_started_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = process(tmp_path, monkeypatch, "import sys; print('says why', flush=True); sys.exit(3)")
    with pytest.raises(CommandError, match=r"another registry has taken its topic over(.|\n)*says why"):
        await registry.start()
    await asyncio.sleep(0.1)
    assert (registry.state, registry.restarts) == (ProcessState.CRASHED, 0)
    assert registry.as_row()["pid"] is None


async def test_one_that_dies_is_started_again_until_it_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = process(tmp_path, monkeypatch, "raise SystemExit(1)")
    with pytest.raises(CommandError, match="ended while starting"):
        await registry.start()
    await until(lambda: "crash loop" in registry.why)
    assert registry.restarts == 2
    await registry.stop()


async def test_one_that_does_not_leave_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(60)"
    registry = process(tmp_path, monkeypatch, code)
    monkeypatch.setattr(registry_process, "_STOP_TIMEOUT_S", 0.1)
    starting = asyncio.ensure_future(registry.start())
    await until(lambda: os.path.exists(registry.log_file) and os.path.getsize(registry.log_file) > 0)
    starting.cancel()
    await registry.stop()
    assert (registry.state, registry.child) == (ProcessState.STOPPED, None)

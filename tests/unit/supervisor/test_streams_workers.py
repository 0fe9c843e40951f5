"""Workers of a streams application under their supervisor: real processes, that stand in for workers."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.supervisor.spec_types import RestartSpec
from engine.supervisor.streams_workers import StreamsWorkers, StreamsWorkersError, WorkerEvent
from engine.world.real import real_world

LIVES = [
    "/bin/sh",
    "-c",
    'trap "exit 0" TERM; echo "2026-11-26 18:00:00,000 WARNING no topic"; while :; do sleep 0.02; done',
]


def workers(
    tmp_path: Path, command: list[str], on_event: Callable[[WorkerEvent], None], number: int = 1, patience_s: float = 20
) -> StreamsWorkers:
    quickly = RestartSpec("on-failure", 1, 5, 3, 60_000)
    return StreamsWorkers(
        command, number, str(tmp_path), real_world().clock, on_event, restart=quickly, patience_s=patience_s
    )


async def test_a_worker_that_is_killed_is_started_again_and_a_stop_is_graceful(tmp_path: Path) -> None:
    events: list[WorkerEvent] = []
    killed: set[int] = set()

    def on_event(event: WorkerEvent) -> None:
        events.append(event)
        if event.kind != "log":
            return
        if event.worker == 1 and not killed:
            killed.add(event.pid)
            os.kill(event.pid, signal.SIGKILL)
        elif [each.kind for each in events].count("log") == 3:
            found.stop()

    found = workers(tmp_path, LIVES, on_event, 2)
    assert await found.run() is True
    first = [event[2:] for event in events if event.worker == 1]
    log = str(tmp_path / "worker-1.log")
    assert first == [
        ("started", log),
        ("log", "no topic"),
        ("ended", "killed by signal 9; restart 1 in 1 ms"),
        ("started", log),
        ("log", "no topic"),
        ("stopped", ""),
    ]
    assert [event.kind for event in events if event.worker == 2] == ["started", "log", "stopped"]


async def test_a_worker_that_cannot_live_is_given_up_and_wrong_use_is_not_tried_again(tmp_path: Path) -> None:
    events: list[WorkerEvent] = []
    fails = [sys.executable, "-S", "-c", "raise ValueError('of the user')"]
    assert await workers(tmp_path / "a", fails, events.append).run() is False
    assert [event.kind for event in events].count("started") == 3
    assert ("log", "ValueError: of the user") in [event[2:] for event in events]
    assert events[-1].detail == "exit code 1; ended 3 times within 60000 ms: crash loop, left down"
    events.clear()
    assert await workers(tmp_path / "b", ["/bin/sh", "-c", "exit 2"], events.append).run() is False
    assert [event[2:] for event in events][1:] == [("ended", "wrong use, not started again")]


async def test_one_that_does_not_stop_in_time_is_killed(tmp_path: Path) -> None:
    events: list[WorkerEvent] = []

    def on_event(event: WorkerEvent) -> None:
        events.append(event)
        if event.kind == "log":
            found.stop()

    deaf = ["/bin/sh", "-c", 'trap "" TERM; echo "2026-11-26 18:00:00,000 ERROR deaf"; while :; do sleep 0.02; done']
    found = workers(tmp_path, deaf, on_event, patience_s=0.01)
    assert await found.run() is False
    assert events[-1][2:] == ("stopped", "killed by signal 9")


async def test_logs_of_one_application_are_of_one_supervisor(tmp_path: Path) -> None:
    first = workers(tmp_path, LIVES, lambda _: None)
    with pytest.raises(StreamsWorkersError, match="give that one more --workers"):
        workers(tmp_path, LIVES, lambda _: None)
    first.stop()
    assert await first.run() is True
    again = workers(tmp_path, LIVES, lambda _: None)
    again.stop()
    await asyncio.wait_for(again.run(), 10)

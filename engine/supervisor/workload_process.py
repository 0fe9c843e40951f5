"""The supervisor's side of the workload: its process, its commands, its state."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
from typing import Any

from engine.supervisor.broker_process import ChildProcess, python_command
from engine.supervisor.broker_supervision import CommandError
from engine.supervisor.facts import FactBus
from engine.supervisor.spec_types import WorkloadSpec
from engine.world import World

_LEAVE_S = 3.0


class WorkloadProcess:
    """Started on the first ``start``; kept running when it is stopped, so that counts go on."""

    def __init__(self, world: World, bus: FactBus, directory: str, spec: WorkloadSpec, bootstrap: str) -> None:
        self._world = world
        self._bus = bus
        self._directory = directory
        self._spec = spec
        self._bootstrap = bootstrap
        self._child: ChildProcess | None = None

    @property
    def is_empty(self) -> bool:
        """Whether the cluster file describes no workload."""
        return not self._spec.producers and not self._spec.groups

    @property
    def pid(self) -> int | None:
        """Of the process, if it runs."""
        return self._child.pid if self._child is not None and not self._child.exited.done() else None

    async def start(self) -> None:
        """Start producing and consuming. Raises: CommandError."""
        if self.is_empty:
            raise CommandError("the cluster file describes no workload: add `workload:` to it")
        if self.pid is None:
            await self._spawn()
        self._send(command="start")

    def stop(self) -> None:
        """Stop producing and consuming; nothing happens if it does not run."""
        if self.pid is not None:
            self._send(command="stop")

    async def add_member(self, group: str) -> None:
        """One consumer more. Raises: CommandError."""
        await self._resize(group, "add_member")

    async def remove_member(self, group: str) -> None:
        """One consumer less. Raises: CommandError."""
        await self._resize(group, "remove_member")

    def set_rate(self, producer: str, rate: float) -> None:
        """Change a producer's records a second. Raises: CommandError."""
        names = [each.name for each in self._spec.producers]
        if producer not in names:
            raise CommandError(f"the workload has no producer {producer!r}; it has {', '.join(names) or 'none'}")
        if not 0 <= rate <= 1_000_000:
            raise CommandError("a rate is between 0 and 1000000 records a second")
        self._running()
        self._send(command="rate", producer=producer, rate=rate)

    async def _resize(self, group: str, command: str) -> None:
        names = [each.name for each in self._spec.groups]
        if group not in names:
            raise CommandError(f"the workload has no group {group!r}; it has {', '.join(names) or 'none'}")
        self._running()
        self._send(command=command, group=group)

    def _running(self) -> None:
        if self.pid is None:
            raise CommandError("the workload does not run: start it first")

    def _send(self, **message: Any) -> None:
        assert self._child is not None, "commands go to a process"
        self._child.send(message)

    async def _spawn(self) -> None:
        spec_file = f"{self._directory}/workload.json"
        spec = {
            "producers": [each._asdict() for each in self._spec.producers],
            "groups": [each._asdict() for each in self._spec.groups],
        }
        self._world.disk.write_atomic(spec_file, json.dumps(spec).encode())
        try:
            self._child = await ChildProcess.spawn(
                python_command(
                    "engine.supervisor.workload", "--bootstrap-servers", self._bootstrap, "--spec", spec_file
                ),
                log_file=f"{self._directory}/workload.log",
                on_fact=self._on_fact,
            )
        except OSError as error:
            raise CommandError(f"the workload cannot be run: {error}") from error
        self._child.exited.add_done_callback(lambda done: self._on_exit(done.result()))

    def _on_fact(self, fact: dict[str, Any]) -> None:
        fact["source"] = "workload"
        self._bus.publish(fact)

    def _on_exit(self, code: int) -> None:
        self._bus.publish({"type": "workload", "source": "supervisor", "running": False, "parts": []})
        if code:
            self._bus.note(
                "process_exited", "workload", f"exit code {code}", log_file=f"{self._directory}/workload.log"
            )

    async def close(self) -> None:
        """End the process; its consumers leave their groups first."""
        child = self._child
        if child is None or child.exited.done():
            return
        child.end_of_input()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LEAVE_S):
                await asyncio.shield(child.exited)
            return
        child.signal(signal.SIGKILL)

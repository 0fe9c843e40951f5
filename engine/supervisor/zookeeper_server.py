"""The life of one embedded ZooKeeper server: how it is run, and its mode."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Mapping
from typing import Any

from engine.supervisor.broker_process import ChildProcess
from engine.supervisor.data_dir import DataDir
from engine.supervisor.facts import Fact, FactBus
from engine.supervisor.leashed_process import spawn_leashed
from engine.supervisor.snapshot import ProcessState
from engine.supervisor.spec_types import RestartSpec
from engine.supervisor.supervised_process import SupervisedProcess
from engine.supervisor.zookeeper_files import HOST, ServerPorts
from engine.world import World
from engine.zookeeper.errors import ZooKeeperError
from engine.zookeeper.four_letter_words import srvr

# A server leaves at once when it is told: nothing of it is in memory alone.
_STOP_TIMEOUT_S = 5.0
# How often one that does not serve yet is asked; one that serves: see the ensemble.
_POLL_S = 0.03
_ANSWER_TIMEOUT_S = 1.0


class ZooKeeperServer(SupervisedProcess):
    """One server of the ensemble, alive or not. ``mode`` is ``leader``, ``follower`` or ``standalone`` as it said last,
    empty while it does not serve: it is up, and looks for a leader or a majority."""

    def __init__(
        self,
        world: World,
        bus: FactBus,
        data_dir: DataDir,
        server_id: int,
        ports: ServerPorts,
        command: Callable[[str], list[str]],
        restart: RestartSpec,
        *,
        keep: bool = False,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """``command`` makes the command line from the path of zoo.cfg."""
        super().__init__(world, bus, restart, keep=keep, stop_timeout_s=_STOP_TIMEOUT_S)
        self._data_dir = data_dir
        self._command = command
        self._environment = dict(os.environ if environment is None else environment)
        self.server_id = server_id
        self.ports = ports
        self.mode = ""
        # Of its last transaction: the leader's epoch and a number.
        self.zxid = 0

    @property
    def subject(self) -> str:
        """``ZooKeeper server 2``."""
        return f"ZooKeeper server {self.server_id}"

    @property
    def log_file(self) -> str:
        """The incarnation's log."""
        return self._data_dir.zookeeper_log(self.server_id)

    @property
    def address(self) -> str:
        """Where its clients come."""
        return f"{HOST}:{self.ports.client}"

    @property
    def is_serving(self) -> bool:
        """Whether it said lately that it has a leader, or is one."""
        return bool(self.mode)

    async def wait_serving(self) -> None:
        """Wait until it has found a leader, or is one; without a majority that is never.

        Raises:
            CommandError: it ended first.
        """
        while not await self.look():
            if self._ended.is_set():
                raise self._ended_while_starting()
            await asyncio.sleep(_POLL_S)

    async def look(self) -> bool:
        """Ask it for its mode; whether it serves."""
        incarnation = self.incarnation
        mode, zxid = "", self.zxid
        if self.pid is not None and self.state is not ProcessState.PAUSED:
            with contextlib.suppress(ZooKeeperError):
                status = await srvr(HOST, self.ports.client, timeout_s=_ANSWER_TIMEOUT_S)
                mode, zxid = status.mode, status.zxid
        # Meanwhile it may have ended, or been paused.
        if incarnation != self.incarnation or self.child is None or self.state is ProcessState.PAUSED:
            mode = ""
        else:
            self.zxid = zxid
        if mode and self.state is ProcessState.STARTING:
            self.mode = mode
            self._set_state(ProcessState.RUNNING, "serves")
        if mode != self.mode:
            self.mode = mode
            self._bus.publish(self.as_fact())
        return self.is_serving

    # -- facts --------------------------------------------------------------------------------------------------

    def as_fact(self) -> Fact:
        """A ``zookeeper`` fact."""
        return {
            "type": "zookeeper",
            "server": self.server_id,
            "address": self.address,
            "state": str(self.state),
            "mode": self.mode,
            "pid": self.pid,
            "started_at_ms": self.started_at_ms,
            "incarnation": self.incarnation,
            "restarts": self.restarts,
            "exit_code": self.exit_code,
            "cpu_percent": self.cpu_percent,
            "rss_bytes": self.rss_bytes,
            "log_file": self.log_file,
            "next_restart_at_ms": self.next_restart_at_ms,
            "why": self.why,
        }

    def as_row(self) -> dict[str, Any]:
        """The same as an answer to a command."""
        row = self.as_fact()
        del row["type"]
        return {"id": row.pop("server"), **row}

    # -- incarnations -------------------------------------------------------------------------------------------

    def _note(self, act: str, reason: str, **detail: Any) -> None:
        self._bus.note(f"zookeeper_{act}", self.subject, reason, zookeeper_server=self.server_id, **detail)

    def _detail(self) -> dict[str, Any]:
        return {"mode": self.mode}

    def _write_pid(self, pid: int) -> None:
        self._data_dir.write_zookeeper_pid(self.server_id, pid)

    async def _make_child(self, incarnation: int) -> ChildProcess:
        return spawn_leashed(
            self._command(self._data_dir.zoo_cfg(self.server_id)),
            log_file=self.log_file,
            environment=self._environment,
            leashed=not self._keep,
        )

    def _set_state(self, state: ProcessState, why: str) -> None:
        if state is not ProcessState.RUNNING:
            self.mode = ""
        super()._set_state(state, why)

    def _resumed_state(self) -> ProcessState:
        # It says itself how far it is when it is asked next.
        return ProcessState.RUNNING

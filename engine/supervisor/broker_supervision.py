"""The life of one broker: what it is told and asked, and when it serves."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable
from typing import Any

from engine.model.broker_faults import SOUND, BrokerFaults
from engine.supervisor.broker_process import ChildProcess, python_command
from engine.supervisor.broker_questions import CommandError as CommandError
from engine.supervisor.broker_questions import Questions
from engine.supervisor.data_dir import DataDir
from engine.supervisor.facts import Fact, FactBus
from engine.supervisor.server_properties import Address
from engine.supervisor.snapshot import ProcessState
from engine.supervisor.spec_types import RestartSpec
from engine.supervisor.supervised_process import SupervisedProcess
from engine.world import World

# A broker that does not leave within this time is killed.
STOP_TIMEOUT_MS = 20_000
# One that was only told by the end of its input, and does not leave, is told by SIGTERM as well.
_PLAIN_STOP_MS = 5_000


class BrokerSupervision(SupervisedProcess):
    """One broker of the cluster, alive or not."""

    def __init__(
        self,
        world: World,
        bus: FactBus,
        data_dir: DataDir,
        broker_id: int,
        address: Address,
        restart: RestartSpec,
        *,
        keep: bool = False,
        command: Callable[[str], list[str]] | None = None,
    ) -> None:
        """``command`` makes the command line from the properties file (tests put a dummy there)."""
        super().__init__(world, bus, restart, keep=keep, stop_timeout_s=STOP_TIMEOUT_MS / 1000)
        self._data_dir = data_dir
        self._command = command or (lambda properties: python_command("engine.broker", "--properties", properties))
        self.broker_id = broker_id
        self.address = address
        self._ready = asyncio.Event()
        self._controlled = True
        self._faults = SOUND
        self._questions = Questions(broker_id)
        self.open_files: int | None = None

    @property
    def subject(self) -> str:
        """``broker 2``."""
        return f"broker {self.broker_id}"

    @property
    def log_file(self) -> str:
        """The incarnation's log."""
        return self._data_dir.broker_log(self.broker_id)

    @property
    def is_ready(self) -> bool:
        """Whether the living incarnation has said that it serves."""
        return self._ready.is_set()

    @property
    def is_serving(self) -> bool:
        """The same."""
        return self.is_ready

    async def stop(self, *, controlled: bool = True) -> None:
        """SIGTERM: the broker hands its leaders over and leaves. Without ``controlled`` it closes its files and leaves.

        Raises:
            CommandError: it does not run, or had to be killed.
        """
        self._controlled = controlled
        await super().stop()

    def _ask_to_leave(self, child: ChildProcess) -> None:
        if self._controlled or self._keep:
            child.signal(signal.SIGTERM)
        else:
            child.end_of_input()

    async def _until_it_left(self, child: ChildProcess) -> None:
        if not self._controlled:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_PLAIN_STOP_MS / 1000):
                    await self._ended.wait()
            if not self._ended.is_set():
                child.signal(signal.SIGTERM)
        await self._ended.wait()

    def set_faults(self, faults: BrokerFaults) -> None:
        """All that is wrong with its disk and its links from now on, through its restarts.

        Raises:
            CommandError: it is kept running without its supervisor, so nobody could mend it.
        """
        if self._keep and faults != SOUND:
            raise CommandError(
                f"broker {self.broker_id} hears nothing from its supervisor: the cluster runs with --keep; "
                "start it without"
            )
        self._faults = faults
        if self.child is not None and not self._keep:
            self.child.send(self._faults_command())

    def _faults_command(self) -> dict[str, Any]:
        return {"command": "faults", **self._faults.as_json()}

    async def ask(self, question: str, **arguments: Any) -> dict[str, Any]:
        """Ask the broker something of itself (:mod:`engine.broker.questions`).

        Raises:
            CommandError: it does not run, is paused, outlives supervisors, or does not answer in time.
        """
        child = self._living("asked")
        if self.state is ProcessState.PAUSED:
            raise CommandError(f"broker {self.broker_id} is paused: it answers nothing")
        if self._keep:
            raise CommandError(
                f"broker {self.broker_id} outlives its supervisor (--keep): it has no line to be asked by"
            )
        return await self._questions.ask(child, question, arguments)

    async def wait_ready(self) -> None:
        """Wait until the broker serves.

        Raises:
            CommandError: it ended first.
        """
        ready = asyncio.ensure_future(self._ready.wait())
        ended = asyncio.ensure_future(self._ended.wait())
        await asyncio.wait((ready, ended), return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        ended.cancel()
        if not self.is_ready:
            raise self._ended_while_starting()

    def as_fact(self) -> Fact:
        """A ``process`` fact."""
        return {
            "type": "process",
            "broker": self.broker_id,
            "state": str(self.state),
            "pid": self.pid,
            "address": str(self.address),
            "started_at_ms": self.started_at_ms,
            "incarnation": self.incarnation,
            "restarts": self.restarts,
            "exit_code": self.exit_code,
            "cpu_percent": self.cpu_percent,
            "rss_bytes": self.rss_bytes,
            "open_files": self.open_files,
            "log_dir": self._data_dir.log_dir(self.broker_id),
            "log_file": self.log_file,
            "next_restart_at_ms": self.next_restart_at_ms,
            "why": self.why,
        }

    # -- incarnations -------------------------------------------------------------------------------------------

    def _note(self, act: str, reason: str, **detail: Any) -> None:
        self._bus.note(f"process_{act}", self.subject, reason, broker_id=self.broker_id, **detail)

    def _write_pid(self, pid: int) -> None:
        self._data_dir.write_pid(self.broker_id, pid)

    async def _make_child(self, incarnation: int) -> ChildProcess:
        return await ChildProcess.spawn(
            self._command(self._data_dir.properties_file(self.broker_id)),
            log_file=self.log_file,
            on_fact=lambda fact: self._on_fact(incarnation, fact),
            supervised=not self._keep,
            first_command=None if self._faults == SOUND else self._faults_command(),
        )

    def _forget_incarnation(self) -> None:
        self._questions.forget()
        self.open_files = None
        self._ready.clear()

    def _on_fact(self, incarnation: int, fact: dict[str, Any]) -> None:
        if incarnation != self.incarnation:
            return
        if fact["type"] == "answer":
            self._questions.answered(fact)
            return
        fact["broker"] = self.broker_id
        if fact["type"] == "ready" and self.child is not None:
            self._ready.set()
            if self.state is ProcessState.STARTING:
                self._set_state(ProcessState.RUNNING, "serves")
        self._bus.publish(fact)

"""Workers of Kafka Connect on this machine: processes (:mod:`engine.connect.runtime`) with a directory of their own.

``connect/`` of a cluster has the token of REST, and for each group ``GROUP.workers/``: logs, and workers.json, which
tells where the workers that run answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from engine.supervisor.broker_process import python_command
from engine.supervisor.facts import FactBus
from engine.supervisor.spec_types import ClusterSpec, RestartSpec
from engine.supervisor.worker_processes import RESTART, WorkerEvent, WorkerProcesses
from engine.world import Clock

DEFAULT_GROUP = "connect-cluster"
"""Of Kafka's own example of a distributed worker's configs."""
_CONFIG_FILE = "worker.properties"
_UP = "worker started at "
_CONVERTER = "org.apache.kafka.connect.json.JsonConverter"


def missing_module() -> str:
    """What to do so that workers can be run here; empty if they can."""
    if importlib.util.find_spec("aiohttp") is None:
        return "a Connect worker needs aiohttp: pip install 'kconsole[connect]'"
    return ""


class WorkersDirectory(NamedTuple):
    """Directory of one group's workers, below that of its cluster."""

    directory: str
    group: str

    @property
    def workers(self) -> str:
        """Takes logs."""
        return os.path.join(self.directory, f"{self.group}.workers")

    @property
    def token_file(self) -> str:
        """One for all groups of a cluster."""
        return os.path.join(self.directory, "token")

    @property
    def workers_file(self) -> str:
        """Where workers answer."""
        return os.path.join(self.workers, "workers.json")


def default_configs(place: WorkersDirectory, *, standalone: bool = False) -> dict[str, str]:
    """As in Kafka's examples, but for topics as safe as the cluster makes its own, and for REST."""
    defaults = {
        "key.converter": _CONVERTER,
        "value.converter": _CONVERTER,
        "offset.flush.interval.ms": "10000",
        "listeners": "http://127.0.0.1:0",
        "rest.token.file": place.token_file,
    }
    if standalone:
        return defaults | {"offset.storage.file.filename": os.path.join(place.workers, "offsets")}
    defaults["group.id"] = place.group
    prefix = "connect" if place.group == DEFAULT_GROUP else place.group
    for kind, name in (("offset", "offsets"), ("config", "configs"), ("status", "status")):
        defaults[f"{kind}.storage.topic"] = f"{prefix}-{name}"
        defaults[f"{kind}.storage.replication.factor"] = "-1"
    return defaults


class ConnectWorkers:
    """Some workers of one group, or one alone."""

    def __init__(
        self,
        place: WorkersDirectory,
        number: int,
        configs: Mapping[str, str],
        clock: Clock,
        on_event: Callable[[WorkerEvent], None],
        *,
        connectors: Sequence[str] = (),
        restart: RestartSpec = RESTART,
    ) -> None:
        """Nothing runs before :meth:`run`.

        Args:
            connectors: files of a worker alone.

        Raises:
            WorkerProcessesError: the directory cannot be used, or somebody uses it.
        """
        self._place = place
        self._configs = dict(configs)
        self._on_event = on_event
        self._urls: dict[int, str] = {}
        self._pids: dict[int, int] = {}
        self._file = os.path.join(place.workers, _CONFIG_FILE)
        command = python_command("engine.connect.runtime", self._file, *map(os.path.abspath, connectors))
        self._processes = WorkerProcesses(
            command,
            number,
            place.workers,
            clock,
            self._hear,
            told=rf"{_UP}.*|worker stopping|connector .*",
            started_by="`kconsole connect run` of this group",
            restart=restart,
        )

    def stop(self) -> None:
        """End in order: offsets are committed. Once more: SIGKILL."""
        self._processes.stop()

    async def run(self) -> bool:
        """Until :meth:`stop`, or until no worker is left; whether all of them ended well."""
        text = "".join(f"{name}={_escaped(value)}\n" for name, value in self._configs.items())
        _write_secretly(self._file, text)
        try:
            return await self._processes.run()
        finally:
            for each in (self._file, self._place.workers_file):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(each)

    def as_row(self) -> dict[str, Any]:
        """What ``status`` says of them."""
        rows = [{"worker": each, "pid": pid, "url": self._urls.get(each)} for each, pid in sorted(self._pids.items())]
        return {"group": self._place.group, "workers": rows, "logs": self._place.workers}

    def _hear(self, event: WorkerEvent) -> None:
        before = dict(self._urls)
        match event.kind:
            case "log" if event.detail.startswith(_UP):
                self._urls[event.worker] = event.detail.removeprefix(_UP)
            case "started":
                self._pids[event.worker] = event.pid
                self._urls.pop(event.worker, None)
            case "ended" | "stopped":
                self._pids.pop(event.worker, None)
                self._urls.pop(event.worker, None)
        if self._urls != before:
            self._tell_where()
        self._on_event(event)

    def _tell_where(self) -> None:
        temporary = f"{self._place.workers_file}.new"
        _write_secretly(temporary, json.dumps({"urls": [self._urls[each] for each in sorted(self._urls)]}) + "\n")
        os.replace(temporary, self._place.workers_file)


class ClusterConnect:
    """The workers that a cluster file wants, as long as the cluster runs."""

    def __init__(self, spec: ClusterSpec, directory: str, bootstrap_servers: str, bus: FactBus, clock: Clock) -> None:
        """Raises: WorkerProcessesError: the directory cannot be used, or somebody uses it."""
        assert spec.connect is not None, "the cluster file wants workers"

        def note(event: WorkerEvent) -> None:
            if event.kind in ("started", "ended"):
                bus.note(f"connect_worker_{event.kind}", f"connect worker {event.worker}", event.detail, pid=event.pid)

        place = WorkersDirectory(directory, spec.connect.configs.get("group.id", DEFAULT_GROUP))
        configs = {**default_configs(place), **spec.connect.configs, "bootstrap.servers": bootstrap_servers}
        self.workers = ConnectWorkers(place, spec.connect.workers, configs, clock, note, restart=spec.restart)
        self._running: asyncio.Task[bool] | None = None

    def start(self) -> None:
        """Beside everything else: a cluster is ready without them."""
        self._running = asyncio.get_running_loop().create_task(self.workers.run())

    async def stop(self) -> None:
        """In order; brokers have to be there still."""
        if self._running is not None:
            self.workers.stop()
            await asyncio.gather(self._running, return_exceptions=True)

    def kill(self) -> None:
        """At once."""
        self.workers.stop()
        self.workers.stop()


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\")


def _write_secretly(file: str, text: str) -> None:
    """For this user's eyes only: there may be passwords."""
    with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as out:
        out.write(text)

"""``python -m tests.integration.walk_screens --seconds 600 [--kafka | --kafka-3]``: every screen, while brokers die.

A broker of three is killed every few seconds and started again some seconds later. Meanwhile each screen is opened in
turn, its rows gone through, a row looked at whole, the help opened, a filter typed. Each screen must come within its
time, say something, and none may fail. Ends with 1 if one did.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import re
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from textual.worker import Worker, WorkerState

from bench.clusters import ApacheKafkaCluster, ClusterUnderTest, KconsoleCluster
from bench.zookeeper import ZooKeeperModeKafka
from console.acts import Need, reason_against, reason_against_view
from console.app import KConsole
from console.commands import COMMANDS, Command
from console.gateway import Gateway
from console.gateway.opening import open_gateway
from console.options import ConsoleOptions
from tests.console.live import LiveConsole
from tests.integration.test_attached_console import Traffic
from tests.integration.zookeeper_server import zookeeper

# What a screen has to say something within, whatever the brokers do.
_PATIENCE_S = 5.0
_GROUP = "billing"
_TOPIC = "orders"
_ARGUMENTS = {"topic": _TOPIC, "topics": _TOPIC, "broker": "1", "group": _GROUP}
# Through rows, a row whole, help, a filter that is taken back.
_KEYS = (("j",), ("j",), ("k",), ("d", "escape"), ("question_mark", "escape"), ("slash", "o", "escape", "escape"))
_SCREENS_WITH_ARGUMENT = {
    "records",
    "segments",
    "log",
    "impact",
    "configs",
    "producers",
    "group-configs",
    "topology",
    "stores",
}


class WatchedConsole(KConsole):
    """Keeps what went wrong in its workers."""

    def __init__(self, gateway: Gateway) -> None:
        super().__init__(gateway)
        self.errors: list[str] = []

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        if event.state is WorkerState.ERROR:
            self.errors.append(f"{event.worker.name} of {event.worker.group}: {event.worker.error!r}")


class Killer:
    """Kills one broker at a time, and starts it again."""

    def __init__(self, cluster: ClusterUnderTest, seed: int) -> None:
        self._cluster = cluster
        self._random = random.Random(seed)
        self.kills = 0
        self.down: int | None = None
        self._task = asyncio.ensure_future(self._run())

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._random.uniform(3, 8))
            victim = self._random.choice((1, 2, 3))
            await asyncio.to_thread(self._cluster.kill, victim)
            self.kills += 1
            self.down = victim
            await asyncio.sleep(self._random.uniform(4, 14))
            await asyncio.to_thread(self._cluster.start, victim)
            self.down = None

    async def end(self) -> None:
        """Raises what it failed with."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        if not self._task.cancelled() and (error := self._task.exception()) is not None:
            raise error


def _lines_of_screens(app: KConsole) -> list[tuple[Command, str]]:
    """Commands that open a screen which is here, and what to type."""
    capabilities = app.gateway.capabilities
    found = []
    for command in COMMANDS:
        reason = reason_against(Need.LOGS, capabilities) if command.target == "log" else ""
        if command.target.startswith("!") or reason or reason_against_view(command.target, capabilities):
            continue
        needs = command.target in _SCREENS_WITH_ARGUMENT
        words = (
            [command.name, _ARGUMENTS[command.argument]] if needs and command.argument in _ARGUMENTS else [command.name]
        )
        found.append((command, " ".join(words)))
        if command.target == "groups":
            found.append((command, f"{command.name} {_GROUP}"))
        if command.target == "broker-configs":
            found += [(command, f"{command.name} 2"), (command, f"{command.name} 1 3")]
    return found


def _says_something(text: str) -> bool:
    """Whether something stands within the screen's frame."""
    return any(re.search(r"[^\s│╭╮╰╯─]", line) for line in text.splitlines() if line.startswith(("│", "▌")))


class Walk:
    """One console, walked by keys."""

    def __init__(self, console: LiveConsole, app: WatchedConsole, killer: Killer) -> None:
        self._console, self._app, self._killer = console, app, killer
        self.visits: Counter[str] = Counter()
        self.slowest: tuple[float, str] = (0.0, "")
        self.failures: list[str] = []

    async def until(self, deadline: float) -> None:
        while time.monotonic() < deadline and len(self.failures) < 20:
            for command, line in _lines_of_screens(self._app):
                await self._visit(command, line)

    async def _visit(self, command: Command, line: str) -> None:
        began = time.monotonic()
        await self._console.command(line)
        opened = await self._soon(
            lambda: self._app.view is not None and self._app.main.crumbs and _says_something(self._console.text)
        )
        took = time.monotonic() - began
        self.slowest = max(self.slowest, (took, line))
        if not opened:
            self.failures.append(f":{line}: nothing to be seen after {took:.1f} s\n{self._console.text}")
        for keys in (
            ("j",),
            ("j",),
            ("k",),
            ("d", "escape"),
            ("question_mark", "escape"),
            ("slash", "o", "escape", "escape"),
        ):
            await self._console.press(*keys)
        if not await self._soon(lambda: _says_something(self._console.text)):
            self.failures.append(f":{line}: blank after its keys\n{self._console.text}")
        while self._app.screen is not self._app.main:
            await self._console.press("escape")
        if command.target == "cluster" and not re.search(r"[123]/3 up", self._console.text):
            self.failures.append(f":{line}: the head does not say how many are up\n{self._console.text}")
        self.visits[line] += 1
        if self._app.errors:
            self.failures += [f":{line}: {error}" for error in self._app.errors]
            self._app.errors.clear()

    async def _soon(self, holds: Any) -> bool:
        deadline = time.monotonic() + _PATIENCE_S
        while time.monotonic() < deadline:
            if holds():
                return True
            await asyncio.sleep(0.05)
        return bool(holds())


async def walk(gateway: Gateway, cluster: ClusterUnderTest, seconds: float, seed: int) -> Walk:
    """Walk all screens over and over for ``seconds``."""
    app = WatchedConsole(gateway)
    async with app.run_test(size=(120, 40)) as pilot:
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: app.errors.append(f"{context.get('message')}: {context.get('exception')!r}")
        )
        console = LiveConsole(app, pilot)
        try:
            await console.until("three brokers", lambda text: "3/3 up" in text)
            killer = Killer(cluster, seed)
            walked = Walk(console, app, killer)
            await walked.until(time.monotonic() + seconds)
            await killer.end()
            kills = killer.kills
        finally:
            await gateway.close()
    print(
        f"{seconds:.0f} s, {kills} kills: {sum(walked.visits.values())} visits of {len(walked.visits)} screens; "
        f"the slowest came in {walked.slowest[0]:.1f} s (:{walked.slowest[1]}); {len(walked.failures)} failures"
    )
    return walked


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--kafka", action="store_true", help="attached to Apache Kafka, else embedded")
    parser.add_argument("--kafka-3", action="store_true", help="attached to Apache Kafka 3.9.1 over ZooKeeper")
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kconsole-walk-") as name, contextlib.ExitStack() as ensembles:
        properties: dict[str, str] = {}
        cluster: Any
        if options.kafka_3:
            ensemble = ensembles.enter_context(zookeeper(Path(name) / "zookeeper", servers=3))
            cluster = ZooKeeperModeKafka(Path(name) / "kafka", ensemble.connect)
            properties["zookeeper.connect"] = f"{ensemble.connect}/kafka"
        elif options.kafka:
            cluster = ApacheKafkaCluster(Path(name) / "kafka")
        else:
            cluster = KconsoleCluster(Path(name) / "k")
        traffic = Traffic(cluster.bootstrap)
        try:
            chosen = (
                ConsoleOptions(bootstrap_servers=cluster.bootstrap, command_config=properties)
                if options.kafka or options.kafka_3
                else ConsoleOptions(control_socket=str(cluster.data_dir / "control.sock"))
            )
            walked = asyncio.run(walk(open_gateway(chosen), cluster, options.seconds, options.seed))
        finally:
            traffic.close()
            cluster.close()
    for failure in walked.failures:
        print(failure)
    return 1 if walked.failures else 0


if __name__ == "__main__":
    sys.exit(main())

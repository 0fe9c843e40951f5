"""Running a supervisor in the foreground: signals, the ready line, the exit code."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from engine.supervisor.broker_supervision import CommandError
from engine.supervisor.data_dir import DataDir, DataDirError
from engine.supervisor.supervisor import Options, PortsTaken, StartFailed, Supervisor
from engine.world.real import real_world


def run_supervisor(data_dir: str, options: Options, spec_name: str, on_ready: Callable[[dict[str, Any]], None]) -> int:
    """Run a cluster until SIGINT, SIGTERM or the ``shutdown`` command; a second signal kills what is left.

    Args:
        spec_name: the cluster file's name, for complaints.
        on_ready: called once with :meth:`Supervisor.ready_line`.

    Returns:
        The exit code: 0 after a controlled shutdown, 1 if the cluster failed, 2 if file or directory cannot be used.
    """
    return asyncio.run(_run(data_dir, options, spec_name, on_ready))


async def _run(data_dir: str, options: Options, spec_name: str, on_ready: Callable[[dict[str, Any]], None]) -> int:
    loop = asyncio.get_running_loop()
    world = real_world()
    supervisor = Supervisor(world, DataDir(world, data_dir), options)
    signals = 0

    def on_signal() -> None:
        nonlocal signals
        signals += 1
        supervisor.stop_requested.set()
        if signals > 1:
            for broker in supervisor.brokers.values():
                if broker.child is not None:
                    broker.child.kill(world.clock)
            if supervisor.connect is not None:
                supervisor.connect.kill()
            if supervisor.registry is not None and supervisor.registry.child is not None:
                supervisor.registry.child.kill(world.clock)
            for server in () if supervisor.zookeeper is None else supervisor.zookeeper.servers.values():
                if server.child is not None:
                    server.child.kill(world.clock)
            os._exit(1)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, on_signal)
    starting = asyncio.ensure_future(supervisor.start())
    stopping = asyncio.ensure_future(supervisor.stop_requested.wait())
    await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        # Asked to leave while starting: nothing to save, and the brokers go with our end of their pipes.
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        if supervisor.control.path:
            await supervisor.shut_down(controlled=False)
        return 0
    try:
        starting.result()
    except DataDirError as error:
        _complain(str(error))
        return 2
    except PortsTaken as error:
        for each in error.errors:
            print(each.in_file(spec_name), file=sys.stderr, flush=True)  # noqa: T201
        return 2
    except StartFailed as error:
        _complain(f"the cluster did not start: {error}")
        return 1
    on_ready(supervisor.ready_line())
    await supervisor.start_workload()
    await stopping
    try:
        await supervisor.shut_down()
    except CommandError as error:
        _complain(str(error))
        return 1
    return 0


def _complain(sentence: str) -> None:
    print(f"kconsole: {sentence}", file=sys.stderr, flush=True)  # noqa: T201

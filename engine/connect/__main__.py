"""``python -m engine.connect WORKER.properties [CONNECTOR…]``: one worker, until SIGTERM or until it cannot go on.

With ``group.id`` it is a member of a group (``ConnectDistributed``); without it works alone (``ConnectStandalone``),
and begins with the connectors in the files that are named. How REST is reached is told in one line of JSON on standard
output when it is.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import signal
import sys
from collections.abc import Sequence

from engine.connect.connector_files import ConnectorFile, read_connector_file
from engine.connect.errors import ConfigError, ConnectError
from engine.connect.rest.config import RestConfig
from engine.connect.rest.server import RestServer
from engine.connect.runtime.herder import RequestRefused
from engine.connect.runtime.standalone import StandaloneHerder
from engine.connect.runtime.worker_config import WorkerConfig
from engine.connect.runtime.worker_herder import WorkerHerder
from engine.model.properties import read_properties

_log = logging.getLogger("engine.connect")
FAILED, WRONG_USE = 1, 2
_TARGETS = {None: None, "RUNNING": "STARTED", "PAUSED": "PAUSED", "STOPPED": "STOPPED"}


def main(arguments: list[str] | None = None) -> int:
    """0 after SIGTERM or SIGINT, 1 after an error, 2 for wrong configs."""
    parser = argparse.ArgumentParser(prog="python -m engine.connect", description=__doc__)
    parser.add_argument("worker", help="the worker's configs, name=value a line")
    parser.add_argument("connectors", nargs="*", help="connectors of a worker alone: properties, JSON or YAML")
    parser.add_argument("--log-level", default="INFO", choices=["DEBUG", "INFO", "WARNING", "ERROR"])
    given = parser.parse_args(arguments)
    logging.basicConfig(level=given.log_level, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    if os.getcwd() not in sys.path:
        # Plug-ins of users are found where they stand.
        sys.path.insert(0, os.getcwd())
    try:
        with open(given.worker, encoding="utf-8") as file:
            props = read_properties(file.read())
        config = WorkerConfig(props)
        rest = RestConfig.of(config.resolved)
        if given.connectors and config.is_distributed:
            raise ConnectError("a worker with group.id takes connectors by REST, not from files")
        connectors = [read_connector_file(each) for each in given.connectors]
    except OSError as error:
        sys.stderr.write(f"{given.worker}: {error.strerror}\n")
        return WRONG_USE
    except ConnectError as error:
        sys.stderr.write(f"{error}\n")
        return WRONG_USE
    try:
        return asyncio.run(_work(config, rest, connectors))
    except ConfigError as error:
        _log.error("%s", error)
        return WRONG_USE
    except ConnectError as error:
        _log.error("%s", error, exc_info=error.__cause__)
        return FAILED


async def _work(config: WorkerConfig, rest: RestConfig, connectors: Sequence[ConnectorFile]) -> int:
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    server = RestServer(rest)
    herder = _herder(config)
    try:
        url = await server.listen()
        await herder.start(url)
        server.serve(herder)
        for each in connectors:
            try:
                await herder.put_config(
                    each.name, each.config, may_exist=False, target_state=_TARGETS[each.initial_state]
                )
            except RequestRefused as error:
                raise ConfigError(each.name, why=str(error)) from error
        _log.info("state RUNNING, REST at %s", url)
        sys.stdout.write(json.dumps({"url": url}) + "\n")
        sys.stdout.flush()
        await _first_of(stopping, herder.failed)
        if herder.failure is not None:
            raise ConnectError(f"the worker cannot go on: {herder.failure}") from herder.failure
        return 0
    finally:
        await server.close()
        await herder.stop()


def _herder(config: WorkerConfig) -> WorkerHerder:
    if not config.is_distributed:
        return StandaloneHerder(config)
    from engine.connect.runtime.distributed import DistributedHerder

    return DistributedHerder(config)


async def _first_of(*events: asyncio.Event) -> None:
    waiting = [asyncio.ensure_future(each.wait()) for each in events]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in waiting:
            each.cancel()


if __name__ == "__main__":
    sys.exit(main())

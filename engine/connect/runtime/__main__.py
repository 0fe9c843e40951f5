"""``python -m engine.connect.runtime worker.properties [connector.json …]``: a worker, until SIGTERM or an error.

One with ``group.id`` is a distributed worker, one without a standalone one, which takes connectors from files
(:mod:`engine.connect.connector_files`).
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Any

from engine.connect.connector_files import ConnectorFile, read_connector_file
from engine.connect.errors import ConnectError
from engine.connect.runtime.client_settings import LIBRDKAFKA_LOG
from engine.connect.runtime.config_providers import read_properties
from engine.connect.runtime.distributed import DistributedHerder
from engine.connect.runtime.herder import TARGET_STATES
from engine.connect.runtime.standalone import StandaloneHerder
from engine.connect.runtime.worker_config import WorkerConfig

log = logging.getLogger(__name__)


async def run(config: WorkerConfig, connectors: list[ConnectorFile]) -> int:
    """A worker with its REST server, until a signal. 0 when it ended in order.

    Raises:
        ConnectError: it cannot start.
    """
    from engine.connect.rest.config import RestConfig
    from engine.connect.rest.server import RestServer

    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    rest = RestServer(RestConfig.of(config.resolved))
    url = await rest.listen()
    herder = DistributedHerder(config) if config.is_distributed else StandaloneHerder(config)
    try:
        rest.serve(herder)
        await herder.start(url)
        log.info("worker started at %s", url)
        for each in connectors:
            target = None if each.initial_state is None else TARGET_STATES[each.initial_state]
            created, _ = await herder.put_config(each.name, each.config, may_exist=True, target_state=target)
            log.info("connector %s %s", each.name, "created" if created else "changed")
        await _until(stopping, herder)
        return 1 if herder.failure is not None else 0
    finally:
        log.info("worker stopping")
        await herder.stop()
        await rest.close()


async def _until(stopping: asyncio.Event, herder: Any) -> None:
    waiting = [asyncio.ensure_future(stopping.wait()), asyncio.ensure_future(herder.failed.wait())]
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    for each in waiting:
        each.cancel()


def main(arguments: list[str] | None = None) -> int:
    """0 after SIGTERM or SIGINT, 1 after an error, 2 for wrong arguments or configs."""
    parser = argparse.ArgumentParser(
        prog="python -m engine.connect.runtime",
        description="A worker, until SIGTERM or an error: of a group where its configs have group.id, else alone.",
    )
    parser.add_argument("worker", metavar="worker.properties", help="configs of the worker")
    parser.add_argument("connectors", nargs="*", metavar="connector.json", help="connectors of a standalone worker")
    parser.add_argument(
        "--set", metavar="NAME=VALUE", action="append", default=[], help="a config; wins over the file's"
    )
    parser.add_argument("--log-level", default="INFO", choices=["DEBUG", "INFO", "WARNING", "ERROR"])
    given = parser.parse_args(arguments)
    logging.basicConfig(level=given.log_level, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    LIBRDKAFKA_LOG.setLevel(logging.ERROR)
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        props = read_properties(Path(given.worker).read_text()) | read_properties("\n".join(given.set))
        config = WorkerConfig(props)
        if config.is_distributed and given.connectors:
            raise ConnectError("A distributed worker takes connectors by REST, not from files")
        connectors = [read_connector_file(each) for each in given.connectors]
    except (OSError, UnicodeDecodeError) as error:
        sys.stderr.write(f"{given.worker}: {getattr(error, 'strerror', None) or error}\n")
        return 2
    except ConnectError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    try:
        return asyncio.run(run(config, connectors))
    except ConnectError as error:
        log.error("%s", error, exc_info=error.__cause__)
        return 1


if __name__ == "__main__":
    sys.exit(main())

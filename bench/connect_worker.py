"""A standalone worker of ours for ``bench connect``: configs of the worker, then of connectors, as properties files."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from pathlib import Path

from engine.connect.runtime.standalone import StandaloneHerder
from engine.connect.runtime.worker_config import WorkerConfig


def _properties(path: str) -> dict[str, str]:
    lines = [each for each in Path(path).read_text().splitlines() if each]
    return {name: value for name, _, value in (each.partition("=") for each in lines)}


async def _run(worker: str, connectors: list[str]) -> None:
    herder = StandaloneHerder(WorkerConfig(_properties(worker)))
    await herder.start("")
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    for each in connectors:
        props = _properties(each)
        await herder.put_config(props["name"], props, may_exist=False)
    await stopping.wait()
    await herder.stop()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    asyncio.run(_run(sys.argv[1], sys.argv[2:]))

"""``python -m engine.registry --config FILE``: a registry in a process of its own."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
from collections.abc import Callable

from engine.model.properties import read_properties
from engine.registry.config import RegistryConfig, RegistryConfigError, read_config
from engine.registry.errors import CannotStart, RegistryBroken
from engine.registry.service import RegistryService

WRONG_USE = 2
FENCED = 3
"""How the process ends when another registry took the topic over: to start it again would take it back."""


async def serve(config: RegistryConfig, on_ready: Callable[[str], None] | None = None) -> int:
    """Run a registry until SIGTERM, SIGINT, or until another one takes over; the exit code.

    Args:
        on_ready: is told the registry's URL.

    Raises:
        CannotStart: it cannot begin.
        RegistryConfigError: it would stand open.
    """
    service = RegistryService(config)
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for each in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(each, stopped.set)
    await service.start()
    logging.getLogger(__name__).info("serves %s, kept in %s", service.url, config.topic)
    if on_ready is not None:
        on_ready(service.url)
    service.lost.add_done_callback(lambda _: stopped.set())
    try:
        await stopped.wait()
    finally:
        await service.close()
    if not service.lost.done():
        return 0
    return 1 if isinstance(service.lost.result(), RegistryBroken) else FENCED


def main() -> int:
    """Read the command line, serve; the exit code."""
    parser = argparse.ArgumentParser(prog="engine.registry")
    parser.add_argument("--config", required=True, help="a file of name=value lines (engine.registry.config)")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        with open(parser.parse_args().config, encoding="utf-8") as file:
            config = read_config(read_properties(file.read()))
        return asyncio.run(serve(config))
    except (RegistryConfigError, OSError, UnicodeDecodeError) as error:
        print(error, file=sys.stderr)  # noqa: T201  to the log of this process
        return WRONG_USE
    except CannotStart as error:
        print(error, file=sys.stderr)  # noqa: T201  to the log of this process
        return 1


if __name__ == "__main__":
    sys.exit(main())

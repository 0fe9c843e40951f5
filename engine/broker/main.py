"""The broker's process: reads its properties, runs until SIGTERM or SIGINT, and leaves with a controlled shutdown.

Options of the supervisor: ``--facts-fd N`` is an inherited pipe for the publisher's lines; ``--supervised`` makes the
end of standard input (the supervisor died) a reason to shut down at once. What comes there before that are the lines of
:mod:`engine.broker.fault_switch`; one that is there when the broker starts holds from its first file on.
:mod:`engine.broker.questions` answers those that ask something.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import logging
import os
import resource
import select
import signal
import sys
from collections.abc import Callable

from engine.broker.broker import Broker, LogDirsRefused
from engine.broker.coordination import CoordinationRefused
from engine.broker.fault_switch import FaultSwitch
from engine.broker.questions import Questions, is_question
from engine.model.broker_config import BrokerConfig
from engine.model.configs import ConfigError
from engine.world.real import real_world

log = logging.getLogger("engine.broker")

# A supervisor that does not read its pipe must not make the broker wait or grow.
_MAX_UNSENT_FACTS_BYTES = 1 << 20
_MAX_OPEN_FILES = 1 << 20


def read_properties(text: str) -> dict[str, str]:
    """Parse Java's properties format as far as server.properties uses it: ``#``/``!`` comments, ``=`` or ``:``,
    continuation by a trailing backslash."""
    properties: dict[str, str] = {}
    pending = ""
    for raw in text.splitlines():
        line = pending + raw.strip()
        pending = ""
        if not line or line[0] in "#!":
            continue
        if line.endswith("\\") and not line.endswith("\\\\"):
            pending = line[:-1]
            continue
        at = min((index for index in (line.find("="), line.find(":")) if index >= 0), default=len(line))
        properties[line[:at].strip()] = line[at + 1 :].strip().replace("\\\\", "\\")
    return properties


def _open_sink(loop: asyncio.AbstractEventLoop, fd: int) -> Callable[[bytes], bool]:
    transports: list[asyncio.WriteTransport] = []

    async def open_pipe() -> None:
        transport, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, os.fdopen(fd, "wb", buffering=0))
        transports.append(transport)
        for line in waiting:
            transport.write(line)
        waiting.clear()

    waiting: list[bytes] = []
    opening = loop.create_task(open_pipe())

    def sink(line: bytes) -> bool:
        if not transports:
            if opening.done():
                return False  # the pipe could not be opened
            waiting.append(line)
            return True
        transport = transports[0]
        if transport.is_closing() or transport.get_write_buffer_size() > _MAX_UNSENT_FACTS_BYTES:
            return False
        transport.write(line)
        return True

    return sink


def _said_already(fd: int) -> bytes:
    """What stands in standard input now, at least to the end of a line if one has begun; nothing is waited for."""
    said = b""
    while b"\n" not in said and select.select([fd], [], [], 0)[0]:
        more = os.read(fd, select.PIPE_BUF)
        if not more:
            break
        said += more
    return said


async def _watch_stdin(
    loop: asyncio.AbstractEventLoop, ended: asyncio.Event, said: bytes, on_line: Callable[[bytes], None]
) -> None:
    reader = asyncio.StreamReader()
    reader.feed_data(said)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        on_line(line)
    log.warning("the supervisor is gone: shutting down")
    ended.set()


def _connection_limit() -> int:
    """Take all the descriptors that the process may have; connections of clients get a third of them, those at the
    controller's listener another, logs the rest."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MAX_OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _MAX_OPEN_FILES)
    if soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
    return max(16, soft // 3)


async def _serve(config: BrokerConfig, facts_fd: int | None, supervised: bool, cluster_id: str | None) -> int:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    orphaned = asyncio.Event()
    signals = 0

    def on_signal() -> None:
        nonlocal signals
        signals += 1
        if signals > 1:
            log.warning("second signal: leaving without controlled shutdown")
            os._exit(1)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    world, watcher, switch, said = real_world(), None, None, b""
    if supervised:
        switch = FaultSwitch()
        world = switch.world
        said = _said_already(sys.stdin.fileno())
        first, _, rest = said.partition(b"\n")
        if first and not is_question(first):
            # Faults that are on hold from the first file on; what else was said waits for a broker that can hear.
            switch.take(first)
            said = rest
    sink = _open_sink(loop, facts_fd) if facts_fd is not None else None
    broker = Broker(world, config, sink=sink, cluster_id=cluster_id, connection_limit=_connection_limit())
    if switch is not None:
        questions, take = Questions(broker), switch.take

        def on_line(line: bytes) -> None:
            (questions.ask if is_question(line) else take)(line)

        watcher = loop.create_task(_watch_stdin(loop, orphaned, said, on_line))
    waits = [loop.create_task(stop.wait()), loop.create_task(orphaned.wait()), loop.create_task(broker.failed.wait())]
    starting = loop.create_task(broker.start())
    await asyncio.wait([starting, *waits], return_when=asyncio.FIRST_COMPLETED)
    if starting.done():
        starting.result()
        # What start-up made lives as long as the process: keep the collector from walking it again and again.
        gc.collect()
        gc.freeze()
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    else:
        starting.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await starting
    # Without its supervisor a broker has no business moving leaders around: the others may be going down as well.
    await broker.stop(controlled=stop.is_set())
    for each in waits:
        each.cancel()
    if watcher is not None:
        watcher.cancel()
    return 1 if broker.failed.is_set() else 0


def run_broker(
    properties_file: str, *, facts_fd: int | None = None, supervised: bool = False, cluster_id: str | None = None
) -> int:
    """Run one broker from a server.properties file until it is told to stop; the process's exit code.

    ``cluster_id`` names the cluster to log directories that were never formatted, as ``kafka-storage format`` would.

    0 after a shutdown that was asked for, 1 after a failure, 2 for a file that is missing or wrong (each mistake is
    named on standard error).
    """
    if not __debug__:
        print("kconsole's invariants are assertions: do not run it with python -O", file=sys.stderr)  # noqa: T201
        return 2
    logging.basicConfig(
        level=logging.INFO,
        stream=sys.stderr,
        format="%(asctime)s.%(msecs)03d %(levelname)s %(name)s: %(message)s",
        datefmt="%Y-%m-%d %H:%M:%S",
    )
    try:
        with open(properties_file, encoding="utf-8") as file:
            config = BrokerConfig.from_properties(read_properties(file.read()))
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not a text file"
        print(f"kconsole broker: cannot read {properties_file}: {why}", file=sys.stderr)  # noqa: T201
        return 2
    except ConfigError as error:
        print(f"kconsole broker: {properties_file}: {error}", file=sys.stderr)  # noqa: T201
        return 2
    try:
        import uvloop

        factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    except ImportError:
        factory = asyncio.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        try:
            return runner.run(_serve(config, facts_fd, supervised, cluster_id))
        except (OSError, LogDirsRefused, CoordinationRefused) as error:
            print(f"kconsole broker: {error}", file=sys.stderr)  # noqa: T201
            return 1


def main() -> int:
    """Entry of ``python -m engine.broker``."""
    parser = argparse.ArgumentParser(prog="engine.broker", description=__doc__)
    parser.add_argument("--properties", required=True, help="a server.properties file with Kafka's own names")
    parser.add_argument("--facts-fd", type=int, help="an inherited pipe for facts, one JSON object a line")
    parser.add_argument("--supervised", action="store_true", help="shut down when standard input ends")
    arguments = parser.parse_args()
    return run_broker(arguments.properties, facts_fd=arguments.facts_fd, supervised=arguments.supervised)

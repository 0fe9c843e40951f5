"""``python -m engine.streams.runtime module:topology --config FILE``: one worker, until SIGTERM or an error."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
from pathlib import Path

from confluent_kafka import KafkaException

from engine.client.errors import ClientError
from engine.model.errors import KafkaError
from engine.streams.builder import StreamsBuilder
from engine.streams.errors import StreamsError
from engine.streams.runtime.config import StreamsConfig, StreamsConfigError, load_object, read_properties
from engine.streams.runtime.worker import Worker
from engine.streams.topology import Topology


def load_topology(reference: str, optimization: str = "none") -> Topology:
    """The topology, builder, or function that gives one, at ``module:attribute``.

    A builder is built with ``optimization``, the config ``topology.optimization``; a Topology is built already.

    Raises:
        StreamsConfigError: there is none.
        TopologyError: it cannot be built.
    """
    found = load_object(reference, "topology")
    if callable(found) and not isinstance(found, Topology | StreamsBuilder):
        found = found()
    if isinstance(found, StreamsBuilder):
        found = found.build(optimization)
    if not isinstance(found, Topology):
        raise StreamsConfigError(f"topology: {reference} is {type(found).__name__}, no Topology and no StreamsBuilder")
    return found


def main(arguments: list[str] | None = None) -> int:
    """0 after SIGTERM or SIGINT, 1 after an error, 2 for wrong use, or a topology that the group refuses."""
    parser = argparse.ArgumentParser(
        prog="python -m engine.streams.runtime", description="One worker of an application, until SIGTERM or an error."
    )
    parser.add_argument("topology", help="module:attribute; a Topology, a StreamsBuilder, or a function that gives one")
    parser.add_argument("--config", metavar="FILE", help="properties of the application, name=value a line")
    parser.add_argument(
        "--set", metavar="NAME=VALUE", action="append", default=[], help="a config; wins over the file's"
    )
    parser.add_argument("--log-level", default="INFO", choices=["DEBUG", "INFO", "WARNING", "ERROR"])
    given = parser.parse_args(arguments)
    logging.basicConfig(level=given.log_level, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    logging.getLogger("librdkafka").setLevel(logging.ERROR)
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        text = Path(given.config).read_text() if given.config else ""
        properties = read_properties(text, given.config or "")
        properties |= read_properties("\n".join(given.set), "--set")
        config = StreamsConfig(properties)
        worker = Worker(load_topology(given.topology, config["topology.optimization"]), config)
    except OSError as error:
        sys.stderr.write(f"{given.config}: {error.strerror}\n")
        return 2
    except StreamsError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    _stop_in_order(worker)
    try:
        worker.run()
    except StreamsConfigError as error:
        logging.getLogger(__name__).error("%s", error)
        return 2
    except (StreamsError, KafkaException, KafkaError, ClientError) as error:
        # What brokers say is said; where a function of the user's failed has to be shown.
        cause = None if isinstance(error.__cause__, (KafkaException, KafkaError, ClientError)) else error.__cause__
        logging.getLogger(__name__).error("%s", error, exc_info=cause)
        return 1
    return 0


def _stop_in_order(worker: Worker) -> None:
    """SIGTERM and SIGINT end the worker in order; what comes after that ends the process at once."""

    def stop(*_: object) -> None:
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, signal.SIG_DFL)
        worker.stop()

    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, stop)


if __name__ == "__main__":
    sys.exit(main())

"""What ``bench/streams.py`` runs in the virtual environment of Quix Streams: the same three topologies, its own way.

Everything is as Quix Streams has it by default (JSON by orjson, stores in RocksDB with changelogs, at least once,
a commit each 5 s), but for how it logs.
"""

import os
import sys
import time
from pathlib import Path

from quixstreams import Application
from quixstreams.models.serializers import JSONDeserializer
from quixstreams.utils.json import loads

WINDOW_MS = 10_000


class Marking(JSONDeserializer):
    """Writes down when it reads for the first time; plain from then on."""

    def __init__(self) -> None:
        super().__init__(loads=self._first)

    def _first(self, data: bytes) -> object:
        self._loads = loads
        Path(os.environ["KCONSOLE_BENCH_BEGAN"]).write_text(str(time.monotonic_ns()))
        return loads(data)


def counted(_: dict, state: object) -> int:
    """Orders of the customer so far."""
    count = state.get("count", 0) + 1
    state.set("count", count)
    return count


def convert(value: dict) -> dict:
    """An order with its amount in cents."""
    return {**value, "cents": round(value["amount"] * 100)}


def is_big(value: dict) -> bool:
    """Half of the orders."""
    return value["cents"] >= 25_000


def main(which: str, bootstrap: str, name: str, state: str, commit_s: str) -> None:
    """Run until SIGTERM."""
    app = Application(
        broker_address=bootstrap,
        consumer_group=name,
        auto_offset_reset="earliest",
        state_dir=state,
        commit_interval=float(commit_s),
        loglevel="WARNING",
    )
    source = app.topic(os.environ["KCONSOLE_BENCH_IN"], key_deserializer="string", value_deserializer=Marking())
    sink = app.topic(os.environ["KCONSOLE_BENCH_OUT"], key_serializer="string", value_serializer="json")
    frame = app.dataframe(source)
    if which == "map_filter":
        frame = frame.apply(convert).filter(is_big)
    elif which == "count":
        frame = frame.apply(counted, stateful=True)
    else:
        frame = frame.tumbling_window(WINDOW_MS).count().current()
    frame.to_topic(sink)
    app.run()


main(*sys.argv[1:])

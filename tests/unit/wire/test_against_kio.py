"""Every API in every version against kio, an independent codec: kio reads what we wrote and writes the same bytes."""

from __future__ import annotations

import io
import random
from importlib import import_module

import pytest
from kio.serial import entity_reader, entity_writer
from random_messages import random_message

from engine.wire import codec
from engine.wire.api_table import APIS
from engine.wire.apis import message_class

# Messages that kio has not got, or in which its typed values (KeyError for an unknown enum) refuse random ones.
SEEDS = 4


def snake(name: str) -> str:
    return "".join("_" + each.lower() if each.isupper() else each for each in name).lstrip("_")


def pairs() -> list[tuple[str, str, int]]:
    found = []
    for name, low, high, _, _, _ in APIS.values():
        for kind in ("Request", "Response"):
            for version in range(low, high + 1):
                try:
                    import_module(f"kio.schema.{snake(name)}.v{version}.{kind.lower()}")
                except ModuleNotFoundError:
                    continue
                found.append((name, kind, version))
    return found


PAIRS = pairs()


def test_kio_covers_nearly_every_message() -> None:
    assert len(PAIRS) > 600


@pytest.mark.parametrize("kind", ["Request", "Response"])
@pytest.mark.parametrize("name", sorted({name for name, _, _ in PAIRS}))
def test_kio_reads_our_bytes_and_writes_the_same(name: str, kind: str) -> None:
    for version in [version for each, each_kind, version in PAIRS if (each, each_kind) == (name, kind)]:
        theirs = getattr(import_module(f"kio.schema.{snake(name)}.v{version}.{kind.lower()}"), name + kind)
        read, write = entity_reader(theirs), entity_writer(theirs)
        cls = message_class(name + kind)
        for seed in range(SEEDS):
            ours = random_message(cls, version, random.Random(f"{name}{kind}{version}{seed}"), sparse=seed % 2 == 1)
            data = codec.encode(ours, version)
            entity, size = read(data, 0)
            assert size == len(data), f"{name}{kind} v{version} seed {seed}"
            buffer = io.BytesIO()
            write(buffer, entity)
            assert buffer.getvalue() == data, f"{name}{kind} v{version} seed {seed}"

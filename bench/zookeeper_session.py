"""``python -m bench.zookeeper_session host:port,…``: what one session writes and reads a second on a real ZooKeeper.

A write is a multi as the controller makes one for one change: a check, two values set, a znode made and one deleted.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from dataclasses import replace

from engine.core.znodes.operations import Check, Create, Delete, Operation, SetData
from engine.zookeeper.config import ZooKeeperConfig
from engine.zookeeper.session import ZooKeeperSession

_WRITES = 3000
_ROUNDS = 3
_RING = 64
_BATCH = bytes(300)
_STATE = bytes(120)


def _change(number: int) -> list[Operation]:
    return [
        Check("/epoch", 0),
        SetData("/metadata", b"%020d" % number, number),
        Create(f"/log/{number + _RING:020}", _BATCH),
        SetData("/state", _STATE),
        Delete(f"/log/{number:020}"),
    ]


async def _with(config: ZooKeeperConfig, in_flight: int, count: int) -> tuple[float, list[float]]:
    """Multis a second, and how long each took (ms) from its submission."""
    session = ZooKeeperSession(replace(config, max_in_flight=in_flight))
    await session.connect()
    try:
        await session.multi(
            [Create("/epoch", b""), Create("/metadata", b""), Create("/state", b""), Create("/log", b"")]
        )
        await session.multi([Create(f"/log/{number:020}", _BATCH) for number in range(_RING)])
        took: list[float] = []

        async def lane(numbers: list[int]) -> None:
            for number in numbers:
                began = time.perf_counter()
                await session.multi(_change(number))
                took.append((time.perf_counter() - began) * 1000)

        began = time.perf_counter()
        if in_flight == 1:
            await lane(list(range(count)))
        else:
            await asyncio.gather(*(session.submit(_change(number)) for number in range(count)))
        rate = count / (time.perf_counter() - began)
        paths = [
            path for path in sorted(await session.read_tree(["/"]), reverse=True) if path not in ("/", "/zookeeper")
        ]
        await asyncio.gather(*(session.submit([Delete(path)]) for path in paths if not path.startswith("/zookeeper/")))
        return rate, took
    finally:
        await session.close()


async def _reads(config: ZooKeeperConfig) -> float:
    session = ZooKeeperSession(config)
    await session.connect()
    try:
        for first in range(0, 2000, 500):
            await session.multi([Create(f"/{number}", _BATCH) for number in range(first, first + 500)])
        began = time.perf_counter()
        tree = await session.read_tree(["/"])
        rate = len(tree) / (time.perf_counter() - began)
        await asyncio.gather(*(session.delete(f"/{number}") for number in range(2000)))
        return rate
    finally:
        await session.close()


async def main(connect: str) -> None:
    config = ZooKeeperConfig.of_connect(f"{connect}/kconsole-bench")
    for in_flight in (1, 10, 100):
        rates, took = [], list[float]()
        for _ in range(_ROUNDS):
            rate, each = await _with(config, in_flight, _WRITES if in_flight > 1 else _WRITES // 3)
            rates.append(rate)
            took += each
        latency = f", {statistics.median(took):.2f} ms each (median)" if took else ""
        rounds = " ".join(f"{rate:,.0f}" for rate in rates)
        print(
            f"{in_flight:3} in flight: {statistics.median(rates):,.0f} multis/s (rounds: {rounds}){latency}", flush=True
        )
    rates = [await _reads(config) for _ in range(_ROUNDS)]
    print(f"reading a tree: {statistics.median(rates):,.0f} znodes/s", flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))

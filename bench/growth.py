"""What a log's size costs: append rate, fetch latency at a random offset, memory and start after SIGKILL.

One broker's log grows, another broker's stays empty; they are measured in turn, sample by sample, so that what else the
machine does hits both, and figures are ratios. Reads are measured twice: with the pages that are read in memory, which
is the broker's own work, and with the log's pages thrown out of it, which is the disk's.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from bench.clusters import ROOT, free_port, wait_for
from engine.client.connection import Connection
from engine.client.errors import ClientError
from engine.wire.messages.fetch_request import FetchPartition, FetchRequest, FetchTopic
from engine.world.real import real_world

GIB = 1 << 30
TOPIC = "growth"
# Of thousands of partitions, none of which a sample is about: librdkafka itself slows down with those that it writes.
_MANY = "many"
_RECORDS_EACH = 10
_FETCH_VERSION = 12
_FETCH_BYTES = 16 << 10
# The smallest log has something to read.
_LEAST_BYTES = 64 << 20
_RECORD_BYTES = 10_000
_SAMPLE_RECORDS = 10_000
_START_TIMEOUT_S = 120.0
_SETTLE_TIMEOUT_S = 120.0
# The quorum of an idle broker appends now and then.
_IDLE_WRITES_A_SECOND = 10
_QUIET_SECONDS = 4

PROPERTIES = """
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller_port}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs={directory}/data
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
"""


class OneBroker:
    """A broker process with one topic, and a connection to it."""

    def __init__(self, directory: Path, durability: str) -> None:
        directory.mkdir(parents=True)
        self._directory = directory
        self.port = free_port()
        self.bootstrap = f"127.0.0.1:{self.port}"
        text = PROPERTIES.format(port=self.port, controller_port=free_port(), directory=directory)
        if durability == "fsync":
            text += "log.flush.interval.messages=1\n"
        (directory / "server.properties").write_text(text)
        self._world = real_world()
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None
        self.end_offset = 0
        self.many = 0

    @property
    def log_files(self) -> list[Path]:
        """Files of the first partition."""
        return sorted((self._directory / "data" / f"{TOPIC}-0").iterdir())

    async def start(self, *, is_new: bool = False) -> float:
        """Start it; seconds until it answers a fetch of the last record, and one of the last of many partitions."""
        began = time.perf_counter()
        self._spawn()
        while time.perf_counter() - began < _START_TIMEOUT_S:
            with contextlib.suppress(ClientError):
                if await self._serves(is_new):
                    return time.perf_counter() - began
            await asyncio.sleep(0.01)
        raise SystemExit(f"the broker does not serve within {_START_TIMEOUT_S:g} s: {self._directory}/broker.log")

    def _spawn(self) -> None:
        with (self._directory / "broker.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "engine.broker", "--properties", f"{self._directory}/server.properties"],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": str(ROOT), "MALLOC_ARENA_MAX": "2"},
            )

    async def _serves(self, is_new: bool) -> bool:
        if self._connection is None or self._connection.closed:
            self._connection = None
            self._connection = await Connection.open(
                self._world, "127.0.0.1", self.port, client_id="growth", timeout_ms=1000
            )
        if is_new:
            return True
        found = [await self.fetch(self.end_offset - 1)]
        if self.many:
            found.append(await self.fetch(_RECORDS_EACH - 1, self.many - 1, _MANY))
        return all(size and not error for error, size in found)

    async def fetch(self, offset: int, partition: int = 0, topic: str = TOPIC) -> tuple[int, int]:
        """Error code and bytes of one small fetch."""
        assert self._connection is not None
        part = FetchPartition(
            partition=partition, fetch_offset=offset, partition_max_bytes=_FETCH_BYTES, log_start_offset=-1
        )
        request = FetchRequest(
            max_wait_ms=0, min_bytes=0, max_bytes=_FETCH_BYTES, topics=[FetchTopic(topic, partitions=[part])]
        )
        answer: Any = await self._connection.send(request, version=_FETCH_VERSION, timeout_ms=30_000)
        (found,) = answer.responses[0].partitions
        return found.error_code, len(found.records or b"")

    def create_topic(self, topic: str = TOPIC, partitions: int = 1) -> None:
        """Make a topic."""
        admin = AdminClient({"bootstrap.servers": self.bootstrap})
        # Asked before the broker is registered, librdkafka hears of no controller, and waits for one for good.
        wait_for("the broker to be registered", lambda: admin.list_topics(timeout=10).brokers, 30)
        admin.create_topics([NewTopic(topic, partitions, 1)], request_timeout=120)[topic].result(120)

    def create_many(self, partitions: int) -> None:
        """A topic of so many partitions beside the other one, each with a few records."""
        self.create_topic(_MANY, partitions)
        self.append(partitions * _RECORDS_EACH, topic=_MANY, partitions=partitions)
        self.many = partitions

    def append(self, records: int, *, topic: str = TOPIC, partitions: int = 1) -> float:
        """Bytes a second that one producer gets acknowledged (acks=all), the partitions in turn."""
        producer = Producer(
            {
                "bootstrap.servers": self.bootstrap,
                "acks": "all",
                "linger.ms": 5,
                # The same everywhere: what a fetch finds at an offset is a whole batch.
                "batch.size": 65_536,
                "queue.buffering.max.kbytes": 256 << 10,
                "log_level": 0,
            }
        )
        producer.list_topics(topic, 30)
        value = random.randbytes(_RECORD_BYTES)
        began = time.perf_counter()
        for number in range(records):
            while True:
                try:
                    producer.produce(topic, value, partition=number % partitions)
                    break
                except BufferError:
                    producer.poll(0.01)
            producer.poll(0)
        if producer.flush(120):
            raise SystemExit("records were not acknowledged within two minutes")
        if topic == TOPIC:
            self.end_offset += records
        return records * _RECORD_BYTES / (time.perf_counter() - began)

    @property
    def size_bytes(self) -> int:
        """Of the first partition's records."""
        return sum(path.stat().st_size for path in self.log_files if path.suffix == ".log")

    def grow_to(self, size_bytes: int) -> None:
        """Append until the first partition is as large."""
        while (missing := size_bytes - self.size_bytes) > _RECORD_BYTES:
            self.append(min(100_000, missing // _RECORD_BYTES))

    def forget_pages(self) -> None:
        """Throw the first partition's pages out of memory; what was not written back stays."""
        os.sync()
        for path in self.log_files:
            fd = os.open(path, os.O_RDONLY)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(fd)

    @property
    def unsafe_mib(self) -> float:
        """What of the first partition a start after a SIGKILL now has to look through: it may not be on the device."""
        text = (self._directory / "data" / "recovery-point-offset-checkpoint").read_text()
        points = dict(line.rsplit(" ", 1) for line in text.splitlines()[2:])
        return (self.end_offset - int(points.get(f"{TOPIC} 0", 0))) * _RECORD_BYTES / (1 << 20)

    @property
    def rss_mib(self) -> float:
        """Of the process."""
        assert self._process is not None
        return float(psutil.Process(self._process.pid).memory_info().rss / (1 << 20))

    async def settle(self) -> None:
        """Wait until it hardly writes: after a start the new leader epochs of all partitions are saved."""
        assert self._process is not None
        process = psutil.Process(self._process.pid)
        deadline, before, quiet = time.perf_counter() + _SETTLE_TIMEOUT_S, 0, 0
        while quiet < _QUIET_SECONDS and time.perf_counter() < deadline:
            written = process.io_counters().write_count
            quiet = quiet + 1 if written - before < _IDLE_WRITES_A_SECOND else 0
            before = written
            await asyncio.sleep(1.0)

    def kill(self) -> None:
        """SIGKILL."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None


@dataclass(slots=True)
class Pairs:
    """Samples of the broker with the large log and of the empty one, taken in turn."""

    large: list[float] = field(default_factory=list)
    empty: list[float] = field(default_factory=list)

    @property
    def ratio(self) -> float:
        """Of the medians."""
        return statistics.median(self.large) / statistics.median(self.empty)


async def _in_turn(
    large: OneBroker, empty: OneBroker, count: int, sample: Callable[[OneBroker], Awaitable[float]]
) -> Pairs:
    pairs = Pairs()
    for number in range(count):
        for broker in (large, empty) if number % 2 else (empty, large):
            (pairs.large if broker is large else pairs.empty).append(await sample(broker))
    return pairs


async def _append(broker: OneBroker) -> float:
    os.sync()
    return await asyncio.to_thread(broker.append, _SAMPLE_RECORDS) / 1e6


async def _latency(broker: OneBroker, offsets: Sequence[int]) -> float:
    """Median of one fetch at each offset, in milliseconds."""
    times = []
    for offset in offsets:
        began = time.perf_counter()
        error, size = await broker.fetch(offset)
        times.append((time.perf_counter() - began) * 1000)
        if error or not size:
            raise SystemExit(f"offset {offset} cannot be fetched: error {error}, {size} bytes")
    return statistics.median(times)


def _offsets(broker: OneBroker, count: int, rng: random.Random) -> list[int]:
    return [rng.randrange(broker.end_offset) for _ in range(count)]


async def _warm(broker: OneBroker, rng: random.Random) -> float:
    offsets = _offsets(broker, 200, rng)
    await _latency(broker, offsets)
    return await _latency(broker, offsets)


async def _cold(broker: OneBroker, rng: random.Random) -> float:
    await asyncio.to_thread(broker.forget_pages)
    return await _latency(broker, _offsets(broker, 60, rng))


async def _restarts(broker: OneBroker, times: int) -> list[float]:
    """Seconds of each start after a SIGKILL; the first one comes right after what was appended last."""
    found = []
    for _ in range(times):
        broker.kill()
        found.append(await broker.start())
    return found


async def _measure(name: str, large: OneBroker, empty: OneBroker, pairs: int) -> str:
    unsafe_mib = large.unsafe_mib
    starts = await _restarts(large, 3)
    control = await _restarts(empty, 3)
    for each in (large, empty):
        await each.settle()
    rng = random.Random(1)
    append = await _in_turn(large, empty, pairs, _append)
    warm = await _in_turn(large, empty, pairs, lambda broker: _warm(broker, rng))
    cold = await _in_turn(large, empty, pairs, lambda broker: _cold(broker, rng))
    rss, rss_of_empty = large.rss_mib, empty.rss_mib
    return (
        f"{name}: append {statistics.median(append.large):.0f} MB/s, ratio {append.ratio:.2f}; "
        f"fetch at a random offset {statistics.median(warm.large):.2f} ms, ratio {warm.ratio:.2f}, "
        f"from the disk {statistics.median(cold.large):.2f} ms, ratio {cold.ratio:.2f}; "
        f"RSS {rss:.0f} MiB, ratio {rss / rss_of_empty:.2f}; "
        f"start after SIGKILL {starts[0]:.2f} s after appends ({unsafe_mib:,.0f} MiB to recover), "
        f"{statistics.median(starts[1:]):.2f} s after none, "
        f"the empty log's {statistics.median(control):.2f} s"
    )


@contextlib.contextmanager
def _broker(directory: Path, durability: str) -> Iterator[OneBroker]:
    broker = OneBroker(directory, durability)
    try:
        yield broker
    finally:
        broker.kill()
        shutil.rmtree(directory)


async def _run(directory: Path, sizes_gib: Sequence[float], partitions: int, pairs: int, durability: str) -> None:
    with _broker(directory / "empty", durability) as empty:
        await empty.start(is_new=True)
        empty.create_topic()
        empty.grow_to(_LEAST_BYTES)
        with _broker(directory / "large", durability) as large:
            await large.start(is_new=True)
            large.create_topic()
            for size in sizes_gib:
                began = time.perf_counter()
                large.grow_to(max(_LEAST_BYTES, int(size * GIB)))
                print(f"  ({size:g} GiB: filled in {time.perf_counter() - began:.0f} s)", flush=True)
                print(await _measure(f"{size:g} GiB", large, empty, pairs), flush=True)
        if partitions:
            with _broker(directory / "many", durability) as many:
                await many.start(is_new=True)
                many.create_topic()
                many.grow_to(_LEAST_BYTES)
                many.create_many(partitions)
                print(await _measure(f"{partitions:,} partitions", many, empty, pairs), flush=True)


def measure(directory: Path, sizes_gib: Sequence[float], partitions: int, pairs: int, durability: str) -> None:
    """Print a line for each size, and one for so many partitions (none for 0)."""
    largest = max(sizes_gib, default=0) * GIB
    free = shutil.disk_usage(directory).free
    if largest * 1.2 + 4 * GIB > free:
        raise SystemExit(
            f"{directory} has {free / GIB:.0f} GiB left, a log of {largest / GIB:g} GiB takes more: "
            "choose others by --sizes, or another place by TMPDIR"
        )
    asyncio.run(_run(directory, sizes_gib, partitions, pairs, durability))

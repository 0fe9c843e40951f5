"""The outside of one simulated process: its clock, its randomness, its machine's disk, its end of the network."""

from __future__ import annotations

import random
from collections.abc import Iterable

from engine.sim.disk import SimDisk
from engine.sim.loop import Incarnation, SimLoop
from engine.sim.network import Fabric, NodeNetwork
from engine.world import Clock, Disk, Network, Random

# Wall time at the beginning of every simulation: 2026-01-01T00:00:00Z.
EPOCH_MS = 1_767_225_600_000


class SimClock:
    """Virtual time. The wall clock may be set wrong (``skew_ms``) and drift; durations are right."""

    __slots__ = ("_drift_from_s", "_drift_rate", "_loop", "_start_s", "skew_ms")

    def __init__(self, loop: SimLoop, start_s: float) -> None:
        self._loop = loop
        self._start_s = start_s
        self._drift_from_s = start_s
        self._drift_rate = 0.0
        self.skew_ms = 0

    def drift(self, rate: float) -> None:
        """The wall clock gains ``rate`` seconds a second from now on, on top of what it has gained."""
        now_s = self._loop.time()
        self.skew_ms += int((now_s - self._drift_from_s) * self._drift_rate * 1000)
        self._drift_from_s, self._drift_rate = now_s, rate

    def set_right(self) -> None:
        """The wall clock is right again, and stays so."""
        self._drift_rate = 0.0
        self.skew_ms = 0

    def now_ms(self) -> int:
        now_s = self._loop.time()
        now_ms = EPOCH_MS + int((now_s - self._start_s) * 1000) + self.skew_ms
        return now_ms + int((now_s - self._drift_from_s) * self._drift_rate * 1000) if self._drift_rate else now_ms

    def monotonic_ms(self) -> float:
        return self._loop.time() * 1000

    def monotonic_ns(self) -> int:
        return int(self._loop.time() * 1e9)


class SimRandom:
    """Randomness from the seed."""

    __slots__ = ("_rng",)

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    def uuid(self) -> bytes:
        raw = bytearray(self._rng.randbytes(16))
        raw[6] = (raw[6] & 0x0F) | 0x40
        raw[8] = (raw[8] & 0x3F) | 0x80
        # As engine.world.real: no id begins with a dash in base64.
        if raw[0] >> 2 == 62:
            raw[0] &= 0x7F
        return bytes(raw)

    def randint(self, low: int, high: int) -> int:
        return self._rng.randint(low, high)

    def random(self) -> float:
        return self._rng.random()


class SimWorld:
    """engine.world.World for one life of one process."""

    __slots__ = ("clock", "disk", "network", "random")

    def __init__(
        self, fabric: Fabric, incarnation: Incarnation, clock: SimClock, disk: SimDisk, rng: random.Random
    ) -> None:
        self.clock: Clock = clock
        self.random: Random = SimRandom(rng)
        self.disk: Disk = disk
        self.network: Network = NodeNetwork(fabric, incarnation)

    def environment(self) -> Iterable[tuple[str, str]]:
        return ()

"""Producing to one topic at a rate: what each record is, when it is due, and what came of it. Pure."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import NamedTuple

from console.viewmodel import text
from console.viewmodel.outgoing import Outgoing

DEFAULT_TEMPLATE = '{"number": $n, "at": $t, "key": "$k"}'
TEMPLATE_HELP = "$n: number · $t: time in ms · $k: key · $r: random number · $$: $"
_FIELD = re.compile(r"\$([ntkr$])")
# Latencies are counted in classes that are so much apart: percentiles are right to half of it.
_RATIO = 1.02
_LOG = math.log(_RATIO)


class Keys(StrEnum):
    """How keys are chosen among ``key-0`` … ``key-(n-1)``."""

    NONE = "none"
    ROUND = "in turn"
    UNIFORM = "uniform"
    # The k-th of them comes about 1/k as often as the first.
    SKEWED = "skewed"


class LoadError(Exception):
    """It cannot be done; the message says what to change."""


class LoadWish(NamedTuple):
    """``rate`` records a second for ``seconds``; ``size_bytes`` fills values up with blanks, so that JSON stays JSON.
    An empty template is random bytes."""

    topic: str
    rate: int
    seconds: float
    template: str = DEFAULT_TEMPLATE
    size_bytes: int = 0
    keys: Keys = Keys.UNIFORM
    distinct: int = 100
    acks: str = "all"

    @property
    def total(self) -> int:
        """How many records."""
        return round(self.rate * self.seconds)


def check_wish(wish: LoadWish) -> None:
    """Raises: LoadError."""
    if wish.topic.startswith("__"):
        raise LoadError(f"{wish.topic} belongs to Kafka itself: name another topic")
    if not 1 <= wish.rate <= 1_000_000:
        raise LoadError("rate: records a second, from 1 to 1,000,000")
    if not 0 < wish.seconds <= 86_400:
        raise LoadError("seconds: how long, up to a day")
    if wish.total < 1:
        raise LoadError("that is less than one record: a higher rate, or longer")
    if not 0 <= wish.size_bytes <= 1 << 20:
        raise LoadError("size: bytes of a value, up to 1 MiB")
    if not wish.template and not wish.size_bytes:
        raise LoadError("value: a template, or a size for random bytes")
    if not 1 <= wish.distinct <= 10_000_000:
        raise LoadError("keys: how many different ones, from 1 to 10,000,000")


def record_of(wish: LoadWish, number: int, now_ms: int, random: Callable[[], float]) -> Outgoing:
    """The record of a number, from 0 on. ``random()`` is at least 0 and less than 1."""
    key = _key(wish, number, random)
    if not wish.template:
        value = b"".join(int(random() * 2**32).to_bytes(4, "big") for _ in range(-(-wish.size_bytes // 4)))
        return Outgoing(wish.topic, key, value[: wish.size_bytes])
    named = {"n": str(number), "t": str(now_ms), "k": (key or b"").decode(), "$": "$"}

    def field(found: re.Match[str]) -> str:
        return str(int(random() * 2**31)) if found[1] == "r" else named[found[1]]

    return Outgoing(wish.topic, key, _FIELD.sub(field, wish.template).encode().ljust(wish.size_bytes))


def _key(wish: LoadWish, number: int, random: Callable[[], float]) -> bytes | None:
    if wish.keys is Keys.NONE:
        return None
    if wish.keys is Keys.ROUND:
        return b"key-%d" % (number % wish.distinct)
    if wish.keys is Keys.UNIFORM:
        return b"key-%d" % int(random() * wish.distinct)
    return b"key-%d" % min(wish.distinct - 1, int((wish.distinct + 1) ** random()) - 1)


class Latencies:
    """Counts in classes: any number of them takes the same room."""

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}
        self.number = 0
        self.highest_ms = 0.0

    def add(self, latencies_ms: Iterable[float]) -> None:
        """Count some."""
        for each in latencies_ms:
            at = round(math.log(max(each, 0.001)) / _LOG)
            self._counts[at] = self._counts.get(at, 0) + 1
            self.number += 1
            self.highest_ms = max(self.highest_ms, each)

    def percentile_ms(self, percent: float) -> float | None:
        """The latency that so many were no higher than, to one per cent; ``None`` of nothing."""
        wanted, seen = max(1, math.ceil(self.number * percent / 100)), 0
        for at in sorted(self._counts):
            seen += self._counts[at]
            if seen >= wanted:
                return min(self.highest_ms, math.exp(at * _LOG))
        return None

    @property
    def words(self) -> str:
        """``p50 1.2 ms, p90 3 ms, p99 8 ms, p99.9 20 ms, max 31 ms``."""
        named = [(f"p{percent:g}", self.percentile_ms(percent)) for percent in (50, 90, 99, 99.9)]
        return ", ".join(f"{name} {text.milliseconds(value)}" for name, value in [*named, ("max", self._max)])

    @property
    def _max(self) -> float | None:
        return self.highest_ms if self.number else None


class LoadResult(NamedTuple):
    """What came of it; ``seconds`` from the first record to the last acknowledgement."""

    wish: LoadWish
    sent: int
    acknowledged: int
    size_bytes: int
    seconds: float
    latencies: Latencies
    given_up: bool = False

    @property
    def rate(self) -> float:
        """Acknowledged records a second."""
        return self.acknowledged / self.seconds if self.seconds else 0.0

    @property
    def words(self) -> str:
        """In one sentence."""
        said = f"{text.plural(self.acknowledged, 'record')} in {self.seconds:.1f} s: {text.per_second(self.rate)}"
        said += f", {text.rate(self.size_bytes / self.seconds if self.seconds else 0.0)}"
        if self.latencies.number:
            said += f", acks={self.wish.acks} after {self.latencies.words}"
        if self.given_up:
            return f"stopped: {said}"
        # A rate that is not reached is told: latencies of records that wait their turn are not in the percentiles.
        return f"{said}; {self.wish.rate:,}/s were wanted" if self.rate < 0.95 * self.wish.rate else said


def perf_command(bootstrap: str, wish: LoadWish, size_bytes: int) -> str:
    """kafka-producer-perf-test.sh: as many records, as large, as fast; its values are random."""
    words = ["--topic", wish.topic, "--num-records", str(wish.total), "--throughput", str(wish.rate)]
    words += ["--record-size", str(max(1, size_bytes)), "--command-property", f"acks={wish.acks}"]
    server = bootstrap.split(",")[0] or "localhost:9092"
    return " ".join(["kafka-producer-perf-test.sh", "--bootstrap-server", server, *map(shlex.quote, words)])


def due_at(wish: LoadWish, elapsed_s: float) -> int:
    """How many records should have been sent by then."""
    return min(wish.total, int(elapsed_s * wish.rate) + 1)

"""Producing to a topic at a rate, until it is over or given up."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from console.gateway.bulk_protocol import SenderOptions
from console.record_copying import Stop, Stopped
from console.viewmodel import text
from console.viewmodel.load_run import Latencies, LoadResult, LoadWish, due_at, record_of

if TYPE_CHECKING:
    from console.gateway import Gateway

_TICK_MS = 5.0
# So many are made and sent at once; where it is behind, it does not try to catch up in one burst.
_PORTION = 1_000
_TOLD_S = 0.25


class LoadProgress(NamedTuple):
    """How far it is."""

    acknowledged: int
    seconds: float
    latencies: Latencies

    def words(self, wish: LoadWish) -> str:
        """For the lower edge."""
        rate = self.acknowledged / self.seconds if self.seconds else 0.0
        p99 = text.milliseconds(self.latencies.percentile_ms(99))
        return f"{self.acknowledged:,} of {wish.total:,} acknowledged, {text.per_second(rate)}, p99 {p99}"


async def run_load(
    gateway: Gateway, wish: LoadWish, stop: Stop, progress: Callable[[LoadProgress], None]
) -> LoadResult:
    """Raises: GatewayError: there is no such topic, or a record was not delivered; the message says after how many."""
    from console.gateway.protocol import GatewayError

    await gateway.bulk.partition_count(wish.topic)
    sender = await gateway.bulk.sender(SenderOptions(acks=wish.acks))
    latencies = Latencies()
    size_bytes, given_up, told_at = 0, False, 0.0
    began = time.monotonic()
    try:
        try:
            while sender.sent < wish.total:
                elapsed = time.monotonic() - began
                number = min(_PORTION, due_at(wish, elapsed) - sender.sent)
                if number > 0:
                    now_ms = time.time_ns() // 1_000_000
                    records = [record_of(wish, sender.sent + each, now_ms, random.random) for each in range(number)]
                    size_bytes += sum(len(each.key or b"") + len(each.value or b"") for each in records)
                    await sender.send(records)
                if elapsed > wish.seconds:
                    # But for this last portion, what could not be sent in its time is not sent afterwards.
                    break
                if elapsed - told_at >= _TOLD_S:
                    told_at = elapsed
                    latencies.add(sender.latencies_ms())
                    progress(LoadProgress(sender.acknowledged, elapsed, latencies))
                await stop.sleep(_TICK_MS)
        except Stopped:
            given_up = True
        await sender.flush()
        seconds = time.monotonic() - began
    except GatewayError as error:
        done = text.plural(sender.acknowledged, "record")
        raise GatewayError(f"{error}; {done} were acknowledged before") from error
    finally:
        await sender.close()
    latencies.add(sender.latencies_ms())
    return LoadResult(wish, sender.sent, sender.acknowledged, size_bytes, seconds, latencies, given_up)

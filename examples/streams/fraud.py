"""Suspects customers who pay often within a short time, by a processor with a store and a punctuator.

kconsole streams run examples.streams.fraud:topology --set processing.guarantee=exactly_once_v2
"""

from __future__ import annotations

from typing import Any

from engine.streams import (
    STREAM_TIME,
    Consumed,
    Processor,
    ProcessorContext,
    Produced,
    Record,
    Serdes,
    Stores,
    StreamsBuilder,
    Topology,
)

TEXT, JSON = Serdes.string(), Serdes.json()
WITHIN_MS = 60_000
ALLOWED = 3
STORE = "recent-payments"


class Watch(Processor[str, dict[str, Any], str, dict[str, Any]]):
    """Keeps the times of each customer's last payments; tells of one that is too many, and forgets what is old."""

    def init(self, context: ProcessorContext) -> None:
        """Old payments are forgotten once in ``WITHIN_MS`` of the records' time."""
        super().init(context)
        self._recent = context.get_state_store(STORE)
        context.schedule(WITHIN_MS, STREAM_TIME, self._forget)

    def process(self, record: Record[str, dict[str, Any]]) -> None:
        """One payment."""
        if record.key is None or record.value is None:
            return
        since = record.timestamp - WITHIN_MS
        times = [each for each in self._recent.get(record.key) or [] if each > since]
        times.append(record.timestamp)
        self._recent.put(record.key, times)
        if len(times) > ALLOWED:
            suspicion = {"payments": len(times), "within_ms": max(times) - min(times), "last": record.value}
            self.context.forward(Record(record.key, suspicion, record.timestamp))

    def _forget(self, now_ms: int) -> None:
        old = [key for key, times in self._recent.all() if max(times) <= now_ms - WITHIN_MS]
        for key in old:
            self._recent.delete(key)


def topology() -> Topology:
    """``payments`` -> ``suspicions``."""
    builder = StreamsBuilder()
    builder.add_state_store(Stores.key_value(STORE, TEXT, JSON))
    payments = builder.stream("payments", Consumed(key_serde=TEXT, value_serde=JSON))
    payments.process(Watch, [STORE], "watch").to("suspicions", Produced(key_serde=TEXT, value_serde=JSON))
    return builder.build()

"""Where an input without a usable offset begins (``auto.offset.reset``)."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, TopicPartition

from engine.streams.errors import StreamsError
from engine.streams.runtime.clients import Partition
from engine.streams.runtime.config import RESET_BY_DURATION, StreamsConfig
from engine.streams.topology import SourceSpec, Topology


class OffsetReset:
    """The policies of an application's topics."""

    def __init__(self, topology: Topology, config: StreamsConfig) -> None:
        self._policies: dict[str, str] = {}
        for spec in topology.nodes.values():
            if isinstance(spec, SourceSpec):
                policy = spec.offset_reset or config["auto.offset.reset"]
                for topic in spec.topics:
                    # Repartition topics are the application's own: from their beginning, always.
                    mine = topic in topology.internal_topics
                    self._policies[topology.topic_name(topic, config.application_id)] = "earliest" if mine else policy

    def policy(self, topic: str) -> str:
        """``earliest``, ``latest``, ``none`` or ``by_duration:…``."""
        return self._policies[topic]

    def begin(self, consumer: Any, at: Partition, committed: int | None) -> int:
        """The offset to begin at: the committed one, or as :meth:`begin_anew` says."""
        return self.begin_anew(consumer, at, "no offset is committed") if committed is None else committed

    def begin_anew(self, consumer: Any, at: Partition, why: str) -> int:
        """The offset to begin at by the topic's policy.

        Raises:
            StreamsError: the policy is ``none``; the message says ``why`` one is needed.
        """
        policy = self._policies[at[0]]
        if policy == "earliest":
            return int(OFFSET_BEGINNING)
        if policy == "latest":
            return int(OFFSET_END)
        found = RESET_BY_DURATION.fullmatch(policy)
        if found is not None:
            days, hours, minutes, seconds = (float(each or 0) for each in found.groups())
            back = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
            time_ms = time.time_ns() // 1_000_000 - int(back.total_seconds() * 1000)
            (answer,) = consumer.offsets_for_times([TopicPartition(*at, time_ms)], timeout=10)
            return int(answer.offset)
        raise StreamsError(
            f"{at[0]}-{at[1]}: {why}, and auto.offset.reset is {policy}: commit one "
            "(kafka-consumer-groups.sh --reset-offsets), or set earliest or latest"
        )

"""Counts the words in what the workload's website writes, its clicks.

kconsole streams run examples.streams.word_count:topology --workers 2
"""

from __future__ import annotations

import re

from engine.streams import Consumed, Grouped, Materialized, Produced, Serdes, StreamsBuilder, Topology

TEXT, LONG = Serdes.string(), Serdes.long()


def topology(lines: str = "clicks") -> Topology:
    """``lines``, a topic of texts -> words -> how often each was there, in the store ``counts`` and ``word-counts``."""
    builder = StreamsBuilder()
    words = builder.stream(lines, Consumed(key_serde=TEXT, value_serde=TEXT)).flat_map_values(words_of)
    counts = words.group_by(lambda _, word: word, Grouped(key_serde=TEXT, value_serde=TEXT)).count(
        Materialized("counts", key_serde=TEXT)
    )
    counts.to_stream().to("word-counts", Produced(key_serde=TEXT, value_serde=LONG))
    return builder.build()


def words_of(line: str) -> list[str]:
    """Words, in small letters; numbers are none."""
    return re.findall(r"[^\W\d_]+", line.lower())

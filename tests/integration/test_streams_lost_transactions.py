"""Transactions that are lost before and after their commit, members that are given up, stores that miss a commit, at
random: each update of a count is there once. For ``make streams-exactly-once``, which takes other seeds each time."""

from __future__ import annotations

import os
import random
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from engine.streams import Consumed, Grouped, Materialized, Produced, Serdes, StreamsBuilder
from engine.streams.runtime.output import Output, TransactionLost
from engine.streams.stores.buffered import BufferedEngine
from engine.streams.task import StreamTask
from engine.testing.cluster import KafkaCluster
from tests.integration.raw_client import wait_until
from tests.integration.test_streams_worker_faults import Running
from tests.integration.test_streams_workers import GROUP_CONFIGS

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(120),
    pytest.mark.skipif(
        int(os.environ.get("KCONSOLE_STREAMS_RECORDS", "0")) <= 20_000, reason="make streams-exactly-once"
    ),
]

RECORDS = 6_000
SEED = int(os.environ.get("KCONSOLE_STREAMS_SEED", time.time_ns() % 1_000_000))
TEXT, LONG = Serdes.string(), Serdes.long()


@pytest.mark.parametrize("protocol", ["streams", "classic"])
@pytest.mark.parametrize("engine", ["sqlite", "rocksDB", "in_memory"])
def test_each_update_is_there_once_whatever_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, protocol: str, engine: str
) -> None:
    rng = random.Random(f"{SEED} {protocol} {engine}")
    builder = StreamsBuilder()
    source = builder.stream("in", Consumed(key_serde=TEXT, value_serde=TEXT))
    counts = source.group_by(lambda key, _: key, Grouped(key_serde=TEXT, value_serde=TEXT)).count(
        Materialized("counts")
    )
    counts.to_stream().to("out", Produced(key_serde=TEXT, value_serde=LONG))
    injected: Counter[str] = Counter()
    commit_transaction, store_commit = Output.commit_transaction, StreamTask.committed

    def lose(what: str) -> None:
        injected[what] += 1
        raise TransactionLost(what)

    def commit(self: Output, *given: Any) -> None:
        chance = rng.random()
        if chance < 0.08:
            lose("before its commit")
        commit_transaction(self, *given)
        if chance < 0.16:
            lose("after its commit, as if nobody had answered")
        if chance < 0.2:
            injected["a member that is given up"] += 1
            run.worker.membership.abandon("injected")

    def committed(self: StreamTask, *given: Any) -> None:
        if rng.random() < 0.01:
            lose("before a store's commit")
        store_commit(self, *given)

    # Stores write into their open transactions long before these are committed.
    monkeypatch.setitem(BufferedEngine.__init__.__kwdefaults__, "stage_at", 3)
    monkeypatch.setattr(Output, "commit_transaction", commit)
    monkeypatch.setattr(StreamTask, "committed", committed)
    configs = {**GROUP_CONFIGS, "group.initial.rebalance.delay.ms": 0}
    settings = {
        "application_id": "lost",
        "commit_interval_ms": 20,
        "default_dsl_store": engine,
        "group_protocol": protocol,
        "heartbeat_interval_ms": 100,
        "processing_guarantee": "exactly_once_v2",
        "session_timeout_ms": 2000,
    }
    with (
        KafkaCluster(1, configs=configs, topics={"in": 2, "out": 1}) as cluster,
        Running(cluster, builder.build(), tmp_path, **settings) as run,
    ):
        producer = Producer({"bootstrap.servers": cluster.bootstrap_servers, "log_level": 0})
        wanted: Counter[str] = Counter()
        for number in range(RECORDS):
            key = f"k{rng.randrange(30)}"
            wanted[key] += 1
            producer.produce("in", str(number), key, number % 2)
            if number % 60 == 0:
                producer.flush(10)
                time.sleep(0.05)
        assert producer.flush(10) == 0
        reading = {"bootstrap.servers": cluster.bootstrap_servers, "group.id": "nobody", "log_level": 0}
        consumer = Consumer({**reading, "isolation.level": "read_committed"})
        consumer.assign([TopicPartition("out", 0, 0)])
        found: dict[str, list[int]] = defaultdict(list)

        def read() -> bool:
            for each in consumer.consume(1000, 0.1):
                if each.error() is None:
                    found[each.key().decode()].append(int.from_bytes(each.value(), "big"))
            return sum(map(len, found.values())) >= RECORDS

        wait_until("all updates", read, 60)
        read()
        consumer.close()
    print(f"KCONSOLE_STREAMS_SEED={SEED} {protocol} {engine}: {dict(injected)}")
    assert {key: list(range(1, count + 1)) for key, count in wanted.items()} == found, f"KCONSOLE_STREAMS_SEED={SEED}"

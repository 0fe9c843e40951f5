"""Metrics: their names, that stale figures are absent, and that Prometheus' own parser reads what is served."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from console.metrics_command import SnapshotCollector
from console.viewmodel.metrics import STALE_AFTER_MS, LastAnswers, families
from engine.supervisor.snapshot import ClusterSnapshot, GroupOffset
from tests.console.sample_snapshots import START_MS, kill_in, sample_cluster

DOCS = Path(__file__).resolve().parents[3] / "docs" / "scripting.md"


def told(
    snapshot: ClusterSnapshot | None, now_ms: int = START_MS, answered: Mapping[int, int] | None = None
) -> dict[str, float]:
    """Each line as Prometheus shows it."""
    return {
        family.name + ("{" + ",".join(labels) + "}" if labels else ""): value
        for family in families(snapshot, now_ms, answered)
        for labels, value in family.samples
        if value is not None
    }


def whole() -> ClusterSnapshot:
    return replace(sample_cluster(), processes_observed_at_ms=START_MS)


def test_a_healthy_cluster_in_figures() -> None:
    lines = told(whole(), START_MS + 500)
    assert lines["kafka_brokers"] == 3 and lines["kafka_brokers_down"] == 0
    assert lines["kafka_broker_up{2}"] == 1
    assert lines["kafka_active_controllers"] == 1
    assert lines["kafka_process_resident_memory_bytes{1}"] == 61_700_000
    assert round(lines["kafka_process_cpu_ratio{1}"], 6) == 0.031
    assert lines["kafka_partition_in_sync_replicas{orders,5}"] == 3
    assert lines["kconsole_metadata_age_seconds"] == 0.5
    group = whole().groups[0]
    assert lines[f"kafka_group_lag_sum{{{group.group_id}}}"] == group.total_lag


def test_a_killed_broker_leaves_no_rates_and_its_age_grows() -> None:
    answers = LastAnswers()
    answers.take(whole())
    dead = replace(kill_in(whole(), 2), at_ms=START_MS + 4_000, processes_observed_at_ms=START_MS + 4_000)
    answers.take(dead)
    lines = told(dead, START_MS + 4_000, answers.at_ms)
    assert lines["kafka_broker_up{2}"] == 0 and lines["kafka_process_up{2}"] == 0
    assert lines["kafka_brokers_down"] == 1 and lines["kafka_under_replicated_partitions"] > 0
    assert lines["kconsole_broker_age_seconds{2}"] == 4.0
    for name in ("kafka_broker_produce_bytes_per_second", "kafka_broker_log_bytes"):
        assert f"{name}{{2}}" not in lines and f"{name}{{1}}" in lines


def test_what_is_stale_is_absent_and_ages_are_there_all_the_same() -> None:
    last = told(whole(), START_MS + STALE_AFTER_MS)
    assert "kafka_offline_partitions" in last and last["kconsole_cluster_reachable"] == 1
    late = told(whole(), START_MS + STALE_AFTER_MS + 1, {1: START_MS})
    assert {re.sub(r"\{.*", "", name) for name in late} == {
        "kconsole_cluster_reachable",
        "kconsole_metadata_age_seconds",
        "kconsole_broker_age_seconds",
        "kconsole_group_age_seconds",
    }
    assert late["kconsole_cluster_reachable"] == 0
    assert told(None) == {"kconsole_cluster_reachable": 0}


def test_a_groups_lag_is_absent_where_its_log_end_is_old_and_so_is_the_sum() -> None:
    snapshot, now_ms = whole(), START_MS + STALE_AFTER_MS + 1
    fresh = replace(
        snapshot,
        metadata_observed_at_ms=now_ms,
        groups=tuple(replace(each, observed_at_ms=now_ms) for each in snapshot.groups),
        topics=tuple(
            replace(
                topic,
                partitions=tuple(
                    each if each.partition == 0 else replace(each, observed_at_ms=now_ms) for each in topic.partitions
                ),
            )
            for topic in snapshot.topics
        ),
    )
    group = fresh.groups[0]
    topic = group.offsets[0].topic
    lines = told(fresh, now_ms)
    assert f"kafka_group_lag{{{group.group_id},{topic},0}}" not in lines
    assert f"kafka_group_lag{{{group.group_id},{topic},1}}" in lines
    assert f"kafka_group_lag_sum{{{group.group_id}}}" not in lines
    # A partition that nobody committed is no part of either.
    idle = replace(group, offsets=(GroupOffset(topic, 1, None, 10, None, None),), total_lag=None)
    lines = told(replace(fresh, groups=(idle,)), now_ms)
    assert not [name for name in lines if name.startswith("kafka_group_lag")]


def test_prometheus_reads_what_is_served_and_every_name_is_documented() -> None:
    collector = SnapshotCollector()
    now_ms = time.time_ns() // 1_000_000
    collector.take(replace(sample_cluster(now_ms), processes_observed_at_ms=now_ms))
    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)
    found = {each.name: each for each in text_string_to_metric_families(generate_latest(registry).decode())}
    names = {f"{name}_total" if each.type == "counter" else name for name, each in found.items()}
    assert all(re.fullmatch(r"(kafka|kconsole)_[a-z_]+", name) for name in names)
    assert names == set(re.findall(r"^\| `((?:kafka|kconsole)_\w+)`", DOCS.read_text(), re.MULTILINE))
    assert {frozenset(each.labels) for each in found["kafka_group_lag"].samples} == {
        frozenset({"group", "topic", "partition"})
    }

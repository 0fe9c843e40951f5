"""The pytest plugin in projects of others: fixtures, markers, options, faults that are undone, workers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from test_readme_example import run_pytest

pytestmark = pytest.mark.integration


def test_markers_and_options_shape_the_clusters(tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\nkafka_brokers = 2\nkafka_configs =\n    num.partitions = 7\n")
    (tmp_path / "test_it.py").write_text("""
import pytest

def test_options(kafka_cluster):
    assert len(kafka_cluster.brokers) == 4
    kafka_cluster.create_topic("seven", partitions=-1)
    assert kafka_cluster.topics()["seven"] == 7

@pytest.mark.kafka_cluster(brokers=4)
def test_needs_four(kafka_cluster):
    assert len(kafka_cluster.brokers) == 4

def test_fresh(fresh_kafka_cluster, kafka_cluster):
    assert len(fresh_kafka_cluster.brokers) == 2
    assert fresh_kafka_cluster.bootstrap_servers != kafka_cluster.bootstrap_servers
    assert fresh_kafka_cluster.topics() == {}

@pytest.mark.kafka_cluster(brokers=1, configs={"num.partitions": 5})
def test_fresh_marked(fresh_kafka_cluster):
    assert len(fresh_kafka_cluster.brokers) == 1
    fresh_kafka_cluster.create_topic("five", partitions=-1)
    assert fresh_kafka_cluster.topics() == {"five": 5}

@pytest.mark.kafka_topic(partitions=3, replication_factor=1)
@pytest.mark.parametrize("odd", ["a/b c", "é" * 300])
def test_topic(kafka_cluster, kafka_topic, odd):
    assert kafka_cluster.topics()[kafka_topic] == 3
    assert len(kafka_cluster.isr(kafka_topic, 2)) == 1
""")
    assert "6 passed" in run_pytest(tmp_path, "--strict-markers")
    assert "1 passed" in run_pytest(tmp_path, "-k", "needs_four", "--kafka-brokers", "1", "--kafka-config", "a.b=c")


def test_what_a_test_broke_is_mended_before_the_next(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text("""
import pytest

@pytest.mark.parametrize("fault", ["kill", "pause", "stop", "isolate"])
def test_breaks(kafka_cluster, kafka_topic, fault):
    assert not kafka_cluster.is_disturbed
    assert list(kafka_cluster.topics()) == [kafka_topic]
    assert len(kafka_cluster.isr(kafka_topic)) == 3
    getattr(kafka_cluster, fault)(2)

def test_all_die(kafka_cluster):
    kafka_cluster.kill(1, 2, 3)

def test_sound(kafka_cluster):
    assert not kafka_cluster.is_disturbed and kafka_cluster.topics() == {}
""")
    assert "6 passed" in run_pytest(tmp_path)


def test_each_worker_has_its_own_cluster(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(f"""
import pathlib, pytest

@pytest.mark.parametrize("number", range(4))
def test_it(kafka_cluster, kafka_topic, number, worker_id):
    pathlib.Path({str(tmp_path)!r}, "seen-" + worker_id).write_text(kafka_cluster.bootstrap_servers)
""")
    assert "4 passed" in run_pytest(tmp_path, "-n", "2")
    seen = [each.read_text().split(",") for each in tmp_path.glob("seen-gw*")]
    assert len(seen) == 2 and not set(seen[0]) & set(seen[1])


@pytest.mark.parametrize(
    ("marker", "complaint"),
    [
        ("kafka_cluster(nodes=3)", "takes only brokers, configs, by name"),
        ("kafka_cluster(configs={'num.partitions': 3})", "configs are for fresh_kafka_cluster"),
    ],
)
def test_a_marker_that_would_do_nothing_is_an_error(tmp_path: Path, marker: str, complaint: str) -> None:
    (tmp_path / "test_it.py").write_text(f"""
import pytest

@pytest.mark.{marker}
def test_it(kafka_cluster):
    pass
""")
    with pytest.raises(AssertionError, match=complaint):
        run_pytest(tmp_path)


def test_the_plugin_costs_a_run_without_fixtures_nothing(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text("""
import sys

def test_it():
    assert [each for each in sys.modules if each.startswith("engine.") and "testing" not in each] == []
""")
    assert "1 passed" in run_pytest(tmp_path)


def test_pytest_leaves_the_engines_assertions_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text("""
from engine.testing import KafkaCluster
import engine.broker.broker as broker

def test_it():
    assert KafkaCluster.__name__ == "KafkaCluster"
    assert "rewrite" not in type(broker.__loader__).__module__
""")
    assert "1 passed" in run_pytest(tmp_path)


def test_a_process_that_does_not_close_its_cluster_ends_and_leaves_no_files() -> None:
    script = """
from engine.testing import KafkaCluster
cluster = KafkaCluster(1)
cluster.start()
print(cluster.data_dir)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert not Path(done.stdout.strip()).exists()


def test_a_forked_child_takes_nothing_from_its_parent() -> None:
    script = """
import os, sys
from pathlib import Path
from engine.testing import KafkaCluster
with KafkaCluster(1) as cluster:
    if os.fork() == 0:
        cluster.close()
        sys.exit(0)
    os.wait()
    cluster.create_topic("still-there")
    assert Path(cluster.data_dir).exists()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr

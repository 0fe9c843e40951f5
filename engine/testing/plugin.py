"""The pytest plugin: Kafka clusters as fixtures. docs/testing.md tells how to use it.

pytest loads this into every run of every project that has kconsole installed, so nothing of the engine is imported
before a fixture is asked for.
"""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from engine.testing.cluster import KafkaCluster

_MARKERS = (
    "kafka_cluster(brokers=N, configs={...}): the test needs N brokers: kafka_cluster has at least as many, "
    "fresh_kafka_cluster exactly. configs are for fresh_kafka_cluster only.",
    "kafka_topic(partitions=1, replication_factor=-1, configs={...}): what the test's kafka_topic is like.",
)
# Kafka takes up to 249 characters; the rest is for the number.
_MAX_NAME = 230

_shared: pytest.StashKey[KafkaCluster] = pytest.StashKey()
_numbers = itertools.count(1)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Size and configs of the clusters."""
    group = parser.getgroup("kafka", "Kafka clusters in this process (kconsole)")
    group.addoption("--kafka-brokers", type=int, metavar="N", help="brokers of a cluster (default: kafka_brokers, 3)")
    group.addoption(
        "--kafka-config",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a config of every broker, on top of kafka_configs; may be given more than once",
    )
    parser.addini("kafka_brokers", "brokers of a cluster", default="3")
    parser.addini("kafka_configs", "configs of every broker, one NAME=VALUE a line", type="linelist", default=[])


def pytest_configure(config: pytest.Config) -> None:
    """The markers."""
    for marker in _MARKERS:
        config.addinivalue_line("markers", marker)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """A marker that would do nothing is a mistake."""
    marked = _marked(item, "kafka_cluster", "brokers", "configs")
    if "configs" in marked and "fresh_kafka_cluster" not in getattr(item, "fixturenames", ()):
        raise pytest.UsageError(
            f"{item.nodeid}: configs are for fresh_kafka_cluster; all tests share kafka_cluster, see --kafka-config"
        )


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    """When all that belongs to a test is gone, undo what it did to the cluster that all tests share."""
    yield
    cluster = item.config.stash.get(_shared, None)
    if cluster is not None and cluster.is_disturbed:
        cluster.restore()


def _brokers(config: pytest.Config) -> int:
    given = config.getoption("--kafka-brokers")
    text = config.getini("kafka_brokers") if given is None else given
    try:
        return int(text)
    except ValueError:
        raise pytest.UsageError(f"kafka_brokers is a number, not {text!r}") from None


def _configs(config: pytest.Config) -> dict[str, str]:
    configs: dict[str, str] = {}
    for line in [*config.getini("kafka_configs"), *config.getoption("--kafka-config")]:
        name, equals, value = line.partition("=")
        if not equals:
            raise pytest.UsageError(f"a Kafka config is NAME=VALUE, not {line!r}")
        configs[name.strip()] = value.strip()
    return configs


def _marked(item: Any, marker: str, *allowed: str) -> dict[str, Any]:
    """The arguments of the test's closest marker."""
    found = item.get_closest_marker(marker)
    if found is None:
        return {}
    if found.args or set(found.kwargs) - set(allowed):
        raise pytest.UsageError(f"@pytest.mark.{marker} of {item.nodeid} takes only {', '.join(allowed)}, by name")
    return dict(found.kwargs)


@pytest.fixture(scope="session")
def kafka_cluster(request: pytest.FixtureRequest) -> Iterator[KafkaCluster]:
    """One cluster for all tests of this process. Faults are undone after each test, topics stay."""
    from engine.testing.cluster import KafkaCluster

    config = request.config
    wanted = [_marked(each, "kafka_cluster", "brokers", "configs").get("brokers", 0) for each in request.session.items]
    with KafkaCluster(max([_brokers(config), *wanted]), configs=_configs(config)) as cluster:
        config.stash[_shared] = cluster
        try:
            yield cluster
        finally:
            del config.stash[_shared]


@pytest.fixture
def fresh_kafka_cluster(request: pytest.FixtureRequest) -> Iterator[KafkaCluster]:
    """A cluster for this test alone."""
    from engine.testing.cluster import KafkaCluster

    marked = _marked(request.node, "kafka_cluster", "brokers", "configs")
    configs = {**_configs(request.config), **marked.get("configs", {})}
    with KafkaCluster(marked.get("brokers", _brokers(request.config)), configs=configs) as cluster:
        yield cluster


@pytest.fixture
def kafka_topic(request: pytest.FixtureRequest, kafka_cluster: KafkaCluster) -> Iterator[str]:
    """The name of a topic in ``kafka_cluster`` that only this test has. It is deleted afterwards."""
    from engine.testing.errors import KafkaClusterError

    marked = _marked(request.node, "kafka_topic", "partitions", "replication_factor", "configs")
    plain = re.sub(r"[^a-zA-Z0-9._-]+", "-", request.node.name).strip("-")[:_MAX_NAME]
    name = f"{plain}-{next(_numbers)}"
    kafka_cluster.create_topic(name, **marked)
    yield name
    if kafka_cluster.is_disturbed:
        kafka_cluster.restore()
    # A test may have deleted it.
    with contextlib.suppress(KafkaClusterError):
        kafka_cluster.delete_topic(name)

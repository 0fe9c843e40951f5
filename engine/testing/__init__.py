"""Kafka clusters for tests: real brokers on real sockets inside the test's own process, started in a tenth of a second.

    from engine.testing import KafkaCluster

    with KafkaCluster(brokers=3, topics={"orders": 3}) as kafka:
        producer = Producer({"bootstrap.servers": kafka.bootstrap_servers})
        kafka.kill(kafka.leader("orders"))

With pytest the fixtures of :mod:`engine.testing.plugin` are there by themselves. docs/testing.md tells all of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engine.testing.own_imports import import_as_written

if TYPE_CHECKING:
    from engine.testing.broker_thread import BrokerState
    from engine.testing.cluster import ClusterBroker, KafkaCluster
    from engine.testing.errors import KafkaClusterError, KafkaClusterTimeout
    from engine.testing.topics import Topic

__all__ = ["BrokerState", "ClusterBroker", "KafkaCluster", "KafkaClusterError", "KafkaClusterTimeout", "Topic"]

_PLACES = {
    "BrokerState": "broker_thread",
    "ClusterBroker": "cluster",
    "KafkaCluster": "cluster",
    "KafkaClusterError": "errors",
    "KafkaClusterTimeout": "errors",
    "Topic": "topics",
}

import_as_written()


def __getattr__(name: str) -> Any:
    # pytest loads the plugin, and with it this package, into every run: the engine is imported when it is asked for.
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    found = globals()[name] = getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
    return found

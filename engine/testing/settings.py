"""The configuration of a test's brokers: Kafka's names, and defaults that suit a cluster which lives for seconds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from engine.testing.network import Address
from engine.testing.topics import config_text

# The quorum needs an odd number of voters to gain anything by one more.
_MAX_VOTERS = 5

# What follows from the cluster itself.
_MANAGED = frozenset(
    (
        "node.id",
        "broker.id",
        "process.roles",
        "listeners",
        "advertised.listeners",
        "listener.security.protocol.map",
        "inter.broker.listener.name",
        "security.inter.broker.protocol",
        "controller.listener.names",
        "controller.quorum.voters",
        "controller.quorum.bootstrap.servers",
        "log.dir",
        "log.dirs",
        "metadata.log.dir",
    )
)


def voter_ids(broker_ids: Iterable[int]) -> list[int]:
    """The brokers that are controllers too: all of them up to five, an odd number except for two."""
    ids = sorted(broker_ids)[:_MAX_VOTERS]
    return ids if len(ids) % 2 or len(ids) == 2 else ids[:-1]


def default_configs(brokers: int) -> dict[str, str]:
    """Where a test's cluster differs from Kafka's defaults; docs/testing.md gives the reasons."""
    factor = str(min(3, brokers))
    min_isr = "2" if brokers >= 3 else "1"
    return {
        "default.replication.factor": factor,
        "min.insync.replicas": min_isr,
        "offsets.topic.replication.factor": factor,
        "offsets.topic.num.partitions": "3",
        "transaction.state.log.replication.factor": factor,
        "transaction.state.log.min.isr": min_isr,
        "transaction.state.log.num.partitions": "3",
        "group.initial.rebalance.delay.ms": "0",
        "group.min.session.timeout.ms": "10",
        "broker.heartbeat.interval.ms": "500",
        "broker.session.timeout.ms": "3000",
        "replica.lag.time.max.ms": "5000",
        "log.segment.delete.delay.ms": "0",
    }


def config_texts(given: Mapping[str, object] | None) -> dict[str, str]:
    """The user's configs as texts.

    Raises:
        ValueError: one of them is not the user's to choose.
    """
    managed = sorted(_MANAGED & set(given or {}))
    if managed:
        raise ValueError(f"{', '.join(managed)}: the cluster sets this itself")
    return {name: config_text(value) for name, value in (given or {}).items()}


def broker_properties(
    broker_id: int,
    addresses: Mapping[int, Address],
    controller_addresses: Mapping[int, Address],
    log_dir: str,
    configs: Mapping[str, str],
) -> dict[str, str]:
    """The broker's server.properties."""
    voters = voter_ids(addresses)
    data = "PLAINTEXT://{}:{}".format(*addresses[broker_id])
    listeners = [data]
    if broker_id in voters:
        listeners.append("CONTROLLER://{}:{}".format(*controller_addresses[broker_id]))
    return {
        "node.id": str(broker_id),
        "process.roles": "broker,controller" if broker_id in voters else "broker",
        "listeners": ",".join(listeners),
        "advertised.listeners": data,
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "PLAINTEXT",
        "controller.listener.names": "CONTROLLER",
        "controller.quorum.voters": ",".join("{}@{}:{}".format(each, *controller_addresses[each]) for each in voters),
        "log.dirs": log_dir,
        **default_configs(len(addresses)),
        **configs,
    }

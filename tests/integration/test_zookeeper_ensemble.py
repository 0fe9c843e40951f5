"""``kconsole up`` with ZooKeeper servers of the cluster's own: servers, broker and supervisor die, and it goes on."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import psutil
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from engine.supervisor.broker_questions import CommandError
from engine.supervisor.control_client import ControlClient, ControlError
from engine.supervisor.data_dir import DataDir
from engine.supervisor.facts import FactBus
from engine.supervisor.ports import Ports, choose_zookeeper_ports
from engine.supervisor.spec_types import RestartSpec
from engine.supervisor.zookeeper_ensemble import ZooKeeperEnsemble
from engine.supervisor.zookeeper_installation import find_zookeeper
from engine.world.real import real_world
from tests.integration.conftest import Cluster, start_cluster, stop_cluster

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

SPEC = """
coordination: zookeeper
zookeeper: {servers: 3}
brokers: [{id: 1}]
topics: [{name: orders}]
restart: {backoff_ms: 50}
"""


class Console:
    """Commands to the cluster's supervisor; each by a process of its own would take most of the time."""

    def __init__(self, cluster: Cluster) -> None:
        self._client = ControlClient(cluster.line["control_socket"])

    def call(self, command: str, **arguments: Any) -> Any:
        return self._client.call(command, **arguments)

    def expire_session(self, broker: int) -> str:
        """The session that was ended; "" while none is connected: it is just begun, or its server died."""
        try:
            ended: str = self.call("expire_session", broker=broker)["session"]
        except ControlError as error:
            assert "only one that is connected can be expired" in str(error)
            return ""
        return ended

    def servers(self) -> dict[int, dict[str, Any]]:
        return {each["id"]: each for each in self.call("status")["zookeeper"]["servers"]}

    def modes(self) -> list[str]:
        return sorted(each["mode"] for each in self.servers().values())


def produce(cluster: Cluster, value: str) -> None:
    producer = Producer({"bootstrap.servers": cluster.bootstrap, "linger.ms": 0})
    failed: list[Any] = []
    producer.produce("orders", value, on_delivery=lambda error, _: failed.append(error) if error else None)
    assert producer.flush(30) == 0 and not failed


def read_all(cluster: Cluster) -> list[str]:
    consumer = Consumer({"bootstrap.servers": cluster.bootstrap, "group.id": "-", "enable.auto.commit": False})
    partition = TopicPartition("orders", 0, 0)
    _, end = consumer.get_watermark_offsets(partition, timeout=30)
    consumer.assign([partition])
    found = [message.value().decode() for message in consumer.consume(end, timeout=30)]
    consumer.close()
    return found


def is_running(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_servers_broker_and_supervisor_die_and_the_cluster_goes_on(tmp_path: Path) -> None:
    cluster = start_cluster(tmp_path, SPEC)
    assert cluster.process is not None
    started = psutil.Process(cluster.process.pid).children(recursive=True)
    connect, rows = cluster.line["zookeeper"]["connect"], cluster.line["zookeeper"]["servers"]
    leaders = [each["id"] for each in rows if each["mode"] == "leader"]
    try:
        assert sorted(each["mode"] for each in rows) == ["follower", "follower", "leader"]
        assert sum(each.name() == "java" for each in started) == 3
        console = Console(cluster)
        produce(cluster, "before")

        # Killed on purpose, it stays down, and the two others go on.
        (killed,) = json.loads(cluster.cli("zookeeper", "kill", "leader", "--json").stdout)["servers"]
        assert [killed["id"]] == leaders and killed["state"] == "killed" and killed["next_restart_at_ms"] is None
        cluster.wait_for("another leader", lambda: console.modes() == ["", "follower", "leader"])
        produce(cluster, "without one")
        console.call("zookeeper", act="start")
        assert console.modes() == ["follower", "follower", "leader"]
        # One that ends by itself comes back by itself.
        victim = next(each for each in console.servers().values() if each["mode"] == "follower")
        os.kill(victim["pid"], signal.SIGKILL)
        cluster.wait_for("its restart", lambda: console.servers()[victim["id"]]["restarts"] == 1)

        # A broker's session is expired while it runs: it has another one, and serves.
        expired = cluster.wait_for("an end of its session", lambda: console.expire_session(1))
        produce(cluster, "in another session")
        assert cluster.wait_for("the end of another one", lambda: console.expire_session(1)) != expired
        started = psutil.Process(cluster.process.pid).children(recursive=True)
    finally:
        # Nobody is left to stop the others.
        cluster.process.kill()
    cluster.wait_for("all of them to go", lambda: not any(map(is_running, started)))

    cluster = start_cluster(tmp_path, SPEC, fresh=False)
    try:
        assert cluster.line["zookeeper"]["connect"] == connect
        produce(cluster, "after")
        assert read_all(cluster) == ["before", "without one", "in another session", "after"]
    finally:
        stop_cluster(cluster)


async def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    world = real_world()
    ports = choose_zookeeper_ports(1, {}, Ports(world.random))
    bus, data_dir = FactBus(world.clock), DataDir(world, str(tmp_path))
    never = RestartSpec("never", 0, 0, 1, 1)
    ensemble = ZooKeeperEnsemble(world, bus, data_dir, ports, find_zookeeper(os.environ), never)
    (tmp_path / "zookeeper-1" / "zoo.cfg").write_text("clientPort=none\n")
    with pytest.raises(CommandError, match=r"(?s)server 1 ended while starting.*server\.log.*Invalid config"):
        await ensemble.start()

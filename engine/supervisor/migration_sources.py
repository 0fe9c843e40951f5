"""Which cluster is to move from ZooKeeper to KRaft: brokers by their server.properties, or an embedded cluster."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from engine.model.broker_config import BrokerConfig
from engine.model.configs import ConfigError
from engine.model.properties import read_properties
from engine.supervisor.kraft_directories import NodeDirectories
from engine.supervisor.kraft_properties import UnusableProperties, convert
from engine.supervisor.migrating import Cluster, NewFile
from engine.supervisor.server_properties import properties_text
from engine.supervisor.zookeeper_migration import NotMigratable
from engine.world import Disk
from engine.zookeeper.config import ZooKeeperConfig

CONTROLLER_PORT = 9093
_HEADING = "written by `kconsole zookeeper migrate`: this broker under KRaft"
_OF_ZOOKEEPER = ("zookeeper.", "kconsole.zookeeper.")


def zookeeper_config(properties: Mapping[str, str], connect: str | None = None) -> ZooKeeperConfig:
    """How a broker with these properties reaches ZooKeeper; ``connect`` instead of their zookeeper.connect.

    Raises:
        NotMigratable: they do not say, or something in it is wrong.
    """
    own = {name: value for name, value in properties.items() if name.startswith(_OF_ZOOKEEPER)}
    if connect is not None:
        own["zookeeper.connect"] = connect
    if not own.get("zookeeper.connect", "").strip():
        raise NotMigratable("zookeeper.connect is not set: say where ZooKeeper is with --connect HOST:PORT/CHROOT")
    # What the rest of a node's configs is does not matter to ZooKeeper.
    some = {"broker.id": "0", "listeners": "PLAINTEXT://h:1,C://h:2", "controller.listener.names": "C"}
    some["listener.security.protocol.map"] = "PLAINTEXT:PLAINTEXT,C:PLAINTEXT"
    try:
        return ZooKeeperConfig.of_broker(BrokerConfig.from_properties({**some, **own}))
    except ConfigError as error:
        raise NotMigratable("; ".join(error.errors)) from error


def of_properties(
    disk: Disk, files: Sequence[str], *, connect: str | None = None, controller_port: int = CONTROLLER_PORT
) -> Cluster:
    """The brokers whose server.properties these are, Apache Kafka 3.9's or kconsole's. Beside each file the one of the
    same broker under KRaft is written, NAME.kraft.properties for NAME.properties.

    Raises:
        NotMigratable: a file says nothing of ZooKeeper, or cannot be used.
        OSError: one cannot be read.
    """
    read: dict[str, dict[str, str]] = {}
    for path in files:
        try:
            read[path] = read_properties(disk.read(path).decode())
        except (UnicodeDecodeError, ValueError) as error:
            raise NotMigratable(f"{path} cannot be read as properties: {error}") from None
    try:
        converted = convert(read, controller_port)
    except UnusableProperties as error:
        raise NotMigratable(str(error)) from None
    configs = {path: zookeeper_config(properties, connect) for path, properties in read.items()}
    one = next(iter(configs.values()))
    for path, config in configs.items():
        if (config.servers, config.chroot) != (one.servers, one.chroot):
            raise NotMigratable(
                f"{path} names ZooKeeper at {config}, and {files[0]} at {one}: give the brokers of one cluster, or say "
                "which with --connect"
            )
    path_of = {int(each.get("broker.id", each.get("node.id", ""))): path for path, each in read.items()}
    notes = list(converted.notes)
    if converted.dropped:
        notes.append(f"configs that Kafka 4 does not have are left out: {', '.join(converted.dropped)}")
    return Cluster(
        one,
        tuple(
            NodeDirectories(each.node_id, each.log_dirs, each.metadata_log_dir, each.is_voter)
            for each in converted.nodes.values()
        ),
        tuple(
            NewFile(_beside(path_of[each.node_id]), properties_text(each.properties, _HEADING).encode())
            for each in converted.nodes.values()
        ),
        tuple(notes),
    )


def _beside(path: str) -> str:
    return f"{os.path.splitext(path)[0]}.kraft.properties"

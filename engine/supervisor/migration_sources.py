"""Which cluster is to move from ZooKeeper to KRaft: brokers by their server.properties, or an embedded cluster."""

from __future__ import annotations

import contextlib
import copy
import json
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, NamedTuple

from engine.client.admin.client import AdminClient
from engine.client.errors import ClientError
from engine.model.broker_config import BrokerConfig
from engine.model.configs import ConfigError
from engine.model.properties import read_properties
from engine.supervisor.broker_supervision import CommandError
from engine.supervisor.cluster_spec import parse_cluster_spec
from engine.supervisor.coordination import COORDINATION, KRAFT, ZOOKEEPER_STATE, make_ensemble
from engine.supervisor.data_dir import DataDir, DataDirError
from engine.supervisor.facts import FactBus
from engine.supervisor.kraft_cluster_file import without_zookeeper
from engine.supervisor.kraft_directories import NodeDirectories
from engine.supervisor.kraft_properties import UnusableProperties, convert
from engine.supervisor.migrating import Cluster, NewFile
from engine.supervisor.ports import Ports
from engine.supervisor.server_properties import properties_text, voter_ids
from engine.supervisor.spec_types import ClusterSpec
from engine.supervisor.supervisor import Options, PortsTaken, StartFailed, Supervisor, brokers_of
from engine.supervisor.yaml_nodes import SpecErrors
from engine.supervisor.zookeeper_installation import ZooKeeperMissing
from engine.supervisor.zookeeper_migration import CommittedOffset, NotMigratable
from engine.supervisor.zookeeper_offsets import Committed, commit_offsets
from engine.world import Disk, World
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
            NewFile(
                _beside(path_of[each.node_id]),
                properties_text(each.properties, _HEADING).encode(),
                broker_id=each.node_id,
            )
            for each in converted.nodes.values()
        ),
        tuple(notes),
    )


def _beside(path: str) -> str:
    return f"{os.path.splitext(path)[0]}.kraft.properties"


# -- an embedded cluster ----------------------------------------------------------------------------------------


class Embedded(NamedTuple):
    """An embedded cluster that is to move. ``spec`` and ``state`` are those under ZooKeeper; ``kraft_text`` is its file
    afterwards."""

    data_dir: DataDir
    spec: ClusterSpec
    state: dict[str, Any]
    kraft_text: str

    @property
    def keeps_offsets_in_zookeeper(self) -> bool:
        """Whether ZooKeeper's offsets are the ones that count."""
        return self.spec.configs.get("offsets.storage") == "zookeeper"


def of_data_dir(data_dir: DataDir, disk: Disk) -> Embedded:
    """The stopped cluster of a data directory, as it was under ZooKeeper.

    Raises:
        NotMigratable: there is none, it runs, or ZooKeeper does not coordinate it.
    """
    try:
        if data_dir.read_state() is None:
            raise NotMigratable(
                f"{data_dir.path} has no cluster.json: give the --data-dir of an embedded cluster that was started "
                "once, or the server.properties of each broker with --properties"
            )
        # Of a migration that was cut, or whose offsets are still to come.
        kept = f"{data_dir.before_kraft_dir()}/cluster.yaml"
        text = disk.read(kept if disk.exists(kept) else data_dir.spec_file).decode()
        kept = f"{data_dir.before_kraft_dir()}/cluster.json"
        state = json.loads(disk.read(kept)) if disk.exists(kept) else data_dir.read_state()
        spec, _ = parse_cluster_spec(text)
        after, _ = parse_cluster_spec(kraft_text := without_zookeeper(text))
    except (DataDirError, OSError, ValueError) as error:
        raise NotMigratable(f"{data_dir.path}: {error}") from error
    except SpecErrors as error:
        raise NotMigratable(f"the cluster file is wrong:\n{error.in_file(data_dir.spec_file)}") from error
    if spec.zookeeper is None or state is None or after.zookeeper is not None:
        raise NotMigratable(f"the cluster in {data_dir.path} is coordinated by its own quorum (KRaft) already")
    if data_dir.is_owned():
        raise NotMigratable(
            f"the cluster in {data_dir.path} runs: stop it with `kconsole shutdown --data-dir {data_dir.path}`"
        )
    kept_alive = data_dir.kept_processes()
    if kept_alive:
        raise NotMigratable(f"processes {', '.join(map(str, kept_alive))} still run on {data_dir.path}: end them first")
    return Embedded(data_dir, spec, state, kraft_text)


def cluster_of(embedded: Embedded, connect: str) -> Cluster:
    """What moves of an embedded cluster whose ZooKeeper is at ``connect``.

    Raises:
        NotMigratable: its configs for ZooKeeper are wrong, or who would vote is not there.
    """
    data_dir, spec, state = embedded.data_dir, embedded.spec, dict(embedded.state)
    brokers = brokers_of(spec, state)
    voters = voter_ids(spec._replace(zookeeper=None))
    gone = sorted(set(voters) - {each.broker_id for each in brokers})
    if gone:
        raise NotMigratable(
            f"broker {gone[0]} was removed, and by the cluster file it would be a voter: take it out of the file, and "
            "start and stop the cluster once with that (--config)"
        )
    state.pop(ZOOKEEPER_STATE, None)
    state |= {COORDINATION: KRAFT, "voters": voters}
    nodes = tuple(
        NodeDirectories(
            each.broker_id,
            (data_dir.log_dir(each.broker_id),),
            data_dir.log_dir(each.broker_id),
            each.broker_id in voters,
        )
        for each in brokers
    )
    before = data_dir.before_kraft_dir()
    files = (
        NewFile(data_dir.spec_file, embedded.kraft_text.encode(), f"{before}/cluster.yaml"),
        NewFile(data_dir.state_file, data_dir.encode_state(state), f"{before}/cluster.json"),
    )
    note = (
        f"{data_dir.spec_file} says no ZooKeeper any more; if you start the cluster with a file of your own "
        "(--config), take coordination and zookeeper out of that too"
    )
    return Cluster(zookeeper_config({**spec.configs, "zookeeper.connect": connect}), nodes, files, (note,))


async def commit_offsets_to(world: World, embedded: Embedded, offsets: Sequence[CommittedOffset]) -> Committed:
    """Start the cluster, which is under KRaft by now, without its workload; commit the offsets; stop it again.

    Raises:
        NotMigratable: it does not start, or nobody answers.
    """
    spec, _ = parse_cluster_spec(embedded.kraft_text)
    supervisor = Supervisor(world, embedded.data_dir, Options(spec, embedded.kraft_text, workload=False))
    try:
        await supervisor.start()
    except (DataDirError, PortsTaken, StartFailed) as error:
        raise NotMigratable(
            f"the metadata moved, but the cluster does not start ({error}): mend that, and run this again for the "
            "offsets"
        ) from error
    try:
        addresses = [(each.address.host, each.address.port) for each in supervisor.brokers.values()]
        admin = AdminClient(world, addresses, client_id="kconsole-migrate")
        try:
            return await commit_offsets(admin, offsets, replaces=embedded.keeps_offsets_in_zookeeper)
        finally:
            admin.close()
    except ClientError as error:
        raise NotMigratable(f"the metadata moved, the offsets did not ({error}): run this again") from error
    finally:
        await supervisor.shut_down()


@contextlib.asynccontextmanager
async def running_zookeeper(world: World, embedded: Embedded) -> AsyncIterator[str]:
    """Where ZooKeeper is; servers of the cluster's own run meanwhile. The directory is ours as long.

    Raises:
        NotMigratable: they cannot be run, or somebody has the directory.
    """
    assert embedded.spec.zookeeper is not None
    try:
        lock = embedded.data_dir.own()
    except DataDirError as error:
        raise NotMigratable(str(error)) from error
    ports = Ports(world.random)
    try:
        if not embedded.spec.zookeeper.servers:
            yield embedded.spec.zookeeper.connect
            return
        for each in embedded.state["brokers"].values():
            ports.keep(each["host"], each["port"])
            ports.keep(each["host"], each["controller_port"])
        state = copy.deepcopy(embedded.state)
        try:
            ensemble = make_ensemble(
                world, FactBus(world.clock), embedded.data_dir, embedded.spec, state, ports, keep=False
            )
            assert ensemble is not None
            try:
                await ensemble.start()
                yield ensemble.connect
            finally:
                await ensemble.stop()
        except (ZooKeeperMissing, CommandError) as error:
            raise NotMigratable(f"ZooKeeper does not start: {error}") from error
    finally:
        ports.close()
        lock.release()

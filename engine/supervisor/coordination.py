"""What coordinates a cluster, from its file and from what its directory says of earlier starts."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from engine.supervisor.data_dir import DataDir, DataDirError
from engine.supervisor.facts import FactBus
from engine.supervisor.ports import Ports, choose_zookeeper_ports
from engine.supervisor.spec_types import ClusterSpec, ZooKeeperSpec
from engine.supervisor.zookeeper_installation import find_zookeeper
from engine.world import World

if TYPE_CHECKING:
    from engine.supervisor.zookeeper_ensemble import ZooKeeperEnsemble

KRAFT = "kraft"
ZOOKEEPER = "zookeeper"
# Its keys in cluster.json: one of the words above (KRaft where there is none), and of ZooKeeper how many servers of the
# cluster's own there are, their ports, or where the others are.
COORDINATION = "coordination"
ZOOKEEPER_STATE = "zookeeper"


def remember(spec: ClusterSpec, state: dict[str, Any], *, is_new: bool, data_dir: str) -> None:
    """Write into the state what coordinates the cluster.

    Raises:
        DataDirError: something else did so far.
    """
    wanted = KRAFT if spec.zookeeper is None else ZOOKEEPER
    known = wanted if is_new else coordination_of(state)
    where = f"the cluster in {data_dir} is coordinated by"
    fresh = "another --data-dir, or --fresh (which deletes it)"
    if (known, wanted) == (ZOOKEEPER, KRAFT):
        raise DataDirError(
            f"{where} ZooKeeper, and its file says KRaft: `kconsole zookeeper migrate` moves it; or write "
            f"`coordination: zookeeper`, use {fresh}"
        )
    if (known, wanted) == (KRAFT, ZOOKEEPER):
        raise DataDirError(
            f"{where} its own quorum (KRaft), and its file says ZooKeeper, to which no cluster goes back: leave "
            f"`coordination: zookeeper` out, use {fresh}"
        )
    state[COORDINATION] = wanted
    if spec.zookeeper is not None:
        _remember_servers(spec.zookeeper, state, where, fresh)


def coordination_of(state: Mapping[str, Any]) -> str:
    """``kraft`` or ``zookeeper``, from cluster.json."""
    return str(state.get(COORDINATION, KRAFT))


def _remember_servers(spec: ZooKeeperSpec, state: dict[str, Any], where: str, fresh: str) -> None:
    before = state.setdefault(ZOOKEEPER_STATE, {"servers": spec.servers, "connect": spec.connect, "ports": {}})
    if before["servers"] != spec.servers:
        # A second and a third one without the first one's data would be a majority that knows nothing.
        had, has = (_how(each) for each in (before["servers"], spec.servers))
        raise DataDirError(f"{where} {had}, and its file says {has}: change it back, use {fresh}")
    before["connect"] = spec.connect


def _how(servers: int) -> str:
    if not servers:
        return "ZooKeeper servers that are not its own"
    return "1 ZooKeeper server of its own" if servers == 1 else f"{servers} ZooKeeper servers of its own"


def check_fresh(spec: ClusterSpec, state: Mapping[str, Any] | None) -> None:
    """Nobody may believe that the cluster's znodes go with its directory where they do not.

    Raises:
        DataDirError: they are in an ensemble that is not the cluster's own.
    """
    connect = "" if spec.zookeeper is None else spec.zookeeper.connect
    if connect and state is not None and state.get(ZOOKEEPER_STATE, {}).get("connect") == connect:
        raise DataDirError(
            f"--fresh deletes the cluster's directory, and what {connect} knows of the cluster stays: give "
            "zookeeper.connect another chroot, or delete it there (zkCli.sh: deleteall)"
        )


def make_ensemble(
    world: World,
    bus: FactBus,
    data_dir: DataDir,
    spec: ClusterSpec,
    state: dict[str, Any],
    ports: Ports,
    *,
    keep: bool,
) -> ZooKeeperEnsemble | None:
    """The cluster's own ZooKeeper servers, not started; their ports go into the state. ``None`` if it has none.

    Raises:
        ZooKeeperMissing: no server can be run here.
    """
    if spec.zookeeper is None or not spec.zookeeper.servers:
        return None
    # Most clusters need none of it.
    from engine.supervisor.zookeeper_ensemble import ZooKeeperEnsemble

    installation = find_zookeeper(os.environ)
    known = state[ZOOKEEPER_STATE]
    chosen = choose_zookeeper_ports(spec.zookeeper.servers, known["ports"], ports)
    known["ports"] = {str(server_id): each._asdict() for server_id, each in chosen.items()}
    is_synced = spec.durability == "fsync"
    return ZooKeeperEnsemble(world, bus, data_dir, chosen, installation, spec.restart, is_synced=is_synced, keep=keep)

"""What ZooKeeper's servers say of themselves, and what stands in it of the cluster, asked once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import click

from console.supervisor_calls import FAILED, fail

if TYPE_CHECKING:
    from collections.abc import Mapping

    from engine.core.znodes.operations import Znode
    from engine.zookeeper.config import ZooKeeperConfig


def cluster_in(config: ZooKeeperConfig) -> dict[str, Any]:
    """Who is the controller, of which epoch, which brokers live, how far kconsole's metadata is. Ends the process with
    a sentence if ZooKeeper cannot be asked."""
    from engine.core.znodes import paths
    from engine.supervisor.migrating import ZooKeeperTree, marker_in
    from engine.zookeeper.errors import ZooKeeperError

    async def read() -> dict[str, Znode]:
        async with ZooKeeperTree(config) as tree:
            found: dict[str, Znode] = {}
            for path in (paths.CONTROLLER, paths.CONTROLLER_EPOCH, paths.BROKER_IDS, paths.METADATA, paths.MIGRATED):
                found |= await tree.read(path)
            return found

    try:
        found = asyncio.run(read())
    except ZooKeeperError as error:
        fail(str(error), FAILED)
    marker = marker_in(found)
    return {**_said(found), "migrated": None if marker is None else marker.state}


def _said(found: Mapping[str, Znode]) -> dict[str, Any]:
    from engine.core.znodes import paths
    from engine.core.znodes.cluster_znodes import decode_controller, decode_controller_epoch, decode_mark
    from engine.core.znodes.json_fields import ZnodeCorrupt

    def read(path: str, decode: Any) -> Any:
        try:
            return decode(found[path].data) if path in found else None
        except ZnodeCorrupt as error:
            fail(str(error), FAILED)

    brokers = [path.rpartition("/")[2] for path in found if path.startswith(f"{paths.BROKER_IDS}/")]
    return {
        "controller": read(paths.CONTROLLER, lambda data: decode_controller(data).broker_id),
        "controller_epoch": read(paths.CONTROLLER_EPOCH, decode_controller_epoch),
        "brokers": sorted(int(each) for each in brokers if each.isdigit()),
        "metadata_offset": read(paths.METADATA, lambda data: decode_mark(data).offset),
    }


def servers_of(config: ZooKeeperConfig) -> list[dict[str, Any]]:
    """What each server of a connect string says; ``error`` where it says nothing."""
    from engine.zookeeper.errors import ZooKeeperError
    from engine.zookeeper.four_letter_words import srvr

    context = None if config.tls is None else config.tls.context()

    async def ask(host: str, port: int) -> dict[str, Any]:
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            said = await srvr(host, port, tls=context)
        except ZooKeeperError as error:
            return {"address": address, "mode": None, "error": str(error)}
        return {
            "address": address,
            "mode": said.mode,
            "version": said.version,
            "zxid": f"0x{said.zxid:x}",
            "connections": said.connections,
            "znodes": said.znodes,
            "latency_avg_ms": said.latency_avg,
            "error": None,
        }

    async def ask_all() -> list[dict[str, Any]]:
        return list(await asyncio.gather(*(ask(host, port) for host, port in config.servers)))

    return asyncio.run(ask_all())


def print_servers(rows: list[dict[str, Any]]) -> None:
    """One line a server."""
    click.echo(f"{'address':<22} {'mode':<10} {'zxid':<14} {'connections':>11} {'znodes':>7}  why")
    for row in rows:
        if row["error"] is not None:
            click.echo(f"{row['address']:<22} {'-':<10} {'-':<14} {'-':>11} {'-':>7}  {row['error']}")
        else:
            figures = f"{row['zxid']:<14} {row['connections']:>11} {row['znodes']:>7}"
            version = row["version"].partition("-")[0]
            click.echo(f"{row['address']:<22} {row['mode']:<10} {figures}  serves, version {version}")


def print_cluster(said: dict[str, Any]) -> None:
    """Who is the controller, and who lives."""
    who = "no controller" if said["controller"] is None else f"controller {said['controller']}"
    brokers = ", ".join(map(str, said["brokers"])) or "none"
    click.echo(f"{who}, epoch {'-' if said['controller_epoch'] is None else said['controller_epoch']}")
    click.echo(f"brokers alive: {brokers}")
    if said["metadata_offset"] is not None:
        click.echo(f"metadata up to offset {said['metadata_offset']}")
    if said["migrated"]:
        click.echo(f"moved to KRaft ({said['migrated']})")

"""``kconsole zookeeper tree``: what a cluster keeps in ZooKeeper, decoded."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import click

from console.supervisor_calls import DATA_DIR, FAILED, JSON, call, directory_of, fail

if TYPE_CHECKING:
    from engine.core.znodes.operations import Znode
    from engine.zookeeper.config import ZooKeeperConfig

F = TypeVar("F", bound=Callable[..., Any])

_MAX_WIDTH = 160
_PATIENCE_MS = "5000"


def zookeeper_options(command: F) -> F:
    """Which ZooKeeper, if it is not the embedded cluster's."""
    for option in (
        click.option(
            "--command-config",
            type=click.Path(exists=True, dir_okay=False, readable=True),
            help="Properties for --connect, with Kafka's names: zookeeper.ssl.*; and kconsole.zookeeper.digest.",
        ),
        click.option("--connect", metavar="H:P,…/CHROOT", help="Any ZooKeeper, instead of the embedded cluster's."),
    ):
        command = option(command)
    return command


@click.command(
    epilog="""\b
Examples:
  kconsole zookeeper tree
  kconsole zookeeper tree /brokers --connect zk-1:2181/kafka
  kconsole zookeeper tree --json | jq -r '.[].path'

\b
Exit codes: 0 printed, 1 unreachable or no such znode, 2 wrong use."""
)
@click.argument("path", default="/")
@zookeeper_options
@DATA_DIR
@JSON
def tree(path: str, connect: str | None, command_config: str | None, data_dir: str | None, as_json: bool) -> None:
    """Print the znodes at and below PATH, with their values decoded; secrets are left out.

    Without --connect: of the embedded cluster, which must run.
    """
    if not path.startswith("/") or (path != "/" and path.endswith("/")):
        raise click.UsageError(f"{path!r} is no path of a znode: it begins with / and does not end with it")
    znodes = _read(zookeeper_of(connect, command_config, data_dir), path)
    if as_json:
        click.echo(json.dumps([_document(at, znode) for at, znode in sorted(znodes.items())]))
        return
    _print(path, znodes)


def zookeeper_of(connect: str | None, command_config: str | None, data_dir: str | None) -> ZooKeeperConfig:
    """Where the ZooKeeper is that :func:`zookeeper_options` name, or that of the embedded cluster, which must run. Ends
    the process with a sentence if there is none."""
    if connect is not None and data_dir is not None:
        raise click.UsageError("--connect and --data-dir each say which ZooKeeper is meant: give one of them")
    if command_config is not None and connect is None:
        raise click.UsageError("--command-config goes with --connect")
    from engine.model.properties import read_properties
    from engine.supervisor.migration_sources import zookeeper_config
    from engine.supervisor.zookeeper_migration import NotMigratable

    properties: dict[str, str] = {}
    if connect is None:
        directory = directory_of(data_dir)
        answer = call(directory, "status").get("zookeeper")
        if answer is None:
            fail("the cluster has no ZooKeeper: its own quorum coordinates it (KRaft)", FAILED)
        connect = str(answer["connect"])
        broker = min(call(directory, "status")["brokers"], key=lambda each: int(each["id"]))
        with open(directory.properties_file(int(broker["id"])), encoding="utf-8") as file:
            properties = read_properties(file.read())
    elif command_config is not None:
        with open(command_config, encoding="utf-8") as file:
            properties = read_properties(file.read())
    # Somebody waits for the answer.
    properties.setdefault("zookeeper.connection.timeout.ms", _PATIENCE_MS)
    try:
        return zookeeper_config(properties, connect)
    except NotMigratable as error:
        raise click.UsageError(str(error)) from None


def _read(config: ZooKeeperConfig, path: str) -> dict[str, Znode]:
    from engine.supervisor.migrating import ZooKeeperTree
    from engine.zookeeper.errors import ZooKeeperError

    async def read() -> dict[str, Znode]:
        async with ZooKeeperTree(config) as there:
            return await there.read(path)

    try:
        found = asyncio.run(read())
    except ZooKeeperError as error:
        fail(str(error), FAILED)
    if not found:
        fail(f"there is no znode {path} in ZooKeeper at {config}", FAILED)
    return found


def _document(path: str, znode: Znode) -> dict[str, Any]:
    from console.gateway.metadata_batches import metadata_records
    from console.viewmodel.znode_meaning import meaning_of

    meaning = meaning_of(path, znode.data, metadata_records)
    return {
        "path": path,
        "what": meaning.what,
        "value": meaning.document,
        "version": znode.version,
        "czxid": znode.czxid,
        "mzxid": znode.mzxid,
        "ephemeral_owner": f"0x{znode.ephemeral_owner:x}" if znode.ephemeral_owner else None,
    }


def _print(root: str, znodes: Mapping[str, Znode]) -> None:
    from console.viewmodel.cells import harmless

    depth = 0 if root == "/" else root.count("/")
    # A path sorts behind all that is below its parent's earlier children.
    for path in sorted(znodes, key=lambda each: each.split("/")):
        said = _document(path, znodes[path])
        name = path if path == root else path.rpartition("/")[2]
        indent = "  " * (0 if path == root else path.count("/") - depth)
        mark = "  (ephemeral)" if said["ephemeral_owner"] else ""
        value = said["value"]
        text = "" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        line = harmless(f"{indent}{name}{mark}{'  ' if text else ''}{text}")
        click.echo(line if len(line) <= _MAX_WIDTH else f"{line[: _MAX_WIDTH - 1]}…")

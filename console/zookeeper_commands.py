"""``kconsole zookeeper``: the ZooKeeper servers of an embedded cluster."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import click

from console.supervisor_calls import DATA_DIR, FAILED, JSON, call, directory_of
from console.zookeeper_migrate_command import migrate, offsets
from console.zookeeper_tree_command import tree, zookeeper_of, zookeeper_options

_LEADER = "leader"


@click.group(
    epilog="""\b
Examples:
  kconsole zookeeper status
  kconsole zookeeper tree /brokers
  kconsole zookeeper kill leader
  kconsole zookeeper start
  kconsole zookeeper migrate --dry-run"""
)
def zookeeper() -> None:
    """The ZooKeeper servers that coordinate the embedded cluster (`coordination: zookeeper` in its file)."""


@zookeeper.command(
    epilog="""\b
Examples:
  kconsole zookeeper status
  kconsole zookeeper status --json
  kconsole zookeeper status --connect zk-1:2181,zk-2:2181,zk-3:2181/kafka"""
)
@zookeeper_options
@DATA_DIR
@JSON
def status(connect: str | None, command_config: str | None, data_dir: str | None, as_json: bool) -> None:
    """Show its servers (id, pid, state, mode, address), the controller and its epoch, and which brokers live.

    With --connect: of any ZooKeeper, what its servers say of themselves.
    """
    from console.zookeeper_status import cluster_in, print_cluster, print_servers, servers_of

    config = zookeeper_of(connect, command_config, data_dir)
    if connect is None:
        answer = {**call(directory_of(data_dir), "status")["zookeeper"], **cluster_in(config)}
    else:
        answer = {"connect": str(config), "servers": servers_of(config)}
        if any(each["error"] is None for each in answer["servers"]):
            answer |= cluster_in(config)
    if as_json:
        click.echo(json.dumps(answer))
    elif connect is None:
        print_zookeeper(answer)
        print_cluster(answer)
    else:
        print_servers(answer["servers"])
        if "brokers" in answer:
            print_cluster(answer)
    if "brokers" not in answer:
        sys.exit(FAILED)


def print_zookeeper(answer: dict[str, Any]) -> None:
    """As the supervisor's status has it."""
    click.echo(f"zookeeper.connect={answer['connect']}")
    if answer["servers"]:
        _print_servers(answer["servers"])


def _print_servers(rows: list[dict[str, Any]]) -> None:
    click.echo(f"{'id':>4}  {'pid':>7}  {'state':<9} {'mode':<10} {'address':<22} why")
    for row in rows:
        pid = "-" if row["pid"] is None else row["pid"]
        mode = row["mode"] or "-"
        click.echo(f"{row['id']:>4}  {pid:>7}  {row['state']:<9} {mode:<10} {row['address']:<22} {row['why']}")


class _Server(click.ParamType):
    name = "server"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        if value == _LEADER or isinstance(value, int):
            return value  # type: ignore[no-any-return]
        if not str(value).isdigit():
            self.fail(f"{value!r} is neither a server's id nor {_LEADER!r}", param, ctx)
        return int(value)


def _server_command(name: str, help_text: str) -> Callable[..., None]:
    @zookeeper.command(
        name,
        help=f"{help_text} Without SERVER: every one to which it applies.",
        epilog=f"\b\nExamples:\n  kconsole zookeeper {name} 2\n  kconsole zookeeper {name}"
        + ("" if name in ("start", "resume") else f"\n  kconsole zookeeper {name} leader"),
    )
    @click.argument("servers", type=_Server(), nargs=-1, metavar="[SERVER…|leader]")
    @DATA_DIR
    @JSON
    def command(servers: tuple[int | str, ...], data_dir: str | None, as_json: bool) -> None:
        if _LEADER in servers and len(servers) > 1:
            raise click.UsageError(f"{_LEADER!r} stands alone")
        which = _LEADER if servers == (_LEADER,) else list(servers)
        answer = call(directory_of(data_dir), "zookeeper", act=name, servers=which)
        if as_json:
            click.echo(json.dumps(answer))
        else:
            _print_servers(answer["servers"])

    return command


_server_command("kill", "Kill servers (SIGKILL); they stay down until they are started.")
_server_command("stop", "Stop servers (SIGTERM).")
_server_command("start", "Start servers that are down, and wait until they serve, if a majority runs.")
_server_command("pause", "Freeze servers (SIGSTOP): connections stay open, nothing answers.")
_server_command("resume", "Let frozen servers go on (SIGCONT).")
_server_command("restart", "Stop and start servers, one after the other.")


@zookeeper.command(epilog="\b\nExamples:\n  kconsole zookeeper expire 2")
@click.argument("broker", type=int)
@DATA_DIR
@JSON
def expire(broker: int, data_dir: str | None, as_json: bool) -> None:
    """Have ZooKeeper expire a broker's session while the broker runs: its ephemeral znodes go at once.

    The broker ends its session itself, by a second connection that takes it over. It then begins another one.
    """
    answer = call(directory_of(data_dir), "expire_session", broker=broker)
    click.echo(json.dumps(answer) if as_json else f"session {answer['session']} of broker {broker} is expired")


for _command in (tree, migrate, offsets):
    zookeeper.add_command(_command)

"""The command line. Everything heavy is imported by the command that needs it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

import click

from console.broker_moves import add_broker, drain, join_kafka, moves, reassign, rebalance
from console.connect_commands import connect
from console.connect_places import CONNECT_URL_KEY, note_connect_url
from console.context_commands import context as context_group
from console.copy_command import copy
from console.drill_command import drill
from console.embedded_cluster import CONFIG, FRESH, NO_WORKLOAD, cluster_options, load_spec, running_cluster
from console.fault_commands import fault, heal
from console.group_commands import groups
from console.keys_command import keys
from console.load_command import load
from console.looking import CONTEXT_KEY, chosen_context, takes_context
from console.metrics_command import metrics
from console.recording_command import bundle, record, recording_of, recording_options, replay
from console.redrive_command import redrive
from console.registry_commands import registry as registry_group
from console.script_commands import describe, get, health, lag
from console.storage_commands import storage
from console.streams_commands import streams
from console.supervisor_calls import (
    DATA_DIR,
    FAILED,
    JSON,
    USAGE,
    call,
    check_zookeeper,
    directory_of,
    fail,
    host_and_port,
    no_supervisor,
    print_brokers,
)
from console.tail_command import tail
from console.value_options import value_options, values_of
from console.watch_command import alert_file, watch
from console.web_command import web
from console.zookeeper_commands import print_zookeeper, zookeeper

if TYPE_CHECKING:
    from console.contexts import Context
    from console.values.options import ValueOptions
    from engine.supervisor.data_dir import DataDir

_EXAMPLES = """\b
Examples:
  kconsole                                          the console over the embedded cluster
  kconsole --config my_cluster.yaml --fresh         a new cluster from your own file
  kconsole --bootstrap-servers kafka-1:9092         the console attached to a Kafka cluster
  kconsole --bootstrap-servers kafka-1:9092 --read-only --rules alerts.yaml
  kconsole --bootstrap-servers kafka-1:9092 --registry http://registry:8081 --connect-url http://connect-1:8083
  kconsole up --json                                the cluster without a screen, for scripts
  kconsole kill 2                                   SIGKILL of broker 2, which stays down
  kconsole start 2                                  and up again
  kconsole add-broker --rebalance                   one broker more, and its share of the replicas
  kconsole drain 4 --remove                         its replicas go to the others, then it goes
  kconsole web                                      the same in a browser: prints its address
  kconsole --context prod                           a cluster by its name; see kconsole context -h
  kconsole sim --seed 7                             a simulated cluster: step through its elections, and back
  kconsole health --json                            is it well? exit code 0, 1 (and why not), 2 unreachable
  kconsole get groups --bootstrap-servers h:9092    what there is, for people or with --json
  kconsole drill kill-the-leader                    rehearse a failure on a cluster of its own: exit code 0 or 1
  kconsole groups reset -h                          a group's offsets anew: shown; --execute does it
  kconsole copy orders orders-test                  records to another topic: counted; --execute sends them
  kconsole redrive orders-dlq                       dead letters back to where they came from, each once
  kconsole bundle incident.kbundle --from 14:00     what was recorded since then, in one file: kconsole replay opens it
  kconsole streams run shop.revenue:topology --workers 2      an application over streams, in two processes
  kconsole connect run --workers 2                  workers of Kafka Connect: kconsole connect apply FILE, :connect
  kconsole storage graduate ~/k                     hand a stopped cluster over to Apache Kafka
  kconsole zookeeper migrate --dry-run              what moves of a stopped cluster from ZooKeeper to KRaft

\b
Exit codes: 0 done, 1 failed, 2 wrong use or a wrong file."""


@click.group(
    invoke_without_command=True,
    epilog=_EXAMPLES,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@cluster_options
@click.option(
    "--rules",
    type=click.Path(exists=True, dir_okay=False, readable=True),
    help="Alert rules, as for kconsole watch: what fires rings and is an event.",
)
@value_options
@recording_options
@click.option(
    "--connect-url",
    metavar="URL,…",
    envvar="KCONSOLE_CONNECT_URL",
    expose_value=False,
    callback=note_connect_url,
    help="Workers of Kafka Connect, kconsole's or Java's, for :connect; http://USER:PASSWORD@… where they want that.",
)
@click.option("--no-start", is_flag=True, help="Only over an embedded cluster that runs already: start none.")
@click.version_option(package_name="kconsole", message="%(package)s %(version)s")
@click.pass_context
def main(
    context: click.Context,
    config: str | None,
    data_dir: str | None,
    fresh: bool,
    no_workload: bool,
    bootstrap_servers: str | None,
    command_config: str | None,
    zookeeper: str | None,
    read_only: bool,
    rules: str | None,
    registry: str | None,
    masking: str | None,
    no_start: bool,
    **recording: Any,
) -> None:
    """An operations console for Kafka, with a real multi-broker cluster inside.

    Without a command it opens the console: over the embedded cluster, which is started if it does not run and stopped
    on quit if this command started it; or attached to any Kafka cluster with --bootstrap-servers.
    """
    if context.invoked_subcommand is not None:
        named = context.meta.get(CONTEXT_KEY)
        if named is not None and not takes_context(main.commands[context.invoked_subcommand]):
            raise click.UsageError(f"--context is not for {context.invoked_subcommand}: leave it out")
        given = [
            name
            for name, value in context.params.items()
            if context.get_parameter_source(name) is not click.core.ParameterSource.DEFAULT and value
        ]
        if given:
            option = given[0].replace("_", "-")
            raise click.UsageError(
                f"--{option} stands after the command: kconsole {context.invoked_subcommand} --{option} …"
            )
        return
    values = values_of(registry, masking)
    named = (config, data_dir, bootstrap_servers, command_config, zookeeper)
    chosen = chosen_context(other=fresh or no_start or any(each is not None for each in named))
    if chosen is not None and not chosen.embedded:
        _open_context(chosen, read_only, rules, values, recording)
    if bootstrap_servers is not None:
        embedded = [
            name
            for name, value in (("config", config), ("data-dir", data_dir), ("fresh", fresh), ("no-start", no_start))
            if value
        ]
        if embedded:
            raise click.UsageError(f"--{embedded[0]} is for the embedded cluster, not for --bootstrap-servers")
        _attach(bootstrap_servers, command_config, zookeeper, read_only, rules, values, recording)
    for option, value in (("--command-config", command_config), ("--zookeeper", zookeeper)):
        if value is not None:
            raise click.UsageError(f"{option} goes with --bootstrap-servers")
    if chosen is not None:
        data_dir, read_only = chosen.data_dir or None, read_only or chosen.read_only
    _open_embedded(config, data_dir, fresh, no_workload, read_only, rules, no_start, values, recording, chosen)


# -- the console ------------------------------------------------------------------------------------------------


def _attach(
    bootstrap_servers: str,
    command_config: str | None,
    zookeeper: str | None,
    read_only: bool,
    rules: str | None,
    values: ValueOptions,
    recording: dict[str, Any],
) -> NoReturn:
    for server in bootstrap_servers.split(","):
        host_and_port("--bootstrap-servers", server)
    from console.options import ConsoleOptions
    from engine.client.security.secret import ClientProperties

    properties: dict[str, str] = {}
    if command_config is not None:
        from engine.model.properties import read_properties

        with open(command_config, encoding="utf-8") as file:
            properties = read_properties(file.read())
    if zookeeper is not None:
        properties["zookeeper.connect"] = zookeeper
    check_zookeeper(properties)
    options = ConsoleOptions(
        bootstrap_servers=bootstrap_servers,
        command_config=ClientProperties(properties),
        read_only=read_only,
        alert_file=None if rules is None else alert_file(rules),
        values=values,
        recording=recording_of(**recording, usual=None),
    )
    sys.exit(_run_console(options))


def _open_context(
    context: Context, read_only: bool, rules: str | None, values: ValueOptions, recording: dict[str, Any]
) -> NoReturn:
    from console.contexts import ContextError, options_of

    alerts = None if rules is None else alert_file(rules)
    try:
        options = options_of(context, read_only=read_only)
    except ContextError as error:
        fail(f"{context.name}: {error}", FAILED)
    recorded = recording_of(**recording, usual=None)
    sys.exit(_run_console(options._replace(values=values.over(options.values), alert_file=alerts, recording=recorded)))


def _open_embedded(
    config: str | None,
    data_dir: str | None,
    fresh: bool,
    no_workload: bool,
    read_only: bool,
    rules: str | None,
    no_start: bool,
    values: ValueOptions,
    recording: dict[str, Any],
    context: Context | None,
) -> NoReturn:
    from console.options import ConsoleOptions
    from console.recording.options import path_in

    directory = directory_of(data_dir)
    # What is wrong with it is told before anything starts.
    alerts = None if rules is None else alert_file(rules)
    with running_cluster(directory, config, fresh, no_workload, no_start=no_start) as started:
        options = ConsoleOptions(
            read_only=read_only,
            control_socket=directory.control_socket(),
            data_dir=directory.path,
            started_supervisor=started,
            alert_file=alerts,
            values=values,
            recording=recording_of(**recording, usual=path_in(directory.path)),
            context=context,
        )
        code = _run_console(options)
    sys.exit(code)


def _run_console(options: Any) -> int:
    from console.app import run_console

    url = click.get_current_context().meta.get(CONNECT_URL_KEY)
    if url is not None:
        options = options._replace(connect_url=url)
    return int(run_console(options) or 0)


# -- the cluster without a screen -------------------------------------------------------------------------------


@main.command(
    epilog="""\b
Examples:
  kconsole up
  kconsole up --json --fresh --config my_cluster.yaml --data-dir /tmp/k"""
)
@CONFIG
@DATA_DIR
@FRESH
@NO_WORKLOAD
@click.option("--keep", is_flag=True, help="Brokers outlive a supervisor that dies (not one that is stopped).")
@JSON
def up(config: str | None, data_dir: str | None, fresh: bool, no_workload: bool, keep: bool, as_json: bool) -> None:
    """Run the embedded cluster in the foreground, without a screen.

    Prints one line once every partition has a leader, and stays until SIGINT or SIGTERM: then leaders are moved, the
    brokers stopped in order, and the exit code is 0.
    """
    directory = directory_of(data_dir)
    name, text, spec = load_spec(directory, config, fresh)
    from engine.supervisor.supervisor import Options
    from engine.supervisor.up import run_supervisor

    def on_ready(line: dict[str, Any]) -> None:
        if as_json:
            click.echo(json.dumps(line))
            return
        brokers = ", ".join(f"{broker['id']} (pid {broker['pid']})" for broker in line["brokers"])
        click.echo(f"{line['bootstrap_servers']} is up: brokers {brokers}")
        if "zookeeper" in line:
            print_zookeeper(line["zookeeper"])
        if "registry" in line:
            click.echo(f"schema registry: {line['registry']['url']}")

    options = Options(spec, text, fresh=fresh, keep=keep, workload=not no_workload)
    sys.exit(run_supervisor(directory.path, options, name, on_ready))


# -- commands to a running supervisor ---------------------------------------------------------------------------


@main.command(epilog="\b\nExamples:\n  kconsole status\n  kconsole status --json")
@DATA_DIR
@JSON
def status(data_dir: str | None, as_json: bool) -> None:
    """Show the embedded cluster's brokers: id, pid, state, address."""
    answer = call(directory_of(data_dir), "status")
    if as_json:
        click.echo(json.dumps(answer))
        return
    click.echo(f"cluster {answer['cluster_id']} in {answer['data_dir']}")
    print_brokers(answer["brokers"])
    if "zookeeper" in answer:
        print_zookeeper(answer["zookeeper"])
    if "registry" in answer:
        row = answer["registry"]
        pid = "-" if row["pid"] is None else row["pid"]
        click.echo(f"schema registry {row['url']}: {row['state']}, pid {pid}, {row['why']}")
    for row in answer.get("connect", {}).get("workers", ()):
        click.echo(f"connect worker {row['worker']} {row['url'] or '(not up yet)'}: pid {row['pid']}")


def _broker_command(name: str, help_text: str) -> Callable[..., None]:
    @main.command(
        name, help=help_text, epilog=f"\b\nExamples:\n  kconsole {name} 2\n  kconsole {name} 1 3\n  kconsole {name}"
    )
    @click.argument("brokers", type=int, nargs=-1, metavar="[BROKER…]")
    @DATA_DIR
    @JSON
    def command(brokers: tuple[int, ...], data_dir: str | None, as_json: bool) -> None:
        answer = call(directory_of(data_dir), name, brokers=list(brokers))
        if as_json:
            click.echo(json.dumps(answer))
        else:
            print_brokers(answer["brokers"])

    return command


_ALL = " Without BROKER: every one to which it applies."
_broker_command("stop", "Stop brokers in order: leaders move away first (SIGTERM)." + _ALL)
_broker_command("start", "Start brokers that are down, and wait until they serve." + _ALL)
_broker_command("pause", "Freeze brokers (SIGSTOP): sockets stay open, nothing answers." + _ALL)
_broker_command("resume", "Let frozen brokers go on (SIGCONT)." + _ALL)
_broker_command("restart", "Stop and start brokers, one after the other." + _ALL)


@main.command(
    epilog="""\b
Examples:
  kconsole kill 2
  kconsole kill 2 --measure
  kconsole kill                  every broker at once"""
)
@click.argument("brokers", type=int, nargs=-1, metavar="[BROKER…]")
@DATA_DIR
@click.option("--measure", is_flag=True, help="Of one broker, with failover stopwatch and ledger of probe records.")
@click.option("--acks", type=click.Choice(["all", "1", "0"]), default="all", show_default=True, help="Of the probe.")
@JSON
def kill(brokers: tuple[int, ...], data_dir: str | None, measure: bool, acks: str, as_json: bool) -> None:
    """Kill brokers (SIGKILL); they stay down until they are started. Without BROKER: all of them."""
    directory = directory_of(data_dir)
    if not measure:
        answer = call(directory, "kill", brokers=list(brokers))
        if as_json:
            click.echo(json.dumps(answer))
        else:
            print_brokers(answer["brokers"])
        return
    if len(brokers) != 1:
        raise click.UsageError("--measure is for one broker: name it")
    act = _measured_kill(directory, brokers[0], acks)
    if as_json:
        click.echo(json.dumps(act))
    else:
        _print_act(act)
    ledger = act["ledger"]
    if act["error"] or ledger is None or (acks == "all" and (ledger["lost"] or ledger["duplicated"])):
        sys.exit(FAILED)


def _measured_kill(directory: DataDir, broker: int, acks: str) -> dict[str, Any]:
    import asyncio

    from engine.supervisor.control_client import AsyncControl, ControlError, NoSupervisor

    async def run() -> dict[str, Any]:
        control = await AsyncControl.open(directory.control_socket())
        try:
            act_id = (await control.call("kill", brokers=[broker], measure=True, acks=acks))["act_id"]
            async for fact in control.facts():
                if fact["type"] == "act" and fact["act_id"] == act_id and fact["finished"]:
                    return fact
        finally:
            await control.close()
        raise NoSupervisor("the supervisor left before the failover was measured")

    try:
        return asyncio.run(run())
    except NoSupervisor as error:
        no_supervisor(directory, error)
    except ControlError as error:
        fail(str(error), FAILED)


def _print_act(act: dict[str, Any]) -> None:
    for stage, after_ms, who, detail in act["stages"]:
        where = f" (broker {who})" if who >= 0 else ""
        click.echo(f"{after_ms:10.1f} ms  {stage}{where}{f', {detail}' if detail else ''}")
    ledger = act["ledger"]
    if ledger is not None and ledger["complete"]:
        click.echo(
            f"acks={ledger['acks']}: {ledger['sent']} sent, {ledger['acknowledged']} acknowledged, "
            f"{ledger['lost']} lost, {ledger['duplicated']} duplicated, {ledger['reordered']} out of order"
        )
    if act["error"]:
        click.echo(act["error"], err=True)


@main.command(short_help="Stop the embedded cluster and its supervisor.", epilog="\b\nExamples:\n  kconsole shutdown")
@DATA_DIR
def shutdown(data_dir: str | None) -> None:
    """Stop the embedded cluster and its supervisor, leaders moved first."""
    import time

    directory = directory_of(data_dir)
    call(directory, "shutdown")
    while directory.is_owned():
        time.sleep(0.05)


@main.command(
    epilog="""\b
Examples:
  kconsole broker --properties server.properties
  kconsole broker --properties server-1.properties --cluster-id MkU3OEVBNTcwNTJENDM2Qk"""
)
@click.option(
    "--properties",
    required=True,
    type=click.Path(exists=True, dir_okay=False, readable=True),
    help="A server.properties file with Kafka's own names.",
)
@click.option(
    "--cluster-id",
    help="The new cluster's id, the same for each of its nodes: formats log.dirs that are empty. "
    "A node that is its only voter needs none.",
)
def broker(properties: str, cluster_id: str | None) -> None:
    """Run one broker in the foreground until SIGINT or SIGTERM."""
    from engine.broker.main import run_broker

    sys.exit(run_broker(properties, cluster_id=cluster_id))


@main.command(
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
    epilog="""\b
Examples:
  kconsole sim --seed 7                            N: next election, b: back, space: play, < and >: speed
  kconsole sim --seed 7 --faults none              no faults but your own (x)
  kconsole sim --scenario my_scenario.yaml         faults at times of your choice; see docs/simulation.md
  kconsole sim                                     any seed""",
)
@click.option("--seed", type=click.IntRange(min=0), help="The same seed is the same run. Default: a random one, shown.")
@click.option(
    "--scenario",
    type=click.Path(exists=True, dir_okay=False, readable=True),
    help="YAML with options and with acts at simulated times.",
)
@click.option("--seconds", type=click.FloatRange(min=0.1), help="Simulated seconds under load. Default: the seed's.")
@click.option("--brokers", type=click.IntRange(1, 9), help="Default: the seed's, 3 of most.")
@click.option("--durability", type=click.Choice(["fsync", "page-cache"]), help="Default: the seed's.")
@click.option("--faults", metavar="KIND,…", help="Kinds of faults that the seed makes, or none. Default: the seed's.")
@click.option(
    "--load", type=click.Choice(["heavy", "light"]), help="light: long, with few operations. Default: the seed's."
)
@click.pass_context
def sim(context: click.Context, scenario: str | None, **given: Any) -> None:
    """Open the console over a simulated cluster: whole brokers in one process, under virtual time.

    Play, pause, step to the next decision, message or election, and go back to any earlier event: the run is made again
    from its seed. Every message that crossed the wire is there, decoded, and every decision has its reason. The run is
    that of `python -m engine.sim` with the same seed and options.
    """
    given = {**_other_options(context.args), **{name: value for name, value in given.items() if value is not None}}
    options, planned = _run_of(scenario, given)
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        fail(
            "sim opens a console and needs a terminal; "
            f"`python -m engine.sim --seed {options.seed}` runs a seed without one",
            USAGE,
        )
    from console.app import run_over
    from console.gateway.simulated import SimulatedGateway

    gateway = SimulatedGateway(options, planned)
    sys.exit(run_over(gateway, now_ms=gateway.now_ms))


def _other_options(words: list[str]) -> dict[str, Any]:
    """Whatever else `python -m engine.sim` takes: what it prints of a seed that failed can be given as it stands."""
    import argparse

    from engine.sim.options import add_arguments, given_options

    class Parser(argparse.ArgumentParser):
        def error(self, message: str) -> NoReturn:
            raise click.UsageError(message)

    parser = Parser(prog="kconsole sim", add_help=False, allow_abbrev=False)
    add_arguments(parser)
    return given_options(parser.parse_args(words))


def _run_of(scenario: str | None, given: dict[str, Any]) -> tuple[Any, Any]:
    """What to simulate, and a scenario's acts."""
    import secrets

    from engine.sim.options import FAULTS, options_from

    if isinstance(given.get("faults"), str):
        kinds = tuple(each for each in given["faults"].split(",") if each and each != "none")
        unknown = [each for each in kinds if each not in FAULTS]
        if unknown:
            raise click.BadParameter(f"{unknown[0]} is none of {', '.join(FAULTS)}", param_hint="--faults")
        given["faults"] = kinds
    planned: Any = ()
    if scenario is not None:
        from engine.supervisor.scenario_file import parse_scenario
        from engine.supervisor.yaml_nodes import SpecErrors

        try:
            with open(scenario, encoding="utf-8") as file:
                read = parse_scenario(file.read(), brokers=given.get("brokers"))
        except (OSError, UnicodeDecodeError) as error:
            fail(f"cannot read {scenario}: {error}", USAGE)
        except SpecErrors as error:
            click.echo(error.in_file(scenario), err=True)
            sys.exit(USAGE)
        given, planned = {**read.options, **given}, read.planned
    seed = given.pop("seed", None)
    return options_from(secrets.randbelow(1_000_000) if seed is None else seed, **given), planned


for _command in (
    storage,
    add_broker,
    join_kafka,
    drain,
    reassign,
    fault,
    heal,
    rebalance,
    moves,
    get,
    describe,
    lag,
    tail,
    streams,
    registry_group,
    connect,
    copy,
    redrive,
    load,
    health,
    metrics,
    drill,
    groups,
    context_group,
    keys,
    watch,
    replay,
    bundle,
    record,
    web,
    zookeeper,
):
    main.add_command(_command)


if __name__ == "__main__":
    main()

"""Commands that look and answer once: ``get``, ``describe``, ``lag``, ``health``. For people, and with --json for
scripts (docs/scripting.md)."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

from console.looking import QUORUM, ask, gateway_of, look, one_look_options
from console.supervisor_calls import FAILED, fail

if TYPE_CHECKING:
    from collections.abc import Sequence

    from console.gateway import Gateway
    from console.viewmodel.configs import ConfigValue
    from console.viewmodel.documents import Row
    from console.viewmodel.keeping import Told

THINGS = (
    "brokers",
    "topics",
    "partitions",
    "groups",
    "members",
    "offsets",
    "quorum",
    "transactions",
    "configs",
    "acls",
    "users",
    "quotas",
    "logdirs",
    "producers",
    "hanging",
)


@click.command(
    epilog="""\b
Examples:
  kconsole get brokers
  kconsole get partitions orders payments-2 --json
  kconsole get configs orders
  kconsole get configs --broker 1
  kconsole get acls User:alice --json
  kconsole get producers orders
  kconsole get groups --bootstrap-servers kafka-1:9092 --json

\b
Exit codes: 0 done, 1 something that was named is not there, 2 unreachable."""
)
@click.argument("thing", type=click.Choice(THINGS))
@click.argument("names", nargs=-1, metavar="[NAME…]")
@click.option("--broker", type=int, help="get configs: of this broker instead of a topic.")
@one_look_options
def get(
    thing: str,
    names: tuple[str, ...],
    broker: int | None,
    bootstrap_servers: str | None,
    command_config: str | None,
    data_dir: str | None,
    timeout_s: float,
    as_json: bool,
) -> None:
    """List what the cluster has: all of a kind, or those that are named.

    A partition is named orders-3, or by its topic; members and offsets by their group; acls by their principal,
    logdirs by their broker. Hanging transactions are those that no coordinator will end. What brokers do not answer is
    left out, and said on standard error (in JSON: in "problems").
    """
    if thing == "configs" and broker is None and not names:
        raise click.UsageError("get configs TOPIC…, or get configs --broker ID")
    if thing == "producers" and not names:
        raise click.UsageError("get producers TOPIC…")
    if broker is not None and thing != "configs":
        raise click.UsageError("--broker goes with get configs")
    gateway = gateway_of(bootstrap_servers, command_config, data_dir)
    document = ask(gateway, lambda gateway: _listed(gateway, thing, names, broker, timeout_s), as_json=as_json)
    _show(document, thing, as_json)


async def _listed(gateway: Gateway, thing: str, names: tuple[str, ...], broker: int | None, timeout_s: float) -> Row:
    from console.viewmodel import documents
    from console.viewmodel.administration_documents import MAKERS

    # Only what is asked for is waited for.
    of_groups = thing in ("groups", "members", "offsets")
    ignored = ["topic configs"] if thing != "topics" else []
    ignored += [] if of_groups else ["group"]
    ignored += [] if thing == "quorum" else [QUORUM]
    found = await look(gateway, timeout_s, without=ignored)
    said = documents.problems(found.snapshot, found.missing)
    if thing == "quorum" and found.snapshot.quorum is None and found.snapshot.coordination == "zookeeper":
        said = [*said, "this cluster has no metadata quorum: ZooKeeper coordinates it"]
    if thing == "transactions":
        transactions = await gateway.transactions()
        rows = [documents.transaction_row(each) for each in transactions.rows]
        said += [each for each in transactions.problems if each not in said]
    elif thing == "configs":
        rows, not_there = await _configs(gateway, names, broker)
        answer = documents.envelope(found.snapshot, said)
        return {**answer, thing: rows, "not_found": not_there}
    elif thing in MAKERS:
        told = await _administered(gateway, thing, names)
        rows = [MAKERS[thing](each) for some in told.rows.values() for each in some or ()]
        said += [each for each in told.problems if each not in said]
        if thing == "producers":
            # A topic that is there may have none.
            return {**documents.envelope(found.snapshot, said), thing: rows, "not_found": []}
    else:
        rows = documents.ROWS[thing](found.snapshot)
    rows, not_there = documents.selected(thing, rows, names)
    return {**documents.envelope(found.snapshot, said), thing: rows, "not_found": not_there}


async def _administered(gateway: Gateway, thing: str, names: tuple[str, ...]) -> Told:
    from console.viewmodel.acls import AclWish
    from console.viewmodel.keeping import Told
    from console.viewmodel.producers import MAX_TRANSACTION_MINUTES

    administration = gateway.administration
    if thing == "logdirs":
        return await administration.log_dirs()
    if thing == "producers":
        return await administration.producers(dict.fromkeys(names))
    rows: Sequence[Any]
    if thing == "acls":
        rows = await administration.acls(AclWish())
    elif thing == "users":
        rows = await administration.scram_users()
    elif thing == "quotas":
        rows = await administration.quotas()
    else:
        rows = await administration.hanging_transactions(MAX_TRANSACTION_MINUTES * 60_000)
    return Told({"": rows})


async def _configs(gateway: Gateway, topics: tuple[str, ...], broker: int | None) -> tuple[list[Row], list[str]]:
    from console.gateway import GatewayError

    rows: list[Row] = []
    not_there: list[str] = []
    if broker is not None:
        rows += [config_row(each, "broker", str(broker)) for each in await gateway.broker_configs(broker)]
    for topic in topics:
        try:
            rows += [config_row(each, "topic", topic) for each in await gateway.topic_configs(topic)]
        except GatewayError as error:
            if not str(error).startswith("UNKNOWN_TOPIC_OR_PARTITION"):
                raise
            not_there.append(topic)
    return rows, not_there


def config_row(config: ConfigValue, kind: str, of: str) -> Row:
    """One config; a secret's value is not told by brokers."""
    return {
        kind: of,
        "name": config.name,
        "value": config.value,
        "source": config.source,
        "default": config.is_default,
        "read_only": config.read_only,
        "sensitive": config.sensitive,
    }


def _show(document: Row, thing: str, as_json: bool) -> None:
    from console.viewmodel.administration_documents import FIELDS
    from console.viewmodel.documents import TABLE_FIELDS, table_lines

    if as_json:
        click.echo(json.dumps(document))
    else:
        fields = TABLE_FIELDS.get(thing) or FIELDS[thing]
        click.echo("\n".join(table_lines(document[thing], fields)))
        _tell(document["problems"])
    if document["not_found"]:
        noun = "topics" if thing == "configs" else thing
        fail(f"no such {noun}: {', '.join(document['not_found'])}", FAILED)


@click.command(
    epilog="""\b
Examples:
  kconsole health
  kconsole health --max-lag 10000 --json --bootstrap-servers kafka-1:9092

\b
Exit codes: 0 healthy, 1 degraded (the reasons are printed), 2 unreachable."""
)
@click.option("--max-lag", type=click.IntRange(min=0), help="Groups that are behind by more records are a reason, too.")
@one_look_options
def health(
    max_lag: int | None,
    bootstrap_servers: str | None,
    command_config: str | None,
    data_dir: str | None,
    timeout_s: float,
    as_json: bool,
) -> None:
    """Say whether the cluster is healthy, and if not, every reason.

    Reasons: no controller, brokers down, partitions offline, below min.insync.replicas or under-replicated, log
    directories that failed, groups too far behind; and what nobody told within --timeout.
    """
    from console.viewmodel.documents import health_document
    from console.viewmodel.verdict import judge

    async def looked(gateway: Gateway) -> Any:
        without = () if max_lag is not None else ("group",)
        found = await look(gateway, timeout_s, without=without)
        # A quorum that nobody tells of is a reason of its own.
        missing = [each for each in found.missing if each != QUORUM]
        return found.snapshot, judge(found.snapshot, max_lag=max_lag, missing=missing)

    gateway = gateway_of(bootstrap_servers, command_config, data_dir)
    snapshot, verdict = ask(gateway, looked, as_json=as_json)
    document = health_document(snapshot, verdict)
    if as_json:
        click.echo(json.dumps(document))
    else:
        click.echo(
            f"{document['status']}: {document['brokers_up']} of {document['brokers']} brokers up, "
            f"{document['partitions']} partitions, {document['offline']} offline, "
            f"{document['under_replicated']} under-replicated"
        )
        for each in verdict.reasons:
            click.echo(f"  {each.kind}: {each.said}")
    sys.exit(0 if verdict.is_healthy else FAILED)


@click.command(
    epilog="""\b
Examples:
  kconsole lag billing
  kconsole lag billing --max-lag 1000 --json --bootstrap-servers kafka-1:9092

\b
Exit codes: 0 done, 1 no such group, behind by more than --max-lag, or not all known with it, 2 unreachable."""
)
@click.argument("group")
@click.option("--max-lag", type=click.IntRange(min=0), help="Exit with 1 if it is behind by more records in all.")
@one_look_options
def lag(
    group: str,
    max_lag: int | None,
    bootstrap_servers: str | None,
    command_config: str | None,
    data_dir: str | None,
    timeout_s: float,
    as_json: bool,
) -> None:
    """Show how far a group of any type is behind, by partition."""
    from console.viewmodel.documents import lag_document, problems, table_lines

    gateway = gateway_of(bootstrap_servers, command_config, data_dir)
    found = ask(gateway, lambda gateway: look(gateway, timeout_s, without=("topic configs", QUORUM)), as_json=as_json)
    said = problems(found.snapshot, found.missing)
    state = next((each for each in found.snapshot.groups if each.group_id == group), None)
    if state is None:
        _tell(said)
        fail(f"no such group: {group}" + (", as far as brokers that answer know" if said else ""), FAILED)
    document = lag_document(found.snapshot, state, said)
    if as_json:
        click.echo(json.dumps(document))
    else:
        fields = ("topic", "partition", "committed_offset", "log_end_offset", "lag", "member")
        click.echo("\n".join(table_lines(document["offsets"], fields)))
        members = "?" if document["members"] is None else document["members"]
        behind = "not known" if state.total_lag is None else f"{state.total_lag:,}"
        click.echo(f"{group}: {state.state}, {members} members, lag {behind}")
        _tell(said)
    blind = any(each.lag is None and each.committed_offset is not None for each in state.offsets)
    if max_lag is not None and (blind or (state.total_lag or 0) > max_lag):
        sys.exit(FAILED)


def _tell(said: list[str]) -> None:
    for each in said:
        click.echo(f"kconsole: {each}", err=True)


@click.command(
    epilog="""\b
Examples:
  kconsole describe topic orders
  kconsole describe partition orders-3 --json
  kconsole describe broker 2 --bootstrap-servers kafka-1:9092

\b
Exit codes: 0 done, 1 it is not there, 2 unreachable."""
)
@click.argument("thing", type=click.Choice(("broker", "topic", "partition", "group", "transaction")))
@click.argument("name")
@one_look_options
def describe(
    thing: str,
    name: str,
    bootstrap_servers: str | None,
    command_config: str | None,
    data_dir: str | None,
    timeout_s: float,
    as_json: bool,
) -> None:
    """Show all of one thing: what `get` lists of it, its parts, and the configs that somebody set."""
    if thing == "broker" and not name.isdigit():
        raise click.UsageError(f"describe broker {name!r}: a broker's name is its number")
    gateway = gateway_of(bootstrap_servers, command_config, data_dir)
    document = ask(gateway, lambda gateway: _described(gateway, thing, name, timeout_s), as_json=as_json)
    if thing not in document:
        _tell(document["problems"])
        fail(f"no such {thing}: {name}", FAILED)
    if as_json:
        click.echo(json.dumps(document))
        return
    from console.viewmodel.documents import detail_lines

    parts = {part: value for part, value in document.items() if part not in ("problems", thing)}
    for moment in ("cluster_id", "at_ms", "metadata_at_ms"):
        parts.pop(moment)
    click.echo("\n".join([*detail_lines(document[thing]), *detail_lines(parts)]))
    _tell(document["problems"])


async def _described(gateway: Gateway, thing: str, name: str, timeout_s: float) -> Row:
    from console.gateway import GatewayError
    from console.viewmodel import documents

    if thing == "partition":
        # Where each replica stands is asked for those that somebody looks at.
        gateway.watch(frozenset({name.rpartition("-")[0]}))
    found = await look(gateway, timeout_s, without=(QUORUM,) if thing == "group" else (QUORUM, "group"))
    said = documents.problems(found.snapshot, found.missing)
    answer = documents.envelope(found.snapshot, said)
    if thing == "transaction":
        transactions = await gateway.transactions()
        said += [each for each in transactions.problems if each not in said]
        row = next((each for each in transactions.rows if each.key == name), None)
        return answer if row is None else {**answer, thing: documents.transaction_row(row)}
    described = documents.described(found.snapshot, thing, name)
    if described is None:
        return answer
    if thing in ("topic", "broker"):
        try:
            configs = await (gateway.topic_configs(name) if thing == "topic" else gateway.broker_configs(int(name)))
            described["configs"] = [config_row(each, thing, name) for each in configs if not each.is_default]
        except GatewayError as error:
            said.append(f"configs: {error}")
    return answer | described

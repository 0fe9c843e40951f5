"""What ``:`` understands: names, aliases, completion. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import NamedTuple


class Command(NamedTuple):
    """One command. ``target`` is a screen's name, or ``!`` and the name of an action. ``argument`` names what can
    follow: ``topic``, ``topics``, ``group``, ``broker``, ``theme``."""

    name: str
    aliases: tuple[str, ...]
    target: str
    help: str
    argument: str = ""


COMMANDS: tuple[Command, ...] = (
    Command("cluster", ("b", "broker", "brokers", "nodes"), "cluster", "the brokers"),
    Command("topics", ("t", "topic"), "topics", "all topics"),
    Command("partitions", ("p", "partition"), "partitions", "partitions of a topic, or all", "topic"),
    Command("records", ("r", "tail", "messages"), "records", "live tail of one or several topics", "topics"),
    Command("segments", ("files",), "segments", "a partition's segments on disk: TOPIC PARTITION", "topic"),
    Command("groups", ("g", "group", "consumers"), "groups", "groups of all types; with a name, its offsets", "group"),
    Command("streams", ("ks", "kstreams"), "streams", "applications over streams; with a name, its tasks", "group"),
    Command("topology", ("topo",), "topology", "an application's topology with live rates", "group"),
    Command("stores", ("store",), "stores", "an application's stores, to be asked", "group"),
    Command(
        "connect", ("connectors", "kc"), "connect", "connectors of Kafka Connect; with a name, its tasks", "connector"
    ),
    Command("events", ("e", "event"), "events", "every leader, ISR, election and group change"),
    Command("log", ("logs",), "log", "a broker's log", "broker"),
    Command("failover", ("f", "chaos", "stopwatch"), "failover", "stopwatch and ledger of each kill"),
    Command("workload", ("w",), "workload", "producers and groups of the cluster file"),
    Command("quorum", ("kraft", "controllers"), "quorum", "the metadata quorum"),
    Command("zookeeper", ("zk", "znodes"), "zookeeper", "the ensemble: servers, sessions, znodes, live"),
    Command("impact", ("what-if", "radius"), "impact", "all that the loss of brokers would do: BROKER …", "broker"),
    Command("faults", (), "faults", "faults on purpose that are on, and their end"),
    Command("moves", ("reassignments", "m"), "moves", "replicas that move between brokers"),
    Command("transactions", ("tx", "txn"), "transactions", "transactional ids, and what is open"),
    Command("hanging", ("find-hanging",), "hanging", "open transactions that nobody will end: MINUTES", "minutes"),
    Command("producers", ("producer", "writers"), "producers", "who writes to a topic: TOPIC PARTITION", "topic"),
    Command("configs", ("cfg", "config"), "configs", "configs of a topic; of two: what differs", "topics"),
    Command("broker-configs", ("bcfg",), "broker-configs", "configs of a broker, of two, or of all", "broker"),
    Command("group-configs", ("gcfg",), "group-configs", "configs of a group", "group"),
    Command("schemas", ("schema", "registry"), "schemas", "a schema registry; with a subject, its versions", "subject"),
    Command("acls", ("acl",), "acls", "who may do what"),
    Command("users", ("user", "scram"), "users", "SCRAM users"),
    Command("quotas", ("quota",), "quotas", "quotas of users, clients and addresses"),
    Command("logdirs", ("logdir", "log-dirs", "disks"), "log-dirs", "log directories of brokers, or of one", "broker"),
    Command(
        "delete-records", ("truncate",), "!delete_records", "up to an offset, shown first: TOPIC PARTITION", "topic"
    ),
    Command("contexts", ("ctx", "context", "clusters"), "contexts", "your clusters; with a name, open it", "context"),
    Command("plots", ("plot", "trends"), "plots", "throughput over time; with a name, a group's lag", "group"),
    Command("connections", ("conn", "clients"), "connections", "who is connected to the brokers, or to one", "broker"),
    Command("wire", ("requests", "inspect"), "wire", "requests as brokers answer them, of all or of one", "broker"),
    Command("commands", ("acts", "history"), "commands", "what was done here, as kafka-*.sh commands"),
    Command("simulation", ("sim",), "simulation", "the simulated run: play, step, back, why"),
    Command("goto", (), "!goto", "in a simulation: an event's number, or a time like 12.5s", "place"),
    Command(
        "roll", ("rolling-restart",), "!roll", "restart all brokers, one by one, each when every replica is in sync"
    ),
    Command("power", (), "!power", "in a simulation: cut a broker's power", "broker"),
    Command("cut", (), "!cut", "in a simulation: cut the link between two brokers", "broker"),
    Command("isolate", (), "!isolate", "in a simulation: cut a broker off from all others", "broker"),
    Command("heal", (), "!heal", "end all faults; in a simulation mend links, disks and clocks"),
    Command("fault", (), "!fault", "a fault for a broker, shown first: slow disk, cut link, crash loop, …", "broker"),
    Command("kill", (), "!kill", "SIGKILL of a broker", "broker"),
    Command("stop", (), "!stop", "controlled shutdown of a broker", "broker"),
    Command("start", (), "!start", "start a broker that is down", "broker"),
    Command("restart", (), "!restart", "stop and start a broker", "broker"),
    Command("pause", (), "!pause", "SIGSTOP of a broker", "broker"),
    Command("resume", (), "!resume", "SIGCONT of a broker", "broker"),
    Command("elect", ("preferred-election",), "!elect", "preferred leaders for all partitions"),
    Command("add-broker", (), "!add_broker", "start one broker more; a word is its rack", "rack"),
    Command("drain", (), "!drain", "move all replicas off a broker, shown first", "broker"),
    Command("remove", (), "!remove", "stop and forget a broker that was drained", "broker"),
    Command("rebalance", ("balance",), "!rebalance", "even out what brokers hold and lead, shown first"),
    Command(
        "reassign",
        ("move",),
        "!reassign",
        "move partitions to chosen brokers, shown first: TOPIC[:0,2] …; without any, a JSON file's",
        "topics",
    ),
    Command("elect-unclean", (), "!elect_unclean", "leaders for what has none, with loss: TOPIC[:0,2] …", "topics"),
    Command("reset", ("reset-offsets",), "!reset", "set a group's offsets anew, shown first", "group"),
    Command("produce", (), "!produce", "produce a record", "topic"),
    Command("copy", ("replay",), "!copy", "records of a topic to another: FROM TO, counted first", "topic"),
    Command("serde", ("serdes",), "!serde", "what a topic's keys and values are read as", "topic"),
    Command("load", ("produce-rate",), "!load", "produce to a topic at a rate, with latencies", "topic"),
    Command("find", ("find-key",), "!find", "a key in a topic: TOPIC KEY; reads only its partition", "topic"),
    Command("giveup", ("give-up",), "!giveup", "end the copy, redrive or load that is under way"),
    Command("redrive", ("dead-letters",), "!redrive", "dead letters of a topic back to where they came from", "topic"),
    Command("create", ("new",), "!create", "create a topic"),
    Command(
        "keep",
        ("save-filter",),
        "!keep",
        "keep this screen's filter, for /@NAME; without a filter, forget it",
        "filter",
    ),
    Command("back", ("past",), "!back", "show the past: a TIME, -5m, start; without one, a little", "time"),
    Command("live", ("now",), "!live", "from the past to the present"),
    Command("mark", (), "!mark", "remember this moment; again elsewhere: what is different"),
    Command("diff", (), "!diff", "what is different between two moments: TIME TIME", "time"),
    Command("record", (), "!record", "record this cluster: FILE, or off", "file"),
    Command("bundle", (), "!bundle", "export an incident: FILE [FROM [UNTIL]], else the last hour", "file"),
    Command("columns", ("cols",), "!columns", "which columns this screen has, how wide, sorted by which"),
    Command("reload", (), "!reload", "read keys.yaml, columns.yaml and plugins.yaml again"),
    Command("theme", ("themes", "skin"), "!theme", "change the colours", "theme"),
    Command("help", ("h",), "!help", "all keys"),
    Command("aliases", (), "!aliases", "all commands"),
    Command("quit", ("q", "exit", "q!"), "!quit", "leave the console"),
)

_BY_NAME = {name: command for command in COMMANDS for name in (command.name, *command.aliases)}


class Parsed(NamedTuple):
    """A command line that was understood. ``filter`` is what stood after a ``/``, ``None`` if nothing did."""

    command: Command
    arguments: tuple[str, ...]
    filter: str | None


class CommandError(Exception):
    """Not understood; the message says what is."""


def parse_command(line: str) -> Parsed:
    """Read what was typed after ``:``.

    Raises:
        CommandError: there is no such command.
    """
    words, separator, filter_text = line.strip().partition(" /")
    parts = words.split()
    if not parts:
        raise CommandError("type a command; ctrl-a lists them")
    name = parts[0].lower()
    command = _BY_NAME.get(name)
    if command is None:
        close = difflib.get_close_matches(name, _BY_NAME, 1, 0.6)
        hint = f"did you mean :{close[0]}?" if close else "ctrl-a lists all"
        raise CommandError(f"there is no command :{name}; {hint}")
    if command.argument == "file":
        # A path begins like a filter.
        parts, separator = line.split(), ""
    if len(parts) > 1 and not command.argument:
        raise CommandError(f":{command.name} takes nothing after it")
    return Parsed(command, tuple(parts[1:]), filter_text if separator else None)


def complete(line: str, names: Mapping[str, Sequence[str]]) -> str | None:
    """The whole line as it would go on, or ``None``.

    Args:
        names: what exists, by kind of argument.
    """
    head, space, last = line.rpartition(" ")
    if not space:
        if not line:
            return None
        candidates = [command.name for command in COMMANDS] + [a for command in COMMANDS for a in command.aliases]
        return next((name for name in candidates if name.startswith(line.lower()) and name != line.lower()), None)
    command = _BY_NAME.get(head.split()[0].lower()) if head.split() else None
    if command is None or not command.argument or not last:
        return None
    kind = "topic" if command.argument == "topics" else command.argument
    found = next((name for name in names.get(kind, ()) if name.startswith(last) and name != last), None)
    return None if found is None else f"{head} {found}"

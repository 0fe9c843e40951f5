"""The drill file: from YAML to a :class:`~engine.drills.drill.Drill`, or to all of its mistakes. Pure.

about: the leader of a partition dies, and comes back
cluster: {brokers: 3}                # or all that a cluster file has, but ports
load: {acks: all, rate: 500, clients: 2}
faults:
  - {at: 2 s, kill: leader}
  - {at: 5 s, start: leader}
expect:
  unavailable: ≤ 1 s
  lost: 0
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import yaml

from engine.drills.drill import (
    ACTS,
    ALL,
    CLIENTS,
    COUNTS,
    LEADER,
    OTHERS,
    ROLES,
    TIMES,
    UNDOING,
    ZOOKEEPER_ACTS,
    Act,
    Assertion,
    Drill,
    Load,
)
from engine.model.configs import closest
from engine.supervisor.cluster_spec import read_cluster_spec
from engine.supervisor.spec_types import ClusterSpec, TopicSpec
from engine.supervisor.yaml_nodes import MappingReader, Node, Problems, SpecError, kind_of, read_mapping

DEFAULT_TOPIC = "drill"
_DEFAULT_BROKERS = 3
_MOST_BROKERS = 9
_DEFAULT_PARTITIONS = 3
_LONGEST_S = 3600.0
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(ms|s|min)?")
_BOUND = re.compile(r"(≤|<=|<|≥|>=|>|==|=)?\s*(.*)")
_UNITS_MS = {"ms": 1.0, "s": 1000.0, "min": 60_000.0}
_SAME = {"<=": "≤", ">=": "≥", "==": "="}


def parse_drill(text: str, name: str) -> tuple[Drill, list[SpecError]]:
    """Read a drill; ``name`` is what reports call it.

    Returns:
        The drill, and doubts that are no mistakes.

    Raises:
        SpecErrors: with everything that is wrong with it.
    """
    reader = read_mapping(text, "the drill", if_empty="describe a load, faults and what you expect")
    problems = reader.problems
    about = reader.text("about", "") or ""
    cluster = _cluster(reader, problems)
    load = _load(reader, cluster, problems)
    ids = tuple(broker.broker_id for broker in cluster.brokers)
    servers = 0 if cluster.zookeeper is None else cluster.zookeeper.servers
    acts = [act for node in reader.items("faults") if (act := _act(node, ids, servers, problems)) is not None]
    acts.sort(key=lambda act: act.at_s)
    _check_undoing(acts, problems)
    assertions = _assertions(reader, problems)
    reader.finish()
    if not assertions and not problems.errors:
        problems.error(
            reader.place("expect"), "the drill expects nothing, so it cannot fail", "add `expect:` with `lost: 0`"
        )
    reader.end()
    cluster = cluster._replace(topics=cluster.topics or (load.topic,))
    return Drill(name, about, cluster, load, tuple(acts), assertions), sorted(problems.warnings)


# -- the cluster and its load -------------------------------------------------------------------------------------


def _cluster(reader: MappingReader, problems: Problems) -> ClusterSpec:
    node = reader.take("cluster")
    if node is None:
        node = yaml.MappingNode("tag:yaml.org,2002:map", [], *_marks(reader.node))
    if isinstance(node, yaml.MappingNode):
        _write_brokers_out(node, problems)
    top = MappingReader(node, "'cluster' of the drill", problems)
    cluster = read_cluster_spec(top, problems)
    for broker in cluster.brokers:
        if broker.port or broker.controller_port:
            line, column = broker.ports_at[0]
            problems.errors.append(
                SpecError(
                    line, column, f"broker {broker.broker_id} has a port", "leave it out: a drill chooses its own"
                )
            )
    if cluster.workload.producers or cluster.workload.groups:
        problems.error(top.place("workload"), "a drill runs no workload", "describe its load under `load:`")
    return cluster


def _write_brokers_out(cluster: yaml.MappingNode, problems: Problems) -> None:
    """``brokers: 3``, or nothing, stands for brokers 1 to 3 with nothing of their own."""
    place: Node = cluster
    for at, (key, value) in enumerate(cluster.value):
        if getattr(key, "value", None) == "brokers":
            if not isinstance(value, yaml.ScalarNode):
                return
            count = int(value.value) if value.value.isdigit() else 0
            if not 1 <= count <= _MOST_BROKERS:
                problems.error(value, f"there cannot be {kind_of(value)} brokers", f"give 1 to {_MOST_BROKERS}")
                count = 1
            place = value
            cluster.value[at] = (key, _brokers(count, place))
            return
    key = yaml.ScalarNode("tag:yaml.org,2002:str", "brokers", *_marks(place))
    cluster.value.append((key, _brokers(_DEFAULT_BROKERS, place)))


def _brokers(count: int, place: Node) -> yaml.SequenceNode:
    marks = _marks(place)

    def broker(number: int) -> yaml.MappingNode:
        key = yaml.ScalarNode("tag:yaml.org,2002:str", "id", *marks)
        return yaml.MappingNode(
            "tag:yaml.org,2002:map", [(key, yaml.ScalarNode("tag:yaml.org,2002:int", str(number), *marks))], *marks
        )

    return yaml.SequenceNode("tag:yaml.org,2002:seq", [broker(number + 1) for number in range(count)], *marks)


def _marks(node: Node | None) -> tuple[yaml.Mark, yaml.Mark]:
    assert node is not None, "the document has a root"
    return node.start_mark, node.end_mark


def _load(reader: MappingReader, cluster: ClusterSpec, problems: Problems) -> Load:
    load = reader.mapping("load")
    name = load.text("topic")
    topic = _topic(load, name, cluster, problems)
    found = Load(
        topic,
        load.text("acks", "all", choices=("all", "1", "0")) or "all",
        load.number("rate", 500, low=1, high=20_000),
        load.integer("clients", 2, low=1, high=50),
        load.integer("size", 100, low=32, high=1_000_000),
    )
    load.finish()
    return found


def _topic(load: MappingReader, name: str | None, cluster: ClusterSpec, problems: Problems) -> TopicSpec:
    if not cluster.topics:
        factor = min(3, len(cluster.brokers) or 1)
        given = cluster.configs.get("min.insync.replicas")
        configs = {} if given else {"min.insync.replicas": str(max(1, factor - 1))}
        return TopicSpec(name or DEFAULT_TOPIC, _DEFAULT_PARTITIONS, factor, configs)
    if name is None:
        return cluster.topics[0]
    for topic in cluster.topics:
        if topic.name == name:
            return topic
    names = [topic.name for topic in cluster.topics]
    near = closest(name, names)
    problems.error(
        load.place("topic"),
        f"the cluster has no topic {name!r}",
        f"did you mean {near!r}?" if near else f"it has {', '.join(names)}",
    )
    return cluster.topics[0]


# -- what is done -------------------------------------------------------------------------------------------------


def _act(node: Node, ids: tuple[int, ...], servers: int, problems: Problems) -> Act | None:
    reader = MappingReader(node, "a fault", problems)
    if not isinstance(node, yaml.MappingNode):
        return None
    before = len(problems.errors)
    at = reader.take("at")
    if at is None:
        problems.error(node, "a fault has no 'at'", "add `at: 2 s`, counted from when the load runs")
    at_ms = _duration_ms(at, "'at' of a fault", problems) if at is not None else 0.0
    kinds = [kind for kind, _, _ in reader.entries() if kind in ACTS]
    if len(kinds) != 1:
        what = "names no act" if not kinds else f"names the acts {' and '.join(kinds)}"
        problems.error(node, f"a fault {what}", f"give one of {', '.join(ACTS)}")
        for each in ACTS:
            reader.take(each)
        reader.finish()
        return None
    (kind,) = kinds
    if kind in ZOOKEEPER_ACTS and not servers:
        remedy = "write `coordination: zookeeper` and `zookeeper: {servers: 3}` under `cluster:`"
        problems.error(node, f"{kind}: the drill's cluster has no ZooKeeper servers of its own", remedy)
    targets = _targets(reader, kind, range(1, servers + 1) if kind in ZOOKEEPER_ACTS else ids, problems)
    delay_ms = 0.0
    if kind in ("delay", "slow fsync"):
        by = reader.take("by")
        if by is None:
            what = "message" if kind == "delay" else "fsync"
            problems.error(node, f"{kind} has no 'by'", f"add `by: 200 ms`, what every {what} takes longer")
        else:
            delay_ms = _duration_ms(by, f"'by' of {kind}", problems)
    times = 0
    if kind == "crash loop":
        times = reader.integer("times", 3, low=1, high=20)
    reader.finish()
    if len(problems.errors) > before:
        return None
    return Act(at_ms / 1000, kind, targets, delay_ms / 1000, node.start_mark.line + 1, times)


def _targets(reader: MappingReader, kind: str, ids: Sequence[int], problems: Problems) -> tuple[str, ...]:
    node = reader.take(kind)
    place = reader.place(kind)
    nodes = list(node.value) if isinstance(node, yaml.SequenceNode) else [] if node is None else [node]
    named = [str(each.value) if isinstance(each, yaml.ScalarNode) else "" for each in nodes]
    is_network = kind in ("cut", "delay")
    if is_network and len(named) != 2:
        problems.error(place, f"{kind} is between two ends", f"write `{kind}: [leader, {OTHERS}]`")
        return ()
    words: tuple[str, ...] = (*ROLES, OTHERS, CLIENTS) if is_network else (*ROLES, ALL)
    what = "broker"
    if kind in ZOOKEEPER_ACTS:
        words, what = (LEADER, ALL), "server"
    numbers = tuple(map(str, ids))
    for each, name in zip(nodes, named, strict=True):
        if name not in words and name not in numbers:
            near = closest(name, words) if name else None
            problems.error(
                each,
                f"{kind} names {kind_of(each)}",
                f"did you mean {near!r}?" if near else f"name a {what} ({', '.join(numbers)}), {', '.join(words)}",
            )
    if len(set(named)) < len(named):
        problems.error(place, f"{kind} names {named[0]} twice", "name each once")
    if is_network and named[0] in (OTHERS, CLIENTS):
        problems.error(nodes[0], f"{kind} begins with {named[0]}", f"write a broker first: `[leader, {named[0]}]`")
    if not named:
        problems.error(place, f"{kind} names nobody", f"write `{kind}: leader`, a number of a {what}, or all")
    if ALL in named and len(named) > 1:
        problems.error(place, f"{kind} names all, and more", "leave the others out")
    return tuple(named)


def _check_undoing(acts: list[Act], problems: Problems) -> None:
    """A role can be started or resumed only where something was done to it before."""
    hit: set[tuple[bool, str]] = set()
    for act in acts:
        is_zookeeper = act.kind in ZOOKEEPER_ACTS
        if act.kind not in UNDOING:
            hit |= {(is_zookeeper, target) for target in act.targets}
            continue
        for target in act.targets:
            if target in ROLES and (is_zookeeper, target) not in hit:
                what = {"start": "killed or stopped", "resume": "paused"}.get(act.kind.split()[0], "hurt")
                problems.errors.append(
                    SpecError(
                        act.line,
                        1,
                        f"{act.kind} names the {target}, and no {target} was {what} before",
                        f"{act.kind} means whom an earlier fault hit under that name: name a broker, or all",
                    )
                )


def _duration_ms(node: Node, what: str, problems: Problems) -> float:
    text = str(node.value).strip() if isinstance(node, yaml.ScalarNode) else ""
    found = _DURATION.fullmatch(text)
    if found is None:
        problems.error(node, f"{what} is a time, not {kind_of(node)}", "write `2 s`, `500 ms` or `1 min`")
        return 0.0
    value = float(found[1]) * _UNITS_MS[found[2] or "s"]
    if value > _LONGEST_S * 1000:
        problems.error(node, f"{what} is {text}", f"a drill lasts at most {_LONGEST_S / 60:g} min")
    return value


# -- what is expected ---------------------------------------------------------------------------------------------


def _assertions(reader: MappingReader, problems: Problems) -> tuple[Assertion, ...]:
    found: list[Assertion] = []
    expect = reader.mapping("expect")
    for name, key, node in expect.entries():
        if name not in TIMES and name not in COUNTS:
            near = closest(name, (*TIMES, *COUNTS))
            problems.error(
                key,
                f"a drill does not measure {name!r}",
                f"did you mean {near!r}?" if near else f"it measures {', '.join((*TIMES, *COUNTS))}",
            )
            continue
        parts = _BOUND.fullmatch(str(node.value).strip()) if isinstance(node, yaml.ScalarNode) else None
        value = _value(name, parts[2] if parts is not None else "")
        if parts is None or value is None:
            example = "≤ 1 s" if name in TIMES else "0, or ≥ 1000"
            what = "a time with its unit" if name in TIMES else "a whole number"
            problems.error(node, f"{name!r} is {what}, not {kind_of(node)}", f"write `{name}: {example}`")
            continue
        comparator = parts[1] or ("≤" if name in TIMES else "=")
        found.append(Assertion(name, _SAME.get(comparator, comparator), value, key.start_mark.line + 1))
    return tuple(found)


def _value(name: str, text: str) -> float | None:
    if name in TIMES:
        found = _DURATION.fullmatch(text)
        # Without its unit it might be meant in milliseconds.
        return None if found is None or found[2] is None else float(found[1]) * _UNITS_MS[found[2]]
    return float(text) if text.isdigit() else None

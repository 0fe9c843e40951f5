"""Where the commands of the administration screens lead. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from console.commands import CommandError
from console.screens.base import ViewSpec
from console.viewmodel.configs import BROKER, GROUP, TOPIC, ConfigOf
from engine.supervisor.snapshot import ClusterSnapshot, PartitionState

_CONFIGS = {"configs": TOPIC, "broker-configs": BROKER, "group-configs": GROUP}


def administration_spec(target: str, arguments: tuple[str, ...], known: Mapping[str, Sequence[str]]) -> ViewSpec | None:
    """The screen of a command; ``None``: it is of another kind.

    Args:
        known: what exists, by kind.

    Raises:
        CommandError: what was named is not there, or something has to be named.
    """
    if target in _CONFIGS:
        return _configs(target, arguments, known)
    if target == "log-dirs":
        if not arguments:
            return ViewSpec(target)
        _check("broker", arguments[:1], known)
        return ViewSpec(target, {"broker": int(arguments[0])})
    if target == "hanging":
        if arguments and not arguments[0].isdigit():
            raise CommandError(f"{arguments[0]} is no number of minutes: :hanging 15")
        return ViewSpec(target, {"minutes": int(arguments[0])} if arguments else {})
    if target == "producers":
        if not arguments:
            raise CommandError("name a topic: :producers TOPIC PARTITION")
        topic, numbers = topic_and_partitions(arguments, known["topic"])
        return ViewSpec(target, {"topic": topic, **({} if numbers is None else {"partitions": numbers})})
    return None


def _configs(target: str, arguments: tuple[str, ...], known: Mapping[str, Sequence[str]]) -> ViewSpec:
    kind = _CONFIGS[target]
    if kind == BROKER and not arguments:
        # The default of all brokers.
        arguments = ("",)
    elif not arguments:
        raise CommandError(f"name a {kind}: :{target} {kind.upper()}")
    if arguments[0] and kind != GROUP:
        # Configs of a group may come before the group.
        _check(kind, arguments, known)
    sides = [ConfigOf(kind, each) for each in arguments]
    if len(sides) == 1:
        return ViewSpec("configs", {"of": sides[0]})
    if len(sides) > 2:
        raise CommandError(f"two can be compared: :{target} {sides[0].name} {sides[1].name}")
    return ViewSpec("compare", {"left": sides[0], "right": sides[1]})


def _check(kind: str, names: Sequence[str], known: Mapping[str, Sequence[str]]) -> None:
    unknown = [name for name in names if name not in known[kind]]
    if unknown and known[kind]:
        raise CommandError(f"there is no {kind} {unknown[0]}")


def topic_and_partitions(arguments: Sequence[str], topics: Sequence[str]) -> tuple[str, tuple[int, ...] | None]:
    """``orders``, ``orders 3``, ``orders 0,2`` or ``orders-3``; ``None``: all partitions. Raises: CommandError."""
    topic, rest = arguments[0], list(arguments[1:])
    if topic not in topics and not rest and "-" in topic and topic.rpartition("-")[2].isdigit():
        topic, _, number = topic.rpartition("-")
        rest = [number]
    if topic not in topics and topics:
        raise CommandError(f"there is no topic {topic}")
    if not rest:
        return topic, None
    words = ",".join(rest).split(",")
    if not all(each.isdigit() for each in words):
        raise CommandError(f"{' '.join(rest)} are no partitions: {topic} 0,2")
    return topic, tuple(int(each) for each in words)


def partitions_named(arguments: Sequence[str], picture: ClusterSnapshot | None) -> list[PartitionState]:
    """The partitions that a command names, as they stand now. Raises: CommandError."""
    if not arguments:
        raise CommandError("name a topic: :delete-records TOPIC PARTITION")
    known = picture.topics if picture is not None else ()
    topic, numbers = topic_and_partitions(arguments, [each.name for each in known])
    found = [each for state in known if state.name == topic for each in state.partitions]
    missing = [each for each in numbers or () if each not in {one.partition for one in found}]
    if missing or not found:
        raise CommandError(f"there is no {topic}{f'-{missing[0]}' if missing else ''}")
    return [each for each in found if numbers is None or each.partition in numbers]

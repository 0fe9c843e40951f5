"""Members of an application of ``engine.streams`` in a classic group, by what they tell each other (decision 0040)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from engine.core.group.consumer_protocol import read_assignment, read_subscription
from engine.model.errors import KafkaError

PROTOCOL_NAME = "kconsole-streams"
"""The group protocol's name: how such a group is told from those of consumers."""

_KINDS = ("sources", "repartition_sources", "repartition_sinks", "changelogs")


class ClassicStreamsPart(NamedTuple):
    """A subtopology by the names of its topics, each tuple sorted."""

    subtopology_id: str
    source_topics: tuple[str, ...]
    repartition_source_topics: tuple[str, ...]
    repartition_sink_topics: tuple[str, ...]
    changelog_topics: tuple[str, ...]


class ClassicStreamsMember(NamedTuple):
    """Tasks by subtopology; ``endpoint`` is ``host:port``, empty for who answers no queries."""

    process_id: str = ""
    endpoint: str = ""
    active: Mapping[str, tuple[int, ...]] = {}
    standby: Mapping[str, tuple[int, ...]] = {}
    parts: tuple[ClassicStreamsPart, ...] = ()


def read_member(metadata: bytes, assignment: bytes) -> ClassicStreamsMember:
    """What is known of a member; nothing where the bytes say nothing."""
    try:
        said = json.loads(bytes(read_subscription(metadata).user_data or b"{}")) if metadata else {}
        got = json.loads(bytes(read_assignment(assignment).user_data or b"{}")) if assignment else {}
        endpoint = said.get("endpoint")
        return ClassicStreamsMember(
            str(said.get("process_id", "")),
            "" if endpoint is None else host_and_port(str(endpoint[0]), int(endpoint[1])),
            _by_subtopology(got.get("active", ())),
            _by_subtopology(got.get("standby", ())),
            tuple(_part(each) for each in said.get("subtopologies", ())),
        )
    except (KafkaError, ValueError, TypeError, AttributeError, IndexError, KeyError):
        return ClassicStreamsMember()


def host_and_port(host: str, port: int) -> str:
    """As it is written in an address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _part(told: Any) -> ClassicStreamsPart:
    names = (tuple(sorted(map(str, told[kind]))) for kind in _KINDS)
    return ClassicStreamsPart(str(told["id"]), *names)


def _by_subtopology(tasks: Iterable[Any]) -> dict[str, tuple[int, ...]]:
    found: dict[str, list[int]] = {}
    for sub_topology, number in sorted((int(each), int(number)) for each, number in tasks):
        found.setdefault(str(sub_topology), []).append(number)
    return {name: tuple(numbers) for name, numbers in found.items()}

"""The JSON of kafka-reassign-partitions.sh: read with its rules (ReassignPartitionsCommand), and written. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, TypeGuard

from engine.model.topic_partition import TopicPartition

_VERSION = 1
_ANY_DIRECTORY = "any"


class ReassignmentFileError(Exception):
    """The text is no such file; the message says what is wrong with it."""


class ReassignmentFile(NamedTuple):
    """Replicas by partition. ``placed`` are those partitions whose replicas are given log directories, as the tool's
    own "current assignment" does: what they are put into here is up to each broker."""

    replicas: dict[TopicPartition, tuple[int, ...]]
    placed: frozenset[TopicPartition] = frozenset()


def read_reassignment(text: str) -> ReassignmentFile:
    """What ``{"version": 1, "partitions": [{"topic", "partition", "replicas", "log_dirs"}, …]}`` says.

    Raises:
        ReassignmentFileError: it is another kind of text, or names a partition twice.
    """
    try:
        document = json.loads(text)
    except ValueError as error:
        raise ReassignmentFileError(f"it is no JSON: {error}") from error
    if not isinstance(document, dict):
        raise ReassignmentFileError('it is no object: {"version": 1, "partitions": […]} is expected')
    version = document.get("version", _VERSION)
    if version != _VERSION:
        raise ReassignmentFileError(f"its version is {version!r}, and only {_VERSION} is known")
    entries = document.get("partitions")
    if not isinstance(entries, list) or not entries:
        raise ReassignmentFileError("it has no partitions")
    found: dict[TopicPartition, tuple[int, ...]] = {}
    placed: set[TopicPartition] = set()
    for each in entries:
        topic_partition, replicas, directories = _entry(each)
        if topic_partition in found:
            raise ReassignmentFileError(f"{topic_partition} is there twice")
        found[topic_partition] = replicas
        if any(directory != _ANY_DIRECTORY for directory in directories):
            placed.add(topic_partition)
    return ReassignmentFile(found, frozenset(placed))


def _entry(entry: Any) -> tuple[TopicPartition, tuple[int, ...], list[str]]:
    if not isinstance(entry, dict):
        raise ReassignmentFileError(f"{json.dumps(entry)} is no partition")
    topic, partition, replicas = entry.get("topic"), entry.get("partition"), entry.get("replicas")
    if not isinstance(topic, str) or not topic:
        raise ReassignmentFileError(f"a partition has no topic: {json.dumps(entry)}")
    if not _is_number(partition):
        raise ReassignmentFileError(f"a partition of {topic} has no number: {json.dumps(entry)}")
    topic_partition = TopicPartition(topic, partition)
    if not isinstance(replicas, list) or not replicas or not all(map(_is_number, replicas)):
        raise ReassignmentFileError(f"the replicas of {topic_partition} are no list of broker ids")
    if len(set(replicas)) < len(replicas):
        raise ReassignmentFileError(f"the replicas of {topic_partition} name a broker twice")
    directories = entry.get("log_dirs") or []
    if not isinstance(directories, list) or not all(isinstance(each, str) for each in directories):
        raise ReassignmentFileError(f"the log_dirs of {topic_partition} are no list of paths")
    if directories and len(directories) != len(replicas):
        raise ReassignmentFileError(f"{topic_partition} has {len(replicas)} replicas and {len(directories)} log_dirs")
    return topic_partition, tuple(replicas), directories


def _is_number(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def reassignment_json(replicas: Iterable[tuple[str, int, Sequence[int]]]) -> str:
    """The same for ``--reassignment-json-file``: topic, partition and its replicas."""
    partitions = [
        {"topic": topic, "partition": partition, "replicas": list(each)} for topic, partition, each in replicas
    ]
    return json.dumps({"version": _VERSION, "partitions": partitions})

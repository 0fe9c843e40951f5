"""The JSON of kafka-reassign-partitions.sh: read with its rules (ReassignPartitionsCommand), and written. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, TypeGuard

from engine.model.topic_partition import TopicPartition

_VERSION = 1
_ANY_DIRECTORY = "any"


class ReassignmentFileError(Exception):
    """The text is no such file; the message says what is wrong with it."""


def read_reassignment(text: str) -> dict[TopicPartition, tuple[int, ...]]:
    """Replicas by partition, as ``{"version": 1, "partitions": [{"topic", "partition", "replicas"}, …]}`` has them.

    Raises:
        ReassignmentFileError: it is another kind of text, names a partition twice, or chooses log directories.
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
    for each in entries:
        topic_partition, replicas = _entry(each)
        if topic_partition in found:
            raise ReassignmentFileError(f"{topic_partition} is there twice")
        found[topic_partition] = replicas
    return found


def _entry(entry: Any) -> tuple[TopicPartition, tuple[int, ...]]:
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
    directories = entry.get("log_dirs", [])
    if not isinstance(directories, list) or any(each != _ANY_DIRECTORY for each in directories):
        raise ReassignmentFileError(
            f'{topic_partition} chooses log directories: kafka-reassign-partitions.sh moves into those, here "any" is '
            "the only choice"
        )
    return topic_partition, tuple(replicas)


def _is_number(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def reassignment_json(replicas: Iterable[tuple[str, int, Sequence[int]]]) -> str:
    """The same for ``--reassignment-json-file``: topic, partition and its replicas."""
    partitions = [
        {"topic": topic, "partition": partition, "replicas": list(each)} for topic, partition, each in replicas
    ]
    return json.dumps({"version": _VERSION, "partitions": partitions})

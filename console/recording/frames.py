"""Pictures of a cluster as frames: whole ones (key frames), and what changed since the frame before. Pure.

A picture is taken apart into a head, brokers, topics, partitions, groups and acts. A frame of differences has only
those parts that changed, and of these only the fields that did, numbers as how much they grew: most of a picture is
counters that grow a little. As JSON, compressed by zstd:

    key frame    {"k": 1, "s": schema, "h": head, "p": [[name, tree], …]}
    difference   {"h": delta, "d": [part, delta, part, delta, …], "n": [[name, tree], …], "x": [part, …]}

where a part is its place in the order in which names came since the key frame.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import cramjam

from console.recording.codec import CodecError, Decoder, encoder, schema_of
from engine.supervisor.snapshot import (
    Act,
    BrokerState,
    ClusterSnapshot,
    GroupState,
    PartitionState,
    TopicState,
)

ZSTD_LEVEL = 6
_KINDS: dict[str, type] = {"b": BrokerState, "t": TopicState, "p": PartitionState, "g": GroupState, "a": Act}


class FrameError(Exception):
    """Bytes are no frame, or not the one that follows."""


def packed(value: Any) -> bytes:
    """JSON, compressed."""
    return bytes(cramjam.zstd.compress(json.dumps(value, separators=(",", ":")).encode(), ZSTD_LEVEL))


def unpacked(data: bytes) -> Any:
    """Raises: FrameError: these bytes are something else."""
    try:
        return json.loads(bytes(cramjam.zstd.decompress(data)))
    except (cramjam.DecompressionError, ValueError) as error:
        raise FrameError(f"it does not decompress to JSON: {error}") from error


# -- differences of trees ----------------------------------------------------------------------------------------------


def delta(before: Any, after: Any) -> Any:
    """What leads from one tree to another: 0 nothing, a number how much it grew, a list those of the elements (what is
    cut off at its end is 0), ``[[value]]`` in an object anything else."""
    if before == after and type(before) is type(after):
        return 0
    kind = type(after)
    if kind is int and type(before) is int:
        return after - before
    if isinstance(after, list | tuple) and isinstance(before, list | tuple) and len(before) == len(after):
        deltas = [0 if a is b else delta(a, b) for a, b in zip(before, after, strict=True)]
        while deltas and deltas[-1] == 0:
            deltas.pop()
        return deltas or 0
    return {"": after}


def patched(before: Any, change: Any) -> Any:
    """The tree that :func:`delta` led to. Raises: FrameError: it does not fit."""
    if isinstance(change, dict):
        return change[""]
    if isinstance(change, int):
        if change and type(before) is not int:
            raise FrameError("a number changed that is none")
        return before + change if change else before
    if not isinstance(before, list) or len(change) > len(before):
        raise FrameError("a list changed that is another")
    after = before.copy()
    for at, by in enumerate(change):
        # Most of a list stays, and of the rest most are numbers.
        if by != 0:
            after[at] = patched(after[at], by)
    return after


# -- taking apart ------------------------------------------------------------------------------------------------------


class _Part(NamedTuple):
    name: str
    value: Any
    # What tells without looking closer that nothing changed.
    source: Any


def _parts(snapshot: ClusterSnapshot, unchanged: Callable[[str, Any], bool]) -> Iterator[_Part | str]:
    """Parts that may have changed, and the names of topics that did not at all."""
    for broker in snapshot.brokers:
        yield _Part(f"b:{broker.broker_id}", broker, broker)
    for topic in snapshot.topics:
        name = f"t:{topic.name}"
        if unchanged(name, topic):
            yield name
            continue
        yield _Part(name, replace(topic, partitions=()), topic)
        for partition in topic.partitions:
            yield _Part(f"p:{topic.name}:{partition.partition}", partition, partition)
    for group in snapshot.groups:
        # Lags of the past stand in the frames of the past.
        yield _Part(f"g:{group.group_id}", replace(group, lag_history=()), group)
    for act in snapshot.acts:
        yield _Part(f"a:{act.act_id}", act, act)


def _head(snapshot: ClusterSnapshot) -> ClusterSnapshot:
    return snapshot.with_facts(brokers=(), topics=(), groups=(), acts=())


_HEAD = encoder(ClusterSnapshot)
_ENCODERS = {kind: encoder(each) for kind, each in _KINDS.items()}
SCHEMA = schema_of(ClusterSnapshot)


class FrameWriter:
    """Makes frames of pictures that follow each other."""

    def __init__(self) -> None:
        self._head: Any = None
        self._sources: dict[str, Any] = {}
        self._trees: dict[str, Any] = {}
        self._places: dict[str, int] = {}
        self._partitions: dict[str, list[str]] = {}

    def key_frame(self, snapshot: ClusterSnapshot) -> bytes:
        """A whole picture; what follows is told from it on."""
        self.__init__()  # type: ignore[misc]
        return self._frame(snapshot, whole=True)

    def difference(self, snapshot: ClusterSnapshot) -> bytes:
        """What changed since the frame before."""
        assert self._head is not None, "a key frame comes first"
        return self._frame(snapshot, whole=False)

    def _frame(self, snapshot: ClusterSnapshot, *, whole: bool) -> bytes:
        head = _HEAD(_head(snapshot))  # type: ignore[misc]
        changes: list[Any] = []
        new: list[list[Any]] = []
        seen: set[str] = set()
        for part in _parts(snapshot, lambda name, topic: self._sources.get(name) is topic):
            if isinstance(part, str):
                seen.add(part)
                seen.update(self._partitions[part])
                continue
            name = part.name
            seen.add(name)
            if name in self._trees and self._sources[name] is part.source:
                continue
            tree = _ENCODERS[name[0]](part.value)  # type: ignore[misc]
            self._sources[name] = part.source
            if name[0] == "t":
                self._partitions[name] = [f"p:{part.value.name}:{each.partition}" for each in part.source.partitions]
            before = self._trees.get(name)
            self._trees[name] = tree
            if before is None:
                self._places[name] = len(self._places)
                new.append([name, tree])
                continue
            change = delta(before, tree)
            if change != 0:
                changes += [self._places[name], change]
        gone = [name for name in self._trees if name not in seen] if len(seen) != len(self._trees) else []
        removed = [self._places.pop(name) for name in gone]
        for name in gone:
            del self._trees[name], self._sources[name]
            self._partitions.pop(name, None)
        if gone:
            # Places are given anew in the order that is left, as the reader does.
            self._places = {name: at for at, name in enumerate(self._places)}
        if whole:
            self._head = head
            return packed({"k": 1, "s": SCHEMA, "h": head, "p": new})
        frame: dict[str, Any] = {"h": delta(self._head, head)}
        self._head = head
        frame.update({name: value for name, value in (("d", changes), ("n", new), ("x", removed)) if value})
        return packed(frame)


class FrameReader:
    """Puts pictures together again, frame by frame in the order of their writing."""

    def __init__(self) -> None:
        self._decoder = Decoder({})
        self._head: Any = None
        self._names: list[str] = []
        self._trees: list[Any] = []
        self._values: dict[str, Any] = {}

    def take(self, data: bytes) -> None:
        """The next frame. Raises: FrameError: it is damaged, or another one belongs here."""
        frame = unpacked(data)
        try:
            if frame.get("k"):
                self._decoder = Decoder(frame["s"])
                self._head = frame["h"]
                self._names, self._trees, self._values = [], [], {}
                self._add(frame["p"])
                return
            if self._head is None:
                raise FrameError("a difference to a picture that is not there")
            self._head = patched(self._head, frame["h"])
            changes = frame.get("d", ())
            for at, change in zip(changes[::2], changes[1::2], strict=True):
                self._trees[at] = patched(self._trees[at], change)
                self._values.pop(self._names[at], None)
            self._add(frame.get("n", ()))
            gone = set(frame.get("x", ()))
            if gone:
                for at in gone:
                    self._values.pop(self._names[at], None)
                self._trees = [tree for at, tree in enumerate(self._trees) if at not in gone]
                self._names = [name for at, name in enumerate(self._names) if at not in gone]
        except (TypeError, ValueError, KeyError, IndexError, AttributeError) as error:
            raise FrameError(f"it is no frame: {error!r}") from error

    def _add(self, parts: Any) -> None:
        for name, tree in parts:
            self._names.append(name)
            self._trees.append(tree)

    def snapshot(self) -> ClusterSnapshot:
        """The picture as it is now. Raises: FrameError."""
        if self._head is None:
            raise FrameError("no key frame was read")
        try:
            by_kind: dict[str, list[Any]] = {kind: [] for kind in _KINDS}
            for name, tree in zip(self._names, self._trees, strict=True):
                value = self._values.get(name)
                if value is None:
                    value = self._values[name] = self._decoder.decode(_KINDS[name[0]], tree)
                by_kind[name[0]].append(value)
            head: ClusterSnapshot = self._decoder.decode(ClusterSnapshot, self._head)
        except (CodecError, KeyError) as error:
            raise FrameError(f"it is no picture: {error}") from error
        partitions: dict[str, list[PartitionState]] = {}
        for each in by_kind["p"]:
            partitions.setdefault(each.topic, []).append(each)
        return head.with_facts(
            brokers=tuple(sorted(by_kind["b"], key=lambda each: each.broker_id)),
            topics=tuple(
                replace(
                    topic, partitions=tuple(sorted(partitions.get(topic.name, ()), key=lambda each: each.partition))
                )
                for topic in sorted(by_kind["t"], key=lambda each: each.name)
            ),
            groups=tuple(sorted(by_kind["g"], key=lambda each: each.group_id)),
            acts=tuple(sorted(by_kind["a"], key=lambda each: each.act_id)),
        )


# -- what counts as a change of state ----------------------------------------------------------------------------------


class Shapes:
    """Tells pictures that differ in state (who leads, who is in sync, what runs, who is a member) from those that
    differ in counters only."""

    def __init__(self) -> None:
        self._topics: dict[str, tuple[TopicState, Any]] = {}
        self._last: Any = None

    def changed(self, snapshot: ClusterSnapshot) -> bool:
        """Whether the state is another than that of the picture before."""
        shape = self._shape(snapshot)
        if shape == self._last:
            return False
        self._last = shape
        return True

    def _shape(self, snapshot: ClusterSnapshot) -> Any:
        topics: dict[str, tuple[TopicState, Any]] = {}
        for topic in snapshot.topics:
            known = self._topics.get(topic.name)
            topics[topic.name] = known if known is not None and known[0] is topic else (topic, _topic_shape(topic))
        self._topics = topics
        quorum = snapshot.quorum
        return (
            [shape for _, shape in topics.values()],
            [
                (
                    each.broker_id,
                    each.reachable,
                    each.fenced,
                    each.failed_log_dirs,
                    each.process and (each.process.state, each.process.incarnation, each.process.why),
                )
                for each in snapshot.brokers
            ],
            (snapshot.controller_id, snapshot.controller_epoch, snapshot.error, snapshot.cluster_id),
            [
                (each.group_id, each.state, each.coordinator, each.group_epoch, each.members, each.error)
                for each in snapshot.groups
            ],
            snapshot.acts,
            quorum and (quorum.leader_id, quorum.leader_epoch, [(e.node_id, e.is_voter) for e in quorum.nodes]),
            snapshot.workload and (snapshot.workload.running, [e.members for e in snapshot.workload.parts]),
        )


def _topic_shape(topic: TopicState) -> Any:
    return (
        topic.topic_id,
        topic.configs,
        topic.error,
        [
            (each.leader, each.leader_epoch, each.replicas, each.isr, each.offline_replicas, each.error)
            for each in topic.partitions
        ],
    )

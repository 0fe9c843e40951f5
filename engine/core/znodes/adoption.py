"""Taking over a tree that somebody else wrote to: Apache Kafka, an older kconsole, or a hand at zkCli.sh."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from engine.core.controller.image import MetadataDelta, MetadataImage
from engine.core.znodes import paths
from engine.core.znodes.json_fields import JsonFields
from engine.core.znodes.operations import Create, Delete, Operation, SetData, Znode
from engine.core.znodes.reading import SUBTREES, image_of
from engine.core.znodes.writing import operations_of

# Roots of which not everything is made by the image: living brokers' own znodes, and the producer ids' fixed one.
_OTHERS = (paths.BROKER_IDS, paths.PRODUCER_ID_BLOCK)
# What an operation has in a request beside its path and data: chroot, lengths, ACL.
_BESIDE = 256


def adoption_of(tree: Mapping[str, Znode], *, controller_epoch: int, now_ms: int) -> list[Operation]:
    """What brings the tree into the form that :func:`engine.core.znodes.writing.operations_of` relies on, without
    changing what :func:`engine.core.znodes.reading.records_of` reads there: nothing if it has that form.

    - znodes that the metadata needs and that are missing: states of partitions that Kafka had not begun with,
      /config/topics/T, kconsole's registrations of Kafka's brokers, feature levels;
    - znodes that stand for nothing go: configs that are empty, or of topics that are gone;
    - topics of Kafka before 2.8 get their id.

    A new controller asks for this before its first batch. The operations are in order and each is right by itself: they
    may be spread over several multis (:func:`portions`), each with the check of the controller's epoch.

    Raises:
        ZnodeCorrupt: see :func:`engine.core.znodes.reading.records_of`.
    """
    delta = MetadataDelta.between(MetadataImage(), image_of(tree))
    wanted = {
        each.path: each.data
        for each in operations_of(delta, controller_epoch=controller_epoch, now_ms=now_ms)
        if isinstance(each, Create) and not each.sequential
    }
    fixed = {each.path for each in paths.PERSISTENT_ROOTS}
    operations: list[Operation] = [
        Delete(path)
        for path in sorted(tree, reverse=True)
        if path not in wanted and path not in fixed and _is_ours(path)
    ]
    for path, data in sorted(wanted.items()):
        if path not in tree:
            operations.append(Create(path, data))
        elif paths.parent_of(path) == paths.TOPICS and "topic_id" not in JsonFields.parse(path, tree[path].data):
            operations.append(SetData(path, data))
    return operations


def portions(operations: Iterable[Operation], most_bytes: int) -> Iterator[list[Operation]]:
    """The operations in the same order, so many at a time as one request holds (one that is larger is alone)."""
    portion: list[Operation] = []
    size = 0
    for each in operations:
        own = _BESIDE + len(each.path.encode()) + len(getattr(each, "data", b""))
        if portion and size + own > most_bytes:
            yield portion
            portion, size = [], 0
        portion.append(each)
        size += own
    if portion:
        yield portion


def _is_ours(path: str) -> bool:
    return path == paths.OWN_FEATURES or any(path.startswith(f"{root}/") for root in SUBTREES if root not in _OTHERS)

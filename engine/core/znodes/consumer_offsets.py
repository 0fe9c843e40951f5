"""Znodes of committed offsets. Pure.

``/consumers/GROUP/offsets/TOPIC/PARTITION`` has the offset in decimal digits, as consumers of Kafka 0.8 wrote it and
OffsetCommit version 0 does (kafka.zk.ConsumerOffset). What it has no place for stands in
``/kconsole/offsets/GROUP/TOPIC/PARTITION``, written in the same transaction of ZooKeeper: who finds two values that
were changed by different transactions (mzxid) knows that somebody else has set the offset since.

Group ids may be any text, names of znodes not: what ZooKeeper refuses is written as % and two hexadecimal digits of its
UTF-8, and so is % itself; ids that Kafka 0.8 allowed ([a-zA-Z0-9._-]) stand as they are.
"""

from __future__ import annotations

import json
import re
import urllib.parse
from typing import NamedTuple

from engine.core.znodes.operations import Create, Delete, Operation, SetData, Znode
from engine.model.ids import ZERO_UUID, Uuid, uuid_from_str, uuid_to_str

CONSUMERS = "/consumers"
OFFSETS = "/kconsole/offsets"
OFFSETS_COORDINATORS = "/kconsole/offsets_coordinators"

_VERSION = 1
# The separator, the sign of what was replaced, and what PathUtils.validatePath refuses: in UTF-16, so all of the
# planes beyond the first.
_REFUSED = re.compile("[\x00-\x1f\x7f-\x9f/%\ud800-\uf8ff\ufff0-\uffff\U00010000-\U0010ffff]")
_EMPTY_NAME = "%"


class ZnodeNotUnderstood(ValueError):
    """A znode's value is not what it should be; the message names the znode."""


class KeptOffset(NamedTuple):
    """A committed offset as it is kept in ZooKeeper.

    Timestamps in milliseconds since 1970. ``log_offset`` is the last record of the coordinator's log that the commit
    came after: offsets of transactions stand in that log, and of two commits the later one counts. -1 where that is not
    known: somebody else has set the offset.
    """

    offset: int
    leader_epoch: int = -1
    metadata: str = ""
    commit_timestamp_ms: int = -1
    expire_timestamp_ms: int = -1
    topic_id: Uuid = ZERO_UUID
    log_offset: int = -1


def name_of(text: str) -> str:
    """A group id or topic as the name of a znode."""
    if text in ("", ".", ".."):
        return text.replace(".", "%2E") or _EMPTY_NAME
    return _REFUSED.sub(lambda found: "".join(f"%{byte:02X}" for byte in found[0].encode()), text)


def text_of(name: str) -> str:
    """The other way round; what nobody here wrote is taken as it is."""
    return "" if name == _EMPTY_NAME else urllib.parse.unquote(name)


def offset_path(group_id: str, topic: str, partition: int) -> str:
    """Where Kafka keeps a committed offset."""
    return f"{CONSUMERS}/{name_of(group_id)}/offsets/{name_of(topic)}/{partition}"


def detail_path(group_id: str, topic: str, partition: int) -> str:
    """Where the rest of it is kept."""
    return f"{OFFSETS}/{name_of(group_id)}/{name_of(topic)}/{partition}"


def coordinator_path(number: int) -> str:
    """Who may write offsets of the groups of one partition of __consumer_offsets: its version is checked with every
    write, so that who has been replaced writes nothing more."""
    return f"{OFFSETS_COORDINATORS}/{number}"


def encode_offset(offset: int) -> bytes:
    """Decimal digits."""
    return str(offset).encode()


def decode_offset(path: str, data: bytes) -> int:
    """The offset that a znode has.

    Raises:
        ZnodeNotUnderstood: it is no number of 64 bits.
    """
    try:
        offset = int(data)
    except ValueError:
        raise ZnodeNotUnderstood(f"{path} has {data[:64]!r}, which is no offset: set a number, or delete it") from None
    if not -(2**63) <= offset < 2**63:
        raise ZnodeNotUnderstood(f"{path} has {offset}, which no offset can be: set another, or delete it")
    return offset


def encode_detail(kept: KeptOffset) -> bytes:
    """JSON, like Kafka's own."""
    return json.dumps(
        {
            "version": _VERSION,
            "offset": kept.offset,
            "leader_epoch": kept.leader_epoch,
            "metadata": kept.metadata,
            "commit_timestamp": kept.commit_timestamp_ms,
            "expire_timestamp": kept.expire_timestamp_ms,
            "topic_id": uuid_to_str(kept.topic_id),
            "log_offset": kept.log_offset,
        },
        separators=(",", ":"),
    ).encode()


def decode_detail(path: str, data: bytes) -> KeptOffset:
    """What :func:`encode_detail` wrote.

    Raises:
        ZnodeNotUnderstood: it is something else.
    """
    try:
        value = json.loads(data)
        return KeptOffset(
            int(value["offset"]),
            int(value["leader_epoch"]),
            str(value["metadata"]),
            int(value["commit_timestamp"]),
            int(value["expire_timestamp"]),
            uuid_from_str(value["topic_id"]),
            int(value["log_offset"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise ZnodeNotUnderstood(f"{path} is not to be understood ({error!r}): delete it") from None


def kept_offset(offset_at: str, plain: Znode, detail_at: str, detail: Znode | None) -> tuple[KeptOffset, bool]:
    """A committed offset from its two znodes, and whether it stands as this cluster's coordinator wrote it.

    An offset that somebody else set keeps the ``log_offset`` of the commit that it replaced: it came later.

    Raises:
        ZnodeNotUnderstood: the offset is none. What stands beside it is passed over when it is not understood.
    """
    offset = decode_offset(offset_at, plain.data)
    try:
        known = None if detail is None else decode_detail(detail_at, detail.data)
    except ZnodeNotUnderstood:
        known = None
    if known is not None and detail is not None and detail.mzxid == plain.mzxid and known.offset == offset:
        return known, True
    return KeptOffset(offset, log_offset=-1 if known is None else known.log_offset), False


class KnownZnodes:
    """Which znodes of one group's offsets are there, as far as is known: so each write is made of the right operations.

    What is known may be wrong when others write too; then ZooKeeper refuses the write as a whole, and
    :meth:`found` corrects it.
    """

    __slots__ = ("_group_id", "_paths")

    def __init__(self, group_id: str) -> None:
        self._group_id = group_id
        self._paths: set[str] = set()

    def __contains__(self, path: str) -> bool:
        return path in self._paths

    def found(self, path: str, exists: bool) -> None:
        """A znode is there or is not; with it are its parents."""
        if not exists:
            self._paths.discard(path)
            return
        while path and path not in self._paths:
            self._paths.add(path)
            path = path.rpartition("/")[0]

    def operations(self, topic: str, partition: int, kept: KeptOffset | None) -> list[Operation]:
        """What has to be done for a commit, or for its end (None). What is returned counts as done."""
        plain = offset_path(self._group_id, topic, partition)
        detail = detail_path(self._group_id, topic, partition)
        out: list[Operation] = []
        if kept is None:
            for path in (plain, detail):
                if path in self._paths:
                    out.append(Delete(path))
                    self._paths.remove(path)
            return out
        for path, data in ((plain, encode_offset(kept.offset)), (detail, encode_detail(kept))):
            if path in self._paths:
                out.append(SetData(path, data))
            else:
                out += self._creates(path, data)
        return out

    def _creates(self, path: str, data: bytes) -> list[Operation]:
        missing: list[Operation] = [Create(path, data)]
        self._paths.add(path)
        parent = path.rpartition("/")[0]
        while parent and parent not in self._paths:
            missing.append(Create(parent, b""))
            self._paths.add(parent)
            parent = parent.rpartition("/")[0]
        return missing[::-1]

    def emptied(self) -> list[str]:
        """Znodes that were parents of what has been deleted and have no children now, the lowest first; they count as
        gone. Of others' children nothing is known: such a znode will not go."""
        tops = (CONSUMERS, OFFSETS, *_parents_of(OFFSETS))
        gone: list[str] = []
        while True:
            parents = {path.rpartition("/")[0] for path in self._paths}
            empty = [path for path in self._paths - parents if path not in tops and not _is_leaf(path)]
            if not empty:
                return gone
            gone += sorted(empty)
            self._paths.difference_update(empty)


def _parents_of(path: str) -> list[str]:
    parts = path.split("/")[1:-1]
    return ["/" + "/".join(parts[: count + 1]) for count in range(len(parts))]


def _is_leaf(path: str) -> bool:
    """Both kinds of leaves stand in the fifth level."""
    return path.count("/") == 5

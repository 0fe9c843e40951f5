"""Ids of log directories with a meaning of their own (KIP-858, org.apache.kafka.common.DirectoryId)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from engine.model.ids import Uuid

MIGRATING: Uuid = bytes(16)
UNASSIGNED: Uuid = bytes(15) + b"\x01"
LOST: Uuid = bytes(15) + b"\x02"


def is_reserved(directory_id: Uuid) -> bool:
    """Whether no real directory may have this id: the first hundred."""
    return directory_id[:15] == bytes(15) and directory_id[15] < 100


def is_online(directory_id: Uuid, online_directories: Sequence[Uuid]) -> bool:
    """Whether a replica in this directory can work on a broker that reports ``online_directories``."""
    if directory_id in (UNASSIGNED, MIGRATING):
        return True
    if directory_id == LOST:
        return False
    return not online_directories or directory_id in online_directories


def default_directory(online_directories: Sequence[Uuid], cordoned: Iterable[Uuid] | None = None) -> Uuid:
    """Where a new replica goes: the broker's only directory, or the broker's own choice."""
    usable = [each for each in online_directories if each not in (cordoned or ())]
    return usable[0] if len(usable) == 1 else UNASSIGNED

"""What ZooKeeper says of a znode beside its value (org.apache.zookeeper.data.Stat)."""

from __future__ import annotations

from typing import NamedTuple


class ZnodeStat(NamedTuple):
    """Transactions that made it, changed its value and its children last; times in ms since 1970; counts of changes.

    ``ephemeral_owner`` is the session that it leaves with, or 0.
    """

    czxid: int
    mzxid: int
    pzxid: int
    ctime_ms: int
    mtime_ms: int
    version: int
    cversion: int
    aversion: int
    ephemeral_owner: int
    data_length: int
    num_children: int

"""What is done to znodes, as parts of one multi, and what a znode is. Pure."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias


class Create(NamedTuple):
    """A znode that must not be there yet; its parent must. ``ephemeral``: it leaves with the session that made it.
    ``sequential``: ZooKeeper appends ten digits that no other child of the parent had."""

    path: str
    data: bytes
    ephemeral: bool = False
    sequential: bool = False


class SetData(NamedTuple):
    """Another value for a znode that is there; with a ``version`` other than -1 only if it has that one."""

    path: str
    data: bytes
    version: int = -1


class Delete(NamedTuple):
    """A znode without children goes; with a ``version`` other than -1 only if it has that one."""

    path: str
    version: int = -1


class Check(NamedTuple):
    """Nothing is changed, but all fails unless the znode has this version."""

    path: str
    version: int


Operation: TypeAlias = Create | SetData | Delete | Check


class Znode(NamedTuple):
    """A znode as it was read: its value and what ZooKeeper says of it.

    ``version`` counts changes of the value, ``czxid`` and ``mzxid`` are the transactions that made and last changed it
    (the czxid of /brokers/ids/N is that broker's epoch), ``ephemeral_owner`` the session that it leaves with, or 0.
    """

    data: bytes
    version: int
    czxid: int
    mzxid: int
    ephemeral_owner: int

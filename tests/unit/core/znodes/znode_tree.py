"""A tree of znodes in memory, which takes multis as ZooKeeper does: all of one or nothing, parents first."""

from __future__ import annotations

from collections.abc import Iterable

from engine.core.znodes import paths
from engine.core.znodes.operations import Check, Create, Delete, Operation, SetData, Znode


class Refused(Exception):
    """ZooKeeper would refuse the multi."""


class ZnodeTree:
    """The znodes, the roots of a cluster among them."""

    def __init__(self) -> None:
        self.znodes: dict[str, Znode] = {"/": Znode(b"", 0, 0, 0, 0)}
        self.zxid = 0
        self._sequence = 0
        self.multi(paths.PERSISTENT_ROOTS)

    def multi(self, operations: Iterable[Operation]) -> None:
        """Raises: Refused: an operation that ZooKeeper would refuse; nothing is done then."""
        znodes = dict(self.znodes)
        self.zxid += 1
        for each in operations:
            self._apply(znodes, each)
        self.znodes = znodes

    def _apply(self, znodes: dict[str, Znode], operation: Operation) -> None:
        path = operation.path
        assert isinstance(operation, Check) or ("//" not in path and not path.endswith("/"))
        old = znodes.get(path)
        if isinstance(operation, Create):
            if operation.sequential:
                self._sequence += 1
                path += f"{self._sequence:010d}"
                old = znodes.get(path)
            if old is not None or paths.parent_of(path) not in znodes:
                raise Refused(operation)
            owner = 1 if operation.ephemeral else 0
            znodes[path] = Znode(operation.data, 0, self.zxid, self.zxid, owner)
            return
        if old is None or (operation.version != -1 and operation.version != old.version):
            raise Refused(operation)
        if isinstance(operation, SetData):
            znodes[path] = old._replace(data=operation.data, version=old.version + 1, mzxid=self.zxid)
        elif isinstance(operation, Delete):
            if any(each.startswith(f"{path}/") for each in znodes):
                raise Refused(operation)
            del znodes[path]

    def put(self, path: str, data: bytes) -> None:
        """A znode that somebody else wrote, with its parents."""
        for depth in range(2, path.count("/") + 1):
            parent = "/".join(path.split("/")[:depth])
            if parent not in self.znodes:
                self.multi([Create(parent, b"")])
        self.multi([SetData(path, data) if path in self.znodes else Create(path, data)])

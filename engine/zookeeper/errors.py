"""What ZooKeeper refuses, under its own names (org.apache.zookeeper.KeeperException)."""

from __future__ import annotations

from engine.core.znodes.operations import Operation


class ZooKeeperError(Exception):
    """Everything that goes wrong with ZooKeeper."""


class NoNode(ZooKeeperError):
    """There is no such znode, or, of a create, no parent."""


class NodeExists(ZooKeeperError):
    """There is such a znode already."""


class BadVersion(ZooKeeperError):
    """The znode has another version than was expected: somebody else has changed it."""


class NotEmpty(ZooKeeperError):
    """The znode has children, so it cannot be deleted."""


class NoAuth(ZooKeeperError):
    """The znode's ACL does not allow it to who asked."""


class ConnectionLoss(ZooKeeperError):
    """There is no connection. What was under way may have been done or not: look, once there is one again."""


class SessionExpired(ZooKeeperError):
    """ZooKeeper has ended the session; its ephemeral znodes are gone. Only :meth:`ZooKeeperSession.renew` helps."""


class AuthFailed(ZooKeeperError):
    """ZooKeeper does not take the credentials."""


class TooLarge(ZooKeeperError):
    """ZooKeeper's servers take no request of this size (jute.maxbuffer); it was not sent."""


class MultiFailed(ZooKeeperError):
    """A multi was refused as a whole, nothing of it was done.

    ``index`` is the first operation that was refused, ``operation`` what it was, ``error`` why.
    """

    def __init__(self, index: int, operation: Operation, error: ZooKeeperError) -> None:
        super().__init__(f"{type(operation).__name__}, no. {index} of a multi: {error}")
        self.index = index
        self.operation = operation
        self.error = error

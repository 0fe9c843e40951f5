"""Who may do what with a znode, as Kafka has it (kafka.zk.ZkData.defaultAcls). Pure.

What is secret may be read only by who made it. Kafka's secrets are users (SCRAM), brokers' configs (passwords) and
delegation tokens; ours also stand in the batches of the metadata log, before they stand anywhere else.
"""

from __future__ import annotations

from enum import Enum

SENSITIVE_ROOTS = (
    "/config/users",
    "/config/brokers",
    "/delegation_token/tokens",
    "/kconsole/log",
)

# Consumers of old make their own znodes here.
OPEN_ROOT = "/consumers"


class Access(Enum):
    """What the ACL of a new znode allows."""

    OPEN = "everything to everybody"
    READABLE = "everything to who made it, reading to everybody"
    PRIVATE = "everything to who made it"


def access_of(path: str, *, set_acl: bool) -> Access:
    """What the ACL of a new znode at this path (below the chroot) shall allow; ``set_acl`` is zookeeper.set.acl."""
    if not set_acl or path == OPEN_ROOT:
        return Access.OPEN
    return Access.PRIVATE if path.startswith(SENSITIVE_ROOTS) else Access.READABLE

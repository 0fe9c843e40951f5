"""The admin client: all areas in one."""

from __future__ import annotations

from engine.client.admin.acls import AclAdmin
from engine.client.admin.client_quotas import QuotaAdmin
from engine.client.admin.configs import ConfigAdmin
from engine.client.admin.log_dirs import LogDirAdmin
from engine.client.admin.offsets import OffsetAdmin
from engine.client.admin.producers import ProducerAdmin
from engine.client.admin.quorum import QuorumAdmin
from engine.client.admin.replicas import ReplicaAdmin
from engine.client.admin.scram import ScramAdmin
from engine.client.admin.share_offsets import ShareOffsetAdmin
from engine.client.admin.topics import TopicAdmin
from engine.client.admin.transactions import TransactionAdmin


class AdminClient(
    TopicAdmin,
    ConfigAdmin,
    OffsetAdmin,
    ShareOffsetAdmin,
    LogDirAdmin,
    QuorumAdmin,
    ReplicaAdmin,
    TransactionAdmin,
    ProducerAdmin,
    AclAdmin,
    QuotaAdmin,
    ScramAdmin,
):
    """Asks and changes a cluster, ours or any Apache Kafka.

    ``AdminClient(world, [(host, port), …])``; call :meth:`metadata` first (or any method that needs it does), so that
    the brokers' addresses are known. Each broker has its own connection and time-out.
    """

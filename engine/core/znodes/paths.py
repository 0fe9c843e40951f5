"""Where Kafka 3.9 keeps things in ZooKeeper (kafka.zk.ZkData), and kconsole what Kafka 3.9 has no place for.

Paths are those under the chroot.
"""

from __future__ import annotations

from urllib.parse import quote, unquote

from engine.core.znodes.operations import Create

CONTROLLER = "/controller"
CONTROLLER_EPOCH = "/controller_epoch"
CLUSTER_ID = "/cluster/id"
FEATURE = "/feature"
PRODUCER_ID_BLOCK = "/latest_producer_id_block"

BROKER_IDS = "/brokers/ids"
BROKER_SEQUENCE = "/brokers/seqid"
TOPICS = "/brokers/topics"

TOPIC_CONFIGS = "/config/topics"
BROKER_CONFIGS = "/config/brokers"
USER_CONFIGS = "/config/users"
CLIENT_CONFIGS = "/config/clients"
IP_CONFIGS = "/config/ips"
CONFIG_CHANGES = "/config/changes"
CONFIG_CHANGE_PREFIX = "config_change_"
CLIENTS_OF_USER = "clients"
# ZooKeeperInternals.DEFAULT_STRING: the entity that stands for all that have none of their own.
DEFAULT_ENTITY = "<default>"

LITERAL_ACLS = "/kafka-acl"
PREFIXED_ACLS = "/kafka-acl-extended/prefixed"
# SecurityUtils.resourceTypeName of ResourceType 2 to 7.
ACL_RESOURCE_TYPES = ("Topic", "Group", "Cluster", "TransactionalId", "DelegationToken", "User")
LITERAL_ACL_CHANGES = "/kafka-acl-changes"
EXTENDED_ACL_CHANGES = "/kafka-acl-extended-changes"
ACL_CHANGE_PREFIX = "acl_changes_"

TOKENS = "/delegation_token/tokens"
TOKEN_CHANGES = "/delegation_token/token_changes"
TOKEN_CHANGE_PREFIX = "token_change_"

DELETE_TOPICS = "/admin/delete_topics"
REASSIGN_PARTITIONS = "/admin/reassign_partitions"
PREFERRED_ELECTION = "/admin/preferred_replica_election"
ISR_CHANGES = "/isr_change_notification"
LOG_DIR_EVENTS = "/log_dir_event_notification"
CONSUMERS = "/consumers"

# -- kconsole's own ---------------------------------------------------------------------------------------------

KCONSOLE = "/kconsole"
METADATA = "/kconsole/metadata"
EPOCH = "/kconsole/epoch"
# The cluster was moved to KRaft: no broker may start on what is here (:mod:`engine.supervisor.migrating`).
MIGRATED = "/kconsole/migrated"
LOG = "/kconsole/log"
OWN_BROKERS = "/kconsole/brokers"
OWN_CONTROLLERS = "/kconsole/controllers"
OWN_FEATURES = "/kconsole/features"
OWN_CONFIGS = "/kconsole/config"
GROUP_CONFIGS = "/kconsole/config/groups"
CLIENT_METRICS_CONFIGS = "/kconsole/config/client-metrics"
OWN_ACLS = "/kconsole/acls"

_KAFKA_ROOTS = (
    "/brokers",
    BROKER_IDS,
    TOPICS,
    BROKER_SEQUENCE,
    "/config",
    CONFIG_CHANGES,
    TOPIC_CONFIGS,
    CLIENT_CONFIGS,
    USER_CONFIGS,
    BROKER_CONFIGS,
    IP_CONFIGS,
    "/admin",
    DELETE_TOPICS,
    ISR_CHANGES,
    LOG_DIR_EVENTS,
    PRODUCER_ID_BLOCK,
    CONSUMERS,
    "/cluster",
    LITERAL_ACLS,
    *(f"{LITERAL_ACLS}/{kind}" for kind in ACL_RESOURCE_TYPES),
    "/kafka-acl-extended",
    PREFIXED_ACLS,
    *(f"{PREFIXED_ACLS}/{kind}" for kind in ACL_RESOURCE_TYPES),
    LITERAL_ACL_CHANGES,
    EXTENDED_ACL_CHANGES,
    "/delegation_token",
    TOKENS,
    TOKEN_CHANGES,
)
_OWN_ROOTS = (
    KCONSOLE,
    LOG,
    OWN_BROKERS,
    OWN_CONTROLLERS,
    OWN_CONFIGS,
    GROUP_CONFIGS,
    CLIENT_METRICS_CONFIGS,
    OWN_ACLS,
)
# Made once, parents first, each unless it is there. Kafka 3.9 makes the same when it starts; /feature says what Kafka
# 3.9.1 says of a cluster without finalized features.
PERSISTENT_ROOTS: tuple[Create, ...] = (
    *(Create(path, b"") for path in (*_KAFKA_ROOTS, *_OWN_ROOTS)),
    Create(FEATURE, b'{"features":{},"version":2,"status":1}'),
)


_PARENTS_OF_LEAVES = tuple(
    f"{each}/" for each in (TOPIC_CONFIGS, BROKER_CONFIGS, IP_CONFIGS, GROUP_CONFIGS, CLIENT_METRICS_CONFIGS, TOKENS)
)


def is_leaf(path: str) -> bool:
    """Whether a znode at this path, beside which there may be thousands, never has any below it."""
    if path.startswith(TOPICS):
        # A topic may be called "state" as well.
        return path.endswith("/state") and path.count("/") == 6
    return path.startswith(_PARENTS_OF_LEAVES)


def broker_id(number: int) -> str:
    """The ephemeral znode of a broker that lives."""
    return f"{BROKER_IDS}/{number}"


def topic(name: str) -> str:
    """A topic's id and its partitions' replicas."""
    return f"{TOPICS}/{name}"


def partitions(topic_name: str) -> str:
    """Parent of a topic's partitions."""
    return f"{TOPICS}/{topic_name}/partitions"


def partition(topic_name: str, number: int) -> str:
    """Parent of a partition's state."""
    return f"{TOPICS}/{topic_name}/partitions/{number}"


def partition_state(topic_name: str, number: int) -> str:
    """A partition's leader and in-sync replicas."""
    return f"{TOPICS}/{topic_name}/partitions/{number}/state"


def own_broker(number: int) -> str:
    """A broker's registration as kconsole keeps it, alive or not."""
    return f"{OWN_BROKERS}/{number}"


def own_controller(number: int) -> str:
    """A controller's registration."""
    return f"{OWN_CONTROLLERS}/{number}"


def log_entry(base_offset: int) -> str:
    """A batch of metadata records by the offset of its first one."""
    return f"{LOG}/{base_offset:020d}"


def delete_topic(name: str) -> str:
    """The request to delete a topic."""
    return f"{DELETE_TOPICS}/{name}"


def name_of(path: str) -> str:
    """The last part of a path."""
    return path.rpartition("/")[2]


def parent_of(path: str) -> str:
    """A path without its last part."""
    return path.rpartition("/")[0] or "/"


def sanitized(name: str) -> str:
    """A name that may hold anything, as part of a path (org.apache.kafka.common.utils.Sanitizer).

    ``.`` and ``..``, which ZooKeeper does not take and Kafka would write, become ``%2E`` and ``%2E%2E``.
    """
    if name in (".", ".."):
        return name.replace(".", "%2E")
    return quote(name, safe="", errors="strict").replace("~", "%7E")


def desanitized(part: str) -> str:
    """The inverse of :func:`sanitized`. Raises: ValueError: it is not UTF-8 behind the percent signs."""
    return unquote(part, errors="strict")


def config_entity(name: str) -> str:
    """The part of a path for a resource's configs; Kafka's default resource has no name."""
    return sanitized(name) if name else DEFAULT_ENTITY


def quota_entity(name: str | None) -> str:
    """The part of a path for a user, client id or address; ``None`` is the default one."""
    return DEFAULT_ENTITY if name is None else sanitized(name)


def own_broker_of(ephemeral: str) -> str:
    """The registration that goes with a path under /brokers/ids."""
    return f"{OWN_BROKERS}/{name_of(ephemeral)}"

"""Every implemented API, and which of them a node serves."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.model.broker_config import BrokerConfig

# Every implemented API, by its module under engine.broker.apis.
API_MODULES = (
    "add_offsets_to_txn",
    "add_partitions_to_txn",
    "add_raft_voter",
    "allocate_producer_ids",
    "alter_client_quotas",
    "alter_configs",
    "alter_partition",
    "alter_partition_reassignments",
    "alter_replica_log_dirs",
    "alter_share_group_offsets",
    "alter_user_scram_credentials",
    "api_versions",
    "assign_replicas_to_dirs",
    "begin_quorum_epoch",
    "broker_heartbeat",
    "broker_registration",
    "consumer_group_describe",
    "consumer_group_heartbeat",
    "controller_registration",
    "create_acls",
    "create_delegation_token",
    "create_partitions",
    "create_topics",
    "delete_acls",
    "delete_groups",
    "delete_records",
    "delete_share_group_offsets",
    "delete_share_group_state",
    "delete_topics",
    "describe_acls",
    "describe_client_quotas",
    "describe_cluster",
    "describe_configs",
    "describe_delegation_token",
    "describe_groups",
    "describe_log_dirs",
    "describe_producers",
    "describe_quorum",
    "describe_share_group_offsets",
    "describe_topic_partitions",
    "describe_transactions",
    "describe_user_scram_credentials",
    "elect_leaders",
    "end_quorum_epoch",
    "end_txn",
    "envelope",
    "expire_delegation_token",
    "fetch",
    "fetch_snapshot",
    "find_coordinator",
    "heartbeat",
    "incremental_alter_configs",
    "init_producer_id",
    "initialize_share_group_state",
    "join_group",
    "leave_group",
    "list_config_resources",
    "list_groups",
    "list_offsets",
    "list_partition_reassignments",
    "list_transactions",
    "metadata",
    "offset_commit",
    "offset_delete",
    "offset_fetch",
    "offset_for_leader_epoch",
    "produce",
    "read_share_group_state",
    "read_share_group_state_summary",
    "remove_raft_voter",
    "renew_delegation_token",
    "share_acknowledge",
    "share_fetch",
    "share_group_describe",
    "share_group_heartbeat",
    "streams_group_describe",
    "streams_group_heartbeat",
    "sync_group",
    "txn_offset_commit",
    "unregister_broker",
    "update_features",
    "update_raft_voter",
    "vote",
    "write_share_group_state",
    "write_txn_markers",
)

# Those that Kafka serves only with a plugin, and this broker with kconsole.client.telemetry.enable.
TELEMETRY_MODULES = ("get_telemetry_subscriptions", "push_telemetry")

# Those of the metadata quorum: where ZooKeeper coordinates there is none.
QUORUM_MODULES = frozenset(
    (
        "add_raft_voter",
        "begin_quorum_epoch",
        "describe_quorum",
        "end_quorum_epoch",
        "fetch_snapshot",
        "remove_raft_voter",
        "update_raft_voter",
        "vote",
    )
)


def api_modules(config: BrokerConfig) -> list[str]:
    """Modules under :mod:`engine.broker.apis` of what a node with this config serves."""
    served = [*API_MODULES, *(TELEMETRY_MODULES if config.kconsole_client_telemetry_enable else ())]
    if config.coordination == "zookeeper":
        return [each for each in served if each not in QUORUM_MODULES]
    return served

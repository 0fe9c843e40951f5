"""The configuration of a node, from a server.properties with Kafka's names (Kafka's AbstractKafkaConfig)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.model.broker_config_table import TABLE
from engine.model.configs import (
    REQUIRED,
    ConfigError,
    ConfigKey,
    ConfigValue,
    UpdateMode,
    parse_all,
    parse_table,
    text_of,
)
from engine.model.listeners import (
    ListenerEndpoint,
    check_roles_and_listeners,
    parse_connection_overrides,
    parse_listeners,
    parse_security_map,
    parse_voters,
)
from engine.model.zookeeper_config import ZooKeeperConfigs, check_coordination, coordinated

# Configs that Kafka knows only while a broker runs, and shows only when they are set.
ONLY_DYNAMIC = (
    "leader.replication.throttled.rate",
    "follower.replication.throttled.rate",
    "replica.alter.log.dirs.io.max.bytes.per.second",
)

STANDARD_AUTHORIZER = "org.apache.kafka.metadata.authorizer.StandardAuthorizer"
# Kafka 3.9's where ZooKeeper coordinates.
ACL_AUTHORIZER = "kafka.security.authorizer.AclAuthorizer"

MIGRATION_POLICIES = ("disabled", "downgrade", "upgrade", "bidirectional")

BROKER_CONFIGS: dict[str, ConfigKey] = parse_table(TABLE, has_update_mode=True)


# replica.selector.class: no class is loaded by its name, these two are known.
RACK_AWARE_SELECTOR = "org.apache.kafka.common.replica.RackAwareReplicaSelector"
REPLICA_SELECTORS = (RACK_AWARE_SELECTOR, "org.apache.kafka.common.replica.LeaderSelector")


class BrokerConfig(ZooKeeperConfigs):
    """Typed values of every config in :data:`BROKER_CONFIGS`, by attribute, and what follows from several of them.

    Unchanging: :meth:`with_dynamic` makes another one.
    """

    # identity and roles
    node_id: int
    broker_id: int
    process_roles: tuple[str, ...]
    broker_rack: str | None
    log_dirs: tuple[str, ...]
    log_dir: tuple[str, ...]
    metadata_log_dir: str
    cordoned_log_dirs: tuple[str, ...]
    # listeners and connections
    listeners: tuple[ListenerEndpoint, ...]
    advertised_listeners: tuple[ListenerEndpoint, ...]
    advertised_controller_listeners: tuple[ListenerEndpoint, ...]
    listener_security_protocol_map: dict[str, str]
    inter_broker_listener_name: str
    security_inter_broker_protocol: str
    controller_listener_names: tuple[str, ...]
    socket_send_buffer_bytes: int
    socket_receive_buffer_bytes: int
    socket_listen_backlog_size: int
    socket_request_max_bytes: int
    socket_connection_setup_timeout_ms: int
    socket_connection_setup_timeout_max_ms: int
    connections_max_idle_ms: int
    max_connections: int
    max_connections_per_ip: int
    max_connections_per_ip_overrides: dict[str, int]
    max_connection_creation_rate: int
    connection_failed_authentication_delay_ms: int
    request_timeout_ms: int
    num_network_threads: int
    num_io_threads: int
    background_threads: int
    queued_max_requests: int
    queued_max_request_bytes: int
    # metadata quorum and controller
    controller_quorum_voters: dict[int, tuple[str, int]]
    controller_quorum_bootstrap_servers: tuple[str, ...]
    controller_quorum_election_timeout_ms: int
    controller_quorum_fetch_timeout_ms: int
    controller_quorum_election_backoff_max_ms: int
    controller_quorum_append_linger_ms: int
    controller_quorum_request_timeout_ms: int
    controller_quorum_retry_backoff_ms: int
    controller_quorum_fetch_max_bytes: int
    controller_quorum_fetch_snapshot_max_bytes: int
    controller_socket_timeout_ms: int
    metadata_log_segment_bytes: int
    metadata_log_segment_ms: int
    metadata_log_max_record_bytes_between_snapshots: int
    metadata_log_max_snapshot_interval_ms: int
    metadata_max_idle_interval_ms: int
    metadata_max_retention_bytes: int
    metadata_max_retention_ms: int
    broker_heartbeat_interval_ms: int
    broker_session_timeout_ms: int
    initial_broker_registration_timeout_ms: int
    controlled_shutdown_enable: bool
    auto_leader_rebalance_enable: bool
    leader_imbalance_check_interval_seconds: int
    unclean_leader_election_enable: bool
    delete_topic_enable: bool
    # topics
    auto_create_topics_enable: bool
    num_partitions: int
    default_replication_factor: int
    min_insync_replicas: int
    max_request_partition_size_limit: int
    message_max_bytes: int
    compression_type: str
    compression_gzip_level: int
    compression_lz4_level: int
    compression_zstd_level: int
    # log
    log_segment_bytes: int
    log_roll_ms: int
    log_roll_hours: int
    log_roll_jitter_ms: int
    log_roll_jitter_hours: int
    log_retention_ms: int
    log_retention_minutes: int | None
    log_retention_hours: int
    log_retention_bytes: int
    log_retention_check_interval_ms: int
    log_segment_delete_delay_ms: int
    log_cleanup_policy: tuple[str, ...]
    log_index_size_max_bytes: int
    log_index_interval_bytes: int
    log_flush_interval_messages: int
    log_flush_interval_ms: int
    log_flush_scheduler_interval_ms: int
    log_flush_offset_checkpoint_interval_ms: int
    log_flush_start_offset_checkpoint_interval_ms: int
    log_preallocate: bool
    log_message_timestamp_type: str
    log_message_timestamp_before_max_ms: int
    log_message_timestamp_after_max_ms: int
    log_dir_failure_timeout_ms: int
    num_recovery_threads_per_data_dir: int
    log_initial_task_delay_ms: int
    log_cleaner_enable: bool
    log_cleaner_threads: int
    log_cleaner_backoff_ms: int
    log_cleaner_dedupe_buffer_size: int
    log_cleaner_io_buffer_size: int
    log_cleaner_io_buffer_load_factor: float
    log_cleaner_io_max_bytes_per_second: float
    log_cleaner_delete_retention_ms: int
    log_cleaner_min_compaction_lag_ms: int
    log_cleaner_max_compaction_lag_ms: int
    log_cleaner_min_cleanable_ratio: float
    # replication
    num_replica_fetchers: int
    replica_fetch_max_bytes: int
    replica_fetch_response_max_bytes: int
    replica_fetch_min_bytes: int
    replica_fetch_wait_max_ms: int
    replica_fetch_backoff_ms: int
    replica_lag_time_max_ms: int
    replica_socket_timeout_ms: int
    replica_socket_receive_buffer_bytes: int
    replica_high_watermark_checkpoint_interval_ms: int
    replica_selector_class: str | None
    fetch_max_bytes: int
    max_incremental_fetch_session_cache_slots: int
    fetch_purgatory_purge_interval_requests: int
    producer_purgatory_purge_interval_requests: int
    delete_records_purgatory_purge_interval_requests: int
    producer_id_expiration_ms: int
    producer_id_expiration_check_interval_ms: int
    # groups
    group_min_session_timeout_ms: int
    group_max_session_timeout_ms: int
    group_initial_rebalance_delay_ms: int
    group_max_size: int
    group_coordinator_rebalance_protocols: tuple[str, ...]
    group_consumer_session_timeout_ms: int
    group_consumer_min_session_timeout_ms: int
    group_consumer_max_session_timeout_ms: int
    group_consumer_heartbeat_interval_ms: int
    group_consumer_min_heartbeat_interval_ms: int
    group_consumer_max_heartbeat_interval_ms: int
    group_consumer_assignment_interval_ms: int
    group_consumer_min_assignment_interval_ms: int
    group_consumer_max_assignment_interval_ms: int
    group_consumer_max_size: int
    group_consumer_assignors: tuple[str, ...]
    group_consumer_migration_policy: str
    group_consumer_regex_refresh_interval_ms: int
    group_streams_session_timeout_ms: int
    group_streams_min_session_timeout_ms: int
    group_streams_max_session_timeout_ms: int
    group_streams_heartbeat_interval_ms: int
    group_streams_min_heartbeat_interval_ms: int
    group_streams_max_heartbeat_interval_ms: int
    group_streams_max_size: int
    group_streams_num_standby_replicas: int
    group_streams_max_standby_replicas: int
    group_streams_initial_rebalance_delay_ms: int
    group_streams_assignment_interval_ms: int
    group_streams_min_assignment_interval_ms: int
    group_streams_max_assignment_interval_ms: int
    group_coordinator_threads: int
    group_coordinator_append_linger_ms: int
    offset_metadata_max_bytes: int
    offsets_load_buffer_size: int
    offsets_topic_replication_factor: int
    offsets_topic_num_partitions: int
    offsets_topic_segment_bytes: int
    offsets_topic_compression_codec: int
    offsets_retention_minutes: int
    offsets_retention_check_interval_ms: int
    offsets_commit_timeout_ms: int
    # share groups
    group_share_session_timeout_ms: int
    group_share_min_session_timeout_ms: int
    group_share_max_session_timeout_ms: int
    group_share_heartbeat_interval_ms: int
    group_share_min_heartbeat_interval_ms: int
    group_share_max_heartbeat_interval_ms: int
    group_share_assignment_interval_ms: int
    group_share_min_assignment_interval_ms: int
    group_share_max_assignment_interval_ms: int
    group_share_max_size: int
    group_share_assignors: tuple[str, ...]
    group_share_initialize_retry_interval_ms: int
    group_share_delivery_count_limit: int
    group_share_min_delivery_count_limit: int
    group_share_max_delivery_count_limit: int
    group_share_record_lock_duration_ms: int
    group_share_min_record_lock_duration_ms: int
    group_share_max_record_lock_duration_ms: int
    group_share_partition_max_record_locks: int
    group_share_min_partition_max_record_locks: int
    group_share_max_partition_max_record_locks: int
    group_share_max_share_sessions: int
    share_coordinator_state_topic_num_partitions: int
    share_coordinator_state_topic_replication_factor: int
    share_coordinator_state_topic_min_isr: int
    share_coordinator_state_topic_segment_bytes: int
    share_coordinator_state_topic_compression_codec: int
    share_coordinator_snapshot_update_records_per_snapshot: int
    share_coordinator_write_timeout_ms: int
    share_coordinator_state_topic_prune_interval_ms: int
    share_coordinator_cold_partition_snapshot_interval_ms: int
    # transactions
    transactional_id_expiration_ms: int
    transaction_max_timeout_ms: int
    transaction_state_log_min_isr: int
    transaction_state_log_replication_factor: int
    transaction_state_log_num_partitions: int
    transaction_state_log_segment_bytes: int
    transaction_state_log_load_buffer_size: int
    transaction_abort_timed_out_transaction_cleanup_interval_ms: int
    transaction_remove_expired_transaction_cleanup_interval_ms: int
    transaction_partition_verification_enable: bool
    add_partitions_to_txn_retry_backoff_max_ms: int
    add_partitions_to_txn_retry_backoff_ms: int
    log_local_retention_bytes: int
    log_local_retention_ms: int
    telemetry_max_bytes: int
    # set while brokers run, never in their files
    leader_replication_throttled_rate: int
    follower_replication_throttled_rate: int
    replica_alter_log_dirs_io_max_bytes_per_second: int
    # policies and metrics that tools look for
    authorizer_class_name: str
    replication_quota_window_num: int
    replication_quota_window_size_seconds: int
    controller_quota_window_num: int
    controller_quota_window_size_seconds: int
    quota_window_num: int
    quota_window_size_seconds: int
    metric_reporters: tuple[str, ...]
    metrics_num_samples: int
    metrics_recording_level: str
    metrics_sample_window_ms: int
    # kconsole's own
    kconsole_connection_loss_detection_enable: bool
    kconsole_connection_loss_grace_ms: int
    kconsole_client_telemetry_enable: bool
    kconsole_fenced_broker_linger_ms: int

    # what the file said, by Kafka's name, and names in it that nothing here knows
    static: dict[str, str]
    unknown: dict[str, str]
    # what holds, by name, as texts; None is null
    effective: dict[str, str | None]
    warnings: tuple[str, ...]
    # controller.quorum.voters: node id to (host, port)
    quorum_voters: dict[int, tuple[str, int]]
    dynamic_default: dict[str, str]
    dynamic: dict[str, str]

    def __init__(self, attributes: Mapping[str, Any]) -> None:
        """Use :meth:`from_properties`."""
        self.__dict__.update(attributes)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{name}: a configuration does not change; see with_dynamic")

    @property
    def is_broker(self) -> bool:
        """Whether this node serves data."""
        return "broker" in self.process_roles

    @property
    def is_controller(self) -> bool:
        """Whether this node is a controller."""
        return "controller" in self.process_roles

    @property
    def cordoned_paths(self) -> frozenset[str]:
        """Those of log_dirs that take no new replicas (KIP-1066)."""
        return frozenset(self.log_dirs if "*" in self.cordoned_log_dirs else self.cordoned_log_dirs)

    @property
    def broker_listeners(self) -> tuple[ListenerEndpoint, ...]:
        """Listeners of clients and brokers."""
        return tuple(each for each in self.listeners if each.name not in self.controller_listener_names)

    @property
    def controller_listeners(self) -> tuple[ListenerEndpoint, ...]:
        """Listeners of the metadata quorum."""
        return tuple(each for each in self.listeners if each.name in self.controller_listener_names)

    @classmethod
    def from_properties(cls, properties: Mapping[str, str]) -> BrokerConfig:
        """Parse and check everything.

        Unknown names are kept in ``unknown`` and named in ``warnings``, as Kafka does.

        Raises:
            ConfigError: with all that is wrong.
        """
        return cls._build(dict(properties), {}, {})

    def with_dynamic(self, cluster_default: Mapping[str, str], broker: Mapping[str, str]) -> BrokerConfig:
        """The same node with dynamic configs on top (KIP-226): those of the cluster, then this broker's own.

        Configs that are read-only while a broker runs are passed over.

        Raises:
            ConfigError: with all that is wrong.
        """
        return self._build(self.static, cluster_default, broker)

    @classmethod
    def _build(
        cls, static: Mapping[str, str], cluster_default: Mapping[str, str], broker: Mapping[str, str]
    ) -> BrokerConfig:
        texts = {**static, **_dynamic_only(cluster_default), **_dynamic_only(broker)}
        errors: list[str] = []
        if "node.id" not in texts and "broker.id" in texts:
            texts["node.id"] = texts["broker.id"]
        more, texts = coordinated(texts, errors)
        keys = BROKER_CONFIGS | more
        values: dict[str, ConfigValue] = _defaults(keys)
        parsed = parse_all(keys, texts, errors)
        values.update(parsed)
        wrong = {name for name in texts if name in keys and name not in parsed}
        for name, key in keys.items():
            if key.default == REQUIRED and name not in texts:
                errors.append(f'Missing required configuration "{name}" which has no default value.')
                wrong.add(name)
        attributes: dict[str, Any] = {keys[name].attribute: value for name, value in values.items()}
        check_coordination(texts, attributes, wrong, errors)
        _derive_log(attributes, texts, errors)
        attributes["listener_security_protocol_map"] = security = parse_security_map(
            attributes["listener_security_protocol_map"], attributes.get("controller_listener_names") or (), errors
        )
        attributes["listeners"] = parse_listeners("listeners", attributes["listeners"], security, errors)
        advertised = attributes["advertised_listeners"]
        attributes["advertised_listeners"] = (
            attributes["listeners"]
            if advertised is None
            else parse_listeners("advertised.listeners", advertised, security, errors)
        )
        voters = parse_voters(attributes["controller_quorum_voters"], errors)
        attributes["controller_quorum_voters"] = attributes["quorum_voters"] = voters
        warnings: list[str] = []
        if not wrong & {"node.id", "process.roles", "controller.listener.names"}:
            check_roles_and_listeners(attributes, texts, errors)
        _check_relations(attributes, wrong, errors, warnings)
        if errors:
            raise ConfigError(errors)
        attributes["broker_id"] = attributes["node_id"]
        unknown = {name: text for name, text in static.items() if name not in keys}
        warnings += _warnings_of_unknown(unknown)
        attributes |= {
            "static": dict(static),
            "unknown": unknown,
            "warnings": tuple(warnings),
            "effective": {name: text_of(value) for name, value in values.items()},
            "dynamic_default": dict(cluster_default),
            "dynamic": dict(broker),
        }
        return cls(attributes)


def _dynamic_only(texts: Mapping[str, str]) -> dict[str, str]:
    return {
        name: text
        for name, text in texts.items()
        if name in BROKER_CONFIGS and BROKER_CONFIGS[name].update_mode is not UpdateMode.READ_ONLY
    }


_default_values: dict[str, ConfigValue] = {}


def _defaults(keys: Mapping[str, ConfigKey]) -> dict[str, ConfigValue]:
    for name, key in keys.items():
        if name in _default_values:
            continue
        if key.default is None:
            _default_values[name] = None
        elif key.default != REQUIRED:
            _default_values[name] = key.parse(key.default)
    return {name: value for name, value in _default_values.items() if name in keys}


def _derive_log(attributes: dict[str, Any], texts: Mapping[str, str], errors: list[str]) -> None:
    # Kafka's synonyms: the finest unit that is set holds.
    if attributes["log_retention_ms"] is None:
        minutes = attributes["log_retention_minutes"]
        attributes["log_retention_ms"] = (
            minutes * 60_000 if minutes is not None else attributes["log_retention_hours"] * 3_600_000
        )
    for name in ("log.retention.ms", "log.retention.minutes", "log.retention.hours"):
        value = attributes[name.replace(".", "_")]
        if name in texts and value is not None and (value < -1 or value == 0):
            errors.append(f"{name} must be unlimited (-1) or, greater than or equal to 1")
    # minus one hour is "for ever" as well
    if attributes["log_retention_ms"] < 0:
        attributes["log_retention_ms"] = -1
    if attributes["log_roll_ms"] is None:
        attributes["log_roll_ms"] = attributes["log_roll_hours"] * 3_600_000
    if attributes["log_roll_jitter_ms"] is None:
        attributes["log_roll_jitter_ms"] = attributes["log_roll_jitter_hours"] * 3_600_000
    if attributes["log_flush_interval_ms"] is None:
        attributes["log_flush_interval_ms"] = attributes["log_flush_scheduler_interval_ms"]
    directories = attributes["log_dirs"] if attributes["log_dirs"] is not None else attributes["log_dir"]
    directories = tuple(directory for directory in directories if directory)
    if not directories:
        errors.append("Configuration 'log.dirs' must not be empty. Valid values include: any non-empty value")
    elif len(set(directories)) != len(directories):
        errors.append(f"log.dirs names a directory twice: {','.join(directories)}")
    attributes["log_dirs"] = directories
    if attributes["metadata_log_dir"] is None:
        attributes["metadata_log_dir"] = directories[0] if directories else ""


def _check_relations(attributes: dict[str, Any], wrong: set[str], errors: list[str], warnings: list[str]) -> None:
    def both_right(*names: str) -> bool:
        return not wrong & set(names)

    if both_right("replica.fetch.wait.max.ms", "replica.socket.timeout.ms") and (
        attributes["replica_fetch_wait_max_ms"] > attributes["replica_socket_timeout_ms"]
    ):
        errors.append(
            "replica.socket.timeout.ms should always be at least replica.fetch.wait.max.ms to prevent unnecessary "
            "socket timeouts"
        )
    if both_right("replica.fetch.wait.max.ms", "replica.lag.time.max.ms") and (
        attributes["replica_fetch_wait_max_ms"] > attributes["replica_lag_time_max_ms"]
    ):
        errors.append(
            "replica.fetch.wait.max.ms should always be less than or equal to replica.lag.time.max.ms to prevent "
            "frequent changes in ISR"
        )
    if attributes["replica_selector_class"] not in (None, *REPLICA_SELECTORS):
        errors.append(
            f"replica.selector.class {attributes['replica_selector_class']} is none that there is: give "
            f"{' or '.join(REPLICA_SELECTORS)}, or leave it out"
        )
    if attributes["broker_heartbeat_interval_ms"] * 2 > attributes["broker_session_timeout_ms"]:
        warnings.append(
            f"broker.heartbeat.interval.ms ({attributes['broker_heartbeat_interval_ms']}) is more than half of "
            f"broker.session.timeout.ms ({attributes['broker_session_timeout_ms']}): one lost heartbeat fences"
        )
    if attributes["group_min_session_timeout_ms"] > attributes["group_max_session_timeout_ms"]:
        errors.append("group.max.session.timeout.ms should be at least group.min.session.timeout.ms")
    _check_consumer_groups(attributes, errors)
    _check_streams_groups(attributes, errors)
    missing = [each for each in attributes["cordoned_log_dirs"] if each not in ("*", *attributes["log_dirs"])]
    if missing:
        errors.append(
            "requirement failed: All entries in cordoned.log.dirs must be present in log.dirs or log.dir. Missing "
            f"entries : {', '.join(missing)}"
        )
    try:
        attributes["max_connections_per_ip_overrides"] = parse_connection_overrides(
            attributes["max_connections_per_ip_overrides"]
        )
    except ValueError as error:
        errors.append(f"max.connections.per.ip.overrides: {error}")
    _check_share_groups(attributes, errors)
    authorizer = attributes["authorizer_class_name"]
    known = [STANDARD_AUTHORIZER, *([ACL_AUTHORIZER] if attributes["coordination"] == "zookeeper" else [])]
    if authorizer in known:
        warnings.append(
            "authorizer.class.name: access control lists are kept and shown, but nothing is refused because of them"
        )
    elif authorizer:
        errors.append(
            f"authorizer.class.name: {authorizer} is not known here: set {' or '.join(known)}, or leave it empty"
        )
    if attributes["offsets_topic_compression_codec"] not in range(5):
        errors.append(f"Unknown compression type id: {attributes['offsets_topic_compression_codec']}")


def _check_consumer_groups(attributes: dict[str, Any], errors: list[str]) -> None:
    """The relations of the group.consumer configs, in the words of GroupCoordinatorConfig."""
    _check_group_times("group.consumer", attributes, errors)
    if not attributes["group_consumer_assignors"]:
        errors.append("group.consumer.assignors must name at least one of uniform and range")
    policy = attributes["group_consumer_migration_policy"]
    if policy.lower() not in MIGRATION_POLICIES:
        errors.append(
            f"Invalid value {policy} for configuration group.consumer.migration.policy: String must be one of (case "
            f"insensitive): {', '.join(each.upper() for each in MIGRATION_POLICIES)}"
        )


def _check_share_groups(attributes: dict[str, Any], errors: list[str]) -> None:
    """The relations of the group.share configs, in the words of GroupCoordinatorConfig and ShareGroupConfig."""
    for short in (
        "heartbeat.interval.ms",
        "session.timeout.ms",
        "assignment.interval.ms",
        "delivery.count.limit",
        "record.lock.duration.ms",
        "partition.max.record.locks",
    ):
        names = (f"group.share.min.{short}", f"group.share.{short}", f"group.share.max.{short}")
        low, value, high = (attributes[name.replace(".", "_")] for name in names)
        if high < low:
            errors.append(f"{names[2]} must be greater than or equal to {names[0]}")
        if value < low:
            errors.append(f"{names[1]} must be greater than or equal to {names[0]}")
        if value > high:
            errors.append(f"{names[2]} must be greater than or equal to {names[1]}")
    if attributes["group_share_heartbeat_interval_ms"] >= attributes["group_share_session_timeout_ms"]:
        errors.append("group.share.heartbeat.interval.ms must be less than group.share.session.timeout.ms")
    if attributes["share_coordinator_state_topic_compression_codec"] not in range(5):
        errors.append(f"Unknown compression type id: {attributes['share_coordinator_state_topic_compression_codec']}")


def _check_streams_groups(attributes: dict[str, Any], errors: list[str]) -> None:
    """The relations of the group.streams configs, in the words of GroupCoordinatorConfig."""
    _check_group_times("group.streams", attributes, errors)
    if attributes["group_streams_num_standby_replicas"] > attributes["group_streams_max_standby_replicas"]:
        errors.append(
            "group.streams.num.standby.replicas must be less than or equal to group.streams.max.standby.replicas"
        )


def _check_group_times(prefix: str, attributes: dict[str, Any], errors: list[str]) -> None:
    for short in ("heartbeat.interval.ms", "session.timeout.ms", "assignment.interval.ms"):
        names = (f"{prefix}.min.{short}", f"{prefix}.{short}", f"{prefix}.max.{short}")
        low, value, high = (attributes[name.replace(".", "_")] for name in names)
        if high < low:
            errors.append(f"{names[2]} must be greater than or equal to {names[0]}")
        if value < low:
            errors.append(f"{names[1]} must be greater than or equal to {names[0]}")
        if value > high:
            errors.append(f"{names[1]} must be less than or equal to {names[2]}")
    heartbeat, session = f"{prefix}.heartbeat.interval.ms", f"{prefix}.session.timeout.ms"
    if attributes[heartbeat.replace(".", "_")] >= attributes[session.replace(".", "_")]:
        errors.append(f"{heartbeat} must be less than {session}")


def _warnings_of_unknown(unknown: Mapping[str, str]) -> list[str]:
    if not unknown:
        return []
    from engine.model.kafka_config_names import NOT_HONOURED

    return [
        f"{name} is a config of Kafka that kconsole does not honour"
        if name in NOT_HONOURED
        else f"{name} is not a known config"
        for name in sorted(unknown)
    ]

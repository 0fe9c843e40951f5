"""Topic configs: a partition log's configuration, with the broker's configs of the same meaning behind it.

Facts of org.apache.kafka.storage.internals.log.LogConfig and ServerTopicConfigSynonyms (4.3.1).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from engine.model.broker_config import BrokerConfig
from engine.model.configs import ConfigError, ConfigKey, ConfigValue, parse_all, parse_table, text_of

_TABLE = """
cleanup.policy list delete compact|delete medium
    What becomes of old segments: delete, compact, or both.
compression.type string producer uncompressed|zstd|lz4|snappy|gzip|producer medium
    Compression of what is stored; producer keeps what the producer chose.
compression.gzip.level int -1 1..9|-1 medium
    gzip's level when the broker compresses.
compression.lz4.level int 9 1..17 medium
    lz4's level when the broker compresses.
compression.zstd.level int 3 -131072..22 medium
    zstd's level when the broker compresses.
delete.retention.ms long 86400000 0.. medium
    How long a tombstone of a compacted topic stays readable.
file.delete.delay.ms long 60000 0.. medium
    How long a deleted file stays on the disk.
flush.messages long 9223372036854775807 1.. medium
    Records after which the log is flushed to the device; 1 flushes before every ack.
flush.ms long 9223372036854775807 0.. medium
    Longest time before a flush.
follower.replication.throttled.replicas list "" * medium
    Follower replicas that are throttled, partition:broker each, or *.
index.interval.bytes int 4096 0.. medium
    Bytes of log between two entries of the offset index.
internal.segment.bytes int - * medium
    segment.bytes without its lower bound, for tests.
leader.replication.throttled.replicas list "" * medium
    Leader replicas that are throttled, partition:broker each, or *.
local.retention.bytes long -2 -2.. medium
    Local part of retention.bytes with tiered storage; -2 means retention.bytes.
local.retention.ms long -2 -2.. medium
    Local part of retention.ms with tiered storage; -2 means retention.ms.
max.compaction.lag.ms long 9223372036854775807 1.. medium
    A record is due for compaction at this age.
max.message.bytes int 1048588 0.. medium
    The largest record batch that is taken.
message.timestamp.after.max.ms long 3600000 0.. medium
    How far after the broker's clock a timestamp may lie.
message.timestamp.before.max.ms long 9223372036854775807 0.. medium
    How far before the broker's clock a timestamp may lie.
message.timestamp.type string CreateTime CreateTime|LogAppendTime medium
    Timestamp of a record: the producer's or the time of the append.
min.cleanable.dirty.ratio double 0.5 0..1 medium
    Share of uncompacted bytes that makes the log due for compaction.
min.compaction.lag.ms long 0 0.. medium
    A record is not compacted before this age.
min.insync.replicas int 1 1.. medium
    acks=all is refused with fewer in-sync replicas than this.
preallocate boolean false * medium
    Segment files are created at full size.
remote.log.copy.disable boolean false * medium
    No more segments go to tiered storage.
remote.log.delete.on.disable boolean false * medium
    Tiered segments are deleted when tiering is turned off.
remote.storage.enable boolean false * medium
    Tiered storage for this topic.
retention.bytes long -1 * medium
    Size of a partition beyond which old segments go; -1 means no bound.
retention.ms long 604800000 -1.. medium
    How long records stay; -1 for ever.
segment.bytes int 1073741824 1048576.. medium
    Size at which a segment is rolled.
segment.index.bytes int 10485760 4.. medium
    Largest size of an index file.
segment.jitter.ms long 0 0.. medium
    Random part taken off the rolling age.
segment.ms long 604800000 1.. medium
    Age at which a segment is rolled.
unclean.leader.election.enable boolean false * medium
    An out-of-sync replica may lead when no other is left: loses records.
"""

TOPIC_CONFIGS: dict[str, ConfigKey] = parse_table(_TABLE, has_update_mode=False)

_HOURS, _MINUTES = 3_600_000, 60_000

# Topic config to the broker configs that stand behind it, first come first served, each with the factor of its unit.
TOPIC_SYNONYMS: dict[str, tuple[tuple[str, int], ...]] = {
    "segment.bytes": (("log.segment.bytes", 1),),
    "segment.ms": (("log.roll.ms", 1), ("log.roll.hours", _HOURS)),
    "segment.jitter.ms": (("log.roll.jitter.ms", 1), ("log.roll.jitter.hours", _HOURS)),
    "segment.index.bytes": (("log.index.size.max.bytes", 1),),
    "flush.messages": (("log.flush.interval.messages", 1),),
    "flush.ms": (("log.flush.interval.ms", 1), ("log.flush.scheduler.interval.ms", 1)),
    "retention.bytes": (("log.retention.bytes", 1),),
    "retention.ms": (("log.retention.ms", 1), ("log.retention.minutes", _MINUTES), ("log.retention.hours", _HOURS)),
    "max.message.bytes": (("message.max.bytes", 1),),
    "index.interval.bytes": (("log.index.interval.bytes", 1),),
    "delete.retention.ms": (("log.cleaner.delete.retention.ms", 1),),
    "min.compaction.lag.ms": (("log.cleaner.min.compaction.lag.ms", 1),),
    "max.compaction.lag.ms": (("log.cleaner.max.compaction.lag.ms", 1),),
    "file.delete.delay.ms": (("log.segment.delete.delay.ms", 1),),
    "min.cleanable.dirty.ratio": (("log.cleaner.min.cleanable.ratio", 1),),
    "cleanup.policy": (("log.cleanup.policy", 1),),
    "unclean.leader.election.enable": (("unclean.leader.election.enable", 1),),
    "min.insync.replicas": (("min.insync.replicas", 1),),
    "compression.type": (("compression.type", 1),),
    "compression.gzip.level": (("compression.gzip.level", 1),),
    "compression.lz4.level": (("compression.lz4.level", 1),),
    "compression.zstd.level": (("compression.zstd.level", 1),),
    "preallocate": (("log.preallocate", 1),),
    "message.timestamp.type": (("log.message.timestamp.type", 1),),
    "message.timestamp.before.max.ms": (("log.message.timestamp.before.max.ms", 1),),
    "message.timestamp.after.max.ms": (("log.message.timestamp.after.max.ms", 1),),
    "local.retention.ms": (("log.local.retention.ms", 1),),
    "local.retention.bytes": (("log.local.retention.bytes", 1),),
}

_THROTTLED = re.compile(r"\*|\s*|[0-9]+:[0-9]+(\s*,\s*[0-9]+:[0-9]+)*", re.ASCII)


def check_topic_configs(overrides: Mapping[str, str]) -> None:
    """Check a topic's own configs, each alone and together.

    Raises:
        ConfigError: with all that is wrong, in LogConfig's words.
    """
    errors = [f"Unknown topic config name: {name}" for name in overrides if name not in TOPIC_CONFIGS]
    values = parse_all(TOPIC_CONFIGS, overrides, errors)
    for name in ("leader.replication.throttled.replicas", "follower.replication.throttled.replicas"):
        if name in overrides and not _THROTTLED.fullmatch(overrides[name].strip()):
            errors.append(
                f"Invalid value [{overrides[name]}] for configuration {name}: {name} must be the literal '*' or a list "
                "of replicas in the following format: [partitionId]:[brokerId],[partitionId]:[brokerId],..."
            )
    low, high = values.get("min.compaction.lag.ms"), values.get("max.compaction.lag.ms")
    if isinstance(low, int) and isinstance(high, int) and low > high:
        errors.append(f"conflict topic config setting min.compaction.lag.ms ({low}) > max.compaction.lag.ms ({high})")
    if values.get("remote.storage.enable") is True:
        errors.append(
            "Tiered Storage functionality is disabled in the broker. "
            "Topic cannot be configured with remote log storage."
        )
    if errors:
        raise ConfigError(errors)


class LogConfig:
    """Typed values of every topic config, by attribute. Unchanging; made once a change, read on every append.

    ``segment_bytes`` already follows ``internal.segment.bytes`` if that is set.
    """

    cleanup_policy: tuple[str, ...]
    compression_type: str
    compression_gzip_level: int
    compression_lz4_level: int
    compression_zstd_level: int
    delete_retention_ms: int
    file_delete_delay_ms: int
    flush_messages: int
    flush_ms: int
    follower_replication_throttled_replicas: tuple[str, ...]
    index_interval_bytes: int
    internal_segment_bytes: int | None
    leader_replication_throttled_replicas: tuple[str, ...]
    local_retention_bytes: int
    local_retention_ms: int
    max_compaction_lag_ms: int
    max_message_bytes: int
    message_timestamp_after_max_ms: int
    message_timestamp_before_max_ms: int
    message_timestamp_type: str
    min_cleanable_dirty_ratio: float
    min_compaction_lag_ms: int
    min_insync_replicas: int
    preallocate: bool
    remote_log_copy_disable: bool
    remote_log_delete_on_disable: bool
    remote_storage_enable: bool
    retention_bytes: int
    retention_ms: int
    segment_bytes: int
    segment_index_bytes: int
    segment_jitter_ms: int
    segment_ms: int
    unclean_leader_election_enable: bool
    # the topic's own configs, as texts
    overrides: dict[str, str]

    def __init__(self, attributes: Mapping[str, Any]) -> None:
        """Use :meth:`from_`."""
        self.__dict__.update(attributes)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{name}: a configuration does not change; make another")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LogConfig) and self.__dict__ == other.__dict__

    __hash__ = None  # type: ignore[assignment]

    @property
    def compact(self) -> bool:
        """Whether the log is compacted."""
        return "compact" in self.cleanup_policy

    @property
    def delete(self) -> bool:
        """Whether retention deletes old segments."""
        return "delete" in self.cleanup_policy

    @classmethod
    def from_(cls, broker: BrokerConfig | None, overrides: Mapping[str, str]) -> LogConfig:
        """A log's configuration: the topic's own values, else the broker's (``None``: Kafka's defaults).

        Overrides that nothing here knows are kept in ``overrides`` only.

        Raises:
            ConfigError: an override's value is wrong.
        """
        values = dict(_defaults())
        if broker is not None:
            for name, synonyms in TOPIC_SYNONYMS.items():
                # The first of the synonyms already holds what follows from the others.
                value = getattr(broker, synonyms[0][0].replace(".", "_"), None)
                if value is not None:
                    values[name] = value
        errors: list[str] = []
        values.update(parse_all(TOPIC_CONFIGS, overrides, errors))
        if errors:
            raise ConfigError(errors)
        attributes: dict[str, Any] = {TOPIC_CONFIGS[name].attribute: value for name, value in values.items()}
        if attributes["internal_segment_bytes"] is not None:
            attributes["segment_bytes"] = attributes["internal_segment_bytes"]
        attributes["overrides"] = dict(overrides)
        return cls(attributes)

    def texts(self) -> dict[str, str | None]:
        """The value that holds, as a text, of every topic config that Kafka does not hide."""
        found: dict[str, str | None] = {}
        for name, key in TOPIC_CONFIGS.items():
            if key.is_internal:
                continue
            found[name] = text_of(getattr(self, key.attribute))
        return found


_default_values: dict[str, ConfigValue] = {}


def _defaults() -> dict[str, ConfigValue]:
    if not _default_values:
        for name, key in TOPIC_CONFIGS.items():
            _default_values[name] = None if key.default is None else key.parse(key.default)
    return _default_values

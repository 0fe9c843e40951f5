"""Configs of a subscription to clients' metrics (KIP-714). Kafka: ClientMetricsConfigs."""

from __future__ import annotations

import re
from collections.abc import Mapping

from engine.model.configs import ConfigError, ConfigKey, parse_all, parse_table

_TABLE = """
interval.ms int 300000 * medium
    How often a client pushes.
match list "" * medium
    Which clients: NAME=REGEX each, all of them to match; none means every client.
metrics list "" * medium
    Prefixes of the names of metrics; * means all.
"""

CLIENT_METRICS_CONFIGS: dict[str, ConfigKey] = parse_table(_TABLE, has_update_mode=False)

_MATCHED = (
    "client_instance_id",
    "client_id",
    "client_software_name",
    "client_software_version",
    "client_source_address",
    "client_source_port",
)
_MIN_INTERVAL_MS, _MAX_INTERVAL_MS = 100, 3_600_000


class UnknownOrOutOfRange(ConfigError):
    """What Kafka answers with INVALID_REQUEST, not with INVALID_CONFIG."""


def check_client_metrics(configs: Mapping[str, str]) -> None:
    """Check all configs of a subscription together.

    Raises:
        UnknownOrOutOfRange: a name that does not exist, or an interval that is too short or too long.
        ConfigError: a value of the wrong type, or a pattern that is none.
    """
    for name in configs:
        if name not in CLIENT_METRICS_CONFIGS:
            raise UnknownOrOutOfRange([f"Unknown client metrics configuration: {name}"])
    errors: list[str] = []
    values = parse_all(CLIENT_METRICS_CONFIGS, configs, errors)
    if errors:
        raise ConfigError(errors)
    interval_ms = values.get("interval.ms")
    if isinstance(interval_ms, int) and not _MIN_INTERVAL_MS <= interval_ms <= _MAX_INTERVAL_MS:
        raise UnknownOrOutOfRange(
            [f"Invalid value {interval_ms} for interval.ms, interval must be between 100 and 3600000 (1 hour)"]
        )
    patterns = values.get("match")
    for pattern in patterns if isinstance(patterns, tuple) else ():
        name, _, expression = pattern.partition("=")
        if name.strip() not in _MATCHED or not expression or "=" in expression or not _compiles(expression.strip()):
            raise ConfigError([f"Illegal client matching pattern: {pattern}"])


def _compiles(expression: str) -> bool:
    try:
        re.compile(expression)
    except re.error:
        return False
    return True

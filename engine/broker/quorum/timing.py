"""The quorum's timeouts, from the node's configuration."""

from __future__ import annotations

from typing import Any

from engine.core.raft.timing import RaftTiming


def timing_from(config: Any) -> RaftTiming:
    """The quorum's timeouts from ``controller.quorum.*`` and ``kconsole.connection.loss.*``."""
    return RaftTiming(
        election_timeout_ms=config.controller_quorum_election_timeout_ms,
        fetch_timeout_ms=config.controller_quorum_fetch_timeout_ms,
        election_backoff_max_ms=config.controller_quorum_election_backoff_max_ms,
        request_timeout_ms=config.controller_quorum_request_timeout_ms,
        retry_backoff_ms=config.controller_quorum_retry_backoff_ms,
        connection_loss_detection=config.kconsole_connection_loss_detection_enable,
        connection_loss_grace_ms=config.kconsole_connection_loss_grace_ms,
    )

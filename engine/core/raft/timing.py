"""The quorum's timeouts."""

from __future__ import annotations

from typing import NamedTuple


class RaftTiming(NamedTuple):
    """Durations in milliseconds, under Kafka's names where Kafka has them.

    ``election_timeout_ms``, ``fetch_timeout_ms``, ``election_backoff_max_ms``, ``request_timeout_ms`` and
    ``retry_backoff_ms`` are the ``controller.quorum.*`` configs. With ``connection_loss_detection``
    (``kconsole.connection.loss.detection.enable``) a follower whose leader refuses connections stands for election
    after about ``connection_loss_grace_ms`` instead of after the fetch timeout; pre-vote keeps this from disturbing a
    leader that others still hear.
    """

    election_timeout_ms: float = 1000
    fetch_timeout_ms: float = 2000
    election_backoff_max_ms: float = 1000
    request_timeout_ms: float = 2000
    retry_backoff_ms: float = 20
    fetch_max_wait_ms: int = 500
    fetch_max_bytes: int = 8 * 1024 * 1024
    connection_loss_detection: bool = True
    connection_loss_grace_ms: float = 50

    @property
    def check_quorum_timeout_ms(self) -> float:
        """A leader that was not fetched from by a majority for this long resigns (LeaderState)."""
        return self.fetch_timeout_ms * 1.5

    @property
    def update_voter_interval_ms(self) -> float:
        """How often a voter looks whether the leader must hear what it is (FollowerState)."""
        return self.fetch_timeout_ms

    @property
    def begin_quorum_epoch_interval_ms(self) -> float:
        """How often a leader calls on voters that do not fetch (LeaderState)."""
        return self.fetch_timeout_ms / 2

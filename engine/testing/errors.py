"""What can go wrong with a cluster in a test."""

from __future__ import annotations


class KafkaClusterError(Exception):
    """The cluster refused, or cannot do what was asked in its present state."""


class KafkaClusterTimeout(KafkaClusterError, TimeoutError):
    """The cluster did not come to a state in time; the text says what was missing."""

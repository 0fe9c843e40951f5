"""Administration of a Kafka cluster over our own codec: every call gives typed results, errors item by item."""

from engine.client.admin.client import AdminClient
from engine.client.admin.outcome import Failure, failure_text

__all__ = ["AdminClient", "Failure", "failure_text"]

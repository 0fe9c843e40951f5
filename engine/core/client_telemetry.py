"""Which metrics a client is asked for, and which of its pushes are taken (KIP-714). Kafka: ClientMetricsManager.

Pure: the clock's readings and new ids come as arguments.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Mapping
from typing import NamedTuple

from engine.model.client_metrics_config import CLIENT_METRICS_CONFIGS
from engine.model.errors import ErrorCode, KafkaError
from engine.model.ids import ZERO_UUID, Uuid, uuid_to_str
from engine.record.checksum import crc32c

ALL_METRICS = "*"
_DEFAULT_INTERVAL_MS = int(CLIENT_METRICS_CONFIGS["interval.ms"].default or 0)
# What Kafka remembers.
_MOST_INSTANCES = 16_384


class ClientAttributes(NamedTuple):
    """What subscriptions can match a client by."""

    client_id: str
    client_software_name: str
    client_software_version: str
    client_source_address: str
    client_source_port: str


class Subscribed(NamedTuple):
    """What a client is asked for."""

    subscription_id: int
    metrics: tuple[str, ...]
    push_interval_ms: int


class _Instance:
    __slots__ = ("is_terminating", "last_get_ms", "last_push_ms", "push_interval_ms")

    def __init__(self) -> None:
        self.last_get_ms = self.last_push_ms = float("-inf")
        self.push_interval_ms = 0
        self.is_terminating = False


def subscribed(
    subscriptions: Mapping[str, Mapping[str, str]], instance_id: Uuid, attributes: ClientAttributes
) -> Subscribed:
    """All subscriptions that match a client, as one. ``subscriptions``: configs by name (client-metrics resources)."""
    metrics: dict[str, None] = {}
    interval_ms = _DEFAULT_INTERVAL_MS
    for configs in subscriptions.values():
        if _matches(configs.get("match", ""), instance_id, attributes):
            metrics |= dict.fromkeys(each.strip() for each in configs.get("metrics", "").split(",") if each.strip())
            interval_ms = min(interval_ms, int(configs.get("interval.ms", _DEFAULT_INTERVAL_MS)))
    names = (ALL_METRICS,) if ALL_METRICS in metrics else tuple(sorted(metrics))
    number = int(crc32c(instance_id + f"{','.join(names)} {interval_ms}".encode()))
    return Subscribed(number - (1 << 32) if number >= 1 << 31 else number, names, interval_ms)


def _matches(patterns: str, instance_id: Uuid, attributes: ClientAttributes) -> bool:
    values = {**attributes._asdict(), "client_instance_id": uuid_to_str(instance_id)}
    for pattern in filter(None, map(str.strip, patterns.split(","))):
        name, _, expression = pattern.partition("=")
        if not re.fullmatch(expression.strip(), values.get(name.strip(), "")):
            return False
    return True


class TelemetryInstances:
    """The clients that asked, the least recent forgotten when there are too many."""

    def __init__(self) -> None:
        self._instances: OrderedDict[Uuid, _Instance] = OrderedDict()

    def on_get(self, instance_id: Uuid, found: Subscribed, now_ms: float) -> None:
        """A client asks what it shall push. Raises: KafkaError: THROTTLING_QUOTA_EXCEEDED: too soon."""
        instance = self._instance(instance_id)
        if now_ms - max(instance.last_get_ms, instance.last_push_ms) < instance.push_interval_ms:
            raise KafkaError(ErrorCode.THROTTLING_QUOTA_EXCEEDED, "asked before the next push is due")
        instance.last_get_ms = now_ms
        instance.push_interval_ms = found.push_interval_ms

    def on_push(
        self, instance_id: Uuid, found: Subscribed, subscription_id: int, *, is_terminating: bool, now_ms: float
    ) -> None:
        """A client pushes.

        Raises:
            KafkaError: INVALID_REQUEST: no id, or one that said goodbye; THROTTLING_QUOTA_EXCEEDED: too soon;
                UNKNOWN_SUBSCRIPTION_ID: it shall ask anew.
        """
        if instance_id in (ZERO_UUID, _RESERVED):
            raise KafkaError(ErrorCode.INVALID_REQUEST, "invalid client instance id")
        instance = self._instance(instance_id)
        if instance.is_terminating:
            raise KafkaError(ErrorCode.INVALID_REQUEST, "the client said that it would push no more")
        is_first = instance.last_get_ms > instance.last_push_ms
        # One that ends pushes what it has left whenever that is.
        if not is_first and not is_terminating and now_ms - instance.last_push_ms < found.push_interval_ms:
            raise KafkaError(ErrorCode.THROTTLING_QUOTA_EXCEEDED, "pushed before the next push is due")
        instance.last_push_ms = now_ms
        instance.push_interval_ms = found.push_interval_ms
        instance.is_terminating = is_terminating
        if subscription_id != found.subscription_id:
            raise KafkaError(ErrorCode.UNKNOWN_SUBSCRIPTION_ID, "the subscription is another one now")

    def _instance(self, instance_id: Uuid) -> _Instance:
        instance = self._instances.get(instance_id)
        if instance is None:
            if len(self._instances) >= _MOST_INSTANCES:
                self._instances.popitem(last=False)
            instance = self._instances[instance_id] = _Instance()
        else:
            self._instances.move_to_end(instance_id)
        return instance


# Uuid.ONE_UUID, Kafka's own.
_RESERVED = bytes(15) + b"\x01"

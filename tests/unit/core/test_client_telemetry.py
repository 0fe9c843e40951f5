"""Which metrics a client is asked for, and which of its pushes are taken (KIP-714)."""

from __future__ import annotations

import pytest

from engine.core.client_telemetry import ClientAttributes, Subscribed, TelemetryInstances, subscribed
from engine.model.errors import ErrorCode, KafkaError
from engine.model.ids import ZERO_UUID, uuid_to_str

ME = bytes(range(16))
CLIENT = ClientAttributes("app-1", "apache-kafka-java", "4.3.1", "10.0.0.1", "5000")


def test_subscriptions_that_match_are_one() -> None:
    subscriptions = {
        "all": {"metrics": "a.", "interval.ms": "60000"},
        "java": {"metrics": "b.,a.", "match": "client_software_name=.*java,client_id=app-.*", "interval.ms": "1000"},
        "others": {"metrics": "c.", "match": "client_software_name=librdkafka"},
        "part": {"metrics": "d.", "match": "client_id=app"},
        "me": {"metrics": "e.", "match": f"client_instance_id={uuid_to_str(ME)}"},
    }
    found = subscribed(subscriptions, ME, CLIENT)
    assert (found.metrics, found.push_interval_ms) == (("a.", "b.", "e."), 1000)
    assert -(1 << 31) <= found.subscription_id < 1 << 31
    assert subscribed(subscriptions, ME, CLIENT) == found
    other = subscribed({**subscriptions, "all": {"metrics": "*"}}, ME, CLIENT)
    assert other.metrics == ("*",) and other.subscription_id != found.subscription_id
    assert subscribed({}, ME, CLIENT)[1:] == ((), 300_000)


def refusal(act: object, *arguments: object, **more: object) -> ErrorCode:
    with pytest.raises(KafkaError) as caught:
        act(*arguments, **more)  # type: ignore[operator]
    return caught.value.code


def test_pushes_are_taken_when_they_are_due() -> None:
    instances, found = TelemetryInstances(), Subscribed(7, ("*",), 1000)

    def push(now_ms: float, subscription_id: int = 7, instance: bytes = ME, is_terminating: bool = False) -> None:
        instances.on_push(instance, found, subscription_id, is_terminating=is_terminating, now_ms=now_ms)

    instances.on_get(ME, found, 0)
    assert refusal(instances.on_get, ME, found, 500) is ErrorCode.THROTTLING_QUOTA_EXCEEDED
    push(10)
    assert refusal(push, 500) is ErrorCode.THROTTLING_QUOTA_EXCEEDED
    assert refusal(instances.on_get, ME, found, 1000) is ErrorCode.THROTTLING_QUOTA_EXCEEDED
    push(1010)
    assert refusal(push, 2010, 8) is ErrorCode.UNKNOWN_SUBSCRIPTION_ID
    instances.on_get(ME, found, 3010)
    push(3011)
    push(3012, is_terminating=True)
    assert refusal(push, 9000) is ErrorCode.INVALID_REQUEST
    assert refusal(push, 9000, instance=ZERO_UUID) is ErrorCode.INVALID_REQUEST

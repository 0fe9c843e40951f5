"""What a registry makes of its producer's errors, without brokers."""

from __future__ import annotations

import time

import pytest
from confluent_kafka import KafkaError, KafkaException

from engine.registry.errors import RegistryBroken, RegistryFenced
from engine.registry.topic_log import TopicLog


@pytest.mark.parametrize(("open_for_s", "is_broken"), [(0.0, False), (60.0, True)])
def test_who_is_fenced_for_being_slow_begins_anew_and_who_was_replaced_does_not(
    open_for_s: float, is_broken: bool
) -> None:
    log = TopicLog({}, "_schemas", lambda *_: None, lambda _: None)
    log._is_open, log._begun_at = True, time.time() - open_for_s
    found = log._failed(KafkaException(KafkaError(KafkaError._FENCED)))
    assert isinstance(found, RegistryFenced)
    assert isinstance(found, RegistryBroken) is is_broken
    assert ("longer than 10 s" in str(found)) is is_broken

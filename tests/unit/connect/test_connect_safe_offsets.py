"""What offsets may be committed or set: never past a dead letter that is lost, never numbers that Kafka has not."""

from __future__ import annotations

import logging

import pytest

from engine.connect.errors import ConnectError
from engine.connect.runtime.dead_letters import DeadLetterQueue
from engine.connect.runtime.error_operator import Failed, Stage
from engine.connect.runtime.herder import BadRequest
from engine.connect.runtime.sink_offsets import parsed


class _Large:
    def key(self) -> None:
        return None

    def value(self) -> bytes:
        return bytes(5000)

    def headers(self) -> None:
        return None

    def timestamp(self) -> tuple[int, int]:
        return (0, -1)


def test_a_dead_letter_that_is_lost_is_told_at_the_last_commit_too() -> None:
    settings = {"bootstrap.servers": "127.0.0.1:1", "message.max.bytes": 1000}
    queue = DeadLetterQueue(settings, "dlq", "sink", 0, with_headers=False, logger=logging.getLogger("none"))
    queue.report(Failed(_Large(), Stage.VALUE_CONVERTER, str, ValueError("bad")))
    for _ in range(2):
        with pytest.raises(ConnectError, match="dead letter queue topic dlq"):
            queue.flush()


@pytest.mark.parametrize(("partition", "offset"), [(2**31, 0), (-(2**31) - 1, 0), (0, 2**63), (0, 10**30)])
def test_offsets_that_no_partition_can_have_are_refused_as_bad_requests(partition: int, offset: int) -> None:
    with pytest.raises(BadRequest, match="need to be integers"):
        parsed([({"kafka_topic": "t", "kafka_partition": partition}, {"kafka_offset": offset})])


def test_the_largest_numbers_are_taken() -> None:
    found = parsed([({"kafka_topic": "t", "kafka_partition": str(2**31 - 1)}, {"kafka_offset": 2**63 - 1})])
    assert list(found.values()) == [2**63 - 1]

"""Refused appends are told with their reason and its numbers, and a flood of them costs one line a second."""

from __future__ import annotations

from engine.broker.refusals import Seldom
from engine.model.errors import ErrorCode
from tests.unit.broker.broker_requests import batch, create_topic, new_producer_id, pause_follower, produce
from tests.unit.broker.in_process_cluster import InProcessCluster


async def test_a_refused_append_says_why_with_the_numbers(broker: InProcessCluster) -> None:
    await create_topic(broker, "t", 1, {"max.message.bytes": "200"})
    producer = {"producer_id": await new_producer_id(broker, 1), "producer_epoch": 3}
    await produce(broker, 1, "t", batch(base_sequence=0, **producer))
    old = batch(base_sequence=1, **producer | {"producer_epoch": 2})
    refused = {"t": [batch(b"x" * 300), batch(base_sequence=7, **producer), old], "nowhere": [batch()]}
    for topic, batches in refused.items():
        for each in batches:
            await produce(broker, 1, topic, each)
    said = {note["detail"]["error"]: (note["subject"], note["reason"]) for note in broker.notes("produce_refused")}
    assert said["MESSAGE_TOO_LARGE"][0] == "t-0"
    assert said["MESSAGE_TOO_LARGE"][1].endswith("bytes; max.message.bytes is 200")
    assert "sequence 7 at offset 1; expected 1 (its last one was 0)" in said["OUT_OF_ORDER_SEQUENCE_NUMBER"][1]
    assert "epoch 2 of producer" in said["INVALID_PRODUCER_EPOCH"][1] and said["INVALID_PRODUCER_EPOCH"][1].endswith(
        "3"
    )
    assert said["UNKNOWN_TOPIC_OR_PARTITION"][0] == "nowhere-0"
    assert said["UNKNOWN_TOPIC_OR_PARTITION"][1].endswith("this broker knows 1 topics")


async def test_a_flood_of_them_is_told_once(broker: InProcessCluster) -> None:
    for _ in range(30):
        await produce(broker, 1, "nowhere")
    assert len(broker.notes("produce_refused")) <= 2


async def test_who_leads_instead_and_what_was_not_committed_in_time_are_told(cluster: InProcessCluster) -> None:
    await create_topic(cluster, "t", [[1, 2]])
    await produce(cluster, 2, "t")
    (elsewhere,) = cluster.notes("produce_refused", "t-0")
    assert elsewhere["reason"] == "NOT_LEADER_OR_FOLLOWER: its leader is broker 1, in epoch 0"
    pause_follower(cluster, 2, "t")
    answer = await produce(cluster, 1, "t", timeout_ms=30)
    assert ErrorCode(answer.error_code) is ErrorCode.REQUEST_TIMED_OUT
    late = cluster.notes("produce_refused", "t-0")[-1]
    assert late["reason"] == (
        "REQUEST_TIMED_OUT: appended, and not committed within timeout.ms=30: log end 1, high watermark 0, ISR [1, 2]"
    )


def test_each_kind_is_told_once_a_second_and_the_next_one_says_how_many_were_not() -> None:
    class Clock:
        at_ms = 0.0

        def monotonic_ms(self) -> float:
            return self.at_ms

    clock = Clock()
    seldom = Seldom(clock)  # type: ignore[arg-type]
    assert [seldom.untold("a"), seldom.untold("a"), seldom.untold("b"), seldom.untold("a")] == [0, None, 0, None]
    clock.at_ms = 1_000
    assert seldom.untold("a") == 2

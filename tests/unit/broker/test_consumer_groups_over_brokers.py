"""Consumer groups (KIP-848) on real replicas: switched on and off, configured, and gone on with by another broker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from engine.model.errors import ErrorCode
from engine.model.group_config import GROUP_CONFIGS
from engine.wire.messages.consumer_group_describe_request import ConsumerGroupDescribeRequest
from engine.wire.messages.consumer_group_heartbeat_request import ConsumerGroupHeartbeatRequest
from engine.wire.messages.describe_configs_request import DescribeConfigsRequest, DescribeConfigsResource
from engine.wire.messages.incremental_alter_configs_request import (
    AlterableConfig,
    AlterConfigsResource,
    IncrementalAlterConfigsRequest,
)
from engine.wire.messages.join_group_request import JoinGroupRequest
from engine.wire.messages.list_groups_request import ListGroupsRequest
from tests.unit.broker.broker_requests import create_topic
from tests.unit.broker.in_process_cluster import InProcessCluster
from tests.unit.broker.test_coordinators_over_brokers import coordinator_of

GROUP = 32


def heartbeat(epoch: int, member_id: str = "m", **more: Any) -> ConsumerGroupHeartbeatRequest:
    joins: dict[str, Any] = (
        {"rebalance_timeout_ms": 60_000, "subscribed_topic_names": ["t"], "topic_partitions": []} if epoch == 0 else {}
    )
    return ConsumerGroupHeartbeatRequest(group_id="g", member_id=member_id, member_epoch=epoch, **{**joins, **more})


async def describe(cluster: InProcessCluster, node_id: int, *group_ids: str) -> list[Any]:
    request = ConsumerGroupDescribeRequest(group_ids=list(group_ids), include_authorized_operations=True)
    return (await cluster.ask(node_id, request, 1)).groups  # type: ignore[no-any-return]


async def test_a_group_goes_on_when_another_broker_takes_over(cluster: InProcessCluster) -> None:
    await create_topic(cluster, "t", 3)
    node_id = await coordinator_of(cluster, "g")
    joined = await cluster.ask(node_id, heartbeat(0), 1)
    assert joined.error_code == ErrorCode.NONE and joined.member_epoch == 2
    assert [sorted(each.partitions) for each in joined.assignment.topic_partitions] == [[0, 1, 2]]
    others = [each for each in cluster.incarnations if each != node_id]
    assert (await cluster.ask(others[0], heartbeat(2), 1)).error_code == ErrorCode.NOT_COORDINATOR
    (told,) = await describe(cluster, node_id, "g")
    assert told.members[0].assignment.topic_partitions[0].topic_name == "t" and told.authorized_operations > 0
    empty, unknown = await describe(cluster, node_id, "", "g2")
    assert empty.error_code == ErrorCode.INVALID_GROUP_ID
    assert unknown.error_code in (ErrorCode.GROUP_ID_NOT_FOUND, ErrorCode.NOT_COORDINATOR)
    await cluster.kill(node_id)
    node_id = await coordinator_of(cluster, "g")
    answer = await cluster.ask(node_id, heartbeat(2), 1)
    assert answer.error_code == ErrorCode.NONE and answer.member_epoch == 2


async def test_a_group_has_configs_of_its_own(cluster: InProcessCluster) -> None:
    async def described(node_id: int) -> dict[str, tuple[str, int]]:
        resource = DescribeConfigsResource(resource_type=GROUP, resource_name="g")
        request = DescribeConfigsRequest(resources=[resource], include_synonyms=True)
        (result,) = (await cluster.ask(node_id, request, 4)).results
        return {each.name: (each.value, each.config_source) for each in result.configs}

    node_id = await coordinator_of(cluster, "g")
    before = await described(node_id)
    assert before["consumer.heartbeat.interval.ms"] == ("5000", 5) and set(before) == set(GROUP_CONFIGS)
    change = AlterableConfig(name="consumer.heartbeat.interval.ms", config_operation=0, value="7000")
    resource = AlterConfigsResource(resource_type=GROUP, resource_name="g", configs=[change])
    (answer,) = (await cluster.ask(node_id, IncrementalAlterConfigsRequest(resources=[resource]), 1)).responses
    assert answer.error_code == ErrorCode.NONE, answer.error_message
    while (await described(node_id))["consumer.heartbeat.interval.ms"] != ("7000", 8):
        await cluster[node_id].metadata.wait_for_change(1000)
    await create_topic(cluster, "t")
    assert (await cluster.ask(node_id, heartbeat(0), 1)).heartbeat_interval_ms == 7_000


async def test_a_broker_without_the_protocol_says_so(tmp_path: Path) -> None:
    configs = {"group.coordinator.rebalance.protocols": "classic"}
    async with InProcessCluster(tmp_path, 1, configs=configs) as cluster:
        await coordinator_of(cluster, "g")
        assert (await cluster.ask(1, heartbeat(0), 1)).error_code == ErrorCode.UNSUPPORTED_VERSION
        (told,) = await describe(cluster, 1, "g")
        assert told.error_code == ErrorCode.UNSUPPORTED_VERSION


async def test_types_are_told_in_lower_case(broker: InProcessCluster) -> None:
    await create_topic(broker, "t", 3)
    await coordinator_of(broker, "g")
    await broker.ask(1, heartbeat(0), 1)
    (listed,) = (await broker.ask(1, ListGroupsRequest(types_filter=["Consumer"]), 5)).groups
    assert (listed.group_id, listed.group_type, listed.protocol_type) == ("g", "consumer", "consumer")


async def test_an_error_of_join_group_names_no_protocol_in_the_form_of_its_version(broker: InProcessCluster) -> None:
    """JoinGroupResponse of Kafka: empty before version 7, null from then on."""
    await coordinator_of(broker, "g")
    for version, none in ((6, ""), (7, None), (9, None)):
        request = JoinGroupRequest(group_id="g", member_id="ghost", session_timeout_ms=10_000, protocol_type="consumer")
        answer = await broker.ask(1, request, version)
        assert answer.error_code != ErrorCode.NONE and answer.protocol_name == none

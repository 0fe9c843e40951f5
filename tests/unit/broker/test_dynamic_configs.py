"""Broker configs that take effect while the broker runs (KIP-226, KIP-1066)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from engine.client.errors import ClientError
from engine.model.errors import ErrorCode
from engine.wire.messages.api_versions_request import ApiVersionsRequest
from engine.wire.messages.describe_log_dirs_request import DescribeLogDirsRequest
from engine.wire.messages.incremental_alter_configs_request import (
    AlterableConfig,
    AlterConfigsResource,
    IncrementalAlterConfigsRequest,
)
from tests.unit.broker.broker_requests import BROKER, alter_config, create_topic, replica_of
from tests.unit.broker.in_process_cluster import InProcessCluster


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[InProcessCluster]:
    """One broker with two log directories."""
    async with InProcessCluster(tmp_path, 1, log_dirs=2) as cluster:
        yield cluster


async def test_cordoned_directories_take_no_new_replicas(broker: InProcessCluster) -> None:
    first, second = broker.log_dir(1, 0), broker.log_dir(1, 1)
    await alter_config(broker, "cordoned.log.dirs", first, "1", kind=BROKER)
    for number in range(3):
        await create_topic(broker, f"t{number}", [[1]])
        assert replica_of(broker, 1, f"t{number}").log_dir == second
    response = await broker.ask(1, DescribeLogDirsRequest(topics=None), 5)
    assert {each.log_dir: each.is_cordoned for each in response.results} == {first: True, second: False}
    ids = broker[1].log_dirs.directory_ids
    await broker.until(lambda: broker[1].metadata.image.brokers[1].cordoned_log_dirs == (ids[first],))
    await alter_config(broker, "cordoned.log.dirs", None, "1", kind=BROKER)
    await broker.until(lambda: broker[1].metadata.image.brokers[1].cordoned_log_dirs == ())
    await create_topic(broker, "t3", [[1]])
    assert replica_of(broker, 1, "t3").log_dir == first


@pytest.mark.parametrize(
    ("name", "value"),
    [("cordoned.log.dirs", "/nowhere"), ("max.connections.per.ip.overrides", "x"), ("log.cleaner.threads", "many")],
)
async def test_what_a_broker_cannot_be_is_refused(broker: InProcessCluster, name: str, value: str) -> None:
    change = AlterConfigsResource(BROKER, "1", [AlterableConfig(name, 0, value)])
    response = await broker.ask(1, IncrementalAlterConfigsRequest([change]), 1)
    assert [each.error_code for each in response.responses] == [ErrorCode.INVALID_REQUEST]
    assert broker[1].metadata.image.config(BROKER, "1") == {}


async def test_connections_from_one_address_are_limited_at_once(broker: InProcessCluster) -> None:
    connections = [await broker.connect(1) for _ in range(3)]
    await alter_config(broker, "max.connections.per.ip", "5", "", kind=BROKER)
    # With the one over which the config was altered.
    connections.append(await broker.connect(1))
    await connections[-1].send(ApiVersionsRequest("test", "1"), version=3)
    with pytest.raises(ClientError):
        await (await broker.connect(1)).send(ApiVersionsRequest("test", "1"), version=3)
    host = next(iter(broker[1].router.connections)).peer_host
    await alter_config(broker, "max.connections.per.ip.overrides", f"{host}:6", "", kind=BROKER)
    connections.append(await broker.connect(1))
    await connections[-1].send(ApiVersionsRequest("test", "1"), version=3)
    for each in connections:
        each.close()


async def test_producers_are_remembered_as_long_as_is_said_at_last(broker: InProcessCluster) -> None:
    await create_topic(broker, "t", [[1]])
    await alter_config(broker, "producer.id.expiration.ms", "5000", "", kind=BROKER)
    assert replica_of(broker, 1, "t").log.producers.expiration_ms == 5000
    await create_topic(broker, "u", [[1]])
    assert replica_of(broker, 1, "u").log.producers.expiration_ms == 5000

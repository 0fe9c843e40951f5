"""Metrics that clients push go to the stream of facts (GetTelemetrySubscriptions, PushTelemetry)."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from engine.model.errors import ErrorCode
from engine.record.compression import Compression, compress
from engine.wire.messages.api_versions_request import ApiVersionsRequest
from engine.wire.messages.get_telemetry_subscriptions_request import GetTelemetrySubscriptionsRequest
from engine.wire.messages.push_telemetry_request import PushTelemetryRequest
from tests.unit.broker.broker_requests import alter_config
from tests.unit.broker.in_process_cluster import InProcessCluster
from tests.unit.wire.test_otlp import GAUGE, message, metric

METRICS = 16
ENABLED = {"kconsole.client.telemetry.enable": "true", "telemetry.max.bytes": "2000"}


async def advertised(cluster: InProcessCluster) -> set[int]:
    response = await cluster.ask(1, ApiVersionsRequest("test", "1"), 4)
    return {each.api_key for each in response.api_keys} & {71, 72}


async def test_it_is_not_served_unless_it_is_wanted(tmp_path: Path) -> None:
    async with InProcessCluster(tmp_path, 1) as broker:
        assert await advertised(broker) == set()


@pytest.mark.parametrize("codec", list(Compression))
async def test_what_a_client_pushes_is_told(tmp_path: Path, codec: Compression) -> None:
    async with InProcessCluster(tmp_path, 1, ENABLED) as broker:
        assert await advertised(broker) == {71, 72}
        await alter_config(broker, "metrics", "org.", "sub", kind=METRICS)
        await alter_config(broker, "interval.ms", "100", "sub", kind=METRICS)
        asked = await broker.ask(1, GetTelemetrySubscriptionsRequest(), 0)
        assert (asked.requested_metrics, asked.push_interval_ms, asked.telemetry_max_bytes) == (["org."], 100, 2000)

        async def push(data: bytes, **more: int) -> ErrorCode:
            await asyncio.sleep(0.11)
            request = PushTelemetryRequest(asked.client_instance_id, asked.subscription_id, False, codec, data)
            for name, value in more.items():
                setattr(request, name, value)
            return ErrorCode((await broker.ask(1, request, 0)).error_code)

        assert await push(compress(codec, message(metric("org.x", GAUGE, 2.5)))) is ErrorCode.NONE
        told = [fact for fact in broker.facts if fact["type"] == "client_metrics"]
        assert [(fact["metrics"], fact["client_id"]) for fact in told] == [({"org.x": 2.5}, "test")]
        if codec is not Compression.NONE:
            # A small push that would unpack to much more than it may.
            assert await push(compress(codec, bytes(30_000))) is ErrorCode.INVALID_RECORD
            return
        assert await push(b"no metrics") is ErrorCode.INVALID_RECORD
        assert await push(bytes(2001)) is ErrorCode.TELEMETRY_TOO_LARGE
        assert await push(b"", compression_type=9) is ErrorCode.UNSUPPORTED_COMPRESSION_TYPE
        await alter_config(broker, "metrics", "net.", "sub", kind=METRICS)
        assert await push(b"") is ErrorCode.UNKNOWN_SUBSCRIPTION_ID

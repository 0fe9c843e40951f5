"""Clusters for the tests of the broker."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.unit.broker.in_process_cluster import InProcessCluster


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[InProcessCluster]:
    """Three brokers."""
    async with InProcessCluster(tmp_path) as running:
        yield running


@pytest.fixture
async def quick_cluster(tmp_path: Path) -> AsyncIterator[InProcessCluster]:
    """Three brokers whose followers hear of a high watermark at once and lag after a moment."""
    configs = {"replica.fetch.wait.max.ms": "20", "replica.lag.time.max.ms": "200"}
    async with InProcessCluster(tmp_path, configs=configs) as running:
        yield running


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[InProcessCluster]:
    """A cluster of one, broker 1."""
    async with InProcessCluster(tmp_path, 1) as running:
        yield running

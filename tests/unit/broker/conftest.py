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
async def broker(tmp_path: Path) -> AsyncIterator[InProcessCluster]:
    """A cluster of one, broker 1."""
    async with InProcessCluster(tmp_path, 1) as running:
        yield running

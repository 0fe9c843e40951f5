"""Aggregates over Parquet files, as PySpark computes them: where ``make spark`` has fetched it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from tests.integration.java_tools import ROOT

SPARK = ROOT / ".cache" / "spark-4.2.0"
IS_THERE = (SPARK / ".complete").exists()


def counted_by_spark(directory: Path, *aggregates: str) -> dict[str, Any]:
    """``count(*) AS rows`` and their like, as texts by their names, and ``columns``."""
    command = [str(SPARK / "venv/bin/python"), str(Path(__file__).with_name("parquet_job.py")), str(directory)]
    done = subprocess.run([*command, *aggregates], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-4000:]
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told

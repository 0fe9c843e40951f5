"""The example of the README, as a reader would run it: copied into an empty directory, with pytest."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.integration


def run_pytest(directory: Path, *arguments: str) -> str:
    """What pytest said about a directory of its own, outside this project."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "COV"))}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments],
        cwd=directory,
        env=clean,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_readmes_example_passes(tmp_path: Path) -> None:
    section = (ROOT / "README.md").read_text().split("## In your own tests\n")[1].split("\n## ")[0]
    (example,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    (tmp_path / "test_orders.py").write_text(example)
    assert "2 passed" in run_pytest(tmp_path)

"""Workers of ours as processes, for tests: the same configs as Java's."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.integration.java_tools import ROOT

TOKEN = "the-token-of-these-tests"
_START_S = 30


@contextmanager
def our_worker(properties: Mapping[str, str], directory: Path, *connectors: Path) -> Iterator[int]:
    """Run one with a token; gives its port."""
    name = f"ours-{properties['listeners'].rpartition(':')[2]}"
    file, log_file = directory / f"{name}.properties", directory / f"{name}.log"
    told = {"rest.token": TOKEN, **properties}
    file.write_text("".join(f"{name}={value}\n" for name, value in told.items()))
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "engine.connect", str(file), *map(str, connectors)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            cwd=ROOT,
        )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line, log_file.read_text()[-3000:]
        yield int(json.loads(line)["url"].rstrip("/").rpartition(":")[2])
        process.terminate()
        assert process.wait(_START_S) == 0, log_file.read_text()[-3000:]
    finally:
        process.kill()
        process.wait()
        process.stdout.close()

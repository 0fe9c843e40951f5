"""The examples of connectors' configs are what REST would take."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from engine.connect.plugins import BUILT_IN
from engine.connect.runtime.validation import connector_class, validated
from engine.connect.runtime.worker_config import WorkerConfig

EXAMPLES = Path(__file__).resolve().parents[3] / "examples" / "connect"
# What is there when an example is used, and not when it is tested.
_PREFIXES = ("key.", "value.", "consumer.override.", "producer.override.")
_OF_THE_MACHINE = re.compile(r"There is no such directory on this worker|No such file|no connection to")


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.json")), ids=lambda path: path.stem)
def test_an_example_is_valid_and_has_no_config_that_nobody_reads(path: Path) -> None:
    example = json.loads(path.read_text())
    assert set(example) == {"name", "config"}
    config = {"name": example["name"], **example["config"]}
    worker = WorkerConfig(
        {
            "bootstrap.servers": "127.0.0.1:9",
            "key.converter": "org.apache.kafka.connect.json.JsonConverter",
            "value.converter": "org.apache.kafka.connect.json.JsonConverter",
            "offset.storage.file.filename": "/tmp/offsets",
        }
    )
    infos = validated(config, worker)
    told = [error for each in infos.configs for error in each.value.errors]
    assert [each for each in told if not _OF_THE_MACHINE.search(each)] == []
    known = {each.key.name for each in infos.configs if each.key is not None}
    unread = {name for name in config if name not in known and not name.startswith(_PREFIXES)}
    assert unread == set()


def test_each_connector_has_an_example() -> None:
    shown = {connector_class(json.loads(path.read_text())["config"]).__name__ for path in EXAMPLES.glob("*.json")}
    ours = {each.cls for each in BUILT_IN if ".connectors." in each.module}
    assert ours <= shown

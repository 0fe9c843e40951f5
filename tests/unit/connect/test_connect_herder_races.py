"""Requests to a group's leader: those that come at the same time, and offsets of an odd shape."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace

import pytest

from engine.connect.runtime.config_state import Change, ConfigState, Records, connector_records, task_records
from engine.connect.runtime.distributed import DistributedHerder
from engine.connect.runtime.herder import BadRequest
from engine.connect.runtime.offset_store import FileOffsetStore
from engine.connect.runtime.worker_config import WorkerConfig


class _SlowTopic:
    """The config topic, each write of which lets others have their turn before it is read."""

    def __init__(self, state: ConfigState) -> None:
        self.state = state

    async def write(self, records: Records) -> None:
        await asyncio.sleep(0.01)
        for key, value in records:
            self.state.replay(key, value)

    write_unprivileged = write


@pytest.fixture
async def herder() -> DistributedHerder:
    made = DistributedHerder(
        WorkerConfig(
            {
                "bootstrap.servers": "127.0.0.1:1",
                "group.id": "g",
                "config.storage.topic": "c",
                "offset.storage.topic": "o",
                "status.storage.topic": "s",
                "key.converter": "StringConverter",
                "value.converter": "StringConverter",
            }
        )
    )
    made._group = SimpleNamespace(is_leader=True, wake=asyncio.Event())
    made._store = _SlowTopic(made.configs)
    await made._store.write([*connector_records("c", {"name": "c"}), *task_records("c", [{}])])
    return made


async def test_task_configs_that_come_while_a_connector_is_stopped_do_not_give_it_tasks(
    herder: DistributedHerder,
) -> None:
    stopping = asyncio.create_task(herder.set_target_state("c", "STOPPED"))
    await asyncio.sleep(0.001)
    with pytest.raises(BadRequest, match="stopped connector c"):
        await herder.task_configs_from_worker("c", [{"task": "0"}])
    await stopping
    assert herder.configs.target("c") == "STOPPED"
    assert herder.configs.task_counts["c"] == 0


async def test_a_restart_of_all_is_not_forgotten_for_one_of_what_failed(herder: DistributedHerder) -> None:
    everything = Change("restart", "c", include_tasks=True)
    for change in (everything, Change("restart", "c"), Change("restart", "c", include_tasks=True, only_failed=True)):
        herder._changed(change, True)
    assert herder._restarts == {"c": everything}


async def test_offsets_are_reset_of_source_partitions_that_have_lists_in_them(
    herder: DistributedHerder, tmp_path: Path
) -> None:
    store = FileOffsetStore(str(tmp_path / "offsets"))
    await store.put("c", [({"tables": ["a", {"b": 1}]}, {"at": 7})])

    async def store_of(_: str) -> FileOffsetStore:
        return store

    told: list[object] = []
    herder.worker.offsets_of = store_of
    connector = SimpleNamespace(alter_offsets=lambda configs, offsets: told.append(dict(offsets)) or True)
    assert await herder._alter_source("c", connector, {}, None)
    assert told == [{(("tables", ("a", (("b", 1),))),): None}]
    assert (await store.index()).all("c") == []

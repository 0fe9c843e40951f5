"""A cluster as it was: answers that somebody asked for come back, all else is refused; bundles by the command line."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from console import recorded_questions
from console.cli import main
from console.gateway.protocol import Capabilities, EventBatch, GatewayError, NewTopic, Tail
from console.gateway.recorded import RecordedAnswers, RecordedGateway
from console.recording.reader import Record
from console.recording.recorder import Recorder
from console.viewmodel.configs import ConfigValue
from console.viewmodel.keeping import Told
from console.viewmodel.log_dirs import LogDirRow, ReplicaRow
from console.viewmodel.transactions import TransactionRow, TransactionsFound
from engine.supervisor.snapshot import BrokerState, ClusterEvent, ClusterSnapshot, Source

START_MS = 1_795_521_600_000
DISKS = Told(
    {1: [LogDirRow(1, "/data", 10, 5, (ReplicaRow("orders", 0, 7, 0, False),))], 2: None}, ("broker 2 does not tell",)
)
OPEN = TransactionsFound((TransactionRow("ledger", 1, "Ongoing", 4001, 7, 60_000, 2_000.0, ("orders-0",)),), ())


async def _refused(*_: Any) -> None:
    raise GatewayError("not here")


class _Administration:
    acls = scram_users = quotas = staticmethod(_refused)

    async def log_dirs(self, broker: int | None = None) -> Told:
        return DISKS


class _Cluster:
    administration = _Administration()
    moves = broker_configs = staticmethod(_refused)

    async def topic_configs(self, topic: str) -> list[ConfigValue]:
        return [ConfigValue("retention.ms", "5", "DYNAMIC_TOPIC_CONFIG")]

    async def transactions(self) -> TransactionsFound:
        return OPEN

    async def elect_preferred(self, partitions: Any) -> int:
        return 3


def recorder_at(path: Path) -> Recorder:
    recorder = Recorder(str(path), now_ms=lambda: START_MS, about={"source": "attached"})
    recorder.start()
    broker = BrokerState(1, "h", 9092, reachable=True)
    recorder.picture(ClusterSnapshot(START_MS, Source.ATTACHED, "c", brokers=(broker,), metadata_observed_at_ms=1))
    return recorder


async def test_what_was_asked_then_is_answered_and_nothing_is_done(tmp_path: Path) -> None:
    recorder = recorder_at(tmp_path / "r.db")
    present: Any = RecordedAnswers(_Cluster(), recorder.document)
    for broker in ({}, {"broker": 1}):
        assert await present.administration.log_dirs(**broker) is DISKS
    configs = await present.topic_configs("orders")
    assert await present.transactions() is OPEN and await present.elect_preferred(None) == 3
    recorder.close()

    past: Any = RecordedGateway(Record(str(tmp_path / "r.db")), has_present=True)
    past.show(past.look_at(START_MS))
    assert past.capabilities.attached and past.capabilities.no_writing.startswith("this is the past")
    disks = Told({str(broker): rows and tuple(rows) for broker, rows in DISKS.rows.items()}, DISKS.problems)
    assert await past.administration.log_dirs() == disks == await past.administration.log_dirs(broker=1)
    assert await past.topic_configs("orders") == configs and await past.transactions() == OPEN
    for refused in (
        past.topic_configs("payments"),
        past.administration.log_dirs(broker=2),
        past.administration.scram_users(),
        past.administration.delete_acls([]),
        past.elect_preferred(None),
        past.create_topic(NewTopic("new")),
        past.kill_brokers([1]),
        past.broker_log(1, previous=False, position=None),
        past.bulk.partition_count("orders"),
        anext(past.tail(Tail(("orders",)))),
    ):
        with pytest.raises(GatewayError):
            await refused
    with pytest.raises(AttributeError):
        _ = past.no_such_thing


def test_the_command_line_makes_and_opens_bundles(tmp_path: Path) -> None:
    def run(*words: str, code: int = 0) -> str:
        done = CliRunner().invoke(main, words)
        assert done.exit_code == code, done.output
        return done.output

    target = str(tmp_path / "incident")
    (tmp_path / "data" / "broker-1").mkdir(parents=True)
    (tmp_path / "data" / "broker-1" / "broker.log").write_text("started\npassword=x\n")
    (tmp_path / "data" / "cluster.yaml").write_text("brokers: []\n")
    where = ("--data-dir", str(tmp_path / "data"))
    assert "a console makes it while it is open" in run("bundle", target, *where, code=1)
    recorder_at(tmp_path / "data" / "recording" / "recording.db").close()
    assert "'noon' is no moment" in run("bundle", target, *where, "--from", "noon", code=2)
    assert json.loads(run("bundle", target, *where, "--json"))["pictures"] == 1
    assert "exists already" in run("bundle", target, *where, code=1)
    about = json.loads(run("replay", target, "--json"))
    assert (about["cluster_id"], about["logs"], about["files"]) == ("c", ["broker 1"], ["cluster.yaml"])
    assert run("replay", target, "--file", "cluster.yaml") == "brokers: []\n"
    assert run("replay", target, "--file", "broker 1") == "started\npassword=(redacted)\n"
    assert "there is cluster.yaml, broker 1" in run("replay", target, "--file", "x", code=2)
    assert "there is no record" in run("replay", str(tmp_path / "none"), code=2)
    assert "needs a terminal" in run("replay", target, code=2)


class _Live(_Cluster):
    """Shows one picture and one event, then nothing more."""

    capabilities = Capabilities(Source.ATTACHED, bootstrap_servers="h:9092")

    async def snapshots(self) -> Any:
        broker = BrokerState(1, "h", 9092, reachable=True)
        yield ClusterSnapshot(START_MS, Source.ATTACHED, "c", brokers=(broker,), metadata_observed_at_ms=1)
        raise GatewayError("nobody answers")

    async def events(self) -> Any:
        yield EventBatch([ClusterEvent(1, START_MS + 5, "leader_changed", "orders-0", "why", "observed")])
        await asyncio.Event().wait()


async def test_a_cluster_is_recorded_without_a_screen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorded_questions, "_FIRST_S", 0.0)
    recorder = Recorder(str(tmp_path / "r.db"), now_ms=lambda: START_MS)
    recorder.start()
    said: list[str] = []
    gateway: Any = _Live()
    recording = asyncio.ensure_future(recorded_questions.record_cluster(gateway, recorder, said.append))
    record = Record(str(tmp_path / "r.db"))
    for _ in range(400):
        await asyncio.sleep(0.01)
        if record.names_of("log_dirs") and record.event_after(0) is not None:
            break
    recording.cancel()
    await asyncio.gather(recording, return_exceptions=True)
    recorder.close()
    assert said == ["nobody answers"]
    assert record.picture_at(START_MS) is not None and record.events_until(START_MS + 5)[0].subject == "orders-0"
    assert record.document_at("transactions", "", START_MS, TransactionsFound) == OPEN
    assert Record(str(tmp_path / "r.db")).meta["bootstrap_servers"] == "h:9092"

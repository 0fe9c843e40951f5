"""What a machine cannot do is said; how long it took from a fault to the next acknowledged record."""

from __future__ import annotations

import os
import shutil
from types import SimpleNamespace
from typing import Any, cast

import pytest

from engine.chaos.__main__ import main
from engine.chaos.cluster import PartitionView, View, cluster_spec
from engine.chaos.machine import FAULTS, Machine
from engine.chaos.producers import FirstAcks


def test_what_this_machine_cannot_do_is_said_and_not_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr("engine.chaos.machine.glob", lambda pattern: [])
    machine = Machine(frozenset(FAULTS))
    assert machine.faults == frozenset(FAULTS) - {"disk-full", "eio", "clock"}
    clock, disk_full, eio = machine.warnings()
    assert clock.startswith("NOT POSSIBLE HERE: clock: libfaketime")
    assert disk_full.startswith("NOT POSSIBLE HERE: disk-full: ") and "root" in disk_full
    assert eio.startswith("NOT POSSIBLE HERE: eio: strace")
    # Nobody is told of what nobody asked for.
    assert Machine(frozenset({"kill", "pause"})).warnings() == []


def test_an_unknown_fault_is_refused_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--faults", "kill,earthquake"])
    assert end.value.code == 2
    assert "earthquake" in capsys.readouterr().err


def test_servers_of_zookeeper_are_broken_only_where_there_are_some(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--faults", "kill,zookeeper"])
    assert "takes --zookeeper N" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["--zookeeper", "2"])
    assert "invalid choice: 2" in capsys.readouterr().err


def first_acks(*producers: dict[str, list[tuple[int, int]]]) -> FirstAcks:
    return FirstAcks(cast(Any, [SimpleNamespace(acks=acks) for acks in producers]))


def test_the_time_to_the_next_acknowledged_record_is_that_of_the_slowest_partition() -> None:
    acks = first_acks({"p-0": [(10, 12), (30, 90), (31, 45)], "p-1": [(11, 13)]}, {"p-1": [(40, 60), (20, 21)]})
    assert acks.after(0) == 13
    # What was under way at the fault does not count: the record has to be sent after it.
    assert acks.after(10) == 3
    assert acks.after(25) == max(45 - 25, 60 - 25)
    assert acks.after(41) is None, "a partition acknowledged nothing any more"
    assert first_acks({}).after(0) is None


def test_a_view_says_what_is_missing() -> None:
    brokers = frozenset({1, 2, 3})
    good = PartitionView(1, (1, 2, 3), (3, 1, 2))
    assert View(brokers, 1, {("t", 0): good}).whole(brokers) == ""
    assert "[3]" in View(frozenset({1, 2}), 1, {("t", 0): good}).whole(brokers)
    assert "t-1" in View(brokers, 1, {("t", 0): good, ("t", 1): PartitionView(1, (1, 2), (1,))}).whole(brokers)
    assert "t-0" in View(brokers, 1, {("t", 0): PartitionView(-1, (1, 2), (1, 2))}).whole(brokers)


def test_with_mixed_durability_one_broker_of_three_syncs_each_record() -> None:
    spec = cluster_spec(3, "mixed")
    assert spec.durability == "page-cache"
    assert [broker.configs for broker in spec.brokers] == [{}, {}, {"log.flush.interval.messages": "1"}]
    assert cluster_spec(3, "fsync").durability == "fsync"

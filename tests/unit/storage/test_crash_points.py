"""The power is cut at every operation of the disk: what a start finds afterwards (L2, L3, L4, L5).

Here a few seeds; many more by ``make crash-points``.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator

import pytest

from engine.sim.crash_points.__main__ import campaign
from engine.sim.crash_points.campaign import PointFailed, Tally
from engine.sim.crash_points.quorum_script import KINDS as QUORUM_KINDS
from engine.sim.crash_points.script import KINDS
from engine.sim.disk import SimDisk, Survivors
from engine.storage.file_sync import make_dirs_synced

SEEDS = {"broker": range(100, 103), "quorum": range(100, 108)}
STEPS = 40


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Thousands of starts have much to say of what they cut."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("script", sorted(SEEDS))
def test_a_start_after_any_cut_finds_what_was_promised(script: str) -> None:
    total = Tally.empty()
    for seed in SEEDS[script]:
        total.add(campaign(script, seed).run(STEPS))
    print(f"seeds {SEEDS[script]} of {script}: {sum(total.points.values())} crash points, {dict(total.points)}")
    assert sum(total.points.values()) > 1000
    assert len(total.distinct_states) > 800
    # Every kind of operation touched the disk in one seed or the other.
    done = {each for each in total.points if each in (KINDS if script == "broker" else QUORUM_KINDS)}
    assert len(done) >= 8, done
    if script == "broker":
        # Every step by which a compacted segment takes the place of the old ones.
        assert total.points["clean"] > 100
        for step in ("append .cleaned", "sync .cleaned", "rename .cleaned", "rename .swap", "remove .deleted"):
            assert total.by_disk_operation[step] > 3, (step, total.by_disk_operation)


@pytest.mark.parametrize(
    ("script", "lie", "said"),
    [
        ("broker", "sync", ""),
        ("broker", "sync_dir", ""),
        ("broker", "sync .log", "were flushed"),
        ("broker", "sync_dir -0", ""),
        ("broker", "sync -offset-checkpoint.tmp", "holds"),
        ("quorum", "sync", ""),
        ("quorum", "sync_dir", ""),
        ("quorum", "sync .log", "was synced after a start"),
        ("quorum", "sync quorum-state.tmp", "quorum-state"),
        ("quorum", "sync .checkpoint.part", "is not what was written"),
    ],
)
def test_a_disk_that_only_says_it_synced_is_found_out(script: str, lie: str, said: str) -> None:
    """The check can fail."""
    failures = []
    for seed in SEEDS[script]:
        with pytest.raises(PointFailed) as failure:
            campaign(script, seed, lying=frozenset({lie})).run(STEPS)
        failures.append(str(failure.value))
    assert any(said in each for each in failures), failures


def test_a_compacted_segment_that_was_not_synced_is_found_out() -> None:
    with pytest.raises(PointFailed, match=r"clean.*is corrupt"):
        for seed in (45, 47):
            campaign("broker", seed, lying=frozenset({"sync .log.cleaned"})).run(STEPS)


def test_a_point_can_be_done_again_without_those_before_it() -> None:
    whole = campaign("broker", 100, lying=frozenset({"sync"}))
    with pytest.raises(PointFailed) as failure:
        whole.run(STEPS)
    number = int(str(failure.value).partition("operation ")[2].partition(" ")[0])
    with pytest.raises(PointFailed) as again:
        campaign("broker", 100, lying=frozenset({"sync"}), only=number).run(STEPS)
    assert str(again.value) == str(failure.value)


def test_the_disk_loses_names_whose_directory_was_not_synced() -> None:
    disk = SimDisk(random.Random(1))
    disk.make_dirs("/data/x")
    disk.write_atomic("/data/x/file", b"content")
    lost = disk.fork(random.Random(1))
    lost.on_power_lost(Survivors.NONE)
    assert lost.paths() == [] and not lost.is_dir("/data")
    make_dirs_synced(disk, "/data/x")
    assert not disk.fork(random.Random(1)).locked
    disk.sync_dir("/")
    kept = disk.fork(random.Random(1))
    kept.on_power_lost(Survivors.NONE)
    assert kept.read("/data/x/file") == b"content"
    disk.rename("/data/x", "/data/y")
    for survivors, path in ((Survivors.NONE, "/data/x/file"), (Survivors.ALL, "/data/y/file")):
        renamed = disk.fork(random.Random(1))
        renamed.on_power_lost(survivors)
        assert renamed.paths() == [path]
    disk.remove_tree("/data/y")
    back = disk.fork(random.Random(1))
    back.on_power_lost(Survivors.NONE)
    assert back.read("/data/x/file") == b"content"
    assert disk.paths() == []

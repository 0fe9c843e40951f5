"""A bit flips in a voter's metadata log: what was committed is never cut in silence (L2)."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from engine.broker.broker import LogDirsRefused
from engine.broker.quorum.committed_mark import CommittedMark
from engine.storage.checkpoints import HIGH_WATERMARKS
from engine.world.real import RealDisk
from tests.unit.broker.broker_requests import create_topic
from tests.unit.broker.in_process_cluster import InProcessCluster


def directory(cluster: InProcessCluster, node_id: int) -> Path:
    return Path(cluster.log_dir(node_id), "__cluster_metadata-0")


def flip(path: Path, at: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 4]))


def log_end(cluster: InProcessCluster, node_id: int) -> int:
    # Not the high watermark: of what it copied last it may not have heard yet that it is committed.
    return max(int(path.stem) for path in directory(cluster, node_id).glob("*.snapshot"))


def first_segment(cluster: InProcessCluster, node_id: int) -> Path:
    return sorted(directory(cluster, node_id).glob("*.log"))[0]


async def test_a_voter_whose_log_is_corrupt_copies_it_anew_and_votes_when_it_has(cluster: InProcessCluster) -> None:
    await create_topic(cluster, "t", [[1, 2, 3]])
    victim = next(each for each in cluster.node_ids if each != cluster.controller_id)
    end = cluster[victim].quorum.log_end_offset
    await cluster.stop(victim)
    flip(first_segment(cluster, victim), 300)
    # The others go on, and what they commit meanwhile is copied as well.
    await create_topic(cluster, "u", [[each for each in cluster.node_ids if each != victim]])
    await cluster.start(victim)
    (note,) = cluster.notes("replica_corrupt", "__cluster_metadata-0")
    assert "no valid batch" in note["reason"] and "00000000000000000000.log" in note["reason"]
    await cluster.until(lambda: cluster.notes("replica_begun_anew", "__cluster_metadata-0"))
    assert cluster[victim].quorum.log_end_offset >= end and cluster[victim].quorum.machine.may_vote
    assert sorted(directory(cluster, victim).glob("*.log.corrupt"))
    assert "u" in cluster[victim].metadata.image.topics_by_name
    # It is a voter like the others: with it alone beside one of them there is a leader.
    for node_id in cluster.node_ids:
        if node_id != victim:
            await cluster.stop(node_id)
            break
    await cluster.until(lambda: any(each.quorum.is_leader for each in cluster))
    await create_topic(cluster, "v", [[victim]])


async def test_without_others_a_corrupt_log_is_named_and_nothing_is_cut(tmp_path: Path) -> None:
    async with InProcessCluster(tmp_path, 1) as cluster:
        await create_topic(cluster, "t", [[1]])
        await cluster.stop(1)
        path = first_segment(cluster, 1)
        flip(path, 300)
        before = path.read_bytes()
        incarnation = cluster.prepare(1)
        with pytest.raises(LogDirsRefused, match=r"put a copy of it in its place"):
            await incarnation.run(incarnation.broker.start())
        await cluster.kill(1)
        assert path.read_bytes() == before
        flip(path, 300)
        await cluster.start(1)
        assert "t" in cluster[1].metadata.image.topics_by_name


async def test_what_was_torn_behind_the_mark_is_cut_as_ever(cluster: InProcessCluster) -> None:
    await create_topic(cluster, "t", [[1, 2, 3]])
    victim = next(each for each in cluster.node_ids if each != cluster.controller_id)
    await cluster.kill(victim)
    path = first_segment(cluster, victim)
    flip(path, path.stat().st_size - 5)
    await cluster.start(victim)
    assert not cluster.notes("replica_corrupt") and cluster[victim].quorum.machine.may_vote


async def test_a_voter_whose_snapshot_is_corrupt_copies_everything_anew(cluster: InProcessCluster) -> None:
    await create_topic(cluster, "t", [[1, 2, 3]])
    victim = next(each for each in cluster.node_ids if each != cluster.controller_id)
    making = cluster[victim].quorum.make_snapshot("the test wants one")
    assert making is not None
    await making
    await cluster.stop(victim)
    (path,) = [each for each in directory(cluster, victim).glob("*.checkpoint") if int(each.name[:20])]
    flip(path, 200)
    await cluster.start(victim)
    assert ".checkpoint is corrupt" in cluster.notes("replica_corrupt", "__cluster_metadata-0")[0]["reason"]
    await cluster.until(lambda: cluster.notes("replica_begun_anew", "__cluster_metadata-0"))
    assert "t" in cluster[victim].metadata.image.topics_by_name
    await cluster.stop(victim)
    await cluster.start(victim)
    assert len(cluster.notes("replica_corrupt")) == 1


async def test_whichever_bit_flips_the_mark_goes_to_where_the_log_had_ended(
    cluster: InProcessCluster, tmp_path: Path
) -> None:
    await create_topic(cluster, "t", [[1, 2, 3]])
    victim = next(each for each in cluster.node_ids if each != cluster.controller_id)
    await cluster.stop(victim)
    end = log_end(cluster, victim)
    # Lengths of batches are among the bytes.
    for at in range(40, 340, 3):
        copied = tmp_path / str(at)
        shutil.copytree(directory(cluster, victim), copied)
        (copied / HIGH_WATERMARKS).unlink()
        # A stop in order leaves the end in this one's name.
        for path in copied.glob("*.snapshot"):
            path.unlink()
        flip(sorted(copied.glob("*.log"))[0], at)
        mark = CommittedMark(RealDisk(), str(copied))
        assert mark.offset == 0
        mark.forget()
        assert mark.offset == end, at


async def test_a_voter_whose_snapshot_has_all_that_its_corrupt_log_had_goes_on_at_once(
    cluster: InProcessCluster,
) -> None:
    await create_topic(cluster, "t", [[1, 2, 3]])
    victim = next(each for each in cluster.node_ids if each != cluster.controller_id)
    making = cluster[victim].quorum.make_snapshot("the test wants one")
    assert making is not None
    await making
    epoch = cluster[victim].quorum.machine.epoch
    await cluster.stop(victim)
    end = log_end(cluster, victim)
    (path,) = [each for each in directory(cluster, victim).glob("*.checkpoint") if int(each.name[:20])]
    path.rename(path.with_name(f"{end:020d}-{epoch:010d}.checkpoint"))
    flip(first_segment(cluster, victim), 300)
    await cluster.start(victim)
    assert "no valid batch" in cluster.notes("replica_corrupt", "__cluster_metadata-0")[0]["reason"]
    (note,) = cluster.notes("replica_begun_anew", "__cluster_metadata-0")
    assert "its snapshot has all" in note["reason"]
    assert "t" in cluster[victim].metadata.image.topics_by_name

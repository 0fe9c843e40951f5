"""Plans for chosen partitions as they are shown, and how fast moves go on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from console.acts import cancel_moves_command, elect_command
from console.cli import main
from console.viewmodel.cells import plain
from console.viewmodel.moves import DiskRoom, MovePace, MovePlan, MoveRow, PlannedMove, total_words
from console.viewmodel.reassigning import (
    How,
    PairBytes,
    PlacementWish,
    WishError,
    check_wish,
    loss_words,
    pairs_of,
    plan_cells,
    read_ids,
    read_places,
    risks_of,
)
from engine.supervisor.snapshot import PartitionState, ReplicaState

MIB = 1 << 20
PLAN = MovePlan(
    (
        PlannedMove("orders", 0, (1, 2), (3, 4), 20 * MIB, 1, (1, 2), 2),
        PlannedMove("orders", 1, (2, 1), (2, 3), 5 * MIB, 2, (2,), 2),
        PlannedMove("orders", 2, (2, 1, 3), (2,), 0, 2, (2, 1, 3), 2),
        PlannedMove("orders", 3, (3, 1), (3, 4), 1 * MIB, -1, (), 1),
    ),
    (),
    (DiskRoom(3, "/data/a", 12 * MIB), DiskRoom(4, "/data/b", None)),
)


def test_who_sends_what_to_whom_is_by_leaders() -> None:
    assert pairs_of(PLAN) == [
        PairBytes(1, 3, 10 * MIB),
        PairBytes(1, 4, 10 * MIB),
        PairBytes(2, 3, 5 * MIB),
        PairBytes(-1, 4, 1 * MIB),
    ]


def test_what_may_go_wrong_is_said() -> None:
    assert risks_of(PLAN) == [
        "orders-3 have no leader to copy from: they move when one is back",
        "orders-2 would have fewer replicas than min.insync.replicas: produces with acks=all are refused",
        "orders-2 would have one replica: the loss of its broker is the loss of the partition",
        "orders-0 keep none of their replicas in sync: all is copied before any leaves",
        "broker 3 gets 15.0 MiB and its directories have 12.0 MiB left",
    ]


def test_a_plan_tells_each_partition_disks_and_leaders() -> None:
    lines = [plain(each) for each in plan_cells(PLAN)]
    assert lines[0] == "orders-0  1,2   → 3,4  +3,4  −1,2  20.0 MiB  leader 1 → 3"
    assert lines[2] == "orders-2  2,1,3 → 2  −1,3  nothing is copied"
    assert "4 partitions change, 26.0 MiB are copied, 2 leaders move" in lines
    assert "broker 3 takes 15.0 MiB: /data/a 12.0 MiB free" in lines
    assert "broker 4 takes 11.0 MiB: /data/b – free" in lines


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        (PlacementWish(How.LIST, (("t", 0),)), "needs the brokers"),
        (PlacementWish(How.LEADERS, (("t", 0),), factor=2), "takes no number of replicas"),
        (PlacementWish(How.PROPOSE, (("t", 0),), factor=0), "at least one"),
        (PlacementWish(How.FILE, ()), "needs the path"),
    ],
)
def test_wishes_that_make_no_sense_are_refused(wish: PlacementWish, said: str) -> None:
    with pytest.raises(WishError, match=said):
        check_wish(wish)


def test_ids_and_partitions_are_read() -> None:
    assert read_ids(" 1,2 4 ") == (1, 2, 4) and read_ids("") == ()
    for wrong in ("1,1", "a", "1;2", "-1"):
        with pytest.raises(WishError):
            read_ids(wrong)
    existing = {"orders": range(3)}
    assert read_places(["orders:0,2"], existing) == (("orders", 0), ("orders", 2))
    assert len(read_places(["orders"], existing)) == 3
    for words in ("payments", "orders:7"):
        with pytest.raises(WishError, match="there is no"):
            read_places([words], existing)


def row(copied: int, topic: str = "t") -> MoveRow:
    return MoveRow(topic, 0, (1, 2, 3), (3,), (1,), copied, 100 * MIB)


def test_a_move_tells_how_fast_it_is_and_how_long_it_takes() -> None:
    pace = MovePace()
    (first,) = pace.see(0, [row(0)])
    assert first.rate_bytes is None and first.left_s is None
    (then,) = pace.see(2_000, [row(20 * MIB)])
    assert then.rate_bytes == 10 * MIB and then.left_s == 8
    assert total_words([then]) == "1 partition move · 20.0 MiB of 100 MiB copied · 10.0 MiB/s · 8s left"
    # Of the last ten seconds only: it stands still since 12 s.
    for at_ms in (8_000, 12_000, 20_000):
        (still,) = pace.see(at_ms, [row(20 * MIB)])
    assert still.rate_bytes == 0 and still.left_s is None
    assert total_words([still]).endswith("0 B/s · stands still")
    # The copy began anew.
    assert pace.see(21_000, [row(1)])[0].rate_bytes is None
    assert pace.see(22_000, []) == []
    assert pace.see(22_500, [row(5)])[0].rate_bytes is None


def test_commands_name_the_partitions_alone() -> None:
    assert cancel_moves_command("h:1", [row(0)]) == (
        "kafka-reassign-partitions.sh --bootstrap-server h:1 --cancel --reassignment-json-file <(echo "
        '\'{"version": 1, "partitions": [{"topic": "t", "partition": 0, "replicas": [2, 3]}]}\')'
    )
    assert row(0).original == (1, 2)
    assert elect_command("h:1", [("t", 0)], "unclean") == (
        "kafka-leader-election.sh --bootstrap-server h:1 --election-type unclean --topic t --partition 0"
    )


def test_an_unclean_election_tells_what_is_lacking() -> None:
    partition = PartitionState(
        "t",
        0,
        -1,
        3,
        (1, 2),
        (1,),
        offline_replicas=(1,),
        high_watermark=100,
        replica_states=(ReplicaState(1, 100, 0, True, 0), ReplicaState(2, 60, 0, False, 0)),
    )
    assert loss_words(partition) == "t-0: in sync were 1; 2 can lead, broker 2 lacks 40 records"
    # How far committed records went is not known any more.
    unknown = replace(partition, high_watermark=None)
    assert loss_words(unknown) == "t-0: in sync were 1; 2 can lead, broker 2's log ends at 60"
    assert loss_words(partition, {2}).endswith("none of its replicas lives, so nobody can be elected")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "name topics, or TOPIC:0,2, or give a --file"),
        (["orders", "--file", "moves.json"], "name topics, or TOPIC:0,2, or give a --file"),
        (["--file", "moves.json", "--to", "1"], "says itself where its partitions go"),
        (["orders", "--to", "1,x"], "'1,x' is no list of broker ids: write 1,2,4"),
        (["--file", "moves.json"], "its version is 3, and only 1 is known"),
    ],
)
def test_the_command_line_says_what_is_missing(words: list[str], said: str, tmp_path: Path) -> None:
    (tmp_path / "moves.json").write_text('{"version": 3}')
    named = [str(tmp_path / each) if each == "moves.json" else each for each in words]
    result = CliRunner().invoke(main, ["reassign", *named])
    assert result.exit_code == 2 and said in result.output

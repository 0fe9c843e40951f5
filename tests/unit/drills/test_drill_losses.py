"""Which election lost an acknowledged record; and the faults of disks in a drill's file."""

from __future__ import annotations

import pytest

from engine.drills.drill import Act
from engine.drills.drill_file import parse_drill
from engine.drills.losses import Election, Loss, Lost, attribute
from engine.supervisor.yaml_nodes import SpecErrors


def test_a_loss_is_of_the_election_whose_leader_wrote_at_its_offset() -> None:
    elections = [
        Election(0, 100, 1, 2, unclean=False),
        Election(0, 200, 2, -1, unclean=False),
        Election(0, 300, 3, 1, unclean=True),
        Election(1, 100, 1, 2, unclean=False),
    ]
    starts = {(0, 0): 0, (0, 1): 50, (0, 3): 80, (1, 1): 10}
    losses = [
        Loss(0, 60, 90),  # epoch 1 began below it: a leader from the ISR
        Loss(0, 50, 90),  # it is the first that the leader overwrote
        Loss(0, 90, 150),  # acknowledged by that leader, and overwritten by the unclean one
        Loss(0, 40, 90),  # nobody wrote there: the unclean one had least
        Loss(1, 10, 50),
        Loss(1, 12, 500),  # after every election
        Loss(2, 5, 1),  # of a partition whose leader never changed
        Loss(1, -1, 50),  # acks=0 names no offset
    ]
    assert attribute(losses, elections, starts) == Lost(unclean=2, clean=4, unexplained=2)
    assert attribute(losses[:1], elections, starts).words == "1 at elections from the ISR"
    assert attribute((), elections, starts).words == ""


def test_faults_of_disks_and_crash_loops_are_read_with_what_they_need() -> None:
    drill, _ = parse_drill(
        """
faults:
  - {at: 1 s, slow fsync: leader, by: 300 ms}
  - {at: 2 s, heal: leader}
  - {at: 3 s, crash loop: 2, times: 4}
expect: {lost at unclean elections: 0}
""",
        "d",
    )
    assert drill.acts == (
        Act(1.0, "slow fsync", ("leader",), 0.3, 3),
        Act(2.0, "heal", ("leader",), 0.0, 4),
        Act(3.0, "crash loop", ("2",), 0.0, 5, 4),
    )
    assert [act.text for act in drill.acts] == ["slow fsync leader by 300 ms", "heal leader", "crash loop 2 4 times"]
    assert not drill.needs_proxy


@pytest.mark.parametrize(
    ("fault", "wrong"),
    [
        ("{at: 1 s, slow fsync: leader}", "slow fsync has no 'by'"),
        ("{at: 1 s, heal: leader}", "heal names the leader, and no leader was hurt before"),
        ("{at: 1 s, disk full: everyone}", "disk full names"),
        ("{at: 1 s, crash loop: 1, times: 0}", "times"),
    ],
)
def test_what_is_wrong_with_them_is_told(fault: str, wrong: str) -> None:
    with pytest.raises(SpecErrors) as caught:
        parse_drill(f"faults: [{fault}]\nexpect: {{lost: 0}}\n", "d")
    assert any(wrong in each.message for each in caught.value.errors)

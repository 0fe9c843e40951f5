from __future__ import annotations

from pathlib import Path

import pytest

from engine.sim.stepping.acts import Act
from engine.supervisor.scenario_file import parse_scenario
from engine.supervisor.yaml_nodes import SpecErrors

SCENARIOS = sorted((Path(__file__).parents[3] / "docs" / "scenarios").glob("*.yaml"))


def complaints(text: str, brokers: int | None = None) -> list[str]:
    with pytest.raises(SpecErrors) as error:
        parse_scenario(text, brokers=brokers)
    return error.value.in_file("s.yaml").splitlines()


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_the_samples_are_right(path: Path) -> None:
    assert parse_scenario(path.read_text()).planned


def test_options_and_acts_are_read_and_acts_stand_in_the_order_of_their_times() -> None:
    scenario = parse_scenario(
        """
        seed: 7
        seconds: 12.5
        durability: page-cache
        faults: [kill, cut]
        at:
          - {at: 6, cut: [2, 3]}
          - {at: 2.5, kill: all}
          - {at: 7, heal: all}
          - {at: 7.5, clock: 2, value: -3000}
        """
    )
    assert scenario.options == {
        "seed": 7,
        "seconds": 12.5,
        "brokers": 3,
        "durability": "page-cache",
        "faults": ("kill", "cut"),
    }
    assert [(each.at_s, each.act) for each in scenario.planned] == [
        (2.5, Act("kill", (1, 2, 3))),
        (6.0, Act("cut", (2, 3))),
        (7.0, Act("heal")),
        (7.5, Act("clock", (2,), -3000.0)),
    ]
    assert {each.by for each in scenario.planned} == {"scenario"}


def test_the_number_of_brokers_may_be_given_elsewhere() -> None:
    assert parse_scenario("at: [{at: 1, kill: 5}]", brokers=5).planned[0].act == Act("kill", (5,))
    assert "brokers" not in parse_scenario("seed: 1", brokers=5).options


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("seed: -1", "s.yaml:1:7: 'seed' of the scenario is -1; give a number from 0 to 2147483647"),
        ("second: 5", "s.yaml:1:1: unknown key 'second' in the scenario; did you mean 'seconds'?"),
        ("durability: fsnc", "s.yaml:1:13: 'durability' of the scenario cannot be 'fsnc'; did you mean 'fsync'?"),
        ("at: [{at: 3, kill: 4}]", "s.yaml:1:20: kill names broker 4; there are brokers 1 to 3"),
        (
            "at: [{kill: 1}]",
            "s.yaml:1:6: an entry of 'at' has no 'at'; add `at: 2.5`, seconds from the run's beginning",
        ),
        ("at: [{at: 5, cut: 1}]", "s.yaml:1:19: cut is of 2 brokers: [1, 2]; write `cut: [1, 2]`"),
        ("at: [{at: 5, heal: 1}]", "s.yaml:1:20: heal is for everything; write `heal: all`"),
        ("at: [{at: 5, kill: [1, 1]}]", "s.yaml:1:24: kill names broker 1 twice; name each once"),
        ("at: [5]", "s.yaml:1:6: an entry of 'at' is a mapping, not '5'; write `key: value` lines"),
    ],
)
def test_mistakes_are_named_with_their_place_and_remedy(text: str, expected: str) -> None:
    assert complaints(text) == [expected]


def test_a_misspelt_act_and_a_fault_that_there_is_not() -> None:
    found = complaints("faults: [kil]\nat:\n  - {at: 1, pauze: 1}\n")
    assert found[0].startswith("s.yaml:1:10: 'kil' is no kind of fault; choose of kill, ")
    assert found[1].startswith("s.yaml:3:5: an entry of 'at' names no act; give one of kill, ")
    assert found[2] == "s.yaml:3:13: unknown key 'pauze' in an entry of 'at'; did you mean 'pause'?"


def test_no_yaml_at_all() -> None:
    assert complaints("at: [")[0].startswith("s.yaml:")

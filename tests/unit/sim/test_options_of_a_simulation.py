"""Options come from the seed, and the words for them make the same ones again."""

from __future__ import annotations

import argparse

import pytest

from engine.sim.options import FAULTS, Options, add_arguments, given_options, options_from


def parsed(words: str) -> Options:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int)
    add_arguments(parser)
    found = parser.parse_args(words.split())
    return options_from(found.seed, **given_options(found))


@pytest.mark.parametrize("seed", range(50))
def test_the_words_make_the_same_options(seed: int) -> None:
    options = options_from(seed)
    assert parsed(options.words()) == options
    # Also after seeds have come to choose something else.
    other = options._replace(seed=seed + 1)
    assert parsed(other.words()) == other


def test_an_option_that_is_given_leaves_the_others_to_the_seed() -> None:
    given, chosen = options_from(3, seconds=7.5, joining=True), options_from(3)
    assert given == chosen._replace(seconds=7.5, joining=True)


def test_seeds_choose_every_fault_every_load_and_several_sizes() -> None:
    many = [options_from(seed) for seed in range(2000)]
    assert {fault for each in many for fault in each.faults} == set(FAULTS)
    assert {each.load for each in many} == {"heavy", "light"}
    assert {each.brokers for each in many} == {1, 3, 5}
    assert {each.joining for each in many} == {False, True}
    assert sum(each.load == "light" for each in many) < 200
    assert all(each.durability == "fsync" for each in many if any(fault.startswith("power") for fault in each.faults))


def test_unknown_faults_are_refused() -> None:
    with pytest.raises(SystemExit):
        parsed("--seed 1 --faults kill,flood")

"""Levels of loggers that change while a worker runs."""

from __future__ import annotations

import logging

import pytest

from engine.connect.runtime.logger_levels import LoggerLevels


def test_a_level_goes_to_a_logger_and_all_below_it() -> None:
    levels = LoggerLevels()
    logging.getLogger("kconsole_levels.a.b")
    levels.set_level("kconsole_levels.a", "debug")
    assert logging.getLogger("kconsole_levels.a").level == logging.DEBUG
    found = levels.level("kconsole_levels.a.b")
    assert found is not None and found.level == "DEBUG"


def test_only_those_that_had_another_level_are_told() -> None:
    levels = LoggerLevels()
    assert levels.set_level("kconsole_levels.c", "TRACE") == ["kconsole_levels.c"]
    assert levels.set_level("kconsole_levels.c", "TRACE") == []
    changed = levels.level("kconsole_levels.c")
    assert changed is not None and changed.level == "TRACE" and changed.last_modified is not None
    assert levels.all()["kconsole_levels.c"] == changed


def test_a_logger_that_is_not_there_has_no_level() -> None:
    assert LoggerLevels().level("kconsole_levels.nobody") is None


@pytest.mark.parametrize("level", ["OFF", "FATAL", "WARN"])
def test_log4js_levels_are_known(level: str) -> None:
    levels = LoggerLevels()
    levels.set_level("kconsole_levels.d", level)
    found = levels.level("kconsole_levels.d")
    assert found is not None and found.level == level

"""Levels of loggers while the broker runs (KIP-412)."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from engine.broker.logger_levels import alter_logger_levels, logger_levels
from engine.model.errors import ErrorCode, KafkaError
from engine.wire.messages.incremental_alter_configs_request import AlterableConfig

NAME = "engine.test_logger_levels"
SET, DELETE, APPEND = 0, 1, 2


@pytest.fixture(autouse=True)
def levels() -> Iterator[None]:
    before = logging.root.level
    logging.getLogger(NAME).setLevel(logging.NOTSET)
    yield
    logging.root.setLevel(before)


def alter(*changes: tuple[str, int, str | None], dry: bool = False) -> None:
    alter_logger_levels([AlterableConfig(*each) for each in changes], validate_only=dry)


def test_a_level_is_set_told_and_left_to_the_parents_again() -> None:
    alter((NAME, SET, "TRACE"), ("root", SET, "FATAL"))
    assert (logger_levels()[NAME], logger_levels()["root"]) == ("TRACE", "FATAL")
    assert logging.getLogger(NAME).isEnabledFor(5)
    alter((NAME, DELETE, None), ("root", SET, "WARN"))
    assert (logger_levels()[NAME], logger_levels()["root"]) == ("WARN", "WARN")
    alter((NAME, SET, "DEBUG"), dry=True)
    assert logger_levels()[NAME] == "WARN"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (("engine.nothing", SET, "INFO"), ErrorCode.INVALID_CONFIG),
        ((NAME, SET, "LOUD"), ErrorCode.INVALID_CONFIG),
        ((NAME, SET, None), ErrorCode.INVALID_CONFIG),
        ((NAME, APPEND, "INFO"), ErrorCode.INVALID_REQUEST),
        (("root", DELETE, None), ErrorCode.INVALID_REQUEST),
    ],
)
def test_what_cannot_be_done_changes_nothing(change: tuple[str, int, str | None], code: ErrorCode) -> None:
    before = logger_levels()
    with pytest.raises(KafkaError) as caught:
        alter((NAME, SET, "TRACE"), change)
    assert caught.value.code is code
    assert logger_levels() == before

"""Levels of this broker's loggers, shown and changed while it runs (KIP-412). Kafka: LoggingController.

The loggers are Python's, the levels have Kafka's names. Changes hold until the process ends; they are no metadata.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from engine.model.errors import ErrorCode, KafkaError

if TYPE_CHECKING:
    from engine.wire.messages.incremental_alter_configs_request import AlterableConfig

ROOT = "root"
SET, DELETE = 0, 1
_LEVELS = {
    "TRACE": 5,
    "DEBUG": logging.DEBUG,
    "INFO": logging.INFO,
    "WARN": logging.WARNING,
    "ERROR": logging.ERROR,
    "FATAL": logging.CRITICAL,
}


def logger_levels() -> dict[str, str]:
    """The level that holds for each logger that has been used, and for the root of all."""
    names = [name for name, each in logging.root.manager.loggerDict.items() if isinstance(each, logging.Logger)]
    levels = {name: _name(logging.getLogger(name).getEffectiveLevel()) for name in sorted(names)}
    return {**levels, ROOT: _name(logging.root.getEffectiveLevel())}


def alter_logger_levels(changes: Sequence[AlterableConfig], *, validate_only: bool) -> None:
    """Set levels, or (DELETE) leave a logger to its parent's; all or none.

    Raises:
        KafkaError: INVALID_CONFIG: no such logger or level; INVALID_REQUEST: what cannot be done to a level.
    """
    known = logger_levels()
    for each in changes:
        if each.name not in known:
            raise KafkaError(ErrorCode.INVALID_CONFIG, f"Logger {each.name} does not exist!")
        if each.config_operation == SET:
            if each.value not in _LEVELS:
                levels = ", ".join(_LEVELS)
                raise KafkaError(
                    ErrorCode.INVALID_CONFIG,
                    f"Cannot set the log level of {each.name} to {each.value} as it is not a supported log level. "
                    f"Valid log levels are {levels}",
                )
        elif each.config_operation != DELETE:
            raise KafkaError(ErrorCode.INVALID_REQUEST, "Only SET and DELETE are allowed for the level of a logger.")
        elif each.name == ROOT:
            raise KafkaError(ErrorCode.INVALID_REQUEST, "Removing the log level of the root logger is not allowed")
    if validate_only:
        return
    for each in changes:
        level = logging.NOTSET if each.config_operation == DELETE else _LEVELS[each.value or ""]
        (logging.root if each.name == ROOT else logging.getLogger(each.name)).setLevel(level)


def _name(level: int) -> str:
    return next((name for name, each in _LEVELS.items() if each >= level), "FATAL")

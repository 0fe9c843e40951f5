"""Levels of this process's loggers, changed while it runs (KIP-495), under the names that log4j has for levels."""

from __future__ import annotations

import logging
import time
from typing import NamedTuple

ROOT = "root"
LEVELS = {
    "TRACE": 5,
    "DEBUG": logging.DEBUG,
    "INFO": logging.INFO,
    "WARN": logging.WARNING,
    "ERROR": logging.ERROR,
    "FATAL": logging.CRITICAL,
    "OFF": logging.CRITICAL + 10,
}
logging.addLevelName(LEVELS["TRACE"], "TRACE")


class LoggerLevel(NamedTuple):
    """``last_modified``: ms since 1970, None unless it was changed while the process ran."""

    level: str
    last_modified: int | None


class LoggerLevels:
    """Over :mod:`logging`: a name stands for the logger and all below it; ``root`` for all there are."""

    def __init__(self) -> None:
        self._modified: dict[str, int] = {}

    def level(self, name: str) -> LoggerLevel | None:
        """Of one logger, set or inherited; None if there is none of that name."""
        if name != ROOT and name not in self._names():
            return None
        logger = logging.getLogger(None if name == ROOT else name)
        return LoggerLevel(_name_of(logger.getEffectiveLevel()), self._modified.get(name))

    def all(self) -> dict[str, LoggerLevel]:
        """Of those that have a level of their own, by name."""
        found = {ROOT: LoggerLevel(_name_of(logging.getLogger().level), self._modified.get(ROOT))}
        for name in self._names():
            own = logging.getLogger(name).level
            if own != logging.NOTSET:
                found[name] = LoggerLevel(_name_of(own), self._modified.get(name))
        return dict(sorted(found.items()))

    def set_level(self, namespace: str, level: str) -> list[str]:
        """Change them; the names of those that had another one before, sorted.

        Args:
            level: one of :data:`LEVELS`, in letters of any size.
        """
        number = LEVELS[level.upper()]
        below = [name for name in self._names() if namespace == ROOT or name.startswith(f"{namespace}.")]
        changed = []
        for name in sorted({namespace, *below}):
            logger = logging.getLogger(None if name == ROOT else name)
            if logger.getEffectiveLevel() != number:
                logger.setLevel(number)
                self._modified[name] = int(time.time() * 1000)
                changed.append(name)
        return changed

    @staticmethod
    def _names() -> list[str]:
        known = logging.Logger.manager.loggerDict
        return [name for name, found in known.items() if isinstance(found, logging.Logger)]


def _name_of(number: int) -> str:
    """The nearest level that is not above."""
    return max((each for each in LEVELS.items() if each[1] <= number), key=lambda each: each[1], default=("TRACE", 0))[
        0
    ]


LOGGERS = LoggerLevels()
"""Of this process."""

"""Files shared among a connector's tasks, by their names: each file is always the same task's."""

from __future__ import annotations

import zlib
from typing import NamedTuple

from engine.connect.connector import Props

_SHARE = "kconsole.share"


class Share(NamedTuple):
    """The files of one task of ``tasks``."""

    number: int
    tasks: int

    @classmethod
    def of(cls, props: Props) -> Share:
        """A task's, by its configs; all files where they say nothing."""
        number, _, tasks = props.get(_SHARE, "0/1").partition("/")
        return cls(int(number), int(tasks))

    def has(self, name: bytes) -> bool:
        """Whether the file is this task's."""
        return zlib.crc32(name) % self.tasks == self.number


def shared_configs(props: Props, max_tasks: int) -> list[dict[str, str]]:
    """Configs of so many tasks, each with its share."""
    return [{**props, _SHARE: f"{number}/{max_tasks}"} for number in range(max_tasks)]

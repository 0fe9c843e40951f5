"""What the command line says of recording."""

from __future__ import annotations

import os
from typing import NamedTuple

from console.recording.recorder import Limits

NAME = "recording.db"


class Recording(NamedTuple):
    """Where to, ``None``: not at all (until ``:record``); and how much."""

    path: str | None = None
    # Somebody said that nothing shall be.
    is_off: bool = False
    limits: Limits = Limits()


def path_in(data_dir: str) -> str:
    """Where the record of an embedded cluster is, in its data directory."""
    return os.path.join(data_dir, "recording", NAME)


def path_of_attached(bootstrap_servers: str) -> str:
    """Where that of an attached cluster is unless somebody says otherwise: beside the user's other data."""
    home = os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share")
    first = bootstrap_servers.split(",")[0].strip() or "cluster"
    name = "".join(each if each.isalnum() or each in ".-" else "_" for each in first)
    return os.path.join(home, "kconsole", "recordings", f"{name}.db")

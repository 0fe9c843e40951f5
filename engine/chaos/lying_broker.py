"""A broker whose fsync does nothing: ``python -m engine.chaos.lying_broker``, with the options of ``engine.broker``.

The control of power cuts: what such a broker acknowledges is in the page cache only, and must be found to be lost.
"""

from __future__ import annotations

import os
import sys

from engine.broker.main import main


def _nothing(fd: object) -> None:
    """As a disk does that says "done" and has not."""


if __name__ == "__main__":
    os.fsync = os.fdatasync = _nothing
    sys.exit(main())

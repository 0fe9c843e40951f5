"""The controller's own tests make the histories that are written here."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent.parent / "controller"))

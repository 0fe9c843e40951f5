"""The user's own editor, over a text."""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from textual.app import SuspendNotSupported

if TYPE_CHECKING:
    from console.app import KConsole


class EditorFailed(Exception):
    """It did not edit; the message says why."""


def edited(app: KConsole, before: str, suffix: str) -> str:
    """The text after ``$VISUAL`` or ``$EDITOR`` had it in a file with this suffix, and the whole screen meanwhile.

    Raises:
        EditorFailed: there is no terminal for it, or it failed.
    """
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    try:
        with tempfile.TemporaryDirectory(prefix="kconsole-") as directory:
            path = Path(directory, f"value{suffix}")
            path.write_text(before)
            with app.suspend():
                subprocess.run([*shlex.split(editor), str(path)], check=True)
            return path.read_text()
    except SuspendNotSupported:
        raise EditorFailed("there is no terminal here that an editor could have") from None
    except (OSError, ValueError, subprocess.CalledProcessError) as error:
        raise EditorFailed(f"{editor}: {error}") from None

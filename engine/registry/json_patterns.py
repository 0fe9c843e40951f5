"""Patterns that somebody else wrote: one that takes for ever must not hold up the registry."""

from __future__ import annotations

import re
import subprocess
import sys
from functools import lru_cache

_PATIENCE_S = 3.0
# One repetition alone is quick, whatever the text.
_REPEATS = re.compile(r"[*+{]")
_SEARCH = "import re, sys; sys.exit(0 if re.search(sys.argv[1], sys.argv[2]) else 1)"


@lru_cache(maxsize=10_000)
def found_in(pattern: str, name: str) -> bool:
    """Whether a regular expression matches somewhere in a name. One that is none in Python, or takes longer than some
    seconds (it has a process of its own if it could), matches nothing."""
    try:
        compiled = re.compile(pattern)
    except (re.error, RecursionError, OverflowError):
        return False
    if len(_REPEATS.findall(pattern)) < 2:
        return compiled.search(name) is not None
    if "\0" in pattern + name:
        return False
    command = [sys.executable, "-I", "-c", _SEARCH, pattern, name]
    try:
        done = subprocess.run(command, timeout=_PATIENCE_S, check=False, capture_output=True)
    except (subprocess.TimeoutExpired, OSError, UnicodeEncodeError):
        return False
    return done.returncode == 0

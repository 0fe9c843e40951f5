"""Patterns that somebody else wrote: one that takes for ever must not hold up the registry."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections import deque
from functools import lru_cache

from engine.registry.errors import InvalidSchema

_PATIENCE_S = 3.0
_MOST_GIVEN_UP = 5
_FORGOTTEN_S = 60.0
# When a pattern took too long, the last few times.
_given_up: deque[float] = deque(maxlen=_MOST_GIVEN_UP)
# One repetition alone is quick, whatever the text.
_REPEATS = re.compile(r"[*+{]")
_SEARCH = "import re, sys; sys.exit(0 if re.search(sys.argv[1], sys.argv[2]) else 1)"


@lru_cache(maxsize=10_000)
def found_in(pattern: str, name: str) -> bool:
    """Whether a regular expression matches somewhere in a name. One that is none in Python, or takes longer than some
    seconds (it has a process of its own if it could), matches nothing.

    Raises:
        InvalidSchema: so many took that long lately that others would wait for minutes.
    """
    try:
        compiled = re.compile(pattern)
    except (re.error, RecursionError, OverflowError):
        return False
    if len(_REPEATS.findall(pattern)) < 2:
        return compiled.search(name) is not None
    if "\0" in pattern + name:
        return False
    if len(_given_up) == _MOST_GIVEN_UP and time.monotonic() - _given_up[0] < _FORGOTTEN_S:
        raise InvalidSchema("patterns of JSON Schemas take too long to be compared: make them simpler")
    command = [sys.executable, "-I", "-c", _SEARCH, pattern, name]
    try:
        done = subprocess.run(command, timeout=_PATIENCE_S, check=False, capture_output=True)
    except subprocess.TimeoutExpired:
        _given_up.append(time.monotonic())
        return False
    except (OSError, UnicodeEncodeError):
        return False
    return done.returncode == 0

"""Takes secrets out of what leaves the house. Pure.

Kafka itself never tells a sensitive config; what is left are files, command lines and log lines that people and clients
wrote: passwords after their names, JAAS entries, credentials within URLs and headers.
"""

from __future__ import annotations

import re
from typing import Any

REDACTED = "(redacted)"
_NAME = (
    r"password|passwd|passphrase|secret|credential|jaas\.config|keystore\.key|private[._-]?key|api[._-]?key|"
    r"access[._-]?token|bearer[._-]?token"
)
_SECRET_NAME = re.compile(_NAME, re.IGNORECASE)
# A JAAS entry has spaces and quotes: all of its line goes.
_JAAS = re.compile(r"(jaas\.config[\"']?\s*[=:]\s*)(?=\S)[^\n]*", re.IGNORECASE)
_ASSIGNED = re.compile(
    rf"((?:{_NAME})[\w.-]*[\"']?\s*[=:]\s*)(\\?\"(?:[^\"\\]|\\.)*\\?\"|'[^']*'|[^\s,;\]}}\"']+)", re.IGNORECASE
)
_IN_URL = re.compile(r"(\w+://[^\s:/@]+:)[^\s@/]+@")
_HEADER = re.compile(r"(authorization\s*[=:]\s*(?:basic|bearer)\s+)[\w+/=.~-]+", re.IGNORECASE)


def without_secrets(text: str) -> str:
    """The text, ``(redacted)`` where a secret stood."""
    text = _JAAS.sub(rf"\1{REDACTED}", text)
    text = _ASSIGNED.sub(rf"\1{REDACTED}", text)
    text = _IN_URL.sub(rf"\1{REDACTED}@", text)
    return _HEADER.sub(rf"\1{REDACTED}", text)


def data_without_secrets(value: Any) -> Any:
    """The same of data from JSON: by the names of its fields, in rows that begin with a name, and within texts."""
    if isinstance(value, str):
        return without_secrets(value)
    if isinstance(value, dict):
        return {
            name: REDACTED if _SECRET_NAME.search(name) and isinstance(each, str) else data_without_secrets(each)
            for name, each in value.items()
        }
    if isinstance(value, list):
        if len(value) > 1 and isinstance(value[0], str) and isinstance(value[1], str) and _is_secret(value[0]):
            return [value[0], REDACTED, *map(data_without_secrets, value[2:])]
        return [data_without_secrets(each) for each in value]
    return value


def _is_secret(name: str) -> bool:
    # A config's name, not a sentence about one.
    return " " not in name and _SECRET_NAME.search(name) is not None

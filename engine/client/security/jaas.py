"""``sasl.jaas.config``: ``LoginModule required name="value" …;`` as Kafka's JaasConfig reads it. Pure."""

from __future__ import annotations

import re
from typing import NamedTuple

# Java's StreamTokenizer: words, and quoted strings with backslashes.
_TOKEN = re.compile(r"""\s*(?:"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)'|([=;])|([^\s=;"']+))""")
_FLAGS = ("required", "requisite", "sufficient", "optional")


class JaasEntry(NamedTuple):
    """One login module and its options."""

    login_module: str
    options: dict[str, str]


class JaasError(ValueError):
    """It does not parse; the message names no value of it."""


def read_jaas(text: str) -> JaasEntry:
    """The only entry of it. Raises: JaasError."""
    tokens: list[str] = []
    at = 0
    text = text.strip()
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            raise JaasError("a quotation mark is open")
        quoted = found[1] if found[1] is not None else found[2]
        tokens.append(re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else found[3] or found[4])
        at = found.end()
    if len(tokens) < 2 or tokens[1].lower() not in _FLAGS:
        raise JaasError("it begins with a login module and a flag: …ScramLoginModule required")
    if tokens[-1] != ";":
        raise JaasError("it ends with a semicolon")
    options: dict[str, str] = {}
    rest = tokens[2:-1]
    while rest:
        if len(rest) < 3 or rest[1] != "=":
            raise JaasError('options are written name="value", and there is one login module')
        options[rest[0]] = rest[2]
        rest = rest[3:]
    return JaasEntry(tokens[0], options)

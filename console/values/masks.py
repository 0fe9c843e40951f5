"""Masks: what rules take out of records before anybody sees them. Pure.

They fail closed: a value in which a rule cannot look (no JSON where a path is meant, no text where a regular expression
is) is hidden whole.
"""

from __future__ import annotations

import fnmatch
import hashlib
import hmac
import json
import re
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

from console.viewmodel.records import PartReading, Reading, RecordView

HIDDEN = "***"
_HASH_DIGITS = 12


class Deed(StrEnum):
    """What becomes of what a rule finds."""

    HIDE = "hide"
    HASH = "hash"
    LAST = "last"


class Part(StrEnum):
    """Where a rule looks."""

    KEY = "key"
    VALUE = "value"
    HEADERS = "headers"


class Step(NamedTuple):
    """One step of a path: a member (``None``: each), at any depth if ``deep``."""

    name: str | int | None
    deep: bool = False


class MaskRule(NamedTuple):
    """One rule. Without ``path`` and ``pattern`` it takes the whole; ``header`` is a pattern of names."""

    topic: str
    parts: tuple[Part, ...]
    deed: Deed = Deed.HIDE
    keep: int = 0
    path: tuple[Step, ...] = ()
    pattern: re.Pattern[str] | None = None
    header: str = "*"
    said: str = ""

    def label(self, part: str) -> str:
        """What the rule took, for people: never the value itself."""
        word = {Deed.HIDE: "hidden", Deed.HASH: "hashed", Deed.LAST: f"but for the last {self.keep}"}[self.deed]
        return " ".join(each for each in (part, self.said, word) if each)


class Masks(NamedTuple):
    """All rules; equal values have equal hashes under one ``salt``."""

    rules: tuple[MaskRule, ...] = ()
    salt: bytes = b""

    def of_topic(self, topic: str) -> Masks:
        """Those that can find something in it."""
        return Masks(tuple(each for each in self.rules if fnmatch.fnmatchcase(topic, each.topic)), self.salt)

    def masked(self, text: str, rule: MaskRule) -> str:
        """What stands for ``text``."""
        if rule.deed is Deed.HASH:
            digest = hmac.new(self.salt, text.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()
            return f"#{digest[:_HASH_DIGITS]}"
        if rule.deed is Deed.LAST and len(text) > rule.keep > 0:
            return HIDDEN + text[-rule.keep :]
        return HIDDEN


_SEPARATE = re.compile(
    r"""\.\.(?P<deep>[\w-]+|\*)|\.(?P<name>[\w-]+|\*)|\[(?P<index>\d+|\*)\]|\[(?P<q>['"])(?P<quoted>.*?)(?P=q)\]"""
)


def parse_path(written: str) -> tuple[Step, ...]:
    """``$.customer.email``, ``$.items[0].sku``, ``$.items[*].sku``, ``$..email``, ``$['odd name']``.

    Raises:
        ValueError: it is none.
    """
    text, at = written.strip(), 1
    if not text.startswith("$") or len(text) < 2:
        raise ValueError("a path begins with $ as in $.customer.email")
    steps = []
    while at < len(text):
        found = _SEPARATE.match(text, at)
        if found is None:
            raise ValueError(f"{text[at:]!r} is no step: write .name, ['name'], [0], [*] or ..name")
        deep, name, index, quoted = found["deep"], found["name"], found["index"], found["quoted"]
        word: str | int | None = deep or name or quoted
        if index is not None:
            word = None if index == "*" else int(index)
        steps.append(Step(None if word == "*" else word, deep is not None))
        at = found.end()
    return tuple(steps)


def apply_masks(record: RecordView, masks: Masks) -> RecordView:
    """The record without what ``masks`` (those of its topic) take; the same one if they find nothing."""
    labels: list[str] = []
    key, value = record.readable_key, record.readable_value
    new_key = _part(key, Part.KEY, masks, labels)
    key_label_count = len(labels)
    new_value = _part(value, Part.VALUE, masks, labels)
    headers = tuple((name, _header(name, each, masks, labels)) for name, each in record.headers)
    if not labels:
        return record
    was = record.reading or Reading()
    key_masked, value_masked = key_label_count > 0, any(each.startswith("value") for each in labels)
    return record._replace(
        key=new_key if key_masked else record.key,
        value=new_value if value_masked else record.value,
        headers=headers,
        meaning=(new_key, new_value),
        reading=Reading(
            _without_problem(was.key) if key_masked else was.key,
            _without_problem(was.value) if value_masked else was.value,
            tuple(dict.fromkeys(labels)),
        ),
    )


def _without_problem(reading: PartReading) -> PartReading:
    return reading._replace(problem="")


def _part(data: bytes | None, part: Part, masks: Masks, labels: list[str]) -> bytes | None:
    for rule in masks.rules:
        if data is None:
            return None
        if part in rule.parts:
            data = _by_rule(data, rule, str(part), masks, labels)
    return data


def _header(name: str, data: bytes | None, masks: Masks, labels: list[str]) -> bytes | None:
    for rule in masks.rules:
        if data is None:
            return None
        if Part.HEADERS in rule.parts and fnmatch.fnmatchcase(name.lower(), rule.header.lower()):
            data = _by_rule(data, rule, f"header {name}", masks, labels)
    return data


def _by_rule(data: bytes, rule: MaskRule, where: str, masks: Masks, labels: list[str]) -> bytes:
    if not rule.path and rule.pattern is None:
        labels.append(rule.label(where))
        # What is no text is hashed by its bytes, and has no last characters.
        return masks.masked(
            data.decode("latin-1"), rule if _is_text(data) or rule.deed is Deed.HASH else _HIDE
        ).encode()
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return _hidden(where, rule, labels)
    try:
        document = json.loads(text, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        # Two members of one name: only one would be looked at, both would be shown.
        if rule.pattern is None or isinstance(error, _Twice | RecursionError):
            return _hidden(where, rule, labels)
        replaced = rule.pattern.sub(lambda found: masks.masked(found[0], rule), text)
        if replaced != text:
            labels.append(rule.label(where))
        return replaced.encode()
    change = _Change(lambda found: masks.masked(found, rule))
    if rule.pattern is not None:
        pattern = rule.pattern
        document = change.matches(document, pattern)
    else:
        document = change.at(document, rule.path)
    if not change.count:
        return data
    labels.append(rule.label(where))
    return json.dumps(document, ensure_ascii=False).encode("utf-8", "replace")


_HIDE = MaskRule("*", ())


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _hidden(where: str, rule: MaskRule, labels: list[str]) -> bytes:
    labels.append(f"{where} {rule.said} cannot be looked for, so all is hidden")
    return HIDDEN.encode()


class _Twice(ValueError):
    """An object has two members of one name."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise _Twice
    return made


class _Change:
    """Puts something else into documents, and counts."""

    def __init__(self, masked: Callable[[str], str]) -> None:
        self._masked = masked
        self.count = 0

    def _leaf(self, value: Any) -> Any:
        if value is None:
            return None
        self.count += 1
        return self._masked(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True))

    def at(self, value: Any, path: Sequence[Step]) -> Any:
        """Where the path leads; whatever is there, an object too."""
        if not path:
            return self._leaf(value)
        step, rest = path[0], path[1:]
        if isinstance(value, dict):
            made = {
                name: self.at(each, rest) if step.name is None or name == step.name else each
                for name, each in value.items()
            }
        elif isinstance(value, list):
            made = [
                self.at(each, rest) if step.name is None or (isinstance(step.name, int) and at == step.name) else each
                for at, each in enumerate(value)
            ]
        else:
            return value
        if not step.deep:
            return made
        inner = made.items() if isinstance(made, dict) else enumerate(made)
        changed = {name: self.at(each, path) if isinstance(each, dict | list) else each for name, each in inner}
        return changed if isinstance(made, dict) else list(changed.values())

    def matches(self, value: Any, pattern: re.Pattern[str]) -> Any:
        """In every text, number and name."""
        if isinstance(value, dict):
            return {self._text(name, pattern): self.matches(each, pattern) for name, each in value.items()}
        if isinstance(value, list):
            return [self.matches(each, pattern) for each in value]
        if isinstance(value, str):
            return self._text(value, pattern)
        if isinstance(value, int | float) and not isinstance(value, bool):
            said = json.dumps(value)
            changed = self._text(said, pattern)
            return value if changed == said else changed
        return value

    def _text(self, text: str, pattern: re.Pattern[str]) -> str:
        def masked(found: re.Match[str]) -> str:
            self.count += 1
            return self._masked(found[0])

        return pattern.sub(masked, text)

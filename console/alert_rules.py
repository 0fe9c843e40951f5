"""The file of alert rules. Complaints name line and remedy. Pure: the environment is given.

rules:
  - {name: billing is late, when: lag, group: billing, over: 10000, for: 30s, clear_at: 1000}
  - {name: offline, when: offline}
notify:
  bell: true
  desktop: true
  webhook: {url: "https://example.org/hook", headers: {Authorization: "Bearer ${ALERT_TOKEN}"}}
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

from console.viewmodel.alerts import Condition, Rule
from engine.supervisor.yaml_nodes import MappingReader, Node, Problems, read_mapping

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
_UNIT_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000}
_VARIABLE = re.compile(r"\$\{(\w+)\}")
_PARTITIONS = (Condition.OFFLINE, Condition.UNDER_REPLICATED, Condition.UNDER_MIN_ISR)


class Webhook(NamedTuple):
    """Where to post. A post that fails is tried ``retries`` times more."""

    url: str
    timeout_s: float = 5.0
    retries: int = 3
    headers: tuple[tuple[str, str], ...] = ()


class AlertFile(NamedTuple):
    """Rules, and whom to tell."""

    rules: tuple[Rule, ...]
    bell: bool = True
    desktop: bool = False
    webhook: Webhook | None = None


def parse_alert_file(text: str, environment: Mapping[str, str]) -> AlertFile:
    """Read a file of rules. ``${NAME}`` in the webhook's URL and headers is taken from the environment.

    Raises:
        SpecErrors: with everything that is wrong with it.
    """
    reader = read_mapping(text, "the file of rules", if_empty="add `rules: [{name: offline, when: offline}]`")
    problems = reader.problems
    rules: list[Rule] = []
    for node in reader.items("rules"):
        rule = _rule(node, problems)
        if any(each.name == rule.name for each in rules):
            problems.error(node, f"there are two rules called {rule.name!r}", "give each a name of its own")
        rules.append(rule)
    if not rules and not problems.errors:
        problems.error(reader.place("rules"), "the file has no rules", "add `rules: [{name: offline, when: offline}]`")
    notify = reader.mapping("notify")
    bell, desktop = notify.boolean("bell", True), notify.boolean("desktop", False)
    webhook = _webhook(notify.mapping("webhook"), problems, environment) if notify.take("webhook") else None
    notify.finish()
    reader.end()
    return AlertFile(tuple(rules), bell, desktop, webhook)


def _rule(node: Node, problems: Problems) -> Rule:
    reader = MappingReader(node, "a rule", problems)
    reader.required_text("when")
    when = Condition(reader.text("when", choices=tuple(map(str, Condition))) or Condition.LAG)
    name = reader.text("name") or str(when)
    over = clear_at = 0
    if when is Condition.LAG:
        if reader.take("over") is None:
            problems.error(node, "a rule of lag has no 'over'", "add `over: 10000`, a number of records")
        over = reader.integer("over", 0, low=0, high=2**62)
        clear_at = reader.integer("clear_at", over, low=0, high=2**62)
    elif when in _PARTITIONS:
        over = reader.integer("over", 0, low=0)
        clear_at = reader.integer("clear_at", over, low=0)
    if clear_at > over:
        problems.error(
            reader.place("clear_at"), f"'clear_at' {clear_at} is more than 'over' {over}", "give at most that"
        )
    rule = Rule(
        name,
        when,
        over,
        _duration(reader, "for", 0, problems),
        clear_at,
        _duration(reader, "clear_for", 10_000, problems),
        reader.text("group", "*") or "*" if when is Condition.LAG else "*",
        reader.text("topic", "*") or "*" if when is Condition.LAG or when in _PARTITIONS else "*",
    )
    reader.finish()
    return rule


def _duration(reader: MappingReader, name: str, default_ms: int, problems: Problems) -> int:
    written = reader.text(name)
    if written is None:
        return default_ms
    found = _DURATION.fullmatch(written.strip())
    if found is None:
        problems.error(reader.place(name), f"{name!r} is {written!r}", "write a time as in 500ms, 30s, 5m or 1h")
        return default_ms
    return round(float(found[1]) * _UNIT_MS[found[2]])


def _webhook(reader: MappingReader, problems: Problems, environment: Mapping[str, str]) -> Webhook:
    def filled(value: str, node: Node) -> str:
        for name in _VARIABLE.findall(value):
            if name not in environment:
                problems.error(node, f"the environment has no {name}", f"export {name}, or write the value here")
        return _VARIABLE.sub(lambda found: environment.get(found[1], ""), value)

    written = reader.required_text("url")
    url = filled(written, reader.place("url")) if written else ""
    known = all(name in environment for name in _VARIABLE.findall(written or ""))
    if url and known and (urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname):
        problems.error(reader.place("url"), "'url' of the webhook is none", "write http://… or https://…")
    timeout_ms = _duration(reader, "timeout", 5_000, problems)
    retries = reader.integer("retries", 3, low=0, high=10)
    named = reader.mapping("headers")
    headers = tuple((name, filled(str(value.value), value)) for name, _, value in named.entries())
    reader.finish()
    return Webhook(url, max(0.1, timeout_ms / 1000), retries, headers)

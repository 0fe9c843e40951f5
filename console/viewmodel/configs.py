"""Configs with where their values come from, edits that are not done yet, and two things' configs compared. Pure."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from console.viewmodel.cells import Cell, Column, Span, cell

TOPIC, BROKER, GROUP = "topic", "broker", "group"
# Of each kind, the source that a value has which was set there (DescribeConfigsResponse.ConfigSource).
_LEVELS = {
    TOPIC: "DYNAMIC_TOPIC_CONFIG",
    BROKER: "DYNAMIC_BROKER_CONFIG",
    GROUP: "DYNAMIC_GROUP_CONFIG",
}
HIDDEN = "(hidden)"
SET, DELETE, APPEND, SUBTRACT = "set", "delete", "append", "subtract"


class ConfigOf(NamedTuple):
    """Whose configs. A broker without a name stands for the default of all brokers, as in Kafka."""

    kind: str
    name: str

    @property
    def level(self) -> str:
        """The source of values that are set here."""
        return "DYNAMIC_DEFAULT_BROKER_CONFIG" if self.kind == BROKER and not self.name else _LEVELS[self.kind]

    def words(self) -> str:
        """``orders``, ``broker 2``, ``all brokers``."""
        if self.kind == BROKER:
            return f"broker {self.name}" if self.name else "all brokers"
        return self.name if self.kind == TOPIC else f"{self.kind} {self.name}"


class Synonym(NamedTuple):
    """A value that holds if those before it are not there; ``name`` may be another (a topic's and its broker's)."""

    name: str
    value: str | None
    source: str


class ConfigValue(NamedTuple):
    """One config. ``source`` is where its value comes from, in Kafka's words (``DYNAMIC_TOPIC_CONFIG``); ``synonyms``
    begin with the value itself; ``kind`` is its type (``LIST``, ``LONG``, …), empty where the broker does not tell."""

    name: str
    value: str | None
    source: str
    read_only: bool = False
    sensitive: bool = False
    documentation: str = ""
    synonyms: tuple[Synonym, ...] = ()
    kind: str = ""

    @property
    def is_default(self) -> bool:
        """Whether nobody set it here."""
        return self.source == "DEFAULT_CONFIG"


class Edit(NamedTuple):
    """A change that is not done yet: of Kafka's operations (AlterConfigOp.OpType) one, with its value."""

    name: str
    op: str
    value: str = ""


class Outcome(NamedTuple):
    """What a config would be. ``is_known`` is false of a default that no synonym tells."""

    value: str | None
    source: str
    is_known: bool = True


def source_words(source: str) -> str:
    """``DYNAMIC_DEFAULT_BROKER_CONFIG``: ``dynamic default``."""
    words = source.replace("_CONFIG", "").replace("_", " ").lower()
    return {
        "dynamic topic": "topic",
        "dynamic group": "group",
        "dynamic default broker": "dynamic default",
        "static broker": "static",
    }.get(words, words)


def without_tags(documentation: str) -> str:
    """Kafka documents its configs in HTML."""
    return html.unescape(re.sub(r"</?[a-z][^<>]*>", "", documentation))


def listed(value: str | None) -> list[str]:
    """The parts of a list's value."""
    return [each.strip() for each in (value or "").split(",") if each.strip()]


def outcome(config: ConfigValue, edit: Edit, level: str) -> Outcome:
    """What the config would be after the edit, as Kafka's controller computes it."""
    if edit.op == SET:
        return Outcome(None if config.sensitive else edit.value, level)
    if edit.op == DELETE:
        beneath = next((each for each in config.synonyms if each.source != level), None)
        if beneath is None:
            is_set_here = config.source == level
            return Outcome(None if is_set_here else config.value, "DEFAULT_CONFIG", not is_set_here)
        return Outcome(beneath.value, beneath.source)
    now, said = listed(config.value), listed(edit.value)
    if edit.op == APPEND:
        return Outcome(",".join([*now, *(each for each in dict.fromkeys(said) if each not in now)]), level)
    return Outcome(",".join(each for each in now if each not in said), level)


def check_edit(config: ConfigValue | None, edit: Edit) -> str:
    """What is wrong with it before anybody is asked; empty if nothing is."""
    if not edit.name:
        return "name a config"
    if config is not None and config.read_only:
        return read_only_reason(config)
    if edit.op in (APPEND, SUBTRACT):
        if config is not None and config.kind not in ("LIST", ""):
            return f"{edit.op} is for lists; {edit.name} is {config.kind.lower()}"
        if not listed(edit.value):
            return f"{edit.op} needs a value"
    return ""


def read_only_reason(config: ConfigValue) -> str:
    """Why one cannot be changed here."""
    return f"{config.name} is read when a broker starts: set it in its properties (the cluster file), and restart it"


def unknown_config(name: str, level: str) -> ConfigValue:
    """Of a name that is not listed: the brokers decide whether there is such a config."""
    return ConfigValue(name, None, level, kind="")


def shown(config: ConfigValue, value: str | None) -> str:
    """A value as people may see it."""
    if config.sensitive:
        return HIDDEN
    return "null" if value is None else value or '""'


def shown_outcome(config: ConfigValue, then: Outcome) -> str:
    """What comes of an edit, as people may see it."""
    return shown(config, then.value) if then.is_known else "(the default)"


def diff_cells(configs: Mapping[str, ConfigValue], edits: Sequence[Edit], level: str) -> list[Cell]:
    """Each edit: what it is now and where that comes from, and what it becomes."""
    lines: list[Cell] = []
    for edit in edits:
        config = configs.get(edit.name) or unknown_config(edit.name, level)
        then = outcome(config, edit, level)
        known = edit.name in configs
        old = shown(config, config.value) if known else "not set"
        same = known and not config.sensitive and then == (config.value, config.source, True)
        new = shown_outcome(config, then)
        lines.append((Span(edit.name, "title"), Span(f"  {edit.op}" if edit.op != SET else "", "muted")))
        lines.append(
            (
                Span("  - ", "offline"),
                Span(old, "muted" if same else "offline"),
                Span(f"  {source_words(config.source)}" if known else "", "muted"),
            )
        )
        lines.append(
            (
                Span("  + ", "in_sync"),
                Span(new, "muted" if same else "in_sync"),
                Span(f"  {source_words(then.source)}" + ("  (as it is)" if same else ""), "muted"),
            )
        )
    return lines


class ConfigRow(NamedTuple):
    """A config, and what an edit would make of it."""

    config: ConfigValue
    edit: Edit | None
    level: str
    age_ms: float = 0.0

    @property
    def key(self) -> str:
        """Its name."""
        return self.config.name

    @property
    def is_set_here(self) -> bool:
        """Whether somebody set it at this very thing."""
        return self.config.source == self.level


def config_rows(
    configs: Sequence[ConfigValue], edits: Mapping[str, Edit], level: str, *, defaults: bool, age_ms: float = 0.0
) -> list[ConfigRow]:
    """Edited ones first, then what is set here, then what is set elsewhere, then defaults."""
    known = {each.name for each in configs}
    all_of_them = [*configs, *(unknown_config(name, level) for name in edits if name not in known)]
    rows = [
        ConfigRow(each, edits.get(each.name), level, age_ms)
        for each in all_of_them
        if defaults or not each.is_default or each.name in edits
    ]
    return sorted(rows, key=lambda row: (row.edit is None, not row.is_set_here, row.config.is_default, row.key))


def _name(row: ConfigRow) -> Cell:
    if row.edit is not None:
        return (Span("✎ ", "accent"), Span(row.key, "accent"))
    return cell(row.key, "muted" if row.config.is_default or row.config.read_only else "text")


def _value(row: ConfigRow) -> Cell:
    config = row.config
    tone = "muted" if config.sensitive or config.value is None or config.read_only else "text"
    if row.edit is None:
        return cell(shown(config, config.value), "accent" if row.is_set_here and tone == "text" else tone)
    new = shown_outcome(config, outcome(config, row.edit, row.level))
    return (Span(shown(config, config.value), "offline"), Span(" → ", "muted"), Span(new, "in_sync"))


def _source(row: ConfigRow) -> Cell:
    return cell(source_words(row.config.source), "muted" if row.config.is_default else "info")


def _kind(row: ConfigRow) -> Cell:
    said = [row.config.kind.lower(), "read-only" if row.config.read_only else ""]
    return cell(" ".join(each for each in said if each), "muted")


CONFIG_COLUMNS: tuple[Column, ...] = (
    Column("name", "NAME", _name, 30, lambda row: row.key, max_width=56, cut_middle=True),
    Column("value", "VALUE", _value, 20, lambda row: row.config.value or "", max_width=70, flashes=True),
    Column("source", "SET BY", _source, 7, lambda row: row.config.source, max_width=15),
    Column("kind", "TYPE", _kind, 9, lambda row: row.config.kind, priority=2, max_width=17),
)


class ConfigPair(NamedTuple):
    """A config of two things; ``None``: one of them has none of that name."""

    name: str
    left: ConfigValue | None
    right: ConfigValue | None
    age_ms: float = 0.0

    @property
    def key(self) -> str:
        """Its name."""
        return self.name

    @property
    def differs(self) -> bool:
        """In what counts: the value. Sensitive ones are not told, so their sources have to do."""
        if self.left is None or self.right is None:
            return True
        if self.left.sensitive or self.right.sensitive:
            return self.left.source != self.right.source
        return self.left.value != self.right.value

    @property
    def is_healthy(self) -> bool:
        """``ctrl-z`` leaves what differs."""
        return not self.differs


def pairs(left: Sequence[ConfigValue], right: Sequence[ConfigValue], *, same: bool) -> list[ConfigPair]:
    """Side by side by name; ``same``: also those that are alike."""
    of_left, of_right = ({each.name: each for each in side} for side in (left, right))
    found = [ConfigPair(name, of_left.get(name), of_right.get(name)) for name in sorted({*of_left, *of_right})]
    return [each for each in found if same or each.differs]


def _side(config: ConfigValue | None, pair: ConfigPair, tone: str) -> Cell:
    if config is None:
        return cell("–", "muted")
    return (
        Span(shown(config, config.value), tone if pair.differs else "muted"),
        Span(f"  {source_words(config.source)}", "muted"),
    )


def pair_columns(left: str, right: str) -> tuple[Column, ...]:
    """Columns with the two names as heads."""
    return (
        Column("name", "NAME", lambda pair: cell(pair.name), 28, lambda pair: pair.name, max_width=56),
        Column(
            "left",
            left.upper() if left.startswith("broker ") else left,
            lambda pair: _side(pair.left, pair, "offline"),
            20,
            lambda pair: (pair.left.value or "") if pair.left else "",
            max_width=60,
        ),
        Column(
            "right",
            right.upper() if right.startswith("broker ") else right,
            lambda pair: _side(pair.right, pair, "in_sync"),
            20,
            lambda pair: (pair.right.value or "") if pair.right else "",
            max_width=60,
        ),
    )

"""Reading a YAML document so that every complaint has a line, a column and a remedy. Pure.

PyYAML's composed nodes keep their places; :class:`MappingReader` takes keys out of a mapping one by one, collects what
is wrong and goes on, so that one look at the file shows all of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, NamedTuple, TypeVar

import yaml

from engine.model.configs import closest

Node = yaml.Node
T = TypeVar("T")

_INTEGER = re.compile(r"-?[0-9]+")
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")


class SpecError(NamedTuple):
    """One mistake. ``line`` and ``column`` count from 1."""

    line: int
    column: int
    message: str
    remedy: str

    def in_file(self, name: str) -> str:
        """As a compiler says it: ``file:line:column: message; remedy``."""
        return f"{name}:{self.line}:{self.column}: {self.message}; {self.remedy}"


class SpecErrors(Exception):
    """A file is wrong; ``errors`` has all of it in the order of the file, ``read`` what could be read all the same."""

    def __init__(self, errors: list[SpecError], read: tuple[Any, ...] = ()) -> None:
        super().__init__(f"{len(errors)} mistakes")
        self.errors = sorted(errors)
        self.read = read

    def add(self, errors: list[SpecError]) -> None:
        """Put in what was found elsewhere."""
        self.errors = sorted([*self.errors, *errors])

    def in_file(self, name: str) -> str:
        """One line a mistake."""
        return "\n".join(error.in_file(name) for error in self.errors)


class Problems:
    """What is wrong with a document, and what only deserves a word."""

    def __init__(self) -> None:
        self.errors: list[SpecError] = []
        self.warnings: list[SpecError] = []

    def error(self, node: Node, message: str, remedy: str) -> None:
        """Record a mistake at ``node``."""
        self.errors.append(_at(node, message, remedy))

    def warn(self, node: Node, message: str, remedy: str) -> None:
        """Record a doubt at ``node``."""
        self.warnings.append(_at(node, message, remedy))


def _at(node: Node, message: str, remedy: str) -> SpecError:
    return SpecError(node.start_mark.line + 1, node.start_mark.column + 1, message, remedy)


def compose(text: str, problems: Problems) -> Node | None:
    """The document's root node; ``None`` if it is empty or no YAML (then ``problems`` has it)."""
    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        root: Node | None = yaml.compose(text, Loader=loader)
        return root
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
        what = " ".join(str(part) for part in (error.context, error.problem) if part)
        problems.errors.append(SpecError(line, column, f"this is no YAML: {what}", "mend the syntax here"))
    except yaml.YAMLError as error:
        problems.errors.append(SpecError(1, 1, f"this is no YAML: {error}", "save the file as UTF-8 text"))
    return None


def read_mapping(text: str, what: str, *, if_empty: str = "") -> MappingReader:
    """The mapping that a document is; ``what`` names it in complaints, ``if_empty`` is the remedy where it may not be
    empty.

    Raises:
        SpecErrors: it is no YAML, or empty.
    """
    problems = Problems()
    root = compose(text, problems)
    if root is None and if_empty and not problems.errors:
        problems.errors.append(SpecError(1, 1, "the file is empty", if_empty))
    if problems.errors:
        raise SpecErrors(problems.errors)
    return MappingReader(root, what, problems)


def kind_of(node: Node) -> str:
    """A node's kind in words for people."""
    if isinstance(node, yaml.MappingNode):
        return "a mapping"
    if isinstance(node, yaml.SequenceNode):
        return "a list"
    if node.tag.endswith(":null"):
        return "nothing"
    return f"{node.value!r}"


class MappingReader:
    """Takes the known keys out of a mapping; :meth:`finish` complains about the others."""

    def __init__(self, node: Node | None, what: str, problems: Problems) -> None:
        """``what`` names the mapping in complaints, for example ``broker``."""
        self.what = what
        self.problems = problems
        self.node = node
        self._entries: dict[str, tuple[Node, Node]] = {}
        self._known: list[str] = []
        if node is None or _is_null(node):
            return
        if not isinstance(node, yaml.MappingNode):
            problems.error(node, f"{what} is a mapping, not {kind_of(node)}", "write `key: value` lines")
            return
        for key, value in node.value:
            name = str(key.value) if isinstance(key, yaml.ScalarNode) else ""
            if not name:
                problems.error(key, f"a key of {what} is a name", "write `name: value`")
            elif name in self._entries:
                problems.error(key, f"{name!r} stands twice in {what}", "keep one of them")
            else:
                self._entries[name] = (key, value)

    def take(self, name: str) -> Node | None:
        """The value's node; ``None`` if it is absent or null."""
        self._known.append(name)
        entry = self._entries.get(name)
        return None if entry is None or _is_null(entry[1]) else entry[1]

    def place(self, name: str) -> Node:
        """The node to point at when ``name`` is complained about."""
        entry = self._entries.get(name)
        if entry is not None:
            return entry[1]
        assert self.node is not None, "a mapping that is not there has no keys to complain about"
        return self.node

    def entries(self) -> Iterable[tuple[str, Node, Node]]:
        """All names with their key and value nodes, for mappings whose keys are free."""
        return [(name, key, value) for name, (key, value) in self._entries.items()]

    def finish(self) -> None:
        """Complain about keys that nobody took, once."""
        for name, (key, _) in self._entries.items():
            if name not in self._known:
                near = closest(name, self._known)
                remedy = f"did you mean {near!r}?" if near else f"known keys are {', '.join(sorted(self._known))}"
                self.problems.error(key, f"unknown key {name!r} in {self.what}", remedy)
        self._known += self._entries

    def end(self, read: tuple[Any, ...] = ()) -> None:
        """Of the whole document: nothing may be wrong with it.

        Raises:
            SpecErrors: something is, or a key was taken by nobody; ``read`` goes with it.
        """
        self.finish()
        if self.problems.errors:
            raise SpecErrors(self.problems.errors, read)

    # -- typed values -------------------------------------------------------------------------------------------

    def text(self, name: str, default: str | None = None, *, choices: tuple[str, ...] = ()) -> str | None:
        """A text. A number is taken as it is written."""
        node = self.take(name)
        if node is None:
            return default
        if not isinstance(node, yaml.ScalarNode):
            self._wrong_type(node, name, "a text")
            return default
        value = str(node.value)
        if choices and value not in choices:
            near = closest(value, choices)
            self.problems.error(
                node,
                f"{name!r} of {self.what} cannot be {value!r}",
                f"did you mean {near!r}?" if near else f"choose one of {', '.join(choices)}",
            )
            return default
        return value

    def required_text(self, name: str) -> str | None:
        """A text that has to be there."""
        value = self.text(name)
        if value is None and not self._has_complaint(name):
            self._missing(name)
        return value

    def integer(
        self, name: str, default: int, *, low: int, high: int = 2**31 - 1, words: dict[str, int] | None = None
    ) -> int:
        """A whole number within bounds, or one of ``words`` that stand for one."""
        node = self.take(name)
        if node is None:
            return default
        if isinstance(node, yaml.ScalarNode) and words and str(node.value) in words:
            return words[str(node.value)]
        alternatives = f" or {' or '.join(words)}" if words else ""
        if not isinstance(node, yaml.ScalarNode) or not _INTEGER.fullmatch(str(node.value)):
            self._wrong_type(node, name, f"a whole number{alternatives}")
            return default
        value = int(node.value)
        if not low <= value <= high:
            self.problems.error(
                node, f"{name!r} of {self.what} is {value}", f"give a number from {low} to {high}{alternatives}"
            )
            return default
        return value

    def number(self, name: str, default: float, *, low: float, high: float) -> float:
        """A number within bounds."""
        node = self.take(name)
        if node is None:
            return default
        if not isinstance(node, yaml.ScalarNode) or not _NUMBER.fullmatch(str(node.value)):
            self._wrong_type(node, name, "a number")
            return default
        value = float(node.value)
        if not low <= value <= high:
            self.problems.error(
                node, f"{name!r} of {self.what} is {node.value}", f"give a number from {low:g} to {high:g}"
            )
            return default
        return value

    def boolean(self, name: str, default: bool) -> bool:
        """``true`` or ``false``."""
        node = self.take(name)
        if node is None:
            return default
        if isinstance(node, yaml.ScalarNode) and str(node.value).lower() in ("true", "false"):
            return str(node.value).lower() == "true"
        self._wrong_type(node, name, "true or false")
        return default

    def items(self, name: str) -> list[Node]:
        """The nodes of a list; empty if it is absent."""
        node = self.take(name)
        if node is None:
            return []
        if not isinstance(node, yaml.SequenceNode):
            self._wrong_type(node, name, "a list")
            return []
        return list(node.value)

    def texts(self, name: str) -> list[tuple[str, Node]]:
        """A list of texts, each with its node."""
        found: list[tuple[str, Node]] = []
        for node in self.items(name):
            if isinstance(node, yaml.ScalarNode) and not _is_null(node):
                found.append((str(node.value), node))
            else:
                self._wrong_type(node, name, "a list of texts")
        return found

    def mapping(self, name: str) -> MappingReader:
        """A mapping inside; empty if it is absent."""
        return MappingReader(self.take(name), f"{name!r} of {self.what}", self.problems)

    def _has_complaint(self, name: str) -> bool:
        return name in self._entries and not _is_null(self._entries[name][1])

    def _missing(self, name: str) -> None:
        if self.node is not None:
            self.problems.error(self.node, f"{self.what} has no {name!r}", f"add `{name}: …`")

    def _wrong_type(self, node: Node, name: str, wanted: str) -> None:
        self.problems.error(node, f"{name!r} of {self.what} is {wanted}, not {kind_of(node)}", f"write {wanted} here")


def _is_null(node: Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null"

"""The file of serdes: which registry, and how keys and values of which topics are read. Complaints name line and
remedy. Pure: the environment is given.

registry: {url: "http://127.0.0.1:8081", user: console, password: "${REGISTRY_PASSWORD}", timeout: 2s}
topics:
  - {topic: "orders*", key: string, value: avro}
  - {topic: payments, value: "protobuf:payments.proto:acme.Payment"}
"""

from __future__ import annotations

import fnmatch
import json
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from console.values.registry import RegistryConfig
from console.values.serde_words import HELP, SerdeWord
from console.values.serdes import SerdeError
from engine.supervisor.yaml_nodes import MappingReader, Node, Problems, SpecErrors, read_mapping

_VARIABLE = re.compile(r"\$\{(\w+)\}")
_SECONDS = re.compile(r"(\d+(?:\.\d+)?)(ms|s)")


class SerdeRule(NamedTuple):
    """Of topics, by a pattern with ``*`` and ``?``. ``None``: this rule says nothing of it."""

    topic: str
    key: SerdeWord | None = None
    value: SerdeWord | None = None


class SerdeFile(NamedTuple):
    """What a file says."""

    rules: tuple[SerdeRule, ...] = ()
    registry: RegistryConfig | None = None
    # A password stands in the file itself.
    has_secret: bool = False

    def word(self, topic: str, part: str) -> SerdeWord | None:
        """Of ``key`` or ``value``: the first rule of the topic that says something of it."""
        for rule in self.rules:
            found: SerdeWord | None = getattr(rule, part)
            if found is not None and fnmatch.fnmatchcase(topic, rule.topic):
                return found
        return None


def parse_serde_file(text: str, environment: Mapping[str, str], folder: str = "") -> SerdeFile:
    """Read a file. ``${NAME}`` in the registry's url, user and password is taken from the environment; files of schemas
    are below ``folder``.

    Raises:
        SpecErrors: with everything that is wrong with it.
    """
    reader = read_mapping(text, "the file of serdes")
    problems = reader.problems
    registry, has_secret = None, False
    node = reader.take("registry")
    if node is not None:
        asked = MappingReader(node, "the registry", problems)
        written = (asked.text("password") or "", (asked.text("url") or "").rpartition("@")[0])
        has_secret = any(each and "${" not in each for each in written)
        registry = _registry(asked, problems, environment)
    rules = tuple(_rule(each, problems, folder) for each in reader.items("topics"))
    reader.end()
    return SerdeFile(rules, registry, has_secret)


def _rule(node: Node, problems: Problems, folder: str) -> SerdeRule:
    reader = MappingReader(node, "a topic's serdes", problems)
    topic = reader.required_text("topic") or ""
    words: dict[str, SerdeWord | None] = {"key": None, "value": None}
    for part in words:
        written = reader.text(part)
        if written is None:
            continue
        try:
            words[part] = SerdeWord.parse(written, folder)
        except SerdeError as error:
            problems.error(reader.place(part), str(error), f"write one of {HELP}")
    reader.finish()
    if isinstance(node.value, list) and not any(reader.take(part) for part in words):
        problems.error(node, f"of {topic!r} neither key nor value is told", "add `value: avro`, or what it is")
    return SerdeRule(topic, words["key"], words["value"])


def _registry(reader: MappingReader, problems: Problems, environment: Mapping[str, str]) -> RegistryConfig | None:
    filled: dict[str, str] = {}
    for name in ("url", "user", "password"):
        written = (reader.required_text(name) if name == "url" else reader.text(name)) or ""
        for variable in _VARIABLE.findall(written):
            if variable not in environment:
                problems.error(
                    reader.place(name),
                    f"the environment has no {variable}",
                    f"export {variable}, or write the value here",
                )
        filled[name] = _VARIABLE.sub(lambda found: environment.get(found[1], ""), written)
    timeout = reader.text("timeout", "2s") or "2s"
    found = _SECONDS.fullmatch(timeout)
    if found is None:
        problems.error(reader.place("timeout"), f"'timeout' is {timeout!r}", "write a time as in 500ms or 2s")
    reader.finish()
    if not filled["url"]:
        return None
    seconds = 2.0 if found is None else float(found[1]) / (1000 if found[2] == "ms" else 1)
    try:
        return RegistryConfig.parse(
            filled["url"], user=filled["user"], password=filled["password"], timeout_s=min(60.0, max(0.1, seconds))
        )
    except ValueError:
        problems.error(reader.place("url"), "'url' of the registry is none", "write http://HOST:PORT")
        return None


def keep_rule(path: Path, rule: SerdeRule) -> None:
    """Put a rule before all others of a file, which is made if there is none; comments stay.

    Raises:
        SerdeError: the file cannot be written, or is wrong and has to be mended first.
    """
    words = "".join(f", {part}: {json.dumps(str(word))}" for part, word in (("key", rule.key), ("value", rule.value)))
    name = json.dumps(rule.topic, ensure_ascii=False)
    item = f"- {{topic: {name}{words}}}"
    try:
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        parse_serde_file(text, _Anything())
        made = _with_rule(text, f"- {{topic: {name}, ", item)
        if made is None or parse_serde_file(made, _Anything(), str(path.parent)).rules[:1] != (rule,):
            raise SerdeError(f"{path}: put the rule into it by hand: {item}")
        path.parent.mkdir(parents=True, exist_ok=True)
        _replace(path, made)
    except (OSError, UnicodeDecodeError) as error:
        raise SerdeError(f"{path}: {getattr(error, 'strerror', None) or 'it is no text'}") from None
    except SpecErrors as error:
        raise SerdeError(f"not kept: {error.in_file(str(path)).splitlines()[0]}") from None


def _with_rule(text: str, older: str, item: str) -> str | None:
    """The text with one item more, the first; without the ``older`` one of the same topic. ``None``: its list is
    written some other way than one item a line."""
    # What was kept of the same topic before.
    lines = [each for each in text.splitlines() if not each.lstrip().startswith(older)]
    at = next((at for at, each in enumerate(lines) if re.fullmatch(r"topics:\s*(#.*)?", each)), None)
    if at is None:
        if any(each.startswith("topics:") for each in lines):
            return None
        lines.append("topics:")
        at = len(lines) - 1
    indents = (found[1] for each in lines[at + 1 :] if (found := re.match(r"( *)- ", each)))
    return "\n".join([*lines[: at + 1], next(indents, "  ") + item, *lines[at + 1 :], ""])


def _replace(path: Path, text: str) -> None:
    """In one step, for those who might read it before: a password may stand in it."""
    part = path.with_name(path.name + ".part")
    mode = stat.S_IMODE(path.stat().st_mode) if path.exists() else 0o600
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    part.chmod(mode)
    part.replace(path)


class _Anything(dict[str, str]):
    """Whether the environment has what a file names is no matter here."""

    def __contains__(self, name: object) -> bool:
        return True

    def get(self, name: str, default: object = None) -> str:  # type: ignore[override]
        return "http://localhost"

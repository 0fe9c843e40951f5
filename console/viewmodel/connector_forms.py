"""What is typed of a connector: a template of a plug-in's configs, and the config that a text means. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from console.viewmodel.connect_told import HIDDEN, hidden

# What most connectors are given; all else of the worker's own configs stays as it is.
_COMMON = ("name", "connector.class", "tasks.max", "topics", "topics.regex")
_NOT_ASKED = "key.converter"


def template_of(class_name: str, keys: Sequence[Mapping[str, Any]]) -> str:
    """Lines ``name=value`` for a new connector: what must be said first, what can be said as comments.

    Args:
        keys: a plug-in's configs, as REST tells them: its own first.
    """
    own = [each for each in keys if not _is_common(each["name"]) and not each["name"].startswith(_NOT_ASKED)]
    is_sink = any(each["name"] == "topics" for each in keys)
    last = class_name.rpartition(".")[2].removesuffix("Connector")
    lines = [f"name={_dashed(last)}", f"connector.class={class_name}", "tasks.max=1"]
    if is_sink:
        lines.append("topics=")
    lines += [f"{each['name']}=" for each in own if each["required"]]
    end = next((at for at, each in enumerate(keys) if each["name"] == "name"), len(keys))
    for each in keys[:end]:
        if not each["required"]:
            lines.append(f"# {each['name']}={each['default_value'] or ''}")
    return "\n".join(lines) + "\n"


def _is_common(name: str) -> bool:
    return name in _COMMON


def _dashed(name: str) -> str:
    return "".join(f"-{each.lower()}" if each.isupper() and at else each.lower() for at, each in enumerate(name))


def text_of(config: Mapping[str, str]) -> str:
    """A config as lines; secrets are not shown, and stay as they are if they are left so."""
    shown = hidden(config)
    first = [name for name in _COMMON if name in shown]
    return "".join(f"{name}={shown[name]}\n" for name in [*first, *sorted(set(shown) - set(first))])


def config_of(text: str, before: Mapping[str, str] | None = None) -> dict[str, str]:
    """The config that lines (or an object in JSON) mean; what is hidden keeps its value of before.

    Raises:
        ValueError: it is none; the message says which line.
    """
    found: dict[str, str] = {}
    if text.lstrip().startswith("{"):
        document = json.loads(text)
        if isinstance(document.get("config"), dict):
            document = {**document["config"], **({"name": document["name"]} if document.get("name") else {})}
        for name, value in document.items():
            if isinstance(value, dict | list):
                raise ValueError(f"{name}: a text is wanted")
            if value is not None:
                found[str(name)] = str(value).lower() if isinstance(value, bool) else str(value)
    else:
        for number, line in enumerate(text.splitlines(), 1):
            said = line.strip()
            if not said or said[0] in "#!":
                continue
            name, equals, value = said.partition("=")
            if not equals or not name.strip():
                raise ValueError(f"line {number}: {said[:40]!r} is not name=value")
            found[name.strip()] = value.strip()
    kept = before or {}
    shown = hidden(kept)
    return {
        name: kept[name] if HIDDEN in value and shown.get(name) == value else value for name, value in found.items()
    }


def errors_of(validation: Mapping[str, Any]) -> list[str]:
    """What a validation found: ``config: message``, each once."""
    found = [
        f"{each['value']['name']}: {message}" for each in validation["configs"] for message in each["value"]["errors"]
    ]
    return list(dict.fromkeys(found))


def offset_of(text: str, before: Mapping[str, Any] | None) -> Any:
    """An offset as it was typed: JSON, ``null`` to forget it, a number alone where the one before had one number.

    Raises:
        ValueError: it is none.
    """
    written = text.strip()
    if written.isdigit() and before is not None and len(before) == 1:
        return {next(iter(before)): int(written)}
    try:
        found = json.loads(written)
    except ValueError:
        raise ValueError(f"{written[:40]!r} is neither JSON nor a number") from None
    if found is not None and not isinstance(found, dict):
        raise ValueError("an offset is an object, or null to forget it")
    return found

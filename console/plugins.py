"""Commands of the user's own: ``~/.config/kconsole/plugins.yaml`` gives a key on some screens to a shell command, which
has what is selected in variables."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from console.acts import Need
from console.key_layers import Key, display_of, with_own
from console.keymap import KEYS, SCREENS, duplicates_of
from console.own_keys import KeyFileError, textual_key
from console.user_files import read_document, user_file

VARIABLES = ("BOOTSTRAP", "CONTEXT", "COMMAND_CONFIG", "CLUSTER_ID", "TOPIC", "PARTITION", "GROUP", "BROKER")
VARIABLES += ("MEMBER", "OFFSET", "KEY", "NAME", "ROW")
_KEYS = ("key", "screens", "label", "command", "ask", "changes", "output")
_OUTPUTS = ("show", "terminal")


class PluginFileError(Exception):
    """The file is not right; the message names the command and what is wrong with it. None of them is there then."""


class Plugin(NamedTuple):
    """One command. ``ask``: a question comes first; ``changes``: refused where nothing may be changed; ``terminal``: it
    has the terminal to itself, else its output is shown when it ends."""

    name: str
    key: str
    screens: tuple[str, ...]
    label: str
    command: str
    ask: bool = True
    changes: bool = True
    terminal: bool = False


def read_plugins(said: Any, own: Mapping[str, str]) -> tuple[Plugin, ...]:
    """Of what a file says. Pure.

    Args:
        own: the keys of keys.yaml, by the ids of bindings.

    Raises:
        PluginFileError: something is missing, not known, or a key is taken.
    """
    if said is None:
        return ()
    if not isinstance(said, dict):
        raise PluginFileError("names of commands are needed, with key, screens and command below each")
    plugins = tuple(_plugin(str(name), each) for name, each in said.items())
    keys = [*with_own(KEYS, own), *keys_of_plugins(plugins)]
    before = duplicates_of(with_own(KEYS, own))
    for screen, pressed, one, other in duplicates_of(keys):
        if (screen, pressed, one, other) not in before:
            raise PluginFileError(
                f"{other.label}: {display_of(pressed)} is {one.label} on the {screen} screen already: take another key"
            )
    return plugins


def _plugin(name: str, said: Any) -> Plugin:
    if not isinstance(said, dict):
        raise PluginFileError(f"{name}: key, screens and command are needed below it")
    for word in said:
        if word not in _KEYS:
            raise PluginFileError(f"{name}: {word} is not known{_near(str(word), _KEYS)}")
    missing = [each for each in ("key", "screens", "command") if not said.get(each)]
    if missing:
        raise PluginFileError(f"{name}: {missing[0]} is missing")
    screens = said["screens"] if isinstance(said["screens"], list) else [said["screens"]]
    for screen in screens:
        if screen not in SCREENS:
            raise PluginFileError(f"{name}: there is no screen {screen}{_near(str(screen), SCREENS)}")
    for word in ("ask", "changes"):
        if not isinstance(said.get(word, True), bool):
            raise PluginFileError(f"{name}: {word} is true or false")
    if said.get("output", "show") not in _OUTPUTS:
        raise PluginFileError(f"{name}: output is {' or '.join(_OUTPUTS)}")
    try:
        key = textual_key(str(said["key"]))
    except KeyFileError as error:
        raise PluginFileError(f"{name}: {error}") from None
    return Plugin(
        name,
        key,
        tuple(map(str, screens)),
        str(said.get("label") or name),
        str(said["command"]),
        said.get("ask", True),
        said.get("changes", True),
        said.get("output") == "terminal",
    )


def _near(word: str, known: Any) -> str:
    near = difflib.get_close_matches(word, list(known), 1)
    return f": did you mean {near[0]}?" if near else f": there are {', '.join(known)}"


def keys_of_plugins(plugins: Sequence[Plugin]) -> list[Key]:
    """Their keys, for hints, help and dispatch: in the scopes of their screens."""
    return [
        Key(
            plugin.key,
            f"plugin('{plugin.name}')",
            plugin.label,
            screen,
            display_of(plugin.key),
            "acts",
            Need.WRITE if plugin.changes else Need.NOTHING,
            hint=True,
            help="yours: plugins.yaml",
        )
        for plugin in plugins
        for screen in plugin.screens
    ]


def variables_of(screen: str, about: Mapping[str, Any], name: str, row: Any) -> dict[str, str]:
    """What is selected, by :data:`VARIABLES`. Pure.

    Args:
        about: what the screen is about, as its spec has it.
        name: the selected row's own.
        row: the row as plain data.
    """
    data = row if isinstance(row, dict) else {}
    topics = about.get("topics") or ((about["topic"],) if "topic" in about else ())
    found: dict[str, Any] = {
        "TOPIC": data.get("topic", data.get("name") if screen == "topics" else topics[0] if topics else None),
        "PARTITION": data.get("partition", about.get("partition")),
        "GROUP": data.get("group_id", about.get("group")),
        "BROKER": data.get("broker_id", about.get("broker")),
        "MEMBER": data.get("member_id"),
        "OFFSET": data.get("offset"),
        "KEY": data.get("key"),
        "NAME": name,
        "ROW": json.dumps(row, default=str),
    }
    return {each: str(value) for each, value in found.items() if value is not None and not isinstance(value, dict)}


def user_plugins() -> Path:
    """``kconsole/plugins.yaml`` under XDG_CONFIG_HOME, usually ``~/.config``."""
    return user_file("plugins.yaml")


def load_plugins(path: Path | None, own: Mapping[str, str]) -> tuple[Plugin, ...]:
    """Raises: PluginFileError, which names the file."""
    if path is None:
        return ()
    read = read_document(path, PluginFileError)
    try:
        return read_plugins(read, own)
    except PluginFileError as error:
        raise PluginFileError(f"{path}: {error}") from None

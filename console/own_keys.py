"""Keys of the user's own: ``~/.config/kconsole/keys.yaml``, by screen and action. All of it holds, or none."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from console.key_layers import Key, display_of, with_own
from console.keymap import KEYS, duplicates_of
from console.user_files import read_document, user_file

# As people write them, and as Textual does.
_NAMES = {
    "esc": "escape",
    "return": "enter",
    "del": "delete",
    "ins": "insert",
    "pgup": "pageup",
    "pgdn": "pagedown",
    "page-up": "pageup",
    "page-down": "pagedown",
    "←": "left",
    "→": "right",
    "↑": "up",
    "↓": "down",
}
_NAMED = frozenset(
    (
        *("escape", "enter", "tab", "space", "backspace", "delete", "insert", "home", "end", "pageup", "pagedown"),
        *("left", "right", "up", "down", *(f"f{number}" for number in range(1, 25))),
    )
)
# Textual's own: whoever has lost his way leaves by them.
_TAKEN = {"ctrl+q": "leaves the console", "ctrl+p": "opens the palette"}


class KeyFileError(Exception):
    """The file is not right; the message names the key, what it clashes with, and where."""


def name_of(key: Key) -> str:
    """An action's name in the file: ``kill``, ``previous-log``; its label's words where it has arguments."""
    if "(" in key.action:
        return "-".join("".join(each if each.isalnum() else " " for each in key.label).split()).lower()
    return key.action.replace("_", "-")


def textual_key(written: str) -> str:
    """``ctrl-x``, ``K``, ``:``, ``f5``, ``shift-left`` as Textual names it. Raises: KeyFileError."""
    from textual.keys import _character_to_key

    said = written.strip()
    if len(said) == 1:
        return _NAMES.get(said) or _character_to_key(said)
    *modifiers, last = said.replace("+", "-").split("-") if not said.endswith("-") else (said[:-2], "-")
    last = _NAMES.get(last, last) if len(last) > 1 or last in _NAMES else _character_to_key(last)
    if said in _NAMES:
        return _NAMES[said]
    known = set(modifiers) <= {"ctrl", "shift", "alt"} and bool(last) and (last in _NAMED or bool(modifiers))
    if not known:
        raise KeyFileError(f"{written!r} is no key: write K, ctrl-x, f5, shift-left, enter, space, …")
    return "+".join([*modifiers, last])


def own_keys(said: Any) -> dict[str, str]:
    """Textual's keys by the ids of bindings, of what a file says. Pure.

    Raises:
        KeyFileError: an action or a key is not known, or a key would do two things on one screen.
    """
    if said is None:
        return {}
    if not isinstance(said, dict) or not all(isinstance(each, dict | None) for each in said.values()):
        raise KeyFileError("screens are needed, with `action: key` below each: kconsole keys prints all of them")
    own: dict[str, str] = {}
    for scope, actions in said.items():
        known = {name_of(key): key for key in KEYS if key.scope == scope}
        if not known:
            raise KeyFileError(f"there is no screen {scope}{_near(str(scope), {key.scope for key in KEYS})}")
        for name, written in (actions or {}).items():
            key = known.get(str(name))
            if key is None:
                raise KeyFileError(f"{scope} has no {name}{_near(str(name), known)}")
            keys = [textual_key(str(each)) for each in (written if isinstance(written, list) else [written])]
            for each in keys:
                if each in _TAKEN:
                    raise KeyFileError(f"{scope}: {name}: {each.replace('+', '-')} always {_TAKEN[each]}")
            own[key.id] = ",".join(keys)
    before = set(duplicates_of(KEYS))
    clashes = [each for each in duplicates_of(with_own(KEYS, own)) if each not in before]
    if clashes:
        screen, pressed, one, other = clashes[0]
        both = " and ".join(f"{key.scope}: {name_of(key)}" for key in (one, other))
        raise KeyFileError(f"{display_of(pressed)} is {both} on the {screen} screen: give one of them another key")
    return own


def _near(word: str, known: Any) -> str:
    near = difflib.get_close_matches(word, list(known), 1)
    return f": did you mean {near[0]}?" if near else ": kconsole keys prints all there are"


class OwnKeys:
    """The file; without one the keys are those of kconsole."""

    def __init__(self, path: Path | None) -> None:
        self.path = path

    def read(self) -> dict[str, str]:
        """Textual's keys by the ids of bindings. Raises: KeyFileError."""
        if self.path is None:
            return {}
        read = read_document(self.path, KeyFileError)
        try:
            return own_keys(read)
        except KeyFileError as error:
            raise KeyFileError(f"{self.path}: {error}") from None


def user_keys() -> OwnKeys:
    """``kconsole/keys.yaml`` under XDG_CONFIG_HOME, usually ``~/.config``."""
    return OwnKeys(user_file("keys.yaml"))


def as_yaml(own: Mapping[str, str]) -> Iterator[str]:
    """All keys as they are, in lines that may stand in the file: what differs from kconsole's is marked."""
    import json

    scopes = dict.fromkeys(key.scope for key in KEYS)
    for scope in scopes:
        yield f"{scope}:"
        for key, now in zip(KEYS, with_own(KEYS, own), strict=True):
            if key.scope != scope:
                continue
            shown = [display_of(each) for each in now.keys.split(",")]
            value = json.dumps(shown[0] if len(shown) == 1 else shown, ensure_ascii=False)
            yield f"  {name_of(key)}: {value}{'' if key == now else '  # yours'}"

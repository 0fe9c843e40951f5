"""One key, and what a user lays over kconsole's: other keys for its actions, and keys for commands of one's own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from textual.keys import format_key

from console.acts import Need


class Key(NamedTuple):
    """One key. ``display`` is how people write it; ``hint`` puts it at the bottom of the screen."""

    keys: str
    action: str
    label: str
    scope: str
    display: str
    group: str = "general"
    need: Need = Need.NOTHING
    hint: bool = False
    help: str = ""

    @property
    def id(self) -> str:
        """Of its binding; stays when somebody gives it another key."""
        return f"{self.scope}.{self.action}"

    @property
    def view(self) -> str:
        """The screen that it opens, if it is one of the tabs."""
        return self.action.split("'")[1] if self.group == "screens" else ""


# Those that the user gave other keys, by the ids of bindings, and those of the user's own commands; of this process,
# whose console there is one of.
_own: dict[str, str] = {}
_added: list[Key] = []


def use_own_keys(own: Mapping[str, str]) -> None:
    """From now on hints, help and dispatch have these; those that are not named have kconsole's."""
    _own.clear()
    _own.update(own)


def add_keys(added: Iterable[Key]) -> None:
    """These come to kconsole's, and to no others that were added before."""
    _added[:] = added


def with_own(keys: Iterable[Key], own: Mapping[str, str]) -> list[Key]:
    """Keys as a user has them."""
    return [
        key
        if key.id not in own
        else key._replace(keys=own[key.id], display=" ".join(map(display_of, own[key.id].split(",")[:2])))
        for key in keys
    ]


def display_of(key: str) -> str:
    """How people write a key of Textual's."""
    *modifiers, last = key.split("+")
    words = {"escape": "esc", "left": "←", "right": "→", "up": "↑", "down": "↓"}
    return "-".join([*modifiers, words.get(last) or (format_key(last) if "_" in last or last in _SIGNS else last)])


_SIGNS = ("colon", "slash", "minus", "plus", "comma", "at", "tilde", "backslash")


def in_force(keys: Iterable[Key]) -> list[Key]:
    """Kconsole's as the user has them, and the user's own."""
    return [*with_own(keys, _own), *_added]


def added_keys(screen: str) -> list[Key]:
    """Of a screen, those that :func:`add_keys` gave."""
    return [key for key in _added if key.scope == screen]

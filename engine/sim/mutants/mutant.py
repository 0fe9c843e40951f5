"""What a mutant is: a known-bad change of the engine, made by replacing a function in this process only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

Undo = Callable[[], None]

CRASHES = ("kill", "pause", "cut", "stop")
POWER = ("power", "power-all")


class Mutant(NamedTuple):
    """``change`` does harm and returns what undoes it; the options that follow are those under which it shows,
    ``more`` by their names (:class:`engine.sim.options.Options`).

    ``promises`` are those that it breaks. A seed may notice another one that follows from it.
    """

    name: str
    promises: tuple[str, ...]
    change: Callable[[], Undo]
    faults: tuple[str, ...] | None = None
    durability: str | None = None
    compacted: bool = False
    transactions: bool = False
    more: Mapping[str, Any] = MappingProxyType({})


def replace(owner: Any, name: str, value: Any) -> Undo:
    """Put ``value`` in the place of a function of a class, where it is defined, or of a module."""
    if isinstance(owner, type):
        owner = next(each for each in owner.__mro__ if name in each.__dict__)
    before = owner.__dict__[name]
    setattr(owner, name, value)
    return lambda: setattr(owner, name, before)


def all_of(*undos: Undo) -> Undo:
    """Undo several changes, the last one first."""

    def undo() -> None:
        for each in reversed(undos):
            each()

    return undo

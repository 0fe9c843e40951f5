"""Trails of screens: where one is, how one came there, back and forth. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from console.screens.base import ViewSpec


@dataclass(slots=True)
class Entry:
    """One screen on a trail with the state it was left in."""

    spec: ViewSpec
    state: Mapping[str, Any] = field(default_factory=dict)


_KEPT = 50


class Navigation:
    """The trail (breadcrumbs) and the history of trails."""

    def __init__(self, first: ViewSpec) -> None:
        self.trail: list[Entry] = [Entry(first)]
        self._history: list[list[Entry]] = [list(self.trail)]
        self._at = 0
        self._before: int | None = None

    @property
    def here(self) -> Entry:
        """The screen that is shown."""
        return self.trail[-1]

    def push(self, spec: ViewSpec) -> None:
        """One deeper."""
        self._went([*self.trail, Entry(spec)])

    def open(self, spec: ViewSpec) -> None:
        """A new trail. One that began with the same screen gives its state."""
        if len(self.trail) == 1 and self.here.spec == spec:
            self._went([Entry(spec)])
            return
        state = next(
            (trail[0].state for trail in reversed(self._history) if trail[0].spec == spec),
            {},
        )
        # A filter is for the moment: who comes back later wants to see everything.
        kept = {name: value for name, value in state.items() if name not in ("filter", "faults")}
        self._went([Entry(spec, kept)])

    def back(self) -> bool:
        """One up; whether there was one."""
        if len(self.trail) == 1:
            return False
        self._went(self.trail[:-1])
        return True

    def cut(self, at: int) -> None:
        """Up to a crumb."""
        self._went(self.trail[: at + 1])

    def _went(self, trail: list[Entry]) -> None:
        self._before = self._at
        del self._history[self._at + 1 :]
        self._history.append(trail)
        over = len(self._history) - _KEPT
        if over > 0:
            del self._history[:over]
            self._before = max(0, self._before - over)
        self._at = len(self._history) - 1
        self.trail = list(trail)

    def step(self, step: int) -> bool:
        """Through the history; whether there was something."""
        at = self._at + step
        if not 0 <= at < len(self._history):
            return False
        self._before, self._at = self._at, at
        self.trail = list(self._history[at])
        return True

    def last(self) -> bool:
        """To where one was just before, and back again."""
        if self._before is None or not 0 <= self._before < len(self._history):
            return False
        return self.step(self._before - self._at)

"""The frame around every screen: header, tabs, status line, hints. The prompt is in :mod:`console.widgets.prompt`."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from console.acts import reason_against, reason_against_view
from console.keymap import keys_of
from console.viewmodel import text
from console.viewmodel.cells import Cell, Span
from console.viewmodel.overview import overview
from console.widgets.lines import LineWidget, Region, cell_width, width_of

if TYPE_CHECKING:
    from console.app import KConsole


def console_app(widget: LineWidget) -> KConsole:
    """The app by its own type."""
    return cast("KConsole", widget.app)


_ROOM_FOR_BADGE = 110


class Header(LineWidget):
    """Two lines on the cluster as a whole."""

    DEFAULT_CSS = """
    Header { height: 2; padding: 0 1; }
    """

    def line(self, y: int, width: int) -> tuple[Cell, Cell]:
        app = console_app(self)
        read_only = app.gateway.capabilities.read_only
        lines = overview(
            app.snapshot,
            app.history,
            app.now_ms(),
            width,
            read_only=read_only,
            failure=app.failure,
            context=app.contexts.label(width, read_only=read_only),
        )
        frozen: Cell = (Span("frozen  ", "under_replicated"),) if app.frozen else ()
        if y == 0:
            return lines.first_left, (*frozen, *_when(app, lines.first_right, width))
        return lines.second_left, lines.second_right


def _when(app: KConsole, right: Cell, width: int) -> Cell:
    """``live``, or the moment of the past that is shown instead; whether an attached cluster is recorded."""
    if app.travel.is_past:
        when = f" {text.clock_time(app.now_ms())}" if width >= 100 else ""
        return (Span(f"◀ PAST{when}", "under_replicated"),)
    short = width < _ROOM_FOR_BADGE
    badge = app.travel.recordings.badge(short=short)
    if not badge:
        return right
    tone = "offline" if badge.startswith("✗") else "info"
    if not short:
        return (Span(f"{badge}  ", tone), *right)
    # There is room for one word: how old the picture is comes first, if it is.
    return (Span(f"{badge} ", tone), *right[1:]) if right and right[0].text == "live " else right


class Tabs(LineWidget):
    """The screens that have a digit, the one that is open standing out."""

    BACKGROUND = "panel"

    DEFAULT_CSS = """
    Tabs { height: 1; padding: 0 1; background: $kc-panel; }
    """

    def line(self, y: int, width: int) -> tuple[Cell, Cell]:
        app = console_app(self)
        open_ = app.root_view_name
        spans: list[Span] = []
        self.regions = []
        x = 1
        capabilities = app.gateway.capabilities
        keys = [key for key in keys_of("global") if key.view and not reason_against_view(key.view, capabilities)]
        gap = 2 if width >= sum(len(key.label) + 4 for key in keys) else 1
        for key in keys:
            here = key.view == open_
            start = x
            spans += [
                Span(key.display, "accent" if here else "muted"),
                Span(" ", "muted"),
                Span(key.label, "accent" if here else "title"),
                Span(" " * gap, "muted"),
            ]
            x += len(key.display) + 1 + len(key.label)
            self.regions.append(Region(0, start, x, key.action))
            x += gap
        return tuple(spans), ()


class StatusLine(LineWidget):
    """Breadcrumbs, and for a while what has just happened."""

    DEFAULT_CSS = """
    StatusLine { height: 1; padding: 0 1; }
    """

    def line(self, y: int, width: int) -> tuple[Cell, Cell]:
        app = console_app(self)
        crumbs: list[Span] = []
        self.regions = []
        x = 1
        trail = app.crumbs
        for at, name in enumerate(trail):
            last = at == len(trail) - 1
            if at:
                crumbs.append(Span(" › ", "muted"))
                x += 3
            crumbs.append(Span(name, "title" if last else "muted"))
            self.regions.append(Region(0, x, x + width_of(name), f"crumb({at})"))
            x += width_of(name)
        flash = app.flash_message
        room = width - cell_width(tuple(crumbs)) - 3
        if flash is None:
            # Nothing new: what the cluster ails of, as long as it does.
            problem = app.failure or (app.snapshot.error if app.snapshot is not None else "")
            problem = problem or app.travel.recordings.problem
            return tuple(crumbs), (Span(text.clip(problem, room), "offline"),) if problem and room > 10 else ()
        said: Cell = (Span(flash.text, flash.tone),)
        if width_of(flash.text) <= room:
            return tuple(crumbs), said
        self.regions = []
        return (Span(text.clip(flash.text, width), flash.tone),), ()


class Hints(LineWidget):
    """The keys that matter here; greyed what cannot be done on this cluster."""

    BACKGROUND = "panel"

    DEFAULT_CSS = """
    Hints { height: 1; padding: 0 1; background: $kc-panel; }
    """

    def line(self, y: int, width: int) -> tuple[Cell, Cell]:
        app = console_app(self)
        capabilities, view = app.gateway.capabilities, app.view
        spans: list[Span] = []
        self.regions = []
        x = 1
        own = [key for key in keys_of(*app.scopes) if key.hint]
        always = [key for key in own if key.scope == "global"]
        mine = [key for key in own if key.scope != "global"]
        # A narrow screen keeps the way to the others; everything else is for the keys of this screen.
        kept = always if width >= 100 else [key for key in always if key.action == "help"]
        tail_width = sum(len(key.display) + len(key.label) + 3 for key in kept)
        for key in (*mine, *always):
            room = width - x + 1 - (0 if key in kept else tail_width)
            refused = bool(
                reason_against(key.need, capabilities) or (view is not None and view.reason_against_action(key.action))
            )
            need = len(key.display) + 1 + len(key.label) + (2 if refused else 0)
            if need > room:
                continue
            spans += [
                Span(key.display, "muted" if refused else "key"),
                Span(" ", "muted"),
                Span(f"({key.label})" if refused else key.label, "muted" if refused else "text"),
                Span("  ", "muted"),
            ]
            self.regions.append(Region(0, x, x + need, f"press('{key.keys.split(',')[0]}')"))
            x += need + 2
        # The gap after the last one would not fit.
        return tuple(spans[:-1]), ()

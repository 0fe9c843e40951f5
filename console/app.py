"""The application: it holds the gateway, takes its pictures, and shows one screen in the frame."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from textual import events
from textual.app import App, SystemCommand
from textual.driver import Driver
from textual.screen import Screen
from textual.theme import BUILTIN_THEMES
from textual.widgets import Button, Input, TextArea

from console.actions import Acts
from console.alerting import Alerting
from console.context_acts import ContextActs, opener
from console.gateway import EventBatch, Gateway, GatewayError
from console.key_layers import add_keys, use_own_keys
from console.main_screen import MainScreen
from console.modals.base import Dialog
from console.own_columns import ColumnFileError, OwnColumns, user_columns
from console.own_keys import KeyFileError, OwnKeys, user_keys
from console.palette import Palette, css_variables, textual_theme
from console.plugin_acts import PluginActs
from console.plugins import PluginFileError, keys_of_plugins, load_plugins, user_plugins
from console.run_acts import RunActs
from console.saved_filters import FilterFileError, SavedFilters, user_filters
from console.screens import VIEWS
from console.screens.base import View, ViewSpec
from console.time_travel import TimeTravel
from console.viewmodel.events import EventLog
from console.viewmodel.history import History, remember
from engine.supervisor.snapshot import ClusterSnapshot
from themes import Theme, builtin_themes, user_themes
from themes.loader import user_theme_dir

if TYPE_CHECKING:
    from console.alert_rules import AlertFile
    from console.contexts import Context
    from console.gateway.simulated import Simulation
    from console.options import ConsoleOptions
    from console.recording.options import Recording

# What is drawn changes at most so often.
REFRESH_S = 0.2
_RETRY_S = 1.0
# Screens that import something are opened within a few seconds, and so is the first picture.
_SETTLED_S = 3.0


class Flash(NamedTuple):
    """What has just happened, and how long it is told."""

    text: str
    tone: str
    until_ms: float


class KConsole(App[None]):
    """The console over one cluster."""

    TITLE = "kconsole"
    ENABLE_COMMAND_PALETTE = True
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-normal"), (140, "-wide")]  # noqa: RUF012  Textual's own shape

    def __init__(
        self,
        gateway: Gateway,
        *,
        theme: str = "dark",
        themes: Mapping[str, Theme] | None = None,
        theme_problems: Iterable[str] = (),
        now_ms: Callable[[], int] | None = None,
        monotonic_ms: Callable[[], float] | None = None,
        refresh_s: float = REFRESH_S,
        leaving: str = "",
        filters: SavedFilters | None = None,
        alert_file: AlertFile | None = None,
        recording: Recording | None = None,
        contexts: Callable[[KConsole], ContextActs] | None = None,
        keys: OwnKeys | None = None,
        columns: OwnColumns | None = None,
        plugins: Path | None = None,
    ) -> None:
        """Clocks are given by tests that freeze them; with ``refresh_s`` 0 nothing is drawn but by :meth:`tick`."""
        self.themes = dict(themes) if themes is not None else builtin_themes()
        first = self.themes.get(theme) or next(iter(self.themes.values()))
        self.palette = Palette(first)
        # What screens look at: the present, or what is recorded of the past.
        self.gateway = gateway
        self.travel = TimeTravel(self, gateway, recording)
        self.history = History()
        self.snapshot: ClusterSnapshot | None = None
        self.events = EventLog()
        self.failure = ""
        self.frozen = False
        self.flash_message: Flash | None = None
        self.acts = Acts(self)
        self.contexts = contexts(self) if contexts is not None else ContextActs(self, None, None)
        self._now_ms = now_ms or (lambda: time.time_ns() // 1_000_000)
        self._monotonic_ms = monotonic_ms or (lambda: time.monotonic_ns() / 1e6)
        self._refresh_s = refresh_s
        self._dirty = True
        self._drawn_at_ms = 0.0
        self._theme_problems = list(theme_problems)
        self.leaving = leaving
        self.filters = filters or SavedFilters(None)
        self.keys = keys or OwnKeys(None)
        self.plugins = PluginActs(self)
        self._plugin_file = plugins
        self.columns = columns or OwnColumns(None)
        self.alerting = Alerting(self, alert_file) if alert_file is not None else None
        # The run that is looked at, if the cluster is a simulated one, and what can be done to it.
        self.simulation: Simulation | None = getattr(gateway, "simulation", None)
        self.run_acts = RunActs(self, self.simulation) if self.simulation is not None else None
        super().__init__()
        for name in list(BUILTIN_THEMES):
            self.unregister_theme(name)
        for each in self.themes.values():
            self.register_theme(textual_theme(each))
        self.theme = first.name
        self._own_problems = self._read_own()
        self.main = MainScreen("cluster" if self.simulation is None else "simulation")

    # -- themes ---------------------------------------------------------------------------------------------------

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return css_variables(self.palette.theme)

    def _watch_theme(self, theme_name: str) -> None:
        if theme_name in self.themes:
            self.palette = Palette(self.themes[theme_name])
        super()._watch_theme(theme_name)
        if self.is_running:
            for screen in self.screen_stack:
                screen.refresh(layout=True)
                for widget in screen.query("*"):
                    widget.refresh()

    # -- clock ----------------------------------------------------------------------------------------------------

    def now_ms(self) -> int:
        """Wall-clock milliseconds, of the moment that the screens show."""
        return self.travel.now_ms(self._now_ms())

    def present_ms(self) -> int:
        """Wall-clock milliseconds of the present, whatever is shown."""
        return self._now_ms()

    def monotonic_ms(self) -> float:
        """Milliseconds that only go forward."""
        return self._monotonic_ms()

    # -- life -----------------------------------------------------------------------------------------------------

    async def on_event(self, event: events.Event) -> None:
        if isinstance(event, events.Key) and not event.is_forwarded:
            await self._on_pressed(event)
        else:
            await super().on_event(event)

    async def _on_pressed(self, event: events.Key) -> None:
        """One key after the other: what is typed ahead reaches the screen that the keys before it opened.

        Textual passes a key through the queues of widgets, and the next one may overtake what the first one does.
        """
        await self._ready_for_keys()
        focused = self.focused
        consumed = focused is not None and focused.check_consume_key(event.key, event.character)
        if not consumed and self.screen is self.main and self.main.refuses(event.key):
            return
        if consumed or not (
            await self._check_bindings(event.key, priority=True) or await self._check_bindings(event.key)
        ):
            await super().on_event(event)
        if isinstance(focused, Input | TextArea | Button):
            await self._queues_are_empty()

    async def _on_key(self, event: events.Key) -> None:
        # A key that nobody wanted comes here once it went through all widgets. Textual would look for its bindings
        # again; by then the key after it may have opened a screen on which it kills a broker.
        event.prevent_default()

    async def _ready_for_keys(self) -> None:
        screen = self.screen
        ready = screen.ready if isinstance(screen, Dialog) else self.main.switched
        if not ready.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await ready.wait()

    async def _queues_are_empty(self) -> None:
        calm = 0
        for _ in range(100):
            await asyncio.sleep(0)
            focused = self.focused
            nodes = [self.main, *(focused.ancestors_with_self if focused is not None else (self.screen,))]
            busy = any(node.message_queue_size for node in nodes if node is not self)
            calm = 0 if busy else calm + 1
            if calm >= 5:
                return

    def get_driver_class(self) -> type[Driver]:
        found = super().get_driver_class()
        if found.__name__ != "LinuxDriver":
            return found
        from console.terminal_driver import TerminalDriver

        return TerminalDriver

    def get_default_screen(self) -> Screen[Any]:
        return self.main

    def on_mount(self) -> None:
        # The terminal was closed, or somebody ends this process: leave in order all the same.
        for number in (signal.SIGHUP, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, self.exit)
        self._listen()
        if self._refresh_s:
            self.set_interval(self._refresh_s, self.tick)
            # What was imported stays: a collection that looks through all of it each time would hold up keys for 60 ms.
            self.set_timer(_SETTLED_S, gc.freeze)
        self.travel.begin()
        self.set_keymap(self._keymap_wanted)
        if problems := [*self._theme_problems, *self._own_problems]:
            self.flash(problems[0], "under_replicated", seconds=12)

    def _read_own(self) -> list[str]:
        """Keys and columns of the user's own; answers what is wrong with the files, of which nothing holds then."""
        problems: list[str] = []
        self._keymap_wanted: dict[str, str] = {}
        try:
            self._keymap_wanted = self.keys.read()
        except KeyFileError as error:
            problems.append(str(error))
        use_own_keys(self._keymap_wanted)
        self.plugins.have(())
        try:
            self.plugins.have(load_plugins(self._plugin_file, self._keymap_wanted))
        except PluginFileError as error:
            problems.append(str(error))
        add_keys(keys_of_plugins(tuple(self.plugins.all.values())))
        try:
            self.columns.load({name: view.known_columns() for name, view in VIEWS.items()})
        except ColumnFileError as error:
            problems.append(str(error))
        return problems

    def load_own(self, *, told: bool) -> None:
        """Read keys.yaml, columns.yaml and plugins.yaml again."""
        problems = self._read_own()
        self.set_keymap(self._keymap_wanted)
        if self.main.view is not None:
            self.main.reopen()
        self.main.refresh_all()
        if problems or told:
            said = problems[0] if problems else "keys, columns and commands are those of your files"
            self.flash(said, "under_replicated" if problems else "in_sync", 12 if problems else 4)

    def _listen(self) -> None:
        self.run_worker(self._take_pictures(), group="snapshots", exit_on_error=False)
        self.run_worker(self._take_events(), group="events", exit_on_error=False)

    def begin_over(self, gateway: Gateway, record: str | None = None) -> None:
        """Show another cluster, recorded there; whoever calls lets go of the last one. What was under way on that is
        given up."""
        for worker in [each for each in self.workers if each.group != "context"]:
            worker.cancel()
        self.acts.give_up()
        self.travel = self.travel.anew(gateway, record)
        self.gateway = gateway
        self.snapshot, self.failure, self.frozen = None, "", False
        self.history, self.events = History(), EventLog()
        if self.alerting is not None:
            self.alerting = self.alerting.anew()
        self.travel.begin()
        self._listen()
        self.main.start_over(ViewSpec("cluster"))

    async def _take_pictures(self) -> None:
        while True:
            try:
                async for snapshot in self.travel.live.snapshots():
                    self.failure = ""
                    if self.alerting is not None:
                        self.alerting.see(snapshot)
                    shown = self.travel.see(snapshot)
                    if shown and self.frozen:
                        # It goes on being known, though nobody sees it.
                        self.history.trends.take(snapshot)
                    elif shown:
                        self.take(snapshot)
                    self._hear_simulation()
            except GatewayError as error:
                # Rows stay; the header says how old they are, and why.
                self.failure = "" if self.travel.is_past else str(error)
            except Exception as error:
                self.failure = f"the console's observer failed: {error!r}"
                self.log.error(self.failure)
            self._dirty = True
            await asyncio.sleep(_RETRY_S)

    async def _take_events(self) -> None:
        while True:
            try:
                async for batch in self.travel.live.events():
                    self.hear(batch)
            except GatewayError:
                pass
            except Exception as error:
                self.log.error(f"the stream of events failed: {error!r}")
            await asyncio.sleep(_RETRY_S)

    def hear(self, batch: EventBatch) -> None:
        """What happens now, also while the past is shown."""
        self.travel.hear(batch)
        self._dirty = True

    def _hear_simulation(self) -> None:
        """What a run has to say, at once: somebody waits for a step."""
        if self.simulation is None:
            return
        (said, tone), self.simulation.said = self.simulation.said, ("", "info")
        if said:
            self.flash(said, tone)
        if self._refresh_s:
            self.tick()

    def take(self, snapshot: ClusterSnapshot) -> None:
        """A new picture."""
        self.snapshot = snapshot
        remember(self.history, snapshot)
        self._dirty = True

    def picture(self) -> ClusterSnapshot | None:
        """The last picture, as old as it is now."""
        if self.snapshot is None:
            return None
        now = self.now_ms()
        return self.snapshot if self.frozen or now <= self.snapshot.at_ms else self.snapshot.with_facts(at_ms=now)

    def touch(self) -> None:
        """Something changed: draw at the next tick."""
        self._dirty = True

    def tick(self) -> None:
        """Draw what changed since the last tick; ages once a second."""
        now = self.monotonic_ms()
        if self.alerting is not None:
            self.alerting.tick()
        if self.flash_message is not None and now > self.flash_message.until_ms:
            self.flash_message = None
            self._dirty = True
        if self._dirty or now - self._drawn_at_ms >= 1_000:
            self._dirty = False
            self._drawn_at_ms = now
            self.main.refresh_all()
        else:
            self.main.refresh_view()

    # -- what screens use -----------------------------------------------------------------------------------------

    def flash(self, text: str, tone: str = "info", seconds: float = 6.0) -> None:
        """Say what has just happened."""
        self.flash_message = Flash(text, tone, self.monotonic_ms() + seconds * 1000)
        self.main.refresh_frame()

    def copy(self, text: str, said: str) -> None:
        """To the clipboard of the terminal."""
        self.copy_to_clipboard(text)
        self.flash(said, "in_sync", 3)

    def push_view(self, spec: ViewSpec) -> None:
        """Drill down."""
        self.main.push_view(spec)

    def names(self) -> dict[str, list[str]]:
        """What exists, for completion."""
        snapshot = self.snapshot
        return {
            "topic": sorted(topic.name for topic in snapshot.topics) if snapshot else [],
            "group": sorted(group.group_id for group in snapshot.groups) if snapshot else [],
            "broker": [str(broker.broker_id) for broker in snapshot.brokers] if snapshot else [],
            "connector": sorted({row.told.name for row in self.history.connectors.rows(0)}),
            "subject": sorted(row.subject for row in self.history.subjects.rows(0)),
            "theme": list(self.themes),
            "context": self.contexts.names(),
            "filter": self._names_of_filters(),
        }

    def _names_of_filters(self) -> list[str]:
        try:
            return sorted(self.filters.all())
        except FilterFileError:
            return []

    @property
    def scopes(self) -> tuple[str, ...]:
        """Whose keys work now."""
        view = self.main.view
        return view.scopes if view is not None else ("global",)

    @property
    def crumbs(self) -> list[str]:
        """Where one is."""
        return self.main.crumbs

    @property
    def root_view_name(self) -> str:
        """The screen that the crumbs begin with."""
        return self.main.root_view_name

    @property
    def view(self) -> View | None:
        """The screen that is shown."""
        return self.main.view

    # -- palette --------------------------------------------------------------------------------------------------

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        from console.commands import COMMANDS

        for command in COMMANDS:
            if command.name not in ("theme", "quit", "help") and not command.argument:
                yield SystemCommand(f":{command.name}", command.help, self.main.runner(command.name))
        for name, theme in self.themes.items():
            yield SystemCommand(f"Theme: {theme.title}", "change the colours", self.main.runner(f"theme {name}"))
        yield SystemCommand("Keys", "all keys that work here", self.main.runner("help"))
        yield SystemCommand(
            "Screenshot", "save the screen as SVG", lambda: self.set_timer(0.1, self.deliver_screenshot)
        )
        yield SystemCommand("Quit", "leave the console", self.main.runner("quit"))

    def on_unmount(self) -> None:
        self.travel.close()

    def action_help_quit(self) -> None:
        """ctrl-c."""
        self.flash("leave with :q or ctrl-q", "info", 4)

    async def action_quit(self) -> None:
        if self.leaving:
            self.flash(self.leaving, "info")
        if self.alerting is not None:
            await self.alerting.close()
        await self.travel.live.close()
        self.exit()


def load_themes() -> tuple[dict[str, Theme], list[str]]:
    """Those of the product and the user's own, and what is wrong with the latter."""
    builtin = builtin_themes()
    own, errors = user_themes(user_theme_dir(), builtin)
    return {**builtin, **own}, [f"{error.source}: {error.errors[0]}" for error in errors]


def run_console(options: ConsoleOptions) -> int:
    """Open the console; returns the exit code."""
    from console.gateway.opening import open_gateway

    try:
        gateway = open_gateway(options)
    except GatewayError as error:
        print(f"kconsole: {error}", file=sys.stderr)  # noqa: T201
        return 1
    leaving = "stopping the cluster …" if options.started_supervisor else ""
    from console.contexts import opened_without, user_contexts

    unnamed = opened_without(options) if options.context is None else None
    open_context = opener(options.values, read_only=options.read_only and not _is_read_only(options.context))
    return run_over(
        gateway,
        leaving=leaving,
        alert_file=options.alert_file,
        recording=options.recording,
        contexts=lambda app: ContextActs(app, user_contexts(), options.context, open_context, unnamed),
    )


def _is_read_only(context: Context | None) -> bool:
    return context is not None and context.read_only


def run_over(
    gateway: Gateway,
    *,
    leaving: str = "",
    now_ms: Callable[[], int] | None = None,
    alert_file: AlertFile | None = None,
    recording: Recording | None = None,
    contexts: Callable[[KConsole], ContextActs] | None = None,
) -> int:
    """Open the console over a gateway; returns the exit code."""
    import os

    themes, problems = load_themes()
    app = KConsole(
        gateway,
        theme=os.environ.get("KCONSOLE_THEME", "dark"),
        themes=themes,
        theme_problems=problems,
        now_ms=now_ms,
        leaving=leaving,
        filters=user_filters(),
        alert_file=alert_file,
        recording=recording,
        contexts=contexts,
        keys=user_keys(),
        columns=user_columns(),
        plugins=user_plugins(),
    )
    app.run()
    return app.return_code or 0

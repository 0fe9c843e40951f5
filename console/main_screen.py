"""The frame, the prompt, and the way from screen to screen."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.css.query import NoMatches
from textual.screen import Screen

from console.acts import Need, reason_against, reason_against_view
from console.administration_commands import administration_spec, partitions_named
from console.commands import CommandError, Parsed, parse_command
from console.keymap import FRAME, bindings, find_key
from console.modals.detail import Detail
from console.modals.help import command_lines, help_lines
from console.navigation import Navigation
from console.own_columns import ask_columns
from console.saved_filters import FilterFileError
from console.screens import VIEWS
from console.screens.base import View, ViewSpec
from console.screens.broker_log import LogView
from console.screens.records import ask_serdes_of_view
from console.screens.stores import StoreView
from console.time_travel import COMMANDS as TIME_COMMANDS
from console.viewmodel.reassigning import WishError, read_places
from console.widgets.frame import Header, Hints, StatusLine, Tabs
from console.widgets.prompt import Prompt
from console.widgets.scrub import Scrub

if TYPE_CHECKING:
    from console.app import KConsole


class MainScreen(Screen[None]):
    """Header, tabs, prompt, one view, status line, hints."""

    BINDINGS = bindings(*FRAME)
    AUTO_FOCUS = None

    DEFAULT_CSS = """
    MainScreen { background: $kc-background; layout: vertical; layers: screens prompt; }
    MainScreen #place { height: 1fr; }
    MainScreen.-headless Header, MainScreen.-headless Tabs { display: none; }
    MainScreen.-headless Prompt { offset-y: 0; }
    """

    def __init__(self, first_view: str = "cluster") -> None:
        super().__init__()
        self._filter_problem = ""
        self._navigation = Navigation(ViewSpec(first_view))
        self._switching = False
        self.switched = asyncio.Event()
        self.switched.set()

    @property
    def console(self) -> KConsole:
        """The app by its own type."""
        return cast("KConsole", self.app)

    def compose(self) -> ComposeResult:
        yield Header()
        yield Tabs()
        yield Prompt()
        yield Vertical(id="place")
        yield Scrub()
        yield StatusLine()
        yield Hints()

    def on_mount(self) -> None:
        self._switch()

    # -- drawing --------------------------------------------------------------------------------------------------

    @property
    def view(self) -> View | None:
        """The screen that is shown."""
        return next(iter(self.query(View)), None) if self.is_mounted and not self._switching else None

    def refresh_all(self) -> None:
        """Frame and view."""
        self.refresh_frame()
        self.refresh_view()

    def refresh_frame(self) -> None:
        """Header, status line, hints: what changed of them."""
        if self.is_mounted:
            for widget in self.query(".frame-line, Header, Tabs, Scrub, StatusLine, Hints"):
                if isinstance(widget, Header | Tabs | Scrub | StatusLine | Hints):
                    widget.redraw_if_changed()

    @property
    def is_typing(self) -> bool:
        """Whether a command or a filter is being typed."""
        return self._prompt.is_open

    def refresh_view(self) -> None:
        """The view."""
        view = self.view
        if view is not None and view.is_mounted and not self.console.frozen:
            # While the app closes, a view may have lost its table already.
            with contextlib.suppress(NoMatches):
                view.refresh_rows()

    # -- from screen to screen ------------------------------------------------------------------------------------

    @property
    def crumbs(self) -> list[str]:
        """Names of the screens on the way here."""
        names = [VIEWS[entry.spec.name].crumb_of(entry.spec.about) for entry in self._navigation.trail]
        view = self.view
        if view is not None:
            names[-1] = view.crumb()
        return names

    @property
    def root_view_name(self) -> str:
        """The first of them."""
        return self._navigation.trail[0].spec.name

    def push_view(self, spec: ViewSpec) -> None:
        """Drill down."""
        self._keep_state()
        self._navigation.push(spec)
        self._switch()

    def open_view(self, spec: ViewSpec) -> None:
        """Begin a new trail."""
        self._keep_state()
        self._navigation.open(spec)
        self._switch()

    def reopen(self) -> None:
        """The same screen again: what it asks for is of another moment."""
        self._keep_state()
        self._switch()

    def start_over(self, spec: ViewSpec) -> None:
        """Another cluster: nothing of the trails through the last one leads anywhere here."""
        self._navigation = Navigation(spec)
        self._switch()

    def _keep_state(self) -> None:
        view = self.view
        if view is not None:
            self._navigation.here.state = view.state()

    def _switch(self) -> None:
        # Keys that come meanwhile wait for the screen they are meant for.
        self.switched.clear()
        self.call_later(self._show)

    async def _show(self) -> None:
        try:
            await self._replace_view()
        finally:
            self._switching = False
            self.switched.set()
        self.refresh_all()

    async def _replace_view(self) -> None:
        entry = self._navigation.here
        self._switching = True
        place = self.query_one("#place", Vertical)
        async with self.batch():
            await place.remove_children()
            view = VIEWS[entry.spec.name](entry.spec.about)
            await place.mount(view)
            self._switching = False
            if entry.state:
                view.restore(entry.state)

    def action_view(self, name: str) -> None:
        self.open_view(ViewSpec(name))

    def action_crumb(self, at: int) -> None:
        if at < len(self._navigation.trail) - 1:
            self._keep_state()
            self._navigation.cut(at)
            self._switch()

    def action_back(self) -> None:
        """esc: the prompt, then the filter, then one screen back."""
        view = self.view
        if self._prompt.is_open:
            self._close_prompt()
        elif view is not None and view.filter_text:
            view.set_filter("")
        else:
            self.action_up()

    def action_up(self) -> None:
        if self._navigation.back():
            self._switch()
        else:
            self.console.flash("this is the first screen; leave with :q or ctrl-q", "info", 3)

    def action_last_view(self) -> None:
        self._keep_state()
        if self._navigation.last():
            self._switch()

    def action_history(self, step: int) -> None:
        self._keep_state()
        if self._navigation.step(step):
            self._switch()
        else:
            self.console.flash("no further back" if step < 0 else "no further forward", "info", 3)

    # -- prompt ---------------------------------------------------------------------------------------------------

    @property
    def _prompt(self) -> Prompt:
        return self.query_one(Prompt)

    def action_command(self) -> None:
        self._prompt.open("command")

    def action_filter(self) -> None:
        view = self.view
        self._prompt.open("filter", view.filter_text if view is not None else "")

    def open_query(self, text: str, about: str) -> None:
        """A line for the screen's own question."""
        self._prompt.open("query", text, about)

    def _close_prompt(self) -> None:
        self._prompt.close()
        view = self.view
        if view is not None:
            view.take_focus()

    def on_prompt_edited(self, event: Prompt.Edited) -> None:
        view = self.view
        if view is not None:
            self._tell_of_filter(view.set_filter(event.text))

    def _tell_of_filter(self, problem: str) -> None:
        """What is wrong with it, and no longer when it is right: half a program never compiles."""
        said = self.console.flash_message
        if said is not None and said.text == self._filter_problem:
            self.console.flash_message = None
        self._filter_problem = problem
        if problem:
            self.console.flash(problem, "under_replicated")
        else:
            self.refresh_frame()

    def on_prompt_submitted(self, event: Prompt.Submitted) -> None:
        self._close_prompt()
        view = self.view
        if event.mode == "filter" and view is not None:
            view.set_filter(event.text)
        elif event.mode == "command" and event.text.strip():
            self.run_command(event.text)
        elif event.mode == "query" and isinstance(view, StoreView):
            problem = view.take_query(event.text)
            if problem:
                self.console.flash(problem, "under_replicated")

    def runner(self, line: str) -> Callable[[], None]:
        """A call that does a command, for the palette."""
        return lambda: self.run_command(line)

    def run_command(self, line: str) -> None:
        """Do what was typed after ``:``."""
        try:
            self._run(parse_command(line))
        except CommandError as error:
            self.console.flash(str(error), "under_replicated")

    def _run(self, parsed: Parsed) -> None:
        target = parsed.command.target
        if target.startswith("!"):
            self._do(target[1:], parsed.arguments)
            return
        if target == "contexts" and parsed.arguments:
            self.console.contexts.open(parsed.arguments[0])
            return
        capabilities = self.console.gateway.capabilities
        reason = reason_against_view(target, capabilities)
        if target == "log":
            reason = reason_against(Need.LOGS, capabilities)
        if reason:
            raise CommandError(f":{parsed.command.name}: {reason}")
        spec = self._spec(target, parsed.arguments)
        self._keep_state()
        self._navigation.open(spec)
        if parsed.filter is not None:
            self._navigation.here.state = {"filter": parsed.filter}
        self._switch()

    def _spec(self, target: str, arguments: tuple[str, ...]) -> ViewSpec:
        known = self.console.names()
        about: dict[str, Any] = {}
        administered = administration_spec(target, arguments, known)
        if administered is not None:
            return administered
        if target in ("partitions", "records"):
            unknown = [name for name in arguments if name not in known["topic"]]
            if unknown and known["topic"]:
                raise CommandError(f"there is no topic {unknown[0]}")
            if target != "partitions" and not arguments:
                raise CommandError(f"name a topic: :{target} TOPIC")
            about = {"topics": arguments}
        elif target == "segments":
            about = self._partition(arguments)
        elif target in ("topology", "stores") or (target in ("groups", "streams") and arguments):
            if not arguments:
                raise CommandError(f"name an application: :{target} NAME")
            if arguments[0] not in known["group"] and known["group"]:
                raise CommandError(f"there is no group {arguments[0]}")
            screen = {"groups": "group", "streams": "application"}.get(target, target)
            return ViewSpec(screen, {"group": arguments[0]})
        elif target == "log" or (target in ("connections", "wire") and arguments):
            about = {"broker": self._broker(arguments)}
        elif target == "connect" and arguments:
            found = [row for row in self.console.history.connectors.rows(0) if row.told.name == arguments[0]]
            if not found:
                raise CommandError(f"there is no connector {arguments[0]}, as far as :connect was told")
            return ViewSpec("connector", {"group": found[0].group, "name": arguments[0]})
        elif target == "schemas" and arguments:
            return ViewSpec("schema", {"subject": arguments[0]})
        elif target == "plots" and arguments:
            about = self._plotted(arguments[0], known["group"])
        elif target == "impact":
            about = {"brokers": tuple(self._broker((each,)) for each in arguments) or (self._broker(()),)}
        return ViewSpec(target, about)

    @staticmethod
    def _plotted(what: str, groups: list[str]) -> dict[str, Any]:
        """A group's name, or that of a screen that has plots."""
        if what in groups:
            return {"kind": "group", "name": what}
        if what not in ("cluster", "workload", "failover"):
            raise CommandError(f"there is no group {what}; cluster, workload and failover have plots, too")
        return {"kind": what}

    def _partition(self, arguments: tuple[str, ...]) -> dict[str, Any]:
        """``orders 3``, ``orders-3``, or ``orders`` for its first partition."""
        if not arguments:
            raise CommandError("name a partition: :segments TOPIC PARTITION")
        topics = self.console.names()["topic"]
        topic, number = arguments[0], arguments[1] if len(arguments) > 1 else "0"
        if topic not in topics and len(arguments) == 1 and "-" in topic:
            topic, _, number = topic.rpartition("-")
        if topic not in topics and topics:
            raise CommandError(f"there is no topic {topic}")
        if not number.isdigit():
            raise CommandError(f"{number} is not a partition's number: :segments {topic} 0")
        return {"topic": topic, "partition": int(number)}

    def _broker(self, arguments: tuple[str, ...]) -> int:
        known = self.console.names()["broker"]
        if not arguments or arguments[0] not in known:
            raise CommandError(f"name a broker: {', '.join(known) or 'none is known yet'}")
        return int(arguments[0])

    def _do(self, act: str, arguments: tuple[str, ...]) -> None:
        acts = self.console.acts
        if act in ("kill", "stop", "start", "restart", "pause", "resume"):
            acts.process(act, self._broker(arguments))
        elif act == "roll":
            acts.faults.ask_to_roll()
        elif act == "fault":
            acts.faults.ask(self._broker(arguments) if arguments else None)
        elif act == "heal" and self.console.run_acts is None:
            acts.faults.heal(None)
        elif act in ("goto", "power", "cut", "isolate", "heal"):
            self._do_to_run(act, arguments)
        elif act == "drain":
            acts.moving.ask_moves((self._broker(arguments),))
        elif act == "rebalance":
            acts.moving.ask_moves(())
        elif act == "add_broker":
            acts.moving.add_broker(arguments[0] if arguments else None)
        elif act == "remove":
            acts.moving.remove_broker(self._broker(arguments))
        elif act == "elect":
            acts.elect_preferred(None)
        elif act == "produce":
            acts.records.ask_produce(arguments[0] if arguments else "")
        elif act == "reset":
            if not arguments:
                raise CommandError("name a group: :reset GROUP, and topics if some are meant: orders:0,2")
            acts.resetting.ask(arguments[0], " ".join(arguments[1:]))
        elif act in ("reassign", "elect_unclean"):
            self._do_to_partitions(act, arguments)
        elif act == "copy":
            acts.copying.ask(*self._topic(act, arguments), *arguments[1:2])
        elif act == "delete_records":
            acts.administering.ask_delete_records(partitions_named(arguments, self.console.picture()))
        elif act == "giveup":
            acts.long.give_up()
        elif act == "load":
            acts.loading.ask(*self._topic(act, arguments))
        elif act == "find":
            acts.finding.ask(*self._topic(act, arguments), typed=" ".join(arguments[1:]))
        elif act == "redrive":
            acts.redriving.ask(*self._topic(act, arguments))
        elif act == "create":
            acts.ask_create_topic()
        elif act == "serde":
            ask_serdes_of_view(self.console, arguments)
        elif act == "keep":
            self._keep_filter(arguments)
        elif act in TIME_COMMANDS:
            try:
                self.console.travel.do_words(act, arguments)
            except ValueError as error:
                raise CommandError(str(error)) from None
        elif act == "columns":
            ask_columns(self.console)
        elif act == "reload":
            self.console.load_own(told=True)
        elif act == "theme":
            self._theme(arguments)
        elif act == "help":
            self.action_help()
        elif act == "aliases":
            self.action_aliases()
        elif act == "quit":
            self.run_worker(self.console.action_quit(), exit_on_error=False)

    def _do_to_partitions(self, act: str, arguments: tuple[str, ...]) -> None:
        picture = self.console.picture()
        existing = {
            each.name: [partition.partition for partition in each.partitions]
            for each in (picture.topics if picture is not None else ())
        }
        try:
            chosen = read_places(arguments, existing)
        except WishError as error:
            raise CommandError(str(error)) from error
        if act == "reassign":
            self.console.acts.reassigning.ask(chosen, " ".join(arguments) or "as a file says")
        elif chosen:
            self.console.acts.reassigning.ask_unclean(chosen)
        else:
            raise CommandError("name what is meant: :elect-unclean TOPIC, or TOPIC:0,2")

    def _topic(self, act: str, arguments: tuple[str, ...]) -> tuple[str]:
        """The topic that a command names first."""
        known = self.console.names()["topic"]
        if not arguments:
            raise CommandError(f"name a topic: :{act} TOPIC")
        if arguments[0] not in known and known:
            raise CommandError(f"there is no topic {arguments[0]}")
        return (arguments[0],)

    def _keep_filter(self, arguments: tuple[str, ...]) -> None:
        if len(arguments) != 1:
            raise CommandError("say its name: :keep NAME; then /@NAME")
        (name,) = arguments
        text = self.view.filter_text if self.view is not None else ""
        try:
            self.console.filters.keep(name.removeprefix("@"), text)
        except FilterFileError as error:
            raise CommandError(str(error)) from None
        said = f"/@{name} is {text}" if text else f"@{name} is forgotten"
        self.console.flash(said, "in_sync")

    def _do_to_run(self, act: str, arguments: tuple[str, ...]) -> None:
        acts = self.console.run_acts
        if acts is None:
            raise CommandError(f":{act} is for simulations: {self.console.gateway.capabilities.no_simulation}")
        if act == "goto":
            acts.go_to(" ".join(arguments))
        else:
            acts.do_words(act, arguments)

    def _theme(self, arguments: tuple[str, ...]) -> None:
        names = list(self.console.themes)
        if arguments and arguments[0] not in names:
            raise CommandError(f"there is no theme {arguments[0]}: {', '.join(names)}")
        following = names[(names.index(self.console.theme) + 1) % len(names)]
        self.console.theme = arguments[0] if arguments else following
        self.console.flash(f"theme {self.console.theme}", "info", 3)

    # -- the other keys -------------------------------------------------------------------------------------------

    def refuses(self, pressed: str) -> bool:
        """Whether a key is greyed; says why."""
        key = None if self._prompt.is_open else find_key(pressed, self.console.scopes)
        if key is None:
            return False
        capabilities = self.console.gateway.capabilities
        reason = reason_against(key.need, capabilities) or reason_against_view(key.view, capabilities)
        if not reason and self.view is not None:
            reason = self.view.reason_against_action(key.action)
        if not reason:
            return False
        self.console.flash(f"{key.label}: {reason}", "under_replicated")
        return True

    def action_press(self, key: str) -> None:
        self.console.simulate_key(key)

    def action_time(self, what: str, amount: int) -> None:
        self.console.travel.press(what, amount)

    def action_help(self) -> None:
        lines = help_lines(self.console.scopes, self.console.gateway.capabilities)
        self.console.push_screen(
            Detail(f"keys on the {self.crumbs[-1]} screen", lines, snug=self.size.width > 90, indent=37)
        )

    def action_aliases(self) -> None:
        self.console.push_screen(Detail("commands", command_lines(), indent=46))

    def action_toggle_header(self) -> None:
        self.toggle_class("-headless")

    def action_pause(self) -> None:
        self.console.frozen = not self.console.frozen
        self.console.flash("the picture is frozen: P goes on" if self.console.frozen else "live again", "info", 3)
        self.refresh_frame()

    def action_save(self) -> None:
        import io

        view = self.view
        if view is None:
            return
        text = view.as_text() if isinstance(view, LogView) else view.table.as_text()
        name = f"kconsole-{view.NAME}-{self.console.now_ms()}.txt"
        self.console.deliver_text(io.StringIO(text + "\n"), save_filename=name)
        self.console.flash(f"saved as {name} in your downloads", "in_sync")

"""What a person does to a simulated run, from any screen: go somewhere in it, make faults, mend."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from console.acts import place_in_run
from console.gateway import GatewayError
from console.modals.form import Field, Form

if TYPE_CHECKING:
    from console.app import KConsole
    from console.gateway.simulated import Simulation

# Kinds of acts, with how many brokers each names; None: one or more.
FAULTS: dict[str, int | None] = {
    "kill": None,
    "stop": None,
    "start": None,
    "pause": None,
    "resume": None,
    "power": None,
    "isolate": None,
    "cut": 2,
    "reset": 2,
}


class RunActs:
    """Every refusal is told; what was done the run itself tells."""

    def __init__(self, app: KConsole, simulation: Simulation) -> None:
        self._app = app
        self._simulation = simulation

    def send(self, command: Callable[[], None]) -> None:
        """A command that a frame answers."""
        try:
            command()
        except GatewayError as error:
            self._app.flash(str(error), "offline")

    def _await(self, act: Awaitable[None], words: str) -> None:
        async def run() -> None:
            try:
                await act
            except GatewayError as error:
                self._app.flash(f"{words}: {error}", "under_replicated")

        self._app.run_worker(run, group="acts", exit_on_error=False)

    # -- places -----------------------------------------------------------------------------------------------------

    def go_to(self, words: str) -> None:
        """``1234``: an event; ``12.5`` or ``12s``: a time."""
        try:
            number, at_s = place_in_run(words)
        except ValueError:
            self._app.flash("give an event's number (1234) or a time (12.5, or 12s)", "under_replicated")
            return
        if number is not None:
            self.send(lambda: self._simulation.go_to_number(number))
        elif at_s is not None:
            self.send(lambda: self._simulation.go_to_time(at_s))

    def ask_where(self) -> None:
        """A form."""

        def check(values: dict[str, str]) -> str:
            try:
                place_in_run(values["place"])
            except ValueError:
                return "an event's number (1234), or a time in seconds (12.5, or 12s)"
            return ""

        def submitted(values: dict[str, str] | None) -> None:
            if values is not None:
                self.go_to(values["place"])

        fields = [Field("place", "event or time", "", "1234, or 12.5")]
        note = "Back is by replay from the seed. A time that is still ahead is run to; an event has to be behind."
        self._app.push_screen(Form("go to", fields, yes="Go", check=check, note=note), submitted)

    # -- faults -----------------------------------------------------------------------------------------------------

    def do(self, kind: str, brokers: Sequence[int] = ()) -> None:
        """Here and now."""
        words = " ".join([kind, *map(str, brokers)])
        self._await(self._simulation.act(kind, brokers), words)

    def do_words(self, kind: str, arguments: Sequence[str]) -> None:
        """As typed."""
        if not all(each.isdigit() for each in arguments):
            self._app.flash(f":{kind} takes the brokers' numbers", "under_replicated")
        else:
            self.do(kind, [int(each) for each in arguments])

    def ask_fault(self) -> None:
        """A form."""

        def check(values: dict[str, str]) -> str:
            kind, *brokers = values["act"].replace(",", " ").split() or [""]
            if kind not in FAULTS:
                return f"{kind or 'nothing'} is none of them"
            if not brokers or not all(each.isdigit() for each in brokers):
                return "name brokers by their numbers"
            wanted = FAULTS[kind]
            if wanted is not None and len(brokers) != wanted:
                return f"{kind} is between {wanted} brokers: {kind} 1 2"
            return ""

        def submitted(values: dict[str, str] | None) -> None:
            if values is not None:
                kind, *brokers = values["act"].replace(",", " ").split()
                self.do(kind, [int(each) for each in brokers])

        controller = next((each.broker_id for each in self._simulation.state.machines if each.is_controller), 1)
        alone = ", ".join(kind for kind, wanted in FAULTS.items() if wanted is None)
        between = ", ".join(kind for kind, wanted in FAULTS.items() if wanted is not None)
        note = (
            f"{alone}: of one broker or more. {between}: between two, {between.partition(',')[0]} 1 2. "
            f"It is done at event {self._simulation.state.number:,}, and again whenever a replay comes by. h mends."
        )
        fields = [Field("act", "act", f"kill {controller}", "kill 1, or cut 1 2")]
        self._app.push_screen(Form("a fault", fields, yes="Do it", check=check, note=note), submitted)

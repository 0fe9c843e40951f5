"""Acts that take a while beside the screen: one at a time, told at the lower edge, given up by its own key."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from console.gateway import GatewayError
from console.record_copying import Stop, Stopped

if TYPE_CHECKING:
    from console.actions import Acts
    from console.app import KConsole


class LongActs:
    """Part of :class:`console.actions.Acts`: at most one of them is under way."""

    def __init__(self, app: KConsole, acts: Acts) -> None:
        self._app = app
        self._acts = acts
        self._stop: Stop | None = None
        self._kind = self._what = ""

    def is_under_way(self, kind: str) -> bool:
        """Whether one is: the key that begins this kind gives it up, other kinds have to wait."""
        if self._stop is None:
            return False
        if self._kind == kind:
            self.give_up()
        else:
            self._app.flash(f"{self._what} is under way: :giveup ends it", "under_replicated")
        return True

    def give_up(self) -> None:
        """End what is under way."""
        if self._stop is None:
            self._app.flash("nothing is under way that could be given up", "info")
            return
        self._stop.want()
        self._app.flash(f"{self._what} is given up …", "under_replicated")

    def tell(self, sentence: str) -> None:
        """How far it is."""
        if self._stop is not None and not self._stop.is_wanted:
            self._app.flash(f"{sentence}; :giveup ends it", "info")

    def look(self, kind: str, what: str, question: Callable[[Stop], Awaitable[None]]) -> None:
        """Look at something before an act; what fails is told, and nothing is kept of it."""
        stop = self._begin(kind, what)

        async def run() -> None:
            try:
                await question(stop)
            except GatewayError as error:
                self._app.flash(f"{what}: {error}", "offline", seconds=12)
            except Stopped:
                self._app.flash(f"{what} was given up; nothing was changed", "under_replicated")
            finally:
                self._end(stop)

        self._app.run_worker(run, group="acts", exit_on_error=False)

    def perform(self, kind: str, what: str, command: str, act: Callable[[Stop], Awaitable[str]]) -> None:
        """Do it, as :meth:`console.actions.Acts.perform` does."""
        stop = self._begin(kind, what)

        async def call() -> str:
            try:
                return await act(stop)
            finally:
                self._end(stop)

        self._acts.perform(what, command, call)

    def _begin(self, kind: str, what: str) -> Stop:
        self._stop, self._kind, self._what = Stop(), kind, what
        return self._stop

    def _end(self, stop: Stop) -> None:
        if self._stop is stop:
            self._stop, self._kind, self._what = None, "", ""

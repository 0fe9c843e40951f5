"""Several clusters in one console: which is open, how the others do, and from one to the other without a restart."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from console.contexts import UNNAMED, Context, ContextError, ContextFile, Contexts, options_of, record_of
from console.gateway.opening import open_gateway
from console.gateway.protocol import Gateway, GatewayError
from console.viewmodel.cells import Cell
from console.viewmodel.contexts import ContextRow, context_row
from console.viewmodel.overview import context_label

if TYPE_CHECKING:
    from console.app import KConsole
    from console.values.options import ValueOptions
    from engine.supervisor.snapshot import ClusterSnapshot

Opener = Callable[[Context, bool], Gateway]

_RETRY_S = 2.0
_CLOSE_S = 3.0
# Threads are made when they are needed.
_MAX_THREADS = 256


@dataclass(slots=True)
class Seen:
    """What is known of a context that is not open."""

    snapshot: ClusterSnapshot | None = None
    problem: str = ""


def opener(values: ValueOptions | None = None, *, read_only: bool = False) -> Opener:
    """Opens contexts as the command line said: records read so (but by the registry of the context, if it has one),
    nothing changed with ``--read-only``."""

    def open_context(context: Context, watching: bool) -> Gateway:
        options = options_of(context, read_only=read_only, watching=watching)
        return open_gateway(options if values is None else options._replace(values=options.values.over(values)))

    return open_context


class ContextActs:
    """The contexts of a console. Each one that is looked at has a gateway, connections and time-outs of its own."""

    def __init__(
        self,
        app: KConsole,
        file: ContextFile | None,
        current: Context | None,
        open_context: Opener | None = None,
        unnamed: Context | None = None,
    ) -> None:
        """``unnamed`` is the cluster that was opened where ``current`` is none."""
        self._app = app
        self._file = file
        self.current = current
        self._unnamed = unnamed
        self._open = open_context or opener()
        self._seen: dict[str, Seen] = {}
        self._watching: dict[str, asyncio.Task[None]] = {}
        self._opening = False
        self._threads: ThreadPoolExecutor | None = None

    def label(self, width: int, *, read_only: bool) -> Cell:
        """For the frame; nothing where the cluster was opened without a context."""
        if self.current is None:
            return ()
        return context_label(self.current.name, self.current.colour_code, read_only=read_only, width=width)

    def known(self) -> Contexts:
        """Raises: ContextError."""
        if self._file is None:
            raise ContextError("this console has no contexts")
        return self._file.read()

    def _all(self, known: Contexts) -> dict[str, Context]:
        """The file's, after the cluster that was opened without a context: the way back to it."""
        unnamed = self._unnamed
        return {unnamed.name: unnamed, **known.by_name} if unnamed is not None else known.by_name

    @property
    def _open_name(self) -> str:
        shown = self.current or self._unnamed
        return shown.name if shown is not None else ""

    def names(self) -> list[str]:
        """For completion; what is wrong with the file is told elsewhere."""
        try:
            return list(self.known().by_name)
        except ContextError:
            return []

    @property
    def waiting(self) -> bool:
        """Whether some context that is looked at has told nothing yet."""
        unheard = Seen()
        return self._opening or any(self._seen.get(name, unheard) == unheard for name in self._watching)

    # -- side by side ---------------------------------------------------------------------------------------------

    def rows(self, known: Contexts) -> list[ContextRow]:
        """All contexts as they are now."""
        app, now_ms = self._app, self._app.now_ms()
        found: list[ContextRow] = []
        for name, context in self._all(known).items():
            is_open = name == self._open_name
            seen = self._seen.get(name, Seen())
            present = app.travel.present if app.travel.is_past else app.snapshot
            snapshot, problem = (present, app.failure) if is_open else (seen.snapshot, seen.problem)
            found.append(
                context_row(context, snapshot, problem, now_ms, is_open=is_open, is_default=known.default == name)
            )
        return found

    def look_at(self, known: Contexts) -> None:
        """Watch all of them but the open one, whose picture is there; those that are gone no longer."""
        if self._threads is None:
            # asyncio looks names up in a few threads that all share: a name server that does not answer for one cluster
            # would hold up the others'.
            self._threads = ThreadPoolExecutor(_MAX_THREADS, thread_name_prefix="contexts")
            asyncio.get_running_loop().set_default_executor(self._threads)
        wanted = {name: context for name, context in self._all(known).items() if name != self._open_name}
        for name in [each for each in self._watching if each not in wanted]:
            self._watching.pop(name).cancel()
        for name, context in wanted.items():
            if name not in self._watching:
                self._watching[name] = asyncio.ensure_future(self._watch(context))

    def look_away(self) -> None:
        """Nobody looks any more: no cluster is asked for nothing. What was seen stays, and grows old."""
        for task in self._watching.values():
            task.cancel()
        self._watching.clear()

    async def _watch(self, context: Context) -> None:
        seen = self._seen.setdefault(context.name, Seen())
        while True:
            gateway: Gateway | None = None
            try:
                # Files and name servers may be slow; this one's must not hold up the others.
                gateway = await asyncio.to_thread(self._open, context, True)
                async for snapshot in gateway.snapshots():
                    seen.snapshot, seen.problem = snapshot, ""
                    self._app.touch()
            except (ContextError, GatewayError) as error:
                seen.problem = str(error)
                if isinstance(error, ContextError):
                    seen.snapshot = None
            except Exception as error:
                seen.problem = f"looking at it failed: {type(error).__name__}"
            finally:
                if gateway is not None:
                    await _let_go(gateway)
            self._app.touch()
            await asyncio.sleep(_RETRY_S)

    # -- from one to the other ------------------------------------------------------------------------------------

    def open(self, name: str) -> None:
        """Show another cluster in this console. What is wrong is told, and the one that is open stays."""
        if self._opening:
            return
        self._opening = True
        self._app.run_worker(self._switch(name), group="context", exit_on_error=False)

    async def _switch(self, name: str) -> None:
        app = self._app
        try:
            known = self.known()
            context = self._all(known).get(name) or known.get(name)
            if name == self._open_name and self.current in (None, context):
                app.flash(f"{name} is open", "info")
                return
            app.flash(f"opening {name} …", "info")
            gateway = await asyncio.to_thread(self._open, context, False)
        except (ContextError, GatewayError) as error:
            app.flash(f"{name}: {error}", "offline", seconds=12)
            return
        finally:
            self._opening = False
        left, self.current = app.travel.live, None if context.name == UNNAMED else context
        app.begin_over(gateway, record_of(context))
        app.flash(f"{name} is open{': read-only' if gateway.capabilities.read_only else ''}", "info")
        await _let_go(left)


async def _let_go(gateway: Gateway) -> None:
    with contextlib.suppress(TimeoutError, GatewayError):
        async with asyncio.timeout(_CLOSE_S):
            await gateway.close()

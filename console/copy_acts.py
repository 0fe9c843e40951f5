"""Copying records to another topic, from any screen: a form, a count of what is meant, then the act."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from console.acts import Need
from console.acts_part import ActsPart
from console.gateway import ReadFrom, Start
from console.modals.form import Field, Form
from console.modals.preview import Preview
from console.record_copying import Progress, Stop, copy, plan_copy, plan_marked
from console.viewmodel import text
from console.viewmodel.cells import Span, cell
from console.viewmodel.copying import (
    CopyError,
    CopyPlan,
    CopyWish,
    Placement,
    check_topics,
    copy_command,
    plan_cells,
    summary,
)
from console.viewmodel.filters import Filter
from console.viewmodel.outgoing import Tally, parse_rate
from console.viewmodel.records import RecordView
from console.viewmodel.seeking import parse_seek

if TYPE_CHECKING:
    from console.actions import Acts
    from console.app import KConsole

_MARKED = "marked"
_NOTE = (
    "Counted first, before anything is sent. from: start 1042 -100 15m{marked} · rate: 500 (records/s) or 20M (bytes/s)"
)


class CopyActs(ActsPart):
    """Part of :class:`console.actions.Acts`."""

    def __init__(self, app: KConsole, acts: Acts) -> None:
        super().__init__(app, acts)
        self._last_target = ""

    def ask(
        self,
        source: str,
        target: str = "",
        *,
        partitions: tuple[int, ...] | None = None,
        wanted: Filter | None = None,
        marked: Sequence[RecordView] = (),
    ) -> None:
        """A form; then the count. While one is under way, it is given up."""
        if self._acts.long.is_under_way("copy") or self._acts.refused(Need.WRITE):
            return
        filter_text = wanted.text if wanted is not None and wanted.is_active else ""
        target = target or self._last_target
        fields = [
            Field("to", "to topic", target, "one that is there"),
            Field("from", "from", _MARKED if marked else "start"),
            Field("filter", "filter", "" if marked else filter_text, "all; else as after /"),
            Field("placement", "partition", self._likely(source, target), choices=tuple(Placement)),
            Field("times", "times", "as they were", choices=("as they were", "new")),
            Field("origin", "origin", "as headers", choices=("as headers", "not told")),
            Field("rate", "rate", "", "as fast as it goes"),
        ]

        def wish_of(values: dict[str, str]) -> CopyWish:
            """Raises: CopyError, ValueError."""
            begin_words = values["from"].strip()
            begin: ReadFrom | str = ReadFrom(Start.START)
            if not (marked and begin_words == _MARKED):
                begin = parse_seek(begin_words, self._app.now_ms())
            if isinstance(begin, str):
                raise CopyError(begin)
            parsed = self._app.filters.parse(values["filter"])
            if parsed.error:
                raise CopyError(f"filter: {parsed.error}")
            wish = CopyWish(
                source,
                values["to"].strip(),
                begin,
                None,
                parsed,
                partitions,
                Placement(values["placement"]),
                values["times"] != "new",
                values["origin"] != "not told",
                parse_rate(values["rate"]),
                begin_words,
            )
            check_topics(wish)
            return wish

        def check(values: dict[str, str]) -> str:
            try:
                wish_of(values)
            except (CopyError, ValueError) as error:
                return str(error)
            return ""

        def submitted(values: dict[str, str] | None) -> None:
            if values is None:
                return
            wish = wish_of(values)
            self._last_target = wish.target
            chosen = list(marked) if values["from"].strip() == _MARKED else None
            if chosen is not None and wish.wanted.is_active:
                from console.viewmodel.tailing import passes

                chosen = [each for each in chosen if passes(wish.wanted, each)]
            self._plan(wish, chosen)

        note = _NOTE.format(marked=f" or {_MARKED} ({len(marked)})" if marked else "")
        self._app.push_screen(
            Form(f"copy records of {source}", fields, yes="Count them", check=check, note=note), submitted
        )

    def _likely(self, source: str, target: str) -> Placement:
        """As it was, unless the target is known to have fewer partitions."""
        picture = self._app.picture()
        numbers = {each.name: len(each.partitions) for each in (picture.topics if picture is not None else ())}
        fewer = target in numbers and numbers[target] < numbers.get(source, 0)
        return Placement.KEY if fewer else Placement.KEEP

    def _plan(self, wish: CopyWish, records: Sequence[RecordView] | None) -> None:
        what = f"{wish.source} → {wish.target}"

        def progress(tally: Tally, read: int) -> None:
            self._acts.long.tell(f"{what}: {read:,} read, {tally.words} match")

        async def look(stop: Stop) -> None:
            if records is not None:
                plan = await plan_marked(self._app.gateway, wish, records)
            else:
                plan = await plan_copy(self._app.gateway, wish, stop, progress)
            self._show(plan, records)

        self._acts.long.look("copy", f"counting {what}", look)

    def _show(self, plan: CopyPlan, records: Sequence[RecordView] | None) -> None:
        wish = plan.wish
        if not plan.tally.records:
            self._app.flash(f"{wish.source}: none of {text.plural(plan.read, 'record')} is meant", "under_replicated")
            return
        self._app.flash(summary(plan), "info")
        command = copy_command(self._app.gateway.capabilities.bootstrap_servers, wish)
        if records is not None:
            command = f"# {text.plural(len(records), 'marked record')} of {wish.source} to {wish.target}"
        lines = [*plan_cells(plan), cell(""), (Span(f"$ {command}", "muted"),)]

        def answered(confirmed: bool | None) -> None:
            if confirmed:
                self._copy(plan, records, command)

        self._app.push_screen(Preview(f"{wish.source} → {wish.target}: copy?", lines), answered)

    def _copy(self, plan: CopyPlan, records: Sequence[RecordView] | None, command: str) -> None:
        what = f"copy {plan.wish.source} to {plan.wish.target}"

        def progress(now: Progress) -> None:
            of = f"{now.acknowledged:,} of {text.plural(plan.tally.records, 'record')}"
            self._acts.long.tell(f"{what}: {of} acknowledged")

        async def act(stop: Stop) -> str:
            done = await copy(self._app.gateway, plan.wish, stop, progress, plan=plan, records=records)
            return f"{plan.wish.source} → {plan.wish.target}: {done.words}"

        self._acts.long.perform("copy", what, command, act)

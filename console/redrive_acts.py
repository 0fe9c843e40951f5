"""Sending dead letters back, from Records: a form, a count, then the act."""

from __future__ import annotations

from collections.abc import Sequence

from console.acts import Need
from console.acts_part import ActsPart
from console.modals.form import Field, Form
from console.modals.preview import Preview
from console.record_copying import Stop
from console.record_redriving import plan_redrive, redrive
from console.viewmodel import text
from console.viewmodel.cells import Span, cell
from console.viewmodel.copying import Placement
from console.viewmodel.filters import Filter
from console.viewmodel.outgoing import parse_rate
from console.viewmodel.records import RecordView
from console.viewmodel.redriving import (
    DEFAULT_LIMIT,
    Findings,
    RedrivePlan,
    RedriveWish,
    plan_cells,
    redrive_command,
    summary,
)

_NOTE = (
    "Each record goes to the topic that its headers name, without the headers of the error. Counted first. What was "
    "sent back once is not sent again; what came back as often as 'at most' says is left."
)


class RedriveActs(ActsPart):
    """Part of :class:`console.actions.Acts`."""

    def ask(self, topic: str, *, wanted: Filter | None = None, marked: Sequence[RecordView] = ()) -> None:
        """A form; then the count. While an act is under way, it is given up."""
        if self._acts.long.is_under_way("redrive") or self._acts.refused(Need.WRITE):
            return
        filter_text = wanted.text if wanted is not None and wanted.is_active else ""
        records = list(marked) or None
        fields = [
            Field("filter", "filter", "" if marked else filter_text, "all of them; else as after /"),
            Field("placement", "partition", Placement.KEEP, choices=tuple(Placement)),
            Field("times", "times", "as they were", choices=("as they were", "new")),
            Field("limit", "at most", str(DEFAULT_LIMIT)),
            Field("rate", "rate", "", "as fast as it goes; 500 records a second"),
        ]

        def wish_of(values: dict[str, str]) -> RedriveWish:
            """Raises: ValueError."""
            parsed = self._app.filters.parse(values["filter"])
            if parsed.error:
                raise ValueError(f"filter: {parsed.error}")
            limit = values["limit"].strip()
            if not limit.isdigit() or not int(limit):
                raise ValueError("at most: a number from 1 on")
            return RedriveWish(
                topic,
                parsed,
                Placement(values["placement"]),
                values["times"] != "new",
                int(limit),
                parse_rate(values["rate"]),
            )

        def check(values: dict[str, str]) -> str:
            try:
                wish_of(values)
            except ValueError as error:
                return str(error)
            return ""

        def submitted(values: dict[str, str] | None) -> None:
            if values is not None:
                self._plan(wish_of(values), records)

        what = text.plural(len(records), "marked record") if records else "dead letters"
        self._app.push_screen(
            Form(f"send {what} of {topic} back", fields, yes="Count them", check=check, note=_NOTE), submitted
        )

    def _plan(self, wish: RedriveWish, records: list[RecordView] | None) -> None:
        def progress(findings: Findings) -> None:
            self._acts.long.tell(f"{wish.topic}: {findings.verdicts.total():,} read, {findings.going:,} go back")

        async def look(stop: Stop) -> None:
            self._show(await plan_redrive(self._app.gateway, wish, stop, progress, records), records)

        self._acts.long.look("redrive", f"counting the dead letters of {wish.topic}", look)

    def _show(self, plan: RedrivePlan, records: list[RecordView] | None) -> None:
        wish = plan.wish
        self._app.flash(f"{wish.topic}: {summary(plan)}", "info" if plan.findings.going else "under_replicated")
        if not plan.findings.going:
            return
        command = redrive_command(self._app.gateway.capabilities.bootstrap_servers, wish)
        if records is not None:
            command = f"# {text.plural(len(records), 'marked record')} of {wish.topic}"
        lines = [*plan_cells(plan), cell(""), (Span(f"$ {command}", "muted"),)]

        def progress(done: int) -> None:
            self._acts.long.tell(f"{wish.topic}: {done:,} of {plan.findings.going:,} sent back")

        async def act(stop: Stop) -> str:
            done = await redrive(self._app.gateway, wish, stop, progress, records)
            return f"{wish.topic}: {done.words}"

        def answered(confirmed: bool | None) -> None:
            if confirmed:
                self._acts.long.perform("redrive", f"redrive {wish.topic}", command, act)

        self._app.push_screen(Preview(f"send dead letters of {wish.topic} back?", lines), answered)

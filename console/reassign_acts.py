"""Moving chosen partitions: a form for where to, the plan to be looked at, then the act.

Here too: cancelling moves, and unclean elections.
"""

from __future__ import annotations

from collections.abc import Sequence

from console.acts import Need, cancel_moves_command, elect_command, reassign_command
from console.acts_part import ActsPart
from console.gateway import GatewayError
from console.modals.confirm import Confirm
from console.modals.form import Field, Form
from console.modals.preview import PlanPreview, Preview
from console.viewmodel import text
from console.viewmodel.cells import Span, cell
from console.viewmodel.moves import MovePlan, MoveRow
from console.viewmodel.reassigning import (
    How,
    Place,
    PlacementWish,
    WishError,
    cancel_cells,
    check_wish,
    directories_words,
    loss_words,
    plan_cells,
    read_ids,
    summary,
)
from engine.supervisor.reassignment_file import ReassignmentFileError, read_reassignment, reassignment_json

_NOTE = (
    "Shown first, before anything moves. propose: onto these brokers (empty: all), by rack, moving least. list: these "
    "brokers for each, the preferred leader first. leaders: the first of these that holds it leads (empty: evenly); "
    "nothing is copied. file: JSON of kafka-reassign-partitions.sh, which names its partitions itself."
)


class ReassignActs(ActsPart):
    """Part of :class:`console.actions.Acts`."""

    # -- where to -------------------------------------------------------------------------------------------------

    def ask(self, partitions: Sequence[Place], what: str) -> None:
        """A form for where ``partitions`` go; then the plan. Without any, a file names them."""
        if self._acts.refused(Need.WRITE):
            return
        how = How.PROPOSE if partitions else How.FILE
        fields = [
            Field("how", "how", how, choices=tuple(How)),
            Field("brokers", "brokers", "", "all that live; or 1,2,4"),
            Field("factor", "replicas", "", "as many as now (propose)"),
            Field("file", "file", "", "path of a JSON file (file)"),
            Field("throttle", "throttle", "", "none; bytes a second of each broker, as in 20M"),
        ]

        def check(values: dict[str, str]) -> str:
            try:
                _wish(partitions, values)
                text.rate_bytes(values["throttle"])
            except WishError as error:
                return str(error)
            except ValueError:
                return "a throttle is bytes a second, as in 500k, 20M or 1G, or empty"
            return ""

        def submitted(values: dict[str, str] | None) -> None:
            if values is not None:
                self._plan(_wish(partitions, values), text.rate_bytes(values["throttle"]))

        form = Form(f"reassign {what}", fields, yes="Show plan", check=check, note=_NOTE)
        self._app.push_screen(form, submitted)

    def _plan(self, wish: PlacementWish, throttle: int | None) -> None:
        self._app.flash("reassign: looking what is where …", "info")

        async def run() -> None:
            try:
                plan = await self._app.gateway.plan_placement(wish)
            except GatewayError as error:
                self._app.flash(f"reassign: {error}", "offline", seconds=12)
                return
            if plan.moves:
                self._app.flash(summary(plan), "info")
                self._show(plan, throttle, directories_words(wish.placed))
            else:
                self._app.flash("reassign: all of it is where it is wished already", "info")

        self._app.run_worker(run, group="acts", exit_on_error=False)

    def _show(self, plan: MovePlan, throttle: int | None, remark: str) -> None:
        command = reassign_command(self._bootstrap, plan, throttle)
        limit = "no throttle" if throttle is None else f"throttle {text.rate(throttle)} of each broker"
        lines = plan_cells(plan)
        if remark:
            lines.append((Span("! ", "offline"), Span(remark, "under_replicated")))
        lines += [cell(limit, "muted"), cell(""), (Span(f"$ {command}", "muted"),)]

        async def call() -> str:
            await self._app.gateway.begin_moves(plan, throttle)
            return f"{text.plural(len(plan.moves), 'partition')} move; :moves shows how far they are"

        def answered(confirmed: bool | None) -> None:
            if confirmed:
                self._acts.perform(f"reassign {text.plural(len(plan.moves), 'partition')}", command, call)

        files = {
            "reassign.json": reassignment_json((each.topic, each.partition, each.after) for each in plan.moves),
            "rollback.json": reassignment_json((each.topic, each.partition, each.before) for each in plan.moves),
        }
        self._app.push_screen(PlanPreview(f"{summary(plan)}: do it?", lines, files), answered)

    # -- cancelling -----------------------------------------------------------------------------------------------

    def cancel(self, rows: Sequence[MoveRow], *, everything: bool) -> None:
        """Bring partitions back to where they were, shown first; ``everything``: whatever else moves by then too."""
        if self._acts.refused(Need.WRITE):
            return
        about = "all moves" if everything else text.plural(len(rows), "move")
        command = cancel_moves_command(self._bootstrap, rows)
        partitions = None if everything else [(each.topic, each.partition) for each in rows]

        async def call() -> str:
            cancelled = await self._app.gateway.cancel_moves(partitions)
            return f"{text.plural(cancelled, 'partition')} stay where they were"

        def answered(confirmed: bool | None) -> None:
            if confirmed:
                self._acts.perform(f"cancel {about}", command, call)

        lines = [*cancel_cells(rows), cell(""), (Span(f"$ {command}", "muted"),)]
        self._app.push_screen(Preview(f"cancel {about}: do it?", lines), answered)

    # -- unclean elections ----------------------------------------------------------------------------------------

    def ask_unclean(self, partitions: Sequence[Place]) -> None:
        """Asks twice: records that were acknowledged may be gone for good."""
        if self._acts.refused(Need.WRITE):
            return
        picture = self._app.picture()
        known = (
            {(each.topic, each.partition): each for topic in picture.topics for each in topic.partitions}
            if (picture is not None)
            else {}
        )
        leaderless = [known[each] for each in partitions if each in known and known[each].is_offline]
        if not leaderless:
            self._app.flash("an unclean election is for partitions that have no leader: all of these have one", "info")
            return
        places = [(each.topic, each.partition) for each in leaderless]
        command = elect_command(self._bootstrap, places, "unclean")
        about = text.plural(len(places), "partition")

        async def call() -> str:
            elected = await self._app.gateway.elect_unclean(places)
            return f"unclean election: {text.plural(elected, 'partition')} of {len(places)} have a leader"

        def certain(values: dict[str, str] | None) -> None:
            if values is not None:
                self._acts.perform(f"unclean election of {about}", command, call)

        def confirmed(yes: bool | None) -> None:
            if not yes:
                return
            form = Form(
                f"unclean election of {about}",
                [Field("word", "type unclean", "", "unclean")],
                yes="Elect",
                check=lambda values: "" if values["word"].strip() == "unclean" else "type the word unclean to do it",
                note="There is no way back: what the new leader lacks is cut off from every other replica.",
            )
            self._app.push_screen(form, certain)

        question = f"Let a replica that is not in sync lead {about}?"
        down = {each.broker_id for each in picture.brokers if not each.reachable} if picture is not None else set()
        consequence = "\n".join(loss_words(each, down) for each in leaderless[:6])
        self._app.push_screen(Confirm("records may be lost", question, consequence, command, "Go on"), confirmed)


def _wish(partitions: Sequence[Place], values: dict[str, str]) -> PlacementWish:
    """What the form says. Raises: WishError."""
    how = How(values["how"])
    factor = values["factor"].strip()
    if factor and not (factor.isascii() and factor.isdigit()):
        raise WishError(f"{factor!r} is no number of replicas")
    wanted: dict[Place, tuple[int, ...]] = {}
    placed = 0
    path = values["file"].strip()
    if how is How.FILE and path:
        try:
            with open(path, encoding="utf-8") as file:
                found = read_reassignment(file.read())
            wanted = {(each.topic, each.partition): replicas for each, replicas in found.replicas.items()}
            placed = len(found.placed)
        except (OSError, UnicodeDecodeError) as error:
            raise WishError(f"{path} cannot be read: {error}") from error
        except ReassignmentFileError as error:
            raise WishError(f"{path}: {error}") from error
    if how is not How.FILE and not partitions:
        raise WishError(f"{how} needs partitions: mark some on Partitions or Topics, or :reassign TOPIC:0,2")
    wish = PlacementWish(
        how, tuple(partitions), read_ids(values["brokers"]), int(factor) if factor else None, wanted, placed
    )
    check_wish(wish)
    return wish

"""Acts on which brokers there are and which replicas they hold: adding, draining, evening out, removing."""

from __future__ import annotations

from collections.abc import Sequence

from console.acts import Need, reassign_command, unregister_command
from console.acts_part import ActsPart
from console.gateway import GatewayError
from console.modals.form import Field, Form
from console.viewmodel import text
from console.viewmodel.moves import MovePlan, plan_words
from console.viewmodel.text import brokers_words, plural_s


class MoveActs(ActsPart):
    """Part of :class:`console.actions.Acts`."""

    def ask_add_broker(self) -> None:
        """A form for its rack."""
        if self._acts.refused(Need.PROCESS):
            return

        def submitted(values: dict[str, str] | None) -> None:
            if values is not None:
                self.add_broker(values["rack"].strip() or None)

        note = "It is kept: later starts of the cluster have it, too. B gives it its share of the replicas."
        self._app.push_screen(
            Form("one broker more", [Field("rack", "rack", "", "none")], yes="Add", note=note), submitted
        )

    def add_broker(self, rack: str | None) -> None:
        """Start one broker more."""
        if self._acts.refused(Need.PROCESS):
            return

        async def call() -> str:
            broker_id = await self._app.gateway.add_broker(rack)
            return f"broker {broker_id} joined; B gives it its share of the replicas"

        self._acts.perform(
            "add a broker", "kafka-server-start.sh server.properties", call, doing="starting one broker more"
        )

    def remove_broker(self, broker_id: int) -> None:
        """Stop and forget a broker that was drained."""
        if self._acts.refused(Need.PROCESS):
            return

        async def call() -> str:
            await self._app.gateway.remove_broker(broker_id)
            return f"broker {broker_id} was removed"

        command = unregister_command(self._bootstrap, broker_id)
        self._acts.asking(
            "remove",
            f"Remove broker {broker_id}?",
            "It is stopped and unregistered, and its directory goes. It must hold no replica: D drains it.",
            command,
            "Remove",
            lambda: self._acts.perform(f"remove broker {broker_id}", command, call),
        )

    def ask_moves(self, drained: Sequence[int]) -> None:
        """Make a plan that drains brokers, or evens out all of them, and show it: a form has its throttle."""
        if self._acts.refused(Need.WRITE):
            return
        what = f"drain {brokers_words(drained)}" if drained else "rebalance"
        self._app.flash(f"{what}: looking what is where …", "info")

        async def run() -> None:
            try:
                plan = await self._app.gateway.plan_moves(drained)
            except GatewayError as error:
                self._app.flash(f"{what}: {error}", "offline", seconds=12)
                return
            if plan.moves:
                self._show_plan(what, plan)
            else:
                done = (
                    f"{brokers_words(drained)} hold{plural_s(drained)} nothing" if drained else "the brokers are even"
                )
                self._app.flash(f"{done}: nothing to move", "info")

        self._app.run_worker(run, group="acts", exit_on_error=False)

    def _show_plan(self, what: str, plan: MovePlan) -> None:
        def check(values: dict[str, str]) -> str:
            try:
                text.rate_bytes(values["throttle"])
            except ValueError:
                return "a throttle is bytes a second, as in 500k, 20M or 1G, or empty"
            return ""

        def submitted(values: dict[str, str] | None) -> None:
            if values is None:
                return
            throttle = text.rate_bytes(values["throttle"])

            async def call() -> str:
                await self._app.gateway.begin_moves(plan, throttle)
                return f"{text.plural(len(plan.moves), 'partition')} move; m shows how far they are"

            self._acts.perform(what, reassign_command(self._bootstrap, plan, throttle), call)

        fields = [Field("throttle", "throttle", "", "none; bytes a second of each broker, as in 20M")]
        self._app.push_screen(Form(what, fields, yes="Begin", check=check, note=plan_words(plan)), submitted)

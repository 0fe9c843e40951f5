"""Acts of rehearsal: a form for a fault, what it would do, and its end."""

from __future__ import annotations

from console.acts import Need
from console.acts_part import ActsPart
from console.modals.form import Field, Form
from console.modals.preview import Preview
from console.viewmodel.faults import KIND_NAMES, fault_preview, wish_of
from engine.supervisor.fault_kinds import CLIENTS, OTHERS, FaultWish, WishError
from engine.supervisor.snapshot import ActiveFault


class FaultActs(ActsPart):
    """Part of :class:`console.actions.Acts`."""

    def ask(self, broker_id: int | None, kind: str = "slow fsync") -> None:
        """A form for a fault; then what it would do is shown, and only ``y`` begins it."""
        if self._acts.refused(Need.FAULTS):
            return
        picture = self._app.picture()
        if picture is None:
            return
        ids = [broker.broker_id for broker in picture.brokers]
        wanted = broker_id if broker_id in ids else min(ids, default=1)
        fields = [
            Field("kind", "fault", kind, choices=KIND_NAMES),
            Field("broker", "broker", str(wanted), choices=tuple(map(str, ids))),
            Field("other", "other end", OTHERS, choices=(OTHERS, CLIENTS, *map(str, ids))),
            Field("by", "by", "200 ms", "of delay and slow fsync: 200 ms"),
            Field("times", "times", "3", "of crash loop"),
            Field("for", "for", "10 s", "until it is healed by hand"),
            Field("acks", "acks", "all", choices=("all", "1", "0")),
            Field("min_isr", "min ISR", "default", choices=("default", "1", "2", "3")),
        ]

        def check(values: dict[str, str]) -> str:
            try:
                wish_of(values, ids)
            except WishError as error:
                return str(error)
            return ""

        def submitted(values: dict[str, str] | None) -> None:
            if values is not None:
                self.show(wish_of(values, ids))

        note = "What it would do is shown next. Cuts and delays have another end; acks and min ISR are of who measures."
        self._app.push_screen(Form("a fault", fields, yes="Show", check=check, note=note), submitted)

    def ask_to_roll(self) -> None:
        """A rolling restart, shown first; :faults has its progress, and gives it up."""
        if not self._acts.refused(Need.FAULTS):
            self.show(FaultWish("rolling restart", 0))

    def show(self, wish: FaultWish) -> None:
        """What it would do; begun by ``y``."""
        picture = self._app.picture()
        if picture is None:
            return

        def answered(confirmed: bool | None) -> None:
            if confirmed:
                self.begin(wish)

        self._app.push_screen(Preview("before it is done", fault_preview(picture, wish)), answered)

    def begin(self, wish: FaultWish) -> None:
        """Do it, measured."""
        if self._acts.refused(Need.FAULTS):
            return

        async def call() -> str:
            await self._app.gateway.begin_fault(wish)
            return f"{wish.words}: begun"

        self._acts.perform(
            wish.words, fault_command(wish), call, doing=wish.words, hint="; :faults heals, 5 has its stopwatch"
        )

    def heal(self, fault: ActiveFault | None) -> None:
        """End one fault, or all."""
        if self._acts.refused(Need.FAULTS):
            return
        what = "heal all" if fault is None else f"heal {fault.what}"

        async def call() -> str:
            healed = await self._app.gateway.heal_faults(None if fault is None else fault.fault_id)
            return f"healed: {', '.join(healed)}" if healed else "nothing was wrong"

        command = "kconsole heal" if fault is None else f"kconsole heal {fault.fault_id}"
        self._acts.perform(what, command, call)


def fault_command(wish: FaultWish) -> str:
    """The command line that does the same; Kafka's tools have none."""
    words = ["kconsole fault", wish.kind.replace(" ", "-")]
    if wish.kind != "rolling restart":
        words.append(str(wish.broker_id))
    if wish.other:
        words.append(f"--other {wish.other}")
    if wish.by_ms:
        words.append(f"--by {wish.by_ms:g}ms")
    if wish.times:
        words.append(f"--times {wish.times}")
    if wish.for_ms:
        words.append(f"--for {wish.for_ms / 1000:g}s")
    if wish.acks != "all":
        words.append(f"--acks {wish.acks}")
    if wish.min_isr:
        words.append(f"--min-isr {wish.min_isr}")
    return " ".join(words)

"""Producing to a topic at a rate, from any screen: a form, then progress, then what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from console.acts import Need
from console.acts_part import ActsPart
from console.modals.form import Field, Form
from console.record_copying import Stop
from console.record_load import LoadProgress, run_load
from console.viewmodel.load_run import (
    DEFAULT_TEMPLATE,
    TEMPLATE_HELP,
    Keys,
    LoadError,
    LoadWish,
    check_wish,
    perf_command,
    record_of,
)

if TYPE_CHECKING:
    from console.actions import Acts
    from console.app import KConsole


class LoadActs(ActsPart):
    """Part of :class:`console.actions.Acts`."""

    def __init__(self, app: KConsole, acts: Acts) -> None:
        super().__init__(app, acts)
        self._last: dict[str, str] = {}

    def ask(self, topic: str) -> None:
        """A form; it remembers what was typed last. While an act is under way, it is given up."""
        if self._acts.long.is_under_way("load") or self._acts.refused(Need.WRITE):
            return
        last = self._last
        fields = [
            Field("rate", "rate", last.get("rate", "100"), "records a second"),
            Field("seconds", "seconds", last.get("seconds", "10")),
            Field("value", "value", last.get("value", DEFAULT_TEMPLATE), "random bytes of the size"),
            Field("size", "size", last.get("size", ""), "as the value is; bytes, filled up"),
            Field("keys", "keys", last.get("keys", Keys.UNIFORM), choices=tuple(Keys)),
            Field("distinct", "different", last.get("distinct", "100"), "keys"),
            Field("acks", "acks", last.get("acks", "all"), choices=("all", "1", "0")),
        ]

        def wish_of(values: dict[str, str]) -> LoadWish:
            """Raises: LoadError."""
            wish = LoadWish(
                topic,
                _number(values, "rate"),
                _seconds(values["seconds"]),
                values["value"],
                _number(values, "size", 0),
                Keys(values["keys"]),
                _number(values, "distinct", 1),
                values["acks"],
            )
            check_wish(wish)
            return wish

        def check(values: dict[str, str]) -> str:
            try:
                wish_of(values)
            except LoadError as error:
                return str(error)
            return ""

        def submitted(values: dict[str, str] | None) -> None:
            if values is not None:
                self._last = values
                self._run(wish_of(values))

        self._app.push_screen(
            Form(f"produce to {topic} at a rate", fields, yes="Produce", check=check, note=TEMPLATE_HELP), submitted
        )

    def _run(self, wish: LoadWish) -> None:
        size = len(record_of(wish, 0, self._app.now_ms(), lambda: 0.0).value or b"")
        command = perf_command(self._app.gateway.capabilities.bootstrap_servers, wish, size)

        def progress(now: LoadProgress) -> None:
            self._acts.long.tell(f"{wish.topic}: {now.words(wish)}")

        async def act(stop: Stop) -> str:
            return f"{wish.topic}: {(await run_load(self._app.gateway, wish, stop, progress)).words}"

        self._acts.long.perform("load", f"produce to {wish.topic} at {wish.rate:,}/s", command, act)


def _number(values: dict[str, str], name: str, default: int | None = None) -> int:
    """Raises: LoadError."""
    word = values[name].strip().replace(",", "").replace("_", "")
    if not word and default is not None:
        return default
    if not word.isdigit():
        raise LoadError(f"{name}: a whole number")
    return int(word)


def _seconds(written: str) -> float:
    """Raises: LoadError."""
    try:
        return float(written.strip().removesuffix("s"))
    except ValueError:
        raise LoadError("seconds: a number") from None

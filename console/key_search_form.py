"""Asking for a key, from any screen: Records opens on its topic, and shows only what has it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from console.gateway import GatewayError, ReadFrom
from console.modals.form import Field, Form
from console.screens.base import ViewSpec
from console.serde_acts import values_of
from console.viewmodel.key_search import RULE_HELP, KeyRule, KeyWish, typed_key
from console.viewmodel.seeking import parse_seek

if TYPE_CHECKING:
    from console.app import KConsole


class KeySearchForm:
    """Part of :class:`console.actions.Acts`; it changes nothing."""

    def __init__(self, app: KConsole) -> None:
        self._app = app
        self._rule = KeyRule.MURMUR2

    def ask(self, topic: str, before: KeyWish | None = None, *, typed: str = "") -> None:
        """A form. ``before``: what is looked for now."""
        fields = [
            Field(
                "key",
                "key",
                typed or (before.words if before is not None else ""),
                "as the topic's serde writes it, or 0x0a1b",
            ),
            Field("rule", "partition by", before.rule if before else self._rule, choices=tuple(KeyRule)),
            Field("from", "from", "start"),
        ]

        def check(values: dict[str, str]) -> str:
            if not values["key"]:
                return "which key? (an empty one: 0x)"
            try:
                typed_key(values["key"])
            except ValueError as error:
                return str(error)
            found = parse_seek(values["from"], self._app.now_ms())
            return found if isinstance(found, str) else ""

        def submitted(values: dict[str, str] | None) -> None:
            if values is None:
                return
            begin = parse_seek(values["from"], self._app.now_ms())
            assert isinstance(begin, ReadFrom)
            self._rule = KeyRule(values["rule"])
            self._app.run_worker(find(values["key"], self._rule, begin), group="finding", exit_on_error=False)

        async def find(typed: str, rule: KeyRule, begin: ReadFrom) -> None:
            gateway = self._app.gateway
            try:
                # By the topic's serde, for which a registry may have to be asked.
                key = await gateway.sought_key(topic, typed) if values_of(self._app) is not None else typed_key(typed)
            except GatewayError as error:
                self._app.flash(f"find {typed}: {error}", "offline", seconds=12)
            else:
                wish = KeyWish(key, rule, typed)
                self._app.push_view(ViewSpec("records", {"topics": (topic,), "read_from": begin, "key": wish}))

        note = f"{RULE_HELP}. What was written before the topic had its present partitions may lie elsewhere."
        self._app.push_screen(Form(f"find a key in {topic}", fields, yes="Find", check=check, note=note), submitted)

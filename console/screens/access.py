"""Who may do what: access control lists, SCRAM users, and quotas."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from console.gateway import GatewayError
from console.modals.form import Field, Form
from console.screens.base import view_bindings
from console.screens.polled import PolledView
from console.viewmodel import text
from console.viewmodel.acls import ACL_COLUMNS, ALL_OPERATIONS, ANY, PERMISSIONS, RESOURCES, AclRow, AclWish
from console.viewmodel.client_quotas import QUOTA_COLUMNS, QuotaRow
from console.viewmodel.keeping import Told
from console.viewmodel.scram_users import SCRAM_COLUMNS, ScramRow
from engine.supervisor.snapshot import Source


class AclsView(PolledView):
    """One row an entry; ``f`` has the brokers filter, which know what holds for a name."""

    NAME = "acls"
    COLUMNS = ACL_COLUMNS
    NOTHING = "no entries: with an authorizer, only super.users may do anything then; n makes one"
    BINDINGS = view_bindings("acls")

    def __init__(self, about: Mapping[str, Any]) -> None:
        super().__init__(about)
        self._wish = AclWish()

    async def ask(self) -> Told:
        try:
            return Told({"": await self.console.gateway.administration.acls(self._wish)})
        except GatewayError as error:
            if not str(error).startswith("SECURITY_DISABLED"):
                raise
            raise GatewayError(f"{error}: set authorizer.class.name in its properties (the cluster file)") from error

    def counts(self) -> str:
        rows = self.table.shown
        denying = sum(row.permission == "DENY" for row in rows)
        said = [text.plural(len(rows), "entry").replace("entrys", "entries")]
        said += [f"{denying} deny"] if denying else []
        if self.console.gateway.capabilities.source is Source.EMBEDDED:
            said.append("kept, not enforced here")
        return " · ".join(said)

    def scope_word(self) -> str:
        return self._wish.words() or "all"

    def state(self) -> dict[str, Any]:
        return {**super().state(), "wish": self._wish}

    def restore(self, state: Mapping[str, Any]) -> None:
        super().restore(state)
        if (wish := state.get("wish", self._wish)) != self._wish:
            # All were asked for already.
            self._wish = wish
            self.read_again()

    def action_filter_by_brokers(self) -> None:
        wish = self._wish
        fields = [
            Field("resource", "resource", wish.resource_type, choices=(ANY, *RESOURCES)),
            Field("name", "name", wish.resource_name or "", "any"),
            Field("pattern", "pattern", wish.pattern_type, choices=(ANY, "MATCH", "LITERAL", "PREFIXED")),
            Field("principal", "principal", wish.principal or "", "any; User:alice"),
            Field("host", "host", wish.host or "", "any"),
            Field("operation", "operation", wish.operation, choices=(ANY, *ALL_OPERATIONS)),
            Field("permission", "permission", wish.permission, choices=(ANY, *PERMISSIONS)),
        ]

        def submitted(values: dict[str, str] | None) -> None:
            if values is None:
                return
            name, principal, host = (values[each].strip() or None for each in ("name", "principal", "host"))
            self._wish = AclWish(
                values["resource"], name, values["pattern"], principal, host, values["operation"], values["permission"]
            )
            self.read_again()

        note = "MATCH: all entries that hold for that name, literal, by prefix or by *."
        self.console.push_screen(Form("which entries", fields, yes="Show", note=note), submitted)

    def action_new(self) -> None:
        row: AclRow | None = self.table.cursor_row
        self.console.acts.administering.ask_acl(row, self.read_again)

    def action_delete(self) -> None:
        chosen: list[AclRow] = list(self.table.chosen())
        if chosen:
            self.console.acts.administering.delete_acls(chosen, self.read_again)


class UsersView(PolledView):
    """One row a credential."""

    NAME = "users"
    COLUMNS = SCRAM_COLUMNS
    NOTHING = "no user has SCRAM credentials: n makes some"
    BINDINGS = view_bindings("users")

    async def ask(self) -> Told:
        return Told({"": await self.console.gateway.administration.scram_users()})

    def counts(self) -> str:
        rows = self.table.shown
        said = f"{text.plural(len({row.user for row in rows}), 'user')}"
        embedded = self.console.gateway.capabilities.source is Source.EMBEDDED
        return f"{said} · kept; nobody logs in with them here, without SASL" if embedded else said

    def action_new(self) -> None:
        row: ScramRow | None = self.table.cursor_row
        self.console.acts.administering.ask_scram_user(row, self.read_again)

    def action_delete(self) -> None:
        chosen: list[ScramRow] = list(self.table.chosen())
        if chosen:
            self.console.acts.administering.delete_scram_users(chosen, self.read_again)


class QuotasView(PolledView):
    """One row an entity: a user, a client-id, both, or an address; by name or the default of all others."""

    NAME = "quotas"
    COLUMNS = QUOTA_COLUMNS
    NOTHING = "no quotas: n sets some"
    BINDINGS = view_bindings("quotas")

    async def ask(self) -> Told:
        return Told({"": await self.console.gateway.administration.quotas()})

    def counts(self) -> str:
        return f"{len(self.table.shown)} with quotas, for each broker alone" if self.table.shown else ""

    def action_new(self) -> None:
        self.console.acts.administering.ask_quotas(None, self.kept.rows(0), self.read_again)

    def action_open(self) -> None:
        row: QuotaRow | None = self.table.cursor_row
        if row is not None:
            self.console.acts.administering.ask_quotas(row, self.kept.rows(0), self.read_again)

    def action_delete(self) -> None:
        row: QuotaRow | None = self.table.cursor_row
        if row is not None:
            self.console.acts.administering.delete_quotas(row, self.read_again)

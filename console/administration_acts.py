"""Acts of the administration screens: access, users, quotas, transactions, records. Asked first, or shown first."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from console.acts import Need
from console.acts_part import ActsPart
from console.gateway import GatewayError
from console.modals.form import Field, Form
from console.modals.preview import Preview
from console.tool_commands import (
    abort_command,
    acl_command,
    delete_records_command,
    delete_scram_command,
    quota_command,
    set_scram_command,
    terminate_command,
)
from console.viewmodel import text
from console.viewmodel.acls import ALL_OPERATIONS, PATTERNS, PERMISSIONS, RESOURCES, AclRow, acl_of
from console.viewmodel.cells import Span, cell
from console.viewmodel.client_quotas import (
    CLIENT_ID,
    DEFAULT,
    IP,
    QUOTAS,
    USER,
    QuotaChange,
    QuotaRow,
    change_cells,
    change_of,
    entity_words,
    removal_of,
    written,
)
from console.viewmodel.configs import TOPIC, ConfigOf
from console.viewmodel.producers import ProducerRow
from console.viewmodel.record_deletion import Cut, cut_cells, cut_words, cuts_of
from console.viewmodel.scram_users import MECHANISMS, MIN_ITERATIONS, ScramRow, credential_of
from console.viewmodel.transactions import TransactionRow

if TYPE_CHECKING:
    from engine.supervisor.snapshot import PartitionState, TopicState

After = Callable[[], None]


class AdministrationActs(ActsPart):
    """Part of :class:`console.actions.Acts`."""

    # -- access control lists -------------------------------------------------------------------------------------

    def ask_acl(self, like: AclRow | None, after: After) -> None:
        """A form for an entry, filled as the selected one is."""
        if self._acts.refused(Need.WRITE):
            return
        fields = [
            Field("principal", "principal", like.principal if like else "User:", "User:alice, or User:*"),
            Field("permission", "permission", like.permission if like else "ALLOW", choices=PERMISSIONS),
            Field("operation", "operation", like.operation if like else "READ", choices=ALL_OPERATIONS),
            Field("resource", "resource", like.resource_type if like else "TOPIC", choices=RESOURCES),
            Field("name", "name", like.resource_name if like else "", "of a topic, a group, …; * for all"),
            Field("pattern", "pattern", like.pattern_type if like else "LITERAL", choices=PATTERNS),
            Field("host", "host", like.host if like else "*", "an address, or * for all"),
        ]

        def submitted(values: dict[str, str] | None) -> None:
            if values is None:
                return
            row = acl_of(values)

            async def call() -> str:
                await self._app.gateway.administration.create_acl(row)
                return row.words()

            self._acts.perform(f"ACL for {row.principal}", acl_command(self._bootstrap, row), call, after=after)

        self._app.push_screen(Form("a new entry", fields, yes="Create", check=_checked(acl_of)), submitted)

    def delete_acls(self, rows: Sequence[AclRow], after: After) -> None:
        """Always asks."""
        if self._acts.refused(Need.WRITE):
            return
        first = rows[0]
        command = acl_command(self._bootstrap, first, remove=True) + (" …" if len(rows) > 1 else "")

        async def call() -> str:
            gone = await self._app.gateway.administration.delete_acls(rows)
            return f"{gone} of {len(rows)} ACL entries deleted"

        loses = "gain" if first.permission == "DENY" else "lose"
        who = ", ".join(dict.fromkeys(row.principal for row in rows))
        self._acts.asking(
            "delete",
            f"Delete: {first.words()}?" if len(rows) == 1 else f"Delete {len(rows)} ACL entries?",
            f"{text.clip(who, 120)} may {loses} access at once.",
            command,
            "Delete",
            lambda: self._acts.perform(f"delete {len(rows)} ACL entries", command, call, after=after),
        )

    # -- users ----------------------------------------------------------------------------------------------------

    def ask_scram_user(self, like: ScramRow | None, after: After) -> None:
        """A form for a credential; a user who has it gets a new password."""
        if self._acts.refused(Need.WRITE):
            return
        fields = [
            Field("user", "user", "", like.user if like else "alice"),
            Field("mechanism", "mechanism", like.mechanism if like else MECHANISMS[0], choices=MECHANISMS),
            Field("iterations", "iterations", str(MIN_ITERATIONS), str(MIN_ITERATIONS)),
            Field("password", "password", hidden=True),
            Field("again", "again", hidden=True),
        ]

        def submitted(values: dict[str, str] | None) -> None:
            if values is None:
                return
            wish = credential_of(values)

            async def call() -> str:
                await self._app.gateway.administration.set_scram_user(wish)
                return f"{wish.user} has a credential for {wish.mechanism}"

            command = set_scram_command(self._bootstrap, wish)
            self._acts.perform(f"credential of {wish.user}", command, call, after=after)

        note = "Of a user who has one already, the password changes. It is salted here: no broker sees it."
        self._app.push_screen(
            Form("a SCRAM user", fields, yes="Set", check=_checked(credential_of), note=note), submitted
        )

    def delete_scram_users(self, rows: Sequence[ScramRow], after: After) -> None:
        """Always asks."""
        if self._acts.refused(Need.WRITE):
            return
        command = delete_scram_command(self._bootstrap, rows[0]) + (" …" if len(rows) > 1 else "")
        who = f"{rows[0].mechanism} of {rows[0].user}" if len(rows) == 1 else text.plural(len(rows), "credential")

        async def call() -> str:
            await self._app.gateway.administration.delete_scram_users(rows)
            return f"{who} deleted"

        self._acts.asking(
            "delete",
            f"Delete {who}?",
            "Who logs in with it cannot any more; connections that are open stay.",
            command,
            "Delete",
            lambda: self._acts.perform(f"delete {who}", command, call, after=after),
        )

    # -- quotas ---------------------------------------------------------------------------------------------------

    def ask_quotas(self, row: QuotaRow | None, rows: Sequence[QuotaRow], after: After) -> None:
        """A form for an entity's quotas; old and new are shown before it is done."""
        if self._acts.refused(Need.WRITE):
            return
        values = row.values if row is not None else {}
        hints = {USER: f"alice, or {DEFAULT}", CLIENT_ID: "too, or alone", IP: "alone: connections a second"}
        fields = [Field(kind, kind, (row.part(kind) if row else None) or "", hints[kind]) for kind in hints]
        units = {"producer_byte_rate": "bytes/s, as 20M", "consumer_byte_rate": "bytes/s", "request_percentage": "%"}
        labels = dict(zip(QUOTAS, ("produce", "consume", "requests", "mutations", "connections"), strict=True))
        fields += [Field(key, labels[key], written(values.get(key)), units.get(key, "a second")) for key in QUOTAS]

        def submitted(said: dict[str, str] | None) -> None:
            if said is not None:
                self._change_quotas(change_of(said, rows), after)

        self._app.push_screen(
            Form(
                f"quotas of {row.key}" if row is not None else "quotas",
                fields,
                yes="Show",
                check=_checked(lambda said: change_of(said, rows)),
                note=f"Empty: none. {DEFAULT}: of all that have none by name.",
            ),
            submitted,
        )

    def delete_quotas(self, row: QuotaRow, after: After) -> None:
        """All of an entity."""
        if not self._acts.refused(Need.WRITE):
            self._change_quotas(removal_of(row), after)

    def _change_quotas(self, change: QuotaChange, after: After) -> None:
        who = entity_words(change.entity)
        command = quota_command(self._bootstrap, change)

        async def call() -> str:
            await self._app.gateway.administration.alter_quotas(change, validate_only=False)
            return f"{who}: {text.plural(len(change.changes), 'quota')} changed"

        def answered(confirmed: bool | None) -> None:
            if confirmed:
                self._acts.perform(f"quotas of {who}", command, call, after=after)

        async def run() -> None:
            try:
                await self._app.gateway.administration.alter_quotas(change, validate_only=True)
            except GatewayError as error:
                self._app.flash(f"quotas of {who}: {error}", "offline", seconds=12)
                return
            lines = [
                *change_cells(change),
                cell(""),
                cell("The brokers would take it.", "in_sync"),
                cell(f"$ {command}", "muted"),
            ]
            self._app.push_screen(Preview(f"quotas of {who}: do it?", lines), answered)

        self._app.run_worker(run, group="acts", exit_on_error=False)

    # -- transactions ---------------------------------------------------------------------------------------------

    def abort(self, row: ProducerRow, after: After) -> None:
        """Always asks: what a transaction wrote is dropped for readers of committed records."""
        if self._acts.refused(Need.WRITE):
            return
        place = f"{row.topic}-{row.partition}"
        if not row.is_open:
            self._app.flash(f"producer {row.producer_id} has no transaction open in {place}", "under_replicated")
            return
        command = abort_command(self._bootstrap, row)

        async def call() -> str:
            await self._app.gateway.administration.abort_transaction(row)
            return f"the transaction of producer {row.producer_id} in {place} is aborted"

        still = "" if row.hangs else " Its coordinator may still be about to end it: that is no hanging one."
        self._acts.asking(
            "delete",
            f"Abort the transaction of producer {row.producer_id} in {place}?",
            f"What it wrote from {row.transaction_start_offset:,} on is skipped by read_committed readers.{still}",
            command,
            "Abort",
            lambda: self._acts.perform(f"abort {place}@{row.transaction_start_offset}", command, call, after=after),
        )

    def terminate(self, row: TransactionRow, after: After) -> None:
        """Always asks: its producer is fenced."""
        if self._acts.refused(Need.WRITE):
            return
        if row.open_ms is None:
            self._app.flash(f"{row.transactional_id} has no transaction open", "under_replicated")
            return
        command = terminate_command(self._bootstrap, row.transactional_id)

        async def call() -> str:
            await self._app.gateway.administration.terminate_transaction(row)
            return f"the transaction of {row.transactional_id} is terminated"

        self._acts.asking(
            "delete",
            f"Terminate the open transaction of {row.transactional_id}?",
            f"What it wrote to {text.plural(len(row.partitions), 'partition')} is dropped; its producer "
            f"{row.producer_id}/{row.producer_epoch} is fenced, and fails with its next request.",
            command,
            "Terminate",
            lambda: self._acts.perform(f"terminate {row.transactional_id}", command, call, after=after),
        )

    # -- topics ---------------------------------------------------------------------------------------------------

    def ask_clone_topic(self, topic: TopicState) -> None:
        """The form of a new topic, filled as another one is: partitions, replicas, and the configs set for it."""
        if self._acts.refused(Need.WRITE):
            return

        async def run() -> None:
            try:
                configs = await self._app.gateway.topic_configs(topic.name)
            except GatewayError as error:
                self._app.flash(f"{topic.name}: {error}", "offline", seconds=12)
                return
            own = [each for each in configs if each.source == ConfigOf(TOPIC, topic.name).level]
            # A value with a comma is said in quotes.
            said = {each.name: json.dumps(each.value) if "," in (each.value or "") else each.value for each in own}
            self._acts.ask_create_topic(
                {
                    "name": f"{topic.name}-copy",
                    "partitions": str(len(topic.partitions)),
                    "replication": str(max(len(each.replicas) for each in topic.partitions)),
                    "configs": ", ".join(f"{name}={value}" for name, value in said.items()),
                }
            )

        self._app.run_worker(run, group="acts", exit_on_error=False)

    # -- records --------------------------------------------------------------------------------------------------

    def ask_delete_records(self, partitions: Sequence[PartitionState]) -> None:
        """A form for the offset; what goes is shown before it is done."""
        if self._acts.refused(Need.WRITE) or not partitions:
            return

        def check(values: dict[str, str]) -> str:
            try:
                cuts_of(partitions, values["offset"])
            except ValueError as error:
                return str(error)
            return ""

        def submitted(values: dict[str, str] | None) -> None:
            if values is not None:
                self._show_cuts(cuts_of(partitions, values["offset"]))

        topic = partitions[0].topic
        what = f"{topic}-{partitions[0].partition}" if len(partitions) == 1 else f"{len(partitions)} partitions"
        fields = [Field("offset", "up to", "", "an offset: records before it go; end: all of them go")]
        note = "Shown first. Logs then start later, on all replicas; nobody reads the records any more."
        self._app.push_screen(Form(f"delete records of {what}", fields, yes="Show", check=check, note=note), submitted)

    def _show_cuts(self, cuts: Sequence[Cut]) -> None:
        offsets = {(each.topic, each.partition): each.wanted for each in cuts}
        command = delete_records_command(self._bootstrap, offsets)

        async def call() -> str:
            starts = await self._app.gateway.administration.delete_records(offsets)
            said = [f"{topic}-{number} starts at {start:,}" for (topic, number), start in sorted(starts.items())]
            return text.clip(", ".join(said), 120)

        def answered(confirmed: bool | None) -> None:
            if confirmed:
                self._acts.perform(f"delete records of {text.plural(len(cuts), 'partition')}", command, call)

        lines = [*cut_cells(cuts), cell(""), cell(cut_words(cuts), "offline"), (Span(f"$ {command}", "muted"),)]
        self._app.push_screen(Preview("delete records: do it?", lines), answered)


def _checked(read: Callable[[dict[str, str]], object]) -> Callable[[dict[str, str]], str]:
    """A form's check from what reads it."""

    def check(values: dict[str, str]) -> str:
        try:
            read(values)
        except ValueError as error:
            return str(error)
        return ""

    return check

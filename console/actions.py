"""Doing acts: ask where one must, do it beside the screen, say how it went, and keep the command that does the same."""

from __future__ import annotations

import re
import shlex
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from console.acts import (
    ActFlow,
    ActLogEntry,
    Need,
    add_partitions_command,
    create_topic_command,
    delete_topic_command,
    elect_command,
    flow_of,
    process_command,
    reason_against,
    typed_number,
    typed_pairs,
)
from console.administration_acts import AdministrationActs
from console.config_acts import ConfigActs
from console.connect_acts import ConnectActs
from console.copy_acts import CopyActs
from console.ensemble_acts import EnsembleActs
from console.fault_acts import FaultActs
from console.gateway import GatewayError, NewTopic
from console.key_search_form import KeySearchForm
from console.load_acts import LoadActs
from console.long_acts import LongActs
from console.modals.confirm import Confirm
from console.modals.form import Field, Form
from console.move_acts import MoveActs
from console.reassign_acts import ReassignActs
from console.record_acts import RecordActs
from console.redrive_acts import RedriveActs
from console.reset_acts import ResetActs
from console.schema_acts import SchemaActs
from console.streams_acts import StreamsActs
from console.viewmodel import text
from console.viewmodel.impact import impact_of_losing
from console.viewmodel.text import brokers_words, plural_s
from engine.supervisor.snapshot import Source

if TYPE_CHECKING:
    from console.app import KConsole

_DONE = {
    "kill": "killed",
    "stop": "stopped",
    "pause": "paused",
    "resume": "resumed",
    "start": "started",
    "restart": "restarted",
}
_DOING = {
    "kill": "killing",
    "stop": "stopping",
    "pause": "pausing",
    "resume": "resuming",
    "start": "starting",
    "restart": "restarting",
}
_KEPT = 500


class Acts:
    """All acts of the console. The gateway refuses on its own as well when read-only."""

    def __init__(self, app: KConsole) -> None:
        self._app = app
        self.log: list[ActLogEntry] = []
        self._number = 0
        self.administering = AdministrationActs(app, self)
        self.configuring = ConfigActs(app, self)
        self.moving = MoveActs(app, self)
        self.reassigning = ReassignActs(app, self)
        self.records = RecordActs(app, self)
        self.resetting = ResetActs(app, self)
        self.faults = FaultActs(app, self)
        self.ensemble = EnsembleActs(app, self)
        self.streams = StreamsActs(app, self)
        self.schemas = SchemaActs(app, self)
        self.connect = ConnectActs(app, self)
        self.long = LongActs(app, self)
        self.copying = CopyActs(app, self)
        self.redriving = RedriveActs(app, self)
        self.finding = KeySearchForm(app)
        self.loading = LoadActs(app, self)

    # -- the one way ----------------------------------------------------------------------------------------------

    def refused(self, need: Need) -> bool:
        """Whether it cannot be done here; says why if so."""
        reason = reason_against(need, self._app.gateway.capabilities)
        if reason:
            self._app.flash(reason, "under_replicated")
        return bool(reason)

    def perform(
        self,
        what: str,
        command: str,
        act: Callable[[], Awaitable[str]],
        *,
        doing: str = "",
        hint: str = "",
        after: Callable[[], None] | None = None,
        as_typed: bool = False,
    ) -> None:
        """Do it beside the screen, and say how it went: in ``act``'s words, or in those of its GatewayError."""
        app = self._app
        command = command if as_typed else self._as_this_user(command)
        self._number += 1
        entry = ActLogEntry(self._number, app.present_ms(), what, command)
        self.log.append(entry)
        app.travel.recordings.command(entry)
        del self.log[:-_KEPT]
        app.flash(f"{doing or what} …  $ {command}" if command else f"{doing or what} …", "info")

        async def run() -> None:
            try:
                outcome, failed = await act(), False
            except GatewayError as error:
                outcome, failed = str(error), True
            self._finish(entry._replace(outcome=outcome or "done", failed=failed), hint)
            if after is not None and not failed:
                after()

        app.run_worker(run, group="acts", exit_on_error=False)

    def _finish(self, entry: ActLogEntry, hint: str) -> None:
        self._app.travel.recordings.command(entry)
        for at, each in enumerate(self.log):
            if each.number == entry.number:
                self.log[at] = entry
        if entry.failed:
            self._app.flash(f"{entry.what}: {entry.outcome}", "offline", seconds=12)
        else:
            command = f"  $ {entry.command}" if entry.command else ""
            self._app.flash(f"{entry.outcome}{hint}{command}", "in_sync")
        self._app.touch()

    def give_up(self) -> None:
        """Another cluster is looked at: how those that are under way end is not heard any more."""
        for at, each in enumerate(self.log):
            if each.outcome == "…":
                self.log[at] = each._replace(outcome="not heard of: another context was opened", failed=True)

    def asking(self, act: str, question: str, consequence: str, command: str, yes: str, do: Callable[[], None]) -> None:
        """Ask first where :func:`flow_of` says so."""
        if flow_of(act, self._app.gateway.capabilities) is ActFlow.AT_ONCE:
            do()
            return

        def answered(confirmed: bool | None) -> None:
            if confirmed:
                do()

        command = self._as_this_user(command)
        title = "attached cluster" if self._app.gateway.capabilities.attached else "are you sure?"
        self._app.push_screen(Confirm(title, question, consequence, command, yes), answered)

    def _as_this_user(self, command: str) -> str:
        """Kafka's tools need the credentials as well: from a file, never on a command line."""
        file = self._app.gateway.capabilities.command_config
        if not file or "--command-config" in command:
            return command
        return re.sub(r"(--bootstrap-server \S+)", rf"\1 --command-config {shlex.quote(file)}", command)

    @property
    def _bootstrap(self) -> str:
        return self._app.gateway.capabilities.bootstrap_servers

    # -- brokers --------------------------------------------------------------------------------------------------

    def process(self, act: str, *broker_ids: int) -> None:
        """kill, stop, pause, resume, start, restart."""
        if self.refused(Need.PROCESS):
            return
        gateway = self._app.gateway
        picture = self._app.picture()
        processes = {
            each.broker_id: each.process
            for each in (picture.brokers if picture is not None else ())
            if each.process is not None
        }
        if len(broker_ids) > 1 and act in ("kill", "stop", "pause"):
            # Of several, those to which it applies; of a single one the supervisor says why not.
            broker_ids = tuple(each for each in broker_ids if each in processes and processes[each].pid) or broker_ids
        if act == "start":
            down = [each for each in broker_ids if each not in processes or not processes[each].is_up]
            if not down:
                self._app.flash(f"{brokers_words(broker_ids)} run{plural_s(broker_ids)} already", "info")
                return
            broker_ids = tuple(down)
        consequence = ""
        if picture is not None and act in ("kill", "stop", "pause", "restart"):
            consequence = impact_of_losing(picture, broker_ids)
        calls: dict[str, Callable[[Sequence[int]], Awaitable[None]]] = {
            "kill": gateway.kill_brokers,
            "stop": gateway.stop_brokers,
            "pause": gateway.pause_brokers,
            "resume": gateway.resume_brokers,
            "start": gateway.start_brokers,
            "restart": gateway.restart_brokers,
        }
        who = brokers_words(broker_ids)
        command = process_command(
            act, {each: processes[each].pid if each in processes else None for each in broker_ids}
        )

        if gateway.capabilities.source is Source.SIMULATED:
            # There is nothing that one could type on a machine.
            command = ""

        async def call() -> str:
            await calls[act](broker_ids)
            return f"{who} {_DONE[act]}"

        def do() -> None:
            timed = act == "kill" and len(broker_ids) == 1 and self._app.root_view_name != "failover" and command
            self.perform(
                f"{act} {who}",
                command,
                call,
                doing=f"{_DOING[act]} {who}",
                hint="; 5 shows the stopwatch" if timed else "",
            )

        self.asking(act, f"{act.capitalize()} {who}?", consequence, command, act.capitalize(), do)

    def kill_leader(self, topic: str, partition: int) -> None:
        """SIGKILL of whoever leads a partition."""
        if self.refused(Need.PROCESS):
            return
        picture = self._app.picture()
        leader = next(
            (
                each.leader
                for found in (picture.topics if picture is not None else ())
                if found.name == topic
                for each in found.partitions
                if each.partition == partition
            ),
            -1,
        )
        if leader < 0:
            self._app.flash(f"{topic}-{partition} has no leader to kill", "offline")
        else:
            self.process("kill", leader)

    def elect_preferred(self, partitions: Sequence[tuple[str, int]] | None) -> None:
        """Preferred leader election."""
        if self.refused(Need.WRITE):
            return
        command = elect_command(self._bootstrap, partitions)
        about = "all partitions" if partitions is None else text.plural(len(partitions), "partition")

        async def call() -> str:
            moved = await self._app.gateway.elect_preferred(partitions)
            return f"preferred election of {about}: {text.plural(moved, 'leader')} moved"

        self.asking(
            "elect",
            f"Elect the preferred leaders of {about}?",
            "Clients of partitions that move refresh their metadata.",
            command,
            "Elect",
            lambda: self.perform("preferred election", command, call),
        )

    # -- topics ---------------------------------------------------------------------------------------------------

    def ask_create_topic(self, like: Mapping[str, str] | None = None) -> None:
        """A form for a new topic, empty or filled."""
        if self.refused(Need.WRITE):
            return
        filled = like or {}
        fields = [
            Field("name", "name", filled.get("name", ""), "letters, digits, '.', '_' and '-'"),
            Field("partitions", "partitions", filled.get("partitions", ""), "broker's default"),
            Field("replication", "replication", filled.get("replication", ""), "broker's default"),
            Field("configs", "configs", filled.get("configs", ""), "retention.ms=3600000, cleanup.policy=compact"),
        ]

        def submitted(values: dict[str, str] | None) -> None:
            if values is None:
                return
            topic = NewTopic(
                values["name"].strip(),
                typed_number(values["partitions"]),
                typed_number(values["replication"]),
                dict(typed_pairs(values["configs"])),
            )

            async def call() -> str:
                await self._app.gateway.create_topic(topic)
                return f"topic {topic.name} created"

            def select() -> None:
                view = self._app.view
                if view is not None and view.NAME == "topics":
                    view.table.select(topic.name)

            command = create_topic_command(self._bootstrap, topic)
            self.perform(f"create topic {topic.name}", command, call, after=select)

        self._app.push_screen(Form("new topic", fields, yes="Create", check=_check_topic), submitted)

    def delete_topics(self, names: Sequence[str]) -> None:
        """Always asks."""
        if self.refused(Need.WRITE):
            return
        picture = self._app.picture()
        records = 0
        for topic in picture.topics if picture is not None else ():
            if topic.name in names:
                for partition in topic.partitions:
                    if partition.high_watermark is not None and partition.log_start_offset is not None:
                        records += partition.high_watermark - partition.log_start_offset

        def do() -> None:
            for name in names:

                async def call(name: str = name) -> str:
                    await self._app.gateway.delete_topic(name)
                    return f"topic {name} deleted"

                self.perform(f"delete topic {name}", delete_topic_command(self._bootstrap, name), call)

        self.asking(
            "delete",
            f"Delete {names[0] if len(names) == 1 else text.plural(len(names), 'topic')}?",
            f"{text.count(records)} records go for good." if records else "Its records go for good.",
            delete_topic_command(self._bootstrap, names[0]) + (" …" if len(names) > 1 else ""),
            "Delete",
            do,
        )

    def ask_add_partitions(self, topic: str, now: int) -> None:
        """A form for the new number."""
        if self.refused(Need.WRITE):
            return

        def check(values: dict[str, str]) -> str:
            number = typed_number(values["total"])
            return "" if number is not None and number > now else f"a whole number above {now} is needed"

        def submitted(values: dict[str, str] | None) -> None:
            if values is None:
                return
            total = int(values["total"])

            async def call() -> str:
                await self._app.gateway.add_partitions(topic, total)
                return f"{topic} has {total} partitions"

            command = add_partitions_command(self._bootstrap, topic, total)
            self.asking(
                "add_partitions",
                f"Give {topic} {total} partitions?",
                note,
                command,
                "Add",
                lambda: self.perform(f"add partitions to {topic}", command, call),
            )

        note = "Keys go to other partitions afterwards. Partitions cannot be taken away again."
        form = Form(
            f"partitions of {topic}", [Field("total", "partitions", str(now + 1))], yes="Add", check=check, note=note
        )
        self._app.push_screen(form, submitted)

    # -- workload -------------------------------------------------------------------------------------------------

    def workload(self, act: str) -> None:
        """Start or stop all of it."""
        if self.refused(Need.WORKLOAD):
            return

        async def call() -> str:
            gateway = self._app.gateway
            await (gateway.start_workload() if act == "start" else gateway.stop_workload())
            return "workload started" if act == "start" else "workload stopped"

        self.perform(f"{act} the workload", "", call)

    def member(self, act: str, group: str) -> None:
        """A consumer of the workload more or less, which makes its group rebalance."""
        if self.refused(Need.WORKLOAD):
            return

        async def call() -> str:
            gateway = self._app.gateway
            await (gateway.add_member(group) if act == "add" else gateway.remove_member(group))
            return f"a member {'joins' if act == 'add' else 'leaves'} {group}"

        command = (
            f"kafka-console-consumer.sh --bootstrap-server {self._bootstrap.split(',')[0]} --group {group} …"
            if act == "add"
            else ""
        )
        self.perform(f"{act} a member of {group}", command, call)


def _check_topic(values: dict[str, str]) -> str:
    import re

    name = values["name"].strip()
    if not re.fullmatch(r"[a-zA-Z0-9._-]{1,249}", name) or name in (".", ".."):
        return "a name has 1 to 249 letters, digits, '.', '_' and '-'"
    for field, label in (("partitions", "partitions"), ("replication", "replication")):
        word = values[field].strip()
        if word and not typed_number(word):
            return f"{label} is a whole number above 0, or empty"
    try:
        typed_pairs(values["configs"])
    except ValueError as error:
        return f"configs: {error}"
    return ""

"""Acts on workers of applications over streams."""

from __future__ import annotations

from console.acts import Need, process_command
from console.acts_part import ActsPart
from console.viewmodel import text
from console.viewmodel.streams_workers import WorkerRow


class StreamsActs(ActsPart):
    """Part of :class:`console.actions.Acts`."""

    def kill(self, row: WorkerRow) -> None:
        """SIGKILL of a worker on this machine; always asked first: it is a user's own program."""
        if self._acts.refused(Need.WRITE):
            return
        worker = row.told
        if worker is None or worker.no_kill:
            self._app.flash(row.problem if worker is None else worker.no_kill, "under_replicated")
            return
        who = f"worker {row.name}"
        command = process_command("kill", {0: worker.pid})
        active = sum(each.role == "active" for each in worker.tasks)

        async def call() -> str:
            await self._app.gateway.streams.kill(worker)
            return f"{who} killed"

        self._acts.asking(
            "kill_worker",
            f"Kill {who}, process {worker.pid}?",
            f"Its {text.plural(active, 'task')} move to the other workers once the group has given it up "
            "(streams.session.timeout.ms). `kconsole streams run` starts it again.",
            command,
            "Kill",
            lambda: self._acts.perform(f"kill {who}", command, call, doing=f"killing {who}"),
        )

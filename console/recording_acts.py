"""Keeps the record while the console is open: begins it, feeds it, says when it cannot be kept."""

from __future__ import annotations

import asyncio
import os
import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

from console.gateway.protocol import Capabilities, Gateway, GatewayError
from console.gateway.recorded import RecordedAnswers, RecordedGateway
from console.recorded_questions import ask_steadily
from console.recording.bundle import Extras, extras_of, write_bundle
from console.recording.options import Recording, path_in, path_of_attached
from console.recording.recorder import Command, Recorder
from console.recording.store import RecordError, RecordTaken
from console.viewmodel.text import date_time, size
from engine.supervisor.snapshot import ClusterEvent, ClusterSnapshot, Source

if TYPE_CHECKING:
    from console.acts import ActLogEntry
    from console.app import KConsole

_TAKEN_AGAIN_MS = 5_000


class Recordings:
    """The recorder of a console, if there is one."""

    def __init__(self, app: KConsole, gateway: Gateway, recording: Recording) -> None:
        self._app = app
        self._gateway = gateway
        # As it was asked for.
        self.recording = recording
        self.recorder: Recorder | None = None
        self._told = ""
        self._servers = ""
        self._try_again_at_ms: float | None = None

    @property
    def path(self) -> str | None:
        """Of the record that is written, or that another console writes."""
        return self.recorder.path if self.recorder is not None else self.recording.path

    @property
    def problem(self) -> str:
        """Why nothing is recorded though it should be."""
        return self.recorder.problem if self.recorder is not None else ""

    def begin(self) -> None:
        """As the command line said."""
        if self.recording.path is not None:
            self.start(self.recording.path, is_asked=False)

    def start(self, path: str | None = None, *, is_asked: bool = True) -> bool:
        """Begin to record; says why if that cannot be. Returns whether it is recorded now.

        A cluster that another console records is as well recorded; when that one is closed, this one goes on.
        """
        capabilities: Capabilities = self._gateway.capabilities
        if path is None:
            path = self.recording.path or path_of_attached(capabilities.bootstrap_servers)
        about = {"source": capabilities.source.value, "bootstrap_servers": capabilities.bootstrap_servers}
        recorder = Recorder(path, self.recording.limits, about=about)
        try:
            recorder.start()
        except RecordError as error:
            waits = isinstance(error, RecordTaken) and not is_asked
            self._try_again_at_ms = self._app.monotonic_ms() + _TAKEN_AGAIN_MS if waits else None
            if not waits:
                self._app.flash(str(error), "under_replicated", 12)
            return False
        self._try_again_at_ms = None
        self.recorder = recorder
        self._servers = about["bootstrap_servers"]
        self._app.travel.record_answers(RecordedAnswers(self._gateway, recorder.document))
        travel = self._app.travel
        asking = ask_steadily(self._gateway, recorder, lambda: travel.present, lambda: self.recorder is recorder)
        self._app.run_worker(asking, group="recording", exclusive=True, exit_on_error=False)
        if recorder.remark:
            self._app.flash(recorder.remark, "under_replicated", 12)
        return True

    def stop(self) -> None:
        """Write what waits, and end."""
        recorder, self.recorder = self.recorder, None
        self._try_again_at_ms = None
        if recorder is not None:
            recorder.close()

    # -- what comes -----------------------------------------------------------------------------------------------

    def picture(self, snapshot: ClusterSnapshot) -> None:
        """One that the cluster gave now."""
        if self._try_again_at_ms is not None and self._app.monotonic_ms() >= self._try_again_at_ms:
            self.start(self.recording.path, is_asked=False)
        if self.recorder is not None:
            servers = self._gateway.capabilities.bootstrap_servers
            if servers != self._servers:
                # An embedded cluster is asked for them first.
                self._servers = servers
                self.recorder.about(bootstrap_servers=servers)
            self.recorder.picture(snapshot)
            self._tell()

    def events(self, events: Sequence[ClusterEvent]) -> None:
        """What happened now."""
        if self.recorder is not None:
            self.recorder.events(events)

    def command(self, entry: ActLogEntry) -> None:
        """What was done here, before and after its outcome is known."""
        if self.recorder is not None:
            self.recorder.command(Command(*entry))

    def bundle(self, file: str, first_ms: int, last_ms: int, past: RecordedGateway | None) -> None:
        """Export a stretch of the record, whichever is looked at."""
        source = past.record.path if past is not None else self.path
        if source is None:
            self._app.flash("nothing is recorded here: :record begins", "under_replicated")
            return
        # The record of an embedded cluster is in its data directory; others have nothing beside them.
        data_dir = os.path.dirname(os.path.dirname(source))
        own = source == path_in(data_dir) and os.path.exists(os.path.join(data_dir, "cluster.yaml"))
        begins, ends = (date_time(each)[:19] for each in (first_ms, last_ms + 999))
        which = f"--data-dir {shlex.quote(data_dir)}" if own else f"--record {shlex.quote(source)}"
        command = f"kconsole bundle {shlex.quote(file)} --from '{begins}' --until '{ends}' {which}"

        async def act() -> str:
            if self.recorder is not None:
                await asyncio.to_thread(self.recorder.flush, 5.0)
            try:
                extras = await asyncio.to_thread(extras_of, data_dir) if own else Extras()
                done = await asyncio.to_thread(
                    write_bundle, source, file, first_ms, last_ms, extras, self._app.present_ms()
                )
            except RecordError as error:
                raise GatewayError(str(error)) from error
            return f"{done.path}: {size(done.bytes)}, kconsole replay opens it"

        self._app.acts.perform(f"bundle {os.path.basename(file)}", command, act, doing="exporting")

    def _tell(self) -> None:
        assert self.recorder is not None
        problem = self.recorder.problem
        if problem != self._told:
            self._told = problem
            self._app.flash(problem or "recording goes on", "offline" if problem else "in_sync", 12)

    def badge(self, *, short: bool) -> str:
        """What the header says in the present: an attached cluster is recorded by samples alone."""
        if self.recorder is None:
            return ""
        if self.problem:
            return "✗rec" if short else "✗ not recorded"
        if self._gateway.capabilities.source is Source.ATTACHED:
            return "rec" if short else f"● recorded, sampled each {self.recorder.limits.interval_ms / 1000:g} s"
        return ""

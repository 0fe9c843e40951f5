"""Alert rules in the console: what fires or is resolved becomes an event, is said below, and rings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from console.gateway import EventBatch
from console.notifying import Notifier
from console.viewmodel.alerts import Alerts, Change, change_document
from engine.supervisor.snapshot import ClusterEvent, ClusterSnapshot

if TYPE_CHECKING:
    from console.alert_rules import AlertFile
    from console.app import KConsole

_INTERVAL_MS = 1_000
_LEAVING_S = 2.0


class Alerting:
    """Looks at every picture, also while the screen is frozen: who looks at the past wants to hear of now."""

    def __init__(self, app: KConsole, file: AlertFile) -> None:
        self._app = app
        self._file = file
        self._alerts = Alerts(file.rules)
        self._notifier = Notifier(file, lambda said: app.flash(said, "under_replicated", 12))
        self._snapshot: ClusterSnapshot | None = None
        self._looked_at_ms: float | None = None
        self._told = 0

    def anew(self) -> Alerting:
        """The same rules over another cluster; what was not posted yet has a moment left."""
        self._app.run_worker(self.close(), group="alerts", exit_on_error=False)
        return Alerting(self._app, self._file)

    def see(self, snapshot: ClusterSnapshot) -> None:
        """A new picture."""
        self._snapshot = snapshot

    def tick(self) -> None:
        """Once a second is enough, however often it is called."""
        now_ms = self._app.monotonic_ms()
        if self._looked_at_ms is not None and now_ms - self._looked_at_ms < _INTERVAL_MS:
            return
        self._looked_at_ms = now_ms
        for change in self._alerts.evaluate(self._snapshot, self._app.present_ms(), now_ms):
            self._tell(change)

    def _tell(self, change: Change) -> None:
        self._told += 1
        kind = "alert_fired" if change.fired else "alert_resolved"
        detail = {"alert_id": change.alert_id, "value": change.value, "over": change.rule.over}
        event = ClusterEvent(
            self._told, change.at_ms, kind, change.subject, f"{change.rule.name}: {change.said}", "alerts", detail
        )
        self._app.hear(EventBatch([event]))
        self._app.flash(event.reason, "offline" if change.fired else "in_sync", 12)
        if change.fired and self._file.bell:
            self._app.bell()
        self._notifier.tell(change_document(change, self._snapshot.cluster_id if self._snapshot is not None else ""))

    async def close(self) -> None:
        """What was not posted yet has a moment left."""
        await self._notifier.close(_LEAVING_S)

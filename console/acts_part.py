"""What each part of the acts has: the console, and the acts as a whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from console.actions import Acts
    from console.app import KConsole


class ActsPart:
    """Part of :class:`console.actions.Acts`: acts of one kind."""

    def __init__(self, app: KConsole, acts: Acts) -> None:
        self._app = app
        self._acts = acts

    @property
    def _bootstrap(self) -> str:
        """For the commands of Kafka's tools that do the same."""
        return self._app.gateway.capabilities.bootstrap_servers

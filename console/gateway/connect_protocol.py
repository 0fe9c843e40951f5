"""What the console asks workers of Kafka Connect, kconsole's or Java's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from console.viewmodel.keeping import Told


class ConnectQuestions(Protocol):
    """Each group of workers is asked with a time-out of its own, so that one that hangs takes nothing from another.
    All methods raise GatewayError."""

    async def connectors(self) -> Told:
        """Rows of connectors by their group; raises only where no worker at all is known."""

    async def tasks(self, group: str, name: str) -> Told:
        """A connector's tasks, as rows of the one source ``""``; first its ConnectorRow."""

    async def offsets(self, group: str, name: str) -> Told:
        """Rows of its offsets, of the one source ``""``."""

    async def ask(
        self, group: str, method: str, path: Sequence[str], body: Any = None, query: Mapping[str, str] | None = None
    ) -> Any:
        """Anything else; what changes something is refused when read-only."""

    async def groups(self) -> Sequence[str]:
        """Groups whose workers are known."""

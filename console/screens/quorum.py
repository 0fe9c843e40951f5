"""The metadata quorum."""

from __future__ import annotations

from collections.abc import Sequence

from console.screens.base import View, view_bindings
from console.viewmodel import text
from console.viewmodel.quorum import QUORUM_COLUMNS, QuorumRow, majority_words, quorum_rows
from console.viewmodel.zookeeper import elsewhere_words
from engine.supervisor.snapshot import ClusterSnapshot


class QuorumView(View):
    """One row a voter or observer."""

    NAME = "quorum"
    COLUMNS = QUORUM_COLUMNS
    EMPTY = "this cluster does not describe its quorum"
    BINDINGS = view_bindings("quorum")

    def rows(self, snapshot: ClusterSnapshot) -> Sequence[QuorumRow]:
        return quorum_rows(snapshot)

    def refresh_rows(self) -> None:
        picture = self.console.picture()
        self.table.empty = (picture and elsewhere_words(picture)) or self.EMPTY
        super().refresh_rows()

    def scope_word(self) -> str:
        picture = self.console.picture()
        return "none" if picture is not None and elsewhere_words(picture) else "__cluster_metadata"

    def remark(self) -> str:
        picture = self.console.picture()
        quorum = picture.quorum if picture is not None else None
        if picture is None or quorum is None:
            return ""
        words = [
            majority_words(picture),
            f"epoch {quorum.leader_epoch}",
            f"high watermark {text.count(quorum.high_watermark)}",
        ]
        return " · ".join(word for word in words if word)

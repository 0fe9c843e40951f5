"""The metadata quorum as rows."""

from __future__ import annotations

from dataclasses import dataclass

from console.viewmodel import text
from console.viewmodel.cells import UNKNOWN, Cell, Column, cell
from engine.supervisor.snapshot import ClusterSnapshot, QuorumVoter


@dataclass(frozen=True, slots=True)
class QuorumRow:
    """One node of the quorum."""

    voter: QuorumVoter
    is_leader: bool
    now_ms: int
    age_ms: float

    @property
    def key(self) -> str:
        """The node's id."""
        return str(self.voter.node_id)

    @property
    def is_healthy(self) -> bool:
        """Not behind."""
        return not self.voter.lag


def quorum_rows(snapshot: ClusterSnapshot) -> list[QuorumRow]:
    """Voters first."""
    quorum = snapshot.quorum
    if quorum is None:
        return []
    age = text.age_ms(snapshot.at_ms, quorum.observed_at_ms)
    return [
        QuorumRow(node, node.node_id == quorum.leader_id, snapshot.at_ms, age)
        for node in sorted(quorum.nodes, key=lambda node: (not node.is_voter, node.node_id))
    ]


def _role(row: QuorumRow) -> Cell:
    if row.is_leader:
        return cell("★ leader", "controller")
    return cell("voter" if row.voter.is_voter else "observer", "follower" if row.voter.is_voter else "muted")


def _ago(at_ms: int | None, row: QuorumRow) -> Cell:
    if row.is_leader:
        return cell("itself", "muted")
    return UNKNOWN if at_ms is None or at_ms < 0 else cell(f"{text.age(row.now_ms - at_ms)}", "muted")


QUORUM_COLUMNS: tuple[Column, ...] = (
    Column("node", "NODE", lambda row: cell(row.voter.node_id), 5, lambda row: row.voter.node_id, right=True),
    Column("role", "ROLE", _role, 10, lambda row: not row.is_leader, flashes=True),
    Column(
        "end",
        "LOG END",
        lambda row: cell(text.count(row.voter.log_end_offset)),
        12,
        lambda row: row.voter.log_end_offset,
        right=True,
    ),
    Column(
        "lag",
        "LAG",
        lambda row: (
            UNKNOWN
            if row.voter.lag is None
            else cell(text.count(row.voter.lag), "in_sync" if not row.voter.lag else "under_replicated")
        ),
        8,
        lambda row: row.voter.lag or 0,
        right=True,
    ),
    Column("fetch", "LAST FETCH", lambda row: _ago(row.voter.last_fetch_at_ms, row), 10, right=True),
    Column("caught-up", "CAUGHT UP", lambda row: _ago(row.voter.last_caught_up_at_ms, row), 10, right=True),
)

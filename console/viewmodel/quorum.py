"""The metadata quorum as rows."""

from __future__ import annotations

from dataclasses import dataclass

from console.viewmodel import text
from console.viewmodel.brokers import broker_state
from console.viewmodel.cells import UNKNOWN, Cell, Column, cell
from console.viewmodel.health import leaderless_since_ms, silent_brokers
from engine.supervisor.snapshot import BrokerState, ClusterSnapshot, QuorumVoter


@dataclass(frozen=True, slots=True)
class QuorumRow:
    """One node of the quorum."""

    voter: QuorumVoter
    is_leader: bool
    now_ms: int
    age_ms: float
    broker: BrokerState | None = None
    leads_still: bool = True

    @property
    def key(self) -> str:
        """The node's id."""
        return str(self.voter.node_id)

    @property
    def is_healthy(self) -> bool:
        """It answers, and is not behind."""
        answers = self.broker is None or broker_state(self.broker)[1] == "in_sync"
        return answers and (self.is_leader or self.voter.lag == 0)


def quorum_rows(snapshot: ClusterSnapshot) -> list[QuorumRow]:
    """Voters first."""
    quorum = snapshot.quorum
    if quorum is None:
        return []
    age = text.age_ms(snapshot.at_ms, quorum.observed_at_ms)
    brokers = {broker.broker_id: broker for broker in snapshot.brokers}
    leads_still = not leaderless_since_ms(snapshot)
    return [
        QuorumRow(node, node.node_id == quorum.leader_id, snapshot.at_ms, age, brokers.get(node.node_id), leads_still)
        for node in sorted(quorum.nodes, key=lambda node: (not node.is_voter, node.node_id))
    ]


def majority_words(snapshot: ClusterSnapshot) -> str:
    """How many voters answer, and how many more may fail. Empty where not all voters are brokers that are asked."""
    known = {broker.broker_id for broker in snapshot.brokers}
    voters = [node.node_id for node in snapshot.quorum.nodes if node.is_voter] if snapshot.quorum is not None else []
    if not voters or not known.issuperset(voters):
        return ""
    silent = silent_brokers(snapshot)
    up = sum(voter not in silent for voter in voters)
    spare = up - (len(voters) // 2 + 1)
    outlook = "no majority" if spare < 0 else "none may fail" if spare == 0 else f"{spare} may fail"
    return f"{up} of {len(voters)} voters answer, {outlook}"


def _state(row: QuorumRow) -> Cell:
    if row.broker is None:
        return UNKNOWN
    word, tone, glyph = broker_state(row.broker)
    return cell(f"{glyph} {word}", tone)


def _role(row: QuorumRow) -> Cell:
    if row.is_leader:
        down = row.broker is not None and broker_state(row.broker)[1] == "offline"
        return cell("led", "muted") if down or not row.leads_still else cell("★ leader", "controller")
    return cell("voter" if row.voter.is_voter else "observer", "follower" if row.voter.is_voter else "muted")


def _ago(at_ms: int | None, row: QuorumRow) -> Cell:
    if row.is_leader:
        return cell("itself", "muted")
    return UNKNOWN if at_ms is None or at_ms < 0 else cell(f"{text.age(row.now_ms - at_ms)}", "muted")


QUORUM_COLUMNS: tuple[Column, ...] = (
    Column("node", "NODE", lambda row: cell(row.voter.node_id), 5, lambda row: row.voter.node_id, right=True),
    Column("state", "STATE", _state, 12, lambda row: row.is_healthy, flashes=True),
    Column("role", "ROLE", _role, 8, lambda row: not row.is_leader, flashes=True),
    Column(
        "end",
        "LOG END",
        lambda row: UNKNOWN if row.voter.log_end_offset < 0 else cell(text.count(row.voter.log_end_offset)),
        10,
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
        6,
        lambda row: row.voter.lag or 0,
        right=True,
    ),
    Column("fetch", "LAST FETCH", lambda row: _ago(row.voter.last_fetch_at_ms, row), 10, right=True),
    Column("caught-up", "CAUGHT UP", lambda row: _ago(row.voter.last_caught_up_at_ms, row), 9, right=True),
    Column(
        "address",
        "ADDRESS",
        lambda row: UNKNOWN if row.broker is None else cell(f"{row.broker.host}:{row.broker.port}", "muted"),
        15,
        priority=1,
        max_width=28,
    ),
)

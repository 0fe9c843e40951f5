"""The machine of the metadata quorum: one class made of four layers.

- :class:`~engine.core.raft.node.RaftNode`: state, transitions, requests that are due.
- :class:`~engine.core.raft.elections.Elections`: who leads.
- :class:`~engine.core.raft.replication.Replication`: what is in the log and how far it is committed.
- :class:`~engine.core.raft.reconfiguration.Reconfiguration`: voters come, go and move (KIP-853).

Inputs are ``start``, ``on_<event>(…, now_ms)`` and ``propose``; each returns one ``Effects`` (or has one) that the
shell performs in order. Read off the machine after each input: ``leader_and_epoch``, ``high_watermark``,
``next_deadline_ms()``.

Promises (docs/promises.md): K1 one leader an epoch, K2 epochs never go back, K3 nor does the high watermark, K4 it is
what a majority fsynced, K5 committed records never change, K6 a log starts at 0 or at a snapshot, K7 a leader never
loads one, K8 one vote an epoch, persisted before it is told; all of it while voters change.
"""

from __future__ import annotations

from engine.core.raft.reconfiguration import Reconfiguration
from engine.core.raft.replication import CommittedRecordsLost, Proposed


class RaftMachine(Reconfiguration):
    """One replica (voter or observer) of the metadata quorum."""


__all__ = ["CommittedRecordsLost", "Proposed", "RaftMachine"]

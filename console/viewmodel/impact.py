"""What the loss of a broker does, from metadata alone: so it is told for any cluster, before it is done."""

from __future__ import annotations

from console.viewmodel.text import plural
from engine.supervisor.snapshot import ClusterSnapshot


def impact_of_losing(snapshot: ClusterSnapshot, broker_id: int) -> str:
    """One sentence; empty when nothing depends on the broker."""
    elected = leaderless = below = 0
    for topic in snapshot.topics:
        for partition in topic.partitions:
            if broker_id not in partition.isr:
                continue
            left = [each for each in partition.isr if each != broker_id]
            if not left:
                leaderless += 1
            elif partition.leader == broker_id:
                elected += 1
            minimum = topic.min_insync_replicas
            if left and minimum is not None and len(left) < minimum:
                below += 1
    parts = []
    if elected:
        parts.append(f"{plural(elected, 'partition')} elect{'s' if elected == 1 else ''} another leader")
    if below:
        parts.append(f"{below} fall{'s' if below == 1 else ''} below min.insync.replicas")
    if leaderless:
        parts.append(f"{leaderless} go{'es' if leaderless == 1 else ''} leaderless")
    groups = [group.group_id for group in snapshot.groups if group.coordinator == broker_id]
    if groups:
        parts.append(f"{plural(len(groups), 'group')} find{'s' if len(groups) == 1 else ''} another coordinator")
    if snapshot.controller_id == broker_id:
        parts.append("the quorum elects another controller")
    sentence = "; ".join(parts)
    return sentence[:1].upper() + sentence[1:] + "." if sentence else ""

"""Facts for people about changes of partitions, with the numbers of before and after."""

from __future__ import annotations

from collections.abc import Sequence

from engine.core.controller.topic_image import NO_LEADER, NO_LEADER_CHANGE, PartitionImage
from engine.model.notes import Note, NoteKind
from engine.wire.messages.partition_change_record import PartitionChangeRecord


def partition_notes(
    topic: str, number: int, before: PartitionImage, record: PartitionChangeRecord, cause: str
) -> list[Note]:
    """What a change of a partition means; ``cause`` is a clause such as ``broker 2 fenced: …``."""
    after = before.merge(record)
    subject = f"{topic}-{number}"
    notes = []
    if after.leader != before.leader or (record.leader != NO_LEADER_CHANGE and record.replicas is None):
        unclean = after.leader != NO_LEADER and after.leader not in before.isr and after.leader not in before.elr
        notes.append(
            Note(
                NoteKind.LEADER_CHANGED,
                subject,
                f"leader {_leader(before.leader)}→{_leader(after.leader)}, "
                f"epoch {before.leader_epoch}→{after.leader_epoch}: {cause}{' (unclean election)' if unclean else ''}",
                {
                    "topic": topic,
                    "partition": number,
                    "from": before.leader,
                    "to": after.leader,
                    "leader_epoch": after.leader_epoch,
                    "partition_epoch": after.partition_epoch,
                    "isr": list(after.isr),
                    "unclean": unclean,
                },
            )
        )
    if set(after.isr) != set(before.isr):
        removed = [each for each in before.isr if each not in after.isr]
        added = [each for each in after.isr if each not in before.isr]
        notes.append(
            Note(
                NoteKind.ISR_SHRUNK if removed else NoteKind.ISR_EXPANDED,
                subject,
                f"ISR {_ids(before.isr)}→{_ids(after.isr)}, "
                f"partition epoch {before.partition_epoch}→{after.partition_epoch}: {cause}",
                {
                    "topic": topic,
                    "partition": number,
                    "from": list(before.isr),
                    "to": list(after.isr),
                    "added": added,
                    "removed": removed,
                    "leader": after.leader,
                    "partition_epoch": after.partition_epoch,
                },
            )
        )
    if after.replicas != before.replicas:
        notes.append(
            Note(
                NoteKind.REPLICAS_CHANGED,
                subject,
                f"replicas {_ids(before.replicas)}→{_ids(after.replicas)}: {cause}",
                {
                    "topic": topic,
                    "partition": number,
                    "from": list(before.replicas),
                    "to": list(after.replicas),
                    "adding": list(after.adding_replicas),
                    "removing": list(after.removing_replicas),
                },
            )
        )
    return notes


def _leader(broker_id: int) -> str:
    return "none" if broker_id == NO_LEADER else str(broker_id)


def _ids(broker_ids: Sequence[int]) -> str:
    return "[" + ",".join(map(str, broker_ids)) + "]"

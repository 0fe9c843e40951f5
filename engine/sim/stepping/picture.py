"""The cluster as it is at this moment, read from the brokers' insides: asking them would change the run.

Plain data, ready for JSON. What nobody can know (the log of a broker that is down) is ``None``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engine.core.raft.leader import Leader as QuorumLeader
from engine.model.ids import uuid_to_str
from engine.sim.cluster import CLIENT_PORT, Machine, SimCluster

if TYPE_CHECKING:
    from engine.broker.broker import Broker
    from engine.core.controller.image import MetadataImage

_INTERNAL = frozenset({"__consumer_offsets", "__transaction_state", "__share_group_state"})
Picture = dict[str, Any]


def take_picture(cluster: SimCluster) -> Picture:
    """All of it."""
    machines = list(cluster.machines.values())
    image = _newest_image(machines)
    return {
        "cluster_id": cluster.cluster_id,
        "min_insync_replicas": cluster.min_insync_replicas,
        "brokers": [_broker(cluster, machine, image) for machine in machines],
        "cuts": _cuts(cluster),
        "topics": [] if image is None else _topics(machines, image),
        "configs": [] if image is None else [[kind, name, values] for (kind, name), values in image.configs.items()],
        "groups": [group for machine in machines for group in _groups(machine)],
        "metadata_offset": -1 if image is None else image.offset,
    }


def topic_name(cluster: SimCluster, topic_id: bytes) -> str:
    """A topic by its id, from whoever knows it."""
    if topic_id == bytes(15) + b"\x01":
        return "__cluster_metadata"
    for machine in cluster.machines.values():
        if machine.broker is not None:
            topic = machine.broker.metadata.image.topics_by_id.get(topic_id)
            if topic is not None:
                return topic.name
    return uuid_to_str(topic_id)


def right_clock_ms(cluster: SimCluster) -> int:
    """Wall time by a clock that is right."""
    return cluster.clients_clock.now_ms()


def _cuts(cluster: SimCluster) -> list[list[int]]:
    """Directions between brokers that deliver nothing; clients are cut off as well, and are not in the picture."""
    ids = {machine.name: machine.node_id for machine in cluster.machines.values()}
    return [[ids[source], ids[target]] for source, target in cluster.fabric.cuts if source in ids and target in ids]


def _newest_image(machines: list[Machine]) -> MetadataImage | None:
    images = [machine.broker.metadata.image for machine in machines if machine.broker is not None]
    found = max(images, key=lambda each: each.offset, default=None)
    return found if found is not None and found.offset >= 0 else None


def _state(cluster: SimCluster, machine: Machine) -> str:
    if machine.name in cluster.fabric.dark_machines:
        return "no power"
    if machine.process is None:
        return "down"
    if machine.process.is_paused:
        return "paused"
    return "running" if machine.serves else "starting"


def _broker(cluster: SimCluster, machine: Machine, image: MetadataImage | None) -> Picture:
    disk = machine.disk
    right_ms = right_clock_ms(cluster)
    ails = [f"disk fails to {each}" for each in sorted(disk.failing)]
    if disk.room_bytes is not None:
        ails.append(f"disk has {disk.room_bytes} bytes left")
    if disk.delay_s[1] > 0.01:
        ails.append(f"disk takes up to {disk.delay_s[1]:g} s")
    wrong_ms = machine.clock.now_ms() - right_ms
    if abs(wrong_ms) > 1:
        ails.append(f"clock is wrong by {wrong_ms / 1000:+g} s")
    if disk._stuck is not None:
        ails.append("disk hangs")
    registered = None if image is None else image.brokers.get(machine.node_id)
    return {
        "id": machine.node_id,
        "state": _state(cluster, machine),
        "lives": machine.lives,
        "exit": machine.exit or "",
        "ails": ails,
        "clock_ms": machine.clock.now_ms(),
        "host": machine.name,
        "port": CLIENT_PORT,
        "rack": None if registered is None else registered.rack,
        "fenced": None if registered is None else registered.fenced,
        "log_bytes": _log_bytes(machine.broker),
        **_quorum(machine.broker, cluster.loop.time() * 1000),
    }


def _quorum(broker: Broker | None, now_ms: float) -> Picture:
    host = getattr(broker, "quorum", None)
    if host is None or host._machine is None or host._machine._state is None:
        return {"role": None}
    machine = host.machine
    state = machine.state
    found: Picture = {
        "role": type(state).__name__.lower(),
        "epoch": machine.epoch,
        "leader": machine.leader_id,
        "log_end": machine.log.end_offset,
        "high_watermark": machine.high_watermark,
        "is_controller": broker is not None and broker.controller is not None and broker.controller.is_active,
        "metadata_offset": -1 if broker is None else broker.metadata.image.offset,
    }
    if isinstance(state, QuorumLeader):
        found["followers"] = [
            [node_id, each.end_offset, _ago(each.last_fetch_ms, now_ms), _ago(each.last_caught_up_ms, now_ms)]
            for node_id, each in sorted(state.progress.items())
        ]
    return found


def _ago(at_ms: float | None, now_ms: float) -> int | None:
    return None if at_ms is None else int(now_ms - at_ms)


def _log_bytes(broker: Broker | None) -> int | None:
    replicas = getattr(broker, "replicas", None)
    if replicas is None:
        return None
    return sum(int(each.size) for replica in replicas.replicas.values() for each in replica.log.segments)


def _topics(machines: list[Machine], image: MetadataImage) -> list[Picture]:
    topics = []
    for name in sorted(image.topics_by_name):
        topic = image.topics_by_name[name]
        partitions = []
        for number, state in sorted(topic.partitions.items()):
            replicas = []
            for machine in machines:
                if machine.node_id in state.replicas:
                    replicas.append([machine.node_id, *_replica(machine.broker, name, number, topic.topic_id)])
            partitions.append(
                {
                    "partition": number,
                    "leader": state.leader,
                    "leader_epoch": state.leader_epoch,
                    "partition_epoch": state.partition_epoch,
                    "isr": list(state.isr),
                    "elr": list(state.elr),
                    "replicas": list(state.replicas),
                    "logs": replicas,
                }
            )
        topics.append(
            {
                "name": name,
                "id": uuid_to_str(topic.topic_id),
                "is_internal": name in _INTERNAL,
                "partitions": partitions,
            }
        )
    return topics


def _replica(broker: Broker | None, topic: str, partition: int, topic_id: bytes) -> list[Any]:
    """Log start, high watermark, log end, bytes."""
    replicas = getattr(broker, "replicas", None)
    replica = None if replicas is None else replicas.get(topic, partition)
    if replica is None or replica.is_offline or replica.topic_id != topic_id:
        return [None, None, None, None]
    log = replica.log
    return [log.log_start_offset, log.high_watermark, log.log_end_offset, sum(each.size for each in log.segments)]


def _offsets(shard: Any, group_id: str) -> list[list[Any]]:
    return [
        [topic, partition, each.committed_offset]
        for topic, partition, each in sorted(shard.offsets.committed.of_group(group_id))
    ]


def _groups(machine: Machine) -> list[Picture]:
    service = getattr(machine.broker, "groups", None)
    if service is None:
        return []
    runtime = service.runtime
    found = []
    for number in runtime.active_partitions():
        shard = runtime.shard(number)
        for group_id, consumer_group in sorted(shard.consumer_groups.items()):
            members = consumer_group.members.items()
            found.append(
                {
                    "group": group_id,
                    "coordinator": machine.node_id,
                    "state": str(consumer_group.state.value),
                    "type": "consumer",
                    "generation": consumer_group.group_epoch,
                    "assignment_epoch": consumer_group.assignment_epoch,
                    "protocol_type": "consumer",
                    "protocol": "",
                    "members": [
                        [each, member.instance_id, member.client_id, member.client_host] for each, member in members
                    ],
                    "offsets": _offsets(shard, group_id),
                }
            )
        for group_id in sorted(shard.groups):
            group = shard.groups[group_id]
            found.append(
                {
                    "group": group_id,
                    "coordinator": machine.node_id,
                    "state": str(group.state.value),
                    "type": "classic",
                    "generation": group.generation_id,
                    "protocol_type": group.protocol_type or "",
                    "protocol": group.protocol_name or "",
                    "members": [
                        [member_id, member.group_instance_id, member.client_id, member.client_host]
                        for member_id, member in group.members.items()
                    ],
                    "offsets": _offsets(shard, group_id),
                }
            )
    return found

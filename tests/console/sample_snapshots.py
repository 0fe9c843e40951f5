"""A cluster of three brokers as a console sees it: well, with a broker killed, and that one back."""

from __future__ import annotations

from dataclasses import replace

from engine.supervisor.snapshot import (
    Act,
    BrokerState,
    ClusterSnapshot,
    GroupOffset,
    GroupState,
    Ledger,
    MemberState,
    PartitionState,
    ProcessFacts,
    ProcessState,
    QuorumState,
    QuorumVoter,
    ReplicaState,
    Source,
    Stage,
    StageTime,
    StreamsTasks,
    StreamsTopology,
    Subtopology,
    TopicState,
    WorkloadMember,
    WorkloadState,
)

START_MS = 1_795_521_600_000


def _partition(topic: str, number: int, at_ms: int, base: int) -> PartitionState:
    replicas = tuple((number + step) % 3 + 1 for step in range(3))
    end = base + number * 137
    return PartitionState(
        topic,
        number,
        replicas[0],
        4,
        replicas,
        replicas,
        log_start_offset=0,
        high_watermark=end,
        replica_states=tuple(
            ReplicaState(each, end + (2 if each == replicas[0] else 0), end * 180, True, at_ms, 0, end)
            for each in replicas
        ),
        size_bytes=end * 180,
        messages_in_per_s=3.4,
        observed_at_ms=at_ms,
    )


def _topic(name: str, partitions: int, at_ms: int, base: int, *, internal: bool = False, **configs: str) -> TopicState:
    return TopicState(
        name,
        f"id-{name}",
        internal,
        tuple(_partition(name, number, at_ms, base) for number in range(partitions)),
        2,
        {key.replace("_", "."): value for key, value in configs.items()},
    )


def _group(name: str, topic: TopicState, members: int, at_ms: int, lag: int, epoch: int | None = None) -> GroupState:
    """A classic group, or with an epoch a consumer group."""
    ids = [f"{name}-{at + 1}-0c1d2e3f-aaaa-bbbb-cccc-0123456789ab" for at in range(members)]
    owned: dict[str, list[int]] = {member: [] for member in ids}
    offsets = []
    for partition in topic.partitions:
        owner = ids[partition.partition % members]
        owned[owner].append(partition.partition)
        end = partition.high_watermark or 0
        offsets.append(GroupOffset(topic.name, partition.partition, end - lag, end, lag, owner))
    return GroupState(
        name,
        "Stable",
        "consumer",
        "range" if epoch is None else "uniform",
        "classic" if epoch is None else "consumer",
        coordinator=2,
        members=tuple(
            MemberState(
                member,
                None,
                f"{name}-{at + 1}",
                "/127.0.0.1",
                ((topic.name, tuple(owned[member])),),
                epoch,
                None if epoch is None else ((topic.name, tuple(owned[member])),),
                "" if epoch is None else "consumer",
            )
            for at, member in enumerate(ids)
        ),
        offsets=tuple(offsets),
        total_lag=lag * len(topic.partitions),
        observed_at_ms=at_ms,
        group_epoch=epoch,
        assignment_epoch=epoch,
    )


def sample_cluster(at_ms: int = START_MS, source: Source = Source.EMBEDDED) -> ClusterSnapshot:
    """Three brokers, five topics, two groups, a workload: all well."""
    topics = (
        _topic("clicks", 3, at_ms, 120_345, retention_ms="3600000"),
        _topic("customers", 3, at_ms, 8_120, cleanup_policy="compact"),
        _topic("orders", 6, at_ms, 80_002, compression_type="producer"),
        _topic("payments", 3, at_ms, 20_771),
        _topic("__consumer_offsets", 10, at_ms, 3_310, internal=True, cleanup_policy="compact"),
    )
    embedded = source is Source.EMBEDDED
    brokers = tuple(
        BrokerState(
            number,
            "127.0.0.1",
            9091 + number,
            f"rack-{'abc'[number - 1]}",
            reachable=True,
            fenced=False,
            is_controller=number == 2,
            observed_at_ms=at_ms,
            leaders=sum(each.leader == number for topic in topics for each in topic.partitions),
            replicas=25,
            in_sync=25,
            log_bytes=31_400_000 + number * 1_000_000,
            bytes_in_per_s=10_400.0 + number * 310,
            bytes_out_per_s=22_900.0 + number * 450,
            messages_in_per_s=19.0,
            process=ProcessFacts(
                number,
                ProcessState.RUNNING,
                41_000 + number,
                at_ms - 3_600_000,
                1,
                cpu_percent=2.1 + number,
                rss_bytes=61_000_000 + number * 700_000,
                open_files=88,
                log_dir=f"/data/broker-{number}/data",
            )
            if embedded
            else None,
        )
        for number in (1, 2, 3)
    )
    return ClusterSnapshot(
        at_ms,
        source,
        "mZy7kQ3tTrS0b1nVxWcd4A",
        2,
        7,
        brokers,
        topics,
        (_group("analytics", topics[0], 2, at_ms, 140), _group("billing", topics[2], 3, at_ms, 3, epoch=4)),
        QuorumState(
            2,
            7,
            1_204,
            tuple(QuorumVoter(number, 1_205, 0, True, at_ms - 300, at_ms - 300) for number in (1, 2, 3)),
            at_ms,
        ),
        WorkloadState(
            True,
            (
                WorkloadMember(
                    "shop", "producer", "orders", True, 20.0, 80_210, latency_median_ms=2.1, latency_highest_ms=6.4
                ),
                WorkloadMember(
                    "website", "producer", "clicks", True, 30.0, 120_650, latency_median_ms=1.8, latency_highest_ms=5.2
                ),
                WorkloadMember(
                    "analytics",
                    "group",
                    "clicks",
                    True,
                    30.0,
                    120_400,
                    members=2,
                    latency_median_ms=24.0,
                    latency_highest_ms=61.0,
                ),
                WorkloadMember(
                    "billing",
                    "group",
                    "orders payments",
                    True,
                    25.0,
                    101_100,
                    members=3,
                    latency_median_ms=26.0,
                    latency_highest_ms=70.0,
                ),
            ),
        )
        if embedded
        else None,
        metadata_observed_at_ms=at_ms,
    )


def kill_in(snapshot: ClusterSnapshot, victim: int) -> ClusterSnapshot:
    """The cluster after one broker died: other leaders, smaller ISRs, higher epochs."""
    topics = []
    for topic in snapshot.topics:
        partitions = []
        for each in topic.partitions:
            isr = tuple(broker for broker in each.isr if broker != victim)
            leader = each.leader if each.leader != victim else (isr[0] if isr else -1)
            epoch = each.leader_epoch + (leader != each.leader)
            partitions.append(replace(each, isr=isr, leader=leader, leader_epoch=epoch, offline_replicas=(victim,)))
        topics.append(replace(topic, partitions=tuple(partitions)))
    brokers = []
    for broker in snapshot.brokers:
        leaders = sum(each.leader == broker.broker_id for topic in topics for each in topic.partitions)
        if broker.broker_id != victim:
            brokers.append(replace(broker, leaders=leaders))
            continue
        process = broker.process
        brokers.append(
            replace(
                broker,
                reachable=False,
                fenced=True,
                leaders=0,
                in_sync=0,
                is_controller=False,
                process=replace(
                    process,
                    state=ProcessState.KILLED,
                    pid=None,
                    cpu_percent=None,
                    rss_bytes=None,
                    why="SIGKILL, asked for",
                )
                if process
                else None,
            )
        )
    return snapshot.with_facts(topics=tuple(topics), brokers=tuple(brokers))


def revive_in(snapshot: ClusterSnapshot, broker_id: int) -> ClusterSnapshot:
    """The cluster after that broker came back and caught up."""
    whole = sample_cluster(snapshot.at_ms)
    topics = []
    for topic in snapshot.topics:
        partitions = [
            replace(each, isr=each.replicas, offline_replicas=()) if broker_id in each.replicas else each
            for each in topic.partitions
        ]
        topics.append(replace(topic, partitions=tuple(partitions)))
    brokers = tuple(
        replace(whole.brokers[at], leaders=0) if broker.broker_id == broker_id else broker
        for at, broker in enumerate(snapshot.brokers)
    )
    return snapshot.with_facts(topics=tuple(topics), brokers=brokers)


def finished_act(act_id: int, victim: int, at_ms: int) -> Act:
    """A failover as it looks when all was measured."""
    survivors = [each for each in (1, 2, 3) if each != victim]
    return Act(
        act_id,
        "kill",
        victim,
        at_ms,
        9,
        victim == 2,
        (
            StageTime(Stage.KILLED, 0.0),
            StageTime(Stage.FENCED, 88.4),
            StageTime(Stage.LEADERS_COMMITTED, 131.2, detail="9 partitions"),
            StageTime(Stage.SEEN_BY_SURVIVORS, 139.9, survivors[0]),
            StageTime(Stage.SEEN_BY_SURVIVORS, 152.3, survivors[1]),
            StageTime(Stage.FIRST_PRODUCE, 241.0),
            StageTime(Stage.FIRST_FETCH, 247.7),
        ),
        Ledger("all", 1_204, 1_204, 0, 0, 0, True),
        True,
    )


def _thread(number: int, reads: tuple[tuple[str, tuple[int, ...]], ...], tasks: StreamsTasks) -> MemberState:
    process = "22ec778a-d14b-4e42-a81f-9d60aa83b800"
    return MemberState(
        f"wSN3ogtoS6eQQ_x-1wXMV{number}",
        None,
        f"word-count-{process}-StreamThread-{number}-consumer",
        "/127.0.0.1",
        reads,
        5,
        None,
        "streams",
        tasks,
        tasks,
        process,
    )


def newer_groups(snapshot: ClusterSnapshot) -> ClusterSnapshot:
    """The cluster with a share group, whose members read together, and a streams group with a task that is moving."""
    at_ms = snapshot.at_ms
    workers = tuple(
        MemberState(
            f"Ly5I6uTOTDWteq_tB_{number}", None, "worker", "/127.0.0.1", (("payments", parts),), 3, None, "share"
        )
        for number, parts in ((1, (0, 1)), (2, (1, 2)), (3, (1,)))
    )
    pool = GroupState(
        "pool",
        "Stable",
        "share",
        "simple",
        "share",
        3,
        workers,
        (
            GroupOffset("payments", 0, 20_700, 20_771, 71, None),
            GroupOffset("payments", 1, 20_880, 20_908, 10, None),
            GroupOffset("payments", 2, None, 21_045, None, None),
        ),
        81,
        observed_at_ms=at_ms,
        group_epoch=3,
        assignment_epoch=3,
    )
    between = "word-count-counts-repartition"
    threads = (
        _thread(1, (("clicks", (0, 1)),), StreamsTasks((("0", (0, 1)),), (("1", (1,)),), ())),
        _thread(2, ((between, (0, 1)),), StreamsTasks((("1", (0, 1)),), (), (("0", (2,)),))),
    )
    count = GroupState(
        "word-count",
        "Reconciling",
        "streams",
        "",
        "streams",
        1,
        threads,
        (
            GroupOffset("clicks", 0, 120_340, 120_345, 5, threads[0].member_id),
            GroupOffset("clicks", 1, 120_482, 120_482, 0, threads[0].member_id),
            GroupOffset("clicks", 2, 120_500, 120_619, 119, None),
            GroupOffset(between, 0, 900, 907, 7, threads[1].member_id),
            GroupOffset(between, 1, 1_200, 1_200, 0, threads[1].member_id),
        ),
        131,
        observed_at_ms=at_ms,
        group_epoch=6,
        assignment_epoch=6,
        topology=StreamsTopology(
            0,
            (
                Subtopology("0", ("clicks",), (), (between,), ()),
                Subtopology("1", (), (between,), (), ("word-count-counts-changelog",)),
            ),
        ),
    )
    return snapshot.with_facts(groups=(*snapshot.groups, pool, count))

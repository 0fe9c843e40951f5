"""The metadata quorum (KRaft) as one pure machine: elections, replication, snapshots of ``__cluster_metadata``.

Start reading at :mod:`engine.core.raft.machine`. Kafka counterparts: KafkaRaftClient, QuorumState, LeaderState
(KIP-595, KIP-630, KIP-853's fields, KIP-996 pre-vote, KIP-1166 high watermark in Fetch).
"""

"""Broker configs of Kafka 4.3.1 that are honoured here or that tools expect to see, and our own.

Facts (name, type, default, valid values, update mode, importance) are those of AbstractKafkaConfig.CONFIG_DEF and
DynamicBrokerConfig; the format is that of :func:`engine.model.configs.parse_table`.
"""

TABLE = """
# identity and roles
node.id int ! 0.. read-only high
    Id of this node; no other node of the cluster has it.
broker.id int -1 * read-only high
    Older name of node.id; if both are set they are equal.
process.roles list ! broker|controller read-only high
    What this node is: broker, controller, or both.
broker.rack string - * read-only medium
    Where this broker stands; replicas of a partition spread over racks.
log.dirs list - * read-only high
    Directories that hold the partitions; null means log.dir.
log.dir list /tmp/kafka-logs * read-only high
    The directory for partitions if log.dirs is not set.
metadata.log.dir string - * read-only high
    Directory of the metadata log; null means the first of log.dirs.
cordoned.log.dirs list "" * per-broker medium
    Directories that take no new replicas.
# listeners and connections
listeners list PLAINTEXT://:9092 * per-broker high
    Addresses to listen on, NAME://host:port each.
advertised.listeners list - * read-only high
    Addresses told to clients and other brokers; null means listeners.
listener.security.protocol.map string PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL * per-broker low
    Security protocol of each listener name.
inter.broker.listener.name string - * read-only medium
    Listener on which brokers talk to each other.
security.inter.broker.protocol string PLAINTEXT PLAINTEXT|SSL|SASL_PLAINTEXT|SASL_SSL read-only medium
    Protocol between brokers when inter.broker.listener.name is not set.
controller.listener.names list ! * read-only high
    Listeners that belong to the controllers.
socket.send.buffer.bytes int 102400 * read-only high
    SO_SNDBUF of accepted sockets; -1 leaves the system's.
socket.receive.buffer.bytes int 102400 * read-only high
    SO_RCVBUF of accepted sockets; -1 leaves the system's.
socket.listen.backlog.size int 50 1.. read-only medium
    Connections that may wait to be accepted.
socket.request.max.bytes int 104857600 1.. read-only high
    A request larger than this closes its connection.
socket.connection.setup.timeout.ms long 10000 * read-only medium
    How long a connect may take at first.
socket.connection.setup.timeout.max.ms long 30000 * read-only medium
    Upper bound of the growing connect timeout.
connections.max.idle.ms long 600000 * read-only medium
    An idle connection is closed after this.
max.connections int 2147483647 0.. cluster-wide medium
    Connections a broker takes at one time.
max.connections.per.ip int 2147483647 0.. cluster-wide medium
    Connections it takes from one address.
max.connections.per.ip.overrides string "" * cluster-wide medium
    Exceptions to max.connections.per.ip, host:count each.
max.connection.creation.rate int 2147483647 0.. cluster-wide medium
    New connections a second.
connection.failed.authentication.delay.ms int 100 0.. read-only low
    How long a failed authentication waits before the close.
request.timeout.ms int 30000 * read-only high
    How long a broker waits for another one's answer.
num.network.threads int 3 1.. cluster-wide high
    Kafka's count of network threads; kept for tools, one event loop serves here.
num.io.threads int 8 1.. cluster-wide high
    Kafka's count of request threads; kept for tools, one event loop serves here.
background.threads int 10 1.. cluster-wide high
    Kafka's count of background threads; kept for tools.
queued.max.requests int 500 1.. read-only high
    Requests of data connections that may wait before reading stops.
queued.max.request.bytes long -1 * read-only medium
    Bytes that may wait before reading stops; -1 means no bound.
# metadata quorum and controller
controller.quorum.voters list "" * read-only high
    The voters, id@host:port each.
controller.quorum.bootstrap.servers list "" * read-only high
    Where to find the quorum when no voters are listed.
controller.quorum.election.timeout.ms int 1000 0.. read-only high
    A voter that hears from no leader or candidate this long starts an election.
controller.quorum.fetch.timeout.ms int 2000 0.. read-only high
    A follower without a successful fetch this long stands for election.
controller.quorum.election.backoff.max.ms int 1000 0.. read-only high
    Upper bound of the random wait after a lost election.
controller.quorum.append.linger.ms int 25 0.. read-only medium
    How long the leader gathers appends before a write.
controller.quorum.request.timeout.ms int 2000 0.. read-only medium
    How long a quorum request may take.
controller.quorum.retry.backoff.ms int 20 0.. read-only low
    Pause before a failed quorum request is tried again.
controller.quorum.fetch.max.bytes int 1048576 1.. read-only low
    Bytes of metadata log in one fetch.
controller.quorum.fetch.snapshot.max.bytes int 1048576 1.. read-only low
    Bytes of a snapshot in one fetch.
controller.socket.timeout.ms int 30000 * read-only medium
    How long a request to the controller may take.
metadata.log.segment.bytes int 1073741824 8388608.. read-only high
    Size at which a segment of the metadata log is rolled.
metadata.log.segment.ms long 604800000 * read-only high
    Age at which a segment of the metadata log is rolled.
metadata.log.max.record.bytes.between.snapshots long 20971520 1.. read-only high
    Bytes of new records that call for a snapshot.
metadata.log.max.snapshot.interval.ms long 3600000 0.. read-only high
    Longest time between snapshots while there are new records.
metadata.max.idle.interval.ms int 500 0.. read-only low
    The active controller writes a no-op record after so much silence; 0 never.
metadata.max.retention.bytes long 104857600 * read-only high
    Metadata log and snapshots beyond this are deleted.
metadata.max.retention.ms long 604800000 * read-only high
    Metadata log and snapshots older than this are deleted.
broker.heartbeat.interval.ms int 2000 * read-only medium
    How often a broker reports to the controller.
broker.session.timeout.ms int 9000 * read-only medium
    A broker not heard from for this long is fenced.
initial.broker.registration.timeout.ms int 60000 * read-only medium
    How long the first registration may take before the broker gives up.
controlled.shutdown.enable boolean true * read-only medium
    Leaders move away before a broker stops.
auto.leader.rebalance.enable boolean true * read-only high
    Preferred leaders are elected again by themselves.
leader.imbalance.check.interval.seconds long 300 1.. read-only high
    How often the controller looks for leaders that are not the preferred ones.
unclean.leader.election.enable boolean false * cluster-wide high
    An out-of-sync replica may lead when no other is left: loses records.
delete.topic.enable boolean true * read-only high
    Topics can be deleted.
# topics
auto.create.topics.enable boolean true * read-only high
    A topic that is asked for and absent is created.
num.partitions int 1 1.. read-only medium
    Partitions of a topic created without saying how many.
default.replication.factor int 1 * read-only medium
    Replicas of a topic created without saying how many.
min.insync.replicas int 1 1.. cluster-wide high
    acks=all is refused with fewer in-sync replicas than this.
max.request.partition.size.limit int 2000 1.. read-only medium
    Partitions in one DescribeTopicPartitions answer.
message.max.bytes int 1048588 0.. cluster-wide high
    The largest record batch that is taken.
compression.type string producer uncompressed|zstd|lz4|snappy|gzip|producer cluster-wide high
    Compression of what is stored; producer keeps what the producer chose.
compression.gzip.level int -1 1..9|-1 cluster-wide medium
    gzip's level when the broker compresses.
compression.lz4.level int 9 1..17 cluster-wide medium
    lz4's level when the broker compresses.
compression.zstd.level int 3 -131072..22 cluster-wide medium
    zstd's level when the broker compresses.
# log
log.segment.bytes int 1073741824 1048576.. cluster-wide high
    Size at which a segment is rolled.
log.roll.ms long - * cluster-wide high
    Age at which a segment is rolled; null means log.roll.hours.
log.roll.hours int 168 1.. read-only high
    The same in hours.
log.roll.jitter.ms long - * cluster-wide high
    Random part taken off the rolling age; null means log.roll.jitter.hours.
log.roll.jitter.hours int 0 0.. read-only high
    The same in hours.
log.retention.ms long - * cluster-wide high
    How long records stay; -1 for ever; null means log.retention.minutes.
log.retention.minutes int - * read-only high
    The same in minutes; null means log.retention.hours.
log.retention.hours int 168 * read-only high
    The same in hours.
log.retention.bytes long -1 * cluster-wide high
    Size of a partition beyond which old segments go; -1 means no bound.
log.retention.check.interval.ms long 300000 1.. read-only medium
    How often old segments are looked for.
log.segment.delete.delay.ms long 60000 0.. cluster-wide high
    How long a deleted file stays on the disk.
log.cleanup.policy list delete compact|delete cluster-wide medium
    What becomes of old segments: delete, compact, or both.
log.index.size.max.bytes int 10485760 4.. cluster-wide medium
    Largest size of an index file.
log.index.interval.bytes int 4096 0.. cluster-wide medium
    Bytes of log between two entries of the offset index.
log.flush.interval.messages long 9223372036854775807 1.. cluster-wide high
    Records after which a log is flushed to the device; 1 flushes before every ack.
log.flush.interval.ms long - * cluster-wide high
    Longest time before a flush; null means log.flush.scheduler.interval.ms.
log.flush.scheduler.interval.ms long 9223372036854775807 * read-only high
    How often logs are looked at for flushing.
log.flush.offset.checkpoint.interval.ms int 60000 0.. read-only high
    How often recovery points are written.
log.flush.start.offset.checkpoint.interval.ms int 60000 0.. read-only high
    How often log start offsets are written.
log.preallocate boolean false * cluster-wide medium
    Segment files are created at full size.
log.message.timestamp.type string CreateTime CreateTime|LogAppendTime cluster-wide medium
    Timestamp of a record: the producer's or the time of the append.
log.message.timestamp.before.max.ms long 9223372036854775807 0.. cluster-wide medium
    How far before the broker's clock a timestamp may lie.
log.message.timestamp.after.max.ms long 3600000 0.. cluster-wide medium
    How far after the broker's clock a timestamp may lie.
log.dir.failure.timeout.ms long 30000 1.. read-only low
    A broker leaves if it cannot report a failed directory this long.
num.recovery.threads.per.data.dir int 2 1.. cluster-wide high
    Logs that are recovered at one time in a directory.
log.initial.task.delay.ms long 30000 0.. read-only low
    Wait before the first run of the log's periodic work.
log.cleaner.enable boolean true * read-only medium
    Compacted topics are compacted.
log.cleaner.threads int 1 0.. cluster-wide medium
    Logs that are compacted at one time.
log.cleaner.backoff.ms long 15000 0.. cluster-wide medium
    Pause when there is nothing to compact.
log.cleaner.dedupe.buffer.size long 134217728 * cluster-wide medium
    Memory for the map from key to last offset.
log.cleaner.io.buffer.size int 524288 0.. cluster-wide medium
    Memory for reading and writing while compacting.
log.cleaner.io.buffer.load.factor double 0.9 * cluster-wide medium
    How full the map may be.
log.cleaner.io.max.bytes.per.second double 1.7976931348623157E308 * cluster-wide medium
    Bound on the compactor's reads and writes.
log.cleaner.delete.retention.ms long 86400000 0.. cluster-wide medium
    How long a tombstone stays readable.
log.cleaner.min.compaction.lag.ms long 0 0.. cluster-wide medium
    A record is not compacted before this age.
log.cleaner.max.compaction.lag.ms long 9223372036854775807 1.. cluster-wide medium
    A record is due for compaction at this age.
log.cleaner.min.cleanable.ratio double 0.5 0..1 cluster-wide medium
    Share of uncompacted bytes that makes a log due.
# replication
num.replica.fetchers int 1 1.. cluster-wide high
    Kafka's count of fetcher threads a source broker; kept for tools.
replica.fetch.max.bytes int 1048576 0.. read-only medium
    Bytes of one partition in a follower's fetch.
replica.fetch.response.max.bytes int 10485760 0.. read-only medium
    Bytes of a follower's whole fetch.
replica.fetch.min.bytes int 1 * read-only high
    Bytes for which a follower's fetch waits.
replica.fetch.wait.max.ms int 500 * read-only high
    How long a follower's fetch waits for them.
replica.fetch.backoff.ms int 1000 0.. read-only medium
    Pause after a failed fetch of a partition.
replica.lag.time.max.ms long 30000 * read-only high
    A follower not caught up for this long leaves the ISR.
replica.socket.timeout.ms int 30000 * read-only high
    How long a follower's fetch may take.
replica.socket.receive.buffer.bytes int 65536 * read-only high
    SO_RCVBUF of the followers' sockets.
replica.high.watermark.checkpoint.interval.ms long 5000 * read-only high
    How often high watermarks are written.
replica.selector.class string - * read-only medium
    Class that chooses a replica for a consumer; null means the leader.
fetch.max.bytes int 57671680 1024.. read-only medium
    Bytes of one fetch answer, whatever the client asks for.
max.incremental.fetch.session.cache.slots int 1000 0.. read-only medium
    Fetch sessions remembered.
fetch.purgatory.purge.interval.requests int 1000 * read-only medium
    Kafka's purge of waiting fetches; kept for tools.
producer.purgatory.purge.interval.requests int 1000 * read-only medium
    Kafka's purge of waiting produces; kept for tools.
delete.records.purgatory.purge.interval.requests int 1 * read-only medium
    Kafka's purge of waiting deletions; kept for tools.
producer.id.expiration.ms int 86400000 1.. cluster-wide low
    A producer id idle this long is forgotten by a partition.
producer.id.expiration.check.interval.ms int 600000 1.. read-only low
    How often idle producer ids are looked for.
# groups
group.min.session.timeout.ms int 6000 * read-only medium
    Shortest session a member may ask for.
group.max.session.timeout.ms int 1800000 * read-only medium
    Longest session a member may ask for.
group.initial.rebalance.delay.ms int 3000 * read-only medium
    How long a new group waits for more members before it rebalances.
group.max.size int 2147483647 1.. read-only medium
    Members a group may have.
group.coordinator.rebalance.protocols list classic,consumer,streams consumer|classic|share|streams read-only medium
    Group protocols that are served; share groups are switched on by share.version.
group.consumer.session.timeout.ms int 45000 1.. read-only medium
    A member of a consumer group that is not heard of for so long is out.
group.consumer.min.session.timeout.ms int 45000 1.. read-only medium
    The least that a group may set as its consumer.session.timeout.ms.
group.consumer.max.session.timeout.ms int 60000 1.. read-only medium
    The most that a group may set as its consumer.session.timeout.ms.
group.consumer.heartbeat.interval.ms int 5000 1.. read-only medium
    How often members of consumer groups shall send heartbeats.
group.consumer.min.heartbeat.interval.ms int 5000 1.. read-only medium
    The least that a group may set as its consumer.heartbeat.interval.ms.
group.consumer.max.heartbeat.interval.ms int 15000 1.. read-only medium
    The most that a group may set as its consumer.heartbeat.interval.ms.
group.consumer.assignment.interval.ms int 1000 0.. read-only medium
    The shortest time between two target assignments of a consumer group.
group.consumer.min.assignment.interval.ms int 0 0.. read-only medium
    The least that a group may set as its consumer.assignment.interval.ms.
group.consumer.max.assignment.interval.ms int 15000 0.. read-only medium
    The most that a group may set as its consumer.assignment.interval.ms.
group.consumer.max.size int 2147483647 1.. read-only medium
    Members a consumer group may have.
group.consumer.assignors list uniform,range uniform|range read-only medium
    Assignors that members may ask for; the first is that of groups whose members ask for none.
group.consumer.migration.policy string bidirectional * read-only medium
    Which groups with members may change their protocol: disabled, downgrade, upgrade or bidirectional.
group.consumer.regex.refresh.interval.ms int 600000 10000.. read-only medium
    How often regular expressions are matched again without a new topic.
group.streams.session.timeout.ms int 45000 1.. read-only medium
    A member of a streams group that is not heard of for so long is out.
group.streams.min.session.timeout.ms int 45000 1.. read-only medium
    The least that a group may set as its streams.session.timeout.ms.
group.streams.max.session.timeout.ms int 60000 1.. read-only medium
    The most that a group may set as its streams.session.timeout.ms.
group.streams.heartbeat.interval.ms int 5000 1.. read-only medium
    How often members of streams groups shall send heartbeats.
group.streams.min.heartbeat.interval.ms int 5000 1.. read-only medium
    The least that a group may set as its streams.heartbeat.interval.ms.
group.streams.max.heartbeat.interval.ms int 15000 1.. read-only medium
    The most that a group may set as its streams.heartbeat.interval.ms.
group.streams.max.size int 2147483647 1.. read-only medium
    Members a streams group may have.
group.streams.num.standby.replicas int 0 0.. read-only medium
    Copies of the state of each task that are kept besides the one that works.
group.streams.max.standby.replicas int 2 0.. read-only medium
    The most that a group may set as its streams.num.standby.replicas.
group.streams.initial.rebalance.delay.ms int 3000 0.. read-only medium
    How long a new streams group waits for more members before tasks are given out.
group.streams.assignment.interval.ms int 1000 0.. read-only medium
    The shortest time between two target assignments of a streams group.
group.streams.min.assignment.interval.ms int 0 0.. read-only medium
    The least that a group may set as its streams.assignment.interval.ms.
group.streams.max.assignment.interval.ms int 15000 0.. read-only medium
    The most that a group may set as its streams.assignment.interval.ms.
group.coordinator.threads int 4 1.. read-only high
    Kafka's count of coordinator threads; kept for tools.
group.coordinator.append.linger.ms int -1 -1.. read-only medium
    How long a coordinator gathers records before a write; -1 adapts.
offset.metadata.max.bytes int 4096 * read-only high
    Longest metadata of a committed offset.
offsets.load.buffer.size int 5242880 1.. read-only high
    Bytes read at one time when a coordinator loads.
offsets.topic.replication.factor short 3 1.. read-only high
    Replicas of __consumer_offsets.
offsets.topic.num.partitions int 50 1.. read-only high
    Partitions of __consumer_offsets; fixed once it exists.
offsets.topic.segment.bytes int 104857600 1.. read-only high
    Segment size of __consumer_offsets.
offsets.topic.compression.codec int 0 * read-only high
    Compression of __consumer_offsets: 0 is none.
offsets.retention.minutes int 10080 1.. read-only high
    How long an empty group's offsets stay.
offsets.retention.check.interval.ms long 600000 1.. read-only high
    How often expired offsets are looked for.
offsets.commit.timeout.ms int 5000 1.. read-only high
    How long a commit may wait for the in-sync replicas.
# share groups
group.share.session.timeout.ms int 45000 1.. read-only medium
    A member of a share group that is not heard of for so long is out.
group.share.min.session.timeout.ms int 45000 1.. read-only medium
    The least that a group may set as its share.session.timeout.ms.
group.share.max.session.timeout.ms int 60000 1.. read-only medium
    The most that a group may set as its share.session.timeout.ms.
group.share.heartbeat.interval.ms int 5000 1.. read-only medium
    How often members of share groups shall send heartbeats.
group.share.min.heartbeat.interval.ms int 5000 1.. read-only medium
    The least that a group may set as its share.heartbeat.interval.ms.
group.share.max.heartbeat.interval.ms int 15000 1.. read-only medium
    The most that a group may set as its share.heartbeat.interval.ms.
group.share.assignment.interval.ms int 1000 0.. read-only medium
    The shortest time between two target assignments of a share group.
group.share.min.assignment.interval.ms int 0 0.. read-only medium
    The least that a group may set as its share.assignment.interval.ms.
group.share.max.assignment.interval.ms int 15000 0.. read-only medium
    The most that a group may set as its share.assignment.interval.ms.
group.share.max.size int 200 1..1000 read-only medium
    Members a share group may have.
group.share.assignors list simple simple read-only medium
    The assignor of all share groups.
group.share.initialize.retry.interval.ms int 30000 1.. read-only low
    How long the state of new share partitions may take to be initialized before it is asked for again.
group.share.delivery.count.limit int 5 2..10 read-only medium
    How often a record is given to a share group at most.
group.share.min.delivery.count.limit int 2 2..5 read-only medium
    The least that a group may set as its share.delivery.count.limit.
group.share.max.delivery.count.limit int 10 5..25 read-only medium
    The most that a group may set as its share.delivery.count.limit.
group.share.record.lock.duration.ms int 30000 1000..3600000 read-only medium
    How long a consumer of a share group has a record for itself.
group.share.min.record.lock.duration.ms int 15000 1000..30000 read-only medium
    The least that a group may set as its share.record.lock.duration.ms.
group.share.max.record.lock.duration.ms int 60000 30000..3600000 read-only medium
    The most that a group may set as its share.record.lock.duration.ms.
group.share.partition.max.record.locks int 2000 100..10000 read-only medium
    Records of a partition that a share group may have in flight.
group.share.min.partition.max.record.locks int 100 100..2000 read-only medium
    The least that a group may set as its share.partition.max.record.locks.
group.share.max.partition.max.record.locks int 4000 2000..10000 read-only medium
    The most that a group may set as its share.partition.max.record.locks.
group.share.max.share.sessions int 2000 1.. read-only medium
    Share sessions that a broker keeps.
share.coordinator.state.topic.num.partitions int 50 1.. read-only high
    Partitions of __share_group_state; fixed once it exists.
share.coordinator.state.topic.replication.factor short 3 1.. read-only high
    Replicas of __share_group_state.
share.coordinator.state.topic.min.isr short 2 1.. read-only high
    min.insync.replicas of __share_group_state.
share.coordinator.state.topic.segment.bytes int 104857600 1.. read-only high
    Segment size of __share_group_state.
share.coordinator.state.topic.compression.codec int 0 * read-only high
    Compression of __share_group_state: 0 is none.
share.coordinator.snapshot.update.records.per.snapshot int 500 0..500 read-only medium
    Updates that are written of a share partition before a snapshot is.
share.coordinator.write.timeout.ms int 5000 1.. read-only high
    How long a write of state may wait for the in-sync replicas.
share.coordinator.state.topic.prune.interval.ms int 300000 1.. read-only low
    How often the state's log is cut where nobody needs it any more.
share.coordinator.cold.partition.snapshot.interval.ms int 300000 1.. read-only low
    How often share partitions that do not move get a snapshot.
# transactions
transactional.id.expiration.ms int 604800000 1.. read-only high
    An idle transactional id is forgotten after this.
transaction.max.timeout.ms int 900000 1.. read-only high
    Longest timeout a transaction may ask for.
transaction.state.log.min.isr int 2 1.. read-only high
    min.insync.replicas of __transaction_state.
transaction.state.log.replication.factor short 3 1.. read-only high
    Replicas of __transaction_state.
transaction.state.log.num.partitions int 50 1.. read-only high
    Partitions of __transaction_state; fixed once it exists.
transaction.state.log.segment.bytes int 104857600 1.. read-only high
    Segment size of __transaction_state.
transaction.state.log.load.buffer.size int 5242880 1.. read-only high
    Bytes read at one time when a coordinator loads.
transaction.abort.timed.out.transaction.cleanup.interval.ms int 10000 1.. read-only low
    How often timed-out transactions are looked for.
transaction.remove.expired.transaction.cleanup.interval.ms int 3600000 1.. read-only low
    How often expired transactional ids are looked for.
transaction.partition.verification.enable boolean true * cluster-wide low
    A partition asks the coordinator whether a transaction is open.
add.partitions.to.txn.retry.backoff.max.ms int 100 0.. read-only high
    How long a produce waits for the transaction before to be completed.
add.partitions.to.txn.retry.backoff.ms int 20 1.. read-only high
    Pause before a partition is added again to a transaction.
log.local.retention.bytes long -2 -2.. cluster-wide medium
    Local part of log.retention.bytes with tiered storage; -2 means all of it.
log.local.retention.ms long -2 -2.. cluster-wide medium
    Local part of log.retention.ms with tiered storage; -2 means all of it.
telemetry.max.bytes int 1048576 1.. read-only low
    The largest push of a client's metrics (KIP-714).
# set while brokers run, never in their files
leader.replication.throttled.rate long 9223372036854775807 0.. cluster-wide medium
    Bytes a second that leaders give to throttled replicas.
follower.replication.throttled.rate long 9223372036854775807 0.. cluster-wide medium
    Bytes a second that throttled followers ask for.
replica.alter.log.dirs.io.max.bytes.per.second long 9223372036854775807 1.. cluster-wide medium
    Bytes a second that are copied from one log directory to another.
# policies and metrics that tools look for
authorizer.class.name string "" * read-only low
    Kafka's StandardAuthorizer: access control lists are kept and shown, not enforced; empty: they are refused.
replication.quota.window.num int 11 1.. read-only low
    Samples kept for throttled replication.
replication.quota.window.size.seconds int 1 1.. read-only low
    Length of such a sample.
controller.quota.window.num int 11 1.. read-only low
    Samples kept for controller_mutation_rate.
controller.quota.window.size.seconds int 1 1.. read-only low
    Length of such a sample.
quota.window.num int 11 1.. read-only low
    Samples kept for client quotas.
quota.window.size.seconds int 1 1.. read-only low
    Length of a sample.
metric.reporters list org.apache.kafka.common.metrics.JmxReporter * cluster-wide low
    Kafka's metric classes; kept for tools.
metrics.num.samples int 2 1.. read-only low
    Samples kept for Kafka's metrics; kept for tools.
metrics.recording.level string INFO * read-only low
    Level of Kafka's metrics; kept for tools.
metrics.sample.window.ms long 30000 1.. read-only low
    Length of a metric's sample; kept for tools.
# kconsole's own: Kafka has no such configs
kconsole.connection.loss.detection.enable boolean true * read-only medium
    A broker whose connections to the controller drop is fenced without waiting for its session to lapse.
kconsole.connection.loss.grace.ms int 100 0.. read-only medium
    How long a broker has to come back before it is fenced for lost connections.
kconsole.client.telemetry.enable boolean false * read-only medium
    Metrics that clients push (KIP-714) are taken and told as facts; Kafka takes them only with a plugin.
kconsole.fenced.broker.linger.ms int 2000 0.. read-only medium
    How long clients are still told of a broker that was fenced, as a broker without partitions; 0 is Kafka's way.
"""  # noqa: E501  one default is long

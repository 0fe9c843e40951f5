"""Kafka's command-line tools that take a bootstrap server: one table of commands, run in order against any cluster.

The answers of a real Kafka 4.3.1 are kept in tests/golden (``make record-tools`` writes them and shows what differs).
What is another each time (addresses, ids, times) is normalised: :func:`normalised`. The table's lines are

    name [flag …] | Tool arguments [< text for its standard input]

``@`` stands for ``--bootstrap-server`` and the servers, ``{DIR}`` for a directory with the files of ``FILES``. Flags:
``sorted`` (the order of lines means nothing), ``distinct`` (nor how often one is there), ``numbers`` (nor numbers),
``retry`` (run again until the answer is the expected one: what it tells comes about in the background).
"""

from __future__ import annotations

import json
import re
import shlex
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from tests.integration.java_tools import ROOT, run_tool

GOLDEN = ROOT / "tests" / "golden" / "kafka-tools-4.3.1.txt"
_RETRY_S = 20.0
# Another broker may be asked than the one that was told: it hears of it a moment later.
_LATE_S = 2.0

_CLASSES = {
    "acls": "org.apache.kafka.tools.AclCommand",
    "broker-api-versions": "org.apache.kafka.tools.BrokerApiVersionsCommand",
    "client-metrics": "org.apache.kafka.tools.ClientMetricsCommand",
    "cluster": "org.apache.kafka.tools.ClusterTool",
    "configs": "kafka.admin.ConfigCommand",
    "console-consumer": "org.apache.kafka.tools.consumer.ConsoleConsumer",
    "console-share-consumer": "org.apache.kafka.tools.consumer.ConsoleShareConsumer",
    "console-producer": "org.apache.kafka.tools.ConsoleProducer",
    "consumer-groups": "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
    "consumer-perf-test": "org.apache.kafka.tools.ConsumerPerformance",
    "delegation-tokens": "org.apache.kafka.tools.DelegationTokenCommand",
    "delete-records": "org.apache.kafka.tools.DeleteRecordsCommand",
    "e2e-latency": "org.apache.kafka.tools.EndToEndLatency",
    "features": "org.apache.kafka.tools.FeatureCommand",
    "get-offsets": "org.apache.kafka.tools.GetOffsetShell",
    "groups": "org.apache.kafka.tools.GroupsCommand",
    "leader-election": "org.apache.kafka.tools.LeaderElectionCommand",
    "log-dirs": "org.apache.kafka.tools.LogDirsCommand",
    "metadata-quorum": "org.apache.kafka.tools.MetadataQuorumCommand",
    "producer-perf-test": "org.apache.kafka.tools.ProducerPerformance",
    "reassign-partitions": "org.apache.kafka.tools.reassign.ReassignPartitionsCommand",
    "share-groups": "org.apache.kafka.tools.consumer.group.ShareGroupCommand",
    "streams-application-reset": "org.apache.kafka.tools.StreamsResetter",
    "streams-groups": "org.apache.kafka.tools.streams.StreamsGroupCommand",
    "topics": "org.apache.kafka.tools.TopicCommand",
    "transactions": "org.apache.kafka.tools.TransactionsCommand",
    "verifiable-consumer": "org.apache.kafka.tools.VerifiableConsumer",
    "verifiable-producer": "org.apache.kafka.tools.VerifiableProducer",
}

FILES: Mapping[str, object] = {
    "move.json": {
        "version": 1,
        "partitions": [{"topic": "moved", "partition": 0, "replicas": [2, 3], "log_dirs": ["any", "any"]}],
    },
    "elect.json": {"partitions": [{"topic": "elected", "partition": 0}]},
    "delete.json": {"version": 1, "partitions": [{"topic": "written", "partition": 0, "offset": 2}]},
    "topics-to-move.json": {"version": 1, "topics": [{"topic": "moved"}]},
    "empty.properties": "",
}

TABLE = """
# kafka-cluster.sh, kafka-broker-api-versions.sh
cluster-id | cluster cluster-id @
list-endpoints | cluster list-endpoints @
list-endpoints-fenced | cluster list-endpoints @ --include-fenced-brokers
unregister-nobody | cluster unregister @ --id 99
# kafka-topics.sh
topics-none | topics @ --list
create | topics @ --create --topic written --replica-assignment 1:2:3,2:3:1
create-compacted | topics @ --create --topic compacted --replica-assignment 1:2:3 --config cleanup.policy=compact --config min.insync.replicas=1
create-moved | topics @ --create --topic moved --replica-assignment 1:2
create-elected | topics @ --create --topic elected --replica-assignment 1:2:3
create-again | topics @ --create --topic written
create-if-not-exists | topics @ --create --topic written --if-not-exists
create-too-many-replicas | topics @ --create --topic x --replication-factor 4 --partitions 1
create-no-partitions | topics @ --create --topic x --partitions 0
create-bad-name | topics @ --create --topic a/b --partitions 1
create-bad-config | topics @ --create --topic x --partitions 1 --config planet=earth
create-bad-value | topics @ --create --topic x --partitions 1 --config retention.ms=soon
topics-listed | topics @ --list
topics-described | topics @ --describe --topic written
topics-with-overrides | topics @ --describe --topics-with-overrides
topics-pattern | topics @ --describe --topic "mov.*|elec.*"
topics-unknown | topics @ --describe --topic nowhere
topics-under-replicated | topics @ --describe --under-replicated-partitions
topics-at-min-isr | topics @ --describe --at-min-isr-partitions
topics-unavailable | topics @ --describe --unavailable-partitions
more-partitions | topics @ --alter --topic compacted --partitions 2 --replica-assignment 1:2:3,3:1:2
fewer-partitions | topics @ --alter --topic compacted --partitions 1
partitions-of-unknown | topics @ --alter --topic nowhere --partitions 4
# kafka-console-producer.sh, kafka-console-consumer.sh
produce | console-producer @ --topic written --property parse.key=true --property key.separator=: < a:1\\nb:2\\nc:3\\nd:4\\n
consume sorted | console-consumer @ --topic written --from-beginning --max-messages 4 --group readers --property print.key=true --timeout-ms 20000
consume-offset | console-consumer @ --topic written --partition 0 --offset 0 --max-messages 1 --property print.offset=true --property print.partition=true --timeout-ms 20000
consume-nothing | console-consumer @ --topic moved --from-beginning --timeout-ms 300
# kafka-get-offsets.sh
offsets | get-offsets @ --topic written
offsets-earliest | get-offsets @ --topic written --time earliest
offsets-tiered | get-offsets @ --topic written --time -5
offsets-of-some | get-offsets @ --topic-partitions written:1,compacted:0-2
offsets-unknown | get-offsets @ --topic nowhere
# kafka-delete-records.sh
delete-records | delete-records @ --offset-json-file {DIR}/delete.json
offsets-after-deletion | get-offsets @ --topic written --time earliest
# kafka-consumer-groups.sh, kafka-groups.sh
groups-listed sorted | consumer-groups @ --list
groups-by-state sorted | consumer-groups @ --list --state
group-described sorted | consumer-groups @ --describe --group readers
group-members | consumer-groups @ --describe --group readers --members --verbose
group-state | consumer-groups @ --describe --group readers --state
group-unknown | consumer-groups @ --describe --group nobody
group-reset-plan sorted | consumer-groups @ --group readers --reset-offsets --to-earliest --topic written --dry-run
group-reset sorted | consumer-groups @ --group readers --reset-offsets --to-offset 1 --topic written:1 --execute
group-export sorted | consumer-groups @ --group readers --reset-offsets --to-current --all-topics --export --dry-run
group-delete-offsets sorted | consumer-groups @ --group readers --delete-offsets --topic written:1
group-delete-offsets-unknown sorted | consumer-groups @ --group nobody --delete-offsets --topic written
groups-all sorted | groups @ --list
groups-classic sorted | groups @ --list --group-type classic
groups-share | groups @ --list --share
group-deleted | consumer-groups @ --delete --group readers
group-deleted-again | consumer-groups @ --delete --group readers
# kafka-configs.sh
topic-config | configs @ --alter --entity-type topics --entity-name written --add-config retention.ms=3600000,segment.bytes=1048576
topic-config-shown | configs @ --describe --entity-type topics --entity-name written
topic-config-all sorted | configs @ --describe --entity-type topics --entity-name compacted --all
topic-config-deleted | configs @ --alter --entity-type topics --entity-name written --delete-config segment.bytes
topic-config-bad-value | configs @ --alter --entity-type topics --entity-name written --add-config retention.ms=soon
topic-config-unknown | configs @ --alter --entity-type topics --entity-name written --add-config planet=earth
topic-config-of-nowhere | configs @ --alter --entity-type topics --entity-name nowhere --add-config retention.ms=1
topic-config-list | configs @ --alter --entity-type topics --entity-name written --add-config leader.replication.throttled.replicas=[0:1,1:2]
topics-config-shown sorted | configs @ --describe --entity-type topics
broker-config | configs @ --alter --entity-type brokers --entity-name 1 --add-config log.cleaner.threads=2
broker-config-shown | configs @ --describe --entity-type brokers --entity-name 1
broker-config-read-only | configs @ --alter --entity-type brokers --entity-name 1 --add-config node.id=7
broker-config-bad-value | configs @ --alter --entity-type brokers --entity-name 1 --add-config log.cleaner.threads=many
broker-default | configs @ --alter --entity-type brokers --entity-default --add-config log.retention.ms=7200000
broker-default-shown | configs @ --describe --entity-type brokers --entity-default
broker-default-per-broker | configs @ --alter --entity-type brokers --entity-default --add-config advertised.listeners=PLAINTEXT://x:1
broker-config-deleted | configs @ --alter --entity-type brokers --entity-name 1 --delete-config log.cleaner.threads
broker-config-deleted-twice | configs @ --alter --entity-type brokers --entity-name 1 --delete-config log.cleaner.threads
quota-user | configs @ --alter --entity-type users --entity-name alice --add-config producer_byte_rate=1024,consumer_byte_rate=2048
quota-user-client | configs @ --alter --entity-type users --entity-name alice --entity-type clients --entity-name app --add-config request_percentage=50.5
quota-client-default | configs @ --alter --entity-type clients --entity-default --add-config controller_mutation_rate=10
quota-ip | configs @ --alter --entity-type ips --entity-name 127.0.0.9 --add-config connection_creation_rate=200
quota-fraction | configs @ --alter --entity-type users --entity-name alice --add-config producer_byte_rate=0.5
quota-unknown | configs @ --alter --entity-type users --entity-name alice --add-config planet=1
scram | configs @ --alter --entity-type users --entity-name alice --add-config SCRAM-SHA-256=[iterations=8192,password=secret],SCRAM-SHA-512=[password=secret]
scram-deleted-unknown | configs @ --alter --entity-type users --entity-name bob --delete-config SCRAM-SHA-512
users-shown sorted | configs @ --describe --entity-type users
users-clients-shown sorted | configs @ --describe --entity-type users --entity-type clients
clients-shown sorted | configs @ --describe --entity-type clients
ips-shown sorted | configs @ --describe --entity-type ips
scram-deleted | configs @ --alter --entity-type users --entity-name alice --delete-config SCRAM-SHA-512,producer_byte_rate
user-shown | configs @ --describe --user alice
group-config | configs @ --alter --entity-type groups --entity-name g1 --add-config consumer.session.timeout.ms=50000
group-config-shown | configs @ --describe --entity-type groups --entity-name g1
loggers-shown sorted | configs @ --describe --entity-type broker-loggers --entity-name 1
logger-unknown | configs @ --alter --entity-type broker-loggers --entity-name 1 --add-config planet.Earth=DEBUG
logger-root | configs @ --alter --entity-type broker-loggers --entity-name 1 --add-config root=WARN
# kafka-client-metrics.sh
metrics-none | client-metrics @ --list
metrics-altered | client-metrics @ --alter --name sub1 --metrics org.apache.kafka. --interval 1000 --match client_id=x
metrics-too-often | client-metrics @ --alter --name sub2 --interval 50
metrics-bad-match | client-metrics @ --alter --name sub2 --match planet=x
metrics-listed | client-metrics @ --list
metrics-described | client-metrics @ --describe
metrics-all-configs sorted | configs @ --describe --entity-type client-metrics --entity-name sub1 --all
metrics-deleted | client-metrics @ --delete --name sub1
# kafka-acls.sh, kafka-delegation-tokens.sh
acls-none | acls @ --list
acls-added sorted | acls @ --add --allow-principal User:a --allow-principal User:b --operation Read --operation Describe --topic written
acls-added-prefixed sorted | acls @ --add --deny-principal User:c --deny-host 10.0.0.1 --operation All --topic wri --resource-pattern-type prefixed
acls-added-group sorted | acls @ --add --allow-principal User:a --consumer --topic written --group readers
acls-added-cluster sorted | acls @ --add --allow-principal User:a --operation IdempotentWrite --cluster
acls-added-producer sorted | acls @ --add --allow-principal User:* --producer --topic * --transactional-id t1
acls-listed sorted | acls @ --list
acls-of-topic sorted | acls @ --list --topic written
acls-of-topic-match sorted | acls @ --list --topic written --resource-pattern-type match
acls-of-topic-any sorted | acls @ --list --topic wri --resource-pattern-type any
acls-of-principal sorted | acls @ --list --principal User:a --topic written
acls-removed sorted | acls @ --remove --force --allow-principal User:a --operation Read --topic written
acls-removed-all sorted | acls @ --remove --force --topic written --resource-pattern-type match
acls-left sorted | acls @ --list
tokens-create | delegation-tokens @ --create --max-life-time-period -1 --command-config {DIR}/empty.properties
tokens-renew | delegation-tokens @ --renew --renew-time-period -1 --hmac aGVsbG8= --command-config {DIR}/empty.properties
tokens-expire | delegation-tokens @ --expire --expiry-time-period -1 --hmac aGVsbG8= --command-config {DIR}/empty.properties
tokens-describe | delegation-tokens @ --describe --command-config {DIR}/empty.properties
# kafka-reassign-partitions.sh
reassign | reassign-partitions @ --reassignment-json-file {DIR}/move.json --execute --throttle 10000000
reassign-verified retry | reassign-partitions @ --reassignment-json-file {DIR}/move.json --verify
reassign-none | reassign-partitions @ --list
reassign-cancel | reassign-partitions @ --reassignment-json-file {DIR}/move.json --cancel
moved-described | topics @ --describe --topic moved
moved-configs | configs @ --describe --entity-type topics --entity-name moved
throttle-gone | configs @ --describe --entity-type brokers --entity-name 2
# kafka-leader-election.sh
elect-needless | leader-election @ --election-type preferred --path-to-json-file {DIR}/elect.json
elect-unclean-needless | leader-election @ --election-type unclean --topic elected --partition 0
elect-unknown | leader-election @ --election-type preferred --topic nowhere --partition 0
# kafka-log-dirs.sh
log-dirs numbers | log-dirs @ --describe --broker-list 1 --topic-list moved,elected
# kafka-features.sh
features-described sorted | features @ describe
features-version-mapping | features version-mapping --release-version 4.3-IV0
features-upgrade-too-high | features @ upgrade --feature metadata.version=99
features-downgrade | features @ downgrade --metadata 3.6
features-unknown | features @ upgrade --feature planet.version=1
# kafka-metadata-quorum.sh
quorum-status numbers | metadata-quorum @ describe --status
quorum-replication numbers sorted | metadata-quorum @ describe --replication
# kafka-transactions.sh
transactions-none | transactions @ list
transactions-unknown | transactions @ describe --transactional-id nobody
transactions-producers numbers | transactions @ describe-producers --topic written --partition 0
transactions-hanging | transactions @ find-hanging --broker-id 1
# the tools that measure
producer-perf numbers | producer-perf-test @ --topic written --num-records 100 --record-size 10 --throughput -1
consumer-perf numbers | consumer-perf-test @ --topic written --num-records 50 --timeout 20000 --group perf
e2e-latency numbers | e2e-latency @ --topic e2e --num-records 20 --producer-acks all --record-size 10
verifiable-producer numbers distinct | verifiable-producer @ --topic elected --max-messages 3 --throughput -1
verifiable-consumer numbers distinct | verifiable-consumer @ --topic elected --group-id verified --max-messages 3 --reset-policy earliest
# the newer kinds of groups: of the consumer protocol, share, streams
create-read | topics @ --create --topic read --replica-assignment 1:2:3
produce-read | console-producer @ --topic read < a\\nb\\nc\\n
new-consume | console-consumer @ --topic read --from-beginning --max-messages 3 --group new-readers --command-property group.protocol=consumer --timeout-ms 20000
new-group-listed sorted | consumer-groups @ --list --type consumer --state
new-group-described | consumer-groups @ --describe --group new-readers
new-group-members | consumer-groups @ --describe --group new-readers --members --verbose
new-group-state | consumer-groups @ --describe --group new-readers --state
new-group-reset | consumer-groups @ --group new-readers --reset-offsets --to-offset 1 --topic read --execute
new-group-delete-offsets | consumer-groups @ --group new-readers --delete-offsets --topic read
new-group-deleted | consumer-groups @ --delete --group new-readers
share-groups-none | share-groups @ --list
share-group-unknown | share-groups @ --describe --group nobody
share-begins | configs @ --alter --entity-type groups --entity-name sharers --add-config share.auto.offset.reset=earliest
share-consume | console-share-consumer @ --topic read --group sharers --max-messages 3 --timeout-ms 20000
share-groups-listed | share-groups @ --list --state
share-group-described | share-groups @ --describe --group sharers
share-group-members | share-groups @ --describe --group sharers --members --verbose
share-group-state | share-groups @ --describe --group sharers --state
share-groups-by-type | groups @ --list --group-type share
share-reset-plan | share-groups @ --group sharers --reset-offsets --to-earliest --topic read --dry-run
share-reset | share-groups @ --group sharers --reset-offsets --to-earliest --topic read --execute
share-group-after-reset | share-groups @ --describe --group sharers
share-delete-offsets | share-groups @ --group sharers --delete-offsets --topic read
share-delete-offsets-unknown | share-groups @ --group sharers --delete-offsets --topic nowhere
share-group-deleted | share-groups @ --delete --group sharers
share-group-deleted-again | share-groups @ --delete --group sharers
streams-groups | streams-groups @ --list
streams-group-unknown | streams-groups @ --describe --group nobody
streams-group-deleted | streams-groups @ --delete --group nobody
streams-group-reset | streams-groups @ --group nobody --reset-offsets --to-earliest --input-topic read --dry-run
streams-reset | streams-application-reset @ --application-id app --input-topics elected --dry-run
# the end
topic-deleted | topics @ --delete --topic compacted
topic-deleted-again | topics @ --delete --topic compacted
"""  # noqa: E501  commands are long


# Where an answer of kconsole differs from Kafka's, and why. An answer that is the same is right as well.
DIFFERENCES: dict[str, str] = {
    "features-described": "the epoch counts the records of another log",
    "quorum-status": "ids of the voters' directories are told, though the voters are static",
    "quorum-replication": "the same",
    "loggers-shown": "the loggers are those of this software",
}


def is_right(case: Case, text: str, expected: str) -> bool:
    """Whether the answer is Kafka's, or differs for a reason that is known."""
    return text == expected or case.name in DIFFERENCES


class Case(NamedTuple):
    """One line of the table."""

    name: str
    flags: frozenset[str]
    tool: str
    arguments: tuple[str, ...]
    stdin: str | None

    @property
    def is_reading(self) -> bool:
        """Whether it may be run again without harm."""
        return not {"--describe", "--list", "describe", "list"}.isdisjoint(self.arguments)


def cases() -> list[Case]:
    """The table, read."""
    found = []
    for line in TABLE.splitlines():
        if not line or line[0] == "#":
            continue
        head, _, command = line.partition(" | ")
        command, _, stdin = command.partition(" < ")
        name, *flags = head.split()
        tool, *arguments = shlex.split(command.replace(" @", " --bootstrap-server {B}"))
        text = stdin.replace("\\n", "\n") if stdin else None
        found.append(Case(name, frozenset(flags), tool, tuple(arguments), text))
    assert len({each.name for each in found}) == len(found), "a name of the table is there twice"
    return found


def answers(bootstrap: str, directory: Path, expected: Mapping[str, str] | None = None) -> Iterator[tuple[Case, str]]:
    """Run the table in order; each case with its normalised answer. ``expected``: for cases that may be run again."""
    for name, content in FILES.items():
        (directory / name).write_text(content if isinstance(content, str) else json.dumps(content))
    names = {"B": bootstrap, "DIR": str(directory)}
    for case in cases():
        deadline = time.monotonic() + (_RETRY_S if "retry" in case.flags else _LATE_S if case.is_reading else 0)
        while True:
            arguments = [re.sub(r"\{(\w+)\}", lambda found: names[found[1]], each) for each in case.arguments]
            done = run_tool(_CLASSES[case.tool], *arguments, stdin=case.stdin)
            text = normalised(case, f"exit code {done.exit_code}\n{done.out}\n{done.err}", names)
            again = "in progress" in text if expected is None else text != expected.get(case.name)
            if not again or time.monotonic() >= deadline:
                break
            time.sleep(0.3)
        yield case, text


_NORMAL = (
    (r"(?<=Epoch: )\d+", "<number>"),
    # stack traces, and what the warm JVM says of itself
    (r"(?m)^\s+(?:at |\.\.\. \d+ ).*\n?", ""),
    (r"(?m)^(?:SLF4J|Tools\$Left|the tool left|WARNING:).*\n?", ""),
    (r"\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b", "<uuid>"),
    # The tool does not wait for its acknowledgements when its JVM goes on: the consumer's answer shows that they came.
    (r'(?m)^\{.*"name":"producer_send_success".*\n?', ""),
    (r"console-consumer-\d+", "console-consumer-<number>"),
    (r"<broker \d>\s+\(\d\)", "<any broker>"),
    (r"(?<=Local controller )\d", "<id>"),
    (r"(?<=TopicId: )[\w-]{22}", "<id>"),
    (r"(?<=Cluster ID: )[\w-]{22}", "<id>"),
    (r"(?<=ClusterId: )\s*[\w-]{22}", "<id>"),
    (r"\b1[5-9]\d{11}\b", "<ms>"),
    (r"[ \t]+", " "),
    (r"(?m) +$", ""),
    (r"\n{2,}", "\n"),
)


def normalised(case: Case, text: str, names: Mapping[str, str]) -> str:
    """The answer without what is another each time."""
    for number, address in enumerate(names["B"].split(","), 1):
        host, _, port = address.rpartition(":")
        text = text.replace(address, f"<broker {number}>")
        text = re.sub(rf"\b{re.escape(host)}(\s+){port}\b", rf"<broker {number}>", text)
    text = text.replace(names["DIR"], "<dir>").replace(",".join(f"<broker {each}>" for each in (1, 2, 3)), "<brokers>")
    text = re.sub(r"<dir>/(?:data/broker-\d/data|kafka-\d)\b", "<log dir>", text)
    for pattern, replacement in _NORMAL:
        text = re.sub(pattern, replacement, text)
    head, *lines = text.strip().split("\n")
    if "numbers" in case.flags:
        lines = [re.sub(r"\d[\d.,]*", "#", line) for line in lines]
    if "distinct" in case.flags:
        lines = sorted(set(lines))
    if "sorted" in case.flags:
        lines.sort()
    return "\n".join([head, *(each.rstrip() for each in lines)])


def read_golden() -> dict[str, str]:
    """What Kafka answered, by name."""
    found: dict[str, str] = {}
    for section in GOLDEN.read_text().split("\n=== ")[1:]:
        name, _, text = section.partition("\n")
        found[name] = text.strip("\n")
    return found


def write_golden(texts: Mapping[str, str]) -> None:
    """Keep what Kafka answered."""
    head = "Answers of Apache Kafka 4.3.1 to the table of tests/integration/tools_table.py (make record-tools).\n"
    GOLDEN.write_text(head + "".join(f"\n=== {name}\n{text}\n" for name, text in texts.items()))

"""From the embedded cluster to Apache Kafka on the same directories: what is checked, and what Kafka is started with.

A :class:`Plan` is made from a data directory whose cluster is stopped; nothing is written before :func:`write`.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from typing import Any, NamedTuple

import yaml

from engine.core.controller.feature_control import SHARE_FEATURE, STREAMS_FEATURE, SUPPORTED_FEATURES
from engine.core.controller.image import METADATA_VERSION, MetadataImage
from engine.core.controller.state import ELR_FEATURE
from engine.model.kafka_config_names import NOT_HONOURED
from engine.storage.log_directory import METADATA_DIRECTORY
from engine.supervisor.cluster_spec import parse_cluster_spec
from engine.supervisor.coordination import ZOOKEEPER, coordination_of
from engine.supervisor.data_dir import DataDir, DataDirError
from engine.supervisor.server_properties import Address, broker_properties, properties_text
from engine.supervisor.spec_types import ClusterSpec
from engine.supervisor.stopped_broker import Problem, StoppedBroker, missing_replicas
from engine.supervisor.yaml_nodes import SpecErrors
from engine.world import Disk

# Ours alone: Kafka would only complain of a config that it does not know.
_OWN_CONFIGS = "kconsole."
_HEADING = "written by `kconsole storage graduate`; this broker under Apache Kafka 4.3"
_START_SCRIPT = "bin/kafka-server-start.sh"
# What kafka-features.sh calls the level of all features that Kafka 4.3 itself formats a directory with.
_RELEASE = "4.3"


class WrongDirectory(Exception):
    """This is not the data directory of a cluster, or its files cannot be read; the message says what to do."""


class NotReady(Exception):
    """The cluster cannot move now; ``problems`` says all of it."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


class FileDiffers(Exception):
    """There is another server.properties where one would be written."""


class BrokerPlan(NamedTuple):
    """One broker: the file to write and what it says, its log directories, the command that starts Kafka on them."""

    broker_id: int
    properties_file: str
    text: str
    log_dirs: list[str]
    command: list[str]


class Plan(NamedTuple):
    """How the cluster goes on under Apache Kafka. ``notes``: what is worth knowing before."""

    cluster_id: str
    brokers: list[BrokerPlan]
    bootstrap_servers: str
    partitions: int
    notes: list[str]


def make_plan(data_dir: DataDir, disk: Disk) -> Plan:
    """Check the directories of a stopped cluster, and say what Kafka is started with. Changes nothing.

    Raises:
        WrongDirectory: no cluster is there, or nobody can tell which.
        NotReady: it runs, was not stopped in order, or its files are not as they should be.
    """
    state, spec, text = _read(data_dir, disk)
    if data_dir.is_owned():
        raise WrongDirectory(
            f"the cluster in {data_dir.path} runs: stop it with `kconsole shutdown --data-dir {data_dir.path}`"
        )
    running = data_dir.kept_processes()
    if running:
        raise WrongDirectory(
            f"brokers with pids {', '.join(map(str, running))} still run on {data_dir.path} (--keep): end them first"
        )
    addresses = {
        int(broker_id): Address(each["host"], each["port"], each["controller_port"])
        for broker_id, each in state["brokers"].items()
    }
    brokers: list[BrokerPlan] = []
    found: list[StoppedBroker] = []
    for broker in spec.brokers:
        broker_id = broker.broker_id
        properties = broker_properties(spec, broker, addresses, data_dir.log_dir(broker_id))
        properties = {name: value for name, value in properties.items() if not name.startswith(_OWN_CONFIGS)}
        properties |= _for_kafka_only(text, broker_id)
        log_dirs = properties["log.dirs"].split(",")
        file = os.path.join(data_dir.kafka_dir(broker_id), "server.properties")
        brokers.append(
            BrokerPlan(broker_id, file, properties_text(properties, _HEADING), log_dirs, [_START_SCRIPT, file])
        )
        stopped = StoppedBroker(disk, broker_id, log_dirs, properties.get("metadata.log.dir", log_dirs[0]))
        stopped.read(state["cluster_id"], is_voter=broker_id in state["voters"])
        found.append(stopped)
    image = _check_as_a_cluster(found, state, addresses)
    partitions = sum(len(topic.partitions) for topic in image.topics_by_id.values())
    servers = ",".join(str(addresses[each.broker_id]) for each in brokers)
    return Plan(state["cluster_id"], brokers, servers, partitions, _notes(image, spec, text, servers))


def write(disk: Disk, plan: Plan, *, force: bool = False) -> list[str]:
    """Write the files that are not there yet; the paths of those that were written.

    Raises:
        FileDiffers: another file is there, and ``force`` was not given. Nothing was written.
        OSError: a file cannot be written.
    """
    due: list[BrokerPlan] = []
    for broker in plan.brokers:
        if not disk.exists(broker.properties_file):
            due.append(broker)
        elif disk.read(broker.properties_file) != broker.text.encode():
            if not force:
                raise FileDiffers(
                    f"broker {broker.broker_id}: {broker.properties_file} is there and says something else: "
                    "move it away, or replace it with --force"
                )
            due.append(broker)
    for broker in due:
        disk.make_dirs(os.path.dirname(broker.properties_file))
        disk.write_atomic(broker.properties_file, broker.text.encode())
    return [broker.properties_file for broker in due]


def command_line(broker: BrokerPlan) -> str:
    """The command for a shell, in the directory of Kafka's distribution."""
    return shlex.join(broker.command)


def as_json(plan: Plan, written: list[str]) -> dict[str, Any]:
    """The plan for scripts."""
    return {
        "cluster_id": plan.cluster_id,
        "bootstrap_servers": plan.bootstrap_servers,
        "partitions": plan.partitions,
        "brokers": [
            {
                "id": each.broker_id,
                "properties": each.properties_file,
                "written": each.properties_file in written,
                "log_dirs": each.log_dirs,
                "command": each.command,
            }
            for each in plan.brokers
        ],
        "notes": plan.notes,
    }


def _read(data_dir: DataDir, disk: Disk) -> tuple[dict[str, Any], ClusterSpec, str]:
    if not disk.is_dir(data_dir.path):
        raise WrongDirectory(f"{data_dir.path} is no directory: give the --data-dir of an embedded cluster")
    try:
        state = data_dir.read_state()
        if state is None:
            raise WrongDirectory(
                f"{data_dir.path} has no cluster.json: give the --data-dir of an embedded cluster that was started once"
            )
        text = disk.read(data_dir.spec_file).decode()
        spec, _ = parse_cluster_spec(text)
    except DataDirError as error:
        raise WrongDirectory(str(error)) from error
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise WrongDirectory(
            f"cannot read {data_dir.spec_file}: {why}: start the cluster once more with its file (--config)"
        ) from error
    except SpecErrors as error:
        raise WrongDirectory(f"the cluster file is wrong:\n{error.in_file(data_dir.spec_file)}") from error
    if coordination_of(state) == ZOOKEEPER:
        raise WrongDirectory(
            f"the cluster in {data_dir.path} is coordinated by ZooKeeper, which Kafka 4 does not know: move it to "
            "KRaft with `kconsole zookeeper migrate` first"
        )
    strange = [each.broker_id for each in spec.brokers if str(each.broker_id) not in state.get("brokers", {})]
    if strange or not state.get("voters"):
        what = f"broker {strange[0]} of the cluster file" if strange else "the quorum's voters"
        raise WrongDirectory(f"{data_dir.path}/cluster.json does not have {what}: start the cluster once, and stop it")
    return state, spec, text


def _for_kafka_only(text: str, broker_id: int) -> dict[str, str]:
    """Configs of the cluster file that Kafka honours and kconsole does not."""
    found: dict[str, str] = {}
    document = yaml.safe_load(text)
    sections = [
        document.get("configs"),
        *(each.get("configs") for each in document["brokers"] if each["id"] == broker_id),
    ]
    for section in sections:
        for name, value in (section or {}).items():
            if name in NOT_HONOURED:
                found[name] = _as_text(value)
    return found


def _as_text(value: object) -> str:
    if isinstance(value, list):
        return ",".join(map(_as_text, value))
    return str(value).lower() if isinstance(value, bool) else "" if value is None else str(value)


def _check_as_a_cluster(
    brokers: list[StoppedBroker], state: Mapping[str, Any], addresses: Mapping[int, Address]
) -> MetadataImage:
    """What only all directories together tell; the cluster's metadata. Raises ``NotReady``."""
    problems = [each for broker in brokers for each in broker.problems]
    owner_of: dict[bytes, str] = {}
    for broker in brokers:
        for path, directory_id in broker.directory_ids.items():
            if directory_id in owner_of:
                what = f"it has the same directory.id as {owner_of[directory_id]}"
                problems.append(Problem(broker.broker_id, path, what, "one is a copy: bring back the right one"))
            owner_of[directory_id] = path
    voters = [each for each in brokers if each.broker_id in state["voters"] and each.metadata is not None]
    if not voters:
        raise NotReady(problems)
    # What is committed is on a majority: the log that would win an election has all of it.
    latest = max(
        voters, key=lambda each: (each.metadata[0].epoch, each.metadata[0].offset) if each.metadata else (0, 0)
    )
    assert latest.metadata is not None
    image = latest.metadata[1]
    for broker in brokers:
        if not any(each.path in broker.log_dirs for each in broker.problems):
            problems += missing_replicas(image, broker)
    directory = f"{latest.metadata_log_dir}/{METADATA_DIRECTORY}"
    # Kafka looks for its voters where the log says, whatever its properties say.
    for voter in () if latest.voters is None else latest.voters.voters:
        voter_id, own = voter.key.id, addresses.get(voter.key.id)
        at = [(each.host, each.port) for each in voter.endpoints]
        if own is None or (own.host, own.controller_port) not in at:
            where = ", ".join(f"{host}:{port}" for host, port in at)
            what = f"it says that voter {voter_id} listens on {where}, and the cluster does not"
            remedy = "give that broker this host and controller_port again, and start and stop the cluster"
            problems.append(Problem(voter_id, directory, what, remedy))
    for name, level in sorted(image.features.items()):
        known = SUPPORTED_FEATURES.get(name)
        if known is None or not known.min_version <= level <= known.max_version:
            what = f"feature {name} has level {level}, which Kafka 4.3 does not know"
            problems.append(Problem(latest.broker_id, directory, what, "use the version of Kafka that set it"))
    if problems:
        raise NotReady(problems)
    return image


_SWITCHED = {
    ELR_FEATURE: "eligible leader replicas",
    SHARE_FEATURE: "share groups",
    STREAMS_FEATURE: "streams groups",
}


def _notes(image: MetadataImage, spec: ClusterSpec, text: str, servers: str) -> list[str]:
    notes: list[str] = []
    raised = [name for name in sorted(image.features) if name != METADATA_VERSION]
    switched_off = [what for name, what in _SWITCHED.items() if name not in raised]
    if switched_off:
        notes.append(
            f"{' and '.join(switched_off)} stay switched off "
            f"under Kafka until you raise their features: bin/kafka-features.sh --bootstrap-server "
            f"{servers.split(',')[0]} upgrade --release-version {_RELEASE}"
        )
    ignored = sorted({name for broker in spec.brokers for name in _for_kafka_only(text, broker.broker_id)})
    if ignored:
        notes.append(f"Kafka honours {', '.join(ignored)}, which kconsole did not")
    if any(each.host in ("127.0.0.1", "localhost", "::1") for each in spec.brokers):
        notes.append(
            "the listeners stay on the loopback interface: for other machines change listeners, advertised.listeners "
            "and controller.quorum.voters in every file"
        )
    return notes

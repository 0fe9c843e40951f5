"""What Kafka keeps in a znode: which kind it is by its path, what its fields mean, and that in a few words. Pure.

The znodes are those of Apache Kafka 3.9 (kafka.zk.ZkData) and kconsole's own below ``/kconsole``. Secrets (SCRAM
credentials, HMACs of tokens, passwords in configs) are left out, as everywhere on screens.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from console.viewmodel import text
from console.viewmodel.cells import Cell, Span, cell, harmless, json_tone
from console.viewmodel.records import hex_lines, json_lines

# Batches of metadata records as plain documents; ``None`` where the bytes are none.
RecordsOf = Callable[[bytes], Sequence[Mapping[str, Any]] | None]

_HIDDEN = "(not shown)"
_PRIVATE = "its ACL keeps it from this console"
_SECRET = re.compile(r"scram-|password|secret|hmac|jaas|stored_?key|server_?key|salt", re.IGNORECASE)


class Kind(NamedTuple):
    """Znodes of one kind: what they are, what their fields mean, and how to say one shortly."""

    pattern: str
    what: str
    fields: Mapping[str, str] = {}
    short: Callable[[Any], str] | None = None


class Meaning(NamedTuple):
    """A znode's value as it is shown: ``document`` is its JSON, a number, a text, records, or ``None`` for none."""

    what: str
    summary: str
    document: Any = None
    fields: Mapping[str, str] = {}


def _ids(found: Any) -> str:
    return ",".join(map(str, found)) if isinstance(found, list) else str(found)


def _state_words(found: Any) -> str:
    leader = found.get("leader", -1)
    who = "no leader" if leader == -1 else f"leader {leader}"
    return f"{who} · ISR {_ids(found.get('isr', []))} · leader epoch {found.get('leader_epoch', '?')}"


def _topic_words(found: Any) -> str:
    partitions = found.get("partitions", {})
    moving = sum(map(len, (found.get("adding_replicas") or {}, found.get("removing_replicas") or {})))
    replicas = max((len(each) for each in partitions.values()), default=0)
    said = f"{text.plural(len(partitions), 'partition')} of {text.plural(replicas, 'replica')}"
    return said + (f" · {moving} move" if moving else "")


def _config_words(found: Any) -> str:
    configs = found.get("config") or {}
    return " ".join(f"{name}={value}" for name, value in configs.items()) or "no overrides"


def _endpoints(found: Any) -> str:
    said = " ".join(map(str, found.get("endpoints") or ())) or f"{found.get('host')}:{found.get('port')}"
    return said + (f" · rack {found['rack']}" if found.get("rack") else "")


def _registration_words(found: Any) -> str:
    leaving = " · leaves" if found.get("in_controlled_shutdown") else ""
    return f"{'fenced' if found['fenced'] else 'up'}{leaving} · broker epoch {found['broker_epoch']:,}"


_VERSION = "of this JSON's format"
_STATE_FIELDS = {
    "leader": "the broker that leads; -1: none",
    "leader_epoch": "grows with each leader: what an older one sends is refused",
    "isr": "replicas that have all that is committed",
    "controller_epoch": "of the controller that wrote this",
    "version": _VERSION,
    "leader_recovery_state": "1: an unclean leader that has not recovered yet",
    "partition_epoch": "grows with each change of this state (kconsole's)",
    "directories": "log directory of each replica, by its id (kconsole's)",
    "elr": "eligible leader replicas, KIP-966 (kconsole's)",
    "last_known_elr": "those before all replicas were lost (kconsole's)",
}
_BROKER_FIELDS = {
    "endpoints": "where it listens, by listener",
    "listener_security_protocol_map": "how each listener is secured",
    "host": "of its first plaintext listener, for clients before 0.9",
    "port": "of the same",
    "jmx_port": "-1: none",
    "rack": "where it stands",
    "timestamp": "when it registered, ms since 1970",
    "features": "what it can finalize",
    "version": _VERSION,
}
_CONFIG_FIELDS = {"config": "what is set here; all else is inherited", "version": _VERSION}

KINDS: tuple[Kind, ...] = (
    Kind(r"/", "the cluster's root: the chroot of zookeeper.connect"),
    Kind(r"/brokers", "brokers that live, and topics"),
    Kind(r"/brokers/ids", "one ephemeral znode a broker that lives: it goes with the broker's session"),
    Kind(r"/brokers/ids/\d+", "a broker that lives; its czxid is the broker's epoch", _BROKER_FIELDS, _endpoints),
    Kind(r"/brokers/seqid", "its version is the last id that was given to a broker without one"),
    Kind(r"/brokers/topics", "all topics"),
    Kind(
        r"/brokers/topics/[^/]+",
        "a topic: which brokers have each partition",
        {
            "partitions": "replicas by partition, the preferred leader first",
            "topic_id": "differs from that of an earlier topic of this name",
            "adding_replicas": "those that a reassignment adds",
            "removing_replicas": "those that it takes away",
            "version": _VERSION,
        },
        _topic_words,
    ),
    Kind(r"/brokers/topics/[^/]+/partitions", "a topic's partitions"),
    Kind(r"/brokers/topics/[^/]+/partitions/\d+", "a partition"),
    Kind(
        r"/brokers/topics/[^/]+/partitions/\d+/state", "who leads a partition, and its ISR", _STATE_FIELDS, _state_words
    ),
    Kind(
        r"/controller",
        "the active controller: who made this ephemeral znode",
        {
            "brokerid": "who it is",
            "timestamp": "since when, ms since 1970",
            "kraftControllerEpoch": "-1, but while a cluster is moved to KRaft",
            "version": _VERSION,
        },
        lambda found: f"broker {found.get('brokerid', '?')}",
    ),
    Kind(r"/controller_epoch", "the fencing token: every write of the controller checks that it is still its own"),
    Kind(r"/cluster", "the cluster's id"),
    Kind(r"/cluster/id", "the cluster's id", {"id": "as clients see it", "version": _VERSION}, lambda f: str(f["id"])),
    Kind(r"/config", "configs that were set while the cluster ran"),
    Kind(r"/config/changes", "notifications: somebody changed a config"),
    Kind(
        r"/config/changes/.+",
        "a notification that a config was changed; brokers read it and look again",
        {"entity_path": "whose config", "version": _VERSION},
        lambda found: str(found.get("entity_path", "")),
    ),
    Kind(r"/config/(topics|brokers|clients|users|ips)", "overrides, one znode each"),
    Kind(r"/config/(topics|brokers|clients|users|ips)/.+", "overrides", _CONFIG_FIELDS, _config_words),
    Kind(r"/admin", "what was asked of the controller"),
    Kind(r"/admin/delete_topics", "topics that are to be deleted"),
    Kind(r"/admin/delete_topics/.+", "a topic that is to be deleted"),
    Kind(
        r"/admin/reassign_partitions",
        "a reassignment as tools before Kafka 2.4 asked for it",
        {"partitions": "topic, partition, and the replicas that it is to have", "version": _VERSION},
    ),
    Kind(
        r"/admin/preferred_replica_election",
        "a preferred leader election that was asked for",
        {"partitions": "topic and partition", "version": _VERSION},
    ),
    Kind(r"/isr_change_notification", "leaders tell the controller that they changed an ISR"),
    Kind(r"/log_dir_event_notification", "brokers tell the controller that a log directory failed"),
    Kind(
        r"/latest_producer_id_block",
        "the last block of producer ids that was given out",
        {
            "broker": "to which broker",
            "block_start": "its first id",
            "block_end": "its last id",
            "version": _VERSION,
        },
        lambda found: f"{found.get('block_start')}–{found.get('block_end')} to broker {found.get('broker')}",
    ),
    Kind(
        r"/feature",
        "finalized features",
        {
            "features": "each with its level",
            "status": "1: in force, 0: features are not used",
            "version": _VERSION,
        },
        lambda found: (
            " ".join(f"{name} {level}" for name, level in (found.get("features") or {}).items())
            or ("no feature is finalized" if found.get("status") else "features are not used")
        ),
    ),
    Kind(r"/migration", "how far the move to KRaft has come"),
    Kind(r"/consumers", "groups that keep their offsets in ZooKeeper"),
    Kind(r"/consumers/[^/]+", "a group"),
    Kind(r"/consumers/[^/]+/offsets", "its committed offsets"),
    Kind(r"/consumers/[^/]+/offsets/[^/]+", "of a topic, by partition"),
    Kind(r"/consumers/[^/]+/offsets/[^/]+/\d+", "a committed offset: the next record that the group reads"),
    Kind(r"/consumers/[^/]+/ids", "its members, of consumers before 0.9"),
    Kind(r"/consumers/[^/]+/owners", "which of them reads which partition"),
    Kind(r"/kafka-acl(-extended)?", "who may do what"),
    Kind(r"/kafka-acl(-extended)?-changes(/.+)?", "notifications: somebody changed an ACL"),
    Kind(r"/kafka-acl(-extended)?/.+", "ACLs of a resource", {"acls": "who may do what", "version": _VERSION}),
    Kind(r"/delegation_token(/.+)?", "delegation tokens"),
    Kind(r"/kconsole", "what kconsole keeps that Kafka 3.9 has no place for"),
    Kind(
        r"/kconsole/metadata",
        "how far the metadata have come: followers watch it and read what is behind",
        {
            "offset": "of the last record that was written",
            "epoch": "of the controller that wrote it",
            "first": "the first offset that is still in /kconsole/log",
            "version": _VERSION,
        },
        lambda found: f"offset {found.get('offset'):,} · controller epoch {found.get('epoch')}",
    ),
    Kind(r"/kconsole/log", "the last batches of metadata records, by base offset"),
    Kind(r"/kconsole/log/\d+", "a batch of metadata records, as it was written in one transaction"),
    Kind(r"/kconsole/brokers", "registrations, also of brokers that are down"),
    Kind(
        r"/kconsole/brokers/\d+",
        "a broker's registration: it outlives the broker",
        {
            "broker_epoch": "of this registration: requests with an older one are refused",
            "incarnation_id": "of the process that registered",
            "fenced": "true: the controller counts it as down",
            "in_controlled_shutdown": "it is leaving, and leads nothing any more",
            "changed_ms": "since when it is as it is, ms since 1970",
            "log_dirs": "ids of its log directories that work",
            "features": "the levels that it can do",
            "version": _VERSION,
        },
        _registration_words,
    ),
    Kind(r"/kconsole/controllers(/\d+)?", "registrations of controllers"),
    Kind(r"/kconsole/features", "finalized features that Kafka 3.9 does not know"),
    Kind(r"/kconsole/config(/.+)?", "configs of kinds that Kafka 3.9 does not know"),
    Kind(r"/kconsole/acls(/.+)?", "ACLs of resources whose names cannot be part of a path"),
    Kind(r"/kconsole/offsets(/.+)?", "of committed offsets, what /consumers has no place for"),
    Kind(r"/kconsole/offsets_coordinators(/\d+)?", "the epoch of who keeps the offsets of a partition's groups"),
    Kind(r"/kconsole/epoch", "the epoch of the last controller that was kconsole's, not Apache Kafka's"),
    Kind(r"/kconsole/migrated", "the metadata was moved to KRaft: this tree is of the past"),
)
_COMPILED = tuple((re.compile(kind.pattern), kind) for kind in KINDS)
LOG_BATCH = re.compile(r"/kconsole/log/\d+")


def kind_of(path: str) -> Kind | None:
    """The kind that a path has, which begins below the chroot."""
    return next((kind for pattern, kind in _COMPILED if pattern.fullmatch(path)), None)


def private(path: str) -> Meaning:
    """Of a znode whose ACL keeps its value from this console."""
    kind = kind_of(path)
    return Meaning(kind.what if kind is not None else "", _PRIVATE)


def meaning_of(path: str, data: bytes, records_of: RecordsOf) -> Meaning:
    """What a znode's value says."""
    kind = kind_of(path)
    what = kind.what if kind is not None else ""
    if not data or data == b"null":
        return Meaning(what, "")
    if LOG_BATCH.fullmatch(path):
        records = records_of(data)
        if records is not None:
            said = f"{text.plural(len(records), 'record')}: {', '.join(_names(records))}"
            return Meaning(what, said, [without_secrets(each) for each in records])
    try:
        document = json.loads(data)
    except (UnicodeDecodeError, ValueError):
        said = _as_text(data)
        return Meaning(what, said or f"{text.count(len(data))} bytes", said)
    document = without_secrets(document)
    if not isinstance(document, dict) or kind is None:
        return Meaning(what, _short(document), document)
    summary = _short(document)
    if kind.short is not None:
        try:
            summary = kind.short(document)
        except (AttributeError, KeyError, TypeError, ValueError):
            # Not as Kafka writes it: shown as it is.
            summary = _short(document)
    return Meaning(what, harmless(summary), document, kind.fields)


def _names(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Types of records, each once, with how many."""
    counts: dict[str, int] = {}
    for each in records:
        name = str(each.get("type", "?"))
        counts[name] = counts.get(name, 0) + 1
    return [name if number == 1 else f"{number} {name}" for name, number in counts.items()]


def _short(document: Any) -> str:
    return harmless(json.dumps(document, ensure_ascii=False, separators=(",", ":")))


def _as_text(data: bytes) -> str:
    try:
        found = data.decode()
    except UnicodeDecodeError:
        return ""
    return found if found.isprintable() else ""


def without_secrets(document: Any, name: str = "") -> Any:
    """The same without what nobody is to see."""
    if isinstance(document, Mapping):
        of = str(document.get("name", ""))
        if _SECRET.search(of) and "value" in document:
            # A config in a record: its name says what its value is.
            document = {**document, "value": _HIDDEN}
        return {str(key): without_secrets(each, str(key)) for key, each in document.items()}
    if isinstance(document, list | tuple):
        return [without_secrets(each, name) for each in document]
    return _HIDDEN if name and _SECRET.search(name) and document not in (None, "", {}) else document


def _on_one_line(name: str, value: Any, comma: bool) -> list[Cell]:
    """A list of ids or names, where it is short; else nothing."""
    said = json.dumps(value, ensure_ascii=False)
    if not (isinstance(value, list) and value and len(said) <= 60) or any(isinstance(e, list | dict) for e in value):
        return []
    end = Span(",", "muted") if comma else Span("", "muted")
    return [(Span(f"  {json.dumps(name)}", "accent"), Span(": ", "muted"), Span(said, json_tone(value[0])), end)]


def meaning_lines(meaning: Meaning, data: bytes) -> list[Cell]:
    """The value, field by field with what each means; what is no JSON as it is."""
    if not data:
        return [cell(meaning.summary or "no value", "muted")]
    document = meaning.document
    if document is None or document == "":
        return hex_lines(data)
    if isinstance(document, str) and not data.startswith(b'"'):
        return [cell(document)]
    if not isinstance(document, dict):
        return json_lines(document)
    lines: list[Cell] = [cell("{", "muted")]
    for at, (name, value) in enumerate(document.items()):
        comma = at < len(document) - 1
        below = _on_one_line(str(name), value, comma) or json_lines(value, 1, str(name), comma)
        about = meaning.fields.get(name, "")
        if about:
            below[0] = (*below[0], Span(f"   ← {about}", "muted"))
        lines += below
    return [*lines, cell("}", "muted")]

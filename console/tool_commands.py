"""The ``kafka-*.sh`` command lines that do what administration screens do. Pure; secrets never stand in them."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence

from console.viewmodel.acls import AclRow
from console.viewmodel.client_quotas import QuotaChange, written
from console.viewmodel.configs import BROKER, DELETE, GROUP, TOPIC, ConfigOf, ConfigValue, Edit, outcome
from console.viewmodel.producers import ProducerRow
from console.viewmodel.scram_users import ScramRow, ScramWish

_ENTITY_TYPES = {TOPIC: "topics", BROKER: "brokers", GROUP: "groups"}
_QUOTA_TYPES = {"user": "users", "client-id": "clients", "ip": "ips"}
# Where a secret goes: the shell that runs the command has it, in SECRET.
_SECRET = "\0"
_RESOURCE_OPTIONS = {"USER": "--user-principal"}


def tool(name: str, bootstrap: str, *arguments: str) -> str:
    """``kafka-NAME.sh --bootstrap-server … ARGUMENTS``, quoted for a shell."""
    server = bootstrap.split(",")[0] or "localhost:9092"
    # The quotes that an argument with such a mark has are closed and opened again around it.
    quoted = (shlex.quote(each).replace(_SECRET, "'\"$SECRET\"'") for each in arguments)
    return " ".join([f"kafka-{name}.sh", "--bootstrap-server", server, *quoted])


def alter_configs_command(
    bootstrap: str, of: ConfigOf, configs: Mapping[str, ConfigValue], edits: Sequence[Edit]
) -> str:
    """kafka-configs.sh --alter; it knows no append and subtract, so a list is given whole."""
    entity = ["--entity-name", of.name] if of.name else ["--entity-default"]
    arguments = ["--alter", "--entity-type", _ENTITY_TYPES[of.kind], *entity]
    set_ = []
    for edit in edits:
        if edit.op == DELETE:
            continue
        config = configs.get(edit.name)
        value = edit.value if config is None else outcome(config, edit, of.level).value or ""
        if config is not None and config.sensitive:
            value = _SECRET
        set_.append(f"{edit.name}={'[' + value + ']' if ',' in value else value}")
    unset = [edit.name for edit in edits if edit.op == DELETE]
    if set_:
        arguments += ["--add-config", ",".join(set_)]
    if unset:
        arguments += ["--delete-config", ",".join(unset)]
    return tool("configs", bootstrap, *arguments)


def acl_command(bootstrap: str, row: AclRow, *, remove: bool = False) -> str:
    """kafka-acls.sh --add or --remove."""
    kind = "allow" if row.permission == "ALLOW" else "deny"
    option = _RESOURCE_OPTIONS.get(row.resource_type, f"--{row.resource_type.lower().replace('_', '-')}")
    arguments = ["--remove", "--force"] if remove else ["--add"]
    arguments += [f"--{kind}-principal", row.principal]
    if row.host != "*":
        arguments += [f"--{kind}-host", row.host]
    arguments += ["--operation", "".join(each.capitalize() for each in row.operation.split("_"))]
    arguments += [option] if row.resource_type == "CLUSTER" else [option, row.resource_name]
    if row.pattern_type == "PREFIXED":
        arguments += ["--resource-pattern-type", "prefixed"]
    return tool("acls", bootstrap, *arguments)


def set_scram_command(bootstrap: str, wish: ScramWish) -> str:
    """kafka-configs.sh --alter; the password does not stand there."""
    config = f"{wish.mechanism}=[iterations={wish.iterations},password={_SECRET}]"
    arguments = ("--alter", "--add-config", config, "--entity-type", "users", "--entity-name", wish.user)
    return tool("configs", bootstrap, *arguments)


def delete_scram_command(bootstrap: str, row: ScramRow) -> str:
    """kafka-configs.sh --alter."""
    arguments = ("--alter", "--delete-config", row.mechanism, "--entity-type", "users", "--entity-name", row.user)
    return tool("configs", bootstrap, *arguments)


def quota_command(bootstrap: str, change: QuotaChange) -> str:
    """kafka-configs.sh --alter."""
    arguments = ["--alter"]
    set_ = [f"{key}={written(value)}" for key, value in change.changes.items() if value is not None]
    unset = [key for key, value in change.changes.items() if value is None]
    if set_:
        arguments += ["--add-config", ",".join(set_)]
    if unset:
        arguments += ["--delete-config", ",".join(unset)]
    for kind, name in sorted(change.entity, key=lambda part: part[0] != "user"):
        arguments += ["--entity-type", _QUOTA_TYPES[kind]]
        arguments += ["--entity-default"] if name is None else ["--entity-name", name]
    return tool("configs", bootstrap, *arguments)


def abort_command(bootstrap: str, row: ProducerRow) -> str:
    """kafka-transactions.sh abort."""
    place = ("--topic", row.topic, "--partition", str(row.partition))
    return tool("transactions", bootstrap, "abort", *place, "--start-offset", str(row.transaction_start_offset))


def terminate_command(bootstrap: str, transactional_id: str) -> str:
    """kafka-transactions.sh forceTerminateTransaction."""
    return tool("transactions", bootstrap, "forceTerminateTransaction", "--transactionalId", transactional_id)


def delete_records_command(bootstrap: str, offsets: Mapping[tuple[str, int], int]) -> str:
    """kafka-delete-records.sh."""
    partitions = [
        {"topic": topic, "partition": partition, "offset": offset} for (topic, partition), offset in offsets.items()
    ]
    wanted = json.dumps({"partitions": partitions, "version": 1})
    return f"{tool('delete-records', bootstrap, '--offset-json-file')} <(echo {shlex.quote(wanted)})"

"""Access control lists as rows, and what a form says of a new one. Pure; words are Kafka's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from console.viewmodel.cells import Cell, Column, Span, cell

# As Kafka's enums name them.
RESOURCES = ("TOPIC", "GROUP", "CLUSTER", "TRANSACTIONAL_ID", "DELEGATION_TOKEN", "USER")
PATTERNS = ("LITERAL", "PREFIXED")
PERMISSIONS = ("ALLOW", "DENY")
# Which operations an entry about a resource may be of (AclEntry.supportedOperations); ALL is for each.
OPERATIONS: Mapping[str, tuple[str, ...]] = {
    "TOPIC": ("READ", "WRITE", "CREATE", "DELETE", "ALTER", "DESCRIBE", "DESCRIBE_CONFIGS", "ALTER_CONFIGS"),
    "GROUP": ("READ", "DELETE", "DESCRIBE", "DESCRIBE_CONFIGS", "ALTER_CONFIGS"),
    "CLUSTER": (
        *("CREATE", "ALTER", "DESCRIBE", "CLUSTER_ACTION", "DESCRIBE_CONFIGS", "ALTER_CONFIGS", "IDEMPOTENT_WRITE"),
    ),
    "TRANSACTIONAL_ID": ("WRITE", "DESCRIBE", "TWO_PHASE_COMMIT"),
    "DELEGATION_TOKEN": ("DESCRIBE",),
    "USER": ("CREATE_TOKENS", "DESCRIBE_TOKENS"),
}
ALL_OPERATIONS = ("ALL", *dict.fromkeys(each for names in OPERATIONS.values() for each in names))
CLUSTER_NAME = "kafka-cluster"
ANY = "ANY"


class AclRow(NamedTuple):
    """An entry."""

    resource_type: str
    resource_name: str
    pattern_type: str
    principal: str
    host: str
    operation: str
    permission: str
    age_ms: float = 0.0

    @property
    def key(self) -> str:
        """All of it."""
        return " ".join(self[:7])

    @property
    def is_healthy(self) -> bool:
        """``ctrl-z`` shows what denies."""
        return self.permission != "DENY"

    def words(self) -> str:
        """``User:alice from * may READ TOPIC orders``."""
        may = "may" if self.permission == "ALLOW" else "may not"
        pattern = "" if self.pattern_type == "LITERAL" else f" ({self.pattern_type.lower()})"
        what = f"{self.operation} {self.resource_type} {self.resource_name}{pattern}"
        return f"{self.principal} from {self.host} {may} {what}"


class AclWish(NamedTuple):
    """A filter that the brokers apply: ``None`` and ANY take everything, MATCH all that hold for a name."""

    resource_type: str = ANY
    resource_name: str | None = None
    pattern_type: str = ANY
    principal: str | None = None
    host: str | None = None
    operation: str = ANY
    permission: str = ANY

    def words(self) -> str:
        """What it leaves: empty for all."""
        said = [each for each in (self.resource_type, self.operation, self.permission) if each != ANY]
        said += [each for each in (self.resource_name, self.principal, self.host) if each]
        return ", ".join(said) + (" (that hold for it)" if self.pattern_type == "MATCH" and said else "")


def acl_of(values: Mapping[str, str]) -> AclRow:
    """The entry of a form. Raises: ValueError: a sentence."""
    resource, operation = values["resource"], values["operation"]
    name = CLUSTER_NAME if resource == "CLUSTER" else values["name"].strip()
    principal, host = values["principal"].strip(), values["host"].strip() or "*"
    if not name:
        raise ValueError(f"a name is needed: of a {resource.lower()}, or * for all")
    if ":" not in principal or not all(principal.split(":", 1)):
        raise ValueError("a principal is TYPE:NAME, as User:alice, or User:* for everybody")
    if operation != "ALL" and operation not in OPERATIONS[resource]:
        raise ValueError(f"{resource} knows no {operation}: ALL, {', '.join(OPERATIONS[resource])}")
    pattern = "LITERAL" if resource == "CLUSTER" else values["pattern"]
    if pattern == "PREFIXED" and name == "*":
        raise ValueError("* stands for all names with LITERAL alone")
    return AclRow(resource, name, pattern, principal, host, operation, values["permission"])


def _permission(row: AclRow) -> Cell:
    return cell(row.permission, "in_sync" if row.permission == "ALLOW" else "offline")


def _resource(row: AclRow) -> Cell:
    star = (Span("*", "muted"),) if row.pattern_type == "PREFIXED" else ()
    return (Span(row.resource_name), *star)


ACL_COLUMNS: tuple[Column, ...] = (
    Column("principal", "PRINCIPAL", lambda row: cell(row.principal), 16, lambda row: row.principal, max_width=60),
    Column("permission", "", _permission, 5, lambda row: row.permission),
    Column("operation", "OPERATION", lambda row: cell(row.operation), 9, lambda row: row.operation, max_width=16),
    Column(
        "type",
        "RESOURCE",
        lambda row: cell(row.resource_type.lower(), "muted"),
        8,
        lambda row: row.resource_type,
        max_width=16,
    ),
    Column("name", "NAME", _resource, 14, lambda row: row.resource_name, max_width=70, cut_middle=True),
    Column(
        "pattern",
        "PATTERN",
        lambda row: cell(row.pattern_type.lower(), "muted"),
        8,
        lambda row: row.pattern_type,
        priority=2,
    ),
    Column("host", "HOST", lambda row: cell(row.host), 9, lambda row: row.host, priority=1, max_width=40),
)

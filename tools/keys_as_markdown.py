"""Writes the tables of keys and commands in docs/console.md anew from console/keymap.py and console/commands.py.

``python tools/keys_as_markdown.py`` after a change of either; a test compares.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from console.commands import COMMANDS  # noqa: E402
from console.keymap import KEYS  # noqa: E402

PAGE = ROOT / "docs" / "console.md"
BEGIN, END = "<!-- made by tools/keys_as_markdown.py: begin -->", "<!-- made by tools/keys_as_markdown.py: end -->"
_SCOPES = {
    "global": "Everywhere",
    "time": "Time (everywhere but in simulations)",
    "transactions": "Transactions",
    "table": "In every table",
    "marks": "In tables with marks (Cluster, Topics, Partitions)",
    "simulation": "Simulation (`kconsole sim`)",
    "cluster": "Cluster",
    "topics": "Topics",
    "partitions": "Partitions",
    "impact": "What if",
    "faults": "Faults",
    "streams": "Streams",
    "application": "Application (of Streams)",
    "topology": "Topology (of an application)",
    "stores": "Stores (of an application)",
    "store": "Store",
    "connect": "Connectors",
    "connector": "A connector's tasks",
    "connector-offsets": "A connector's offsets",
    "why": "On Cluster, Topics, Partitions and Groups",
    "zookeeper": "ZooKeeper",
    "moves": "Moves",
    "plots": "Plots",
    "connections": "Connections",
    "wire": "Wire",
    "segments": "Segments",
    "batches": "Batches of a segment",
    "records": "Records",
    "record": "A whole record",
    "groups": "Groups",
    "group": "One group",
    "events": "Events",
    "log": "Broker log",
    "failover": "Failover",
    "workload": "Workload",
    "configs": "Configs",
    "compare": "Configs compared",
    "acls": "ACLs",
    "users": "Users",
    "quotas": "Quotas",
    "log-dirs": "Log directories",
    "log-dir": "Replicas of a log directory",
    "producers": "Producers",
    "hanging": "Hanging transactions",
    "schemas": "Schemas",
    "schema": "Versions of a schema",
    "contexts": "Contexts",
    "preview": "In a plan to be looked at",
    "plan": "A plan of moves",
    "commands": "Acts",
    "prompt": "While a command or filter is typed",
    "choice": "In a choice",
    "detail": "In a box to read",
    "confirm": "In a question",
    "form": "In a form",
}


def tables() -> str:
    """All tables as Markdown."""
    missing = {key.scope for key in KEYS} - set(_SCOPES)
    assert not missing, f"name the scopes {missing} here"
    lines: list[str] = []
    for scope, title in _SCOPES.items():
        lines += [f"**{title}**", "", "| key | what it does |", "|---|---|"]
        for key in KEYS:
            if key.scope == scope:
                about = f": {key.help}" if key.help else ""
                lines.append(f"| {_code(key.display)} | {_cell(key.label + about)} |")
        lines.append("")
    lines += ["**Commands** (after `:`)", "", "| command | short | what it does |", "|---|---|---|"]
    for command in COMMANDS:
        name = command.name + (f" {command.argument.upper()}" if command.argument else "")
        short = " ".join(_code(each) for each in command.aliases)
        lines.append(f"| {_code(name)} | {short} | {_cell(command.help)} |")
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _code(text: str) -> str:
    return " ".join(f"`{_cell(word)}`" for word in ([text] if text.isascii() else text.split()))


def page(text: str) -> str:
    """The page with the tables put in."""
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}\n\n{tables()}\n{END}{tail}"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))

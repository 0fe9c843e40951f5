"""Writes docs/protocol.md anew: which APIs are served in which versions, what is not honoured, how Kafka differs.

``make protocol-page`` after a change of an API; a test compares. What is served comes from ``API`` of each module that
engine/broker/broker.py lists, what it does and does not do from the module's docstring (what follows "Not honoured:",
"Not built yet:" or "Not done:" up to the end of the paragraph goes to the table), what Apache Kafka serves from its own
kafka-broker-api-versions.sh, kept in tests/golden. Differences need a reason in ``REASONS``.
"""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from engine.broker.api_modules import API_MODULES, TELEMETRY_MODULES  # noqa: E402
from engine.broker.api_spec import ApiSpec  # noqa: E402
from engine.wire import apis  # noqa: E402
from engine.wire.apis import ApiKey  # noqa: E402

PAGE = ROOT / "docs" / "protocol.md"
KAFKA_LISTING = ROOT / "tests" / "golden" / "kafka-broker-api-versions-4.3.1.txt"
NOT_HONOURED = re.compile(r"\b(?:Not honoured|Not built yet|Not done): ")

# Why the listing differs from Apache Kafka 4.3.1's; a difference without a reason makes no page. A reason without a
# difference is passed over: who adds an API need not touch this table.
_SASL = "there is no SASL yet: listeners are PLAINTEXT"
_TRANSACTIONS = "transactions are being built"
REASONS: dict[int, str] = {
    ApiKey.SASL_HANDSHAKE: _SASL,
    ApiKey.SASL_AUTHENTICATE: _SASL,
    ApiKey.ADD_PARTITIONS_TO_TXN: _TRANSACTIONS,
    ApiKey.ADD_OFFSETS_TO_TXN: _TRANSACTIONS,
    ApiKey.END_TXN: _TRANSACTIONS,
    ApiKey.WRITE_TXN_MARKERS: _TRANSACTIONS,
    ApiKey.TXN_OFFSET_COMMIT: _TRANSACTIONS,
    ApiKey.DESCRIBE_PRODUCERS: _TRANSACTIONS,
    ApiKey.DESCRIBE_TRANSACTIONS: _TRANSACTIONS,
    ApiKey.LIST_TRANSACTIONS: _TRANSACTIONS,
}


class Served(NamedTuple):
    """One implemented API: what it declares, and its module's docstring."""

    spec: ApiSpec
    module: str
    docstring: str

    @property
    def versions(self) -> tuple[int, int]:
        """As ApiVersions advertises them (see api_versions.py about Produce)."""
        return 0 if self.spec.key is ApiKey.PRODUCE else self.spec.min_version, self.spec.max_version


def served() -> list[Served]:
    """All implemented APIs by key."""
    found = []
    for name in (*API_MODULES, *TELEMETRY_MODULES):
        module = importlib.import_module(f"engine.broker.apis.{name}")
        found.append(Served(module.API, name, module.__doc__ or ""))
    return sorted(found, key=lambda each: int(each.spec.key))


def listing(text: str) -> dict[int, tuple[int, int]]:
    """The APIs that kafka-broker-api-versions.sh lists as usable: key → lowest and highest version."""
    found = re.findall(r"\((\d+)\): (\d+)(?: to (\d+))? \[usable", text)
    return {int(key): (int(low), int(high or low)) for key, low, high in found}


def differences() -> dict[int, tuple[str, str]]:
    """Key → what is served here and by Kafka on a broker's listener, where they are not the same."""
    ours = {
        int(each.spec.key): each.versions
        for each in served()
        if "broker" in each.spec.listeners and each.module not in TELEMETRY_MODULES
    }
    kafkas = listing(KAFKA_LISTING.read_text())
    return {
        key: (_versions(ours.get(key)), _versions(kafkas.get(key)))
        for key in sorted({*ours, *kafkas})
        if ours.get(key) != kafkas.get(key)
    }


def page() -> str:
    """The whole page as Markdown."""
    differing = differences()
    unexplained = [ApiKey(key).name for key in differing if key not in REASONS]
    assert not unexplained, f"{', '.join(unexplained)}: differ from Kafka's; give the reason in tools/protocol_page.py"
    apis_served = served()
    kafkas = listing(KAFKA_LISTING.read_text())
    lines = [
        "# Protocol",
        "",
        "Which requests of Kafka's protocol a broker answers, in which versions, and what of them is not honoured.",
        "Made from the code by `tools/protocol_page.py` (`make protocol-page`); a test fails when it is out of date.",
        "ApiVersions advertises exactly this.",
        "",
        "## Differences to Apache Kafka 4.3.1",
        "",
        f"Of the {len(kafkas)} APIs that `kafka-broker-api-versions.sh` lists of a Kafka 4.3.1 broker in its default",
        f"configuration, {len(kafkas.keys() - differing.keys())} are served here in the same versions. The others:",
        "",
        "| key | API | here | Kafka 4.3.1 | why |",
        "|---:|---|---|---|---|",
    ]
    lines += [
        f"| {key} | {_name(key)} | {ours} | {theirs} | {_cell(REASONS[key])} |"
        for key, (ours, theirs) in differing.items()
    ]
    lines += [
        "",
        "## What is served",
        "",
        "Listener: B the brokers', where clients connect; C the controllers'.",
        "",
        "GetTelemetrySubscriptions and PushTelemetry are served only with `kconsole.client.telemetry.enable`, as Kafka",
        "serves them only with a plugin: neither lists them by default.",
        "",
        "Where ZooKeeper coordinates the cluster, clients are served that are as old as those of Kafka 3.9.",
        "",
        "| key | API | versions | listener | what is not honoured |",
        "|---:|---|---|---|---|",
    ]
    for each in apis_served:
        key = int(each.spec.key)
        where = "".join(kind[0].upper() for kind in each.spec.listeners)
        served_versions = _versions(each.versions)
        if each.spec.zookeeper_min_version is not None:
            served_versions += (
                f" ({_versions((each.spec.zookeeper_min_version, each.spec.max_version))} with ZooKeeper)"
            )
        lines.append(f"| {key} | {_name(key)} | {served_versions} | {where} | {_cell(_not_honoured(each))} |")
    lines += ["", "## One by one", ""]
    for each in apis_served:
        heading, _, rest = each.docstring.strip().partition("\n\n")
        title, _, summary = " ".join(heading.split()).partition(": ")
        lines.append(f"**{title}**: {summary}" if summary else f"**{title}**")
        paragraphs = [" ".join(each.split()) for each in rest.split("\n\n") if each.strip()]
        for paragraph in paragraphs:
            lines += ["", paragraph]
        lines += ["", f"`engine/broker/apis/{each.module}.py`", ""]
    return "\n".join(lines).rstrip() + "\n"


def _not_honoured(each: Served) -> str:
    found = []
    for paragraph in each.docstring.split("\n\n"):
        text = " ".join(paragraph.split())
        match = NOT_HONOURED.search(text)
        if match is not None:
            found.append(text[match.end() :])
    return " ".join(found)


def _name(key: int) -> str:
    return apis.request_class(key).NAME.removesuffix("Request")


def _versions(versions: tuple[int, int] | None) -> str:
    if versions is None:
        return "—"
    low, high = versions
    return str(low) if low == high else f"{low}–{high}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page())

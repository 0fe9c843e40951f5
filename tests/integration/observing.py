"""Whether brokers are well: their processes, their memory, what they wrote into their logs."""

from __future__ import annotations

import re
from pathlib import Path

import psutil

from tests.integration.conftest import Cluster
from tests.integration.raw_client import parse_address

MIB = 1 << 20


def controller_address(cluster: Cluster, broker_id: int) -> tuple[str, int]:
    """Where the node's controller listens; it stands in the properties that the supervisor wrote."""
    assert cluster.data_dir is not None
    text = (cluster.data_dir / f"broker-{broker_id}" / "server.properties").read_text()
    found = re.search(r"^listeners=.*CONTROLLER://([\d.]+):(\d+)", text, re.MULTILINE)
    assert found, text
    return found[1], int(found[2])


class Brokers:
    """The brokers of a cluster as they are when this is made, to be compared with later."""

    def __init__(self, cluster: Cluster) -> None:
        assert cluster.data_dir is not None
        self.cluster = cluster
        self._rows = {row["id"]: row for row in cluster.status()}
        self.pids: dict[int, int] = {broker_id: row["pid"] for broker_id, row in self._rows.items()}
        self._log_sizes = {broker_id: self.log_path(broker_id).stat().st_size for broker_id in self.pids}

    def address(self, broker_id: int) -> tuple[str, int]:
        """Where clients connect."""
        return parse_address(self._rows[broker_id]["address"])

    def log_path(self, broker_id: int) -> Path:
        """broker.log of the incarnation that runs."""
        assert self.cluster.data_dir is not None
        return self.cluster.data_dir / f"broker-{broker_id}" / "broker.log"

    def new_log_lines(self, broker_id: int) -> list[str]:
        """What the broker wrote into its log since this was made."""
        with self.log_path(broker_id).open("rb") as file:
            file.seek(self._log_sizes[broker_id])
            return file.read().decode(errors="replace").splitlines()

    def rss_bytes(self, broker_id: int) -> int:
        """Resident memory now."""
        return int(psutil.Process(self.pids[broker_id]).memory_info().rss)

    def peak_rss_bytes(self, broker_id: int) -> int:
        """The most resident memory since the process began, or since :meth:`forget_peak_rss`."""
        text = Path(f"/proc/{self.pids[broker_id]}/status").read_text()
        found = re.search(r"^VmHWM:\s+(\d+) kB", text, re.MULTILINE)
        assert found
        return int(found[1]) * 1024

    def forget_peak_rss(self, broker_id: int) -> None:
        """Begin the peak anew (proc(5): clear_refs 5)."""
        Path(f"/proc/{self.pids[broker_id]}/clear_refs").write_text("5")

    def assert_unharmed(self) -> None:
        """The same processes run, and none of them wrote of an error."""
        assert {row["id"]: row["pid"] for row in self.cluster.status()} == self.pids, "a broker died"
        for broker_id in self.pids:
            bad = [
                line
                for line in self.new_log_lines(broker_id)
                if "Traceback" in line or re.search(r" (ERROR|CRITICAL) ", line)
            ]
            assert bad == [], "\n".join(self.new_log_lines(broker_id)[-100:])

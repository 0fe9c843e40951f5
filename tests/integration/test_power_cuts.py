"""Real brokers whose disks lose what was not synced: nothing acknowledged goes, and a disk that lies is found out."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from engine.chaos.power import PowerDisk, sweep, why_no_power_cuts

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(150)]


@pytest.fixture(autouse=True, scope="module")
def power_can_be_cut() -> None:
    """Said at the end of the run where it cannot (-ra in pyproject.toml)."""
    why_not = why_no_power_cuts()
    if why_not:
        pytest.skip(f"NOT CHECKED HERE, power cuts of real disks: {why_not}")


def chaos(directory: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "engine.chaos", "--dir", str(directory), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # Where the tests run in the background a shell has them ignore it, and all that they start.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Exit status and output. A run is ended by SIGTERM, so that it takes its brokers and mounts along."""
    try:
        output, _ = process.communicate(timeout=130)
    except subprocess.TimeoutExpired:
        process.terminate()
        output, _ = process.communicate(timeout=30)
        raise AssertionError(f"it does not end: {output[-8000:]}") from None
    return process.returncode, output


def mounted_in(directory: Path) -> list[str]:
    return [line for line in Path("/proc/self/mounts").read_text().splitlines() if str(directory) in line]


def test_nothing_acknowledged_is_lost_when_all_brokers_lose_their_power(tmp_path: Path) -> None:
    status, output = ended(chaos(tmp_path, "--power-cuts", "3", "--seed", "3", "--rate", "800"))
    assert status == 0, output[-8000:]
    assert "\npower cuts: 3, SIGKILLs: 0, acknowledged records lost: 0\n" in output, output[-8000:]
    acknowledged = re.match(r"chaos ok: 0 anomalies; ([\d,]+) records acknowledged", output.splitlines()[-1])
    assert acknowledged and int(acknowledged[1].replace(",", "")) > 500, output[-8000:]
    assert not mounted_in(tmp_path)


def test_with_fsync_made_a_no_op_the_same_power_cut_is_found_to_lose_records(tmp_path: Path) -> None:
    status, output = ended(chaos(tmp_path, "--power-cuts", "1", "--lying-disks", "--seed", "1"))
    assert status == 0, output[-8000:]
    by_offsets = re.search(r"^power cuts: 1, SIGKILLs: 0, acknowledged records lost: (\d+)$", output, re.MULTILINE)
    assert by_offsets and int(by_offsets[1]) > 0, output[-8000:]
    by_history = re.match(r"chaos ok: the checker reports (\d+) records lost or replaced", output.splitlines()[-1])
    assert by_history and int(by_history[1]) > 0, output[-8000:]


def test_a_run_that_is_interrupted_leaves_no_mounts(tmp_path: Path) -> None:
    process = chaos(tmp_path, "--power-cuts", "50", "--seed", "1")
    assert process.stdout is not None
    for line in process.stdout:
        if "power cut 1 of" in line:
            break
    assert len(mounted_in(tmp_path)) == 3
    process.send_signal(signal.SIGINT)
    status, output = ended(process)
    assert status == 130, output[-8000:]
    assert not mounted_in(tmp_path)


_DIES_WITH_A_DISK = """
import os, signal, sys
from engine.chaos.power import PowerDisk
disk = PowerDisk(sys.argv[1], 32 << 20)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_run_left_mounted_is_swept_and_a_living_ones_is_not(tmp_path: Path) -> None:
    living = PowerDisk(str(tmp_path / "living" / "data"), 32 << 20)
    try:
        left = tmp_path / "left" / "data"
        assert subprocess.run([sys.executable, "-c", _DIES_WITH_A_DISK, str(left)]).returncode == -signal.SIGKILL
        assert len(mounted_in(tmp_path)) == 2
        assert str(left) in sweep()
        assert not list(left.parent.glob("*.img"))
        assert len(mounted_in(tmp_path)) == 1
    finally:
        living.close(keep=False)
    assert not mounted_in(tmp_path)


def test_a_disk_without_power_keeps_what_was_synced_and_nothing_else(tmp_path: Path) -> None:
    disk = PowerDisk(str(tmp_path / "one" / "data"), 32 << 20)
    try:
        path = Path(disk.directory) / "log"
        with path.open("wb", buffering=0) as file:
            file.write(b"synced")
            disk.sync()
            file.write(b"written")
            disk.cut_power()
            with pytest.raises(OSError):
                file.write(b"too late")
        disk.power_on()
        assert path.read_bytes() == b"synced"
    finally:
        disk.close(keep=True)
    assert path.read_bytes() == b"synced"
    assert not mounted_in(tmp_path)

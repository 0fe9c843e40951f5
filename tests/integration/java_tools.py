"""Kafka's own command-line tools (Java), in one JVM that stays warm for all tests of the session."""

from __future__ import annotations

import atexit
import base64
import shutil
import subprocess
import threading
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
KAFKA_LIBS = ROOT / ".cache" / "kafka-4.3.1" / "libs"


class ToolResult(NamedTuple):
    """What a tool left behind."""

    exit_code: int
    out: str
    err: str


class JavaTools:
    """The JVM with a Kafka's jars; see ``java/Tools.java``."""

    def __init__(self, libs: Path = KAFKA_LIBS) -> None:
        assert libs.is_dir(), f"{libs} is missing: run `make jars zookeeper`"
        assert shutil.which("java"), "java is missing: run `make tools`"
        options = ["-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dlog4j2.level=ERROR"]
        options += ["-Dorg.slf4j.simpleLogger.defaultLogLevel=error"]
        source = Path(__file__).with_name("java") / "Tools.java"
        self._process = subprocess.Popen(
            ["java", *options, "-cp", f"{libs}/*", str(source)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def close(self) -> None:
        self._process.kill()
        self._process.wait()

    def run(self, main_class: str, *arguments: str, stdin: str | None = None, timeout_s: float) -> ToolResult:
        """Run one tool and wait for it. Raises ``AssertionError`` when it takes longer than ``timeout_s``."""
        process = self._process
        assert process.stdin is not None and process.stdout is not None
        assert not any("\n" in each or "\x1f" in each for each in arguments)
        fields = [base64.b64encode((stdin or "").encode()).decode(), main_class, *arguments]
        # Java's own thread cannot be stopped: a tool that hangs takes the JVM with it.
        watchdog = threading.Timer(timeout_s, process.kill)
        watchdog.start()
        try:
            process.stdin.write("\x1f".join(fields).encode() + b"\n")
            process.stdin.flush()
            head = process.stdout.readline()
            assert head, f"{main_class} did not end within {timeout_s} s"
            exit_code, out_bytes, err_bytes = map(int, head.split())
            out, err = process.stdout.read(out_bytes), process.stdout.read(err_bytes)
        finally:
            watchdog.cancel()
        return ToolResult(exit_code, out.decode(errors="replace"), err.decode(errors="replace"))


_tools: JavaTools | None = None


def run_tool(main_class: str, *arguments: str, stdin: str | None = None, timeout_s: float = 90) -> ToolResult:
    """Run a tool in the warm JVM, which is started if need be."""
    global _tools
    if _tools is None or not _tools.is_alive:
        _tools = JavaTools()
        atexit.register(_tools.close)
    return _tools.run(main_class, *arguments, stdin=stdin, timeout_s=timeout_s)


def kafka_tool(main_class: str, *arguments: str, stdin: str | None = None, timeout_s: float = 90) -> str:
    """Run a tool that must succeed; its standard output."""
    done = run_tool(main_class, *arguments, stdin=stdin, timeout_s=timeout_s)
    assert done.exit_code == 0, f"{main_class} exited with {done.exit_code}:\n{done.out}\n{done.err}"
    return done.out

"""What looking costs: the console in a terminal, over thousands of partitions and a quick tail: CPU, and the wait for
what a key does."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import termios
import threading
import time
from collections.abc import Callable, Iterator
from itertools import cycle
from statistics import median

import psutil
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from bench.clusters import KCONSOLE, ROOT, KconsoleCluster

_HEIGHT, _WIDTH = 48, 160
_TOPIC_PARTITIONS = 100
_TAIL = "tail"
_TAIL_PARTITIONS = 6
_TAIL_RECORDS_PER_S = 5_000
_KEY_TIMEOUT_S = 2.0
_ROW, _LINE, _CURSOR, _PROMPT = "row", "line", "cursor", "prompt"
# Where the terminal's cursor goes; the mark of the selected row; the sign of an open prompt.
_TOKENS = re.compile(rb"\x1b\[(?P<row>\d+);\d+H|(?P<line>\n)|(?P<cursor>\xe2\x96\x8c)|m(?P<prompt>:)\x1b")
_UNFINISHED = re.compile(rb"(\x1b[^A-Za-z]*|m:?|\xe2\x96?)$")


class Terminal:
    """A console in a pseudo-terminal, as a terminal emulator has it: it writes keys and reads what is drawn."""

    def __init__(self, *arguments: str) -> None:
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            paths = os.pathsep.join(each for each in (str(ROOT), os.environ.get("PYTHONPATH", "")) if each)
            environment = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor", "PYTHONPATH": paths}
            os.execve(str(KCONSOLE), [str(KCONSOLE), *arguments], environment)
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", _HEIGHT, _WIDTH, 0, 0))
        self._changed = threading.Condition()
        self._rest = b""
        self._row = 0
        self.cursor_row = 0
        self.prompts = 0
        self.drawn_bytes = 0
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                chunk = os.read(self._fd, 1 << 16)
            except OSError:
                return
            if not chunk:
                return
            with self._changed:
                self._take(chunk)
                self._changed.notify_all()

    def _take(self, chunk: bytes) -> None:
        self.drawn_bytes += len(chunk)
        text = self._rest + chunk
        unfinished = _UNFINISHED.search(text)
        end = unfinished.start() if unfinished else len(text)
        self._rest = text[end:]
        for token in _TOKENS.finditer(text, 0, end):
            kind = token.lastgroup
            if kind == _ROW:
                self._row = int(token[_ROW])
            elif kind == _LINE:
                self._row += 1
            elif kind == _CURSOR:
                self.cursor_row = self._row
            elif kind == _PROMPT:
                self.prompts += 1

    def press(self, keys: str) -> None:
        """Write them, as somebody's fingers do."""
        os.write(self._fd, keys.encode())

    def answered_in_ms(self, key: str, holds: Callable[[], bool]) -> float:
        """From the key to the bytes that show what it did.

        Raises:
            SystemExit: nothing came.
        """
        with self._changed:
            began = time.perf_counter()
            self.press(key)
            if not self._changed.wait_for(holds, _KEY_TIMEOUT_S):
                raise SystemExit(f"the console did not answer {key!r} within {_KEY_TIMEOUT_S} s")
            return (time.perf_counter() - began) * 1_000

    def close(self) -> None:
        """Leave by its own command."""
        self.press("\x1b")
        time.sleep(0.2)
        self.press(":q\r")
        os.waitpid(self.pid, 0)
        os.close(self._fd)


class _Tail:
    """A producer that keeps a pace."""

    def __init__(self, bootstrap: str) -> None:
        self._producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 5, "log_level": 0})
        self._ending = threading.Event()
        self.sent = 0
        self.began = time.monotonic()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._ending.is_set():
            due = int((time.monotonic() - self.began) * _TAIL_RECORDS_PER_S)
            for number in range(self.sent, due):
                self._producer.produce(_TAIL, b'{"number": %d, "customer": "c-%d"}' % (number, number % 97), b"k")
            self.sent = due
            self._producer.poll(0)
            time.sleep(0.02)

    def close(self) -> float:
        """Records a second over its life."""
        took = time.monotonic() - self.began
        self._ending.set()
        self._thread.join()
        self._producer.flush(10)
        return self.sent / took


def _make_topics(bootstrap: str, partitions: int) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap})
    wide = [NewTopic(f"wide-{number:02}", _TOPIC_PARTITIONS, 3) for number in range(partitions // _TOPIC_PARTITIONS)]
    for made in admin.create_topics([*wide, NewTopic(_TAIL, _TAIL_PARTITIONS, 3)], request_timeout=60).values():
        made.result(90)


def measure(cluster: KconsoleCluster, partitions: int, seconds: float = 15, keys: int = 20) -> Iterator[str]:
    """A line a screen: CPU of the console's process in percent of one core while it is looked at for ``seconds``, and
    the wait for ``keys`` keys."""
    _make_topics(cluster.bootstrap, partitions)
    tail = _Tail(cluster.bootstrap)
    console = Terminal("--data-dir", str(cluster.data_dir))
    try:
        process = psutil.Process(console.pid)
        time.sleep(5)
        for name, command in (
            ("cluster", "cluster"),
            ("topics", "topics"),
            ("partitions", "partitions wide-00"),
            ("events", "events"),
            ("quorum", "quorum"),
            ("records", f"records {_TAIL}"),
        ):
            console.press(":")
            time.sleep(0.3)
            console.press(f"{command}\r")
            time.sleep(3)
            began, used, drawn = time.monotonic(), sum(process.cpu_times()[:2]), console.drawn_bytes
            time.sleep(seconds)
            took = time.monotonic() - began
            percent = (sum(process.cpu_times()[:2]) - used) / took * 100
            kib = (console.drawn_bytes - drawn) / took / 1024
            # What follows stands at its end, all others at their beginning.
            waits = list(_press_keys(console, keys, "kj" if name in ("events", "records") else "jk"))
            yield (
                f"look at {name}: {percent:.1f} % of one core, {kib:.0f} KiB/s drawn; a key is answered in "
                f"{median(waits):.0f} ms, at most {max(waits):.0f} ms"
            )
        rss = process.memory_info().rss / (1 << 20)
    finally:
        console.close()
        rate = tail.close()
    yield f"look: {partitions:,} partitions, a tail of {rate:,.0f} records/s, {_WIDTH}x{_HEIGHT}, RSS {rss:.0f} MiB"


def _press_keys(console: Terminal, keys: int, turns: str) -> Iterator[float]:
    """Up and down in turn, and the prompt each fourth time; at the pace of a person."""
    moves = cycle(turns)
    for number in range(keys):
        if number % 4 == 3:
            before = console.prompts
            yield console.answered_in_ms(":", lambda before=before: console.prompts > before)
            time.sleep(0.1)
            console.press("\x1b")
            time.sleep(0.3)
            continue
        row = console.cursor_row
        yield console.answered_in_ms(next(moves), lambda row=row: console.cursor_row != row)
        time.sleep(0.25)

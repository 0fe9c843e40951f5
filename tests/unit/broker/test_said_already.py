"""What a supervised broker finds in its standard input when it starts."""

from __future__ import annotations

import os

from engine.broker.main import _said_already


def test_what_was_said_before_is_read_to_the_end_of_its_line_and_nothing_is_waited_for() -> None:
    read_fd, write_fd = os.pipe()
    try:
        assert _said_already(read_fd) == b""
        long = b'{"command":"faults","addresses":"' + b"a" * 9_000 + b'"}\n'
        os.write(write_fd, long + b'{"command":"que')
        said = _said_already(read_fd)
        assert said.startswith(long)
    finally:
        os.close(read_fd)
        os.close(write_fd)

"""What the command line tells the console."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from console.values.options import ValueOptions

if TYPE_CHECKING:
    from console.alert_rules import AlertFile
    from console.recording.options import Recording


class ConsoleOptions(NamedTuple):
    """Either an embedded cluster (``control_socket`` is set) or an attached one (``bootstrap_servers`` is set)."""

    bootstrap_servers: str | None = None
    # Client configs of ``--command-config``, under Kafka's names.
    command_config: dict[str, str] = {}  # noqa: RUF012  never mutated: a NamedTuple default
    read_only: bool = False
    control_socket: str | None = None
    data_dir: str | None = None
    # Whether this command started the supervisor, and so stops it when the console is left.
    started_supervisor: bool = False
    # Of ``--rules``.
    alert_file: AlertFile | None = None
    # Of ``--registry`` and ``--masking``.
    values: ValueOptions = ValueOptions()
    # Whether and where what is shown is recorded.
    recording: Recording | None = None

"""What the command line tells the console."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from console.values.options import ValueOptions

if TYPE_CHECKING:
    from console.alert_rules import AlertFile
    from console.contexts import Context
    from console.recording.options import Recording


class ConsoleOptions(NamedTuple):
    """Either an embedded cluster (``control_socket`` is set) or an attached one (``bootstrap_servers`` is set)."""

    bootstrap_servers: str | None = None
    # Client configs of ``--command-config``, under Kafka's names.
    command_config: Mapping[str, str] = {}
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
    # URLs of Connect's workers, of ``--connect-url`` or a context.
    connect_url: str | None = None
    # Of ``--context``, or the file's default.
    context: Context | None = None
    # Others are looked at as well: ask less often.
    watching: bool = False

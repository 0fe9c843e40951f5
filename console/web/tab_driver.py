"""Textual's driver of a browser's tab, for one whose server may be gone.

Textual's own goes on for ever when nobody is left at the other end of its pipes. This one leaves.
"""

from __future__ import annotations

import asyncio
import os

from textual import messages
from textual.drivers.web_driver import WebDriver


class TabDriver(WebDriver):
    """Ends the console in order when the server's end of the pipes is closed."""

    def start_application_mode(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._write = self._write_or_drop
        super().start_application_mode()

    def _write_or_drop(self, data: bytes) -> int:
        """What nobody can see any more is dropped."""
        written = 0
        try:
            while written < len(data):
                written += os.write(self.fileno, data[written:])
        except OSError:
            pass
        return len(data)

    def run_input_thread(self) -> None:
        super().run_input_thread()
        if not self.exit_event.is_set():
            asyncio.run_coroutine_threadsafe(self._app._post_message(messages.ExitApp()), loop=self._loop)

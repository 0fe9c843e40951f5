"""Telling somebody that an alert fired: a webhook, the desktop. Neither ever holds up who tells.

Posts go out one after the other, each with a time-out and a bounded number of tries; what waits is bounded, too, and
what is dropped is counted and said. A post that is repeated has the same ``alert_id`` and ``event``.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from console.alert_rules import AlertFile, Webhook

_MOST_WAITING = 100
_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 30.0
_DESKTOP_TIMEOUT_S = 5.0
# Worth another try although somebody answered.
_LATER = (408, 425, 429)


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A post that is redirected would arrive as a GET without body."""

    def redirect_request(self, *_: Any) -> None:
        return None


class Refused(Exception):
    """A post that did not arrive. ``again``: another try may help."""

    def __init__(self, said: str, *, again: bool) -> None:
        super().__init__(said)
        self.again = again


def post(webhook: Webhook, document: Mapping[str, Any]) -> None:
    """Post once, in this thread.

    Raises:
        Refused: it was not taken.
    """
    headers = {"Content-Type": "application/json", "User-Agent": "kconsole", **dict(webhook.headers)}
    request = urllib.request.Request(webhook.url, json.dumps(document).encode(), headers, method="POST")
    try:
        opener = urllib.request.build_opener(_NoRedirects())
        with opener.open(request, timeout=webhook.timeout_s) as answer:
            answer.read(1024)
    except urllib.error.HTTPError as error:
        again = error.code >= 500 or error.code in _LATER
        error.close()
        raise Refused(f"answered {error.code}", again=again) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise Refused(str(reason) or type(error).__name__, again=True) from error


class Notifier:
    """Whom a file of rules says to tell. ``failed`` hears a sentence about each post that was given up."""

    def __init__(self, file: AlertFile, failed: Callable[[str], None]) -> None:
        self._webhook = file.webhook
        self._desktop = shutil.which("notify-send") if file.desktop else None
        self._failed = failed
        self._waiting: deque[Mapping[str, Any]] = deque()
        self._news = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._posting: asyncio.Task[None] | None = None
        self._popups: set[asyncio.Task[None]] = set()

    def tell(self, document: Mapping[str, Any]) -> None:
        """Of one change (:func:`console.viewmodel.alerts.change_document`); returns at once."""
        if self._webhook is not None:
            if len(self._waiting) >= _MOST_WAITING:
                dropped = self._waiting.popleft()
                self._failed(f"webhook: {dropped['event']} {dropped['rule']!r} was dropped, too many wait")
            self._waiting.append(document)
            self._idle.clear()
            self._news.set()
            if self._posting is None:
                self._posting = asyncio.ensure_future(self._post_all(self._webhook))
        if self._desktop is not None:
            popup = asyncio.ensure_future(self._pop_up(self._desktop, document))
            self._popups.add(popup)
            popup.add_done_callback(self._popups.discard)

    async def close(self, patience_s: float = 5.0) -> None:
        """What waits may still go out for a while; then it is over."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience_s):
                await self._idle.wait()
        if self._waiting:
            self._failed(f"webhook: {len(self._waiting)} alerts were not told")
        tasks = [*self._popups, *([self._posting] if self._posting is not None else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _post_all(self, webhook: Webhook) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            while self._waiting:
                document = self._waiting[0]
                await self._post(webhook, document)
                # It may have been dropped meanwhile.
                if self._waiting and self._waiting[0] is document:
                    self._waiting.popleft()
            self._idle.set()

    async def _post(self, webhook: Webhook, document: Mapping[str, Any]) -> None:
        pause_s = _FIRST_PAUSE_S
        for tries_left in range(webhook.retries, -1, -1):
            try:
                await asyncio.to_thread(post, webhook, document)
                return
            except Refused as error:
                if not tries_left or not error.again:
                    self._failed(f"webhook: {document['event']} {document['rule']!r} was not told: {error}")
                    return
            await asyncio.sleep(pause_s)
            pause_s = min(_LONGEST_PAUSE_S, pause_s * 2)

    async def _pop_up(self, program: str, document: Mapping[str, Any]) -> None:
        urgency = "critical" if document["event"] == "fired" else "normal"
        words = ["--app-name=kconsole", f"--urgency={urgency}", f"{document['event']}: {document['rule']}"]
        process = None
        try:
            process = await asyncio.create_subprocess_exec(
                program,
                *words,
                str(document["said"]),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
            )
            async with asyncio.timeout(_DESKTOP_TIMEOUT_S):
                await process.wait()
        except (OSError, TimeoutError):
            pass  # no desktop: the row and the bell have told it
        finally:
            if process is not None and process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()

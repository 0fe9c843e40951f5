"""What a worker asks of the leader over REST's internal resources, signed with the session key (KIP-507)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from engine.connect.errors import ConnectError
from engine.connect.runtime.request_signature import signed

_PATIENCE_S = 30.0


async def put_task_configs(
    leader_url: str, connector: str, configs: Sequence[Mapping[str, str]], key: bytes | None, algorithm: str
) -> None:
    """The leader shall write a connector's task configs.

    Raises:
        ConnectError: it does not.
    """
    await _ask(
        "POST", f"{leader_url.rstrip('/')}/connectors/{quote(connector, safe='')}/tasks", list(configs), key, algorithm
    )


async def fence_zombies(leader_url: str, connector: str, key: bytes | None, algorithm: str) -> None:
    """The leader shall fence producers of older tasks.

    Raises:
        ConnectError: it does not.
    """
    await _ask("PUT", f"{leader_url.rstrip('/')}/connectors/{quote(connector, safe='')}/fence", None, key, algorithm)


async def _ask(method: str, url: str, content: Any, key: bytes | None, algorithm: str) -> None:
    import aiohttp

    body = b"" if content is None else json.dumps(content).encode()
    headers = {"Content-Type": "application/json", **(signed(key, body, algorithm) if key is not None else {})}
    timeout = aiohttp.ClientTimeout(total=_PATIENCE_S)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, trust_env=False) as session,
            session.request(method, url, data=body, headers=headers) as answer,
        ):
            if answer.status >= 300:
                text = (await answer.text())[:500]
                raise ConnectError(f"The leader answered {method} {url} with {answer.status}: {text}")
    except (TimeoutError, aiohttp.ClientError, OSError) as error:
        raise ConnectError(f"The leader did not answer {method} {url}: {error or type(error).__name__}") from error
